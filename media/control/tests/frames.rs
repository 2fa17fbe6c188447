//! Golden frames: the bytes on the wire of this version. They change only with the version number; a new
//! field may be added to a map, and these older frames must still decode.

#![cfg(test)]

use moorline_control::{
    Announcement, Ceiling, ClientFrame, ClientHello, Codec, Dtmf, EndReason, Ended, Event, FarEnd, Format, Latch,
    LegSpec, Listed, Listing, LocalAddresses, LocalSession, MAX_FORMATS, MAX_SNAPSHOT, MediaRange, Play, Played,
    Profile, Quality, Refusal, RefusalCode, Reply, Request, ServerFrame, ServerHello, SessionId, SessionReport,
    SessionSpec, Silence, StreamReport, StreamSpec, VERSION, codec,
};

const SESSION: SessionId = SessionId { node: 1, virtual_shard: 2, random: 3 };

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn plain_hello(profiles: Vec<Profile>) -> ServerHello {
    let datapath = "epoll".to_owned();
    ServerHello {
        version: VERSION,
        boot: 7,
        shards: 1,
        capacity: 2,
        datapath,
        ranges: Vec::new(),
        profiles,
        announcements: Vec::new(),
    }
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
        ..StreamSpec::default()
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
    let golden = bytes(include_str!("golden/open.hex").trim());
    let open = ClientFrame::Request { id: 1, request: Request::Open { session: SESSION, spec: spec() } };
    assert_eq!(codec::decode::<ClientFrame>(&golden).unwrap(), open);
}

#[test]
fn relatch_round_trips() {
    let mut spec = spec();
    spec.legs[0].streams[0].relatch = 3;
    let update = ClientFrame::Request { id: 1, request: Request::Update { session: SESSION, spec } };
    assert_eq!(codec::decode::<ClientFrame>(&codec::encode(&update).unwrap()).unwrap(), update);
}

fn named() -> ClientFrame {
    let mut spec = spec();
    let stream = &mut spec.legs[0].streams[0];
    stream.formats = vec![
        Format { payload_type: 111, codec: Codec::Opus, clock_rate: 48_000 },
        Format { payload_type: 101, codec: Codec::TelephoneEvent, clock_rate: 8_000 },
    ];
    stream.quiet = true;
    ClientFrame::Request { id: 1, request: Request::Open { session: SESSION, spec } }
}

#[test]
fn formats_keep_their_bytes() {
    let golden = include_str!("golden/formats.hex").trim();
    assert_eq!(hex(&codec::encode(&named()).unwrap()), golden);
    assert_eq!(codec::decode::<ClientFrame>(&bytes(golden)).unwrap(), named());
}

#[test]
fn a_codec_of_a_later_version_is_another_codec() {
    let mut golden = bytes(include_str!("golden/formats.hex").trim());
    let opus = golden.windows(3).position(|window| window == [0x18, 111, 14]).unwrap() + 2;
    golden[opus] = 23;
    let ClientFrame::Request { request: Request::Open { spec, .. }, .. } = codec::decode(&golden).unwrap() else {
        panic!("an Open")
    };
    let first = spec.legs[0].streams[0].formats[0];
    assert_eq!(first, Format { payload_type: 111, codec: Codec::Other, clock_rate: 48_000 });
}

#[test]
fn more_formats_than_a_stream_may_name_are_refused() {
    let opened = |count| {
        let mut spec = spec();
        let format = Format { payload_type: 96, codec: Codec::Other, clock_rate: 90_000 };
        spec.legs[0].streams[0].formats = vec![format; count];
        let open = ClientFrame::Request { id: 1, request: Request::Open { session: SESSION, spec } };
        codec::decode::<ClientFrame>(&codec::encode(&open).unwrap())
    };
    assert!(opened(MAX_FORMATS).is_ok());
    assert_eq!(opened(MAX_FORMATS + 1).unwrap_err().code, RefusalCode::Malformed);
}

