//! Ethernet frames with UDP in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// A UDP datagram of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// When it was captured, since 1970.
    pub at_ns: u64,
    /// The sender.
    pub source: SocketAddr,
    /// The receiver.
    pub destination: SocketAddr,
    /// What was sent.
    pub payload: &'a [u8],
}

/// What a frame holds.
pub(super) enum Frame<'a> {
    Udp { source: SocketAddr, destination: SocketAddr, payload: &'a [u8] },
    Fragment,
    Other,
}

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
const UDP: u8 = 17;
const IPV6_FRAGMENT: u8 = 44;

/// Reads a frame; IPv6 extension headers other than a fragment's count as something else than UDP.
pub(super) fn read_frame(frame: &[u8]) -> Frame<'_> {
    let packet = frame.get(ETHERNET_HEADER..).unwrap_or_default();
    match frame.get(12..ETHERNET_HEADER) {
        Some([0x08, 0x00]) => read_ipv4(packet).unwrap_or(Frame::Other),
        Some([0x86, 0xdd]) => read_ipv6(packet).unwrap_or(Frame::Other),
        _ => Frame::Other,
    }
}

fn read_ipv4(packet: &[u8]) -> Option<Frame<'_>> {
    let header_length = usize::from(packet.first()? & 0x0f) * 4;
    let header: &[u8; 20] = packet.first_chunk()?;
    if header_length < header.len() || header[9] != UDP {
        return None;
    }
    // All but the lowest 13 bits are flags; "more fragments" is the third of them.
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Some(Frame::Fragment);
    }
    let address = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(header.get(at..at + 4)?).ok()?)));
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    read_udp(address(12)?, address(16)?, packet.get(header_length..total)?)
}

fn read_ipv6(packet: &[u8]) -> Option<Frame<'_>> {
    let header: &[u8; IPV6_HEADER] = packet.first_chunk()?;
    if header[6] == IPV6_FRAGMENT {
        return Some(Frame::Fragment);
    }
    if header[6] != UDP {
        return None;
    }
    let address = |at: usize| Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(header.get(at..at + 16)?).ok()?)));
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    read_udp(address(8)?, address(24)?, packet.get(IPV6_HEADER..IPV6_HEADER + length)?)
}

fn read_udp(source: IpAddr, destination: IpAddr, segment: &[u8]) -> Option<Frame<'_>> {
    let header: &[u8; 8] = segment.first_chunk()?;
    let field = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    Some(Frame::Udp {
        source: SocketAddr::new(source, field(0)),
        destination: SocketAddr::new(destination, field(2)),
        payload: segment.get(8..usize::from(field(4)))?,
    })
}
