//! The account of a load that is kept: a document of a stable schema, and what is made of it, a page and a table.
//!
//! The JSON has one object. Within schema `moorline-load/1`, members are added and never change their meaning; times
//! end in `_us` (microseconds) or `_s`, shares are between 0 and 1, and what does not apply is `null` or empty.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Histogram;
use crate::load::{Plan, Report, Sample};

mod html;
mod judge;
mod plot;
mod terminal;

pub use judge::{Thresholds, advice, faults};

/// The schema of [`Account`].
pub const SCHEMA: &str = "moorline-load/1";

/// Everything about one run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// [`SCHEMA`].
    pub schema: String,
    /// What made the load, with its version.
    pub generator: String,
    /// When the load began, in seconds since 1970 (UTC).
    pub started_unix_s: u64,
    /// Somebody stopped it before its end.
    pub interrupted: bool,
    /// What was asked for.
    pub plan: PlanFigures,
    /// What it comes to.
    pub verdict: Verdict,
    /// What became of the calls.
    pub calls: CallFigures,
    /// How long signaling took.
    pub times: Times,
    /// What became of the media; `null` without media.
    pub media: Option<MediaFigures>,
    /// How it went over time.
    pub series: Vec<Point>,
    /// The steps of a ramp; empty without one.
    pub ramp: Vec<Step>,
    /// The rate of the highest step of a ramp before the first that was not clean, in calls per second.
    pub highest_clean_rate: Option<f64>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlanFigures {
    /// Where INVITEs went.
    pub target: String,
    /// `UDP` or `TCP`.
    pub transport: String,
    /// The caller's SIP address, without a port if the kernel chose it.
    pub caller: String,
    /// The callee's; `null` where somebody else answered.
    pub callee: Option<String>,
    /// Calls.
    pub calls: u32,
    /// Calls per second; a ramp's last step.
    pub rate_per_s: f64,
    /// The most calls at once; `null` without a limit.
    pub concurrent: Option<u32>,
    /// How long the callee rang.
    pub ring_s: f64,
    /// How long each call talked.
    pub talk_s: f64,
    /// The audio's codec.
    pub codec: String,
    /// The time between packets.
    pub packet_ms: u32,
}

/// What it comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// Within the thresholds, and nothing arrived that should not have.
    pub passed: bool,
    /// What was not.
    pub reasons: Vec<String>,
    /// What to look at.
    pub advice: Vec<String>,
}

/// What became of the calls.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CallFigures {
    /// Calls of which an INVITE was sent.
    pub attempted: u32,
    /// Calls that reached the callee.
    pub reached: u32,
    /// Calls that were answered.
    pub answered: u32,
    /// Calls that went through and ended as planned.
    pub completed: u32,
    /// Calls that failed.
    pub failed: u32,
    /// Calls that were taken back when the load was stopped.
    pub cancelled: u32,
    /// Calls that were challenged for credentials.
    pub challenged: u32,
    /// Calls that waited because too many were up.
    pub waited: u32,
    /// The most that talked at once.
    pub most_active: u32,
    /// Calls per second, from the first INVITE to the last.
    pub rate_per_s: f64,
    /// Messages sent or received again.
    pub retransmissions: u64,
    /// Why calls failed, the most frequent first.
    pub failures: Vec<FailureFigures>,
}

/// Calls that failed for one reason.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FailureFigures {
    /// The final answer's status; `null` if it was something else.
    pub status: Option<u16>,
    /// The reason phrase, or what was wrong.
    pub reason: String,
    /// How many.
    pub calls: u32,
}

/// How long signaling took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// INVITE to 18x or 200 at the caller (RFC 6076 section 4.3.1).
    pub post_dial: Distribution,
    /// INVITE to 200 at the caller, ringing included.
    pub setup: Distribution,
    /// INVITE from caller to callee.
    pub invite_transit: Distribution,
    /// 200 from callee to caller.
    pub answer_transit: Distribution,
    /// BYE to its 200.
    pub release: Distribution,
}

/// What became of the media.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as at load::Report")]
pub struct MediaFigures {
    /// What came back is what was sent; otherwise only counted.
    pub verified: bool,
    pub packets_sent: u64,
    pub packets_received: u64,
    pub lost: u64,
    /// The share of the packets sent.
    pub loss: f64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    pub crossed: u64,
    pub wrong_source: u64,
    pub send_errors: u64,
    pub foreign: u64,
    pub rtcp_sent: u64,
    pub rtcp_received: u64,
    pub rtcp_wrong: u64,
    pub jitter_us: f64,
    pub jitter_max_us: f64,
    /// From one side to the other; there and back where the far end echoes.
    pub one_way: Distribution,
}

