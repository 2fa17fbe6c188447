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
//! - which way a flow leaves changes between two batches only ([`ways`](super::outward::ways)).
//!
//! A packet's residence is measured from when the shard first saw it in the ring until the call that sent it has
//! returned: what it waited in the ring before is not in it.

mod arrival;
mod frame;
mod passing;
mod queues;
mod turn;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use moorline_relay::{BindError, EndpointId, Outgoing, Ports};
use moorline_xdp::xsk::{Umem, ZeroCopy};
use moorline_xdp::{Forward, Lookup};

use self::passing::{Came, GROUP};
use self::queues::Queue;
use super::outward::ways::Ways;
use super::uring::{Sends, Uring};
use super::{BATCH, Datapath, Judge, Setup, Tally};
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
    /// Packets that are being looked at together.
    came: Vec<Came>,
    /// When the packets of the batch that were queued to be sent had come.
    sent: Vec<u64>,
    /// What a sleep waits for: the sockets, and what is beneath.
    waits: Vec<libc::pollfd>,
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
            came: Vec::with_capacity(GROUP),
            sent: Vec::with_capacity(BATCH),
            waits: Vec::new(),
            polling: false,
            retry: false,
        })
    }

    fn relay(&mut self, tally: &mut Tally, judge: &mut impl Judge) -> io::Result<usize> {
        self.relay_in_turn(tally, judge)
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
        self.ways.age(clock::monotonic_ns());
        self.waits.clear();
        for queue in &mut self.queues {
            if queue.socket.is_waiting() {
                return Ok(());
            }
            if queue.socket.receive_needs_wake_up() {
                let _ = queue.socket.wake_receive();
            }
            self.waits.push(libc::pollfd { fd: queue.socket.as_raw_fd(), events: libc::POLLIN, revents: 0 });
        }
        let limit = if self.retry { limit.min(RETRY) } else { limit };
        if self.queues.is_empty() {
            self.beneath.sleep(limit)
        } else {
            self.beneath.sleep_beside(limit, &mut self.waits)
        }
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
            if let Some(Sends { address, traffic_class }) = self.beneath.sends(endpoint) {
                self.ways.open(endpoint, place.range as u16, address, traffic_class);
            }
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
