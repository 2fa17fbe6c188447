//! One measurement: traffic through a relay that runs, and what it cost.

use std::fmt;
use std::time::{Duration, Instant};

use moorline_bench::media::{MediaPlan, MediaReport, Pace, run};

use super::cpu::Cpu;
use super::system::{Counters, Setup, System};
use crate::commands::process::{Error, median, pin};

/// What the relay is given to do: two-way calls, 160 bytes of speech in each packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Traffic {
    pub(super) calls: u32,
    /// The time between packets of a stream.
    pub(super) interval_ms: u32,
    /// What is measured, after a second that is not.
    pub(super) seconds: u64,
}

/// The time between packets of a telephone's stream.
const PACKET_MS: u32 = 20;

impl Traffic {
    /// As many calls as make that many packets a second, each with a packet every 20 ms both ways.
    pub(super) fn at(rate: u32, seconds: u64) -> Traffic {
        Traffic { calls: (rate * PACKET_MS).div_ceil(2000).max(1), interval_ms: PACKET_MS, seconds }
    }

    /// Packets a second.
    pub(super) fn rate(self) -> u32 {
        self.calls * 2000 / self.interval_ms
    }
}

/// What was measured.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    /// CPU per packet: one receive and one send.
    pub(super) packet_ns: f64,
    /// Of that, the relay's own process.
    pub(super) process_ns: f64,
    /// How busy the relay is of one core.
    pub(super) busy: f64,
    /// Packets that came back verified, a second.
    pub(super) rate: f64,
    pub(super) one_way_us: [f64; 3],
    pub(super) sent: u64,
    /// What the relay did not relay.
    pub(super) lost: u64,
    /// What it relayed and the load's end of the link had no room for.
    pub(super) spilled: u64,
    /// Changed, crossed, from a wrong source, twice, or late.
    pub(super) wrong: u64,
    /// Part of the traffic that the load did not get to in time, and left out.
    pub(super) skipped: f64,
    /// What else the machine did, and what the host below took from it, in cores.
    pub(super) others: f64,
    pub(super) stolen: f64,
    /// Packets per return of the shard from its sleep, and residence p50 and p99: Moorline's own.
    pub(super) batch: Option<f64>,
    pub(super) residence_us: Option<[f64; 2]>,
}

const WARM_UP: Duration = Duration::from_secs(1);
const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// Puts the traffic on from a core of its own.
pub(super) fn measure(system: &mut dyn System, setup: &Setup, traffic: Traffic) -> Result<Figures, Error> {
    let pairs = system.open(setup, traffic.calls as usize)?;
    let [a, b] = setup.lab.endpoints()?;
    let counters_before = system.counters(setup)?;
    pin(setup.load_core)?;
    let duration = WARM_UP + Duration::from_secs(traffic.seconds) + Duration::from_millis(200);
    let pace = Pace { interval: Duration::from_millis(traffic.interval_ms.into()), tick: setup.tick };
    let plan = MediaPlan {
        pairs,
        a: vec![a],
        b: vec![b],
        duration,
        warm_up: WARM_UP,
        packet_ms: PACKET_MS,
        pace: Some(pace),
        rtcp: false,
        seed: 1,
    };

    let start = Instant::now();
    let mut window = Vec::new();
    let mut failure = None;
    let report = run(plan, &mut |_, received| {
        let due = [WARM_UP, WARM_UP + Duration::from_secs(traffic.seconds)];
        if due.get(window.len()).is_some_and(|due| start.elapsed() >= *due) {
            match Reading::take(setup, system, received) {
                Ok(reading) => window.push(reading),
                Err(error) => failure = Some(error),
            }
        }
    })?;
    let [first, last] = &window[..] else {
        return Err(failure.unwrap_or_else(|| "the load was too late to measure anything".into()));
    };
    let counters = counters_before.zip(system.counters(setup)?);
    let spilled = setup.lab.spilled()?.saturating_sub(first.spilled);
    Ok(Figures::of(&traffic, setup.tick, &report, [first, last], spilled, counters.as_ref()))
}

/// What is read when the load has warmed up, and at its end.
struct Reading {
    at: Instant,
    cpu: Cpu,
    received: u64,
    spilled: u64,
}

impl Reading {
    fn take(setup: &Setup, system: &dyn System, received: u64) -> Result<Reading, Error> {
        let cpu = Cpu::read(&setup.lab, system.process())?;
        Ok(Reading { at: Instant::now(), cpu, received, spilled: setup.lab.spilled()? })
    }
}

