//! Call attempts by the minute, for the measures that operators plan by: busy-hour call attempts and the
//! answer-seizure ratio (ITU-T E.411, E.600).

use std::collections::VecDeque;

const MINUTE_NS: u64 = 60_000_000_000;
const HOUR: usize = 60;

/// Minutes that are kept: a day.
const KEPT: usize = 24 * HOUR;

/// The answer-seizure ratio is of the attempts of this minute and of those before it, this many in all.
const RATIO_MINUTES: usize = 5;

/// What was attempted, and what of that was answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// The number of the last minute in `minutes`.
    last: u64,
    minutes: VecDeque<Minute>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Minute {
    attempts: u32,
    answered: u32,
}

impl Traffic {
    /// Call attempts that are made now.
    pub(crate) fn attempted(&mut self, now_ns: u64, count: u32) {
        let minute = now_ns / MINUTE_NS;
        self.advance(minute);
        if let Some(minute) = self.at(minute) {
            minute.attempts = minute.attempts.saturating_add(count);
        }
    }

    /// An attempt that was made then has been answered.
    pub(crate) fn answered(&mut self, attempted_ns: u64) {
        if let Some(minute) = self.at(attempted_ns / MINUTE_NS) {
            minute.answered = minute.answered.saturating_add(1);
        }
    }

    /// The most attempts in any hour of the last day, in steps of a minute.
    pub(crate) fn busy_hour_attempts(&self, now_ns: u64) -> u64 {
        let oldest = (now_ns / MINUTE_NS).saturating_sub(KEPT as u64 - 1);
        let first = self.first();
        let skipped = usize::try_from(oldest.saturating_sub(first)).unwrap_or(KEPT);
        let attempts: Vec<u64> = self.minutes.iter().skip(skipped).map(|minute| minute.attempts.into()).collect();
        let (mut most, mut hour) = (0, 0);
        for (at, count) in attempts.iter().enumerate() {
            hour += count;
            if at >= HOUR {
                hour -= attempts[at - HOUR];
            }
            most = most.max(hour);
        }
        most
    }

    /// How many of the attempts of the last minutes were answered so far; `None` without an attempt.
    pub(crate) fn answer_seizure_ratio(&self, now_ns: u64) -> Option<f64> {
        let oldest = (now_ns / MINUTE_NS).saturating_sub(RATIO_MINUTES as u64 - 1);
        let (mut attempts, mut answered) = (0_u64, 0_u64);
        for (number, minute) in (self.first()..).zip(&self.minutes).filter(|(number, _)| *number >= oldest) {
            debug_assert!(number <= self.last);
            attempts += u64::from(minute.attempts);
            // What was answered as the minute changed may have been counted into the one before.
            answered += u64::from(minute.answered);
        }
        (attempts > 0).then(|| (answered as f64 / attempts as f64).min(1.0))
    }

    /// Adds what another worker counted.
    pub(crate) fn merge(&mut self, other: &Traffic) {
        if other.minutes.is_empty() {
            return;
        }
        self.advance(other.last);
        for (number, minute) in (other.first()..).zip(&other.minutes) {
            if let Some(sum) = self.at_or_before(number) {
                sum.attempts = sum.attempts.saturating_add(minute.attempts);
                sum.answered = sum.answered.saturating_add(minute.answered);
            }
        }
    }

    /// The number of the first minute.
    fn first(&self) -> u64 {
        (self.last + 1).saturating_sub(self.minutes.len() as u64)
    }

    fn advance(&mut self, minute: u64) {
        if self.minutes.is_empty() {
            self.last = minute;
            self.minutes.push_back(Minute::default());
        }
        let ahead = minute.saturating_sub(self.last);
        if ahead >= KEPT as u64 {
            self.minutes.clear();
        }
        for _ in 0..ahead.min(KEPT as u64) {
            if self.minutes.len() == KEPT {
                self.minutes.pop_front();
            }
            self.minutes.push_back(Minute::default());
        }
        self.last = self.last.max(minute);
    }

