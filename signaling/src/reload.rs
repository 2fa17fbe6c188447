//! Another configuration for a process that runs: read, compared, and taken over by all workers at once, or refused whole.
//!
//! Calls keep what they began with: a trunk that is said otherwise, or is gone, stays for its calls
//! ([`Policy::followed_by`]). Each thread looks whether there is a new policy before it handles anything, so none of them
//! hears of something by the new one that it does not know yet. What belongs to the process rather than to calls is
//! not changed while it runs: a configuration that says otherwise is refused, and the reply names the keys.

mod difference;
mod fixed;
mod history;
mod outcomes;
mod settings;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use moorline_b2bua::policy::Policy;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{info, warn};

use crate::Config;
use crate::cdr::Sinks;
use crate::limits::Limits;
pub use difference::Change;
use difference::difference;
use history::History;
pub(crate) use history::digest;
pub use outcomes::{ConfigurationReply, TakenOverBy};
pub(crate) use outcomes::{Outcome, Reloads};
pub(crate) use settings::Settings;

/// Where the configuration of a running process is read from.
pub trait Source: Send + Sync {
    /// What it is called: the file's path.
    fn name(&self) -> String;

    /// The text as it is now; `None` where there is no file.
    ///
    /// # Errors
    /// It cannot be read.
    fn text(&self) -> io::Result<Option<String>>;

    /// What a text says, and what follows from that; with copies of the files that it names, where there are some
    /// ([`Config::use_copies`]).
    ///
    /// # Errors
    /// Its faults, as they are shown.
    fn read(&self, text: &str, copies: Option<&Path>) -> Result<(Config, Policy), String>;
}

/// What a reload or a rollback came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReply {
    /// What was read: a file, or what is kept.
    pub configuration: String,
    /// Whether it runs now.
    pub applied: bool,
    /// What is different in it, as far as it can be told.
    pub changes: Vec<Change>,
    /// How many more changes there are.
    pub more: usize,
    /// Why it was refused; empty where it was not.
    pub refused: Vec<String>,
    /// What else is to be known.
    pub notes: Vec<String>,
}

/// Who asks a worker for the trunks that its calls use.
pub(crate) type UsedTrunks = oneshot::Sender<BTreeSet<usize>>;

/// The most changes in one reply.
const MAX_CHANGES: usize = 500;

/// How long a trunk that has retired keeps its place, though no call needs it any more: what is under way without one,
/// such as a probe or a message, is over by then.
const REST: Duration = Duration::from_secs(600);

/// How often it is looked whether retired trunks are still needed.
const SWEEP: Duration = Duration::from_secs(60);

/// How long a reload waits for others: longer than the sinks of one may take to open, and those that leave to end.
const TURN: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 20 });

/// How often it is looked whether they have ended.
const LOOK: Duration = Duration::from_millis(5);

/// The most trunks, with those that have retired.
const MAX_TRUNKS: usize = 65_536;

/// The configuration that runs, and how another one takes its place.
pub(crate) struct Reload {
    source: Arc<dyn Source>,
    limits: Arc<Limits>,
    policies: watch::Sender<Arc<Policy>>,
    settings: watch::Sender<Arc<Settings>>,
    workers: Vec<mpsc::Sender<UsedTrunks>>,
    history: Option<History>,
    /// Where calls are recorded, if they are.
    sinks: Option<Arc<Sinks>>,
    outcomes: Arc<Reloads>,
    state: Mutex<State>,
}

struct State {
    running: Version,
    /// The one before, since this process started.
    before: Option<Version>,
    /// Since when trunks have been retired.
    retired: HashMap<usize, Instant>,
}

/// A configuration.
struct Version {
    text: String,
    config: Config,
    /// As the configuration says it, with no trunks of others.
    policy: Policy,
    /// What was in its files, and in those of them that are copied.
    digests: Vec<Option<u64>>,
    copied: Vec<Option<u64>>,
}

/// What is to be done with a configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    /// The file's.
    Reload,
    /// The one before.
    Rollback,
}

