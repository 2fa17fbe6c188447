//! The steps of RFC 3263 section 4.

use moorline_sip::Transport;

use super::world::{SECOND, World, target};
use crate::locate::*;

/// The example of RFC 3263 section 4.1, complete.
fn example() -> World {
    World::new()
        .naptr(
            "example.com",
            &[
                (90, 50, "SIP+D2T", "_sip._tcp.example.com"),
                (50, 50, "SIPS+D2T", "_sips._tcp.example.com."),
                (100, 50, "SIP+D2U", "_sip._udp.example.com"),
            ],
        )
        .srv("_sips._tcp.example.com", &[(0, 1, 5061, "server1.example.com")])
        .srv("_sip._tcp.example.com", &[(1, 1, 5060, "server2.example.com"), (0, 1, 5062, "server1.example.com.")])
        .srv("_sip._udp.example.com", &[(0, 1, 5060, "server2.example.com")])
        .a("server1.example.com", &["192.0.2.1"])
        .a("server2.example.com", &["192.0.2.2"])
}

#[test]
fn naptr_then_srv_then_addresses() {
    let mut world = example();
    assert_eq!(
        world.hops(&target("Example.COM.")),
        ["tls 192.0.2.1:5061", "tcp 192.0.2.1:5062", "tcp 192.0.2.2:5060", "udp 192.0.2.2:5060"],
    );
    assert_eq!(
        world.asked(),
        [
            "NAPTR example.com",
            "SRV _sips._tcp.example.com",
            "SRV _sip._tcp.example.com",
            "SRV _sip._udp.example.com",
            "A server1.example.com",
            "A server2.example.com",
        ],
    );
}

#[test]
fn services_that_the_listener_lacks_are_left_out() {
    let mut world = example();
    let plain = Target { transports: Transports::new([Transport::Udp]), ..target("example.com") };
    assert_eq!(world.hops(&plain), ["udp 192.0.2.2:5060"]);
    assert_eq!(world.asked(), ["NAPTR example.com", "SRV _sip._udp.example.com", "A server2.example.com"]);
}

#[test]
fn sips_goes_over_tls_alone() {
    let mut world = example();
    let secure = Target { secure: true, ..target("example.com") };
    assert_eq!(world.hops(&secure), ["tls 192.0.2.1:5061"]);
    let over_tcp = Target { transport: Some(Transport::Tcp), ..secure.clone() };
    assert_eq!(world.hops(&over_tcp), ["tls 192.0.2.1:5061"], "transport=tcp of a sips URI means TLS over TCP");
    let by_address = Target { host: "192.0.2.9".into(), ..secure.clone() };
    assert_eq!(world.hops(&by_address), ["tls 192.0.2.9:5061"]);
    let without_tls = Target { transports: Transports::new([Transport::Udp, Transport::Tcp]), ..secure };
    assert_eq!(world.locate(&without_tls), Err(NotLocated::NoTransport));
}

#[test]
fn a_named_transport_goes_to_srv_at_once() {
    let mut world = example();
    let tcp = Target { transport: Some(Transport::Tcp), ..target("example.com") };
    assert_eq!(world.hops(&tcp), ["tcp 192.0.2.1:5062", "tcp 192.0.2.2:5060"]);
    assert_eq!(world.asked()[0], "SRV _sip._tcp.example.com");
}

#[test]
fn a_named_port_goes_to_the_address_at_once() {
    let mut world = example();
    let port = Target { port: Some(5080), ..target("server1.example.com") };
    assert_eq!(world.hops(&port), ["udp 192.0.2.1:5080"]);
    assert_eq!(world.asked(), ["A server1.example.com"]);
    let tls = Target { transport: Some(Transport::Tls), ..port };
    assert_eq!(world.hops(&tls), ["tls 192.0.2.1:5080"]);
}

