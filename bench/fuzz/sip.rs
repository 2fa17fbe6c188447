//! Any datagram to the SIP port: parsed, walked through, checked, answered, and the answer read again.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use moorline_sip::{Contact, Index, Message, Name, NameAddr, Uri, respond};

fuzz_target!(|bytes: &[u8]| {
    let mut index = Index::new();
    let Ok(message) = index.parse(bytes) else { return };
    walk(message);

    let owned = message.to_owned();
    assert_eq!(owned.view().bytes(), message.bytes(), "an owned message has the same bytes");

    if message.check().is_ok() && message.is_request() {
        let source = SocketAddr::from(([192, 0, 2, 1], 5060));
        let answer = respond(message, source, 200, b"OK", Some(b"fuzz")).finish(b"body");
        let mut index = Index::new();
        let answer = index.parse(&answer).expect("an answer to a good request can be parsed");
        assert_eq!(answer.status(), Some(200));
        assert_eq!(answer.body(), b"body");
        assert_eq!(answer.call_id().expect("kept"), message.call_id().expect("checked"));
        assert_eq!(answer.all(Name::Via).count(), message.all(Name::Via).count());
    }
});

fn walk(message: Message<'_>) {
    let inside = |part: &[u8]| part.is_empty() || message.bytes().as_ptr_range().contains(&part.as_ptr());
    for line in message.lines() {
        assert!(inside(line.raw) && inside(line.value));
        for value in message.values(line.name) {
            assert!(inside(value));
            if let Ok(address) = NameAddr::parse(value) {
                let _ = address.tag();
                let _ = Uri::parse(address.uri).map(|uri| uri.socket_addr(5060));
            }
        }
    }
    assert!(inside(message.body()));
    let _ = (message.via(), message.from(), message.to(), message.cseq(), message.call_id());
    let _ = (message.max_forwards(), message.contact(), message.status(), message.reason());
    let _ = (message.session_expires(), message.min_se(), message.rack(), message.rseq(), message.replaces());
    let _ = (message.refer_to(), message.event(), message.subscription_state(), message.privacy(), message.expires());
    for contact in message.contacts() {
        if let Ok(Contact::Address(address)) = contact {
            let _ = (address.q(), address.expires());
            if let (Ok(uri), Some(Ok(other))) = (Uri::parse(address.uri), message.request_uri().map(Uri::parse)) {
                assert!(uri.is_equivalent(&uri), "a URI is the same as itself");
                assert_eq!(uri.is_equivalent(&other), other.is_equivalent(&uri));
                let _ = (uri.transport(), uri.header(b"Replaces"));
            }
        }
    }
}
