//! From attaching to the end, and from one process to the next.

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::frames::rtp;
use super::host::{apart, run};
use super::rig::{FIRST, HOP, PASS, Rig, SSRC, TX, local, pair, ranges, wish};
use crate::forward::*;

const PIN: &str = "/sys/fs/bpf/moorline/test";

fn attach(names: &[&str], mode: Mode, pin: Option<&str>) -> Result<Forward, ForwardError> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    Forward::attach(&names, &ranges(), None, 16, mode, pin.map(Path::new))
}

/// The XDP program of an interface.
fn program(name: &str) -> Option<u32> {
    other::id(interfaces::index(name).unwrap())
}

/// Waits until an interface has no XDP program: the kernel lets go of a link whose file is removed a little later.
fn expect_none(name: &str) {
    let until = monotonic_ns() + 10_000_000_000;
    while let Some(id) = program(name) {
        assert!(monotonic_ns() < until, "{name} still has program {id}");
        sleep(Duration::from_millis(5));
    }
}

/// Attaches where another has just ended: a command that a test beside this one runs may hold its descriptors until it
/// has begun.
fn attach_soon(attach: impl Fn() -> Result<Forward, ForwardError>) -> Forward {
    let until = monotonic_ns() + 10_000_000_000;
    loop {
        match attach() {
            Err(ForwardError::Taken { .. } | ForwardError::PinTaken { .. } | ForwardError::OtherProgram { .. })
                if monotonic_ns() < until =>
            {
                sleep(Duration::from_millis(5));
            }
            answer => return answer.unwrap(),
        }
    }
}

/// What a test has of a forwarding that has a flow, is relaying, and ends as if its process was killed: nothing of it
/// is tidied up.
fn relaying(pin: Option<&str>) -> u32 {
    let forward = attach(&["core"], Mode::Native, pin).unwrap();
    let index = forward.attached()[0].index;
    let hop = Hop { interface: index, destination: [2; 6], source: [4; 6], vlan: None, outer: None, mtu: 1500 };
    forward.set_hop(HOP, &hop).unwrap();
    let entry = forward.entry(local(false)).unwrap();
    let flow = forward.take_flow(entry).unwrap();
    forward.open(entry, 0, Some(flow));
    assert!(forward.tell(flow, &wish(false), monotonic_ns()));
    // A port without a flow, and a flow that is not relayed.
    forward.open(entry + 2, 0, None);
    forward.open(entry + 4, 0, forward.take_flow(entry + 4));
    let rig = Rig { forward, index, flow, v6: false };
    rig.run(&rig.packet(FIRST - 1).bytes());
    rig.arm();
    assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, TX);
    index
}

#[test]
fn unpinned_all_of_it_ends_with_its_owner() {
    apart(|| {
        pair("core", "far");
        for mode in [Mode::Native, Mode::Generic, Mode::Any] {
            let forward = attach_soon(|| attach(&["core"], mode, None));
            let attached = forward.attached();
            assert_eq!((attached[0].name.as_str(), attached[0].native), ("core", mode != Mode::Generic));
            assert!(program("core").is_some() && forward.serves(attached[0].index) && !forward.serves(1));
            assert_eq!((forward.took_over(), forward.not_pinned()), (false, None));
            drop(forward);
            expect_none("core");
        }
    });
}

#[test]
fn a_second_instance_is_refused_by_the_process_of_the_first() {
    apart(|| {
        pair("core", "far");
        pair("side", "away");
        let first = attach(&["core"], Mode::Any, Some(PIN)).unwrap();
        let error = attach(&["side", "core"], Mode::Any, None).unwrap_err();
        assert!(
            matches!(&error, ForwardError::Taken { interface, pid } if interface == "core" && *pid == std::process::id()),
            "{error}"
        );
        assert!(matches!(unclaimed(&["core".to_string()]), Err(ForwardError::Taken { .. })));
        unclaimed(&["side".to_string()]).unwrap();
        let error = attach(&["side"], Mode::Any, Some(PIN)).unwrap_err();
        assert!(matches!(&error, ForwardError::PinTaken { pid, .. } if *pid == std::process::id()), "{error}");
        drop(first);
        attach(&["side", "core"], Mode::Any, Some(PIN)).unwrap().remove();
        expect_none("core");
        expect_none("side");
    });
}

#[test]
fn beside_another_program_it_is_refused_with_that_ones_name() {
    apart(|| {
        pair("core", "far");
        let mut other = load(1, 1, None).unwrap();
        xdp(&mut other).unwrap().attach("core", aya::programs::xdp::XdpMode::Driver).unwrap();
        let id = program("core").unwrap();
        let error = attach(&["core"], Mode::Any, None).unwrap_err();
        let expected = format!("core has another XDP program already: moor_forward, id {id}");
        assert_eq!(error.to_string(), expected);
        assert_eq!(program("core"), Some(id), "and that stays");
    });
}

