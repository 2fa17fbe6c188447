//! What became of a load.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::series::Sample;
use super::signaling::Outcome;
use crate::Histogram;
use crate::media::MediaReport;

/// What became of the calls and of their media. The media fields are those of [`MediaReport`].
#[derive(Debug, Clone, Default)]
#[expect(missing_docs, reason = "the media fields are documented at MediaReport")]
pub struct Report {
    /// Calls of which an INVITE was sent.
    pub attempted: u32,
    /// Calls that the caller saw answered.
    pub answered: u32,
    /// Calls that were set up, talked, and ended on both sides as planned, with nothing wrong in
    /// signaling.
    pub completed: u32,
    /// Calls that were given up because the load was stopped.
    pub cancelled: u32,
    /// The others, by reason.
    pub failed: BTreeMap<Failure, u32>,
    /// Calls that reached the callee.
    pub reached: u32,
    /// INVITEs at the callee that are of none of this load's calls.
    pub strangers: u32,
    /// Calls whose INVITE or BYE was challenged.
    pub challenged: u32,
    /// Calls that had to wait because too many were up.
    pub waited: u32,
    /// The most calls that talked at once.
    pub most_active: u32,
    /// From the first INVITE to the last one.
    pub placing: Duration,
    /// Messages that either side of this load sent again, or received again.
    pub sip_retransmissions: u64,
    /// INVITE to 200, at the caller.
    pub setup: Histogram,
    /// INVITE to the first provisional answer, at the caller.
    pub first_provisional: Histogram,
    /// INVITE to the first answer that tells of the called party (180 to 199, or 200), at the caller: what
    /// RFC 6076 section 4.3.1 calls the session request delay.
    pub post_dial: Histogram,
    /// INVITE from the caller to the callee.
    pub invite_transit: Histogram,
    /// 200 from the callee to the caller.
    pub answer_transit: Histogram,
    /// BYE to its 200.
    pub release: Histogram,
    /// How it went over time.
    pub series: Vec<Sample>,
    /// RTP was sent.
    pub has_media: bool,
    /// There was no callee, and the far end sent back what it got. Always true with a callee.
    pub is_verified: bool,
    /// Without a callee: packets that are the far end's own.
    pub foreign: u64,
    pub packets_sent: u64,
    pub packets_received: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    pub crossed: u64,
    pub wrong_source: u64,
    pub send_errors: u64,
    pub rtcp_sent: u64,
    pub rtcp_received: u64,
    pub rtcp_wrong: u64,
    pub one_way: Histogram,
    pub jitter_us: f64,
    pub jitter_max_us: f64,
}

impl Report {
    /// True if every call went through without a retransmission and every packet arrived once, in
    /// order, unchanged, and from the right source.
    pub fn is_clean(&self) -> bool {
        let media_faults = self.lost
            + self.duplicated
            + self.reordered
            + self.corrupted
            + self.crossed
            + self.wrong_source
            + self.send_errors
            + self.rtcp_wrong;
        self.attempted > 0
            && self.completed == self.attempted
            && self.failed.is_empty()
            && self.sip_retransmissions == 0
            && (self.packets_sent > 0 || !self.has_media)
            && media_faults == 0
            && self.rtcp_received == self.rtcp_sent
    }

    /// Calls that failed, for whatever reason.
    pub fn failures(&self) -> u32 {
        self.failed.values().sum()
    }

    /// The share of the packets that were lost; 0 where that is not known.
    pub fn loss(&self) -> f64 {
        if self.packets_sent == 0 { 0.0 } else { self.lost as f64 / self.packets_sent as f64 }
    }

    /// Calls per second, from the first INVITE to the last.
    pub fn rate_per_s(&self) -> f64 {
        // The last one begins an interval of its own.
        let intervals = f64::from(self.attempted.saturating_sub(1));
        if self.placing.is_zero() { 0.0 } else { intervals / self.placing.as_secs_f64() }
    }

    /// From the start to the end of the last call.
    pub fn lasted(&self) -> Duration {
        self.series.last().map_or(Duration::ZERO, |sample| sample.at)
    }

