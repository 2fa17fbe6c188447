//! What the socket lookup program (`xdp/program/lookup.bpf.c`) and its loader share.

use core::net::IpAddr;

/// The most ranges that the program looks through.
pub const MAX_RANGES: usize = 16;
/// The most shards that it has sockets for.
pub const MAX_SHARDS: usize = 64;
/// Ports in one element of the port map, a cache line.
pub const PORTS_PER_LINE: u32 = 16;
/// Entries from one address of a range to the next are a multiple of this, so that blocks of as many ports,
/// which belong to one shard each, share no cache line.
pub const STRIDE: u32 = 64;
/// A flood is counted in windows of 2 to this power of nanoseconds: 268 ms.
pub const WINDOW_SHIFT: u32 = 28;

/// A media range: some addresses in a row, the same ports on each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Range {
    /// The first three words of the first address, in network byte order; an IPv4 address in its IPv4-mapped
    /// form (RFC 4291 2.5.5.2).
    pub prefix: [[u8; 4]; 3],
    /// Its last word, in host byte order. No address of the range has other words before it.
    pub first: u32,
    /// How many addresses.
    pub addresses: u32,
    /// The lowest port.
    pub first_port: u32,
    /// How many ports each address has.
    pub ports: u32,
    /// Entries of the port map from one address to the next.
    pub stride: u32,
    /// The entry of the first port of the first address.
    pub base: u32,
    /// The index of the only interface that packets come in by, or 0 for any.
    pub interface: u32,
    /// The most packets of one port in one window; above `u16::MAX` there is no ceiling.
    pub limit: u32,
    /// Zero.
    pub padding: u32,
}

impl Range {
    /// A range that begins at entry `base` of the port map, of any interface, without a ceiling.
    pub fn new(first: IpAddr, addresses: u32, first_port: u16, ports: u32, base: u32) -> Range {
        let [a, b, c, d] = words(first);
        let stride = ports.next_multiple_of(STRIDE);
        let first = u32::from_be_bytes(d);
        let (prefix, first_port) = ([a, b, c], first_port.into());
        Range { prefix, first, addresses, first_port, ports, stride, base, interface: 0, limit: u32::MAX, padding: 0 }
    }

    /// How many entries of the port map it takes.
    pub fn entries(&self) -> u64 {
        u64::from(self.addresses) * u64::from(self.stride)
    }

    /// The range as the bytes of its map, in words.
    pub fn words(&self) -> [u32; size_of::<Range>() / size_of::<u32>()] {
        let [a, b, c] = self.prefix.map(u32::from_ne_bytes);
        let Range { first, addresses, first_port, ports, stride, base, interface, limit, .. } = *self;
        [a, b, c, first, addresses, first_port, ports, stride, base, interface, limit, 0]
    }

    /// The entry of a port.
    #[inline]
    pub fn entry(&self, address: IpAddr, port: u16) -> Option<u32> {
        let [a, b, c, d] = words(address);
        let nth = u32::from_be_bytes(d).wrapping_sub(self.first);
        let port = u32::from(port).wrapping_sub(self.first_port);
        (nth < self.addresses && port < self.ports && [a, b, c] == self.prefix)
            .then(|| self.base + nth * self.stride + port)
    }
}

/// The four words of an address, in network byte order.
#[inline]
fn words(address: IpAddr) -> [[u8; 4]; 4] {
    match address {
        IpAddr::V4(v4) => [[0; 4], [0; 4], [0, 0, 0xff, 0xff], v4.octets()],
        IpAddr::V6(v6) => {
            let o = v6.octets();
            let word = |i: usize| [o[i], o[i + 1], o[i + 2], o[i + 3]];
            [word(0), word(4), word(8), word(12)]
        }
    }
}

/// An entry of the port map. The process writes the first byte; the program writes the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Port {
    /// 0 while the port is closed, else the number of its shard and 1.
    pub shard: u8,
    /// The window that packets are counted in.
    pub window: u8,
    /// Packets in this window.
    pub packets: u16,
}

/// A shard's figures, an element of their map: alone in its cache line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Figures {
    /// Packets above the ceiling of their port.
    pub flooded: u64,
    /// Zero.
    pub padding: [u64; 7],
}

/// The socket map's key of what keeps a flooded port's packets from everybody.
pub const fn sink(v6: bool) -> u32 {
    v6 as u32
}

/// The socket map's key of a shard's socket.
pub const fn socket(shard: u8, v6: bool) -> u32 {
    2 * (shard as u32 + 1) + v6 as u32
}

/// The size of the socket map.
pub const SOCKETS: u32 = 2 + 2 * MAX_SHARDS as u32;

// The layouts that the program is compiled against.
const _: () = {
    assert!(size_of::<Range>() == 48 && align_of::<Range>() == 4);
    assert!(core::mem::offset_of!(Range, first) == 12 && core::mem::offset_of!(Range, limit) == 40);
    assert!(size_of::<Port>() == 4 && core::mem::offset_of!(Port, packets) == 2);
    assert!(size_of::<Figures>() == 64);
    assert!(STRIDE.is_multiple_of(PORTS_PER_LINE));
    assert!(MAX_SHARDS < 1 << 8);
};

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_port_of_a_range_has_an_entry_of_its_own_and_no_other_port_has_one() {
        for first in ["127.0.0.254", "2001:db8::fffe"] {
            let first: IpAddr = first.parse().unwrap();
            let range = Range::new(first, 3, 1000, 70, 640);
            assert_eq!((range.stride, range.entries()), (128, 384));
            let nth = |n: u32| match first {
                IpAddr::V4(v4) => IpAddr::from(core::net::Ipv4Addr::from_bits(v4.to_bits() + n)),
                IpAddr::V6(v6) => IpAddr::from(core::net::Ipv6Addr::from_bits(v6.to_bits() + u128::from(n))),
            };
            let mut entries: Vec<u32> =
                (0..3).flat_map(|n| (1000..1070).map(move |port| range.entry(nth(n), port).unwrap())).collect();
            assert!(entries.is_sorted() && entries[0] == 640 && entries.iter().all(|entry| *entry < 640 + 384));
            entries.dedup();
            assert_eq!(entries.len(), 210);
            assert_eq!(range.entry(nth(3), 1000), None);
            assert_eq!(range.entry(first, 999), None);
            assert_eq!(range.entry(first, 1070), None);
            assert_eq!(range.entry("10.0.0.254".parse().unwrap(), 1000), None);
            assert_eq!(range.entry("2001:db9::fffe".parse().unwrap(), 1000), None);
        }
    }

    #[test]
    fn an_ipv4_address_and_its_mapped_form_are_one() {
        let range = Range::new("127.0.0.1".parse().unwrap(), 1, 1000, 64, 0);
        assert_eq!(range.entry("::ffff:127.0.0.1".parse().unwrap(), 1001), Some(1));
    }

    #[test]
    fn the_words_of_a_range_are_its_fields_in_order() {
        let range = Range { interface: 9, limit: 7, ..Range::new("1.2.3.4".parse().unwrap(), 3, 5, 6, 64) };
        let mapped = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
        assert_eq!(range.words(), [0, 0, mapped, 0x0102_0304, 3, 5, 6, 64, 64, 9, 7, 0]);
    }

    #[test]
    fn keys_of_sockets_are_all_different() {
        let mut keys: Vec<u32> = [false, true].map(sink).into();
        (0..MAX_SHARDS as u8).for_each(|shard| keys.extend([socket(shard, false), socket(shard, true)]));
        assert!(keys.iter().copied().eq(0..SOCKETS));
    }
}
