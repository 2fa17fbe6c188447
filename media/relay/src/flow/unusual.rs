//! RTP packets that tell something new: of a stream's source, its payload type, its order or its pauses.

use moorline_control::Codec;
use moorline_rtp::{Jitter, Rtp, Sequence, Step, TelephoneEvent};

use super::{Flow, NOTHING_USUAL};
use crate::statistics::{Heard, PAUSE_NS, Statistics};

impl Flow {
    /// Counts an accepted RTP packet of any kind. `other` says when the other party was heard.
    pub(crate) fn count_unusual(
        &mut self,
        now: u64,
        rtp: &Rtp<'_>,
        length: usize,
        statistics: &mut Statistics,
        other: Heard,
    ) {
        let format = statistics.format(rtp.payload_type());
        let same_source = self.packets > 0 && rtp.ssrc() == self.ssrc;
        let step = if same_source { self.follow(rtp, statistics) } else { self.begin(rtp, statistics) };
        if now.saturating_sub(self.last_seen) >= PAUSE_NS {
            let talkspurt = rtp.marker() && step == Some(Step::Forward { skipped: 0 });
            let explained = talkspurt || self.is_in_dtx(statistics);
            statistics.heard_again(now, self.last_seen, explained, other);
        }
        match step {
            Some(Step::Forward { skipped }) if skipped > 0 => {
                statistics.gap(u32::from(skipped), now.saturating_sub(self.last_seen));
            }
            Some(Step::Late) => statistics.reordered += 1,
            Some(Step::Duplicate) => statistics.duplicates += 1,
            _ => {}
        }
        self.measure_jitter(now, rtp, step, format.clock_rate);
        match format.codec {
            Codec::TelephoneEvent => {
                if let Some(event) = TelephoneEvent::parse(rtp.payload()) {
                    let in_turn = matches!(step, None | Some(Step::Forward { .. } | Step::Restart));
                    statistics.event(rtp.timestamp(), event, format.clock_rate, in_turn);
                }
                self.usual = NOTHING_USUAL;
            }
            Codec::ComfortNoise => self.usual = NOTHING_USUAL,
            _ => self.usual = rtp.payload_type(),
        }
        statistics.heard(format);
        self.ssrc = rtp.ssrc();
        self.timestamp = rtp.timestamp();
        self.count_datagram(now, length);
        self.payload_length = rtp.payload().len() as u16;
    }

    /// Whether a packet is of another source beside the one that is followed, as retransmissions and layers of video
    /// are: their numbers and times say nothing of its.
    pub(crate) fn is_beside(&self, now: u64, rtp: &Rtp<'_>, statistics: &mut Statistics) -> bool {
        let other = self.packets > 0 && rtp.ssrc() != self.ssrc && now.saturating_sub(self.last_seen) < PAUSE_NS;
        other && statistics.is_aside(self.sequence.extended())
    }

    /// Whether the latest packet announced silence.
    pub(crate) fn is_in_dtx(&self, statistics: &Statistics) -> bool {
        statistics.is_noise() || (statistics.codec() == Codec::G729 && ends_with_descriptor(self.payload_length))
    }

    /// The next packet of the same source.
    fn follow(&mut self, rtp: &Rtp<'_>, statistics: &mut Statistics) -> Option<Step> {
        let lost = self.sequence.lost();
        let step = self.sequence.receive(rtp.sequence());
        if step == Step::Restart {
            statistics.totals.lost += u64::from(lost);
        }
        Some(step)
    }

    /// The first packet of a source.
    fn begin(&mut self, rtp: &Rtp<'_>, statistics: &mut Statistics) -> Option<Step> {
        statistics.totals.lost += u64::from(self.sequence.lost());
        statistics.source(rtp.ssrc());
        self.sequence = Sequence::new(rtp.sequence());
        None
    }

    fn measure_jitter(&mut self, now: u64, rtp: &Rtp<'_>, step: Option<Step>, clock: u32) {
        let (arrival, timestamp) = (Jitter::arrival(now, clock), rtp.timestamp());
        let former = std::mem::replace(&mut self.clock, clock);
        match step {
            None => self.jitter = Jitter::new(arrival, timestamp),
            Some(_) if clock != former => self.jitter.change_clock(former, clock, arrival, timestamp),
            // The packets of one telephone event share a timestamp: their spacing is the sender's, not jitter.
            Some(_) if timestamp == self.timestamp => {}
            // More than a second is no jitter: timestamps began anew, or stood still during hold.
            Some(step) if step == Step::Restart || self.jitter.step(arrival, timestamp) > clock => {
                self.jitter.rebase(arrival, timestamp);
            }
            Some(_) => self.jitter.receive(arrival, timestamp),
        }
    }
}

/// Whether a payload of G.729 ends with a silence descriptor: frames of 10 bytes, and 2 more (RFC 3551 section 4.5.6).
fn ends_with_descriptor(payload_length: u16) -> bool {
    payload_length % 10 == 2
}
