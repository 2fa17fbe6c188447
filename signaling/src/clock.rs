//! The one clock of the signaling process.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of CLOCK_MONOTONIC. Its zero is the machine's start, so that times in call snapshots still
/// mean the same to the process that takes over.
pub(crate) fn now_ns() -> u64 {
    // The clock has existed since before any supported kernel, so the call cannot fail; were it to, a
    // clock that stands still delays timers and breaks nothing.
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
    u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX)
}

/// How long from now until `deadline_ns`; zero if it has passed.
pub(crate) fn until(deadline_ns: u64) -> Duration {
    Duration::from_nanos(deadline_ns.saturating_sub(now_ns()))
}
