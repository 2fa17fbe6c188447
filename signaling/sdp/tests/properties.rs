//! Properties of parse and rewrite over generated descriptions, and the oracle `sdp-types` on the result.

use std::net::IpAddr;

use moorline_sdp::{Anchor, Session, keep_formats, rewrite};
use proptest::collection::vec;
use proptest::prelude::*;

/// Appears in every address of a generated description, and in no anchor: what is left of it has leaked.
const HIDDEN: &str = "10.99.";

fn hidden_ip() -> impl Strategy<Value = String> {
    (any::<u8>(), any::<u8>()).prop_map(|(c, d)| format!("{HIDDEN}{c}.{d}"))
}

fn attribute() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{3,10}(:[ -~]{1,20})?".prop_map(|text| format!("a=x-{text}")),
        (0u8..128).prop_map(|pt| format!("a=rtpmap:{pt} opus/48000/2")),
        Just("a=rtcp-mux".to_owned()),
        Just("a=rtcp-mux-only".to_owned()),
        Just("a=sendonly".to_owned()),
        any::<u16>().prop_map(|port| format!("a=rtcp:{port}")),
        (any::<u16>(), hidden_ip()).prop_map(|(port, ip)| format!("a=rtcp:{port} IN IP4 {ip}")),
        hidden_ip().prop_map(|ip| format!("a=candidate:1 1 udp 2113937151 {ip} 40000 typ host")),
        hidden_ip().prop_map(|ip| format!("a=remote-candidates:1 {ip} 40000")),
        Just("a=end-of-candidates".to_owned()),
    ]
}

fn session_attribute() -> impl Strategy<Value = String> {
    attribute().prop_filter("a=rtcp has no meaning there", |line| !line.starts_with("a=rtcp:"))
}

fn section() -> impl Strategy<Value = Vec<String>> {
    let port = prop_oneof![1 => Just(0u16), 6 => 1u16..];
    let connection = proptest::option::of(hidden_ip());
    (port, any::<bool>(), connection, vec(attribute(), 0..6)).prop_map(|(port, title, connection, attributes)| {
        let mut lines = vec![format!("m=audio {port} RTP/AVP 0 8 101")];
        lines.extend(title.then(|| "i=a title".to_owned()));
        lines.extend(connection.map(|ip| format!("c=IN IP4 {ip}")));
        lines.extend(attributes);
        lines
    })
}

/// The lines of a well-formed description in which every active section has a connection.
fn description() -> impl Strategy<Value = Vec<String>> {
    (hidden_ip(), hidden_ip(), any::<u64>(), vec(session_attribute(), 0..4), vec(section(), 0..5)).prop_map(
        |(origin, connection, version, attributes, sections)| {
            let mut lines = vec![
                "v=0".to_owned(),
                format!("o=- {version} {version} IN IP4 {origin}"),
                "s=-".to_owned(),
                format!("c=IN IP4 {connection}"),
                "t=0 0".to_owned(),
            ];
            lines.extend(attributes);
            lines.extend(sections.into_iter().flatten());
            lines
        },
    )
}

/// As [`description`], with lines of any kind put in and line ends of any kind.
fn wild_description() -> impl Strategy<Value = Vec<u8>> {
    // A lone CR and a lone LF in one text would read as CRLF where a line between them goes.
    let other = prop_oneof![Just("\n"), Just("\r")];
    let endings = other.prop_flat_map(|other| vec(prop_oneof![Just("\r\n"), Just(other)], 64));
    let odd = prop_oneof!["[b-ln-z]=[ -~]{0,12}", "[ -<>-~]{0,12}", Just(String::new())]
        .prop_filter("these have a meaning", |line| !line.starts_with("c=") && !line.starts_with("o="));
    (description(), vec((any::<prop::sample::Index>(), odd), 0..6), endings, any::<bool>()).prop_map(
        |(mut lines, odd, endings, ended)| {
            for (place, line) in odd {
                lines.insert(1 + place.index(lines.len()), line);
            }
            let mut text = String::new();
            for (line, ending) in lines.iter().zip(endings.iter().cycle()) {
                text.push_str(line);
                text.push_str(ending);
            }
            let kept = if ended { text.len() } else { text.trim_end_matches(['\r', '\n']).len() };
            text.into_bytes()[..kept].to_vec()
        },
    )
}

