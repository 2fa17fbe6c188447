use super::slots::Token;
use super::{REARM_PAUSE, Uring};
use crate::datapath::tests::{Forwarder, IN, setup};

/// A multishot receive ends when the ring has no buffer left; it has to be armed again.
#[test]
fn more_packets_than_buffers_lose_none() {
    let (setup, wake) = setup(4);
    let uring = Uring::with_buffers(setup, 8, 0).unwrap();
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
        let forwarder = Forwarder::with(Uring::with_buffers(setup, 8, 0).unwrap(), wake, 6);
        (0..20u8).for_each(|n| forwarder.send(&[n]));
    }
}

/// A shard that is never idle does not sleep, and must arm a failed receive all the same.
#[test]
fn a_failed_receive_is_armed_again_without_a_sleep() {
    let (setup, wake) = setup(4);
    let mut forwarder = Forwarder::with(Uring::with_buffers(setup, 8, 0).unwrap(), wake, 7);
    let token = Token::Receive { endpoint: IN, generation: 1 };
    forwarder.datapath.receive_ended(token, -libc::EIO, &mut forwarder.tally);
    forwarder.relay();
    std::thread::sleep(REARM_PAUSE);
    forwarder.relay();
    assert!(forwarder.datapath.failed.is_empty());
    forwarder.send(&[1]);
    forwarder.relay_until(1);
}
