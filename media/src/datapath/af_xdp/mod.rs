//! The AF_XDP datapath: packets of open media ports come from the network card's queues into memory of the shard, and
//! are sent from there with new headers, past the kernel's network stack.
//!
//! It stands on the io_uring datapath with shared sockets, which goes on beneath it: what the program lets pass to the
//! kernel comes that way, such as fragments, and packets of queues that belong to another shard than their port; and
//! what cannot leave by AF_XDP leaves that way, such as packets to a neighbour that is not known yet; and announcements.
//!
//! What keeps it in order:
//! - queue q of every interface belongs to shard q modulo the number of shards. The program hands a packet to a
//!   socket only if the socket's shard is the port's. What comes by another shard's queue it relays itself, once the
//!   flow has settled ([`offload`](super::offload)): its table of flows is the one that all queues read. The rest of that,
//!   such as first packets and RTCP, it leaves to the kernel, whose lookup finds the port's shard;
//! - a flow whose queue changes is not overtaken by itself ([`turn`]);
//! - sockets are taken in turn, each from its oldest packet on, and a packet is sent from the queue of the number that
//!   it came in by. All is sent before the batch ends;
//! - which way a flow leaves changes between two batches only ([`ways`]).
//!
//! A packet's residence is measured from when the shard first saw it in the ring until the call that sent it has
//! returned: what it waited in the ring before is not in it.

mod arrival;
mod frame;
mod header;
mod queues;
mod turn;
mod ways;

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use moorline_relay::{BindError, EndpointId, Outgoing, Ports, Traffic, Verdict};
use moorline_xdp::xsk::{Frame, Received, Umem, ZeroCopy};
use moorline_xdp::{Forward, Lookup};

use self::frame::Checksum;
use self::header::Out;
use self::queues::Queue;
use self::ways::Ways;
use super::uring::Uring;
use super::{BATCH, Datapath, KernelDrop, MAX_DATAGRAM, Packet, Setup, Tally};
use crate::routes::{HopReader, Hops};
use crate::shard::clock;

/// What the datapath needs beside the sockets beneath it.
pub(crate) struct Plan {
    pub(crate) program: Arc<Forward>,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) zero_copy: ZeroCopy,
    /// A power of two.
    pub(crate) frames_per_queue: u32,
    pub(crate) shards: u16,
    pub(crate) hops: Hops,
    pub(crate) reader: HopReader,
    /// The shard opens its ports in the program itself, with their flows.
    pub(crate) offloads: bool,
}

/// A media interface.
#[derive(Debug, Clone)]
pub(crate) struct Interface {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) queues: u32,
}

impl Plan {
    fn name(&self, index: u32) -> &str {
        self.interfaces.iter().find(|interface| interface.index == index).map_or("?", |interface| &interface.name)
    }
}

/// How long packets that an interface had no room for wait before they are tried again.
const RETRY: Duration = Duration::from_millis(1);
/// When an interface that is down is tried again.
const DOWN_NS: u64 = 100_000_000;
/// How many packets the driver takes at a time where sockets poll.
const POLL_PACKETS: u32 = 64;

/// How a packet came.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    /// The place of the queue that it came in by.
    place: usize,
    memory: usize,
    interface: u32,
    /// The time of its batch, of the monotonic clock.
    now: u64,
    received_ns: u64,
}

/// Why a packet was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unsent {
    /// The ring or the memory is full.
    NoRoom,
    /// It cannot be sent so, such as one above the limit of its path.
    NoHeaders,
}

pub(crate) struct AfXdp {
    beneath: Uring,
    program: Arc<Forward>,
    offloads: bool,
    lookup: Arc<Lookup>,
    shard: u16,
    queues: Vec<Queue>,
    memories: Vec<Umem>,
    ways: Ways,
    /// The entries of open ports.
    entries: Vec<Option<u32>>,
    /// By the place of the queue that a packet came in by, and of the interface that it leaves by, the place of the
    /// queue that sends it.
    outlets: Vec<Option<usize>>,
    /// The indices of the interfaces.
    interfaces: Vec<u32>,
    /// Where the next batch begins.
    turn: usize,
    /// When the kernel is asked what it has dropped.
    count_at: u64,
    /// Numbers IPv4 packets.
    id: u16,
    /// When the packets of the batch that were queued to be sent had come.
    sent: Vec<u64>,
    /// The sockets poll their driver.
    polling: bool,
    /// Something waits that an interface had no room for.
    retry: bool,
}

impl Datapath for AfXdp {
    const NAME: &'static str = "af_xdp";

