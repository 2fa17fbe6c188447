//! An RTCP compound (RFC 3550 section 6): a walk over its packets.

use crate::Fault;

mod report;
mod sdes;

pub use report::{ReceiverReport, ReportBlock, SenderReport};
pub use sdes::{Sdes, SdesItem};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const APPLICATION: u8 = 204;

/// A view of an RTCP compound, or of a reduced-size packet (RFC 5506).
#[derive(Debug, Clone, Copy)]
pub struct Rtcp<'a> {
    bytes: &'a [u8],
}

impl<'a> Rtcp<'a> {
    /// Checks a datagram (RFC 3550 A.2): the packets' lengths add up to it, all have version 2, and each
    /// holds what its type and count promise.
    ///
    /// # Errors
    /// What is wrong with it.
    #[inline]
    pub fn parse(datagram: &'a [u8]) -> Result<Self, Fault> {
        if datagram.len() < 4 {
            return Err(Fault::Short);
        }
        let mut rest = datagram;
        while !rest.is_empty() {
            let (_, after) = split_packet(rest)?;
            rest = after;
        }
        Ok(Rtcp { bytes: datagram })
    }

    /// The packets, in their order.
    pub fn packets(&self) -> Packets<'a> {
        Packets { rest: self.bytes }
    }
}

/// The packets of a compound.
#[derive(Debug, Clone)]
pub struct Packets<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let (packet, after) = split_packet(self.rest).ok()?;
        self.rest = after;
        Some(packet)
    }
}

/// One packet of a compound.
#[derive(Debug, Clone, Copy)]
pub enum Packet<'a> {
    /// Sender report.
    SenderReport(SenderReport<'a>),
    /// Receiver report.
    ReceiverReport(ReceiverReport<'a>),
    /// Source description.
    Sdes(Sdes<'a>),
    /// Goodbye.
    Bye(Bye<'a>),
    /// Application-defined.
    App(App<'a>),
    /// Any other type: feedback (RFC 4585), extended reports (RFC 3611), unknown ones.
    Other {
        /// The packet type.
        packet_type: u8,
        /// The five bits beside the version: a count or a format.
        count: u8,
        /// What follows the first four bytes, without padding.
        body: &'a [u8],
    },
}

/// Goodbye (RFC 3550 section 6.6).
#[derive(Debug, Clone, Copy)]
pub struct Bye<'a> {
    sources: &'a [u8],
    tail: &'a [u8],
}

impl<'a> Bye<'a> {
    /// The sources that leave.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = u32> + 'a {
        self.sources.as_chunks::<4>().0.iter().map(|word| u32::from_be_bytes(*word))
    }

    /// Why they leave, where they say so.
    pub fn reason(&self) -> Option<&'a [u8]> {
        let (&length, text) = self.tail.split_first()?;
        text.get(..usize::from(length))
    }
}

/// Application-defined (RFC 3550 section 6.7).
#[derive(Debug, Clone, Copy)]
pub struct App<'a> {
    head: &'a [u8; 8],
    subtype: u8,
    data: &'a [u8],
}

impl<'a> App<'a> {
    /// The subtype.
    pub fn subtype(&self) -> u8 {
        self.subtype
    }

    /// The source.
    pub fn ssrc(&self) -> u32 {
        u32::from_be_bytes([self.head[0], self.head[1], self.head[2], self.head[3]])
    }

    /// The name: four ASCII characters.
    pub fn name(&self) -> [u8; 4] {
        [self.head[4], self.head[5], self.head[6], self.head[7]]
    }

    /// The data, without padding.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }
}

/// The first packet and what follows it.
fn split_packet(bytes: &[u8]) -> Result<(Packet<'_>, &[u8]), Fault> {
    let (&[first, packet_type, l0, l1], rest) = bytes.split_first_chunk().ok_or(Fault::Trailing)?;
    if first >> 6 != 2 {
        return Err(Fault::Version);
    }
    let length = usize::from(u16::from_be_bytes([l0, l1])) * 4;
    let (mut body, rest) = rest.split_at_checked(length).ok_or(Fault::Truncated)?;
    if first & 0x20 != 0 {
        let padding = usize::from(body.last().copied().unwrap_or(0));
        // Deliberately wider than RFC 3550 section 6.4.1, which pads whole words and the last packet only:
        // the Pion family counts the filling of a goodbye or a description as padding.
        if padding == 0 || padding > body.len() {
            return Err(Fault::Padding);
        }
        body = &body[..body.len() - padding];
    }
    let count = first & 0x1f;
    let packet = match packet_type {
        SENDER_REPORT => Packet::SenderReport(SenderReport::parse(body, count)?),
        RECEIVER_REPORT => Packet::ReceiverReport(ReceiverReport::parse(body, count)?),
        SOURCE_DESCRIPTION => Packet::Sdes(Sdes::new(body, count)),
        GOODBYE => {
            let (sources, tail) = body.split_at_checked(usize::from(count) * 4).ok_or(Fault::Truncated)?;
            Packet::Bye(Bye { sources, tail })
        }
        APPLICATION => {
            let (head, data) = body.split_first_chunk().ok_or(Fault::Truncated)?;
            Packet::App(App { head, subtype: count, data })
        }
        _ => Packet::Other { packet_type, count, body },
    };
    Ok((packet, rest))
}
