//! The IP and UDP headers of a datagram, written in front of its payload where it was received.

use std::net::{IpAddr, SocketAddr};

const IPV4: usize = 20;
const IPV6: usize = 40;
const UDP: usize = 8;
/// The room that the headers of either IP version fit into.
pub(in super::super) const ROOM: usize = IPV6 + UDP;

/// Far more hops than any path has (RFC 1700).
const TTL: u8 = 64;
const PROTOCOL_UDP: u8 = 17;
const DONT_FRAGMENT: u16 = 0x4000;

/// What the headers of all datagrams from one local port have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sender {
    address: SocketAddr,
    traffic_class: u8,
}

impl Sender {
    pub(super) fn new(address: SocketAddr, traffic_class: u8) -> Sender {
        Sender { address, traffic_class }
    }

    /// The address and the traffic class.
    pub(super) fn sends(&self) -> (SocketAddr, u8) {
        (self.address, self.traffic_class)
    }

    /// Writes the headers of `packet[start..]`, which is the payload, before it; answers where they begin. `None` if
    /// the destination is of the other IP version or has no port, or the two do not fit.
    #[inline]
    pub(super) fn write(&self, packet: &mut [u8], start: usize, to: SocketAddr, id: u16) -> Option<usize> {
        let payload = packet.len().checked_sub(start)?;
        let length = u16::try_from(UDP + payload).ok().filter(|_| to.port() != 0)?;
        let udp = packet.get_mut(start.checked_sub(UDP)?..)?;
        udp[..2].copy_from_slice(&self.address.port().to_be_bytes());
        udp[2..4].copy_from_slice(&to.port().to_be_bytes());
        udp[4..6].copy_from_slice(&length.to_be_bytes());
        udp[6..8].copy_from_slice(&[0; 2]);
        let (from, to) = (self.address.ip(), to.ip());
        // The pseudo header (RFC 768, RFC 8200 section 8.1): addresses, protocol and length.
        let pseudo = u64::from(length.to_be()) + u64::from(u16::from(PROTOCOL_UDP).to_be());
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (from, to) = (from.octets(), to.octets());
                let checksum = checksum(pseudo + sum(&from) + sum(&to) + sum(udp));
                udp[6..8].copy_from_slice(&checksum);
                let begin = start.checked_sub(UDP + IPV4)?;
                let ip: &mut [u8; IPV4] = packet.get_mut(begin..)?.first_chunk_mut()?;
                ip[..2].copy_from_slice(&[0x45, self.traffic_class]);
                ip[2..4].copy_from_slice(&(length.checked_add(IPV4 as u16)?).to_be_bytes());
                ip[4..6].copy_from_slice(&id.to_be_bytes());
                ip[6..8].copy_from_slice(&DONT_FRAGMENT.to_be_bytes());
                // The kernel works out the checksum of this header.
                ip[8..12].copy_from_slice(&[TTL, PROTOCOL_UDP, 0, 0]);
                ip[12..16].copy_from_slice(&from);
                ip[16..].copy_from_slice(&to);
                Some(begin)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (from, to) = (from.octets(), to.octets());
                let checksum = checksum(pseudo + sum(&from) + sum(&to) + sum(udp));
                udp[6..8].copy_from_slice(&checksum);
                let begin = start.checked_sub(UDP + IPV6)?;
                let ip: &mut [u8; IPV6] = packet.get_mut(begin..)?.first_chunk_mut()?;
                // Version, traffic class, and no flow label.
                ip[..4].copy_from_slice(&(6 << 28 | u32::from(self.traffic_class) << 20).to_be_bytes());
                ip[4..6].copy_from_slice(&length.to_be_bytes());
                ip[6..8].copy_from_slice(&[PROTOCOL_UDP, TTL]);
                ip[8..24].copy_from_slice(&from);
                ip[24..].copy_from_slice(&to);
                Some(begin)
            }
            _ => None,
        }
    }
}

/// Source, destination and payload of a datagram that [`Sender::write`] wrote the headers of.
pub(super) fn read(packet: &[u8]) -> Option<(SocketAddr, SocketAddr, &[u8])> {
    let (from, to, udp): (IpAddr, IpAddr, &[u8]) = if packet.first()? >> 4 == 4 {
        let from: [u8; 4] = *packet.get(12..)?.first_chunk()?;
        let to: [u8; 4] = *packet.get(16..)?.first_chunk()?;
        (from.into(), to.into(), packet.get(IPV4..)?)
    } else {
        let from: [u8; 16] = *packet.get(8..)?.first_chunk()?;
        let to: [u8; 16] = *packet.get(24..)?.first_chunk()?;
        (from.into(), to.into(), packet.get(IPV6..)?)
    };
    let [a, b, c, d, _, _, _, _] = *udp.first_chunk::<UDP>()?;
    let (from, to) =
        (SocketAddr::new(from, u16::from_be_bytes([a, b])), SocketAddr::new(to, u16::from_be_bytes([c, d])));
    Some((from, to, udp.get(UDP..)?))
}

