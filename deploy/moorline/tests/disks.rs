//! Disks that hang and disks that are full: calls go on, and each has its record once when the disk is well again.
#![cfg(test)]

mod stand;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use moorline_bench::load::{self, Plan};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::unistd::geteuid;
use serde_json::Value;
use stand::operator::{edit, moorline, said};
use stand::parties::{Callers, serve, socket};
use stand::{Stand, left_out};

/// 50 calls a second.
const PACE: Duration = Duration::from_millis(20);

/// How long a caller waits before it says something again.
const AGAIN: Duration = Duration::from_millis(100);

/// A file system that nothing outside this test's thread and what it starts can see.
struct Disk {
    mounted: PathBuf,
    /// Ends with the test, however that ends, and leaves nothing frozen or mounted.
    watch: Child,
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("it runs");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

impl Disk {
    /// Mounts what these arguments name; `None` where this cannot be done.
    fn mount(folder: &Path, arguments: &[&str]) -> Option<Disk> {
        if !geteuid().is_root() || unshare(CloneFlags::CLONE_NEWNS).is_err() {
            left_out("disks that hang or are full", "nothing, but run the tests as root, who may mount");
            return None;
        }
        run("mount", &["--make-rprivate", "/"]);
        let mounted = folder.join("disk");
        std::fs::create_dir(&mounted).expect("made");
        let at = mounted.to_str().expect("a path");
        run("mount", &[arguments, &[at]].concat());
        let watch = Command::new("sh")
            .args(["-c", "cat; fsfreeze -u \"$0\" 2>/dev/null; umount -l \"$0\"", at])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell runs");
        Some(Disk { mounted, watch })
    }

    /// One that can be frozen.
    fn ext4(folder: &Path) -> Option<Disk> {
        let missing = |program: &str| Command::new(program).arg("-V").output().is_err();
        if ["mkfs.ext4", "fsfreeze"].into_iter().any(missing) {
            left_out("disks that hang", "e2fsprogs and util-linux");
            return None;
        }
        let image = folder.join("image");
        File::create(&image).and_then(|file| file.set_len(64 << 20)).expect("made");
        let image = image.to_str().expect("a path");
        run("mkfs.ext4", &["-q", "-F", image]);
        Disk::mount(folder, &["-o", "loop", image])
    }

    /// Until what this gives is dropped.
    fn freeze(&self) -> Frozen<'_> {
        let at = self.mounted.to_str().expect("a path");
        run("fsfreeze", &["-f", at]);
        Frozen(at)
    }

    /// Takes all the room that there is.
    fn fill(&self) {
        let mut ballast = File::create(self.mounted.join("ballast")).expect("made");
        let mut length = 1 << 20;
        while length > 0 {
            if ballast.write_all(&vec![1; length]).is_err() {
                length /= 2;
            }
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.mounted.join("ballast")).expect("removed");
    }
}

struct Frozen<'a>(&'a str);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        run("fsfreeze", &["-u", self.0]);
    }
}

/// Lets the parties end, in a test that fails too.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        let _ended = self.watch.wait();
    }
}

/// A stand that writes there, with JSON Lines.
fn stand_on(disk: &Disk, net: u8, when_full: &str) -> Stand {
    Stand::up_with(net, |text, socket| {
        let command = Path::new(socket).with_file_name("signaling.sock");
        let state = format!("[signaling]\nstate = {:?}\ncommand = {command:?}\n", disk.mounted.join("state"));
        let text = text.replacen("[signaling]\n", &state, 1);
        let cdr = format!("[signaling.cdr]\nwhen_full = {when_full:?}\n[signaling.cdr.json]\n[media]\n");
        text.replacen("[media]\n", &cdr, 1)
    })
}

/// What `moorline status` knows of records.
fn records_status(stand: &Stand) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moorline"));
    command.args(["status", "--json", "--socket"]).arg(stand.folder.path().join("signaling.sock"));
    let output = command.output().expect("the executable runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    answer.as_object().and_then(|answer| answer.values().next()).expect("an answer")["records"].clone()
}

fn metric(stand: &Stand, name: &str) -> f64 {
    stand.signaling_value(name).unwrap_or(-1.0)
}

