//! What the signaling process counts, and its page of OpenMetrics text.

mod page;

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use moorline_b2bua::{Counters, Observation, Outcome};
use tracing::{info, warn};

pub(crate) use page::text;

/// Everything a scrape shows, copied out of the event loop.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The worker's own counts.
    pub(crate) counters: Counters,
    /// What was made of its observations.
    pub(crate) statistics: Statistics,
    /// Datagrams that the kernel did not take.
    pub(crate) unsent: u64,
    /// Whether the control connection stands.
    pub(crate) media_connected: bool,
}

/// What the event loop keeps of the worker's observations.
#[derive(Debug, Clone)]
pub(crate) struct Statistics {
    pub(crate) first_provisional: Histogram<u64>,
    pub(crate) answer: Histogram<u64>,
    pub(crate) invite_added: Histogram<u64>,
    pub(crate) answer_added: Histogram<u64>,
    /// Ended attempts by outcome and, where one side refused, by status.
    pub(crate) outcomes: BTreeMap<(&'static str, Option<u16>), u64>,
    /// Sessions of a listing that no call could be made of.
    pub(crate) not_restored: u64,
    /// Control connections made.
    pub(crate) media_connections: u64,
    /// Control connections given up because too many requests were waiting.
    pub(crate) media_overflows: u64,
}

/// Histograms hold up to 10 minutes (what is longer counts as that), 0.1 % exact from 10 µs, the lowest
/// bound of a bucket.
const LOWEST_NS: u64 = 10;
const HIGHEST_NS: u64 = 600_000_000_000;

impl Statistics {
    pub(crate) fn new() -> Statistics {
        Statistics {
            first_provisional: histogram(),
            answer: histogram(),
            invite_added: histogram(),
            answer_added: histogram(),
            outcomes: BTreeMap::new(),
            not_restored: 0,
            media_connections: 0,
            media_overflows: 0,
        }
    }

    /// Takes in one observation, made at `now_ns`; a call's end is also its one line in the log.
    pub(crate) fn observe(&mut self, now_ns: u64, observation: Observation) {
        let since = |at: u64| now_ns.saturating_sub(at);
        match observation {
            Observation::FirstProvisional { invited_at } => record(&mut self.first_provisional, since(invited_at)),
            Observation::Answered { invited_at } => record(&mut self.answer, since(invited_at)),
            Observation::InviteForwarded { received_at } => record(&mut self.invite_added, since(received_at)),
            Observation::AnswerForwarded { received_at } => record(&mut self.answer_added, since(received_at)),
            Observation::Restored { call } => info!(%call, "call restored"),
            Observation::NotRestored { session, reason } => {
                self.not_restored += 1;
                warn!(%session, reason, "session closed: no call could be made of its snapshot");
            }
            Observation::Ended { call, from, to, outcome, talk_ns, report } => {
                let (name, status) = label(outcome);
                *self.outcomes.entry((name, status)).or_default() += 1;
                let streams = || report.iter().flat_map(|report| report.legs.iter().flatten());
                info!(
                    %call,
                    from,
                    to = to.as_deref(),
                    outcome = name,
                    status,
                    talk_ms = talk_ns / 1_000_000,
                    packets = streams().map(|stream| stream.packets).sum::<u64>(),
                    lost = streams().map(|stream| stream.lost).sum::<u64>(),
                    refused = streams().map(|stream| stream.refused).sum::<u64>(),
                    "call ended"
                );
            }
        }
    }
}

fn label(outcome: Outcome) -> (&'static str, Option<u16>) {
    match outcome {
        Outcome::CallerHungUp => ("caller_hung_up", None),
        Outcome::CalleeHungUp => ("callee_hung_up", None),
        Outcome::MediaTimeout => ("media_timeout", None),
        Outcome::NoAck => ("no_ack", None),
        Outcome::TooLong => ("too_long", None),
        Outcome::MediaLost => ("media_lost", None),
        Outcome::Expired => ("expired", None),
        Outcome::Cancelled => ("cancelled", None),
        // The peer chose the number: what is no status must not make label values without bound.
        Outcome::Refused(status) => ("refused", Some(if (300..700).contains(&status) { status } else { 0 })),
        Outcome::Rejected(status) => ("rejected", Some(status)),
    }
}

fn record(histogram: &mut Histogram<u64>, value_ns: u64) {
    histogram.saturating_record(value_ns);
}

#[expect(clippy::expect_used, reason = "the bounds are constants, and `1 <= low, 2 low <= high, digits <= 5` holds")]
fn histogram() -> Histogram<u64> {
    const { assert!(LOWEST_NS >= 1 && HIGHEST_NS >= 2 * LOWEST_NS) };
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, 3).expect("valid bounds")
}

#[cfg(test)]
mod tests;
