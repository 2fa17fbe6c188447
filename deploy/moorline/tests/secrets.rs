//! Secret called prefixes, in the running processes: after calls of every kind nothing that anybody can read shows one.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod stand;

use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use stand::{PATIENCE, Stand};

/// What callers must show, and what the called side is shown. So long that no number, time or port holds them by chance.
const RECEIVED: &str = "771240963518";
const SENT: &str = "889917706432";

/// What it is shown later.
const OTHER: &str = "557193046620";

/// A party with a socket of its own.
struct Party {
    socket: UdpSocket,
    moorline: SocketAddr,
}

impl Party {
    fn new(stand: &Stand, host: u8, port: u16) -> Party {
        let socket = UdpSocket::bind(stand.address(host, port)).expect("an address");
        socket.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
        Party { socket, moorline: stand.address(1, 5060) }
    }

    fn at(&self) -> SocketAddr {
        self.socket.local_addr().expect("bound")
    }

    fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.moorline).expect("sent");
    }

    /// The next message that starts so; what comes before it is passed over.
    fn expect(&self, start: &str, stand: &Stand) -> String {
        let deadline = Instant::now() + PATIENCE;
        let mut bytes = [0; 4096];
        loop {
            if let Ok(length) = self.socket.recv(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if text.starts_with(start) {
                    return text;
                }
            }
            assert!(Instant::now() < deadline, "no {start} came; the log:\n{}", stand.log());
        }
    }

    fn sdp(&self) -> String {
        let ip = self.at().ip();
        format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n")
    }

    fn request(&self, method: &str, called: &str, call: &str, cseq: u32, tag: &str, body: &str) -> String {
        let (at, moorline) = (self.at(), self.moorline);
        let tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let invite = if method == "CANCEL" || cseq == 1 { "INVITE" } else { method };
        format!(
            "{method} sip:{called}@{moorline} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{call}-{invite}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:2001@{at}>;tag=caller\r\nTo: <sip:{called}@{moorline}>{tag}\r\n\
             Call-ID: {call}@{at}\r\nCSeq: {cseq} {method}\r\nContact: <sip:2001@{at}>\r\n\
             Diversion: <sip:{called}@{moorline}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn answer(&self, request: &str, status: &str, contact: &str, body: &str) -> String {
        let header = |name: &str| {
            let prefix = format!("{name}: ");
            request.lines().find_map(|line| line.strip_prefix(&prefix)).expect("a header").to_owned()
        };
        let to = header("To");
        let to = if to.contains(";tag=") { to } else { format!("{to};tag=callee") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:{contact}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            header("Via"),
            header("From"),
            header("Call-ID"),
            header("CSeq"),
            body.len()
        )
    }
}

fn tag(message: &str) -> String {
    let to = message.lines().find(|line| line.starts_with("To: ")).expect("a To");
    to.split(";tag=").nth(1).expect("a tag").to_owned()
}

/// The stand, with its prefixes in a folder of their own.
fn start(net: u8, secrets: &Path) -> Stand {
    let file = |name: &str, text: &str| {
        let path = secrets.join(name);
        std::fs::write(&path, format!("{text}\n")).expect("written");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("permitted");
        path
    };
    let (received, sent) = (file("received", RECEIVED), file("sent", SENT));
    Stand::up_with(net, |text, _| {
        let caller = format!("sources = [\"127.98.{net}.2/32\"]");
        let callee = format!("targets = [\"127.98.{net}.3:5060\"]");
        assert!(text.contains(&caller) && text.contains(&callee), "{text}");
        text.replacen(&caller, &format!("{caller}\nsecret_prefix = {{ received_file = {received:?} }}"), 1).replacen(
            &callee,
            &format!("{callee}\nredirects = \"pass\"\nsecret_prefix = {{ sent_file = {sent:?} }}"),
            1,
        )
    })
}

