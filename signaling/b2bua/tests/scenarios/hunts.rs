//! Calls that may go to several trunks: which is first, and which answers lead to the next.

use moorline_b2bua::policy::{Choice, Failover, Hunt, Listener, Phrase, Policy, Trunk, Way};
use moorline_b2bua::{Observation, Outcome};
use moorline_control::{Refusal, RefusalCode, Request};

use crate::harness::*;

/// The second carrier, beyond a listener and a media range of its own.
pub(crate) const SECOND: &str = "198.51.100.40:5060";
const SECOND_SIDE: &str = "203.0.113.1:5060";
const THIRD: &str = "198.51.100.50:5060";

/// Calls go to "carrier", then to "second", then to "third"; each has one target.
pub(crate) fn policy_with(failover: Failover) -> Policy {
    let mut policy = policy();
    policy.trunks[1].targets = vec![CALLEE.parse().unwrap()];
    policy.trunks[1].failover_ns = 4 * SECOND_NS;
    let at = SECOND_SIDE.parse().unwrap();
    let transports = policy.listeners[1].transports.clone();
    policy.listeners.push(Listener { name: "second".into(), bind: at, transports, advertised: at });
    let trunk = |name: &str, listener, target: &str, range: &str| Trunk {
        name: name.into(),
        listener,
        targets: vec![target.parse().unwrap()],
        media_range: range.into(),
        failover_ns: 4 * SECOND_NS,
        ..Trunk::default()
    };
    policy.trunks.push(trunk("second", 2, SECOND, "second"));
    policy.trunks.push(trunk("third", 1, THIRD, "carrier"));
    policy.routes = routes(Way::Trunks(Hunt { failover, ..Hunt::in_order([1, 2, 3]) }));
    policy
}

pub(crate) const SECOND_NS: u64 = 1_000_000_000;

/// A call that is at the first carrier, which was sent this INVITE.
pub(crate) fn hunting(policy: Policy) -> (Net, Message) {
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let first = net.expect(CALLEE, "INVITE");
    (net, first)
}

