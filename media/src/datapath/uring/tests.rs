use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::completions::GROUP;
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

/// Beside descriptors of a datapath on top, whatever comes by the ring ends a sleep too, the wake-up included.
#[test]
fn a_sleep_beside_others_is_ended_by_any_of_them() {
    const HOUR: Duration = Duration::from_secs(3600);
    let (setup, wake) = setup(4);
    let bell = wake.as_fd().try_clone_to_owned().unwrap();
    let mut forwarder = Forwarder::with(Uring::with_buffers(setup, 8, 0).unwrap(), wake, 12);
    let other = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    let waits = || vec![libc::pollfd { fd: other.as_raw_fd(), events: libc::POLLIN, revents: 0 }];
    // The first one may end by itself: the kernel then begins to tell of the ring.
    forwarder.datapath.sleep_beside(Duration::from_millis(1), &mut waits()).unwrap();
    for round in 1..=20 {
        other.write(1).unwrap();
        forwarder.datapath.sleep_beside(HOUR, &mut waits()).unwrap();
        other.read().unwrap();
        forwarder.send(&[1]);
        while forwarder.seen.len() < round {
            forwarder.datapath.sleep_beside(HOUR, &mut waits()).unwrap();
            forwarder.relay();
        }
        std::thread::scope(|scope| {
            scope.spawn(|| nix::unistd::write(&bell, &1u64.to_ne_bytes()).unwrap());
            forwarder.datapath.sleep_beside(HOUR, &mut waits()).unwrap();
        });
        while forwarder.relay() > 0 {}
    }
    // The ring may still tell of what has been dealt with, once.
    forwarder.datapath.sleep_beside(Duration::from_millis(1), &mut waits()).unwrap();
    let mut none = waits();
    forwarder.datapath.sleep_beside(Duration::from_millis(1), &mut none).unwrap();
    assert!(none.iter().all(|wait| wait.revents == 0), "nothing came");
}

/// Packets are judged in groups: what comes in several, with closed ports among them, leaves in order.
#[test]
fn groups_of_packets_keep_their_order() {
    let (setup, wake) = setup(4);
    let mut forwarder = Forwarder::with(Uring::with_buffers(setup, 256, 0).unwrap(), wake, 13);
    let count = 3 * GROUP + 5;
    (0..count).for_each(|n| forwarder.send(&[n as u8, (n >> 8) as u8]));
    forwarder.relay_until(count);
    (0..count).for_each(|n| assert_eq!(forwarder.heard(), [n as u8, (n >> 8) as u8]));
}
