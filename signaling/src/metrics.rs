//! What the signaling process counts, and its page of OpenMetrics text.

mod page;
mod traffic;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hdrhistogram::Histogram;
use moorline_b2bua::policy::limit::Limiter;
use moorline_b2bua::{Concurrency, Counters, Observation, Outcome, Reason};
use moorline_control::SessionReport;
use tracing::{info, warn};

use crate::cdr::RecordCounts;
use crate::reload::Reloads;
use crate::transport::streams::StreamCounts;

pub(crate) use page::text;
use traffic::Traffic;

/// Everything a scrape shows.
#[derive(Debug)]
pub(crate) struct Page {
    /// What all workers have counted.
    pub(crate) sum: Snapshot,
    /// How many of them there are.
    pub(crate) workers: usize,
    /// What the connections' thread has counted.
    pub(crate) streams: Arc<StreamCounts>,
    /// Calls in all workers.
    pub(crate) calls: Arc<Concurrency>,
    /// What becomes of their records, where they are kept.
    pub(crate) records: Option<RecordCounts>,
    /// What trunks are limited to.
    pub(crate) limiter: Arc<Limiter>,
    /// The calls of the day cannot be written down.
    pub(crate) unwritten: bool,
    /// What became of reloads.
    pub(crate) reloads: Arc<Reloads>,
    /// Lines of the log that were lost.
    pub(crate) lost_lines: u64,
    /// When it is shown.
    pub(crate) now_ns: u64,
}

/// What one worker shows, copied out of its event loop.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The worker's own counts.
    pub(crate) counters: Counters,
    /// What was made of its observations.
    pub(crate) statistics: Statistics,
    /// Datagrams received.
    pub(crate) received: u64,
    /// Datagrams sent.
    pub(crate) sent: u64,
    /// Datagrams that the kernel did not take.
    pub(crate) unsent: u64,
    /// Whether the control connection stands.
    pub(crate) media_connected: bool,
}

impl Snapshot {
    /// Adds another worker's.
    pub(crate) fn merge(&mut self, other: &Snapshot) {
        let (sum, more) = (&mut self.counters, &other.counters);
        for (sum, more) in [
            (&mut sum.messages, more.messages),
            (&mut sum.malformed, more.malformed),
            (&mut sum.bad_requests, more.bad_requests),
            (&mut sum.unknown_source, more.unknown_source),
            (&mut sum.attempts, more.attempts),
            (&mut sum.calls, more.calls),
            (&mut sum.answered, more.answered),
            (&mut sum.announced, more.announced),
            (&mut sum.unannounced, more.unannounced),
            (&mut sum.restored, more.restored),
            (&mut sum.challenges, more.challenges),
            (&mut sum.failovers, more.failovers),
            (&mut sum.wrong_credentials, more.wrong_credentials),
            (&mut sum.credentials_refused, more.credentials_refused),
            (&mut sum.without_prefix, more.without_prefix),
            (&mut sum.bindings, more.bindings),
            (&mut sum.retransmissions, more.retransmissions),
            (&mut sum.calls_active, more.calls_active),
            (&mut sum.transactions_active, more.transactions_active),
            (&mut sum.targets_resting, more.targets_resting),
            (&mut self.received, other.received),
            (&mut self.sent, other.sent),
            (&mut self.unsent, other.unsent),
        ] {
            *sum += more;
        }
        self.statistics.merge(&other.statistics);
        self.media_connected &= other.media_connected;
    }
}

