use super::*;
use crate::Direction;

const OFFER: &[u8] = b"v=0\r\no=alice 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n";

fn offer_with(tail: &str) -> Vec<u8> {
    [OFFER, tail.as_bytes()].concat()
}

fn error(text: &str) -> ParseError {
    Session::parse(text.as_bytes()).unwrap_err()
}

#[test]
fn a_plain_offer_is_read() {
    let session = Session::parse(OFFER).unwrap();
    let [audio] = session.media() else { panic!("one section") };
    assert_eq!((audio.kind, audio.port, audio.protocol), (&b"audio"[..], 40000, &b"RTP/AVP"[..]));
    assert_eq!(audio.formats, b"0 8 101");
    assert_eq!(audio.rtp(), Some("192.0.2.1:40000".parse().unwrap()));
    assert_eq!((audio.rtcp(), audio.rtcp_mux), (None, false));
    assert_eq!(audio.direction, Direction::SendRecv);
    assert!(audio.is_active() && audio.is_rtp() && !audio.is_held());
    assert_eq!(session.bytes(), OFFER);
}

#[test]
fn line_ends_may_be_lf_only_and_the_last_may_be_missing() {
    let text = String::from_utf8(OFFER.to_vec()).unwrap();
    for variant in [text.replace("\r\n", "\n"), text.replace("\r\n", "\r"), text.trim_end().to_owned()] {
        let session = Session::parse(variant.as_bytes()).unwrap();
        assert_eq!(session.media()[0].rtp(), Some("192.0.2.1:40000".parse().unwrap()), "{variant:?}");
        assert_eq!(session.media()[0].formats, b"0 8 101");
    }
}

#[test]
fn own_connection_comes_before_the_sessions_and_the_first_counts() {
    let bytes = offer_with("c=IN IP6 2001:db8::1\r\nc=IN IP4 192.0.2.99\r\nm=video 5000 RTP/AVP 96\r\n");
    let session = Session::parse(&bytes).unwrap();
    assert_eq!(session.media()[0].rtp(), Some("[2001:db8::1]:40000".parse().unwrap()));
    assert_eq!(session.media()[1].rtp(), Some("192.0.2.1:5000".parse().unwrap()));
}

#[test]
fn a_host_name_or_no_connection_is_no_address() {
    let named = offer_with("c=IN IP4 media.example.com\r\na=rtcp:40001\r\n");
    let audio = Session::parse(&named).unwrap().media()[0].clone();
    assert_eq!((audio.rtp(), audio.rtcp()), (None, None));
    let bare = Session::parse(b"v=0\nm=audio 40000 RTP/AVP 0\n").unwrap();
    assert_eq!(bare.media()[0].rtp(), None);
}

#[test]
fn multicast_addresses_carry_a_ttl() {
    let bytes = offer_with("c=IN IP4 224.2.1.1/127/3\r\n");
    assert_eq!(Session::parse(&bytes).unwrap().media()[0].rtp(), Some("224.2.1.1:40000".parse().unwrap()));
}

#[test]
fn rtcp_is_where_the_attribute_says() {
    let cases = [
        ("a=rtcp:50001\r\n", Some("192.0.2.1:50001")),
        ("a=rtcp:50001 IN IP4 192.0.2.7\r\n", Some("192.0.2.7:50001")),
        ("a=rtcp:50001 IN IP6 2001:db8::7\r\n", Some("[2001:db8::7]:50001")),
        ("a=rtcp:50001 IN IP4 rtcp.example.com\r\n", None),
        ("a=rtcp:0\r\n", None),
    ];
    for (line, expected) in cases {
        let bytes = offer_with(line);
        let session = Session::parse(&bytes).unwrap();
        assert_eq!(session.media()[0].rtcp(), expected.map(|text| text.parse().unwrap()), "{line}");
    }
    assert!(Session::parse(&offer_with("a=rtcp-mux\r\n")).unwrap().media()[0].rtcp_mux);
}

#[test]
fn direction_is_the_sections_else_the_sessions() {
    let text = "v=0\r\na=sendonly\r\nm=audio 1 RTP/AVP 0\r\na=recvonly\r\nm=audio 2 RTP/AVP 0\r\n\
        m=audio 3 RTP/AVP 0\r\na=inactive\r\n";
    let session = Session::parse(text.as_bytes()).unwrap();
    let directions: Vec<_> = session.media().iter().map(|media| (media.direction, media.is_held())).collect();
    use Direction::{Inactive, RecvOnly, SendOnly};
    assert_eq!(directions, [(RecvOnly, false), (SendOnly, true), (Inactive, true)]);
}

#[test]
fn an_unspecified_address_holds() {
    for line in ["c=IN IP4 0.0.0.0\r\n", "c=IN IP6 ::\r\n"] {
        let bytes = offer_with(line);
        let audio = Session::parse(&bytes).unwrap().media()[0].clone();
        assert!(audio.is_held() && audio.is_active());
    }
}

#[test]
fn port_zero_is_not_active() {
    let session = Session::parse(b"v=0\nc=IN IP4 192.0.2.1\nm=image 0 udptl t38\n").unwrap();
    let image = &session.media()[0];
    assert!(!image.is_active() && !image.is_rtp());
    assert_eq!(image.rtp(), None);
}