/// Sends each of these calls a request inside it until that is answered.
fn asked_inside(stand: &Stand, callers: &Callers, method: &str, cseq: u32, calls: &[(String, String)]) {
    for (call, tag) in calls {
        let answered = || callers.seen.lock().expect("no panic")[call].inside >= cseq;
        stand.until(&format!("{method} {cseq} of {call} is answered"), || {
            callers.request(method, cseq, call, "5550", Some(tag));
            thread::sleep(AGAIN);
            answered()
        });
    }
}

fn hung_up(stand: &Stand, callers: &Callers, calls: &[(String, String)]) {
    stand.until("the calls have ended", || {
        let up = callers.up();
        let left = calls.iter().filter(|call| up.contains(call));
        let left = left.inspect(|(call, tag)| callers.request("BYE", 90, call, "5550", Some(tag))).count();
        thread::sleep(AGAIN);
        left == 0
    });
}

/// Reads the records, and compares them with what the callers have heard. How often each cause is there.
fn compare(stand: &Stand, callers: &Callers, disk: &Disk) -> BTreeMap<String, u32> {
    let text = std::fs::read_to_string(disk.mounted.join("state/cdr/records.jsonl")).expect("records");
    let mut records: BTreeMap<String, Value> = BTreeMap::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no record: {line}"));
        let call = record["caller"]["call_id"].as_str().expect("a Call-ID").to_owned();
        assert!(records.insert(call, record).is_none(), "two records of one call: {line}");
    }
    let mut causes = BTreeMap::<String, u32>::new();
    for (call, known) in callers.seen.lock().expect("no panic").iter() {
        let Some(record) = records.get(call) else { panic!("no record of {call}: {known:?}\n{}", stand.log()) };
        *causes.entry(record["cause"].as_str().expect("a cause").to_owned()).or_default() += 1;
        let status = known.statuses.iter().find(|status| **status >= 200).expect("a final answer");
        assert_eq!(record["caller"]["code"].as_u64(), Some(u64::from(*status)), "{call}: {record}");
        assert_eq!(record["answer"].is_string(), known.tag.is_some(), "{call}: {record}");
    }
    causes
}

/// Calls until one gets a final answer like this.
fn call_until(stand: &Stand, callers: &Callers, name: &str, status: u16) {
    let mut number = 0;
    stand.until(&format!("a call is answered {status}"), || {
        number += 1;
        callers.call(&format!("{name}{number}"), "5550");
        thread::sleep(PACE);
        callers.seen.lock().expect("no panic").values().any(|known| known.statuses.contains(&status))
    });
    // No caller goes before it has heard.
    stand.until("all callers have heard", || {
        let unheard = |status: &u16| *status < 200;
        let mut again = Vec::new();
        for (call, known) in callers.seen.lock().expect("no panic").iter() {
            if known.statuses.iter().all(unheard) {
                again.push(call.clone());
            }
        }
        again.iter().for_each(|call| callers.request("INVITE", 1, call, "5550", None));
        thread::sleep(AGAIN);
        again.is_empty()
    });
}

/// Places so many calls at the pace of the tests.
fn call_many(callers: &Callers, name: &str, count: u32) {
    for number in 0..count {
        callers.call(&format!("{name}{number}"), "5550");
        thread::sleep(PACE);
    }
}

