//! Socket lookup: one socket takes the datagrams of all open media ports of a shard, so that opening a port is
//! a write to memory.
//!
//! [`Lookup::attach`] loads a small program into the kernel and attaches it to this process's network namespace
//! by a link that the process owns: when the process ends, however it ends, the kernel is as before.

mod claim;
mod others;

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use aya::maps::{Array, Map, MapData, SockMap};
use aya::programs::SkLookup;
use aya::{Ebpf, EbpfLoader};
use moorline_xdp_abi::lookup::{
    self as abi, Figures, MAX_RANGES, MAX_SHARDS, PORTS_PER_LINE, Port, Range, SOCKETS, WINDOW_SHIFT,
};
use socket2::{SockFilter, SockRef};

use self::others::Others;
use crate::Capabilities;
use crate::mapped::Mapped;

/// The program: `make bpf` compiles it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../program/lookup.bpf.o");

/// A range as the program's map has it.
type Words = [u32; size_of::<Range>() / size_of::<u32>()];

/// The most memory that the port map may take; it is all taken at the start.
const MAX_PORT_BYTES: u64 = 256 << 20;

/// A media range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LookupRange {
    /// Its lowest address. The others follow it, and differ in the last 32 bits only.
    pub first: IpAddr,
    /// How many addresses.
    pub addresses: u32,
    /// The lowest port.
    pub first_port: u16,
    /// How many ports each address has.
    pub ports: u32,
    /// Packets of one interface only, by its index.
    pub interface: Option<u32>,
}

/// Where a port is among the ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its entry.
    pub entry: u32,
    /// The position of its range.
    pub range: usize,
    /// The position of its address in the range.
    pub address: u32,
}

/// Why there is no socket lookup.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LookupError {
    /// The process lacks capabilities, which are named.
    #[error("it needs {0}")]
    Capabilities(String),
    /// There are more ranges than the program looks through.
    #[error("{0} media ranges, and the lookup program knows at most {MAX_RANGES}")]
    Ranges(usize),
    /// The ports would take too much memory.
    #[error("the table of {0} ports would take more than {max} MiB: make the ranges smaller", max = MAX_PORT_BYTES >> 20)]
    Ports(u64),
    /// There are more shards than the program has sockets for.
    #[error("{0} shards, and the lookup program knows at most {MAX_SHARDS}")]
    Shards(u16),
    /// Another process in this network namespace has these ports.
    #[error("another Moorline in this network namespace serves {0}")]
    Taken(String),
    /// The kernel refused something.
    #[error("{what}: {reason}")]
    Kernel {
        /// What.
        what: &'static str,
        /// The kernel's words.
        reason: String,
    },
}

/// The attached program and its tables. All shards share it; what packets and open ports touch is plain memory.
pub struct Lookup {
    ranges: Vec<Range>,
    /// The first address of each, and how many there are.
    firsts: Vec<(IpAddr, u32)>,
    ports: Mapped,
    others: Others,
    /// The ranges as the program has them.
    told: Mutex<Array<MapData, Words>>,
    /// The interface of each.
    interfaces: Vec<AtomicU32>,
    /// How often one of those has changed.
    changes: AtomicU32,
    figures: Mapped,
    sockets: Mutex<SockMap<MapData>>,
    /// What a flooded port's packets go to.
    _sinks: Vec<UdpSocket>,
    /// What keeps other instances from the same ports.
    _claims: Vec<UnixDatagram>,
    /// Owns the program and its link.
    _program: Ebpf,
}