#[test]
fn rtp_profiles_are_told_from_others() {
    let cases = [
        ("RTP/AVP", true),
        ("RTP/SAVPF", true),
        ("UDP/TLS/RTP/SAVP", true),
        ("rtp/avp", true),
        ("RTP", false),
        ("udptl", false),
        ("UDP/BFCP", false),
        ("DTLS/SCTP", false),
    ];
    for (protocol, expected) in cases {
        let text = format!("v=0\nm=audio 9 {protocol} 0\n");
        assert_eq!(Session::parse(text.as_bytes()).unwrap().media()[0].is_rtp(), expected, "{protocol}");
    }
}

#[test]
fn odd_but_readable_lines_are_tolerated() {
    let text = "v=0\no=- 99999999999999999999999999 18446744073709551616 IN IP4 192.0.2.1\n\
        o=a b c 1 1 IN IP4 192.0.2.1\ngarbage\n\n=\nx=unknown\nc=in ip4   192.0.2.1 \nm=audio  40000/2\tRTP/AVP\n";
    let session = Session::parse(text.as_bytes()).unwrap();
    assert_eq!(session.media()[0].rtp(), Some("192.0.2.1:40000".parse().unwrap()));
    assert_eq!(session.media()[0].formats, b"");
}

#[test]
fn what_a_rewrite_could_not_read_is_refused_with_its_line() {
    let cases = [
        ("", ParseErrorKind::NoVersion, 1),
        ("o=- 1 1 IN IP4 192.0.2.1\n", ParseErrorKind::NoVersion, 1),
        ("v=0\no=-\n", ParseErrorKind::Origin, 2),
        ("v=0\r\ns=-\r\nc=IN IP4\r\n", ParseErrorKind::Connection, 3),
        ("v=0\nc=ATM NSAP 47.0091\n", ParseErrorKind::Connection, 2),
        ("v=0\nm=audio RTP/AVP 0\n", ParseErrorKind::Media, 2),
        ("v=0\nm=audio 65536 RTP/AVP 0\n", ParseErrorKind::Media, 2),
        ("v=0\nm=audio -1 RTP/AVP 0\n", ParseErrorKind::Media, 2),
        ("v=0\nm=audio 9\n", ParseErrorKind::Media, 2),
        ("v=0\nm=audio 9 RTP/AVP 0\na=rtcp\n", ParseErrorKind::Rtcp, 3),
        ("v=0\nm=audio 9 RTP/AVP 0\na=rtcp:9 IN IP4\n", ParseErrorKind::Rtcp, 3),
    ];
    for (text, kind, line) in cases {
        assert_eq!(error(text), ParseError { kind, line }, "{text:?}");
    }
    assert_eq!(
        error("v=0\nc=IN\n").to_string(),
        "SDP line 2: c= is not a network type, an address type and an address"
    );
}

#[test]
fn a_lone_cr_hides_no_line() {
    let session = Session::parse(b"v=0\nm=audio 9 RTP/AVP 0\na=x\rc=IN IP4 192.0.2.1\n").unwrap();
    assert_eq!(session.media()[0].rtp(), Some("192.0.2.1:9".parse().unwrap()));
}

#[test]
fn sizes_are_bounded() {
    let long = [b"v=0\n".as_slice(), &vec![b'x'; MAX_BYTES]].concat();
    assert_eq!(Session::parse(&long).unwrap_err().kind, ParseErrorKind::TooLong);
    assert!(Session::parse(&long[..MAX_BYTES]).is_ok());
    let sections = |count: usize| format!("v=0\n{}", "m=audio 9 RTP/AVP 0\n".repeat(count));
    assert_eq!(Session::parse(sections(MAX_MEDIA).as_bytes()).unwrap().media().len(), MAX_MEDIA);
    let refused = error(&sections(MAX_MEDIA + 1));
    assert_eq!((refused.kind, refused.line as usize), (ParseErrorKind::TooManyMedia, MAX_MEDIA + 2));
}

#[test]
fn payload_types_are_those_of_their_section() {
    let sdp = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\na=rtpmap:99 stray/8000\r\n\
        m=audio 4000 RTP/AVP 111 101\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap: nonsense\r\n\
        a=RTPMAP:101 telephone-event/8000\r\nm=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    let session = Session::parse(sdp).unwrap();
    let maps = |index: usize| {
        let maps = &session.media()[index].rtpmaps;
        maps.iter().map(|map| (map.payload_type, map.encoding, map.clock_rate)).collect::<Vec<_>>()
    };
    assert_eq!(maps(0), [(111, &b"opus"[..], 48_000), (101, b"telephone-event", 8_000)]);
    assert_eq!(maps(1), [(96, &b"VP8"[..], 90_000)]);
    let many = "a=rtpmap:96 opus/48000\r\n".repeat(MAX_RTPMAPS + 1);
    let many = format!("v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/AVP 96\r\n{many}");
    assert_eq!(Session::parse(many.as_bytes()).unwrap().media()[0].rtpmaps.len(), MAX_RTPMAPS);
}

#[test]
fn bandwidth_and_packet_time_are_those_of_their_section() {
    let sdp = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nb=AS:9999\r\nt=0 0\r\na=ptime:5\r\n\
        m=audio 4000 RTP/AVP 0\r\nb=CT:7\r\na=ptime: 20\r\na=ptime:30\r\n\
        m=video 4002 RTP/AVP 96\r\nb=AS:512\r\nb=TIAS:400000\r\nb=AS:x\r\nb=\r\na=ptime:0\r\n";
    let session = Session::parse(sdp).unwrap();
    let of = |index: usize| (session.media()[index].bandwidth, session.media()[index].packet_ms);
    assert_eq!(of(0), (None, Some(20)));
    assert_eq!(of(1), (Some(512_000), None));
}
