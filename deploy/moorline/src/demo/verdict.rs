//! What came of the demo, and whether it is good.

use std::fmt;

use moorline_bench::load::Report;
use moorline_bench::scrape::Metrics;
use moorline_bench::{Histogram, picture};

/// What is still there after the last call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct LeftOver {
    calls: f64,
    sessions: f64,
    ports: f64,
}

impl LeftOver {
    /// From both processes' metrics. A gauge that is not there counts as something left.
    pub(super) fn new(signaling: &Metrics, media: &Metrics) -> LeftOver {
        let in_use = [("state", "in_use")];
        LeftOver {
            calls: signaling.value("moorline_sip_calls_active", &[]).unwrap_or(f64::NAN),
            sessions: media.value("moorline_media_sessions", &[]).unwrap_or(f64::NAN),
            ports: media.value("moorline_media_ports", &in_use).unwrap_or(f64::NAN),
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        [self.calls, self.sessions, self.ports].iter().all(|count| *count == 0.0)
    }
}

/// The load's report beside what Moorline says of itself.
pub(super) struct Verdict {
    report: Report,
    datapath: String,
    relayed: f64,
    residence: Histogram,
    left: LeftOver,
}

impl Verdict {
    pub(super) fn new(report: Report, media: &Metrics, left: LeftOver) -> Verdict {
        let packets = "moorline_media_packets_total";
        let mut samples = media.samples().iter().filter(|sample| sample.name == packets && sample.value > 0.0);
        let datapath = samples.next().and_then(|sample| sample.labels.get("datapath").cloned());
        Verdict {
            report,
            datapath: datapath.unwrap_or_else(|| "no datapath".into()),
            relayed: media.value(packets, &[("kind", "rtp")]).unwrap_or_default(),
            residence: media
                .histogram("moorline_media_residence_seconds", &[])
                .map(|buckets| buckets.to_nanoseconds())
                .unwrap_or_default(),
            left,
        }
    }

    /// True if every call and packet went through as it should, and nothing is left.
    pub(super) fn is_good(&self) -> bool {
        self.report.is_clean() && self.left.is_nothing() && self.relayed >= self.report.packets_sent as f64
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = &self.report;
        writeln!(
            f,
            "calls    {} placed, {} answered, {} completed, {} SIP retransmissions",
            report.attempted, report.answered, report.completed, report.sip_retransmissions
        )?;
        for (reason, count) in &report.failed {
            writeln!(f, "         {count} failed: {reason}")?;
        }
        writeln!(
            f,
            "set-up   INVITE to 200 (200 ms of ringing included): p50 {} ms, p99 {} ms",
            millis(report.setup.value_at_quantile(0.5)),
            millis(report.setup.value_at_quantile(0.99))
        )?;
        writeln!(
            f,
            "audio    {} packets sent, {} received: {} lost, {} duplicated, {} reordered, {} corrupted, \
             {} of another call, {} from a wrong source",
            report.packets_sent,
            report.packets_received,
            report.lost,
            report.duplicated,
            report.reordered,
            report.corrupted,
            report.crossed,
            report.wrong_source
        )?;
        writeln!(
            f,
            "RTCP     {} packets sent, {} received, {} wrong",
            report.rtcp_sent, report.rtcp_received, report.rtcp_wrong
        )?;
        writeln!(
            f,
            "jitter   {:.0} µs on average, {:.0} µs in the worst stream",
            report.jitter_us, report.jitter_max_us
        )?;
        writeln!(f, "relay    {} RTP packets through {}", self.relayed, self.datapath)?;
        let LeftOver { calls, sessions, ports } = self.left;
        writeln!(f, "left     {calls} calls, {sessions} media sessions, {ports} ports in use")?;
        writeln!(f)?;
        let title = "residence, kernel receive timestamp to send (bucket bounds)";
        writeln!(f, "{}", picture::render(title, &self.residence))?;
        writeln!(f, "{}", picture::render("one way, from one party to the other", &report.one_way))?;
        writeln!(f, "{}", if self.is_good() { "all is well" } else { "NOT all is well" })
    }
}

fn millis(ns: u64) -> String {
    format!("{:.1}", ns as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> Metrics {
        Metrics::parse(text).expect("a page")
    }

    #[test]
    fn nothing_is_left_only_when_every_gauge_says_so() {
        let signaling = page("moorline_sip_calls_active 0\n");
        let ports = |in_use| {
            format!(
                "moorline_media_sessions{{shard=\"0\"}} 0\nmoorline_media_sessions{{shard=\"1\"}} 0\n\
                 moorline_media_ports{{shard=\"0\",state=\"in_use\"}} {in_use}\n\
                 moorline_media_ports{{shard=\"0\",state=\"resting\"}} 8\n"
            )
        };
        assert!(LeftOver::new(&signaling, &page(&ports(0))).is_nothing());
        assert!(!LeftOver::new(&signaling, &page(&ports(2))).is_nothing());
        assert!(!LeftOver::new(&page("other 0\n"), &page(&ports(0))).is_nothing(), "a missing gauge proves nothing");
    }
}
