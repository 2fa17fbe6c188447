//! What forged datagrams say.

use crate::random::Random;

/// What a receiver knows forged datagrams by.
pub const MARK: [u8; 8] = *b"MFORGED!";

/// Where the mark is in a datagram: behind an RTP header, within the time stamps of a sender report, the reason of
/// a BYE or the transaction of STUN.
pub const MARK_START: usize = 12;

/// Datagrams at least this long carry the mark.
pub const MARK_END: usize = MARK_START + MARK.len();

/// Fills an Ethernet frame: 1,500 bytes with the headers of IPv4 and UDP.
pub(super) const FULL: usize = 1472;

/// Longer than any datagram is.
pub(super) const LONGEST: usize = 2000;

/// The kind of forged datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Proper RTP packets of 20 ms of G.711, each with an SSRC, a sequence number and a timestamp of its own.
    Rtp,
    /// Proper RTP streams: one for each port attacked, with one SSRC and consecutive numbers.
    Stream,
    /// Proper RTCP: sender reports, receiver reports, and goodbyes with and without a report before them.
    Rtcp,
    /// What is no media: nothing, short ones, STUN, DTLS, noise of all lengths, and fragments.
    Garbage,
}

/// How a datagram travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Carriage {
    Whole,
    /// In two fragments.
    Halves,
    /// Only its first fragment.
    FirstHalf,
}

/// A datagram that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forged {
    pub(super) length: usize,
    pub(super) carriage: Carriage,
}

impl Content {
    /// Writes the next datagram for a port, the `index`th of its `stream`.
    pub(super) fn write(self, random: &mut Random, stream: u32, index: u32, out: &mut [u8; LONGEST]) -> Forged {
        match self {
            Content::Rtp => rtp(random, out),
            Content::Stream => stream_of(random, stream, index, out),
            Content::Rtcp => rtcp(random, out),
            Content::Garbage => garbage(random, out),
        }
    }
}

/// An RTP packet with 20 ms of G.711.
const G711: usize = 12 + 160;

fn stream_of(random: &mut Random, stream: u32, index: u32, out: &mut [u8; LONGEST]) -> Forged {
    random.fill(&mut out[12..G711]);
    out[..2].copy_from_slice(&[0x80, 0]);
    // Some number of its own to begin with.
    let first = stream.wrapping_mul(0x9e37_79b9);
    out[2..4].copy_from_slice(&((first >> 16) as u16).wrapping_add(index as u16).to_be_bytes());
    out[4..8].copy_from_slice(&first.wrapping_add(index.wrapping_mul(160)).to_be_bytes());
    out[8..12].copy_from_slice(&(!first).to_be_bytes());
    whole(out, G711)
}

fn rtp(random: &mut Random, out: &mut [u8; LONGEST]) -> Forged {
    random.fill(&mut out[1..G711]);
    out[0] = 0x80;
    // Mostly G.711, as the calls have it; a few of any other type that cannot be taken for RTCP.
    out[1] = match random.below(8) {
        0..=3 => 0,
        4 | 5 => 8,
        6 => 101,
        _ => 96 + (out[1] & 0x1f),
    };
    whole(out, G711)
}

fn rtcp(random: &mut Random, out: &mut [u8; LONGEST]) -> Forged {
    // RFC 3550 section 6.4.1, 6.4.2 and 6.6.
    const SENDER_REPORT: usize = 28;
    const RECEIVER_REPORT: usize = 32;
    const GOODBYE: usize = 24;
    random.fill(&mut out[..SENDER_REPORT + GOODBYE + 16]);
    match random.below(4) {
        0 => {
            out[..4].copy_from_slice(&[0x80, 200, 0, 6]);
            whole(out, SENDER_REPORT)
        }
        1 => {
            out[..4].copy_from_slice(&[0x81, 201, 0, 7]);
            whole(out, RECEIVER_REPORT)
        }
        2 => {
            goodbye(&mut out[..GOODBYE]);
            whole(out, GOODBYE)
        }
        _ => {
            out[..4].copy_from_slice(&[0x80, 200, 0, 6]);
            // The leaver is who reported.
            let (report, rest) = out.split_at_mut(SENDER_REPORT);
            goodbye(&mut rest[..GOODBYE]);
            rest[4..8].copy_from_slice(&report[4..8]);
            whole(out, SENDER_REPORT + GOODBYE)
        }
    }
}

/// One source, with a reason of 15 bytes.
fn goodbye(out: &mut [u8]) {
    out[..4].copy_from_slice(&[0x81, 203, 0, 5]);
    out[8] = 15;
}

fn garbage(random: &mut Random, out: &mut [u8; LONGEST]) -> Forged {
    random.fill(out);
    match random.below(12) {
        0 => whole(out, 0),
        1 => whole(out, 1 + out[0] as usize % 11),
        // An RTP header cut short, and one that promises more than there is.
        2 => {
            out[0] = 0x80;
            whole(out, 11)
        }
        3 => {
            out[..2].copy_from_slice(&[0xbf, 0]);
            whole(out, MARK_END)
        }
        // A binding request without attributes (RFC 8489 section 5).
        4 => {
            out[..8].copy_from_slice(&[0x00, 0x01, 0x00, 0x00, 0x21, 0x12, 0xa4, 0x42]);
            whole(out, 20)
        }
        // A DTLS 1.2 record of a handshake (RFC 6347 section 4.1). The low byte of its length is the mark's first.
        5 => {
            out[..12].copy_from_slice(&[22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
            whole(out, 13 + usize::from(MARK[0]))
        }
        // RTCP whose length field goes beyond its end.
        6 => {
            out[..4].copy_from_slice(&[0x80, 200, 0xff, 0xff]);
            whole(out, 28)
        }
        // Noise, of which no first byte is that of media: it must be refused however it goes on.
        7 => {
            out[0] |= 0xc0;
            let length = MARK_END + random.below((FULL - MARK_END) as u64) as usize;
            whole(out, length)
        }
        8 => {
            out[0] |= 0xc0;
            whole(out, FULL)
        }
        // RTP that fills a frame, and RTP that is longer than one.
        9 => {
            out[..2].copy_from_slice(&[0x80, 0]);
            whole(out, FULL)
        }
        10 => {
            out[..2].copy_from_slice(&[0x80, 0]);
            Forged { carriage: Carriage::Halves, ..whole(out, 1600) }
        }
        _ => {
            out[..2].copy_from_slice(&[0x80, 0]);
            Forged { carriage: Carriage::FirstHalf, ..whole(out, 1600) }
        }
    }
}

/// A datagram of `length` bytes, with the mark if it is long enough.
fn whole(out: &mut [u8; LONGEST], length: usize) -> Forged {
    if length >= MARK_END {
        out[MARK_START..MARK_END].copy_from_slice(&MARK);
    }
    Forged { length, carriage: Carriage::Whole }
}
