//! Sinks that a reload exchanges while records come: each record is for those that are configured when its call ends.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

fn change(records: &Records, config: &CdrConfig) -> Vec<String> {
    let sinks = records.sinks();
    sinks.exchange(sinks.open(config).map_err(|faults| faults.join("; ")).expect("they can be opened"))
}

fn files(directory: &Path) -> FilesConfig {
    FilesConfig { directory: Some(directory.to_owned()), ..FilesConfig::default() }
}

fn end(records: &Records, numbers: impl IntoIterator<Item = u64>) {
    write(records, numbers.into_iter().map(|number| mark(number, Stage::Ended)));
}

fn figures(records: &Records) -> Vec<(&'static str, u64, bool)> {
    let counts = records.counts();
    let ended = counts.journal.records.load(Ordering::Relaxed);
    counts.sinks.iter().map(|sink| (sink.name, sink.waiting(ended), sink.is_failing())).collect()
}

fn names(numbers: impl IntoIterator<Item = u64>) -> Vec<String> {
    numbers.into_iter().map(id).collect()
}

#[test]
fn a_sink_that_moves_has_what_ended_before_in_the_old_place_and_the_rest_in_the_new() {
    let stand = Stand::new(|config| config.csv = None);
    let (records, _) = stand.start();
    end(&records, 0..300);
    let moved = CdrConfig { json: Some(files(&stand.folder.path().join("moved"))), ..stand.config.clone() };
    assert_eq!(change(&records, &moved), [""; 0]);
    end(&records, 300..400);
    until("all are taken", || figures(&records) == [("json", 0, false)]);
    assert_eq!(records.counts().sinks[0].written.load(Ordering::Relaxed), 400);
    assert_eq!(change(&records, &moved), [""; 0], "nothing is different");
    drop(records);
    assert_eq!(stand.ids("records.jsonl"), names(0..300));
    assert_eq!(stand.ids("moved/records.jsonl"), names(300..400));
    // After a restart it goes on there.
    let (records, _) = start(&moved, stand.folder.path(), Arc::default()).expect("it starts");
    end(&records, 400..401);
    drop(records);
    assert_eq!(stand.ids("moved/records.jsonl"), names(300..401));
    assert_eq!(stand.ids("records.jsonl").len(), 300);
}

#[test]
fn a_sink_has_what_ends_while_it_is_configured_and_no_more() {
    let stand = Stand::new(|config| config.csv = None);
    let both = CdrConfig { csv: Some(FilesConfig::default()), ..stand.config.clone() };
    let (records, _) = stand.start();
    end(&records, 0..10);
    change(&records, &both);
    end(&records, 10..20);
    assert_eq!(change(&records, &stand.config), [""; 0]);
    assert_eq!(stand.ids("records.csv"), names(10..20), "it is waited for");
    assert_eq!(figures(&records).len(), 1);
    end(&records, 20..30);
    change(&records, &both);
    end(&records, 30..40);
    until("both have all", || figures(&records) == [("json", 0, false), ("csv", 0, false)]);
    drop(records);
    // It is known from now on, to a process that starts too.
    let (records, _) = start(&both, stand.folder.path(), Arc::default()).expect("it starts");
    drop(records);
    assert_eq!(stand.ids("records.jsonl"), names(0..40));
    assert_eq!(stand.ids("records.csv"), names((10..20).chain(30..40)));
}

#[test]
fn one_kind_takes_the_place_of_another_between_two_records() {
    let stand = Stand::new(|config| config.json = None);
    let sqlite = CdrConfig { csv: None, sqlite: Some(SqliteConfig::default()), ..stand.config.clone() };
    let (records, _) = stand.start();
    let over = AtomicBool::new(false);
    let (mut written, mut notes) = (0, Vec::new());
    std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::Relaxed) {
                end(&records, [number]);
                number += 1;
                // No faster than a table takes them.
                std::thread::sleep(Duration::from_millis(1));
            }
            number
        });
        for round in 0..10 {
            notes.extend(change(&records, if round % 2 == 0 { &sqlite } else { &stand.config }));
        }
        over.store(true, Ordering::Relaxed);
        written = writes.join().expect("no panic");
    });
    assert_eq!(notes, [""; 0]);
    until("all is taken", || figures(&records) == [("csv", 0, false)]);
    drop(records);
    let connection = rusqlite::Connection::open(stand.folder.path().join("records.sqlite")).expect("it is there");
    let mut rows = connection.prepare("SELECT id FROM records").expect("a table");
    let mut all: Vec<String> =
        rows.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("texts");
    assert!(!all.is_empty() && written > 0);
    all.extend(stand.ids("records.csv"));
    all.sort_unstable();
    let mut expected = names(0..written);
    expected.sort_unstable();
    assert_eq!(all.len(), expected.len());
    assert!(all == expected, "each once, in one of both");
}

