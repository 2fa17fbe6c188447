//! Records on their way from the journal to files: once each, whatever is killed, full or broken.

mod disks;
mod exchange;
mod unwell;

use std::fs;

use moorline_b2bua::cdr::{Mark, Record, Stage};
use tempfile::TempDir;

use super::*;
use crate::config::{AccountingConfig, FilesConfig, SqliteConfig, VendorAttributes, WhenJournalFullConfig};

const PATIENCE: Duration = Duration::from_secs(20);

struct Stand {
    folder: TempDir,
    config: CdrConfig,
    calls: Arc<Concurrency>,
}

impl Stand {
    fn new(change: impl FnOnce(&mut CdrConfig)) -> Stand {
        let mut config =
            CdrConfig { csv: Some(FilesConfig::default()), json: Some(FilesConfig::default()), ..CdrConfig::default() };
        change(&mut config);
        Stand { folder: tempfile::tempdir().expect("a folder"), config, calls: Arc::default() }
    }

    fn start(&self) -> (Records, Before) {
        start(&self.config, self.folder.path(), Arc::clone(&self.calls)).expect("it starts")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap_or_default()
    }

    fn ids(&self, name: &str) -> Vec<String> {
        let text = self.read(name);
        let id = |line: &str| match line.strip_prefix("{\"id\":\"") {
            Some(rest) => rest.split('"').next().map(str::to_owned),
            None => line.split(',').next().filter(|id| *id != "id").map(str::to_owned),
        };
        text.lines().filter_map(id).collect()
    }
}

fn id(number: u64) -> String {
    moorline_control::SessionId { node: 1, virtual_shard: 0, random: number }.to_string()
}

fn mark(number: u64, stage: Stage) -> Mark {
    let record = Record { id: id(number), called_number: "55,\"51".into(), ..Record::default() };
    Mark { stage, record: Box::new(record) }
}

