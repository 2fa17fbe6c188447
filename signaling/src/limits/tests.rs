use std::fs;
use std::os::unix::fs::MetadataExt;

use moorline_b2bua::policy::limit::{Callers, SLOT_BYTES};

use super::*;
use crate::Config;

const CONFIG: &str = r#"
    blacklist = [{ caller = "0755" }, { called = "0101", percent = 30 }]
    whitelist = [{ caller = "2001", called = "95533" }]
    [[trunks]]
    name = "pbx"
    listener = "local"
    sources = ["127.0.0.0/8"]
    limits.inbound = { calls = 5, calls_per_callee_a_day = 2 }
    [trunks.authentication]
    realm = "phones.example"
    users = [{ name = "6000", password = "1234" }, { name = "6001", password = "4321", arrears = true }]
"#;

fn open(directory: &Path, config: &str) -> Limits {
    let config: Config = toml::from_str(config).expect("a configuration");
    let policy = config.policy().expect("no faults");
    Limits::open(&policy, config.lists(), 100, Some(directory)).expect("limits")
}

fn key(text: &str) -> Key {
    text.parse().expect("a key")
}

fn row(caller: &str, called: &str) -> Row {
    Row { from: None, caller: caller.parse::<Callers>().expect("callers"), called: called.parse().expect("a pattern") }
}

fn limit(limits: &Limits, text: &str) -> String {
    limits.limiter.view()[0].value(key(text)).to_string()
}

#[test]
fn what_was_set_outlives_the_process_until_it_is_set_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let read = |text: &str, value: &str| (key(text), key(text).read(value).expect("a value"));
    {
        let limits = open(directory.path(), CONFIG);
        assert!(limits.keeps());
        limits.set("pbx", &[read("inbound.calls", "9"), read("arrears", "true")]).expect("set");
        limits.set("pbx", &[read("outbound.calls_per_second", "7"), read("arrears", "default")]).expect("set");
        assert!(limits.set("pbz", &[read("arrears", "true")]).is_err());
        // A row of the configuration that is changed, one that is taken out, and a new one.
        assert_eq!(
            limits.add_row(&row("*", "0101"), Verdict::Black { percent: 60 }).expect("added"),
            Some(Verdict::Black { percent: 30 })
        );
        limits.remove_row(&row("0755", "*"), false).expect("removed");
        assert!(limits.remove_row(&row("2001", "95533"), false).is_err(), "it is white");
        limits.add_row(&row("anonymous", "4"), Verdict::White).expect("added");
        assert_eq!(fs::metadata(directory.path().join("limits.jsonl")).expect("a file").mode() & 0o777, 0o600);
    }
    for again in 0..2 {
        let limits = open(directory.path(), CONFIG);
        let held = ["inbound.calls", "outbound.calls_per_second", "arrears"].map(|text| limit(&limits, text));
        assert_eq!(held, ["9", "7", "false"], "start {again}");
        let rows = [
            (row("*", "0101"), Verdict::Black { percent: 60 }),
            (row("2001", "95533"), Verdict::White),
            (row("anonymous", "4"), Verdict::White),
        ];
        for (row, verdict) in &rows {
            assert_eq!(limits.limiter.row(row), Some(*verdict));
        }
        assert_eq!(limits.limiter.rows().len(), rows.len());
    }
    let limits = open(directory.path(), CONFIG);
    limits.set("pbx", &[read("inbound.calls", "default"), read("outbound.calls_per_second", "default")]).expect("set");
    limits.add_row(&row("0755", "*"), Verdict::Black { percent: 100 }).expect("added");
    limits.add_row(&row("*", "0101"), Verdict::Black { percent: 30 }).expect("added");
    limits.remove_row(&row("anonymous", "4"), true).expect("removed");
    drop(limits);
    let limits = open(directory.path(), CONFIG);
    assert_eq!(limit(&limits, "inbound.calls"), "5");
    assert_eq!(limits.limiter.rows().len(), 3);
    let file = fs::read_to_string(directory.path().join("limits.jsonl")).expect("a file");
    assert_eq!(file, "", "nothing differs from the configuration");
}