#[test]
fn files_that_are_only_bounded_otherwise_have_one_writer_at_a_time() {
    let stand = Stand::new(|config| config.csv = Some(FilesConfig { rotate_mb: 0, ..FilesConfig::default() }));
    let (records, _) = stand.start();
    for round in 0..20_u64 {
        let bounds = FilesConfig { rotate_mb: u32::from(round % 2 == 0), keep: 1000, ..FilesConfig::default() };
        let other = CdrConfig { json: Some(bounds.clone()), csv: Some(bounds), ..stand.config.clone() };
        end(&records, round * 50..round * 50 + 30);
        change(&records, &other);
        end(&records, round * 50 + 30..round * 50 + 50);
    }
    until("both have all", || figures(&records).iter().all(|(_, waiting, _)| *waiting == 0));
    drop(records);
    for ending in ["jsonl", "csv"] {
        let mut all: Vec<String> = fs::read_dir(stand.folder.path())
            .expect("a folder")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with("records") && name.ends_with(ending))
            .flat_map(|name| stand.ids(&name))
            .collect();
        all.sort_unstable();
        let mut expected = names(0..1000);
        expected.sort_unstable();
        assert!(all == expected, "{} of {} in {ending}", all.len(), expected.len());
    }
}

#[test]
fn what_cannot_be_opened_changes_nothing() {
    let stand = Stand::new(|_| {});
    let (records, _) = stand.start();
    let file = stand.folder.path().join("file");
    fs::write(&file, "").expect("written");
    let bad = CdrConfig { csv: None, json: Some(files(&file)), ..stand.config.clone() };
    let refused = records.sinks().open(&bad).map(drop).expect_err("no directory can be there");
    assert!(refused.len() == 1 && refused[0].starts_with("signaling.cdr.json cannot be opened: "), "{refused:?}");
    assert!(refused[0].contains(&file.display().to_string()), "{refused:?}");
    end(&records, 0..10);
    until("both have all", || figures(&records) == [("json", 0, false), ("csv", 0, false)]);
    // What was opened and is not used leaves nothing behind either.
    let other = CdrConfig { json: Some(files(&stand.folder.path().join("other"))), ..stand.config.clone() };
    drop(records.sinks().open(&other));
    end(&records, 10..20);
    drop(records);
    assert_eq!(stand.ids("records.jsonl"), names(0..20));
    assert_eq!(stand.ids("records.csv"), names(0..20));
    assert!(stand.ids("other/records.jsonl").is_empty());
}

#[test]
fn what_a_sink_could_not_take_is_for_the_one_that_follows() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let blocked = elsewhere.path().join("blocked");
    fs::write(&blocked, "").expect("written");
    let stand = Stand::new(|config| (config.csv, config.json) = (None, Some(files(&blocked))));
    let (records, _) = stand.start();
    end(&records, 0..100);
    until("it fails", || figures(&records) == [("json", 100, true)]);
    let good = CdrConfig { json: Some(files(&elsewhere.path().join("good"))), ..stand.config.clone() };
    change(&records, &good);
    end(&records, 100..110);
    until("all are taken", || figures(&records) == [("json", 0, false)]);
    drop(records);
    let text = fs::read_to_string(elsewhere.path().join("good/records.jsonl")).expect("records");
    assert_eq!(text.lines().count(), 110);
}

#[test]
fn a_sink_that_leaves_and_cannot_take_records_holds_up_nobody() {
    let elsewhere = tempfile::tempdir().expect("a folder");
    let blocked = elsewhere.path().join("blocked");
    fs::write(&blocked, "").expect("written");
    let stand = Stand::new(|config| config.csv = Some(files(&blocked)));
    let (records, _) = stand.start();
    end(&records, 0..100);
    until("it fails", || figures(&records).contains(&("csv", 100, true)));
    let without = CdrConfig { csv: None, ..stand.config.clone() };
    let notes = change(&records, &without);
    assert!(notes.len() == 1 && notes[0].starts_with("the sink csv is closed, and has not taken all"), "{notes:?}");
    assert_eq!(figures(&records).iter().map(|(name, ..)| *name).collect::<Vec<_>>(), ["json"]);
    end(&records, 100..200);
    // It comes back, and has what it was owed.
    fs::remove_file(&blocked).expect("removed");
    assert_eq!(change(&records, &stand.config), [""; 0]);
    end(&records, 200..300);
    until("both have all", || figures(&records) == [("json", 0, false), ("csv", 0, false)]);
    drop(records);
    assert_eq!(stand.ids("records.jsonl"), names(0..300));
    let text = fs::read_to_string(blocked.join("records.csv")).expect("records");
    let rows: std::collections::HashSet<&str> = text.lines().skip(1).collect();
    assert_eq!((rows.len(), text.lines().count()), (300, 301));
}

#[test]
fn the_bounds_of_the_journal_are_followed() {
    let stand = Stand::new(|config| {
        (config.when_full, config.journal_mb, config.csv) = (WhenJournalFullConfig::Drop, 0, None);
        config.json = Some(files(Path::new("/dev/null/nowhere")));
    });
    let (records, _) = stand.start();
    end(&records, [1]);
    let counts = records.counts().journal;
    until("it is full", || counts.failing.load(Ordering::Relaxed) == 1);
    assert!(!stand.calls.is_shut());
    let refuses = CdrConfig { when_full: WhenJournalFullConfig::Refuse, ..stand.config.clone() };
    change(&records, &refuses);
    assert!(stand.calls.is_shut());
    change(&records, &CdrConfig { journal_mb: 16, ..refuses });
    until("there is room", || !stand.calls.is_shut() && counts.failing.load(Ordering::Relaxed) == 0);
}
