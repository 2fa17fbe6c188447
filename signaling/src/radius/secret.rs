//! The secret shared with the RADIUS servers: read from a file that strangers cannot read, and never shown.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The longest secret.
const MAX_SECRET: u64 = 1024;

/// What nobody but the owner may do with the file, save that its group may read it.
const FORBIDDEN_MODE: u32 = 0o027;

/// The secret. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct SharedSecret(Vec<u8>);

/// Why a secret cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretFault {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} has mode {mode:04o}: others may read or change it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is no secret in it, or more than one could be.
    #[error("{} holds no secret: one line of 1 to {MAX_SECRET} bytes is expected", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl SecretFault {
    /// What to do.
    pub fn remedy(&self) -> &'static str {
        match self {
            SecretFault::Unreadable { .. } => "create it for the user that signaling runs as",
            SecretFault::Open { .. } => "chmod 0640 or 0600",
            SecretFault::Malformed { .. } => "write the secret on one line",
        }
    }
}

impl SharedSecret {
    /// A secret that is at hand.
    pub fn new(secret: impl Into<Vec<u8>>) -> SharedSecret {
        SharedSecret(secret.into())
    }

    /// Reads a file of one line.
    ///
    /// # Errors
    /// If it cannot be read, may be read by others, or holds no secret.
    pub fn read(path: &Path) -> Result<SharedSecret, SecretFault> {
        let unreadable = |source| SecretFault::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
        if mode & FORBIDDEN_MODE != 0 {
            return Err(SecretFault::Open { path: path.to_owned(), mode });
        }
        let mut secret = Vec::new();
        // One byte more than may be, to see that there is one.
        file.take(MAX_SECRET + 3).read_to_end(&mut secret).map_err(unreadable)?;
        while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            secret.pop();
        }
        let fits = u64::try_from(secret.len()).is_ok_and(|length| (1..=MAX_SECRET).contains(&length));
        if !fits || secret.contains(&b'\n') {
            return Err(SecretFault::Malformed { path: path.to_owned() });
        }
        Ok(SharedSecret(secret))
    }

    /// Its bytes, to compute with.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SharedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedSecret(..)")
    }
}
