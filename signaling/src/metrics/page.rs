//! The OpenMetrics text of a snapshot. Names are stable: dashboards depend on them.

use std::fmt;

use hdrhistogram::Histogram;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text::encode};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::Page;

mod edge;
mod limits;
mod records;
mod reloads;

/// Upper bounds in seconds of what a caller waits for: 10 µs to 30 s.
const WAIT_S: [f64; 21] = [
    10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 2e-3, 5e-3, 10e-3, 20e-3, 50e-3, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0, 20.0, 30.0,
];

/// Upper bounds in seconds of what Moorline adds: 10 µs to 1 s, the first of [`WAIT_S`].
const ADDED: usize = 16;
const _: () = assert!(WAIT_S[ADDED - 1] == 1.0);

/// The page.
pub(crate) fn text(page: Page) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(page));
    let mut text = String::with_capacity(24 * 1024);
    encode(&mut text, &registry)?;
    Ok(text)
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (counters, statistics) = (&self.sum.counters, &self.sum.statistics);
        for (name, help, value) in [
            ("messages", "SIP messages and keep-alives received", counters.messages),
            ("malformed", "Messages that were no SIP, or one that RFC 3261 says to drop", counters.malformed),
            ("bad_requests", "Requests answered 400", counters.bad_requests),
            ("unknown_source", "Requests dropped because their source belongs to no trunk", counters.unknown_source),
            ("attempts", "Call attempts", counters.attempts),
            ("calls", "Call attempts admitted", counters.calls),
            ("answered", "Calls answered", counters.answered),
            ("announced", "Calls refused, and told so by an announcement", counters.announced),
            ("unannounced", "Calls refused without the announcement that was meant for them", counters.unannounced),
            ("restored", "Calls taken back from the media process after a restart", counters.restored),
            ("not_restored", "Sessions closed because no call could be made of them", statistics.not_restored),
            ("challenges", "Requests answered with a challenge for credentials", counters.challenges),
            ("failovers", "Calls that went on to another trunk of their route", counters.failovers),
            ("wrong_credentials", "Requests refused because their credentials were wrong", counters.wrong_credentials),
            (
                "credentials_refused",
                "Requests whose credentials a trunk did not take from us",
                counters.credentials_refused,
            ),
            ("without_prefix", "Requests without the secret prefix of their trunk", counters.without_prefix),
            ("retransmissions", "SIP messages sent again for want of an answer", counters.retransmissions),
            ("unsent", "SIP datagrams that the kernel did not take", self.sum.unsent),
            ("media_connections", "Control connections made to the media process", statistics.media_connections),
            (
                "media_overflows",
                "Requests to the media process that found too many waiting, to be asked again or refused",
                statistics.media_overflows,
            ),
        ] {
            let name = format!("moorline_sip_{name}");
            encoder
                .encode_descriptor(&name, help, None, MetricType::Counter)?
                .encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        for (name, help, value) in [
            ("calls_active", "Calls in progress", counters.calls_active),
            ("calls_kept", "Calls in memory, those that have ended included", counters.calls_kept),
            ("subscriptions_active", "Subscriptions outside calls", counters.subscriptions_active),
            ("bindings", "Contacts of registered endpoints", counters.bindings),
            ("transactions_active", "SIP transactions alive", counters.transactions_active),
            ("targets_resting", "Hops of targets that refused with 503 or did not answer", counters.targets_resting),
            (
                "media_connected",
                "1 while the control connection to the media process stands",
                u64::from(self.sum.media_connected),
            ),
            ("calls_peak", "The most calls in progress at once since the start", self.calls.peak() as u64),
            (
                "busy_hour_attempts",
                "The most call attempts in any hour of the last day, in steps of a minute",
                statistics.traffic.busy_hour_attempts(self.now_ns),
            ),
            ("workers", "Threads that carry calls", self.workers as u64),
        ] {
            let name = format!("moorline_sip_{name}");
            encoder.encode_descriptor(&name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
        }

        let ratio = statistics.traffic.answer_seizure_ratio(self.now_ns).unwrap_or(f64::NAN);
        let help = "Answered call attempts of those of the last five minutes; no number without an attempt";
        encoder
            .encode_descriptor("moorline_sip_answer_seizure_ratio", help, None, MetricType::Gauge)?
            .encode_gauge(&ratio)?;
        let help = "Lines of the log that were lost, because whoever reads it did not take them";
        encoder
            .encode_descriptor("moorline_log_lost_lines", help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&self.lost_lines, None)?;
        edge::encode(self, &mut encoder)?;
        self.records.as_ref().map_or(Ok(()), |counts| records::encode(counts, &mut encoder))?;
        limits::encode(self, &mut encoder)?;
        reloads::encode(&self.reloads, &mut encoder)?;
        let name = "moorline_sip_registered";
        let help = "1 while Moorline is registered with the trunk";
        let mut registered = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (trunk, is_registered) in &statistics.registered {
            let labels = [("trunk", trunk.as_str())];
            registered.encode_family(&labels)?.encode_gauge(&u64::from(*is_registered))?;
        }

        let name = "moorline_sip_media_range_missing";
        let help = "1 for a trunk whose media range the media process does not have: its calls are refused";
        let mut missing = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (trunk, range) in &statistics.unserved {
            let labels = [("trunk", trunk.as_str()), ("range", range.as_str())];
            missing.encode_family(&labels)?.encode_gauge(&1_u64)?;
        }

        let name = "moorline_sip_outcomes";
        let help = "Call attempts that are over, by outcome and by the status that refused them";
        let mut outcomes = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for ((outcome, status), count) in &statistics.outcomes {
            let status = status.map(|status| status.to_string()).unwrap_or_default();
            let labels = [("outcome", *outcome), ("status", status.as_str())];
            outcomes.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
        }

        let name = "moorline_sip_invite_to_provisional";
        let help = "From a caller's INVITE to the first answer above 100 sent to it";
        let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        let (sum, count, buckets) = buckets(&statistics.first_provisional, &WAIT_S);
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;

        let name = "moorline_sip_invite_to_answer";
        let help = "From a caller's INVITE to the 200 sent to it";
        let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        let (sum, count, buckets) = self::buckets(&statistics.answer, &WAIT_S);
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;

        let name = "moorline_sip_added";
        let help = "What Moorline adds between receiving a message and sending it on, the media process included";
        let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (step, histogram) in [("invite", &statistics.invite_added), ("answer", &statistics.answer_added)] {
            let (sum, count, buckets) = self::buckets(histogram, &WAIT_S[..ADDED]);
            metric.encode_family(&[("step", step)])?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }

        let name = "moorline_sip_forward";
        let help = "From when the kernel received a message until it took the form that was sent on";
        let mut metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (message, histogram) in ["invite", "answer", "other"].iter().zip(&statistics.forward) {
            let (sum, count, buckets) = self::buckets(histogram, &WAIT_S[..ADDED]);
            metric
                .encode_family(&[("message", *message)])?
                .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
        Ok(())
    }
}

/// The sum in seconds, the count, and the count of each bucket (not cumulated), the last one unbounded.
fn buckets(histogram: &Histogram<u64>, bounds_s: &[f64]) -> (f64, u64, Vec<(f64, u64)>) {
    let mut buckets: Vec<(f64, u64)> = bounds_s.iter().map(|bound| (*bound, 0)).collect();
    buckets.push((f64::INFINITY, 0));
    let mut sum = 0.0;
    for recorded in histogram.iter_recorded() {
        let seconds = recorded.value_iterated_to() as f64 / 1e9;
        let count = recorded.count_since_last_iteration();
        sum += seconds * count as f64;
        // A histogram value stands for a range 0.1 % wide: one that ends just above a bound belongs below.
        let at = bounds_s.partition_point(|bound| bound * 1.001 < seconds);
        buckets[at].1 += count;
    }
    (sum, histogram.len(), buckets)
}
