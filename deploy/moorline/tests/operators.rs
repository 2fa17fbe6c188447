//! What operators ask of both processes while calls are up, and do to them.
#![cfg(test)]

mod stand;

use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use moorline_bench::load;
use serde_json::Value;
use stand::{PATIENCE, Stand};

fn moorline(stand: &Stand, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moorline"));
    command.args(arguments).arg("--socket").arg(stand.folder.path().join("signaling.sock"));
    command.output().expect("the executable runs")
}

/// What a command prints, which must succeed.
#[track_caller]
fn said(stand: &Stand, arguments: &[&str]) -> String {
    let output = moorline(stand, arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// The same as JSON: the answer within, whatever it is called.
#[track_caller]
fn json(stand: &Stand, arguments: &[&str]) -> Value {
    let text = said(stand, &[arguments, &["--json"]].concat());
    let answer: Value = serde_json::from_str(&text).expect("one line of JSON");
    answer.as_object().and_then(|answer| answer.values().next().cloned()).expect("an answer")
}

/// Asks over HTTP: the status and the body.
fn asked(mut stream: impl Read + Write, method: &str, path: &str, headers: &str) -> (u16, Value) {
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Connection: close\r\n\r\n").expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    let (head, body) = text.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, serde_json::from_str(body).expect("JSON"))
}

/// What Moorline says to an OPTIONS of the called side.
fn pinged(stand: &Stand) -> String {
    let socket = UdpSocket::bind(stand.address(3, 0)).expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("set");
    let (own, sbc) = (socket.local_addr().expect("bound"), stand.address(1, 5060));
    let ping = format!(
        "OPTIONS sip:{sbc} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKping{}\r\nMax-Forwards: 70\r\n\
         From: <sip:{own}>;tag=1\r\nTo: <sip:{sbc}>\r\nCall-ID: ping{}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n",
        own.port(),
        own.port()
    );
    socket.send_to(ping.as_bytes(), sbc).expect("sent");
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer).expect("an answer");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[test]
fn calls_are_shown_and_ended_and_new_ones_kept_away() {
    let secrets = tempfile::tempdir().expect("a folder");
    let token = secrets.path().join("token");
    std::fs::write(&token, "0123456789abcdef\n").expect("written");
    std::fs::set_permissions(&token, PermissionsExt::from_mode(0o600)).expect("permitted");
    let stand = Stand::up(28, &[("lease_s = 10", &format!("lease_s = 10\napi = {{ token_file = {token:?} }}"))]);
    let plan = stand.plan(4, Duration::from_secs(12));
    thread::scope(|scope| {
        let calls = scope.spawn(|| load::run(&plan, &mut |_| {}).expect("the load runs"));
        let up = || json(&stand, &["calls", "--state", "up"])["calls"].as_array().cloned().unwrap_or_default();
        stand.until("four calls are up", || up().len() == 4);

        let status = json(&stand, &["status"]);
        assert_eq!((&status["calls"]["now"], &status["media_connected"]), (&Value::from(4), &Value::from(true)));
        assert!(said(&stand, &["status"]).contains("new calls     yes"));
        let trunks = json(&stand, &["trunks"]);
        assert_eq!((&trunks[0]["calls_in"], &trunks[1]["calls_out"]), (&Value::from(4), &Value::from(4)));
        assert!(said(&stand, &["trunks", "callee"]).contains("127.98.28.3:5060"));

        let set = json(&stand, &["limits", "set", "caller", "inbound.calls=50"]);
        assert_eq!((&set["kept"], &set["replaced"]), (&Value::from(false), &Value::from(false)));
        assert_eq!(json(&stand, &["blacklist", "add", "--called", "0900"])["replaced"], false);
        assert_eq!(json(&stand, &["blacklist", "list"])["rows"][0]["called"], "0900");
        assert_eq!(
            said(&stand, &["blacklist", "remove", "--called", "0900"]),
            "removed; it is forgotten at a restart: set `signaling.state`\n"
        );

        let page = json(&stand, &["calls", "--limit", "3"]);
        assert_eq!(page["calls"].as_array().map(Vec::len), Some(3));
        let next = page["next"].as_str().expect("there is more");
        let rest = json(&stand, &["calls", "--after", next]);
        assert_eq!((rest["calls"].as_array().map(Vec::len), &rest["next"]), (Some(1), &Value::Null));
        assert_eq!(said(&stand, &["calls", "--all"]).lines().count(), 5, "a head and four calls");

        let id = page["calls"][0]["call"].as_str().expect("a name");
        let socket = || UnixStream::connect(stand.folder.path().join("signaling.sock")).expect("a connection");
        let tcp = || TcpStream::connect(stand.address(1, 9060)).expect("a connection");
        let over_http = asked(socket(), "GET", "/api/v1/calls?state=up&limit=3", "");
        assert_eq!((over_http.0, &over_http.1["calls"][0]["call"]), (200, &Value::from(id)));
        assert_eq!(asked(socket(), "GET", "/api/v1/calls/0", "").0, 400);
        assert_eq!(asked(socket(), "POST", "/api/v1/status", "").0, 405);
        assert_eq!(asked(socket(), "GET", "/openapi.json", "").1["openapi"], "3.1.0");
        assert_eq!(asked(tcp(), "GET", "/api/v1/calls", "").0, 401, "no token");
        let token = "Authorization: Bearer 0123456789abcdef\r\n";
        assert_eq!(asked(tcp(), "GET", "/api/v1/status", token).1["calls"]["now"], 4);
        assert_eq!(asked(tcp(), "DELETE", &format!("/api/v1/calls/{id}"), token).0, 403, "no changes");
        let packets = || {
            let call = json(&stand, &["call", id]);
            assert_eq!(call["record"]["caller"]["trunk"], "caller", "{call}");
            [0, 1].map(|leg| call["media"][leg][0]["packets"].as_u64().unwrap_or_default())
        };
        stand.until("media flow both ways", || packets().iter().all(|packets| *packets > 0));
        let shown = said(&stand, &["call", id]);
        assert!(shown.contains("caller's leg: trunk caller at 127.98.28.2"), "{shown}");

        let second = page["calls"][1]["call"].as_str().expect("a name");
        assert_eq!(asked(socket(), "DELETE", &format!("/api/v1/calls/{second}"), "").1["call"], second);
        assert_eq!(said(&stand, &["hangup", id]), "ended\n");
        stand.until("it is not up any more", || up().len() == 2);
        let again = moorline(&stand, &["hangup", id]);
        assert_eq!(again.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&again.stderr).contains("there is no call"));

        assert_eq!(moorline(&stand, &["drain", "--wait", "0"]).status.code(), Some(3), "calls are left");
        assert!(said(&stand, &["status"]).contains("no, draining"));
        assert!(pinged(&stand).starts_with("SIP/2.0 503"), "OPTIONS find out");
        assert!(said(&stand, &["drain", "--wait", "20"]).contains("0 calls are left"));
        assert!(said(&stand, &["drain", "--off"]).starts_with("new calls are taken;"));
        drop(calls.join().expect("the load ends"));
    });
    let page = stand.signaling().expect("metrics");
    assert_eq!(page.value("moorline_sip_outcomes_total", &[("outcome", "operator_hung_up")]), Some(2.0));
    assert!(pinged(&stand).starts_with("SIP/2.0 200"));
    stand.until_nothing_is_left();
}
