use super::*;
use crate::MAX_BYTES;

const ORIGIN: &str = "47.103.169.66";

fn anchor(address: &str, port: u16) -> Option<Anchor> {
    Some(Anchor { address: address.parse().unwrap(), rtp_port: port, rtcp_port: port + 1, rtcp_mux: false })
}

/// One whose RTCP shares the RTP port.
fn muxed(port: u16) -> Option<Anchor> {
    anchor(ORIGIN, port).map(|anchor| Anchor { rtcp_mux: true, ..anchor })
}

fn rewritten(text: &str, anchors: &[Option<Anchor>]) -> String {
    assert!(text.len() <= MAX_BYTES);
    let session = Session::parse(text.as_bytes()).unwrap();
    String::from_utf8(rewrite(&session, ORIGIN.parse().unwrap(), anchors)).unwrap()
}

/// Applies `changes` to `text` and expects the same from a rewrite.
fn expect_changes(text: &str, anchors: &[Option<Anchor>], changes: &[(&str, &str)]) {
    let mut expected = text.to_owned();
    for (from, to) in changes {
        assert!(expected.contains(from), "{from:?} is in the example");
        expected = expected.replace(from, to);
    }
    assert_eq!(rewritten(text, anchors), expected);
}

#[test]
fn only_addresses_and_ports_change() {
    expect_changes(
        "v=0\r\no=alice  2890844526 99999999999999999999999 IN IP4 10.1.1.1\r\ns= talk \r\nc=IN IP4 10.1.1.1\r\nt=0 0\r\n\
         z=odd\r\nunknown line\r\nm=audio 40000 RTP/AVP 0 8\r\na=rtcp:40001 IN IP4 10.1.1.1\r\na=x-own:10.1.1.1\r\n",
        &[anchor("47.103.169.67", 20000)],
        &[
            ("IN IP4 10.1.1.1\r\ns=", "IN IP4 47.103.169.66\r\ns="),
            ("c=IN IP4 10.1.1.1", "c=IN IP4 47.103.169.67"),
            ("m=audio 40000", "m=audio 20000"),
            ("a=rtcp:40001 IN IP4 10.1.1.1", "a=rtcp:20001 IN IP4 47.103.169.67"),
        ],
    );
}

#[test]
fn line_ends_stay_as_they_were() {
    let text = "v=0\no=- 1 1 IN IP4 10.1.1.1\r\nc=IN IP4 10.1.1.1\rm=audio 40000 RTP/AVP 0\n\na=x";
    expect_changes(text, &[anchor(ORIGIN, 20000)], &[("10.1.1.1", ORIGIN), ("40000", "20000")]);
}

#[test]
fn the_family_follows_the_anchor() {
    expect_changes(
        "v=0\no=- 1 1 IN IP6 2001:db8::1\nc=IN IP6 2001:db8::1\nm=audio 40000 RTP/AVP 0\nm=audio 40002 RTP/AVP 0\n\
         c=IN IP4 10.1.1.1\na=rtcp:40003 IN IP4 10.1.1.1\n",
        &[anchor("47.103.169.67", 20000), anchor("2001:db8:5::9", 20002)],
        &[
            ("o=- 1 1 IN IP6 2001:db8::1", "o=- 1 1 IN IP4 47.103.169.66"),
            ("c=IN IP6 2001:db8::1", "c=IN IP4 47.103.169.67"),
            ("c=IN IP4 10.1.1.1", "c=IN IP6 2001:db8:5::9"),
            ("a=rtcp:40003 IN IP4 10.1.1.1", "a=rtcp:20003 IN IP6 2001:db8:5::9"),
            ("40000", "20000"),
            ("40002", "20002"),
        ],
    );
}

