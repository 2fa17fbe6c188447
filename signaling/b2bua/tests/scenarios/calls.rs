//! Call flows through a worker, from INVITE to the last ACK.

use crate::harness::*;
use moorline_b2bua::{Observation, Outcome};
use moorline_control::{Event, Refusal, RefusalCode, Request};

fn outcomes(net: &Net) -> Vec<Outcome> {
    let ended = |o: &Observation| match o {
        Observation::Ended { outcome, .. } => Some(*outcome),
        _ => None,
    };
    net.observed.iter().filter_map(ended).collect()
}

#[test]
fn a_call_is_set_up_talks_and_is_ended_by_the_caller() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));

    // 100 at once, and the INVITE on the other side with everything of its own.
    net.expect(CALLER, "SIP/2.0 100 Trying");
    let out = net.expect(CALLEE, "INVITE sip:5551000@198.51.100.20:5060 SIP/2.0");
    assert!(out.header("Via").starts_with("SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK"), "{}", out.header("Via"));
    assert!(out.header("From").starts_with("\"Alice\" <sip:2001@198.51.100.1:5060>;tag="));
    assert_eq!(out.header("To"), "<sip:5551000@198.51.100.20:5060>");
    assert_eq!(out.header("Contact"), "<sip:198.51.100.1:5060>");
    assert_eq!(out.header("Max-Forwards"), "69");
    assert!(out.0.contains("\r\nX-Kept:   as  it\tis \r\n"), "an unknown header crosses byte for byte");
    assert!(!out.0.contains("192.0.2."), "the inside shows:\n{}", out.0);
    // Only addresses and ports of the description changed.
    let theirs = sdp("198.51.100.1", 20_002);
    assert_eq!(out.body(), theirs);

    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    let ringing = net.expect(CALLER, "SIP/2.0 180 Ringing");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200 OK");
    assert_eq!(ok.tag("To"), ringing.tag("To"));
    assert_eq!(ok.header("Contact"), "<sip:192.0.2.1:5060>");
    assert_eq!(ok.body(), sdp("192.0.2.1", 20_000));
    assert!(!ok.0.contains("198.51.100."), "the outside shows:\n{}", ok.0);
    let (_, spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4000".parse().unwrap()));
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6000".parse().unwrap()));
    assert_eq!(spec.media_timeout_ms, 60_000);

    let tag = ok.tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    let ack = net.expect(CALLEE, "ACK sip:198.51.100.20:5060 SIP/2.0");
    assert_eq!((ack.header("CSeq"), ack.tag("To")), ("1 ACK", "bob"));
    assert_ne!(ack.branch(), out.branch(), "an ACK to a 2xx is a transaction of its own");
    assert_eq!(net.counters().calls_active, 1);

    net.advance(5 * SECOND);
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE sip:198.51.100.20:5060");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.quiet();
    // The record does not wait for the transactions to run out.
    assert_eq!(outcomes(&net), [Outcome::CallerHungUp]);
    net.nothing_left();
    assert_eq!(outcomes(&net), [Outcome::CallerHungUp]);
    assert_eq!(net.counters().retransmissions, 0);
}

#[test]
fn the_callee_hangs_up() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    let bye = net.expect(CALLER, "BYE sip:2001@192.0.2.10:5060");
    assert_eq!(bye.tag("To"), "alice");
    assert_eq!(bye.tag("From"), up.tag);
    net.receive(CALLER, &answer(&bye, "200 OK", "", CALLER, ""));
    net.nothing_left();
    assert_eq!(outcomes(&net), [Outcome::CalleeHungUp]);
}

#[test]
fn both_hang_up_at_once() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.quiet();
    net.nothing_left();
    assert_eq!(outcomes(&net), [Outcome::CallerHungUp]);
}

