//! Sinks that hang, and records that a sink refuses for good.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::*;
use crate::cdr::cursor::Place;
use crate::cdr::sink::{Entry, Refused, Sink, SinkFault, SinkThread};
use crate::config::PostgresConfig;

fn of(value: &AtomicU64) -> u64 {
    value.load(Ordering::Relaxed)
}

/// What was set aside for a sink: the ids, with the stage and the reason.
fn aside(stand: &Stand, sink: &str) -> Vec<(String, String, String)> {
    let text = stand.read(&format!("refused.{sink}.jsonl"));
    let lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"));
    let word = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    lines.map(|line| (word(&line["record"]["id"]), word(&line["stage"]), word(&line["why"]))).collect()
}

/// A PostgreSQL server that is frozen: at once, or once it has greeted.
fn frozen_server(greets: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut startup = [0; 1024];
            if greets && stream.read(&mut startup).is_ok() {
                // AuthenticationOk and ReadyForQuery.
                let _gone = stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
            }
            held.push(stream);
        }
    });
    port
}

#[test]
fn a_postgresql_server_that_is_frozen_hangs_nobody() {
    for greets in [false, true] {
        let stand = Stand::new(|config| {
            config.csv = None;
            config.postgres = Some(PostgresConfig {
                host: "127.0.0.1".into(),
                port: frozen_server(greets),
                database: "records".into(),
                user: "moorline".into(),
                password_file: None,
                table: "records".into(),
            });
        });
        let (records, _) = stand.start();
        write(&records, (0..600).map(|number| mark(number, Stage::Ended)));
        let counts = records.counts();
        let sink = counts.sinks.iter().find(|sink| sink.name == "postgres").expect("a sink");
        until("it is given up, and tried again", || of(&sink.failed) >= 2);
        until("the other has all", || stand.ids("records.jsonl").len() == 600);
        assert!(sink.is_failing());
        assert_eq!((sink.waiting(of(&counts.journal.records)), of(&sink.set_aside)), (600, 0));
        drop(records);
        // Held by the figures alone: its thread has ended.
        assert_eq!(Arc::strong_count(sink), 1);
    }
}

#[test]
fn a_record_that_radius_servers_never_answer_to_is_set_aside_and_holds_up_no_other() {
    let (address, _) = radius_server(|_, session, _| session != id(1));
    let stand = Stand::new(|config| (config.csv, config.json) = (None, None));
    let config = CdrConfig { radius: Some(accounting_at(&stand, address)), ..stand.config.clone() };
    let (records, _) = start(&config, stand.folder.path(), Arc::default()).expect("it starts");
    write(&records, [mark(1, Stage::Ended), mark(2, Stage::Ended)]);
    let counts = records.counts();
    let mut next = 3;
    // It is told only by others, that come later.
    until("it is set aside", || {
        write(&records, [mark(next, Stage::Ended)]);
        next += 1;
        of(&counts.sinks[0].set_aside) == 1
    });
    until("the others are taken", || of(&counts.sinks[0].written) == next - 2);
    assert!(!counts.sinks[0].is_failing());
    let set_aside = aside(&stand, "radius");
    assert_eq!(set_aside.len(), 1, "{set_aside:?}");
    assert_eq!((set_aside[0].0.as_str(), set_aside[0].1.as_str()), (id(1).as_str(), "ended"));
    drop(records);
}

#[test]
fn an_account_that_is_too_long_for_the_path_is_told_without_attributes_of_vendors() {
    let plain = Arc::new(AtomicBool::new(false));
    let came = Arc::clone(&plain);
    let (address, _) = radius_server(move |_, session, length| {
        came.fetch_or(session == id(1) && length < 600, Ordering::Relaxed);
        length < 600
    });
    let stand = Stand::new(|config| (config.csv, config.json) = (None, None));
    let config = CdrConfig { radius: Some(accounting_at(&stand, address)), ..stand.config.clone() };
    let (records, _) = start(&config, stand.folder.path(), Arc::default()).expect("it starts");
    let mut long = mark(1, Stage::Ended);
    (long.record.caller.reason, long.record.callee.reason) = (Some("x".repeat(256)), Some("x".repeat(256)));
    write(&records, [long]);
    let counts = records.counts();
    let mut next = 2;
    until("it is told", || {
        write(&records, [mark(next, Stage::Ended)]);
        next += 1;
        plain.load(Ordering::Relaxed)
    });
    until("all are taken", || of(&counts.sinks[0].written) == next - 1);
    assert_eq!(of(&counts.sinks[0].set_aside), 0);
    drop(records);
}

#[test]
fn a_radius_server_that_is_away_refuses_nothing() {
    let there = Arc::new(AtomicBool::new(true));
    let here = Arc::clone(&there);
    let (address, _) = radius_server(move |_, _, _| here.load(Ordering::Relaxed));
    let stand = Stand::new(|config| (config.csv, config.json) = (None, None));
    let config = CdrConfig { radius: Some(accounting_at(&stand, address)), ..stand.config.clone() };
    let (records, _) = start(&config, stand.folder.path(), Arc::default()).expect("it starts");
    let counts = records.counts();
    write(&records, [mark(1, Stage::Ended)]);
    until("it is taken", || of(&counts.sinks[0].written) == 1);
    there.store(false, Ordering::Relaxed);
    write(&records, [mark(2, Stage::Ended)]);
    until("it was tried often", || of(&counts.sinks[0].failed) >= 4);
    there.store(true, Ordering::Relaxed);
    until("it is taken", || of(&counts.sinks[0].written) == 2);
    assert_eq!(of(&counts.sinks[0].set_aside), 0);
    drop(records);
}

