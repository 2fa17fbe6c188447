//! MESSAGE and OPTIONS outside calls go by the routes as calls do, also where a trunk or target takes nothing.

use std::sync::Arc;

use moorline_b2bua::Input;
use moorline_b2bua::locate::{Answer, RecordKind, Records};
use moorline_b2bua::policy::{Failover, Hunt, Phrase, Policy, Refusal, Route, Routes, SecretPrefix, Trunk, Way};

use crate::harness::*;

/// The carrier, and another one that takes what the first does not.
fn two_carriers() -> Policy {
    let mut policy = policy();
    policy.trunks[1].targets = vec![CALLEE.parse().unwrap()];
    policy.trunks[1].failover_ns = 4 * SECOND;
    let spare = Trunk { name: "spare".into(), targets: vec![CALLEE_2.parse().unwrap()], ..policy.trunks[1].clone() };
    policy.trunks.push(Trunk { sources: Vec::new(), ..spare });
    let failover = Failover { reasons: vec![(Some(480), Phrase::new("no line"))], ..Failover::default() };
    to(&mut policy, Way::Trunks(Hunt { failover, ..Hunt::in_order([1, 2]) }));
    policy
}

fn to(policy: &mut Policy, way: Way) {
    policy.routes = Routes::new([Route { to: way, ..Route::default() }]);
}

/// A customer says something to a number of the carrier's.
fn say(net: &mut Net, call_id: &str) {
    let text = invite("5551000", call_id, "hello").replace("INVITE", "MESSAGE");
    net.receive(CALLER, &text.replace("application/sdp", "text/plain"));
}

#[test]
fn a_message_goes_on_to_the_next_trunk_after_the_answers_that_a_call_does() {
    for (status, goes_on) in [("503 Service Unavailable", true), ("480 No Line", true), ("480 Away", false)] {
        let mut net = Net::with(two_carriers());
        say(&mut net, "m1");
        let first = net.expect(CALLEE, "MESSAGE sip:5551000@");
        net.receive(CALLEE, &answer(&first, status, "a", CALLEE, ""));
        if goes_on {
            let second = net.expect(CALLEE_2, "MESSAGE sip:5551000@");
            assert!(second.body().contains("hello"));
            net.receive(CALLEE_2, &answer(&second, "200 OK", "b", CALLEE_2, ""));
            net.expect(CALLER, "SIP/2.0 200");
        } else {
            net.expect(CALLER, "SIP/2.0 480 Away");
        }
        net.quiet();
    }
}

#[test]
fn a_silent_trunk_is_given_up_and_what_it_says_later_is_not_heard() {
    let mut net = Net::with(two_carriers());
    say(&mut net, "m1");
    let first = net.expect(CALLEE, "MESSAGE");
    net.advance(4 * SECOND);
    let second = net.expect(CALLEE_2, "MESSAGE");
    net.take_sent();
    net.receive(CALLEE, &answer(&first, "404 Not Found", "a", CALLEE, ""));
    net.quiet();
    net.receive(CALLEE_2, &answer(&second, "202 Accepted", "b", CALLEE_2, ""));
    net.expect(CALLER, "SIP/2.0 202");
    // It rests: the next one goes to the other at once.
    say(&mut net, "m2");
    net.expect(CALLEE_2, "MESSAGE");
    net.quiet();
}

#[test]
fn where_nobody_takes_it_the_sender_hears_the_best_refusal() {
    let mut net = Net::with(two_carriers());
    say(&mut net, "m1");
    let first = net.expect(CALLEE, "MESSAGE");
    net.receive(CALLEE, &answer(&first, "480 No Line", "a", CALLEE, ""));
    let second = net.expect(CALLEE_2, "MESSAGE");
    net.receive(CALLEE_2, &answer(&second, "503 Service Unavailable", "b", CALLEE_2, ""));
    net.expect(CALLER, "SIP/2.0 480 No Line");
    net.quiet();
}

#[test]
fn the_next_target_of_a_trunk_comes_before_the_next_trunk() {
    let mut policy = two_carriers();
    policy.trunks[1].targets = vec![CALLEE_2.parse().unwrap(), CALLEE.parse().unwrap()];
    to(&mut policy, Way::Trunk(1));
    let mut net = Net::with(policy);
    say(&mut net, "m1");
    let first = net.expect(CALLEE_2, "MESSAGE");
    net.receive(CALLEE_2, &answer(&first, "503 Service Unavailable", "a", CALLEE_2, ""));
    let second = net.expect(CALLEE, "MESSAGE");
    net.receive(CALLEE, &answer(&second, "200 OK", "b", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.quiet();
}

#[test]
fn a_route_that_refuses_or_redirects_does_so_to_all_requests() {
    let mut policy = two_carriers();
    to(&mut policy, Way::Refuse(Refusal::new(471, "NO_AVAILABLE_LINE")));
    let mut net = Net::with(policy.clone());
    say(&mut net, "m1");
    net.expect(CALLER, "SIP/2.0 471 NO_AVAILABLE_LINE");
    to(&mut policy, Way::Redirect("sip:{number}@elsewhere.example".into()));
    let mut net = Net::with(policy);
    say(&mut net, "m2");
    let moved = net.expect(CALLER, "SIP/2.0 302");
    assert_eq!(moved.header("Contact"), "<sip:5551000@elsewhere.example>");
}

#[test]
fn what_waits_for_dns_goes_where_it_was_to_go_whatever_is_configured_meanwhile() {
    let mut first = two_carriers();
    first.trunks[1].targets = vec!["carrier.example:5060".parse().unwrap()];
    first.trunks[1].secret_prefix.sent = Some(SecretPrefix::new("77124").unwrap());
    to(&mut first, Way::Trunk(1));
    let mut net = Net::with(first.clone());
    say(&mut net, "m1");
    net.quiet();
    let mut next = first.clone();
    next.trunks[2].secret_prefix.sent = Some(SecretPrefix::new("99356").unwrap());
    to(&mut next, Way::Trunk(2));
    net.input(Input::Policy(Arc::new(first.followed_by(next, &[]))));
    let found = net.questions.iter().position(|query| query.kind == RecordKind::A).unwrap();
    let number = net.questions.remove(found).number;
    let records = Records::Addresses(vec!["198.51.100.20".parse().unwrap()]);
    net.input(Input::Dns { number, answer: Ok(Answer { records, ttl_s: 60 }) });
    let sent = net.expect("198.51.100.20:5060", "MESSAGE sip:771245551000@carrier.example");
    assert!(!sent.0.contains("99356"), "{}", sent.0);
}
