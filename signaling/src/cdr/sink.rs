//! Where records go from the journal: each sink at its own pace, on a thread of its own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use moorline_b2bua::cdr::{Record, Stage};
use tracing::{error, info, warn};

use super::aside::Aside;
use super::cursor::{Cursor, Place};
use super::journal::Journal;
use super::segment::{self, Position, Reader};
use super::{CdrFault, line};

/// The most entries that a sink is given at once, where it wants no others.
pub(super) const BATCH: usize = 256;

/// How long records are gathered for a sink.
const GATHER: Duration = Duration::from_millis(100);

/// How long a sink is left alone that could not take records: twice as long each time, up to a minute.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often a sink without work is asked whether it has some of its own.
const TICK: Duration = Duration::from_secs(1);

/// A sink that has been at the same records for so long hangs, which metrics say while it does.
const LONG: Duration = Duration::from_secs(30);

/// The most records that a sink may refuse without taking one: a sink that refuses more is at fault itself, and they wait.
const MOST_REFUSED: usize = 100;

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

/// A sink and its thread.
pub(super) struct SinkThread {
    counts: Arc<SinkCounts>,
    joined: u64,
    thread: Option<thread::JoinHandle<()>>,
}

/// A sink whose thread waits to be told to begin; dropped, it ends.
pub(super) struct Ready {
    name: &'static str,
    begin: mpsc::Sender<Begin>,
    thread: thread::JoinHandle<()>,
}

/// What a sink begins with.
pub(super) struct Begin {
    pub(super) counts: Arc<SinkCounts>,
    /// Which of the journal's sinks it is.
    pub(super) joined: u64,
    /// It waits for the end of this one.
    pub(super) after: Option<thread::JoinHandle<()>>,
    /// Where it stands; where that is not known before the other one has ended, it is read then.
    pub(super) place: Option<Place>,
    /// Where it stands if nothing is known.
    pub(super) from: Position,
    /// Records between where it stands and this are not counted yet.
    pub(super) backlog: Option<Position>,
}

impl Ready {
    /// # Errors
    /// The system gives no thread.
    pub(super) fn new(sink: Box<dyn Sink>, directory: &Path, journal: &Journal) -> io::Result<Ready> {
        let name = sink.name();
        let (begin, begun) = mpsc::channel::<Begin>();
        let (directory, journal) = (directory.to_owned(), journal.clone());
        let body = move || {
            if let Ok(begin) = begun.recv() {
                Run::new(sink, directory, journal, begin).live();
            }
        };
        let thread = thread::Builder::new().name(format!("cdr-{name}")).spawn(body)?;
        Ok(Ready { name, begin, thread })
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn begin(self, begin: Begin) -> SinkThread {
        let (counts, joined) = (Arc::clone(&begin.counts), begin.joined);
        // The thread waits for nothing else.
        let _begins = self.begin.send(begin);
        SinkThread { counts, joined, thread: Some(self.thread) }
    }
}

impl SinkThread {
    /// Of a process that starts: the sink goes on where it stood.
    pub(super) fn start(sink: Box<dyn Sink>, directory: &Path, journal: &Journal) -> Result<SinkThread, CdrFault> {
        let name = sink.name();
        let mut place = Cursor::new(directory, name).read().unwrap_or_default();
        let first = Position { segment: journal.current(), offset: 0 };
        if place.position >= first {
            // Somebody has removed the journal: its numbers begin anew.
            warn!(sink = name, "it stands behind the end of the journal, and goes on where that begins");
            place.position = Position::default();
        }
        let begin = Begin {
            counts: SinkCounts::new(name, 0),
            joined: journal.join(place.position),
            after: None,
            place: Some(place),
            from: Position::default(),
            backlog: Some(first),
        };
        Ok(Ready::new(sink, directory, journal).map_err(CdrFault::at(directory))?.begin(begin))
    }

    pub(super) fn counts(&self) -> Arc<SinkCounts> {
        Arc::clone(&self.counts)
    }

    pub(super) fn name(&self) -> &'static str {
        self.counts.name
    }

    /// Which of the journal's sinks it is.
    pub(super) fn joined(&self) -> u64 {
        self.joined
    }

    /// For the one that follows.
    pub(super) fn into_parts(self) -> (Arc<SinkCounts>, Option<thread::JoinHandle<()>>) {
        (self.counts, self.thread)
    }

