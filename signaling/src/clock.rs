//! The one clock of the signaling process.

use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use moorline_b2bua::Wall;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC. Its zero is the machine's start, so that times in call snapshots still
/// mean the same to the process that takes over.
pub(crate) fn now_ns() -> u64 {
    // The clock has existed since before any supported kernel, so the call cannot fail; were it to, a
    // clock that stands still delays timers and breaks nothing.
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    nanos(since_boot)
}

/// How long from now until `deadline_ns`; zero if it has passed.
pub(crate) fn until(deadline_ns: u64) -> Duration {
    Duration::from_nanos(deadline_ns.saturating_sub(now_ns()))
}

/// How the kernel's timestamps, which are of the wall clock, relate to the time of this process.
pub(crate) struct Offset {
    monotonic_ns: u64,
    realtime_ns: u64,
}

impl Offset {
    pub(crate) fn now() -> Offset {
        let wall = clock_gettime(ClockId::CLOCK_REALTIME).map(Duration::from).unwrap_or_default();
        Offset { monotonic_ns: now_ns(), realtime_ns: nanos(wall) }
    }

    /// When something was stamped that has just been received; now if it was not. A wall clock that was set
    /// meanwhile may be wrong by anything: never in the future, and no longer ago than packets wait.
    pub(crate) fn monotonic(&self, stamp: Option<Duration>) -> u64 {
        let ago = stamp.map_or(0, |stamp| self.realtime_ns.saturating_sub(nanos(stamp)));
        self.monotonic_ns.saturating_sub(if ago > LONGEST_WAIT_NS { 0 } else { ago })
    }
}

/// The clock on the wall, in one time zone.
pub(crate) struct WallClock {
    zone: TimeZone,
    /// When it was read last, in the process's time.
    read_at: Option<u64>,
}

/// How often it is read: summer time begins and ends at full minutes.
const READ_EVERY_NS: u64 = 60_000_000_000;

impl WallClock {
    /// In the zone of this IANA name, or in the host's own.
    ///
    /// # Errors
    /// There is no such zone.
    pub(crate) fn new(zone: Option<&str>) -> Result<WallClock, jiff::Error> {
        let zone = zone.map_or_else(|| Ok(TimeZone::system()), TimeZone::get)?;
        Ok(WallClock { zone, read_at: None })
    }

    /// What it shows, where it was not read in the last minute.
    pub(crate) fn read(&mut self, now: u64) -> Option<Wall> {
        if self.read_at.is_some_and(|at| now.saturating_sub(at) < READ_EVERY_NS) {
            return None;
        }
        self.read_at = Some(now);
        let clock = Timestamp::now();
        let unix_ns = i64::try_from(clock.as_nanosecond()).unwrap_or(i64::MAX);
        let ago = i64::try_from(now_ns()).unwrap_or(i64::MAX);
        let unix_at_zero_ns = unix_ns.saturating_sub(ago);
        Some(Wall { unix_at_zero_ns, utc_offset_s: self.zone.to_offset(clock).seconds() })
    }
}

/// Nothing waits for longer in a socket that is read at all.
const LONGEST_WAIT_NS: u64 = 10_000_000_000;

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
