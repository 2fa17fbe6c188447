//! The journal's thread: it brings marks to the disk, and removes what nobody needs any more.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use moorline_control::SessionId;
use tracing::{error, info, warn};

use super::super::line;
use super::super::segment::{self, Position};
use super::medium::Written;
use super::{Journal, State};

/// How long marks are gathered before they are brought to the disk together.
const GATHER: Duration = Duration::from_millis(20);

/// How often a journal that cannot be written is tried again, and old segments are looked at.
const TICK: Duration = Duration::from_secs(1);

pub(super) struct Keeper(pub(super) Journal);

impl Keeper {
    pub(super) fn run(self) {
        let (mut sync_failing, mut swept) = (false, Instant::now());
        loop {
            let stop = self.gather();
            match self.sync() {
                Ok(()) if std::mem::take(&mut sync_failing) => {
                    info!("the journal of call records is on the disk again");
                }
                Err(problem) if !std::mem::replace(&mut sync_failing, true) => {
                    error!("the journal of call records cannot be brought to the disk: {problem}; it is written again");
                }
                _ => {}
            }
            if swept.elapsed() >= TICK {
                swept = Instant::now();
                self.sweep();
            }
            if stop {
                return;
            }
        }
    }

    /// Waits for marks, and for those that come soon after. True when it is to end.
    fn gather(&self) -> bool {
        let shared = &self.0.0;
        let mut state = self.0.state();
        let quiet = |state: &State| {
            let safe = Position { segment: state.number, offset: state.length };
            state.safe == safe && state.unsynced.is_empty() && !state.stop
        };
        state.idle = true;
        let waited = shared.written.wait_timeout_while(state, TICK, |state| quiet(state));
        (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.idle = false;
        if state.stop {
            return true;
        }
        drop(state);
        thread::sleep(GATHER);
        false
    }

    fn sync(&self) -> io::Result<()> {
        let (files, written, doubtful, position) = {
            let mut state = self.0.state();
            if !state.pending.is_empty() {
                let pending = std::mem::take(&mut state.pending);
                if self.0.put(&mut state, &pending).is_err() {
                    state.pending = pending;
                    drop(state);
                    thread::sleep(TICK);
                    state = self.0.state();
                } else {
                    state.place_marked();
                }
            }
            let position = Position { segment: state.number, offset: state.length };
            if state.safe == position && state.unsynced.is_empty() {
                return Ok(());
            }
            let mut files = std::mem::take(&mut state.unsynced);
            files.extend(state.file.clone());
            (files, std::mem::take(&mut state.written), state.doubtful, position)
        };
        let fresh = position.segment != self.0.state().safe.segment;
        if let Err(problem) = self.bring(&files, &written, doubtful, fresh) {
            let mut guard = self.0.state();
            let state = &mut *guard;
            let current = state.file.clone();
            let others = files.iter().filter(|file| current.as_ref().is_none_or(|at| !Arc::ptr_eq(at, file)));
            state.unsynced.extend(others.cloned());
            let since = std::mem::replace(&mut state.written, written);
            state.written.extend(since);
            state.doubtful = true;
            self.0.say(state);
            drop(guard);
            thread::sleep(TICK);
            return Err(problem);
        }
        let mut guard = self.0.state();
        let state = &mut *guard;
        state.safe = position;
        state.written_bytes -= written.iter().map(|written| written.lines.len()).sum::<usize>();
        state.doubtful = false;
        self.0.say(state);
        drop(guard);
        self.0.0.synced.notify_all();
        Ok(())
    }

    /// Brings these segments to the disk, and the directory where a segment is new. What is doubtful is written again
    /// first: after a failure the system takes for written what it has lost, and would say no more of it.
    fn bring(&self, files: &[Arc<File>], written: &[Written], doubtful: bool, fresh: bool) -> io::Result<()> {
        let shared = &self.0.0;
        if doubtful {
            written.iter().try_for_each(|lines| lines.again(&segment::path(&shared.directory, lines.segment)))?;
        }
        files.iter().try_for_each(|file| shared.medium.sync(file))?;
        if fresh { File::open(&shared.directory)?.sync_all() } else { Ok(()) }
    }

    /// Removes old segments that nobody needs, and others where the journal is too long.
    fn sweep(&self) {
        let shared = &self.0.0;
        loop {
            let mut guard = self.0.state();
            let state = &mut *guard;
            let total = state.older.iter().map(|(_, length)| length).sum::<u64>() + state.length;
            shared.counts.bytes.store(total, Ordering::Relaxed);
            let full = total > shared.limit.load(Ordering::Relaxed);
            if full != std::mem::replace(&mut state.full, full) {
                match (full, shared.refuses()) {
                    (true, true) => error!("the journal of call records is full: new calls are refused"),
                    (true, false) => {
                        error!("the journal of call records is full: the oldest are lost to who has not taken them")
                    }
                    (false, _) => info!("the journal of call records has room again"),
                }
            }
            self.0.say(state);
            let Some((number, _)) = state.older.first().copied() else { return };
            let read = state.sinks.values().all(|sink| sink.position.segment > number);
            if !read && (!full || shared.refuses()) {
                return;
            }
            let open = state.open.iter().filter(|(_, marked)| **marked == number).map(|(id, _)| *id).collect();
            drop(guard);
            if let Err(problem) = self.carry_over(number, &open) {
                // It stays, and is tried again.
                warn!("an old segment of the journal of call records is kept: {problem}");
                return;
            }
            shared.counts.cut.fetch_add(u64::from(!read), Ordering::Relaxed);
            self.0.state().older.retain(|(older, _)| *older != number);
            let path = segment::path(&shared.directory, number);
            if let Err(problem) = fs::remove_file(&path) {
                warn!(file = %path.display(), "cannot be removed: {problem}");
            }
        }
    }

    /// Copies the marks of records that are open in a segment to the one that is written, and makes sure that they are
    /// there. Workers do not wait for the reading, nor for the disk.
    fn carry_over(&self, number: u64, open: &HashSet<SessionId>) -> io::Result<()> {
        if open.is_empty() {
            return Ok(());
        }
        let path = segment::path(&self.0.0.directory, number);
        let mut reader = segment::Reader::open(&path, 0, u64::MAX)?;
        let mut latest: HashMap<SessionId, Vec<u8>> = HashMap::new();
        while let Some(text) = reader.next()? {
            let Some(read) = line::read(text) else { continue };
            let id = line::id(read.json).and_then(|id| id.parse::<SessionId>().ok());
            if let Some(id) = id.filter(|id| open.contains(id)) {
                let mut carried = Vec::new();
                line::carry(&mut carried, read);
                latest.insert(id, carried);
            }
        }
        let mut guard = self.0.state();
        let state = &mut *guard;
        // Some were marked anew meanwhile.
        latest.retain(|id, _| state.open.get(id) == Some(&number));
        let lines: Vec<u8> = latest.values().flatten().copied().collect();
        self.0.put(state, &lines)?;
        let now_in = state.number;
        state.open.extend(latest.keys().map(|id| (*id, now_in)));
        let file = state.file.clone();
        drop(guard);
        // It is removed only after this, so nothing is lost whenever the power fails.
        let synced = file.map_or(Ok(()), |file| self.0.0.medium.sync(&file));
        if synced.is_err() {
            self.0.state().doubtful = true;
        }
        synced
    }
}