    fn new(mut setup: Setup) -> io::Result<AfXdp> {
        let absent = || io::Error::other("af_xdp was not set up");
        let plan = setup.af_xdp.take().ok_or_else(absent)?;
        let (lookup, shard) = setup.shared.clone().ok_or_else(absent)?;
        let endpoints = setup.endpoints;
        let (queues, memories) = queues::open(&plan, shard, plan.shards)?;
        let beneath = Uring::beneath(setup)?;
        queues::attach(&plan.program, shard, &queues)?;
        let interfaces: Vec<u32> = plan.interfaces.iter().map(|interface| interface.index).collect();
        Ok(AfXdp {
            beneath,
            program: plan.program,
            offloads: plan.offloads,
            lookup,
            shard,
            outlets: outlets(&queues, &interfaces),
            queues,
            memories,
            ways: Ways::new(plan.hops, plan.reader, endpoints),
            entries: vec![None; endpoints],
            interfaces,
            turn: 0,
            count_at: 0,
            id: 0,
            sent: Vec::with_capacity(BATCH),
            polling: false,
            retry: false,
        })
    }

    fn relay(&mut self, tally: &mut Tally, mut verdict: impl FnMut(Packet<'_>) -> Verdict) -> io::Result<usize> {
        self.relay_in_turn(tally, &mut verdict)
    }

    fn emit(&mut self, tally: &mut Tally, next: impl FnMut(&mut [u8]) -> Option<Outgoing>) -> io::Result<usize> {
        self.beneath.emit(tally, next)
    }

    fn waiting(&mut self) -> bool {
        self.queues.iter().any(|queue| queue.socket.is_waiting()) || self.beneath.waiting()
    }

    fn count(&mut self, tally: &mut Tally) {
        self.beneath.count(tally);
        for queue in &mut self.queues {
            let Ok(lost) = queue.socket.statistics() else { continue };
            let lost = lost.dropped + lost.ring_full + lost.fill_empty;
            tally.overflow(lost.wrapping_sub(std::mem::replace(&mut queue.lost, lost)) as u32);
        }
    }

    fn sleep(&mut self, limit: Duration) -> io::Result<()> {
        for (place, queue) in (0..).zip(&mut self.queues) {
            if queue.socket.is_waiting() {
                return Ok(());
            }
            if queue.socket.receive_needs_wake_up() {
                let _ = queue.socket.wake_receive();
            }
            if !queue.armed {
                self.beneath.watch(queue.socket.as_raw_fd(), place)?;
                queue.armed = true;
            }
        }
        self.beneath.sleep(if self.retry { limit.min(RETRY) } else { limit })
    }

    fn busy_poll(&mut self, micros: u32) {
        self.beneath.busy_poll(micros);
        let refused = self.queues.iter().find_map(|queue| queue.socket.prefer_busy_poll(micros, POLL_PACKETS).err());
        match refused {
            Some(error) => tracing::info!(%error, "the kernel does not poll the network card for AF_XDP"),
            None => self.polling = true,
        }
    }

    fn settle(&mut self) -> io::Result<()> {
        self.beneath.settle()
    }
}

impl Ports for AfXdp {
    fn bind(&mut self, endpoint: EndpointId, address: SocketAddr) -> Result<(), BindError> {
        // What is in the rings came before the port was opened.
        let now = clock::realtime_ns();
        for queue in &mut self.queues {
            if queue.socket.is_waiting() {
                let below = queue.socket.look();
                queue.arrivals.seen(below, now);
            }
        }
        self.beneath.bind(endpoint, address)?;
        let canonical = SocketAddr::new(address.ip().to_canonical(), address.port());
        if let Some(place) = self.lookup.place(canonical) {
            self.ways.open(endpoint, place.range as u16);
            if !self.offloads {
                self.program.open(place.entry, self.shard, None);
                if let Some(entry) = self.entries.get_mut(endpoint.0 as usize) {
                    *entry = Some(place.entry);
                }
            }
        }
        Ok(())
    }

