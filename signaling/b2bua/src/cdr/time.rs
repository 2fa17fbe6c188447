//! A moment, as records say it: UTC to the millisecond (RFC 3339).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DAY_MS: i64 = 24 * 3600 * 1000;

/// A moment of the wall clock. It is written `2026-11-22T19:30:33.123Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Milliseconds since 1970-01-01 UTC.
    pub unix_ms: i64,
}

/// A text that is no time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no time of the form 2026-11-22T19:30:33.123Z")]
pub struct NoTime;

impl Time {
    /// Nanoseconds since 1970.
    pub(crate) fn from_unix_ns(ns: u64) -> Time {
        Time { unix_ms: i64::try_from(ns / 1_000_000).unwrap_or(i64::MAX) }
    }

    /// Seconds since 1970, as far as 32 bits go.
    pub fn unix_s(self) -> u32 {
        u32::try_from(self.unix_ms / 1000).unwrap_or_default()
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.unix_ms.div_euclid(DAY_MS), self.unix_ms.rem_euclid(DAY_MS));
        let (year, month, day) = date(days);
        let (s, ms) = (ms / 1000, ms % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
    }
}

impl FromStr for Time {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Time, NoTime> {
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (23, b'Z')];
        let bytes = text.as_bytes();
        if bytes.len() != 24 || separators.iter().any(|(at, wanted)| bytes[*at] != *wanted) {
            return Err(NoTime);
        }
        let number = |range: std::ops::Range<usize>| {
            let digits = bytes.get(range).filter(|digits| digits.iter().all(u8::is_ascii_digit)).ok_or(NoTime)?;
            Ok(digits.iter().fold(0, |number: i64, digit| number * 10 + i64::from(digit - b'0')))
        };
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second, ms) = (number(11..13)?, number(14..16)?, number(17..19)?, number(20..23)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 59 {
            return Err(NoTime);
        }
        let time = Time { unix_ms: days(year, month, day) * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + ms };
        // The 31st of a short month is another day.
        if date(time.unix_ms.div_euclid(DAY_MS)) == (year, month, day) { Ok(time) } else { Err(NoTime) }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// 400 years of the Gregorian calendar are always as long.
const ERA_DAYS: i64 = 146_097;

/// From 0000-03-01, where the years of the computation begin, to 1970-01-01.
const TO_1970: i64 = 719_468;

/// Year, month and day of a day since 1970-01-01. Years begin in March, so that the leap day comes last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + TO_1970;
    let (era, of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA_DAYS - 1)) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + i64::from(month <= 2), month, day)
}

/// The inverse.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - TO_1970
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_written_in_utc() {
        for (unix_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(Time { unix_ms }.to_string(), text);
            assert_eq!(text.parse(), Ok(Time { unix_ms }));
        }
    }

    #[test]
    fn what_is_no_time_is_not_read_as_one() {
        for text in [
            "",
            "2024-02-30T00:00:00.000Z",
            "2023-02-29T00:00:00.000Z",
            "2024-13-01T00:00:00.000Z",
            "2024-01-01T24:00:00.000Z",
            "2024-01-01 00:00:00.000Z",
            "2024-01-01T00:00:00.0000",
            "2024-01-01T00:00:00.+00Z",
            "２024-01-01T00:00:00.0Z",
        ] {
            assert_eq!(text.parse::<Time>(), Err(NoTime), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(unix_ms in 0..253_402_300_800_000_i64) {
            let time = Time { unix_ms };
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }
}
