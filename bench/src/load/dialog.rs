//! One side's view of a dialog (RFC 3261 section 12), and the messages it writes.

use std::net::SocketAddr;

use super::Transport;
use super::message::{Message, address_of, uri_of};

/// What a side needs to write requests and answers.
#[derive(Debug, Clone)]
pub(crate) struct Dialog {
    pub(crate) call_id: String,
    /// This side, as it stands in `From` of its requests.
    pub(crate) local: String,
    /// The other side, as it stands in `To` of this side's requests.
    pub(crate) remote: String,
    /// The other side's `Contact`.
    pub(crate) target: String,
    /// The route set, the first hop first.
    pub(crate) routes: Vec<String>,
    /// The number of this side's last request.
    pub(crate) cseq: u32,
    /// This side's own address.
    pub(crate) address: SocketAddr,
    /// What requests are sent over.
    pub(crate) transport: Transport,
    /// Where requests go if neither route nor target names an address.
    pub(crate) fallback: SocketAddr,
}

impl Dialog {
    /// Where this side's requests go.
    pub(crate) fn destination(&self) -> SocketAddr {
        let first = self.routes.first().map(|route| uri_of(route));
        address_of(first.as_deref().unwrap_or(&self.target)).unwrap_or(self.fallback)
    }

    /// Writes a request; `extra` are whole header lines.
    pub(crate) fn request(&self, method: &str, cseq: u32, branch: &str, extra: &str, body: &str) -> Vec<u8> {
        let Dialog { call_id, local, remote, target, address, transport, .. } = self;
        let (via, parameter) = (transport.in_via(), transport.in_uri());
        let routes: String = self.routes.iter().map(|route| format!("Route: {route}\r\n")).collect();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/{via} {address};branch=z9hG4bK{branch};rport\r\n{routes}\
             Max-Forwards: 70\r\nFrom: {local}\r\nTo: {remote}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:load@{address}{parameter}>\r\n{extra}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

/// Writes an answer to `request`, which came from `source`. `tag` completes a `To` without one.
pub(crate) fn answer(
    request: &Message,
    source: SocketAddr,
    status: (u16, &str),
    tag: &str,
    extra: &str,
    body: &str,
) -> Vec<u8> {
    let mut text = format!("SIP/2.0 {} {}\r\n", status.0, status.1);
    let mut first = true;
    for via in request.all("Via") {
        let via = if first { stamped(via, source) } else { via.to_owned() };
        first = false;
        text += &format!("Via: {via}\r\n");
    }
    for route in request.all("Record-Route") {
        text += &format!("Record-Route: {route}\r\n");
    }
    let to = request.header("To").unwrap_or_default();
    let tag = if to.contains(";tag=") || status.0 == 100 { String::new() } else { format!(";tag={tag}") };
    let [from, call_id, cseq] = ["From", "Call-ID", "CSeq"].map(|name| request.header(name).unwrap_or_default());
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    text += &format!(
        "From: {from}\r\nTo: {to}{tag}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n{extra}{kind}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    text.into_bytes()
}

/// Where an answer to `request` goes: back to where it came from if `rport` asks for it (RFC 3581), else
/// to the port that the `Via` names.
pub(crate) fn answer_address(request: &Message, source: SocketAddr) -> SocketAddr {
    let via = request.header("Via").unwrap_or_default();
    let top = via.split(',').next().unwrap_or_default();
    if top.split(';').any(|part| part.trim() == "rport") {
        return source;
    }
    let sent_by = top.split_whitespace().nth(1).and_then(|rest| rest.split(';').next());
    let port = sent_by.and_then(|host| address_of(&format!("sip:{host}"))).map_or(5060, |address| address.port());
    SocketAddr::new(source.ip(), port)
}

/// The value of `Via` with its first element completed by what the transport saw.
fn stamped(via: &str, source: SocketAddr) -> String {
    let (top, rest) = via.split_at(via.find(',').unwrap_or(via.len()));
    let mut parts: Vec<String> = top.split(';').map(|part| part.trim().to_owned()).collect();
    if let Some(rport) = parts.iter_mut().find(|part| *part == "rport") {
        *rport = format!("rport={}", source.port());
        parts.push(format!("received={}", source.ip()));
    }
    parts.join(";") + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_go_back_through_nat() {
        let text = b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=x;rport, SIP/2.0/UDP y\r\n\
            From: <sip:a>;tag=1\r\nTo: <sip:b>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n\r\n";
        let request = Message::parse(text).unwrap();
        let source: SocketAddr = "198.51.100.1:1234".parse().unwrap();
        assert_eq!(answer_address(&request, source), source);
        let bytes = answer(&request, source, (200, "OK"), "t", "", "");
        let reply = Message::parse(&bytes).unwrap();
        let via = "SIP/2.0/UDP 192.0.2.9:5070;branch=x;rport=1234;received=198.51.100.1, SIP/2.0/UDP y";
        assert_eq!(reply.header("Via"), Some(via));
        assert_eq!(reply.header("To"), Some("<sip:b>;tag=t"));
    }

    #[test]
    fn without_rport_answers_go_to_the_via() {
        let request =
            Message::parse(b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9:5070;branch=x\r\n\r\n").unwrap();
        let source = "198.51.100.1:1234".parse().unwrap();
        assert_eq!(answer_address(&request, source), "198.51.100.1:5070".parse().unwrap());
    }
}
