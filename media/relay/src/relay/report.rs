//! What is told of a session: its reports.

use moorline_control::{FarEnd, SessionReport, StreamReport};

use super::Relay;
use crate::quality::{Journey, quality};
use crate::session::{Session, Stream, other_leg};
use crate::statistics::Totals;

const NANOS_PER_MS: u64 = 1_000_000;

impl Relay {
    /// What the session has relayed so far.
    pub(super) fn report(&self, now: u64, session: &Session) -> SessionReport {
        let legs = (0u8..).zip(&session.legs).map(|(position, leg)| {
            let streams = (0u8..).zip(&leg.streams);
            streams.map(|(index, stream)| self.stream_report(now, session, (position, index), stream)).collect()
        });
        SessionReport { legs: legs.collect(), open_ms: now.saturating_sub(session.opened_at) / NANOS_PER_MS }
    }

    fn stream_report(&self, now: u64, session: &Session, (leg, index): (u8, u8), stream: &Stream) -> StreamReport {
        let other = other_leg(leg).and_then(|other| session.stream(other, index));
        let (own_totals, known) = (self.totals(stream), &stream.statistics);
        let network_us = one_way_us(stream) + other.map_or(0, one_way_us);
        let received = Journey {
            codec: known.codec(),
            received: own_totals.rtp_packets,
            lost: own_totals.lost,
            runs: known.gaps.into(),
            jitter_us: own_totals.jitter_us,
            network_us,
        };
        let heard = |far_end: FarEnd, other: &Stream| {
            let sent = self.totals(other);
            let lost = u64::from(far_end.lost.max(0).unsigned_abs());
            let expected = sent.rtp_packets.saturating_add(sent.lost);
            Journey {
                codec: other.statistics.codec(),
                received: expected.saturating_sub(lost),
                lost,
                runs: 0,
                jitter_us: far_end.jitter_us,
                network_us,
            }
        };
        let far_end = known
            .far_end()
            .map(|far_end| FarEnd { quality: other.and_then(|other| quality(&heard(far_end, other))), ..far_end });
        let (last, in_dtx) = self.last_of(stream);
        StreamReport {
            packets: own_totals.packets,
            bytes: own_totals.bytes,
            lost: own_totals.lost,
            reordered: known.reordered,
            jitter_us: own_totals.jitter_us,
            rtcp_packets: known.rtcp_packets,
            refused: own_totals.refused,
            source: stream.source(),
            duplicates: known.duplicates,
            sources: known.sources,
            ssrc: known.ssrc,
            payload_type: known.payload_type(),
            codec: known.codec(),
            gaps: known.gaps,
            longest_gap_ms: known.longest_gap_ms(),
            longest_gap_packets: known.longest_gap_packets,
            quality: quality(&received),
            far_end,
            dtmf: known.dtmf(self.report_digits),
            silence: known.silence(now, last, in_dtx, self.heard(other)),
            goodbyes: known.goodbyes,
            played: self.played(stream),
        }
    }

    /// What a stream has received on its ports, those it has given up included.
    fn totals(&self, stream: &Stream) -> Totals {
        let mut totals = stream.statistics.totals;
        for endpoint in stream.ends.iter().flat_map(|ends| [ends.rtp, ends.rtcp]) {
            self.flows.add_to(endpoint, &mut totals);
        }
        totals
    }
}

/// From a party to here, as far as its round trip tells; 0 where nothing does.
fn one_way_us(stream: &Stream) -> u64 {
    stream
        .statistics
        .far_end()
        .and_then(|far_end| far_end.round_trip_us)
        .map_or(0, |round_trip| u64::from(round_trip) / 2)
}