#[test]
fn a_hold_keeps_its_unspecified_address() {
    let anchors = [anchor(ORIGIN, 20000)];
    let session_level = "v=0\nc=IN IP4 0.0.0.0\nm=audio 40000 RTP/AVP 0\n";
    expect_changes(session_level, &anchors, &[("40000", "20000")]);
    let media_level = "v=0\nc=IN IP4 10.1.1.1\nm=audio 40000 RTP/AVP 0\nc=IN IP6 ::\na=rtcp:40001 IN IP6 ::\n";
    expect_changes(
        media_level,
        &anchors,
        &[("10.1.1.1", ORIGIN), ("m=audio 40000", "m=audio 20000"), ("40001", "20001")],
    );
}

#[test]
fn ttl_goes_and_port_count_stays() {
    expect_changes(
        "v=0\nc=IN IP4 224.2.1.1/127/3\nm=video 40000/2 RTP/AVP 31\n",
        &[anchor(ORIGIN, 20000)],
        &[("224.2.1.1/127/3", ORIGIN), ("40000/2", "20000/2")],
    );
}

#[test]
fn rtcp_that_shared_the_rtp_port_still_does() {
    expect_changes(
        "v=0\nc=IN IP4 10.1.1.1\nm=audio 40000 RTP/AVP 0\na=rtcp:40000\na=rtcp-mux\n",
        &[muxed(20000)],
        &[("10.1.1.1", ORIGIN), ("40000", "20000")],
    );
    // Nor is it parted where nothing was said of sharing.
    expect_changes(
        "v=0\nc=IN IP4 10.1.1.1\nm=audio 40000 RTP/AVP 0\na=rtcp:40000\n",
        &[anchor(ORIGIN, 20000)],
        &[("10.1.1.1", ORIGIN), ("40000", "20000")],
    );
}

#[test]
fn rtcp_mux_goes_where_the_anchor_has_none() {
    expect_changes(
        "v=0\nc=IN IP4 10.1.1.1\nm=audio 40000 RTP/AVP 0\na=rtcp-mux\na=rtcp-mux-only\na=rtcp:40000\na=sendrecv\n",
        &[anchor(ORIGIN, 20000)],
        &[
            ("10.1.1.1", ORIGIN),
            ("a=rtcp-mux-only\n", ""),
            ("a=rtcp-mux\n", ""),
            ("a=rtcp:40000", "a=rtcp:20001"),
            ("m=audio 40000", "m=audio 20000"),
        ],
    );
    let refused = "v=0\nc=IN IP4 10.1.1.1\nm=audio 0 RTP/AVP 0\na=rtcp-mux\n";
    expect_changes(refused, &[anchor(ORIGIN, 20000)], &[("10.1.1.1", ORIGIN)]);
}

#[test]
fn rtcp_mux_comes_last_in_its_section_where_the_anchor_has_it() {
    expect_changes(
        "v=0\r\nc=IN IP4 10.1.1.1\r\nm=audio 40000 RTP/AVP 0\r\na=ptime:20\r\na=candidate:1 1 udp 1 10.1.1.1 9 typ host\r\n\r\n\
         m=video 40002 RTP/AVP 31\r\na=rtcp-mux\r\nm=image 40004 udptl t38\r\nm=video 0 RTP/AVP 31\r\n",
        &[muxed(20000), muxed(20002), muxed(20004), muxed(20006)],
        &[
            ("a=candidate:1 1 udp 1 10.1.1.1 9 typ host\r\n", ""),
            ("a=ptime:20\r\n", "a=ptime:20\r\na=rtcp-mux\r\n"),
            ("10.1.1.1", ORIGIN),
            ("4000", "2000"),
        ],
    );
    // A line that has no end yet gets one, and c= comes before attributes.
    let bare = "v=0\nm=audio 40000 RTP/AVP 0";
    let expected = format!("v=0\nm=audio 20000 RTP/AVP 0\nc=IN IP4 {ORIGIN}\na=rtcp-mux");
    assert_eq!(rewritten(bare, &[muxed(20000)]), expected);
}