#[test]
fn a_disk_that_hangs_holds_up_no_call_that_is_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = Disk::ext4(folder.path()) else { return };
    let mut stand = stand_on(&disk, 95, "refuse");
    let callers = Callers::new(&stand);
    let (called, called_at) = (socket(&stand, 3), stand.address(3, 5060).to_string());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _end = End(&over);
        scope.spawn(|| callers.listen(&over));
        scope.spawn(|| serve(&called, &called_at, &over));
        call_many(&callers, "before", 30);
        stand.until("all calls are up", || callers.up().len() == 30);
        stand.until("all is written", || metric(&stand, "moorline_cdr_marks_total") >= 90.0);
        let up = callers.up();
        let (stay, end) = up.split_at(15);

        let frozen = disk.freeze();
        asked_inside(&stand, &callers, "INVITE", 2, &stay[..5]);
        asked_inside(&stand, &callers, "OPTIONS", 3, &stay[..5]);
        hung_up(&stand, &callers, &end[..5]);
        // New ones come all the time; some are let in before the disk is known to hang.
        call_until(&stand, &callers, "frozen", 503);
        asked_inside(&stand, &callers, "INVITE", 4, stay);
        asked_inside(&stand, &callers, "OPTIONS", 5, stay);
        hung_up(&stand, &callers, &end[5..]);
        assert_eq!(metric(&stand, "moorline_cdr_journal_failing"), 1.0);
        assert_eq!(metric(&stand, "moorline_cdr_stalls_total"), 1.0);
        assert!(metric(&stand, "moorline_cdr_waiting_marks") > 0.0);
        assert_eq!(records_status(&stand)["failing"], Value::Bool(true));

        drop(frozen);
        stand.until("the disk is well", || metric(&stand, "moorline_cdr_journal_failing") == 0.0);
        call_many(&callers, "after", 30);
        let is_up = |name: &str| callers.up().iter().filter(|(call, _)| call.starts_with(name)).count();
        stand.until("new calls are up", || is_up("after") == 30);
        hung_up(&stand, &callers, &callers.up());
        stand.until_nothing_is_left();
    });
    assert_eq!(metric(&stand, "moorline_cdr_lost_marks_total"), 0.0);
    assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());
    assert_eq!(stand.log().matches("call records hangs").count(), 1, "{}", stand.log());
    assert_eq!(stand.log().matches("does not hang any more").count(), 1, "{}", stand.log());
    let causes = compare(&stand, &callers, &disk);
    assert!(causes["caller_hung_up"] >= 60 && causes["rejected"] > 0, "{causes:?}");
}

#[test]
fn a_full_disk_refuses_calls_or_not_as_configured_and_loses_no_record() {
    for (net, when_full) in [(96, "refuse"), (97, "drop")] {
        let folder = tempfile::tempdir().expect("a folder");
        let Some(disk) = Disk::mount(folder.path(), &["-t", "tmpfs", "-o", "size=16m", "moorline"]) else { return };
        let mut stand = stand_on(&disk, net, when_full);
        let callers = Callers::new(&stand);
        let (called, called_at) = (socket(&stand, 3), stand.address(3, 5060).to_string());
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _end = End(&over);
            scope.spawn(|| callers.listen(&over));
            scope.spawn(|| serve(&called, &called_at, &over));
            call_many(&callers, "before", 20);
            stand.until("all calls are up", || callers.up().len() == 20);
            let up = callers.up();
            disk.fill();
            hung_up(&stand, &callers, &up[..10]);
            stand.until("it is seen", || metric(&stand, "moorline_cdr_journal_failing") == 1.0);
            assert_eq!(records_status(&stand)["failing"], Value::Bool(true));
            if when_full == "refuse" {
                call_until(&stand, &callers, "full", 503);
            } else {
                call_many(&callers, "full", 20);
                stand.until("they are up", || callers.up().len() == 30);
            }
            asked_inside(&stand, &callers, "INVITE", 2, &up[10..]);
            hung_up(&stand, &callers, &up[10..15]);
            disk.empty();
            stand.until("the disk is well", || metric(&stand, "moorline_cdr_journal_failing") == 0.0);
            assert_eq!(records_status(&stand)["failing"], Value::Bool(false));
            callers.call("after", "5550");
            stand.until("a new call is up", || callers.up().iter().any(|(call, _)| call == "after"));
            hung_up(&stand, &callers, &callers.up());
            stand.until_nothing_is_left();
        });
        assert_eq!(metric(&stand, "moorline_cdr_lost_marks_total"), 0.0);
        assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());
        let said = stand.log().lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).count();
        assert!(said < 12, "the log is flooded:\n{}", stand.log());
        let causes = compare(&stand, &callers, &disk);
        assert_eq!(causes.contains_key("rejected"), when_full == "refuse", "{causes:?}");
    }
}