impl Reload {
    /// Of a process that runs by `config`.
    pub(crate) fn new(
        source: Arc<dyn Source>,
        (config, policy): (&Config, &Policy),
        limits: Arc<Limits>,
        policies: watch::Sender<Arc<Policy>>,
        workers: Vec<mpsc::Sender<UsedTrunks>>,
        state: Option<&Path>,
    ) -> Reload {
        let text = source.text().ok().flatten().unwrap_or_default();
        let running = Version::new(text, config.clone(), policy.clone());
        let history = state.and_then(|state| match History::open(state) {
            Ok(history) => Some(history),
            Err(error) => {
                warn!("no configuration is kept for a rollback after a restart: {error}; see `signaling.state`");
                None
            }
        });
        let state = State { running, before: None, retired: HashMap::new() };
        let outcomes = Arc::new(Reloads::new(source.name()));
        let settings = watch::Sender::new(Arc::new(Settings::from(config)));
        Reload { source, limits, policies, settings, workers, history, sinks: None, outcomes, state: Mutex::new(state) }
    }

    /// Of a process that records calls there.
    pub(crate) fn recording_to(self, sinks: Option<Arc<Sinks>>) -> Reload {
        Reload { sinks, ..self }
    }

    /// Writes down by which configuration this process has started. May wait for the disk.
    pub(crate) fn remember_start(&self) {
        let state = self.state();
        let (Some(history), running) = (&self.history, &state.running) else { return };
        let kept = match history.is_running(&running.text, &running.copied) {
            true => history.reword(&running.text),
            false => history.prepare(&running.text, &running.config.copied_files()).and_then(|()| history.runs()),
        };
        if let Err(error) = kept {
            warn!("the configuration is not kept for a rollback: {error}");
        }
    }

    /// Reads the configuration again and has all workers go on by it, unless `dry_run`. May wait for the disk.
    pub(crate) fn reload(&self, dry_run: bool) -> ReloadReply {
        self.counted(self.read_again(dry_run), dry_run, TakenOverBy::Reload)
    }

    /// Goes back to the configuration before, unless `dry_run`. May wait for the disk.
    pub(crate) fn roll_back(&self, dry_run: bool) -> ReloadReply {
        self.counted(self.go_back(dry_run), dry_run, TakenOverBy::Rollback)
    }

    /// The settings that threads follow.
    pub(crate) fn settings(&self) -> watch::Receiver<Arc<Settings>> {
        self.settings.subscribe()
    }

    /// What reloads have come to.
    pub(crate) fn outcomes(&self) -> Arc<Reloads> {
        Arc::clone(&self.outcomes)
    }

    /// The listener of a trunk that a reload took away.
    pub(crate) fn listener_of_retired(&self, trunk: &str) -> Option<String> {
        let policy = self.policies.borrow();
        let retired = policy.trunks.iter().find(|known| known.retired && known.name == trunk)?;
        Some(policy.listeners.get(retired.listener)?.name.clone())
    }

    fn counted(&self, reply: ReloadReply, dry_run: bool, by: TakenOverBy) -> ReloadReply {
        if !dry_run {
            self.outcomes.count(&reply, self.source.name(), by);
        }
        reply
    }

    fn read_again(&self, dry_run: bool) -> ReloadReply {
        let configuration = self.source.name();
        // Whoever reloads at the same time waits here, and reads what the file says then.
        let mut state = match self.turn() {
            Ok(state) => state,
            Err(why) => return refused(configuration, why),
        };
        let text = match self.source.text() {
            Ok(Some(text)) => text,
            Ok(None) => {
                return refused(
                    configuration,
                    "the process runs on the built-in configuration: name a file at its start (--config)".into(),
                );
            }
            Err(error) => return refused(configuration, format!("it cannot be read: {error}")),
        };
        match self.source.read(&text, None) {
            Ok((config, policy)) => {
                let next = Version::new(text, config, policy);
                self.go_on(&mut state, next, configuration, Wanted::Reload, dry_run)
            }
            // What is different is not told: what is at fault may be a secret in another key's place.
            Err(faults) => refused(configuration, faults),
        }
    }

    fn go_back(&self, dry_run: bool) -> ReloadReply {
        let configuration = "the configuration before".to_owned();
        let mut state = match self.turn() {
            Ok(state) => state,
            Err(why) => return refused(configuration, why),
        };
        let next = match (state.before.take(), self.history.as_ref().and_then(History::before)) {
            (Some(before), _) => before,
            (None, Some(kept)) => match self.source.read(&kept.text, Some(&kept.directory)) {
                Ok((config, policy)) => Version::new(kept.text, config, policy),
                Err(faults) => return refused(configuration, faults),
            },
            (None, None) => return refused(configuration, "there is none: nothing else has run here".into()),
        };
        self.go_on(&mut state, next, configuration, Wanted::Rollback, dry_run)
    }

