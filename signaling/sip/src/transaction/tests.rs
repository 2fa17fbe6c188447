//! Scenarios in virtual time, one side at a time.

mod client;
mod limits;
mod server;

use super::*;
use crate::{Index, Method, Name, OwnedMessage, Transport, Writer, respond};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;

fn peer(transport: Transport) -> Flow {
    Flow::new(0, transport, "192.0.2.2:5070".parse().unwrap())
}

const UDP: Transport = Transport::Udp;
const TCP: Transport = Transport::Tcp;

/// A layer, its clock, and everything it said, in order, with the time at which it said it.
struct Side {
    layer: Layer,
    now: u64,
    flow: Flow,
    sent: Vec<(u64, Transmit)>,
    events: Vec<(u64, Event)>,
}

impl Side {
    fn new(transport: Transport) -> Side {
        let layer = Layer::new(Timers::default(), 100);
        Side { layer, now: 0, flow: peer(transport), sent: Vec::new(), events: Vec::new() }
    }

    fn receive(&mut self, bytes: &[u8]) -> Received {
        self.receive_on(self.flow, bytes)
    }

    fn receive_on(&mut self, flow: Flow, bytes: &[u8]) -> Received {
        let mut index = Index::new();
        let message = index.parse(bytes).unwrap();
        message.check().unwrap();
        let received = self.layer.receive(self.now, flow, message);
        self.drain();
        received
    }

    fn request(&mut self, method: Method<'_>) -> ClientId {
        let id = self.layer.request(self.now, self.flow, request(method, "z9hG4bKone")).unwrap();
        self.drain();
        id
    }

    fn cancel(&mut self, id: ClientId) {
        self.cancel_because(id, None);
    }

    fn cancel_because(&mut self, id: ClientId, reason: Option<&[u8]>) {
        self.layer.cancel(self.now, id, reason);
        self.drain();
    }

    fn respond(&mut self, id: ServerId, response: Vec<u8>) {
        self.layer.respond(self.now, id, response);
        self.drain();
    }

    /// Lets time pass, running timers exactly when they are due.
    fn run_until(&mut self, end: u64) {
        while let Some(at) = self.layer.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.layer.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some(transmit) = self.layer.poll_transmit() {
            self.sent.push((self.now, transmit));
        }
        while let Some(event) = self.layer.poll_event() {
            self.events.push((self.now, event));
        }
    }

    /// The messages sent since last asked.
    fn take_sent(&mut self) -> Vec<OwnedMessage> {
        self.sent.drain(..).map(|(_, transmit)| owned(&transmit.bytes)).collect()
    }

    /// The first words of the messages sent since last asked, and when they were sent, in milliseconds.
    fn take_times(&mut self) -> Vec<(u64, String)> {
        self.sent.drain(..).map(|(at, transmit)| (at / MS, first_word(&transmit.bytes))).collect()
    }

    fn take_events(&mut self) -> Vec<(u64, Event)> {
        self.events.drain(..).map(|(at, event)| (at / MS, event)).collect()
    }

    /// Nothing is left, not even a timer.
    fn assert_idle(&self) {
        assert!(self.layer.by_key.is_empty() && self.layer.by_origin.is_empty());
        assert!(self.layer.is_empty());
        assert_eq!(self.layer.next_timeout(), None);
    }
}

fn owned(bytes: &[u8]) -> OwnedMessage {
    let mut index = Index::new();
    let message = index.parse(bytes).unwrap();
    message.check().unwrap();
    message.to_owned()
}

/// The method of a request, the status of a response.
fn first_word(bytes: &[u8]) -> String {
    let words = String::from_utf8_lossy(bytes);
    words.strip_prefix("SIP/2.0 ").unwrap_or(&words).split(' ').next().unwrap().to_owned()
}

fn request(method: Method<'_>, branch: &str) -> Vec<u8> {
    Writer::request(method, b"sip:bob@192.0.2.2:5070")
        .header("Via", format!("SIP/2.0/UDP 192.0.2.1:5060;branch={branch};rport"))
        .header("Route", "<sip:192.0.2.2:5070;lr>, <sip:192.0.2.3;lr>")
        .header("Route", "<sip:192.0.2.4;lr>")
        .header("Max-Forwards", "70")
        .header("From", "\"Alice\" <sip:alice@192.0.2.1>;tag=a")
        .header("To", "<sip:bob@192.0.2.2>")
        .header("Call-ID", "call")
        .header("CSeq", [b"7 ", method.as_bytes()].concat())
        .header("Contact", "<sip:alice@192.0.2.1:5060>")
        .finish(b"")
}

fn response(request: &[u8], status: u16, tag: &[u8]) -> Vec<u8> {
    let source = "192.0.2.1:5060".parse().unwrap();
    respond(owned(request).view(), source, status, b"Whatever", Some(tag)).finish(b"")
}