    fn unbind(&mut self, endpoint: EndpointId) {
        self.ways.close(clock::monotonic_ns(), endpoint);
        if let Some(entry) = self.entries.get_mut(endpoint.0 as usize).and_then(Option::take) {
            self.program.close(entry);
        }
        self.beneath.unbind(endpoint);
    }
}

impl Drop for AfXdp {
    fn drop(&mut self) {
        // The program may outlive this shard.
        self.entries.iter_mut().filter_map(Option::take).for_each(|entry| self.program.close(entry));
    }
}

impl AfXdp {
    /// Takes up to `limit` packets from a queue; answers how many.
    fn receive(
        &mut self,
        place: usize,
        limit: usize,
        now: u64,
        realtime: u64,
        tally: &mut Tally,
        verdict: &mut impl FnMut(Packet<'_>) -> Verdict,
    ) -> io::Result<usize> {
        let Some(queue) = self.queues.get_mut(place) else { return Ok(0) };
        let memory = queue.memory;
        queue.socket.reap(&mut self.memories[memory]);
        queue.socket.look();
        let interface = queue.socket.interface();
        let mut count = 0;
        while count < limit {
            let queue = &mut self.queues[place];
            let Some(received) = queue.socket.receive(&self.memories[memory]) else { break };
            let received_ns = queue.arrivals.time(received.number, realtime);
            count += 1;
            let arrival = Arrival { place, memory, interface, now, received_ns };
            tally.af_xdp.received += 1;
            if let Some(frame) = self.packet(arrival, received, tally, verdict)? {
                self.memories[memory].put(frame);
            }
        }
        let queue = &mut self.queues[place];
        queue.socket.release();
        queue.socket.fill(&mut self.memories[memory], queue.level);
        if count > 0 && queue.socket.receive_needs_wake_up() {
            let _ = queue.socket.wake_receive();
        }
        Ok(count)
    }

    /// One packet: asks for the verdict, and queues it to be sent. Answers its frame unless that is on its way.
    fn packet(
        &mut self,
        arrival: Arrival,
        received: Received,
        tally: &mut Tally,
        verdict: &mut impl FnMut(Packet<'_>) -> Verdict,
    ) -> io::Result<Option<Frame>> {
        let Received { frame, at, length, .. } = received;
        let bytes = self.memories[arrival.memory].bytes(&frame);
        let Some(datagram) = bytes.get(at..at + length).and_then(|bytes| frame::parse(bytes, arrival.interface)) else {
            tally.drop(KernelDrop::Receive);
            return Ok(Some(frame));
        };
        // In the frame, not in the packet.
        let payload = at + datagram.payload.start..at + datagram.payload.end;
        if payload.len() > MAX_DATAGRAM {
            tally.drop(KernelDrop::Truncated);
            return Ok(Some(frame));
        }
        let Some(endpoint) = self.beneath.owner(datagram.destination, arrival.received_ns) else {
            tally.drop(KernelDrop::Closed);
            return Ok(Some(frame));
        };
        let packet = Packet { endpoint, source: datagram.source, payload: &bytes[payload.clone()] };
        let Verdict::Forward { from, to, traffic } = verdict(packet) else { return Ok(Some(frame)) };
        let Some(sends) = self.beneath.sends(from) else {
            tally.count_unsent(KernelDrop::Closed, traffic, payload.len());
            return Ok(Some(frame));
        };
        let next = self.ways.next(arrival.now, from, sends.address, to);
        let outlet = next.and_then(|next| Some((next, self.outlet(arrival, next.interface)?)));
        let Some((next, outlet)) = outlet else {
            return self.by_kernel(arrival, from, to, traffic, frame, payload, tally);
        };
        self.id = self.id.wrapping_add(1);
        let out = Out { next, from: sends.address, to, traffic_class: sends.traffic_class, id: self.id };
        match self.send(arrival.memory, outlet, &out, payload.clone(), datagram.checksum, frame) {
            Ok(()) => {
                tally.af_xdp.sent += 1;
                self.sent.push(arrival.received_ns);
                Ok(None)
            }
            Err((frame, Unsent::NoRoom)) => {
                tally.count_unsent(KernelDrop::QueueFull, traffic, payload.len());
                Ok(Some(frame))
            }
            Err((frame, Unsent::NoHeaders)) => self.by_kernel(arrival, from, to, traffic, frame, payload, tally),
        }
    }

    /// Leaves a packet to the sockets beneath.
    #[cold]
    #[expect(clippy::too_many_arguments, reason = "what a packet is, on the way that few go")]
    fn by_kernel(
        &mut self,
        arrival: Arrival,
        from: EndpointId,
        to: SocketAddr,
        traffic: Traffic,
        frame: Frame,
        payload: Range<usize>,
        tally: &mut Tally,
    ) -> io::Result<Option<Frame>> {
        tally.af_xdp.sent_by_kernel += 1;
        self.ways.went_by_kernel(arrival.now, from);
        let bytes = &self.memories[arrival.memory].bytes(&frame)[payload];
        self.beneath.queue(from, to, bytes, Some(arrival.received_ns), traffic, tally)?;
        Ok(Some(frame))
    }

    /// The place of the queue that sends what came in by `arrival` and leaves by this interface.
    fn outlet(&self, arrival: Arrival, interface: u32) -> Option<usize> {
        let nth = self.interfaces.iter().position(|own| *own == interface)?;
        let place = (*self.outlets.get(arrival.place * self.interfaces.len() + nth)?)?;
        (self.queues.get(place)?.down_until <= arrival.now).then_some(place)
    }

    /// Writes the headers and queues the packet, which lies in a frame of the memory `from`.
    fn send(
        &mut self,
        from: usize,
        outlet: usize,
        out: &Out,
        payload: Range<usize>,
        checksum: Checksum,
        frame: Frame,
    ) -> Result<(), (Frame, Unsent)> {
        let to = self.queues[outlet].memory;
        if from == to {
            return self.send_in_place(outlet, out, payload, checksum, frame);
        }
        let Some((copy, there)) = self.copy(from, to, &frame, payload) else { return Err((frame, Unsent::NoRoom)) };
        match self.send_in_place(outlet, out, there, checksum, copy) {
            Ok(()) => {
                self.memories[from].put(frame);
                Ok(())
            }
            Err((copy, unsent)) => {
                self.memories[to].put(copy);
                Err((frame, unsent))
            }
        }
    }

    /// As [`send`](Self::send), in a frame of the outlet's memory.
    #[inline]
    fn send_in_place(
        &mut self,
        outlet: usize,
        out: &Out,
        payload: Range<usize>,
        checksum: Checksum,
        mut frame: Frame,
    ) -> Result<(), (Frame, Unsent)> {
        let queue = &mut self.queues[outlet];
        let memory = &mut self.memories[queue.memory];
        let Some(at) = out.write(memory.bytes_mut(&mut frame), payload, checksum) else {
            return Err((frame, Unsent::NoHeaders));
        };
        queue.socket.send(memory, frame, at.start, at.len()).map_err(|frame| (frame, Unsent::NoRoom))?;
        queue.sending = true;
        Ok(())
    }

    /// Copies a payload into a frame of other memory, with room for headers in front.
    fn copy(&mut self, from: usize, to: usize, frame: &Frame, payload: Range<usize>) -> Option<(Frame, Range<usize>)> {
        let there = header::ROOM..header::ROOM + payload.len();
        let [from, to] = self.memories.get_disjoint_mut([from, to]).ok()?;
        let mut copy = to.take()?;
        // Frames are of one size, and packets lie further behind in theirs.
        to.bytes_mut(&mut copy)[there.clone()].copy_from_slice(&from.bytes(frame)[payload]);
        Some((copy, there))
    }

    /// Sends what was queued: a call for each socket that has something, unless its driver is at it by itself.
    fn flush(&mut self, now: u64, tally: &mut Tally) {
        self.retry = false;
        for queue in self.queues.iter_mut().filter(|queue| queue.sending && queue.down_until <= now) {
            match queue.socket.flush() {
                Ok(flushed) => {
                    (0..flushed.dropped).for_each(|_| tally.drop(KernelDrop::QueueFull));
                    queue.sending = flushed.waiting > 0;
                    if queue.sending {
                        queue.socket.reap(&mut self.memories[queue.memory]);
                        self.retry = true;
                    }
                    if std::mem::take(&mut queue.down) {
                        tracing::info!(interface = queue.socket.interface(), "AF_XDP sends by an interface again");
                    }
                }
                Err(error) => {
                    let interface = queue.socket.interface();
                    // An interface that was removed takes its sockets along.
                    let gone = error.raw_os_error() == Some(libc::ENXIO);
                    if !std::mem::replace(&mut queue.down, true) || gone {
                        tracing::warn!(interface, %error, gone, "AF_XDP does not send by an interface: the kernel does");
                    }
                    queue.down_until = if gone { u64::MAX } else { now.saturating_add(DOWN_NS) };
                }
            }
        }
    }
}

/// For each queue that a packet comes in by, and each interface that it leaves by, the queue that sends it: the one of
/// the same number, else any of the shard's, always the same.
fn outlets(queues: &[Queue], interfaces: &[u32]) -> Vec<Option<usize>> {
    let of = |interface: u32| (0..queues.len()).filter(move |place| queues[*place].socket.interface() == interface);
    let outlet = |from: &Queue, interface: u32| {
        let same = of(interface).find(|place| queues[*place].socket.queue() == from.socket.queue());
        let count = of(interface).count().max(1);
        same.or_else(|| of(interface).nth(from.socket.queue() as usize % count))
    };
    queues.iter().flat_map(|from| interfaces.iter().map(move |interface| outlet(from, *interface))).collect()
}

#[cfg(test)]
mod tests;
