//! UPDATE (RFC 3311): new offers before and after the answer, without an INVITE.

use moorline_b2bua::policy::{Credentials, Password};

use crate::harness::*;

const ALLOW: &str = "Supported: 100rel\r\nAllow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE\r\n";

/// A call that rings, whose parties have offer and answer for good and take UPDATE: Moorline's tag towards the caller,
/// and the INVITE.
fn ringing(net: &mut Net) -> Up {
    net.receive(CALLER, &with(&invite("5551000", "c1", &sdp("192.0.2.10", 4000)), ALLOW));
    net.expect(CALLER, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE");
    let progress = answer(&invite, "183 Session Progress", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &with(&progress, "Require: 100rel\r\nRSeq: 1\r\nAllow: INVITE, UPDATE\r\n"));
    let prack = net.expect(CALLEE, "PRACK");
    net.receive(CALLEE, &answer(&prack, "200 OK", "", CALLEE, ""));
    let shown = net.expect(CALLER, "SIP/2.0 183");
    let tag = shown.tag("To").to_owned();
    let rack = format!("RAck: {} 1 INVITE\r\n", shown.header("RSeq"));
    net.receive(CALLER, &with(&caller_request("PRACK", 2, "c1", &tag, ""), &rack));
    net.expect(CALLER, "SIP/2.0 200");
    net.quiet();
    Up { tag, invite }
}

/// The same, answered.
fn talking(net: &mut Net) -> Up {
    let up = ringing(net);
    net.receive(CALLEE, &answer(&up.invite, "200 OK", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    up
}

#[test]
fn the_caller_updates_an_early_dialog() {
    let mut net = Net::new();
    let up = ringing(&mut net);
    net.media.paused = true;
    net.receive(CALLER, &caller_request("UPDATE", 3, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    net.quiet();
    net.resume_media();
    let update = net.expect(CALLEE, "UPDATE sip:198.51.100.20:5060");
    assert_eq!((update.body(), update.header("CSeq")), (sdp("198.51.100.1", 20_002).as_str(), "3 UPDATE"));
    assert_eq!(update.header("Contact"), "<sip:198.51.100.1:5060>");
    // The answer goes on when the media process has it.
    net.media.paused = true;
    net.receive(CALLEE, &answer(&update, "200 OK", "", CALLEE, &sdp("198.51.100.20", 6010)));
    net.quiet();
    net.resume_media();
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!((ok.header("CSeq"), ok.body()), ("3 UPDATE", sdp("192.0.2.1", 20_000).as_str()));
    let (_, spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4010".parse().unwrap()));
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6010".parse().unwrap()));
    // The call is answered as ever.
    net.receive(CALLEE, &answer(&up.invite, "200 OK", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLER, &caller_request("BYE", 4, "c1", &up.tag, ""));
    assert_eq!(net.expect(CALLEE, "BYE").header("CSeq"), "4 BYE");
    net.nothing_left();
}

#[test]
fn the_callee_updates_an_early_dialog() {
    let mut net = Net::new();
    let up = ringing(&mut net);
    net.receive(CALLEE, &callee_request("UPDATE", 1, &up.invite, "bob", &sdp("198.51.100.20", 6010)));
    let update = net.expect(CALLER, "UPDATE sip:2001@192.0.2.10:5060");
    assert_eq!(update.body(), sdp("192.0.2.1", 20_000));
    net.receive(CALLER, &answer(&update, "200 OK", "", CALLER, &sdp("192.0.2.10", 4000)));
    let ok = net.expect(CALLEE, "SIP/2.0 200");
    assert_eq!((ok.header("CSeq"), ok.body()), ("1 UPDATE", sdp("198.51.100.1", 20_002).as_str()));
    net.quiet();
}

#[test]
fn both_update_a_call_that_is_up() {
    let mut net = Net::new();
    let up = talking(&mut net);
    let held = format!("{}a=sendonly\r\n", sdp("192.0.2.10", 4000));
    net.receive(CALLER, &caller_request("UPDATE", 4, "c1", &up.tag, &held));
    let update = net.expect(CALLEE, "UPDATE");
    let reply = format!("{}a=recvonly\r\n", sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &answer(&update, "200 OK", "", CALLEE, &reply));
    assert!(net.expect(CALLER, "SIP/2.0 200").body().ends_with("a=recvonly\r\n"));
    assert_eq!(net.session().1.media_timeout_ms, 0);
    net.receive(CALLEE, &callee_request("UPDATE", 1, &up.invite, "bob", &sdp("198.51.100.20", 6010)));
    let update = net.expect(CALLER, "UPDATE");
    net.receive(CALLER, &answer(&update, "200 OK", "", CALLER, &sdp("192.0.2.10", 4000)));
    net.expect(CALLEE, "SIP/2.0 200");
    assert_eq!(net.session().1.media_timeout_ms, 60_000);
    net.quiet();
}

#[test]
fn an_update_becomes_a_reinvite_for_a_party_that_takes_none() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("UPDATE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    let out = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    assert_eq!(out.body(), sdp("198.51.100.1", 20_002));
    let ok = answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &ok);
    assert_eq!(net.expect(CALLEE, "ACK").header("CSeq"), out.header("CSeq").replace("INVITE", "ACK"));
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").header("CSeq"), "2 UPDATE");
    net.receive(CALLEE, &ok);
    net.expect(CALLEE, "ACK");
    net.quiet();
    // Refused, it leaves the call as it was.
    let before = net.session().1.legs;
    net.receive(CALLER, &caller_request("UPDATE", 3, "c1", &up.tag, &sdp("192.0.2.10", 4020)));
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "488 Not Acceptable Here", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.expect(CALLER, "SIP/2.0 488");
    assert_eq!(net.session().1.legs, before);
    net.quiet();
}

#[test]
fn an_update_that_is_faster_than_the_ack_does_not_lose_it() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE");
    let ok = answer(&invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &ok);
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("UPDATE", 2, "c1", &tag, &sdp("192.0.2.10", 4010)));
    assert_eq!(net.expect(CALLEE, "ACK").header("CSeq"), "1 ACK");
    assert_eq!(net.expect(CALLEE, "INVITE").header("CSeq"), "2 INVITE");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.receive(CALLEE, &ok);
    assert_eq!(net.expect(CALLEE, "ACK").header("CSeq"), "1 ACK");
    net.quiet();
}

#[test]
fn an_update_without_an_offer_is_answered_here() {
    let mut net = Net::new();
    let up = talking(&mut net);
    let moved =
        caller_request("UPDATE", 4, "c1", &up.tag, "").replace("sip:2001@192.0.2.10:5060", "sip:2001@192.0.2.10:5070");
    net.receive(CALLER, &moved);
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(ok.header("Contact"), "<sip:192.0.2.1:5060>");
    assert!(ok.header("Allow").contains("UPDATE"));
    net.quiet();
    net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
    net.expect("192.0.2.10:5070", "BYE sip:2001@192.0.2.10:5070");
}

#[test]
fn offers_that_cross_are_refused() {
    let mut net = Net::new();
    let up = talking(&mut net);
    net.receive(CALLER, &caller_request("UPDATE", 4, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    let update = net.expect(CALLEE, "UPDATE");
    net.receive(CALLEE, &callee_request("UPDATE", 1, &up.invite, "bob", &sdp("198.51.100.20", 6010)));
    net.expect(CALLEE, "SIP/2.0 491");
    net.receive(CALLEE, &callee_request("INVITE", 2, &up.invite, "bob", &sdp("198.51.100.20", 6010)));
    net.expect(CALLEE, "SIP/2.0 491");
    net.receive(CALLER, &caller_request("UPDATE", 5, "c1", &up.tag, ""));
    assert!(net.expect(CALLER, "SIP/2.0 500").header("Retry-After").parse::<u8>().unwrap() < 10);
    net.receive(CALLEE, &answer(&update, "200 OK", "", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
    // While a re-INVITE is open too.
    net.receive(CALLER, &caller_request("INVITE", 6, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &callee_request("UPDATE", 3, &up.invite, "bob", &sdp("198.51.100.20", 6010)));
    net.expect(CALLEE, "SIP/2.0 491");
    net.receive(CALLER, &caller_request("UPDATE", 7, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    net.expect(CALLER, "SIP/2.0 500").header("Retry-After");
    net.quiet();
}

#[test]
fn before_the_first_answer_there_is_no_second_offer() {
    let mut net = Net::new();
    net.receive(CALLER, &with(&invite("5551000", "c1", &sdp("192.0.2.10", 4000)), "Allow: INVITE, UPDATE\r\n"));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let ringing = answer(&out, "180 Ringing", "bob", CALLEE, "");
    net.receive(CALLEE, &with(&ringing, "Allow: INVITE, UPDATE\r\n"));
    let tag = net.expect(CALLER, "SIP/2.0 180").tag("To").to_owned();
    net.receive(CALLER, &caller_request("UPDATE", 2, "c1", &tag, &sdp("192.0.2.10", 4010)));
    net.expect(CALLER, "SIP/2.0 500").header("Retry-After");
    net.receive(CALLEE, &callee_request("UPDATE", 1, &out, "bob", &sdp("198.51.100.20", 6010)));
    net.expect(CALLEE, "SIP/2.0 491");
    // Without an offer it is answered.
    net.receive(CALLEE, &callee_request("UPDATE", 2, &out, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.quiet();
}

#[test]
fn an_update_that_is_not_answered_fails_and_the_call_goes_on() {
    let mut net = Net::new();
    let up = talking(&mut net);
    let before = net.session().1.legs;
    net.receive(CALLER, &caller_request("UPDATE", 4, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    net.advance(33 * SECOND);
    let sent = net.take_sent();
    assert!(sent.iter().any(|(to, m)| to == CALLER && m.start().starts_with("SIP/2.0 408")));
    assert_eq!((net.counters().calls_active, net.session().1.legs), (1, before));
    net.receive(CALLER, &caller_request("UPDATE", 5, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    net.expect(CALLEE, "UPDATE");
    // And one that is open when the call ends is answered.
    net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.expect(CALLER, "BYE");
    net.nothing_left();
}

#[test]
fn what_the_media_process_refuses_is_refused() {
    let mut net = Net::new();
    let up = talking(&mut net);
    let more = format!("{}m=video 4012 RTP/AVP 96\r\n", sdp("192.0.2.10", 4010));
    net.media.refuse = Some(moorline_control::Refusal::new(moorline_control::RefusalCode::OutOfPorts, "none"));
    net.receive(CALLER, &caller_request("UPDATE", 4, "c1", &up.tag, &more));
    net.expect(CALLER, "SIP/2.0 503");
    net.quiet();
    assert_eq!(net.counters().calls_active, 1);
}

#[test]
fn the_early_dialog_that_was_shown_last_is_updated() {
    let mut net = Net::new();
    let up = ringing(&mut net);
    // Another branch rings, and the caller hears of it.
    let ringing =
        answer(&up.invite, "183 Session Progress", "carol", "198.51.100.22:5060", &sdp("198.51.100.22", 6100));
    net.receive(CALLEE, &with(&ringing, "Require: 100rel\r\nRSeq: 9\r\nAllow: INVITE, UPDATE\r\n"));
    net.expect("198.51.100.22:5060", "PRACK");
    let shown = net.expect(CALLER, "SIP/2.0 183");
    let rack = format!("RAck: {} 1 INVITE\r\n", shown.header("RSeq"));
    net.receive(CALLER, &with(&caller_request("PRACK", 3, "c1", &up.tag, ""), &rack));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("UPDATE", 4, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    let update = net.expect("198.51.100.22:5060", "UPDATE sip:198.51.100.22:5060");
    assert_eq!(update.tag("To"), "carol");
}

#[test]
fn an_update_in_one_early_dialog_does_not_hide_the_answer_of_another() {
    for by_caller in [true, false] {
        let mut net = Net::new();
        let up = ringing(&mut net);
        let update = if by_caller {
            net.receive(CALLER, &caller_request("UPDATE", 3, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
            net.expect(CALLEE, "UPDATE")
        } else {
            net.receive(CALLEE, &callee_request("UPDATE", 1, &up.invite, "bob", &sdp("198.51.100.20", 6010)));
            net.expect(CALLER, "UPDATE")
        };
        let carol = "198.51.100.22:5060";
        net.receive(CALLEE, &answer(&up.invite, "200 OK", "carol", carol, &sdp("198.51.100.22", 6100)));
        // Whoever offered is told that it is in vain; what is said to the offer after that changes nothing.
        if by_caller {
            assert_eq!(net.expect(CALLER, "SIP/2.0 491").header("CSeq"), "3 UPDATE");
            net.receive(CALLEE, &answer(&update, "200 OK", "", CALLEE, &sdp("198.51.100.20", 6010)));
        } else {
            assert_eq!(net.expect(CALLEE, "SIP/2.0 491").header("CSeq"), "1 UPDATE");
            net.receive(CALLER, &answer(&update, "200 OK", "", CALLER, &sdp("192.0.2.10", 4000)));
        }
        net.expect(CALLER, "SIP/2.0 200");
        net.receive(CALLER, &caller_request("ACK", 1, "c1", &up.tag, ""));
        net.expect(carol, "ACK");
        net.quiet();
        let (_, spec) = net.session();
        assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4000".parse().unwrap()));
        assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.22:6100".parse().unwrap()));
    }
}

#[test]
fn a_challenge_to_an_update_that_is_over_is_not_answered() {
    let mut policy = policy();
    policy.trunks[1].credentials =
        Some(Credentials { user: "user".into(), password: Password::plain("secret"), realm: None });
    let mut net = Net::with(policy);
    let up = ringing(&mut net);
    net.receive(CALLER, &caller_request("UPDATE", 3, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    let update = net.expect(CALLEE, "UPDATE");
    let carol = "198.51.100.22:5060";
    net.receive(CALLEE, &answer(&up.invite, "200 OK", "carol", carol, &sdp("198.51.100.22", 6100)));
    net.expect(CALLER, "SIP/2.0 491");
    net.expect(CALLER, "SIP/2.0 200");
    let challenge = "WWW-Authenticate: Digest realm=\"carrier\", nonce=\"1\", algorithm=MD5, qop=\"auth\"\r\n";
    net.receive(CALLEE, &with(&answer(&update, "401 Unauthorized", "", CALLEE, ""), challenge));
    net.quiet();
}

#[test]
fn an_update_in_one_settled_early_dialog_does_not_hide_the_answer_of_another() {
    let mut net = Net::new();
    let up = ringing(&mut net);
    let carol = "198.51.100.22:5060";
    let progress = answer(&up.invite, "183 Session Progress", "carol", carol, &sdp("198.51.100.22", 6100));
    net.receive(CALLEE, &with(&progress, "Require: 100rel\r\nRSeq: 7\r\nAllow: INVITE, UPDATE\r\n"));
    let prack = net.expect(carol, "PRACK");
    net.receive(carol, &answer(&prack, "200 OK", "", carol, ""));
    let shown = net.expect(CALLER, "SIP/2.0 183");
    let rack = format!("RAck: {} 1 INVITE\r\n", shown.header("RSeq"));
    net.receive(CALLER, &with(&caller_request("PRACK", 3, "c1", &up.tag, ""), &rack));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("UPDATE", 4, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    net.expect(carol, "UPDATE");
    // The first one answers; the other is cancelled behind its proxy, and says nothing any more.
    net.receive(CALLEE, &answer(&up.invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    assert_eq!(net.expect(CALLER, "SIP/2.0 491").header("CSeq"), "4 UPDATE");
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    let (_, spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4000".parse().unwrap()));
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6000".parse().unwrap()));
}

#[test]
fn an_update_goes_on_in_the_early_dialog_that_answers_though_another_rings() {
    let mut net = Net::new();
    let up = ringing(&mut net);
    net.receive(CALLER, &caller_request("UPDATE", 3, "c1", &up.tag, &sdp("192.0.2.10", 4010)));
    let update = net.expect(CALLEE, "UPDATE");
    net.receive(CALLEE, &answer(&up.invite, "180 Ringing", "carol", "198.51.100.22:5060", ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLEE, &answer(&up.invite, "200 OK", "bob", CALLEE, ""));
    net.receive(CALLEE, &answer(&update, "200 OK", "", CALLEE, &sdp("198.51.100.20", 6010)));
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").header("CSeq"), "3 UPDATE");
    assert_eq!(net.expect(CALLER, "SIP/2.0 200").header("CSeq"), "1 INVITE");
    let (_, spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4010".parse().unwrap()));
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6010".parse().unwrap()));
}