impl Lookup {
    /// Attaches the program, all ports closed. Of more than `port_pps` packets a second to one port the rest are
    /// dropped; `None` sets no ceiling.
    ///
    /// # Errors
    /// What is missing, or who has the ports.
    pub fn attach(ranges: &[LookupRange], shards: u16, port_pps: Option<u32>) -> Result<Lookup, LookupError> {
        may_attach()?;
        if usize::from(shards) > MAX_SHARDS {
            return Err(LookupError::Shards(shards));
        }
        let (own, entries) = lay_out(ranges, port_pps)?;
        let claims = claim::claim(ranges)?;
        let mut program = load(entries.div_ceil(PORTS_PER_LINE))?;

        let told = take(&mut program, "moor_ranges")?;
        let mut told: Array<_, Words> = told.try_into().map_err(of("moor_ranges"))?;
        for (index, range) in (0..).zip(&own) {
            told.set(index, range.words(), 0).map_err(of("setting the lookup program up"))?;
        }
        let ports = mapped(take(&mut program, "moor_ports")?, entries as usize * size_of::<Port>())?;
        let figures = mapped(take(&mut program, "moor_figures")?, MAX_SHARDS * size_of::<Figures>())?;
        let mut sockets = SockMap::try_from(take(&mut program, "moor_sockets")?).map_err(of("moor_sockets"))?;
        let mut sinks = Vec::new();
        for v6 in [false, true] {
            if ranges.iter().any(|range| range.first.to_canonical().is_ipv6() == v6) {
                let sink = sink(v6)?;
                sockets.set(abi::sink(v6), &sink, 0).map_err(of("adding a socket to the lookup program"))?;
                sinks.push(sink);
            }
        }

        let attached = lookup_program(&mut program)?;
        // The namespace of this thread, should it be another than the process began in.
        let namespace = File::open("/proc/thread-self/ns/net").map_err(of("opening the network namespace"))?;
        attached.attach(namespace).map_err(of("attaching the lookup program"))?;
        let others = Others::new(entries);
        others.look(&own);
        Ok(Lookup {
            others,
            told: Mutex::new(told),
            interfaces: own.iter().map(|range| AtomicU32::new(range.interface)).collect(),
            changes: AtomicU32::new(0),
            ranges: own,
            firsts: ranges.iter().map(|range| (range.first.to_canonical(), range.addresses)).collect(),
            ports,
            figures,
            sockets: Mutex::new(sockets),
            _sinks: sinks,
            _claims: claims,
            _program: program,
        })
    }

    /// From now on a shard's open ports of one IP version are received by this socket. It is let go of when the
    /// socket is closed.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn receive_by(&self, shard: u16, v6: bool, socket: &impl AsRawFd) -> Result<(), LookupError> {
        let shard = u8::try_from(shard).map_err(|_| LookupError::Shards(shard))?;
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        sockets.set(abi::socket(shard, v6), socket, 0).map_err(of("adding a socket to the lookup program"))
    }

    /// From now on a range's packets come in by the interface of this index; false if they did. An interface that was
    /// removed and made again has another index.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn come_in_by(&self, range: usize, interface: u32) -> Result<bool, LookupError> {
        let Some((laid, own)) = self.ranges.get(range).zip(self.interfaces.get(range)) else { return Ok(false) };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if own.load(Ordering::Relaxed) == interface {
            return Ok(false);
        }
        let words = Range { interface, ..*laid }.words();
        told.set(range as u32, words, 0).map_err(of("changing the interface of a media range"))?;
        own.store(interface, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Release);
        Ok(true)
    }

    /// How often an interface has changed.
    #[inline]
    pub fn changes(&self) -> u32 {
        self.changes.load(Ordering::Acquire)
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.ports.len() / size_of::<Port>()
    }

    /// The entry of a port; `None` if no range has it.
    #[inline]
    pub fn entry(&self, address: SocketAddr) -> Option<u32> {
        self.ranges.iter().find_map(|range| range.entry(address.ip(), address.port()))
    }

    /// Where a port is; `None` if no range has it.
    pub fn place(&self, address: SocketAddr) -> Option<Place> {
        self.ranges.iter().enumerate().find_map(|(index, range)| {
            let entry = range.entry(address.ip(), address.port())?;
            Some(Place { entry, range: index, address: (entry - range.base) / range.stride })
        })
    }

    /// The addresses of a range, in the order of the ranges that the program was attached for.
    pub fn addresses(&self, range: usize) -> impl ExactSizeIterator<Item = IpAddr> + use<> {
        let (first, count) = self.firsts.get(range).copied().unwrap_or((Ipv4Addr::UNSPECIFIED.into(), 0));
        (0..count).map(move |n| match first {
            IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_add(n)).into(),
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add(n.into())).into(),
        })
    }

    /// Whether a socket outside had this port when it was last looked.
    #[inline]
    pub fn is_taken(&self, entry: u32) -> bool {
        self.others.have(entry)
    }

    /// Looks for sockets outside that have media ports. To be done now and then, off the way of packets: it reads
    /// the kernel's lists of all UDP sockets.
    pub fn look_for_others(&self) {
        self.others.look(&self.ranges);
    }

    /// Opens the port of this entry for a shard, one of those that there were sockets given for.
    #[inline]
    pub fn open(&self, entry: u32, shard: u16) {
        self.write(entry, shard as u8 + 1);
    }

    /// Closes the port of this entry. What was received for it before is still in its shard's socket.
    #[inline]
    pub fn close(&self, entry: u32) {
        self.write(entry, 0);
    }

    /// How many packets for a shard's ports were above the ceiling of their port.
    pub fn flooded(&self, shard: u16) -> u64 {
        self.figures.u64_at(usize::from(shard) * size_of::<Figures>())
    }

    fn write(&self, entry: u32, value: u8) {
        self.ports.store_u8(entry as usize * size_of::<Port>(), value);
    }
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("ranges", &self.ranges).finish_non_exhaustive()
    }
}

