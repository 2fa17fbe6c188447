//! What a party may send on one stream at most: two token buckets, for packets and for bytes.
//!
//! The tokens lie with the flow, in the memory that every packet touches anyway; the rest is looked at only when
//! they have run out, and then they are given anew for the time since, up to the burst. So an ordinary packet costs
//! two subtractions. In any time T a port lets in at most `2 * burst + rate * T`.

use moorline_control::Ceiling;

const NANOS: u64 = 1_000_000_000;

/// Where nobody says a ceiling: more than any voice or video call, and less than packets that circle between two
/// sessions of one host.
pub(crate) const DEFAULT_CEILING: Ceiling = Ceiling { packets_per_s: 4_000, bytes_per_s: 4_000_000 };

/// What an RTCP sender may send: reports come every few seconds (RFC 3550 section 6.2), feedback with every video
/// frame and, where packets are lost, more often than that (RFC 4585 section 3.4): requests for lost packets and
/// reports of arrivals, 20 ms apart each.
pub(crate) const RTCP_CEILING: Ceiling = Ceiling { packets_per_s: 200, bytes_per_s: 100_000 };

/// What may still be let in before the bucket is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tokens {
    packets: u32,
    bytes: u32,
}

/// Which ceiling a packet is above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    Packets,
    Bytes,
}

/// The rate and burst of one port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    ceiling: Ceiling,
    /// Both kinds of tokens were last given for the time up to here.
    packets_given: u64,
    bytes_given: u64,
}

impl Tokens {
    pub(crate) const NONE: Tokens = Tokens { packets: 0, bytes: 0 };

    /// Takes one packet's; false if they do not suffice, and then nothing is taken.
    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> bool {
        let (packets, bytes) = (self.packets.checked_sub(1), self.bytes.checked_sub(length as u32));
        match (packets, bytes) {
            (Some(packets), Some(bytes)) => {
                *self = Tokens { packets, bytes };
                true
            }
            _ => false,
        }
    }

    /// Takes those of packets that were let in elsewhere, as far as there are any.
    pub(crate) fn take_all(&mut self, packets: u64, bytes: u64) {
        let less = |tokens: u32, taken: u64| tokens.saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX));
        *self = Tokens { packets: less(self.packets, packets), bytes: less(self.bytes, bytes) };
    }
}

impl Bucket {
    /// A full bucket and its tokens.
    pub(crate) const fn new(ceiling: Ceiling) -> (Bucket, Tokens) {
        let tokens = Tokens { packets: ceiling.packets_per_s, bytes: ceiling.bytes_per_s };
        (Bucket { ceiling, packets_given: 0, bytes_given: 0 }, tokens)
    }

    /// The rates. The burst is what they let in within a second: a stalled network may deliver as much at once.
    pub(crate) fn ceiling(&self) -> Ceiling {
        self.ceiling
    }

    /// Gives tokens anew for a packet that found too few, and takes its own.
    #[cold]
    pub(crate) fn refill(&mut self, now: u64, tokens: &mut Tokens, length: usize) -> Result<(), Excess> {
        if tokens.packets == 0 {
            tokens.packets = fill(now, &mut self.packets_given, tokens.packets, self.ceiling.packets_per_s);
        }
        if (tokens.bytes as usize) < length {
            tokens.bytes = fill(now, &mut self.bytes_given, tokens.bytes, self.ceiling.bytes_per_s);
        }
        if tokens.take(length) {
            return Ok(());
        }
        Err(if tokens.packets == 0 { Excess::Packets } else { Excess::Bytes })
    }
}

/// What there is after tokens were given for the time since they last were, up to a second's.
fn fill(now: u64, given: &mut u64, tokens: u32, per_s: u32) -> u32 {
    let elapsed = now.saturating_sub(*given).min(NANOS);
    let new = (elapsed * u64::from(per_s) / NANOS) as u32;
    if new > 0 {
        // What is less than a token is not lost: its time counts for the next.
        *given = if elapsed == NANOS { now } else { *given + u64::from(new) * NANOS / u64::from(per_s) };
    }
    tokens.saturating_add(new).min(per_s)
}

#[cfg(test)]
mod tests;
