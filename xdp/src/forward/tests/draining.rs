//! A flow of which something is always in flight: its packets are dropped until that has been dealt with.

use std::thread::sleep;
use std::time::Duration;

use super::frames::rtp;
use super::host::apart;
use super::rig::{FIRST, PASS, Rig, SSRC, TX, wish};
use super::steering::DROP;
use crate::forward::*;

const LONG_NS: u64 = 60_000_000_000;

#[test]
fn a_flow_that_is_drained_goes_over_when_what_was_in_flight_has_been_dealt_with() {
    for v6 in [false, true] {
        apart(|| {
            let rig = Rig::new(v6);
            let run = |number: u16| rig.run(&rig.packet(number).bytes()).0;
            let event = rig.incoming(rtp(101, FIRST, 0, SSRC)).bytes();
            assert_eq!(rig.run(&event).0, PASS);
            assert_eq!(run(FIRST + 1), PASS, "the event is in flight");
            assert!(rig.forward.drain(rig.flow, monotonic_ns() + LONG_NS));
            assert!(rig.forward.wished(rig.flow) && rig.forward.is_told(rig.flow, &wish(v6)));
            let before = rig.seen();
            assert_eq!([run(FIRST + 2), run(FIRST + 3)], [DROP, DROP]);
            assert_eq!(rig.seen(), before, "they leave no trace but in the sum");
            assert_eq!(rig.forward.counts().unwrap().drained, 2);
            // What the process has to hear of goes up all the same, and so does what is another's.
            let mut other = rig.packet(FIRST);
            other.from.set_port(9);
            assert_eq!([rig.run(&event).0, rig.run(&other.bytes()).0], [PASS, PASS]);
            assert_eq!(run(FIRST + 4), DROP);
            rig.arm();
            assert_eq!([run(FIRST + 5), run(FIRST + 6)], [TX, TX]);
            rig.forward.fill(rig.flow);
            assert_eq!(run(FIRST + 7), TX, "nothing but the wish has changed");
            assert_eq!((rig.seen().takeovers, rig.forward.counts().unwrap().drained), (1, 3));
        });
    }
}

#[test]
fn a_drain_ends_with_its_time_or_its_wish() {
    apart(|| {
        let rig = Rig::new(false);
        let run = || rig.run(&rig.packet(FIRST).bytes()).0;
        rig.run(&rig.incoming(rtp(101, FIRST, 0, SSRC)).bytes());
        rig.forward.drain(rig.flow, monotonic_ns() + LONG_NS);
        assert_eq!(run(), DROP);
        rig.forward.fill(rig.flow);
        assert_eq!(run(), PASS);
        // A shorter one does not cut a longer one off: that of another shard.
        rig.forward.drain(rig.flow, monotonic_ns());
        assert_eq!(run(), DROP);
        lease::take(&rig.forward.lease, monotonic_ns());
        assert_eq!(run(), PASS, "the next process begins anew");
        rig.forward.drain(rig.flow, monotonic_ns() + 1_000_000);
        sleep(Duration::from_millis(2));
        assert_eq!(run(), PASS, "over, though nobody has ended it");
        rig.forward.drain(rig.flow, monotonic_ns() + LONG_NS);
        rig.forward.beat(monotonic_ns() - abi::LEASE_NS - 1);
        assert_eq!(run(), PASS, "nobody is there to deal with what is in flight");
    });
}

#[test]
fn what_is_not_told_is_not_drained() {
    apart(|| {
        let rig = Rig::new(false);
        rig.forward.drain(rig.flow, monotonic_ns() + LONG_NS);
        assert!(!rig.forward.has_left(rig.flow, monotonic_ns()), "it may be relayed any moment");
        rig.forward.leave(rig.flow, monotonic_ns());
        assert!(!rig.forward.drain(rig.flow, monotonic_ns() + LONG_NS));
        assert!(!rig.forward.wished(rig.flow));
        assert_eq!(rig.run(&rig.packet(FIRST).bytes()).0, PASS);
    });
}
