//! The headers of a packet, from Ethernet on, written in front of its payload where it was received.

use std::ops::Range;

use super::ways::Line;
use crate::datapath::uring::{checksum, fold, sum};
use crate::routes::NextHop;

pub(in crate::datapath) const ETHERNET: usize = 14;
pub(in crate::datapath) const VLAN: usize = 4;
pub(in crate::datapath) const IPV4: usize = 20;
pub(in crate::datapath) const IPV6: usize = 40;
pub(in crate::datapath) const UDP: usize = 8;
pub(in crate::datapath) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(in crate::datapath) const ETHERTYPE_IPV6: u16 = 0x86dd;
pub(in crate::datapath) const ETHERTYPE_VLAN: u16 = 0x8100;
pub(in crate::datapath) const PROTOCOL_UDP: u8 = 17;
/// Far more hops than any path has (RFC 1700).
const TTL: u8 = 64;
const DONT_FRAGMENT: [u8; 2] = [0x40, 0];
/// The shortest frame, without what the card adds (IEEE 802.3).
const SHORTEST: usize = 60;
/// The room in front of the payload that the headers fit into.
pub(in crate::datapath) const ROOM: usize = ETHERNET + VLAN + IPV6 + UDP;

/// What the UDP checksum says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::datapath) enum Checksum {
    /// There is none, which IPv4 allows (RFC 768).
    None,
    /// The ones' complement sum of the payload, as the sender says it. What was damaged on the way stays so: the new
    /// checksum is as wrong as the old one.
    Payload(u64),
}

/// Where a packet goes.
#[derive(Debug, Clone, Copy)]
pub(in crate::datapath) struct Out {
    pub(in crate::datapath) next: NextHop,
    /// Whose addresses are of one IP version.
    pub(in crate::datapath) line: Line,
    /// Numbers IPv4 packets.
    pub(in crate::datapath) id: u16,
}

impl Out {
    /// Writes the headers in front of `frame[payload]`; answers where in the frame the packet is. `None` if the
    /// destination has no port, the packet is longer than its path allows, or there is no room.
    #[inline]
    pub(in crate::datapath) fn write(
        &self,
        frame: &mut [u8],
        payload: Range<usize>,
        known: Checksum,
    ) -> Option<Range<usize>> {
        let line = &self.line;
        let length = u16::try_from(UDP + payload.len()).ok().filter(|_| line.to_port != 0)?;
        let v6 = line.is_v6();
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

        // The pseudo header (RFC 768, RFC 8200 section 8.1) and the ports; the length is in both.
        let around = u64::from(line.sum) + 2 * u64::from(length.to_be()) + u64::from(u16::from(PROTOCOL_UDP).to_be());
        let [a, b] = line.from_port.to_be_bytes();
        let [c, d] = line.to_port.to_be_bytes();
        let [e, f] = length.to_be_bytes();
        let [g, h] = known.map_or([0; 2], |payload| checksum(fold(payload + around).into()));
        frame[udp_at..payload.start].copy_from_slice(&[a, b, c, d, e, f, g, h]);
        if v6 {
            let ip: &mut [u8; IPV6] = frame[ip_at..].first_chunk_mut()?;
            // Version, traffic class, and no flow label.
            ip[..4].copy_from_slice(&(6 << 28 | u32::from(line.traffic_class) << 20).to_be_bytes());
            ip[4..6].copy_from_slice(&length.to_be_bytes());
            ip[6..8].copy_from_slice(&[PROTOCOL_UDP, TTL]);
            ip[8..24].copy_from_slice(&line.from);
            ip[24..].copy_from_slice(&line.to);
        } else {
            let mut ip = [0; IPV4];
            ip[..2].copy_from_slice(&[0x45, line.traffic_class]);
            ip[2..4].copy_from_slice(&total.to_be_bytes());
            ip[4..6].copy_from_slice(&self.id.to_be_bytes());
            ip[6..8].copy_from_slice(&DONT_FRAGMENT);
            ip[8..10].copy_from_slice(&[TTL, PROTOCOL_UDP]);
            ip[12..16].copy_from_slice(&line.from[12..]);
            ip[16..].copy_from_slice(&line.to[12..]);
            let own = !fold(sum(&ip));
            ip[10..12].copy_from_slice(&own.to_ne_bytes());
            frame[ip_at..udp_at].copy_from_slice(&ip);
        }
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
