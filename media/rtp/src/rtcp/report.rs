//! Sender and receiver reports (RFC 3550 section 6.4).

use crate::Fault;

const BLOCK: usize = 24;

/// A sender report.
#[derive(Debug, Clone, Copy)]
pub struct SenderReport<'a> {
    head: &'a [u8; 24],
    blocks: &'a [[u8; BLOCK]],
}

/// A receiver report.
#[derive(Debug, Clone, Copy)]
pub struct ReceiverReport<'a> {
    head: &'a [u8; 4],
    blocks: &'a [[u8; BLOCK]],
}

/// What a receiver says of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// The share lost since the previous report, in 256ths.
    pub fraction_lost: u8,
    /// Packets lost in all, negative where packets came twice.
    pub lost: i32,
    /// The highest sequence number received, extended by the count of wraps.
    pub highest_sequence: u32,
    /// Jitter in timestamp units.
    pub jitter: u32,
    /// The middle 32 bits of the last sender report's NTP time; 0 for none.
    pub last_sender_report: u32,
    /// The time since that report came, in 65,536ths of a second.
    pub delay_since_sender_report: u32,
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(body: &'a [u8], count: u8) -> Result<Self, Fault> {
        let (head, rest) = body.split_first_chunk().ok_or(Fault::Truncated)?;
        Ok(SenderReport { head, blocks: split_blocks(rest, count)? })
    }

    /// The sender.
    pub fn ssrc(&self) -> u32 {
        word(self.head, 0)
    }

    /// The time of sending, as a 64-bit NTP timestamp.
    pub fn ntp(&self) -> u64 {
        u64::from(word(self.head, 4)) << 32 | u64::from(word(self.head, 8))
    }

    /// The same time in RTP timestamp units.
    pub fn rtp_timestamp(&self) -> u32 {
        word(self.head, 12)
    }

    /// RTP packets sent.
    pub fn packets(&self) -> u32 {
        word(self.head, 16)
    }

    /// RTP payload bytes sent.
    pub fn octets(&self) -> u32 {
        word(self.head, 20)
    }

    /// The reports on others.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = ReportBlock> + 'a {
        self.blocks.iter().map(ReportBlock::read)
    }
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(body: &'a [u8], count: u8) -> Result<Self, Fault> {
        let (head, rest) = body.split_first_chunk().ok_or(Fault::Truncated)?;
        Ok(ReceiverReport { head, blocks: split_blocks(rest, count)? })
    }

    /// Who reports.
    pub fn ssrc(&self) -> u32 {
        word(self.head, 0)
    }

    /// The reports.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = ReportBlock> + 'a {
        self.blocks.iter().map(ReportBlock::read)
    }
}

impl ReportBlock {
    fn read(block: &[u8; BLOCK]) -> Self {
        let loss = word(block, 4);
        ReportBlock {
            ssrc: word(block, 0),
            fraction_lost: block[4],
            // 24 bits, signed: up to the top and back down spreads the sign.
            lost: (loss << 8) as i32 >> 8,
            highest_sequence: word(block, 8),
            jitter: word(block, 12),
            last_sender_report: word(block, 16),
            delay_since_sender_report: word(block, 20),
        }
    }
}

fn split_blocks(bytes: &[u8], count: u8) -> Result<&[[u8; BLOCK]], Fault> {
    // What follows the blocks is a profile's extension (section 6.4.3) and none of our business.
    bytes.as_chunks::<BLOCK>().0.get(..usize::from(count)).ok_or(Fault::Truncated)
}

/// The word at a fixed offset, which every caller keeps within `N`.
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
