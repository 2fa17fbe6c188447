//! The two clocks of the media process, read nowhere else.

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of the monotonic clock: the relay's `now`. A step of the wall clock does not touch it, so
/// none can end a session. It stands still while the machine is suspended.
pub(crate) fn monotonic_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds of the real-time clock, the one that the kernel stamps packets with; for residence time only.
pub(crate) fn realtime_ns() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

fn read(clock: ClockId) -> u64 {
    // Reading these two clocks cannot fail; 0 would only shorten a measured time.
    clock_gettime(clock).map_or(0, |time| (time.tv_sec() as u64).wrapping_mul(1_000_000_000) + time.tv_nsec() as u64)
}