/// Many values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Distribution {
    pub count: u64,
    pub min_us: f64,
    pub mean_us: f64,
    pub p50_us: f64,
    pub p90_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    pub max_us: f64,
    /// Counts between bounds that are equally far apart, or grow by one factor, up to p99; the last one holds all
    /// above.
    pub buckets: Vec<Bucket>,
    /// The value below which a share of all is.
    pub curve: Vec<Quantile>,
}

/// Values above the bound of the bucket before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Bucket {
    /// The highest value that belongs here.
    pub up_to_us: f64,
    /// How many.
    pub count: u64,
}

/// A point of a percentile curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantile {
    /// The share of all values.
    pub share: f64,
    /// None of these is above.
    pub us: f64,
}

/// One interval of the series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as at load::Sample")]
pub struct Point {
    /// The interval's end.
    pub at_s: f64,
    pub span_s: f64,
    pub attempted: u32,
    pub answered: u32,
    pub completed: u32,
    pub failed: u32,
    pub active: u32,
    pub packets_sent: u64,
    pub packets_received: u64,
    pub lost: u64,
    pub setup_p50_us: f64,
    pub setup_p99_us: f64,
    pub one_way_p50_us: f64,
    pub one_way_p99_us: f64,
    pub one_way_max_us: f64,
}

/// One step of a ramp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Calls per second, as asked for.
    pub rate_per_s: f64,
    /// As reached.
    pub reached_per_s: f64,
    /// Calls placed.
    pub attempted: u32,
    /// Calls that failed.
    pub failed: u32,
    /// The share of the packets that were lost.
    pub loss: f64,
    /// INVITE to 200.
    pub setup_p99_us: f64,
    /// One way.
    pub one_way_p99_us: f64,
    /// Within the thresholds.
    pub clean: bool,
    /// What was not.
    pub reasons: Vec<String>,
}

impl Account {
    /// Of a run of `plan`, judged by `thresholds`; of a ramp, `steps` are judged, and `report` is all of them.
    pub fn new(plan: &Plan, report: &Report, thresholds: &Thresholds, steps: Vec<Step>, interrupted: bool) -> Account {
        let highest = steps.iter().take_while(|step| step.clean).last().map(|step| step.rate_per_s);
        let reasons = if steps.is_empty() {
            faults(report, thresholds)
        } else if highest.is_none() {
            steps.iter().take(1).flat_map(|step| step.reasons.clone()).collect()
        } else {
            Vec::new()
        };
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Account {
            schema: SCHEMA.into(),
            generator: concat!("moorline ", env!("CARGO_PKG_VERSION")).into(),
            started_unix_s: started.as_secs().saturating_sub(report.lasted().as_secs()),
            interrupted,
            plan: PlanFigures {
                target: plan.sbc.to_string(),
                transport: plan.transport.to_string(),
                // The kernel's choice of a port tells nobody anything.
                caller: if plan.caller.port() == 0 { plan.caller.ip().to_string() } else { plan.caller.to_string() },
                callee: (!plan.uac_only).then(|| plan.callee.to_string()),
                calls: plan.calls,
                rate_per_s: plan.rate_per_s,
                concurrent: (plan.concurrent < u32::MAX).then_some(plan.concurrent),
                ring_s: plan.ring.as_secs_f64(),
                talk_s: plan.talk.as_secs_f64(),
                codec: plan.codec.name().into(),
                packet_ms: plan.packet_ms,
            },
            verdict: Verdict { passed: reasons.is_empty(), reasons, advice: advice(plan, report) },
            calls: CallFigures::of(report),
            times: Times {
                post_dial: Distribution::of(&report.post_dial),
                setup: Distribution::of(&report.setup),
                invite_transit: Distribution::of(&report.invite_transit),
                answer_transit: Distribution::of(&report.answer_transit),
                release: Distribution::of(&report.release),
            },
            media: report.has_media.then(|| MediaFigures::of(report)),
            series: report.series.iter().map(Point::of).collect(),
            ramp: steps,
            highest_clean_rate: highest,
        }
    }

    /// The document, for people and programs.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// Reads what [`Account::to_json`] wrote, also by a later version of the same schema.
    pub fn from_json(text: &str) -> Result<Account, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// One page that needs nothing else.
    pub fn to_html(&self) -> String {
        html::page(self)
    }

    /// For the terminal.
    pub fn to_text(&self) -> String {
        terminal::table(self)
    }
}

impl CallFigures {
    fn of(report: &Report) -> CallFigures {
        let mut failures: Vec<FailureFigures> = report
            .failed
            .iter()
            .map(|(failure, calls)| FailureFigures {
                status: failure.status,
                reason: failure.reason.clone(),
                calls: *calls,
            })
            .collect();
        failures.sort_by_key(|failure| std::cmp::Reverse(failure.calls));
        CallFigures {
            attempted: report.attempted,
            reached: report.reached,
            answered: report.answered,
            completed: report.completed,
            failed: report.failures(),
            cancelled: report.cancelled,
            challenged: report.challenged,
            waited: report.waited,
            most_active: report.most_active,
            rate_per_s: report.rate_per_s(),
            retransmissions: report.sip_retransmissions,
            failures,
        }
    }
}

