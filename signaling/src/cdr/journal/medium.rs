//! What the journal needs of a disk.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// A disk, or what a test has instead.
pub(in crate::cdr) trait Medium: Send + Sync {
    /// Appends to a segment.
    fn append(&self, mut segment: &File, lines: &[u8]) -> io::Result<()> {
        segment.write_all(lines)
    }

    /// Brings what was written to the disk, for good.
    fn sync(&self, segment: &File) -> io::Result<()> {
        segment.sync_data()
    }
}

pub(in crate::cdr) struct Disk;

impl Medium for Disk {}

/// Lines that were written to a segment and may be in the page cache only.
pub(super) struct Written {
    pub(super) segment: u64,
    /// Where they are in it.
    pub(super) offset: u64,
    pub(super) lines: Vec<u8>,
}

impl Written {
    /// Writes them once more in their place.
    pub(super) fn again(&self, path: &Path) -> io::Result<()> {
        // What is open for appending is never written in the middle.
        match OpenOptions::new().write(true).open(path) {
            Ok(file) => file.write_all_at(&self.lines, self.offset),
            // Nobody wants them any more.
            Err(problem) if problem.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(problem) => Err(problem),
        }
    }
}