#[test]
fn who_of_the_users_is_in_arrears_outlives_the_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let indebted = |limits: &Limits| {
        let users = limits.limiter.view().remove(0).users;
        users.into_iter().filter(|user| user.arrears).map(|user| user.name).collect::<Vec<_>>()
    };
    let limits = open(directory.path(), CONFIG);
    assert_eq!(indebted(&limits), ["6001"]);
    limits.set_user("pbx", "6000", Some(true)).expect("set");
    limits.set_user("pbx", "6001", Some(false)).expect("set");
    assert!(limits.set_user("pbx", "6002", Some(true)).is_err());
    drop(limits);
    for again in 0..2 {
        assert_eq!(indebted(&open(directory.path(), CONFIG)), ["6000"], "start {again}");
    }
    // Who is not a user any more is forgotten at the next start.
    let other = CONFIG.replace("\"6000\"", "\"6009\"");
    assert!(indebted(&open(directory.path(), &other)).is_empty());
    let limits = open(directory.path(), CONFIG);
    assert!(indebted(&limits).is_empty(), "6001 has paid");
    limits.set_user("pbx", "6001", None).expect("set");
    drop(limits);
    assert_eq!(indebted(&open(directory.path(), CONFIG)), ["6001"]);
    let file = fs::read_to_string(directory.path().join("limits.jsonl")).expect("a file");
    assert_eq!(file, "", "nothing differs from the configuration");
}

#[test]
fn half_a_line_and_a_trunk_that_is_gone_keep_nobody_from_starting() {
    let directory = tempfile::tempdir().expect("a directory");
    let lines = concat!(
        r#"{"set":{"trunk":"pbx","key":"inbound.calls","value":"8"}}"#,
        "\n",
        r#"{"set":{"trunk":"gone","key":"inbound.calls","value":"8"}}"#,
        "\n",
        r#"{"row":{"caller":"1","called":"2","is":"black","percent":200}}"#,
        "\n",
        r#"{"row":{"caller":"1","called":"3","is":"black","percent":20}}"#,
        "\n",
        r#"{"set":{"trunk":"pbx","key":"inbound.ca"#,
    );
    let path = directory.path().join("limits.jsonl");
    fs::write(&path, lines).expect("written");
    let limits = open(directory.path(), CONFIG);
    assert_eq!(limit(&limits, "inbound.calls"), "8");
    assert_eq!(limits.limiter.row(&row("1", "3")), Some(Verdict::Black { percent: 20 }));
    let rest = fs::read_to_string(path).expect("a file");
    assert_eq!(rest.lines().count(), 2, "{rest}");
}

#[test]
fn the_file_of_changes_does_not_grow_with_their_number() {
    let directory = tempfile::tempdir().expect("a directory");
    let limits = open(directory.path(), CONFIG);
    for n in 0..2500 {
        let percent = (n % 100 + 1) as u8;
        limits.add_row(&row("1", "2"), Verdict::Black { percent }).expect("added");
    }
    let lines = fs::read_to_string(directory.path().join("limits.jsonl")).expect("a file").lines().count();
    assert!(lines < 1100, "{lines} lines for one row");
    drop(limits);
    assert_eq!(open(directory.path(), CONFIG).limiter.row(&row("1", "2")), Some(Verdict::Black { percent: 100 }));
}

#[test]
fn a_directory_belongs_to_one_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let _first = open(directory.path(), CONFIG);
    let config: Config = toml::from_str(CONFIG).expect("a configuration");
    let policy = config.policy().expect("no faults");
    let second = Limits::open(&policy, config.lists(), 100, Some(directory.path()));
    assert!(matches!(second, Err(LimitsFault::InUse(_))));
}

#[test]
fn the_calls_of_a_day_are_found_again_in_a_table_of_any_size_and_damage_is_moved_aside() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("callees.day");
    let key = open(directory.path(), CONFIG).limiter.days().key();
    let length = fs::metadata(&path).expect("a file").len();
    assert_eq!(length, (100 + 12 + 1 + 1) * SLOT_BYTES as u64);
    assert_eq!(open(directory.path(), CONFIG).limiter.days().key(), key, "who is who is known again");
    fs::write(&path, b"something else").expect("written");
    assert_ne!(open(directory.path(), CONFIG).limiter.days().key(), key);
    assert_eq!(fs::read(path.with_extension("damaged")).expect("moved"), b"something else");
}

#[test]
fn without_a_directory_nothing_is_kept_and_everything_works() {
    let config: Config = toml::from_str(CONFIG).expect("a configuration");
    let policy = config.policy().expect("no faults");
    let limits = Limits::open(&policy, config.lists(), 100, None).expect("limits");
    assert!(!limits.keeps());
    limits.set("pbx", &[(key("inbound.calls"), Some(Value::Number(3)))]).expect("set");
    assert_eq!(limit(&limits, "inbound.calls"), "3");
}
