//! Which way the packets of a local port leave: by AF_XDP where the next hop is known, else by the kernel.
//!
//! A flow changes its way between two batches only. From AF_XDP to the kernel it does so at once: what was sent
//! before has left with its batch. To AF_XDP it does so some time after its hop has become usable, when what the
//! kernel held back for want of that hop has left.

use std::net::SocketAddr;

use moorline_relay::EndpointId;

use crate::routes::{Answer, HopReader, Hops, NextHop};

/// For how long packets still go by the kernel once their hop is usable.
const SETTLE_NS: u64 = 10_000_000;
/// When a hop that is being looked for is asked for again.
const PENDING_NS: u64 = 5_000_000;
/// When a way that only the kernel has is asked for again.
const KERNEL_NS: u64 = 1_000_000_000;
/// How often what nobody uses is let go of.
const SWEEP_NS: u64 = 1_000_000_000;

/// The ways of a shard's ports.
pub(super) struct Ways {
    hops: Hops,
    reader: HopReader,
    ways: Vec<Way>,
    sweep_at: u64,
}

#[derive(Debug, Clone, Copy)]
struct Way {
    /// The media range that the port is of.
    range: u16,
    /// Where the port has last sent to.
    to: Option<SocketAddr>,
    /// The hop on the way there, or 0 as long as none is known.
    hop: u32,
    /// When to ask for one.
    ask_at: u64,
    /// When packets may go by it; `NEVER` while it is not usable.
    open_from: u64,
}

const NEVER: u64 = u64::MAX;
const NO_WAY: Way = Way { range: 0, to: None, hop: 0, ask_at: 0, open_from: NEVER };

impl Ways {
    pub(super) fn new(hops: Hops, reader: HopReader, endpoints: usize) -> Ways {
        Ways { hops, reader, ways: vec![NO_WAY; endpoints], sweep_at: 0 }
    }

    /// A port of this media range is open.
    pub(super) fn open(&mut self, port: EndpointId, range: u16) {
        if let Some(way) = self.ways.get_mut(port.0 as usize) {
            way.range = range;
        }
    }

    /// The next hop of a packet from a port, which has this address, or `None` if it goes by the kernel. `now` is of
    /// the monotonic clock, the same for all packets of a batch.
    #[inline]
    pub(super) fn next(&mut self, now: u64, port: EndpointId, local: SocketAddr, to: SocketAddr) -> Option<NextHop> {
        let way = self.ways.get_mut(port.0 as usize)?;
        if way.to != Some(to) {
            if way.hop != 0 {
                self.hops.release(now, way.hop);
            }
            *way = Way { range: way.range, to: Some(to), ..NO_WAY };
        }
        if way.hop == 0 {
            if now < way.ask_at {
                return None;
            }
            match self.hops.hop(now, local.ip().to_canonical(), to.ip().to_canonical(), way.range) {
                Answer::Hop(hop) => way.hop = hop,
                Answer::Pending => way.ask_at = now.saturating_add(PENDING_NS),
                Answer::Kernel(_) => way.ask_at = now.saturating_add(KERNEL_NS),
            }
            if way.hop == 0 {
                return None;
            }
        }
        let Some(next) = self.reader.read(way.hop) else {
            way.open_from = NEVER;
            return None;
        };
        if way.open_from == NEVER {
            way.open_from = now.saturating_add(SETTLE_NS);
        }
        (now >= way.open_from).then_some(next)
    }

    /// The port has just sent a packet by the kernel though its hop is usable: the next ones follow it that way until
    /// it has left.
    #[inline]
    pub(super) fn went_by_kernel(&mut self, now: u64, port: EndpointId) {
        if let Some(way) = self.ways.get_mut(port.0 as usize).filter(|way| way.open_from <= now) {
            way.open_from = now.saturating_add(SETTLE_NS);
        }
    }

    /// The port is closed.
    pub(super) fn close(&mut self, now: u64, port: EndpointId) {
        if let Some(way) = self.ways.get_mut(port.0 as usize) {
            let Way { hop, .. } = std::mem::replace(way, NO_WAY);
            if hop != 0 {
                self.hops.release(now, hop);
            }
        }
    }

    /// Once a batch: what is to be done now and then.
    #[inline]
    pub(super) fn age(&mut self, now: u64) {
        if now >= self.sweep_at {
            self.sweep_at = now.saturating_add(SWEEP_NS);
            self.hops.sweep(now);
        }
    }
}
