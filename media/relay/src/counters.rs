//! The relay's counters, copied out by a scrape.

use crate::DropReason;

/// What the shard has relayed since its start, and what it holds now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// RTP packets forwarded.
    pub rtp_packets: u64,
    /// Bytes of the RTP packets forwarded, RTP headers included.
    pub rtp_bytes: u64,
    /// RTCP packets (compounds) forwarded.
    pub rtcp_packets: u64,
    /// Bytes of the RTCP packets forwarded.
    pub rtcp_bytes: u64,
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
    /// Local ports bound now.
    pub ports_in_use: u64,
    /// Local ports resting now: freed, and not given out again yet.
    pub ports_resting: u64,
}