    fn at(&mut self, minute: u64) -> Option<&mut Minute> {
        let at = usize::try_from(minute.checked_sub(self.first())?).ok()?;
        self.minutes.get_mut(at)
    }

    /// As `at`, with room made for a minute before the first.
    fn at_or_before(&mut self, minute: u64) -> Option<&mut Minute> {
        while minute < self.first() && self.minutes.len() < KEPT {
            self.minutes.push_front(Minute::default());
        }
        self.at(minute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(number: u64) -> u64 {
        number * MINUTE_NS + 1
    }

    #[test]
    fn the_busiest_hour_of_a_day_is_found_wherever_it_starts() {
        let mut traffic = Traffic::default();
        for number in 1000..1000 + 300 {
            let busy = (1130..1190).contains(&number);
            traffic.attempted(minute(number), if busy { 10 } else { 1 });
        }
        assert_eq!(traffic.busy_hour_attempts(minute(1299)), 600);
        let a_day_later = minute(1130 + 24 * 60);
        assert_eq!(traffic.busy_hour_attempts(a_day_later), 590 + 1, "its first minute is over a day ago");
        assert_eq!(traffic.busy_hour_attempts(minute(1299 + 24 * 60)), 0);
        traffic.attempted(minute(1299 + 24 * 60), 3);
        assert_eq!(traffic.busy_hour_attempts(minute(1299 + 24 * 60)), 3);
        assert_eq!(traffic.minutes.len(), KEPT.min(traffic.minutes.len()));
    }

    #[test]
    fn less_than_an_hour_counts_as_what_it_is() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.busy_hour_attempts(0), 0);
        traffic.attempted(minute(5), 7);
        traffic.attempted(minute(20), 2);
        assert_eq!(traffic.busy_hour_attempts(minute(20)), 9);
    }

    #[test]
    fn the_ratio_is_of_the_last_minutes_and_an_answer_belongs_to_its_attempt() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.answer_seizure_ratio(minute(1)), None);
        traffic.attempted(minute(1), 4);
        traffic.attempted(minute(3), 4);
        for attempted in [1, 1, 3] {
            traffic.answered(minute(attempted));
        }
        assert_eq!(traffic.answer_seizure_ratio(minute(3)), Some(3.0 / 8.0));
        assert_eq!(traffic.answer_seizure_ratio(minute(6)), Some(1.0 / 4.0));
        assert_eq!(traffic.answer_seizure_ratio(minute(8)), None);
        traffic.answered(minute(100_000));
        traffic.answered(0);
        assert_eq!(traffic.answer_seizure_ratio(minute(3)), Some(3.0 / 8.0), "of attempts that are not known");
    }

    #[test]
    fn workers_add_up_minute_by_minute() {
        let (mut one, mut other, mut both) = (Traffic::default(), Traffic::default(), Traffic::default());
        for (number, worker) in [(10, 0), (3, 1), (11, 1), (2000, 0), (2001, 1), (1995, 1)] {
            let each = if worker == 0 { &mut one } else { &mut other };
            each.attempted(minute(number), 2);
            each.answered(minute(number));
        }
        for number in [3, 10, 11, 1995, 2000, 2001] {
            both.attempted(minute(number), 2);
            both.answered(minute(number));
        }
        let mut sum = one.clone();
        sum.merge(&other);
        let mut turned = other.clone();
        turned.merge(&one);
        for traffic in [&sum, &turned] {
            assert_eq!(traffic.busy_hour_attempts(minute(2001)), both.busy_hour_attempts(minute(2001)));
            assert_eq!(traffic.answer_seizure_ratio(minute(2001)), both.answer_seizure_ratio(minute(2001)));
        }
        sum.merge(&Traffic::default());
        assert_eq!(sum.busy_hour_attempts(minute(2001)), 6);
    }
}
