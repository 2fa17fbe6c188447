//! The journal: what the workers write down of calls, before anybody hears of it.
//!
//! What the workers hand over is appended to the page cache, which a killed process does not lose. The journal's thread
//! brings it to the disk, some milliseconds later and much at once, and only then may sinks have it; it removes
//! segments that every sink has read, carrying over what is still open in them.
//!
//! Where the disk reports that it has not taken what was written, the system forgets that it had to: the same lines are
//! written again in their place, until the disk takes them. Until then nothing of them is given to sinks.

mod keeper;
mod medium;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use moorline_b2bua::Concurrency;
use moorline_b2bua::cdr::{Mark, Stage};
use moorline_control::SessionId;
use tracing::{error, info};

use keeper::Keeper;
use medium::Written;
pub(super) use medium::{Disk, Medium};

use super::replay::Before;
use super::segment::{self, Position};
use super::{CdrFault, line};
use crate::config::{CdrConfig, WhenJournalFullConfig};

/// A segment is full at this length.
const SEGMENT: u64 = 8 << 20;

/// The most bytes of marks that are kept in memory while the journal cannot be written, and as many while what was
/// written cannot be brought to the disk. Half of that is for calls that were answered: attempts that were not have no
/// end.
const MAX_PENDING: usize = 32 << 20;

/// When so much was written and is not on the disk, more waits.
const MAX_UNSAFE: usize = MAX_PENDING / 8 * 7;

/// How often it is looked whether there is less.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The segment of marks that are not in any yet.
const NOWHERE: u64 = u64::MAX;

/// A handle of the journal; each worker has one.
#[derive(Clone)]
pub(crate) struct Journal(Arc<Shared>);

/// The journal's figures.
#[derive(Debug, Default)]
pub(crate) struct JournalCounts {
    /// Marks written.
    pub(crate) marks: AtomicU64,
    /// Records that have ended.
    pub(crate) records: AtomicU64,
    /// Marks lost for want of room.
    pub(crate) lost: AtomicU64,
    /// Segments removed before every sink had read them.
    pub(crate) cut: AtomicU64,
    /// Bytes on disk.
    pub(crate) bytes: AtomicU64,
    /// 1 while it cannot be written, hangs, or is full.
    pub(crate) failing: AtomicU64,
    /// Marks that were handed over and wait.
    pub(crate) waiting: AtomicU64,
    /// Times that its disk began to hang.
    pub(crate) stalls: AtomicU64,
}

struct Shared {
    directory: PathBuf,
    limit: AtomicU64,
    refuse: AtomicBool,
    calls: Arc<Concurrency>,
    counts: Arc<JournalCounts>,
    medium: Arc<dyn Medium>,
    /// Its disk hangs. Whoever says so cannot look at the state, which the one who hangs holds.
    stalled: Arc<AtomicBool>,
    state: Mutex<State>,
    /// The journal's thread is to look again.
    written: Condvar,
    /// Sinks are to look again.
    synced: Condvar,
}

struct State {
    /// The segment that is written; `None` after a write that left it in doubt.
    file: Option<Arc<File>>,
    number: u64,
    length: u64,
    /// Segments before it that are not on the disk for good.
    unsynced: Vec<Arc<File>>,
    /// What was written since everything was on the disk, and how many bytes that are.
    written: Vec<Written>,
    written_bytes: usize,
    /// Some of that was not taken by the disk.
    doubtful: bool,
    /// Up to here everything is.
    safe: Position,
    /// All segments with their lengths, the one that is written left out.
    older: Vec<(u64, u64)>,
    /// In which segment each open record was marked last; [`NOWHERE`] while that mark waits in memory.
    open: HashMap<SessionId, u64>,
    /// Records that were marked and whose mark is in no segment yet.
    marked: Vec<SessionId>,
    /// Records that ended in the process before.
    ended: HashSet<SessionId>,
    /// What could not be written.
    pending: Vec<u8>,
    failing: bool,
    full: bool,
    /// The thread waits without a deadline.
    idle: bool,
    stop: bool,
    /// It has stopped, and nothing more becomes safe.
    stopped: bool,
    buffer: Vec<u8>,
    /// Where the lines in it end, and whether the call of each was answered.
    lines: Vec<(usize, bool)>,
    /// The sinks, by number.
    sinks: BTreeMap<u64, Standing>,
    next_sink: u64,
    thread: Option<thread::JoinHandle<()>>,
}

