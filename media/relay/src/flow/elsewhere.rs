//! A flow that is relayed elsewhere for a time: what is told of it, and what is taken over when it comes back.

use moorline_control::Ceiling;

use super::{Flow, NOTHING_USUAL, Role};
use crate::EndpointId;
use crate::offload::{Seen, Stand, Way};
use crate::statistics::{PAUSE_NS, Statistics};

/// The header of an RTP packet without extension and contributors.
const RTP_HEADER: u16 = 12;

impl Flow {
    /// The way of a flow of which the next packet is expected to be nothing new; its source is known to be right.
    pub(crate) fn way(&self, now: u64, ceiling: Ceiling) -> Option<Way> {
        let speaks = now.saturating_sub(self.last_seen) < PAUSE_NS;
        if !matches!(self.role, Role::Rtp | Role::Muxed) || self.usual == NOTHING_USUAL || !speaks {
            return None;
        }
        Some(Way {
            source: self.source.get()?,
            ssrc: self.ssrc,
            payload_type: self.usual,
            clock: self.clock,
            from: EndpointId(self.from),
            to: self.destination.get()?,
            ceiling,
        })
    }

    /// Where the flow stands, if its next packet may go this way.
    pub(crate) fn stand(&self, now: u64, way: &Way) -> Option<Stand> {
        // A forged packet must not hide the pause before the next one.
        let goes_on =
            self.last_seen == now && self.ssrc == way.ssrc && self.usual == way.payload_type && self.clock == way.clock;
        goes_on.then(|| Stand {
            highest: self.sequence.extended(),
            came: self.sequence.came(),
            timestamp: self.timestamp,
            transit: self.jitter.transit(),
            jitter: self.jitter.scaled(),
        })
    }

    /// Takes over what was seen elsewhere since `before`.
    pub(crate) fn merge(&mut self, before: &Seen, seen: &Seen, statistics: &mut Statistics) {
        let (packets, bytes) = (seen.packets.wrapping_sub(before.packets), seen.bytes.wrapping_sub(before.bytes));
        self.packets += packets;
        self.bytes += bytes;
        self.tokens.take_all(packets, bytes);
        self.last_seen = self.last_seen.max(seen.last_seen);
        let (skipped, late) = (seen.skipped.wrapping_sub(before.skipped), seen.late.wrapping_sub(before.late));
        let Stand { highest, came, timestamp, transit, jitter } = seen.stand;
        self.sequence.resume(highest, came, skipped, late);
        self.timestamp = timestamp;
        self.jitter.resume(transit, jitter);
        self.payload_length = seen.last_length.saturating_sub(RTP_HEADER);
        statistics.merge(before, seen);
    }
}
