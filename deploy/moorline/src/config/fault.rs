//! What is wrong with a configuration file, and where in it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a configuration cannot be used.
#[derive(Debug)]
pub(crate) enum ConfigError {
    /// The file cannot be read.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The file was read, and this is wrong with it.
    Faults {
        /// The file.
        file: String,
        /// At least one fault, in the order of the file.
        faults: Vec<Fault>,
    },
}

/// One fault of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The line, from 1.
    pub(crate) line: usize,
    /// The column in characters, from 1.
    pub(crate) column: usize,
    /// The key, such as `signaling.trunks[1].listener`; empty for faults of syntax.
    pub(crate) key: String,
    /// What is wrong.
    pub(crate) problem: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Unreadable { path, source } => {
                write!(f, "{}: {source}; name a configuration file that can be read", path.display())
            }
            ConfigError::Faults { file, faults } => {
                for (index, fault) in faults.iter().enumerate() {
                    let newline = if index == 0 { "" } else { "\n" };
                    write!(f, "{newline}{}", fault.of(file))?;
                }
                Ok(())
            }
        }
    }
}

impl Fault {
    /// The fault as it is told of a file.
    pub(crate) fn of(&self, file: &str) -> String {
        let Fault { line, column, key, problem, remedy } = self;
        let key = if key.is_empty() { String::new() } else { format!("{key}: ") };
        format!("{file}:{line}:{column}: {key}{problem}\n    remedy: {remedy}")
    }
}