fn anchor() -> impl Strategy<Value = Anchor> {
    let address = prop_oneof![
        Just(IpAddr::from([47, 103, 169, 66])),
        Just(IpAddr::from([47, 103, 169, 67])),
        Just(IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7])),
    ];
    (address, 1u16..32000, any::<bool>()).prop_map(|(address, half, rtcp_mux)| Anchor {
        address,
        rtp_port: half * 2,
        rtcp_port: half * 2 + 1,
        rtcp_mux,
    })
}

/// The description without what a rewrite may change. Written apart from the crate, over lines with
/// their ends: `c=`, candidate and `a=rtcp-mux` lines left out, other places masked.
fn skeleton(bytes: &[u8]) -> Vec<u8> {
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    for (at, byte) in bytes.iter().enumerate() {
        if let Some(line) = lines.last_mut() {
            line.push(*byte);
        }
        if *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
            lines.push(Vec::new());
        }
    }
    lines.retain(|line| !line.starts_with(b"c=") && !is_removed(line));
    for line in &mut lines {
        let ending = line.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(line.len());
        let text = String::from_utf8_lossy(&line[..ending]).into_owned();
        let words: Vec<&str> = text.split(' ').collect();
        let masked = match words.first() {
            Some(first) if first.starts_with("o=") => words[..4].join(" "),
            Some(first) if first.starts_with("m=") => format!("{first} # {}", words[2..].join(" ")),
            Some(first) if first.starts_with("a=rtcp:") => "a=rtcp:#".to_owned(),
            _ => continue,
        };
        *line = [masked.as_bytes(), &line[ending..]].concat();
    }
    // An inserted last line parts from the one before it with a line end that was not there.
    lines.concat().trim_ascii_end().to_vec()
}

/// The lines that say nothing of a format, with their ends.
fn without_formats(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    for (at, byte) in bytes.iter().enumerate() {
        if let Some(line) = lines.last_mut() {
            line.push(*byte);
        }
        if *byte == b'\n' || (*byte == b'\r' && bytes.get(at + 1) != Some(&b'\n')) {
            lines.push(Vec::new());
        }
    }
    lines.retain(|line| !line.is_empty() && !line.starts_with(b"m=") && !line.starts_with(b"a=rtpmap:"));
    lines
}