fn moorline(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_moorline")).args(arguments).output().expect("it runs");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[track_caller]
fn shows_nothing(what: &str, text: &str) {
    assert!(!text.contains(RECEIVED) && !text.contains(SENT), "{what}:\n{text}");
}

/// Everything that can be read of the running processes, which have so many media sessions open.
fn nothing_can_be_read(stand: &Stand, sessions: usize) {
    for (host, port) in [(1, 9060), (1, 9061)] {
        for path in ["/metrics", "/healthz"] {
            let page = page(stand.address(host, port), path);
            assert!(page.starts_with("HTTP/1.1 200"), "{page}");
            shows_nothing(path, &page);
        }
    }
    let control = stand.control();
    let control = control.to_str().expect("a path");
    let list = moorline(&["session", "list", "--control", control, "--json"]);
    shows_nothing("session list", &list);
    assert_eq!(list.lines().filter(|line| line.starts_with("{\"session\":\"")).count(), sessions, "{list}");
    for id in list.split('"').filter(|word| word.len() == 22 && word.bytes().all(|byte| byte.is_ascii_alphanumeric())) {
        let shown = moorline(&["session", "show", id, "--control", control, "--json"]);
        assert!(shown.starts_with("{\"open_ms\":"), "{shown}");
        shows_nothing("session show", &shown);
    }
    let socket = stand.folder.path().join("signaling.sock");
    let socket = socket.to_str().expect("a path");
    for what in ["status", "trunks", "calls"] {
        let shown = moorline(&[what, "--json", "--socket", socket]);
        assert!(shown.starts_with('{'), "{shown}");
        shows_nothing(what, &shown);
    }
    let calls = moorline(&["calls", "--json", "--socket", socket]);
    for id in calls.split('"').filter(|word| word.len() == 22 && word.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    {
        shows_nothing("call", &moorline(&["call", id, "--json", "--socket", socket]));
    }
    let config = stand.folder.path().join("up.toml");
    let check = moorline(&["check", config.to_str().expect("a path")]);
    assert!(check.contains("no faults"), "{check}");
    shows_nothing("check", &check);
    for entry in std::fs::read_dir(stand.folder.path()).expect("a folder").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            let text = std::fs::read(entry.path()).expect("read");
            shows_nothing(&entry.path().display().to_string(), &String::from_utf8_lossy(&text));
        }
    }
}

fn page(at: SocketAddr, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(at).expect("connected");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("answered");
    text
}