    /// Adds the report of a load that came after this one.
    pub fn append(&mut self, later: Report) {
        let before = self.lasted();
        let weights = [self.packets_received as f64, later.packets_received as f64];
        if weights[0] + weights[1] > 0.0 {
            let sum = self.jitter_us * weights[0] + later.jitter_us * weights[1];
            self.jitter_us = sum / (weights[0] + weights[1]);
        }
        self.jitter_max_us = self.jitter_max_us.max(later.jitter_max_us);
        self.most_active = self.most_active.max(later.most_active);
        self.placing += later.placing;
        self.is_verified |= later.is_verified;
        self.has_media |= later.has_media;
        for (failure, calls) in later.failed {
            *self.failed.entry(failure).or_default() += calls;
        }
        let shifted = later.series.into_iter().map(|sample| Sample { at: before + sample.at, ..sample });
        self.series.extend(shifted);
        for (own, added) in [
            (&mut self.attempted, later.attempted),
            (&mut self.answered, later.answered),
            (&mut self.completed, later.completed),
            (&mut self.cancelled, later.cancelled),
            (&mut self.reached, later.reached),
            (&mut self.strangers, later.strangers),
            (&mut self.challenged, later.challenged),
            (&mut self.waited, later.waited),
        ] {
            *own += added;
        }
        for (own, added) in [
            (&mut self.sip_retransmissions, later.sip_retransmissions),
            (&mut self.foreign, later.foreign),
            (&mut self.packets_sent, later.packets_sent),
            (&mut self.packets_received, later.packets_received),
            (&mut self.lost, later.lost),
            (&mut self.duplicated, later.duplicated),
            (&mut self.reordered, later.reordered),
            (&mut self.corrupted, later.corrupted),
            (&mut self.crossed, later.crossed),
            (&mut self.wrong_source, later.wrong_source),
            (&mut self.send_errors, later.send_errors),
            (&mut self.rtcp_sent, later.rtcp_sent),
            (&mut self.rtcp_received, later.rtcp_received),
            (&mut self.rtcp_wrong, later.rtcp_wrong),
        ] {
            *own += added;
        }
        for (own, added) in [
            (&mut self.setup, &later.setup),
            (&mut self.first_provisional, &later.first_provisional),
            (&mut self.post_dial, &later.post_dial),
            (&mut self.invite_transit, &later.invite_transit),
            (&mut self.answer_transit, &later.answer_transit),
            (&mut self.release, &later.release),
            (&mut self.one_way, &later.one_way),
        ] {
            // Refused only for values out of bounds, and all of these have the same.
            let _ = own.add(&**added);
        }
    }

    /// Without a callee, what comes back tells what the far end is.
    pub(crate) fn of(calls: Outcome, media: Option<MediaReport>, uac_only: bool) -> Report {
        let report = Report {
            attempted: calls.attempted,
            answered: calls.answered,
            completed: calls.completed,
            cancelled: calls.cancelled,
            failed: calls.failed,
            reached: calls.reached,
            strangers: calls.strangers,
            challenged: calls.challenged,
            waited: calls.waited,
            most_active: calls.most_active,
            placing: calls.placing,
            sip_retransmissions: calls.retransmissions,
            setup: calls.setup,
            first_provisional: calls.first_provisional,
            post_dial: calls.post_dial,
            invite_transit: calls.invite_transit,
            answer_transit: calls.answer_transit,
            release: calls.release,
            is_verified: true,
            ..Report::default()
        };
        let Some(media) = media else { return report };
        let report = Report {
            has_media: true,
            packets_sent: media.packets_sent,
            packets_received: media.packets_received,
            lost: media.lost,
            duplicated: media.duplicated,
            reordered: media.reordered,
            corrupted: media.corrupted,
            crossed: media.crossed,
            wrong_source: media.wrong_source,
            send_errors: media.send_errors,
            rtcp_sent: media.rtcp_sent,
            rtcp_received: media.rtcp_received,
            rtcp_wrong: media.rtcp_wrong,
            one_way: media.one_way,
            jitter_us: media.jitter_us,
            jitter_max_us: media.jitter_max_us,
            ..report
        };
        if !uac_only {
            return report;
        }
        // RTCP of the far end is its own, and so is what is not our own RTP: an announcement perhaps.
        let report = Report {
            foreign: report.corrupted,
            corrupted: 0,
            rtcp_received: report.rtcp_sent,
            rtcp_wrong: 0,
            is_verified: report.packets_received > 0,
            ..report
        };
        if report.is_verified { report } else { Report { lost: 0, ..report } }
    }
}

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// The final answer, if it was one.
    pub status: Option<u16>,
    /// Its reason phrase, or what else was wrong.
    pub reason: String,
}

impl Failure {
    /// A refusal by a final answer.
    pub fn refused(status: u16, reason: &str) -> Failure {
        // Phrases are the peer's: bounded, so that a report is.
        Failure { status: Some(status), reason: reason.chars().take(80).collect() }
    }
}

impl<T: Into<String>> From<T> for Failure {
    fn from(reason: T) -> Failure {
        Failure { status: None, reason: reason.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "{status} {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}
