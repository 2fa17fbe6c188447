//! Which way the packets of a local port leave: past the kernel's routing where the next hop is known, else by it.
//!
//! A flow changes its way between two batches only. To the kernel it does so at once: what was sent before has left
//! with its batch. Past it, it does so some time after its hop has become usable, when what the kernel held back for
//! want of that hop has left.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use moorline_relay::EndpointId;

use crate::datapath::uring::{fold, sum};
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
pub(in crate::datapath) struct Ways {
    hops: Hops,
    reader: HopReader,
    ways: Vec<Way>,
    sweep_at: u64,
}

/// The addresses of the packets that leave a port, IPv4's in their IPv6-mapped form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::datapath) struct Line {
    pub(in crate::datapath) from: [u8; 16],
    pub(in crate::datapath) to: [u8; 16],
    pub(in crate::datapath) from_port: u16,
    pub(in crate::datapath) to_port: u16,
    pub(in crate::datapath) traffic_class: u8,
    /// The ones' complement sum of addresses and ports.
    pub(in crate::datapath) sum: u16,
}

impl Line {
    const NONE: Line = Line { from: [0; 16], to: [0; 16], from_port: 0, to_port: 0, traffic_class: 0, sum: 0 };

    pub(in crate::datapath) fn new(from: SocketAddr, to: SocketAddr, traffic_class: u8) -> Line {
        let mut line = Line { from: mapped(from.ip()), from_port: from.port(), traffic_class, ..Line::NONE };
        line.lead(mapped(to.ip()), to.port());
        line
    }

    /// To another destination.
    fn lead(&mut self, to: [u8; 16], to_port: u16) {
        (self.to, self.to_port) = (to, to_port);
        let half = if self.is_v6() { 0 } else { 12 };
        let ports = u64::from(self.from_port.to_be()) + u64::from(to_port.to_be());
        self.sum = fold(sum(&self.from[half..]) + sum(&to[half..]) + ports);
    }

    pub(in crate::datapath) fn is_v6(&self) -> bool {
        self.from[..12] != MAPPED
    }

    /// Both addresses are of one IP version.
    fn is_of_one_version(&self) -> bool {
        self.is_v6() == (self.to[..12] != MAPPED)
    }
}

/// What is in front of a mapped IPv4 address (RFC 4291 section 2.5.5.2).
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

fn mapped(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// All that a packet needs of the port that it leaves by.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Way {
    line: Line,
    /// The media range that the port is of, or none while it is closed.
    range: Option<u16>,
    /// The hop on the way there, or 0 as long as none is known.
    hop: u32,
    /// With a hop, when packets may go by it, `NEVER` while it is not usable; else when to ask for one.
    at: u64,
}

// One cache line for each packet sent.
const _: () = assert!(size_of::<Way>() == 64);

const NEVER: u64 = u64::MAX;
const NO_WAY: Way = Way { line: Line::NONE, range: None, hop: 0, at: 0 };

/// Where a packet goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::datapath) enum Leaving {
    /// Past the kernel.
    By(NextHop, Line),
    /// By the kernel.
    Kernel,
    /// Nowhere: the port is closed.
    Closed,
}

impl Ways {
    pub(in crate::datapath) fn new(hops: Hops, reader: HopReader, endpoints: usize) -> Ways {
        Ways { hops, reader, ways: vec![NO_WAY; endpoints], sweep_at: 0 }
    }

    /// A port of this media range is open, which sends from this address.
    pub(in crate::datapath) fn open(&mut self, port: EndpointId, range: u16, from: SocketAddr, traffic_class: u8) {
        if let Some(way) = self.ways.get_mut(port.0 as usize) {
            let nowhere = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
            *way = Way { line: Line::new(from, nowhere, traffic_class), range: Some(range), ..NO_WAY };
        }
    }

    /// A packet is about to leave by this port: has its line loaded, and waits for nothing.
    #[inline]
    pub(in crate::datapath) fn expect(&self, port: EndpointId) {
        if let Some(way) = self.ways.get(port.0 as usize) {
            std::hint::black_box(way.hop);
        }
    }