/// Whether no other process of this network namespace has attached a program for any of these ports. One that binds a
/// socket to each port would hear nothing on those that the other has open. Needs no capability.
///
/// # Errors
/// Who has the ports, or that it cannot be told.
pub fn unclaimed(ranges: &[LookupRange]) -> Result<(), LookupError> {
    claim::unclaimed(ranges)
}

/// Whether this process may attach the program here, as far as it can be told without attaching it.
///
/// # Errors
/// What is missing.
pub fn probe() -> Result<(), LookupError> {
    may_attach()?;
    load(1)?;
    Ok(())
}

/// The error of something done, by the innermost cause, which says the most.
fn of<E: Error>(what: &'static str) -> impl FnOnce(E) -> LookupError {
    move |error| LookupError::Kernel { what, reason: crate::innermost(&error) }
}

fn may_attach() -> Result<(), LookupError> {
    let missing = Capabilities::of_this_process().missing_for_lookup();
    if missing.is_empty() { Ok(()) } else { Err(LookupError::Capabilities(missing.join(", "))) }
}

/// The ranges as the program takes them, and how many entries the port map has.
pub(crate) fn lay_out(ranges: &[LookupRange], port_pps: Option<u32>) -> Result<(Vec<Range>, u32), LookupError> {
    if ranges.len() > MAX_RANGES {
        return Err(LookupError::Ranges(ranges.len()));
    }
    // Below one packet a window nothing would pass.
    let limit = port_pps.map_or(u32::MAX, |pps| ((u64::from(pps) << WINDOW_SHIFT) / 1_000_000_000).max(1) as u32);
    let (mut own, mut entries) = (Vec::with_capacity(ranges.len()), 0);
    for range in ranges {
        let interface = range.interface.unwrap_or(0);
        let laid =
            Range::new(range.first.to_canonical(), range.addresses, range.first_port, range.ports, entries as u32);
        entries += laid.entries();
        own.push(Range { interface, limit, ..laid });
        if entries * size_of::<Port>() as u64 > MAX_PORT_BYTES {
            return Err(LookupError::Ports(ranges.iter().map(|r| u64::from(r.addresses) * u64::from(r.ports)).sum()));
        }
    }
    Ok((own, entries as u32))
}

/// Loads the program with a port map of this many lines.
fn load(lines: u32) -> Result<Ebpf, LookupError> {
    let mut program = EbpfLoader::new()
        .map_max_entries("moor_ports", lines.max(1))
        .map_max_entries("moor_sockets", SOCKETS)
        .load(OBJECT)
        .map_err(of("making the lookup program's maps"))?;
    lookup_program(&mut program)?.load().map_err(of("loading the lookup program (kernel 5.17)"))?;
    Ok(program)
}

fn lookup_program(program: &mut Ebpf) -> Result<&mut SkLookup, LookupError> {
    let lookup = program.program_mut("moor_lookup").ok_or(ABSENT)?;
    lookup.try_into().map_err(of("the lookup program"))
}

fn take(program: &mut Ebpf, map: &'static str) -> Result<Map, LookupError> {
    program.take_map(map).ok_or(ABSENT)
}

const ABSENT: LookupError = LookupError::Kernel { what: "the lookup program", reason: String::new() };

fn mapped(map: Map, bytes: usize) -> Result<Mapped, LookupError> {
    let Map::Array(data) = map else { return Err(ABSENT) };
    Mapped::new(data.fd().as_fd(), bytes).map_err(of("mapping the lookup program's tables"))
}

/// A socket that keeps nothing and answers nothing.
fn sink(v6: bool) -> Result<UdpSocket, LookupError> {
    let at = if v6 { IpAddr::from(Ipv6Addr::LOCALHOST) } else { Ipv4Addr::LOCALHOST.into() };
    let socket = UdpSocket::bind((at, 0)).map_err(of("a socket on loopback"))?;
    // A classic filter that keeps 0 bytes of every packet, which drops it without a word.
    let none = SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0);
    SockRef::from(&socket).attach_filter(&[none]).map_err(of("a filter on a socket"))?;
    Ok(socket)
}

#[cfg(test)]
mod tests;
