//! The threads of sinks: one that waits to begin, one that runs, and one that follows another.

use std::io;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::run::Run;
use super::{Sink, SinkCounts};
use crate::cdr::CdrFault;
use crate::cdr::cursor::{Cursor, Place};
use crate::cdr::journal::Journal;
use crate::cdr::segment::Position;

/// A sink and its thread.
pub(in crate::cdr) struct SinkThread {
    counts: Arc<SinkCounts>,
    joined: u64,
    thread: Option<thread::JoinHandle<()>>,
}

/// A sink whose thread waits to be told to begin; dropped, it ends.
pub(in crate::cdr) struct Ready {
    name: &'static str,
    begin: mpsc::Sender<Begin>,
    thread: thread::JoinHandle<()>,
}

/// What a sink begins with.
pub(in crate::cdr) struct Begin {
    pub(in crate::cdr) counts: Arc<SinkCounts>,
    /// Which of the journal's sinks it is.
    pub(in crate::cdr) joined: u64,
    /// It waits for the end of this one.
    pub(in crate::cdr) after: Option<thread::JoinHandle<()>>,
    /// Where it stands; where that is not known before the other one has ended, it is read then.
    pub(in crate::cdr) place: Option<Place>,
    /// Where it stands if nothing is known.
    pub(in crate::cdr) from: Position,
    /// Records between where it stands and this are not counted yet.
    pub(in crate::cdr) backlog: Option<Position>,
}

impl Ready {
    /// # Errors
    /// The system gives no thread.
    pub(in crate::cdr) fn new(sink: Box<dyn Sink>, directory: &Path, journal: &Journal) -> io::Result<Ready> {
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

    pub(in crate::cdr) fn name(&self) -> &'static str {
        self.name
    }

    pub(in crate::cdr) fn begin(self, begin: Begin) -> SinkThread {
        let (counts, joined) = (Arc::clone(&begin.counts), begin.joined);
        // The thread waits for nothing else.
        let _begins = self.begin.send(begin);
        SinkThread { counts, joined, thread: Some(self.thread) }
    }
}

impl SinkThread {
    /// Of a process that starts: the sink goes on where it stood.
    pub(in crate::cdr) fn start(
        sink: Box<dyn Sink>,
        directory: &Path,
        journal: &Journal,
    ) -> Result<SinkThread, CdrFault> {
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

    pub(in crate::cdr) fn counts(&self) -> Arc<SinkCounts> {
        Arc::clone(&self.counts)
    }

    pub(in crate::cdr) fn name(&self) -> &'static str {
        self.counts.name
    }

    /// Which of the journal's sinks it is.
    pub(in crate::cdr) fn joined(&self) -> u64 {
        self.joined
    }

    /// For the one that follows.
    pub(in crate::cdr) fn into_parts(self) -> (Arc<SinkCounts>, Option<thread::JoinHandle<()>>) {
        (self.counts, self.thread)
    }

    /// Waits until it has ended, but no longer than that.
    pub(in crate::cdr) fn stop(&mut self, deadline: Instant) {
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
