//! Reloads that come at a bad time: together, during another one, while calls are kept away, without media, at the start.
//! Each is applied whole or refused whole, whoever asks hears which, and calls that are up go on.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod stand;

use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use moorline_bench::load::{self, Plan};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use stand::Stand;
use stand::operator::{edit, json, moorline, post, said};
use stand::parties::{Callers, serve, socket};

/// How long a caller waits before it says something again.
const AGAIN: Duration = Duration::from_millis(100);

/// With two workers, what outlives them, and a version of the configuration in two places.
fn up(net: u8) -> Stand {
    Stand::up_with(net, |text, socket| {
        let state = socket.replace("media.sock", "state");
        text.replacen("[signaling]", &format!("[signaling]\nstate = {state:?}\nworkers = 2"), 1)
            .replacen("name = \"caller\"\n", &format!("name = \"caller\"\n{}", version(0, "inbound")), 1)
            .replacen("name = \"callee\"\n", &format!("name = \"callee\"\n{}", version(0, "outbound")), 1)
    })
}

fn version(number: usize, way: &str) -> String {
    format!("limits.{way}.calls = {} # version\n", 1000 + number)
}

/// Has the file say another version.
fn write_version(stand: &Stand, before: usize, number: usize) {
    let file = stand.folder.path().join("up.toml");
    let mut text = std::fs::read_to_string(&file).expect("readable");
    for way in ["inbound", "outbound"] {
        text = text.replacen(&version(before, way), &version(number, way), 1);
    }
    let next = file.with_extension("next");
    std::fs::write(&next, text).expect("written");
    std::fs::rename(next, file).expect("renamed");
}

/// The version that runs, which is the same in both places.
fn running(stand: &Stand) -> usize {
    let shown = json(&moorline(stand, &["limits", "show", "--json"]));
    let limit = |name: &str, way: &str| {
        let trunk = shown["limits"].as_array().and_then(|all| all.iter().find(|trunk| trunk["trunk"] == name));
        let limit = trunk.and_then(|trunk| trunk[way]["limits"]["calls"].as_str()?.parse::<usize>().ok());
        limit.unwrap_or_else(|| panic!("no limit in {shown}"))
    };
    let (caller, callee) = (limit("caller", "inbound"), limit("callee", "outbound"));
    assert_eq!(caller, callee, "two halves of two configurations run");
    caller - 1000
}

fn reloads(stand: &Stand) -> [f64; 3] {
    let page = stand.signaling().expect("metrics");
    ["applied", "refused", "unchanged"]
        .map(|outcome| page.value("moorline_sip_reloads_total", &[("outcome", outcome)]).expect("a counter"))
}

fn plan(stand: &Stand, calls: u32, seconds: u64, seed: u64) -> Plan {
    Plan { seed, ..stand.plan(calls, Duration::from_secs(seconds)) }
}

#[test]
fn reloads_and_rollbacks_at_once_are_each_whole_and_answered() {
    let stand = up(115);
    let answers: Mutex<Vec<String>> = Mutex::default();
    let mut begun = false;
    let report = load::run(&plan(&stand, 20, 6, 1), &mut |progress| {
        if progress.active < 20 || std::mem::replace(&mut begun, true) {
            return;
        }
        for round in 1..=4 {
            write_version(&stand, round - 1, round);
            let told = |answer: String| answers.lock().expect("no panic").push(answer);
            thread::scope(|scope| {
                for _ in 0..6 {
                    scope.spawn(|| told(said(&moorline(&stand, &["reload"]))));
                    scope.spawn(|| told(post(&stand, "reload", "").1.to_string()));
                }
                scope.spawn(|| told(said(&moorline(&stand, &["rollback"]))));
                scope.spawn(|| told(post(&stand, "rollback", "").1.to_string()));
                scope.spawn(|| kill(stand.pid(), Signal::SIGHUP).expect("it runs"));
            });
            // Whatever came last, what runs is one version.
            assert!(running(&stand) <= round);
        }
    });
    let report = report.expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    let answers = answers.into_inner().expect("no panic");
    assert_eq!(answers.len(), 4 * 14);
    let [clear, busy] = ["in force for all|nothing to change|\"applied\":", "too many commands at once"]
        .map(|texts| answers.iter().filter(|answer| texts.split('|').any(|text| answer.contains(text))).count());
    assert_eq!(clear + busy, answers.len(), "{answers:#?}");
    assert!(clear >= 4 * 8, "{answers:#?}");
    // What came by signal is answered in the log alone.
    let counted = || reloads(&stand).iter().sum::<f64>();
    stand.until("all are counted", || counted() >= clear as f64 + 1.0);
    assert!(reloads(&stand)[1] == 0.0 && counted() <= (clear + 4) as f64, "{:?}", reloads(&stand));
    assert!(moorline(&stand, &["reload"]).status.success());
    assert_eq!(running(&stand), 4);
    stand.until_nothing_is_left();
}

