//! Ethernet frames with UDP or TCP in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::stream::Segment;

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
    Udp(Datagram<'a>),
    Tcp(Segment<'a>),
    Fragment,
    Other,
}

const ETHERNET_HEADER: usize = 14;
const IPV6_HEADER: usize = 40;
const TCP: u8 = 6;
const UDP: u8 = 17;
const IPV6_FRAGMENT: u8 = 44;

/// Reads a frame; IPv6 extension headers other than a fragment's count as something else than UDP or TCP.
pub(super) fn read_frame(at_ns: u64, frame: &[u8]) -> Frame<'_> {
    let packet = frame.get(ETHERNET_HEADER..).unwrap_or_default();
    match frame.get(12..ETHERNET_HEADER) {
        Some([0x08, 0x00]) => read_ipv4(at_ns, packet).unwrap_or(Frame::Other),
        Some([0x86, 0xdd]) => read_ipv6(at_ns, packet).unwrap_or(Frame::Other),
        _ => Frame::Other,
    }
}

fn read_ipv4(at_ns: u64, packet: &[u8]) -> Option<Frame<'_>> {
    let header_length = usize::from(packet.first()? & 0x0f) * 4;
    let header: &[u8; 20] = packet.first_chunk()?;
    if header_length < header.len() {
        return None;
    }
    // All but the lowest 13 bits are flags; "more fragments" is the third of them.
    if u16::from_be_bytes([header[6], header[7]]) & 0x3fff != 0 {
        return Some(Frame::Fragment);
    }
    let address = |at: usize| Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(header.get(at..at + 4)?).ok()?)));
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    read_transport(at_ns, header[9], [address(12)?, address(16)?], packet.get(header_length..total)?)
}

fn read_ipv6(at_ns: u64, packet: &[u8]) -> Option<Frame<'_>> {
    let header: &[u8; IPV6_HEADER] = packet.first_chunk()?;
    if header[6] == IPV6_FRAGMENT {
        return Some(Frame::Fragment);
    }
    let address = |at: usize| Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(header.get(at..at + 16)?).ok()?)));
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    read_transport(at_ns, header[6], [address(8)?, address(24)?], packet.get(IPV6_HEADER..IPV6_HEADER + length)?)
}

fn read_transport(at_ns: u64, protocol: u8, [source, destination]: [IpAddr; 2], packet: &[u8]) -> Option<Frame<'_>> {
    let field = |at: usize| Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]));
    let source = SocketAddr::new(source, field(0)?);
    let destination = SocketAddr::new(destination, field(2)?);
    match protocol {
        UDP => {
            let payload = packet.get(8..usize::from(field(4)?))?;
            Some(Frame::Udp(Datagram { at_ns, source, destination, payload }))
        }
        TCP => {
            let sequence = u32::from_be_bytes(packet.get(4..8)?.try_into().ok()?);
            let payload = packet.get(usize::from(packet.get(12)? >> 4) * 4..)?;
            let opens = packet.get(13)? & SYN != 0;
            Some(Frame::Tcp(Segment { at_ns, source, destination, sequence, opens, payload }))
        }
        _ => None,
    }
}

const SYN: u8 = 0x02;

#[cfg(test)]
mod tests {
    use super::*;

    /// What is behind the segment is Ethernet's padding; the header has 4 bytes of options.
    #[test]
    fn segments_are_read_without_options_and_padding() {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 20 + 24 + 3, 0, 1, 0x40, 0, 64, TCP, 0, 0, 192, 0, 2, 10, 192, 0, 2, 1]);
        frame.extend([0x10, 0x00, 0x13, 0xc4, 0, 0, 1, 2, 0, 0, 0, 0, 0x60, 0x18, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1]);
        frame.extend(b"ACK\0\0\0");
        let Frame::Tcp(segment) = read_frame(7, &frame) else { panic!("TCP") };
        let (source, destination) = ("192.0.2.10:4096".parse().unwrap(), "192.0.2.1:5060".parse().unwrap());
        let expected = Segment { at_ns: 7, source, destination, sequence: 258, opens: false, payload: b"ACK" };
        assert_eq!(segment, expected);
        // Cut anywhere, it is something else, and no panic.
        for length in 0..frame.len() - 3 {
            assert!(matches!(read_frame(7, &frame[..length]), Frame::Other), "{length}");
        }
    }
}
