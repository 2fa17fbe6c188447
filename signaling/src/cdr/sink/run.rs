//! What the thread of a sink does: it reads the journal, gives the sink what is its own, and keeps its place.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use moorline_b2bua::cdr::Stage;
use tracing::{error, info, warn};

use super::{Begin, Entry, Refused, Sink, SinkCounts, SinkFault};
use crate::cdr::aside::Aside;
use crate::cdr::cursor::{Cursor, Place};
use crate::cdr::journal::Journal;
use crate::cdr::line;
use crate::cdr::segment::{self, Position, Reader};

/// How long records are gathered for a sink.
const GATHER: Duration = Duration::from_millis(100);

/// How long a sink is left alone that could not take records: twice as long each time, up to a minute.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How often a sink without work is asked whether it has some of its own.
const TICK: Duration = Duration::from_secs(1);

/// The most records that a sink may refuse without taking one: a sink that refuses more is at fault itself, and they wait.
const MOST_REFUSED: usize = 100;

/// A sink at work.
pub(super) struct Run {
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
    pub(super) fn new(sink: Box<dyn Sink>, directory: PathBuf, journal: Journal, begin: Begin) -> Run {
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
    pub(super) fn live(mut self) {
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
