use super::Uring;
use crate::datapath::tests::{Forwarder, setup};

/// A multishot receive ends when the ring has no buffer left; it has to be armed again.
#[test]
fn more_packets_than_buffers_lose_none() {
    let (setup, wake) = setup(4);
    let uring = Uring::with_buffers(setup, 8).unwrap();
    let mut forwarder = Forwarder::with(uring, wake, 5);
    for round in 0..10u8 {
        (0..50u8).for_each(|n| forwarder.send(&[round, n, 7]));
        forwarder.relay_until(50 * (usize::from(round) + 1));
        (0..50u8).for_each(|n| assert_eq!(forwarder.heard(), [round, n, 7]));
    }
    assert!(forwarder.tally.buffer_stalls > 0);
}

/// Dropped with receives armed and packets waiting, a ring gives everything back at once.
#[test]
fn a_ring_that_is_dropped_frees_its_ports_at_once() {
    for _ in 0..20 {
        let (setup, wake) = setup(4);
        let forwarder = Forwarder::with(Uring::with_buffers(setup, 8).unwrap(), wake, 6);
        (0..20u8).for_each(|n| forwarder.send(&[n]));
    }
}
