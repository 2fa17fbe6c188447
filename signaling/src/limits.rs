//! What limits need of the world: a file for the calls of the day by callee, and one for what was set while calls were
//! up.

mod callees;
mod changes;

use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use moorline_b2bua::policy::Policy;
use moorline_b2bua::policy::limit::{Field, Key, LimitFault, Limiter, Lists, Row, TrunkView, Value, Verdict};
use tracing::{info, warn};

use crate::SignalingError;
use callees::CalleeFile;
use changes::{Change, Changes};

/// Held by the process that writes the files.
const LOCK: &str = "limits.lock";

/// How long a process that is about to end is waited for.
const IN_USE: Duration = Duration::from_secs(3);
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// The limits of all trunks, as they are kept.
#[derive(Debug)]
pub(crate) struct Limits {
    /// What all workers count and refuse by.
    pub(crate) limiter: Arc<Limiter>,
    callees: CalleeFile,
    changes: Mutex<Changes>,
    /// Held until this is dropped.
    _lock: Option<File>,
}

/// Why the limits cannot be kept, or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LimitsFault {
    /// The directory is another process's.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// A file.
    #[error("{}: {}", path.display(), crate::access::why(path, source))]
    File {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// What is wanted does not exist.
    #[error(transparent)]
    Limit(#[from] LimitFault),
}

impl LimitsFault {
    fn file(path: &Path) -> impl FnOnce(io::Error) -> LimitsFault {
        move |source| LimitsFault::File { path: path.to_owned(), source }
    }
}

impl Limits {
    /// The limits of a policy, with the list of its configuration, and with what is kept in a directory: without one,
    /// nothing outlives this process.
    ///
    /// # Errors
    /// The directory cannot be used.
    pub(crate) fn open(
        policy: &Policy,
        list: Lists,
        callees: usize,
        directory: Option<&Path>,
    ) -> Result<Limits, LimitsFault> {
        let lock = directory.map(lock).transpose()?;
        let (file, days) = CalleeFile::open(directory, callees)?;
        let limiter = Arc::new(Limiter::new(days));
        for trunk in &policy.trunks {
            limiter.configure(trunk);
        }
        for (row, verdict) in list.rows() {
            limiter.add_row(&row, verdict)?;
        }
        let (changes, kept) = Changes::open(directory, list)?;
        let limits = Limits { limiter, callees: file, changes: Mutex::new(changes), _lock: lock };
        for change in &kept {
            match limits.apply(change) {
                Ok(()) => info!("set while calls were up: {change}"),
                Err(fault) => warn!("{change} was set, and is not any more: {fault}"),
            }
        }
        limits.changes().compact(|change| limits.is_possible(change))?;
        let counts = |numbers: &moorline_b2bua::policy::limit::Numbers| numbers.calls_per_callee_a_day.is_some();
        let wanted = limits.limiter.view();
        let wanted = wanted.iter().flat_map(|trunk| &trunk.directions).any(|view| counts(&view.numbers));
        if wanted && !limits.keeps() {
            warn!("how often callees were called today is forgotten at a restart; set `signaling.state`");
        }
        if wanted {
            limits.write_counts();
        }
        Ok(limits)
    }

    /// Goes on by another policy, and the list of its configuration. What was set by command stays set, as it does over a
    /// restart. Calls that are up count on.
    ///
    /// # Errors
    /// The list has no room for all rows; then nothing has changed.
    pub(crate) fn follow(&self, policy: &Policy, list: Lists) -> Result<(), LimitsFault> {
        let mut changes = self.changes();
        let mut lists = list.clone();
        changes.apply_to(&mut lists)?;
        for (_, trunk) in policy.current_trunks() {
            self.limiter.configure(trunk);
        }
        self.limiter.replace_lists(lists);
        changes.follow(list);
        drop(changes);
        self.forget_others(policy);
        // The file is made before there is a call that waits for it.
        let counts =
            |view: &TrunkView| view.directions.iter().any(|view| view.numbers.calls_per_callee_a_day.is_some());
        if self.limiter.view().iter().any(counts) {
            self.write_counts();
        }
        Ok(())
    }

    /// Forgets trunks that the policy has no more, and that have no calls.
    pub(crate) fn forget_others(&self, policy: &Policy) {
        let names: HashSet<&str> = policy.current_trunks().map(|(_, trunk)| trunk.name.as_str()).collect();
        self.limiter.forget_others(&|name| names.contains(name));
    }

    /// Whether anything outlives this process.
    pub(crate) fn keeps(&self) -> bool {
        self.changes().keeps()
    }

    /// Writes down how often callees were called: at the return it is the system's, and outlives this process.
    pub(crate) fn write_counts(&self) {
        self.callees.write(self.limiter.days());
    }

    /// Writes that survive the host too: at most this long after [`Limits::write_counts`], if called as often.
    pub(crate) fn sync_counts(&self) {
        self.callees.sync();
    }

    /// Whether the counts could not be written the last time.
    pub(crate) fn is_failing(&self) -> bool {
        self.callees.is_failing()
    }

    /// Sets limits of a trunk; `None` is what the configuration says. They hold at once, and are kept before that.
    ///
    /// # Errors
    /// There is no such trunk, or they cannot be kept: then nothing has changed.
    pub(crate) fn set(&self, trunk: &str, values: &[(Key, Option<Value>)]) -> Result<(), LimitsFault> {
        // Nothing is set: whether the trunk exists.
        self.limiter.set(trunk, &[])?;
        let set =
            |(key, value): &(Key, Option<Value>)| Change::Set { trunk: trunk.to_owned(), key: *key, value: *value };
        let list: Vec<Change> = values.iter().map(set).collect();
        let mut changes = self.changes();
        changes.keep(&list)?;
        if values.iter().any(|(key, _)| matches!(key, Key::Of(_, Field::CallsPerCalleeADay))) {
            // The file is made before there is a call that waits for it.
            self.write_counts();
        }
        Ok(self.limiter.set(trunk, values)?)
    }

    /// Says of a user of a trunk whether its account is in arrears; `None` is what the configuration says. That holds at
    /// once, and is kept before that.
    ///
    /// # Errors
    /// There is no such trunk or user, or there is no room for it, or it cannot be kept: then nothing has changed.
    pub(crate) fn set_user(&self, trunk: &str, user: &str, arrears: Option<bool>) -> Result<(), LimitsFault> {
        self.limiter.check_user(trunk, user)?;
        let mut changes = self.changes();
        let before = changes.user(trunk, user);
        self.limiter.set_user(trunk, user, arrears)?;
        let (trunk, user) = (trunk.to_owned(), user.to_owned());
        if let Err(fault) = changes.keep(&[Change::User { trunk: trunk.clone(), user: user.clone(), arrears }]) {
            // As it was: there was room for that.
            drop(self.limiter.set_user(&trunk, &user, before));
            return Err(fault);
        }
        Ok(())
    }

    /// Puts a row into the list. What it said before.
    ///
    /// # Errors
    /// There is no room for it, or it cannot be kept: then nothing has changed.
    pub(crate) fn add_row(&self, row: &Row, verdict: Verdict) -> Result<Option<Verdict>, LimitsFault> {
        let mut changes = self.changes();
        let before = self.limiter.add_row(row, verdict)?;
        if let Err(fault) = changes.keep(&[Change::Row { row: row.clone(), verdict: Some(verdict) }]) {
            // As it was: there was room for that.
            drop(match before {
                Some(before) => self.limiter.add_row(row, before).map(drop),
                None => self.limiter.remove_row(row).map(drop),
            });
            return Err(fault);
        }
        Ok(before)
    }

    /// Takes a row of this kind out of the list.
    ///
    /// # Errors
    /// It is not there, or that cannot be kept: then nothing has changed.
    pub(crate) fn remove_row(&self, row: &Row, white: bool) -> Result<(), LimitsFault> {
        let mut changes = self.changes();
        let known = self.limiter.row(row).filter(|verdict| (*verdict == Verdict::White) == white);
        known.ok_or(LimitFault::NoRow)?;
        changes.keep(&[Change::Row { row: row.clone(), verdict: None }])?;
        self.limiter.remove_row(row)?;
        Ok(())
    }

    fn apply(&self, change: &Change) -> Result<(), LimitFault> {
        match change {
            Change::Set { trunk, key, value } => self.limiter.set(trunk, &[(*key, *value)]),
            Change::User { trunk, user, arrears } => self.limiter.set_user(trunk, user, *arrears),
            Change::Row { row, verdict: Some(verdict) } => self.limiter.add_row(row, *verdict).map(drop),
            Change::Row { row, verdict: None } => match self.limiter.remove_row(row) {
                Ok(_) | Err(LimitFault::NoRow) => Ok(()),
                Err(fault) => Err(fault),
            },
        }
    }

    /// False for what is set of a trunk, or of a user, that the configuration has no more.
    fn is_possible(&self, change: &Change) -> bool {
        match change {
            Change::Set { trunk, .. } => self.limiter.set(trunk, &[]).is_ok(),
            Change::User { trunk, user, .. } => self.limiter.check_user(trunk, user).is_ok(),
            Change::Row { .. } => true,
        }
    }

    /// A panic while it was held can have kept a change that did not come to hold: it does at the next start.
    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<LimitsFault> for SignalingError {
    fn from(fault: LimitsFault) -> SignalingError {
        SignalingError::Limits(fault.to_string())
    }
}

/// Makes the directory if need be, and takes it for this process.
fn lock(directory: &Path) -> Result<File, LimitsFault> {
    let fault = || LimitsFault::file(directory);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(fault())?;
    let path = directory.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(LimitsFault::file(&path))?;
    let deadline = Instant::now() + IN_USE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => thread::sleep(IN_USE_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(LimitsFault::InUse(directory.to_owned())),
            Err(TryLockError::Error(source)) => return Err(LimitsFault::File { path, source }),
        }
    }
}

/// Replaces a file by a new one with this content, on the disk before it takes the name.
fn replace(path: &Path, write: impl FnOnce(&File) -> io::Result<()>) -> Result<File, LimitsFault> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let made = || -> io::Result<File> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        write(&file)?;
        file.sync_all()?;
        std::fs::rename(&new, path)?;
        if let Some(directory) = path.parent() {
            File::open(directory)?.sync_all()?;
        }
        Ok(file)
    };
    made().map_err(LimitsFault::file(path))
}

#[cfg(test)]
mod tests;