#[test]
fn a_stranger_hears_nothing() {
    let mut net = Net::new();
    net.receive("192.0.3.66:5060", &invite("5551000", "c1", ""));
    net.receive("192.0.3.66:5060", "OPTIONS sip:192.0.2.1 SIP/2.0\r\ngarbage\r\n\r\n");
    net.quiet();
    assert_eq!(net.counters().unknown_source, 2);
    net.nothing_left();
}

#[test]
fn what_lacks_a_mandatory_header_is_told_which() {
    let mut net = Net::new();
    let without = invite("5551000", "c1", "").replace("Call-ID: c1@192.0.2.10\r\n", "");
    net.receive(CALLER, &without);
    let refused = net.expect(CALLER, "SIP/2.0 400");
    assert!(refused.start().contains("Call-ID"), "{}", refused.start());
    // Without a Via there is nowhere to answer to.
    let via = format!("Via: SIP/2.0/UDP {CALLER};branch=z9hG4bK-c1\r\n");
    net.receive(CALLER, &invite("5551000", "c1", "").replace(&via, ""));
    // An ACK is never answered.
    net.receive(CALLER, &without.replace("INVITE", "ACK"));
    net.receive_bytes(CALLER, b"\x00\xff garbage");
    net.receive_bytes(CALLER, b"\r\n\r\n");
    net.quiet();
    assert_eq!((net.counters().bad_requests, net.counters().malformed), (1, 3));
    net.nothing_left();
}

#[test]
fn refusals_before_the_call_goes_on_name_their_reason() {
    let mut net = Net::new();
    let cases = [
        (invite("999", "r1", ""), "SIP/2.0 404 Not Found - No Route"),
        (invite("5551000", "r2", "").replace("Max-Forwards: 70", "Max-Forwards: 0"), "SIP/2.0 483"),
        (invite("5551000", "r3", "this is no sdp"), "SIP/2.0 488"),
        (invite("5551000", "r4", &sdp("192.0.2.10", 4000).replace("RTP/AVP", "udptl")), "SIP/2.0 488"),
        (
            invite("5551000", "r5", &sdp("192.0.2.10", 4000)).replace("application/sdp", "multipart/mixed;boundary=x"),
            "SIP/2.0 415",
        ),
        (invite("5551000", "r6", "").replace("X-Kept:", "Require: precondition\r\nX-Kept:"), "SIP/2.0 420"),
    ];
    for (request, start) in cases {
        net.receive(CALLER, &request);
        net.expect(CALLER, start);
        net.quiet();
    }
    assert_eq!(net.counters().calls, 0);
    net.nothing_left();
}

#[test]
fn no_free_port_is_503_with_retry_after_and_the_others_live() {
    let mut net = Net::new();
    let up = establish(&mut net);
    net.media.refuse = Some(Refusal::new(RefusalCode::OutOfPorts, "range customers: none of 2 free"));
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 100");
    let refused = net.expect(CALLER, "SIP/2.0 503");
    assert_eq!(refused.header("Retry-After"), "5");
    net.quiet();
    assert_eq!(net.counters().calls_active, 1);
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
    assert!(outcomes(&net).contains(&Outcome::Rejected(503)));
}

#[test]
fn without_a_media_process_new_calls_are_refused_and_come_again() {
    let mut net = Net::new();
    net.input(moorline_b2bua::Input::Media(moorline_b2bua::MediaInput::Disconnected));
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 503 Service Unavailable - No Media Process");
    net.input(moorline_b2bua::Input::Media(moorline_b2bua::MediaInput::Connected(hello(2))));
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
}

#[test]
fn the_callee_refuses_and_its_words_cross() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "486 No money left", "bob", CALLEE, ""));
    let ack = net.expect(CALLEE, "ACK");
    assert_eq!(ack.branch(), out.branch(), "an ACK to a refusal is hop by hop");
    let refused = net.expect(CALLER, "SIP/2.0 486 No money left");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", refused.tag("To"), "").replace("-ACK-1-c1", "-c1"));
    net.quiet();
    net.nothing_left();
    assert_eq!(outcomes(&net), [Outcome::Refused(486)]);
}

