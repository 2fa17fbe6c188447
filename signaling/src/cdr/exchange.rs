//! The sinks of a process, and how a reload exchanges them.
//!
//! A record is for the sinks that are configured when its call ends. A sink that leaves takes what has ended before; the one
//! that follows it under the same name waits for its end, and goes on where it has stopped. What a sink cannot take that
//! leaves is its successor's, or stays in the journal for as long as others need that.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::accounting::RadiusSink;
use super::files::{Files, Form};
use super::journal::Journal;
use super::postgres::Postgres;
use super::sink::{Begin, Ready, Sink, SinkCounts, SinkThread};
use super::sqlite::Sqlite;
use super::{CdrFault, LAST_MOMENTS};
use crate::config::{AccountingConfig, CdrConfig, FilesConfig, PostgresConfig, SqliteConfig};
use crate::reload::digest;

/// How often it is looked whether those that leave have ended.
const LOOK: Duration = Duration::from_millis(5);

/// How long a sink may take to open: longer than a server may be silent.
const PATIENCE: Duration = Duration::from_secs(15);

/// A sink as it is configured, with what tells its secret from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Wanted {
    Files(Form, FilesConfig),
    Sqlite(SqliteConfig),
    Postgres(PostgresConfig, Option<u64>),
    Radius(AccountingConfig, Option<u64>),
}

/// The sinks, those included that leave.
pub(crate) struct Sinks {
    directory: PathBuf,
    journal: Journal,
    running: Mutex<Vec<Running>>,
}

struct Running {
    /// `None` for one that a test has made.
    wanted: Option<Wanted>,
    thread: SinkThread,
    leaves: bool,
}

/// Sinks that can take the place of those that run; dropped, they are closed.
pub(crate) struct Opened {
    config: CdrConfig,
    wanted: Vec<Wanted>,
    ready: Vec<(Wanted, Ready)>,
}

/// A sink that a thread of its own opens: where that hangs, nobody waits for it for long, and it is closed when it comes.
struct Opening(mpsc::Receiver<Result<Box<dyn Sink>, String>>);

impl Opening {
    fn of(mut sink: Box<dyn Sink>) -> Opening {
        let (tell, opened) = mpsc::channel();
        let told = tell.clone();
        let body = move || {
            let opened = sink.open().map(|()| sink).map_err(|fault| fault.to_string());
            // Nobody may wait for it any more.
            drop(told.send(opened));
        };
        if let Err(problem) = thread::Builder::new().name("open-sink".into()).spawn(body) {
            drop(tell.send(Err(problem.to_string())));
        }
        Opening(opened)
    }

    fn until(self, deadline: Instant) -> Result<Box<dyn Sink>, String> {
        let opened = self.0.recv_timeout(deadline.saturating_duration_since(Instant::now()));
        opened.unwrap_or_else(|_| {
            Err(format!("nothing has come of it for {} s; look whether its disk or server hangs", PATIENCE.as_secs()))
        })
    }
}

impl Wanted {
    fn all(config: &CdrConfig) -> Vec<Wanted> {
        let csv = config.csv.clone().map(|csv| Wanted::Files(Form::Csv, csv));
        let json = config.json().map(|json| Wanted::Files(Form::JsonLines, json));
        let postgres = config.postgres.clone().map(|postgres| {
            let password = postgres.password_file.as_deref().and_then(digest);
            Wanted::Postgres(postgres, password)
        });
        let radius = config.radius.clone().map(|radius| {
            let secret = digest(&radius.secret_file);
            Wanted::Radius(radius, secret)
        });
        let sqlite = config.sqlite.clone().map(Wanted::Sqlite);
        [json, csv, sqlite, postgres, radius].into_iter().flatten().collect()
    }

    /// Files of which nothing else is said are beside the journal.
    fn sink(&self, journal: &Path) -> Box<dyn Sink> {
        match self {
            Wanted::Files(form, files) => Box::new(Files::new(*form, files, journal)),
            Wanted::Sqlite(sqlite) => Box::new(Sqlite::new(sqlite, journal)),
            Wanted::Postgres(postgres, _) => Box::new(Postgres::new(postgres)),
            Wanted::Radius(radius, _) => Box::new(RadiusSink::new(radius)),
        }
    }
}