/// What the event loop keeps of the worker's observations.
#[derive(Debug, Clone)]
pub(crate) struct Statistics {
    pub(crate) first_provisional: Histogram<u64>,
    pub(crate) answer: Histogram<u64>,
    pub(crate) invite_added: Histogram<u64>,
    pub(crate) answer_added: Histogram<u64>,
    /// From receiving a message to sending it on: INVITEs, the answers to them, and the rest.
    pub(crate) forward: [Histogram<u64>; 3],
    /// Attempts and answers by the minute.
    pub(crate) traffic: Traffic,
    /// Attempts that `traffic` knows of.
    attempts: u64,
    /// How long messages had waited when the worker was told that they came: when it was told, and the wait.
    waits: VecDeque<(u64, u64)>,
    /// What was not let in, by [`Reason::index`].
    pub(crate) overload: [u64; Reason::ALL.len()],
    /// Messages handed to the worker that owns them.
    pub(crate) handed_over: u64,
    /// News for other workers that had to wait for room.
    pub(crate) news_delayed: u64,
    /// Messages for streams for which there was no room in the queue.
    pub(crate) stream_overflows: u64,
    /// Ended attempts by outcome and, where one side refused, by status.
    pub(crate) outcomes: BTreeMap<(&'static str, Option<u16>), u64>,
    /// Trunks that Moorline registers itself with, and whether it is registered.
    pub(crate) registered: BTreeMap<String, bool>,
    /// Sessions of a listing that no call could be made of.
    pub(crate) not_restored: u64,
    /// Trunks whose media range the media process does not have, with the range.
    pub(crate) unserved: BTreeMap<String, String>,
    /// Control connections made.
    pub(crate) media_connections: u64,
    /// Requests to the media process that found too many waiting before them.
    pub(crate) media_overflows: u64,
}

/// Histograms hold up to 10 minutes (what is longer counts as that), 0.1 % exact from 10 µs, the lowest
/// bound of a bucket.
const LOWEST_NS: u64 = 10;
const HIGHEST_NS: u64 = 600_000_000_000;

/// Waits that are remembered until their message is sent on: longer than the media process takes for anything.
const WAITS: usize = 4096;

impl Statistics {
    pub(crate) fn new() -> Statistics {
        Statistics {
            first_provisional: histogram(),
            answer: histogram(),
            invite_added: histogram(),
            answer_added: histogram(),
            forward: [histogram(), histogram(), histogram()],
            traffic: Traffic::default(),
            attempts: 0,
            waits: VecDeque::new(),
            overload: [0; Reason::ALL.len()],
            handed_over: 0,
            news_delayed: 0,
            stream_overflows: 0,
            outcomes: BTreeMap::new(),
            registered: BTreeMap::new(),
            not_restored: 0,
            unserved: BTreeMap::new(),
            media_connections: 0,
            media_overflows: 0,
        }
    }

    /// A message, neither an INVITE nor its answer, was received then and has been sent on now.
    pub(crate) fn forwarded(&mut self, now_ns: u64, received_at: u64) {
        record(&mut self.forward[2], now_ns.saturating_sub(received_at));
    }

    /// The worker was told that a message came at `at`; it had waited until then.
    pub(crate) fn waited(&mut self, at: u64, wait_ns: u64) {
        if wait_ns > 0 {
            if self.waits.len() >= WAITS {
                self.waits.pop_front();
            }
            self.waits.push_back((at, wait_ns));
        }
    }

    fn wait_of(&self, at: u64) -> u64 {
        let found = self.waits.binary_search_by_key(&at, |(at, _)| *at);
        found.ok().and_then(|found| self.waits.get(found)).map_or(0, |(_, wait_ns)| *wait_ns)
    }

    /// The worker has seen so many call attempts.
    pub(crate) fn attempts(&mut self, now_ns: u64, attempts: u64) {
        if attempts > self.attempts {
            let more = u32::try_from(attempts - self.attempts).unwrap_or(u32::MAX);
            self.traffic.attempted(now_ns, more);
            self.attempts = attempts;
        }
    }

    /// Something was not let in.
    pub(crate) fn overload(&mut self, reason: Reason) {
        self.overload[reason.index()] += 1;
    }

