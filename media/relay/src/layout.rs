//! How a range's ports are cut into blocks, and the blocks dealt to virtual shards: arithmetic only, so that
//! a port names its shard without a table.
//!
//! The blocks of a range are numbered round its addresses first: block 0 of every address, then block 1 of
//! every address, and so on. The virtual shard of a block is its number modulo 256, so every range deals its
//! blocks from virtual shard 0 up, and two small ranges have virtual shards in common for a session that
//! needs ports of both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

use crate::{Range, VIRTUAL_SHARDS};

/// Pairs of ports in a block: 64 ports.
pub(crate) const PAIRS_PER_BLOCK: u32 = 32;

/// The usable addresses and ports of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    first: IpAddr,
    addresses: u32,
    /// The lowest even port.
    first_even: u16,
    /// Pairs of an even and the next odd port on every address.
    pairs: u32,
}

/// A pair of ports by its block's number and its place in the block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PairNumber {
    pub(crate) block: u32,
    pub(crate) bit: u32,
}

impl Layout {
    pub(crate) fn of(range: &Range) -> Layout {
        let (first, addresses) = usable(&range.network, range.routed);
        // 65535 is odd, so rounding the first up to even may pass the top only as a count.
        let first_even = u32::from(range.first_port.max(2)).next_multiple_of(2);
        let pairs = (u32::from(range.last_port) + 1).saturating_sub(first_even) / 2;
        Layout { first, addresses, first_even: u16::try_from(first_even).unwrap_or(u16::MAX - 1), pairs }
    }

    pub(crate) fn pairs(&self) -> u32 {
        self.pairs
    }

    pub(crate) fn addresses(&self) -> u32 {
        self.addresses
    }

    pub(crate) fn first_port(&self) -> u16 {
        self.first_even
    }

    /// Blocks in all.
    pub(crate) fn blocks(&self) -> u32 {
        self.addresses * self.pairs.div_ceil(PAIRS_PER_BLOCK)
    }

    /// How many pairs the block has; the last one of an address may have fewer than the others.
    pub(crate) fn pairs_in(&self, block: u32) -> u32 {
        (self.pairs - block / self.addresses * PAIRS_PER_BLOCK).min(PAIRS_PER_BLOCK)
    }

    /// The RTP address of a pair; RTCP's is the next port.
    pub(crate) fn address(&self, pair: PairNumber) -> SocketAddr {
        let offset = (pair.block / self.addresses * PAIRS_PER_BLOCK + pair.bit) * 2;
        // In range: the pair's number is below `pairs`, which the last port bounds.
        let port = (u32::from(self.first_even) + offset) as u16;
        SocketAddr::new(nth(self.first, pair.block % self.addresses), port)
    }

    /// The pair that a local port belongs to.
    pub(crate) fn pair(&self, address: SocketAddr) -> Option<PairNumber> {
        let nth = distance(self.first, address.ip()).filter(|&nth| nth < self.addresses)?;
        let pair = u32::from(address.port().checked_sub(self.first_even)?) / 2;
        (pair < self.pairs)
            .then(|| PairNumber { block: pair / PAIRS_PER_BLOCK * self.addresses + nth, bit: pair % PAIRS_PER_BLOCK })
    }

    /// The addresses from first to last.
    pub(crate) fn span(&self) -> (IpAddr, IpAddr) {
        (self.first, nth(self.first, self.addresses.saturating_sub(1)))
    }
}

/// The virtual shard that a block belongs to.
pub(crate) fn virtual_shard(block: u32) -> u8 {
    (block % u32::from(VIRTUAL_SHARDS)) as u8
}

/// The shard that owns a local media port, or `None` if no range holds it.
pub fn shard_of(ranges: &[Range], shards: u16, address: SocketAddr) -> Option<u16> {
    let pair = ranges.iter().find_map(|range| Layout::of(range).pair(address))?;
    u16::from(virtual_shard(pair.block)).checked_rem(shards)
}

/// The first usable address of a network and how many follow it.
fn usable(network: &IpNet, routed: bool) -> (IpAddr, u32) {
    let host_bits = network.max_prefix_len() - network.prefix_len();
    let (skip_first, skip_last) = match network {
        _ if routed || host_bits < 2 => (0, 0),
        IpNet::V4(_) => (1, 1),
        IpNet::V6(_) => (1, 0),
    };
    let total = 1u64.checked_shl(u32::from(host_bits.min(63))).unwrap_or(u64::MAX);
    let count = (total - skip_first - skip_last).min(u64::from(Range::MAX_ADDRESSES)) as u32;
    (nth(network.network(), skip_first as u32), count)
}

fn nth(first: IpAddr, n: u32) -> IpAddr {
    match first {
        IpAddr::V4(v4) => Ipv4Addr::from_bits(v4.to_bits().wrapping_add(n)).into(),
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits().wrapping_add(n.into())).into(),
    }
}

fn distance(first: IpAddr, address: IpAddr) -> Option<u32> {
    match (first, address) {
        (IpAddr::V4(first), IpAddr::V4(address)) => address.to_bits().checked_sub(first.to_bits()),
        (IpAddr::V6(first), IpAddr::V6(address)) => address.to_bits().checked_sub(first.to_bits())?.try_into().ok(),
        _ => None,
    }
}
