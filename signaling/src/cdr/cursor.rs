//! How far a sink has come in the journal, on disk.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::segment::Position;

/// What a sink must know of where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Place {
    /// Everything before it was taken.
    pub(super) position: Position,
    /// A sink of files: the one that is written, by its inode, and how long it was then.
    pub(super) file: u64,
    pub(super) length: u64,
}

/// A file that holds a sink's place.
pub(super) struct Cursor {
    path: PathBuf,
    /// Written first, and then renamed.
    aside: PathBuf,
    directory: PathBuf,
}

impl Cursor {
    pub(super) fn new(directory: &Path, sink: &str) -> Cursor {
        let path = directory.join(format!("cursor.{sink}"));
        let aside = directory.join(format!("cursor.{sink}.new"));
        Cursor { path, aside, directory: directory.to_owned() }
    }

    /// Where the sink stands, if that is known; at the beginning of the journal where that is damaged.
    pub(super) fn read(&self) -> Option<Place> {
        let bytes = fs::read(&self.path).ok()?;
        let place = serde_json::from_slice(&bytes).unwrap_or_else(|problem| {
            warn!(file = %self.path.display(), "it is damaged ({problem}): all that the journal has is sent again");
            Place::default()
        });
        Some(place)
    }

    /// Forgets it: the sink is owed nothing any more.
    pub(super) fn remove(&self) -> io::Result<()> {
        fs::remove_file(&self.path)?;
        File::open(&self.directory)?.sync_all()
    }

    /// Writes it down for good.
    pub(super) fn write(&self, place: &Place) -> io::Result<()> {
        let mut file = File::create(&self.aside)?;
        serde_json::to_writer(&mut file, place)?;
        file.write_all(b"\n")?;
        file.sync_data()?;
        fs::rename(&self.aside, &self.path)?;
        File::open(&self.directory)?.sync_all()
    }
}
