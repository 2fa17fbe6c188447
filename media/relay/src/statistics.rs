//! What is known of one party's stream beyond what every packet counts: the cold side of its statistics.
//!
//! It lives with the stream, not with its ports: what was learned stays when the ports change. Its size is fixed but for
//! the list of payload types, which the control protocol bounds.

use moorline_control::{Codec, Dtmf, FarEnd, Format, Silence};
use moorline_rtp::{Packet, Rtcp, TelephoneEvent, clock_rate};

use crate::offload::Seen;

mod dtmf;
mod far_end;
mod silence;

pub(crate) use far_end::Sender;
pub(crate) use silence::{Heard, PAUSE_NS};

/// The clock of payload types that nothing is known of.
pub(crate) const DEFAULT_CLOCK: u32 = 8_000;

/// More packets than other sources of a stream send between two of one of them.
const MAX_ASIDE: u32 = 50;

const NANOS_PER_MS: u64 = 1_000_000;

/// Of one stream.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    /// What the payload types stand for, where RFC 3551 does not say it.
    pub(crate) formats: Vec<Format>,
    /// What ports that the stream has given up had received, and what was lost of sources before the current one.
    pub(crate) totals: Totals,
    pub(crate) reordered: u64,
    pub(crate) duplicates: u64,
    pub(crate) rtcp_packets: u64,
    pub(crate) goodbyes: u32,
    pub(crate) sources: u32,
    pub(crate) ssrc: Option<u32>,
    pub(crate) gaps: u32,
    longest_gap_ns: u64,
    pub(crate) longest_gap_packets: u32,
    /// How many packets of other sources came since the one that is followed had this number.
    aside: (u32, u32),
    /// Of the latest packet of speech or video.
    spoken: Option<Format>,
    pauses: silence::Pauses,
    events: dtmf::Events,
    sent: far_end::SenderReports,
    view: far_end::View,
}

/// What every packet counts.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    /// Those of `packets` that were RTP.
    pub(crate) rtp_packets: u64,
    pub(crate) lost: u64,
    pub(crate) refused: u64,
    pub(crate) jitter_us: u32,
}

impl Statistics {
    /// What a payload type stands for.
    pub(crate) fn format(&self, payload_type: u8) -> Format {
        let named = self.formats.iter().find(|format| format.payload_type == payload_type);
        named.copied().unwrap_or_else(|| Format {
            payload_type,
            codec: Codec::of_payload_type(payload_type).unwrap_or_default(),
            clock_rate: clock_rate(payload_type).unwrap_or(DEFAULT_CLOCK),
        })
    }

    /// A packet of this format was accepted.
    pub(crate) fn heard(&mut self, format: Format) {
        self.pauses.noise = format.codec == Codec::ComfortNoise;
        self.pauses.noise_packets += u64::from(self.pauses.noise);
        if !matches!(format.codec, Codec::ComfortNoise | Codec::TelephoneEvent) {
            self.spoken = Some(format);
        }
    }

    /// A source begins, or is heard again after its ports have changed.
    pub(crate) fn source(&mut self, ssrc: u32) {
        if self.ssrc.replace(ssrc) != Some(ssrc) {
            self.sources = self.sources.saturating_add(1);
            self.events.forget_latest();
        }
    }

    /// A packet of another source came beside the one that is followed, which had this number last. False once so
    /// many have come that it has evidently left.
    pub(crate) fn is_aside(&mut self, followed: u32) -> bool {
        self.aside = if self.aside.1 == followed { (self.aside.0.saturating_add(1), followed) } else { (1, followed) };
        self.aside.0 <= MAX_ASIDE
    }

    /// A run of packets did not come in its turn.
    pub(crate) fn gap(&mut self, packets: u32, length_ns: u64) {
        self.gaps = self.gaps.saturating_add(1);
        self.longest_gap_packets = self.longest_gap_packets.max(packets);
        self.longest_gap_ns = self.longest_gap_ns.max(length_ns);
    }