/// How far a sink has come.
#[derive(Debug, Clone, Copy)]
struct Standing {
    position: Position,
    /// It leaves: nothing from here on is for it.
    until: Option<Position>,
    /// And nobody follows it.
    for_good: bool,
}

impl Shared {
    fn refuses(&self) -> bool {
        self.refuse.load(Ordering::Relaxed)
    }
}

fn limit(config: &CdrConfig) -> u64 {
    u64::from(config.journal_mb) << 20
}

fn refuses(config: &CdrConfig) -> bool {
    config.when_full == WhenJournalFullConfig::Refuse
}

impl State {
    fn join(&mut self, position: Position) -> u64 {
        let number = self.next_sink;
        self.next_sink += 1;
        self.sinks.insert(number, Standing { position, until: None, for_good: false });
        number
    }

    /// Up to where a sink may read, and whether there will be no more for it.
    fn bound(&self, sink: u64) -> (Position, bool) {
        let until = self.sinks.get(&sink).and_then(|standing| standing.until);
        let safe = until.map_or(self.safe, |until| until.min(self.safe));
        (safe, self.stopped || until.is_some_and(|until| self.safe >= until))
    }

    /// What was marked is in the segment that is written: not always in the one that was written when it was marked.
    fn place_marked(&mut self) {
        for id in self.marked.drain(..) {
            if let Some(place) = self.open.get_mut(&id) {
                *place = self.number;
            }
        }
    }
}

impl Journal {
    /// Opens a new segment behind those that are there.
    pub(super) fn open(
        directory: &Path,
        config: &CdrConfig,
        before: &Before,
        calls: Arc<Concurrency>,
        medium: Arc<dyn Medium>,
    ) -> Result<Journal, CdrFault> {
        let number = before.segments.last().map_or(1, |(number, _)| number + 1);
        let path = segment::path(directory, number);
        let file = segment::create(&path).map_err(CdrFault::at(&path))?;
        File::open(directory).and_then(|directory| directory.sync_all()).map_err(CdrFault::at(directory))?;
        let counts = Arc::new(JournalCounts::default());
        let bytes = before.segments.iter().map(|(_, length)| length).sum();
        counts.bytes.store(bytes, Ordering::Relaxed);
        let state = State {
            file: Some(Arc::new(file)),
            number,
            length: 0,
            unsynced: Vec::new(),
            written: Vec::new(),
            written_bytes: 0,
            doubtful: false,
            safe: Position { segment: number, offset: 0 },
            older: before.segments.clone(),
            open: before.marked.clone(),
            marked: Vec::new(),
            ended: before.ended.iter().copied().collect(),
            pending: Vec::new(),
            failing: false,
            full: false,
            idle: false,
            stop: false,
            stopped: false,
            buffer: Vec::new(),
            lines: Vec::new(),
            sinks: BTreeMap::new(),
            next_sink: 0,
            thread: None,
        };
        let journal = Journal(Arc::new(Shared {
            directory: directory.to_owned(),
            limit: AtomicU64::new(limit(config)),
            refuse: AtomicBool::new(refuses(config)),
            calls,
            counts,
            medium,
            stalled: Arc::default(),
            state: Mutex::new(state),
            written: Condvar::new(),
            synced: Condvar::new(),
        }));
        let keeper = Keeper(journal.clone());
        let thread = thread::Builder::new().name("journal".into()).spawn(move || keeper.run());
        journal.state().thread = Some(thread.map_err(CdrFault::at(directory))?);
        Ok(journal)
    }

    pub(crate) fn counts(&self) -> Arc<JournalCounts> {
        Arc::clone(&self.0.counts)
    }

    /// Writes marks down. When it returns, a process that is killed has not lost them. The disk may keep it for long.
    pub(super) fn write(&self, marks: impl IntoIterator<Item = Mark>) {
        let mut state = self.state();
        let state = &mut *state;
        state.buffer.clear();
        state.lines.clear();
        let mut ended = 0;
        for Mark { stage, record } in marks {
            let Ok(id) = record.id.parse::<SessionId>() else { continue };
            if state.ended.contains(&id) {
                continue;
            }
            line::write(&mut state.buffer, stage, &record);
            state.lines.push((state.buffer.len(), record.answer.is_some()));
            if stage == Stage::Ended {
                ended += 1;
                state.open.remove(&id);
            } else {
                state.open.insert(id, NOWHERE);
                state.marked.push(id);
            }
        }
        self.0.counts.marks.fetch_add(state.lines.len() as u64, Ordering::Relaxed);
        self.0.counts.records.fetch_add(ended, Ordering::Relaxed);
        self.append(state);
    }

