//! Files of records, as JSON Lines or comma-separated values.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use moorline_b2bua::cdr::Time;
use tracing::warn;

use super::columns::{COLUMNS, Kind, row};
use super::cursor::Place;
use super::sink::{Entry, Refused, Sink, SinkFault};
use super::{line, segment};
use crate::access::why;
use crate::config::FilesConfig;

/// How records are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    JsonLines,
    Csv,
}

impl Form {
    fn extension(self) -> &'static str {
        match self {
            Form::JsonLines => "jsonl",
            Form::Csv => "csv",
        }
    }
}

/// A sink of files.
pub(super) struct Files {
    form: Form,
    directory: PathBuf,
    rotate_bytes: u64,
    rotate_after: Duration,
    keep: usize,
    open: Option<Open>,
    /// Records that are in the file behind the place that was written down: they come again, and are there already.
    taken: HashSet<String>,
}

struct Open {
    file: File,
    inode: u64,
    length: u64,
    since: SystemTime,
}

impl Files {
    pub(super) fn new(form: Form, config: &FilesConfig, beside: &Path) -> Files {
        Files {
            form,
            directory: config.directory.clone().unwrap_or_else(|| beside.to_owned()),
            rotate_bytes: u64::from(config.rotate_mb) << 20,
            rotate_after: Duration::from_secs(config.rotate_s.into()),
            keep: usize::try_from(config.keep).unwrap_or(usize::MAX),
            open: None,
            taken: HashSet::new(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("records.{}", self.form.extension()))
    }

    /// The file that is written, opened again where somebody has moved it away.
    fn file(&mut self) -> io::Result<&mut Open> {
        let path = self.path();
        let there = fs::metadata(&path).map(|metadata| metadata.ino()).ok();
        if let Some(open) = self.open.take_if(|open| there == Some(open.inode)) {
            return Ok(self.open.insert(open));
        }
        let file = segment::create(&path)?;
        let metadata = file.metadata()?;
        let since = metadata.created().or_else(|_| metadata.modified()).unwrap_or_else(|_| SystemTime::now());
        let mut open = Open { file, inode: metadata.ino(), length: metadata.len(), since };
        if open.length == 0 && self.form == Form::Csv {
            let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
            let header = csv_line(names.into_iter())?;
            open.append(&header)?;
        }
        Ok(self.open.insert(open))
    }

    /// The records that were written after the place was: their ids. A line that was not written whole is removed.
    fn written_since(&mut self, place: &Place) -> io::Result<()> {
        let path = self.path();
        let Ok(metadata) = fs::metadata(&path) else { return Ok(()) };
        let known = metadata.ino() == place.file && place.length <= metadata.len();
        let from = if known { place.length } else { 0 };
        let mut reader = BufReader::new(File::open(&path)?);
        reader.seek(SeekFrom::Start(from))?;
        let (mut whole, mut text) = (from, Vec::new());
        loop {
            text.clear();
            let read = reader.read_until(b'\n', &mut text)?;
            if read == 0 || text.last() != Some(&b'\n') {
                break;
            }
            whole += read as u64;
            let id = match self.form {
                Form::JsonLines => line::id(&text),
                // Ids need no quotes, and no value but the last holds an end of line without them.
                Form::Csv => std::str::from_utf8(text.split(|byte| *byte == b',').next().unwrap_or_default()).ok(),
            };
            self.taken.extend(id.map(str::to_owned));
        }
        if whole < metadata.len() {
            segment::create(&path)?.set_len(whole)?;
        }
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stamp = Time { unix_ms: i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX) };
        let stamp = stamp.to_string().replace([':', '.'], "-");
        let to = self.directory.join(format!("records-{stamp}.{}", self.form.extension()));
        fs::rename(self.path(), to)?;
        self.open = None;
        File::open(&self.directory)?.sync_all()?;
        self.forget_old()
    }

