//! Flows of a shard that the forwarding program relays in the network driver.
//!
//! The shard's datapath stays as it is: whatever the program passes up comes by it. This counts what came up of each
//! port, so that a flow goes over to the driver only when nothing of it is in flight ([`Arming`]), and carries the
//! relay's words ([`Offload`]) into the program's tables, which are plain memory. Where the shard is so late that
//! something always is, the program drops packets of some flows until they can go over ([`Drain`]).

use std::net::SocketAddr;
use std::sync::Arc;

use moorline_relay::{Arming, Drain, EndpointId, Offload, Passed, Relay, Seen, Stand, Verdict, Way};
use moorline_xdp::forward::{FlowId, Forward, Progress, Wish, abi};

use super::{BATCH, KernelDrop, MediaRange, Packet, Tally};
use crate::routes::{Answer, Hops};
use crate::shard::clock;

/// As the kernel's default (`net.ipv4.ip_default_ttl`).
const TTL: u8 = 64;
/// How often routes that nobody uses are let go of.
const SWEEP_NS: u64 = 1_000_000_000;

/// What a shard needs to have flows relayed in the driver.
pub(crate) struct OffloadPlan {
    pub(crate) forward: Arc<Forward>,
    pub(crate) hops: Hops,
    /// The program relays a flow only while it comes by a queue of another shard.
    pub(crate) only_foreign: bool,
}

/// The ports of a shard, as the forwarding program knows them.
pub(crate) struct Offloaded {
    forward: Arc<Forward>,
    hops: Hops,
    only_foreign: bool,
    shard: u16,
    ranges: Vec<MediaRange>,
    /// By endpoint.
    ports: Vec<Option<Port>>,
    /// Endpoints of which something came up in this batch, each once; no more than there are packets.
    touched: Vec<u32>,
    drain: Drain,
    /// Packets that the datapath had lost for want of room.
    lost: u64,
    sweep_at: u64,
}

#[derive(Clone, Copy)]
struct Port {
    address: SocketAddr,
    entry: u32,
    /// The position of its range, where one has it.
    range: Option<u16>,
    /// Of an RTP port, as long as there are flows.
    flow: Option<FlowId>,
    arming: Arming,
    /// From when it was told on, what it was told last: both sides count packets of this source only.
    source: Option<SocketAddr>,
    touched: bool,
    /// It was told since it was opened.
    known: bool,
    /// What it is relayed to, while it is told.
    hop: Option<u32>,
    /// Since when it has been told and something of it in flight, whenever it was looked; 0 for not.
    kept_since: u64,
    drained: bool,
}

impl Offloaded {
    /// For a shard with this many endpoints.
    pub(crate) fn new(plan: OffloadPlan, shard: u16, ranges: Vec<MediaRange>, endpoints: usize) -> Offloaded {
        Offloaded {
            forward: plan.forward,
            hops: plan.hops,
            only_foreign: plan.only_foreign,
            shard,
            ranges,
            ports: vec![None; endpoints],
            touched: Vec::with_capacity(BATCH),
            drain: Drain::new(),
            lost: 0,
            sweep_at: 0,
        }
    }

    /// A port is about to be opened. Before its packets can be received: both sides count from the first one on.
    pub(crate) fn open(&mut self, endpoint: EndpointId, address: SocketAddr) {
        let address = canonical(address);
        let Some(entry) = self.forward.entry(address) else { return };
        // RTCP is not relayed in the driver.
        let flow = if address.port().is_multiple_of(2) { self.forward.take_flow(entry) } else { None };
        let arming = flow.map_or_else(Arming::default, |flow| Arming::from(self.forward.seen(flow).passed));
        if let Some(flow) = flow.filter(|flow| self.forward.is_survivor(*flow) && self.forward.wished(*flow)) {
            // It went on while no process was there. Its packets come up, so that the relay learns who speaks.
            self.forward.leave(flow, clock::monotonic_ns());
        }
        let own = |range: &MediaRange| range.network.contains(&address.ip()) && range.ports.contains(&address.port());
        let range = self.ranges.iter().position(own).and_then(|range| u16::try_from(range).ok());
        if let Some(port) = self.ports.get_mut(endpoint.0 as usize) {
            *port = Some(Port {
                address,
                entry,
                range,
                flow,
                arming,
                source: None,
                touched: false,
                known: false,
                hop: None,
                kept_since: 0,
                drained: false,
            });
        }
        self.forward.open(entry, self.shard, flow);
    }

