//! The clock of the program, which that of the process has to be.

use std::fs;

use nix::time::{ClockId, clock_gettime};

use super::{ForwardError, NANOS};

/// CLOCK_MONOTONIC, the clock of all times here, in nanoseconds.
pub fn monotonic_ns() -> u64 {
    // It is there on every Linux.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.tv_sec() as u64 * NANOS + time.tv_nsec() as u64)
}

/// Programs have the host's clock, a process in a time namespace another (time_namespaces(7)): a lease of its times would
/// never end, or never begin.
pub(super) fn is_the_programs() -> Result<(), ForwardError> {
    // Kernels before 5.6 have neither the file nor such namespaces.
    let offsets = fs::read_to_string("/proc/thread-self/timens_offsets")
        .or_else(|_| fs::read_to_string("/proc/self/timens_offsets"))
        .unwrap_or_default();
    if is_shifted(&offsets) { Err(ForwardError::Clock) } else { Ok(()) }
}

/// Whether a `/proc/PID/timens_offsets` shifts CLOCK_MONOTONIC.
fn is_shifted(offsets: &str) -> bool {
    let shift = offsets.lines().find_map(|line| line.strip_prefix("monotonic"));
    shift.is_some_and(|shift| shift.split_whitespace().any(|part| part != "0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_of_another_time_namespace_is_told_from_the_hosts() {
        for (offsets, shifted) in [
            ("monotonic           0         0\nboottime            0         0\n", false),
            ("monotonic           0         0\nboottime         1000         0\n", false),
            ("", false),
            ("monotonic        1000         0\nboottime            0         0\n", true),
            ("monotonic          -1         0\n", true),
            ("monotonic           0         7\n", true),
        ] {
            assert_eq!(is_shifted(offsets), shifted, "{offsets:?}");
        }
    }
}
