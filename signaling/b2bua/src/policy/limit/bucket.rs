//! A token bucket in whole numbers: nothing is rounded, so nothing drifts.

/// A token, in the bucket's own unit: what flows in at one a second within a nanosecond.
const TOKEN: u64 = 1_000_000_000;

/// How fast calls may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many a second; 0 lets none through.
    pub per_second: u32,
    /// So many at once, after a pause that is long enough.
    pub burst: u32,
}

/// What is left of a rate. It is full at first.
///
/// Of any calls that it lets through in a row, the last one comes early enough to be among `burst` plus those that the
/// rate brings since the first.
#[derive(Debug)]
pub(crate) struct Bucket {
    level: u64,
    /// The latest time that it was asked at: the clocks of workers may differ by a few microseconds.
    at: u64,
}

impl Default for Bucket {
    fn default() -> Bucket {
        Bucket { level: u64::MAX, at: 0 }
    }
}

impl Rate {
    fn most(self) -> u64 {
        // Below 2^62.
        if self.per_second == 0 { 0 } else { u64::from(self.burst) * TOKEN }
    }
}

impl Bucket {
    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: u64, rate: Rate) -> bool {
        let flown = now.saturating_sub(self.at).saturating_mul(rate.per_second.into());
        self.at = self.at.max(now);
        self.level = self.level.saturating_add(flown).min(rate.most());
        let left = self.level.checked_sub(TOKEN);
        self.level = left.unwrap_or(self.level);
        left.is_some()
    }

    /// Puts one back that was not used.
    pub(crate) fn put_back(&mut self) {
        // Above the brim it runs over when the next one is taken.
        self.level = self.level.saturating_add(TOKEN);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the definition, with no memory but the times: one more is let through where, counted from every one before,
    /// there are no more than the burst and what the rate has brought since.
    fn is_due(taken: &[u64], now: u64, rate: Rate) -> bool {
        let within = |first: usize| {
            let count = (taken.len() - first) as u128 + 1;
            let since = u128::from(now - taken[first]);
            count * u128::from(TOKEN)
                <= u128::from(rate.burst) * u128::from(TOKEN) + since * u128::from(rate.per_second)
        };
        rate.burst > 0 && rate.per_second > 0 && (0..taken.len()).all(within)
    }

    proptest! {
        #[test]
        fn it_lets_through_what_the_definition_does(
            per_second in 0u32..50,
            burst in 0u32..30,
            pauses in proptest::collection::vec(prop_oneof![Just(0), 0u64..200_000_000, 0u64..5_000_000_000], 1..120),
        ) {
            let rate = Rate { per_second, burst };
            let (mut bucket, mut taken, mut now) = (Bucket::default(), Vec::new(), 7);
            for pause in pauses {
                now += pause;
                let due = is_due(&taken, now, rate);
                prop_assert_eq!(bucket.take(now, rate), due, "at {} after {:?}", now, taken);
                if due {
                    taken.push(now);
                }
            }
        }

        #[test]
        fn no_window_holds_more_than_burst_and_rate(
            per_second in 1u32..40,
            burst in 1u32..40,
            steps in proptest::collection::vec((0u64..300_000_000, 0u64..3_000), 1..200),
        ) {
            // Workers ask with times that are a little behind each other's.
            let rate = Rate { per_second, burst };
            let (mut bucket, mut taken, mut now) = (Bucket::default(), Vec::new(), 10_000);
            for (pause, behind) in steps {
                now += pause;
                if bucket.take(now - behind, rate) {
                    taken.push(now);
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, until) in taken.iter().enumerate().skip(first) {
                    let most = u64::from(burst) * TOKEN + (until - from + 3_000) * u64::from(per_second);
                    prop_assert!((last - first + 1) as u64 * TOKEN <= most);
                }
            }
        }
    }

    #[test]
    fn what_is_put_back_can_be_taken_again_but_never_makes_more_than_the_burst() {
        let rate = Rate { per_second: 2, burst: 3 };
        let mut bucket = Bucket::default();
        assert!(bucket.take(5, rate));
        bucket.put_back();
        bucket.put_back();
        assert_eq!((0..5).filter(|_| bucket.take(5, rate)).count(), 3);
        // Half a second brings one.
        assert!(!bucket.take(500_000_004, rate));
        assert!(bucket.take(500_000_005, rate));
    }

    #[test]
    fn the_largest_rate_after_the_longest_pause_is_no_overflow() {
        let rate = Rate { per_second: u32::MAX, burst: u32::MAX };
        let mut bucket = Bucket::default();
        assert!(bucket.take(0, rate));
        assert!(bucket.take(u64::MAX, rate));
        bucket.put_back();
    }
}
