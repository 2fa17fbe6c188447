//! The thread that writes: it gathers changes while the disk is busy, and commits them together.

use std::collections::btree_map::Entry;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{error, info};

use super::file::StoreFile;
use super::{Batch, Change, Name};

/// The most entries in one batch; while the disk fails, the rest waits in the queue.
const MAX_BATCH: usize = 16_384;

/// How long is waited for changes that come together, so that a thousand registrations a second are ten commits.
const GATHER: Duration = Duration::from_millis(100);

/// How long after a failed write the next is tried.
const RETRY: Duration = Duration::from_secs(1);

/// How far the writer is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    state: Mutex<State>,
    advanced: Condvar,
}

#[derive(Debug, Default, Clone, Copy)]
struct State {
    written: u64,
    failing: bool,
    ended: bool,
}

pub(super) struct Writer {
    file: StoreFile,
    changes: Receiver<(u64, Change)>,
    progress: Arc<Progress>,
    batch: Batch,
    /// The number of the last change in the batch.
    last: u64,
}

impl Writer {
    pub(super) fn new(file: StoreFile, changes: Receiver<(u64, Change)>, progress: Arc<Progress>) -> Writer {
        Writer { file, changes, progress, batch: Batch::new(), last: 0 }
    }

    /// Removes an entry with the first batch.
    pub(super) fn drop_entry(&mut self, name: Name) {
        self.batch.insert(name, None);
    }

    /// Writes until there is no store any more, and all that came before.
    pub(super) fn run(mut self) {
        let mut open = true;
        while open || !self.batch.is_empty() {
            if open {
                open = self.gather();
            }
            if !self.batch.is_empty() && !self.write() {
                if !open {
                    // Nobody would ever read the progress of more attempts.
                    break;
                }
                std::thread::sleep(RETRY);
            }
        }
        self.progress.set(|state| state.ended = true);
    }

    /// Takes changes: waits for the first, then for those that come soon after it. False if there will be no more.
    fn gather(&mut self) -> bool {
        if self.batch.is_empty() {
            match self.changes.recv() {
                Ok(change) => self.take(change),
                Err(_) => return false,
            }
        }
        let deadline = Instant::now() + GATHER;
        while self.batch.len() < MAX_BATCH {
            match self.changes.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(change) => self.take(change),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
        true
    }

    fn take(&mut self, (number, change): (u64, Change)) {
        self.last = number;
        match self.batch.entry(change.name) {
            Entry::Occupied(mut earlier) => _ = earlier.insert(change.content),
            Entry::Vacant(new) => _ = new.insert(change.content),
        }
    }

    /// Commits the batch; false if that failed, and then it is kept.
    fn write(&mut self) -> bool {
        let failed_before = self.progress.is_failing();
        match self.file.commit(&self.batch) {
            Ok(()) => {
                if failed_before {
                    info!("the store is written again");
                }
                self.batch.clear();
                let last = self.last;
                self.progress.set(|state| (state.written, state.failing) = (last.max(state.written), false));
                true
            }
            Err(fault) => {
                if !failed_before {
                    error!("the store cannot be written: {fault}; it is tried every second");
                }
                self.progress.set(|state| state.failing = true);
                false
            }
        }
    }
}

impl Progress {
    pub(super) fn written(&self) -> u64 {
        self.lock().written
    }

    pub(super) fn is_failing(&self) -> bool {
        self.lock().failing
    }

    /// Waits until the change with this number is written; false if it was not by then.
    pub(super) fn wait(&self, number: u64, deadline: Instant) -> bool {
        let mut state = self.lock();
        while state.written < number && !state.ended {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.advanced.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.written >= number
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.advanced.notify_all();
    }

    /// A panic while it was held left nothing half done: the state is plain numbers.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