impl Figures {
    fn of(
        traffic: &Traffic,
        tick: Duration,
        report: &MediaReport,
        [first, last]: [&Reading; 2],
        spilled: u64,
        counters: Option<&(Counters, Counters)>,
    ) -> Figures {
        let (time, cpu) = (last.at - first.at, last.cpu.since(first.cpu));
        let packets = last.received.saturating_sub(first.received);
        let of_core = |ns: u64| ns as f64 / time.as_nanos() as f64;
        let per_packet = |ns: u64| ns as f64 / packets.max(1) as f64;
        let bursts = (WARM_UP.as_secs() + traffic.seconds) as f64 / tick.as_secs_f64();
        Figures {
            packet_ns: per_packet(cpu.process_ns + cpu.kernel_ns),
            process_ns: per_packet(cpu.process_ns),
            busy: of_core(cpu.process_ns + cpu.kernel_ns),
            rate: packets as f64 / time.as_secs_f64(),
            one_way_us: QUANTILES.map(|quantile| report.one_way.value_at_quantile(quantile) as f64 / 1e3),
            sent: report.packets_sent,
            // Packets of the warm-up may be among the spilled.
            lost: report.lost.saturating_sub(spilled),
            spilled,
            wrong: report.corrupted + report.crossed + report.wrong_source + report.duplicated + report.reordered,
            skipped: report.bursts_skipped as f64 / bursts,
            others: of_core(cpu.others_ns()),
            stolen: of_core(cpu.stolen_ns),
            batch: counters.map(|(before, after)| {
                let since =
                    |name| after.value(name, &[]).unwrap_or_default() - before.value(name, &[]).unwrap_or_default();
                since("moorline_media_packets_total") / since("moorline_media_wakeups_total").max(1.0)
            }),
            residence_us: counters.and_then(|(before, after)| {
                let residence = |metrics: &Counters| metrics.histogram("moorline_media_residence_seconds", &[]);
                let since = residence(after)?.since(&residence(before)?);
                Some([0.5, 0.99].map(|quantile| since.quantile(quantile).unwrap_or_default() * 1e6))
            }),
        }
    }

    /// Of the packets sent, the part that was not relayed.
    pub(super) fn loss(&self) -> f64 {
        self.lost as f64 / self.sent.max(1) as f64
    }

    /// The median of each figure by itself; packets are sums.
    pub(super) fn median(rounds: &[Figures]) -> Figures {
        let median = |figure: &dyn Fn(&Figures) -> f64| median(rounds.iter().map(figure));
        let sum = |count: fn(&Figures) -> u64| rounds.iter().map(count).sum();
        let is_told = |figure: fn(&Figures) -> bool| rounds.iter().all(figure);
        Figures {
            packet_ns: median(&|round| round.packet_ns),
            process_ns: median(&|round| round.process_ns),
            busy: median(&|round| round.busy),
            rate: median(&|round| round.rate),
            one_way_us: [0, 1, 2].map(|index| median(&|round| round.one_way_us[index])),
            sent: sum(|round| round.sent),
            lost: sum(|round| round.lost),
            spilled: sum(|round| round.spilled),
            wrong: sum(|round| round.wrong),
            skipped: median(&|round| round.skipped),
            others: median(&|round| round.others),
            stolen: median(&|round| round.stolen),
            batch: is_told(|round| round.batch.is_some()).then(|| median(&|round| round.batch.unwrap_or_default())),
            residence_us: is_told(|round| round.residence_us.is_some())
                .then(|| [0, 1].map(|index| median(&|round| round.residence_us.unwrap_or_default()[index]))),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99, p999] = self.one_way_us;
        write!(
            f,
            "{:.2} µs CPU per packet ({:.2} process, {:.2} kernel threads), {:.0} % of a core; {:.0} packets/s, \
             one way p50 {p50:.0}, p99 {p99:.0}, p99.9 {p999:.0} µs; lost {} of {}",
            self.packet_ns / 1e3,
            self.process_ns / 1e3,
            (self.packet_ns - self.process_ns) / 1e3,
            self.busy * 100.0,
            self.rate,
            self.lost,
            self.sent,
        )?;
        if self.spilled > 0 {
            write!(f, " and {} at the load's end", self.spilled)?;
        }
        if self.wrong > 0 {
            write!(f, ", WRONG {}", self.wrong)?;
        }
        if let (Some(batch), Some([p50, p99])) = (self.batch, self.residence_us) {
            write!(f, "; batch {batch:.1}, residence p50 {p50:.0}, p99 {p99:.0} µs")?;
        }
        let noise = [("skipped", self.skipped), ("others", self.others), ("stolen", self.stolen)];
        for (name, part) in noise.into_iter().filter(|(_, part)| *part > 0.005) {
            write!(f, ", {name} {:.1} %", part * 100.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_taken_of_each_figure() {
        let rounds = [(3.0, 1), (1.0, 0), (2.0, 4)].map(|(packet_ns, lost)| Figures {
            packet_ns,
            lost,
            sent: 10,
            one_way_us: [5.0, packet_ns, 9.0],
            batch: Some(packet_ns * 2.0),
            ..Figures::default()
        });
        let median = Figures::median(&rounds);
        assert_eq!((median.packet_ns, median.one_way_us), (2.0, [5.0, 2.0, 9.0]));
        assert_eq!((median.lost, median.sent, median.batch), (5, 30, Some(4.0)));
        assert!((median.loss() - 1.0 / 6.0).abs() < 1e-9);
    }
}