/// As a media process before these fields says it.
#[test]
fn a_report_from_before_quality_says_nothing_of_it() {
    let reply = bytes("82028201820281a2008181a70018fa0119a7f80200030004140500060001191388");
    let decoded = codec::decode::<ServerFrame>(&reply).unwrap();
    let stream = StreamReport { packets: 250, bytes: 43_000, jitter_us: 20, ..StreamReport::default() };
    let report = SessionReport { legs: vec![vec![stream]], open_ms: 5_000 };
    let expected = ServerFrame::Reply { id: 1, reply: Reply::Report(report) };
    assert_eq!(decoded, expected);
    assert_eq!(hex(&codec::encode(&expected).unwrap()), hex(&reply), "what is not known is left out");
}

#[test]
fn a_report_of_all_that_is_known_keeps_its_bytes() {
    let quality = Some(Quality { r_tenths: 932, mos_hundredths: 441, delay_ms: 20 });
    let far_end = FarEnd {
        reports: 7,
        fraction_lost: 1,
        worst_fraction_lost: 9,
        lost: -3,
        jitter_us: 1_250,
        round_trip_us: Some(40_000),
        longest_round_trip_us: Some(45_000),
        quality,
    };
    let silence =
        Silence { pauses: 1, longest_ms: 700, total_ms: 700, one_way_ms: 700, noise_packets: 5, dtx_ms: 9_000 };
    let stream = StreamReport {
        packets: 250,
        bytes: 43_000,
        duplicates: 1,
        sources: 2,
        ssrc: Some(0xdead_beef),
        payload_type: Some(111),
        codec: Codec::Opus,
        gaps: 3,
        longest_gap_ms: 80,
        longest_gap_packets: 3,
        quality,
        far_end: Some(far_end),
        dtmf: Some(Dtmf { events: 4, total_ms: 400, last: Some(11) }),
        silence: Some(silence),
        goodbyes: 1,
        ..StreamReport::default()
    };
    let report = SessionReport { legs: vec![vec![stream]], open_ms: 5_000 };
    let reply = ServerFrame::Reply { id: 1, reply: Reply::Report(report) };
    let golden = include_str!("golden/report.hex").trim();
    assert_eq!(hex(&codec::encode(&reply).unwrap()), golden);
    assert_eq!(codec::decode::<ServerFrame>(&bytes(golden)).unwrap(), reply);
}

#[test]
fn what_is_let_in_keeps_its_bytes() {
    let mut spec = spec();
    let stream = &mut spec.legs[0].streams[0];
    stream.ceiling = Some(Ceiling { packets_per_s: 200, bytes_per_s: 22_400 });
    (stream.one_ssrc, stream.stun) = (true, true);
    let update = ClientFrame::Request { id: 3, request: Request::Update { session: SESSION, spec } };
    let golden = include_str!("golden/ceiling.hex").trim();
    assert_eq!(hex(&codec::encode(&update).unwrap()), golden);
    assert_eq!(codec::decode::<ClientFrame>(&bytes(golden)).unwrap(), update);
}

#[test]
fn a_fax_stream_keeps_its_bytes() {
    let udptl = StreamSpec {
        active: true,
        profile: Profile::Udptl,
        remote_rtp: Some("192.0.2.7:4002".parse().unwrap()),
        ..StreamSpec::default()
    };
    let legs = vec![LegSpec { range: "edge".into(), streams: vec![udptl] }];
    let spec = SessionSpec { legs, media_timeout_ms: 60_000, snapshot: vec![1, 2, 3] };
    let update = ClientFrame::Request { id: 2, request: Request::Update { session: SESSION, spec } };
    let golden = include_str!("golden/udptl.hex").trim();
    assert_eq!(hex(&codec::encode(&update).unwrap()), golden);
    assert_eq!(codec::decode::<ClientFrame>(&bytes(golden)).unwrap(), update);
}

/// What a server does that was built before a profile: its client knows from the hello not to ask.
#[test]
fn a_profile_of_a_later_version_is_no_frame() {
    let golden = include_str!("golden/udptl.hex").trim();
    let mut unknown = bytes(golden);
    // The stream's fields 0 and 1: active, and the profile.
    let profile = unknown.windows(4).position(|window| window == [0, 0xf5, 1, 1]).unwrap() + 3;
    unknown[profile] = 9;
    let refusal = codec::decode::<ClientFrame>(&unknown).unwrap_err();
    assert_eq!((refusal.code, refusal.is_fatal()), (RefusalCode::Malformed, true));
}