    /// Compares, and goes on by the new configuration.
    fn go_on(
        &self,
        state: &mut State,
        next: Version,
        configuration: String,
        wanted: Wanted,
        dry_run: bool,
    ) -> ReloadReply {
        let mut reply = ReloadReply { configuration, ..ReloadReply::default() };
        let mut changes = difference(&state.running.text, &next.text);
        let files = state.running.changed_files(&next);
        let has_files = !files.is_empty();
        changes.extend(files);
        for key in fixed::differences(&state.running.config, &next.config) {
            reply.refused.push(format!("{key} cannot be changed while the process runs: it needs a restart"));
        }
        if self.sinks.is_none() && state.running.config.cdr != next.config.cdr {
            reply
                .refused
                .push("signaling.cdr cannot be changed while calls are not recorded: it needs a restart".into());
        }
        if changes.iter().any(|change| change.key == "media" || change.key.starts_with("media.")) {
            reply.refused.push("[media] is read by the media process at its start alone: it needs a restart".into());
        }
        let nothing = changes.is_empty();
        reply.changes_of(changes);
        let before = (wanted == Wanted::Rollback).then_some(());
        if dry_run || nothing || !reply.refused.is_empty() {
            if before.is_some() {
                state.before = Some(next);
            }
            return reply;
        }
        // What could not be kept when it began to run is not the one before, as far as files tell.
        let is_kept = |history: &History| before.is_some() && history.is_before(&next.text, &next.copied);
        let swaps = self.history.as_ref().is_some_and(is_kept);
        let prepared = match &self.history {
            Some(history) if !swaps => history.prepare(&next.text, &next.config.copied_files()),
            _ => Ok(()),
        };
        let opened = self.sinks.as_ref().map(|sinks| sinks.open(&next.config.cdr)).transpose();
        let taken = opened.and_then(|opened| self.take_over(state, &next).map(|()| opened).map_err(|why| vec![why]));
        let opened = taken.unwrap_or_else(|problems| {
            reply.refused = problems;
            None
        });
        if !reply.refused.is_empty() {
            if before.is_some() {
                state.before = Some(next);
            }
            return reply;
        }
        reply.applied = true;
        if let (Some(sinks), Some(opened)) = (&self.sinks, opened) {
            reply.notes.extend(sinks.exchange(opened));
        }
        let kept = match &self.history {
            None => Err("set `signaling.state`".to_owned()),
            Some(history) => prepared
                .and_then(|()| if swaps { history.rolled_back() } else { history.runs() })
                .map_err(|error| error.to_string()),
        };
        if let Err(problem) = kept {
            reply.notes.push(format!("after a restart there will be nothing to roll back to: {problem}"));
        }
        state.before = Some(std::mem::replace(&mut state.running, next));
        self.note_the_file(state, wanted == Wanted::Rollback && has_files, &mut reply);
        info!(
            configuration = reply.configuration,
            changes = reply.changes.len() + reply.more,
            "another configuration runs"
        );
        reply
    }

    /// A restart begins with the file, whatever runs.
    fn note_the_file(&self, state: &State, files: bool, reply: &mut ReloadReply) {
        let same = self.source.text().ok().flatten().as_ref() == Some(&state.running.text);
        let name = self.source.name();
        if !same {
            let copy =
                self.history.as_ref().map(|history| format!(" (what runs is in {})", history.running().display()));
            let copy = copy.unwrap_or_default();
            reply.notes.push(format!("a restart reads {name}, which says something else: put it right{copy}"));
        } else if files {
            reply
                .notes
                .push(format!("a restart reads {name} and the files that it names: see that they are those that run"));
        }
    }

    /// From here on everything that begins is decided by `next`.
    fn take_over(&self, state: &mut State, next: &Version) -> Result<(), String> {
        let unused = self.unused(state);
        let mut policy = next.policy.clone();
        let before = Arc::clone(&self.policies.borrow());
        // Whether calls are recorded is not a matter of calls.
        policy.records.kept = before.records.kept;
        let policy = before.followed_by(policy, &unused);
        if policy.trunks.len() > MAX_TRUNKS {
            return Err(format!(
                "more than {MAX_TRUNKS} trunks, with those that calls still use: try again when calls have ended"
            ));
        }
        self.limits.follow(&policy, next.config.lists()).map_err(|fault| fault.to_string())?;
        let settings = Arc::new(Settings::from(&next.config));
        self.settings.send_if_modified(|before| {
            let differ = *before != settings;
            *before = settings;
            differ
        });
        self.publish(state, policy);
        Ok(())
    }

