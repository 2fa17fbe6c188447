//! What a flow's packets become, worked out beforehand.

use std::net::{IpAddr, SocketAddr};

use moorline_xdp_abi::forward::{Told, WINDOW_SHIFT};

/// What the process wants of a flow: which packets it has, and how they are sent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// Where its packets come from.
    pub source: SocketAddr,
    /// The port that they come to.
    pub local: SocketAddr,
    /// Their synchronization source.
    pub ssrc: u32,
    /// A bit for every payload type that may be relayed in the driver.
    pub payload_types: u128,
    /// The clock of those payload types, in Hz.
    pub clock: u32,
    /// Where they are sent from.
    pub from: SocketAddr,
    /// Where they are sent to.
    pub to: SocketAddr,
    /// The type of service, or traffic class, that they are sent with.
    pub tos: u8,
    /// Their time to live, or hop limit.
    pub ttl: u8,
    /// Which hop they are sent to.
    pub hop: u16,
    /// The most packets a second; what is above goes up.
    pub packets_per_s: u32,
    /// The most bytes of UDP payload a second.
    pub bytes_per_s: u32,
}

/// What travels with a flow: the process writes it before it arms, the program goes on from it and leaves its own in
/// [`Seen`](moorline_xdp_abi::forward::Seen), for the process to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// The highest sequence number, with cycles.
    pub sequence: u32,
    /// Which of the latest 32 numbers came, the highest in the lowest bit.
    pub came: u32,
    /// The latest RTP timestamp.
    pub timestamp: u32,
    /// Arrival less timestamp of the latest packet with a new timestamp. Arrival is by CLOCK_MONOTONIC.
    pub transit: u32,
    /// The jitter, times 16.
    pub jitter: u32,
}

impl Wish {
    /// As the program has it, but for what travels; `None` for what is not relayed in the driver: from one IP version
    /// to the other, or of a clock that is none.
    pub(super) fn told(&self) -> Option<Told> {
        let [source, local, from, to] = [self.source, self.local, self.from, self.to].map(canonical);
        let v6 = source.is_ipv6();
        let clock_ok = (1..=MAX_CLOCK).contains(&self.clock);
        if !clock_ok || [local, from, to].iter().any(|address| address.is_ipv6() != v6) {
            return None;
        }
        let [before, after] = [[source, local], [from, to]].map(|ends| ends.map(|end| bytes(end.ip())));
        let ports_of = |ends: [SocketAddr; 2]| ends.map(|end| end.port().to_be_bytes());
        let ports = ports_of([from, to]);
        let sum = |parts: &[&[u8]]| fold(parts.iter().flat_map(|part| part.as_chunks::<2>().0).map(word).sum());
        let proto = &[0, PROTO_UDP];
        let former = sum(&[before.as_flattened(), ports_of([source, local]).as_flattened()]);
        let new = sum(&[after.as_flattened(), ports.as_flattened()]);
        Some(Told {
            version: if v6 { 6 } else { 4 },
            ssrc: self.ssrc.to_be_bytes(),
            payload_types: [self.payload_types as u64, (self.payload_types >> 64) as u64],
            source: before[0],
            to: after[1],
            from: after[0],
            source_port: source.port().to_be_bytes(),
            max_packets: per_window(self.packets_per_s).min(u16::MAX.into()) as u16,
            ports,
            tos: self.tos,
            ttl: self.ttl,
            change: fold(u64::from(new) + u64::from(!former)),
            header: sum(&[after.as_flattened(), &[0x45, self.tos, self.ttl, PROTO_UDP]]),
            pseudo: sum(&[before.as_flattened(), proto]),
            hop: self.hop,
            pseudo_after: sum(&[after.as_flattened(), proto]),
            clock_factor: (u64::from(self.clock) << 42).div_ceil(1_000_000_000) as u32,
            max_bytes: per_window(self.bytes_per_s),
            ..Told::default()
        })
    }
}

/// No RTP clock is as fast; its factor has 32 bits.
const MAX_CLOCK: u32 = 900_000;

const PROTO_UDP: u8 = 17;

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn word(bytes: &[u8; 2]) -> u64 {
    u16::from_ne_bytes(*bytes).into()
}

/// A sum of 16-bit words as one (RFC 1071).
fn fold(mut sum: u64) -> u16 {
    while sum > u16::MAX.into() {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}

/// What of a rate a window lets in, at least one.
fn per_window(per_s: u32) -> u32 {
    ((u64::from(per_s) << WINDOW_SHIFT) / 1_000_000_000).max(1) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        let [source, local, from, to] =
            ["192.0.2.9:4000", "192.0.2.1:20000", "198.51.100.1:20002", "198.51.100.7:6000"]
                .map(|a| a.parse().unwrap());
        let (payload_types, clock, packets_per_s, bytes_per_s) = (1 | 1 << 101, 8000, 4000, 4_000_000);
        Wish {
            source,
            local,
            ssrc: 7,
            payload_types,
            clock,
            from,
            to,
            tos: 0xb8,
            ttl: 64,
            hop: 3,
            packets_per_s,
            bytes_per_s,
        }
    }

    #[test]
    fn a_wish_is_told_in_the_bytes_of_packets() {
        let told = wish().told().unwrap();
        assert_eq!((told.version, told.ssrc, told.payload_types), (4, [0, 0, 0, 7], [1, 1 << 37]));
        assert_eq!((told.source[..5].to_vec(), told.source_port), (vec![192, 0, 2, 9, 0], [0x0f, 0xa0]));
        assert_eq!(told.ports, [[0x4e, 0x22], [0x17, 0x70]]);
        assert_eq!((told.max_packets, told.max_bytes), (1073, 1_073_741));
        // The RTP clock is read back of its factor.
        for clock in [8000, 11_025, 44_100, 48_000, 90_000, MAX_CLOCK] {
            let told = Wish { clock, ..wish() }.told().unwrap();
            assert_eq!((u64::from(told.clock_factor) * 1_000_000_000) >> 42, u64::from(clock));
        }
    }

    #[test]
    fn an_ipv4_mapped_address_is_the_ipv4_one() {
        let mapped = Wish { source: "[::ffff:192.0.2.9]:4000".parse().unwrap(), ..wish() };
        assert_eq!(mapped.told(), wish().told());
    }

    #[test]
    fn what_the_driver_cannot_do_is_not_told() {
        let v6 = "[2001:db8::1]:6000".parse().unwrap();
        assert_eq!(Wish { to: v6, ..wish() }.told(), None);
        assert_eq!(Wish { source: v6, local: v6, ..wish() }.told(), None);
        assert_eq!(Wish { clock: 0, ..wish() }.told(), None);
        assert_eq!(Wish { clock: MAX_CLOCK + 1, ..wish() }.told(), None);
        assert!(Wish { source: v6, local: v6, from: v6, to: v6, ..wish() }.told().is_some());
    }
}