fn is_removed(line: &[u8]) -> bool {
    ["a=candidate:", "a=remote-candidates:", "a=end-of-candidates", "a=rtcp-mux"]
        .iter()
        .any(|prefix| line.starts_with(prefix.as_bytes()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300), anchor in anchor()) {
        if let Ok(session) = Session::parse(&bytes) {
            let anchors = vec![Some(anchor); session.media().len()];
            prop_assert!(Session::parse(&rewrite(&session, anchor.address, &anchors)).is_ok());
        }
    }

    #[test]
    fn damaged_descriptions_never_panic(
        mut bytes in wild_description(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        anchors in vec(proptest::option::of(anchor()), 0..64),
    ) {
        for (place, byte) in damage {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(session) = Session::parse(&bytes) {
            let out = rewrite(&session, IpAddr::from([47, 103, 169, 66]), &anchors);
            prop_assert_eq!(Session::parse(&out).map(|again| again.media().len()), Ok(session.media().len()));
        }
    }

    #[test]
    fn all_but_the_named_places_is_byte_identical(
        bytes in wild_description(),
        anchors in vec(proptest::option::of(anchor()), 0..8),
        origin in anchor(),
    ) {
        let session = Session::parse(&bytes).unwrap();
        let out = rewrite(&session, origin.address, &anchors);
        prop_assert_eq!(skeleton(&bytes), skeleton(&out));
        let leaked = out.windows(HIDDEN.len()).any(|part| part == HIDDEN.as_bytes());
        prop_assert!(!leaked, "{}", String::from_utf8_lossy(&out));
    }

    #[test]
    fn a_rewrite_says_where_the_anchors_are(
        bytes in wild_description(),
        anchors in vec(proptest::option::of(anchor()), 0..8),
    ) {
        let session = Session::parse(&bytes).unwrap();
        let count = session.media().len();
        let out = rewrite(&session, IpAddr::from([47, 103, 169, 66]), &anchors);
        let again = Session::parse(&out).unwrap();
        prop_assert_eq!(again.media().len(), count);
        let anchors = anchors.into_iter().chain(std::iter::repeat(None));
        for ((before, after), anchor) in session.media().iter().zip(again.media()).zip(anchors) {
            prop_assert_eq!(after.is_active(), before.is_active() && anchor.is_some());
            prop_assert_eq!((before.kind, before.protocol, before.formats), (after.kind, after.protocol, after.formats));
            prop_assert_eq!(before.direction, after.direction);
            let moved = anchor.filter(|_| before.is_active());
            prop_assert_eq!(after.rtcp_mux, moved.map_or(before.rtcp_mux, |anchor| anchor.rtcp_mux));
            let Some(anchor) = anchor else { continue };
            let expected = before.is_active().then(|| (anchor.address, anchor.rtp_port).into());
            prop_assert_eq!(after.rtp(), expected);
            if let Some(rtcp) = before.rtcp() {
                let shared = rtcp.port() == before.port && (after.rtcp_mux || !before.rtcp_mux);
                let port = if shared { anchor.rtp_port } else { anchor.rtcp_port };
                prop_assert_eq!(after.rtcp(), Some((anchor.address, port).into()));
            }
        }
    }

    #[test]
    fn only_kept_formats_are_left_in_the_order_asked_for(
        bytes in wild_description(),
        lists in vec(proptest::option::of(vec(prop_oneof![Just(8u8), Just(0), Just(101), 0u8..128], 0..6)), 0..6),
    ) {
        let session = Session::parse(&bytes).unwrap();
        let out = keep_formats(&session, &lists);
        let again = Session::parse(&out).unwrap();
        prop_assert_eq!(again.media().len(), session.media().len());
        let all = lists.iter().chain(std::iter::repeat(&None));
        for ((before, after), list) in session.media().iter().zip(again.media()).zip(all) {
            let offered: Vec<u8> = before.payload_types().collect();
            let mut asked: Vec<u8> = list.iter().flatten().copied().filter(|kept| offered.contains(kept)).collect();
            if asked.is_empty() {
                asked.clone_from(&offered);
            } else {
                let named = |kept: &u8| list.iter().flatten().any(|asked| asked == kept);
                prop_assert!(after.rtpmaps.iter().all(|map| named(&map.payload_type)));
            }
            prop_assert_eq!(after.payload_types().collect::<Vec<u8>>(), asked);
            prop_assert_eq!((before.port, before.kind, before.protocol), (after.port, after.kind, after.protocol));
            prop_assert_eq!((before.rtp(), before.rtcp(), before.direction), (after.rtp(), after.rtcp(), after.direction));
        }
        prop_assert_eq!(without_formats(&bytes), without_formats(&out));
        // What is kept is kept again.
        prop_assert_eq!(keep_formats(&again, &lists), out);
    }

    #[test]
    fn the_oracle_reads_the_same_attributes(
        lines in description(),
        anchors in vec(anchor().prop_map(Some), 8),
    ) {
        let bytes = (lines.join("\r\n") + "\r\n").into_bytes();
        let session = Session::parse(&bytes).unwrap();
        let out = rewrite(&session, IpAddr::from([47, 103, 169, 66]), &anchors);
        let before = sdp_types::Session::parse(&bytes).unwrap();
        let after = sdp_types::Session::parse(&out).unwrap();
        prop_assert_eq!(attributes(&before.attributes), attributes(&after.attributes));
        prop_assert_eq!(&before.origin.sess_id, &after.origin.sess_id);
        prop_assert_eq!(before.origin.sess_version, after.origin.sess_version);
        prop_assert_eq!(&after.origin.unicast_address, "47.103.169.66");
        prop_assert_eq!(before.medias.len(), after.medias.len());
        for ((before, after), anchor) in before.medias.iter().zip(&after.medias).zip(anchors.iter().flatten()) {
            prop_assert_eq!(attributes(&before.attributes), attributes(&after.attributes));
            prop_assert_eq!((&before.media, &before.proto, &before.fmt), (&after.media, &after.proto, &after.fmt));
            prop_assert_eq!(after.port, if before.port == 0 { 0 } else { anchor.rtp_port });
        }
    }
}

/// Names and values, without the attributes that a rewrite changes or removes.
fn attributes(all: &[sdp_types::Attribute]) -> Vec<(&str, Option<&str>)> {
    all.iter()
        .map(|attribute| (attribute.attribute.as_str(), attribute.value.as_deref()))
        .filter(|(name, _)| !matches!(*name, "rtcp" | "rtcp-mux" | "rtcp-mux-only"))
        .filter(|(name, _)| !matches!(*name, "candidate" | "remote-candidates" | "end-of-candidates"))
        .collect()
}