#[test]
fn host_names_and_every_connection_line_are_replaced() {
    expect_changes(
        "v=0\nc=IN IP4 a.example.com\nc=IN IP4 b.example.com\nm=audio 40000 RTP/AVP 0\nc=IN IP4 c.example.com\nc=IN IP4 10.1.1.1\n",
        &[anchor(ORIGIN, 20000)],
        &[
            ("a.example.com", ORIGIN),
            ("b.example.com", ORIGIN),
            ("c.example.com", ORIGIN),
            ("10.1.1.1", ORIGIN),
            ("40000", "20000"),
        ],
    );
}

#[test]
fn candidates_go() {
    expect_changes(
        "v=0\nc=IN IP4 10.1.1.1\nm=audio 40000 RTP/AVP 0\na=ice-ufrag:x\na=candidate:1 1 udp 1 10.1.1.1 40000 typ host\n\
         a=end-of-candidates\na=remote-candidates:1 10.1.1.2 1\na=candidates-of-mine\n",
        &[anchor(ORIGIN, 20000)],
        &[
            ("a=candidate:1 1 udp 1 10.1.1.1 40000 typ host\n", ""),
            ("a=end-of-candidates\n", ""),
            ("a=remote-candidates:1 10.1.1.2 1\n", ""),
            ("10.1.1.1", ORIGIN),
            ("40000", "20000"),
        ],
    );
}

/// baresip's canonical name is its address of record: RFC 3550 section 6.5.1 suggests user@host.
#[test]
fn canonical_names_that_show_a_host_go() {
    expect_changes(
        "v=0\nc=IN IP4 10.1.1.1\nm=audio 40000 RTP/AVP 0\na=ssrc:7 cname:sip:7000@10.1.1.1:5070\n\
         a=ssrc:7 msid:x y@z\na=ssrc:8 cname:pDUtFGLDTzrSqrfA\na=ssrc:9\n",
        &[anchor(ORIGIN, 20000)],
        &[("a=ssrc:7 cname:sip:7000@10.1.1.1:5070\n", ""), ("10.1.1.1", ORIGIN), ("40000", "20000")],
    );
}

#[test]
fn stray_rtcp_at_session_level_goes() {
    expect_changes(
        "v=0\na=rtcp:9 IN IP4 10.1.1.1\r\nm=audio 40000 RTP/AVP 0\nc=IN IP4 10.1.1.1\n",
        &[anchor(ORIGIN, 20000)],
        &[("a=rtcp:9 IN IP4 10.1.1.1\r\n", ""), ("10.1.1.1", ORIGIN), ("40000", "20000")],
    );
}

#[test]
fn a_refused_section_stays_refused_and_shows_no_address() {
    expect_changes(
        "v=0\nc=IN IP4 10.1.1.1\nm=audio 40000 RTP/AVP 0\nm=video 0 RTP/AVP 31\nc=IN IP4 10.1.1.1\n\
         a=rtcp:9 IN IP4 10.1.1.1\na=candidate:1 1 udp 1 10.1.1.1 9 typ host\n",
        &[anchor(ORIGIN, 20000), None],
        &[("a=candidate:1 1 udp 1 10.1.1.1 9 typ host\n", ""), ("10.1.1.1", ORIGIN), ("40000", "20000")],
    );
    let only = "v=0\nc=IN IP4 10.1.1.1\nm=audio 0 RTP/AVP 0\n";
    expect_changes(only, &[None], &[("10.1.1.1", ORIGIN)]);
    expect_changes(only, &[anchor("47.103.169.67", 20000)], &[("10.1.1.1", "47.103.169.67")]);
}