#[test]
fn a_reload_that_waits_for_a_disk_that_hangs_is_refused_and_holds_up_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = Disk::ext4(folder.path()) else { return };
    let stand = stand_beside(186);
    let there = format!("[signaling.cdr.json]\ndirectory = {:?}\n", disk.mounted.join("records"));
    let frozen = disk.freeze();
    edit(&stand, "[signaling.cdr.json]\n", &there);
    thread::scope(|scope| {
        let hangs = scope.spawn(|| said(&moorline(&stand, &["reload"])));
        stand.until("it hangs", || is_at_work(&stand, "open-sink"));
        // Others hear what they ask for meanwhile, and those that must wait do it for no longer than the first.
        assert!(moorline(&stand, &["status"]).status.success());
        assert!(moorline(&stand, &["trunks"]).status.success());
        let second = scope.spawn(|| said(&moorline(&stand, &["reload", "--dry-run"])));
        let report = load::run(&stand.plan(10, Duration::from_secs(1)), &mut |_| {}).expect("the load runs");
        assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
        let told = hangs.join().expect("no panic");
        let why = "signaling.cdr.json cannot be opened: nothing has come of it for 15 s";
        assert!(told.contains(why) && told.contains("refused"), "{told}");
        let told = second.join().expect("no panic");
        assert!(told.contains("signaling.cdr.json.directory"), "{told}");
    });
    // The old place has the records, and another one can be had at once.
    stand.until("all is written", || metric(&stand, "moorline_cdr_written_total") == 10.0);
    edit(&stand, &there, "[signaling.cdr.json]\n[signaling.cdr.csv]\n");
    let told = said(&moorline(&stand, &["reload"]));
    assert!(told.contains("in force"), "{told}");
    drop(frozen);
    stand.until("what hung is over", || !is_at_work(&stand, "open-sink"));
}

#[test]
fn a_file_of_records_that_hangs_keeps_no_reload_from_another_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(disk) = Disk::ext4(folder.path()) else { return };
    let stand = stand_beside(187);
    let call = |calls: u32, seed: u64| {
        let plan = Plan { seed, ..stand.plan(calls, Duration::from_secs(1)) };
        let report = load::run(&plan, &mut |_| {}).expect("the load runs");
        assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    };
    let beside = "[signaling.cdr.json]\n";
    let there = format!("{beside}directory = {:?}\n", disk.mounted.join("records"));
    edit(&stand, beside, &there);
    assert!(said(&moorline(&stand, &["reload"])).contains("in force"), "{}", stand.log());
    call(5, 1);
    stand.until("all is written", || metric(&stand, "moorline_cdr_written_total") == 5.0);
    let frozen = disk.freeze();
    call(5, 2);
    stand.until("all have ended", || metric(&stand, "moorline_cdr_waiting") == 5.0);
    // The one that hangs leaves, and nobody waits for it; then it is followed by one that is well, which does.
    edit(&stand, &there, "[signaling.cdr.csv]\n");
    let told = said(&moorline(&stand, &["reload"]));
    assert!(told.contains("in force") && told.contains("the sink json still takes what has ended before"), "{told}");
    call(5, 3);
    stand.until("CSV has its own", || records_in(&stand, "records.csv") == 6);
    edit(&stand, "[signaling.cdr.csv]\n", &format!("[signaling.cdr.csv]\n{beside}"));
    let told = said(&moorline(&stand, &["reload"]));
    assert!(told.contains("in force"), "{told}");
    call(5, 4);
    stand.until("CSV has its own", || records_in(&stand, "records.csv") == 11);
    assert!(moorline(&stand, &["status"]).status.success());
    assert_eq!(records_in(&stand, "records.jsonl"), 0, "one writes at a time");
    drop(frozen);
    stand.until("the one that follows has its own", || records_in(&stand, "records.jsonl") == 5);
    let hung = std::fs::read_to_string(disk.mounted.join("records/records.jsonl")).expect("records");
    assert_eq!(hung.lines().count(), 10, "{}", stand.log());
}

/// With JSON Lines on a disk that is well.
fn stand_beside(net: u8) -> Stand {
    Stand::up_with(net, |text, socket| {
        let state = format!("[signaling]\nstate = {:?}\n", Path::new(socket).with_file_name("state"));
        let text = text.replacen("[signaling]\n", &state, 1);
        text.replacen("[media]\n", "[signaling.cdr.json]\n[media]\n", 1)
    })
}

/// Lines of a file beside the journal.
fn records_in(stand: &Stand, file: &str) -> usize {
    let path = stand.folder.path().join("state/cdr").join(file);
    std::fs::read_to_string(path).unwrap_or_default().lines().count()
}

/// Whether signaling has a thread of this name.
fn is_at_work(stand: &Stand, thread: &str) -> bool {
    let signaling = stand.child("signaling").expect("it runs");
    let threads = std::fs::read_dir(format!("/proc/{signaling}/task")).expect("its threads");
    let named = |path: PathBuf| std::fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == thread);
    threads.filter_map(Result::ok).any(|entry| named(entry.path()))
}