    /// A port was closed, or could not be opened.
    pub(crate) fn close(&mut self, endpoint: EndpointId) {
        let Some(port) = self.ports.get_mut(endpoint.0 as usize).and_then(Option::take) else { return };
        if let Some(hop) = port.hop {
            self.hops.release(clock::monotonic_ns(), hop);
        }
        if port.drained {
            self.drain.end(endpoint);
        }
        self.forward.close(port.entry);
    }

    /// Asks the relay about a packet that came up.
    #[inline]
    pub(crate) fn verdict(&mut self, now: u64, relay: &mut Relay, packet: Packet<'_>) -> Verdict {
        if let Some(Some(port)) = self.ports.get_mut(packet.endpoint.0 as usize)
            && port.source.is_some_and(|source| source == canonical(packet.source))
            && port.arming.receive(packet.payload)
            && !port.touched
            && self.touched.len() < self.touched.capacity()
        {
            port.touched = true;
            self.touched.push(packet.endpoint.0);
        }
        relay.packet_beside(now, packet.endpoint, packet.source, packet.payload, self)
    }

    /// All that came up has been sent: flows of which nothing is in flight may go over.
    pub(crate) fn settle(&mut self, now: u64, relay: &Relay, tally: &mut Tally) {
        let lost = tally.dropped(KernelDrop::Overflow);
        let has_lost = std::mem::replace(&mut self.lost, lost) != lost;
        self.drain.observe(now, tally.residence.take_longest(), has_lost);
        while let Some(endpoint) = self.touched.pop() {
            // One that was closed meanwhile is gone.
            let Some(Some(port)) = self.ports.get_mut(endpoint as usize) else { continue };
            port.touched = false;
            let Some(flow) = port.flow else { continue };
            let seen = self.forward.seen(flow);
            let endpoint = EndpointId(endpoint);
            let Some(count) = port.arming.settle(now, &Passed { count: seen.passed, last: seen.last_up }) else {
                if port.hop.is_some() && !port.drained {
                    if port.kept_since == 0 {
                        port.kept_since = now;
                    }
                    if let Some(until) = self.drain.admit(now, endpoint, port.kept_since) {
                        port.drained = self.forward.drain(flow, until);
                    }
                }
                continue;
            };
            port.kept_since = 0;
            if let Some(stand) = relay.stand(now, endpoint) {
                self.forward.arm(flow, count, &progress(&stand));
            }
            if std::mem::take(&mut port.drained) {
                self.drain.end(endpoint);
                self.forward.fill(flow);
            }
        }
        if !self.drain.is_empty() {
            self.end_drains(now);
        }
        if now >= self.sweep_at {
            self.sweep_at = now.saturating_add(SWEEP_NS);
            self.hops.sweep(now);
        }
    }

    /// When a drain is over, which [`settle`](Self::settle) ends: while another shard drains, the program goes on dropping.
    pub(crate) fn next_end(&self) -> Option<u64> {
        self.drain.next_end()
    }

    /// Flows that were drained in vain go on as before.
    #[cold]
    fn end_drains(&mut self, now: u64) {
        while let Some(endpoint) = self.drain.next_over(now) {
            let Some(port) = self.port(endpoint) else { continue };
            (port.drained, port.kept_since) = (false, now);
            if let Some(flow) = port.flow {
                self.forward.fill(flow);
            }
        }
    }

