//! Call detail records on their way out of the process.
//!
//! The workers hand the marks of their calls' records over ([`handover`]), and hold the answers of the same step until
//! they are in a [`journal`]: a process that is killed has lost nothing that anybody heard of. A thread of the journal's
//! own makes that safe from power failures, a moment later. From the journal each [`sink`] takes the records at its own pace, on a thread of its
//! own, and keeps its place there with a [`cursor`].

mod accounting;
mod aside;
mod columns;
mod cursor;
mod exchange;
mod files;
mod handover;
mod journal;
mod line;
mod postgres;
mod replay;
mod segment;
mod sink;
mod sqlite;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use moorline_b2bua::Concurrency;
use nix::fcntl::{Flock, FlockArg};
use tracing::info;

use crate::access::why;
use crate::config::CdrConfig;

pub(crate) use exchange::Sinks;
pub(crate) use handover::{Handover, PATIENCE, Writer};
pub(crate) use journal::{Journal, JournalCounts};
pub(crate) use replay::Before;
pub(crate) use sink::SinkCounts;

use journal::{Disk, Medium};

/// How long the sinks may go on when the process ends: what they have not taken then, they take after the next start.
/// A test waits for them: it goes on in the same process.
const LAST_MOMENTS: Duration = Duration::from_secs(if cfg!(test) { 60 } else { 2 });

/// Why calls cannot be recorded.
#[derive(Debug, thiserror::Error)]
pub enum CdrFault {
    /// A directory or file cannot be used.
    #[error("{} cannot be used: {}", path.display(), why(path, source))]
    Unusable {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Another process records there.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
}

impl CdrFault {
    fn at(path: &Path) -> impl FnOnce(io::Error) -> CdrFault {
        let path = path.to_owned();
        move |source| CdrFault::Unusable { path, source }
    }
}

/// What carries the records of a process. Dropped, it ends.
pub(crate) struct Records {
    journal: Journal,
    sinks: Arc<Sinks>,
    /// Held while the directory is in use.
    _lock: Flock<std::fs::File>,
}

/// Where the figures of records are.
#[derive(Clone)]
pub(crate) struct RecordFigures {
    journal: Journal,
    sinks: Arc<Sinks>,
}

/// The figures of records, for the metrics.
#[derive(Debug, Clone)]
pub(crate) struct RecordCounts {
    pub(crate) journal: Arc<JournalCounts>,
    pub(crate) sinks: Vec<Arc<SinkCounts>>,
}

/// Starts recording in a directory, which is made if need be; with it what the process before has left. New calls are
/// shut out of `calls` where records cannot be kept and that is wanted.
///
/// # Errors
/// If the directory or a file in it cannot be used.
pub(crate) fn start(
    config: &CdrConfig,
    directory: &Path,
    calls: Arc<Concurrency>,
) -> Result<(Records, Before), CdrFault> {
    start_on(config, directory, calls, Arc::new(Disk))
}

fn start_on(
    config: &CdrConfig,
    directory: &Path,
    calls: Arc<Concurrency>,
    medium: Arc<dyn Medium>,
) -> Result<(Records, Before), CdrFault> {
    make_directory(directory)?;
    let lock = lock(directory)?;
    let before = replay::replay(directory)?;
    let journal = Journal::open(directory, config, &before, calls, medium)?;
    let sinks = Arc::new(Sinks::start(config, directory, &journal)?);
    let names: Vec<&str> = sinks.counts().iter().map(|sink| sink.name).collect();
    info!(directory = %directory.display(), sinks = names.join(","), open = before.open.len(), "calls are recorded");
    Ok((Records { journal, sinks, _lock: lock }, before))
}

impl Records {
    pub(crate) fn journal(&self) -> Journal {
        self.journal.clone()
    }

    /// Where they go, for reloads.
    pub(crate) fn sinks(&self) -> Arc<Sinks> {
        Arc::clone(&self.sinks)
    }

    pub(crate) fn figures(&self) -> RecordFigures {
        RecordFigures { journal: self.journal.clone(), sinks: Arc::clone(&self.sinks) }
    }

    #[cfg(test)]
    pub(crate) fn counts(&self) -> RecordCounts {
        self.figures().now()
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        self.journal.stop();
        let deadline = Instant::now() + LAST_MOMENTS;
        self.sinks.stop(deadline);
    }
}

impl RecordFigures {
    pub(crate) fn now(&self) -> RecordCounts {
        RecordCounts { journal: self.journal.counts(), sinks: self.sinks.counts() }
    }
}

fn make_directory(directory: &Path) -> Result<(), CdrFault> {
    DirBuilder::new().recursive(true).mode(0o750).create(directory).map_err(CdrFault::at(directory))
}

/// A file that is locked as long as this process lives.
fn lock(directory: &Path) -> Result<Flock<std::fs::File>, CdrFault> {
    const PATIENCE: Duration = Duration::from_millis(200);
    const PAUSE: Duration = Duration::from_millis(20);
    let path = directory.join("lock");
    let deadline = Instant::now() + PATIENCE;
    loop {
        let file = segment::create(&path).map_err(CdrFault::at(&path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) if Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Err(CdrFault::InUse(directory.to_owned())),
            Err((_, errno)) => return Err(CdrFault::at(&path)(errno.into())),
        }
    }
}

/// A disk that can hang, for the tests of whoever waits for it.
#[cfg(test)]
pub(crate) use handover::tests as hung;

#[cfg(test)]
mod tests;
