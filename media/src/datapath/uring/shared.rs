//! One socket for all ports of a shard, on hosts that let the process steer the kernel's socket lookup.
//!
//! What comes to an open port is received by the shard's own socket, with a control message that says which port it
//! was; opening and closing a port are writes to a table. What is sent gets its headers here and leaves by a raw
//! socket, which also sends from addresses that are not up yet, or past the kernel's routing ([`direct`]).
//!
//! A port's successor must not see what came before it was opened and waits in the common socket. So a port is fresh
//! for some time, and while it is its packets' receive times are compared with the time of its opening.

mod direct;
mod header;
mod sockets;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use moorline_relay::{BindError, EndpointId};
use moorline_xdp::Lookup;
use socket2::Socket;

use self::direct::Direct;
use self::header::Sender;
use super::slots::Token;
use crate::datapath::address::Name;
use crate::datapath::control_message::{Lost, Told};
use crate::datapath::outward::NextHops;
use crate::datapath::{MediaRange, socket};
use crate::shard::clock;

pub(super) use header::ROOM;
pub(in crate::datapath) use header::{checksum, fold, sum};

/// How long a port is fresh: far longer than packets wait in the socket.
const FRESH_NS: u64 = 2_000_000_000;
/// Marks a fresh port in the table of owners.
const FRESH: u32 = 1 << 31;
/// Ranges of more addresses send by one raw socket, which is bound to none.
const BOUND_SENDERS: u32 = 256;
/// Datagrams above the path's limit that are sent in one batch, by a socket made for each.
pub(super) const OVERSIZE_PER_BATCH: usize = 16;

/// The receive on the IPv6 socket; IPv4's is 0.
pub(super) const V6: EndpointId = EndpointId(1);

/// The receive on a shard's own socket. Its number is the socket's place in the file table too.
pub(super) fn receive(v6: bool) -> Token {
    Token::Receive { endpoint: if v6 { V6 } else { EndpointId(0) }, generation: 0 }
}

/// Packet sockets, one for each code point among these traffic classes (RFC 2474).
///
/// # Errors
/// The system's reason: a service manager may forbid them.
pub(crate) fn packet_sockets(traffic_classes: impl Iterator<Item = u8>) -> io::Result<Vec<(u8, OwnedFd)>> {
    let mut all: Vec<(u8, OwnedFd)> = Vec::new();
    for traffic_class in traffic_classes {
        if all.iter().all(|(known, _)| *known != traffic_class) {
            all.push((traffic_class, sockets::packet(traffic_class)?.into()));
        }
    }
    Ok(all)
}

/// The ports of a shard.
pub(super) struct Shared {
    lookup: Arc<Lookup>,
    shard: u16,
    ranges: Vec<MediaRange>,
    /// The place in the file table of each range's first sender, and whether every address has one.
    senders: Vec<(u32, bool)>,
    /// Another hold on the senders that are bound to an interface, with their ranges.
    on_interfaces: Vec<(usize, Socket)>,
    /// The changes of interfaces that those have followed.
    changes: u32,
    /// The endpoint of every port and 1, by the lookup program's numbers; 0 for none. Memory that is never touched
    /// is never there.
    owners: Vec<u32>,
    locals: Vec<Local>,
    /// Fresh ports with the end of that, in its order.
    fresh: VecDeque<(u64, u32)>,
    lost: [Lost; 2],
    /// Numbers IPv4 packets; 0 would have the kernel do so.
    id: u16,
    /// Sends what it can, where there is one.
    direct: Option<Direct>,
}

/// An endpoint: what it takes to send from it.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Local {
    sender: Option<Sender>,
    entry: u32,
    file: u32,
    opened_ns: u64,
    fresh_until: u64,
}

// One cache line for each packet sent.
const _: () = assert!(size_of::<Local>() == 64);

