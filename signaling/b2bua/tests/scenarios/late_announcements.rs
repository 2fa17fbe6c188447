//! Callers who are told why a call failed that went on to the called side.

use moorline_b2bua::policy::{AnswerMap, AnswerRule, Policy};
use moorline_b2bua::{Input, MediaInput, Observation, Outcome};
use moorline_control::{Event, RefusalCode};

use crate::harness::*;

fn rule(status: u16, announcement: &str) -> AnswerRule {
    let announcement = Some(announcement.into());
    AnswerRule { statuses: status..=status, reason: None, to_status: None, to_reason: None, announcement }
}

/// The carrier's 480, and its silence, are announced; so is a 404 of its by a name that there is not.
fn policy() -> Policy {
    let mut policy = crate::harness::policy();
    policy.trunks[1].answers.received =
        AnswerMap(vec![rule(480, "call-restricted"), rule(408, "call-restricted"), rule(404, "unheard-of")]);
    policy
}

/// The INVITE as the called side has it.
#[track_caller]
fn begin(net: &mut Net, lines: &str) -> Message {
    net.receive(CALLER, &with(&invite("5551000", "c1", &sdp("192.0.2.10", 4000)), lines));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE")
}

#[track_caller]
fn refuse(net: &mut Net, sent: &Message, status: &str) {
    net.receive(CALLEE, &with(&answer(sent, status, "bob", CALLEE, ""), "X-Why: because\r\n"));
    net.expect(CALLEE, "ACK");
}

/// The media process has played it to the end.
fn played(net: &mut Net) {
    let (session, spec) = net.session();
    assert_eq!(spec.legs.len(), 1, "nobody is called any more");
    assert!(spec.legs[0].streams[0].play.is_some());
    net.media_event(Event::Played { session, leg: 0, stream: 0 });
}

fn outcomes(net: &Net) -> Vec<(Option<String>, Outcome)> {
    let ended = net.observed.iter().filter_map(|observed| match observed {
        Observation::Ended { to, outcome, .. } => Some((to.clone(), *outcome)),
        _ => None,
    });
    ended.collect()
}

