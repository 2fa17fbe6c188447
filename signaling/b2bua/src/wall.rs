//! What the clock on the wall shows, beside a worker's own time, which has no date.

const SECOND_NS: i64 = 1_000_000_000;
const DAY_S: i64 = 24 * 3600;

/// How a worker's time relates to the wall clock, and that to local time. It is told anew now and then: wall clocks are
/// set, and summer time begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wall {
    /// When the worker's time was 0, in nanoseconds since 1970-01-01 UTC.
    pub unix_at_zero_ns: i64,
    /// How far local time is ahead of UTC, in seconds.
    pub utc_offset_s: i32,
}

/// A minute of local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Local {
    /// Days since 1970-01-01.
    pub day: i64,
    /// Of the week, from 0, Monday.
    pub weekday: u8,
    /// Of the day, from 0 to 1439.
    pub minute: u16,
}

impl Wall {
    /// Nanoseconds since 1970-01-01 UTC, at a time of the worker; 0 for what was before.
    pub fn unix_ns(self, now: u64) -> u64 {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        u64::try_from(self.unix_at_zero_ns.saturating_add(now)).unwrap_or_default()
    }

    /// Local time, at a time of the worker.
    pub fn local(self, now: u64) -> Local {
        let unix_s = i64::try_from(self.unix_ns(now)).unwrap_or(i64::MAX) / SECOND_NS;
        let local_s = unix_s + i64::from(self.utc_offset_s);
        let day = local_s.div_euclid(DAY_S);
        Local {
            day,
            // The first day of 1970 was a Thursday. Below 7.
            weekday: (day + 3).rem_euclid(7) as u8,
            // Below 1440.
            minute: (local_s.rem_euclid(DAY_S) / 60) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_is_read_off_the_wall() {
        // 2024-02-29 23:59:30 UTC, a Thursday, and Shanghai is already in Friday.
        let unix_at_zero_ns = 1_709_251_170 * SECOND_NS;
        let (utc, shanghai) =
            (Wall { unix_at_zero_ns, utc_offset_s: 0 }, Wall { unix_at_zero_ns, utc_offset_s: 8 * 3600 });
        let day = 19_782;
        assert_eq!(utc.local(0), Local { day, weekday: 3, minute: 1439 });
        assert_eq!(utc.local(30_000_000_000), Local { day: day + 1, weekday: 4, minute: 0 });
        assert_eq!(shanghai.local(0), Local { day: day + 1, weekday: 4, minute: 479 });
        assert_eq!(utc.unix_ns(1), 1_709_251_170_000_000_001);
    }

    #[test]
    fn no_wall_clock_is_out_of_bounds() {
        for unix_at_zero_ns in [i64::MIN, -1, 0, i64::MAX] {
            for utc_offset_s in [i32::MIN, 0, i32::MAX] {
                for now in [0, u64::MAX] {
                    let local = Wall { unix_at_zero_ns, utc_offset_s }.local(now);
                    assert!(local.weekday < 7 && local.minute < 1440, "{local:?}");
                }
            }
        }
        let before = Wall { unix_at_zero_ns: 0, utc_offset_s: -3600 }.local(0);
        assert_eq!(before, Local { day: -1, weekday: 2, minute: 1380 });
    }
}
