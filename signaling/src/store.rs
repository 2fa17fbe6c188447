//! What must outlive this process and belongs to no call: the bindings of registered endpoints.
//!
//! Entries are bytes under a name in a namespace; what they mean, their owner knows. Writing never waits for the
//! disk: changes are put into a queue, and a thread of the store's own commits all that have come together at
//! once. A file that is damaged is moved aside, and the store begins anew: endpoints register again by
//! themselves, but not with a process that does not start.

mod file;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use writer::{Progress, Writer};

/// The store's file in the directory that is configured.
const FILE_NAME: &str = "signaling.redb";

/// The most changes that wait for the disk.
const MAX_QUEUED: usize = 16_384;

/// The longest namespace, key and value.
const MAX_NAMESPACE: usize = 64;
const MAX_KEY: usize = 1024;
const MAX_VALUE: usize = 64 * 1024;

/// An embedded store in one file, with one owner. Dropped, it writes what is queued, and waits for that.
#[derive(Debug)]
pub struct Store {
    queue: Option<SyncSender<(u64, Change)>>,
    progress: Arc<Progress>,
    thread: Option<std::thread::JoinHandle<()>>,
    number: u64,
}

/// One thing that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub namespace: String,
    /// Its name there.
    pub key: Vec<u8>,
    /// Its content.
    pub value: Vec<u8>,
    /// When it is no more worth anything; `None` for never.
    pub expires: Option<SystemTime>,
}

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreFault {
    /// Another process has the file open.
    #[error("{} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// The directory or the file cannot be used.
    #[error("{} cannot be used: {}", path.display(), crate::access::why(path, source))]
    Unusable {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The file is damaged, and so is a new one in its place.
    #[error("{} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Why a change was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotStored {
    /// As many changes as may be wait for the disk.
    #[error("too many changes wait for the disk")]
    Full,
    /// It is longer than the bounds.
    #[error("too long to be stored")]
    TooLong,
}

/// A namespace and a key.
type Name = (String, Vec<u8>);

/// What becomes of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    name: Name,
    /// `None`: it is removed.
    content: Option<Content>,
}

/// A value, and when it expires, in seconds since 1970; 0 for never.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    value: Vec<u8>,
    expires_s: u64,
}

/// Changes that are committed together: of each entry the last one.
type Batch = BTreeMap<Name, Option<Content>>;

impl Store {
    /// Opens the store in a directory, which is made if need be, and gives what is in it and has not expired by
    /// `now`. It is for the owner of the process alone.
    ///
    /// # Errors
    /// If the directory or file cannot be used. A damaged file is no error: it is moved aside.
    pub fn open(directory: &Path, now: SystemTime) -> Result<(Store, Vec<Entry>), StoreFault> {
        let (file, entries) = file::open(directory, FILE_NAME)?;
        let (living, dead): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.expires.is_none_or(|at| at > now));
        let (queue, changes) = sync_channel(MAX_QUEUED);
        let progress = Arc::new(Progress::default());
        let mut writer = Writer::new(file, changes, progress.clone());
        for entry in dead {
            writer.drop_entry((entry.namespace, entry.key));
        }
        let thread = std::thread::Builder::new().name("store".into()).spawn(move || writer.run());
        let thread = thread.map_err(|source| StoreFault::Unusable { path: directory.to_owned(), source })?;
        Ok((Store { queue: Some(queue), progress, thread: Some(thread), number: 0 }, living))
    }

    /// Stores an entry in place of the one of the same name, soon. Gives the number of this change.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn put(
        &mut self,
        namespace: &str,
        key: &[u8],
        value: Vec<u8>,
        expires: Option<SystemTime>,
    ) -> Result<u64, NotStored> {
        if value.len() > MAX_VALUE {
            return Err(NotStored::TooLong);
        }
        let expires_s = expires.map_or(0, |at| {
            let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            // 0 means never.
            since.as_secs().max(1)
        });
        self.change(namespace, key, Some(Content { value, expires_s }))
    }

    /// Removes an entry, soon; one that is not there is no error. Gives the number of this change.
    ///
    /// # Errors
    /// If there is no room for it.
    pub fn remove(&mut self, namespace: &str, key: &[u8]) -> Result<u64, NotStored> {
        self.change(namespace, key, None)
    }

    /// The number of the last change that is on the disk, with all before it: whatever kills this process or its
    /// host now, they will be there.
    pub fn written(&self) -> u64 {
        self.progress.written()
    }

    /// Whether the last attempt to write failed. It is repeated until it succeeds.
    pub fn is_failing(&self) -> bool {
        self.progress.is_failing()
    }

    /// Waits until all changes so far are on the disk; false if that took longer.
    pub fn flush(&self, timeout: Duration) -> bool {
        self.progress.wait(self.number, Instant::now() + timeout)
    }

    fn change(&mut self, namespace: &str, key: &[u8], content: Option<Content>) -> Result<u64, NotStored> {
        if namespace.len() > MAX_NAMESPACE || key.len() > MAX_KEY {
            return Err(NotStored::TooLong);
        }
        let change = Change { name: (namespace.to_owned(), key.to_vec()), content };
        let queue = self.queue.as_ref().ok_or(NotStored::Full)?;
        queue.try_send((self.number + 1, change)).map_err(|_| NotStored::Full)?;
        self.number += 1;
        Ok(self.number)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // Without a sender the thread writes what it has, and ends.
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
