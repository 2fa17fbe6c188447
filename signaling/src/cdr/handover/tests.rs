use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use moorline_b2bua::Concurrency;
use moorline_b2bua::cdr::{Record, Time};
use moorline_control::SessionId;

use super::*;
use crate::Config;
use crate::cdr::journal::Medium;
use crate::cdr::{Records, start_on};
use crate::config::{CdrConfig, FilesConfig, WhenJournalFullConfig};

/// A disk that takes nothing while it is held.
#[derive(Default)]
pub(crate) struct Hung(pub(crate) Mutex<()>);

impl Medium for Hung {
    fn append(&self, mut segment: &File, lines: &[u8]) -> io::Result<()> {
        let _held = self.0.lock().expect("no panic");
        segment.write_all(lines)
    }
}

pub(crate) fn limits() -> Arc<Limits> {
    let config = "[[trunks]]\nname = \"pbx\"\nlistener = \"local\"\nsources = [\"127.0.0.0/8\"]";
    let config: Config = toml::from_str(config).expect("a configuration");
    let policy = config.policy().expect("no faults");
    Arc::new(Limits::open(&policy, config.lists(), 10, None).expect("limits"))
}

/// Records in a folder, on such a disk, and what writes them for two workers.
pub(crate) fn started(folder: &Path, disk: &Arc<Hung>, calls: &Arc<Concurrency>) -> (Records, Writer) {
    let config = CdrConfig {
        when_full: WhenJournalFullConfig::Refuse,
        json: Some(FilesConfig::default()),
        ..CdrConfig::default()
    };
    let medium: Arc<dyn Medium> = disk.clone();
    let (records, _) = start_on(&config, folder, Arc::clone(calls), medium).expect("it starts");
    let writer = Writer::start(Some(records.journal()), limits(), 2).expect("a thread");
    (records, writer)
}

pub(crate) fn mark(number: u64, stage: Stage) -> Mark {
    let id = SessionId { node: 1, virtual_shard: 0, random: number };
    let mut record = Record { id: id.to_string(), ..Record::default() };
    record.caller.call_id = format!("caller{number}");
    record.callee.call_id = format!("callee{number}");
    if stage >= Stage::Answered {
        record.answer = Some(Time { unix_ms: 1 });
    }
    Mark { stage, record: Box::new(record) }
}

/// Waits in vain for longer than anything here takes.
#[track_caller]
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain");
        thread::sleep(Duration::from_millis(2));
    }
}

fn ids(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("records.jsonl")).unwrap_or_default();
    let record = |line: &str| serde_json::from_str::<Record>(line).expect("a record").id;
    text.lines().map(record).collect()
}

#[test]
fn who_hands_over_waits_for_no_disk_and_everything_is_written_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (disk, calls) = (Arc::new(Hung::default()), Arc::default());
    let (records, writer) = started(folder.path(), &disk, &calls);
    let [mut one, mut other] = [writer.handover(0), writer.handover(1)];
    assert_eq!(one.give(&mut vec![mark(1, Stage::Ended)], false), 1);
    until(|| one.written() == 1);
    let counts = records.counts().journal;

    let held = disk.0.lock().expect("no panic");
    for number in 2..100 {
        let last = one.give(&mut vec![mark(number, Stage::Answered)], false);
        one.give(&mut vec![mark(number, Stage::Ended)], false);
        assert_eq!(last, number * 2 - 2);
    }
    assert_eq!(other.give(&mut vec![mark(100, Stage::Ended)], false), 1);
    assert_eq!((one.written(), other.written(), one.is_stalled()), (1, 0, false));
    other.stall();
    one.stall();
    assert!(one.is_stalled() && calls.is_shut());
    assert_eq!((counts.stalls.load(Ordering::Relaxed), counts.failing.load(Ordering::Relaxed)), (1, 1));
    assert!(counts.waiting.load(Ordering::Relaxed) > 0);
    drop(held);

    until(|| one.written() == 197 && other.written() == 1);
    until(|| counts.failing.load(Ordering::Relaxed) == 0 && !calls.is_shut());
    assert!(!one.is_stalled());
    assert!(writer.stop(PATIENCE));
    drop(records);
    let wanted: Vec<String> = (1..101).map(|number| mark(number, Stage::Ended).record.id).collect();
    assert_eq!(ids(folder.path()), wanted);
    assert_eq!(counts.lost.load(Ordering::Relaxed), 0);
}

#[test]
fn what_was_handed_over_last_is_written_before_the_end_unless_the_disk_hangs() {
    let folder = tempfile::tempdir().expect("a folder");
    let (disk, calls) = (Arc::new(Hung::default()), Arc::default());
    let (records, writer) = started(folder.path(), &disk, &calls);
    writer.handover(0).give(&mut vec![mark(1, Stage::Ended)], false);
    assert!(writer.stop(Duration::from_secs(20)));
    let late = Writer::start(Some(records.journal()), limits(), 1).expect("a thread");
    let held = disk.0.lock().expect("no panic");
    let mut end = late.handover(0);
    end.give(&mut vec![mark(2, Stage::Ended)], false);
    assert!(!late.stop(Duration::ZERO), "it is not waited for");
    drop(held);
    until(|| end.written() == 1);
    drop(records);
    assert_eq!(ids(folder.path()).len(), 2);
}

#[test]
fn attempts_take_no_room_from_calls() {
    let queue =
        || Queue { marks: Vec::new(), counted: false, given: Vec::new(), crowded: CROWDED, idle: false, stop: false };
    let mut full = queue();
    let attempt = |number: usize| {
        let mut attempt = mark(number as u64, Stage::Ended);
        attempt.record.answer = None;
        attempt
    };
    let taken = (0..ROOM).filter(|number| full.push(attempt(*number))).count();
    assert_eq!(taken, ROOM_UNANSWERED);
    let taken = (0..ROOM).filter(|number| full.push(mark(1_000_000 + *number as u64, Stage::Ending))).count();
    assert_eq!(taken, ROOM - ROOM_UNANSWERED);

    // What is said again later needs no room: of each call its answer and its latest step stay.
    let mut long = queue();
    let stages = [Stage::Answered, Stage::Going, Stage::Going, Stage::Ending, Stage::Ended];
    for stage in stages {
        for number in 0..CROWDED {
            assert!(long.push(mark(number as u64, stage)));
        }
    }
    long.thin_out();
    let of = |wanted: Stage| long.marks.iter().filter(|mark| mark.stage == wanted).count();
    assert_eq!([Stage::Answered, Stage::Ended].map(of), [CROWDED; 2]);
    assert_eq!(long.marks.len(), 2 * CROWDED);
}
