//! One measurement, and what comes of several.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use moorline_bench::media::{Endpoint, MediaPlan, run};
use moorline_bench::scrape::Metrics;

use super::media::Media;
use crate::commands::process::{median, pin};

/// What the relay is given to do.
pub(super) struct Load {
    pub(super) calls: u32,
    pub(super) duration: Duration,
    pub(super) core: usize,
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    /// Packets that the relay says it relayed on the datapath that was asked for.
    pub(super) relayed: u64,
    shard_ns: f64,
    process_ns: f64,
    /// How busy the shard's thread was.
    busy: f64,
    residence_us: [f64; 2],
    one_way_us: [f64; 2],
    sent: u64,
    lost: u64,
    /// Packets per return of the shard from its sleep.
    batch: f64,
}

const QUANTILES: [f64; 2] = [0.5, 0.99];

/// Puts the load on, on a core of its own, and reads the relay's clocks and counters before and after.
pub(super) fn measure(media: &Media, load: &Load) -> Result<Figures, Box<dyn std::error::Error>> {
    pin(load.core)?;
    let side = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (a, b) = (Endpoint::bind(side, false)?, Endpoint::bind(side, false)?);
    let sessions = media.open(load.calls, a.address(), b.address())?;
    let plan = MediaPlan {
        pairs: sessions.pairs.clone(),
        a: vec![a],
        b: vec![b],
        duration: load.duration,
        packet_ms: 20,
        rtcp: false,
        seed: 1,
    };
    let (before, cpu_before) = (media.metrics()?, media.cpu_ns()?);
    let report = run(plan, &mut |_, _| {})?;
    let (cpu_after, after) = (media.cpu_ns()?, media.metrics()?);
    drop(sessions);

    let labels = [("datapath", media.datapath.as_str()), ("kind", "rtp")];
    let count = |metrics: &Metrics| metrics.value("moorline_media_packets_total", &labels).unwrap_or_default();
    let wakeups = |metrics: &Metrics| metrics.value("moorline_media_wakeups_total", &[]).unwrap_or_default();
    let relayed = count(&after) - count(&before);
    let residence = |metrics: &Metrics| metrics.histogram("moorline_media_residence_seconds", &[]).unwrap_or_default();
    let residence = residence(&after).since(&residence(&before));
    let shard_ns = (cpu_after.0 - cpu_before.0) as f64;
    Ok(Figures {
        relayed: relayed as u64,
        shard_ns: shard_ns / relayed.max(1.0),
        process_ns: (cpu_after.1 - cpu_before.1) as f64 / relayed.max(1.0),
        busy: shard_ns / load.duration.as_nanos() as f64,
        residence_us: QUANTILES.map(|quantile| residence.quantile(quantile).unwrap_or_default() * 1e6),
        one_way_us: QUANTILES.map(|quantile| report.one_way.value_at_quantile(quantile) as f64 / 1e3),
        sent: report.packets_sent,
        lost: report.lost,
        batch: relayed / (wakeups(&after) - wakeups(&before)).max(1.0),
    })
}

impl Figures {
    pub(super) const HEADER: &'static str = concat!(
        "datapath   CPU per packet (process)   core busy   batch   ",
        "residence p50, p99   one-way p50, p99     lost"
    );

    /// The median of each figure by itself; what was lost is a sum.
    pub(super) fn median(rounds: &[Figures]) -> Figures {
        let median = |figure: &dyn Fn(&Figures) -> f64| median(rounds.iter().map(figure));
        Figures {
            relayed: median(&|figures| figures.relayed as f64) as u64,
            shard_ns: median(&|figures| figures.shard_ns),
            process_ns: median(&|figures| figures.process_ns),
            busy: median(&|figures| figures.busy),
            residence_us: [0, 1].map(|index| median(&|figures| figures.residence_us[index])),
            one_way_us: [0, 1].map(|index| median(&|figures| figures.one_way_us[index])),
            sent: rounds.iter().map(|figures| figures.sent).sum(),
            lost: rounds.iter().map(|figures| figures.lost).sum(),
            batch: median(&|figures| figures.batch),
        }
    }

    pub(super) fn row(&self, datapath: &str) -> String {
        let Figures { shard_ns, process_ns, busy, batch, residence_us, one_way_us, sent, lost, .. } = self;
        format!(
            "{datapath:<9}  {:>7.2} µs ({:.2} µs)       {:>5.1} %   {batch:>5.1}   {:>4.0} µs, {:>5.0} µs   {:>6.0} µs, {:>6.0} \
             µs   {lost} of {sent}",
            shard_ns / 1e3,
            process_ns / 1e3,
            busy * 100.0,
            residence_us[0],
            residence_us[1],
            one_way_us[0],
            one_way_us[1],
        )
    }

    pub(super) fn key_values(&self, datapath: &str) -> String {
        let [residence_p50, residence_p99] = self.residence_us;
        let [one_way_p50, one_way_p99] = self.one_way_us;
        [
            ("cpu_per_packet_ns", self.shard_ns),
            ("process_cpu_per_packet_ns", self.process_ns),
            ("busy_percent", self.busy * 100.0),
            ("residence_p50_us", residence_p50),
            ("residence_p99_us", residence_p99),
            ("one_way_p50_us", one_way_p50),
            ("one_way_p99_us", one_way_p99),
            ("sent", self.sent as f64),
            ("lost", self.lost as f64),
        ]
        .map(|(key, value)| format!("{datapath}_{key}={value:.0}"))
        .join("\n")
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.2} µs CPU per packet, residence p99 {:.0} µs, one-way p50 {:.0} µs, p99 {:.0} µs, {} of {} lost",
            self.shard_ns / 1e3,
            self.residence_us[1],
            self.one_way_us[0],
            self.one_way_us[1],
            self.lost,
            self.sent
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_of_each_figure() {
        let rounds = [(3.0, 1), (1.0, 0), (2.0, 4)].map(|(shard_ns, lost)| Figures {
            shard_ns,
            lost,
            sent: 10,
            residence_us: [5.0, shard_ns],
            ..Figures::default()
        });
        let median = Figures::median(&rounds);
        assert_eq!((median.shard_ns, median.residence_us, median.lost, median.sent), (2.0, [5.0, 2.0], 5, 30));
        assert!(median.key_values("epoll").contains("epoll_cpu_per_packet_ns=2\n"));
    }
}
