//! The relay's counters, copied out by a scrape.

use crate::{DropReason, Traffic};

/// What the shard has relayed since its start, and what it holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets forwarded, by [`Traffic::index`].
    pub relayed: [Relayed; Traffic::COUNT],
    /// RTP packets relayed elsewhere, by an [`Offload`](crate::Offload), as far as that has been asked.
    pub elsewhere: Relayed,
    /// Packets not forwarded, by [`DropReason::index`].
    pub dropped: [u64; DropReason::COUNT],
    /// Sessions opened.
    pub opened: u64,
    /// Sessions ended, closed or expired.
    pub closed: u64,
    /// Sessions that ended because nobody claimed them within the lease.
    pub leases_expired: u64,
    /// Media timeouts said.
    pub timeouts: u64,
    /// Sources latched or moved.
    pub latched: u64,
    /// Ports found taken by somebody outside this process.
    pub ports_stolen: u64,
    /// Sessions open now.
    pub sessions: u64,
    /// Flows that an [`Offload`](crate::Offload) may relay now.
    pub flows_elsewhere: u64,
    /// Local ports bound now.
    pub ports_in_use: u64,
    /// Local ports resting now: freed, and not given out again yet.
    pub ports_resting: u64,
}

/// Packets of one kind that were forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Relayed {
    /// How many; a compound RTCP packet is one.
    pub packets: u64,
    /// Their bytes, without IP and UDP headers.
    pub bytes: u64,
}

impl Counters {
    /// What was forwarded of one kind.
    pub fn relayed(&self, traffic: Traffic) -> Relayed {
        self.relayed[traffic.index()]
    }
}
