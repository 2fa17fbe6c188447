use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;

use super::*;

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn plan(pairs: Vec<(SocketAddr, SocketAddr)>, a: Endpoint, b: Endpoint) -> MediaPlan {
    MediaPlan {
        pairs,
        a: vec![a],
        b: vec![b],
        duration: Duration::from_millis(400),
        warm_up: Duration::ZERO,
        packet_ms: 20,
        pace: None,
        rtcp: false,
        seed: 42,
    }
}

/// What a relay of the tests does wrong, for its `n`th packet of the call at `index`.
type Fault = fn(index: usize, n: usize) -> Tamper;

enum Tamper {
    None,
    Drop,
    Corrupt,
    Repeat,
    /// Out of the next call's port instead.
    Cross,
    /// Out of a port of no call.
    Stray,
    /// After the one that follows.
    Late,
}

/// A relay between the two endpoints: one socket for each side of each call.
struct Relay {
    pairs: Vec<(SocketAddr, SocketAddr)>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Relay {
    fn start(calls: usize, a: SocketAddr, b: SocketAddr, fault: Fault) -> Relay {
        let bind = || {
            let socket = UdpSocket::bind((LOOPBACK, 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        let sockets: Vec<(UdpSocket, UdpSocket)> = (0..calls).map(|_| (bind(), bind())).collect();
        let pairs = sockets.iter().map(|(a, b)| (a.local_addr().unwrap(), b.local_addr().unwrap())).collect();
        let stray = bind();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut counts = vec![0; calls];
            let mut held: Option<(usize, Vec<u8>)> = None;
            let mut packet = [0; 2048];
            while !stopped.load(Relaxed) {
                for (index, (a_side, b_side)) in sockets.iter().enumerate() {
                    while let Ok((length, _)) = b_side.recv_from(&mut packet) {
                        a_side.send_to(&packet[..length], a).unwrap();
                    }
                    while let Ok((length, _)) = a_side.recv_from(&mut packet) {
                        let packet = &mut packet[..length];
                        let tamper = fault(index, counts[index]);
                        counts[index] += 1;
                        let from = match tamper {
                            Tamper::Cross => &sockets[(index + 1) % calls].1,
                            Tamper::Stray => &stray,
                            _ => b_side,
                        };
                        match tamper {
                            Tamper::Drop => continue,
                            Tamper::Late => {
                                held = Some((index, packet.to_vec()));
                                continue;
                            }
                            Tamper::Corrupt => packet[100] ^= 0x40,
                            Tamper::Repeat => drop(from.send_to(packet, b).unwrap()),
                            Tamper::None | Tamper::Cross | Tamper::Stray => {}
                        }
                        from.send_to(packet, b).unwrap();
                        if let Some((_, late)) = held.take_if(|(of, _)| *of == index) {
                            from.send_to(&late, b).unwrap();
                        }
                    }
                }
                std::thread::sleep(Duration::from_micros(200));
            }
        });
        Relay { pairs, stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap();
    }
}

fn through_relay(calls: usize, fault: Fault) -> MediaReport {
    let (a, b) = (Endpoint::bind(LOOPBACK, false).unwrap(), Endpoint::bind(LOOPBACK, false).unwrap());
    let relay = Relay::start(calls, a.address(), b.address(), fault);
    let report = run(plan(relay.pairs.clone(), a, b), &mut |_, _| {}).unwrap();
    relay.stop();
    report
}

#[test]
fn directly_from_side_to_side_all_is_clean() {
    let (a, b) = (Endpoint::bind(LOOPBACK, true).unwrap(), Endpoint::bind(LOOPBACK, true).unwrap());
    let pairs = vec![(b.address(), a.address()); 20];
    let mut plan = plan(pairs, a, b);
    (plan.rtcp, plan.duration) = (true, Duration::from_millis(1200));
    let mut seen = (0, 0);
    let report = run(plan, &mut |sent, received| seen = (sent, received)).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(report.packets_sent >= 20 * 2 * 55, "{report:?}");
    assert_eq!(report.packets_received, report.packets_sent);
    assert!(report.rtcp_sent >= 40 && report.rtcp_received == report.rtcp_sent, "{report:?}");
    assert_eq!(report.one_way.len(), report.packets_received);
    assert!(seen.0 > 0 && seen.1 > 0);
}

#[test]
fn packets_are_spread_and_the_interval_is_what_was_asked_for() {
    let (a, b) = (Endpoint::bind(LOOPBACK, false).unwrap(), Endpoint::bind(LOOPBACK, false).unwrap());
    let pairs = vec![(b.address(), a.address()); 30];
    let pace = Pace { interval: Duration::from_millis(100), tick: Duration::from_micros(500) };
    let report = run(MediaPlan { pace: Some(pace), ..plan(pairs, a, b) }, &mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
    // 400 ms: at most 5 packets a stream. What was skipped is told, and not more was.
    assert!(report.packets_sent <= 60 * 5, "{report:?}");
    assert!(report.packets_sent + report.bursts_skipped * 60 / 200 + 60 >= 60 * 4, "{report:?}");
}

#[test]
fn ipv6_is_as_good() {
    let bind = || Endpoint::bind(IpAddr::V6(Ipv6Addr::LOCALHOST), true).unwrap();
    let (a, b) = (bind(), bind());
    let mut plan = plan(vec![(b.address(), a.address()); 3], a, b);
    plan.rtcp = true;
    let report = run(plan, &mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn several_endpoints_share_the_calls() {
    let bind = || Endpoint::bind(LOOPBACK, false).unwrap();
    let (a, b) = ([bind(), bind()], [bind(), bind(), bind()]);
    let pairs = (0..12).map(|call| (b[call % 3].address(), a[call % 2].address())).collect();
    let plan = MediaPlan {
        pairs,
        a: a.into(),
        b: b.into(),
        duration: Duration::from_millis(200),
        warm_up: Duration::ZERO,
        packet_ms: 10,
        pace: None,
        rtcp: false,
        seed: 1,
    };
    let report = run(plan, &mut |_, _| {}).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn a_good_relay_is_clean() {
    let report = through_relay(10, |_, _| Tamper::None);
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn each_fault_of_a_relay_is_told() {
    let report = through_relay(10, |index, n| match (index, n) {
        (0, 5) => Tamper::Drop,
        (1, 5 | 7) => Tamper::Corrupt,
        (2, 5..8) => Tamper::Repeat,
        (3, 5..10) => Tamper::Cross,
        (4, 5..9) => Tamper::Stray,
        (5, 5) => Tamper::Late,
        _ => Tamper::None,
    });
    assert!(!report.is_clean());
    // What does not count as received is lost as well.
    assert_eq!(report.lost, 1 + 2 + 5 + 4, "{report:?}");
    assert_eq!((report.corrupted, report.duplicated), (2, 3), "{report:?}");
    assert_eq!((report.crossed, report.wrong_source), (5, 4), "{report:?}");
    assert_eq!(report.reordered, 1, "{report:?}");
    assert_eq!(report.packets_sent, report.packets_received + report.lost);
}

#[test]
fn loss_is_counted_by_the_packet() {
    let report = through_relay(5, |_, n| if n % 10 == 3 { Tamper::Drop } else { Tamper::None });
    assert!(report.lost >= 5 && !report.is_clean(), "{report:?}");
    assert_eq!(report.packets_sent - report.packets_received, report.lost);
    assert_eq!(report.corrupted + report.crossed + report.duplicated + report.reordered, 0, "{report:?}");
}

#[test]
fn a_dead_relay_is_all_loss() {
    let (a, b) = (Endpoint::bind(LOOPBACK, false).unwrap(), Endpoint::bind(LOOPBACK, false).unwrap());
    let silent = UdpSocket::bind((LOOPBACK, 0)).unwrap();
    let address = silent.local_addr().unwrap();
    let report = run(plan(vec![(address, address); 2], a, b), &mut |_, _| {}).unwrap();
    assert_eq!(report.lost, report.packets_sent);
    assert!(report.lost > 0 && !report.is_clean());
}

#[test]
fn plans_that_cannot_run_are_refused() {
    let bind = || Endpoint::bind(LOOPBACK, false).unwrap();
    let mut without = plan(Vec::new(), bind(), bind());
    without.a.clear();
    assert!(run(without, &mut |_, _| {}).is_err());
    let mut slow = plan(Vec::new(), bind(), bind());
    slow.packet_ms = 61;
    assert!(run(slow, &mut |_, _| {}).is_err());
    for (interval, tick) in [(20_000, 0), (20_000, 300), (100, 200), (2_000_000, 1)] {
        let pace = Pace { interval: Duration::from_micros(interval), tick: Duration::from_micros(tick) };
        let uneven = MediaPlan { pace: Some(pace), ..plan(Vec::new(), bind(), bind()) };
        assert!(run(uneven, &mut |_, _| {}).is_err(), "{pace:?}");
    }
}
