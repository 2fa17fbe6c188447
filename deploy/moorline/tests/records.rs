//! Signaling is killed again and again while calls are in every phase: of each attempt that its caller has heard of there
//! is one record, and never two.
#![cfg(test)]

mod stand;

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use stand::Stand;

/// How often signaling is killed.
const KILLS: u32 = 8;

/// How long a caller waits before it says something again.
const AGAIN: Duration = Duration::from_millis(100);

/// What a caller knows of its call.
#[derive(Debug, Clone, Default)]
struct Seen {
    /// The statuses that it has heard, in their order.
    statuses: Vec<u16>,
    /// The other tag, once it was answered.
    tag: Option<String>,
    /// Its BYE was answered.
    hung_up: bool,
}

/// The callers: one socket, and what came of each call by its Call-ID.
struct Callers {
    socket: UdpSocket,
    sbc: String,
    own: String,
    seen: Mutex<BTreeMap<String, Seen>>,
}

impl Callers {
    fn request(&self, method: &str, cseq: u32, call: &str, called: &str, tag: Option<&str>) {
        let Callers { sbc, own, .. } = self;
        let to = tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let (kind, body) = match method {
            "INVITE" => ("Content-Type: application/sdp\r\n", sdp(own)),
            _ => ("", String::new()),
        };
        let hops = if called.starts_with('9') { 0 } else { 70 };
        let text = format!(
            "{method} sip:{called}@{sbc} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{call}{cseq}{method}\r\n\
             Max-Forwards: {hops}\r\nFrom: <sip:2000@{own}>;tag={call}\r\nTo: <sip:{called}@{sbc}>{to}\r\n\
             Call-ID: {call}\r\nCSeq: {cseq} {method}\r\nContact: <sip:2000@{own}>\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        // While signaling is away, nobody listens.
        let _refused = self.socket.send_to(text.as_bytes(), sbc);
    }

    /// Hears answers, and acknowledges those that are final.
    fn listen(&self, over: &AtomicBool) {
        let mut buffer = [0; 4096];
        while !over.load(Ordering::Relaxed) {
            let Ok(length) = self.socket.recv(&mut buffer) else { continue };
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.starts_with("BYE ") {
                let _sent = self.socket.send_to(respond(&text, "200 OK", "", &self.own).as_bytes(), &self.sbc);
                continue;
            }
            let (call, cseq) = (header(&text, "Call-ID").to_owned(), header(&text, "CSeq").to_owned());
            let status: u16 = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
            let tag = header(&text, "To").split(";tag=").nth(1).map(str::to_owned);
            let mut seen = self.seen.lock().expect("no panic");
            let Some(known) = seen.get_mut(&call) else { continue };
            if cseq.ends_with("INVITE") {
                known.statuses.push(status);
                if status >= 200 {
                    self.request("ACK", 1, &call, "5550", tag.as_deref());
                }
                if status == 200 {
                    known.tag = tag;
                }
            } else if cseq.ends_with("BYE") && status >= 200 {
                known.hung_up = true;
            }
        }
    }

    /// Calls that are up.
    fn up(&self) -> Vec<(String, String)> {
        let seen = self.seen.lock().expect("no panic");
        let up = seen.iter().filter(|(_, known)| !known.hung_up);
        up.filter_map(|(call, known)| Some((call.clone(), known.tag.clone()?))).collect()
    }
}

fn sdp(at: &str) -> String {
    let ip = at.split(':').next().unwrap_or_default();
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n")
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name));
    text.lines().find_map(value).map(|(_, value)| value.trim()).unwrap_or_default()
}

fn respond(request: &str, status: &str, body: &str, contact: &str) -> String {
    let to = header(request, "To");
    let tag = if to.contains(";tag=") { "" } else { ";tag=called" };
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "SIP/2.0 {status}\r\nVia: {}\r\nFrom: {}\r\nTo: {to}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
         Contact: <sip:{contact}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        header(request, "Via"),
        header(request, "From"),
        header(request, "Call-ID"),
        header(request, "CSeq"),
        body.len()
    )
}

/// Those called: who is called 5551 rings for ever, 5552 is busy, and everybody else answers.
fn serve(socket: &UdpSocket, own: &str, over: &AtomicBool) {
    let mut buffer = [0; 4096];
    while !over.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let reply = |status: &str, body: &str| {
            let _refused = socket.send_to(respond(&text, status, body, own).as_bytes(), from);
        };
        let method = text.split(' ').next().unwrap_or_default();
        match (method, text.split("sip:555").nth(1).and_then(|rest| rest.chars().next())) {
            ("INVITE", Some('1')) => reply("180 Ringing", ""),
            ("INVITE", Some('2')) => reply("486 Busy Here", ""),
            ("INVITE", _) => {
                reply("180 Ringing", "");
                reply("200 OK", &sdp(own));
            }
            ("BYE" | "CANCEL" | "OPTIONS", _) => reply("200 OK", ""),
            _ => {}
        }
    }
}

