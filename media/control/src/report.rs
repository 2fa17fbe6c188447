//! What was seen of a session's media, by leg and stream.

use std::net::SocketAddr;

use minicbor::{Decode, Encode};

use crate::{Codec, Played};

/// What was received on each stream of a session, and what was refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct SessionReport {
    /// Reports by leg and stream.
    #[n(0)]
    pub legs: Vec<Vec<StreamReport>>,
    /// How long the session has been open, in milliseconds.
    #[n(1)]
    pub open_ms: u64,
}

/// What was received from one party on one stream.
///
/// What a version before did not say is zero, empty or absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct StreamReport {
    /// RTP packets accepted, or datagrams of another profile.
    #[n(0)]
    pub packets: u64,
    /// The bytes of those, RTP headers included.
    #[n(1)]
    pub bytes: u64,
    /// RTP packets that the sequence numbers say were sent and did not come. Profiles other than RTP add
    /// nothing here, nor to the next two.
    #[n(2)]
    pub lost: u64,
    /// RTP packets that came after a later one.
    #[n(3)]
    pub reordered: u64,
    /// Interarrival jitter (RFC 3550 A.8) in microseconds, by the clock of the payload type.
    #[n(4)]
    pub jitter_us: u32,
    /// RTCP packets accepted.
    #[n(5)]
    pub rtcp_packets: u64,
    /// Packets refused, for any reason.
    #[n(6)]
    pub refused: u64,
    /// Where the media is accepted from: the SDP's address or the latched one.
    #[n(7)]
    pub source: Option<SocketAddr>,
    /// RTP packets that had come before, with the same number.
    #[cbor(n(8), default, skip_if = "is_zero")]
    pub duplicates: u64,
    /// Synchronization sources heard, one after the other: 1 in an ordinary call.
    #[cbor(n(9), default, skip_if = "is_zero_u32")]
    pub sources: u32,
    /// The current synchronization source.
    #[n(10)]
    pub ssrc: Option<u32>,
    /// The payload type of the latest speech or video packet.
    #[n(11)]
    pub payload_type: Option<u8>,
    /// What that payload type stands for.
    #[cbor(n(12), default, skip_if = "is_other")]
    pub codec: Codec,
    /// Runs of packets that did not come in their turn.
    #[cbor(n(13), default, skip_if = "is_zero_u32")]
    pub gaps: u32,
    /// The longest time between the packets around such a run, in milliseconds.
    #[cbor(n(14), default, skip_if = "is_zero_u32")]
    pub longest_gap_ms: u32,
    /// Packets in the longest such run.
    #[cbor(n(15), default, skip_if = "is_zero_u32")]
    pub longest_gap_packets: u32,
    /// How well this party's speech was received here.
    #[n(16)]
    pub quality: Option<Quality>,
    /// What this party says by RTCP of what it hears.
    #[n(17)]
    pub far_end: Option<FarEnd>,
    /// Telephone events (RFC 4733) of this party.
    #[n(18)]
    pub dtmf: Option<Dtmf>,
    /// When this party was not heard.
    #[n(19)]
    pub silence: Option<Silence>,
    /// RTCP goodbyes of this party (RFC 3550 section 6.6).
    #[cbor(n(20), default, skip_if = "is_zero_u32")]
    pub goodbyes: u32,
    /// The latest announcement that was played to this party, as far as it has come.
    #[n(21)]
    pub played: Option<Played>,
}

/// An estimate of speech quality by the E-model (ITU-T G.107), on the narrowband scale for all codecs, so that
/// they compare: a wideband codec sounds better than its figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Quality {
    /// The rating R in tenths, 0 to 1000; 932 is a perfect G.711 call.
    #[n(0)]
    pub r_tenths: u16,
    /// The mean opinion score in hundredths, 100 to 450.
    #[n(1)]
    pub mos_hundredths: u16,
    /// The delay from mouth to ear that was assumed, in milliseconds.
    #[n(2)]
    pub delay_ms: u32,
}

/// What a party reports of the media that it receives (RFC 3550 section 6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct FarEnd {
    /// Report blocks about the other party's media.
    #[n(0)]
    pub reports: u32,
    /// The share lost, in 256ths, by the latest block.
    #[n(1)]
    pub fraction_lost: u8,
    /// The greatest share of any block.
    #[n(2)]
    pub worst_fraction_lost: u8,
    /// Packets lost in all by the latest block, negative where packets came twice.
    #[n(3)]
    pub lost: i32,
    /// Jitter by the latest block, in microseconds.
    #[n(4)]
    pub jitter_us: u32,
    /// From here to the party and back, in microseconds, by the latest block that answers a sender report.
    #[n(5)]
    pub round_trip_us: Option<u32>,
    /// The longest of these.
    #[n(6)]
    pub longest_round_trip_us: Option<u32>,
    /// How well this party hears the other one.
    #[n(7)]
    pub quality: Option<Quality>,
}

/// Telephone events (RFC 4733): each counts once, however often its packets are repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Dtmf {
    /// How many.
    #[n(0)]
    pub events: u32,
    /// How long they lasted together, in milliseconds.
    #[n(1)]
    pub total_ms: u32,
    /// The latest event's code (0 to 9, 10 for `*`, 11 for `#`, 12 to 15 for A to D). Only where the media
    /// process is configured to tell: digits may be a card's or a mailbox's secret.
    #[n(2)]
    pub last: Option<u8>,
}

/// When a party was not heard though packets were expected of it. A pause is half a second or more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Silence {
    /// Pauses that nothing accounts for.
    #[n(0)]
    pub pauses: u32,
    /// The longest of them, in milliseconds.
    #[n(1)]
    pub longest_ms: u32,
    /// All of them, in milliseconds.
    #[n(2)]
    pub total_ms: u64,
    /// Of these, while the other party was heard: one-way audio.
    #[n(3)]
    pub one_way_ms: u64,
    /// Comfort noise packets (RFC 3389).
    #[n(4)]
    pub noise_packets: u64,
    /// Pauses of discontinuous transmission, in milliseconds: begun by comfort noise or a silence descriptor, or
    /// ended by the mark of a talkspurt with no number missing (RFC 3551 section 4.1).
    #[n(5)]
    pub dtx_ms: u64,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn is_zero_u32(count: &u32) -> bool {
    *count == 0
}

fn is_other(codec: &Codec) -> bool {
    *codec == Codec::Other
}
