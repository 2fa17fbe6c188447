//! Frames as they should be, put together byte by byte with checksums added up from scratch.

use std::net::{IpAddr, SocketAddr};

/// What stands in the place of the UDP checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    Full,
    /// The sum of the pseudo-header, as in a packet that this host sends.
    Partial,
    Zero,
    Wrong,
}

/// A frame's parts.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub(super) destination: [u8; 6],
    pub(super) source: [u8; 6],
    /// Type and control field, the outer first.
    pub(super) tags: Vec<(u16, u16)>,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) tos: u8,
    pub(super) ttl: u8,
    pub(super) checksum: Checksum,
    pub(super) payload: Vec<u8>,
}

/// An RTP packet of 160 bytes of payload.
pub(super) fn rtp(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
    let mut bytes = vec![0x80, payload_type];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend((0..160).map(|n| (n * 7) as u8 ^ sequence as u8));
    bytes
}

impl Frame {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.destination, self.source].concat();
        for (kind, control) in &self.tags {
            bytes.extend(kind.to_be_bytes());
            bytes.extend(control.to_be_bytes());
        }
        let length = 8 + self.payload.len() as u16;
        let (pseudo, header) = match (self.from.ip(), self.to.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                bytes.extend([0x08, 0x00]);
                let mut header = vec![0x45, self.tos];
                header.extend((20 + length).to_be_bytes());
                // An identification, and "don't fragment".
                header.extend([0x12, 0x34, 0x40, 0, self.ttl, 17, 0, 0]);
                header.extend([from.octets(), to.octets()].concat());
                let check = (!sum(&header)).to_be_bytes();
                header[10..12].copy_from_slice(&check);
                ([from.octets(), to.octets()].concat(), header)
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                bytes.extend([0x86, 0xdd]);
                let mut header = vec![0x60 | self.tos >> 4, self.tos << 4, 0, 0];
                header.extend(length.to_be_bytes());
                header.extend([17, self.ttl]);
                header.extend([from.octets(), to.octets()].concat());
                ([from.octets(), to.octets()].concat(), header)
            }
            _ => panic!("two versions in one packet"),
        };
        bytes.extend(header);
        let mut datagram = [self.from.port().to_be_bytes(), self.to.port().to_be_bytes()].concat();
        datagram.extend(length.to_be_bytes());
        datagram.extend([0, 0]);
        datagram.extend(&self.payload);
        let pseudo = [pseudo, vec![0, 17], length.to_be_bytes().to_vec()].concat();
        let full = match !sum(&[pseudo.clone(), datagram.clone()].concat()) {
            0 => 0xffff,
            check => check,
        };
        let check = match self.checksum {
            Checksum::Full => full,
            Checksum::Partial => sum(&pseudo),
            Checksum::Zero => 0,
            Checksum::Wrong => full ^ 0x0100,
        };
        datagram[6..8].copy_from_slice(&check.to_be_bytes());
        bytes.extend(datagram);
        bytes
    }
}

/// The sum of big-endian words (RFC 1071).
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|two| u32::from(two[0]) << 8 | u32::from(two.get(1).copied().unwrap_or(0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum as u16
}
