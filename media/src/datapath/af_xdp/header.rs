//! The headers of a packet that leaves by AF_XDP, written in front of its payload where it was received.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;

use super::frame::{
    Checksum, ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, IPV4, IPV6, PROTOCOL_UDP, UDP, VLAN,
};
use crate::datapath::uring::{checksum, fold, sum};
use crate::routes::NextHop;

/// Far more hops than any path has (RFC 1700).
const TTL: u8 = 64;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];
/// The shortest frame, without what the card adds (IEEE 802.3).
const SHORTEST: usize = 60;
/// The room in front of the payload that the headers fit into.
pub(super) const ROOM: usize = ETHERNET + VLAN + IPV6 + UDP;

/// Where a packet goes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Out {
    pub(super) next: NextHop,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) traffic_class: u8,
    /// Numbers IPv4 packets.
    pub(super) id: u16,
}

impl Out {
    /// Writes the headers in front of `frame[payload]`; answers where in the frame the packet is. `None` if the
    /// addresses are of two IP versions, the destination has no port, the packet is longer than its path allows, or
    /// there is no room.
    #[inline]
    pub(super) fn write(&self, frame: &mut [u8], payload: Range<usize>, known: Checksum) -> Option<Range<usize>> {
        let length = u16::try_from(UDP + payload.len()).ok().filter(|_| self.to.port() != 0)?;
        let (from, to) = (self.from.ip().to_canonical(), self.to.ip().to_canonical());
        let v6 = from.is_ipv6();
        let ip_length = if v6 { IPV6 } else { IPV4 };
        let total = length.checked_add(ip_length as u16).filter(|total| *total <= self.next.mtu)?;
        let udp_at = payload.start.checked_sub(UDP)?;
        let ip_at = udp_at.checked_sub(ip_length)?;
        let link = if self.next.vlan == 0 { ETHERNET } else { ETHERNET + VLAN };
        let begin = ip_at.checked_sub(link)?;
        let end = payload.end.max(begin + SHORTEST);
        if end > frame.len() || payload.start > payload.end {
            return None;
        }
        let known = match known {
            Checksum::Payload(known) => Some(known),
            // Over IPv6 there has to be one.
            Checksum::None if v6 => Some(sum(&frame[payload.clone()])),
            Checksum::None => None,
        };
        // Not what another packet left there.
        frame[payload.end..end].fill(0);

        let [a, b] = self.from.port().to_be_bytes();
        let [c, d] = self.to.port().to_be_bytes();
        let [e, f] = length.to_be_bytes();
        let mut udp = [a, b, c, d, e, f, 0, 0];
        let checksum_of = |udp: &[u8; UDP], addresses: u64| {
            let pseudo = addresses + u64::from(length.to_be()) + u64::from(u16::from(PROTOCOL_UDP).to_be());
            known.map_or([0; 2], |payload| checksum(fold(payload + pseudo + sum(udp)).into()))
        };
        match (from, to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let (from, to) = (from.octets(), to.octets());
                let [g, h] = checksum_of(&udp, sum(&from) + sum(&to));
                (udp[6], udp[7]) = (g, h);
                let mut ip = [0; IPV4];
                ip[..2].copy_from_slice(&[0x45, self.traffic_class]);
                ip[2..4].copy_from_slice(&total.to_be_bytes());
                ip[4..6].copy_from_slice(&self.id.to_be_bytes());
                ip[6..8].copy_from_slice(&DONT_FRAGMENT);
                ip[8..10].copy_from_slice(&[TTL, PROTOCOL_UDP]);
                ip[12..16].copy_from_slice(&from);
                ip[16..].copy_from_slice(&to);
                let own = !fold(sum(&ip));
                ip[10..12].copy_from_slice(&own.to_ne_bytes());
                frame[ip_at..udp_at].copy_from_slice(&ip);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (from, to) = (from.octets(), to.octets());
                let [g, h] = checksum_of(&udp, sum(&from) + sum(&to));
                (udp[6], udp[7]) = (g, h);
                let ip: &mut [u8; IPV6] = frame[ip_at..].first_chunk_mut()?;
                // Version, traffic class, and no flow label.
                ip[..4].copy_from_slice(&(6 << 28 | u32::from(self.traffic_class) << 20).to_be_bytes());
                ip[4..6].copy_from_slice(&length.to_be_bytes());
                ip[6..8].copy_from_slice(&[PROTOCOL_UDP, TTL]);
                ip[8..24].copy_from_slice(&from);
                ip[24..].copy_from_slice(&to);
            }
            _ => return None,
        }
        frame[udp_at..payload.start].copy_from_slice(&udp);
        self.write_link(&mut frame[begin..ip_at], if v6 { ETHERTYPE_IPV6 } else { ETHERTYPE_IPV4 });
        Some(begin..end)
    }

    /// Writes the Ethernet header, with a tag if there is room for one.
    #[inline]
    fn write_link(&self, link: &mut [u8], ethertype: u16) {
        link[..6].copy_from_slice(&self.next.destination);
        link[6..12].copy_from_slice(&self.next.source);
        let tags = link.len() - ETHERNET;
        let (tag, last) = link[12..].split_at_mut(tags);
        if let Some(tag) = tag.first_chunk_mut::<VLAN>() {
            let ([a, b], [c, d]) = (ETHERTYPE_VLAN.to_be_bytes(), self.next.vlan.to_be_bytes());
            *tag = [a, b, c, d];
        }
        last.copy_from_slice(&ethertype.to_be_bytes());
    }
}