    /// Waits until it has ended, but no longer than that.
    pub(super) fn stop(&mut self, deadline: Instant) {
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        if !thread.is_finished() {
            warn!(sink = self.counts.name, "call records wait for the next start");
        } else if thread.join().is_err() {
            error!(sink = self.counts.name, "the thread of a sink of call records has panicked");
        }
    }
}

struct Run {
    sink: Box<dyn Sink>,
    aside: Aside,
    /// Records that it has refused since it took one.
    refused: usize,
    cursor: Cursor,
    place: Place,
    /// It is on the disk as it is here.
    saved: bool,
    directory: PathBuf,
    journal: Journal,
    /// Which of the journal's sinks it is.
    joined: u64,
    counts: Arc<SinkCounts>,
    backlog: Option<Position>,
}

/// What a turn came to.
enum Turn {
    /// Records were taken, and there may be more.
    Taken,
    /// There is nothing to take up to there.
    Nothing,
}

impl Run {
    fn new(sink: Box<dyn Sink>, directory: PathBuf, journal: Journal, begin: Begin) -> Run {
        let Begin { counts, joined, after, place, from, backlog } = begin;
        if after.is_some_and(|before| before.join().is_err()) {
            error!(sink = counts.name, "the thread of a sink of call records has panicked");
        }
        let cursor = Cursor::new(&directory, counts.name);
        let saved = place.is_some();
        let known = || cursor.read().filter(|place| place.position.segment <= journal.current());
        let place = place.or_else(known).unwrap_or(Place { position: from, ..Place::default() });
        journal.passed(joined, place.position);
        let aside = Aside::new(&directory, counts.name);
        Run { sink, aside, refused: 0, cursor, place, saved, directory, journal, joined, counts, backlog }
    }

    /// Takes records until there are no more for it.
    fn live(mut self) {
        if !self.saved {
            // Killed before the first record, it stands here all the same.
            self.save();
        }
        self.run();
        if !self.journal.has_all(self.joined) {
            // It may never have taken any: what is owed begins here.
            self.save();
        }
        let Some((all, for_good)) = self.journal.leave(self.joined) else { return };
        let name = self.counts.name;
        match (all, for_good) {
            (true, true) => {
                if let Err(problem) = self.cursor.remove() {
                    warn!(sink = name, "where it stood is not forgotten: {problem}");
                }
                info!(sink = name, "closed: it has taken all call records that were its own");
            }
            (true, false) => info!(sink = name, "closed: another one follows"),
            (false, true) => warn!(sink = name, "closed, and has not taken all call records that were its own"),
            (false, false) => warn!(sink = name, "closed: what it has not taken is for the one that follows"),
        }
        if for_good {
            self.counts.gave_up.store(!all, Ordering::Relaxed);
            self.counts.ended.store(true, Ordering::Release);
        }
    }

