//! Where records go from the journal: each sink at its own pace, on a thread of its own.

mod run;
mod thread;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use moorline_b2bua::cdr::{Record, Stage};

use super::cursor::Place;

pub(super) use thread::{Begin, Ready, SinkThread};

/// The most entries that a sink is given at once, where it wants no others.
pub(super) const BATCH: usize = 256;

/// A sink that has been at the same records for so long hangs, which metrics say while it does.
const LONG: Duration = Duration::from_secs(30);

/// Takes records. What it has taken it takes no second time: by their id it knows them again.
pub(super) trait Sink: Send {
    /// In metrics, logs, and of its cursor.
    fn name(&self) -> &'static str;

    /// Whether it is given records at this stage.
    fn wants(&self, stage: Stage) -> bool {
        stage == Stage::Ended
    }

    /// Finds out whether it can be used, before it takes the place of another one, which may be at the same files.
    ///
    /// # Errors
    /// If it cannot.
    fn open(&mut self) -> Result<(), SinkFault> {
        Ok(())
    }

    /// Gets ready, after a start.
    ///
    /// # Errors
    /// If it cannot; it is asked again.
    fn prepare(&mut self, place: &mut Place) -> Result<(), SinkFault>;

    /// The most entries that it is given at once.
    fn room(&self) -> usize {
        BATCH
    }

    /// Takes all of these for good, and notes in `place` what it must know of that. What it returns it has not taken, and
    /// never will, though it is well: that is set aside.
    ///
    /// # Errors
    /// If it cannot; it is given the same again.
    fn take(&mut self, entries: &[Entry], place: &mut Place) -> Result<Vec<Refused>, SinkFault>;

    /// Does what is due besides; true where that changed `place`.
    fn tick(&mut self, _place: &mut Place) -> bool {
        false
    }
}

/// A record for a sink.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) stage: Stage,
    pub(super) record: Record,
    /// The same, in JSON.
    pub(super) json: Vec<u8>,
}

/// A record that a sink takes neither now nor later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// Which of those that it was given.
    pub(super) index: usize,
    pub(super) why: String,
}

/// Why a sink cannot take records now.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct SinkFault(pub(super) String);

impl From<io::Error> for SinkFault {
    fn from(problem: io::Error) -> SinkFault {
        SinkFault(problem.to_string())
    }
}

/// A sink's figures.
#[derive(Debug)]
pub(crate) struct SinkCounts {
    pub(crate) name: &'static str,
    /// Records taken.
    pub(crate) written: AtomicU64,
    /// Times that it could not take any.
    pub(crate) failed: AtomicU64,
    /// Records that it refuses for good, and that were set aside.
    pub(crate) set_aside: AtomicU64,
    /// Records of the process before that it had not taken at the start.
    backlog: AtomicU64,
    /// Records passed since the start.
    passed: AtomicU64,
    /// 1 while it cannot take any.
    failing: AtomicU64,
    /// Since when it has been at the same records, in milliseconds after `start`; 0 while it is at none.
    busy: AtomicU64,
    start: Instant,
    /// It was to leave, and has.
    pub(super) ended: AtomicBool,
    /// Before it had taken all.
    pub(super) gave_up: AtomicBool,
}

impl SinkCounts {
    /// Of a sink that comes when so many records have ended.
    pub(super) fn new(name: &'static str, ended: u64) -> Arc<SinkCounts> {
        Arc::new(SinkCounts {
            name,
            written: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
            backlog: AtomicU64::new(0),
            passed: AtomicU64::new(ended),
            failing: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            start: Instant::now(),
            ended: AtomicBool::new(false),
            gave_up: AtomicBool::new(false),
        })
    }

    /// How many records wait for it, where so many have ended in this process.
    pub(crate) fn waiting(&self, ended: u64) -> u64 {
        (self.backlog.load(Ordering::Relaxed) + ended).saturating_sub(self.passed.load(Ordering::Relaxed))
    }

    /// Whether it cannot take any now, or hangs.
    pub(crate) fn is_failing(&self) -> bool {
        let busy = self.busy.load(Ordering::Relaxed);
        self.failing.load(Ordering::Relaxed) == 1 || busy != 0 && self.now_ms().saturating_sub(busy) > millis(LONG)
    }

    /// Does what may hang.
    fn at_work<T>(&self, work: impl FnOnce() -> T) -> T {
        self.busy.store(self.now_ms().max(1), Ordering::Relaxed);
        let done = work();
        self.busy.store(0, Ordering::Relaxed);
        done
    }

    fn now_ms(&self) -> u64 {
        millis(self.start.elapsed())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
