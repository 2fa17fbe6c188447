use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};

use super::{BATCH, Batch, Outbox};
use crate::clock::now_ns;

/// Two sockets on loopback, the second with timestamps.
fn pair(address: &str) -> (UdpSocket, UdpSocket) {
    let open = || UdpSocket::bind((address, 0)).unwrap();
    let (from, to) = (open(), open());
    setsockopt(&to, sockopt::ReceiveTimestampns, &true).unwrap();
    (from, to)
}

#[test]
fn more_than_a_batch_comes_whole_in_order_and_stamped() {
    for address in ["127.0.0.1", "::1"] {
        let (from, to) = pair(address);
        let mut outbox = Outbox::new(2);
        let before = now_ns();
        let count = BATCH + 5;
        for number in 0..count {
            outbox.push(1, to.local_addr().unwrap(), Arc::from(vec![number as u8; number * 11].as_slice()));
        }
        assert_eq!(outbox.flush(0, from.as_raw_fd()), (0, 0), "nothing was for this socket");
        assert_eq!((outbox.len(), outbox.flush(1, from.as_raw_fd())), (count, (count as u64, 0)));
        assert_eq!(outbox.len(), 0);

        let mut batch = Batch::new();
        let mut number = 0;
        for filled in [true, false] {
            batch.clear();
            assert_eq!(batch.receive(to.as_raw_fd()).unwrap(), filled);
            for position in 0..batch.len() {
                let datagram = batch.get(position).unwrap();
                assert_eq!(datagram.bytes, vec![number as u8; number * 11]);
                assert_eq!(datagram.source, from.local_addr().unwrap());
                assert!((before..=now_ns()).contains(&datagram.at), "received after it was sent and before now");
                number += 1;
            }
        }
        assert_eq!(number, count);
        batch.clear();
        to.set_nonblocking(true).unwrap();
        assert!(batch.receive(to.as_raw_fd()).is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
    }
}

#[test]
fn the_largest_datagram_fits_and_what_waits_is_dated_back() {
    let (from, to) = pair("127.0.0.1");
    let largest = vec![7; 65_507];
    let mut batch = Batch::new();
    // The kernel begins to stamp some time after it was asked to.
    let dated_back = (0..200).any(|_| {
        from.send_to(&largest, to.local_addr().unwrap()).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        batch.clear();
        batch.receive(to.as_raw_fd()).unwrap();
        let datagram = batch.get(0).unwrap();
        assert_eq!(datagram.bytes, largest);
        now_ns() - datagram.at >= 30_000_000
    });
    assert!(dated_back);
}

#[test]
fn what_cannot_be_sent_does_not_hold_up_the_rest() {
    let (from, to) = pair("127.0.0.1");
    let mut outbox = Outbox::new(1);
    let (good, bad) = (to.local_addr().unwrap(), "[::1]:9".parse().unwrap());
    for remote in [good, bad, bad, good] {
        outbox.push(0, remote, Arc::from(&b"x"[..]));
    }
    assert_eq!(outbox.flush(0, from.as_raw_fd()), (2, 2));
    let mut batch = Batch::new();
    batch.receive(to.as_raw_fd()).unwrap();
    assert_eq!(batch.len(), 2);
}
