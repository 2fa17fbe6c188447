//! The seam between the relay and what relays settled flows elsewhere, such as a program in the network driver.
//!
//! A flow that is *told* is relayed elsewhere as far as its packets are the usual next ones; all others are passed up
//! to [`Relay::packet_beside`](crate::Relay::packet_beside), in order with those that were relayed, as [`Arming`]
//! sees to. What was seen elsewhere is merged into the flow before anything is made of its figures.

use std::net::SocketAddr;

use moorline_control::Ceiling;

use crate::EndpointId;

mod arming;
mod drain;

pub use arming::{Arming, Passed};
pub use drain::Drain;

/// What relays flows elsewhere.
pub trait Offload {
    /// From now on the packets of this way that come to the endpoint may be relayed elsewhere. False if they cannot be,
    /// for want of room or of a route: the relay asks again later. No way is told for an endpoint that has one.
    fn tell(&mut self, endpoint: EndpointId, way: &Way) -> bool;

    /// Nothing more is to be relayed of an endpoint that was told. It may be told again, of another way.
    fn forget(&mut self, endpoint: EndpointId);

    /// Whether an endpoint that was told is still to be: false where nothing is relayed of it elsewhere any more, and
    /// to be told costs for nothing. It is forgotten then, and told again when that is accepted.
    fn keeps(&mut self, endpoint: EndpointId) -> bool {
        let _ = endpoint;
        true
    }

    /// What was seen of an endpoint elsewhere, since it was first told after it was bound or longer. `None` for one that
    /// was not told since then.
    fn seen(&mut self, endpoint: EndpointId) -> Option<Seen>;
}

/// Which packets may be relayed elsewhere, and where they go.
///
/// They are RTP of one source, one payload type and the next numbers, no longer than [`PAUSE_NS`](Self::PAUSE_NS)
/// after the one before: whatever tells something new of a call must be passed up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Where they come from.
    pub source: SocketAddr,
    /// Their synchronization source.
    pub ssrc: u32,
    /// Their payload type.
    pub payload_type: u8,
    /// The clock of their timestamps in Hz.
    pub clock: u32,
    /// The local port that they leave from.
    pub from: EndpointId,
    /// Where they go to.
    pub to: SocketAddr,
    /// What is let in at most.
    pub ceiling: Ceiling,
}

impl Way {
    /// A packet that comes so long after the one before is passed up: the relay measures pauses.
    pub const PAUSE_NS: u64 = crate::statistics::PAUSE_NS;
}

/// Where the measures of a flow stand after a packet: what relays elsewhere goes on from here, as the relay does when
/// the flow comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stand {
    /// The highest sequence number, extended by the count of wraps.
    pub highest: u32,
    /// Which of the latest 32 numbers came: the highest in the lowest bit.
    pub came: u32,
    /// The last packet's timestamp.
    pub timestamp: u32,
    /// Its arrival in timestamp units, less the timestamp (RFC 3550 A.8).
    pub transit: u32,
    /// The jitter in timestamp units, times 16.
    pub jitter: u32,
}

/// What was seen of an endpoint elsewhere. All counts only grow, and wrap; the longest gap is that since the way was
/// told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Packets relayed.
    pub packets: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes: u64,
    /// When the last one came.
    pub last_seen: u64,
    /// Numbers that were passed over.
    pub skipped: u32,
    /// Packets that came late, and so were missing no longer.
    pub late: u32,
    /// Packets that had come before.
    pub duplicates: u32,
    /// How often numbers were passed over.
    pub gaps: u32,
    /// The most numbers that were passed over at once.
    pub longest_gap_packets: u32,
    /// The longest time between the packets on both sides of a gap.
    pub longest_gap_ns: u64,
    /// Where the measures stand.
    pub stand: Stand,
    /// The bytes of the last packet, without IP and UDP headers.
    pub last_length: u16,
}