    /// Adds another worker's.
    fn merge(&mut self, other: &Statistics) {
        for (sum, more) in [
            (&mut self.first_provisional, &other.first_provisional),
            (&mut self.answer, &other.answer),
            (&mut self.invite_added, &other.invite_added),
            (&mut self.answer_added, &other.answer_added),
        ]
        .into_iter()
        .chain(self.forward.iter_mut().zip(&other.forward))
        {
            // All have the same bounds, so each fits into the other.
            let _fits = sum.add(more);
        }
        self.overload.iter_mut().zip(other.overload).for_each(|(sum, more)| *sum += more);
        for (sum, more) in [
            (&mut self.handed_over, other.handed_over),
            (&mut self.news_delayed, other.news_delayed),
            (&mut self.stream_overflows, other.stream_overflows),
            (&mut self.not_restored, other.not_restored),
            (&mut self.media_connections, other.media_connections),
            (&mut self.media_overflows, other.media_overflows),
        ] {
            *sum += more;
        }
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(*outcome).or_default() += count;
        }
        // The first worker alone registers.
        self.registered.extend(other.registered.iter().map(|(trunk, registered)| (trunk.clone(), *registered)));
        // Nor does another one look at what the media process serves.
        self.unserved.extend(other.unserved.iter().map(|(trunk, range)| (trunk.clone(), range.clone())));
        self.traffic.merge(&other.traffic);
    }

    /// Takes in one observation, made at `now_ns`; a call's end is also its one line in the log.
    pub(crate) fn observe(&mut self, now_ns: u64, observation: Observation) {
        let since = |at: u64| now_ns.saturating_sub(at);
        match observation {
            Observation::FirstProvisional { invited_at } => record(&mut self.first_provisional, since(invited_at)),
            Observation::Answered { invited_at } => {
                record(&mut self.answer, since(invited_at));
                self.traffic.answered(invited_at);
            }
            Observation::InviteForwarded { received_at } => {
                record(&mut self.invite_added, since(received_at));
                let waited = self.wait_of(received_at);
                record(&mut self.forward[0], since(received_at) + waited);
            }
            Observation::AnswerForwarded { received_at } => {
                record(&mut self.answer_added, since(received_at));
                let waited = self.wait_of(received_at);
                record(&mut self.forward[1], since(received_at) + waited);
            }
            Observation::Registered { trunk, granted_s } => {
                if self.registered.insert(trunk.clone(), true) != Some(true) {
                    info!(trunk, granted_s, "registered");
                }
            }
            Observation::NotRegistered { trunk, status, registered } => {
                warn!(trunk, status, registered, "not registered: will try again");
                self.registered.insert(trunk, registered);
            }
            Observation::MediaServes { unserved, without_fax } => {
                for (trunk, range) in &unserved {
                    let remedy = "add it to [[media.ranges]], or name another one";
                    warn!(trunk, range, "calls will be refused: the media process has no such range; {remedy}");
                }
                if without_fax {
                    warn!("the media process relays no fax: offers of T.38 will be refused");
                }
                self.unserved = unserved.into_iter().collect();
            }
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
                    worst_mos = worst_mos(report.as_ref()),
                    one_way_ms = streams().filter_map(|stream| stream.silence).map(|silence| silence.one_way_ms).max(),
                    "call ended"
                );
            }
        }
    }
}

/// The worst mean opinion score of a call's streams, as they came here and as the parties heard them.
fn worst_mos(report: Option<&SessionReport>) -> Option<f64> {
    let streams = report.into_iter().flat_map(|report| report.legs.iter().flatten());
    let judged = streams.flat_map(|stream| [stream.quality, stream.far_end.and_then(|far_end| far_end.quality)]);
    judged.flatten().map(|quality| quality.mos_hundredths).min().map(|hundredths| f64::from(hundredths) / 100.0)
}

fn label(outcome: Outcome) -> (&'static str, Option<u16>) {
    match outcome {
        Outcome::CallerHungUp => ("caller_hung_up", None),
        Outcome::CalleeHungUp => ("callee_hung_up", None),
        Outcome::MediaTimeout => ("media_timeout", None),
        Outcome::NoAck => ("no_ack", None),
        Outcome::TooLong => ("too_long", None),
        Outcome::MediaLost => ("media_lost", None),
        Outcome::Transferred => ("transferred", None),
        Outcome::Expired => ("expired", None),
        Outcome::OperatorHungUp => ("operator_hung_up", None),
        Outcome::OperatorCancelled => ("operator_cancelled", None),
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
