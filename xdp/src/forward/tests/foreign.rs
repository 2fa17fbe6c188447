//! Flows that are relayed only while they come by a queue of another shard, and flows that change their queue.

use std::thread::sleep;
use std::time::Duration;

use super::host::apart;
use super::rig::{FIRST, PASS, Rig, TX, local};
use super::steering::{REDIRECT, socket};
use crate::forward::abi::Reason;
use crate::forward::*;
use crate::xsk::{Umem, UmemPlan, XskSocket};

/// The queue that all comes by has a socket of shard 0; what changes is whose the port is.
struct Queue {
    rig: Rig,
    entry: u32,
    next: std::cell::Cell<u16>,
    _socket: XskSocket,
    _umem: Umem,
}

impl Queue {
    fn new(v6: bool) -> Queue {
        let rig = Rig::new(v6);
        let mut umem = Umem::new(UmemPlan { frames: 64, frame_size: 2048, headroom: 0 }).unwrap();
        let socket = socket(&mut umem, rig.index);
        rig.forward.add_socket(rig.index, 0, 0, &socket).unwrap();
        rig.forward.relay_only_foreign();
        let entry = rig.forward.entry(local(v6)).unwrap();
        Queue { rig, entry, next: std::cell::Cell::new(FIRST), _socket: socket, _umem: umem }
    }

    /// What becomes of the flow's next packet, where the port is this shard's.
    fn of_shard(&self, shard: u16) -> u32 {
        self.rig.forward.open(self.entry, shard, Some(self.rig.flow));
        let number = self.next.replace(self.next.get() + 1);
        self.rig.run(&self.rig.packet(number).bytes()).0
    }

    fn own(&self) -> u32 {
        self.of_shard(0)
    }

    fn foreign(&self) -> u32 {
        self.of_shard(1)
    }
}

#[test]
fn a_flow_is_relayed_by_a_foreign_queue_and_steered_by_its_own() {
    for v6 in [false, true] {
        apart(|| {
            let queue = Queue::new(v6);
            queue.rig.arm();
            assert_eq!(queue.own(), REDIRECT);
            assert_eq!(queue.rig.passed(Reason::OwnQueue), 1);
            queue.rig.arm();
            assert_eq!([queue.foreign(), queue.foreign()], [TX, TX]);
            let before = queue.rig.seen();
            sleep(Duration::from_millis(1));
            assert_eq!(queue.own(), REDIRECT, "going home is a change like any other");
            let seen = queue.rig.seen();
            assert_eq!((seen.passed, seen.relaying, seen.packets), (before.passed + 1, 0, before.packets));
            queue.rig.forward.remove_socket(queue.rig.index, 0);
            queue.rig.arm();
            assert_eq!(queue.own(), TX, "a queue without a socket is nobody's");
        });
    }
}

#[test]
fn without_that_flag_a_flow_is_relayed_by_any_queue() {
    apart(|| {
        let queue = Queue::new(false);
        // As the next process does, that has all flows relayed.
        lease::take(&queue.rig.forward.lease, monotonic_ns());
        queue.rig.arm();
        assert_eq!([queue.own(), queue.foreign(), queue.own()], [TX, TX, TX]);
    });
}

#[test]
fn a_flow_goes_home_at_a_packet_that_can_overtake_nothing() {
    apart(|| {
        let queue = Queue::new(false);
        let together = (0..2000).any(|_| {
            queue.rig.arm();
            let now = monotonic_ns();
            queue.foreign();
            let (relayed, took) = (queue.own() == TX, monotonic_ns() - now);
            assert!(relayed || took > abi::GRACE_NS, "{took} ns");
            sleep(Duration::from_millis(1));
            assert_eq!(queue.own(), REDIRECT);
            relayed
        });
        assert!(together);
    });
}

#[test]
fn what_is_in_flight_by_the_kernel_is_not_overtaken_by_a_socket() {
    apart(|| {
        let queue = Queue::new(false);
        queue.rig.arm();
        assert_eq!(queue.own(), REDIRECT);
        assert_eq!(queue.foreign(), PASS, "one is in flight by the socket");
        assert_eq!([queue.own(), queue.own()], [PASS, PASS], "and now one by the kernel");
        assert_eq!(queue.rig.passed(Reason::Unarmed), 1);
        assert_eq!(queue.rig.seen().by_kernel_at, queue.rig.seen().up_at);
        // All but one were dealt with.
        queue.rig.forward.arm(queue.rig.flow, queue.rig.seen().passed - 1, &Progress::default());
        assert_eq!(queue.own(), PASS);
        queue.rig.arm();
        assert_eq!(queue.own(), REDIRECT);
        assert!(queue.rig.seen().by_kernel_at < queue.rig.seen().up_at);
    });
}

#[test]
fn a_flow_that_is_not_to_be_relayed_follows_the_kernels_way_for_some_time() {
    apart(|| {
        let queue = Queue::new(false);
        queue.rig.forward.stop(queue.rig.flow, monotonic_ns());
        assert_eq!(queue.foreign(), PASS);
        let now = monotonic_ns();
        assert!(queue.own() == PASS || monotonic_ns() - now > abi::SETTLE_NS);
        sleep(Duration::from_nanos(abi::SETTLE_NS));
        assert_eq!(queue.own(), REDIRECT);
        // What counts for no flow goes to the socket at any time.
        assert_eq!(queue.foreign(), PASS);
        queue.rig.forward.open(queue.entry, 0, Some(queue.rig.flow));
        assert_eq!(queue.rig.run(&queue.rig.incoming(vec![0x80, 200, 0, 1, 0, 0, 0, 0]).bytes()).0, REDIRECT);
    });
}