#[test]
fn a_signal_during_a_reload_is_not_lost() {
    let stand = up(116);
    for number in 1..=60 {
        write_version(&stand, number - 1, number);
        kill(stand.pid(), Signal::SIGHUP).expect("it runs");
    }
    stand.until("the last one runs", || running(&stand) == 60);
    assert_eq!(reloads(&stand)[1], 0.0);
}

#[test]
fn a_reload_while_new_calls_are_kept_away_lets_none_in() {
    let stand = up(117);
    let mut done = false;
    let report = load::run(&plan(&stand, 10, 3, 1), &mut |progress| {
        if progress.active == 10 && !std::mem::replace(&mut done, true) {
            assert!(moorline(&stand, &["drain"]).status.success());
            write_version(&stand, 0, 1);
            let reloaded = moorline(&stand, &["reload"]);
            assert!(reloaded.status.success(), "{}", said(&reloaded));
            assert!(said(&moorline(&stand, &["status"])).contains("no, draining"));
            let back = moorline(&stand, &["rollback"]);
            assert!(back.status.success(), "{}", said(&back));
            assert!(moorline(&stand, &["reload"]).status.success());
        }
    });
    let report = report.expect("the load runs");
    assert!(done && report.is_clean(), "{report:#?}\n{}", stand.log());
    let report = load::run(&plan(&stand, 5, 1, 2), &mut |_| {}).expect("the load runs");
    assert_eq!(report.completed, 0, "{report:#?}");
    assert!(moorline(&stand, &["drain", "--off"]).status.success());
    let report = load::run(&plan(&stand, 5, 1, 3), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    assert_eq!(running(&stand), 1);
}

#[test]
fn a_reload_without_media_is_applied_and_calls_come_back_with_it() {
    let stand = up(118);
    let callers = Callers::new(&stand);
    let (called, called_at) = (socket(&stand, 3), stand.address(3, 5060).to_string());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| callers.listen(&over));
        scope.spawn(|| serve(&called, &called_at, &over));
        for number in 0..20 {
            callers.call(&format!("call{number}"), "5550");
            thread::sleep(AGAIN / 5);
        }
        stand.until("all calls are up", || callers.up().len() == 20);
        let up = callers.up();
        for number in 1..=3 {
            let media = stand.child("media").expect("it runs");
            // It is there, says nothing, and then is gone.
            kill(media, Signal::SIGSTOP).expect("stopped");
            write_version(&stand, 2 * number - 2, 2 * number - 1);
            let reloaded = moorline(&stand, &["reload"]);
            assert!(reloaded.status.success(), "{}", said(&reloaded));
            stand.kill_and_await_successor("media");
            write_version(&stand, 2 * number - 1, 2 * number);
            let reloaded = moorline(&stand, &["reload"]);
            assert!(reloaded.status.success(), "{}", said(&reloaded));
            assert_eq!(running(&stand), 2 * number);
            stand.until_connected();
        }
        stand.until("the sessions are back", || stand.media_value("moorline_media_sessions") == Some(20.0));
        for (method, cseq) in [("INVITE", 2), ("BYE", 3)] {
            stand.until(&format!("each call hears of its {method}"), || {
                let done = |call: &str| {
                    let seen = callers.seen.lock().expect("no panic");
                    seen[call].hung_up || method == "INVITE" && seen[call].inside >= cseq
                };
                let left: Vec<_> = up.iter().filter(|(call, _)| !done(call)).collect();
                left.iter().for_each(|(call, tag)| callers.request(method, cseq, call, "5550", Some(tag)));
                thread::sleep(AGAIN);
                left.is_empty()
            });
        }
        stand.until_nothing_is_left();
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_reload_of_a_process_that_never_had_media_is_applied() {
    let stand = Stand::start_with("signaling", 119, |text, socket| {
        let command = socket.replace("media.sock", "signaling.sock");
        text.replacen("[signaling]", &format!("[signaling]\ncommand = {command:?}"), 1)
    });
    stand.until("it serves", || stand.signaling().is_some());
    edit(&stand, "name = \"caller\"\n", "name = \"caller\"\ntrusted = true\n");
    let reloaded = moorline(&stand, &["reload"]);
    assert!(reloaded.status.success() && said(&reloaded).contains("in force"), "{}", said(&reloaded));
    let back = moorline(&stand, &["rollback"]);
    assert!(back.status.success() && said(&back).contains("in force"), "{}", said(&back));
}

/// Whether a process does something of its own at SIGHUP, or keeps it for later: by default it would end.
fn expects_hangups(pid: Pid) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = |name: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        u64::from_str_radix(mask.trim(), 16).unwrap_or_default() & 1
    };
    mask("SigBlk:") + mask("SigCgt:") > 0
}