/// The first carrier refuses; the INVITE that the second is sent.
pub(crate) fn refused(net: &mut Net, first: &Message, status: &str) -> Message {
    net.receive(CALLEE, &answer(first, status, "a", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.expect(SECOND, "INVITE")
}

/// The second carrier speaks to its own listener.
pub(crate) fn from_second(net: &mut Net, text: &str) {
    net.receive_at(2, SECOND, text);
}

/// The second carrier answers, and the call is up: Moorline's tag towards the caller.
pub(crate) fn answered(net: &mut Net, second: &Message) -> String {
    from_second(net, &answer(second, "200 OK", "carol", SECOND, &sdp("198.51.100.40", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert!(ok.body().contains("c=IN IP4 192.0.2.1\r\n"), "the caller keeps its side: {}", ok.body());
    let tag = ok.tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(SECOND, "ACK");
    net.quiet();
    tag
}

fn outcome(net: &Net) -> (Option<&str>, Outcome) {
    let mut ended = net.observed.iter().filter_map(|seen| match seen {
        Observation::Ended { to, outcome, .. } => Some((to.as_deref(), *outcome)),
        _ => None,
    });
    ended.next_back().expect("an end")
}

#[test]
fn a_trunk_that_cannot_carry_a_call_hands_it_to_the_next_and_everything_is_that_ones() {
    let mut policy = policy_with(Failover::default());
    policy.trunks[2].caller.number = Some(b"02155550100".to_vec());
    policy.trunks[2].domain = Some("second.example".into());
    let (mut net, first) = hunting(policy);
    assert!(first.body().contains("c=IN IP4 198.51.100.1\r\n"));
    let second = refused(&mut net, &first, "503 Service Unavailable");
    assert_eq!(second.start(), "INVITE sip:5551000@second.example SIP/2.0");
    assert!(second.header("Via").contains(SECOND_SIDE) && second.header("Contact").contains(SECOND_SIDE));
    assert!(second.header("From").contains("<sip:02155550100@second.example>"), "{}", second.header("From"));
    assert!(second.body().contains("c=IN IP4 203.0.113.1\r\n"), "media are of its range: {}", second.body());
    assert_eq!(net.session().1.legs[1].range, "second");
    for name in ["Call-ID", "From", "Via"] {
        assert_ne!(second.header(name), first.header(name), "{name}: another dialog");
    }
    let tag = answered(&mut net, &second);
    assert_eq!(net.counters().failovers, 1);
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &tag, ""));
    let bye = net.expect(SECOND, "BYE");
    from_second(&mut net, &answer(&bye, "200 OK", "", SECOND, ""));
    assert_eq!(outcome(&net), (Some("second"), Outcome::CallerHungUp));
    net.nothing_left();
}

#[test]
fn what_says_something_of_the_callee_is_the_calls_end() {
    for status in ["486 Busy Here", "404 Not Found", "480 Temporarily Unavailable", "603 Decline", "600 Busy"] {
        let (mut net, first) = hunting(policy_with(Failover { statuses: vec![503], ..Failover::default() }));
        net.receive(CALLEE, &answer(&first, status, "a", CALLEE, ""));
        net.expect(CALLEE, "ACK");
        assert_eq!(net.expect(CALLER, "SIP/2.0").start(), format!("SIP/2.0 {status}"));
        net.quiet();
        net.nothing_left();
    }
}

#[test]
fn one_status_may_mean_two_things() {
    let by_reason = || {
        let reasons = vec![(Some(480), Phrase::new("no line*"))];
        hunting(policy_with(Failover { statuses: Vec::new(), reasons, silence: false }))
    };
    let (mut net, first) = by_reason();
    refused(&mut net, &first, "480 No Line Left");
    let (mut net, first) = by_reason();
    net.receive(CALLEE, &answer(&first, "480 Not In Plan", "a", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 480 Not In Plan");
}

#[test]
fn a_silent_trunk_is_given_up_for_the_next() {
    let (mut net, first) = hunting(policy_with(Failover::default()));
    net.advance(5 * SECOND_NS);
    let second = net.expect(SECOND, "INVITE");
    net.take_sent();
    // It wakes up too late: the call is not its any more.
    net.receive(CALLEE, &answer(&first, "200 OK", "late", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    answered(&mut net, &second);
    // New calls do not wait for it again until it has rested.
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(SECOND, "INVITE");
    net.quiet();
}

#[test]
fn where_nobody_carries_the_call_the_caller_hears_the_best_refusal() {
    let (mut net, first) = hunting(policy_with(Failover { statuses: vec![404, 500, 503], ..Failover::default() }));
    let second = refused(&mut net, &first, "404 No Such Number Here");
    from_second(&mut net, &answer(&second, "503 Full", "b", SECOND, ""));
    net.expect(SECOND, "ACK");
    let third = net.expect(THIRD, "INVITE");
    net.receive(THIRD, &answer(&third, "500 Broken", "c", THIRD, ""));
    net.expect(THIRD, "ACK");
    net.expect(CALLER, "SIP/2.0 404 No Such Number Here");
    assert_eq!(net.counters().failovers, 2);
    net.nothing_left();
    assert_eq!(outcome(&net), (Some("carrier"), Outcome::Refused(404)), "the trunk is the one that said so");
}

#[test]
fn silence_everywhere_is_408() {
    let (mut net, _) = hunting(policy_with(Failover::default()));
    net.advance(60 * SECOND_NS);
    net.expect(SECOND, "INVITE");
    net.expect(THIRD, "INVITE");
    net.expect(CALLER, "SIP/2.0 408");
    net.nothing_left();
}

#[test]
fn ringing_may_be_followed_by_another_trunk_but_early_media_may_not() {
    let ringing_then_refused = |body: &str| {
        let (mut net, first) = hunting(policy_with(Failover::default()));
        net.receive(CALLEE, &answer(&first, "183 Session Progress", "a", CALLEE, body));
        net.expect(CALLER, "SIP/2.0 183");
        net.receive(CALLEE, &answer(&first, "503 Gone", "a", CALLEE, ""));
        net.expect(CALLEE, "ACK");
        net
    };
    let mut net = ringing_then_refused("");
    let second = net.expect(SECOND, "INVITE");
    from_second(&mut net, &answer(&second, "180 Ringing", "b", SECOND, ""));
    net.expect(CALLER, "SIP/2.0 180");
    answered(&mut net, &second);

    let mut net = ringing_then_refused(&sdp("198.51.100.20", 6000));
    net.expect(CALLER, "SIP/2.0 503 Gone");
    net.quiet();
    net.nothing_left();
}

#[test]
fn early_media_that_cannot_be_carried_has_not_been_shown() {
    let (mut net, first) = hunting(policy_with(Failover::default()));
    net.receive(
        CALLEE,
        &answer(
            &first,
            "183 Session Progress",
            "a",
            CALLEE,
            "v=0\r\no=- 1 1 IN IP4 a\r\ns=-\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\n",
        ),
    );
    let shown = net.expect(CALLER, "SIP/2.0 183");
    assert_eq!(shown.body(), "");
    let second = refused(&mut net, &first, "503 Gone");
    answered(&mut net, &second);
}

#[test]
fn a_caller_may_cancel_between_two_trunks() {
    let (mut net, first) = hunting(policy_with(Failover::default()));
    net.media.paused = true;
    net.receive(CALLEE, &answer(&first, "503 Gone", "a", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    let cancel = invite("5551000", "c1", "").replace("INVITE", "CANCEL");
    net.receive(CALLER, &cancel);
    net.expect(CALLER, "SIP/2.0 200");
    let gone = net.expect(CALLER, "SIP/2.0 487");
    let mut ack = caller_request("ACK", 1, "c1", gone.tag("To"), "");
    ack = ack.replace("z9hG4bK-ACK-1-c1", "z9hG4bK-c1");
    net.receive(CALLER, &ack);
    net.resume_media();
    net.quiet();
    assert_eq!(outcome(&net).1, Outcome::Cancelled);
    net.nothing_left();
}

#[test]
fn a_caller_may_cancel_at_the_second_trunk_while_the_first_is_given_up() {
    let (mut net, first) = hunting(policy_with(Failover::default()));
    net.advance(5 * SECOND_NS);
    let second = net.expect(SECOND, "INVITE");
    net.take_sent();
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    net.take_sent();
    // Both answer all the same, across the CANCEL.
    from_second(&mut net, &answer(&second, "200 OK", "b", SECOND, &sdp("198.51.100.40", 6000)));
    net.expect(SECOND, "ACK");
    net.expect(SECOND, "BYE");
    net.receive(CALLEE, &answer(&first, "200 OK", "a", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    net.expect(CALLEE, "BYE");
    net.nothing_left();
}

#[test]
fn six_hundred_of_one_who_was_given_up_ends_all() {
    let (mut net, first) = hunting(policy_with(Failover::default()));
    net.advance(5 * SECOND_NS);
    let second = net.expect(SECOND, "INVITE");
    from_second(&mut net, &answer(&second, "100 Trying", "", SECOND, ""));
    net.take_sent();
    net.receive(CALLEE, &answer(&first, "603 Decline", "a", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.expect(SECOND, "CANCEL");
    from_second(&mut net, &answer(&second, "487 Request Terminated", "b", SECOND, ""));
    net.expect(SECOND, "ACK");
    net.expect(CALLER, "SIP/2.0 603 Decline");
    net.take_sent();
    net.nothing_left();
}

#[test]
fn a_range_without_ports_is_a_trunk_without_room() {
    let (mut net, first) = hunting(policy_with(Failover::default()));
    net.media.refuse = Some(Refusal::new(RefusalCode::OutOfPorts, "full"));
    net.receive(CALLEE, &answer(&first, "503 Gone", "a", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    let third = net.expect(THIRD, "INVITE");
    assert!(third.body().contains("c=IN IP4 198.51.100.1\r\n"));
    net.receive(THIRD, &answer(&third, "486 Busy Here", "c", THIRD, ""));
    net.expect(THIRD, "ACK");
    net.expect(CALLER, "SIP/2.0 486");
    net.nothing_left();

    // Nothing was ever open: the next trunk opens it.
    let mut net = Net::with(policy_with(Failover::default()));
    net.media.refuse = Some(Refusal::new(RefusalCode::OutOfPorts, "full"));
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let second = net.expect(SECOND, "INVITE");
    assert_eq!(net.media.log.iter().filter(|asked| matches!(asked, Request::Open { .. })).count(), 2);
    answered(&mut net, &second);
}

#[test]
fn a_trunk_that_does_not_answer_in_its_time_is_followed_by_the_next() {
    let mut policy = policy_with(Failover::default());
    policy.trunks[1].no_answer_ns = 15 * SECOND_NS;
    let (mut net, first) = hunting(policy);
    net.receive(CALLEE, &answer(&first, "180 Ringing", "a", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.advance(16 * SECOND_NS);
    net.expect(CALLEE, "CANCEL");
    let second = net.expect(SECOND, "INVITE");
    net.take_sent();
    net.receive(CALLEE, &answer(&first, "487 Request Terminated", "a", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    answered(&mut net, &second);
}

#[test]
fn a_trunk_that_lacks_what_the_call_needs_is_passed_over() {
    let mut policy = policy_with(Failover::default());
    policy.trunks[1].targets.clear();
    policy.trunks[2].dialogs.fax = false;
    let mut net = Net::with(policy);
    let fax = sdp("192.0.2.10", 4000).replace("audio 4000 RTP/AVP 8 101", "image 4000 udptl t38");
    net.receive(CALLER, &invite("5551000", "c1", &fax));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(THIRD, "INVITE");
    net.quiet();
}

#[test]
fn calls_are_shared_by_weight() {
    let mut policy = policy_with(Failover::default());
    let choices = [(1, 70), (2, 30)].map(|(trunk, weight)| Choice { trunk, order: 0, weight });
    policy.routes = routes(Way::Trunks(Hunt { choices: choices.into(), failover: Failover::default() }));
    let mut net = Net::with(policy);
    let mut second = 0;
    for call in 0..400 {
        net.receive(CALLER, &invite("5551000", &format!("c{call}"), &sdp("192.0.2.10", 4000)));
        second += usize::from(net.take_sent().iter().any(|(to, _)| to == SECOND));
    }
    assert!((80..160).contains(&second), "{second} of 400, where 120 are its share");
}

#[test]
fn a_call_that_went_on_to_another_trunk_outlives_signaling_there() {
    let policy = policy_with(Failover::default());
    let (mut net, first) = hunting(policy.clone());
    let second = refused(&mut net, &first, "503 Gone");
    let tag = answered(&mut net, &second);
    net.restart_signaling(policy);
    assert_eq!(net.session().1.legs[1].range, "second");
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &tag, ""));
    let bye = net.expect(SECOND, "BYE");
    assert!(bye.header("Via").contains(SECOND_SIDE));
}

#[test]
fn a_retransmission_and_a_lost_acknowledgement_change_nothing() {
    let (mut net, first) = hunting(policy_with(Failover::default()));
    let refusal = answer(&first, "503 Gone", "a", CALLEE, "");
    net.receive(CALLEE, &refusal);
    net.expect(CALLEE, "ACK");
    let second = net.expect(SECOND, "INVITE");
    // The first has not heard the ACK, the caller no provisional answer.
    net.receive(CALLEE, &refusal);
    net.expect(CALLEE, "ACK");
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.quiet();
    answered(&mut net, &second);
}

#[test]
fn a_reliable_offer_of_the_first_trunk_leaves_no_other() {
    let mut net = Net::with(policy_with(Failover::default()));
    let late = with(&invite("5551000", "c1", ""), "Supported: 100rel\r\n");
    net.receive(CALLER, &late);
    net.expect(CALLER, "SIP/2.0 100");
    let first = net.expect(CALLEE, "INVITE");
    let offer = answer(&first, "183 Session Progress", "a", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &with(&offer, "Require: 100rel\r\nRSeq: 7\r\n"));
    net.expect(CALLER, "SIP/2.0 183");
    net.receive(CALLEE, &answer(&first, "503 Gone", "a", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.expect(CALLER, "SIP/2.0 503 Gone");
    net.quiet();
    net.nothing_left();
}
