//! What a shard's relay is made of: local address ranges, its place among the shards, and bounds.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::layout::Layout;

/// Blocks of ports belong to virtual shards; real shards take them by modulo, so that their number can change.
pub const VIRTUAL_SHARDS: u16 = 256;

/// The configuration of one shard's relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where local ports come from; the same list, in the same order, on every shard.
    pub ranges: Vec<Range>,
    /// This shard's number.
    pub shard: u16,
    /// How many shards there are, at most [`VIRTUAL_SHARDS`].
    pub shards: u16,
    /// The most sessions of this shard.
    pub capacity: usize,
    /// How long a freed port rests before another session gets it.
    pub port_rest_ns: u64,
    /// Reports tell the latest DTMF digit.
    pub report_digits: bool,
}

impl Config {
    /// Five seconds: a far end that missed the first BYE sends on until a retransmission (after 0.5, 1 and
    /// 2 s, RFC 3261 timer E) reaches it, and none of that may fall into a stranger's call.
    pub const DEFAULT_PORT_REST_NS: u64 = 5_000_000_000;

    /// The most sessions a shard can be configured for.
    pub const MAX_CAPACITY: usize = 1 << 20;

    /// Whether a relay can be made of this.
    ///
    /// # Errors
    /// The first thing in it that cannot work.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.shard >= self.shards || self.shards > VIRTUAL_SHARDS {
            return Err(ConfigError::Shard { shard: self.shard, shards: self.shards });
        }
        if self.capacity == 0 || self.capacity > Config::MAX_CAPACITY {
            return Err(ConfigError::Capacity(self.capacity));
        }
        if self.ranges.is_empty() {
            return Err(ConfigError::NoRanges);
        }
        for (i, range) in self.ranges.iter().enumerate() {
            range.check(self.shards)?;
            for other in &self.ranges[..i] {
                if other.name == range.name {
                    return Err(ConfigError::DuplicateName(range.name.clone()));
                }
                if other.overlaps(range) {
                    return Err(ConfigError::Overlap(other.name.clone(), range.name.clone()));
                }
            }
        }
        Ok(())
    }

    /// The bound on [`EndpointId`](crate::EndpointId)s: two legs with two streams of two ports for every
    /// session, and never less than one session of the largest shape needs.
    pub fn max_endpoints(&self) -> usize {
        const LARGEST_SESSION: usize = moorline_control::MAX_LEGS * moorline_control::MAX_STREAMS * 2;
        (self.capacity.min(Config::MAX_CAPACITY) * 8).max(LARGEST_SESSION)
    }
}

/// Local addresses and ports that sessions get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// The name that legs refer to.
    pub name: String,
    /// The addresses. Of a large network only the first [`MAX_ADDRESSES`](Self::MAX_ADDRESSES) are used.
    pub network: IpNet,
    /// The lowest port.
    pub first_port: u16,
    /// The highest port.
    pub last_port: u16,
    /// The address to write into SDP instead, behind a 1:1 NAT.
    pub advertised: Option<IpAddr>,
    /// The whole network is routed to this host, so its first and last address are addresses like any other;
    /// otherwise the network and broadcast address (IPv4) or the router's anycast address (IPv6) stay unused.
    pub routed: bool,
}

/// Where the local ports of a range are. The addresses differ in their last 32 bits only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The lowest address.
    pub first: IpAddr,
    /// How many addresses follow each other from there.
    pub addresses: u32,
    /// The lowest port, an even one.
    pub first_port: u16,
    /// How many ports follow each other from there.
    pub ports: u32,
}

impl Range {
    /// How many addresses of a network are used at most: IPv6 prefixes are never enumerated.
    pub const MAX_ADDRESSES: u32 = 1024;

    /// How many pairs of ports there are, for RTP and RTCP.
    pub fn pairs(&self) -> u32 {
        let layout = Layout::of(self);
        layout.addresses().saturating_mul(layout.pairs())
    }

    /// The local ports that sessions may get: some addresses in a row, the same ports on each.
    pub fn span(&self) -> Span {
        let layout = Layout::of(self);
        let (first, _) = layout.span();
        Span { first, addresses: layout.addresses(), first_port: layout.first_port(), ports: layout.pairs() * 2 }
    }

    fn check(&self, shards: u16) -> Result<(), ConfigError> {
        let layout = Layout::of(self);
        if layout.pairs() == 0 {
            return Err(ConfigError::NoPorts(self.name.clone()));
        }
        if self.advertised.is_some_and(|advertised| advertised.is_ipv4() != self.network.addr().is_ipv4()) {
            return Err(ConfigError::Advertised(self.name.clone()));
        }
        if layout.blocks() < u32::from(shards) {
            return Err(ConfigError::TooFewPorts { range: self.name.clone(), blocks: layout.blocks(), shards });
        }
        Ok(())
    }

    fn overlaps(&self, other: &Range) -> bool {
        let ((a_first, a_last), (b_first, b_last)) = (Layout::of(self).span(), Layout::of(other).span());
        let addresses = a_first <= b_last && b_first <= a_last;
        addresses && self.first_port <= other.last_port && other.first_port <= self.last_port
    }
}

/// The configuration cannot work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The shard's number is not below the number of shards, or that is not 1 to 256.
    #[error("shard {shard} of {shards}: there may be 1 to 256 shards, numbered from 0")]
    Shard {
        /// The number given.
        shard: u16,
        /// The count given.
        shards: u16,
    },
    /// The session capacity is out of bounds.
    #[error("a session capacity of {0} a shard: 1 to {max} are possible", max = Config::MAX_CAPACITY)]
    Capacity(usize),
    /// No range is given.
    #[error("no media range")]
    NoRanges,
    /// Two ranges have the same name.
    #[error("two media ranges are named \"{0}\"")]
    DuplicateName(String),
    /// Two ranges have addresses and ports in common.
    #[error("media ranges \"{0}\" and \"{1}\" overlap: separate their networks or their ports")]
    Overlap(String, String),
    /// The ports hold no even port followed by an odd one.
    #[error("media range \"{0}\" has no even port followed by an odd one between its first and last port")]
    NoPorts(String),
    /// The advertised address is of the other IP version.
    #[error("media range \"{0}\" advertises an address of another IP version")]
    Advertised(String),
    /// Some shard would own no port of the range.
    #[error(
        "media range \"{range}\" has {blocks} blocks of 64 ports for {shards} shards: widen it or use fewer shards"
    )]
    TooFewPorts {
        /// The range.
        range: String,
        /// Its blocks.
        blocks: u32,
        /// The shards.
        shards: u16,
    },
}
