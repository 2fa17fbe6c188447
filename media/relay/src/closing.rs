//! What was seen of the streams of sessions that have ended: figures for monitoring, by media range.

use moorline_control::StreamReport;

/// From this long on a party that is not heard, and one-way audio, is worth counting.
const WORTH_COUNTING_MS: u64 = 5_000;

/// Of the legs in one media range.
#[derive(Debug, Clone, Default)]
pub struct Closing {
    /// Mean opinion scores of what was received, where there was enough speech to judge.
    pub opinion: Histogram<8>,
    /// Shares of packets lost on the way here.
    pub loss: Histogram<8>,
    /// Interarrival jitter in seconds.
    pub jitter: Histogram<8>,
    /// Round trips from here to the party in seconds, the last one of each stream.
    pub round_trip: Histogram<8>,
    /// Shares of packets that the party says it has lost of what was sent to it.
    pub far_loss: Histogram<8>,
    /// Mean opinion scores of what the party hears, by its reports.
    pub far_opinion: Histogram<8>,
    /// Packets that came after a later one.
    pub reordered: u64,
    /// Packets that had come before.
    pub duplicates: u64,
    /// Runs of packets that did not come in their turn.
    pub gaps: u64,
    /// DTMF digits sent.
    pub digits: u64,
    /// Streams of which one party was not heard for five seconds or more while the other one was.
    pub one_way: u64,
    /// Streams on which nothing ever came in five seconds or more in which it should have.
    pub silent: u64,
}

/// Counts of values up to each of some bounds.
#[derive(Debug, Clone)]
pub struct Histogram<const N: usize> {
    counts: [u64; N],
    above: u64,
    sum: f64,
}

impl Closing {
    /// Bounds of mean opinion scores.
    pub const OPINIONS: [f64; 8] = [1.5, 2.0, 2.5, 3.0, 3.5, 3.8, 4.1, 4.3];
    /// Bounds of loss.
    pub const LOSSES: [f64; 8] = [0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1];
    /// Bounds of jitter in seconds.
    pub const JITTERS: [f64; 8] = [0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1];
    /// Bounds of round trips in seconds.
    pub const ROUND_TRIPS: [f64; 8] = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0];

    /// Takes in the last report of a stream, and that of the other party's, which it reports on.
    pub(crate) fn take(&mut self, report: &StreamReport, other: Option<&StreamReport>) {
        if report.sources > 0 {
            let expected = report.packets.saturating_add(report.lost);
            self.loss.record(&Self::LOSSES, report.lost as f64 / expected.max(1) as f64);
            self.jitter.record(&Self::JITTERS, f64::from(report.jitter_us) / 1e6);
        }
        if let Some(quality) = report.quality {
            self.opinion.record(&Self::OPINIONS, f64::from(quality.mos_hundredths) / 100.0);
        }
        if let Some(round_trip_us) = report.far_end.and_then(|far_end| far_end.round_trip_us) {
            self.round_trip.record(&Self::ROUND_TRIPS, f64::from(round_trip_us) / 1e6);
        }
        if let (Some(far_end), Some(other)) = (report.far_end, other) {
            // Of what was lost on the way here the party says that it is lost too.
            let expected = other.packets.saturating_add(other.lost).max(1);
            let lost = u64::from(far_end.lost.max(0).unsigned_abs()).min(expected);
            self.far_loss.record(&Self::LOSSES, lost as f64 / expected as f64);
            if let Some(quality) = far_end.quality {
                self.far_opinion.record(&Self::OPINIONS, f64::from(quality.mos_hundredths) / 100.0);
            }
        }
        self.reordered += report.reordered;
        self.duplicates += report.duplicates;
        self.gaps += u64::from(report.gaps);
        self.digits += report.dtmf.map_or(0, |dtmf| u64::from(dtmf.events));
        let silence = report.silence.unwrap_or_default();
        self.one_way += u64::from(silence.one_way_ms >= WORTH_COUNTING_MS);
        self.silent += u64::from(report.packets == 0 && silence.total_ms >= WORTH_COUNTING_MS);
    }
}

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Histogram<N> {
        Histogram { counts: [0; N], above: 0, sum: 0.0 }
    }
}

