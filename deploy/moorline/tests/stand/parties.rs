//! Parties that say what a test wants of them, and no more: callers on one socket, and those called on another.

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Stand;

/// What a caller knows of its call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// The statuses that it has heard, in their order.
    pub(crate) statuses: Vec<u16>,
    /// The other tag, once it was answered.
    pub(crate) tag: Option<String>,
    /// Its BYE was answered.
    pub(crate) hung_up: bool,
    /// The last request inside the call that was answered with 200, by its CSeq.
    pub(crate) inside: u32,
}

/// The callers: one socket, and what came of each call by its Call-ID.
pub(crate) struct Callers {
    socket: UdpSocket,
    sbc: String,
    own: String,
    pub(crate) seen: Mutex<BTreeMap<String, Seen>>,
}

/// A socket of a party.
pub(crate) fn socket(stand: &Stand, host: u8) -> UdpSocket {
    let socket = UdpSocket::bind(stand.address(host, 5060)).expect("bound");
    socket.set_read_timeout(Some(Duration::from_millis(50))).expect("set");
    socket
}

impl Callers {
    pub(crate) fn new(stand: &Stand) -> Callers {
        let (sbc, own) = (stand.address(1, 5060).to_string(), stand.address(2, 5060).to_string());
        Callers { socket: socket(stand, 2), sbc, own, seen: Mutex::default() }
    }

    /// Places a call.
    pub(crate) fn call(&self, call: &str, called: &str) {
        self.seen.lock().expect("no panic").insert(call.to_owned(), Seen::default());
        self.request("INVITE", 1, call, called, None);
    }

    pub(crate) fn request(&self, method: &str, cseq: u32, call: &str, called: &str, tag: Option<&str>) {
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
    pub(crate) fn listen(&self, over: &AtomicBool) {
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
            let number: u32 = cseq.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or_default();
            if number > 1 && !cseq.ends_with("BYE") {
                if cseq.ends_with("INVITE") && status >= 200 {
                    self.request("ACK", number, &call, "5550", tag.as_deref());
                }
                if status == 200 {
                    known.inside = known.inside.max(number);
                }
            } else if cseq.ends_with("INVITE") {
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
    pub(crate) fn up(&self) -> Vec<(String, String)> {
        let seen = self.seen.lock().expect("no panic");
        let up = seen.iter().filter(|(_, known)| !known.hung_up);
        up.filter_map(|(call, known)| Some((call.clone(), known.tag.clone()?))).collect()
    }
}

pub(crate) fn sdp(at: &str) -> String {
    let ip = at.split(':').next().unwrap_or_default();
    format!("v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n")
}

pub(crate) fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let value = |line: &'a str| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name));
    text.lines().find_map(value).map(|(_, value)| value.trim()).unwrap_or_default()
}

pub(crate) fn respond(request: &str, status: &str, body: &str, contact: &str) -> String {
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
pub(crate) fn serve(socket: &UdpSocket, own: &str, over: &AtomicBool) {
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
