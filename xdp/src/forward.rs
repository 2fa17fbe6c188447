//! Forwarding in the driver: an XDP program relays established flows and steers what else comes to open media ports to
//! AF_XDP sockets. What it does not decide goes on in the kernel as if it were not there.
//!
//! [`Forward::attach`] loads the program and attaches it to the media interfaces. Unpinned, all of it is gone when the
//! process ends, however it ends. Pinned, flows go on for as long as the lease lasts, and the next process takes them
//! over. What packets touch is memory that the program and all threads share, read and written by atomics.
//!
//! On an interface whose media comes with VLAN tags the driver must leave them in the packet (`ethtool -K IF rxvlan
//! off`): a program does not see a tag that the driver has taken out.

mod claim;
mod clock;
mod counts;
mod error;
mod flows;
mod hops;
mod interfaces;
mod lease;
mod links;
mod other;
mod pins;
mod wish;

use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use aya::maps::{Array, Map, MapData, PerCpuArray, XskMap};
use aya::programs::Xdp;
use aya::{Ebpf, EbpfLoader};
use moorline_xdp_abi::forward::{
    Flow, Hop as HopRow, INTERFACE_PLACES, Interface, Lease, MAX_FLOWS, MAX_HOPS, MAX_INTERFACES, MAX_QUEUES, Port,
    Seen, Slot, Told, range_words, wish as wishes,
};
use moorline_xdp_abi::lookup::Range;

pub use self::clock::monotonic_ns;
pub use self::counts::residence_bounds;
pub use self::error::ForwardError;
pub use self::flows::FlowId;
pub use self::hops::Hop;
pub use self::links::{Attached, Mode};
pub use self::pins::clear;
pub use self::wish::{Progress, Wish};
pub use moorline_xdp_abi::forward as abi;
pub use moorline_xdp_abi::forward::{Counts, is_rtp};

use self::error::of;
use self::flows::{Flows, is_relayed};
use self::hops::Hops;
use self::interfaces::Table;
use self::links::Links;
use self::pins::{MAPS, Pins, Wanted};
use crate::Capabilities;
use crate::lookup::{LookupRange, lay_out};
use crate::mapped::Mapped;

/// The program: `make bpf` compiles it.
static OBJECT: &[u8] = aya::include_bytes_aligned!("../program/forward.bpf.o");

/// How often the program is given to the verifier.
const LOAD_ATTEMPTS: u32 = 5;

/// A range as the program's map has it.
type Words = [u32; size_of::<Range>() / size_of::<u32>()];

const TABLE_BYTES: usize = INTERFACE_PLACES * size_of::<Interface>();

/// The attached program and its tables, for all threads.
pub struct Forward {
    ranges: Vec<Mutex<Range>>,
    told_ranges: Mutex<Array<MapData, Words>>,
    flows: Flows,
    hops: Hops,
    lease: Mapped,
    table: Table,
    sockets: Mutex<XskMap<MapData>>,
    counts: Mutex<PerCpuArray<MapData, u64>>,
    links: Mutex<Links>,
    survivors: HashSet<FlowId>,
    took_over: bool,
    not_pinned: Option<String>,
}

