//! Flows that the network driver relays, between two interfaces of a namespace, with a real media process: what leaves is
//! in order and whole, and what is told of it is as if the process had relayed it. Needs root, and says so.
#![cfg(test)]

#[path = "offload/queues.rs"]
mod queues;
#[path = "offload/stage.rs"]
mod stage;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use stage::{Stage, apart};

/// One side of a call says so many packets, the other takes what comes; of both, the numbers.
fn talk(stage: &Stage, packets: u32, spacing: Duration) -> Vec<u32> {
    let ear = stage.listen();
    for number in 0..packets {
        stage.alice.send_to(&stage::rtp(0, number), stage.relay_a).unwrap();
        thread::sleep(spacing);
    }
    ear.end()
}

#[test]
fn a_settled_flow_is_relayed_in_the_driver_and_told_as_if_it_were_not() {
    apart(|| {
        let stage = Stage::start("io_uring");
        let heard = talk(&stage, 600, Duration::from_millis(5));
        assert_eq!(heard, (0..600).collect::<Vec<_>>());
        // The driver's figures are looked at twice a second.
        stage.until("the driver's packets are counted", || stage.packets("xdp") + stage.packets("io_uring") == 600);
        assert!(stage.packets("xdp") > 300, "{}", stage.packets("xdp"));
        assert_eq!(stage.metric("moorline_media_driver_flows", ""), 1);
        assert!(stage.metric("moorline_media_residence_seconds_count", "datapath=\"xdp\"") > 10);
        let report = stage.report();
        let alice = report.legs[0][0];
        assert_eq!((alice.packets, alice.bytes, alice.lost), (600, 600 * 172, 0));
        assert_eq!((alice.reordered, alice.duplicates, alice.gaps, alice.refused), (0, 0, 0, 0));
        assert_eq!(stage.close().legs[0][0].packets, 600);
    });
}

#[test]
fn it_works_beside_af_xdp() {
    apart(|| {
        let stage = Stage::start("af_xdp");
        assert_eq!(talk(&stage, 600, Duration::from_millis(5)), (0..600).collect::<Vec<_>>());
        stage.until("all are counted", || stage.packets("xdp") + stage.packets("af_xdp") == 600);
        assert!(stage.packets("xdp") > 300, "{}", stage.packets("xdp"));
        let alice = stage.close().legs[0][0];
        assert_eq!((alice.packets, alice.lost, alice.reordered), (600, 0, 0));
    });
}

#[test]
fn a_flow_goes_on_while_its_process_is_replaced() {
    apart(|| {
        let mut stage = Stage::start("io_uring");
        assert_eq!(talk(&stage, 400, Duration::from_millis(5)).len(), 400);
        let (alice, relay, ear) = (stage.alice.try_clone().unwrap(), stage.relay_a, stage.listen());
        let over = AtomicBool::new(false);
        let sent = thread::scope(|scope| {
            let speaker = scope.spawn(|| {
                let mut number = 400;
                while !over.load(Ordering::Relaxed) {
                    alice.send_to(&stage::rtp(0, number), relay).unwrap();
                    number += 1;
                    thread::sleep(Duration::from_millis(20));
                }
                number
            });
            thread::sleep(Duration::from_millis(200));
            stage.kill();
            thread::sleep(Duration::from_secs(1));
            stage.come_back();
            stage.until("the driver relays for the new process", || stage.packets("xdp") > 20);
            over.store(true, Ordering::Relaxed);
            speaker.join().unwrap()
        });
        assert_eq!(ear.end(), (400..sent).collect::<Vec<_>>());
    });
}