#[test]
fn an_address_asks_nothing() {
    let mut world = World::new();
    assert_eq!(world.hops(&target("192.0.2.7")), ["udp 192.0.2.7:5060"]);
    let named = Target { port: Some(5070), transport: Some(Transport::Tcp), ..target("192.0.2.7") };
    assert_eq!(world.hops(&named), ["tcp 192.0.2.7:5070"]);
    let v6 = Target { family: Family::V6, ..target("[2001:db8::1]") };
    assert_eq!(world.hops(&v6), ["udp [2001:db8::1]:5060"]);
    let bare = Target { host: "2001:db8::1".into(), ..v6 };
    assert_eq!(world.hops(&bare), ["udp [2001:db8::1]:5060"]);
    assert_eq!(world.locate(&target("[2001:db8::1]")), Err(NotLocated::NoAddress), "of the wrong family");
    assert_eq!(world.asked(), [""; 0]);
}

#[test]
fn without_naptr_srv_is_asked_for_in_the_listeners_order() {
    let mut world = World::new()
        .srv("_sip._udp.example.com", &[(0, 0, 5060, "a.example.com")])
        .srv("_sip._tcp.example.com", &[(0, 0, 5060, "a.example.com")])
        .a("a.example.com", &["192.0.2.1"]);
    let tcp_first = Target { transports: Transports::new([Transport::Tcp, Transport::Udp]), ..target("example.com") };
    assert_eq!(world.hops(&tcp_first), ["tcp 192.0.2.1:5060", "udp 192.0.2.1:5060"]);
    assert_eq!(world.hops(&target("example.com"))[0], "udp 192.0.2.1:5060");
}

#[test]
fn without_srv_the_domain_itself_is_the_host() {
    let mut world = World::new().a("example.com", &["192.0.2.1", "192.0.2.2"]);
    assert_eq!(world.hops(&target("example.com")), ["udp 192.0.2.1:5060", "udp 192.0.2.2:5060"]);
    let secure = Target { secure: true, ..target("example.com") };
    assert_eq!(world.hops(&secure), ["tls 192.0.2.1:5061", "tls 192.0.2.2:5061"]);
    let tcp_only = Target { transports: Transports::new([Transport::Tcp]), ..target("example.com") };
    assert_eq!(world.hops(&tcp_only), ["tcp 192.0.2.1:5060", "tcp 192.0.2.2:5060"]);
}

#[test]
fn naptr_records_of_other_protocols_are_as_none() {
    let mut world = World::new().naptr("example.com", &[(1, 1, "E2U+email", ".")]).a("example.com", &["192.0.2.1"]);
    assert_eq!(world.hops(&target("example.com")), ["udp 192.0.2.1:5060"]);
}

#[test]
fn naptr_records_with_a_substitution_or_another_flag_are_left_out() {
    let mut world = example();
    let record = |flags: &str, regexp: &str| Naptr {
        order: 1,
        preference: 1,
        flags: flags.into(),
        service: "SIP+D2U".into(),
        regexp: regexp.into(),
        replacement: "_sip._tcp.example.com".into(),
    };
    let good = Naptr { flags: "S".into(), replacement: "_sip._udp.example.com".into(), order: 9, ..record("s", "") };
    let records = Records::Naptr(vec![record("u", ""), record("s", "!^.*$!sip:x@example.com!"), record("", ""), good]);
    world.change(RecordKind::Naptr, "example.com", Ok(Answer { records, ttl_s: 60 }));
    assert_eq!(world.hops(&target("example.com")), ["udp 192.0.2.2:5060"]);
}

#[test]
fn a_service_that_is_decidedly_not_offered_has_no_fallback() {
    let mut world = World::new().srv("_sip._udp.example.com", &[(0, 0, 0, ".")]).a("example.com", &["192.0.2.1"]);
    let udp = Target { transport: Some(Transport::Udp), ..target("example.com") };
    assert_eq!(world.locate(&udp), Err(NotLocated::NoAddress));
}