#[test]
fn what_is_missing_is_named() {
    apart(|| {
        pair("core", "far");
        let error = |names: &[&str], flows, pin: Option<&str>| {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            Forward::attach(&names, &ranges(), None, flows, Mode::Any, pin.map(Path::new)).unwrap_err().to_string()
        };
        assert_eq!(error(&["none"], 1, None), "there is no interface none");
        assert!(error(&[], 1, None).starts_with("0 interfaces"));
        assert!(error(&["core"], 0, None).starts_with("0 flows"));
        let error = attach(&["lo"], Mode::Native, None).unwrap_err();
        assert!(matches!(&error, ForwardError::Driver { interface, .. } if interface == "lo"), "{error}");
        assert!(!attach(&["lo"], Mode::Any, None).unwrap().attached()[0].native, "generic instead");
    });
}

#[test]
fn without_capabilities_it_is_refused_by_their_names() {
    apart(|| {
        pair("core", "far");
        super::host::with_capabilities(1 << 13, || {
            let error = attach(&["core"], Mode::Any, None).unwrap_err();
            assert_eq!(error.to_string(), "it needs CAP_BPF, CAP_NET_ADMIN");
        });
        super::host::with_few_capabilities(|| {
            let forward = attach(&["core"], Mode::Native, Some(PIN)).unwrap();
            assert_eq!(forward.not_pinned(), None);
            forward.remove();
        });
    });
}

#[test]
fn flows_live_on_and_are_taken_over_with_all_that_was_counted() {
    apart(|| {
        pair("core", "far");
        relaying(Some(PIN));
        let before = program("core").unwrap();
        let forward = attach(&["core"], Mode::Native, Some(PIN)).unwrap();
        assert!(forward.took_over() && program("core").unwrap() != before, "by a program of its own");
        let entry = forward.entry(local(false)).unwrap();
        let [(at, flow)] = forward.survivors()[..] else { panic!("{:?}", forward.survivors()) };
        assert_eq!(at, entry);
        assert!(forward.is_survivor(flow) && forward.wished(flow) && forward.is_told(flow, &wish(false)));
        assert!(forward.hop(HOP).is_some());
        let index = forward.attached()[0].index;
        let rig = Rig { forward, index, flow, v6: false };
        // Nobody has claimed it, and it is relayed on.
        assert_eq!(rig.run(&rig.packet(FIRST + 1).bytes()).0, TX);
        assert_eq!((rig.seen().packets, rig.seen().takeovers), (2, 1));
        assert_eq!(rig.forward.take_flow(entry), Some(flow));
        rig.forward.open(entry, 1, Some(flow));
        assert_eq!((rig.forward.survivors(), rig.forward.clear_survivors()), (vec![], 0));
        assert_eq!(rig.run(&rig.packet(FIRST + 2).bytes()).0, TX);
        // What had no flow, or none that was relayed, is closed.
        let mut frame = rig.incoming(rtp(0, 1, 1, SSRC));
        for port in [20_008, 20_010] {
            frame.to.set_port(port);
            assert_eq!(rig.run(&frame.bytes()).0, PASS);
        }
        assert_eq!(rig.passed(abi::Reason::Closed), 2);
        rig.forward.remove();
        expect_none("core");
        assert!(!Path::new(PIN).exists());
    });
}

#[test]
fn flows_that_nobody_claims_are_cleared() {
    apart(|| {
        pair("core", "far");
        let index = relaying(Some(PIN));
        let forward = attach(&["core"], Mode::Native, Some(PIN)).unwrap();
        let [(_, flow)] = forward.survivors()[..] else { panic!("{:?}", forward.survivors()) };
        assert_eq!(forward.clear_survivors(), 1);
        let rig = Rig { forward, index, flow, v6: false };
        assert_eq!(rig.run(&rig.packet(FIRST + 1).bytes()).0, PASS);
        assert!(!rig.forward.wished(flow) && rig.forward.survivors().is_empty());
        rig.forward.remove();
    });
}

#[test]
fn other_ranges_or_sizes_begin_anew_in_place_of_what_was_pinned() {
    apart(|| {
        pair("core", "far");
        relaying(Some(PIN));
        let mut other = ranges();
        other[0].ports = 32;
        let names = ["core".to_string()];
        let forward = Forward::attach(&names, &other, None, 16, Mode::Native, Some(Path::new(PIN))).unwrap();
        assert!(!forward.took_over() && forward.survivors().is_empty() && forward.not_pinned().is_none());
        drop(forward);
        let forward = Forward::attach(&names, &other, None, 17, Mode::Native, Some(Path::new(PIN))).unwrap();
        assert!(!forward.took_over());
        drop(forward);
        assert!(program("core").is_some(), "it is pinned");
        let forward = Forward::attach(&names, &other, None, 17, Mode::Native, Some(Path::new(PIN))).unwrap();
        assert!(forward.took_over());
        forward.remove();
        expect_none("core");
    });
}