impl Shared {
    /// Also answers the sockets of the file table, those to receive by first, IPv4's before IPv6's.
    pub(super) fn new(
        lookup: Arc<Lookup>,
        shard: u16,
        ranges: Vec<MediaRange>,
        endpoints: usize,
        hops: Option<NextHops>,
    ) -> io::Result<(Shared, Vec<OwnedFd>)> {
        let mut files = Vec::new();
        for v6 in [false, true] {
            // A host may have one IP version only: no socket of the other unless it is needed.
            let needed = v6_of(&ranges).any(|own| own == v6);
            let receiver = sockets::receiver(v6 && needed)?;
            if needed {
                lookup.receive_by(shard, v6, &receiver).map_err(io::Error::other)?;
            }
            files.push(OwnedFd::from(receiver));
        }
        let (mut senders, mut on_interfaces) = (Vec::with_capacity(ranges.len()), Vec::new());
        let changes = lookup.changes();
        for (index, (range, v6)) in ranges.iter().zip(v6_of(&ranges)).enumerate() {
            let addresses = lookup.addresses(index);
            let each = addresses.len() <= BOUND_SENDERS as usize;
            senders.push((files.len() as u32, each));
            let bound = if each { addresses.map(Some).collect() } else { vec![None] };
            for address in bound {
                let sender = sockets::sender(range, v6, address)?;
                if range.interface.is_some() {
                    on_interfaces.push((index, sender.try_clone()?));
                }
                files.push(sender.into());
            }
        }
        let direct = hops.map(|hops| Direct::new(hops, endpoints, &mut files));
        let shared = Shared {
            owners: vec![0; lookup.entries()],
            lookup,
            shard,
            ranges,
            senders,
            on_interfaces,
            changes,
            locals: vec![Local { sender: None, entry: 0, file: 0, opened_ns: 0, fresh_until: 0 }; endpoints],
            fresh: VecDeque::with_capacity(endpoints),
            lost: [Lost::default(); 2],
            id: 0,
            direct,
        };
        Ok((shared, files))
    }

    /// Opens a port.
    pub(super) fn open(&mut self, endpoint: EndpointId, address: SocketAddr) -> Result<(), BindError> {
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        let local = self.locals.get_mut(endpoint.0 as usize).filter(|local| local.sender.is_none());
        let local = local.ok_or(BindError::OutOfDescriptors)?;
        let absent = || BindError::System(format!("bind {address}: no media range has it"));
        let place = self.lookup.place(address).ok_or_else(absent)?;
        let (range, senders) = self.ranges.get(place.range).zip(self.senders.get(place.range)).ok_or_else(absent)?;
        let owner = self.owners.get_mut(place.entry as usize).ok_or_else(absent)?;
        if *owner != 0 || self.lookup.is_taken(place.entry) {
            return Err(BindError::AddressInUse);
        }
        let (first, each) = *senders;
        let fresh_until = clock::monotonic_ns().saturating_add(FRESH_NS);
        *local = Local {
            sender: Some(Sender::new(address, range.traffic_class())),
            entry: place.entry,
            file: if each { first + place.address } else { first },
            opened_ns: clock::realtime_ns(),
            fresh_until,
        };
        *owner = (endpoint.0 + 1) | FRESH;
        self.fresh.push_back((fresh_until, endpoint.0));
        if let Some(direct) = &mut self.direct {
            direct.open(endpoint, place.range, address, range.traffic_class());
        }
        self.lookup.open(place.entry, self.shard);
        Ok(())
    }

    /// Closes a port.
    pub(super) fn close(&mut self, endpoint: EndpointId) {
        let Some(local) = self.locals.get_mut(endpoint.0 as usize) else { return };
        if local.sender.take().is_some() {
            self.lookup.close(local.entry);
            if let Some(direct) = &mut self.direct {
                direct.close(endpoint);
            }
            if let Some(owner) = self.owners.get_mut(local.entry as usize) {
                *owner = 0;
            }
        }
    }

    /// A batch begins: does what time asks for.
    pub(super) fn begin(&mut self) {
        if self.direct.is_none() && self.fresh.is_empty() {
            return;
        }
        let now = clock::monotonic_ns();
        if let Some(direct) = &mut self.direct {
            direct.begin(now);
        }
        self.age(now);
    }

    /// Lets ports be fresh no longer whose time is over. Bounded: each was opened once since.
    fn age(&mut self, now: u64) {
        while let Some((until, endpoint)) = self.fresh.pop_front_if(|(until, _)| *until <= now) {
            // One that was closed and opened since is in the list again, behind.
            let local = self.locals.get(endpoint as usize);
            if let Some(local) = local.filter(|local| local.sender.is_some() && local.fresh_until == until)
                && let Some(owner) = self.owners.get_mut(local.entry as usize)
            {
                *owner &= !FRESH;
            }
        }
    }

    /// Binds senders again whose interface was made anew: they are bound to its former index.
    pub(super) fn follow_interfaces(&mut self) {
        let changes = self.lookup.changes();
        if changes != self.changes {
            self.changes = changes;
            self.bind_again();
        }
    }

    #[cold]
    fn bind_again(&self) {
        for (range, sender) in &self.on_interfaces {
            let Some(interface) = self.ranges.get(*range).and_then(|range| range.interface.as_deref()) else {
                continue;
            };
            if let Err(error) = sender.bind_device(Some(interface.as_bytes())) {
                tracing::error!(interface, %error, "media is not sent by an interface that was made anew");
            }
        }
    }