fn write(records: &Records, marks: impl IntoIterator<Item = Mark>) {
    records.journal().write(marks);
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn every_sink_takes_each_record_once_across_restarts() {
    let stand = Stand::new(|_| {});
    let (records, before) = stand.start();
    assert!(before.open.is_empty() && before.ended.is_empty());
    write(&records, [mark(1, Stage::Begun), mark(1, Stage::Answered), mark(1, Stage::Ended), mark(2, Stage::Ended)]);
    write(&records, [mark(3, Stage::Begun), mark(3, Stage::Ringing)]);
    drop(records);
    let (records, before) = stand.start();
    assert_eq!(before.open.iter().map(|record| &record.id).collect::<Vec<_>>(), [&id(3)]);
    assert_eq!(before.ended.len(), 2);
    assert!(before.until.unix_ms > 1_600_000_000_000, "{}", before.until);
    // The last of the two is of a call that ended in the process before.
    write(&records, [mark(3, Stage::Ended), mark(1, Stage::Ended)]);
    drop(records);
    let (records, before) = stand.start();
    assert!(before.open.is_empty());
    drop(records);
    for name in ["records.jsonl", "records.csv"] {
        assert_eq!(stand.ids(name), [id(1), id(2), id(3)], "{name}");
    }
    let line = stand.read("records.jsonl").lines().next().expect("a line").to_owned();
    let record: Record = serde_json::from_str(&line).expect("a record");
    assert_eq!(record, *mark(1, Stage::Ended).record);
    let mut csv = csv::Reader::from_path(stand.folder.path().join("records.csv")).expect("a file");
    let at = csv.headers().expect("names").iter().position(|name| name == "called_number").expect("a column");
    assert_eq!(csv.records().next().expect("a row").expect("whole").get(at), Some("55,\"51"));
}

#[test]
fn what_was_taken_before_a_kill_is_not_taken_again() {
    let stand = Stand::new(|_| {});
    let (records, _) = stand.start();
    write(&records, [mark(1, Stage::Ended)]);
    until("one is taken", || stand.ids("records.csv").len() == 1 && stand.ids("records.jsonl").len() == 1);
    let cursors = ["cursor.json", "cursor.csv"].map(|name| stand.folder.path().join(name));
    let place = |path: &Path| fs::read(path).unwrap_or_default();
    until("its place is written down", || {
        cursors.iter().all(|path| place(path).len() > 10 && !place(path).starts_with(b"{\"position\":{\"segment\":0"))
    });
    let kept = cursors.each_ref().map(|path| place(path));
    write(&records, [mark(2, Stage::Ended), mark(3, Stage::Ended)]);
    drop(records);
    // As if the process had been killed before it wrote down where its sinks stand, and in the middle of a line.
    for (path, bytes) in cursors.iter().zip(kept) {
        fs::write(path, bytes).expect("written");
    }
    for name in ["records.jsonl", "records.csv"] {
        let text = stand.read(name);
        fs::write(stand.folder.path().join(name), &text[..text.len() - 5]).expect("written");
    }
    drop(stand.start());
    for name in ["records.jsonl", "records.csv"] {
        assert_eq!(stand.ids(name), [id(1), id(2), id(3)], "{name}");
        assert!(stand.read(name).ends_with('\n'));
    }
    // Nor where nothing is known of where they stand.
    cursors.iter().for_each(|path| fs::remove_file(path).expect("removed"));
    drop(stand.start());
    assert_eq!(stand.ids("records.jsonl").len(), 3);
    assert_eq!(stand.ids("records.csv").len(), 3);
}

#[test]
fn a_line_of_the_journal_that_was_not_written_whole_spoils_no_other() {
    let stand = Stand::new(|_| {});
    let (records, _) = stand.start();
    write(&records, [mark(1, Stage::Begun), mark(2, Stage::Begun), mark(3, Stage::Ended)]);
    drop(records);
    let path = segment::path(stand.folder.path(), 1);
    let mut bytes = fs::read(&path).expect("a segment");
    bytes[30] ^= 1;
    bytes.extend_from_slice(b"0123456789abcdef B {\"id\":\"");
    fs::write(&path, bytes).expect("written");
    let (records, before) = stand.start();
    assert_eq!(before.open.iter().map(|record| &record.id).collect::<Vec<_>>(), [&id(2)]);
    assert_eq!(before.ended.len(), 1);
    drop(records);
    assert_eq!(stand.ids("records.jsonl"), [id(3)]);
}

#[test]
fn files_are_rotated_and_old_ones_forgotten() {
    let stand = Stand::new(|config| {
        let files = FilesConfig { rotate_mb: 0, keep: 2, ..FilesConfig::default() };
        (config.csv, config.json) = (Some(files.clone()), Some(files));
    });
    let complete = |ending: &str| {
        let names = fs::read_dir(stand.folder.path())
            .expect("a folder")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> =
            names.filter(|name| name.starts_with("records-") && name.ends_with(ending)).collect();
        names.sort_unstable();
        names
    };
    let (records, _) = stand.start();
    for number in 0..4 {
        write(&records, [mark(number, Stage::Ended)]);
        let newest = |ending: &str| complete(ending).last().is_some_and(|name| stand.ids(name) == [id(number)]);
        until("it is in a file of its own", || newest(".jsonl") && newest(".csv"));
    }
    drop(records);
    for ending in [".jsonl", ".csv"] {
        let kept: Vec<String> = complete(ending).iter().flat_map(|name| stand.ids(name)).collect();
        assert_eq!(kept, [id(2), id(3)]);
    }
}

#[test]
fn a_file_that_somebody_moves_away_is_complete() {
    let stand = Stand::new(|_| {});
    let (records, _) = stand.start();
    write(&records, [mark(1, Stage::Ended)]);
    until("it is taken", || stand.ids("records.jsonl").len() == 1);
    fs::rename(stand.folder.path().join("records.jsonl"), stand.folder.path().join("moved")).expect("moved");
    write(&records, [mark(2, Stage::Ended)]);
    until("the next is taken", || stand.ids("records.jsonl").len() == 1);
    drop(records);
    drop(stand.start());
    assert_eq!((stand.ids("moved"), stand.ids("records.jsonl")), (vec![id(1)], vec![id(2)]));
}

#[test]
fn a_sink_that_is_broken_holds_up_nobody_and_gets_everything_later() {
    let stand = Stand::new(|_| {});
    let elsewhere = stand.folder.path().join("elsewhere");
    let config = CdrConfig {
        csv: Some(FilesConfig { directory: Some(elsewhere.clone()), ..FilesConfig::default() }),
        ..stand.config.clone()
    };
    // A directory cannot be made where a file is.
    fs::write(&elsewhere, b"").expect("written");
    let (records, _) = start(&config, stand.folder.path(), Arc::clone(&stand.calls)).expect("it starts");
    write(&records, (0..600).map(|number| mark(number, Stage::Ended)));
    until("the other has all", || stand.ids("records.jsonl").len() == 600);
    let counts = records.counts();
    let csv = counts.sinks.iter().find(|sink| sink.name == "csv").expect("a sink");
    let of = |value: &std::sync::atomic::AtomicU64| value.load(std::sync::atomic::Ordering::Relaxed);
    until("it has failed", || csv.is_failing());
    assert_eq!((csv.waiting(of(&counts.journal.records)), of(&csv.written)), (600, 0));
    fs::remove_file(&elsewhere).expect("removed");
    until("it has all", || of(&csv.written) == 600);
    assert_eq!((csv.waiting(of(&counts.journal.records)), csv.is_failing()), (0, false));
    assert_eq!(stand.ids("elsewhere/records.csv").len(), 600);
    drop(records);
}

#[test]
fn a_full_journal_refuses_calls_or_loses_the_oldest_records_as_configured() {
    for (when_full, shut) in [(WhenJournalFullConfig::Refuse, true), (WhenJournalFullConfig::Drop, false)] {
        let stand = Stand::new(|config| {
            (config.when_full, config.journal_mb) = (when_full, 0);
            config.csv = None;
            config.json = Some(FilesConfig { directory: Some("/dev/null/nowhere".into()), ..FilesConfig::default() });
        });
        let (records, _) = stand.start();
        write(&records, [mark(1, Stage::Ended)]);
        let counts = records.counts().journal;
        until("it is said to be full", || counts.failing.load(std::sync::atomic::Ordering::Relaxed) == 1);
        assert_eq!(stand.calls.is_shut(), shut);
        drop(records);
        drop(stand.start());
        let (records, _) = stand.start();
        let first = segment::path(stand.folder.path(), 1);
        if shut {
            until("it is full again", || stand.calls.is_shut());
            assert!(first.exists());
        } else {
            until("the oldest is gone", || !first.exists());
            assert!(records.counts().journal.cut.load(std::sync::atomic::Ordering::Relaxed) > 0);
        }
    }
}

#[test]
fn old_segments_go_and_what_is_open_in_them_stays() {
    let stand = Stand::new(|config| config.csv = None);
    let (records, _) = stand.start();
    write(&records, [mark(0, Stage::Begun), mark(1, Stage::Begun)]);
    let numbers = 2..16_000_u64;
    for first in numbers.clone().step_by(1000) {
        write(
            &records,
            (first..first + 1000).filter(|number| numbers.contains(number)).map(|number| mark(number, Stage::Ended)),
        );
    }
    until("the first segment is gone", || !segment::path(stand.folder.path(), 1).exists());
    write(&records, [mark(1, Stage::Ended)]);
    drop(records);
    let (records, before) = stand.start();
    assert_eq!(before.open.iter().map(|record| &record.id).collect::<Vec<_>>(), [&id(0)]);
    write(&records, [mark(0, Stage::Ended)]);
    drop(records);
    let mut ids = stand.ids("records.jsonl");
    ids.sort_unstable();
    let mut wanted: Vec<String> = (0..16_000).map(id).collect();
    wanted.sort_unstable();
    assert!(ids == wanted, "{} records", ids.len());
}

#[test]
fn what_an_old_segment_says_of_an_open_record_does_not_undo_what_a_new_one_says() {
    let stand = Stand::new(|config| config.csv = None);
    let first = segment::path(stand.folder.path(), 1);
    let (records, _) = stand.start();
    write(&records, [mark(0, Stage::Begun)]);
    let mut number = 1;
    while fs::metadata(&first).expect("a segment").len() < 8 << 20 {
        write(&records, (number..number + 1000).map(|number| mark(number, Stage::Ended)));
        number += 1000;
    }
    // The mark by which the next segment begins.
    let mut answered = mark(0, Stage::Answered);
    answered.record.answer = Some(moorline_b2bua::cdr::Time { unix_ms: 7 });
    write(&records, [answered.clone()]);
    until("the first segment is gone", || !first.exists());
    drop(records);
    let (_records, before) = stand.start();
    assert_eq!(before.open, [*answered.record]);
}

#[test]
fn sinks_take_what_comes_after_the_journal_was_removed() {
    let stand = Stand::new(|_| {});
    drop(stand.start());
    let (records, _) = stand.start();
    write(&records, [mark(1, Stage::Ended)]);
    drop(records);
    for entry in fs::read_dir(stand.folder.path()).expect("a folder") {
        let path = entry.expect("a file").path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("journal.")) {
            fs::remove_file(path).expect("removed");
        }
    }
    let (records, _) = stand.start();
    write(&records, [mark(2, Stage::Ended)]);
    drop(records);
    for name in ["records.jsonl", "records.csv"] {
        assert_eq!(stand.ids(name), [id(1), id(2)], "{name}");
    }
}

