//! Several datagrams in one system call, in memory allocated once.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg};
use nix::sys::time::TimeSpec;

use crate::clock;

/// The most datagrams of one call: what comes is answered before more is taken.
const BATCH: usize = 32;

/// The largest UDP payload, and so the largest SIP message here.
const MAX_DATAGRAM: usize = 65_535;

/// What one receive has brought.
pub(crate) struct Batch {
    headers: MultiHeaders<SockaddrStorage>,
    /// A room for each; what is never written to costs no memory.
    rooms: Box<[u8]>,
    datagrams: Vec<Received>,
}

struct Received {
    length: usize,
    source: SocketAddr,
    at: u64,
}

/// A datagram, and whence and when it came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datagram<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) source: SocketAddr,
    /// When the kernel received it, in the time of the clock.
    pub(crate) at: u64,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        Batch {
            headers: MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(TimeSpec))),
            rooms: vec![0; BATCH * MAX_DATAGRAM].into_boxed_slice(),
            datagrams: Vec::with_capacity(BATCH),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.datagrams.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// The datagram at a position below [`len`](Self::len).
    pub(crate) fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let Received { length, source, at } = self.datagrams.get(index)?;
        let room = index * MAX_DATAGRAM;
        Some(Datagram { bytes: self.rooms.get(room..room + length)?, source: *source, at: *at })
    }

    /// Receives what is there. True if that is as much as there is room for, so that more may be waiting.
    pub(super) fn receive(&mut self, socket: RawFd) -> io::Result<bool> {
        let mut rooms = self.rooms.chunks_exact_mut(MAX_DATAGRAM);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(rooms.next().unwrap_or_default())]);
        let received = recvmmsg(socket, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None)?;
        let clocks = clock::Offset::now();
        let mut count = 0;
        for message in received {
            count += 1;
            let stamp = message.cmsgs().ok().and_then(|mut all| all.find_map(stamp));
            let source = message.address.as_ref().and_then(socket_address);
            // Rooms and datagrams go by the same position, so one without a source keeps its place.
            let unspecified = SocketAddr::from(([0; 4], 0));
            self.datagrams.push(Received {
                length: if source.is_some() { message.bytes } else { 0 },
                source: source.unwrap_or(unspecified),
                at: clocks.monotonic(stamp),
            });
        }
        Ok(count == BATCH)
    }
}

fn stamp(message: ControlMessageOwned) -> Option<Duration> {
    match message {
        ControlMessageOwned::ScmTimestampns(time) => Some(Duration::from(time)),
        _ => None,
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    // The flow label says nothing about where to answer; the scope of a link-local address does.
    let v6 = || address.as_sockaddr_in6().map(|v6| SocketAddrV6::new(v6.ip(), v6.port(), 0, v6.scope_id()).into());
    v4.or_else(v6)
}

/// What waits for one socket, in order: where each goes, as `sendmmsg` takes it, and what goes there.
#[derive(Default)]
struct Queue {
    addresses: Vec<Option<SockaddrStorage>>,
    datagrams: Vec<Arc<[u8]>>,
}

/// What is to be sent, by socket and in order.
pub(super) struct Outbox {
    headers: MultiHeaders<SockaddrStorage>,
    queues: Vec<Queue>,
    waiting: usize,
}

impl Outbox {
    pub(super) fn new(sockets: usize) -> Outbox {
        let queues = (0..sockets).map(|_| Queue::default()).collect();
        Outbox { headers: MultiHeaders::preallocate(BATCH, None), queues, waiting: 0 }
    }

    pub(super) fn push(&mut self, socket: usize, remote: SocketAddr, bytes: Arc<[u8]>) {
        if let Some(queue) = self.queues.get_mut(socket) {
            queue.addresses.push(Some(remote.into()));
            queue.datagrams.push(bytes);
            self.waiting += 1;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// Sends a socket's datagrams. How many were, and how many the kernel did not take.
    pub(super) fn flush(&mut self, position: usize, socket: RawFd) -> (u64, u64) {
        let Some(queue) = self.queues.get_mut(position) else { return (0, 0) };
        let (mut sent, mut unsent) = (0, 0);
        let slices: Vec<[IoSlice<'_>; 1]> = queue.datagrams.iter().map(|bytes| [IoSlice::new(bytes)]).collect();
        let mut rest = 0..slices.len();
        while !rest.is_empty() {
            let chunk = rest.start..rest.end.min(rest.start + BATCH);
            let (slices, addresses) = (&slices[chunk.clone()], &queue.addresses[chunk]);
            let result = sendmmsg(socket, &mut self.headers, slices, addresses, [], MsgFlags::MSG_DONTWAIT);
            // An error is about the first of the rest; those behind it may go elsewhere and succeed. One that comes
            // after the first is not told, and is met again.
            let (taken, refused) = match result.map(Iterator::count) {
                Ok(taken) => (taken, 0),
                Err(Errno::EINTR) => continue,
                Err(_) => (0, 1),
            };
            sent += taken as u64;
            unsent += refused as u64;
            rest.start += taken + refused;
        }
        self.waiting -= queue.datagrams.len();
        queue.addresses.clear();
        queue.datagrams.clear();
        (sent, unsent)
    }
}

#[cfg(test)]
mod tests;
