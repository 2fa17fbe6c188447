//! Batched receiving with the kernel's timestamps.

use std::io::IoSliceMut;
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg};

use crate::clock;

const BATCH: usize = 32;

/// Longer than any packet of ours, so that one that grew on the way is seen as longer.
const SLOT: usize = 1024;

/// One batch of datagrams, used again for every receive.
pub(crate) struct Batch {
    headers: MultiHeaders<SockaddrStorage>,
    slots: Box<[[u8; SLOT]]>,
}

/// A datagram and where and when it came from.
pub(crate) struct Arrival<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) source: SocketAddr,
    /// `CLOCK_MONOTONIC`, when the kernel received it.
    pub(crate) at: u64,
}

impl Batch {
    pub(crate) fn new() -> Batch {
        let headers = MultiHeaders::preallocate(BATCH, Some(nix::cmsg_space!(nix::sys::time::TimeSpec)));
        Batch { headers, slots: vec![[0; SLOT]; BATCH].into_boxed_slice() }
    }

    /// Hands over all that waits on `socket`. `offset` is [`clock::realtime_offset`].
    pub(crate) fn drain(&mut self, socket: &UdpSocket, offset: u64, mut each: impl FnMut(Arrival<'_>)) {
        loop {
            let mut meta = [(0usize, None::<SocketAddr>, 0u64); BATCH];
            let count = {
                let mut slices: Vec<[IoSliceMut<'_>; 1]> =
                    self.slots.iter_mut().map(|slot| [IoSliceMut::new(slot)]).collect();
                let received =
                    recvmmsg(socket.as_raw_fd(), &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None);
                match received {
                    Ok(messages) => meta
                        .iter_mut()
                        .zip(messages)
                        .map(|(meta, message)| {
                            let stamp = message.cmsgs().ok().and_then(|mut all| all.find_map(stamp_of));
                            let at = stamp.map_or_else(clock::monotonic, |at| at.wrapping_sub(offset));
                            *meta = (message.bytes, message.address.and_then(|address| socket_address(&address)), at);
                        })
                        .count(),
                    Err(Errno::EINTR) => continue,
                    // Nothing waits, or an ICMP error of an earlier send: the loss shows in the report.
                    Err(_) => return,
                }
            };
            for ((length, source, at), slot) in meta.iter().zip(&self.slots).take(count) {
                if let (Some(source), Some(bytes)) = (*source, slot.get(..*length)) {
                    each(Arrival { bytes, source, at: *at });
                }
            }
            if count < BATCH {
                return;
            }
        }
    }
}

pub(crate) fn stamp_of(message: ControlMessageOwned) -> Option<u64> {
    match message {
        ControlMessageOwned::ScmTimestampns(time) => Some(clock::nanos(Duration::from(time))),
        _ => None,
    }
}

pub(crate) fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    // Scope and flow label are no part of what a description can say.
    let v6 = || address.as_sockaddr_in6().map(|v6| SocketAddrV6::new(v6.ip(), v6.port(), 0, 0).into());
    v4.or_else(v6)
}
