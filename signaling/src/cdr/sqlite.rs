//! Records in a table of an SQLite file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::columns::{COLUMNS, Kind, row};
use super::cursor::Place;
use super::segment;
use super::sink::{Entry, Refused, Sink, SinkFault};
use crate::config::SqliteConfig;

/// How long somebody who reads the file may keep a write waiting.
const BUSY: Duration = Duration::from_secs(2);

/// A sink that is a table: `records`.
pub(super) struct Sqlite {
    path: PathBuf,
    keep_days: u32,
    open: Option<Connection>,
    insert: String,
}

impl Sqlite {
    pub(super) fn new(config: &SqliteConfig, beside: &Path) -> Sqlite {
        let names = COLUMNS.map(|(name, _)| name).join(", ");
        let places = vec!["?"; COLUMNS.len()].join(", ");
        Sqlite {
            path: config.file.clone().unwrap_or_else(|| beside.join("records.sqlite")),
            keep_days: config.keep_days,
            open: None,
            insert: format!("INSERT OR IGNORE INTO records ({names}) VALUES ({places})"),
        }
    }

    fn connection(&mut self) -> Result<&mut Connection, SinkFault> {
        if let Some(open) = self.open.take() {
            return Ok(self.open.insert(open));
        }
        // Made with the permissions of the other files of records, which those beside it take over.
        segment::create(&self.path)?;
        let connection = Connection::open(&self.path)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        let columns = COLUMNS.map(|(name, kind)| match name {
            "id" => "id TEXT PRIMARY KEY NOT NULL".to_owned(),
            _ => format!("{name} {}", affinity(kind)),
        });
        connection.execute_batch(&format!("CREATE TABLE IF NOT EXISTS records ({})", columns.join(", ")))?;
        let mut known: Vec<String> = Vec::new();
        connection.pragma(None, "table_info", "records", |row| {
            known.push(row.get("name")?);
            Ok(())
        })?;
        // A table of a version before has fewer.
        for (name, kind) in COLUMNS.iter().filter(|(name, _)| !known.iter().any(|known| known == name)) {
            connection.execute_batch(&format!("ALTER TABLE records ADD COLUMN {name} {}", affinity(*kind)))?;
        }
        connection.execute_batch("CREATE INDEX IF NOT EXISTS records_by_setup ON records (setup)")?;
        Ok(self.open.insert(connection))
    }
}

impl Sink for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn open(&mut self) -> Result<(), SinkFault> {
        let path = self.path.display().to_string();
        self.connection().map(drop).map_err(|fault| SinkFault(format!("{path}: {fault}")))
    }

    fn prepare(&mut self, _place: &mut Place) -> Result<(), SinkFault> {
        self.connection().map(|_| ())
    }

    fn take(&mut self, entries: &[Entry], _place: &mut Place) -> Result<Vec<Refused>, SinkFault> {
        let (insert, keep_days) = (self.insert.clone(), self.keep_days);
        let taken = self.connection().and_then(|connection| {
            let transaction = connection.transaction()?;
            {
                let mut statement = transaction.prepare_cached(&insert)?;
                for entry in entries {
                    let values = row(&entry.record).into_iter().zip(COLUMNS).map(|(text, (_, kind))| value(text, kind));
                    statement.execute(params_from_iter(values))?;
                }
            }
            if keep_days > 0 {
                let since = format!("-{keep_days} days");
                transaction
                    .execute("DELETE FROM records WHERE setup < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', ?)", [since])?;
            }
            transaction.commit()?;
            Ok(Vec::new())
        });
        if taken.is_err() {
            // Opened anew: the file may be another one by then.
            self.open = None;
        }
        taken
    }
}

fn affinity(kind: Kind) -> &'static str {
    match kind {
        Kind::Text | Kind::Time => "TEXT",
        Kind::Number => "INTEGER",
        Kind::Real => "REAL",
    }
}

fn value(text: Option<String>, kind: Kind) -> Value {
    let Some(text) = text else { return Value::Null };
    match kind {
        Kind::Text | Kind::Time => Value::Text(text),
        // What does not fit is told as it is.
        Kind::Number => text.parse().map(Value::Integer).unwrap_or(Value::Text(text)),
        Kind::Real => text.parse().map(Value::Real).unwrap_or(Value::Text(text)),
    }
}

impl From<rusqlite::Error> for SinkFault {
    fn from(problem: rusqlite::Error) -> SinkFault {
        SinkFault(problem.to_string())
    }
}