impl Forward {
    /// Attaches the program to the interfaces of these names, all ports closed; a VLAN's stands for what it lies on. A
    /// range of one interface hears nothing by another, nor of another VLAN. Of more than `port_pps` packets a second
    /// to one port AF_XDP sockets get no more.
    ///
    /// `pin` is this instance's folder on a BPF filesystem. Tables that a former process of the same ranges, interfaces
    /// and number of flows left there are taken over. Where there is no such filesystem it is attached without, and
    /// [`not_pinned`](Self::not_pinned) says so.
    ///
    /// # Errors
    /// What is missing, or who is in the way.
    pub fn attach(
        interfaces: &[String],
        ranges: &[LookupRange],
        port_pps: Option<u32>,
        flows: u32,
        mode: Mode,
        pin: Option<&Path>,
    ) -> Result<Forward, ForwardError> {
        may_attach()?;
        let (own, entries) = lay_out(ranges, port_pps)?;
        if flows == 0 || flows > MAX_FLOWS {
            return Err(ForwardError::Flows(flows));
        }
        let own = own.into_iter().map(by_carrier).collect::<Result<Vec<_>, _>>()?;
        let mut carriers: Vec<interfaces::Carrier> = Vec::new();
        for name in interfaces {
            let carrier = interfaces::carrier(name)?;
            if !carriers.iter().any(|known| known.index == carrier.index) {
                carriers.push(carrier);
            }
        }
        if carriers.is_empty() || carriers.len() > MAX_INTERFACES {
            return Err(ForwardError::Interfaces(carriers.len()));
        }
        let claims = carriers.iter().map(|carrier| claim::claim(&carrier.name, carrier.index));
        let claims = claims.collect::<Result<Vec<_>, _>>()?;
        let (pins, not_pinned) = match pin.map(Pins::open).transpose()? {
            Some(Ok(pins)) => (Some(pins), None),
            Some(Err(reason)) => (None, Some(reason)),
            None => (None, None),
        };

        let words: Vec<Words> = own.iter().map(|(range, tags)| range_words(range, *tags)).collect();
        let places: Vec<(u32, u32)> = carriers.iter().map(|carrier| carrier.index).zip(0..).collect();
        let wanted = Wanted { ranges: &words, entries: entries.max(1), flows, interfaces: &places };
        let took_over = pins.as_ref().is_some_and(|pins| pins.agree(&wanted));
        let mut program = load(entries.max(1), flows, pins.as_ref())?;

        let mut told_ranges: Array<_, Words> =
            take(&mut program, "moor_ranges")?.try_into().map_err(of("moor_ranges"))?;
        if !took_over {
            for (index, words) in (0..).zip(&words) {
                told_ranges.set(index, *words, 0).map_err(of("setting the forwarding program up"))?;
            }
        }
        let mut map = |name, bytes| mapped(take(&mut program, name)?, bytes);
        let slots = map("moor_slots", entries.max(1) as usize * size_of::<Port>())?;
        let flow_table = map("moor_flows", flows as usize * size_of::<Flow>())?;
        let hops = Hops::new(map("moor_hops", MAX_HOPS * size_of::<HopRow>())?);
        let lease = map("moor_lease", size_of::<Lease>())?;
        let table = Table::new(map("moor_interfaces", TABLE_BYTES)?);
        let flows = Flows::new(slots, flow_table, entries, flows);
        let sockets = XskMap::try_from(take(&mut program, "moor_xsks")?).map_err(of("moor_xsks"))?;
        let counts = PerCpuArray::try_from(take(&mut program, "moor_counts")?).map_err(of("moor_counts"))?;
        lease::take(&lease, monotonic_ns());

        let survivors = flows.survivors().into_iter().map(|(_, flow)| flow).collect();
        let links = Links::attach(program, carriers, claims, mode, pins, &table)?;
        Ok(Forward {
            ranges: own.into_iter().map(|(range, _)| Mutex::new(range)).collect(),
            told_ranges: Mutex::new(told_ranges),
            flows,
            hops,
            lease,
            table,
            sockets: Mutex::new(sockets),
            counts: Mutex::new(counts),
            links: Mutex::new(links),
            survivors,
            took_over,
            not_pinned,
        })
    }

    /// The interfaces that it is attached to.
    pub fn attached(&self) -> Vec<Attached> {
        lock(&self.links).attached()
    }

    /// Why it is not pinned though that was asked for.
    pub fn not_pinned(&self) -> Option<&str> {
        self.not_pinned.as_deref()
    }

    /// Whether it goes on with the tables of a former process.
    pub fn took_over(&self) -> bool {
        self.took_over
    }

    /// Attaches anew to interfaces that were removed and made again; true if there was one. For a thread that may wait,
    /// now and then.
    ///
    /// # Errors
    /// What is missing, or who is in the way.
    pub fn renew(&self) -> Result<bool, ForwardError> {
        lock(&self.links).renew(&self.table)
    }

