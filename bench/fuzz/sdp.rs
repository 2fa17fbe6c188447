//! Any message body as SDP: read, rewritten, and read again.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use libfuzzer_sys::fuzz_target;
use moorline_sdp::{Anchor, Session, rewrite};

fuzz_target!(|bytes: &[u8]| {
    let Ok(session) = Session::parse(bytes) else { return };
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    let anchor = Anchor { address, rtp_port: 20_000, rtcp_port: 20_001, rtcp_mux: bytes.len() % 2 == 0 };
    let anchors: Vec<_> = session.media().iter().map(|media| media.is_active().then_some(anchor)).collect();
    let rewritten = rewrite(&session, address, &anchors);

    let again = Session::parse(&rewritten).expect("what was rewritten can be read");
    assert_eq!(again.media().len(), session.media().len());
    for (before, after) in session.media().iter().zip(again.media()) {
        assert_eq!(before.kind, after.kind);
        assert_eq!(before.formats, after.formats);
        assert_eq!(before.is_active(), after.is_active());
        if after.is_active() {
            assert_eq!(after.port, 20_000);
            // A hold keeps its 0.0.0.0; nothing else may lead past the relay.
            assert!(after.rtp().is_none_or(|at| at.ip() == address || at.ip().is_unspecified()));
        }
    }
});
