//! The calls of one trunk in one direction, counted.

use std::collections::HashMap;

use super::bucket::Bucket;
use super::{Cause, Numbers};

/// What is counted, and what it is limited to.
#[derive(Debug, Default)]
pub(super) struct Calls {
    pub(super) numbers: Numbers,
    pub(super) now: u32,
    pub(super) peak: u32,
    bucket: Bucket,
    /// Those that have a call: no more than there are calls.
    callers: HashMap<Box<[u8]>, u32>,
}

impl Calls {
    /// Whether one more may be there at once.
    pub(super) fn room(&self, caller: Option<&[u8]>, restoring: bool) -> Result<(), Cause> {
        let Numbers { calls, calls_per_caller, .. } = self.numbers;
        let is_reached = |limit: Option<u32>, now: u32| limit.is_some_and(|limit| now >= limit);
        if restoring && (calls.is_some() || calls_per_caller.is_some()) {
            return Err(Cause::Restoring);
        }
        if is_reached(calls, self.now) {
            return Err(Cause::Calls);
        }
        let of_caller = caller.and_then(|caller| self.callers.get(caller)).copied().unwrap_or_default();
        if caller.is_some() && is_reached(calls_per_caller, of_caller) {
            return Err(Cause::Caller);
        }
        Ok(())
    }

    /// Takes one of this second's, if there is one left; whether one was taken.
    pub(super) fn take(&mut self, now: u64) -> Result<bool, Cause> {
        let Some(rate) = self.numbers.rate() else { return Ok(false) };
        if self.bucket.take(now, rate) { Ok(true) } else { Err(Cause::Rate) }
    }

    /// One that was taken was not used.
    pub(super) fn put_back(&mut self) {
        self.bucket.put_back();
    }

    /// Counts one more.
    pub(super) fn enter(&mut self, caller: Option<&[u8]>) {
        self.now = self.now.saturating_add(1);
        self.peak = self.peak.max(self.now);
        if let Some(caller) = caller {
            match self.callers.get_mut(caller) {
                Some(count) => *count = count.saturating_add(1),
                None => drop(self.callers.insert(caller.into(), 1)),
            }
        }
    }

    /// Counts one less.
    pub(super) fn leave(&mut self, caller: Option<&[u8]>) {
        self.now = self.now.saturating_sub(1);
        if let Some(caller) = caller
            && let Some(count) = self.callers.get_mut(caller)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.callers.remove(caller);
            }
        }
    }

    /// How many callers have a call.
    pub(super) fn callers(&self) -> usize {
        self.callers.len()
    }
}
