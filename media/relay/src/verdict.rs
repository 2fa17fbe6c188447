//! What becomes of a received packet.

use std::net::SocketAddr;

use crate::EndpointId;

/// What to do with a received packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Send the payload as it is.
    Forward {
        /// The local port to send it from.
        from: EndpointId,
        /// Where to.
        to: SocketAddr,
        /// What it was counted as.
        traffic: Traffic,
    },
    /// Forget it; it has been counted.
    Drop(DropReason),
}

/// A packet that was made here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    /// The local port to send it from.
    pub from: EndpointId,
    /// Where to.
    pub to: SocketAddr,
    /// How many bytes it has.
    pub length: usize,
    /// What it was counted as.
    pub traffic: Traffic,
}

/// What a packet that leaves is, for a forwarded one by the port that let it in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Traffic {
    /// RTP.
    Rtp,
    /// RTCP.
    Rtcp,
    /// UDPTL: fax (ITU-T T.38), not looked into.
    Udptl,
    /// STUN (RFC 8489) between the parties, where a stream relays it.
    Stun,
    /// RTP that is made here: announcements.
    Announcement,
}

impl Traffic {
    /// How many kinds there are.
    pub const COUNT: usize = 5;

    /// All kinds, each at its own index.
    pub const ALL: [Traffic; Traffic::COUNT] =
        [Traffic::Rtp, Traffic::Rtcp, Traffic::Udptl, Traffic::Stun, Traffic::Announcement];

    /// The name as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Traffic::Rtp => "rtp",
            Traffic::Rtcp => "rtcp",
            Traffic::Udptl => "udptl",
            Traffic::Stun => "stun",
            Traffic::Announcement => "announcement",
        }
    }

    /// The index in [`ALL`](Self::ALL) and in [`Counters::relayed`](crate::Counters::relayed).
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Why a packet was not forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// The endpoint belongs to no session (any more).
    NoSession,
    /// Nothing that a media port knows, or RTP and RTCP on the port of the other.
    NotRtp,
    /// RTP or RTCP whose lengths do not agree with the datagram, or an empty datagram where any other is let in.
    Malformed,
    /// Not from the expected or latched source.
    Source,
    /// From outside the networks that the trunk's media may come from.
    SourceNetwork,
    /// Accepted, but the other party has not said where to send it, or there is no other party.
    NoDestination,
    /// Came to the RTCP port of a stream whose profile has no RTCP.
    UnusedPort,
    /// From the right source, but not of the synchronization source that speaks there: forged, or a change that
    /// comes too early.
    Ssrc,
    /// Above the stream's ceiling of packets.
    Rate,
    /// Above the stream's ceiling of bytes.
    Bandwidth,
    /// STUN, where the stream does not relay it.
    Stun,
    /// DTLS: media is not encrypted here.
    Dtls,
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = 12;

    /// All reasons, each at its own index.
    pub const ALL: [DropReason; DropReason::COUNT] = [
        DropReason::NoSession,
        DropReason::NotRtp,
        DropReason::Malformed,
        DropReason::Source,
        DropReason::SourceNetwork,
        DropReason::NoDestination,
        DropReason::UnusedPort,
        DropReason::Ssrc,
        DropReason::Rate,
        DropReason::Bandwidth,
        DropReason::Stun,
        DropReason::Dtls,
    ];

    /// The name as a metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            DropReason::NoSession => "no_session",
            DropReason::NotRtp => "not_rtp",
            DropReason::Malformed => "malformed",
            DropReason::Source => "source",
            DropReason::SourceNetwork => "source_network",
            DropReason::NoDestination => "no_destination",
            DropReason::UnusedPort => "unused_port",
            DropReason::Ssrc => "ssrc",
            DropReason::Rate => "rate",
            DropReason::Bandwidth => "bandwidth",
            DropReason::Stun => "stun",
            DropReason::Dtls => "dtls",
        }
    }

    /// The index in [`ALL`](Self::ALL) and in [`Counters::dropped`](crate::Counters::dropped).
    pub const fn index(self) -> usize {
        self as usize
    }
}

// Every reason and every kind of traffic sits at its own index.
const _: () = {
    let mut i = 0;
    while i < Traffic::COUNT {
        assert!(Traffic::ALL[i].index() == i);
        i += 1;
    }
    i = 0;
    while i < DropReason::COUNT {
        assert!(DropReason::ALL[i].index() == i);
        i += 1;
    }
};
