//! Receiving and sending several datagrams with one system call, in memory allocated once.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::null_mut;

use moorline_relay::{EndpointId, Traffic};

use crate::datapath::address::{NAME_LEN, Name, parse};
use crate::datapath::control_message::{CONTROL_LEN, Told};
use crate::datapath::{KernelDrop, MAX_DATAGRAM, MAX_MADE, Tally};
use crate::shard::clock;

/// Room for one received datagram.
#[repr(C, align(8))]
struct Room {
    control: [u8; CONTROL_LEN],
    name: [u8; NAME_LEN],
    payload: [u8; MAX_DATAGRAM],
}

/// The datagrams of a batch, from several sockets.
pub(super) struct Inbox {
    rooms: Box<[Room]>,
    /// Pointed at the rooms for every receive.
    headers: Vec<libc::mmsghdr>,
    vectors: Box<[libc::iovec]>,
    endpoints: Vec<EndpointId>,
}

/// A received datagram.
pub(super) struct Datagram<'a> {
    /// Its place in the inbox.
    pub(super) index: usize,
    pub(super) endpoint: EndpointId,
    pub(super) payload: &'a [u8],
    /// It was longer than the room for it.
    pub(super) truncated: bool,
    name: &'a [u8],
    pub(super) told: Told,
}

impl Datagram<'_> {
    pub(super) fn source(&self) -> Option<SocketAddr> {
        parse(self.name)
    }
}

impl Inbox {
    pub(super) fn new(datagrams: usize) -> Inbox {
        let empty = || Room { control: [0; CONTROL_LEN], name: [0; NAME_LEN], payload: [0; MAX_DATAGRAM] };
        Inbox {
            rooms: (0..datagrams).map(|_| empty()).collect(),
            headers: (0..datagrams).map(|_| zeroed_header()).collect(),
            vectors: vec![libc::iovec { iov_base: null_mut(), iov_len: 0 }; datagrams].into_boxed_slice(),
            endpoints: Vec::with_capacity(datagrams),
        }
    }

    /// How many more datagrams fit.
    pub(super) fn room(&self) -> usize {
        self.rooms.len() - self.endpoints.len()
    }

    /// Takes up to `wanted` datagrams from a socket, without waiting; fewer mean that it is empty.
    pub(super) fn receive(&mut self, socket: &OwnedFd, endpoint: EndpointId, wanted: usize) -> io::Result<usize> {
        let used = self.endpoints.len();
        let wanted = wanted.min(self.room());
        let headers = &mut self.headers[used..used + wanted];
        let rooms = self.rooms[used..].iter_mut().zip(&mut self.vectors[used..]);
        for (header, (room, vector)) in headers.iter_mut().zip(rooms) {
            *vector = libc::iovec { iov_base: room.payload.as_mut_ptr().cast(), iov_len: MAX_DATAGRAM };
            header.msg_hdr.msg_name = room.name.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = NAME_LEN as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = room.control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL_LEN;
        }
        let received = retry(|| {
            // SAFETY: the headers point to names, control buffers, vectors and payloads of `self`, of the
            // lengths that they say, none of which moves or is borrowed elsewhere during the call.
            unsafe {
                libc::recvmmsg(
                    socket.as_raw_fd(),
                    headers.as_mut_ptr(),
                    wanted as libc::c_uint,
                    libc::MSG_DONTWAIT,
                    null_mut(),
                )
            }
        })?;
        let received = received.min(wanted);
        self.endpoints.resize(used + received, endpoint);
        Ok(received)
    }

    /// Takes in a datagram that is made here; answers its place and whatever `write` does. `None` where there is no room.
    pub(super) fn make<T>(&mut self, write: impl FnOnce(&mut [u8]) -> Option<(T, usize)>) -> Option<(usize, T)> {
        let index = self.endpoints.len();
        let (room, header) = (self.rooms.get_mut(index)?, self.headers.get_mut(index)?);
        let (made, length) = write(&mut room.payload[..MAX_MADE])?;
        header.msg_len = length.min(MAX_MADE) as libc::c_uint;
        // Of no socket: it is not looked at as received.
        self.endpoints.push(EndpointId(u32::MAX));
        Some((index, made))
    }

    /// The datagrams in order of reception.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Datagram<'_>> {
        self.endpoints.iter().zip(&self.rooms).zip(&self.headers).enumerate().map(
            |(index, ((&endpoint, room), header))| Datagram {
                index,
                endpoint,
                payload: &room.payload[..(header.msg_len as usize).min(MAX_DATAGRAM)],
                truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
                name: &room.name[..(header.msg_hdr.msg_namelen as usize).min(NAME_LEN)],
                told: Told::read(&room.control[..header.msg_hdr.msg_controllen.min(CONTROL_LEN)]),
            },
        )
    }

    pub(super) fn clear(&mut self) {
        self.endpoints.clear();
    }

    /// The received payload at `index`.
    fn bytes(&self, index: usize) -> &[u8] {
        let len = (self.headers[index].msg_len as usize).min(MAX_DATAGRAM);
        &self.rooms[index].payload[..len]
    }

    /// The same for sending it on.
    fn payload(&self, index: usize) -> libc::iovec {
        let bytes = self.bytes(index);
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
    }
}