#[test]
fn a_file_is_not_complete_before_its_place_in_the_journal_is_written_down() {
    let stand = Stand::new(|config| {
        config.csv = None;
        config.json = Some(FilesConfig { rotate_mb: 0, ..FilesConfig::default() });
    });
    let all = || {
        let names = fs::read_dir(stand.folder.path()).expect("a folder");
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut ids: Vec<String> =
            names.filter(|name| name.ends_with(".jsonl")).flat_map(|name| stand.ids(&name)).collect();
        ids.sort_unstable();
        ids
    };
    // A file cannot be made where a directory is.
    let aside = stand.folder.path().join("cursor.json.new");
    fs::create_dir(&aside).expect("made");
    let (records, _) = stand.start();
    for number in 1..3 {
        write(&records, [mark(number, Stage::Ended)]);
        until("it is taken", || all().contains(&id(number)));
    }
    drop(records);
    fs::remove_dir(&aside).expect("removed");
    drop(stand.start());
    assert_eq!(all(), [id(1), id(2)]);
}

#[test]
fn no_stranger_reads_records() {
    use std::os::unix::fs::PermissionsExt;
    let stand = Stand::new(|config| config.sqlite = Some(SqliteConfig::default()));
    let (records, _) = stand.start();
    write(&records, [mark(1, Stage::Ended)]);
    drop(records);
    for name in ["records.jsonl", "records.csv", "records.sqlite", "journal.000000000001"] {
        let mode = fs::metadata(stand.folder.path().join(name)).expect("a file").permissions().mode();
        assert_eq!(mode & 0o007, 0, "{name}: {mode:o}");
    }
}