#[test]
fn calls_behind_secret_prefixes_leave_no_trace_of_them() {
    let secrets = tempfile::tempdir().expect("a folder");
    let stand = start(71, secrets.path());
    let (caller, callee) = (Party::new(&stand, 2, 0), Party::new(&stand, 3, 5060));
    let called = format!("{RECEIVED}5551000");

    // One without the prefix, and one with another.
    for (call, called) in [("bare", "5551000".to_owned()), ("other", format!("{SENT}5551000"))] {
        caller.send(&caller.request("INVITE", &called, call, 1, "", &caller.sdp()));
        let refused = caller.expect("SIP/2.0 403", &stand);
        caller.send(&caller.request("ACK", &called, call, 1, &tag(&refused), ""));
    }
    // One that shows it in To alone.
    let elsewhere = caller.request("INVITE", "5551000", "elsewhere", 1, "", &caller.sdp());
    caller.send(&elsewhere.replace("To: <sip:5551000@", &format!("To: <sip:{called}@")));
    shows_nothing("403", &caller.expect("SIP/2.0 403", &stand));
    assert!(stand.signaling_value("moorline_sip_without_prefix_total") >= Some(3.0));

    // One that is cancelled, and one that is redirected.
    caller.send(&caller.request("INVITE", &called, "cancelled", 1, "", &caller.sdp()));
    let invite = callee.expect("INVITE", &stand);
    callee.send(&callee.answer(&invite, "180 Ringing", "x@127.0.0.1", ""));
    shows_nothing("180", &caller.expect("SIP/2.0 180", &stand));
    caller.send(&caller.request("CANCEL", &called, "cancelled", 1, "", ""));
    let cancel = callee.expect(&format!("CANCEL sip:{SENT}5551000@"), &stand);
    callee.send(&callee.answer(&cancel, "200 OK", "x@127.0.0.1", ""));
    callee.send(&callee.answer(&invite, "487 Request Terminated", "x@127.0.0.1", ""));
    shows_nothing("487", &caller.expect("SIP/2.0 487", &stand));
    caller.send(&caller.request("INVITE", &called, "moved", 1, "", &caller.sdp()));
    let invite = callee.expect("INVITE", &stand);
    callee.send(&callee.answer(&invite, &format!("302 To {SENT}5552"), &format!("{SENT}5552@127.0.0.1"), ""));
    let moved = caller.expect("SIP/2.0 302", &stand);
    assert!(moved.contains("Contact: <sip:5552@"), "{moved}");
    shows_nothing("302", &moved);

    // One that is answered, outlives a restart of signaling, and is hung up.
    caller.send(&caller.request("INVITE", &called, "talk", 1, "", &caller.sdp()));
    let invite = callee.expect(&format!("INVITE sip:{SENT}5551000@"), &stand);
    assert!(!invite.contains(RECEIVED), "{invite}");
    let contact = format!("{SENT}5551000@{}", callee.at());
    callee.send(&callee.answer(&invite, "200 OK", &contact, &callee.sdp()));
    let ok = caller.expect("SIP/2.0 200", &stand);
    shows_nothing("200", &ok);
    caller.send(&caller.request("ACK", &called, "talk", 1, &tag(&ok), "").replace("-talk-INVITE", "-talk-ACK"));
    callee.expect(&format!("ACK sip:{contact} SIP/2.0"), &stand);
    nothing_can_be_read(&stand, 1);
    stand.kill_and_await_successor("signaling");
    stand.until("the call is back", || stand.signaling_value("moorline_sip_restored_total") == Some(1.0));
    nothing_can_be_read(&stand, 1);
    caller.send(&caller.request("BYE", &called, "talk", 2, &tag(&ok), ""));
    shows_nothing("200", &caller.expect("SIP/2.0 200", &stand));
    let bye = callee.expect(&format!("BYE sip:{contact} SIP/2.0"), &stand);
    callee.send(&callee.answer(&bye, "200 OK", &contact, ""));
    stand.until_nothing_is_left();
    nothing_can_be_read(&stand, 0);

    // Another prefix is agreed on, told of, and taken back.
    let config = stand.folder.path().join("up.toml");
    let config = config.to_str().expect("a path");
    let file = secrets.path().join("sent");
    for (prefix, arguments) in
        [(OTHER, &["reload", "--dry-run"][..]), (OTHER, &["reload"]), (SENT, &["rollback", "--json"])]
    {
        std::fs::write(&file, prefix).expect("written");
        let told = moorline(&[arguments, &["--config", config]].concat());
        assert!(told.contains("another content"), "{told}");
        assert!(!told.contains(OTHER), "{told}");
        shows_nothing("reload", &told);
    }
    std::fs::write(&file, "!").expect("written");
    let told = moorline(&["reload", "--config", config]);
    assert!(told.contains("secret_prefix") && told.contains("refused"), "{told}");
    std::fs::write(&file, SENT).expect("written");
    nothing_can_be_read(&stand, 0);
}

#[test]
fn faults_of_a_configuration_do_not_show_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = folder.path().join("open");
    std::fs::write(&open, RECEIVED).expect("written");
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o644)).expect("permitted");
    let open = format!("sent_file = {open:?}");
    for written in [
        &format!("sent = {RECEIVED}"),
        &format!("sent = [{RECEIVED}]"),
        &format!("sent = \"{RECEIVED} \""),
        &format!("sent = \"{RECEIVED}\", colour = 1"),
        &format!("sent = \"{RECEIVED}\", without = \"{}\"", "never"),
        &format!("sent = \"{RECEIVED}"),
        &format!("sent = \"{RECEIVED}\", sent_file = \"/nowhere\""),
        &format!("sent_file = \"{RECEIVED}\""),
        &format!("\"{RECEIVED}\""),
        &RECEIVED.to_owned(),
        &open,
    ] {
        let path = folder.path().join("faulty.toml");
        let prefix = if written.contains('=') { format!("{{ {written} }}") } else { written.clone() };
        let text = format!(
            "[[signaling.trunks]]\nname = \"a\"\nlistener = \"local\"\nsources = [\"192.0.2.1/32\"]\n\
             secret_prefix = {prefix}\n"
        );
        std::fs::write(&path, text).expect("written");
        let check = moorline(&["check", path.to_str().expect("a path")]);
        assert!(check.contains("fault"), "{check}");
        shows_nothing(written, &check);
    }
}
