//! The configuration that runs and the one before, with the files that they name, in the state directory: what
//! `moorline rollback` goes back to, also after a restart.
//!
//! Each is a directory: the text and copies of its files, which hold secrets as the originals do (mode 0700 and 0600).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::difference;

/// Inside the state directory.
const HISTORY: &str = "configuration";

const RUNNING: &str = "running";
const BEFORE: &str = "before";
/// What is not whole yet, and what is no more.
const NEXT: &str = "next";
const OLD: &str = "old";

/// Held by the process that writes there.
const LOCK: &str = "lock";

/// The text in each.
const TEXT: &str = "moorline.toml";

/// The most bytes that are read at once.
const CHUNK: usize = 1 << 20;

/// Where configurations are kept.
#[derive(Debug)]
pub(super) struct History {
    directory: PathBuf,
    /// Held until this is dropped: one process writes there.
    _lock: File,
}

/// A configuration that is kept.
pub(super) struct Kept {
    pub(super) text: String,
    /// Where the copies of its files are.
    pub(super) directory: PathBuf,
}

impl History {
    /// In a state directory.
    ///
    /// # Errors
    /// It cannot be made there, or is another process's.
    pub(super) fn open(state: &Path) -> io::Result<History> {
        let directory = state.join(HISTORY);
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        let lock = directory.join(LOCK);
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(lock)?;
        lock.try_lock().map_err(|_| io::Error::other(format!("{} is another process's", directory.display())))?;
        Ok(History { directory, _lock: lock })
    }

    /// Writes a configuration down, to be the one that runs when it does ([`History::runs`]).
    ///
    /// # Errors
    /// The disk is full, or a file is gone.
    pub(super) fn prepare(&self, text: &str, files: &[PathBuf]) -> io::Result<()> {
        let next = self.directory.join(NEXT);
        remove(&next)?;
        DirBuilder::new().mode(0o700).create(&next)?;
        write(&next.join(TEXT), &mut text.as_bytes())?;
        for (number, path) in files.iter().enumerate() {
            write(&next.join(number.to_string()), &mut File::open(path)?)?;
        }
        File::open(&next)?.sync_all()
    }

    /// What was prepared runs: what ran is the one before.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn runs(&self) -> io::Result<()> {
        let at = |name: &str| self.directory.join(name);
        remove(&at(OLD))?;
        for (from, to) in [(BEFORE, OLD), (RUNNING, BEFORE), (NEXT, RUNNING)] {
            move_if_there(&at(from), &at(to))?;
        }
        File::open(&self.directory)?.sync_all()?;
        remove(&at(OLD))
    }

    /// The one before runs again, and what ran is the one before.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn rolled_back(&self) -> io::Result<()> {
        let at = |name: &str| self.directory.join(name);
        remove(&at(OLD))?;
        for (from, to) in [(BEFORE, OLD), (RUNNING, BEFORE), (OLD, RUNNING)] {
            move_if_there(&at(from), &at(to))?;
        }
        File::open(&self.directory)?.sync_all()
    }

    /// The configuration before, if there is one.
    pub(super) fn before(&self) -> Option<Kept> {
        self.kept(BEFORE)
    }

    /// Where the one that runs is.
    pub(super) fn running(&self) -> PathBuf {
        self.directory.join(RUNNING).join(TEXT)
    }

    /// Whether what is kept as running says this, in these words or others, with these contents of its files.
    pub(super) fn is_running(&self, text: &str, digests: &[Option<u64>]) -> bool {
        self.is_kept(RUNNING, text, digests)
    }

    /// Whether what is kept as the one before is this.
    pub(super) fn is_before(&self, text: &str, digests: &[Option<u64>]) -> bool {
        self.is_kept(BEFORE, text, digests)
    }

    fn is_kept(&self, name: &str, text: &str, digests: &[Option<u64>]) -> bool {
        let Some(kept) = self.kept(name) else { return false };
        let copies: Vec<PathBuf> = (0..digests.len()).map(|number| kept.directory.join(number.to_string())).collect();
        let same = kept.text == text || difference(&kept.text, text).is_empty();
        same && copies.iter().map(|copy| digest(copy)).eq(digests.iter().copied())
    }

    /// What is kept as running says the same in these words, with another comment or in another order. The one before
    /// stays.
    ///
    /// # Errors
    /// The file system's.
    pub(super) fn reword(&self, text: &str) -> io::Result<()> {
        let Some(kept) = self.kept(RUNNING).filter(|kept| kept.text != text) else { return Ok(()) };
        let next = kept.directory.join(NEXT);
        match fs::remove_file(&next) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write(&next, &mut text.as_bytes())?;
        fs::rename(&next, kept.directory.join(TEXT))?;
        File::open(&kept.directory)?.sync_all()
    }

    fn kept(&self, name: &str) -> Option<Kept> {
        let directory = self.directory.join(name);
        let text = fs::read_to_string(directory.join(TEXT)).ok()?;
        Some(Kept { text, directory })
    }
}

/// What tells the content of a file from another one; `None` where it cannot be read.
pub(crate) fn digest(path: &Path) -> Option<u64> {
    let mut file = File::open(path).ok()?;
    // The same in each process of this version, which is enough: another one rolls nothing back wrongly by it.
    let mut hasher = DefaultHasher::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk).ok()? {
            0 => return Some(hasher.finish()),
            length => hasher.write(&chunk[..length]),
        }
    }
}

fn write(path: &Path, from: &mut impl Read) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(from, &mut file)?;
    file.flush()?;
    file.sync_all()
}

fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn move_if_there(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_before_is_kept_with_its_files_and_comes_back() {
        let state = tempfile::tempdir().expect("a directory");
        let routes = state.path().join("routes.csv");
        let history = History::open(state.path()).expect("a history");
        assert!(history.before().is_none());
        for text in ["one", "two"] {
            fs::write(&routes, format!("routes of {text}")).expect("written");
            history.prepare(text, std::slice::from_ref(&routes)).expect("prepared");
            history.runs().expect("kept");
            assert!(history.is_running(text, &[digest(&routes)]));
        }
        history.reword("# two\n").expect("written");
        assert_eq!(fs::read_to_string(history.running()).expect("a text"), "# two\n");
        history.reword("two").expect("written");
        fs::write(&routes, "spoilt").expect("written");
        assert!(History::open(state.path()).is_err(), "it is in use");
        drop(history);
        let history = History::open(state.path()).expect("a history");
        assert!(!history.is_running("two", &[digest(&routes)]));
        let before = history.before().expect("the one before");
        assert_eq!(before.text, "one");
        assert_eq!(fs::read_to_string(before.directory.join("0")).expect("a copy"), "routes of one");
        history.rolled_back().expect("rolled back");
        assert_eq!(history.before().map(|kept| kept.text), Some("two".into()));
        assert_eq!(fs::read_to_string(history.running()).expect("a text"), "one");
    }

    #[test]
    fn what_was_prepared_and_did_not_run_is_forgotten() {
        let state = tempfile::tempdir().expect("a directory");
        let history = History::open(state.path()).expect("a history");
        history.prepare("one", &[]).expect("prepared");
        history.runs().expect("kept");
        history.prepare("two", &[]).expect("prepared");
        assert!(history.prepare("three", &[state.path().join("gone")]).is_err());
        history.prepare("four", &[]).expect("prepared");
        history.runs().expect("kept");
        assert_eq!(history.before().map(|kept| kept.text), Some("one".into()));
    }
}