#[test]
fn two_processes_do_not_record_in_one_place() {
    let stand = Stand::new(|_| {});
    let (records, _) = stand.start();
    let second = start(&stand.config, stand.folder.path(), Arc::default());
    assert!(matches!(second, Err(CdrFault::InUse(_))));
    drop(records);
    drop(stand.start());
}

#[test]
fn a_table_takes_each_record_once_and_grows_with_a_new_version() {
    let stand = Stand::new(|config| {
        (config.csv, config.json) = (None, None);
        config.sqlite = Some(SqliteConfig::default());
    });
    let path = stand.folder.path().join("records.sqlite");
    let older = rusqlite::Connection::open(&path).expect("a file");
    older.execute_batch("CREATE TABLE records (id TEXT PRIMARY KEY NOT NULL, cause TEXT)").expect("a table");
    drop(older);
    let (records, _) = stand.start();
    write(&records, [mark(1, Stage::Begun), mark(1, Stage::Ended), mark(2, Stage::Ended)]);
    drop(records);
    // Nothing is known any more of what it has taken.
    fs::remove_file(stand.folder.path().join("cursor.sqlite")).expect("removed");
    let (records, _) = stand.start();
    let mut whole = mark(3, Stage::Ended);
    whole.record.caller.media.mos = Some(4.31);
    whole.record.callee.code = Some(486);
    write(&records, [whole]);
    drop(records);
    let table = rusqlite::Connection::open(&path).expect("a file");
    let count: i64 = table.query_row("SELECT count(*) FROM records", [], |row| row.get(0)).expect("a count");
    assert_eq!(count, 3);
    let row = table.query_row(
        "SELECT called_number, caller_mos, callee_code, answer, setup FROM records WHERE id = ?",
        [id(3)],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)),
    );
    let wanted = ("55,\"51".to_owned(), 4.31, 486, None::<String>, "1970-01-01T00:00:00.000Z".to_owned());
    assert_eq!(row.expect("a row"), wanted);
}