    fn run(&mut self) {
        self.count_backlog();
        let (mut pause, mut prepared, mut last) = (FIRST_PAUSE, false, false);
        loop {
            let counts = Arc::clone(&self.counts);
            let result = counts.at_work(|| {
                let result = if prepared { Ok(()) } else { self.sink.prepare(&mut self.place) };
                prepared |= result.is_ok();
                result.and_then(|()| self.turn())
            });
            match result {
                Ok(turn) => {
                    pause = FIRST_PAUSE;
                    if self.counts.failing.swap(0, Ordering::Relaxed) == 1 {
                        info!(sink = self.counts.name, "call records are taken again");
                    }
                    match turn {
                        Turn::Taken => self.tick(),
                        Turn::Nothing if last => return,
                        Turn::Nothing => last = self.wait(),
                    }
                }
                Err(problem) => {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                    if self.counts.failing.swap(1, Ordering::Relaxed) == 0 {
                        warn!(
                            sink = self.counts.name,
                            "call records wait in the journal: {problem}; it is tried again"
                        );
                    }
                    if last || self.rest(pause) {
                        return;
                    }
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Waits for more records; true when these will be the last.
    fn wait(&mut self) -> bool {
        let (_, stop) = self.journal.safe(self.joined, self.place.position, TICK);
        if stop {
            return true;
        }
        self.tick();
        // Those that come soon are taken together.
        let (_, stop) = self.journal.safe(self.joined, Position { segment: u64::MAX, offset: 0 }, GATHER);
        stop
    }

    /// Does what is due besides. A file is not complete before it is known what of the journal is in it: after a crash
    /// that would be taken again.
    fn tick(&mut self) {
        if !self.saved {
            self.save();
        }
        if self.saved && self.sink.tick(&mut self.place) {
            self.save();
        }
    }

    /// Leaves the sink alone for a while; true when the process ends.
    fn rest(&self, pause: Duration) -> bool {
        self.journal.safe(self.joined, Position { segment: u64::MAX, offset: 0 }, pause).1
    }

    /// Gives the sink the next records.
    fn turn(&mut self) -> Result<Turn, SinkFault> {
        let (safe, _) = self.journal.safe(self.joined, Position::default(), Duration::ZERO);
        let mut at = self.place.position;
        let (mut entries, mut ended) = (Vec::new(), 0);
        // A batch never spans segments; a segment that is read to its end leads to the next.
        loop {
            self.read(&mut at, safe, &mut entries, &mut ended)?;
            if !entries.is_empty() || at.segment >= safe.segment {
                break;
            }
            match self.journal.after(at.segment).filter(|next| *next <= safe.segment) {
                Some(next) => at = Position { segment: next, offset: 0 },
                None => break,
            }
        }
        if at == self.place.position {
            return Ok(Turn::Nothing);
        }
        let refused = if entries.is_empty() { Vec::new() } else { self.sink.take(&entries, &mut self.place)? };
        self.set_aside(&entries, &refused)?;
        self.place.position = at;
        self.save();
        self.counts.passed.fetch_add(ended, Ordering::Relaxed);
        self.counts.written.fetch_add((entries.len() - refused.len()) as u64, Ordering::Relaxed);
        self.journal.passed(self.joined, at);
        Ok(Turn::Taken)
    }

    /// Keeps what the sink takes neither now nor later, so that the rest need not wait for it.
    fn set_aside(&mut self, entries: &[Entry], refused: &[Refused]) -> Result<(), SinkFault> {
        let in_a_row = if refused.len() == entries.len() { self.refused + refused.len() } else { 0 };
        let Some(first) = refused.first() else {
            self.refused = in_a_row;
            return Ok(());
        };
        if in_a_row > MOST_REFUSED {
            return Err(SinkFault(format!("it refuses every record: {}", first.why)));
        }
        self.aside.add(entries, refused)?;
        self.refused = in_a_row;
        self.counts.set_aside.fetch_add(refused.len() as u64, Ordering::Relaxed);
        warn!(
            sink = self.counts.name,
            file = %self.aside.path().display(),
            records = refused.len(),
            "call records are refused for good, and set aside: {}",
            first.why
        );
        Ok(())
    }

    /// Reads what the sink wants of a segment from `at` on, and moves `at` behind that.
    fn read(&self, at: &mut Position, safe: Position, entries: &mut Vec<Entry>, ended: &mut u64) -> io::Result<()> {
        let end = match at.segment {
            segment if segment == safe.segment => safe.offset,
            segment if segment < safe.segment => u64::MAX,
            _ => return Ok(()),
        };
        let mut reader = match Reader::open(&segment::path(&self.directory, at.segment), at.offset, end) {
            Ok(reader) => reader,
            // Of a sink that is new, or was too slow.
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(problem) => return Err(problem),
        };
        while entries.len() < self.sink.room() {
            let Some(text) = reader.next()? else { break };
            let wanted = line::read(text).filter(|line| !line.carried && self.sink.wants(line.stage));
            if let Some(line) = wanted
                && let Ok(record) = serde_json::from_slice(line.json)
            {
                *ended += u64::from(line.stage == Stage::Ended);
                entries.push(Entry { stage: line.stage, record, json: line.json.to_vec() });
            }
            at.offset = reader.offset();
        }
        Ok(())
    }

    /// Counts what was there for the sink before it came.
    fn count_backlog(&self) {
        let Some(until) = self.backlog else { return };
        let (mut at, mut found) = (self.place.position, 0);
        while at < until {
            let mut entries = Vec::new();
            let before = at;
            if self.read(&mut at, until, &mut entries, &mut found).is_err() {
                break;
            }
            if entries.is_empty() && before == at {
                match self.journal.after(at.segment) {
                    Some(next) => at = Position { segment: next, offset: 0 },
                    None => break,
                }
            }
        }
        self.counts.backlog.store(found, Ordering::Relaxed);
    }

    /// Writes down where the sink stands. If that fails, it will know again what it has taken.
    fn save(&mut self) {
        let result = self.cursor.write(&self.place);
        self.saved = result.is_ok();
        if let Err(problem) = result {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            warn!(sink = self.counts.name, "where it stands is not written down: {problem}");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