    /// How many datagrams the socket lost before this one.
    #[inline]
    pub(super) fn lost(&mut self, v6: bool, told: &Told) -> u32 {
        self.lost[usize::from(v6)].newly(told)
    }

    /// The endpoint of a datagram that was sent to this address and came at this time; `None` if its port was closed, or
    /// opened only later.
    #[inline]
    pub(super) fn owner_at(&self, destination: SocketAddr, received_ns: Option<u64>) -> Option<EndpointId> {
        let entry = self.lookup.entry(destination)?;
        let owner = *self.owners.get(entry as usize)?;
        let endpoint = (owner & !FRESH).checked_sub(1)?;
        if owner & FRESH != 0 {
            let opened_ns = self.locals.get(endpoint as usize)?.opened_ns;
            received_ns.filter(|received| *received >= opened_ns)?;
        }
        Some(EndpointId(endpoint))
    }

    /// A packet is about to leave by this port: has its line loaded, and waits for nothing.
    #[inline]
    pub(super) fn expect(&self, port: EndpointId) {
        if let Some(direct) = &self.direct {
            direct.expect(port);
        } else if let Some(local) = self.locals.get(port.0 as usize) {
            std::hint::black_box(local.file);
        }
    }

    /// The address and the traffic class that an open port sends with.
    pub(super) fn sends(&self, endpoint: EndpointId) -> Option<(SocketAddr, u8)> {
        Some(self.locals.get(endpoint.0 as usize)?.sender.as_ref()?.sends())
    }

    /// Writes the headers of a datagram whose payload is `buffer[payload]`.
    #[inline]
    pub(super) fn address(
        &mut self,
        buffer: &mut [u8],
        payload: Range<usize>,
        from: EndpointId,
        to: SocketAddr,
    ) -> Result<Addressed, NoWay> {
        self.id = self.id.checked_add(1).unwrap_or(1);
        if let Some(direct) = &mut self.direct
            && let Some(addressed) = direct.address(buffer, payload.clone(), from, to, self.id)?
        {
            return Ok(addressed);
        }
        let local = self.locals.get(from.0 as usize).ok_or(NoWay::Closed)?;
        let sender = local.sender.as_ref().ok_or(NoWay::Closed)?;
        let packet = buffer.get_mut(..payload.end).ok_or(NoWay::Destination)?;
        let begin = sender.write(packet, payload.start, to, self.id).ok_or(NoWay::Destination)?;
        // A raw socket takes the port of an IPv6 destination for a protocol.
        let name = Name::new(SocketAddr::new(to.ip(), 0));
        Ok(Addressed { begin, length: payload.end - begin, ip: begin, file: local.file, name })
    }

    /// Sends a datagram, headers and all, that is above the limit of its path: by an ordinary socket, so that the
    /// kernel cuts it in fragments.
    #[cold]
    pub(super) fn send_oversize(&self, packet: &[u8]) -> io::Result<()> {
        let (from, to, payload) = header::read(packet).ok_or(io::ErrorKind::InvalidData)?;
        let socket = socket::open(from, &self.ranges).map_err(io::Error::other)?;
        Socket::from(socket).send_to(payload, &to.into())?;
        Ok(())
    }

    /// How many packets got the headers of a way past the kernel's routing.
    pub(super) fn sent_directly(&self) -> u64 {
        self.direct.as_ref().map_or(0, Direct::sent)
    }

    /// How many packets were cut from flooded ports.
    pub(super) fn flooded(&self) -> u64 {
        self.lookup.flooded(self.shard)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Others of this process may go on: what this shard has open would find no socket.
        for local in self.locals.iter().filter(|local| local.sender.is_some()) {
            self.lookup.close(local.entry);
        }
    }
}

/// A datagram with its headers.
pub(super) struct Addressed {
    /// Where in the buffer it begins.
    pub(super) begin: usize,
    pub(super) length: usize,
    /// Where its IP header is, behind that of the link if it has one.
    pub(super) ip: usize,
    /// The place in the file table of the socket that sends it.
    pub(super) file: u32,
    /// What that socket is told.
    pub(super) name: Name,
}

/// Why a datagram has no headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoWay {
    /// The port to send from is closed.
    Closed,
    /// Nothing can be sent from there to this destination.
    Destination,
}

/// Whether each range is of IPv6. IPv4-mapped addresses are IPv4 on the wire.
fn v6_of(ranges: &[MediaRange]) -> impl Iterator<Item = bool> {
    ranges.iter().map(|range| matches!(range.network.addr().to_canonical(), IpAddr::V6(_)))
}

#[cfg(test)]
mod tests;