    /// Appends the buffer to the segment, or keeps it for later where that cannot be.
    fn append(&self, state: &mut State) {
        let buffer = std::mem::take(&mut state.buffer);
        if !state.pending.is_empty() || self.put(state, &buffer).is_err() {
            let mut from = 0;
            for (end, answered) in state.lines.drain(..) {
                let room = if answered { MAX_PENDING } else { MAX_PENDING / 2 };
                let line = &buffer[std::mem::replace(&mut from, end)..end];
                if state.pending.len() + line.len() <= room {
                    state.pending.extend_from_slice(line);
                } else {
                    self.0.counts.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        } else {
            state.place_marked();
        }
        state.buffer = buffer;
        if std::mem::take(&mut state.idle) {
            self.0.written.notify_one();
        }
    }

    /// Waits while as much as can be kept is not on the disk yet, unless the disk has said that it fails.
    pub(super) fn wait_for_room(&self) {
        let mut state = self.state();
        while state.written_bytes > MAX_UNSAFE && !(state.doubtful || state.failing || state.stop) {
            let waited = self.0.synced.wait_timeout(state, LOOK_AGAIN);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// So many marks wait to be written, and some have found no room.
    pub(super) fn waits(&self, marks: usize, lost: u64) {
        self.0.counts.waiting.store(marks as u64, Ordering::Relaxed);
        self.0.counts.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// Whether the disk hangs: set by whoever waits for it, before that is said with [`Journal::stall`].
    pub(super) fn stalled(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0.stalled)
    }

    /// The disk has taken nothing for so long. Should it take something at this moment, then the journal's thread corrects
    /// what is said here.
    pub(super) fn stall(&self, patience: Duration) {
        self.0.counts.stalls.fetch_add(1, Ordering::Relaxed);
        let calls = if self.0.refuses() { "new calls are refused" } else { "calls go on" };
        let so_long = patience.as_secs();
        error!("the disk of the journal of call records hangs for {so_long} s: {calls} until it takes something");
        self.0.counts.failing.store(1, Ordering::Relaxed);
        if self.0.refuses() {
            self.0.calls.shut(true);
        }
    }

    /// It has taken something.
    pub(super) fn resume(&self) {
        info!("the disk of the journal of call records does not hang any more");
        self.say(&self.state());
    }

    /// Writes whole lines, or nothing of them.
    fn put(&self, state: &mut State, lines: &[u8]) -> io::Result<()> {
        let result = self.try_put(state, lines);
        match &result {
            Ok(()) if state.failing => {
                state.failing = false;
                info!("the journal of call records is written again");
            }
            Err(problem) if !state.failing => {
                state.failing = true;
                let calls = if self.0.refuses() { "new calls are refused" } else { "records may be lost" };
                error!("the journal of call records cannot be written: {problem}; {calls} until it can");
            }
            _ => {}
        }
        self.say(state);
        result
    }

    fn try_put(&self, state: &mut State, lines: &[u8]) -> io::Result<()> {
        if state.written_bytes + lines.len() > MAX_PENDING {
            return Err(io::Error::other("too much waits for the disk to take it"));
        }
        if state.file.is_none() || state.length >= SEGMENT {
            let path = segment::path(&self.0.directory, state.number + 1);
            let file = segment::create(&path)?;
            state.older.push((state.number, state.length));
            state.unsynced.extend(state.file.replace(Arc::new(file)));
            (state.number, state.length) = (state.number + 1, 0);
        }
        let Some(file) = &state.file else { return Ok(()) };
        if let Err(problem) = self.0.medium.append(file, lines) {
            // A part of them may be there.
            if file.set_len(state.length).is_err() {
                state.unsynced.extend(state.file.take());
            }
            return Err(problem);
        }
        let (segment, offset) = (state.number, state.length);
        state.length += lines.len() as u64;
        state.written_bytes += lines.len();
        match state.written.last_mut() {
            Some(last) if last.segment == segment => last.lines.extend_from_slice(lines),
            _ => state.written.push(Written { segment, offset, lines: lines.to_vec() }),
        }
        Ok(())
    }

    /// Says how things stand, where it has changed.
    fn say(&self, state: &State) {
        let stalled = self.0.stalled.load(Ordering::Relaxed);
        let failing = state.failing || state.full || state.doubtful || stalled;
        self.0.counts.failing.store(u64::from(failing), Ordering::Relaxed);
        self.0.calls.shut(failing && self.0.refuses());
    }

    /// Takes a sink in, which stands there. Its number.
    pub(super) fn join(&self, position: Position) -> u64 {
        self.state().join(position)
    }

    /// Whether everything that was handed over is in a segment.
    pub(super) fn is_written(&self) -> bool {
        // Who waits for a disk that hangs holds the state.
        !self.0.stalled.load(Ordering::Relaxed) && self.state().pending.is_empty()
    }

    /// Goes on by other bounds.
    pub(super) fn follow(&self, config: &CdrConfig) {
        self.0.limit.store(limit(config), Ordering::Relaxed);
        self.0.refuse.store(refuses(config), Ordering::Relaxed);
        self.say(&self.state());
    }

    /// What is written from now on is for other sinks. Those that leave (and whether nobody follows them) have what was
    /// before; those that come stand at the end, or where the one stands that they follow. Their numbers, the end, and how
    /// many records have ended before it.
    pub(super) fn exchange(&self, leave: &[(u64, bool)], come: &[Option<u64>]) -> (Vec<u64>, Position, u64) {
        let mut state = self.state();
        let end = Position { segment: state.number, offset: state.length };
        for (number, gone) in leave {
            if let Some(standing) = state.sinks.get_mut(number) {
                (standing.until, standing.for_good) = (Some(end), *gone);
            }
        }
        let stands = |state: &State, follows: &u64| state.sinks.get(follows).map(|standing| standing.position);
        let joined = come.iter().map(|follows| {
            let position = follows.as_ref().and_then(|follows| stands(&state, follows)).unwrap_or(end);
            state.join(position)
        });
        let joined = joined.collect();
        let ended = self.0.counts.records.load(Ordering::Relaxed);
        drop(state);
        self.0.synced.notify_all();
        (joined, end, ended)
    }

    /// Whether a sink has taken all that is its own before it leaves.
    pub(super) fn has_all(&self, sink: u64) -> bool {
        let sinks = &self.state().sinks;
        sinks.get(&sink).is_none_or(|standing| standing.until.is_none_or(|until| standing.position >= until))
    }

    /// A sink that was to leave has ended: whether it has taken all that was its own, and whether nobody follows it. `None`
    /// where it was not to leave.
    pub(super) fn leave(&self, sink: u64) -> Option<(bool, bool)> {
        let mut state = self.state();
        let standing = *state.sinks.get(&sink)?;
        let until = standing.until?;
        state.sinks.remove(&sink);
        Some((standing.position >= until, standing.for_good))
    }

    /// A sink has come so far.
    pub(super) fn passed(&self, sink: u64, position: Position) {
        if let Some(standing) = self.state().sinks.get_mut(&sink) {
            standing.position = position;
        }
    }

    /// Up to where a sink may read; waits for more than `known` for a while. Also whether there will be no more for it.
    pub(super) fn safe(&self, sink: u64, known: Position, patience: Duration) -> (Position, bool) {
        let state = self.state();
        let none_new = |state: &mut State| {
            let (safe, last) = state.bound(sink);
            safe <= known && !last
        };
        let waited = self.0.synced.wait_timeout_while(state, patience, none_new);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.bound(sink)
    }

    /// Where a sink goes on that has read a segment to its end, or whose segment is gone.
    pub(super) fn after(&self, segment: u64) -> Option<u64> {
        let state = self.state();
        let numbers = state.older.iter().map(|(number, _)| *number);
        numbers.chain([state.number]).find(|number| *number > segment)
    }

    /// The segment that is written.
    pub(super) fn current(&self) -> u64 {
        self.state().number
    }

    /// Brings everything to the disk, and ends the thread.
    pub(super) fn stop(&self) {
        let thread = {
            let mut state = self.state();
            state.stop = true;
            state.thread.take()
        };
        self.0.written.notify_all();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            error!("the journal's thread has panicked");
        }
        self.state().stopped = true;
        self.0.synced.notify_all();
    }

    /// A panic while it was held left at worst a line half written, which readers pass over.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
