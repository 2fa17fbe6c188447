//! Packets on their way through: taken from a queue, judged, and queued to be sent.
//!
//! What a packet needs of its port and of the port that it leaves by lies anywhere in tables of megabytes. So packets
//! are taken in groups, and what all of a group need is asked for before the first one is judged: the memory brings it
//! while others are waited for.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

use moorline_relay::{EndpointId, Traffic, Verdict};
use moorline_xdp::xsk::{Frame, Received};

use super::frame::{self, Datagram};
use super::{AfXdp, DOWN_NS};
use crate::datapath::outward::header::{self, Checksum, Out};
use crate::datapath::outward::ways::Leaving;
use crate::datapath::{Judge, KernelDrop, MAX_DATAGRAM, Packet, Tally};

/// Packets that are looked at together.
pub(super) const GROUP: usize = 32;

/// A packet that came, and what it was found to be.
pub(super) struct Came {
    received: Received,
    datagram: Option<Datagram>,
    /// The port that it came to; `None` for one that was closed, or opened only later.
    endpoint: Option<EndpointId>,
    received_ns: u64,
}

/// How a packet came.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    /// The place of the queue that it came in by.
    place: usize,
    memory: usize,
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

impl AfXdp {
    /// Takes up to `limit` packets from a queue; answers how many. The times are of the batch, of both clocks.
    pub(super) fn receive(
        &mut self,
        place: usize,
        limit: usize,
        (now, realtime): (u64, u64),
        tally: &mut Tally,
        judge: &mut impl Judge,
    ) -> io::Result<usize> {
        let Some(queue) = self.queues.get_mut(place) else { return Ok(0) };
        let memory = queue.memory;
        queue.socket.reap(&mut self.memories[memory]);
        queue.socket.look();
        let mut count = 0;
        while count < limit {
            let mut came = std::mem::take(&mut self.came);
            self.gather(place, GROUP.min(limit - count), realtime, judge, &mut came);
            count += came.len();
            let taken = came.len();
            for Came { received, datagram, endpoint, received_ns } in came.drain(..) {
                let arrival = Arrival { place, memory, now, received_ns };
                if let Some(frame) = self.packet(arrival, received, datagram, endpoint, tally, judge)? {
                    self.memories[memory].put(frame);
                }
            }
            self.came = came;
            if taken < GROUP {
                break;
            }
        }
        tally.af_xdp.received += count as u64;
        let queue = &mut self.queues[place];
        queue.socket.release();
        queue.socket.fill(&mut self.memories[memory], queue.level);
        if count > 0 && queue.socket.receive_needs_wake_up() {
            let _ = queue.socket.wake_receive();
        }
        Ok(count)
    }

    /// Takes a group of packets from a queue, and asks for the memory that they need: in one go for each step, so that
    /// none waits for another's.
    fn gather(&mut self, place: usize, limit: usize, realtime: u64, judge: &mut impl Judge, came: &mut Vec<Came>) {
        let queue = &mut self.queues[place];
        let (memory, interface) = (&self.memories[queue.memory], queue.socket.interface());
        while came.len() < limit
            && let Some(received) = queue.socket.receive(memory)
        {
            let received_ns = queue.arrivals.time(received.number, realtime);
            let bytes = memory.bytes(&received.frame).get(received.at..received.at + received.length);
            let datagram = bytes.and_then(|bytes| frame::parse(bytes, interface));
            came.push(Came { received, datagram, endpoint: None, received_ns });
        }
        for packet in &mut *came {
            let destination = packet.datagram.as_ref().map(|datagram| datagram.destination);
            packet.endpoint = destination.and_then(|to| self.beneath.owner(to, packet.received_ns));
        }
        let mut leaves = [EndpointId(0); GROUP];
        for (packet, leaves) in came.iter().zip(&mut leaves) {
            *leaves = packet.endpoint.map_or(EndpointId(0), |endpoint| judge.expect(endpoint));
        }
        leaves.iter().take(came.len()).for_each(|port| self.ways.expect(*port));
    }

    /// One packet: asks for the verdict, and queues it to be sent. Answers its frame unless that is on its way.
    fn packet(
        &mut self,
        arrival: Arrival,
        received: Received,
        datagram: Option<Datagram>,
        endpoint: Option<EndpointId>,
        tally: &mut Tally,
        judge: &mut impl Judge,
    ) -> io::Result<Option<Frame>> {
        let Received { frame, at, .. } = received;
        let Some(datagram) = datagram else {
            tally.drop(KernelDrop::Receive);
            return Ok(Some(frame));
        };
        // In the frame, not in the packet.
        let payload = at + datagram.payload.start..at + datagram.payload.end;
        if payload.len() > MAX_DATAGRAM {
            tally.drop(KernelDrop::Truncated);
            return Ok(Some(frame));
        }
        let Some(endpoint) = endpoint else {
            tally.drop(KernelDrop::Closed);
            return Ok(Some(frame));
        };
        let bytes = self.memories[arrival.memory].bytes(&frame);
        let packet = Packet { endpoint, source: datagram.source, payload: &bytes[payload.clone()] };
        let Verdict::Forward { from, to, traffic } = judge.verdict(packet) else { return Ok(Some(frame)) };
        let (next, line) = match self.ways.next(arrival.now, from, to) {
            Leaving::By(next, line) => (next, line),
            Leaving::Kernel => return self.by_kernel(arrival, from, to, traffic, frame, payload, tally),
            Leaving::Closed => {
                tally.count_unsent(KernelDrop::Closed, traffic, payload.len());
                return Ok(Some(frame));
            }
        };
        let Some(outlet) = self.outlet(arrival, next.interface) else {
            return self.by_kernel(arrival, from, to, traffic, frame, payload, tally);
        };
        self.id = self.id.wrapping_add(1);
        let out = Out { next, line, id: self.id };
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
    pub(super) fn flush(&mut self, now: u64, tally: &mut Tally) {
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
