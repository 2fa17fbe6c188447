use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

use super::*;

mod product;

fn plan(sip_port: u16) -> Plan {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    Plan {
        calls: 20,
        rate_per_s: 100.0,
        ring: Duration::from_millis(50),
        talk: Duration::from_millis(500),
        called: Number::with_prefix("400"),
        seed: 5,
        rtcp: true,
        verbatim: true,
        ..Plan::new(local(sip_port), local(0), local(sip_port))
    }
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn caller_and_callee_without_anything_between_are_clean() {
    let mut last = Progress::default();
    let report = run(&plan(free_port()), &mut |progress| last = *progress).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!((report.attempted, report.answered, report.completed), (20, 20, 20));
    assert!(report.packets_sent >= 20 * 2 * 24, "{report:?}");
    assert_eq!(report.setup.len(), 20);
    assert_eq!(report.first_provisional.len(), 20);
    assert!(report.setup.min() >= 50_000_000, "{report:?}");
    assert_eq!((last.completed, last.failed, last.active), (20, 0, 0));
}

/// Between caller and callee: forwards the datagrams that `edit` keeps, as it leaves them. Requests within
/// a dialog go around it, since it records no route.
struct Shim {
    front: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Shim {
    fn start(callee: SocketAddr, mut edit: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static) -> Shim {
        let bind = || {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            socket
        };
        let (front, back) = (bind(), bind());
        let address = front.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut caller = None;
            let mut datagram = [0; 8192];
            while !stopped.load(Relaxed) {
                if let Ok((length, source)) = front.recv_from(&mut datagram) {
                    caller = Some(source);
                    let mut bytes = datagram[..length].to_vec();
                    if edit(&mut bytes) {
                        back.send_to(&bytes, callee).unwrap();
                    }
                }
                if let (Ok((length, _)), Some(caller)) = (back.recv_from(&mut datagram), caller) {
                    let mut bytes = datagram[..length].to_vec();
                    if edit(&mut bytes) {
                        front.send_to(&bytes, caller).unwrap();
                    }
                }
            }
        });
        Shim { front: address, stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap();
    }
}

fn through_shim(calls: u32, edit: impl FnMut(&mut Vec<u8>) -> bool + Send + 'static) -> Report {
    let mut plan = plan(free_port());
    (plan.calls, plan.talk) = (calls, Duration::from_millis(100));
    let shim = Shim::start(plan.callee, edit);
    plan.sbc = shim.front;
    let report = run(&plan, &mut |_| {}).unwrap();
    shim.stop();
    report
}

fn replace(bytes: &mut Vec<u8>, from: &str, to: &str) {
    assert_eq!(from.len(), to.len(), "Content-Length stays");
    let text = String::from_utf8(std::mem::take(bytes)).unwrap();
    *bytes = text.replace(from, to).into_bytes();
}

#[test]
fn lost_messages_are_sent_again_and_counted() {
    let mut lost = [false; 2];
    let report = through_shim(1, move |bytes| {
        let which = usize::from(bytes.starts_with(b"SIP/2.0 200"));
        let affected = which == 1 || bytes.starts_with(b"INVITE");
        !affected || std::mem::replace(&mut lost[which], true)
    });
    assert_eq!((report.completed, report.sip_retransmissions), (1, 2), "{report:?}");
    assert!(!report.is_clean());
    assert!(report.setup.min() >= 1_000_000_000, "{report:?}");
}

#[test]
fn a_forwarded_call_is_clean() {
    let report = through_shim(5, |_| true);
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn changes_on_the_way_fail_the_call() {
    let expect = |edit: fn(&mut Vec<u8>), reason: &str| {
        let report = through_shim(2, move |bytes| {
            edit(bytes);
            true
        });
        assert_eq!(report.failed.get(&Failure::from(reason)), Some(&2), "{report:?}");
        assert_eq!(report.completed, 0);
        assert!(!report.is_clean());
    };
    expect(|bytes| replace(bytes, "q=a line", "q=b line"), "offer: SDP changed in more than its addresses");
    expect(
        |bytes| {
            if bytes.starts_with(b"SIP/2.0 200") {
                replace(bytes, "a=ptime:20", "a=ptime:40");
            }
        },
        "answer: SDP changed in more than its addresses",
    );
    expect(|bytes| replace(bytes, " of  5", " of 5 "), "the INVITE lost an unknown header");
}

#[test]
fn media_outside_the_relays_networks_fails_the_call() {
    let mut plan = plan(free_port());
    plan.relay_networks = vec!["127.103.169.64/27".parse().unwrap()];
    let report = run(&plan, &mut |_| {}).unwrap();
    assert_eq!(
        report.failed.get(&Failure::from("offer: SDP names a media address that is not the relay's")),
        Some(&20),
        "{report:?}"
    );
    assert_eq!(report.packets_sent, 0);
}

#[test]
fn a_refusal_is_reported_by_its_status() {
    let report = through_shim(3, |bytes| {
        if bytes.starts_with(b"SIP/2.0 200 OK") {
            replace(bytes, "SIP/2.0 200 OK", "SIP/2.0 503 NO");
        }
        true
    });
    assert_eq!(report.failed.get(&Failure::refused(503, "NO")), Some(&3), "{report:?}");
    assert_eq!((report.answered, report.completed, report.packets_sent), (0, 0, 0));
}

#[test]
fn plans_that_make_no_sense_are_refused() {
    let refused = |edit: fn(&mut Plan)| {
        let mut plan = plan(free_port());
        edit(&mut plan);
        run(&plan, &mut |_| {}).is_err()
    };
    assert!(refused(|plan| plan.calls = 0));
    assert!(refused(|plan| plan.rate_per_s = 0.0));
    assert!(refused(|plan| plan.rate_per_s = f64::NAN));
    assert!(refused(|plan| plan.concurrent = 0));
    assert!(refused(|plan| plan.talk = Duration::from_secs(1_000_000)));
    assert!(refused(|plan| plan.packet_ms = 100));
    assert!(refused(|plan| plan.caller = "192.0.2.1:5060".parse().unwrap()));
}
