//! How a load goes over time.

use std::time::Duration;

use super::Progress;
use crate::Histogram;

/// What happened in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sample {
    /// The interval's end, since the start of the load.
    pub at: Duration,
    /// How long the interval was.
    pub span: Duration,
    /// Calls placed.
    pub attempted: u32,
    /// Calls answered.
    pub answered: u32,
    /// Calls that ended as planned.
    pub completed: u32,
    /// Calls that failed.
    pub failed: u32,
    /// Calls that talked at the interval's end.
    pub active: u32,
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP packets received.
    pub packets_received: u64,
    /// RTP packets that were sent and never arrive, as far as can be told by the interval's end.
    pub lost: u64,
    /// INVITE to 200, of the calls answered.
    pub setup: Spread,
    /// One way, of the packets received.
    pub one_way: Spread,
}

/// Quantiles in nanoseconds; all 0 where nothing was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spread {
    /// How many values.
    pub count: u64,
    /// The median.
    pub p50: u64,
    /// 99 of 100 are not above.
    pub p99: u64,
    /// The highest.
    pub max: u64,
}

impl Spread {
    fn of(histogram: &Histogram) -> Spread {
        if histogram.is_empty() {
            return Spread::default();
        }
        let [p50, p99] = [0.5, 0.99].map(|quantile| histogram.value_at_quantile(quantile));
        Spread { count: histogram.len(), p50, p99, max: histogram.max() }
    }

    /// Of what was recorded since `before`, which is brought up to `now`.
    fn since(before: &mut Histogram, now: &Histogram) -> Spread {
        let mut added = now.clone();
        // Refused only if `now` had lost values, which histograms do not.
        let _ = added.subtract(&**before);
        before.clone_from(now);
        Spread::of(&added)
    }
}

/// Takes samples at intervals that suit the length of the load.
pub(crate) struct Recorder {
    interval: Duration,
    samples: Vec<Sample>,
    /// Packets missed at the end of each.
    missed: Vec<u64>,
    last: Progress,
    setup: Histogram,
    one_way: Histogram,
}

/// About so many samples are taken of a load that goes as expected; at most four times as many of others.
const WANTED: u32 = 120;
const SHORTEST: Duration = Duration::from_millis(250);

impl Recorder {
    pub(crate) fn new(expected: Duration) -> Recorder {
        Recorder {
            interval: (expected / WANTED).max(SHORTEST),
            samples: Vec::new(),
            missed: Vec::new(),
            last: Progress::default(),
            setup: Histogram::new(),
            one_way: Histogram::new(),
        }
    }

    /// Takes a sample if it is time, or if this is the end.
    pub(crate) fn look(&mut self, progress: &Progress, setup: &Histogram, one_way: &Histogram, is_end: bool) {
        let span = progress.elapsed.saturating_sub(self.last.elapsed);
        if span.is_zero() || (span < self.interval && !is_end) {
            return;
        }
        let last = std::mem::replace(&mut self.last, *progress);
        self.samples.push(Sample {
            at: progress.elapsed,
            span,
            attempted: progress.attempted.saturating_sub(last.attempted),
            answered: progress.answered.saturating_sub(last.answered),
            completed: progress.completed.saturating_sub(last.completed),
            failed: progress.failed.saturating_sub(last.failed),
            active: progress.active,
            packets_sent: progress.packets_sent.saturating_sub(last.packets_sent),
            packets_received: progress.packets_received.saturating_sub(last.packets_received),
            lost: 0,
            setup: Spread::since(&mut self.setup, setup),
            one_way: Spread::since(&mut self.one_way, one_way),
        });
        self.missed.push(progress.packets_missed);
        if self.samples.len().is_multiple_of(2 * WANTED as usize) {
            self.interval *= 2;
        }
    }

    /// The samples, given how many packets were lost in the end.
    pub(crate) fn finish(mut self, lost: u64) -> Vec<Sample> {
        // A packet that is missed may still be late. Losses are final, so none of a moment is more than what
        // is missed at any later one.
        let mut bound = lost;
        let mut totals: Vec<u64> = Vec::with_capacity(self.missed.len());
        for missed in self.missed.iter().rev() {
            bound = bound.min(*missed);
            totals.push(bound);
        }
        totals.reverse();
        let mut before = 0;
        for (sample, total) in self.samples.iter_mut().zip(&totals) {
            sample.lost = total - before;
            before = *total;
        }
        // What the last look could not know yet.
        if let Some(sample) = self.samples.last_mut() {
            sample.lost += lost - before;
        }
        self.samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(seconds: u64, sent: u64, received: u64) -> Progress {
        let attempted = u32::try_from(seconds * 10).unwrap();
        Progress {
            elapsed: Duration::from_secs(seconds),
            attempted,
            packets_sent: sent,
            packets_received: received,
            ..Progress::default()
        }
    }

    #[test]
    fn samples_are_of_their_interval() {
        let mut recorder = Recorder::new(Duration::from_secs(120));
        let (mut setup, mut one_way) = (Histogram::new(), Histogram::new());
        setup.record(1_000).unwrap();
        recorder.look(&progress(0, 0, 0), &setup, &one_way, false);
        recorder.look(&progress(1, 100, 90), &setup, &one_way, false);
        setup.record_n(2_000_000, 3).unwrap();
        one_way.record_n(5_000, 7).unwrap();
        recorder.look(&progress(2, 200, 190), &setup, &one_way, false);
        let samples = recorder.finish(0);
        assert_eq!(samples.len(), 2);
        assert_eq!((samples[0].attempted, samples[0].packets_sent, samples[0].setup.count), (10, 100, 1));
        assert_eq!((samples[1].attempted, samples[1].packets_received, samples[1].setup.count), (10, 100, 3));
        assert_eq!((samples[1].one_way.count, samples[0].one_way), (7, Spread::default()));
        assert!(samples[1].setup.p50 >= 2_000_000);
    }

    #[test]
    fn losses_are_told_from_what_is_late() {
        let mut recorder = Recorder::new(Duration::from_secs(1));
        let empty = Histogram::new();
        // Of 8 that are missed in the third second, 3 come late; the last one is known only in the end.
        for (seconds, packets_missed) in [(1, 0), (2, 1), (3, 9), (4, 6), (5, 6)] {
            recorder.look(&Progress { packets_missed, ..progress(seconds, 100, 90) }, &empty, &empty, false);
        }
        let lost: Vec<u64> = recorder.finish(7).iter().map(|sample| sample.lost).collect();
        assert_eq!(lost, [0, 1, 5, 0, 1]);
    }

    #[test]
    fn long_loads_are_sampled_more_rarely() {
        let mut recorder = Recorder::new(Duration::from_secs(1));
        let empty = Histogram::new();
        for seconds in 1..100_000 {
            recorder.look(&progress(seconds, 0, 0), &empty, &empty, false);
        }
        assert!(recorder.samples.len() < 5_000, "{}", recorder.samples.len());
    }
}