    /// What was counted of the order of packets elsewhere.
    pub(crate) fn merge(&mut self, before: &Seen, seen: &Seen) {
        self.reordered += u64::from(seen.late.wrapping_sub(before.late));
        self.duplicates += u64::from(seen.duplicates.wrapping_sub(before.duplicates));
        let gaps = seen.gaps.wrapping_sub(before.gaps);
        if gaps > 0 {
            self.gaps = self.gaps.saturating_add(gaps);
            self.longest_gap_packets = self.longest_gap_packets.max(seen.longest_gap_packets);
            self.longest_gap_ns = self.longest_gap_ns.max(seen.longest_gap_ns);
        }
    }

    /// A packet of a telephone event; `in_turn` is whether it is not late.
    pub(crate) fn event(&mut self, timestamp: u32, event: TelephoneEvent, clock: u32, in_turn: bool) {
        self.events.take(timestamp, event, clock, in_turn);
    }

    /// The party is heard after a pause, since `last`.
    pub(crate) fn heard_again(&mut self, now: u64, last: u64, explained: bool, other: Heard) {
        self.pauses.settle(now, last, explained, other);
        self.pauses.heard_since = now;
    }

    /// Packets are expected of the party from now on, or not any more.
    pub(crate) fn expect(&mut self, now: u64, expected: bool, last: u64, explained: bool, other: Heard) {
        if expected == self.pauses.expected_since.is_some() {
            return;
        }
        self.pauses.settle(now, last, explained, other);
        self.pauses.expected_since = expected.then_some(now);
    }

    /// The party's ports change: when the new ones heard it last, nobody knows.
    pub(crate) fn begin_anew(&mut self, now: u64, last: u64, explained: bool, other: Heard) {
        self.pauses.settle(now, last, explained, other);
        self.pauses.expected_since = self.pauses.expected_since.map(|_| now);
    }

    /// Since when the party is heard without a pause.
    pub(crate) fn heard_since(&self) -> u64 {
        self.pauses.heard_since
    }

    /// The latest packet was comfort noise.
    pub(crate) fn is_noise(&self) -> bool {
        self.pauses.noise
    }

    /// The codec of the latest speech or video.
    pub(crate) fn codec(&self) -> Codec {
        self.spoken.map_or(Codec::Other, |format| format.codec)
    }

    pub(crate) fn payload_type(&self) -> Option<u8> {
        self.spoken.map(|format| format.payload_type)
    }

    /// The party as the sender of what the other one reports on; `None` before its first packet.
    pub(crate) fn as_sender(&self) -> Option<Sender> {
        let clock = self.spoken.map_or(DEFAULT_CLOCK, |format| format.clock_rate);
        self.ssrc.map(|ssrc| Sender { ssrc, clock, reports: self.sent })
    }

    /// An accepted RTCP compound of this party. `other` is whom it may report on; `passed_on` is whether the other party
    /// gets it.
    pub(crate) fn rtcp(&mut self, now: u64, compound: &Rtcp<'_>, other: Option<&Sender>, passed_on: bool) {
        self.rtcp_packets += 1;
        for packet in compound.packets() {
            match packet {
                Packet::SenderReport(report) => {
                    if passed_on {
                        self.sent.pass(now, report.ntp());
                    }
                    report.blocks().for_each(|block| self.view.take(now, &block, other));
                }
                Packet::ReceiverReport(report) => {
                    report.blocks().for_each(|block| self.view.take(now, &block, other));
                }
                Packet::Bye(_) => self.goodbyes = self.goodbyes.saturating_add(1),
                Packet::Sdes(_) | Packet::App(_) | Packet::Other { .. } => {}
            }
        }
    }

    pub(crate) fn longest_gap_ms(&self) -> u32 {
        u32::try_from(self.longest_gap_ns / NANOS_PER_MS).unwrap_or(u32::MAX)
    }

    /// What the party says of what it hears, without a judgement of quality.
    pub(crate) fn far_end(&self) -> Option<FarEnd> {
        self.view.report()
    }

    pub(crate) fn dtmf(&self, tell_digit: bool) -> Option<Dtmf> {
        self.events.report(tell_digit)
    }

    /// The party's silences, with the one that may be going on now.
    pub(crate) fn silence(&self, now: u64, last: u64, explained: bool, other: Heard) -> Option<Silence> {
        let mut pauses = self.pauses;
        pauses.settle(now, last, explained, other);
        pauses.report()
    }
}
