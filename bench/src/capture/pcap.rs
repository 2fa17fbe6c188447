//! The file format that `tcpdump -w` writes, read as far as the lab needs it.

use super::packet::{Datagram, Frame, read_frame};
use super::stream::Segment;

/// The datagrams and segments of a capture, and what else was in it.
#[derive(Debug, Default)]
pub struct Capture<'a> {
    /// In the order of the file.
    pub datagrams: Vec<Datagram<'a>>,
    /// In the order of the file.
    pub segments: Vec<Segment<'a>>,
    /// Fragments of IP packets. They are not put together: what they carried is missing here.
    pub fragments: u64,
    /// Packets of which the capture holds only the beginning.
    pub cut: u64,
    /// Everything that is neither UDP nor TCP over IP: ARP, ICMP, neighbour discovery.
    pub other: u64,
}

/// Why a file is no capture that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PcapError {
    /// Shorter than its header, or another format (pcapng for instance).
    #[error("not a pcap file")]
    Format,
    /// Captured on a link whose frames are not Ethernet's.
    #[error("link type {0} is not Ethernet")]
    LinkType(u32),
    /// The file ends in the middle of a packet: the capture was killed, not stopped.
    #[error("the file ends within the packet at byte {0}")]
    Ends(usize),
}

const FILE_HEADER: usize = 24;
const PACKET_HEADER: usize = 16;
const ETHERNET: u32 = 1;

/// The upper bits of the link type field say how the frame check sequence was captured.
const LINK_TYPE_MASK: u32 = 0x0fff_ffff;

impl<'a> Capture<'a> {
    /// Reads a capture file of either byte order, with time in micro- or nanoseconds.
    ///
    /// # Errors
    /// The file is of another format, or not whole.
    pub fn parse(bytes: &'a [u8]) -> Result<Capture<'a>, PcapError> {
        let header = bytes.get(..FILE_HEADER).ok_or(PcapError::Format)?;
        let magic: [u8; 4] = header[..4].try_into().map_err(|_| PcapError::Format)?;
        let (is_big_endian, unit_ns) = match magic {
            [0xd4, 0xc3, 0xb2, 0xa1] => (false, 1000),
            [0x4d, 0x3c, 0xb2, 0xa1] => (false, 1),
            [0xa1, 0xb2, 0xc3, 0xd4] => (true, 1000),
            [0xa1, 0xb2, 0x3c, 0x4d] => (true, 1),
            _ => return Err(PcapError::Format),
        };
        let word = |at: usize| {
            let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
            Some(if is_big_endian { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
        };
        let link_type = word(20).ok_or(PcapError::Format)? & LINK_TYPE_MASK;
        if link_type != ETHERNET {
            return Err(PcapError::LinkType(link_type));
        }
        let mut capture = Capture::default();
        let mut at = FILE_HEADER;
        while at < bytes.len() {
            let ends = || PcapError::Ends(at);
            let field = |index: usize| word(at + 4 * index).ok_or_else(ends);
            let at_ns = u64::from(field(0)?) * 1_000_000_000 + u64::from(field(1)?) * unit_ns;
            let (held, length) = (field(2)? as usize, field(3)? as usize);
            let start = at + PACKET_HEADER;
            let frame = bytes.get(start..start.saturating_add(held)).ok_or_else(ends)?;
            match read_frame(at_ns, frame) {
                _ if held < length => capture.cut += 1,
                Frame::Udp(datagram) => capture.datagrams.push(datagram),
                Frame::Tcp(segment) => capture.segments.push(segment),
                Frame::Fragment => capture.fragments += 1,
                Frame::Other => capture.other += 1,
            }
            at = start + held;
        }
        Ok(capture)
    }
}
