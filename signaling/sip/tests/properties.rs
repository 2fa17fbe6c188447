//! Properties of reading and writing, on bytes of any kind.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moorline_sip::transaction::{Flow, Layer, Timers};
use moorline_sip::{
    Dialog, Index, Message, Method, Name, NameAddr, Params, StartLine, Transport, Uri, Via, Writer, respond,
};
use proptest::prelude::*;

/// Reads everything that can be read of a message.
fn touch(message: Message<'_>) {
    let _ = (message.check(), message.start(), message.reason(), message.via(), message.from(), message.to());
    let _ = (message.cseq(), message.call_id(), message.max_forwards(), message.contact(), message.other(b"X-Foo"));
    for name in [Name::Via, Name::Route, Name::Contact, Name::Supported] {
        for value in message.values(name) {
            let _ = (NameAddr::parse(value).map(|address| address.tag().is_some()), Via::parse(value));
        }
    }
    if let Some(uri) = message.request_uri().and_then(|uri| Uri::parse(uri).ok()) {
        let _ = (uri.socket_addr(5060), Params::new(uri.params).count());
    }
    let _ = (Dialog::uas(message, b"tag"), Dialog::uac(message, b"sip:a@b"));
}

fn source() -> std::net::SocketAddr {
    "[2001:db8::1]:5070".parse().unwrap()
}

const INVITE: &[u8] = b"INVITE sip:bob@192.0.2.2:5070;lr?a=b SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKone;rport, SIP/2.0/TCP [2001:db8::1]\r\n\
    Record-Route: <sip:p1.example;lr>,\r\n <sip:p2.example>\r\nRoute: \"a, b\" <sip:p3.example;lr>;x\r\n\
    Max-Forwards: 70\r\nf: \"Alice \\\" <A>\" <sip:alice@192.0.2.1>;tag=a\r\nTo: sip:bob@192.0.2.2;x=y\r\n\
    Call-ID: call\r\nCSeq: 7 INVITE\r\nContact: <sip:alice@192.0.2.1:5060>;q=1\r\nX-Foo : bar\r\n\
    Content-Length: 4\r\n\r\nbody";

/// An INVITE in which some bytes are others, and which is cut short at times.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let change = (0..INVITE.len(), prop::sample::select(b"\r\n \t:;,<>\"\\@=[]?\0\xff09azSI/".to_vec()));
    let length = prop::option::weighted(0.2, 0..INVITE.len());
    (prop::collection::vec(change, 0..6), length).prop_map(|(changes, length)| {
        let mut bytes = INVITE.to_vec();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes.truncate(length.unwrap_or(INVITE.len()));
        bytes
    })
}

/// Values as they come: any bytes but line ends, with no space at the ends.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(|bytes| {
        let bytes: Vec<u8> = bytes.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        bytes.trim_ascii().to_vec()
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(message) = Index::new().parse(&bytes) {
            touch(message);
        }
    }

    #[test]
    fn any_value_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = (NameAddr::parse(&bytes), Via::parse(&bytes), Uri::parse(&bytes), moorline_sip::CSeq::parse(&bytes));
        prop_assert!(Params::new(&bytes).count() <= bytes.len() + 1);
    }

    #[test]
    fn damaged_messages_are_read_or_refused(bytes in mutated()) {
        if let Ok(message) = Index::new().parse(&bytes) {
            touch(message);
        }
    }

    /// The start line, the lines as they came, the empty line and the body are the message.
    #[test]
    fn nothing_is_lost(bytes in mutated()) {
        let mut index = Index::new();
        let Ok(message) = index.parse(&bytes) else { return Ok(()) };
        let lines: Vec<u8> = message.lines().flat_map(|line| line.raw.to_vec()).collect();
        let first_line = message.bytes().iter().position(|&byte| byte == b'\n').map_or(message.bytes().len(), |at| at + 1);
        let rest = &message.bytes()[first_line..];
        prop_assert!(rest.starts_with(&lines));
        let gap = &rest[lines.len()..rest.len() - message.body().len()];
        prop_assert!(matches!(gap, b"" | b"\n" | b"\r\n"));
        prop_assert!(message.bytes().ends_with(message.body()));
        let owned = message.to_owned();
        prop_assert_eq!(owned.view().lines().collect::<Vec<_>>(), message.lines().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_written_is_read_back(
        method in "[A-Za-z0-9.!%*_+`'~-]{1,12}",
        uri in "sip:[a-z0-9]{1,8}@[a-z0-9.]{1,12}",
        headers in prop::collection::vec(("X-[A-Za-z0-9]{1,12}", value()), 0..20),
        body in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut writer = Writer::request(Method::new(method.as_bytes()), uri.as_bytes());
        for (name, value) in &headers {
            writer = writer.header(name, value);
        }
        let bytes = writer.finish(&body);
        let mut index = Index::new();
        let message = index.parse(&bytes).unwrap();
        let start = StartLine::Request { method: Method::new(method.as_bytes()), uri: uri.as_bytes() };
        prop_assert_eq!(message.start(), start);
        prop_assert_eq!(message.body(), &body[..]);
        let read: Vec<_> = message.lines().map(|line| (line.name_text.to_vec(), line.value.to_vec())).collect();
        let length = (b"Content-Length".to_vec(), body.len().to_string().into_bytes());
        let written = headers.into_iter().map(|(name, value)| (name.into_bytes(), value)).chain([length]);
        prop_assert_eq!(read, written.collect::<Vec<_>>());

        // Copied line by line, it is the same message.
        let mut copy = Writer::request(Method::new(method.as_bytes()), uri.as_bytes());
        for line in message.lines() {
            copy = copy.line(line.raw);
        }
        prop_assert_eq!(copy.finish(message.body()), bytes.clone());
    }

    /// Whatever passes the check can be answered, and the answer passes too; so do the ACK and the CANCEL made of it.
    #[test]
    fn what_is_made_of_a_good_request_is_good(bytes in mutated()) {
        let mut index = Index::new();
        let Ok(request) = index.parse(&bytes) else { return Ok(()) };
        let answer = respond(request, source(), 486, b"Busy", Some(b"tag")).finish(b"");
        let mut answer_index = Index::new();
        let answer_message = answer_index.parse(&answer).unwrap();
        if request.check().is_err() {
            return Ok(());
        }
        prop_assert_eq!(answer_message.check(), Ok(()));

        let flow = Flow::new(0, Transport::Udp, source());
        let mut layer = Layer::new(Timers::default(), 10);
        let received = layer.receive(0, flow, request);
        prop_assert!(received != moorline_sip::transaction::Received::Full);
        let id = layer.request(0, flow, bytes.clone()).unwrap();
        layer.receive(0, flow, answer_message);
        layer.cancel(0, id, Some(b"SIP;cause=487"));
        while let Some(transmit) = layer.poll_transmit() {
            let mut index = Index::new();
            prop_assert_eq!(index.parse(&transmit.bytes).unwrap().check(), Ok(()));
        }
    }
}
