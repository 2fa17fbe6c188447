//! What operators see of calls and trunks, how they end a call, and how they take no new ones.

use moorline_b2bua::Input;
use moorline_b2bua::cdr::{EndedBy, Record};
use moorline_b2bua::inspect::{CallFilter, CallState, CallView};
use moorline_b2bua::policy::{Policy, Refer};
use moorline_control::SessionId;

use crate::harness::*;

fn net() -> Net {
    let mut policy = policy();
    policy.records.kept = true;
    Net::with(policy)
}

/// All calls that fit.
fn seen(net: &Net, filter: &CallFilter) -> Vec<CallView> {
    let mut keys = net.worker.call_keys();
    keys.sort_unstable();
    let ids: Vec<SessionId> = keys.iter().map(|key| key.id).collect();
    net.worker.describe(net.now, &ids, filter)
}

/// The only call that is not ending.
#[track_caller]
fn only(net: &Net) -> CallView {
    let calls = seen(net, &CallFilter::default());
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls[0].clone()
}

#[track_caller]
fn hang_up(net: &mut Net) -> Record {
    let record = only(net).record;
    let id = record.id.parse().unwrap();
    assert!(net.worker.has_call(id));
    net.input(Input::HangUp(id));
    assert!(!net.worker.has_call(id));
    record
}

#[track_caller]
fn ended_by_operator(net: &mut Net, cause: &str) {
    net.nothing_left();
    let record = net.record();
    assert_eq!((record.ended_by, record.cause.as_deref()), (Some(EndedBy::Operator), Some(cause)));
}

/// A ping of the caller's, each time another one.
fn options(number: u32) -> String {
    caller_request("OPTIONS", number, "ping", "", "").replace(";tag=\r\n", "\r\n")
}

#[test]
fn an_operator_ends_a_call_that_is_up_on_both_legs() {
    let mut net = net();
    establish(&mut net);
    net.advance(5 * SECOND);
    let view = only(&net);
    assert_eq!((view.state, view.record.duration_ms), (CallState::Up, 5_000));
    let Record { caller, callee, called_number, .. } = hang_up(&mut net);
    assert_eq!(
        (caller.trunk.as_str(), callee.trunk.as_str(), called_number.as_str()),
        ("customers", "carrier", "5551000")
    );
    for party in [CALLER, CALLEE] {
        let bye = net.expect(party, "BYE");
        net.receive(party, &answer(&bye, "200 OK", "", party, ""));
    }
    assert!(net.media.sessions.is_empty());
    ended_by_operator(&mut net, "operator_hung_up");
    assert!(net.record().answer.is_some());
}

