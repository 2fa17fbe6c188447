//! Where call detail records go: `[signaling.cdr]`.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::fault::Faults;

/// The directory of what outlives the process where none is configured.
const STATE: &str = "/var/lib/moorline";

/// Call detail records: `[signaling.cdr]`.
///
/// Every record is written to a journal first, before the caller hears what it tells of; from there it goes to each of
/// the sinks that are named here, which take it once, and later if they cannot take it now. Calls never wait for them.
/// If no sink is named, records become JSON Lines in `directory`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CdrConfig {
    /// Whether calls are recorded at all.
    pub enabled: bool,
    /// Where the journal is, on a disk of this host, and by default the files of the sinks. If left out, `cdr` in
    /// `signaling.state`, or in `/var/lib/moorline` where that is there and can be written; else nothing is recorded.
    pub directory: Option<PathBuf>,
    /// The most megabytes of the journal, which grows while a sink cannot take records: 16 to 1000000. A call takes about
    /// four kilobytes.
    pub journal_mb: u32,
    /// What is done when the journal has grown to its bound, or its disk is full: `drop` loses records, the oldest that
    /// a sink has not taken or those that find no room, and counts them; `refuse` answers new calls 503 until there is
    /// room.
    pub when_full: WhenJournalFullConfig,
    /// Files of JSON Lines.
    pub json: Option<FilesConfig>,
    /// Files of comma-separated values (RFC 4180), with a line of names.
    pub csv: Option<FilesConfig>,
}

/// What is done when there is no room for records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenJournalFullConfig {
    /// Calls go on, records are lost.
    #[default]
    Drop,
    /// New calls are refused.
    Refuse,
}

/// Files of records, one after the other: `[signaling.cdr.json]`, `[signaling.cdr.csv]`. The one that is written is
/// `records.jsonl` or `records.csv`; when it is full or old it is renamed to `records-` and the time, and is complete.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FilesConfig {
    /// Where they are; if left out, beside the journal.
    pub directory: Option<PathBuf>,
    /// A file with so many megabytes is complete: 1 to 10000.
    pub rotate_mb: u32,
    /// A file so many seconds old is complete, if there is anything in it: 60 or more.
    pub rotate_s: u32,
    /// How many complete files are kept, the youngest; 0 keeps all.
    pub keep: u32,
}

impl Default for CdrConfig {
    fn default() -> Self {
        CdrConfig {
            enabled: true,
            directory: None,
            journal_mb: 1024,
            when_full: WhenJournalFullConfig::Drop,
            json: None,
            csv: None,
        }
    }
}

impl Default for FilesConfig {
    fn default() -> Self {
        FilesConfig { directory: None, rotate_mb: 64, rotate_s: 24 * 3600, keep: 0 }
    }
}

impl CdrConfig {
    /// Where the journal is to be, and whether that was asked for: then it must be usable.
    pub(crate) fn place(&self, state: Option<&Path>) -> Option<(PathBuf, bool)> {
        if !self.enabled {
            return None;
        }
        let asked = *self != CdrConfig::default();
        match (&self.directory, state) {
            (Some(directory), _) => Some((directory.clone(), true)),
            (None, Some(state)) => Some((state.join("cdr"), true)),
            (None, None) if asked || Path::new(STATE).is_dir() => Some((Path::new(STATE).join("cdr"), asked)),
            (None, None) => None,
        }
    }

    /// The files of JSON Lines, if there are to be any.
    pub(crate) fn json(&self) -> Option<FilesConfig> {
        self.json.clone().or_else(|| self.csv.is_none().then(FilesConfig::default))
    }

    pub(super) fn check(&self, faults: &mut Faults) {
        if !(16..=1_000_000).contains(&self.journal_mb) {
            let problem = format!("{} is out of bounds", self.journal_mb);
            faults.add("cdr.journal_mb", problem, "use 16 to 1000000");
        }
        let directories = [
            ("directory", self.directory.as_ref()),
            ("json.directory", self.json.as_ref().and_then(|files| files.directory.as_ref())),
            ("csv.directory", self.csv.as_ref().and_then(|files| files.directory.as_ref())),
        ];
        for (key, directory) in directories {
            if let Some(directory) = directory.filter(|directory| !directory.is_absolute()) {
                let problem = format!("{} is no absolute path", directory.display());
                faults.add(format!("cdr.{key}"), problem, "write it from the root, such as \"/var/lib/moorline/cdr\"");
            }
        }
        for (key, files) in [("json", &self.json), ("csv", &self.csv)] {
            let Some(files) = files else { continue };
            if !(1..=10_000).contains(&files.rotate_mb) {
                let problem = format!("{} is out of bounds", files.rotate_mb);
                faults.add(format!("cdr.{key}.rotate_mb"), problem, "use 1 to 10000");
            }
            if files.rotate_s < 60 {
                let problem = format!("a new file every {} seconds", files.rotate_s);
                faults.add(format!("cdr.{key}.rotate_s"), problem, "use 60 or more");
            }
        }
    }
}