    /// The way of a packet from a port. `now` is of the monotonic clock, the same for all packets of a batch.
    #[inline]
    pub(in crate::datapath) fn next(&mut self, now: u64, port: EndpointId, to: SocketAddr) -> Leaving {
        let Some(way) = self.ways.get_mut(port.0 as usize) else { return Leaving::Closed };
        let Some(range) = way.range else { return Leaving::Closed };
        let (address, to_port) = (mapped(to.ip()), to.port());
        if way.line.to != address || way.line.to_port != to_port {
            if way.hop != 0 {
                self.hops.release(now, way.hop);
            }
            (way.hop, way.at) = (0, 0);
            way.line.lead(address, to_port);
        }
        if way.hop == 0 {
            // To nobody by one version from the other: what the kernel says is counted.
            if now < way.at || !way.line.is_of_one_version() {
                return Leaving::Kernel;
            }
            let from = Ipv6Addr::from(way.line.from).to_canonical();
            match self.hops.hop(now, from, to.ip().to_canonical(), range) {
                Answer::Hop(hop) => (way.hop, way.at) = (hop, NEVER),
                Answer::Pending => way.at = now.saturating_add(PENDING_NS),
                Answer::Kernel(_) => way.at = now.saturating_add(KERNEL_NS),
            }
            if way.hop == 0 {
                return Leaving::Kernel;
            }
        }
        let Some(next) = self.reader.read(way.hop) else {
            way.at = NEVER;
            return Leaving::Kernel;
        };
        if way.at == NEVER {
            way.at = now.saturating_add(SETTLE_NS);
        }
        if now >= way.at { Leaving::By(next, way.line) } else { Leaving::Kernel }
    }

    /// The port has just sent a packet by the kernel though its hop is usable: the next ones follow it that way until
    /// it has left.
    #[inline]
    pub(in crate::datapath) fn went_by_kernel(&mut self, now: u64, port: EndpointId) {
        if let Some(way) = self.ways.get_mut(port.0 as usize).filter(|way| way.hop != 0 && way.at <= now) {
            way.at = now.saturating_add(SETTLE_NS);
        }
    }

    /// The port is closed.
    pub(in crate::datapath) fn close(&mut self, now: u64, port: EndpointId) {
        if let Some(way) = self.ways.get_mut(port.0 as usize) {
            let Way { hop, .. } = std::mem::replace(way, NO_WAY);
            if hop != 0 {
                self.hops.release(now, hop);
            }
        }
    }

    /// Once a batch: what is to be done now and then.
    #[inline]
    pub(in crate::datapath) fn age(&mut self, now: u64) {
        if now >= self.sweep_at {
            self.sweep_at = now.saturating_add(SWEEP_NS);
            self.hops.sweep(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_knows_its_version_and_whether_it_has_only_one() {
        let [v4, mapped, v6] = ["10.0.0.1:7", "[::ffff:10.0.0.2]:8", "[2001:db8::1]:9"].map(|a| a.parse().unwrap());
        let line = |from, to| Line::new(from, to, 0);
        assert!(!line(v4, mapped).is_v6() && line(v4, mapped).is_of_one_version());
        assert!(line(v6, v6).is_v6() && line(v6, v6).is_of_one_version());
        assert!(!line(v6, v4).is_of_one_version() && !line(v4, v6).is_of_one_version());
    }

    #[test]
    fn a_line_that_is_led_elsewhere_is_the_one_that_was_made_so() {
        let [a, b, c]: [SocketAddr; 3] =
            ["10.0.0.1:7", "255.255.255.255:65535", "10.9.8.7:6"].map(|address| address.parse().unwrap());
        let mut line = Line::new(a, b, 3);
        line.lead(mapped(c.ip()), c.port());
        assert_eq!(line, Line::new(a, c, 3));
    }
}
