//! What a party reports by RTCP, and the round trips that follow from it.
//!
//! RTCP crosses the relay unchanged, so a party's receiver reports answer the other party's sender reports. The time from
//! when such a sender report passed here until the answer comes, less what the party held it for, is the way from here
//! to the party and back (RFC 3550 section 6.4.1 with the relay in place of the sender).

use moorline_control::FarEnd;
use moorline_rtp::ReportBlock;

/// Sender reports that an answer may still refer to.
const REMEMBERED: usize = 4;

/// How far an answer may seem to come too early, in nanoseconds: the two clocks run at slightly different paces, and the
/// party's delay is rounded.
const SLACK_NS: u64 = 5_000_000;

const NANOS: u64 = 1_000_000_000;

/// The sender reports of one party that were passed on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SenderReports {
    /// The middle of the NTP timestamp, and when it passed.
    passed: [(u32, u64); REMEMBERED],
    next: u8,
}

/// The other party, as far as its hearer's reports need it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) ssrc: u32,
    pub(crate) clock: u32,
    pub(crate) reports: SenderReports,
}

/// What a party says of what it hears.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct View {
    report: FarEnd,
}

impl SenderReports {
    /// A report with this NTP timestamp is passed on.
    pub(super) fn pass(&mut self, now: u64, ntp: u64) {
        self.passed[usize::from(self.next) % REMEMBERED] = ((ntp >> 16) as u32, now);
        self.next = (self.next + 1) % REMEMBERED as u8;
    }

    /// From here to who answered and back, in nanoseconds.
    fn round_trip(&self, now: u64, block: &ReportBlock) -> Option<u64> {
        // 0 says that the party has had no sender report yet. It is a moment too, once in 18 hours.
        if block.last_sender_report == 0 {
            return None;
        }
        let known = |(middle, at): &&(u32, u64)| *middle == block.last_sender_report && *at > 0;
        let (_, passed_at) = self.passed.iter().find(known)?;
        let held_ns = u64::from(block.delay_since_sender_report) * NANOS / 65_536;
        let elapsed_ns = now.saturating_sub(*passed_at);
        (elapsed_ns + SLACK_NS >= held_ns).then(|| elapsed_ns.saturating_sub(held_ns))
    }
}

impl View {
    /// Takes a block about `sender`; blocks about other sources say nothing of this call.
    pub(super) fn take(&mut self, now: u64, block: &ReportBlock, sender: Option<&Sender>) {
        let Some(sender) = sender.filter(|sender| sender.ssrc == block.ssrc) else { return };
        let view = &mut self.report;
        view.reports = view.reports.saturating_add(1);
        view.fraction_lost = block.fraction_lost;
        view.worst_fraction_lost = view.worst_fraction_lost.max(block.fraction_lost);
        view.lost = block.lost;
        let jitter_us = u64::from(block.jitter) * 1_000_000 / u64::from(sender.clock.max(1));
        view.jitter_us = u32::try_from(jitter_us).unwrap_or(u32::MAX);
        if let Some(round_trip_ns) = sender.reports.round_trip(now, block) {
            let round_trip_us = u32::try_from(round_trip_ns / 1_000).unwrap_or(u32::MAX);
            view.round_trip_us = Some(round_trip_us);
            view.longest_round_trip_us = view.longest_round_trip_us.max(Some(round_trip_us));
        }
    }

    /// What there is to report, without a judgement of quality.
    pub(super) fn report(&self) -> Option<FarEnd> {
        (self.report.reports > 0).then_some(self.report)
    }
}
