//! `moorline load`, against a `moorline up` of its own.
#![cfg(test)]

mod stand;

use std::net::UdpSocket;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use moorline_bench::account::Account;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stand::Stand;

/// The load from the stand's caller to its callee.
fn load(stand: &Stand, extra: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moorline"));
    command.args(["load", "--target", &stand.address(1, 5060).to_string()]);
    command.args(["--caller", &stand.address(2, 0).ip().to_string(), "--callee", &stand.address(3, 5060).to_string()]);
    command.args(["--ring", "0.05"]).args(extra);
    command
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn calls_are_placed_and_accounted_for() {
    let stand = Stand::up(61, &[]);
    let (json, html) = (stand.folder.path().join("load.json"), stand.folder.path().join("load.html"));
    let output =
        load(&stand, &["--calls", "8", "--rate", "40", "--talk", "0.5", "--rtcp", "--codec", "pcma", "--verbatim"])
            .args(["--relay-network", "127.98.61.64/27", "--json"])
            .arg(&json)
            .arg("--html")
            .arg(&html)
            .output()
            .unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}\n{}", stand.log());
    let account = Account::from_json(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!((account.calls.attempted, account.calls.completed, account.calls.failed), (8, 8, 0));
    assert_eq!((account.times.setup.count, account.times.invite_transit.count), (8, 8));
    let media = account.media.unwrap();
    assert!(media.packets_sent >= 8 * 2 * 20 && media.one_way.count == media.packets_received, "{media:?}");
    assert_eq!((media.lost, media.corrupted, media.crossed, media.wrong_source), (0, 0, 0, 0));
    assert!(media.rtcp_sent > 0 && media.rtcp_received == media.rtcp_sent);
    assert!(account.verdict.passed && account.verdict.advice.is_empty() && !account.interrupted);
    assert!(out.contains("8 attempted, 8 answered, 8 completed, 0 failed") && out.ends_with("passed\n"), "{out}");
    assert!(std::fs::read_to_string(html).unwrap().ends_with("</html>\n"));
    stand.until_nothing_is_left();
}

#[test]
fn a_threshold_decides_on_the_exit_status() {
    // Calls to other numbers have no route.
    let stand = Stand::up(62, &[("[[signaling.routes]]", "[[signaling.routes]]\nprefix = \"1\"")]);
    let run = |extra: &[&str]| {
        let output = load(&stand, &["--calls", "4", "--rate", "40", "--talk", "0.2", "--no-media"])
            .args(extra)
            .output()
            .unwrap();
        (output.status.code(), texts(&output).0)
    };
    let (status, out) = run(&["--called-prefix", "1"]);
    assert_eq!(status, Some(0), "{out}");
    let (status, out) = run(&["--called-prefix", "2"]);
    assert_eq!(status, Some(1), "{out}");
    assert!(out.contains("4 of 4 calls failed: 100.0 %, allowed are 0 %"), "{out}");
    assert!(out.contains("the SBC never called 127.98.62.3:5060; is its route set?"), "{out}");
    let (status, out) = run(&["--called-prefix", "2", "--max-failed", "100"]);
    assert_eq!(status, Some(0), "{out}");
}

#[test]
fn a_ramp_goes_up_and_names_its_rate() {
    let stand = Stand::up(63, &[]);
    let output =
        load(&stand, &["--ramp", "10..20/10", "--duration", "0.5", "--talk", "0.1", "--no-media"]).output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    assert!(out.contains("the highest clean rate was 20 calls per second"), "{out}\n{err}");
    assert!(out.contains("15 attempted"), "{out}");
}

#[test]
fn an_interrupt_hangs_up_and_reports() {
    let stand = Stand::up(64, &[]);
    let json = stand.folder.path().join("load.json");
    let child = load(&stand, &["--calls", "10000", "--rate", "20", "--talk", "60", "--json"])
        .arg(&json)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    stand
        .until("calls are up", || stand.signaling_value("moorline_sip_calls_active").is_some_and(|calls| calls >= 5.0));
    // As `timeout` does it: to the process, and at once to its group.
    for _ in 0..2 {
        kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGINT).unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(0), "{out}\n{err}");
    let account = Account::from_json(&std::fs::read_to_string(json).unwrap()).unwrap();
    assert!(account.interrupted && account.calls.completed > 0 && account.calls.failed == 0, "{out}");
    assert!(account.calls.attempted < 1_000 && err.contains("hanging up"), "{err}");
    stand.until_nothing_is_left();
}

#[test]
fn errors_say_what_to_do() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let run = |args: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_moorline")).arg("load").args(args).output().unwrap();
        (output.status.code(), texts(&output).1)
    };
    let (status, err) = run(&["--target", "127.0.0.1:9", "--callee", &address]);
    assert_eq!(status, Some(1));
    assert!(err.contains(&format!("something else has {address}")), "{err}");
    let (_, err) = run(&["--target", "127.0.0.1:9", "--caller", "192.0.2.77"]);
    assert!(err.contains("192.0.2.77 is no address of this host"), "{err}");
    let (_, err) = run(&["--target", "127.0.0.1:9", "--json", "/nowhere/x.json"]);
    assert!(err.contains("cannot write /nowhere/x.json"), "{err}");
    let (status, err) = run(&["--target", "127.0.0.1:9", "--ramp", "5"]);
    assert_eq!(status, Some(2), "{err}");
    let (status, _) = run(&["--target", "127.0.0.1:9", "--user", "a"]);
    assert_eq!(status, Some(2));
}

#[test]
fn a_dead_target_is_named_at_once() {
    // A port that was free a moment ago.
    let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let begun = std::time::Instant::now();
    let output = Command::new(env!("CARGO_BIN_EXE_moorline"))
        .args(["load", "--target", &nobody, "--callee", "127.0.0.1:0", "--calls", "3", "--no-media"])
        .output()
        .unwrap();
    let (out, err) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{out}\n{err}");
    assert!(out.contains(&format!("nothing listens on {nobody} over UDP")), "{out}");
    // The transaction would time out after 32 seconds.
    assert!(begun.elapsed() < Duration::from_secs(25), "{out}");
}
