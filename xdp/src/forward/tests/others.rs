//! Packets of who is not the flow's source: they go up, and the flow goes on beside them.

use std::time::{Duration, Instant};

use super::frames::{Frame, rtp};
use super::host::apart;
use super::rig::{FIRST, PASS, Rig, SSRC, TX, wish};
use crate::forward::abi::Reason;
use crate::forward::*;

/// The flow's next packet, from another port, and from another address.
fn forged(rig: &Rig, sequence: u16) -> [Frame; 2] {
    let own = rig.packet(sequence);
    let (mut other_port, mut other_address) = (own.clone(), own);
    other_port.from.set_port(other_port.from.port() ^ 1);
    let address = if rig.v6 { "2001:db8:1::66" } else { "198.51.100.66" };
    other_address.from.set_ip(address.parse().unwrap());
    [other_port, other_address]
}

#[test]
fn packets_of_others_go_up_and_leave_a_flow_alone() {
    for v6 in [false, true] {
        apart(|| {
            let rig = Rig::new(v6);
            for n in 0..20 {
                assert_eq!(rig.run(&rig.packet(FIRST + n).bytes()).0, TX, "packet {n}");
                let (before, passed) = (rig.seen(), rig.passed(Reason::Source));
                for frame in forged(&rig, FIRST + n + 1) {
                    assert_eq!(rig.run(&frame.bytes()), (PASS, frame.bytes()));
                }
                assert_eq!((rig.seen(), rig.passed(Reason::Source)), (before, passed + 2));
            }
            assert_eq!((rig.seen().packets, rig.seen().takeovers, rig.seen().skipped), (20, 1, 0));
        });
    }
}

#[test]
fn packets_of_others_do_not_keep_a_flow_from_the_driver() {
    apart(|| {
        let rig = Rig::new(false);
        let event = rig.incoming(rtp(101, FIRST, 0, SSRC)).bytes();
        assert_eq!(rig.run(&event).0, PASS);
        rig.arm();
        let armed = rig.seen();
        forged(&rig, FIRST + 1).iter().for_each(|frame| assert_eq!(rig.run(&frame.bytes()).0, PASS));
        assert_eq!(rig.seen(), armed, "nothing of theirs is waited for");
        assert_eq!(rig.run(&rig.packet(FIRST + 1).bytes()).0, TX);
        // Nor once the lease is over, or while the flow leaves.
        let before = rig.seen();
        rig.forward.beat(monotonic_ns() - abi::LEASE_NS - 1);
        forged(&rig, FIRST + 2).iter().for_each(|frame| assert_eq!(rig.run(&frame.bytes()).0, PASS));
        rig.forward.leave(rig.flow, monotonic_ns());
        forged(&rig, FIRST + 2).iter().for_each(|frame| assert_eq!(rig.run(&frame.bytes()).0, PASS));
        assert_eq!(rig.seen(), before);
        // Without a wish there is no source.
        rig.forward.stop(rig.flow, monotonic_ns());
        forged(&rig, FIRST + 2).iter().for_each(|frame| assert_eq!(rig.run(&frame.bytes()).0, PASS));
        assert_eq!(rig.seen().passed, before.passed + 2);
    });
}

#[test]
fn a_sender_without_a_pause_leaves_at_the_end_of_a_window() {
    apart(|| {
        let rig = Rig::new(false);
        rig.forward.stop(rig.flow, monotonic_ns());
        std::thread::sleep(Duration::from_millis(11));
        let fast = Wish { packets_per_s: 240_000, bytes_per_s: 240_000_000, ..wish(false) };
        assert!(rig.forward.tell(rig.flow, &fast, monotonic_ns()));
        rig.arm();
        assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, TX);
        rig.forward.leave(rig.flow, monotonic_ns());
        let begun = Instant::now();
        let left = (1..u16::MAX).find(|n| {
            // Closer together than those of one poll.
            std::thread::sleep(Duration::from_micros(20));
            rig.run(&rig.packet(FIRST.wrapping_add(*n)).bytes()).0 == PASS
        });
        assert!(left.is_some(), "still relayed after {:?}", begun.elapsed());
        assert_eq!(rig.seen().relaying, 0);
    });
}
