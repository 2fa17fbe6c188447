//! The bytes of a file as text.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::{ConfigError, Fault};

/// The longest configuration: a million routes are in a file of their own.
const MAX_BYTES: u64 = 64 << 20;

/// What is in a file, which must be UTF-8.
///
/// # Errors
/// It cannot be read, or is something else: a directory, a device, another encoding.
pub(super) fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    if read.map_err(unreadable)? as u64 > MAX_BYTES {
        return Err(unreadable(io::Error::other("it is longer than 64 MiB")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let (problem, remedy) = ("no UTF-8".into(), "save the file as UTF-8".into());
        let fault = Fault { line, column, key: String::new(), problem, remedy };
        ConfigError::Faults { file: path.display().to_string(), faults: vec![fault] }
    })
}
