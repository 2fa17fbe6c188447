//! Batched sending.

use std::io::IoSlice;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, sendmmsg};

use super::packet::MAX_PACKET;

/// As many as leave by one system call.
const BATCH: usize = 32;

/// Packets that are to leave by one socket.
pub(crate) struct Outbox {
    headers: MultiHeaders<SockaddrStorage>,
    packets: Box<[[u8; MAX_PACKET]]>,
    /// The length of each.
    lengths: Vec<usize>,
    to: Vec<Option<SockaddrStorage>>,
    /// Whose each is.
    calls: Vec<u32>,
}

impl Outbox {
    pub(crate) fn new() -> Outbox {
        Outbox {
            headers: MultiHeaders::preallocate(BATCH, None),
            packets: vec![[0; MAX_PACKET]; BATCH].into_boxed_slice(),
            lengths: Vec::with_capacity(BATCH),
            to: Vec::with_capacity(BATCH),
            calls: Vec::with_capacity(BATCH),
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.calls.len() == BATCH
    }

    /// Adds a packet that `write` writes, and tells the length of. Not to one that is full.
    pub(crate) fn push(&mut self, call: u32, to: SocketAddr, write: impl FnOnce(&mut [u8; MAX_PACKET]) -> usize) {
        if let Some(packet) = self.packets.get_mut(self.calls.len()) {
            self.lengths.push(write(packet));
            self.to.push(Some(SockaddrStorage::from(to)));
            self.calls.push(call);
        }
    }

    /// Sends all and returns how many left; `refused` gets the call of each that did not.
    pub(crate) fn flush(&mut self, socket: &UdpSocket, mut refused: impl FnMut(u32)) -> u64 {
        let (mut next, mut sent) = (0, 0);
        while next < self.calls.len() {
            match self.send_from(next, socket) {
                Ok(count) => {
                    next += count;
                    sent += count as u64;
                }
                Err(Errno::EINTR) => {}
                // It is the first of them that was refused.
                Err(_) => {
                    refused(self.calls[next]);
                    next += 1;
                }
            }
        }
        self.lengths.clear();
        self.to.clear();
        self.calls.clear();
        sent
    }

    fn send_from(&mut self, first: usize, socket: &UdpSocket) -> nix::Result<usize> {
        let slices: Vec<[IoSlice<'_>; 1]> =
            self.packets.iter().zip(&self.lengths).map(|(packet, length)| [IoSlice::new(&packet[..*length])]).collect();
        let no_control: [ControlMessage<'_>; 0] = [];
        let flags = MsgFlags::MSG_DONTWAIT;
        let (slices, to) = (&slices[first..], &self.to[first..]);
        sendmmsg(socket.as_raw_fd(), &mut self.headers, slices, to, no_control, flags).map(Iterator::count)
    }
}
