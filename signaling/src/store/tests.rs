//! What is stored comes back, whatever happens to the file.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tempfile::TempDir;

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn open(directory: &TempDir) -> (Store, Vec<Entry>) {
    Store::open(directory.path(), time(1000)).expect("opens")
}

/// What is in the store, as `namespace/key=value`.
fn content(directory: &TempDir) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (_store, entries) = open(directory);
    entries.iter().map(|entry| format!("{}/{}={}", entry.namespace, text(&entry.key), text(&entry.value))).collect()
}

fn filled() -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut store, entries) = open(&directory);
    assert_eq!(entries, []);
    store.put("bindings", b"6000", b"here".to_vec(), None).expect("room");
    store.put("bindings", b"6001", b"there".to_vec(), Some(time(2000))).expect("room");
    directory
}

#[test]
fn entries_come_back_in_order_with_their_expiry() {
    let directory = filled();
    let (_store, entries) = open(&directory);
    let entry = |key: &[u8], value: &[u8], expires| Entry {
        namespace: "bindings".into(),
        key: key.to_vec(),
        value: value.to_vec(),
        expires,
    };
    assert_eq!(entries, [entry(b"6000", b"here", None), entry(b"6001", b"there", Some(time(2000)))]);
}

#[test]
fn the_last_change_counts() {
    let directory = filled();
    let (mut store, _) = open(&directory);
    store.put("bindings", b"6000", b"elsewhere".to_vec(), None).expect("room");
    store.put("bindings", b"6002", b"new".to_vec(), None).expect("room");
    store.remove("bindings", b"6002").expect("room");
    store.remove("bindings", b"6001").expect("room");
    store.remove("bindings", b"never there").expect("room");
    store.put("counters", b"6000", b"7".to_vec(), None).expect("room");
    drop(store);
    assert_eq!(content(&directory), ["bindings/6000=elsewhere", "counters/6000=7"]);
}

#[test]
fn what_has_expired_is_dropped_for_good() {
    let directory = filled();
    let (store, entries) = Store::open(directory.path(), time(2000)).expect("opens");
    assert_eq!(entries.len(), 1);
    drop(store);
    assert_eq!(content(&directory), ["bindings/6000=here"], "though the clock was set back");
}

#[test]
fn changes_are_numbered_and_told_when_written() {
    let directory = filled();
    let (mut store, _) = open(&directory);
    assert_eq!(store.written(), 0);
    let first = store.put("bindings", b"1", b"1".to_vec(), None).expect("room");
    let second = store.put("bindings", b"2", b"2".to_vec(), None).expect("room");
    assert!(first < second);
    assert!(store.flush(LONG));
    assert_eq!(store.written(), second);
    assert!(!store.is_failing());
    assert!(store.flush(Duration::ZERO), "nothing is left to wait for");
}

#[test]
fn more_than_the_queue_holds_is_refused_or_written_and_nothing_else() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(&directory);
    let mut taken = Vec::new();
    for number in 0..3 * u32::try_from(MAX_QUEUED).expect("fits") {
        let key = number.to_be_bytes();
        match store.put("bindings", &key, key.to_vec(), None) {
            Ok(_) => taken.push(key.to_vec()),
            Err(fault) => assert_eq!(fault, NotStored::Full),
        }
    }
    assert!(taken.len() >= MAX_QUEUED);
    drop(store);
    let (_store, entries) = open(&directory);
    assert!(entries.iter().map(|entry| &entry.key).eq(taken.iter()), "{} of {}", entries.len(), taken.len());
}

#[test]
fn what_is_too_long_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut store, _) = open(&directory);
    assert_eq!(store.put(&"n".repeat(65), b"k", Vec::new(), None), Err(NotStored::TooLong));
    assert_eq!(store.put("n", &[0; 1025], Vec::new(), None), Err(NotStored::TooLong));
    assert_eq!(store.put("n", b"k", vec![0; 64 * 1024 + 1], None), Err(NotStored::TooLong));
    assert_eq!(store.remove("n", &[0; 1025]), Err(NotStored::TooLong));
    assert_eq!(store.put(&"n".repeat(64), &[0; 1024], vec![0; 64 * 1024], None), Ok(1));
}

#[test]
fn it_is_for_its_owner_alone() {
    let parent = tempfile::tempdir().expect("a directory");
    let directory = parent.path().join("not/there/yet");
    let (_store, _) = Store::open(&directory, time(0)).expect("opens");
    let mode = |path: &Path| fs::metadata(path).expect("there").mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join(FILE_NAME)), 0o600);
}

