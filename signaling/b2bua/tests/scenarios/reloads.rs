//! Another configuration while calls are up: they keep what they began with, and all that begins afterwards is decided by
//! the new one.

use std::sync::Arc;

use moorline_b2bua::policy::limit::Numbers;
use moorline_b2bua::policy::{Codecs, Endpoints, Policy, Registration, Route, Routes, SecretPrefix, Trunk, Way};
use moorline_b2bua::{Input, Observation};

use crate::harness::*;
use crate::phones::*;

/// A carrier that is not there at first.
const OTHER: &str = "198.51.100.40:5060";

/// Brings a policy to the worker, and returns what it was made of.
fn reload(net: &mut Net, before: &Policy, next: Policy) -> Policy {
    let policy = before.followed_by(next, &[]);
    net.input(Input::Policy(Arc::new(policy.clone())));
    policy
}

fn without_customers() -> Policy {
    let mut policy = policy();
    policy.trunks.remove(0);
    policy.routes = Routes::all_to(0);
    policy
}

fn hang_up(net: &mut Net, up: &Up) {
    net.receive(CALLER, &caller_request("BYE", 9, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
}

#[test]
fn a_trunk_that_is_removed_keeps_its_calls_and_gets_no_others() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let first = policy();
    let second = reload(&mut net, &first, without_customers());
    assert_eq!(net.worker.trunks_in_use().into_iter().collect::<Vec<_>>(), [0, 1]);

    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4000)));
    net.quiet();
    assert_eq!(net.counters().unknown_source, 1);

    // The call is held, and ends, as if nothing had been.
    let hold = sdp("192.0.2.10", 4000).replace("a=x-unknown:kept", "a=sendonly");
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &hold));
    net.expect(CALLER, "SIP/2.0 100");
    let again = net.expect(CALLEE, "INVITE");
    assert!(again.body().contains("a=sendonly"));
    net.receive(CALLEE, &answer(&again, "200 OK", "", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &up.tag, ""));
    net.expect(CALLEE, "ACK");
    hang_up(&mut net, &up);
    let ended = |o: &Observation| matches!(o, Observation::Ended { .. });
    assert_eq!(net.observed.iter().filter(|o| ended(o)).count(), 1);
    net.nothing_left();
    assert!(net.worker.trunks_in_use().is_empty());

    // It comes back, in the place that nobody needs any more.
    let third = second.followed_by(policy(), &[0]);
    net.input(Input::Policy(Arc::new(third.clone())));
    assert_eq!(third.trunks.len(), 2);
    establish(&mut net);
}

