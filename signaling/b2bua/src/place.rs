//! Where a worker stands among the workers of its process, and what they count together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use moorline_control::SessionId;

use crate::policy::limit::Limiter;

/// How many virtual shards there are: an identifier has room for 256.
const VIRTUAL_SHARDS: usize = 256;

/// A worker's place: the virtual shards it owns are an even share of all, the same in every process that has
/// as many workers.
#[derive(Debug, Clone)]
pub struct Place {
    /// The number of this host among its peers.
    pub node: u16,
    /// Which worker of the process it is, from 0.
    pub index: usize,
    /// How many workers the process has: 1 to 256.
    pub of: usize,
    /// What all workers of the process count together.
    pub calls: Arc<Concurrency>,
    /// The announcements that they have played now.
    pub announcements: Arc<Concurrency>,
    /// The limits of trunks.
    pub limits: Arc<Limiter>,
}

impl Place {
    /// The only worker of a process.
    pub fn alone(node: u16) -> Place {
        let (calls, announcements, limits) = (Arc::default(), Arc::default(), Arc::default());
        Place { node, index: 0, of: 1, calls, announcements, limits }
    }

    /// The worker of `workers` that owns a virtual shard.
    pub fn owner(virtual_shard: u8, workers: usize) -> usize {
        usize::from(virtual_shard) * workers.clamp(1, VIRTUAL_SHARDS) / VIRTUAL_SHARDS
    }

    /// Whether this worker owns what `id` names.
    pub fn owns(&self, id: SessionId) -> bool {
        Place::owner(id.virtual_shard, self.of) == self.index
    }

    /// One of its virtual shards, drawn by random bits.
    pub(crate) fn virtual_shard(&self, bits: u64) -> u8 {
        let workers = self.of.clamp(1, VIRTUAL_SHARDS);
        let first = |index: usize| (index * VIRTUAL_SHARDS).div_ceil(workers) as u64;
        let (from, to) = (first(self.index), first(self.index + 1));
        // Below 256 as long as the index is below the number of workers.
        (from + bits % (to - from)).min(VIRTUAL_SHARDS as u64 - 1) as u8
    }
}

impl From<u16> for Place {
    /// The only worker of a process, on this node.
    fn from(node: u16) -> Place {
        Place::alone(node)
    }
}

/// The calls in progress in all workers of a process: a limit that each kept for itself would not be one.
#[derive(Debug, Default)]
pub struct Concurrency {
    now: AtomicUsize,
    peak: AtomicUsize,
    shut: AtomicBool,
    draining: AtomicBool,
}

impl Concurrency {
    /// How many there are.
    pub fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// The most there ever were at once.
    pub fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// No new call is to be taken, or new ones are again: they could not be written down.
    pub fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Relaxed);
    }

    /// Whether no new call is to be taken.
    pub fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Relaxed)
    }

    /// An operator wants no new calls, or wants them again.
    pub fn drain(&self, draining: bool) {
        self.draining.store(draining, Ordering::Relaxed);
    }

    /// Whether an operator wants no new calls.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Counts one more, unless there are `limit` already.
    pub(crate) fn enter(&self, limit: usize) -> bool {
        let one_more = |now: usize| (now < limit).then_some(now + 1);
        let entered = self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        if let Ok(before) = entered {
            self.peak.fetch_max(before + 1, Ordering::Relaxed);
        }
        entered.is_ok()
    }

    /// Counts one less.
    pub(crate) fn leave(&self) {
        let one_less = |now: usize| Some(now.saturating_sub(1));
        // Always some, so it does not fail.
        let _before = self.now.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_virtual_shard_has_one_owner_who_draws_it() {
        for of in 1..=256 {
            let mut drawn = [false; VIRTUAL_SHARDS];
            for index in 0..of {
                let place = Place { index, of, ..Place::alone(1) };
                for bits in 0..VIRTUAL_SHARDS as u64 {
                    let virtual_shard = place.virtual_shard(bits);
                    assert_eq!(Place::owner(virtual_shard, of), index, "{virtual_shard} of {of}");
                    drawn[usize::from(virtual_shard)] = true;
                }
            }
            assert!(drawn.iter().all(|drawn| *drawn), "{of} workers");
        }
    }

    #[test]
    fn a_limit_holds_across_all_who_count() {
        let (one, calls) = (Place::alone(1), Place::alone(1).calls);
        let other = Place { calls: Arc::clone(&calls), ..one };
        assert!(calls.enter(2) && other.calls.enter(2) && !calls.enter(2));
        other.calls.leave();
        assert!(calls.enter(2));
        assert_eq!((calls.now(), calls.peak()), (2, 2));
        (0..3).for_each(|_| calls.leave());
        assert_eq!((calls.now(), calls.peak()), (0, 2));
    }
}
