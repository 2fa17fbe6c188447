//! What the samples come to: does memory grow, does latency drift.

use std::fmt;

use crate::commands::process::median;

/// What was seen between two looks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    /// Since the start.
    pub(super) at_s: f64,
    pub(super) resident_kib: f64,
    pub(super) sessions: f64,
    pub(super) packets_per_s: f64,
    /// How busy the shard's thread was.
    pub(super) busy: f64,
    /// p50 and p99.
    pub(super) residence_us: [f64; 2],
}

impl Sample {
    pub(super) const HEADER: &'static str = "   time   memory       sessions   packets/s   shard   residence p50, p99";
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Sample { at_s, resident_kib, sessions, packets_per_s, busy, residence_us: [p50, p99] } = self;
        let busy = busy * 100.0;
        write!(
            f,
            "{at_s:>5.0} s   {resident_kib:>7.0} KiB   {sessions:>8.0}   {packets_per_s:>9.0}   {busy:>3.0} %   {p50:>6.0} µs, {p99:>6.0} µs"
        )
    }
}

/// What is still no fault.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Growth of memory, by a straight line through the samples, over the judged time.
    growth_kib: f64,
    growth_part: f64,
    /// p99 of the last third by that of the first: the machine's own noise on shared cores is in it, and a step of
    /// the histogram's bounds (1, 2, 5) says little.
    drift: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { growth_kib: 1024.0, growth_part: 0.02, drift: 2.5 }
    }
}

#[derive(Debug)]
pub(super) struct Verdict {
    growth_kib: f64,
    resident_kib: f64,
    drift: f64,
    /// Residence p99 while sessions came and went, by that before they did.
    disturbance: Option<f64>,
    limits: Limits,
    judged: usize,
}

impl Verdict {
    /// Judges all but the first quarter, and what was before sessions came and went.
    pub(super) fn of(samples: &[Sample], quiet_s: f64, limits: Limits) -> Verdict {
        let quiet: Vec<&Sample> = samples.iter().filter(|sample| sample.at_s <= quiet_s).collect();
        let busy = samples.get(quiet.len()..).unwrap_or_default();
        let judged = busy.get(busy.len() / 4..).unwrap_or_default();
        let p99 = |samples: &[Sample]| median(samples.iter().map(|sample| sample.residence_us[1]));
        let third = judged.len().div_ceil(3);
        let (first, last) = (&judged[..third], &judged[judged.len() - third..]);
        let before = median(quiet.iter().map(|sample| sample.residence_us[1]));
        Verdict {
            growth_kib: growth(judged),
            resident_kib: judged.last().map_or(0.0, |sample| sample.resident_kib),
            drift: p99(last) / p99(first).max(f64::MIN_POSITIVE),
            disturbance: (before > 0.0).then(|| p99(busy) / before),
            limits,
            judged: judged.len(),
        }
    }

    fn leaks(&self) -> bool {
        self.growth_kib > self.limits.growth_kib.max(self.resident_kib * self.limits.growth_part)
    }

    fn drifts(&self) -> bool {
        self.drift > self.limits.drift
    }

    pub(super) fn is_good(&self) -> bool {
        self.judged > 0 && !self.leaks() && !self.drifts()
    }

    pub(super) fn key_values(&self) -> String {
        let mut text = format!("growth_kib={:.0}\np99_drift={:.2}", self.growth_kib, self.drift);
        if let Some(disturbance) = self.disturbance {
            text += &format!("\np99_disturbance={disturbance:.2}");
        }
        text
    }
}

/// What a straight line through the samples rises by from the first to the last.
fn growth(samples: &[Sample]) -> f64 {
    let count = samples.len() as f64;
    let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return 0.0 };
    let mean_at = samples.iter().map(|sample| sample.at_s).sum::<f64>() / count;
    let mean = samples.iter().map(|sample| sample.resident_kib).sum::<f64>() / count;
    let covariance: f64 = samples.iter().map(|sample| (sample.at_s - mean_at) * (sample.resident_kib - mean)).sum();
    let variance: f64 = samples.iter().map(|sample| (sample.at_s - mean_at).powi(2)).sum();
    if variance > 0.0 { covariance / variance * (last.at_s - first.at_s) } else { 0.0 }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = |bad: bool, what: &str, good: &str| if bad { what.to_owned() } else { good.to_owned() };
        write!(
            f,
            "memory {:+.0} KiB over the last {} samples: {}; residence p99 {:.2} times that of their beginning: {}",
            self.growth_kib,
            self.judged,
            word(self.leaks(), "IT LEAKS", "no leak"),
            self.drift,
            word(self.drifts(), "IT DRIFTS", "no drift")
        )?;
        match self.disturbance {
            Some(disturbance) => {
                write!(f, "\nresidence p99 with sessions that come and go: {disturbance:.2} times that without")
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(resident_kib: impl Fn(f64) -> f64, p99: impl Fn(f64) -> f64) -> Vec<Sample> {
        let sample = |n: u32| {
            let at_s = f64::from(n) * 10.0;
            let residence_us = [5.0, p99(at_s)];
            Sample { at_s, resident_kib: resident_kib(at_s), residence_us, ..Sample::default() }
        };
        (1..=60).map(sample).collect()
    }

    fn verdict(samples: &[Sample]) -> Verdict {
        Verdict::of(samples, 0.0, Limits::default())
    }

    #[test]
    fn memory_that_settles_is_no_leak_and_memory_that_grows_is() {
        let settles = verdict(&samples(|at| 20_000.0 + 5_000.0 * (1.0 - (-at / 20.0).exp()), |_| 50.0));
        assert!(settles.is_good(), "{settles}");
        let leak = verdict(&samples(|at| 20_000.0 + 5.0 * at, |_| 50.0));
        assert!(leak.leaks() && !leak.is_good() && leak.to_string().contains("IT LEAKS"), "{leak}");
        assert!((leak.growth_kib - 2_200.0).abs() < 60.0, "450 s at 5 KiB: {leak}");
    }

    #[test]
    fn latency_that_goes_up_is_drift_and_noise_is_not() {
        let noise = verdict(&samples(|_| 20_000.0, |at| if (at as u64).is_multiple_of(70) { 900.0 } else { 50.0 }));
        assert!(noise.is_good(), "{noise}");
        let drift = verdict(&samples(|_| 20_000.0, |at| 20.0 + at * at));
        assert!(drift.drifts() && !drift.is_good(), "{drift}");
    }

    #[test]
    fn the_quiet_time_is_compared_and_not_judged() {
        let samples =
            samples(|at| if at < 95.0 { 1_000.0 } else { 20_000.0 }, |at| if at < 95.0 { 40.0 } else { 60.0 });
        let verdict = Verdict::of(&samples, 95.0, Limits::default());
        assert!(verdict.is_good(), "{verdict}");
        assert_eq!(verdict.disturbance, Some(1.5));
        assert!(!Verdict::of(&[], 0.0, Limits::default()).is_good(), "nothing was seen");
    }
}
