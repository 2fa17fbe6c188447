//! Transfers that Moorline carries out itself (RFC 3515, RFC 5589): the other party hears re-INVITEs alone.

use moorline_b2bua::policy::{Policy, Refer, Route, Routes, Way};
use moorline_b2bua::{Observation, Outcome};
use moorline_control::Event;

use crate::harness::*;
use crate::phones::*;

fn handling() -> Policy {
    let mut policy = policy();
    policy.trunks[0].dialogs.refer = Refer::Handle;
    policy
}

fn refer(up: &Up, cseq: u32, to: &str) -> String {
    let lines = format!("Refer-To: <{to}>\r\nReferred-By: <sip:2001@192.0.2.10>\r\n");
    with(&caller_request("REFER", cseq, "c1", &up.tag, ""), &lines)
}

/// The caller refers the callee to a third party: the INVITE as that sees it.
pub(crate) fn referred(net: &mut Net, up: &Up) -> Message {
    net.receive(CALLER, &refer(up, 2, "sip:5552000@192.0.2.1:5060"));
    net.expect(CALLER, "SIP/2.0 202");
    told(net, "active;expires=180", "SIP/2.0 100 Trying");
    let invite = net.expect(CALLEE, "INVITE sip:5552000@198.51.100.20:5060");
    net.quiet();
    invite
}

/// The caller hears how far its transfer is, and says so.
#[track_caller]
pub(crate) fn told(net: &mut Net, state: &str, line: &str) {
    let notify = net.expect(CALLER, "NOTIFY sip:2001@192.0.2.10:5060");
    assert_eq!((notify.header("Event"), notify.header("Subscription-State")), ("refer", state));
    assert_eq!(
        (notify.header("Content-Type"), notify.body()),
        ("message/sipfrag;version=2.0", &*format!("{line}\r\n"))
    );
    net.receive(CALLER, &answer(&notify, "200 OK", "", CALLER, ""));
}

/// The third party answers: the re-INVITE as the callee sees it.
pub(crate) fn picked_up(net: &mut Net, invite: &Message) -> Message {
    net.receive(CALLEE, &answer(invite, "200 OK", "carol", CALLEE, &sdp("198.51.100.21", 6100)));
    net.expect(CALLEE, "ACK");
    let again = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    assert_eq!(again.tag("To"), "bob");
    net.quiet();
    again
}

/// The callee agrees: the caller is told, and let go.
pub(crate) fn agreed(net: &mut Net, again: &Message) {
    net.receive(CALLEE, &answer(again, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6002)));
    let ack = net.expect(CALLEE, "ACK sip:198.51.100.20:5060");
    assert_eq!(ack.header("CSeq"), again.header("CSeq").replace("INVITE", "ACK"));
}

pub(crate) fn let_go(net: &mut Net) {
    let bye = net.expect(CALLER, "BYE sip:2001@192.0.2.10:5060");
    net.receive(CALLER, &answer(&bye, "200 OK", "", CALLER, ""));
}

fn outcomes(net: &Net) -> Vec<Outcome> {
    let ended = |observed: &Observation| match observed {
        Observation::Ended { outcome, .. } => Some(*outcome),
        _ => None,
    };
    net.observed.iter().filter_map(ended).collect()
}