#[test]
fn a_second_process_is_refused() {
    let directory = filled();
    let (_store, _) = open(&directory);
    let fault = Store::open(directory.path(), time(0)).expect_err("in use");
    assert!(matches!(fault, StoreFault::InUse(_)), "{fault}");
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").expect("written");
    let fault = Store::open(&file, time(0)).expect_err("no directory");
    assert!(matches!(fault, StoreFault::Unusable { .. }), "{fault}");
    // A directory in the place of the file is for the operator to put right.
    fs::create_dir(directory.path().join(FILE_NAME)).expect("made");
    let fault = Store::open(directory.path(), time(0)).expect_err("no file");
    assert!(matches!(fault, StoreFault::Unusable { .. }), "{fault}");
}

/// Damages the file, and expects the store to begin anew, or to have lost nothing.
fn survives(directory: &TempDir, damage: &str) {
    let path = directory.path().join(FILE_NAME);
    let damaged = fs::read(&path).expect("the file");
    let (mut store, entries) = open(directory);
    let aside = directory.path().join("signaling.redb.damaged");
    if aside.exists() {
        assert_eq!(entries, [], "{damage}");
        assert_eq!(fs::read(&aside).expect("kept").len(), damaged.len(), "{damage}");
        fs::remove_file(&aside).expect("removed");
    } else {
        assert_eq!(entries.len(), 2, "{damage}");
    }
    store.put("bindings", b"9", b"new".to_vec(), None).expect("room");
    drop(store);
    assert!(content(directory).contains(&"bindings/9=new".to_owned()), "{damage}");
}

#[test]
fn a_file_that_is_no_store_is_moved_aside() {
    for text in [b"hello".to_vec(), vec![0; 4096], vec![0xff; 100_000]] {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(FILE_NAME), &text).expect("written");
        let (store, entries) = open(&directory);
        assert_eq!(entries, []);
        drop(store);
        assert_eq!(fs::read(directory.path().join("signaling.redb.damaged")).expect("kept"), text);
    }
}

#[test]
fn a_file_cut_off_anywhere_does_not_keep_it_from_starting() {
    let whole = fs::read(filled().path().join(FILE_NAME)).expect("the file");
    for kept in [1, 9, 100, 512, 4095, 4096, 8192, whole.len() / 2, whole.len() - 1] {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join(FILE_NAME), &whole[..kept]).expect("written");
        survives(&directory, &format!("cut to {kept} of {}", whole.len()));
    }
}

#[test]
fn a_file_changed_anywhere_does_not_keep_it_from_starting() {
    let whole = fs::read(filled().path().join(FILE_NAME)).expect("the file");
    // Every place that holds anything: the rest is zeros.
    let places: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    for at in places.iter().step_by(places.len().div_ceil(40)) {
        let directory = tempfile::tempdir().expect("a directory");
        let mut changed = whole.clone();
        changed[*at] ^= 0x5a;
        fs::write(directory.path().join(FILE_NAME), changed).expect("written");
        survives(&directory, &format!("byte {at} changed"));
    }
}

#[test]
fn a_disk_that_refuses_is_said_and_what_waits_is_written_when_it_no_more_does() {
    // Only a directory that is gone refuses root as well; the file that is open stays usable, so it is opened anew.
    let directory = filled();
    let path = directory.path().join(FILE_NAME);
    let (file, entries) = file::open(directory.path(), FILE_NAME).expect("opens");
    assert_eq!(entries.len(), 2);
    drop(file);
    let away = directory.path().join("away");
    fs::rename(&path, &away).expect("moved");
    fs::create_dir(&path).expect("in its place");
    let progress = Arc::new(Progress::default());
    let (queue, changes) = sync_channel(8);
    let writer = Writer::new(file::StoreFile::closed(&path), changes, progress.clone());
    let thread = std::thread::spawn(move || writer.run());
    let content = Some(Content { value: b"late".to_vec(), expires_s: 0 });
    let change = Change { name: ("bindings".into(), b"6002".to_vec()), content };
    queue.send((1, change)).expect("room");
    while !progress.is_failing() {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(progress.written(), 0);
    fs::remove_dir(&path).expect("removed");
    fs::rename(&away, &path).expect("back");
    assert!(progress.wait(1, Instant::now() + LONG));
    assert!(!progress.is_failing());
    drop(queue);
    thread.join().expect("ended");
    assert_eq!(self::content(&directory), ["bindings/6000=here", "bindings/6001=there", "bindings/6002=late"]);
}

#[test]
fn others_may_read_the_directory_if_the_operator_wants() {
    let directory = filled();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its own");
    assert_eq!(content(&directory).len(), 2);
    assert_eq!(fs::metadata(directory.path()).expect("there").mode() & 0o777, 0o755, "it is left as it is");
}