    /// From now on a range's packets come in by the interface of this index; false if they did.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn come_in_by(&self, range: usize, interface: u32) -> Result<bool, ForwardError> {
        let Some(own) = self.ranges.get(range) else { return Ok(false) };
        let mut own = lock(own);
        let (new, tags) = by_carrier(Range { interface, ..*own })?;
        if new.interface == own.interface {
            return Ok(false);
        }
        let words = range_words(&new, tags);
        lock(&self.told_ranges).set(range as u32, words, 0).map_err(of("changing the interface of a media range"))?;
        *own = new;
        Ok(true)
    }

    /// Detaches the program and removes what is pinned; the kernel is done with it some milliseconds later. Merely
    /// dropped, what is pinned stays.
    pub fn remove(self) {
        self.links.into_inner().unwrap_or_else(PoisonError::into_inner).remove();
    }

    /// The entry of a port, that which [`Lookup`](crate::Lookup) has for the same ranges; `None` if no range has it.
    pub fn entry(&self, address: SocketAddr) -> Option<u32> {
        self.ranges.iter().find_map(|range| lock(range).entry(address.ip(), address.port()))
    }

    /// The flow that lives at this entry since before a take-over, or else an unused one; `None` if all are in use. To
    /// be taken before the port hears anything, so that both sides count its packets from the first.
    pub fn take_flow(&self, entry: u32) -> Option<FlowId> {
        self.flows.take(entry)
    }

    /// Whether a flow lived when the tables were taken over.
    pub fn is_survivor(&self, flow: FlowId) -> bool {
        self.survivors.contains(&flow)
    }

    /// The flows, by entry, that live since before a take-over and that nobody has taken.
    pub fn survivors(&self) -> Vec<(u32, FlowId)> {
        self.flows.survivors()
    }

    /// Ends those flows; says how many there were.
    pub fn clear_survivors(&self) -> usize {
        self.flows.clear_survivors()
    }

    /// Opens the port of this entry: its packets are the shard's, and the flow's if it has one.
    pub fn open(&self, entry: u32, shard: u16, flow: Option<FlowId>) {
        let shard = u8::try_from(shard).ok().filter(|shard| *shard < u8::MAX);
        self.flows.open(entry, Slot { shard, flow: flow.map(FlowId::index) });
    }

    /// Closes the port of this entry and gives its flow back, which rests for a second before it is given out again.
    pub fn close(&self, entry: u32) {
        self.flows.close(entry);
    }

    /// Gives back a flow that belongs to no port.
    pub fn give_back(&self, flow: FlowId) {
        self.flows.give_back(flow);
    }

    /// Tells what becomes of a flow's packets, for the program to take over as soon as it is [armed](Self::arm) anew.
    /// False, and nothing is changed, unless the flow [has left](Self::has_left) the driver and the wish can be granted
    /// there.
    pub fn tell(&self, flow: FlowId, wish: &Wish, now: u64) -> bool {
        self.flows.tell(flow, wish, now)
    }

    /// A flow's packets go up, from the first on that comes 200 µs after the one before.
    pub fn leave(&self, flow: FlowId, now: u64) {
        self.flows.withdraw(flow, wishes::LEAVE, now);
    }

    /// A flow's packets go up at once.
    pub fn stop(&self, flow: FlowId, now: u64) {
        self.flows.withdraw(flow, wishes::UP, now);
    }

    /// Whether a flow may be told anew: none of its packets is relayed, nor on any CPU about to be.
    pub fn has_left(&self, flow: FlowId, now: u64) -> bool {
        self.flows.has_left(flow, now)
    }

    /// Whether a flow's packets are wished to be relayed.
    pub fn wished(&self, flow: FlowId) -> bool {
        is_relayed(self.flows.told(flow).wish)
    }

    /// What a flow was told.
    pub fn told(&self, flow: FlowId) -> Told {
        self.flows.told(flow)
    }

    /// Whether just this was told, and stands.
    pub fn is_told(&self, flow: FlowId, wish: &Wish) -> bool {
        self.flows.is_told(flow, wish)
    }

    /// What the program has seen of a flow.
    #[inline]
    pub fn seen(&self, flow: FlowId) -> Seen {
        self.flows.seen(flow)
    }

    /// Says how many of a flow's packets that went up were dealt with, of all that ever did, and what the program is to
    /// go on from once that is all.
    #[inline]
    pub fn arm(&self, flow: FlowId, count: u32, progress: &Progress) {
        self.flows.arm(flow, count, progress);
    }

    /// Whether the program is attached to the interface of this index, and packets of all others can leave by it.
    pub fn serves(&self, interface: u32) -> bool {
        lock(&self.links).way_out(interface).is_some()
    }

    /// Lets packets be relayed to a neighbour.
    ///
    /// # Errors
    /// The hop is in use or was 10 ms ago, or the program is not attached to the interface.
    pub fn set_hop(&self, number: u16, hop: &Hop) -> Result<(), ForwardError> {
        let device = lock(&self.links).way_out(hop.interface);
        let reason = "the forwarding program is not attached to its interface";
        self.hops.set(number, hop, device.ok_or(ForwardError::Hop { hop: number, reason })?)
    }

    /// Lets no packet be relayed to a neighbour any more: they go up.
    pub fn clear_hop(&self, number: u16) {
        self.hops.clear(number);
    }

    /// A neighbour that packets may be relayed to.
    pub fn hop(&self, number: u16) -> Option<Hop> {
        self.hops.get(number)
    }

    /// From now on what goes up of this shard's ports and came by this queue goes to this AF_XDP socket, until it is
    /// closed.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn add_socket(&self, interface: u32, queue: u32, shard: u16, socket: &impl AsFd) -> Result<(), ForwardError> {
        let place = self.socket_place(interface, queue)?;
        let shard = u8::try_from(shard).ok().filter(|shard| *shard < u8::MAX).ok_or(ForwardError::Queue(queue))?;
        let mut sockets = lock(&self.sockets);
        sockets.set(place, socket.as_fd().as_raw_fd(), 0).map_err(of("adding an AF_XDP socket"))?;
        self.table.set_shard(interface, queue, Some(shard));
        Ok(())
    }

    /// Takes the socket of a queue away.
    pub fn remove_socket(&self, interface: u32, queue: u32) {
        if let Ok(place) = self.socket_place(interface, queue) {
            self.table.set_shard(interface, queue, None);
            // It may have been closed, and so be gone.
            let _ = lock(&self.sockets).unset(place);
        }
    }

    fn socket_place(&self, interface: u32, queue: u32) -> Result<u32, ForwardError> {
        if queue >= MAX_QUEUES {
            return Err(ForwardError::Queue(queue));
        }
        let slot = lock(&self.links).slot(interface);
        Ok(slot.ok_or_else(|| ForwardError::NoInterface(interface.to_string()))? * MAX_QUEUES + queue)
    }

    /// The program's figures, of all CPUs.
    ///
    /// # Errors
    /// The kernel's reason.
    pub fn counts(&self) -> Result<Counts, ForwardError> {
        let own = lock(&self.counts);
        let mut figures = [0; counts::FIGURES];
        for (index, figure) in (0..).zip(&mut figures) {
            let cpus = own.get(&index, 0).map_err(of("reading the forwarding program's figures"))?;
            *figure = cpus.iter().sum();
        }
        Ok(counts::counts(figures))
    }
}

impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Forward").field("attached", &self.attached()).finish_non_exhaustive()
    }
}

/// Whether this process may attach the program, as far as it can be told without attaching it.
///
/// # Errors
/// What is missing.
pub fn probe() -> Result<(), ForwardError> {
    may_attach()?;
    load(1, 1, None)?;
    Ok(())
}

/// Whether nobody forwards on these interfaces.
///
/// # Errors
/// Who does.
pub fn unclaimed(interfaces: &[String]) -> Result<(), ForwardError> {
    interfaces.iter().try_for_each(|name| {
        let carrier = interfaces::carrier(name)?;
        claim::unclaimed(&carrier.name, carrier.index)
    })
}

const NANOS: u64 = 1_000_000_000;

fn may_attach() -> Result<(), ForwardError> {
    let missing = Capabilities::of_this_process().missing_for_forward();
    if !missing.is_empty() {
        return Err(ForwardError::Capabilities(missing.join(", ")));
    }
    clock::is_the_programs()
}

/// A range with the interface that carries its packets, and the VLANs that they come with.
fn by_carrier(range: Range) -> Result<(Range, u32), ForwardError> {
    if range.interface == 0 {
        return Ok((range, 0));
    }
    let carrier = interfaces::carrier_of(range.interface)?;
    Ok((Range { interface: carrier.index, ..range }, carrier.tags))
}

/// Loads the program with tables of these sizes, or with those that are pinned.
fn load(entries: u32, flows: u32, pins: Option<&Pins>) -> Result<Ebpf, ForwardError> {
    let mut loader = EbpfLoader::new();
    loader.map_max_entries("moor_slots", entries).map_max_entries("moor_flows", flows);
    if let Some(pins) = pins {
        for name in MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
    }
    let mut program = loader.load(OBJECT).map_err(of("making the forwarding program's tables"))?;
    let own = xdp(&mut program)?;
    // The verifier gives up with EAGAIN when a signal comes for its thread.
    let mut loaded = own.load();
    for _ in 1..LOAD_ATTEMPTS {
        if !matches!(&loaded, Err(error) if error::errno(error) == Some(libc::EAGAIN)) {
            break;
        }
        loaded = own.load();
    }
    loaded.map_err(of("loading the forwarding program (kernel 5.18)"))?;
    Ok(program)
}

fn xdp(program: &mut Ebpf) -> Result<&mut Xdp, ForwardError> {
    let forward = program.program_mut("moor_forward").ok_or(ABSENT)?;
    forward.try_into().map_err(of("the forwarding program"))
}

fn take(program: &mut Ebpf, map: &'static str) -> Result<Map, ForwardError> {
    program.take_map(map).ok_or(ABSENT)
}

const ABSENT: ForwardError = ForwardError::Kernel { what: "the forwarding program", reason: String::new() };

fn mapped(map: Map, bytes: usize) -> Result<Mapped, ForwardError> {
    let Map::Array(data) = map else { return Err(ABSENT) };
    Mapped::new(borrow(&data), bytes).map_err(of("mapping the forwarding program's tables"))
}

fn borrow(map: &MapData) -> BorrowedFd<'_> {
    map.fd().as_fd()
}

/// What a lock guards is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