    /// Removes the oldest complete files above the number that is kept.
    fn forget_old(&self) -> io::Result<()> {
        if self.keep == 0 {
            return Ok(());
        }
        let ending = format!(".{}", self.form.extension());
        let complete = |name: &str| name.starts_with("records-") && name.ends_with(&ending);
        let mut names: Vec<String> = fs::read_dir(&self.directory)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| complete(name))
            .collect();
        names.sort_unstable();
        let old = names.len().saturating_sub(self.keep);
        names.iter().take(old).try_for_each(|name| fs::remove_file(self.directory.join(name)))
    }
}

impl Open {
    /// Writes all of it to the disk, or nothing.
    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(text).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => self.length += text.len() as u64,
            Err(_) => self.file.set_len(self.length)?,
        }
        written
    }
}

/// What keeps a sink from a path.
fn fault(path: PathBuf) -> impl FnOnce(io::Error) -> SinkFault {
    move |problem| SinkFault(format!("{}: {}", path.display(), why(&path, &problem)))
}

impl Sink for Files {
    fn name(&self) -> &'static str {
        match self.form {
            Form::JsonLines => "json",
            Form::Csv => "csv",
        }
    }

    fn open(&mut self) -> Result<(), SinkFault> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(&self.directory);
        made.map_err(fault(self.directory.clone()))?;
        let path = self.path();
        segment::create(&path).map(drop).map_err(fault(path))
    }

    fn prepare(&mut self, place: &mut Place) -> Result<(), SinkFault> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o750).create(&self.directory);
        made.map_err(fault(self.directory.clone()))?;
        self.taken.clear();
        let path = self.path();
        self.written_since(place).map_err(fault(path.clone()))?;
        let open = self.file().map_err(fault(path))?;
        (place.file, place.length) = (open.inode, open.length);
        Ok(())
    }

    fn take(&mut self, entries: &[Entry], place: &mut Place) -> Result<Vec<Refused>, SinkFault> {
        let mut text = Vec::new();
        for entry in entries {
            if self.taken.remove(&entry.record.id) {
                continue;
            }
            match self.form {
                Form::JsonLines => {
                    text.extend_from_slice(&entry.json);
                    text.push(b'\n');
                }
                Form::Csv => {
                    let row = row(&entry.record).into_iter().zip(COLUMNS);
                    let cells: Vec<String> = row.map(|(value, (_, kind))| cell(value, kind)).collect();
                    text.extend(csv_line(cells.iter().map(String::as_str))?);
                }
            }
        }
        let path = self.path();
        let open = self.file().map_err(fault(path.clone()))?;
        open.append(&text).map_err(fault(path))?;
        (place.file, place.length) = (open.inode, open.length);
        Ok(Vec::new())
    }

    fn tick(&mut self, place: &mut Place) -> bool {
        let empty = match self.form {
            Form::JsonLines => 0,
            Form::Csv => csv_line(COLUMNS.iter().map(|(name, _)| *name)).map_or(0, |header| header.len() as u64),
        };
        let due = self.open.as_ref().is_some_and(|open| {
            let old = open.since.elapsed().is_ok_and(|age| age >= self.rotate_after);
            open.length > empty && (open.length >= self.rotate_bytes || old)
        });
        if !due {
            return false;
        }
        if let Err(problem) = self.rotate() {
            warn!(sink = self.name(), "the file of call records goes on beyond its bounds: {problem}");
            return false;
        }
        (place.file, place.length) = (0, 0);
        true
    }
}

/// A value as a cell. Callers choose their names and numbers, and a spreadsheet carries out what looks like a formula:
/// such a text is quoted by an apostrophe. A number with its `+` looks like none.
fn cell(value: Option<String>, kind: Kind) -> String {
    let value = value.unwrap_or_default();
    let number = value.strip_prefix('+').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
    let formula = kind == Kind::Text && !number && value.starts_with(['=', '+', '-', '@', '\t', '\r']);
    if formula { format!("'{value}") } else { value }
}

fn csv_line<'a>(values: impl Iterator<Item = &'a str>) -> io::Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(values).map_err(io::Error::other)?;
    writer.into_inner().map_err(|problem| io::Error::other(problem.to_string()))
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