#[test]
fn the_second_address_is_tried_when_the_first_is_busy_or_dead() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let first = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&first, "503 Service Unavailable", "x", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    let second = net.expect(CALLEE_2, "INVITE sip:5551000@198.51.100.21:5060");
    assert_ne!(second.branch(), first.branch());
    net.receive(CALLEE_2, &answer(&second, "404 Not Found", "y", CALLEE_2, ""));
    net.expect(CALLEE_2, "ACK");
    net.expect(CALLER, "SIP/2.0 404");
    net.nothing_left();

    // Nobody answers at all: timer B on each, then 408.
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.advance(33 * SECOND);
    for _ in 0..7 {
        net.expect(CALLEE, "INVITE");
    }
    net.advance(33 * SECOND);
    for _ in 0..7 {
        net.expect(CALLEE_2, "INVITE");
    }
    net.expect(CALLER, "SIP/2.0 408");
    net.nothing_left();
}

#[test]
fn the_caller_cancels_while_it_rings() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    let cancel = net.expect(CALLEE, "CANCEL sip:5551000@198.51.100.20:5060");
    assert_eq!((cancel.branch(), cancel.header("CSeq")), (out.branch(), "1 CANCEL"));
    net.receive(CALLEE, &answer(&cancel, "200 OK", "bob", CALLEE, ""));
    net.receive(CALLEE, &answer(&out, "487 Request Terminated", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    net.nothing_left();
    assert_eq!(outcomes(&net), [Outcome::Cancelled]);
}

#[test]
fn a_cancel_before_any_provisional_answer_waits_for_one() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.quiet();
    net.receive(CALLEE, &answer(&out, "100 Trying", "", CALLEE, ""));
    net.expect(CALLEE, "CANCEL");
    net.receive(CALLEE, &answer(&out, "487 Request Terminated", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.nothing_left();
}

#[test]
fn a_200_that_crosses_the_cancel_is_acknowledged_and_ended() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLEE, "CANCEL");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.quiet();
    net.nothing_left();
    assert_eq!(outcomes(&net), [Outcome::Cancelled]);
}

#[test]
fn a_cancel_while_the_media_session_opens_ends_the_call_there() {
    let mut net = Net::new();
    net.media.paused = true;
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.resume_media();
    net.quiet();
    net.nothing_left();
}

#[test]
fn a_retransmitted_invite_and_200_change_nothing() {
    let mut net = Net::new();
    let request = invite("5551000", "c1", &sdp("192.0.2.10", 4000));
    net.receive(CALLER, &request);
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLER, &request);
    net.expect(CALLER, "SIP/2.0 100");
    net.quiet();
    let ok = answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &ok);
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    // The callee repeats its 200 while the caller's ACK is on its way: there is nothing to say yet.
    net.receive(CALLEE, &ok);
    net.quiet();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    let ack = net.expect(CALLEE, "ACK");
    // The ACK was lost: the 200 comes again, and so does the ACK.
    net.receive(CALLEE, &ok);
    assert_eq!(net.expect(CALLEE, "ACK").0, ack.0);
    // Even when the INVITE transaction is long gone.
    net.advance(60 * SECOND);
    net.receive(CALLEE, &ok);
    assert_eq!(net.expect(CALLEE, "ACK").0, ack.0);
    net.quiet();
    assert_eq!(net.counters().calls, 1);
}

#[test]
fn who_picks_up_after_being_given_up_is_hung_up() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let out = net.expect(CALLEE, "INVITE");
    // Nobody answers, not even with 100: timer B at each address.
    net.advance(150 * SECOND);
    let sent = net.take_sent();
    assert!(sent.iter().any(|(to, m)| to == CALLER && m.start().starts_with("SIP/2.0 408")));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.nothing_left();
}