#[test]
fn a_refusal_of_the_called_side_is_announced_and_then_passed_on() {
    let mut net = Net::with(policy());
    let sent = begin(&mut net, "");
    net.receive(CALLEE, &answer(&sent, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    refuse(&mut net, &sent, "480 Temporarily Unavailable");
    let progress = net.expect(CALLER, "SIP/2.0 183 Session Progress");
    assert!(progress.body().contains("m=audio 20000 RTP/AVP 8\r\n"), "{}", progress.body());
    assert_eq!((net.counters().announced, net.counters().calls_active), (1, 1));
    net.advance(2 * SECOND);
    net.quiet();
    played(&mut net);
    let told = net.expect(CALLER, "SIP/2.0 480 Temporarily Unavailable");
    assert_eq!(told.header("X-Why"), "because", "it is the called side's own");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", told.tag("To"), ""));
    assert_eq!(outcomes(&net), [(Some("carrier".into()), Outcome::Refused(480))]);
    assert_eq!((net.counters().answered, net.counters().unannounced), (0, 0));
    net.nothing_left();
}

#[test]
fn a_caller_that_acknowledges_provisional_answers_hears_it_from_then_on() {
    let mut net = Net::with(policy());
    let sent = begin(&mut net, "Supported: 100rel\r\nAllow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE\r\n");
    refuse(&mut net, &sent, "480 Temporarily Unavailable");
    let progress = net.expect(CALLER, "SIP/2.0 183");
    assert_eq!(net.session().1.legs[0].streams[0].play, None);
    let prack = caller_request("PRACK", 2, "c1", progress.tag("To"), "");
    net.receive(CALLER, &with(&prack, &format!("RAck: {} 1 INVITE\r\n", progress.header("RSeq"))));
    net.expect(CALLER, "SIP/2.0 200");
    played(&mut net);
    net.expect(CALLER, "SIP/2.0 480");
    net.nothing_left();
}

#[test]
fn without_a_prack_of_the_ringing_the_refusal_comes_at_once() {
    let mut net = Net::with(policy());
    let sent = begin(&mut net, "Supported: 100rel\r\nAllow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE\r\n");
    net.receive(CALLEE, &answer(&sent, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    refuse(&mut net, &sent, "480 Temporarily Unavailable");
    net.expect(CALLER, "SIP/2.0 480");
    assert_eq!((net.counters().announced, net.counters().unannounced), (0, 1));
    net.nothing_left();
}

#[test]
fn what_cannot_be_announced_is_refused_at_once() {
    // There is none of that name.
    let mut net = Net::with(policy());
    let sent = begin(&mut net, "");
    refuse(&mut net, &sent, "404 Not Found");
    net.expect(CALLER, "SIP/2.0 404");
    assert_eq!((net.counters().announced, net.counters().unannounced), (0, 1));
    net.nothing_left();
    // The carrier has played one of its own.
    let mut net = Net::with(policy());
    let sent = begin(&mut net, "");
    net.receive(CALLEE, &answer(&sent, "183 Session Progress", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 183");
    refuse(&mut net, &sent, "480 Temporarily Unavailable");
    net.expect(CALLER, "SIP/2.0 480");
    net.nothing_left();
    // Nothing was offered.
    let mut net = Net::with(policy());
    net.receive(CALLER, &invite("5551000", "c1", ""));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    refuse(&mut net, &sent, "480 Temporarily Unavailable");
    net.expect(CALLER, "SIP/2.0 480");
    net.nothing_left();
    // What is played has no room, which is found out when it is to begin.
    let mut net = Net::with(policy());
    let sent = begin(&mut net, "");
    net.media.refuse = Some(moorline_control::Refusal::new(RefusalCode::Capacity, ""));
    refuse(&mut net, &sent, "480 Temporarily Unavailable");
    net.expect(CALLER, "SIP/2.0 183");
    assert_eq!(net.expect(CALLER, "SIP/2.0 480").header("X-Why"), "because");
    net.nothing_left();
}

#[test]
fn silence_is_announced_and_who_answers_late_is_hung_up_on() {
    let mut policy = policy();
    policy.trunks[1].no_answer_ns = 15 * SECOND;
    policy.trunks[1].answers.received = AnswerMap(vec![rule(480, "call-restricted")]);
    let mut net = Net::with(policy);
    let sent = begin(&mut net, "");
    net.receive(CALLEE, &answer(&sent, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.advance(15 * SECOND);
    net.expect(CALLEE, "CANCEL");
    net.expect(CALLER, "SIP/2.0 183");
    // The CANCEL comes too late.
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.quiet();
    played(&mut net);
    let told = net.expect(CALLER, "SIP/2.0 480 Temporarily Unavailable - No Answer");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", told.tag("To"), ""));
    assert_eq!(outcomes(&net), [(Some("carrier".into()), Outcome::Refused(480))]);
    assert_eq!(net.counters().answered, 0);
    net.nothing_left();
}

#[test]
fn a_cancelled_destination_that_refuses_meanwhile_changes_nothing() {
    let mut policy = policy();
    policy.trunks[1].no_answer_ns = 15 * SECOND;
    let mut net = Net::with(policy);
    let sent = begin(&mut net, "");
    net.receive(CALLEE, &answer(&sent, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.advance(15 * SECOND);
    let cancel = net.expect(CALLEE, "CANCEL");
    net.expect(CALLER, "SIP/2.0 183");
    net.receive(CALLEE, &answer(&cancel, "200 OK", "bob", CALLEE, ""));
    refuse(&mut net, &sent, "487 Request Terminated");
    net.quiet();
    played(&mut net);
    net.expect(CALLER, "SIP/2.0 480");
    net.nothing_left();
}

#[test]
fn a_caller_that_gives_up_is_told_nothing_more() {
    let mut net = Net::with(policy());
    let sent = begin(&mut net, "");
    refuse(&mut net, &sent, "480 Temporarily Unavailable");
    net.expect(CALLER, "SIP/2.0 183");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    assert!(net.media.sessions.is_empty());
    assert_eq!(outcomes(&net), [(Some("carrier".into()), Outcome::Cancelled)]);
    net.nothing_left();
}

#[test]
fn without_the_media_process_the_refusal_comes_at_once() {
    let mut net = Net::with(policy());
    let sent = begin(&mut net, "");
    refuse(&mut net, &sent, "480 Temporarily Unavailable");
    net.expect(CALLER, "SIP/2.0 183");
    net.input(Input::Media(MediaInput::Disconnected));
    assert_eq!(net.expect(CALLER, "SIP/2.0 480").header("X-Why"), "because");
    net.input(Input::Media(MediaInput::Connected(hello(2))));
    assert!(net.media.sessions.is_empty());
    net.nothing_left();
}

#[test]
fn the_trunk_that_hears_a_refusal_may_have_it_announced_whoever_refuses() {
    let mut policy = crate::harness::policy();
    policy.trunks[0].answers.sent = AnswerMap(vec![rule(404, "call-restricted"), rule(480, "call-restricted")]);
    // The called side.
    let mut net = Net::with(policy.clone());
    let sent = begin(&mut net, "");
    refuse(&mut net, &sent, "480 Temporarily Unavailable");
    net.expect(CALLER, "SIP/2.0 183");
    played(&mut net);
    net.expect(CALLER, "SIP/2.0 480");
    net.nothing_left();
    // We ourselves: nothing leads there.
    net.receive(CALLER, &invite("9", "c2", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLER, "SIP/2.0 183");
    played(&mut net);
    net.expect(CALLER, "SIP/2.0 404");
    net.nothing_left();
}

#[test]
fn another_trunk_comes_before_an_announcement() {
    let mut policy = policy();
    policy.trunks[1].answers.received = AnswerMap(vec![rule(503, "call-restricted")]);
    let mut net = Net::with(policy);
    let sent = begin(&mut net, "");
    refuse(&mut net, &sent, "503 Service Unavailable");
    // The carrier has another address.
    let (to, next) = net.take_sent().remove(0);
    assert!(to != CALLER && next.start().starts_with("INVITE"), "{to} {}", next.start());
    assert_eq!(net.counters().announced, 0);
}