#[test]
fn old_records_leave_the_table_where_that_is_wanted() {
    let stand = Stand::new(|config| {
        (config.csv, config.json) = (None, None);
        config.sqlite = Some(SqliteConfig { keep_days: 7, ..SqliteConfig::default() });
    });
    let (records, _) = stand.start();
    let mut young = mark(2, Stage::Ended);
    young.record.setup.unix_ms = 4_000_000_000_000;
    write(&records, [mark(1, Stage::Ended), young]);
    drop(records);
    let table = rusqlite::Connection::open(stand.folder.path().join("records.sqlite")).expect("a file");
    let left: String = table.query_row("SELECT id FROM records", [], |row| row.get(0)).expect("one");
    assert_eq!(left, id(2));
}

/// What a server was told: the session and the status of each request.
type Heard = Arc<std::sync::Mutex<Vec<(String, u8)>>>;

/// A RADIUS server that acknowledges what `answers` says, by how many requests came, by the session and the bytes of this one,
/// and keeps all requests.
fn radius_server(answers: impl Fn(usize, &str, usize) -> bool + Send + 'static) -> (std::net::SocketAddr, Heard) {
    use md5::{Digest, Md5};
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound");
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let request = &buffer[..length];
            let (mut at, mut session, mut status) = (20, String::new(), 0);
            while at < length {
                let value = &request[at + 2..at + usize::from(request[at + 1])];
                match request[at] {
                    44 => session = String::from_utf8_lossy(value).into_owned(),
                    40 => status = value[3],
                    _ => {}
                }
                at += usize::from(request[at + 1]);
            }
            let count = {
                let mut kept = kept.lock().expect("no panic");
                kept.push((session.clone(), status));
                kept.len()
            };
            if answers(count, &session, length) {
                let mut answer = vec![5, request[1], 0, 20];
                let proof =
                    Md5::new().chain_update(&answer).chain_update(&request[4..20]).chain_update(b"secret").finalize();
                answer.extend(proof);
                let _gone = socket.send_to(&answer, from);
            }
        }
    });
    (address, heard)
}

fn accounting_at(stand: &Stand, server: std::net::SocketAddr) -> AccountingConfig {
    use std::os::unix::fs::PermissionsExt;
    let secret_file = stand.folder.path().join("secret");
    fs::write(&secret_file, "secret\n").expect("written");
    fs::set_permissions(&secret_file, fs::Permissions::from_mode(0o600)).expect("its own");
    AccountingConfig {
        servers: vec![server],
        secret_file,
        timeout_ms: 100,
        attempts: 1,
        interim_s: 0,
        nas_identifier: "moorline".into(),
        vendor_attributes: VendorAttributes::default(),
    }
}

#[test]
fn a_radius_server_is_told_of_each_step_until_it_has_it() {
    // The first three requests are lost.
    let (address, heard) = radius_server(|count, _, _| count > 3);
    let stand = Stand::new(|config| (config.csv, config.json) = (None, None));
    let config = CdrConfig { radius: Some(accounting_at(&stand, address)), ..stand.config.clone() };
    let (records, _) = start(&config, stand.folder.path(), Arc::default()).expect("it starts");
    let all = [Stage::Begun, Stage::Ringing, Stage::Answered, Stage::Going, Stage::Ending, Stage::Ended];
    write(&records, all.map(|stage| mark(1, stage)));
    let counts = records.counts();
    let written = || counts.sinks[0].written.load(std::sync::atomic::Ordering::Relaxed);
    until("it has all", || written() == 3);
    assert!(counts.sinks[0].failed.load(std::sync::atomic::Ordering::Relaxed) > 0);
    drop(records);
    let heard = heard.lock().expect("no panic").clone();
    assert!(heard.iter().all(|(session, _)| *session == id(1)));
    let told: Vec<u8> = heard.iter().map(|(_, status)| *status).collect();
    // Start, interim and stop, lost once and told again.
    assert_eq!(told, [1, 3, 2, 1, 3, 2]);
}