#[test]
fn signals_at_the_start_and_to_all_processes_end_none() {
    let mut stand = Stand::start("up", 120, &[]);
    let connected = || stand.signaling_value("moorline_sip_media_connected") == Some(1.0);
    let mut seen = Vec::new();
    stand.until("all have started", || {
        let children = ["media", "signaling"].map(|role| stand.child(role));
        for pid in [Some(stand.pid())].into_iter().chain(children).flatten() {
            if seen.contains(&pid) || expects_hangups(pid) {
                seen.push(pid);
                kill(pid, Signal::SIGHUP).expect("it runs");
            }
        }
        connected()
    });
    let children = ["media", "signaling"].map(|role| stand.child(role).expect("it runs"));
    for pid in children.into_iter().chain([stand.pid()]) {
        stand.until("it expects such signals", || expects_hangups(pid));
        kill(pid, Signal::SIGHUP).expect("it runs");
    }
    stand.until("media says so", || stand.log().contains("SIGHUP: the media process reads nothing again"));
    let report = load::run(&plan(&stand, 5, 1, 1), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    assert_eq!(children.map(Some), ["media", "signaling"].map(|role| stand.child(role)), "{}", stand.log());
    assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());
    assert!(!stand.log().contains("process died"), "{}", stand.log());
}

#[test]
fn a_reload_that_never_ends_keeps_nobody_from_calling_nor_the_process_from_ending() {
    let mut stand = up(121);
    let socket = stand.folder.path().join("signaling.sock");
    let socket = socket.to_str().expect("a path");
    let file = stand.folder.path().join("up.toml");
    std::fs::remove_file(&file).expect("removed");
    // Whoever reads it waits for somebody who writes.
    mkfifo(&file, Mode::S_IRUSR | Mode::S_IWUSR).expect("made");
    let own = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moorline"));
        command.args(args).args(["--socket", socket]).stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let mut waiting: Vec<Child> = (0..3).map(|_| own(&["reload"]).spawn().expect("it runs")).collect();
    kill(stand.pid(), Signal::SIGHUP).expect("it runs");
    stand.until("it has heard of it", || stand.log().contains("SIGHUP"));
    let report = load::run(&plan(&stand, 10, 1, 1), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    assert!(own(&["status"]).status().expect("it runs").success());
    assert!(waiting.iter_mut().all(|child| child.try_wait().expect("waited").is_none()));
    assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());
    assert!(!stand.log().contains("does not stop"), "{}", stand.log());
    for mut child in waiting {
        assert_eq!(child.wait().expect("it ends").code(), Some(1));
    }
}

#[test]
fn records_of_calls_that_are_up_go_where_the_reload_says() {
    let mut stand = up(122);
    let folder = stand.folder.path().to_owned();
    let records = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap_or_default().lines().count();
    let report = load::run(&plan(&stand, 5, 1, 1), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}");
    let sinks = |directory: &str| {
        format!("[signaling.cdr.json]\ndirectory = {:?}\n[signaling.cdr.csv]\n[media]\n", folder.join(directory))
    };
    let mut told = Vec::new();
    let report = load::run(&plan(&stand, 10, 2, 2), &mut |progress| {
        if progress.active == 10 && told.is_empty() {
            edit(&stand, "[media]\n", &sinks("up.toml"));
            told.push(said(&moorline(&stand, &["reload"])));
            edit(&stand, &sinks("up.toml"), &sinks("moved"));
            told.push(said(&moorline(&stand, &["reload"])));
        }
    });
    assert!(report.expect("the load runs").is_clean(), "{}", stand.log());
    assert!(told[0].contains("signaling.cdr.json cannot be opened: ") && told[0].contains("refused"), "{}", told[0]);
    assert!(told[1].contains("in force") && !told[1].contains("note: "), "{}", told[1]);
    stand.until("all are written", || records("moved/records.jsonl") == 10 && records("state/cdr/records.csv") == 11);
    let back = said(&moorline(&stand, &["rollback"]));
    assert!(back.contains("in force"), "{back}");
    let report = load::run(&plan(&stand, 5, 1, 3), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}");
    assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());
    let all = ["state/cdr/records.jsonl", "moved/records.jsonl", "state/cdr/records.csv"].map(records);
    assert_eq!(all, [10, 10, 11], "{}", stand.log());
}