impl MediaFigures {
    fn of(report: &Report) -> MediaFigures {
        MediaFigures {
            verified: report.is_verified,
            packets_sent: report.packets_sent,
            packets_received: report.packets_received,
            lost: report.lost,
            loss: report.loss(),
            duplicated: report.duplicated,
            reordered: report.reordered,
            corrupted: report.corrupted,
            crossed: report.crossed,
            wrong_source: report.wrong_source,
            send_errors: report.send_errors,
            foreign: report.foreign,
            rtcp_sent: report.rtcp_sent,
            rtcp_received: report.rtcp_received,
            rtcp_wrong: report.rtcp_wrong,
            jitter_us: report.jitter_us,
            jitter_max_us: report.jitter_max_us,
            one_way: Distribution::of(&report.one_way),
        }
    }
}

/// The points of a percentile curve.
const SHARES: [f64; 13] = [0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1.0];

impl Distribution {
    /// Of a histogram of nanoseconds.
    pub fn of(histogram: &Histogram) -> Distribution {
        if histogram.is_empty() {
            return Distribution::default();
        }
        let at = |share: f64| micros(histogram.value_at_quantile(share));
        Distribution {
            count: histogram.len(),
            min_us: micros(histogram.min()),
            mean_us: (histogram.mean() / 10.0).round() / 100.0,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: micros(histogram.max()),
            buckets: buckets(histogram),
            curve: SHARES.iter().map(|share| Quantile { share: *share, us: at(*share) }).collect(),
        }
    }
}

/// As many bars as a plot shows well.
const BUCKETS: u32 = 28;

fn buckets(histogram: &Histogram) -> Vec<Bucket> {
    let bounds = bounds(histogram.min().max(1), histogram.value_at_quantile(0.99));
    let mut buckets: Vec<Bucket> = bounds.iter().map(|bound| Bucket { up_to_us: micros(*bound), count: 0 }).collect();
    buckets.push(Bucket { up_to_us: micros(histogram.max()), count: 0 });
    for value in histogram.iter_recorded() {
        // A value recorded on a bound belongs below it, though its slot of the histogram reaches beyond.
        let lowest = histogram.lowest_equivalent(value.value_iterated_to());
        let index = bounds.partition_point(|bound| *bound < lowest);
        if let Some(bucket) = buckets.get_mut(index) {
            bucket.count += value.count_at_value();
        }
    }
    while buckets.pop_if(|bucket| bucket.count == 0).is_some() {}
    buckets
}

/// Equally far apart, or growing by one factor where the values span more than a decade.
fn bounds(from: u64, to: u64) -> Vec<u64> {
    let (first, span) = (from as f64, to as f64 / from as f64);
    let at = |index: u32| {
        let share = f64::from(index) / f64::from(BUCKETS);
        let bound =
            if span > 10.0 { first * span.powf(share) } else { first + share * (to.saturating_sub(from)) as f64 };
        bound.ceil() as u64
    };
    let mut bounds: Vec<u64> = (1..=BUCKETS).map(at).collect();
    bounds.dedup();
    bounds
}

impl Point {
    fn of(sample: &Sample) -> Point {
        let seconds = |duration: Duration| (duration.as_secs_f64() * 1e3).round() / 1e3;
        Point {
            at_s: seconds(sample.at),
            span_s: seconds(sample.span),
            attempted: sample.attempted,
            answered: sample.answered,
            completed: sample.completed,
            failed: sample.failed,
            active: sample.active,
            packets_sent: sample.packets_sent,
            packets_received: sample.packets_received,
            lost: sample.lost,
            setup_p50_us: micros(sample.setup.p50),
            setup_p99_us: micros(sample.setup.p99),
            one_way_p50_us: micros(sample.one_way.p50),
            one_way_p99_us: micros(sample.one_way.p99),
            one_way_max_us: micros(sample.one_way.max),
        }
    }
}

impl Step {
    /// One step's report.
    pub fn of(rate_per_s: f64, report: &Report, thresholds: &Thresholds) -> Step {
        let reasons = judge::step_faults(rate_per_s, report, thresholds);
        let p99 =
            |histogram: &Histogram| if histogram.is_empty() { 0.0 } else { micros(histogram.value_at_quantile(0.99)) };
        Step {
            rate_per_s,
            reached_per_s: report.rate_per_s(),
            attempted: report.attempted,
            failed: report.failures(),
            loss: report.loss(),
            setup_p99_us: p99(&report.setup),
            one_way_p99_us: p99(&report.one_way),
            clean: reasons.is_empty(),
            reasons,
        }
    }
}

/// To a hundredth.
fn micros(ns: u64) -> f64 {
    (ns as f64 / 10.0).round() / 100.0
}

#[cfg(test)]
pub(crate) mod tests;