    fn publish(&self, state: &mut State, policy: Policy) {
        let now = Instant::now();
        let retired = policy.trunks.iter().enumerate().filter(|(_, trunk)| trunk.retired);
        state.retired = retired.map(|(at, _)| (at, state.retired.get(&at).copied().unwrap_or(now))).collect();
        self.policies.send_replace(Arc::new(policy));
    }

    /// The places of trunks that retired some time ago, and that no call uses.
    fn unused(&self, state: &State) -> Vec<usize> {
        let rested = |since: &Instant| since.elapsed() >= REST;
        let mut unused: BTreeSet<usize> =
            state.retired.iter().filter(|(_, since)| rested(since)).map(|(at, _)| *at).collect();
        if unused.is_empty() {
            return Vec::new();
        }
        for worker in &self.workers {
            let (ask, answer) = oneshot::channel();
            // A worker that has ended has no calls, and the process ends too.
            if worker.blocking_send(ask).is_ok()
                && let Ok(used) = answer.blocking_recv()
            {
                unused.retain(|at| !used.contains(at));
            }
        }
        unused.into_iter().collect()
    }

    /// Forgets retired trunks that no call uses any more: nothing more is taken from where they were.
    fn sweep(&self) {
        let mut state = self.state();
        let before = Arc::clone(&self.policies.borrow());
        let unused = self.unused(&state);
        if unused.iter().any(|at| !before.trunks[*at].name.is_empty()) {
            let policy = before.without(&unused);
            self.limits.forget_others(&policy);
            self.publish(&mut state, policy);
        }
    }

    /// The state for a reload, which waits for others, but for none that hangs.
    fn turn(&self) -> Result<MutexGuard<'_, State>, String> {
        let deadline = Instant::now() + TURN;
        loop {
            match self.state.try_lock() {
                Ok(state) => return Ok(state),
                Err(TryLockError::Poisoned(state)) => return Ok(state.into_inner()),
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(LOOK),
                Err(TryLockError::WouldBlock) => {
                    let so_long = TURN.as_secs();
                    return Err(format!(
                        "another one has been under way for more than {so_long} s, and waits for a disk or a server: \
                         try again when it has ended"
                    ));
                }
            }
        }
    }

    /// What it guards is whole between any two statements.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sweeps again and again, for ever.
pub(crate) async fn sweep(reload: Arc<Reload>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        let reload = Arc::clone(&reload);
        // It waits for workers, and does not fail.
        drop(tokio::task::spawn_blocking(move || reload.sweep()).await);
    }
}

impl Version {
    fn new(text: String, config: Config, policy: Policy) -> Version {
        let digests: Vec<Option<u64>> = config.files().iter().map(|path| digest(path)).collect();
        let copied = digests.iter().take(config.copied_files().len()).copied().collect();
        Version { text, config, policy, digests, copied }
    }

    /// The files of both that hold something else. Copies have other names, but the same text has its files in the same
    /// order.
    fn changed_files(&self, next: &Version) -> Vec<Change> {
        let (own, others) = (self.config.files(), next.config.files());
        let same = self.text == next.text;
        let files = others.into_iter().zip(&next.digests).enumerate();
        let changed = files.filter_map(|(at, (path, digest))| {
            let before = if same { Some(at) } else { own.iter().position(|own| *own == path) };
            let before = before.and_then(|before| self.digests.get(before).map(|digest| (before, digest)));
            let (before, _) = before.filter(|(_, before)| *before != digest)?;
            let (was, is) = (Some("one content".into()), Some("another content".into()));
            Some(Change { key: own.get(before)?.display().to_string(), before: was, after: is })
        });
        changed.collect()
    }
}

impl ReloadReply {
    fn changes_of(&mut self, mut changes: Vec<Change>) {
        self.more = changes.len().saturating_sub(MAX_CHANGES);
        changes.truncate(MAX_CHANGES);
        self.changes = changes;
    }
}

fn refused(configuration: String, why: String) -> ReloadReply {
    ReloadReply { configuration, refused: vec![why], ..ReloadReply::default() }
}

#[cfg(test)]
pub(crate) mod tests;