#[test]
fn without_a_bpf_filesystem_it_is_attached_unpinned_and_says_so() {
    apart(|| {
        pair("core", "far");
        let forward = attach(&["core"], Mode::Any, Some("/tmp/moorline-no-bpffs")).unwrap();
        let reason = forward.not_pinned().unwrap();
        assert_eq!(reason, "/tmp/moorline-no-bpffs is on no BPF filesystem");
        drop(forward);
        assert_eq!(program("core"), None);
    });
}

#[test]
fn an_interface_that_is_made_anew_is_attached_to_again() {
    apart(|| {
        pair("core", "far");
        let index = relaying(Some(PIN));
        let forward = attach(&["core"], Mode::Any, Some(PIN)).unwrap();
        assert!(!forward.renew().unwrap());
        run("ip link set core down");
        run("ip link set core up");
        assert!(!forward.renew().unwrap() && program("core").is_some(), "down and up changes nothing");
        run("ip link del core");
        assert!(forward.renew().unwrap() && forward.attached().is_empty() && !forward.serves(index));
        assert!(!forward.renew().unwrap());
        pair("core", "far");
        assert!(forward.renew().unwrap());
        let attached = forward.attached();
        assert!(attached.len() == 1 && attached[0].index != index && attached[0].slot == 0);
        assert!(program("core").is_some() && forward.serves(attached[0].index));
        sleep(Duration::from_millis(1));
        forward.remove();
        expect_none("core");
    });
}

#[test]
fn what_a_former_process_attached_in_generic_mode_is_known_to_be_so() {
    apart(|| {
        pair("core", "far");
        let attach = |flows, mode| {
            let pin = Some(std::path::Path::new("/sys/fs/bpf/moorline/generic"));
            attach_soon(|| Forward::attach(&["core".to_string()], &ranges(), None, flows, mode, pin))
        };
        drop(attach(16, Mode::Generic));
        // Of another size: nothing is left of its tables.
        let forward = attach(32, Mode::Any);
        assert!(!forward.took_over() && !forward.attached()[0].native);
        forward.remove();
    });
}

#[test]
fn packets_are_not_handed_from_a_driver_to_an_interface_in_generic_mode() {
    apart(|| {
        pair("core", "far");
        pair("side", "away");
        let names = ["core".to_string(), "side".to_string()];
        let forward = Forward::attach(&names, &ranges(), None, 1, Mode::Native, None).unwrap();
        let [core, side] = [0, 1].map(|slot: usize| forward.attached()[slot].index);
        assert!(forward.serves(core) && forward.serves(side));
        lock(&forward.links).set_native(side, false);
        assert!(forward.serves(core) && !forward.serves(side));
        lock(&forward.links).set_native(core, false);
        assert!(forward.serves(core) && forward.serves(side));
    });
}

#[test]
fn tables_are_pinned_only_where_nobody_else_can_put_any() {
    apart(|| {
        pair("core", "far");
        let path = std::path::Path::new("/sys/fs/bpf/moorline/open");
        let names = ["core".to_string()];
        let attach = || attach_soon(|| Forward::attach(&names, &ranges(), None, 1, Mode::Native, Some(path)));
        let forward = attach();
        let mode = |path| std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(path).unwrap()) & 0o777;
        assert_eq!((forward.not_pinned(), mode(path)), (None, 0o700));
        forward.remove();
        std::fs::create_dir_all(path).unwrap();
        run("chmod 777 /sys/fs/bpf/moorline/open");
        assert!(attach().not_pinned().unwrap().contains("can be written by others"));
    });
}

#[test]
fn what_was_left_pinned_ends_where_flows_are_no_longer_relayed() {
    apart(|| {
        pair("core", "far");
        let (names, pin) = (["core".to_string()], Path::new(PIN));
        assert!(!clear(&names, pin), "nothing was left");
        let first = attach(&["core"], Mode::Native, Some(PIN)).unwrap();
        assert!(!clear(&names, pin), "somebody has it");
        assert!(program("core").is_some());
        drop(first);
        assert!(program("core").is_some(), "its successor may come");
        let until = monotonic_ns() + 10_000_000_000;
        while !clear(&names, pin) {
            assert!(monotonic_ns() < until, "nobody has it any more");
            sleep(Duration::from_millis(5));
        }
        expect_none("core");
        assert!(!pin.exists());
        attach_soon(|| attach(&["core"], Mode::Native, None));
    });
}
