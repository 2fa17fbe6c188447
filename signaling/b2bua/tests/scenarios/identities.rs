//! Trunks behind one address, which their certificates tell apart.

use std::sync::Arc;

use moorline_b2bua::Input;
use moorline_b2bua::policy::{Policy, Trunk, Way};
use moorline_sip::Transport;
use moorline_sip::transaction::{Flow, Identity};

use crate::harness::*;

/// The trunks of two customers behind one NAT.
const ALICE: &str = "alice";
const MALLORY: &str = "mallory";
/// Where Alice speaks from.
const FROM: &str = "192.0.2.10:40001";

fn identities(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// Both speak from the network of the customers, and so does a third one, who need show nothing.
fn customers() -> Policy {
    let mut policy = policy();
    policy.listeners[0].transports = vec![Transport::Tls];
    policy.trunks[0].targets.clear();
    let customer = |name: &str, names: &[&str]| Trunk {
        name: name.into(),
        tls_identities: identities(names),
        ..policy.trunks[0].clone()
    };
    let [open, mallory] = [customer("open", &[]), customer(MALLORY, &["mallory.example"])];
    policy.trunks[0] = customer(ALICE, &["alice.example"]);
    policy.trunks.extend([open, mallory]);
    policy
}

/// The connection from this port, of somebody who has shown that it is this trunk's.
fn connection(port: u16, name: Option<&str>) -> Flow {
    let identity = name.map(Identity::of);
    Flow { identity, ..Flow::new(0, Transport::Tls, ([192, 0, 2, 10], port).into()) }
}

fn receive(net: &mut Net, flow: Flow, text: &str) {
    let text = text.replace("SIP/2.0/UDP", "SIP/2.0/TLS");
    net.input(Input::Message { flow, bytes: text.as_bytes() });
}

/// A call of Alice's, from port 40001.
fn up(net: &mut Net) -> Up {
    up_on(net, connection(40_001, Some(ALICE)))
}

fn up_on(net: &mut Net, alice: Flow) -> Up {
    receive(net, alice, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(FROM, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&invite, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(FROM, "SIP/2.0 200").tag("To").to_owned();
    assert_eq!(net.path, Some(alice));
    receive(net, alice, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.quiet();
    Up { tag, invite }
}

/// Alice hangs up on this connection.
fn hangs_up(net: &mut Net, flow: Flow, up: &Up) {
    receive(net, flow, &caller_request("BYE", 9, "c1", &up.tag, ""));
    net.expect(&flow.remote.to_string(), "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
}

#[test]
fn each_calls_by_the_trunk_whose_name_he_shows() {
    let mut net = Net::with(customers());
    for (port, name) in (41_000..).zip([Some(ALICE), Some(MALLORY), None]) {
        let from = connection(port, name);
        receive(&mut net, from, &invite("4441000", &format!("c{port}"), &sdp("192.0.2.10", 4000)));
        net.take_sent();
    }
    let trunks: Vec<String> = net.records().into_iter().map(|record| record.caller.trunk).collect();
    assert_eq!(trunks, [ALICE, MALLORY, "open"]);

    // Nobody is let in without a name where each trunk asks for one.
    let mut policy = customers();
    policy.trunks.remove(2);
    let mut net = Net::with(policy);
    receive(&mut net, connection(41_000, None), &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.quiet();
    assert_eq!(net.counters().unknown_source, 1);
}

#[test]
fn nobody_touches_the_calls_of_another_behind_his_address() {
    let mut net = Net::with(customers());
    let alice = connection(40_001, Some(ALICE));
    let others = [(40_002, Some(MALLORY)), (40_003, None)].map(|(port, name)| connection(port, name));
    let offer = invite("5551000", "c1", &sdp("192.0.2.10", 4000));
    receive(&mut net, alice, &offer);
    net.expect(FROM, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    for other in others {
        // All that Alice has said is known to him, from the wire, say.
        receive(&mut net, other, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
        net.expect(&other.remote.to_string(), "SIP/2.0 481");
    }
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(FROM, "SIP/2.0 200").tag("To").to_owned();
    receive(&mut net, alice, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    for other in others {
        for method in ["BYE", "INFO", "UPDATE"] {
            receive(&mut net, other, &caller_request(method, 2, "c1", &tag, ""));
            net.expect(&other.remote.to_string(), "SIP/2.0 481");
        }
        receive(&mut net, other, &caller_request("INVITE", 2, "c1", &tag, &sdp("192.0.2.10", 4000)));
        net.expect(&other.remote.to_string(), "SIP/2.0 481");
    }
    net.quiet();
    hangs_up(&mut net, connection(40_004, Some(ALICE)), &Up { tag, invite: sent });
    net.nothing_left();
}

#[test]
fn who_connects_anew_is_known_by_what_he_shows() {
    let mut net = Net::with(customers());
    let up = up(&mut net);
    net.input(Input::Broken { flow: connection(40_001, Some(ALICE)) });
    let anew = connection(40_005, Some(ALICE));
    receive(&mut net, anew, &caller_request("INFO", 2, "c1", &up.tag, ""));
    let info = net.expect(CALLEE, "INFO");
    net.receive(CALLEE, &answer(&info, "200 OK", "", CALLEE, ""));
    net.expect("192.0.2.10:40005", "SIP/2.0 200");
    net.receive(CALLEE, &callee_request("INFO", 1, &up.invite, "bob", ""));
    net.expect("192.0.2.10:40005", "INFO");
    assert_eq!(net.path, Some(anew), "she is spoken to where she is now");
}

#[test]
fn a_restart_forgets_nobody() {
    let mut net = Net::with(customers());
    let up = up(&mut net);
    net.restart_signaling(customers());
    let mallory = connection(40_002, Some(MALLORY));
    receive(&mut net, mallory, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect("192.0.2.10:40002", "SIP/2.0 481");
    net.quiet();
    hangs_up(&mut net, connection(40_005, Some(ALICE)), &up);
    net.nothing_left();
}

#[test]
fn calls_outlast_what_their_trunk_is_known_by() {
    let known_by = |names: &[&str]| {
        let mut policy = customers();
        policy.trunks[0].tls_identities = identities(names);
        policy
    };
    let anew = |name| connection(40_009, name);
    for (before, after, flow) in [
        (&["alice.example"][..], &["new.example"][..], anew(Some(ALICE))),
        (&["alice.example"], &[], anew(None)),
        (&["alice.example"], &[], anew(Some(ALICE))),
        (&[], &["alice.example"], anew(Some(ALICE))),
    ] {
        let mut first = known_by(before);
        // Two that ask for nothing could not be told apart.
        first.trunks.remove(2);
        let mut next = known_by(after);
        next.trunks.remove(2);
        let mut net = Net::with(first.clone());
        let caller = connection(40_001, Some(ALICE).filter(|_| !before.is_empty()));
        let up = up_on(&mut net, caller);
        net.input(Input::Policy(Arc::new(first.followed_by(next, &[]))));
        net.input(Input::Broken { flow: caller });
        // Where nobody was asked, the call is anybody's there who knows it.
        if !before.is_empty() {
            receive(&mut net, connection(40_008, Some(MALLORY)), &caller_request("BYE", 2, "c1", &up.tag, ""));
            net.expect("192.0.2.10:40008", "SIP/2.0 481");
        }
        hangs_up(&mut net, flow, &up);
        assert_eq!(net.record().caller.trunk, ALICE);
    }
}

#[test]
fn a_name_that_becomes_anothers_keeps_its_calls() {
    let mut net = Net::with(customers());
    let up = up(&mut net);
    let mut next = customers();
    next.trunks[0].name = "alice-too".into();
    net.input(Input::Policy(Arc::new(customers().followed_by(next, &[]))));
    // She is closed on, and comes again.
    net.input(Input::Broken { flow: connection(40_001, Some(ALICE)) });
    let alice = connection(40_002, Some("alice-too"));
    receive(&mut net, connection(40_003, Some(MALLORY)), &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect("192.0.2.10:40003", "SIP/2.0 481");
    receive(&mut net, alice, &invite("4441000", "c2", &sdp("192.0.2.10", 4000)));
    net.take_sent();
    assert_eq!(net.record().caller.trunk, "alice-too", "what is new is of the new trunk");
    hangs_up(&mut net, alice, &up);
    assert_eq!(net.records().len(), 2);
    net.nothing_left();
}

#[test]
fn trunks_at_one_address_are_called_on_paths_of_their_own() {
    let mut policy = customers();
    let at = "192.0.2.10:5061";
    for trunk in [0, 2, 3] {
        policy.trunks[trunk].targets = vec![format!("sip:{at};transport=tls").parse().unwrap()];
    }
    let ways = [(0, Some(ALICE)), (2, None), (3, Some(MALLORY))];
    for (trunk, name) in ways {
        let path = connection(5061, name);
        policy.routes = routes(Way::Trunk(trunk));
        let mut net = Net::with(policy.clone());
        // The caller is one of the other network's here.
        let call = invite("5551000", "c1", &sdp("198.51.100.20", 4000)).replace(CALLER, CALLEE);
        net.receive(CALLEE, &call);
        net.expect(CALLEE, "SIP/2.0 100");
        let out = net.expect(at, "INVITE");
        assert_eq!(net.path, Some(path));
        receive(&mut net, path, &answer(&out, "200 OK", "bob", at, &sdp("192.0.2.10", 6000)));
        let tag = net.expect(CALLEE, "SIP/2.0 200").tag("To").to_owned();
        net.receive(CALLEE, &caller_request("ACK", 1, "c1", &tag, "").replace(CALLER, CALLEE));
        net.expect(at, "ACK");
        // What comes back belongs to the call on its own path alone.
        let bye = |cseq| callee_request("BYE", cseq, &out, "bob", "").replace(OUTSIDE, INSIDE).replace(CALLEE, at);
        for (other, shown) in ways.into_iter().filter(|(other, _)| *other != trunk && trunk != 2) {
            receive(&mut net, connection(5061, shown), &bye(other as u32 + 1));
            net.expect(at, "SIP/2.0 481");
        }
        receive(&mut net, path, &bye(9));
        net.expect(at, "SIP/2.0 200");
        assert_eq!(net.path, Some(path));
        net.expect(CALLEE, "BYE");
    }
}
