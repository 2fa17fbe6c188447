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
}

impl Cpu {
    pub(super) fn read(lab: &Lab, process: Option<&Running>) -> Result<Cpu, Error> {
        let sum =
            |ids: &[u32]| ids.iter().map(|id| schedstat_ns(format!("/proc/{id}/schedstat"))).sum::<Result<u64, _>>();
        let threads = process.map_or_else(|| Ok(Vec::new()), Running::threads_ns)?;
        Ok(Cpu {
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
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_while_is_a_difference() {
        let at = |process_ns, kernel_ns, load_ns| Cpu { process_ns, kernel_ns, load_ns };
        assert_eq!(at(10, 20, 30).since(at(1, 2, 3)), at(9, 18, 27));
    }
}
