//! A process that is killed while it writes: what the store called written is there.
#![cfg(test)]

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use moorline_signaling::store::Store;

/// Set for the process that writes: the directory of the store.
const DIRECTORY: &str = "MOORLINE_TEST_STORE";

/// How many entries there are; each is written again and again.
const ENTRIES: u64 = 50;

const LONG: Duration = Duration::from_secs(60);

fn key(round: u64) -> [u8; 8] {
    (round % ENTRIES).to_be_bytes()
}

/// Writes rounds of one change each, and says which round is on the disk, until it is killed.
fn write_until_killed(directory: &Path) {
    let (mut store, entries) = Store::open(directory, SystemTime::now()).expect("opens");
    let value = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    let mut round = entries.iter().map(|entry| value(&entry.value)).max().unwrap_or_default();
    let mut out = std::io::stdout().lock();
    loop {
        for _change in 0..7 {
            round += 1;
            store.put("rounds", &key(round), round.to_be_bytes().to_vec(), None).expect("room");
        }
        assert!(store.flush(LONG));
        writeln!(out, "written {round}").expect("heard");
        // More, of which nothing is said.
        for _change in 0..5 {
            round += 1;
            store.put("rounds", &key(round), round.to_be_bytes().to_vec(), None).expect("room");
        }
    }
}

/// Lets a process write until it has said so this often, kills it, and gives the last round that it called written.
fn written_and_killed(directory: &Path, said: usize) -> u64 {
    let mut process = Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "what_was_called_written_is_there_after_a_kill", "--nocapture"])
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
    let written = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("written ")?.parse().ok());
    let last = written.take(said).last();
    // SIGKILL, in the midst of the next commits.
    process.kill().expect("killed");
    process.wait().expect("ended");
    last.expect("it wrote")
}

#[test]
fn what_was_called_written_is_there_after_a_kill() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return write_until_killed(Path::new(&directory));
    }
    let directory = tempfile::tempdir().expect("a directory");
    for said in 1..=8 {
        let written = written_and_killed(directory.path(), said);
        let (_store, entries) = Store::open(directory.path(), SystemTime::now()).expect("opens");
        let found: BTreeMap<Vec<u8>, Vec<u8>> = entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
        for round in written.saturating_sub(ENTRIES - 1).max(1)..=written {
            let value = found.get(&key(round)[..]).expect("written, and lost");
            let kept = u64::from_be_bytes(value[..].try_into().expect("eight bytes"));
            assert!(kept >= round && kept % ENTRIES == round % ENTRIES, "round {round} of {written}: {kept}");
        }
        assert!(!directory.path().join("signaling.redb.damaged").exists());
    }
}
