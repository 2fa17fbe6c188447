//! What was set while calls were up, in a file of one line each, on the disk before it holds. The last line of its kind
//! counts; at each start, and when most lines are of no use any more, the file is written anew.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use moorline_b2bua::policy::limit::{Callers, Key, LimitFault, Lists, Row, Value, Verdict};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{LimitsFault, replace};

/// The file's name in the directory.
const NAME: &str = "limits.jsonl";

/// Lines that may be there without use, besides as many as are of use.
const SPARE_LINES: usize = 1000;

/// Something that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// A limit of a trunk; `None` for what the configuration says.
    Set { trunk: String, key: Key, value: Option<Value> },
    /// Whether the account of a trunk's user is in arrears; `None` for what the configuration says.
    User { trunk: String, user: String, arrears: Option<bool> },
    /// A row of the list; `None` where it was taken out.
    Row { row: Row, verdict: Option<Verdict> },
}

/// What was set, and its file.
#[derive(Debug)]
pub(super) struct Changes {
    path: Option<PathBuf>,
    file: Option<File>,
    /// The list of the configuration: a row that is there need not be kept.
    list: Lists,
    set: BTreeMap<(String, Key), Value>,
    users: BTreeMap<(String, String), bool>,
    rows: BTreeMap<Row, Option<Verdict>>,
    lines: usize,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Set {
        trunk: String,
        key: String,
        /// As it is written in a command.
        value: String,
    },
    User {
        trunk: String,
        user: String,
        arrears: Option<bool>,
    },
    Row {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        from: Option<String>,
        caller: String,
        called: String,
        is: Is,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        percent: Option<u8>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Is {
    Black,
    White,
    Removed,
}

impl Changes {
    /// What is kept in a directory, in the order in which it must be applied. What cannot be read is left out.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn open(directory: Option<&Path>, list: Lists) -> Result<(Changes, Vec<Change>), LimitsFault> {
        let path = directory.map(|directory| directory.join(NAME));
        let text = match path.as_deref().map(std::fs::read) {
            Some(Ok(text)) => text,
            Some(Err(source)) if source.kind() != io::ErrorKind::NotFound => {
                return Err(LimitsFault::File { path: path.unwrap_or_default(), source });
            }
            Some(Err(_)) | None => Vec::new(),
        };
        let (set, users, rows) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let mut changes = Changes { path, file: None, list, set, users, rows, lines: 0 };
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
            match serde_json::from_slice::<Line>(line).ok().and_then(|line| line.change()) {
                Some(change) => changes.note(&change),
                // A process that was killed may have left half of the last one behind, which nobody was told holds.
                None => warn!(line = number + 1, "{NAME}: a line that says nothing is left out"),
            }
        }
        let all = changes.all();
        Ok((changes, all))
    }

    /// Puts the rows that were set into a list.
    ///
    /// # Errors
    /// There is no room for them.
    pub(super) fn apply_to(&self, list: &mut Lists) -> Result<(), LimitFault> {
        for (row, verdict) in &self.rows {
            match verdict {
                Some(verdict) => drop(list.insert(row, *verdict)?),
                None => drop(list.remove(row)),
            }
        }
        Ok(())
    }

    /// From now on this is the list of the configuration.
    pub(super) fn follow(&mut self, list: Lists) {
        self.rows.retain(|row, verdict| list.get(row) != *verdict);
        self.list = list;
    }

    /// What was set of a user.
    pub(super) fn user(&self, trunk: &str, user: &str) -> Option<bool> {
        self.users.get(&(trunk.to_owned(), user.to_owned())).copied()
    }

    pub(super) fn keeps(&self) -> bool {
        self.path.is_some()
    }

    /// Writes changes down: at the return they are on the disk.
    ///
    /// # Errors
    /// They are not, and will not be found there.
    pub(super) fn keep(&mut self, changes: &[Change]) -> Result<(), LimitsFault> {
        if let Some(path) = self.path.clone() {
            if self.file.is_none() || self.lines > self.set.len() + self.users.len() + self.rows.len() + SPARE_LINES {
                self.rewrite(&path)?;
            }
            self.append(changes).map_err(LimitsFault::file(&path))?;
        }
        changes.iter().for_each(|change| self.note(change));
        Ok(())
    }

