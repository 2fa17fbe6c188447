//! A received Ethernet frame: checked once, then known by what the relay needs of it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::ops::Range;

use crate::datapath::outward::header::{
    Checksum, ETHERNET, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_VLAN, IPV4, IPV6, PROTOCOL_UDP, UDP, VLAN,
};
use crate::datapath::uring::{fold, sum};

const ETHERTYPE_SERVICE_VLAN: u16 = 0x88a8;
/// The most tags in front of IP (IEEE 802.1ad).
const TAGS: usize = 2;

/// A UDP datagram in a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    /// Where in the frame its payload is.
    pub(super) payload: Range<usize>,
    pub(super) checksum: Checksum,
}

/// The datagram in a frame that came by the interface with this index; `None` for anything else than a whole one
/// over IPv4 without options or IPv6 without extension headers. The program lets nothing else come here.
#[inline]
pub(super) fn parse(frame: &[u8], interface: u32) -> Option<Datagram> {
    let mut at = ETHERNET;
    let mut ethertype = u16_at(frame, at - 2)?;
    for _ in 0..TAGS {
        if !matches!(ethertype, ETHERTYPE_VLAN | ETHERTYPE_SERVICE_VLAN) {
            break;
        }
        at += VLAN;
        ethertype = u16_at(frame, at - 2)?;
    }
    let packet = frame.get(at..)?;
    match ethertype {
        ETHERTYPE_IPV4 => {
            let ip: &[u8; IPV4] = packet.first_chunk()?;
            let [.., a, b, c, d, e, f, g, h] = *ip;
            let total = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
            // No options, and no fragment: neither the "more" bit nor an offset.
            let plain = ip[0] == 0x45 && u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff == 0 && ip[9] == PROTOCOL_UDP;
            // What is behind the packet is padding.
            let udp = packet.get(IPV4..total).filter(|_| plain)?;
            let ports = Ports::read(udp)?;
            Some(Datagram {
                source: (Ipv4Addr::new(a, b, c, d), ports.source).into(),
                destination: (Ipv4Addr::new(e, f, g, h), ports.destination).into(),
                payload: ports.payload(at + IPV4),
                checksum: ports.checksum(udp, &ip[12..]),
            })
        }
        ETHERTYPE_IPV6 => {
            let ip: &[u8; IPV6] = packet.first_chunk()?;
            let length = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
            let udp = packet.get(IPV6..IPV6 + length).filter(|_| ip[0] >> 4 == 6 && ip[6] == PROTOCOL_UDP)?;
            let ports = Ports::read(udp)?;
            let source = Ipv6Addr::from(*ip[8..].first_chunk::<16>()?);
            let destination = Ipv6Addr::from(*ip[24..].first_chunk::<16>()?);
            // As the kernel names a party of the same link.
            let scope = if source.is_unicast_link_local() { interface } else { 0 };
            Some(Datagram {
                source: SocketAddrV6::new(source, ports.source, 0, scope).into(),
                destination: (destination, ports.destination).into(),
                payload: ports.payload(at + IPV6),
                // Over IPv6 there is always one (RFC 8200 section 8.1).
                checksum: match ports.checksum(udp, &ip[8..]) {
                    Checksum::None => return None,
                    known => known,
                },
            })
        }
        _ => None,
    }
}

/// A UDP header.
struct Ports {
    source: u16,
    destination: u16,
    length: u16,
    checksum: [u8; 2],
}

impl Ports {
    /// The header of what IP says is UDP; its own length may be less.
    fn read(udp: &[u8]) -> Option<Ports> {
        let [a, b, c, d, e, f, g, h] = *udp.first_chunk::<UDP>()?;
        let length = u16::from_be_bytes([e, f]);
        (UDP..=udp.len()).contains(&usize::from(length)).then_some(Ports {
            source: u16::from_be_bytes([a, b]),
            destination: u16::from_be_bytes([c, d]),
            length,
            checksum: [g, h],
        })
    }

    /// The payload in the frame, where the header is at `at`.
    fn payload(&self, at: usize) -> Range<usize> {
        at + UDP..at + usize::from(self.length)
    }

    /// What the checksum says of the payload.
    ///
    /// A packet that was sent on this host has not been on a wire, and its checksum was left to the card: the field
    /// holds the sum of the pseudo header alone. Nothing else in the frame tells that. So where the field is that very
    /// sum and the whole does not check, it is taken for such a one, and the payload is added up here. One in 65,536
    /// of damaged packets is taken for one as well.
    fn checksum(&self, udp: &[u8], addresses: &[u8]) -> Checksum {
        if self.checksum == [0; 2] {
            return Checksum::None;
        }
        let field = u16::from_ne_bytes(self.checksum);
        let pseudo = sum(addresses) + u64::from(self.length.to_be()) + u64::from(u16::from(PROTOCOL_UDP).to_be());
        let (header, payload) = udp.split_at(UDP);
        let around = pseudo + sum(&header[..UDP - 2]);
        if field == fold(pseudo) {
            let payload = sum(&payload[..usize::from(self.length) - UDP]);
            if fold(around + u64::from(field) + payload) != 0xffff {
                return Checksum::Payload(payload);
            }
        }
        // RFC 1624: what is taken out of a sum is added to it inverted.
        Checksum::Payload(u64::from(!field) + u64::from(!fold(around)))
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
