//! Disks that do not take what is written.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::cdr::journal::Medium;

fn of(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

/// A disk that, while it fails, loses what was written to the first segment since it began to, and says so once.
struct Lossy {
    segment: PathBuf,
    fails: AtomicBool,
    /// Its length when everything was on the disk last.
    safe: AtomicU64,
    /// What is lost was told.
    told: AtomicU64,
}

impl Lossy {
    fn at(stand: &Stand) -> Arc<Lossy> {
        let segment = segment::path(stand.folder.path(), 1);
        Arc::new(Lossy { segment, fails: AtomicBool::new(false), safe: AtomicU64::new(0), told: AtomicU64::new(0) })
    }
}

impl Medium for Lossy {
    fn sync(&self, segment: &File) -> io::Result<()> {
        let length = segment.metadata()?.len();
        if !self.fails.load(Ordering::Relaxed) {
            self.safe.store(length, Ordering::Relaxed);
            return segment.sync_data();
        }
        let safe = of(&self.safe);
        let lost = vec![0; usize::try_from(length - safe).unwrap_or_default()];
        fs::OpenOptions::new().write(true).open(&self.segment)?.write_all_at(&lost, safe)?;
        self.told.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::other("the disk is broken"))
    }
}

#[test]
fn what_the_disk_has_lost_is_written_again() {
    for when_full in [WhenJournalFullConfig::Drop, WhenJournalFullConfig::Refuse] {
        let stand = Stand::new(|config| (config.csv, config.when_full) = (None, when_full));
        let disk = Lossy::at(&stand);
        let medium: Arc<dyn Medium> = disk.clone();
        let (records, _) =
            start_on(&stand.config, stand.folder.path(), Arc::clone(&stand.calls), medium).expect("it starts");
        write(&records, [mark(1, Stage::Ended)]);
        until("the first is taken", || stand.ids("records.jsonl") == [id(1)]);
        disk.fails.store(true, Ordering::Relaxed);
        write(&records, [mark(2, Stage::Ended), mark(3, Stage::Begun)]);
        until("it is lost", || of(&disk.told) > 0);
        let counts = records.counts().journal;
        until("it is said to be failing", || of(&counts.failing) == 1);
        assert_eq!(stand.calls.is_shut(), when_full == WhenJournalFullConfig::Refuse);
        write(&records, [mark(4, Stage::Ended)]);
        until("more is lost", || of(&disk.told) > 1);
        assert_eq!(stand.ids("records.jsonl"), [id(1)], "nothing that is not safe is given away");
        disk.fails.store(false, Ordering::Relaxed);
        until("all are taken", || stand.ids("records.jsonl") == [id(1), id(2), id(4)]);
        until("all is well", || of(&counts.failing) == 0);
        assert!(!stand.calls.is_shut());
        assert_eq!(of(&counts.lost), 0);
        drop(records);
        // Each once, after a restart too.
        let (records, before) = stand.start();
        assert_eq!(before.open.iter().map(|record| record.id.clone()).collect::<Vec<_>>(), [id(3)]);
        write(&records, [mark(5, Stage::Ended)]);
        drop(records);
        assert_eq!(stand.ids("records.jsonl"), [id(1), id(2), id(4), id(5)]);
    }
}

/// A disk that is full, for a while, and takes a part of what it is given.
struct Full(AtomicBool);

impl Medium for Full {
    fn append(&self, mut segment: &File, lines: &[u8]) -> io::Result<()> {
        use std::io::Write;
        if self.0.load(Ordering::Relaxed) {
            segment.write_all(&lines[..lines.len() / 2])?;
            return Err(io::ErrorKind::StorageFull.into());
        }
        segment.write_all(lines)
    }
}

#[test]
fn what_finds_no_room_is_written_when_there_is_some() {
    let stand = Stand::new(|config| (config.csv, config.when_full) = (None, WhenJournalFullConfig::Refuse));
    let disk = Arc::new(Full(AtomicBool::new(true)));
    let medium: Arc<dyn Medium> = disk.clone();
    let (records, _) =
        start_on(&stand.config, stand.folder.path(), Arc::clone(&stand.calls), medium).expect("it starts");
    write(&records, [mark(1, Stage::Ended)]);
    let counts = records.counts().journal;
    assert!(stand.calls.is_shut() && of(&counts.failing) == 1);
    write(&records, [mark(2, Stage::Ended)]);
    disk.0.store(false, Ordering::Relaxed);
    until("both are taken", || stand.ids("records.jsonl") == [id(1), id(2)]);
    until("all is well", || of(&counts.failing) == 0);
    assert!(!stand.calls.is_shut());
    assert_eq!(of(&counts.lost), 0);
    drop(records);
}