impl Sinks {
    /// Starts those that are configured. Each goes on where it stood.
    pub(super) fn start(config: &CdrConfig, directory: &Path, journal: &Journal) -> Result<Sinks, CdrFault> {
        let mut running = Vec::new();
        for wanted in Wanted::all(config) {
            let thread = SinkThread::start(wanted.sink(directory), directory, journal)?;
            running.push(Running { wanted: Some(wanted), thread, leaves: false });
        }
        let (directory, journal) = (directory.to_owned(), journal.clone());
        Ok(Sinks { directory, journal, running: Mutex::new(running) })
    }

    /// Opens those of a configuration that do not run yet, all at once. May wait for a server or a disk, but for none that
    /// hangs. Nothing has changed when it returns.
    ///
    /// # Errors
    /// What cannot be opened, and why.
    pub(crate) fn open(&self, config: &CdrConfig) -> Result<Opened, Vec<String>> {
        let wanted = Wanted::all(config);
        let (fresh, leaving): (Vec<Wanted>, bool) = {
            let running = self.running();
            let current = || running.iter().filter(|known| !known.leaves);
            let runs = |wanted: &&Wanted| current().any(|known| known.wanted.as_ref() == Some(*wanted));
            let stays = |known: &Running| known.wanted.as_ref().is_none_or(|known| wanted.contains(known));
            (wanted.iter().filter(|wanted| !runs(wanted)).cloned().collect(), !current().all(stays))
        };
        if (leaving || !fresh.is_empty()) && !self.journal.is_written() {
            let why =
                "the journal of call records cannot be written now, and what waits for it is for the sinks that run";
            return Err(vec![format!("signaling.cdr: {why}: try again when it can (`moorline status`)")]);
        }
        let opening = fresh.into_iter().map(|wanted| {
            let sink = wanted.sink(&self.directory);
            (wanted, sink.name(), Opening::of(sink))
        });
        let opening: Vec<(Wanted, &str, Opening)> = opening.collect();
        let deadline = Instant::now() + PATIENCE;
        let (mut ready, mut faults) = (Vec::new(), Vec::new());
        for (wanted, name, opening) in opening {
            let opened = opening.until(deadline);
            match opened.and_then(|sink| Ready::new(sink, &self.directory, &self.journal).map_err(|e| e.to_string())) {
                Ok(opened) => ready.push((wanted, opened)),
                Err(fault) => faults.push(format!("signaling.cdr.{name} cannot be opened: {fault}")),
            }
        }
        if faults.is_empty() { Ok(Opened { config: config.clone(), wanted, ready }) } else { Err(faults) }
    }

    /// Has these take the place of those that run; waits a moment for those that leave. What is to be known of them.
    pub(crate) fn exchange(&self, opened: Opened) -> Vec<String> {
        let Opened { config, wanted, ready } = opened;
        self.journal.follow(&config);
        let mut running = self.running();
        let goes = |known: &Running| !known.leaves && known.wanted.as_ref().is_some_and(|own| !wanted.contains(own));
        let (leaving, stay): (Vec<Running>, Vec<Running>) = running.drain(..).partition(goes);
        let (mut leaving, mut stay) = (leaving, stay);
        if leaving.is_empty() && ready.is_empty() {
            *running = stay;
            return Vec::new();
        }
        let follows = |name: &str| leaving.iter().find(|old| old.thread.name() == name).map(|old| old.thread.joined());
        let come: Vec<Option<u64>> = ready.iter().map(|(_, ready)| follows(ready.name())).collect();
        let leave: Vec<(u64, bool)> = leaving
            .iter()
            .map(|old| (old.thread.joined(), ready.iter().all(|(_, ready)| ready.name() != old.thread.name())))
            .collect();
        let (joined, end, ended) = self.journal.exchange(&leave, &come);
        for ((wanted, ready), joined) in ready.into_iter().zip(joined) {
            let name = ready.name();
            let own = |old: &Running| old.thread.name() == name;
            let thread = if let Some(at) = leaving.iter().position(own) {
                let (counts, before) = leaving.swap_remove(at).thread.into_parts();
                ready.begin(Begin { counts, joined, after: before, place: None, from: end, backlog: None })
            } else {
                // One that left before may not have ended yet.
                let before = stay.iter().position(|old| old.leaves && own(old));
                let after = before.and_then(|at| stay.swap_remove(at).thread.into_parts().1);
                let counts = SinkCounts::new(name, ended);
                ready.begin(Begin { counts, joined, after, place: None, from: end, backlog: Some(end) })
            };
            stay.push(Running { wanted: Some(wanted), thread, leaves: false });
        }
        let left: Vec<Arc<SinkCounts>> = leaving.iter().map(|old| old.thread.counts()).collect();
        stay.extend(leaving.into_iter().map(|old| Running { leaves: true, ..old }));
        *running = stay;
        drop(running);
        self.notes(&left)
    }