/// The sum of 16-bit words as they lie in memory, an odd last byte padded with zero. Ones' complement addition may
/// be done in any byte order and carried at the end (RFC 1071), so four bytes are added at a time.
#[inline]
pub(in crate::datapath) fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let mut sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    if !rest.is_empty() {
        let mut last = [0; 4];
        last[..rest.len()].copy_from_slice(rest);
        sum += u64::from(u32::from_ne_bytes(last));
    }
    sum
}

/// A sum with its carries added in.
#[inline]
pub(in crate::datapath) fn fold(sum: u64) -> u16 {
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 32) + (sum & 0xffff_ffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    let sum = (sum >> 16) + (sum & 0xffff);
    sum as u16
}

/// The checksum of a sum, in the bytes to be sent; never the zero that means none.
#[inline]
pub(in crate::datapath) fn checksum(sum: u64) -> [u8; 2] {
    let checksum = !fold(sum);
    (if checksum == 0 { 0xffff } else { checksum }).to_ne_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// RFC 1071, word by word, in network byte order.
    fn naive(parts: &[&[u8]]) -> u16 {
        let mut sum = 0u32;
        for part in parts {
            for word in part.chunks(2) {
                sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
                if sum > 0xffff {
                    sum -= 0xffff;
                }
            }
        }
        sum as u16
    }

    fn address(v6: bool, octets: [u8; 16], port: u16) -> SocketAddr {
        let ip = match v6 {
            true => IpAddr::from(octets),
            false => IpAddr::from(*octets.first_chunk::<4>().unwrap()),
        };
        SocketAddr::new(ip, port)
    }

    proptest! {
        /// A receiver that sums the whole, checksum included, finds all ones.
        #[test]
        fn checksums_are_right(
            payload in prop::collection::vec(any::<u8>(), 0..2048), room in ROOM..ROOM + 40, v6: bool,
            from: ([u8; 16], u16), to: ([u8; 16], u16), id: u16, class: u8,
        ) {
            let (from, to) = (address(v6, from.0, from.1), address(v6, to.0, to.1.max(1)));
            let mut packet = vec![0xa5; room];
            packet.extend(&payload);
            let begin = Sender::new(from, class).write(&mut packet, room, to, id).unwrap();
            prop_assert!(packet[..begin].iter().all(|byte| *byte == 0xa5));
            let packet = &packet[begin..];
            prop_assert_eq!(read(packet), Some((from, to, &payload[..])));
            let ip = if v6 { IPV6 } else { IPV4 };
            let udp = &packet[ip..];
            let addresses = if v6 { &packet[8..40] } else { &packet[12..20] };
            prop_assert_eq!(naive(&[addresses, &[0, PROTOCOL_UDP], &udp[4..6], udp]), 0xffff);
            prop_assert!(udp[6..8] != [0, 0]);
            prop_assert_eq!(u16::from_be_bytes([udp[4], udp[5]]) as usize, udp.len());
            if v6 {
                prop_assert_eq!((packet[0] >> 4, packet[0] << 4 | packet[1] >> 4), (6, class));
                prop_assert_eq!(u16::from_be_bytes([packet[4], packet[5]]) as usize, udp.len());
            } else {
                prop_assert_eq!((packet[0], packet[1]), (0x45, class));
                prop_assert_eq!(u16::from_be_bytes([packet[2], packet[3]]) as usize, packet.len());
                prop_assert_eq!(u16::from_be_bytes([packet[4], packet[5]]), id);
            }
        }

        #[test]
        fn nothing_panics(packet in prop::collection::vec(any::<u8>(), 0..100), start in 0usize..120, v6: bool) {
            let sender = Sender::new(address(v6, [1; 16], 1), 0);
            let to = address(v6, [2; 16], 2);
            let mut own = packet.clone();
            let written = sender.write(&mut own, start, to, 7);
            prop_assert_eq!(written.is_some(), start <= packet.len() && start >= UDP + if v6 { IPV6 } else { IPV4 });
            let _ = read(&packet);
        }
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_all_ones() {
        assert_eq!(checksum(u64::from(0xffffu16)), [0xff; 2]);
        assert_eq!(checksum(0), [0xff; 2]);
        assert_eq!(checksum(u64::MAX), [0xff; 2]);
    }

    #[test]
    fn there_is_no_way_from_one_version_to_the_other_nor_to_port_0() {
        let [v4, v6] = [false, true].map(|v6| address(v6, [1; 16], 9));
        let mut packet = [0; 100];
        assert_eq!(Sender::new(v4, 0).write(&mut packet, 60, v6, 1), None);
        assert_eq!(Sender::new(v6, 0).write(&mut packet, 60, v4, 1), None);
        assert_eq!(Sender::new(v4, 0).write(&mut packet, 60, SocketAddr::new(v4.ip(), 0), 1), None);
    }
}
