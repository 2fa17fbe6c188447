//! A moment, as records say it: UTC to the millisecond (RFC 3339).

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

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

/// A moment without time zone, which is all that UTC needs.
const ZERO: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}Z", ZERO.saturating_add(SignedDuration::from_millis(self.unix_ms)))
    }
}

impl FromStr for Time {
    type Err = NoTime;

    fn from_str(text: &str) -> Result<Time, NoTime> {
        let date: DateTime = text.strip_suffix('Z').and_then(|date| date.parse().ok()).ok_or(NoTime)?;
        let time = Time { unix_ms: i64::try_from(date.duration_since(ZERO).as_millis()).map_err(|_| NoTime)? };
        // Other forms of the same are not ours.
        if time.to_string() == text { Ok(time) } else { Err(NoTime) }
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