    /// What those that leave come to within a moment.
    fn notes(&self, left: &[Arc<SinkCounts>]) -> Vec<String> {
        let deadline = Instant::now() + LAST_MOMENTS;
        while Instant::now() < deadline && left.iter().any(|sink| !sink.ended.load(Ordering::Relaxed)) {
            thread::sleep(LOOK);
        }
        let note = |sink: &Arc<SinkCounts>| {
            let name = sink.name;
            if sink.gave_up.load(Ordering::Relaxed) {
                let stay = "they stay in the journal as long as others need it, and are its own if it comes back";
                Some(format!("the sink {name} is closed, and has not taken all call records: {stay}"))
            } else if !sink.ended.load(Ordering::Relaxed) {
                Some(format!("the sink {name} still takes what has ended before, and is closed then"))
            } else {
                None
            }
        };
        left.iter().filter_map(note).collect()
    }

    /// The figures of those that run, and of those that leave until they have ended: one of each name.
    pub(crate) fn counts(&self) -> Vec<Arc<SinkCounts>> {
        let mut running = self.running();
        running.retain(|known| !known.leaves || !known.thread.counts().ended.load(Ordering::Relaxed));
        running.iter().map(|known| known.thread.counts()).collect()
    }

    /// Waits until all have ended, but no longer than that.
    pub(super) fn stop(&self, deadline: Instant) {
        self.running().iter_mut().for_each(|known| known.thread.stop(deadline));
    }

    /// A panic while it was held can have lost threads of sinks, which go on.
    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn adopt(&self, thread: SinkThread) {
        self.running().push(Running { wanted: None, thread, leaves: false });
    }
}

#[cfg(test)]
mod tests {
    use super::super::cursor::Place;
    use super::super::sink::{Entry, Refused, SinkFault};
    use super::*;

    /// One that opens when it is told to, and tells of its end.
    struct Slow {
        go: mpsc::Receiver<()>,
        _gone: mpsc::Sender<()>,
    }

    impl Sink for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        fn open(&mut self) -> Result<(), SinkFault> {
            self.go.recv().map_err(|_| SinkFault("it never was".into()))
        }

        fn prepare(&mut self, _place: &mut Place) -> Result<(), SinkFault> {
            Ok(())
        }

        fn take(&mut self, _entries: &[Entry], _place: &mut Place) -> Result<Vec<Refused>, SinkFault> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn a_sink_that_hangs_while_it_opens_is_given_up_and_closed_when_it_comes() {
        let (tell, go) = mpsc::channel();
        let (gone, ended) = mpsc::channel();
        let opening = Opening::of(Box::new(Slow { go, _gone: gone }));
        let why = opening.until(Instant::now()).map(drop).expect_err("it hangs");
        assert!(why.starts_with("nothing has come of it"), "{why}");
        assert_eq!(ended.try_recv(), Err(mpsc::TryRecvError::Empty));
        tell.send(()).expect("it waits");
        assert_eq!(ended.recv(), Err(mpsc::RecvError), "it is closed");
        let (tell, go) = mpsc::channel();
        tell.send(()).expect("there");
        let opening = Opening::of(Box::new(Slow { go, _gone: mpsc::channel().0 }));
        assert!(opening.until(Instant::now() + Duration::from_secs(60)).is_ok());
    }
}
