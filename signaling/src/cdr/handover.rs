//! From the workers to the journal. A worker hands over what is to be written down and goes on with other calls; a thread
//! of its own writes, many steps at once, and tells the worker. A disk may keep that thread waiting for as long as it
//! likes: nobody else waits for it but what tells of a step that is not written.
//!
//! The counts of callees go the same way.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use moorline_b2bua::cdr::{Mark, Stage};
use tokio::sync::Notify;
use tracing::{error, info};

use super::journal::Journal;
use crate::limits::Limits;

/// What is handed over waits so long for the disk. Then the disk hangs: what has waited leaves, and new calls are refused
/// where that is wanted. Less than the time in which a party gives up (RFC 3261 timer F), and more than a disk at work
/// takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// The most steps that wait while the disk hangs, of calls that were answered.
const ROOM: usize = 65_536;

/// Of attempts that were not, when there are so many steps in all: an attack must not take the room of calls.
const ROOM_UNANSWERED: usize = 16_384;

/// From so many on, steps that later ones say again are left out.
const CROWDED: usize = 1024;

/// The most steps that are written at once.
const BATCH: usize = 512;

/// The thread that writes.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<thread::JoinHandle<()>>,
}

struct Shared {
    journal: Option<Journal>,
    limits: Arc<Limits>,
    queue: Mutex<Queue>,
    /// There is something in the queue.
    came: Condvar,
    workers: Vec<Slot>,
    /// How often the disk has taken something.
    progress: AtomicU64,
    /// The disk hangs.
    stalled: Arc<AtomicBool>,
}

/// What waits to be written.
struct Queue {
    marks: Vec<Mark>,
    /// The counts of callees have changed.
    counted: bool,
    /// The number of each worker's last hand-over.
    given: Vec<u64>,
    /// It is looked through for what can be left out when it is so long.
    crowded: usize,
    /// The thread waits.
    idle: bool,
    stop: bool,
}

/// What a worker is told.
#[derive(Default)]
struct Slot {
    written: AtomicU64,
    told: Notify,
}

/// A worker's end.
pub(crate) struct Handover {
    shared: Arc<Shared>,
    worker: usize,
    given: u64,
}

impl Writer {
    /// Starts the thread for so many workers.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(journal: Option<Journal>, limits: Arc<Limits>, workers: usize) -> std::io::Result<Writer> {
        let queue = Queue {
            marks: Vec::new(),
            counted: false,
            given: vec![0; workers],
            crowded: CROWDED,
            idle: false,
            stop: false,
        };
        let stalled = journal.as_ref().map(Journal::stalled).unwrap_or_default();
        let shared = Arc::new(Shared {
            journal,
            limits,
            queue: Mutex::new(queue),
            came: Condvar::new(),
            progress: AtomicU64::new(0),
            workers: (0..workers).map(|_| Slot::default()).collect(),
            stalled,
        });
        let writes = Arc::clone(&shared);
        let thread = thread::Builder::new().name("records".into()).spawn(move || writes.run())?;
        Ok(Writer { shared, thread: Some(thread) })
    }

    /// The end of one worker, which is asked for once.
    pub(crate) fn handover(&self, worker: usize) -> Handover {
        Handover { shared: Arc::clone(&self.shared), worker, given: 0 }
    }

    /// Writes what there is and ends the thread. False if the disk keeps it from that for too long.
    pub(crate) fn stop(mut self, patience: Duration) -> bool {
        self.shared.queue().stop = true;
        self.shared.came.notify_one();
        let Some(thread) = self.thread.take() else { return true };
        let deadline = Instant::now() + patience;
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(2));
        }
        if !thread.is_finished() {
            error!("the disk does not take the last call records; what it was not given is lost");
            return false;
        }
        if thread.join().is_err() {
            error!("the thread that writes call records has panicked");
        }
        true
    }
}