#[test]
fn a_call_that_rings_may_still_be_given_up_by_a_trunk_that_is_removed() {
    let mut net = Net::new();
    let offer = invite("5551000", "c1", &sdp("192.0.2.10", 4000));
    net.receive(CALLER, &offer);
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    reload(&mut net, &policy(), without_customers());
    // A repetition is one.
    net.receive(CALLER, &offer);
    net.expect(CALLER, "SIP/2.0 180");
    let cancel = invite("5551000", "c1", "").replace("INVITE", "CANCEL");
    net.receive(CALLER, &cancel);
    net.expect(CALLER, "SIP/2.0 200");
    let refused = net.expect(CALLER, "SIP/2.0 487");
    net.receive(
        CALLER,
        &caller_request("ACK", 1, "c1", refused.tag("To"), "").replace("z9hG4bK-ACK-1-c1", "z9hG4bK-c1"),
    );
    let cancel = net.expect(CALLEE, "CANCEL");
    net.receive(CALLEE, &answer(&cancel, "200 OK", "", CALLEE, ""));
    net.receive(CALLEE, &answer(&sent, "487 Request Terminated", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.nothing_left();
}

#[test]
fn a_call_keeps_the_codecs_that_it_began_with() {
    let codecs = |names: &[&str]| Codecs::new(names.iter().map(|name| name.parse().unwrap()).collect());
    let offer = |port: u16| sdp("192.0.2.10", port).replace("RTP/AVP 8 101", "RTP/AVP 8 0 18 101");
    let formats =
        |message: &Message| message.body().split("RTP/AVP ").nth(1).unwrap().split("\r\n").next().unwrap().to_owned();
    let mut net = Net::new();
    let up = establish(&mut net);
    let mut next = policy();
    next.trunks[1].codecs = codecs(&["pcmu"]);
    let second = reload(&mut net, &policy(), next);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &offer(4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let again = net.expect(CALLEE, "INVITE");
    assert_eq!(formats(&again), "8 0 18 101");
    net.receive(CALLEE, &answer(&again, "488 Not Acceptable Here", "", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.expect(CALLER, "SIP/2.0 488");

    net.receive(CALLER, &invite("5551000", "c2", &offer(4002)));
    net.expect(CALLER, "SIP/2.0 100");
    assert_eq!(formats(&net.expect(CALLEE, "INVITE")), "0 101");
    assert_eq!(net.worker.trunks_in_use().len(), 3);
    assert_eq!(second.trunks.len(), 3);
}

#[test]
fn a_route_that_is_moved_leads_new_calls_elsewhere() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let ringing = net.expect(CALLEE, "INVITE");
    let mut next = policy();
    let other = Trunk {
        name: "other".into(),
        listener: 1,
        targets: vec![OTHER.parse().unwrap()],
        media_range: "other".into(),
        ..Trunk::default()
    };
    next.trunks.insert(0, other);
    next.routes = Routes::new([Route { prefix: "555".into(), from: Some(1), to: Way::Trunk(0), ..Route::default() }]);
    reload(&mut net, &policy(), next);

    net.receive(CALLEE, &answer(&ringing, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(OTHER, "INVITE");
    net.quiet();
}

#[test]
fn a_call_keeps_the_secret_prefix_that_it_began_with() {
    let secret = |text: &str| {
        let mut policy = policy();
        policy.trunks[1].secret_prefix.sent = Some(SecretPrefix::new(text).unwrap());
        policy
    };
    let mut net = Net::with(secret("88991"));
    let up = establish(&mut net);
    reload(&mut net, &secret("88991"), secret("66773"));
    net.receive(CALLER, &caller_request("INFO", 2, "c1", &up.tag, ""));
    let info = net.expect(CALLEE, "INFO");
    assert!(info.header("To").starts_with("<sip:889915551000@"), "{}", info.0);
    net.receive(CALLEE, &answer(&info, "200 OK", "", CALLEE, ""));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert!(!ok.0.contains("88991") && !ok.0.contains("(~"), "{}", ok.0);
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE sip:667735551000@");
}

#[test]
fn calls_that_are_up_count_for_limits_that_are_new() {
    let mut net = Net::new();
    let up = establish(&mut net);
    let mut next = policy();
    next.trunks[0].limits.inbound.numbers = Numbers { calls: Some(1), ..Numbers::default() };
    // As the process does it, for all workers at once.
    next.trunks.iter().for_each(|trunk| net.worker.limits().configure(trunk));
    reload(&mut net, &policy(), next);
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 503");
    hang_up(&mut net, &up);
    net.receive(CALLER, &invite("5551000", "c3", &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
}

#[test]
fn telephones_stay_registered_as_long_as_their_trunk_has_them() {
    let first = with_phones();
    let mut net = Net::with(first.clone());
    let (mut alice, mut bob) = (phone("6000", "1234", PHONE), phone("6001", "4321", PHONE_1));
    alice.register(&mut net, 3600);
    bob.register(&mut net, 3600);
    let second = reload(&mut net, &first, with_endpoints(Endpoints { max_contacts: 3, ..Endpoints::default() }));
    assert_eq!(net.counters().bindings, 2);
    // With the nonce that it has: the challenges are the same.
    alice.call(&mut net, "6001", &sdp("203.0.113.60", 4000));
    let invite = net.expect(PHONE_1, "INVITE sip:6001@");
    net.receive(PHONE_1, &answer(&invite, "486 Busy Here", "bob", PHONE_1, ""));
    net.expect(PHONE_1, "ACK");
    net.expect(PHONE, "SIP/2.0 486");

    let mut next = with_phones();
    let authentication = next.trunks[2].authentication.as_mut().unwrap();
    let kept = authentication.users.find(b"6000").unwrap().clone();
    authentication.users = Arc::new([kept].into_iter().collect());
    let third = reload(&mut net, &second, next);
    assert_eq!((net.counters().bindings, net.stored.len()), (1, 1), "6001 is no more");
    let mut next = with_phones();
    next.trunks.pop();
    next.routes = Routes::all_to(1);
    reload(&mut net, &third, next);
    assert_eq!((net.counters().bindings, net.stored.len()), (0, 0));
    net.receive(PHONE, &alice.register_lines(""));
    net.quiet();
}

#[test]
fn our_registration_and_probes_go_with_their_trunk() {
    let with = |user: &str, expires_s: u32| {
        let mut policy = policy();
        policy.trunks[1].probe_ns = 30 * SECOND;
        let user = user.to_owned();
        policy.trunks[1].registration =
            Some(Registration { user, domain: "carrier.example".into(), expires_s, new_call_id: false });
        policy
    };
    let mut net = Net::with(with("one", 3600));
    net.advance(SECOND / 4);
    let sent = net.take_sent();
    let registered: Vec<_> = sent.iter().filter(|(_, message)| message.start().starts_with("REGISTER")).collect();
    assert!(registered[0].1.header("To").contains("sip:one@"), "{sent:?}");
    for (to, message) in &sent {
        net.receive(to, &answer(message, "200 OK", "x", to, ""));
    }
    let second = reload(&mut net, &with("one", 3600), with("two", 3600));
    net.advance(SECOND / 4);
    let sent = net.take_sent();
    let starts: Vec<&str> = sent.iter().map(|(_, message)| message.start().split(' ').next().unwrap()).collect();
    assert_eq!(starts.iter().filter(|start| **start == "REGISTER").count(), 1, "{starts:?}");
    let register = sent.iter().find(|(_, message)| message.start().starts_with("REGISTER")).unwrap();
    assert!(register.1.header("To").contains("sip:two@"), "{}", register.1.0);
    for (to, message) in &sent {
        net.receive(to, &answer(message, "200 OK", "x", to, ""));
    }
    // Neither goes on where there is no trunk for it.
    let mut next = policy();
    next.trunks.remove(1);
    next.routes = Routes::new([]);
    reload(&mut net, &second, next);
    net.advance(3600 * SECOND);
    net.quiet();
}

#[test]
fn what_is_as_it_was_is_not_touched() {
    let mut net = Net::new();
    establish(&mut net);
    let second = reload(&mut net, &policy(), policy());
    assert_eq!(second.trunks.len(), 2);
    assert!(second.trunks.iter().all(|trunk| !trunk.retired));
}
