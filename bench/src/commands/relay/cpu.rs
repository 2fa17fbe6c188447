//! The CPU time of all that works for a relay, wherever it runs.

use super::lab::Lab;
use crate::commands::process::{Error, Running, schedstat_ns};

/// CPU time so far, or in a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    /// All threads of the relay's process: shards, control, workers of io_uring.
    pub(super) process_ns: u64,
    /// The kernel's threads that receive for it, and the softirq thread of its core.
    pub(super) kernel_ns: u64,
    /// The load: this thread, and the kernel's threads that receive for it.
    pub(super) load_ns: u64,
    /// All of this machine, to the hundredth of a second.
    machine_ns: u64,
    /// What the host below took from it.
    pub(super) stolen_ns: u64,
}

/// What a tick of /proc/stat is: `USER_HZ` is 100 on every Linux of our time.
const TICK_NS: u64 = 10_000_000;

impl Cpu {
    pub(super) fn read(lab: &Lab, process: Option<&Running>) -> Result<Cpu, Error> {
        let sum =
            |ids: &[u32]| ids.iter().map(|id| schedstat_ns(format!("/proc/{id}/schedstat"))).sum::<Result<u64, _>>();
        let threads = process.map_or_else(|| Ok(Vec::new()), Running::threads_ns)?;
        let (machine_ns, stolen_ns) = machine(&std::fs::read_to_string("/proc/stat")?).ok_or("no CPU in /proc/stat")?;
        Ok(Cpu {
            machine_ns,
            stolen_ns,
            process_ns: threads.iter().map(|(_, ns)| ns).sum(),
            kernel_ns: sum(&lab.relay_kthreads)?,
            load_ns: sum(&lab.load_kthreads)? + schedstat_ns("/proc/thread-self/schedstat")?,
        })
    }

    pub(super) fn since(self, earlier: Cpu) -> Cpu {
        Cpu {
            process_ns: self.process_ns.saturating_sub(earlier.process_ns),
            kernel_ns: self.kernel_ns.saturating_sub(earlier.kernel_ns),
            load_ns: self.load_ns.saturating_sub(earlier.load_ns),
            machine_ns: self.machine_ns.saturating_sub(earlier.machine_ns),
            stolen_ns: self.stolen_ns.saturating_sub(earlier.stolen_ns),
        }
    }

    /// What had nothing to do with the measurement.
    pub(super) fn others_ns(self) -> u64 {
        self.machine_ns.saturating_sub(self.process_ns + self.kernel_ns + self.load_ns)
    }
}

/// Busy and stolen time from the first line: user, nice, system, idle, iowait, irq, softirq, steal.
fn machine(stat: &str) -> Option<(u64, u64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().map(|tick| tick.parse().unwrap_or_default()).collect();
    let [user, nice, system, _, _, irq, softirq, stolen, ..] = ticks[..] else { return None };
    Some(((user + nice + system + irq + softirq) * TICK_NS, stolen * TICK_NS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_while_is_a_difference() {
        let at = |process_ns, kernel_ns, load_ns, machine_ns| Cpu {
            process_ns,
            kernel_ns,
            load_ns,
            machine_ns,
            stolen_ns: 5,
        };
        let spent = at(10, 20, 30, 100).since(at(1, 2, 3, 10));
        assert_eq!((spent.process_ns, spent.kernel_ns, spent.load_ns, spent.stolen_ns), (9, 18, 27, 0));
        assert_eq!(spent.others_ns(), 90 - 54);
    }

    #[test]
    fn the_machine_is_read() {
        assert_eq!(machine("cpu  1 2 3 400 50 6 7 8 9 0\ncpu0 1\n"), Some((190_000_000, 80_000_000)));
        assert_eq!(machine("cpu  1 2 3\n"), None);
    }
}