impl Handover {
    /// Hands marks over, and forgets them; also whether callees were counted. The number of this hand-over.
    pub(crate) fn give(&mut self, marks: &mut Vec<Mark>, counted: bool) -> u64 {
        self.given += 1;
        let mut queue = self.shared.queue();
        let mut lost = 0;
        for mark in marks.drain(..) {
            lost += u64::from(!queue.push(mark));
        }
        queue.counted |= counted;
        queue.given[self.worker] = self.given;
        let (idle, waiting) = (std::mem::take(&mut queue.idle), queue.marks.len());
        drop(queue);
        if idle {
            self.shared.came.notify_one();
        }
        if let Some(journal) = &self.shared.journal {
            journal.waits(waiting, lost);
        }
        self.given
    }

    /// Up to which hand-over everything is written.
    pub(crate) fn written(&self) -> u64 {
        self.shared.workers[self.worker].written.load(Ordering::Acquire)
    }

    /// How often the disk has taken something.
    pub(crate) fn progress(&self) -> u64 {
        self.shared.progress.load(Ordering::Relaxed)
    }

    /// Ready when there is more of that, once.
    pub(crate) async fn told(&self) {
        self.shared.workers[self.worker].told.notified().await;
    }

    /// Something was not written for too long.
    pub(crate) fn stall(&self) {
        if self.shared.stalled.swap(true, Ordering::Relaxed) {
            return;
        }
        match &self.shared.journal {
            Some(journal) => journal.stall(PATIENCE),
            None => error!("the disk of the calls of the day hangs"),
        }
    }

    /// Whether nothing is to wait for the disk, because it hangs.
    pub(crate) fn is_stalled(&self) -> bool {
        self.shared.stalled.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn run(&self) {
        let mut marks = Vec::new();
        let mut given = vec![0; self.workers.len()];
        loop {
            let (counted, stop) = self.take(&mut marks, &mut given);
            if counted {
                self.limits.write_counts();
            }
            if let Some(journal) = &self.journal {
                let mut rest = marks.drain(..);
                while rest.len() > 0 {
                    journal.write(rest.by_ref().take(BATCH));
                    self.resume();
                    journal.wait_for_room();
                }
                journal.waits(0, 0);
            }
            self.resume();
            for (slot, number) in self.workers.iter().zip(&given) {
                if slot.written.swap(*number, Ordering::Release) != *number {
                    slot.told.notify_one();
                }
            }
            if stop {
                return;
            }
        }
    }

    /// Takes what there is, after it has come. Also whether callees were counted, and whether that was the last.
    fn take(&self, marks: &mut Vec<Mark>, given: &mut Vec<u64>) -> (bool, bool) {
        let mut queue = self.queue();
        while queue.given == *given && !queue.stop {
            queue.idle = true;
            queue = self.came.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut queue.marks, marks);
        queue.crowded = CROWDED;
        given.clone_from(&queue.given);
        (std::mem::take(&mut queue.counted), queue.stop)
    }

    /// The disk has taken something.
    fn resume(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        if self.stalled.swap(false, Ordering::Relaxed) {
            match &self.journal {
                Some(journal) => journal.resume(),
                None => info!("the disk of the calls of the day does not hang any more"),
            }
        }
    }

    /// A panic while it was held has lost no mark.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// False if there is no room for the mark.
    fn push(&mut self, mark: Mark) -> bool {
        if self.marks.len() >= self.crowded {
            self.thin_out();
            self.crowded = (self.marks.len() * 2).max(CROWDED);
        }
        let room = if mark.record.answer.is_some() { ROOM } else { ROOM_UNANSWERED };
        let room = self.marks.len() < room;
        if room {
            self.marks.push(mark);
        }
        room
    }

    /// Leaves out what later marks of the same call say again, but for answers, of which others are told.
    fn thin_out(&mut self) {
        let mut later = HashSet::new();
        let mut kept: Vec<bool> = self.marks.iter().rev().map(|mark| later.insert(&mark.record.id)).collect();
        drop(later);
        self.marks.retain(|mark| kept.pop().unwrap_or(true) || mark.stage == Stage::Answered);
    }
}

#[cfg(test)]
pub(crate) mod tests;
