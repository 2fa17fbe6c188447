//! Calls through both processes, with what can go wrong around them.

mod stand;

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use moorline_bench::load::{self, Plan};
use nix::sys::signal::{Signal, kill};
use stand::Stand;

#[test]
fn calls_go_through_and_leave_nothing() {
    let stand = Stand::up(20, &[]);
    let report = load::run(&stand.plan(20, Duration::from_secs(1)), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    stand.until_nothing_is_left();

    let page = stand.signaling().expect("metrics");
    assert_eq!(page.value("moorline_sip_calls_total", &[]), Some(20.0));
    assert_eq!(page.value("moorline_sip_answered_total", &[]), Some(20.0));
    for (outcome, count) in [("caller_hung_up", 10.0), ("callee_hung_up", 10.0)] {
        assert_eq!(page.value("moorline_sip_outcomes_total", &[("outcome", outcome)]), Some(count), "{outcome}");
    }
    for name in ["invite_to_provisional_seconds", "invite_to_answer_seconds"] {
        let histogram = page.histogram(&format!("moorline_sip_{name}"), &[]).expect("a histogram");
        assert_eq!(histogram.count, 20.0, "{name}");
    }
    for step in ["invite", "answer"] {
        let histogram = page.histogram("moorline_sip_added_seconds", &[("step", step)]).expect("a histogram");
        assert_eq!(histogram.count, 20.0, "{step}");
    }
    assert_eq!(stand.log().matches("call ended").count(), 20, "one line in the log for each call");
}

#[test]
fn signaling_killed_in_mid_call_takes_its_calls_back() {
    let stand = Stand::up(21, &[]);
    let mut killed = false;
    let report = load::run(&stand.plan(10, Duration::from_secs(5)), &mut |progress| {
        if !killed && progress.active == 10 {
            killed = true;
            let signaling = stand.child("signaling").expect("it runs");
            kill(signaling, Signal::SIGKILL).expect("killed");
        }
    })
    .expect("the load runs");
    assert!(killed, "all calls were never up at once: {report:#?}");
    // No SIP was under way, so nothing was sent twice; media never paused, so nothing was lost.
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    assert_eq!(stand.signaling_value("moorline_sip_restored_total"), Some(10.0), "{}", stand.log());
    stand.until_nothing_is_left();
}

#[test]
fn media_killed_in_mid_call_comes_back_on_the_same_ports() {
    let stand = Stand::up(22, &[]);
    let mut killed = false;
    let report = load::run(&stand.plan(10, Duration::from_secs(12)), &mut |progress| {
        if !killed && progress.active == 10 {
            killed = true;
            kill(stand.child("media").expect("it runs"), Signal::SIGKILL).expect("killed");
        }
    })
    .expect("the load runs");
    assert!(killed, "all calls were never up at once: {report:#?}");
    assert_eq!(report.completed, 10, "{report:#?}\n{}", stand.log());
    assert!(report.lost > 0 && report.lost < report.packets_sent / 2, "{report:#?}\n{}", stand.log());
    assert_eq!((report.corrupted, report.crossed, report.wrong_source), (0, 0, 0), "{report:#?}");
    stand.until_nothing_is_left();
}

#[test]
fn without_a_free_port_a_call_gets_503_and_the_others_live() {
    // 30 addresses of 4 ports: two streams with RTCP each, so 60 streams or 30 calls.
    let stand = Stand::up(23, &[("last_port = 29999", "last_port = 20003")]);
    let report = load::run(&stand.plan(40, Duration::from_secs(4)), &mut |_| {}).expect("the load runs");
    let refused: u32 = report.failed.iter().filter(|(reason, _)| reason.status == Some(503)).map(|(_, n)| n).sum();
    assert!(refused > 0, "{report:#?}");
    assert_eq!(report.completed + refused, 40, "{report:#?}\n{}", stand.log());
    assert_eq!((report.lost, report.crossed, report.corrupted), (0, 0, 0), "{report:#?}");
    stand.until_nothing_is_left();
}

#[test]
fn garbage_and_strangers_are_counted_and_get_no_answer() {
    let stand = Stand::up(24, &[]);
    let sbc = stand.address(1, 5060);
    let caller = UdpSocket::bind(stand.address(2, 5060)).expect("the caller's address");
    let stranger = UdpSocket::bind(stand.address(9, 5060)).expect("an address of no trunk");
    for socket in [&caller, &stranger] {
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("set");
    }
    let mut scratch = [0; 2048];
    let garbage: [&[u8]; 5] = [b"", b"\0\0\0\0", b"\r\n\r\n", b"INVITE", &[0xff; 1400]];
    for bytes in garbage {
        caller.send_to(bytes, sbc).expect("sent");
    }
    let options = |socket: &UdpSocket, call_id: &str| {
        let local = socket.local_addr().expect("bound");
        format!(
            "OPTIONS sip:{sbc} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bK1\r\nMax-Forwards: 70\r\n\
             From: <sip:a@example.org>;tag=1\r\nTo: <sip:{sbc}>\r\n{call_id}CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
    };
    stranger.send_to(options(&stranger, "Call-ID: 1@stranger\r\n").as_bytes(), sbc).expect("sent");
    assert!(stranger.recv(&mut scratch).is_err(), "a stranger gets silence");

    caller.send_to(options(&caller, "").as_bytes(), sbc).expect("sent");
    let length = caller.recv(&mut scratch).expect("a mandatory header is missing: 400");
    let answer = String::from_utf8_lossy(&scratch[..length]);
    assert!(answer.starts_with("SIP/2.0 400 ") && answer.contains("Call-ID"), "{answer}");

    caller.send_to(options(&caller, "Call-ID: 2@caller\r\n").as_bytes(), sbc).expect("sent");
    let length = caller.recv(&mut scratch).expect("a ping is answered");
    assert!(scratch[..length].starts_with(b"SIP/2.0 200 "), "{}", String::from_utf8_lossy(&scratch[..length]));

    let page = stand.signaling().expect("metrics");
    assert_eq!(page.value("moorline_sip_unknown_source_total", &[]), Some(1.0));
    assert_eq!(page.value("moorline_sip_bad_requests_total", &[]), Some(1.0));
    assert!(page.value("moorline_sip_malformed_total", &[]).is_some_and(|count| count >= 2.0));
    assert_eq!(page.value("moorline_sip_calls_total", &[]), Some(0.0));
    drop(caller);

    // And calls go on as before.
    let report = load::run(&stand.plan(2, Duration::from_millis(500)), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}");
}

#[test]
fn several_workers_share_the_calls_and_take_each_back_once() {
    let stand = Stand::up(25, &[("lease_s = 10", "lease_s = 10\nworkers = 3")]);
    let mut killed = false;
    let report = load::run(&stand.plan(40, Duration::from_secs(6)), &mut |progress| {
        if !killed && progress.active == 40 {
            killed = true;
            assert_eq!(stand.signaling_value("moorline_sip_workers"), Some(3.0));
            let handed_over = stand.signaling_value("moorline_sip_handed_over_total");
            assert!(handed_over.is_some_and(|count| count > 0.0), "each socket's messages are not all its worker's");
            kill(stand.child("signaling").expect("it runs"), Signal::SIGKILL).expect("killed");
        }
    })
    .expect("the load runs");
    assert!(killed, "all calls were never up at once: {report:#?}");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    assert_eq!(stand.signaling_value("moorline_sip_restored_total"), Some(40.0), "{}", stand.log());
    stand.until_nothing_is_left();
    assert_eq!(stand.signaling_value("moorline_sip_not_restored_total"), Some(0.0));
}

#[test]
fn limits_hold_across_workers() {
    let limit = "[signaling.limits]\ncalls = 10\n[media]";
    let changes = [("lease_s = 10", "lease_s = 10\nworkers = 4"), ("[media]", limit)];
    let stand = Stand::up(26, &changes);
    let report = load::run(&stand.plan(30, Duration::from_secs(4)), &mut |_| {}).expect("the load runs");
    let refused: u32 = report.failed.iter().filter(|(reason, _)| reason.status == Some(503)).map(|(_, n)| n).sum();
    assert_eq!((report.completed, refused), (10, 20), "{report:#?}\n{}", stand.log());
    assert_eq!(stand.signaling_value("moorline_sip_calls_peak"), Some(10.0));
    stand.until_nothing_is_left();
}

#[test]
fn calls_go_through_over_ipv6() {
    let at = |port: u16| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let (sbc, caller, callee) = (at(15_061), at(15_062), at(15_063));
    let stand = Stand::up_with(27, |text, _| {
        text.replacen("bind = \"127.98.27.1:5060\"", &format!("bind = \"{sbc}\""), 1)
            .replacen("127.98.27.2/32", "::1/128", 1)
            .replacen("127.98.27.3:5060", &callee.to_string(), 1)
            .replacen("127.98.27.64/27", "::1/128", 1)
    });
    let plan = Plan {
        sbc,
        caller,
        callee,
        caller_media: caller.ip(),
        callee_media: callee.ip(),
        relay_networks: vec!["::1/128".parse().expect("a network")],
        ..stand.plan(5, Duration::from_secs(1))
    };
    let report = load::run(&plan, &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    stand.until_nothing_is_left();
}
