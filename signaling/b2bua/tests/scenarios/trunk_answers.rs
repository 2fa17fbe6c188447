//! What becomes of refusals, and of silence, by the settings of a trunk.

use moorline_b2bua::Outcome;
use moorline_b2bua::policy::{AnswerMap, AnswerRule, Pattern, Policy, Template};

use crate::harness::*;

fn rule(status: u16, reason: Option<&str>, to_status: u16, to_reason: Option<&str>) -> AnswerRule {
    let reason = reason.map(|text| Pattern::new(text).unwrap());
    let to_reason = to_reason.map(|text| Template::new(text, reason.as_ref()).unwrap());
    AnswerRule { statuses: status..=status, reason, to_status: Some(to_status), to_reason, announcement: None }
}

/// The carrier's refusals become these.
fn received(rules: Vec<AnswerRule>) -> Policy {
    let mut policy = policy();
    policy.trunks[1].answers.received = AnswerMap(rules);
    policy
}

/// The start of what the caller hears of a refusal.
#[track_caller]
fn heard(policy: Policy, refusal: &str) -> String {
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &with(&answer(&sent, refusal, "bob", CALLEE, ""), "X-Why: because\r\n"));
    net.expect(CALLEE, "ACK");
    let told = net.expect(CALLER, "SIP/2.0");
    assert_eq!(told.header("X-Why"), "because");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", told.tag("To"), ""));
    net.nothing_left();
    told.start().to_owned()
}

#[test]
fn a_reason_phrase_crosses_as_it_is() {
    assert_eq!(heard(policy(), "480 No money left"), "SIP/2.0 480 No money left");
}

#[test]
fn refusals_of_one_code_are_told_apart_by_their_reason() {
    let rules = || {
        vec![
            rule(480, Some("(?i)no money"), 402, Some("Out Of Credit")),
            rule(480, Some("^codec (.*)$"), 488, Some("Not Acceptable - $1")),
        ]
    };
    assert_eq!(heard(received(rules()), "480 No money left"), "SIP/2.0 402 Out Of Credit");
    assert_eq!(heard(received(rules()), "480 codec mismatch"), "SIP/2.0 488 Not Acceptable - mismatch");
    assert_eq!(heard(received(rules()), "480 Temporarily Unavailable"), "SIP/2.0 480 Temporarily Unavailable");
    assert_eq!(heard(received(rules()), "486 no money"), "SIP/2.0 486 no money");
}

#[test]
fn a_customer_hears_the_codes_that_it_knows() {
    let mut policy = policy();
    policy.trunks[0].answers.sent = AnswerMap(vec![rule(486, None, 600, None), rule(404, None, 604, None)]);
    assert_eq!(heard(policy.clone(), "486 Busy Here"), "SIP/2.0 600 Busy Everywhere");
    // What is refused here is told in the same words.
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("9", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 604 Does Not Exist Anywhere");
}

#[test]
fn both_trunks_have_their_say() {
    let mut policy = received(vec![rule(503, None, 480, Some("Carrier Full"))]);
    policy.trunks[1].targets.truncate(1);
    policy.trunks[0].answers.sent = AnswerMap(vec![rule(480, Some("Full"), 486, None)]);
    assert_eq!(heard(policy, "503 Overload"), "SIP/2.0 486 Busy Here");
}

#[test]
fn whether_another_target_is_tried_is_decided_by_what_came() {
    let mut net = Net::with(received(vec![rule(503, None, 603, None)]));
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "503 Service Unavailable", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    let sent = net.expect(CALLEE_2, "INVITE");
    net.receive(CALLEE_2, &answer(&sent, "503 Service Unavailable", "bob", CALLEE_2, ""));
    net.expect(CALLER, "SIP/2.0 603 Decline");
}

#[test]
fn a_cancelled_call_is_answered_487_whatever_the_map_says() {
    let everything =
        AnswerRule { statuses: 300..=699, reason: None, to_status: Some(403), to_reason: None, announcement: None };
    let mut net = Net::with(received(vec![everything]));
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
}

/// The carrier may ring for 15 s.
fn ringing_for_15_s() -> Policy {
    let mut policy = policy();
    policy.trunks[1].no_answer_ns = 15 * SECOND;
    policy
}

#[test]
fn who_rings_too_long_is_cancelled() {
    let mut net = Net::with(ringing_for_15_s());
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.advance(14 * SECOND);
    net.quiet();
    net.advance(SECOND);
    let cancel = net.expect(CALLEE, "CANCEL");
    net.receive(CALLEE, &answer(&cancel, "200 OK", "bob", CALLEE, ""));
    net.receive(CALLEE, &answer(&sent, "487 Request Terminated", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    let told = net.expect(CALLER, "SIP/2.0 480 Temporarily Unavailable - No Answer");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", told.tag("To"), ""));
    let ended = net.observed.iter().any(|observation| {
        matches!(observation, moorline_b2bua::Observation::Ended { outcome: Outcome::Refused(480), .. })
    });
    assert!(ended);
    net.nothing_left();
}

#[test]
fn a_trunk_that_only_says_100_is_given_up_with_408() {
    let mut net = Net::with(ringing_for_15_s());
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "100 Trying", "", CALLEE, ""));
    net.advance(15 * SECOND);
    net.expect(CALLER, "SIP/2.0 408");
}

#[test]
fn what_silence_becomes_is_in_the_map_too() {
    let mut policy = ringing_for_15_s();
    policy.trunks[1].answers.received = AnswerMap(vec![rule(480, Some("No Answer"), 486, Some("Nobody Home"))]);
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.advance(15 * SECOND);
    net.expect(CALLER, "SIP/2.0 486 Nobody Home");
}

#[test]
fn an_answer_in_time_is_left_alone() {
    let mut net = Net::with(ringing_for_15_s());
    establish(&mut net);
    net.advance(20 * SECOND);
    net.quiet();
    assert_eq!(net.counters().calls_active, 1);
}

#[test]
fn an_answer_that_crosses_the_cancel_is_hung_up() {
    let mut net = Net::with(ringing_for_15_s());
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.advance(15 * SECOND);
    net.expect(CALLEE, "CANCEL");
    net.expect(CALLER, "SIP/2.0 480");
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
}
