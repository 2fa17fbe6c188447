//! The clocks, in nanoseconds.

use std::time::Duration;

use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep};

/// `CLOCK_MONOTONIC`.
pub(crate) fn monotonic() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// What to subtract from `CLOCK_REALTIME`, by which the kernel stamps packets, to get [`monotonic`].
pub(crate) fn realtime_offset() -> u64 {
    read(ClockId::CLOCK_REALTIME).wrapping_sub(monotonic())
}

/// Sleeps until [`monotonic`] has reached `at`, or a signal came.
pub(crate) fn sleep_until(at: u64) {
    let at = Duration::from_nanos(at).into();
    // An early return only makes the caller look at its work once more.
    let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at);
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: ClockId) -> u64 {
    // These clocks exist on every Linux; 0 would show as absurd latencies, not as a crash.
    clock_gettime(clock).map_or(0, |time| nanos(Duration::from(time)))
}