/// A sink that refuses odd records, or all.
struct Picky {
    all: Arc<AtomicBool>,
    taken: Arc<AtomicU64>,
}

impl Sink for Picky {
    fn name(&self) -> &'static str {
        "picky"
    }

    fn prepare(&mut self, _place: &mut Place) -> Result<(), SinkFault> {
        Ok(())
    }

    fn take(&mut self, entries: &[Entry], _place: &mut Place) -> Result<Vec<Refused>, SinkFault> {
        let odd = |entry: &Entry| entry.record.id.ends_with(['1', '3', '5', '7', '9', 'b', 'd', 'f']);
        let refused: Vec<Refused> = entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| self.all.load(Ordering::Relaxed) || odd(entry))
            .map(|(index, _)| Refused { index, why: "odd".into() })
            .collect();
        self.taken.fetch_add((entries.len() - refused.len()) as u64, Ordering::Relaxed);
        Ok(refused)
    }
}

fn picky(stand: &Stand, records: &mut Records, all: bool) -> (Arc<AtomicBool>, Arc<AtomicU64>, Arc<SinkCounts>) {
    let (all, taken) = (Arc::new(AtomicBool::new(all)), Arc::new(AtomicU64::new(0)));
    let sink = Picky { all: Arc::clone(&all), taken: Arc::clone(&taken) };
    let thread = SinkThread::start(Box::new(sink), stand.folder.path(), &records.journal).expect("it starts");
    let counts = thread.counts();
    records.sinks.adopt(thread);
    (all, taken, counts)
}

#[test]
fn what_a_sink_refuses_is_set_aside_once_even_if_it_comes_again() {
    let stand = Stand::new(|config| config.csv = None);
    let (mut records, _) = stand.start();
    let (_, taken, counts) = picky(&stand, &mut records, false);
    write(&records, (0..600).map(|number| mark(number, Stage::Ended)));
    until("all are seen", || of(&counts.set_aside) + of(&counts.written) == 600);
    assert_eq!((of(&counts.set_aside), of(&taken)), (300, 300));
    assert_eq!(aside(&stand, "picky").len(), 300);
    drop(records);
    // Killed before the place was written down, and in the middle of a line.
    fs::remove_file(stand.folder.path().join("cursor.picky")).expect("removed");
    let file = fs::OpenOptions::new().append(true).open(stand.folder.path().join("refused.picky.jsonl"));
    file.expect("it is there").write_all(b"{\"why\":\"od").expect("written");
    let (mut records, _) = stand.start();
    let (_, _, counts) = picky(&stand, &mut records, false);
    write(&records, [mark(601, Stage::Ended)]);
    until("all are seen again", || of(&counts.set_aside) + of(&counts.written) == 601);
    let set_aside = aside(&stand, "picky");
    assert_eq!(set_aside.len(), 301);
    assert_eq!(set_aside[300], (id(601), "ended".into(), "odd".into()));
    drop(records);
}

#[test]
fn a_sink_that_refuses_everything_is_at_fault_itself() {
    let stand = Stand::new(|config| config.csv = None);
    let (mut records, _) = stand.start();
    let (all, _, counts) = picky(&stand, &mut records, true);
    write(&records, (0..2000).map(|number| mark(number, Stage::Ended)));
    until("it is said to be failing", || counts.is_failing());
    assert_eq!((of(&counts.set_aside), of(&counts.written)), (0, 0));
    assert!(aside(&stand, "picky").is_empty());
    all.store(false, Ordering::Relaxed);
    until("all are seen", || of(&counts.set_aside) + of(&counts.written) == 2000);
    assert_eq!((of(&counts.set_aside), counts.is_failing()), (1000, false));
    drop(records);
}

#[test]
fn what_a_caller_says_is_no_formula_in_a_table() {
    let stand = Stand::new(|config| config.json = None);
    let (records, _) = stand.start();
    let texts = ["=1+1", "+cmd|x", "-1", "@sum", "\t=1", "+8613800000000", "555", "a=b"];
    let marks = texts.iter().zip(1..).map(|(text, number)| {
        let record = Record { id: id(number), called_number: (*text).into(), ..Record::default() };
        Mark { stage: Stage::Ended, record: Box::new(record) }
    });
    write(&records, marks);
    drop(records);
    let mut reader = csv::Reader::from_path(stand.folder.path().join("records.csv")).expect("a file");
    let column = reader.headers().expect("a header").iter().position(|name| name == "called_number").expect("it");
    let read: Vec<String> = reader.records().map(|row| row.expect("a row")[column].to_owned()).collect();
    assert_eq!(read, ["'=1+1", "'+cmd|x", "'-1", "'@sum", "'\t=1", "+8613800000000", "555", "a=b"]);
}