#[test]
fn a_hello_names_the_profiles_that_are_relayed() {
    let named = plain_hello(vec![Profile::Rtp, Profile::Udptl]);
    // As a server before the field says it, and as this one does.
    let before = "820081a60001010702010302046565706f6c6c0580";
    let golden = "820081a70001010702010302046565706f6c6c058006820001";
    assert_eq!(hex(&codec::encode(&ServerFrame::Hello(plain_hello(Vec::new()))).unwrap()), before);
    assert_eq!(hex(&codec::encode(&ServerFrame::Hello(named.clone())).unwrap()), golden);
    assert_eq!(codec::decode::<ServerFrame>(&bytes(golden)).unwrap(), ServerFrame::Hello(named.clone()));
    assert!(named.relays(Profile::Rtp) && named.relays(Profile::Udptl));

    let ServerFrame::Hello(old) = codec::decode::<ServerFrame>(&bytes(before)).unwrap() else { panic!("a hello") };
    assert_eq!(old, plain_hello(Vec::new()));
    assert!(old.relays(Profile::Rtp) && !old.relays(Profile::Udptl));

    // A later server: profiles 2 and 1,000 mean nothing here, the others do.
    let later = format!("{}068401021903e800", &golden[..golden.len() - 8]);
    let later = codec::decode::<ServerFrame>(&bytes(&later)).unwrap();
    assert_eq!(later, ServerFrame::Hello(plain_hello(vec![Profile::Udptl, Profile::Rtp])));
    for wrong in ["06", "0680", "0681f5", "069841", "069f00ff"] {
        let frame = bytes(&format!("{}{wrong}", &golden[..golden.len() - 8]));
        let decoded = codec::decode::<ServerFrame>(&frame);
        assert_eq!(decoded.is_ok(), wrong == "0680", "{wrong}");
    }
}

fn announcement() -> Announcement {
    Announcement { name: "no-line".into(), length_ms: 4_000 }
}

#[test]
fn what_is_played_keeps_its_bytes() {
    let mut spec = spec();
    let play = Play { name: "no-line".into(), codec: Codec::Pcma, payload_type: 8, packet_ms: 20 };
    spec.legs[0].streams[0].play = Some(play);
    let update = ClientFrame::Request { id: 3, request: Request::Update { session: SESSION, spec } };
    let golden = include_str!("golden/play.hex").trim();
    assert_eq!(hex(&codec::encode(&update).unwrap()), golden);
    assert_eq!(codec::decode::<ClientFrame>(&bytes(golden)).unwrap(), update);

    let event = ServerFrame::Event(Event::Played { session: SESSION, leg: 0, stream: 1 });
    assert_eq!(hex(&codec::encode(&event).unwrap()), "82038182038383010203000 1".replace(' ', ""));
    let hello = ServerHello { announcements: vec![announcement()], ..plain_hello(Vec::new()) };
    let golden = "820081a70001010702010302046565706f6c6c05800781a200676e6f2d6c696e6501190fa0";
    assert_eq!(hex(&codec::encode(&ServerFrame::Hello(hello.clone())).unwrap()), golden);
    assert_eq!(codec::decode::<ServerFrame>(&bytes(golden)).unwrap(), ServerFrame::Hello(hello));
    let played = Some(Played { packets: 50, played_ms: 1_000, complete: false });
    let report = SessionReport { legs: vec![vec![StreamReport { played, ..StreamReport::default() }]], open_ms: 0 };
    let reply = ServerFrame::Reply { id: 1, reply: Reply::Report(report) };
    let golden = "82028201820281a2008181a8000001000200030004000500060015a30018320119 03e802f40100".replace(' ', "");
    assert_eq!(hex(&codec::encode(&reply).unwrap()), golden);
    assert_eq!(codec::decode::<ServerFrame>(&bytes(&golden)).unwrap(), reply);
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
        profiles: vec![Profile::Rtp, Profile::Udptl],
        announcements: vec![announcement()],
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
        Event::Played { session: SESSION, leg: 0, stream: 1 },
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
