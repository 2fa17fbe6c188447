//! Times of the week.

use std::fmt;
use std::str::FromStr;

use crate::Local;

/// Days of the week and hours of the day, in local time.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Times(Vec<Window>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Window {
    /// A bit for each day, Monday's the lowest.
    days: u8,
    /// Minutes of the day: from the first to before the second. Where the second is not later it is the next day's.
    from: u16,
    to: u16,
}

/// A text names no times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTimes(String);

impl std::error::Error for NoTimes {}

impl fmt::Display for NoTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} names no days and hours", self.0)
    }
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ALL_DAYS: u8 = 0x7f;
const DAY_MINUTES: u16 = 24 * 60;

impl Times {
    /// Whether a minute of local time is one of these.
    pub fn contain(&self, now: Local) -> bool {
        self.0.iter().any(|window| window.contains(now))
    }
}

impl Window {
    fn contains(&self, now: Local) -> bool {
        let on = |day: u8| self.days & (1 << (day % 7)) != 0;
        let today = on(now.weekday);
        if self.from < self.to {
            return today && (self.from..self.to).contains(&now.minute);
        }
        // What began yesterday goes on over midnight.
        (today && now.minute >= self.from) || (on(now.weekday + 6) && now.minute < self.to)
    }
}

impl FromStr for Times {
    type Err = NoTimes;

    /// Reads `mon-fri 09:00-18:00; sat 10:00-12:00`, `22:00-06:00`, `mon,wed,fri`: days, hours or both, and more of the
    /// same after a semicolon. Hours that end before they begin end on the next day.
    fn from_str(text: &str) -> Result<Times, NoTimes> {
        let windows: Option<Vec<Window>> = text.split(';').map(|part| window(&part.to_ascii_lowercase())).collect();
        windows.map(Times).ok_or_else(|| NoTimes(text.to_owned()))
    }
}

fn window(text: &str) -> Option<Window> {
    let mut parts = text.split_whitespace();
    let (first, second) = (parts.next()?, parts.next());
    if parts.next().is_some() {
        return None;
    }
    let (days_text, hours_text) = match second {
        Some(hours) => (Some(first), Some(hours)),
        None if first.contains(':') => (None, Some(first)),
        None => (Some(first), None),
    };
    let days = days_text.map_or(Some(ALL_DAYS), days)?;
    let (from, to) = hours_text.map_or(Some((0, DAY_MINUTES)), hours)?;
    Some(Window { days, from, to })
}

fn days(text: &str) -> Option<u8> {
    let day = |name: &str| DAYS.iter().position(|day| *day == name);
    text.split(',').try_fold(0, |days, part| {
        let (from, to) = match part.split_once('-') {
            Some((from, to)) => (day(from)?, day(to)?),
            None => (day(part)?, day(part)?),
        };
        // Sunday may come before Monday: `sat-mon`.
        let count = (to + 7 - from) % 7;
        Some((0..=count).fold(days, |days, more| days | 1 << ((from + more) % 7)))
    })
}

fn hours(text: &str) -> Option<(u16, u16)> {
    let (from, to) = text.split_once('-')?;
    let (from, to) = (minute(from)?, minute(to)?);
    (from != to && from < DAY_MINUTES).then_some((from, to))
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u16>().ok()).flatten();
    let (hour, minute) = (number(hour).filter(|hour| *hour <= 24)?, number(minute).filter(|minute| *minute < 60)?);
    Some(hour * 60 + minute).filter(|at| *at <= DAY_MINUTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(times: &str, weekday: u8, hour: u16, minute: u16) -> bool {
        times.parse::<Times>().unwrap().contain(Local { day: 0, weekday, minute: hour * 60 + minute })
    }

    #[test]
    fn days_and_hours_are_kept() {
        let office = "mon-fri 09:00-18:00; Sat 10:00-12:00";
        assert!(at(office, 0, 9, 0) && at(office, 4, 17, 59) && at(office, 5, 11, 0));
        assert!(!at(office, 0, 8, 59) && !at(office, 4, 18, 0) && !at(office, 5, 9, 0) && !at(office, 6, 11, 0));
        assert!(at("mon,wed", 2, 0, 0) && !at("mon,wed", 1, 12, 0) && at("mon,wed", 0, 23, 59));
        assert!(at("sat-mon", 6, 3, 0) && at("sat-mon", 0, 3, 0) && !at("sat-mon", 4, 3, 0));
        assert!(at("00:00-24:00", 3, 23, 59));
    }

    #[test]
    fn nights_go_on_over_midnight() {
        assert!(at("22:00-06:00", 3, 23, 0) && at("22:00-06:00", 3, 5, 59) && !at("22:00-06:00", 3, 6, 0));
        let friday = "fri 22:00-06:00";
        assert!(at(friday, 4, 22, 0) && at(friday, 5, 5, 0), "Saturday's small hours are Friday's night");
        assert!(!at(friday, 4, 5, 0) && !at(friday, 5, 22, 0));
        assert!(at("sun 20:00-02:00", 0, 1, 0), "the week is round");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "noon",
            "mon-",
            "9-18",
            "09:00-09:00",
            "24:00-06:00",
            "25:00-26:00",
            "09:60-10:00",
            "mon 09:00-18:00 x",
        ] {
            assert!(text.parse::<Times>().is_err(), "{text}");
        }
        assert!("mon;".parse::<Times>().is_err() && "+9:00-10:00".parse::<Times>().is_err());
    }
}
