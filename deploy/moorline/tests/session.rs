//! `moorline session open`: sessions by hand, relaying until they are closed.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod stand;

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stand::Stand;

/// Opens sessions and reads their addresses.
fn open(stand: &Stand, arguments: &[&str], count: usize) -> (Child, Vec<(SocketAddr, SocketAddr)>) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_moorline"))
        .args(["session", "open", "--control"])
        .arg(stand.control())
        .args(["--count", &count.to_string()])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let output = BufReader::new(process.stdout.take().expect("piped"));
    let line = |line: std::io::Result<String>| {
        let line = line.expect("a line");
        let (a, b) = line.split_once(' ').expect("two addresses");
        (a.parse().expect("an address"), b.parse().expect("an address"))
    };
    let relays: Vec<_> = output.lines().take(count).map(line).collect();
    assert_eq!(relays.len(), count, "{}", stand.log());
    (process, relays)
}

fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend(u32::from(sequence).wrapping_mul(160).to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    packet.extend([0x55; 160]);
    packet
}

#[test]
fn sessions_relay_until_standard_input_ends() {
    let stand = Stand::start("media", 40, &[]);
    stand.until("media answers", || stand.media().is_some());
    let [a, b] = [10, 11].map(|host| UdpSocket::bind(stand.address(host, 0)).expect("an address"));
    let far = [&a, &b].map(|socket| socket.local_addr().expect("bound").to_string());
    let (mut process, relays) = open(&stand, &["--a", &far[0], "--b", &far[1]], 100);
    assert_eq!(stand.media_value("moorline_media_sessions"), Some(100.0));
    let distinct: std::collections::BTreeSet<_> = relays.iter().flat_map(|(a, b)| [a, b]).collect();
    assert_eq!(distinct.len(), 200, "every leg has an address of its own");

    for (index, (relay_a, relay_b)) in relays.iter().enumerate() {
        let packet = rtp(u16::try_from(index).expect("small"));
        a.send_to(&packet, relay_a).expect("sent");
        let mut received = [0; 2048];
        b.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        let (length, source) = b.recv_from(&mut received).expect("relayed");
        assert_eq!((&received[..length], source), (&packet[..], *relay_b));
    }
    drop(process.stdin.take());
    assert!(process.wait().expect("it ends").success());
    assert_eq!(stand.media_value("moorline_media_sessions"), Some(0.0));
}

#[test]
fn increment_ports_gives_each_session_its_own_far_end() {
    let stand = Stand::start("media", 41, &[]);
    stand.until("media answers", || stand.media().is_some());
    let far = [stand.address(10, 30_000), stand.address(11, 30_000)];
    let ends: Vec<UdpSocket> =
        (0..3).map(|n| UdpSocket::bind(stand.address(11, 30_000 + 2 * n)).expect("an address")).collect();
    let arguments = ["--a", &far[0].to_string(), "--b", &far[1].to_string(), "--increment-ports", "--range", "edge"];
    let (mut process, relays) = open(&stand, &arguments, 3);
    for (n, (end, (relay_a, _))) in ends.iter().zip(&relays).enumerate() {
        let port = 30_000 + 2 * u16::try_from(n).expect("small");
        let a = UdpSocket::bind(stand.address(10, port)).expect("an address");
        a.send_to(&rtp(1), relay_a).expect("sent");
        end.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
        let mut received = [0; 2048];
        assert_eq!(end.recv(&mut received).expect("relayed"), rtp(1).len());
    }
    kill(Pid::from_raw(i32::try_from(process.id()).expect("a pid")), Signal::SIGTERM).expect("signalled");
    assert!(process.wait().expect("it ends").success());
    assert_eq!(stand.media_value("moorline_media_sessions"), Some(0.0));
}

#[test]
fn sessions_of_a_killed_client_end_by_their_lease() {
    let stand = Stand::start("media", 42, &[]);
    stand.until("media answers", || stand.media().is_some());
    let (mut process, _) = open(&stand, &["--a", "127.98.42.10:4000", "--b", "127.98.42.11:4000"], 5);
    assert_eq!(stand.media_value("moorline_media_sessions"), Some(5.0));
    process.kill().expect("killed");
    process.wait().expect("it ends");
    stand.until("the lease is over", || stand.media_value("moorline_media_sessions") == Some(0.0));
}

#[test]
fn a_range_that_is_not_there_is_named() {
    let stand = Stand::start("media", 43, &[]);
    stand.until("media answers", || stand.media().is_some());
    let output = Command::new(env!("CARGO_BIN_EXE_moorline"))
        .args(["session", "open", "--a", "127.0.0.1:4000", "--b", "127.0.0.1:4002", "--range", "nowhere", "--control"])
        .arg(stand.control())
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("nowhere"), "{said}");
    assert_eq!(stand.media_value("moorline_media_sessions"), Some(0.0), "nothing is left of a failed attempt");
}

#[test]
fn open_sessions_are_listed_and_shown() {
    let stand = Stand::start("media", 44, &[]);
    stand.until("media answers", || stand.media().is_some());
    let [a, b] = [10, 11].map(|host| UdpSocket::bind(stand.address(host, 0)).expect("an address"));
    let far = [&a, &b].map(|socket| socket.local_addr().expect("bound").to_string());
    let (mut process, relays) = open(&stand, &["--a", &far[0], "--b", &far[1]], 2);
    b.set_read_timeout(Some(Duration::from_secs(5))).expect("set");
    for sequence in [1, 2, 2, 5] {
        a.send_to(&rtp(sequence), relays[0].0).expect("sent");
        b.recv_from(&mut [0; 2048]).expect("relayed");
    }
    let session = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_moorline"));
        let output = command.arg("session").args(arguments).arg("--control").arg(stand.control()).output();
        let output = output.expect("it runs");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (done, listed) = session(&["list"]);
    assert!(done, "{listed}");
    assert_eq!(listed.lines().count(), 2, "{listed}");
    let line = listed.lines().find(|line| line.contains(&relays[0].0.to_string())).expect("the first session");
    assert!(line.contains(&relays[0].1.to_string()) && line.ends_with(" owned"), "{line}");
    let id = line.split(' ').next().expect("an identifier");
    let (done, listed) = session(&["list", "--json"]);
    let start = format!("{{\"session\":\"{id}\",\"legs\":[[{{\"rtp\":\"{}\",", relays[0].0);
    assert!(done && listed.lines().count() == 2 && listed.lines().any(|line| line.starts_with(&start)), "{listed}");

    let (done, shown) = session(&["show", id]);
    assert!(done, "{shown}");
    for expected in
        [&format!("leg 0 stream 0 from {}, PCMU (0)", far[0]), "4 packets", "2 (33.33 %); 0 reordered, 1 repeated"]
    {
        assert!(shown.contains(expected), "{shown}");
    }
    let (done, json) = session(&["show", id, "--json"]);
    assert!(done && json.contains("\"codec\":\"PCMU\"") && json.contains("\"lost\":2,"), "{json}");
    let (done, said) = session(&["show", "ffff000000000000000000"]);
    assert!(!done && said.contains("ffff000000000000000000"), "{said}");

    drop(process.stdin.take());
    assert!(process.wait().expect("it ends").success());
    let received = stand.media().expect("it answers").value("moorline_media_loss_ratio_count", &[("range", "edge")]);
    assert_eq!(received, Some(1.0), "one stream of the four has heard its party");
}