    fn port(&mut self, endpoint: EndpointId) -> Option<&mut Port> {
        self.ports.get_mut(endpoint.0 as usize)?.as_mut()
    }

    /// Tells the program of a way, if a neighbour is known that it goes to.
    fn try_tell(&mut self, endpoint: EndpointId, way: &Way) -> Option<()> {
        let now = clock::monotonic_ns();
        let from = *self.port(way.from)?;
        let port = *self.port(endpoint)?;
        let flow = port.flow.filter(|flow| self.forward.has_left(*flow, now))?;
        if self.only_foreign && comes_home(&self.forward.seen(flow)) {
            return None;
        }
        let range = self.ranges.get(usize::from(from.range?))?;
        let (tos, to) = (range.traffic_class(), canonical(way.to));
        let Answer::Hop(hop) = self.hops.hop(now, from.address.ip(), to.ip(), from.range?) else { return None };
        let wish = Wish {
            source: canonical(way.source),
            local: port.address,
            ssrc: way.ssrc,
            payload_types: 1 << (way.payload_type & 0x7f),
            clock: way.clock,
            from: from.address,
            to,
            tos,
            ttl: TTL,
            hop: u16::try_from(hop).unwrap_or_default(),
            packets_per_s: way.ceiling.packets_per_s,
            bytes_per_s: way.ceiling.bytes_per_s,
        };
        // Its next packet comes up, and the program goes on from where the relay stands after that.
        if !self.forward.tell(flow, &wish, now) {
            self.hops.release(now, hop);
            return None;
        }
        if let Some(port) = self.port(endpoint) {
            (port.known, port.hop, port.source) = (true, Some(hop), Some(wish.source));
            port.arming.part();
        }
        Some(())
    }
}

impl Offload for Offloaded {
    fn tell(&mut self, endpoint: EndpointId, way: &Way) -> bool {
        self.try_tell(endpoint, way).is_some()
    }

    fn forget(&mut self, endpoint: EndpointId) {
        let now = clock::monotonic_ns();
        let Some(port) = self.port(endpoint) else { return };
        let (flow, hop) = (port.flow, port.hop.take());
        port.kept_since = 0;
        if std::mem::take(&mut port.drained) {
            self.drain.end(endpoint);
        }
        if let Some(flow) = flow {
            self.forward.leave(flow, now);
        }
        if let Some(hop) = hop {
            self.hops.release(now, hop);
        }
    }

    fn keeps(&mut self, endpoint: EndpointId) -> bool {
        let flow = self.port(endpoint).and_then(|port| port.flow).filter(|_| self.only_foreign);
        flow.is_none_or(|flow| !comes_home(&self.forward.seen(flow)))
    }

    fn seen(&mut self, endpoint: EndpointId) -> Option<Seen> {
        let flow = self.port(endpoint).filter(|port| port.known)?.flow?;
        let seen = self.forward.seen(flow);
        Some(Seen {
            packets: seen.packets,
            bytes: seen.bytes,
            last_seen: seen.last_seen,
            skipped: seen.skipped,
            late: seen.late,
            duplicates: seen.duplicates,
            gaps: seen.gaps,
            longest_gap_packets: seen.longest_gap,
            longest_gap_ns: seen.longest_gap_ns,
            stand: Stand {
                highest: seen.sequence,
                came: seen.came,
                timestamp: seen.timestamp,
                transit: seen.transit,
                jitter: seen.jitter,
            },
            last_length: seen.length as u16,
        })
    }
}

/// Whether a flow's packets go up, by an AF_XDP socket of their shard.
fn comes_home(seen: &abi::Seen) -> bool {
    seen.relaying == 0 && seen.by_kernel_at != seen.up_at
}

/// What the program compares: without the scope and flow label of IPv6.
#[inline]
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn progress(stand: &Stand) -> Progress {
    let Stand { highest, came, timestamp, transit, jitter } = *stand;
    Progress { sequence: highest, came, timestamp, transit, jitter }
}