#[test]
fn a_listener_of_ipv6_asks_for_aaaa() {
    let mut world = World::new()
        .srv("_sip._udp.example.com", &[(0, 0, 5060, "a.example.com"), (1, 0, 5060, "b.example.com")])
        .a("a.example.com", &["192.0.2.1"])
        .aaaa("b.example.com", &["2001:db8::2"]);
    let v6 = Target { family: Family::V6, ..target("example.com") };
    assert_eq!(world.hops(&v6), ["udp [2001:db8::2]:5060"]);
}

#[test]
fn what_does_not_exist_is_told_from_what_does_not_answer() {
    let mut world = World::new().failing(RecordKind::A, "down.example.com");
    let port = |host: &str| Target { port: Some(5060), ..target(host) };
    assert_eq!(world.locate(&port("nowhere.example.com")), Err(NotLocated::NoAddress));
    assert_eq!(world.locate(&port("down.example.com")), Err(NotLocated::Unavailable));
    assert!(NotLocated::Unavailable.is_temporary() && !NotLocated::NoAddress.is_temporary());
}

#[test]
fn a_server_that_cannot_answer_naptr_does_not_stop_the_search() {
    let mut world = example().failing(RecordKind::Naptr, "example.com");
    assert_eq!(world.hops(&target("example.com"))[0], "udp 192.0.2.2:5060");
}

#[test]
fn srv_records_that_did_not_come_are_not_taken_for_none() {
    let mut world = World::new().failing(RecordKind::Srv, "_sip._udp.example.com").a("example.com", &["192.0.2.1"]);
    assert_eq!(world.locate(&target("example.com")), Err(NotLocated::Unavailable));
}

#[test]
fn one_host_without_an_address_leaves_the_others() {
    let mut world = World::new()
        .srv("_sip._udp.example.com", &[(0, 0, 5060, "lost.example.com"), (1, 0, 5060, "a.example.com")])
        .failing(RecordKind::A, "lost.example.com")
        .a("a.example.com", &["192.0.2.1"]);
    assert_eq!(world.hops(&target("example.com")), ["udp 192.0.2.1:5060"]);
    // Six seconds later the failure is asked about again, but no call waits for it.
    world.now += 6 * SECOND;
    world.asked();
    assert_eq!(world.hops(&target("example.com")), ["udp 192.0.2.1:5060"]);
    assert_eq!(world.asked(), ["A lost.example.com"]);
}

#[test]
fn names_that_are_none_are_refused_without_a_question() {
    let mut world = World::new();
    let long = format!("{}.example.com", "a".repeat(64));
    let longer = "abcdefg.".repeat(32);
    for host in ["", ".", "a..b", "exa mple.com", "ex\r\nample", "пример", "[example.com]", &long, &longer] {
        assert_eq!(world.locate(&target(host)), Err(NotLocated::BadName), "{host:?}");
    }
    assert_eq!(world.asked(), [""; 0]);
}

#[test]
fn there_are_at_most_sixteen_hops_and_each_once() {
    let many: Vec<String> = (1..=60).map(|last| format!("192.0.2.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut world = World::new()
        .srv("_sip._udp.example.com", &[(0, 0, 5060, "a.example.com"), (1, 0, 5060, "b.example.com")])
        .a("a.example.com", &["192.0.2.200", "192.0.2.200"])
        .a("b.example.com", &many);
    let hops = world.hops(&target("example.com"));
    assert_eq!(hops.len(), MAX_HOPS);
    assert_eq!(hops[..2], ["udp 192.0.2.200:5060", "udp 192.0.2.1:5060"]);
}

#[test]
fn transports_keep_their_order_and_come_once() {
    let list = Transports::new([Transport::Tls, Transport::Udp, Transport::Tls, Transport::Tcp, Transport::Udp]);
    assert_eq!(list.iter().collect::<Vec<_>>(), [Transport::Tls, Transport::Udp, Transport::Tcp]);
    assert!(!Transports::new([Transport::Tls]).contains(Transport::Udp));
}