/// The call of the first two goes on.
#[track_caller]
pub(crate) fn goes_on(net: &mut Net, up: &Up, cseq: u32) {
    net.receive(CALLER, &caller_request("INVITE", cseq, "c1", &up.tag, &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert_eq!(out.tag("To"), "bob");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", cseq, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLER, &caller_request("BYE", cseq + 1, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE");
    assert_eq!(bye.tag("To"), "bob");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.quiet();
    net.nothing_left();
}

#[test]
fn a_blind_transfer() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    assert!(invite.header("From").starts_with("<sip:5551000@198.51.100.1:5060>;tag="), "{}", invite.header("From"));
    assert_eq!(invite.header("Referred-By"), "<sip:2001@198.51.100.1:5060>");
    assert!(!invite.0.contains("192.0.2."), "{}", invite.0);
    assert!(invite.body().contains("m=audio 20006 "), "{}", invite.body());
    net.receive(CALLEE, &answer(&invite, "180 Ringing", "carol", CALLEE, ""));
    net.quiet();
    let again = picked_up(&mut net, &invite);
    assert!(again.body().contains("m=audio 20004 "), "{}", again.body());
    agreed(&mut net, &again);
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
    let_go(&mut net);
    net.quiet();
    assert_eq!(outcomes(&net), [Outcome::Transferred]);
    assert_eq!(net.counters().calls_active, 1);
    let (_, spec) = net.session();
    let remote = |leg: usize| spec.legs[leg].streams[0].remote_rtp.unwrap().to_string();
    assert_eq!((remote(0), remote(1)), ("198.51.100.20:6002".into(), "198.51.100.21:6100".into()));

    // The two are in a call like any other: a process that is killed takes it back.
    net.restart_signaling(handling());
    net.receive(CALLEE, &callee_request("INFO", 1, &up.invite, "bob", ""));
    let info = net.expect(CALLEE, "INFO");
    assert_eq!(info.header("Call-ID"), invite.header("Call-ID"));
    net.receive(CALLEE, &answer(&info, "200 OK", "", CALLEE, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.receive(CALLEE, &callee_request("BYE", 1, &invite, "carol", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE");
    assert_eq!((bye.header("Call-ID"), bye.tag("To")), (up.invite.header("Call-ID"), "bob"));
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.nothing_left();
}

#[test]
fn the_party_that_was_called_transfers_the_caller() {
    let mut policy = handling();
    policy.routes = Routes::new([
        Route { prefix: "555".into(), to: Way::Trunk(1), ..Route::default() },
        Route { prefix: "3".into(), from: Some(1), to: Way::Trunk(0), ..Route::default() },
    ]);
    let mut net = Net::with(policy);
    let up = establish(&mut net);
    // Routes are those for its own calls.
    let lines = "Refer-To: <sip:3000@198.51.100.1>\r\nRefer-Sub: false\r\n";
    net.receive(CALLEE, &with(&callee_request("REFER", 1, &up.invite, "bob", ""), lines));
    assert_eq!(net.expect(CALLEE, "SIP/2.0 202").header("Refer-Sub"), "false");
    let invite = net.expect(CALLER, "INVITE sip:3000@192.0.2.10:5060");
    assert!(invite.header("From").starts_with("\"Alice\" <sip:2001@192.0.2.1:5060>"), "{}", invite.header("From"));
    net.receive(CALLER, &answer(&invite, "200 OK", "dora", CALLER, &sdp("192.0.2.11", 4300)));
    net.expect(CALLER, "ACK");
    let again = net.expect(CALLER, "INVITE sip:2001@192.0.2.10:5060");
    net.receive(CALLER, &answer(&again, "200 OK", "alice", CALLER, &sdp("192.0.2.10", 4004)));
    net.expect(CALLER, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(net.expect(CALLER, "BYE").header("Call-ID"), invite.header("Call-ID"));
    net.nothing_left();
}

#[test]
fn a_transfer_that_nobody_answers_leaves_the_call_as_it_was() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    net.receive(CALLEE, &answer(&invite, "486 Busy Here", "carol", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 486 Busy Here");
    net.quiet();
    goes_on(&mut net, &up, 3);
}

#[test]
fn what_else_goes_on_in_the_call_is_not_ended_with_the_transfer() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    net.receive(CALLER, &caller_request("INVITE", 3, "c1", &up.tag, &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 100");
    let again = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    net.receive(CALLEE, &answer(&again, "100 Trying", "", CALLEE, ""));
    net.receive(CALLEE, &answer(&invite, "486 Busy Here", "carol", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 486 Busy Here");
    net.quiet();
    net.receive(CALLEE, &answer(&again, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 3, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    goes_on(&mut net, &up, 4);
}

#[test]
fn a_call_that_began_without_an_offer_can_be_transferred() {
    let mut net = Net::with(handling());
    net.receive(CALLER, &invite("5551000", "c1", ""));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLEE, "ACK");
    let up = Up { tag, invite: out };
    let invite = referred(&mut net, &up);
    let again = picked_up(&mut net, &invite);
    agreed(&mut net, &again);
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
    let_go(&mut net);
    net.quiet();
}

#[test]
fn a_party_that_will_not_be_transferred_stays_where_it_is() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    let again = picked_up(&mut net, &invite);
    net.receive(CALLEE, &answer(&again, "488 Not Acceptable Here", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 488 Not Acceptable Here");
    let bye = net.expect(CALLEE, "BYE");
    assert_eq!(bye.tag("To"), "carol");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.quiet();
    goes_on(&mut net, &up, 3);
}

#[test]
fn a_party_that_is_busy_in_its_dialog_is_asked_again() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    let again = picked_up(&mut net, &invite);
    net.receive(CALLEE, &answer(&again, "491 Request Pending", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    // RFC 3261 14.1: who has made the Call-ID waits for two to four seconds.
    net.advance(2 * SECOND);
    net.quiet();
    net.advance(2 * SECOND);
    let again = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    net.take_sent();
    agreed(&mut net, &again);
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
    let_go(&mut net);
    net.quiet();
}

#[test]
fn who_transfers_may_hang_up_at_once() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    net.receive(CALLER, &caller_request("BYE", 3, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.quiet();
    // The other one waits, and is told nothing of it.
    net.receive(CALLEE, &callee_request("INVITE", 1, &up.invite, "bob", &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "SIP/2.0 491");
    net.receive(CALLEE, &callee_request("ACK", 1, &up.invite, "bob", ""));
    let again = picked_up(&mut net, &invite);
    agreed(&mut net, &again);
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
    net.quiet();
    net.receive(CALLEE, &callee_request("BYE", 2, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    assert_eq!(net.expect(CALLEE, "BYE").tag("To"), "carol");
    net.nothing_left();
}

#[test]
fn who_hung_up_cannot_be_gone_back_to() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    net.receive(CALLER, &caller_request("BYE", 3, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLEE, &answer(&invite, "486 Busy Here", "carol", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 486 Busy Here");
    let bye = net.expect(CALLEE, "BYE");
    assert_eq!(bye.tag("To"), "bob");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.quiet();
    net.nothing_left();
}

#[test]
fn who_is_transferred_may_hang_up_while_it_rings() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    net.receive(CALLEE, &answer(&invite, "180 Ringing", "carol", CALLEE, ""));
    net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    let cancel = net.expect(CALLEE, "CANCEL");
    assert_eq!(cancel.header("Call-ID"), invite.header("Call-ID"));
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 487 Request Terminated");
    let_go(&mut net);
    net.receive(CALLEE, &answer(&cancel, "200 OK", "", CALLEE, ""));
    net.receive(CALLEE, &answer(&invite, "487 Request Terminated", "carol", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    net.nothing_left();
}

#[test]
fn who_was_put_on_hold_before_the_transfer_is_not_after_it() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let held = format!("{}a=sendonly\r\n", sdp("192.0.2.10", 4000));
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &held));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let body = format!("{}a=recvonly\r\n", sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &body));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLER, &refer(&up, 3, "sip:5552000@192.0.2.1:5060"));
    net.expect(CALLER, "SIP/2.0 202");
    told(&mut net, "active;expires=180", "SIP/2.0 100 Trying");
    let invite = net.expect(CALLEE, "INVITE sip:5552000@198.51.100.20:5060");
    assert!(!invite.body().contains("recvonly") && !invite.body().contains("sendonly"), "{}", invite.body());
}

#[test]
fn transfers_that_cannot_be() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    for (cseq, to, status) in [
        (2, "sip:9@192.0.2.1", "SIP/2.0 404"),
        (3, "sip:5552000@192.0.2.1;method=BYE", "SIP/2.0 603"),
        (4, "mailto:x@y", "SIP/2.0 4"),
        (5, "sip:5552000@192.0.2.1?Replaces=x", "SIP/2.0 400"),
    ] {
        net.receive(CALLER, &refer(&up, cseq, to));
        net.expect(CALLER, status);
        net.quiet();
    }
    net.receive(CALLER, &refer(&up, 6, "sip:5552000@192.0.2.1"));
    net.expect(CALLER, "SIP/2.0 202");
    net.expect(CALLER, "NOTIFY");
    net.expect(CALLEE, "INVITE");
    net.receive(CALLER, &refer(&up, 7, "sip:5553000@192.0.2.1"));
    net.expect(CALLER, "SIP/2.0 491");
    assert_eq!(net.counters().calls_active, 2);
}

/// A call from the caller to a third party, at the carrier's second address.
pub(crate) fn consult(net: &mut Net) -> Up {
    net.receive(CALLER, &invite("5552000", "c2", &sdp("192.0.2.10", 4100)));
    net.expect(CALLER, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&invite, "200 OK", "carol", CALLEE_2, &sdp("198.51.100.21", 6100)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c2", &tag, ""));
    net.expect(CALLEE_2, "ACK");
    Up { tag, invite }
}

/// The caller joins its two calls: the re-INVITE as the third party sees it.
pub(crate) fn joined(net: &mut Net, first: &Up, second: &Up) -> Message {
    let replaces = format!("c2%40192.0.2.10%3Bto-tag%3D{}%3Bfrom-tag%3Dalice", second.tag);
    net.receive(CALLER, &refer(first, 2, &format!("sip:5552000@192.0.2.1:5060?Replaces={replaces}")));
    net.expect(CALLER, "SIP/2.0 202");
    told(net, "active;expires=180", "SIP/2.0 100 Trying");
    let asked = net.expect(CALLEE_2, "INVITE sip:198.51.100.21:5060");
    assert_eq!((asked.tag("To"), asked.find("Replaces")), ("carol", None));
    assert!(!asked.0.contains("192.0.2."), "{}", asked.0);
    net.quiet();
    asked
}

#[test]
fn an_attended_transfer_joins_two_calls() {
    let mut net = Net::with(handling());
    let first = establish(&mut net);
    let second = consult(&mut net);
    let asked = joined(&mut net, &first, &second);
    net.receive(CALLEE_2, &answer(&asked, "200 OK", "carol", CALLEE_2, &sdp("198.51.100.21", 6102)));
    net.expect(CALLEE_2, "ACK");
    let again = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    agreed(&mut net, &again);
    // The caller is let go in both.
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
    assert_eq!(net.expect(CALLER, "BYE").header("Call-ID"), "c2@192.0.2.10");
    assert_eq!(net.expect(CALLER, "BYE").header("Call-ID"), "c1@192.0.2.10");
    net.quiet();
    let (_, spec) = net.session();
    let remote = |leg: usize| spec.legs[leg].streams[0].remote_rtp.unwrap().to_string();
    assert_eq!((remote(0), remote(1)), ("198.51.100.20:6002".into(), "198.51.100.21:6102".into()));
    assert_eq!(outcomes(&net), [Outcome::Transferred, Outcome::Transferred]);
    net.receive(CALLEE_2, &callee_request("BYE", 1, &second.invite, "carol", ""));
    net.expect(CALLEE_2, "SIP/2.0 200");
    assert_eq!(net.expect(CALLEE, "BYE").tag("To"), "bob");
    net.nothing_left();
}

/// The media process tells of silence once. During a transfer one of the two may be gone without harm, but not after it.
#[test]
fn silence_during_a_transfer_counts_anew_when_that_has_failed() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let (session, _) = net.session();
    let watched = |net: &Net| net.media.sessions[&session].0.media_timeout_ms;
    assert_eq!(watched(&net), 60_000);
    let invite = referred(&mut net, &up);
    net.media_event(Event::MediaTimeout { session });
    net.quiet();
    assert_eq!(watched(&net), 0);
    net.receive(CALLEE, &answer(&invite, "486 Busy Here", "carol", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 486 Busy Here");
    assert_eq!(watched(&net), 60_000, "set anew, it is told anew");
    net.media_event(Event::MediaTimeout { session });
    net.expect(CALLER, "BYE");
    net.expect(CALLEE, "BYE");
}

#[test]
fn an_attended_transfer_that_fails_leaves_two_calls() {
    let mut net = Net::with(handling());
    let first = establish(&mut net);
    let second = consult(&mut net);
    let asked = joined(&mut net, &first, &second);
    net.receive(CALLEE_2, &answer(&asked, "200 OK", "carol", CALLEE_2, &sdp("198.51.100.21", 6102)));
    net.expect(CALLEE_2, "ACK");
    let again = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    net.receive(CALLEE, &answer(&again, "488 Not Acceptable Here", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 488 Not Acceptable Here");
    // The third party is told again where the caller's media are.
    let back = net.expect(CALLEE_2, "INVITE sip:198.51.100.21:5060");
    assert_eq!(back.body(), second.invite.body());
    net.receive(CALLEE_2, &answer(&back, "200 OK", "carol", CALLEE_2, &sdp("198.51.100.21", 6104)));
    net.expect(CALLEE_2, "ACK");
    net.quiet();
    let moved = "198.51.100.21:6104".parse().unwrap();
    assert!(net.media.sessions.values().any(|(spec, _)| spec.legs[1].streams[0].remote_rtp == Some(moved)));
    net.receive(CALLEE_2, &callee_request("BYE", 1, &second.invite, "carol", ""));
    net.expect(CALLEE_2, "SIP/2.0 200");
    assert_eq!(net.expect(CALLER, "BYE").header("Call-ID"), "c2@192.0.2.10");
    goes_on(&mut net, &first, 3);
}

#[test]
fn who_joins_two_calls_may_hang_up_in_both_at_once() {
    let mut net = Net::with(handling());
    let first = establish(&mut net);
    let second = consult(&mut net);
    let asked = joined(&mut net, &first, &second);
    for (cseq, call_id, up) in [(3, "c1", &first), (2, "c2", &second)] {
        net.receive(CALLER, &caller_request("BYE", cseq, call_id, &up.tag, ""));
        net.expect(CALLER, "SIP/2.0 200");
    }
    net.quiet();
    net.receive(CALLEE_2, &answer(&asked, "200 OK", "carol", CALLEE_2, &sdp("198.51.100.21", 6102)));
    net.expect(CALLEE_2, "ACK");
    let again = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    agreed(&mut net, &again);
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
    net.quiet();
    assert_eq!(net.counters().calls_active, 1);
}

#[test]
fn who_was_referred_to_offers_nothing_before_there_is_somebody_to_speak_with() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    let again = picked_up(&mut net, &invite);
    net.receive(CALLEE, &callee_request("INVITE", 1, &invite, "carol", &sdp("198.51.100.21", 6100)));
    net.expect(CALLEE, "SIP/2.0 491");
    net.receive(CALLEE, &callee_request("ACK", 1, &invite, "carol", ""));
    agreed(&mut net, &again);
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
    let_go(&mut net);
    net.receive(CALLEE, &callee_request("INVITE", 2, &invite, "carol", &sdp("198.51.100.21", 6100)));
    net.expect(CALLEE, "SIP/2.0 100");
    assert_eq!(net.expect(CALLEE, "INVITE").tag("To"), "bob");
}

#[test]
fn a_party_that_is_always_busy_in_its_dialog_is_not_asked_for_ever() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    let mut again = picked_up(&mut net, &invite);
    for _ in 0..60 {
        net.receive(CALLEE, &answer(&again, "491 Request Pending", "bob", CALLEE, ""));
        net.expect(CALLEE, "ACK");
        net.advance(5 * SECOND);
        let sent = net.take_sent();
        match sent.into_iter().find(|(_, message)| message.start().starts_with("INVITE sip:198.51.100.20:5060")) {
            Some((_, next)) => again = next,
            None => break,
        }
    }
    let ended = net.observed.iter().any(|observed| matches!(observed, Observation::Ended { .. }));
    assert!(ended, "it is still asked");
}

#[test]
fn a_dialog_that_is_none_of_ours_is_replaced_by_whoever_is_called() {
    let mut net = Net::with(handling());
    let up = establish(&mut net);
    // One of the caller's own exchange, say.
    let replaces = "own%40pbx%3Bto-tag%3Da%3Bfrom-tag%3Db%3Bx%3D1%0D%0AX-Injected%3A%20yes";
    net.receive(CALLER, &refer(&up, 2, &format!("sip:5552000@192.0.2.1:5060?Replaces={replaces}")));
    net.expect(CALLER, "SIP/2.0 202");
    told(&mut net, "active;expires=180", "SIP/2.0 100 Trying");
    let invite = net.expect(CALLEE, "INVITE sip:5552000@198.51.100.20:5060");
    assert_eq!((invite.header("Replaces"), invite.header("Require")), ("own@pbx;to-tag=a;from-tag=b", "replaces"));
    assert!(!invite.0.contains("X-Injected"), "{}", invite.0);
}

#[test]
fn a_telephone_whose_media_went_past_us_is_transferred_to_the_gateway() {
    let mut policy = with_phones();
    policy.trunks[2].dialogs.refer = Refer::Handle;
    let mut net = Net::with(policy);
    let (mut alice, mut bob) = (phone("6000", "1234", PHONE), phone("6001", "4321", PHONE_1));
    alice.register(&mut net, 3600);
    bob.register(&mut net, 3600);
    alice.call(&mut net, "6001", &sdp("203.0.113.60", 4000));
    let invite = net.expect(PHONE_1, "INVITE");
    net.receive(PHONE_1, &answer(&invite, "200 OK", "bob", PHONE_1, &sdp("203.0.113.61", 6000)));
    let tag = net.expect(PHONE, "SIP/2.0 200").tag("To").to_owned();
    net.receive(PHONE, &alice.request("ACK", 2, "6001", &tag, ""));
    net.expect(PHONE_1, "ACK");
    let text = alice.request("REFER", 3, "6001", &tag, "");
    net.receive(PHONE, &with(&text, "Refer-To: <sip:02187654321@phones.example>\r\n"));
    net.expect(PHONE, "SIP/2.0 202");
    let trying = net.expect(PHONE, "NOTIFY");
    net.receive(PHONE, &answer(&trying, "200 OK", "", PHONE, ""));
    let out = net.expect(CALLEE, "INVITE sip:02187654321@198.51.100.20:5060");
    assert!(out.body().contains("c=IN IP4 198.51.100.1"), "{}", out.body());
    net.receive(CALLEE, &answer(&out, "200 OK", "carol", CALLEE, &sdp("198.51.100.20", 6100)));
    net.expect(CALLEE, "ACK");
    let again = net.expect(PHONE_1, "INVITE");
    assert!(again.body().contains("c=IN IP4 198.51.100.1"), "{}", again.body());
    net.receive(PHONE_1, &answer(&again, "200 OK", "bob", PHONE_1, &sdp("203.0.113.61", 6002)));
    net.expect(PHONE_1, "ACK");
    assert_eq!(net.expect(PHONE, "NOTIFY").body(), "SIP/2.0 200 OK\r\n");
    let (_, spec) = net.media.sessions.values().next().map(|(spec, local)| (local, spec)).unwrap();
    let remote = |leg: usize| spec.legs[leg].streams[0].remote_rtp.unwrap().to_string();
    assert_eq!((remote(0), remote(1)), ("203.0.113.61:6002".into(), "198.51.100.20:6100".into()));
}