impl<const N: usize> Histogram<N> {
    fn record(&mut self, bounds: &[f64; N], value: f64) {
        self.sum += value;
        match bounds.iter().position(|bound| value <= *bound).and_then(|place| self.counts.get_mut(place)) {
            Some(count) => *count += 1,
            None => self.above += 1,
        }
    }

    /// How many values there were within each bound and above the one before, and how many above the last.
    pub fn counts(&self) -> ([u64; N], u64) {
        (self.counts, self.above)
    }

    /// All values.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use moorline_control::{Dtmf, FarEnd, Quality, Silence};

    use super::*;

    #[test]
    fn a_stream_counts_where_its_figures_belong() {
        let mut closing = Closing::default();
        let report = StreamReport {
            packets: 990,
            lost: 10,
            sources: 1,
            jitter_us: 20_001,
            quality: Some(Quality { r_tenths: 900, mos_hundredths: 434, delay_ms: 20 }),
            reordered: 3,
            duplicates: 2,
            gaps: 5,
            far_end: Some(FarEnd { round_trip_us: Some(45_000), ..FarEnd::default() }),
            dtmf: Some(Dtmf { events: 4, ..Dtmf::default() }),
            silence: Some(Silence { one_way_ms: 5_000, total_ms: 5_000, ..Silence::default() }),
            ..StreamReport::default()
        };
        closing.take(&report, None);
        assert_eq!(closing.loss.counts(), ([0, 0, 0, 0, 1, 0, 0, 0], 0), "a bound belongs to what is below it");
        assert_eq!(closing.jitter.counts(), ([0, 0, 0, 0, 0, 0, 1, 0], 0));
        assert_eq!((closing.opinion.counts(), closing.opinion.sum()), (([0; 8], 1), 4.34));
        assert_eq!(closing.round_trip.counts(), ([0, 0, 1, 0, 0, 0, 0, 0], 0));
        assert_eq!((closing.digits, closing.one_way, closing.silent), (4, 1, 0));
        assert_eq!((closing.reordered, closing.duplicates, closing.gaps), (3, 2, 5));
        closing.take(&StreamReport { packets: 0, sources: 0, ..report }, None);
        closing.take(&StreamReport::default(), None);
        assert_eq!((closing.digits, closing.one_way, closing.silent), (8, 2, 1));
        assert_eq!(closing.loss.counts().0.iter().sum::<u64>(), 1, "without packets there is no loss");
    }

    #[test]
    fn what_a_party_says_that_it_lost_counts_by_what_was_sent_to_it() {
        let quality = Some(Quality { r_tenths: 700, mos_hundredths: 360, delay_ms: 20 });
        let says = |lost| StreamReport {
            far_end: Some(FarEnd { lost, quality, ..FarEnd::default() }),
            ..StreamReport::default()
        };
        let sent = StreamReport { packets: 990, lost: 10, ..StreamReport::default() };
        let mut closing = Closing::default();
        closing.take(&says(20), Some(&sent));
        // Packets that came twice; more than were sent at all.
        closing.take(&says(-4), Some(&sent));
        closing.take(&says(0x7f_ffff), Some(&sent));
        assert_eq!(closing.far_loss.counts(), ([1, 0, 0, 0, 0, 1, 0, 0], 1));
        assert_eq!(closing.far_opinion.counts(), ([0, 0, 0, 0, 0, 3, 0, 0], 0));
        // Who reports on nobody is not judged.
        closing.take(&says(20), None);
        closing.take(&sent, Some(&sent));
        assert_eq!(closing.far_loss.counts().0.iter().sum::<u64>(), 2);
    }
}