/// The sends of a batch.
pub(super) struct Outbox {
    queued: Vec<Queued>,
    names: Vec<Name>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

/// A datagram to be sent on.
#[derive(Clone, Copy)]
pub(super) struct Queued {
    pub(super) from: EndpointId,
    /// The datagram's place in the inbox.
    pub(super) index: usize,
    pub(super) to: SocketAddr,
    pub(super) traffic: Traffic,
    /// `None` for one that was made here.
    pub(super) received_ns: Option<u64>,
}

impl Outbox {
    pub(super) fn new(datagrams: usize) -> Outbox {
        Outbox {
            queued: Vec::with_capacity(datagrams),
            names: Vec::with_capacity(datagrams),
            vectors: Vec::with_capacity(datagrams),
            headers: Vec::with_capacity(datagrams),
        }
    }

    pub(super) fn queue(&mut self, queued: Queued) {
        self.queued.push(queued);
    }

    /// Sends all that is queued, each socket's datagrams with one call, and records how long each
    /// stayed.
    pub(super) fn send<'s>(
        &mut self,
        inbox: &Inbox,
        socket: impl Fn(EndpointId) -> Option<&'s OwnedFd>,
        tally: &mut Tally,
    ) {
        // By place within a socket: the order of reception.
        self.queued.sort_unstable_by_key(|queued| (queued.from, queued.index));
        let queued = std::mem::take(&mut self.queued);
        for group in queued.chunk_by(|a, b| a.from == b.from) {
            match group.first().and_then(|first| socket(first.from)) {
                Some(socket) => self.send_group(group, inbox, socket, tally),
                None => group.iter().for_each(|queued| {
                    tally.count_unsent(KernelDrop::Closed, queued.traffic, inbox.bytes(queued.index).len());
                }),
            }
        }
        self.queued = queued;
        self.queued.clear();
    }

    fn send_group(&mut self, group: &[Queued], inbox: &Inbox, socket: &OwnedFd, tally: &mut Tally) {
        self.names.clear();
        self.vectors.clear();
        self.headers.clear();
        // Filled first and pointed to after, so that nothing moves under a pointer.
        self.names.extend(group.iter().map(|queued| Name::new(queued.to)));
        self.vectors.extend(group.iter().map(|queued| inbox.payload(queued.index)));
        self.headers.extend(self.names.iter().zip(&mut self.vectors).map(|(name, vector)| {
            let mut header = zeroed_header();
            header.msg_hdr.msg_name = name.as_ptr().cast_mut().cast();
            header.msg_hdr.msg_namelen = name.len();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header
        }));
        let mut rest = &mut self.headers[..];
        let mut queued = group;
        while !rest.is_empty() {
            let sent = retry(|| {
                // SAFETY: the headers point to names and vectors of `self`, and those to payloads of
                // `inbox`, all of the lengths they say; nothing changes any of them during the call.
                unsafe {
                    libc::sendmmsg(
                        socket.as_raw_fd(),
                        rest.as_mut_ptr(),
                        rest.len() as libc::c_uint,
                        libc::MSG_DONTWAIT,
                    )
                }
            });
            let done = match sent {
                Ok(sent) => {
                    let sent_ns = clock::realtime_ns();
                    let received = queued.iter().take(sent).filter_map(|sent| sent.received_ns);
                    received.for_each(|received_ns| tally.residence.record(received_ns, sent_ns));
                    sent.max(1)
                }
                // An error is about the first of the rest; those behind it may go elsewhere and succeed.
                Err(error) => {
                    if let Some(first) = queued.first() {
                        let bytes = inbox.bytes(first.index).len();
                        tally.count_unsent(KernelDrop::of_send(&error), first.traffic, bytes);
                    }
                    1
                }
            };
            rest = rest.get_mut(done..).unwrap_or_default();
            queued = queued.get(done..).unwrap_or_default();
        }
    }
}

fn zeroed_header() -> libc::mmsghdr {
    // SAFETY: an all-zero mmsghdr is valid: null pointers with zero lengths.
    unsafe { std::mem::zeroed() }
}

/// A system call that answers a count, again while interrupted.
fn retry(mut call: impl FnMut() -> libc::c_int) -> io::Result<usize> {
    loop {
        match usize::try_from(call()) {
            Ok(count) => return Ok(count),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}