    fn append(&mut self, changes: &[Change]) -> io::Result<()> {
        // It was opened just before.
        let Some(mut file) = self.file.take() else { return Ok(()) };
        let text: String = changes.iter().map(Line::of).collect();
        let length = file.metadata()?.len();
        if let Err(fault) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()) {
            // What is there of it must not be found at the next start. The file is written anew with the next change.
            drop(file.set_len(length));
            return Err(fault);
        }
        self.file = Some(file);
        self.lines += changes.len();
        Ok(())
    }

    /// Writes the file anew, without what is not possible.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn compact(&mut self, is_possible: impl Fn(&Change) -> bool) -> Result<(), LimitsFault> {
        self.set.retain(|(trunk, key), value| {
            is_possible(&Change::Set { trunk: trunk.clone(), key: *key, value: Some(*value) })
        });
        self.users.retain(|(trunk, user), arrears| {
            is_possible(&Change::User { trunk: trunk.clone(), user: user.clone(), arrears: Some(*arrears) })
        });
        match self.path.clone() {
            Some(path) if path.exists() => self.rewrite(&path),
            _ => Ok(()),
        }
    }

    fn rewrite(&mut self, path: &Path) -> Result<(), LimitsFault> {
        let all = self.all();
        let text: String = all.iter().map(Line::of).collect();
        let file = replace(path, |mut file| file.write_all(text.as_bytes()))?;
        (self.file, self.lines) = (Some(file), all.len());
        Ok(())
    }

    fn note(&mut self, change: &Change) {
        match change {
            Change::Set { trunk, key, value: Some(value) } => drop(self.set.insert((trunk.clone(), *key), *value)),
            Change::Set { trunk, key, value: None } => drop(self.set.remove(&(trunk.clone(), *key))),
            Change::User { trunk, user, arrears } => {
                let key = (trunk.clone(), user.clone());
                match arrears {
                    Some(arrears) => drop(self.users.insert(key, *arrears)),
                    None => drop(self.users.remove(&key)),
                }
            }
            Change::Row { row, verdict } if self.list.get(row) == *verdict => drop(self.rows.remove(row)),
            Change::Row { row, verdict } => drop(self.rows.insert(row.clone(), *verdict)),
        }
    }

    fn all(&self) -> Vec<Change> {
        let set = self.set.iter().map(|((trunk, key), value)| Change::Set {
            trunk: trunk.clone(),
            key: *key,
            value: Some(*value),
        });
        let users = self.users.iter().map(|((trunk, user), arrears)| Change::User {
            trunk: trunk.clone(),
            user: user.clone(),
            arrears: Some(*arrears),
        });
        let rows = self.rows.iter().map(|(row, verdict)| Change::Row { row: row.clone(), verdict: *verdict });
        set.chain(users).chain(rows).collect()
    }
}

impl Line {
    /// The line of a change, with its end.
    fn of(change: &Change) -> String {
        let line = match change {
            Change::Set { trunk, key, value } => Line::Set {
                trunk: trunk.clone(),
                key: key.to_string(),
                value: value.map_or_else(|| "default".into(), |value| value.to_string()),
            },
            Change::User { trunk, user, arrears } => {
                Line::User { trunk: trunk.clone(), user: user.clone(), arrears: *arrears }
            }
            Change::Row { row, verdict } => {
                let (is, percent) = match verdict {
                    None => (Is::Removed, None),
                    Some(Verdict::White) => (Is::White, None),
                    Some(Verdict::Black { percent }) => (Is::Black, Some(*percent)),
                };
                let from = row.from.as_deref().map(str::to_owned);
                Line::Row { from, caller: row.caller.to_string(), called: row.called.to_string(), is, percent }
            }
        };
        // Strings, numbers and switches alone: writing them does not fail.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }

    fn change(self) -> Option<Change> {
        match self {
            Line::Set { trunk, key, value } => {
                let key: Key = key.parse().ok()?;
                Some(Change::Set { trunk, key, value: key.read(&value).ok()? })
            }
            Line::User { trunk, user, arrears } => Some(Change::User { trunk, user, arrears }),
            Line::Row { from, caller, called, is, percent } => {
                let row = Row {
                    from: from.map(Into::into),
                    caller: caller.parse::<Callers>().ok()?,
                    called: called.parse().ok()?,
                };
                let verdict = match is {
                    Is::Removed => None,
                    Is::White => Some(Verdict::White),
                    Is::Black => {
                        Some(Verdict::Black { percent: percent.filter(|percent| (1..=100).contains(percent))? })
                    }
                };
                Some(Change::Row { row, verdict })
            }
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Line::of(self).trim_end())
    }
}