#[test]
fn an_operator_ends_a_call_that_rings() {
    let mut net = net();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    assert_eq!(only(&net).state, CallState::Connecting);
    let invite = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&invite, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    assert_eq!(only(&net).state, CallState::Ringing);
    hang_up(&mut net);
    let refused = net.expect(CALLER, "SIP/2.0 480");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", refused.tag("To"), ""));
    let cancel = net.expect(CALLEE, "CANCEL");
    net.receive(CALLEE, &answer(&cancel, "200 OK", "bob", CALLEE, ""));
    net.receive(CALLEE, &answer(&invite, "487 Request Terminated", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    ended_by_operator(&mut net, "operator_cancelled");
    assert_eq!(net.record().answer, None);
}

#[test]
fn a_2xx_that_crosses_the_end_is_acknowledged_and_ended() {
    let mut net = net();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let invite = net.expect(CALLEE, "INVITE");
    hang_up(&mut net);
    net.receive(CALLEE, &answer(&invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    ended_by_operator(&mut net, "operator_cancelled");
}

#[test]
fn what_is_over_or_unknown_cannot_be_ended() {
    let mut net = net();
    establish(&mut net);
    let id: SessionId = hang_up(&mut net).id.parse().unwrap();
    assert_eq!(seen(&net, &CallFilter::default()), []);
    let ending = CallFilter { state: Some(CallState::Ending), ..CallFilter::default() };
    assert_eq!(seen(&net, &ending).len(), 1);
    net.take_sent();
    net.input(Input::HangUp(id));
    net.input(Input::HangUp(SessionId { node: 9, virtual_shard: 9, random: 9 }));
    net.quiet();
    assert!(net.worker.describe(net.now, &[SessionId { node: 9, virtual_shard: 9, random: 9 }], &ending).is_empty());
}

#[test]
fn calls_are_found_by_trunk_number_and_state() {
    let mut net = net();
    establish(&mut net);
    net.receive(CALLER, &invite("5552000", "c2", &sdp("192.0.2.10", 4002)));
    let count = |filter: CallFilter| seen(&net, &filter).len();
    assert_eq!(count(CallFilter::default()), 2);
    for (trunk, expected) in [("carrier", 2), ("customers", 2), ("nobody", 0)] {
        assert_eq!(count(CallFilter { trunk: Some(trunk.into()), ..CallFilter::default() }), expected, "{trunk}");
    }
    for (number, expected) in [("555", 2), ("5551", 1), ("+5552", 1), ("2001", 2), ("001", 0)] {
        assert_eq!(count(CallFilter { number: Some(number.into()), ..CallFilter::default() }), expected, "{number}");
    }
    for (state, expected) in [(CallState::Up, 1), (CallState::Connecting, 1), (CallState::Ringing, 0)] {
        assert_eq!(count(CallFilter { state: Some(state), ..CallFilter::default() }), expected, "{state:?}");
    }
}

#[test]
fn a_call_that_was_restored_is_shown_and_can_be_ended() {
    let mut net = net();
    establish(&mut net);
    let before = only(&net);
    // Nothing is written down of it either.
    net.marks.clear();
    let mut policy = policy();
    policy.records.kept = true;
    net.restart_signaling(policy);
    let after = only(&net);
    assert_eq!((after.state, &after.record.id), (CallState::Up, &before.record.id));
    assert_eq!((after.record.caller_number.as_str(), after.record.called_number.as_str()), ("2001", "5551000"));
    assert_eq!((after.record.caller.trunk.as_str(), after.record.callee.trunk.as_str()), ("customers", "carrier"));
    hang_up(&mut net);
    net.expect(CALLER, "BYE");
    net.expect(CALLEE, "BYE");
}

#[test]
fn while_it_drains_no_new_call_is_taken_and_those_that_are_up_go_on() {
    let mut net = net();
    let up = establish(&mut net);
    net.worker.calls().drain(true);
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4002)));
    let refused = net.expect(CALLER, "SIP/2.0 503 Service Unavailable - Draining");
    assert!(refused.find("Retry-After").is_some());
    net.receive(CALLER, &options(1));
    let refused = net.expect(CALLER, "SIP/2.0 503");
    assert!(refused.find("Retry-After").is_some());
    // The call that is up may change, and end.
    let hold = sdp("192.0.2.10", 4000) + "a=sendonly\r\n";
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &hold));
    net.expect(CALLER, "SIP/2.0 100");
    let reinvite = net.expect(CALLEE, "INVITE");
    let body = sdp("198.51.100.20", 6000) + "a=recvonly\r\n";
    net.receive(CALLEE, &answer(&reinvite, "200 OK", "bob", CALLEE, &body));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLER, &caller_request("OPTIONS", 3, "c1", &up.tag, ""));
    let inside = net.expect(CALLEE, "OPTIONS");
    net.receive(CALLEE, &answer(&inside, "200 OK", "", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(net.worker.calls().now(), 1);
    net.receive(CALLER, &caller_request("BYE", 4, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    assert_eq!(net.worker.calls().now(), 0);

    net.worker.calls().drain(false);
    net.receive(CALLER, &options(5));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &invite("5551000", "c3", &sdp("192.0.2.10", 4004)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
}

#[test]
fn while_it_drains_a_party_of_a_call_may_still_be_transferred() {
    let mut policy: Policy = policy();
    policy.trunks.iter_mut().for_each(|trunk| trunk.dialogs.refer = Refer::Handle);
    let mut net = Net::with(policy);
    let up = establish(&mut net);
    net.worker.calls().drain(true);
    let refer = caller_request("REFER", 2, "c1", &up.tag, "");
    net.receive(CALLER, &with(&refer, "Refer-To: <sip:5552000@192.0.2.1>\r\n"));
    net.expect(CALLER, "SIP/2.0 202");
    net.expect(CALLEE, "INVITE");
}

#[test]
fn it_is_seen_which_target_of_a_trunk_rests() {
    let mut net = net();
    let trunks = net.worker.reach(net.now, 0, 10);
    assert_eq!(trunks.iter().map(|trunk| trunk.trunk.as_str()).collect::<Vec<_>>(), ["customers", "carrier"]);
    assert_eq!((trunks[1].listener.as_str(), &trunks[1].registration), ("outside", &None));
    assert_eq!(net.worker.reach(net.now, 1, 10).len(), 1);

    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "503 Service Unavailable", "bob", CALLEE, ""));
    net.expect(CALLEE_2, "INVITE");
    let carrier = &net.worker.reach(net.now, 1, 1)[0];
    let rests = |at: usize| carrier.targets[at].hops[0].rests_ms;
    assert_eq!((carrier.targets[0].target.as_str(), rests(0), rests(1)), (CALLEE, Some(5_000), None));
}
