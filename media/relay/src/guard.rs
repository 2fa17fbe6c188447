//! What a port needs to know of packets that are not ordinary: the cold side of a flow.

use moorline_control::Ceiling;
use moorline_rtp::{Packet, Rtcp};

use crate::ceiling::{Bucket, DEFAULT_CEILING, RTCP_CEILING, Tokens};
use crate::ssrc::SsrcGuard;

/// How long the reports of a party that sends no RTP come from one SSRC. RFC 3550 section 6.3.5 lets members time out after five
/// intervals of at least 5 s.
const REPORTER_NS: u64 = 25_000_000_000;

/// One bound port's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    /// For RTP, of a stream with one source at a time.
    pub(crate) ssrc: SsrcGuard,
    /// The stream has one source at a time.
    pub(crate) one_ssrc: bool,
    /// STUN is relayed.
    pub(crate) stun: bool,
    /// Of RTP, or of another profile's datagrams.
    pub(crate) media: Bucket,
    /// Of RTCP, at whichever port it comes to.
    pub(crate) rtcp: Bucket,
    pub(crate) rtcp_tokens: Tokens,
    /// Packets refused.
    pub(crate) refused: u64,
    /// When the last RTCP packet was accepted; 0 for never.
    pub(crate) rtcp_seen: u64,
    /// Who sent it, and until when others of a party without RTP are refused.
    reporter: u32,
    reporter_until: u64,
}

impl Guard {
    /// A port's before it has received anything, and the tokens of its media.
    pub(crate) fn new() -> (Guard, Tokens) {
        let (media, tokens) = Bucket::new(DEFAULT_CEILING);
        let (rtcp, rtcp_tokens) = Bucket::new(RTCP_CEILING);
        let guard = Guard {
            ssrc: SsrcGuard::default(),
            one_ssrc: false,
            stun: false,
            media,
            rtcp,
            rtcp_tokens,
            refused: 0,
            rtcp_seen: 0,
            reporter: 0,
            reporter_until: 0,
        };
        (guard, tokens)
    }

    /// Sets the ceiling of media; the tokens to begin with, where it is another than before.
    pub(crate) fn set_ceiling(&mut self, ceiling: Option<Ceiling>) -> Option<Tokens> {
        let ceiling = ceiling.unwrap_or(DEFAULT_CEILING);
        (ceiling != self.media.ceiling()).then(|| {
            let (bucket, tokens) = Bucket::new(ceiling);
            self.media = bucket;
            tokens
        })
    }

    /// The party is elsewhere from now on: who was heard before may be somebody else.
    pub(crate) fn forget(&mut self) {
        self.ssrc.forget();
        self.reporter_until = 0;
    }

    /// Who sends a compound RTCP packet, if it is its party. `media` is the guard of the stream's RTP port, and
    /// `heard` when that last let in a packet: who sends RTP reports under the same SSRC (RFC 3550 section 6.4), so
    /// that nobody else can report, or say goodbye, in its name. Of a party that sends no RTP, or none any more (on
    /// hold), the first sender counts, until it is silent.
    pub(crate) fn reporter(&self, now: u64, media: &SsrcGuard, heard: u64, compound: &Rtcp<'_>) -> Option<u32> {
        let mut senders = compound.packets().filter_map(|packet| sender_of(&packet));
        let sender = senders.next().unwrap_or_default();
        let listens = media.is_silent() || now.saturating_sub(heard) >= REPORTER_NS;
        let known = media.is_known(sender) || listens && (now >= self.reporter_until || sender == self.reporter);
        (!self.one_ssrc || known && senders.all(|other| other == sender)).then_some(sender)
    }

    /// A reporter's packet was accepted.
    pub(crate) fn hear_reporter(&mut self, now: u64, reporter: u32) {
        self.rtcp_seen = now;
        (self.reporter, self.reporter_until) = (reporter, now.saturating_add(REPORTER_NS));
    }
}

/// Who has sent an RTCP packet, where it says so.
fn sender_of(packet: &Packet<'_>) -> Option<u32> {
    match packet {
        Packet::SenderReport(report) => Some(report.ssrc()),
        Packet::ReceiverReport(report) => Some(report.ssrc()),
        Packet::App(app) => Some(app.ssrc()),
        // Who mixes describes its contributors after itself, and says goodbye for them too.
        Packet::Sdes(sdes) => sdes.items().next().map(|item| item.ssrc),
        Packet::Bye(bye) => bye.sources().next(),
        // Feedback and extended reports begin with their sender (RFC 4585 section 6.1, RFC 3611 section 2).
        Packet::Other { body, .. } => body.first_chunk().map(|word| u32::from_be_bytes(*word)),
    }
}
