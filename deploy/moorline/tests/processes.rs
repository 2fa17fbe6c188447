//! `moorline up` and its children: started, restarted, stopped, and never left behind.

mod stand;

use nix::sys::signal::Signal;
use stand::{Stand, is_running};

#[test]
fn a_killed_child_is_started_again() {
    let mut stand = Stand::up(1, &[]);
    let media = stand.child("media").expect("media runs");
    stand.kill_and_await_successor("signaling");
    stand.until_connected();
    assert_eq!(stand.child("media"), Some(media), "media is not touched by signaling's end");

    let signaling = stand.child("signaling").expect("signaling runs");
    stand.kill_and_await_successor("media");
    stand.until("signaling is connected to the new process", || {
        stand.media().is_some() && stand.signaling_value("moorline_sip_media_connections_total") == Some(2.0)
    });
    stand.until_connected();
    assert_eq!(stand.child("signaling"), Some(signaling), "signaling is not touched by media's end");
    assert_eq!(stand.end(Signal::SIGTERM), Some(0));
}

#[test]
fn the_first_to_die_is_followed_at_once_and_the_next_after_a_pause() {
    let mut stand = Stand::up(8, &[]);
    for _ in 0..3 {
        stand.kill_and_await_successor("signaling");
    }
    stand.until_connected();
    let log = stand.log();
    let pauses: Vec<&str> =
        log.lines().filter_map(|line| line.split_once("restart_in_ms=")).map(|(_, ms)| ms).collect();
    let pauses: Vec<&str> = pauses.iter().filter_map(|ms| ms.split_whitespace().next()).collect();
    assert_eq!(pauses.len(), 3, "{log}");
    assert_eq!(pauses[0], "0", "{log}");
    // One that has been up for a while is followed at once again.
    assert!(pauses[1..].iter().all(|pause| ["0", "50", "100"].contains(pause)), "{log}");
    assert_eq!(stand.end(Signal::SIGTERM), Some(0));
}

#[test]
fn both_signals_stop_both_processes_cleanly() {
    for (net, signal) in [(2, Signal::SIGTERM), (3, Signal::SIGINT)] {
        let mut stand = Stand::up(net, &[]);
        let children = ["signaling", "media"].map(|role| stand.child(role).expect("it runs"));
        assert!(stand.control().exists());
        assert_eq!(stand.end(signal), Some(0), "{}", stand.log());
        assert!(children.iter().all(|pid| !is_running(*pid)), "a child is left");
        assert!(!stand.control().exists(), "the control socket is left");
        assert_eq!(stand.log().matches("process stopped").count(), 2, "{}", stand.log());
    }
}

#[test]
fn sighup_reaches_signaling_and_ends_nothing() {
    let mut stand = Stand::up(31, &[]);
    stand.until_connected();
    let children = ["signaling", "media"].map(|role| stand.child(role).expect("it runs"));
    nix::sys::signal::kill(stand.pid(), Signal::SIGHUP).expect("it runs");
    stand.until("signaling was told", || stand.log().contains("certificates are read again"));
    assert_eq!(["signaling", "media"].map(|role| stand.child(role)), children.map(Some));
    assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());
}

#[test]
fn children_end_with_a_parent_that_was_killed() {
    let mut stand = Stand::up(4, &[]);
    let children = ["signaling", "media"].map(|role| stand.child(role).expect("it runs"));
    assert_eq!(stand.end(Signal::SIGKILL), None);
    stand.until("both children are gone", || children.iter().all(|pid| !is_running(*pid)));
}

#[test]
fn up_gives_up_on_what_cannot_start() {
    // Another process has the SIP address.
    let taken = Stand::up(5, &[]);
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("second.toml");
    let text = std::fs::read_to_string(taken.folder.path().join("up.toml")).expect("the first one's");
    let text = text.replace("media.sock", "second.sock").replace(":9060", ":9062").replace(":9061", ":9063");
    // Media ports of its own: where the first one has a socket for all of them, they are not shared.
    let text =
        text.replace("first_port = 20000", "first_port = 30000").replace("last_port = 29999", "last_port = 39999");
    std::fs::write(&config, text).expect("written");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_moorline"))
        .arg("up")
        .arg("--config")
        .arg(&config)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("127.98.5.1:5060") && said.contains("another process has it"), "{said}");
    assert!(said.contains("the signaling process did not start"), "{said}");
}

#[test]
fn health_is_the_connection_to_media() {
    let get = |stand: &Stand| {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(stand.address(1, 9060)).ok()?;
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    let stand = Stand::start("signaling", 6, &[]);
    stand.until("it is unhealthy without media", || get(&stand).is_some_and(|answer| answer.contains(" 503 ")));
    assert!(get(&stand).is_some_and(|answer| answer.contains("media")), "the answer says why");
    let stand = Stand::up(7, &[]);
    assert!(get(&stand).is_some_and(|answer| answer.contains(" 200 ")));
}