#[test]
fn a_hundred_switches_at_5000_packets_a_second_lose_and_reorder_nothing() {
    apart(|| {
        let stage = Stage::start("io_uring");
        let ear = stage.listen();
        let (alice, relay) = (stage.alice.try_clone().unwrap(), stage.relay_a);
        let (odd, over, sent) = (AtomicBool::new(false), AtomicBool::new(false), AtomicU32::new(0));
        thread::scope(|scope| {
            scope.spawn(|| {
                // Paced by the clock: what a late thread owes is sent at once.
                let begun = Instant::now();
                while !over.load(Ordering::Relaxed) {
                    let due = (begun.elapsed().as_micros() / 200) as u32;
                    while sent.load(Ordering::Relaxed) < due {
                        // Of another payload type: it comes up, and the flow with it.
                        let payload_type = if odd.swap(false, Ordering::Relaxed) { 13 } else { 0 };
                        let number = sent.fetch_add(1, Ordering::Relaxed);
                        alice.send_to(&stage::rtp(payload_type, number), relay).unwrap();
                    }
                    thread::sleep(Duration::from_micros(100));
                }
            });
            stage.until("the driver relays", || stage.packets("xdp") > 1_000);
            for _ in 0..100 {
                odd.store(true, Ordering::Relaxed);
                thread::sleep(Duration::from_micros(400));
                // The relay stands still while 25 packets come up to it.
                stage.signal(Signal::SIGSTOP);
                thread::sleep(Duration::from_millis(5));
                stage.signal(Signal::SIGCONT);
                thread::sleep(Duration::from_millis(30));
            }
            over.store(true, Ordering::Relaxed);
        });
        let sent = sent.into_inner();
        let heard = ear.end();
        let wrong = heard.windows(2).filter(|pair| pair[1] != pair[0] + 1).count();
        assert_eq!((heard.len(), wrong), (sent as usize, 0), "of {sent} packets");
        let alice = stage.close().legs[0][0];
        assert_eq!((alice.packets, alice.lost, alice.reordered, alice.duplicates), (sent.into(), 0, 0, 0));
        assert_eq!(alice.silence.unwrap_or_default().noise_packets, 100, "each came up");
        let (driver, process) = (stage.packets("xdp"), stage.packets("io_uring"));
        assert_eq!(driver + process, u64::from(sent));
        assert!(driver > process && process > 100 * 10, "{driver} in the driver, {process} in the process");
    });
}

#[test]
fn what_the_driver_must_not_decide_comes_up() {
    apart(|| {
        let stage = Stage::start("io_uring");
        let heard = talk(&stage, 400, Duration::from_millis(5));
        assert_eq!(heard.len(), 400);
        stage.until("the driver relays", || stage.packets("xdp") > 50);
        // Somebody at another port, somebody with another source: refused as ever, and the flow goes on.
        let ear = stage.listen();
        stage.mallory.send_to(&stage::rtp(0, 400), stage.relay_a).unwrap();
        let mut forged = stage::rtp(0, 400);
        forged[8..12].copy_from_slice(&[6; 4]);
        stage.alice.send_to(&forged, stage.relay_a).unwrap();
        for number in 400..500 {
            stage.alice.send_to(&stage::rtp(0, number), stage.relay_a).unwrap();
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(ear.end(), (400..500).collect::<Vec<_>>());
        let alice = stage.close().legs[0][0];
        assert_eq!((alice.packets, alice.refused, alice.lost), (500, 2, 0));
    });
}

#[test]
fn a_start_that_cannot_be_names_what_is_missing() {
    apart(|| {
        let error = Stage::fails("offload = true", false);
        assert!(error.contains("media.offload"), "{error}");
    });
}

#[test]
fn a_flow_goes_over_in_order_though_the_process_is_held_back() {
    apart(|| {
        // Rings of 128 packets: what waits is lost soon.
        let settings = "cores = [0]\noffload = true\ndatapath = \"af_xdp\"\nxdp = { frames_per_queue = 256 }";
        let stage = Stage::with(settings.to_owned(), 1);
        let ear = stage.listen();
        let (alice, relay) = (stage.alice.try_clone().unwrap(), stage.relay_a);
        let (over, sent, media) = (AtomicBool::new(false), AtomicU32::new(0), stage.pid());
        let way = |way: &str| stage.metric("moorline_media_driver_packets_total", &format!("way=\"{way}\""));
        thread::scope(|scope| {
            scope.spawn(|| {
                let begun = Instant::now();
                while !over.load(Ordering::Relaxed) {
                    let due = (begun.elapsed().as_micros() / 200) as u32;
                    while sent.load(Ordering::Relaxed) < due {
                        let number = sent.fetch_add(1, Ordering::Relaxed);
                        alice.send_to(&stage::rtp(0, number), relay).unwrap();
                    }
                    thread::sleep(Duration::from_micros(100));
                }
            });
            // A twentieth of a core: less than what comes takes.
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    stage::send_signal(media, Signal::SIGSTOP);
                    thread::sleep(Duration::from_millis(19));
                    stage::send_signal(media, Signal::SIGCONT);
                    thread::sleep(Duration::from_millis(1));
                }
            });
            stage.until("the driver relays", || way("relayed") > 20_000);
            over.store(true, Ordering::Relaxed);
        });
        let (sent, heard) = (sent.into_inner(), ear.end());
        assert!(heard.is_sorted_by(|a, b| a < b), "nothing is out of order");
        let alice = stage.close().legs[0][0];
        assert_eq!((alice.reordered, alice.duplicates), (0, 0));
        assert!(heard.len() as u64 <= alice.packets && alice.packets <= sent.into());
    });
}
