//! Records that a sink refuses for good: in a file beside the journal, with the reason, for somebody to look at.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use moorline_b2bua::cdr::{Record, Stage};
use serde::{Deserialize, Serialize};

use super::segment;
use super::sink::{Entry, Refused};

/// `refused.` and the name of a sink: JSON Lines.
pub(super) struct Aside {
    path: PathBuf,
    /// What the file has from the process before, once it was looked at: its cursor may stand before that.
    known: Option<HashSet<(String, String)>>,
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line<R> {
    /// The sink's words.
    why: String,
    /// What of the call the sink was to be told.
    stage: String,
    record: R,
}

impl Aside {
    pub(super) fn new(directory: &Path, sink: &str) -> Aside {
        Aside { path: directory.join(format!("refused.{sink}.jsonl")), known: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes down what was refused of these, for good, or nothing of it.
    pub(super) fn add(&mut self, entries: &[Entry], refused: &[Refused]) -> io::Result<()> {
        let mut file = segment::create(&self.path)?;
        if self.known.is_none() {
            self.known = Some(self.read(&file)?);
        }
        let mut text = Vec::new();
        for Refused { index, why } in refused {
            let Some(Entry { stage, record, .. }) = entries.get(*index) else { continue };
            let stage = stage_name(*stage);
            let known = self.known.as_ref().is_some_and(|known| known.contains(&(record.id.clone(), stage.clone())));
            if !known {
                serde_json::to_writer(&mut text, &Line { why: why.clone(), stage, record })?;
                text.push(b'\n');
            }
        }
        let length = file.metadata()?.len();
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        if written.is_err() {
            file.set_len(length)?;
        }
        written
    }

    /// The ids and stages that the file has. A line that was not written whole is removed.
    fn read(&self, file: &File) -> io::Result<HashSet<(String, String)>> {
        let mut reader = BufReader::new(File::open(&self.path)?);
        let (mut known, mut whole, mut text) = (HashSet::new(), 0, Vec::new());
        loop {
            text.clear();
            let read = reader.read_until(b'\n', &mut text)?;
            if read == 0 || text.last() != Some(&b'\n') {
                break;
            }
            whole += read as u64;
            if let Ok(Line { stage, record, .. }) = serde_json::from_slice::<Line<Record>>(&text) {
                known.insert((record.id, stage));
            }
        }
        if whole < file.metadata()?.len() {
            file.set_len(whole)?;
        }
        Ok(known)
    }
}

fn stage_name(stage: Stage) -> String {
    format!("{stage:?}").to_lowercase()
}
