use crate::{Config, DatapathChoice, Range, Sockets, ZeroCopy};

fn range(name: &str, network: &str) -> Range {
    Range { name: name.to_owned(), network: network.parse().unwrap(), ..Range::default() }
}

fn fault_of(change: impl FnOnce(&mut Config)) -> (String, String) {
    let mut config = Config::default();
    change(&mut config);
    let fault = config.check().unwrap_err();
    assert!(!fault.problem.is_empty() && !fault.remedy.is_empty());
    (fault.path, fault.problem)
}

#[test]
fn the_defaults_are_sound_and_stay_on_loopback() {
    let config = Config::default();
    config.check().unwrap();
    assert!(config.admin.ip().is_loopback());
    assert!(config.ranges.iter().all(|range| range.network.addr().is_loopback()));
    assert_eq!(toml::from_str::<Config>("").unwrap(), config);
}

#[test]
fn every_key_is_read() {
    let text = r#"
        control = "/run/m.sock"
        control_users = ["moorline-signaling"]
        datapath = "io_uring"
        cores = [2, 3]
        admin = "127.0.0.2:9100"
        capacity = 10
        busy_poll_us = 50
        port_rest_s = 7
        [xdp]
        interfaces = ["eth0", "eth1"]
        zero_copy = "never"
        frames_per_queue = 1024
        [[ranges]]
        name = "carrier"
        network = "47.103.169.64/32"
        first_port = 20000
        last_port = 29999
        advertised = "192.0.2.7"
        routed = true
        interface = "eth1"
    "#;
    let config: Config = toml::from_str(text).unwrap();
    config.check().unwrap();
    assert_eq!((config.cores.as_slice(), config.busy_poll_us), (&[2, 3][..], 50));
    assert_eq!(config.ranges[0].interface.as_deref(), Some("eth1"));
    assert_eq!(config.relay_ranges()[0].last_port, 29_999);
    assert_eq!((config.xdp.interfaces.len(), config.xdp.zero_copy), (2, ZeroCopy::Never));
}

#[test]
fn unknown_keys_and_datapaths_are_refused_by_name() {
    for (text, word) in
        [("contrl = 1", "contrl"), ("datapath = \"dpdk\"", "dpdk"), ("[[ranges]]\nnetwrk = 1", "netwrk")]
    {
        let error = toml::from_str::<Config>(text).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn faults_name_the_setting() {
    assert_eq!(fault_of(|c| c.control = "".into()).0, "media.control");
    assert_eq!(fault_of(|c| c.control = "/x".repeat(60).into()).0, "media.control");
    assert_eq!(fault_of(|c| c.admin = "192.0.2.1:9061".parse().unwrap()).0, "media.admin");
    assert_eq!(fault_of(|c| c.capacity = 0).0, "media.capacity");
    assert_eq!(fault_of(|c| c.busy_poll_us = 10_001).0, "media.busy_poll_us");
    assert_eq!(fault_of(|c| c.port_rest_s = 86_400).0, "media.port_rest_s");
    assert_eq!(fault_of(|c| c.cores = vec![0, 1, 0]).0, "media.cores[2]");
    assert_eq!(fault_of(|c| c.cores = (0..65).collect()).0, "media.cores");
    assert_eq!(fault_of(|c| c.ranges.clear()).0, "media.ranges");
}

#[test]
fn af_xdp_needs_interfaces_and_sound_memory() {
    let af_xdp = |change: fn(&mut Config)| {
        fault_of(|c| {
            c.datapath = DatapathChoice::AfXdp;
            c.xdp.interfaces = vec!["eth0".into()];
            change(c);
        })
        .0
    };
    assert_eq!(af_xdp(|c| c.xdp.interfaces.clear()), "media.xdp.interfaces");
    assert_eq!(af_xdp(|c| c.xdp.interfaces.push("eth0".into())), "media.xdp.interfaces[1]");
    assert_eq!(af_xdp(|c| c.xdp.interfaces[0] = "eth/0".into()), "media.xdp.interfaces[0]");
    assert_eq!(af_xdp(|c| c.xdp.frames_per_queue = 1000), "media.xdp.frames_per_queue");
    assert_eq!(af_xdp(|c| c.xdp.frames_per_queue = 1 << 20), "media.xdp.frames_per_queue");
    assert_eq!(af_xdp(|c| c.sockets = Sockets::PerPort), "media.sockets");
    let mut config = Config { datapath: DatapathChoice::AfXdp, ..Config::default() };
    config.ranges[0].interface = Some("eth1".into());
    config.check().unwrap();
    assert_eq!(config.xdp_interfaces(), ["eth1"]);
}

#[test]
fn offload_needs_shared_sockets_and_an_interface() {
    use crate::OffloadChoice;
    let on = |change: fn(&mut Config)| {
        move |config: &mut Config| {
            config.offload = OffloadChoice::On;
            config.ranges[0].interface = Some("eth0".to_owned());
            change(config);
        }
    };
    let mut config = Config::default();
    on(|_| {})(&mut config);
    config.check().unwrap();
    assert_eq!(fault_of(on(|c| c.sockets = Sockets::PerPort)).0, "media.offload");
    assert_eq!(fault_of(on(|c| c.datapath = DatapathChoice::Epoll)).0, "media.offload");
    assert_eq!(fault_of(on(|c| c.ranges[0].interface = None)).0, "media.offload");
    // Left to the host, it is done without.
    config.offload = OffloadChoice::Auto;
    config.ranges[0].interface = None;
    config.check().unwrap();
}

#[test]
fn faults_of_ranges_name_the_range() {
    let second = |change: fn(&mut Range)| {
        fault_of(|c| {
            let mut range = range("second", "127.9.0.0/29");
            change(&mut range);
            c.ranges.push(range);
        })
        .0
    };
    assert_eq!(second(|r| r.name.clear()), "media.ranges[1].name");
    assert_eq!(second(|r| r.name = "edge".into()), "media.ranges[1].name");
    assert_eq!(second(|r| r.network = "0.0.0.0/0".parse().unwrap()), "media.ranges[1].network");
    assert_eq!(second(|r| r.network = "127.9.0.1/29".parse().unwrap()), "media.ranges[1].network");
    assert_eq!(second(|r| r.network = "127.103.169.80/28".parse().unwrap()), "media.ranges[1].network");
    assert_eq!(second(|r| r.first_port = 0), "media.ranges[1].first_port");
    assert_eq!(second(|r| (r.first_port, r.last_port) = (20_001, 20_002)), "media.ranges[1].last_port");
    assert_eq!(second(|r| (r.first_port, r.last_port) = (65_535, 65_535)), "media.ranges[1].last_port");
    assert_eq!(second(|r| r.advertised = Some("2001:db8::1".parse().unwrap())), "media.ranges[1].advertised");
    assert_eq!(second(|r| r.advertised = Some("0.0.0.0".parse().unwrap())), "media.ranges[1].advertised");
    assert_eq!(second(|r| r.advertised = Some("192.0.2.1".parse().unwrap())), "media.ranges[1].advertised");
    assert_eq!(second(|r| r.interface = Some("a-name-that-is-too-long".into())), "media.ranges[1].interface");
}

#[test]
fn ranges_may_share_addresses_when_their_ports_differ() {
    let mut config = Config::default();
    config.ranges[0].last_port = 19_999;
    config.ranges.push(Range { first_port: 20_000, ..range("other", "127.103.169.64/27") });
    config.check().unwrap();
}
