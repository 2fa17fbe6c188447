//! Bodies of several parts, and what is left of them on the other side.

use crate::harness::*;

/// A body with a session description and what a gateway says besides (RFC 3204).
fn parts(description: &str) -> String {
    format!(
        "preamble\r\n--b1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{description}\r\n--b1\r\n\
         Content-Type: application/isup;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n\
         \u{1}ISUP\u{2}\r\n--b1--\r\n",
        description.len()
    )
}

fn multipart(text: &str) -> String {
    text.replacen(
        "Content-Type: application/sdp\r\nContent-Length",
        "Content-Type: multipart/mixed;boundary=b1\r\nContent-Length",
        1,
    )
}

#[test]
fn the_description_among_parts_is_rewritten_and_the_rest_kept() {
    let mut net = Net::new();
    net.receive(CALLER, &multipart(&invite("5551000", "c1", &parts(&sdp("192.0.2.10", 4000)))));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert_eq!(out.header("Content-Type"), "multipart/mixed;boundary=b1");
    assert_eq!(out.body(), parts(&sdp("198.51.100.1", 20_002)));
    assert_eq!(out.header("Content-Length"), out.body().len().to_string());
    let ok = answer(&out, "200 OK", "bob", CALLEE, &parts(&sdp("198.51.100.20", 6000)));
    net.receive(CALLEE, &multipart(&ok));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(ok.body(), parts(&sdp("192.0.2.1", 20_000)));
    let (_, spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4000".parse().unwrap()));
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6000".parse().unwrap()));
}

#[test]
fn parts_without_a_description_cross_as_they_are() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let body = "--b1\r\nContent-Type: application/isup\r\n\r\nISUP\r\n--b1--\r\n";
    net.receive(CALLER, &multipart(&caller_request("INFO", 2, "c1", &up.tag, body)));
    let info = net.expect(CALLEE, "INFO");
    assert_eq!((info.header("Content-Type"), info.body()), ("multipart/mixed;boundary=b1", body));
}

#[test]
fn what_cannot_be_read_is_refused() {
    let two = parts(&sdp("192.0.2.10", 4000)).replace("application/isup;version=itu-t92+", "application/sdp");
    let encoded = parts(&sdp("192.0.2.10", 4000)).replacen(
        "Content-Length",
        "Content-Transfer-Encoding: base64\r\nContent-Length",
        1,
    );
    let endless = "no boundary at all".to_owned();
    for (call_id, body) in [("m1", two), ("m2", encoded), ("m3", endless)] {
        let mut net = Net::new();
        net.receive(CALLER, &multipart(&invite("5551000", call_id, &body)));
        assert_eq!(net.expect(CALLER, "SIP/2.0 415").header("Accept"), "application/sdp, multipart/mixed");
        net.quiet();
    }
}

#[test]
fn a_codec_that_differs_between_183_and_200_goes_on_as_it_is() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "183 Session Progress", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 183");
    let other = |ip, port| sdp(ip, port).replace("AVP 8 101", "AVP 0 96").replace("rtpmap:101", "rtpmap:96");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &other("198.51.100.20", 6002)));
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").body(), other("192.0.2.1", 20_000));
    assert_eq!(net.session().1.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6002".parse().unwrap()));
}

#[test]
fn every_form_of_hold_stops_the_watch_for_media() {
    for held in [
        format!("{}a=inactive\r\n", sdp("192.0.2.10", 4000)),
        format!("{}a=sendonly\r\n", sdp("192.0.2.10", 4000)),
        sdp("192.0.2.10", 4000).replace("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n"),
        sdp("0.0.0.0", 4000),
        format!("{}c=IN IP4 0.0.0.0\r\n", sdp("192.0.2.10", 4000).replace("c=IN IP4 192.0.2.10\r\n", "")),
    ] {
        let mut net = Net::new();
        let up = establish(&mut net);
        net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &held));
        net.expect(CALLER, "SIP/2.0 100");
        let out = net.expect(CALLEE, "INVITE");
        assert!(!out.body().contains("192.0.2."), "{}", out.body());
        net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
        net.expect(CALLER, "SIP/2.0 200");
        assert_eq!(net.session().1.media_timeout_ms, 0, "{held}");
    }
}