#[test]
fn sections_on_several_addresses_get_their_own_connection() {
    expect_changes(
        "v=0\nc=IN IP4 10.1.1.1\nm=audio 40000 RTP/AVP 0\nm=video 40002 RTP/AVP 31\r\ni=camera\r\nb=AS:64\n",
        &[anchor("47.103.169.67", 20000), anchor("47.103.169.68", 20002)],
        &[
            ("10.1.1.1", "47.103.169.67"),
            ("40000", "20000"),
            ("40002", "20002"),
            ("i=camera\r\n", "i=camera\r\nc=IN IP4 47.103.169.68\r\n"),
        ],
    );
}

#[test]
fn an_anchored_section_always_has_a_connection() {
    expect_changes(
        "v=0\r\nm=audio 40000 RTP/AVP 0",
        &[anchor("2001:db8::9", 20000)],
        &[("40000 RTP/AVP 0", "20000 RTP/AVP 0\r\nc=IN IP6 2001:db8::9")],
    );
}

#[test]
fn a_section_that_is_not_anchored_is_shown_as_refused() {
    let text = "v=0\no=- 1 1 IN IP4 10.1.1.1\nc=IN IP4 10.1.1.1/3\nm=audio 40000 RTP/AVP 0\n\
        m=video 40002/2 RTP/AVP 31\nc=IN IP4 10.1.1.1\na=rtcp:9 IN IP4 10.1.1.1\n\
        a=candidate:1 1 udp 1 10.1.1.1 9 typ host\na=x:y\n";
    let candidate = ("a=candidate:1 1 udp 1 10.1.1.1 9 typ host\n", "");
    let refused = ("m=video 40002/2", "m=video 0/2");
    expect_changes(
        text,
        &[anchor("47.103.169.67", 20000), None],
        &[candidate, ("10.1.1.1/3\nm=audio 40000", "47.103.169.67\nm=audio 20000"), refused, ("10.1.1.1", ORIGIN)],
    );
    let nothing_left = [candidate, ("10.1.1.1/3", ORIGIN), ("10.1.1.1", ORIGIN), ("audio 40000", "audio 0"), refused];
    expect_changes(text, &[None, None], &nothing_left);
}

#[test]
fn a_refused_section_needs_no_connection_of_its_own() {
    expect_changes(
        "v=0\nc=IN IP4 10.1.1.1\nm=application 40002 UDP/BFCP *\nm=audio 40000 RTP/AVP 0\n",
        &[None, anchor("47.103.169.67", 20000)],
        &[("10.1.1.1", "47.103.169.67"), ("40002", "0"), ("40000", "20000")],
    );
    expect_changes("v=0\nm=audio 40000 RTP/AVP 0\n", &[None], &[("40000", "0")]);
}

#[test]
fn a_missing_anchor_is_none_and_a_surplus_one_is_ignored() {
    let text = "v=0\nc=IN IP4 10.1.1.1\nm=audio 40000 RTP/AVP 0\nm=video 40002 RTP/AVP 31\n";
    let (first, second) = (anchor("47.103.169.67", 20000), anchor("47.103.169.68", 20002));
    for few in [&[][..], &[first]] {
        let padded: Vec<_> = few.iter().copied().chain([None, None]).take(2).collect();
        assert_eq!(rewritten(text, few), rewritten(text, &padded));
    }
    assert_eq!(rewritten(text, &[first, second, anchor("47.103.169.69", 20004)]), rewritten(text, &[first, second]));
    let surplus_only = "v=0\nc=IN IP4 10.1.1.1\n";
    expect_changes(surplus_only, &[second], &[("10.1.1.1", ORIGIN)]);
}

#[test]
fn rewriting_twice_is_rewriting_once() {
    let text = "v=0\no=- 1 1 IN IP4 10.1.1.1\nc=IN IP4 10.1.1.1\nm=audio 40000 RTP/AVP 0\na=rtcp:40001\nm=video 4 RTP/AVP 31\n";
    let anchors = [anchor("47.103.169.67", 20000), anchor("2001:db8::9", 20002)];
    let once = rewritten(text, &anchors);
    assert_eq!(rewritten(&once, &anchors), once);
}
