//! Re-INVITEs: hold and resume, moved media, added streams, glare, refusal.

use crate::harness::*;

fn two_streams(ip: &str, port: u16) -> String {
    format!("{}m=video {} RTP/AVP 96\r\n", sdp(ip, port), port + 2)
}

#[test]
fn hold_and_resume_and_no_media_timeout_while_held() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let held = format!("{}a=sendonly\r\n", sdp("192.0.2.10", 4000));
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &held));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    assert_eq!(out.body(), format!("{}a=sendonly\r\n", sdp("198.51.100.1", 20_002)));
    assert_eq!(out.tag("To"), "bob");
    let reply = format!("{}a=recvonly\r\n", sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &reply));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &up.tag, ""));
    let ack = net.expect(CALLEE, "ACK");
    assert_eq!(ack.header("CSeq"), out.header("CSeq").replace("INVITE", "ACK"));
    assert_eq!(net.session().1.media_timeout_ms, 0);

    // c=0.0.0.0 is the older way to say the same.
    net.receive(CALLER, &caller_request("INVITE", 3, "c1", &up.tag, &sdp("0.0.0.0", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert!(out.body().contains("\r\nc=IN IP4 0.0.0.0\r\n"), "{}", out.body());
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &reply));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 3, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    let nowhere = "0.0.0.0:4000".parse().unwrap();
    assert_eq!(net.session().1.legs[0].streams[0].remote_rtp, Some(nowhere), "nothing is sent to the party");
    assert_eq!(net.session().1.media_timeout_ms, 0);

    // Resumed from another port.
    net.receive(CALLER, &caller_request("INVITE", 4, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert_eq!(out.body(), sdp("198.51.100.1", 20_002), "our own port stays");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 4, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    let (_, spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4010".parse().unwrap()));
    assert_eq!(spec.media_timeout_ms, 60_000);
}

#[test]
fn an_ack_that_was_lost_is_repeated_after_the_next_reinvite_too() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let mut answers = vec![answer(&up.invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000))];
    for cseq in [2, 3] {
        net.receive(CALLER, &caller_request("INVITE", cseq, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
        net.expect(CALLER, "SIP/2.0 100");
        let out = net.expect(CALLEE, "INVITE");
        answers.push(answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
        net.receive(CALLEE, &answers[cseq as usize - 1]);
        net.expect(CALLER, "SIP/2.0 200");
        net.receive(CALLER, &caller_request("ACK", cseq, "c1", &up.tag, ""));
        net.expect(CALLEE, "ACK");
    }
    net.quiet();
    for (repeated, cseq) in answers.iter().zip(1..) {
        net.receive(CALLEE, repeated);
        assert_eq!(net.expect(CALLEE, "ACK").header("CSeq"), format!("{cseq} ACK"));
        net.quiet();
    }
}

#[test]
fn the_callee_reinvites_too() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLEE, &callee_request("INVITE", 7, &up.invite, "bob", &sdp("198.51.100.20", 6010)));
    net.expect(CALLEE, "SIP/2.0 100");
    let out = net.expect(CALLER, "INVITE sip:2001@192.0.2.10:5060");
    assert_eq!(out.body(), sdp("192.0.2.1", 20_000));
    net.receive(CALLER, &answer(&out, "200 OK", "alice", CALLER, &sdp("192.0.2.10", 4000)));
    net.expect(CALLEE, "SIP/2.0 200");
    net.receive(CALLEE, &callee_request("ACK", 7, &up.invite, "bob", ""));
    net.expect(CALLER, "ACK");
    net.quiet();
    assert_eq!(net.session().1.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6010".parse().unwrap()));
}

#[test]
fn a_stream_is_added_and_removed() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &two_streams("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert!(out.body().contains("m=video 20006 RTP/AVP 96\r\n"), "{}", out.body());
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &two_streams("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert!(ok.body().contains("m=video 20004 RTP/AVP 96\r\n"), "{}", ok.body());
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    let (_, spec) = net.session();
    assert!(spec.legs.iter().all(|leg| leg.streams.iter().all(|stream| stream.active)));

    let without = two_streams("192.0.2.10", 4000).replace("m=video 4002", "m=video 0");
    net.receive(CALLER, &caller_request("INVITE", 3, "c1", &up.tag, &without));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert!(out.body().contains("m=video 0 RTP/AVP 96\r\n"));
    let refused = two_streams("198.51.100.20", 6000).replace("m=video 6002", "m=video 0");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &refused));
    net.expect(CALLER, "SIP/2.0 200");
    let (_, spec) = net.session();
    assert!(spec.legs.iter().all(|leg| leg.streams[0].active && !leg.streams[1].active));
}

#[test]
fn a_refused_reinvite_leaves_the_call_as_it_was() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let before = net.session().1.legs;
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &two_streams("192.0.2.99", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "488 Not Acceptable Here", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.expect(CALLER, "SIP/2.0 488");
    assert_eq!(net.session().1.legs, before);
    assert_eq!(net.counters().calls_active, 1);
    // And the next one is welcome.
    net.receive(CALLER, &caller_request("INVITE", 3, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
}

#[test]
fn glare_is_491_and_a_second_invite_500() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &callee_request("INVITE", 1, &up.invite, "bob", &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "SIP/2.0 491");
    net.receive(CALLER, &caller_request("INVITE", 3, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    let refused = net.expect(CALLER, "SIP/2.0 500");
    assert!(refused.header("Retry-After").parse::<u8>().unwrap() < 10);
    net.quiet();
}

#[test]
fn a_late_offer_in_a_reinvite_is_answered_in_the_ack() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6020)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(ok.body(), sdp("192.0.2.1", 20_000));
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &up.tag, &sdp("192.0.2.10", 4020)));
    assert_eq!(net.expect(CALLEE, "ACK").body(), sdp("198.51.100.1", 20_002));
    let (_, spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4020".parse().unwrap()));
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6020".parse().unwrap()));
}

#[test]
fn a_request_out_of_order_is_refused() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("INFO", 5, "c1", &up.tag, ""));
    net.expect(CALLEE, "INFO");
    net.receive(CALLER, &caller_request("INFO", 3, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 500");
}

#[test]
fn options_and_info_inside_the_call_are_carried() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("OPTIONS", 2, "c1", &up.tag, ""));
    let carried = net.expect(CALLEE, "OPTIONS sip:198.51.100.20:5060");
    assert_eq!(carried.tag("To"), "bob");
    net.receive(CALLEE, &answer(&carried, "200 OK", "", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLEE, &callee_request("INFO", 1, &up.invite, "bob", ""));
    let carried = net.expect(CALLER, "INFO sip:2001@192.0.2.10:5060");
    net.receive(CALLER, &answer(&carried, "415 Unsupported Media Type", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 415");
    net.quiet();
}

#[test]
fn a_call_that_ends_while_a_reinvite_is_open_ends_it_too() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "100 Trying", "bob", CALLEE, ""));
    net.receive(CALLER, &caller_request("BYE", 3, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    // Without it the re-INVITE would ring on for ever.
    net.expect(CALLEE, "CANCEL");
    net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&out, "487 Request Terminated", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.nothing_left();
}