#[test]
fn our_200_is_repeated_until_the_late_ack() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let first = net.expect(CALLER, "SIP/2.0 200");
    // 0.5, 1.5, 3.5, 7.5, then every 4 s.
    net.advance(12 * SECOND);
    for _ in 0..5 {
        assert_eq!(net.expect(CALLER, "SIP/2.0 200").0, first.0);
    }
    net.quiet();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", first.tag("To"), ""));
    net.expect(CALLEE, "ACK");
    net.advance(60 * SECOND);
    net.quiet();
    assert_eq!(net.counters().calls_active, 1);
}

#[test]
fn without_any_ack_the_call_is_ended_on_both_legs() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.advance(33 * SECOND);
    // The callee is acknowledged before it is hung up.
    net.expect(CALLEE, "ACK");
    net.expect(CALLEE, "BYE");
    for _ in 0..11 {
        net.expect(CALLER, "SIP/2.0 200");
    }
    net.expect(CALLER, "BYE");
    net.nothing_left();
    assert_eq!(outcomes(&net), [Outcome::NoAck]);
}

#[test]
fn the_callee_hangs_up_before_the_callers_ack() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLEE, &callee_request("BYE", 1, &out, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    // RFC 3261 15: no BYE to the caller before its ACK.
    net.quiet();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLER, "BYE");
    net.nothing_left();
    assert_eq!(outcomes(&net), [Outcome::CalleeHungUp]);
}

#[test]
fn ringing_ends_when_nobody_answers() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.advance(180 * SECOND);
    net.expect(CALLER, "SIP/2.0 408");
    net.expect(CALLEE, "CANCEL");
    net.receive(CALLEE, &answer(&out, "487 Request Terminated", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.nothing_left();
}

#[test]
fn early_media_reaches_the_caller_with_our_address() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "183 Session Progress", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let progress = net.expect(CALLER, "SIP/2.0 183 Session Progress");
    assert_eq!(progress.body(), sdp("192.0.2.1", 20_000));
    let (_, spec) = net.session();
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6000".parse().unwrap()));
    assert_eq!(spec.media_timeout_ms, 0, "silence is no fault before the answer");
    // The answer comes from another address: a fork of the callee's side.
    net.receive(CALLEE, &answer(&out, "180 Ringing", "carol", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLEE, &answer(&out, "200 OK", "carol", CALLEE, &sdp("198.51.100.22", 6002)));
    net.expect(CALLER, "SIP/2.0 200");
    let (_, spec) = net.session();
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.22:6002".parse().unwrap()));
    // A second branch answers too: it is acknowledged and ended, the call goes on.
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let ack = net.expect(CALLEE, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    assert_eq!((ack.tag("To"), bye.tag("To")), ("bob", "bob"));
    assert_eq!(net.counters().calls_active, 1);
}

#[test]
fn silence_on_both_sides_ends_the_call_with_bye_on_both_legs() {
    let mut net = Net::new();
    establish(&mut net);
    let (session, _) = net.session();
    net.media_event(Event::MediaTimeout { session });
    net.expect(CALLER, "BYE");
    net.expect(CALLEE, "BYE");
    assert!(matches!(net.media.log.last(), Some(Request::Close { .. })));
    net.nothing_left();
    assert_eq!(outcomes(&net), [Outcome::MediaTimeout]);
}

#[test]
fn a_call_lasts_no_longer_than_allowed() {
    let mut net = Net::new();
    establish(&mut net);
    net.advance(4 * 3600 * SECOND);
    net.expect(CALLER, "BYE");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
    assert_eq!(outcomes(&net), [Outcome::TooLong]);
}

#[test]
fn a_late_offer_is_answered_in_the_ack() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", ""));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert_eq!(out.body(), "");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(ok.body(), sdp("192.0.2.1", 20_000));
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), &sdp("192.0.2.10", 4000)));
    let ack = net.expect(CALLEE, "ACK");
    assert_eq!(ack.body(), sdp("198.51.100.1", 20_002));
    assert_eq!(ack.header("Content-Type"), "application/sdp");
    let (_, spec) = net.session();
    assert_eq!(spec.legs[0].streams[0].remote_rtp, Some("192.0.2.10:4000".parse().unwrap()));
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.20:6000".parse().unwrap()));
}

