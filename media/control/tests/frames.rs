//! Golden frames: the bytes on the wire of this version. They change only with the version number; a new
//! field may be added to a map, and these older frames must still decode.

#![cfg(test)]

use moorline_control::{
    ClientFrame, ClientHello, EndReason, Ended, Event, Latch, LegSpec, Listed, Listing, LocalAddresses, LocalSession,
    MAX_SNAPSHOT, MediaRange, Profile, Refusal, RefusalCode, Reply, Request, ServerFrame, ServerHello, SessionId,
    SessionReport, SessionSpec, StreamReport, StreamSpec, VERSION, codec,
};

const SESSION: SessionId = SessionId { node: 1, virtual_shard: 2, random: 3 };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn local() -> LocalSession {
    let address = LocalAddresses {
        rtp: "127.103.169.65:16384".parse().unwrap(),
        rtcp: "127.103.169.65:16385".parse().unwrap(),
        advertised: None,
    };
    LocalSession { legs: vec![vec![Some(address)], vec![None]] }
}

fn spec() -> SessionSpec {
    let stream = StreamSpec {
        active: true,
        profile: Profile::Rtp,
        remote_rtp: Some("[2001:db8::1]:4000".parse().unwrap()),
        remote_rtcp: None,
        rtcp_mux: true,
        latch: Some(Latch { sources: vec!["10.0.0.0/8".parse().unwrap()], window_ms: 5000 }),
        sources: vec!["2001:db8::/32".parse().unwrap()],
        local: None,
        relatch: 0,
    };
    SessionSpec {
        legs: vec![LegSpec { range: "edge".into(), streams: vec![stream] }],
        media_timeout_ms: 60_000,
        snapshot: vec![1, 2, 3],
    }
}

#[test]
fn client_frames_keep_their_bytes() {
    let hello = ClientFrame::Hello(ClientHello { version: VERSION, client: "signaling".into(), lease_ms: 30_000 });
    assert_eq!(hex(&codec::encode(&hello).unwrap()), "820081a3000101697369676e616c696e6702197530");
    let close = ClientFrame::Request { id: 9, request: Request::Close { session: SESSION } };
    assert_eq!(hex(&codec::encode(&close).unwrap()), "8201820982038183010203");
    let open = ClientFrame::Request { id: 1, request: Request::Open { session: SESSION, spec: spec() } };
    assert_eq!(
        hex(&codec::encode(&open).unwrap()),
        include_str!("golden/open.hex").trim(),
        "an Open of version {VERSION} changed its bytes"
    );
}

#[test]
fn an_open_from_before_relatch_says_that_nothing_moved() {
    let golden = include_str!("golden/open.hex").trim();
    let bytes: Vec<u8> =
        (0..golden.len()).step_by(2).map(|i| u8::from_str_radix(&golden[i..i + 2], 16).unwrap()).collect();
    let open = ClientFrame::Request { id: 1, request: Request::Open { session: SESSION, spec: spec() } };
    assert_eq!(codec::decode::<ClientFrame>(&bytes).unwrap(), open);
}

#[test]
fn relatch_round_trips() {
    let mut spec = spec();
    spec.legs[0].streams[0].relatch = 3;
    let update = ClientFrame::Request { id: 1, request: Request::Update { session: SESSION, spec } };
    assert_eq!(codec::decode::<ClientFrame>(&codec::encode(&update).unwrap()).unwrap(), update);
}

#[test]
fn every_server_frame_round_trips() {
    let report = SessionReport {
        legs: vec![vec![StreamReport { packets: 250, bytes: 43_000, jitter_us: 20, ..StreamReport::default() }]],
        open_ms: 5_000,
    };
    let hello = ServerHello {
        version: VERSION,
        boot: 77,
        shards: 2,
        capacity: 20_000,
        datapath: "io_uring".into(),
        ranges: vec![MediaRange {
            name: "edge".into(),
            network: "127.103.169.64/27".parse().unwrap(),
            first_port: 16_384,
            last_port: 32_767,
            advertised: Some("192.0.2.1".parse().unwrap()),
        }],
    };
    let listing = Listing { session: SESSION, local: local(), snapshot: vec![7; MAX_SNAPSHOT], owned: false };
    let replies = [
        Reply::Opened(local()),
        Reply::Closed(None),
        Reply::Closed(Some(report.clone())),
        Reply::Report(report.clone()),
        Reply::Listed(Listed { sessions: vec![listing], more: true }),
        Reply::Refused(Refusal::new(RefusalCode::OutOfPorts, "range edge: none of 2 free")),
    ];
    let events = [
        Event::MediaTimeout { session: SESSION },
        Event::Latched { session: SESSION, leg: 1, stream: 0, source: "127.0.0.1:5000".parse().unwrap() },
        Event::Ended(Ended { session: SESSION, reason: EndReason::LeaseExpired, report }),
    ];
    let mut frames = vec![
        ServerFrame::Hello(hello),
        ServerFrame::Refused(Refusal::new(RefusalCode::Version, "this server speaks version 1")),
    ];
    frames.extend(replies.into_iter().map(|reply| ServerFrame::Reply { id: u32::MAX, reply }));
    frames.extend(events.into_iter().map(ServerFrame::Event));
    for frame in frames {
        let bytes = codec::encode(&frame).unwrap();
        assert_eq!(codec::decode::<ServerFrame>(&bytes).unwrap(), frame);
    }
}

#[test]
fn a_field_of_a_later_version_is_passed_over() {
    // The hello with a field 9 that this version does not know.
    let bytes = [0x82, 0, 0x81, 0xa4, 0, 1, 1, 0x61, b'x', 2, 5, 9, 0x63, b'n', b'e', b'w'];
    let hello = codec::decode::<ClientFrame>(&bytes).unwrap();
    assert_eq!(hello, ClientFrame::Hello(ClientHello { version: 1, client: "x".into(), lease_ms: 5 }));
}

#[test]
fn what_is_no_frame_is_refused_with_its_reason() {
    let good =
        codec::encode(&ClientFrame::Request { id: 1, request: Request::Open { session: SESSION, spec: spec() } });
    let good = good.unwrap();
    for length in 0..good.len() {
        let refusal = codec::decode::<ClientFrame>(&good[..length]).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Malformed, "cut at {length}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(codec::decode::<ClientFrame>(&longer).unwrap_err().detail, "1 bytes after the frame");
    let huge_array = [0x82, 1, 0x82, 1, 0x82, 0, 0x82, 0x83, 1, 2, 3, 0xa1, 0, 0x9b, 0xff, 0, 0, 0, 0, 0, 0, 0];
    assert!(codec::decode::<ClientFrame>(&huge_array).unwrap_err().is_fatal());
}

#[test]
fn an_oversized_frame_is_refused_before_it_is_sent() {
    let listing = Listing { session: SESSION, local: local(), snapshot: vec![0; MAX_SNAPSHOT], owned: true };
    let frame = ServerFrame::Reply { id: 1, reply: Reply::Listed(Listed { sessions: vec![listing; 16], more: false }) };
    assert_eq!(codec::encode(&frame).unwrap_err().code, RefusalCode::Unacceptable);
}
