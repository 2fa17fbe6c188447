//! The file: opened and checked, read, and changed by transactions.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use redb::backends::FileBackend;
use redb::{Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition};
use tracing::error;

use super::{Batch, Entry, StoreFault};

/// Everything: by namespace and key, when it expires and what it is.
const ENTRIES: TableDefinition<'_, NameRow, ContentRow> = TableDefinition::new("entries");

type NameRow = (&'static str, &'static [u8]);
type ContentRow = (u64, &'static [u8]);

/// Pages kept in memory. All is read once, at the start.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// How long a process that is about to end is waited for, which still has the file open.
const IN_USE: Duration = Duration::from_secs(3);
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// The open file.
#[derive(Debug)]
pub(super) struct StoreFile {
    path: PathBuf,
    /// `None` after a failed write: it must be opened again.
    database: Option<Database>,
}

/// What opening came to.
enum Opened {
    Good(Database, Vec<Entry>),
    InUse,
    Damaged(String),
    Failed(io::Error),
}

/// Opens the file, and gives all that is in it. A damaged one is moved aside first.
pub(super) fn open(directory: &Path, name: &str) -> Result<(StoreFile, Vec<Entry>), StoreFault> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| StoreFault::Unusable { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(unusable(directory))?;
    let path = directory.join(name);
    let deadline = Instant::now() + IN_USE;
    let mut moved = false;
    loop {
        match try_open(&path) {
            Opened::Good(database, entries) => return Ok((StoreFile { path, database: Some(database) }, entries)),
            Opened::InUse if Instant::now() < deadline => thread::sleep(IN_USE_PAUSE),
            Opened::InUse => return Err(StoreFault::InUse(path)),
            Opened::Failed(source) => return Err(StoreFault::Unusable { path, source }),
            Opened::Damaged(problem) if moved => return Err(StoreFault::Damaged { path, problem }),
            Opened::Damaged(problem) => {
                let aside = aside(&path);
                fs::rename(&path, &aside).map_err(unusable(&path))?;
                error!(file = %path.display(), aside = %aside.display(), "the store is damaged: {problem}; it begins anew");
                moved = true;
            }
        }
    }
}

/// Where a damaged file is kept, the last one only: a disk that damages them must not be filled by them.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".damaged");
    PathBuf::from(name)
}

/// On a thread of its own: reading what somebody else wrote over can make the library panic, and that must not
/// end this process, or it would do so at every start.
fn try_open(path: &Path) -> Opened {
    let path = path.to_owned();
    thread::spawn(move || open_and_read(&path)).join().unwrap_or_else(|_| Opened::Damaged("reading it failed".into()))
}

fn open_and_read(path: &Path) -> Opened {
    match file(path).map_err(DatabaseError::from).and_then(database) {
        Ok(database) => match read(&database) {
            Ok(entries) => Opened::Good(database, entries),
            Err(problem) => Opened::Damaged(problem.to_string()),
        },
        Err(DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch) => Opened::InUse,
        Err(DatabaseError::Storage(StorageError::Io(source))) if !is_damage(&source) => Opened::Failed(source),
        Err(problem) => Opened::Damaged(problem.to_string()),
    }
}

/// Whether the system's refusal speaks of the file's content.
fn is_damage(source: &io::Error) -> bool {
    matches!(source.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput)
}

fn file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Every page is checked: what the disk or somebody else changed is found here and not when it is used.
fn database(file: File) -> Result<Database, DatabaseError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder.create_with_backend(FileBackend::new(file)?)
}

fn read(database: &Database) -> Result<Vec<Entry>, redb::Error> {
    let table = match database.begin_read()?.open_table(ENTRIES) {
        Ok(table) => table,
        // Nothing was ever written.
        Err(redb::TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(fault) => return Err(fault.into()),
    };
    let mut entries = Vec::new();
    for row in table.iter()? {
        let (name, content) = row?;
        let ((namespace, key), (expires_s, value)) = (name.value(), content.value());
        entries.push(Entry {
            namespace: namespace.to_owned(),
            key: key.to_owned(),
            value: value.to_owned(),
            expires: (expires_s != 0)
                .then(|| SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(expires_s)))
                .flatten(),
        });
    }
    Ok(entries)
}

impl StoreFile {
    /// One that is opened when it is first written.
    #[cfg(test)]
    pub(super) fn closed(path: &Path) -> StoreFile {
        StoreFile { path: path.to_owned(), database: None }
    }

    /// Makes all of these changes or none, and returns when they are on the disk.
    pub(super) fn commit(&mut self, batch: &Batch) -> Result<(), redb::Error> {
        let database = match self.database.take() {
            Some(database) => database,
            None => database(file(&self.path)?)?,
        };
        transact(&database, batch)?;
        self.database = Some(database);
        Ok(())
    }
}

fn transact(database: &Database, batch: &Batch) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(ENTRIES)?;
        for ((namespace, key), content) in batch {
            let name = (namespace.as_str(), key.as_slice());
            match content {
                Some(content) => table.insert(name, (content.expires_s, content.value.as_slice()))?,
                None => table.remove(name)?,
            };
        }
    }
    transaction.commit()?;
    Ok(())
}