#[test]
fn options_to_this_host_is_a_ping_and_to_a_number_is_carried() {
    let mut net = Net::new();
    let ping = invite("5551000", "o1", "")
        .replace("INVITE", "OPTIONS")
        .replace("sip:5551000@192.0.2.1:5060 ", "sip:192.0.2.1:5060 ");
    net.receive(CALLER, &ping);
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert!(ok.header("Allow").contains("INVITE"));
    net.quiet();
    net.receive(CALLER, &invite("5551000", "o2", "").replace("INVITE", "OPTIONS"));
    let carried = net.expect(CALLEE, "OPTIONS sip:5551000@198.51.100.20:5060");
    assert!(!carried.0.contains("192.0.2."), "{}", carried.0);
    net.receive(CALLEE, &answer(&carried, "200 Fine", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let answered = net.expect(CALLER, "SIP/2.0 200 Fine");
    assert_eq!(answered.body(), "", "a description of capabilities names addresses");
    assert!(!answered.0.contains("198.51.100."), "{}", answered.0);
    net.nothing_left();
}

#[test]
fn requests_for_no_known_dialog_and_unknown_methods_are_told_so() {
    let mut net = Net::new();
    net.receive(CALLER, &caller_request("BYE", 2, "nocall", "0001000000000000000000", ""));
    net.expect(CALLER, "SIP/2.0 481");
    net.receive(CALLER, &invite("5551000", "r1", "").replace("INVITE", "REGISTER"));
    assert!(net.expect(CALLER, "SIP/2.0 405").header("Allow").contains("BYE"));
    net.receive(CALLER, &invite("5551000", "r2", "").replace("INVITE", "DANCE"));
    net.expect(CALLER, "SIP/2.0 501");
    // An ACK for nothing is dropped.
    net.receive(CALLER, &caller_request("ACK", 2, "nocall", "0001000000000000000000", ""));
    net.quiet();
    net.nothing_left();
}

#[test]
fn identity_headers_cross_only_between_trusted_trunks() {
    let with_identity = invite("5551000", "c1", "")
        .replace("X-Kept:", "P-Asserted-Identity: <sip:+123@192.0.2.10>\r\nDiversion: <sip:1@x>\r\nX-Kept:");
    let mut net = Net::new();
    net.receive(CALLER, &with_identity);
    let out = net.expect(CALLEE, "INVITE");
    assert_eq!((out.find("P-Asserted-Identity"), out.find("Diversion")), (None, None));
    let mut trusting = policy();
    trusting.trunks.iter_mut().for_each(|trunk| trunk.trusted = true);
    let mut net = Net::with(trusting);
    net.receive(CALLER, &with_identity);
    let out = net.expect(CALLEE, "INVITE");
    assert_eq!(out.header("P-Asserted-Identity"), "<sip:+123@192.0.2.10>");
}

#[test]
fn a_private_media_address_behind_nat_is_latched_towards_the_signaling_source() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("10.1.2.3", 4000)));
    let (_, spec) = net.session();
    let latch = spec.legs[0].streams[0].latch.clone().unwrap();
    assert_eq!(latch.sources, ["192.0.2.10/32".parse().unwrap()]);
    assert_eq!(spec.legs[1].streams[0].latch, None);
}

#[test]
fn a_200_without_contact_makes_a_call_all_the_same() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let contact = format!("Contact: <sip:{CALLEE}>\r\n");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)).replace(&contact, ""));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK sip:198.51.100.20:5060 SIP/2.0");
}
