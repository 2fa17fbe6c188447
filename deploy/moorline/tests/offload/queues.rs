//! Two queues and two shards of AF_XDP sockets: what comes by the other shard's queue is relayed in the driver, and order
//! is kept where a flow changes its queue.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::stage::{Stage, apart, rtp};
use super::talk;

const RELAYED: &str = "relayed";
const BY_SOCKET: &str = "af_xdp";

/// Two shards, and which of the two queues is not the call's shard's.
fn start() -> Option<(Stage, u32)> {
    if thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        eprintln!("SKIPPED: two shards need two cores");
        return None;
    }
    let stage = Stage::with("cores = [0, 1]\ndatapath = \"af_xdp\"".to_owned(), 2);
    stage.send_by(0);
    talk(&stage, 10, Duration::from_millis(5));
    let foreign = u32::from(way(&stage, BY_SOCKET) > 0);
    Some((stage, foreign))
}

/// How many packets of media ports the program gave this way.
fn way(stage: &Stage, way: &str) -> u64 {
    stage.metric("moorline_media_driver_packets_total", &format!("way=\"{way}\""))
}

/// One side of a call says so many packets more.
fn go_on(stage: &Stage, from: u32, packets: u32) {
    let ear = stage.listen();
    for number in from..from + packets {
        stage.alice.send_to(&rtp(0, number), stage.relay_a).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(ear.end(), (from..from + packets).collect::<Vec<_>>());
}

#[test]
fn a_flow_by_a_foreign_queue_is_relayed_in_the_driver_and_one_by_its_own_is_not() {
    apart(|| {
        let Some((stage, foreign)) = start() else { return };
        stage.send_by(1 - foreign);
        go_on(&stage, 10, 400);
        assert_eq!(way(&stage, RELAYED), 0);
        assert!(way(&stage, BY_SOCKET) >= 400);
        assert_eq!(stage.metric("moorline_media_driver_flows", ""), 0, "it is nothing to the driver");
        stage.send_by(foreign);
        let before = way(&stage, BY_SOCKET);
        go_on(&stage, 410, 400);
        assert!(way(&stage, RELAYED) > 100, "{}", way(&stage, RELAYED));
        assert_eq!(way(&stage, BY_SOCKET), before);
        assert_eq!(stage.metric("moorline_media_driver_flows", ""), 1);
        // It goes home, and before long it is nothing to the driver again.
        stage.send_by(1 - foreign);
        let before = way(&stage, RELAYED);
        go_on(&stage, 810, 300);
        assert_eq!(way(&stage, RELAYED), before);
        stage.until("the driver forgets it", || stage.metric("moorline_media_driver_flows", "") == 0);
        let alice = stage.close().legs[0][0];
        assert_eq!((alice.packets, alice.bytes), (1110, 1110 * 172));
        assert_eq!((alice.lost, alice.reordered, alice.duplicates, alice.refused), (0, 0, 0, 0));
        assert_eq!(stage.packets("xdp") + stage.packets("af_xdp"), 1110);
    });
}

#[test]
fn what_tells_something_new_comes_up_by_either_queue() {
    apart(|| {
        let Some((stage, foreign)) = start() else { return };
        stage.send_by(foreign);
        go_on(&stage, 10, 300);
        let relayed = way(&stage, RELAYED);
        assert!(relayed > 0);
        // Comfort noise, one way and the other, in the midst of speech.
        let ear = stage.listen();
        for number in 310..610 {
            let payload_type = if number % 50 == 0 { 13 } else { 0 };
            if number % 75 == 0 {
                stage.send_by(if number % 150 == 0 { foreign } else { 1 - foreign });
            }
            stage.alice.send_to(&rtp(payload_type, number), stage.relay_a).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(ear.end(), (310..610).collect::<Vec<_>>());
        let alice = stage.close().legs[0][0];
        assert_eq!((alice.packets, alice.lost, alice.reordered, alice.duplicates), (610, 0, 0, 0));
        assert_eq!(alice.silence.unwrap_or_default().noise_packets, 6);
    });
}

#[test]
fn a_flow_that_changes_its_queue_at_5000_packets_a_second_loses_and_reorders_nothing() {
    apart(|| {
        let Some((stage, foreign)) = start() else { return };
        stage.send_by(foreign);
        let ear = stage.listen();
        let (alice, relay) = (stage.alice.try_clone().unwrap(), stage.relay_a);
        let (over, sent) = (AtomicBool::new(false), AtomicU32::new(10));
        thread::scope(|scope| {
            scope.spawn(|| {
                // Paced by the clock: what a late thread owes is sent at once.
                let begun = Instant::now();
                while !over.load(Ordering::Relaxed) {
                    let due = 10 + (begun.elapsed().as_micros() / 200) as u32;
                    while sent.load(Ordering::Relaxed) < due {
                        let number = sent.fetch_add(1, Ordering::Relaxed);
                        alice.send_to(&rtp(0, number), relay).unwrap();
                    }
                    thread::sleep(Duration::from_micros(100));
                }
            });
            stage.until("the driver relays", || way(&stage, RELAYED) > 1_000);
            for turn in 0..60 {
                stage.send_by(if turn % 2 == 0 { 1 - foreign } else { foreign });
                if turn % 3 == 0 {
                    // The shards stand still while packets come up to them, some before the next change, some after it.
                    stage.signal(Signal::SIGSTOP);
                    thread::sleep(Duration::from_millis(3));
                    stage.send_by(if turn % 2 == 0 { foreign } else { 1 - foreign });
                    thread::sleep(Duration::from_millis(3));
                    stage.signal(Signal::SIGCONT);
                }
                thread::sleep(Duration::from_millis(30));
            }
            stage.send_by(foreign);
            let before = way(&stage, RELAYED);
            stage.until("the driver relays again", || way(&stage, RELAYED) > before + 1_000);
            over.store(true, Ordering::Relaxed);
        });
        let sent = sent.into_inner();
        let heard = ear.end();
        let wrong = heard.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert_eq!((heard.len() as u32, wrong), (sent - 10, 0), "of {sent} packets");
        let alice = stage.close().legs[0][0];
        assert_eq!((alice.packets, alice.lost, alice.reordered, alice.duplicates), (sent.into(), 0, 0, 0));
        let (driver, process) = (stage.packets("xdp"), stage.packets("af_xdp"));
        assert_eq!(driver + process, u64::from(sent));
        assert!(way(&stage, BY_SOCKET) > 100 && way(&stage, "kernel") > 100, "all three ways");
    });
}
