//! The files of the journal: `journal.` and a number, each written once from its beginning to its end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const PREFIX: &str = "journal.";

/// The longest line that is read: a record has bounds, and what is longer is damage.
const MAX_LINE: u64 = 256 * 1024;

/// A place in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
pub(super) struct Position {
    /// The number of the segment.
    pub(super) segment: u64,
    /// Bytes from its beginning.
    pub(super) offset: u64,
}

pub(super) fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(format!("{PREFIX}{number:012}"))
}

/// The numbers of the segments that are there, in their order, with their lengths.
pub(super) fn all(directory: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
        if let Some(number) = number {
            found.push((number, entry.metadata()?.len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Opens a file of this process's own, which is made if need be.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o640).open(path)
}

/// Reads the lines of a segment.
pub(super) struct Reader {
    file: BufReader<io::Take<File>>,
    /// Where the next line begins.
    offset: u64,
    line: Vec<u8>,
}

impl Reader {
    /// From an offset up to another one.
    pub(super) fn open(path: &Path, from: u64, to: u64) -> io::Result<Reader> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(from))?;
        Ok(Reader { file: BufReader::new(file.take(to.saturating_sub(from))), offset: from, line: Vec::new() })
    }

    /// Where the next line begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The next line without its end; `None` after the last. What is no whole line is empty.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        self.line.clear();
        let read = (&mut self.file).take(MAX_LINE).read_until(b'\n', &mut self.line)?;
        self.offset += read as u64;
        if read == 0 {
            return Ok(None);
        }
        if self.line.pop() != Some(b'\n') {
            self.line.clear();
        }
        Ok(Some(&self.line))
    }
}
