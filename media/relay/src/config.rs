//! What a shard's relay is made of: local address ranges, its place among the shards, and bounds.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

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
}

impl Config {
    /// Five seconds: a far end that missed the first BYE sends on until a retransmission (after 0.5, 1 and
    /// 2 s, RFC 3261 timer E) reaches it, and none of that may fall into a stranger's call.
    pub const DEFAULT_PORT_REST_NS: u64 = 5_000_000_000;

    /// The bound on [`EndpointId`](crate::EndpointId)s: two legs with two streams of two ports for every
    /// session, and never less than one session of the largest shape needs.
    pub fn max_endpoints(&self) -> usize {
        const LARGEST_SESSION: usize = moorline_control::MAX_LEGS * moorline_control::MAX_STREAMS * 2;
        self.capacity.saturating_mul(8).clamp(LARGEST_SESSION, 1 << 24)
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

impl Range {
    /// How many addresses of a network are used at most: IPv6 prefixes are never enumerated.
    pub const MAX_ADDRESSES: u32 = 1024;
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
    /// No sessions are allowed.
    #[error("the session capacity of a shard is 0")]
    Capacity,
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
    /// The network has no address left.
    #[error("media range \"{0}\" has no usable address: a network this small needs routed = true")]
    NoAddresses(String),
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

/// The shard that owns a local media port, or `None` if no range holds it.
pub fn shard_of(ranges: &[Range], shards: u16, address: SocketAddr) -> Option<u16> {
    let _ = (ranges, shards, address);
    None
}
