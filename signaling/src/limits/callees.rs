//! How often callees were called today, in a file: one place after the other, each written where it is, so that the file
//! does not grow. What is written is the system's at once, and survives this process however it ends; once a second it
//! is brought to the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};

use moorline_b2bua::policy::limit::{DayCounts, SLOT_BYTES};
use nix::fcntl::posix_fallocate;
use tracing::{error, info, warn};

use super::{LimitsFault, replace};

/// The file's name in the directory.
const NAME: &str = "callees.day";

/// The first place is the file's own: this, and the key of the others.
const MAGIC: [u8; 16] = *b"moorline callees";

/// The file, made anew when it is written for the first time.
#[derive(Debug)]
pub(super) struct CalleeFile {
    path: Option<PathBuf>,
    open: Mutex<Option<File>>,
    failing: AtomicBool,
    /// Something was written that may not be on the disk.
    unsynced: AtomicBool,
}

impl CalleeFile {
    /// The file in a directory, and what it holds. One that holds something else is moved aside.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn open(directory: Option<&Path>, callees: usize) -> Result<(CalleeFile, DayCounts), LimitsFault> {
        let path = directory.map(|directory| directory.join(NAME));
        let content = match path.as_deref().map(std::fs::read) {
            Some(Ok(content)) => Some(content),
            Some(Err(source)) if source.kind() != io::ErrorKind::NotFound => {
                return Err(LimitsFault::File { path: path.unwrap_or_default(), source });
            }
            Some(Err(_)) | None => None,
        };
        let places = content.as_deref().map(|content| content.as_chunks::<SLOT_BYTES>().0);
        let known = places.and_then(|places| {
            let (head, places) = places.split_first()?;
            let (magic, key) = head.split_first_chunk::<16>()?;
            let key = <[u8; 16]>::try_from(key).ok()?;
            (*magic == MAGIC).then_some((key, places))
        });
        let file = CalleeFile {
            path,
            open: Mutex::default(),
            failing: AtomicBool::new(false),
            unsynced: AtomicBool::new(false),
        };
        let Some((key, places)) = known else {
            if let Some(path) = file.path.as_deref().filter(|_| content.is_some()) {
                let aside = path.with_extension("damaged");
                std::fs::rename(path, &aside).map_err(LimitsFault::file(path))?;
                error!(file = %path.display(), "it does not hold the calls of the day, which are counted anew; it is {} now", aside.display());
            }
            return Ok((file, DayCounts::new(random(), callees)));
        };
        let days = DayCounts::new(key, callees);
        let count = days.load(places.iter());
        info!(callees = count, "the calls of the day go on");
        Ok((file, days))
    }

    /// Writes what has changed. What cannot be written is tried with the next change.
    pub(super) fn write(&self, days: &DayCounts) {
        let Some(path) = &self.path else {
            days.write_changes(|_, _| true);
            return;
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let written = match open.as_ref() {
            Some(file) => write_changes(file, days).map_err(LimitsFault::file(path)),
            None => create(path, days).map(|file| *open = Some(file)),
        };
        self.unsynced.store(true, Ordering::Relaxed);
        match written {
            Ok(()) if self.failing.swap(false, Ordering::Relaxed) => info!("the calls of the day are written again"),
            Ok(()) => {}
            Err(fault) if !self.failing.swap(true, Ordering::Relaxed) => {
                warn!("the calls of the day are counted, but not written down: {fault}");
            }
            Err(_) => {}
        }
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&self) {
        if !self.unsynced.swap(false, Ordering::Relaxed) {
            return;
        }
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody waits for the disk with the lock held.
        let file = open.as_ref().map(File::try_clone);
        drop(open);
        if let Some(Err(fault)) = file.map(|file| file.and_then(|file| file.sync_data())) {
            warn!("the calls of the day may be lost with the host: {fault}");
        }
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }
}

/// A file with all its places and all that is known, in place of the one before. Its room on the disk is taken now, so
/// that a full disk is no matter later.
fn create(path: &Path, days: &DayCounts) -> Result<File, LimitsFault> {
    days.change_all();
    let made = replace(path, |file| {
        let length = (days.slots() as u64 + 1) * SLOT_BYTES as u64;
        posix_fallocate(file, 0, i64::try_from(length).unwrap_or(i64::MAX))?;
        file.write_all_at(&[MAGIC, days.key()].concat(), 0)?;
        write_changes(file, days)
    });
    if made.is_err() {
        days.change_all();
    }
    made
}

fn write_changes(file: &File, days: &DayCounts) -> io::Result<()> {
    let mut written = Ok(());
    days.write_changes(|at, place| {
        written = file.write_all_at(place, (u64::from(at) + 1) * SLOT_BYTES as u64);
        written.is_ok()
    });
    written
}

/// A key that nobody can guess; of zeros, where the kernel has no random numbers, which then starts nothing else either.
fn random() -> [u8; 16] {
    let mut key = [0; 16];
    let filled = getrandom::fill(&mut key);
    debug_assert!(filled.is_ok());
    key
}