#[test]
fn signaling_killed_again_and_again_writes_down_each_call_once() {
    let state = tempfile::tempdir().expect("a folder");
    let stand = Stand::up_with(70, |text, _| {
        let text = text.replacen("[signaling]\n", &format!("[signaling]\nstate = {:?}\n", state.path()), 1);
        text.replacen("[media]\n", "[signaling.cdr.json]\n[signaling.cdr.csv]\n[media]\n", 1)
    });
    let bind = |host| {
        let socket = UdpSocket::bind(stand.address(host, 5060)).expect("bound");
        socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
        socket
    };
    let (sbc, own) = (stand.address(1, 5060).to_string(), stand.address(2, 5060).to_string());
    let callers = Arc::new(Callers { socket: bind(2), sbc, own, seen: Mutex::default() });
    let (called, called_at) = (bind(3), stand.address(3, 5060).to_string());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| callers.listen(&over));
        scope.spawn(|| serve(&called, &called_at, &over));
        let mut number = 0;
        for kill in 0..KILLS {
            for step in 0..60 {
                let call = format!("kill{kill}call{number}");
                number += 1;
                callers.seen.lock().expect("no panic").insert(call.clone(), Seen::default());
                let called = ["5550", "5551", "5552", "5550", "9999"][step % 5];
                callers.request("INVITE", 1, &call, called, None);
                // Every third call that is up ends.
                for (call, tag) in callers.up().into_iter().step_by(3).take(2) {
                    callers.request("BYE", 2, &call, "5550", Some(&tag));
                }
                thread::sleep(Duration::from_millis(5));
                // In the middle of all this, a little later each time.
                if step == 30 + kill as usize * 3 {
                    stand.kill_and_await_successor("signaling");
                    stand.until_connected();
                }
            }
        }
        // Those that are left hang up.
        stand.until("all calls have ended", || {
            for (call, tag) in callers.up() {
                callers.request("BYE", 2, &call, "5550", Some(&tag));
            }
            thread::sleep(AGAIN);
            callers.up().is_empty()
        });
        // What rang is cancelled with its process: a last kill, so that nothing has to time out.
        stand.kill_and_await_successor("signaling");
        stand.until_nothing_is_left();
        over.store(true, Ordering::Relaxed);
    });
    let mut stand = stand;
    assert_eq!(stand.end(Signal::SIGTERM), Some(0), "{}", stand.log());

    let text = std::fs::read_to_string(state.path().join("cdr/records.jsonl")).expect("records");
    let mut records: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("a record");
        assert!(ids.insert(record["id"].as_str().expect("an id").to_owned()), "two records: {line}");
        let call = record["caller"]["call_id"].as_str().expect("a Call-ID").to_owned();
        assert!(records.insert(call, record.clone()).is_none(), "two records of one call: {line}");
    }
    let csv = std::fs::read_to_string(state.path().join("cdr/records.csv")).expect("records");
    let again: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap_or_default()).collect();
    assert_eq!(again.len(), ids.len(), "the other sink has other records");
    assert!(again.iter().all(|id| ids.contains(*id)));

    let seen = callers.seen.lock().expect("no panic");
    let (mut heard, mut causes) = (0, BTreeMap::<String, u32>::new());
    for (call, known) in seen.iter() {
        let Some(record) = records.get(call) else {
            assert!(known.statuses.is_empty(), "no record of {call}: {known:?}\n{}", stand.log());
            continue;
        };
        let cause = record["cause"].as_str().expect("a cause");
        *causes.entry(cause.to_owned()).or_default() += 1;
        heard += u32::from(!known.statuses.is_empty());
        if let Some(status) = known.statuses.iter().find(|status| **status >= 200) {
            assert_eq!(record["caller"]["code"].as_u64(), Some(u64::from(*status)), "{call}: {record}");
        }
        if known.tag.is_some() {
            assert!(record["answer"].is_string() && cause == "caller_hung_up", "{call}: {record}");
        }
    }
    assert!(heard > KILLS * 40, "most calls were heard of, not only {heard}: {causes:?}");
    for cause in ["caller_hung_up", "refused", "rejected", "signaling_lost"] {
        assert!(causes.get(cause).is_some_and(|count| *count > 0), "no call ended so: {cause}, {causes:?}");
    }
}
