//! Transfers where a trunk refuses private media addresses: the transfer is refused, and the call that is up goes on.

use moorline_b2bua::policy::{Policy, PrivateMedia, Refer};

use crate::handled_transfers::*;
use crate::harness::*;
use crate::transfers::callee_invite;

/// Moorline carries transfers out, and `trunk` refuses private media addresses.
fn refusing(trunk: usize) -> Policy {
    let mut policy = policy();
    policy.trunks[0].dialogs.refer = Refer::Handle;
    policy.trunks[trunk].private_media = PrivateMedia::Refuse;
    policy
}

const REFUSED: &str = "SIP/2.0 488 Not Acceptable Here - Private IP Address";

#[test]
fn who_is_referred_to_and_answers_from_a_private_address_is_let_go() {
    let mut net = Net::with(refusing(1));
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    net.receive(CALLEE, &answer(&invite, "200 OK", "carol", CALLEE, &sdp("10.0.0.9", 6100)));
    net.expect(CALLEE, "ACK");
    told(&mut net, "terminated;reason=noresource", REFUSED);
    let bye = net.expect(CALLEE, "BYE");
    assert_eq!(bye.tag("To"), "carol");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.quiet();
    goes_on(&mut net, &up, 3);
}

#[test]
fn who_is_transferred_and_answers_from_a_private_address_stays_where_it_is() {
    let mut net = Net::with(refusing(1));
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    let again = picked_up(&mut net, &invite);
    net.receive(CALLEE, &answer(&again, "200 OK", "bob", CALLEE, &sdp("10.0.0.9", 6002)));
    net.expect(CALLEE, "ACK");
    // It is told again where the caller's media are.
    let back = net.expect(CALLEE, "INVITE sip:198.51.100.20:5060");
    assert_eq!((back.tag("To"), back.body()), ("bob", up.invite.body()));
    told(&mut net, "terminated;reason=noresource", REFUSED);
    let bye = net.expect(CALLEE, "BYE");
    assert_eq!(bye.tag("To"), "carol");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.receive(CALLEE, &answer(&back, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    net.quiet();
    assert!(net.media.sessions.values().all(|(spec, _)| {
        let remote = spec.legs[1].streams[0].remote_rtp;
        remote == Some("198.51.100.20:6000".parse().unwrap())
    }));
    goes_on(&mut net, &up, 3);
}

#[test]
fn who_is_referred_to_in_a_call_and_answers_from_a_private_address_stays_in_that() {
    let mut net = Net::with(refusing(1));
    let first = establish(&mut net);
    let second = consult(&mut net);
    let asked = joined(&mut net, &first, &second);
    net.receive(CALLEE_2, &answer(&asked, "200 OK", "carol", CALLEE_2, &sdp("10.0.0.9", 6102)));
    net.expect(CALLEE_2, "ACK");
    let back = net.expect(CALLEE_2, "INVITE sip:198.51.100.21:5060");
    assert_eq!(back.body(), second.invite.body());
    told(&mut net, "terminated;reason=noresource", REFUSED);
    net.receive(CALLEE_2, &answer(&back, "200 OK", "carol", CALLEE_2, &sdp("198.51.100.21", 6104)));
    net.expect(CALLEE_2, "ACK");
    net.quiet();
    net.receive(CALLEE_2, &callee_request("BYE", 1, &second.invite, "carol", ""));
    net.expect(CALLEE_2, "SIP/2.0 200");
    assert_eq!(net.expect(CALLER, "BYE").header("Call-ID"), "c2@192.0.2.10");
    goes_on(&mut net, &first, 3);
}

/// What is offered for a transfer names Moorline's own media address on the side of who refers, which may be private.
#[test]
fn a_transfer_is_not_refused_for_an_address_of_ours() {
    let mut policy = refusing(0);
    policy.trunks[0].media_range = "private".into();
    let mut net = Net::with(policy);
    let up = establish(&mut net);
    let invite = referred(&mut net, &up);
    let again = picked_up(&mut net, &invite);
    agreed(&mut net, &again);
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
    let_go(&mut net);
    net.quiet();
}

#[test]
fn who_is_behind_nat_by_a_trunk_that_latches_can_be_transferred_by_one_that_refuses() {
    let mut net = Net::with(refusing(0));
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("10.0.0.9", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    let up = Up { tag, invite: out };
    let invite = referred(&mut net, &up);
    let again = picked_up(&mut net, &invite);
    agreed(&mut net, &again);
    told(&mut net, "terminated;reason=noresource", "SIP/2.0 200 OK");
    let_go(&mut net);
    net.quiet();
}

/// Where REFER crosses, who is referred calls anew, and its INVITE is refused like any.
#[test]
fn an_invite_that_would_replace_a_call_is_refused_and_the_call_goes_on() {
    let mut policy = policy();
    policy.trunks[1].private_media = PrivateMedia::Refuse;
    let mut net = Net::with(policy);
    let up = establish(&mut net);
    let ours = up.invite.tag("From").to_owned();
    let replaces = format!("Replaces: {};to-tag={ours};from-tag=bob\r\n", up.invite.header("Call-ID"));
    let (public, private) = (sdp("198.51.100.20", 6200), sdp("10.0.0.9", 6200));
    let lengths = [&public, &private].map(|body| format!("Content-Length: {}", body.len()));
    let text = callee_invite("b1", &replaces).replace(&public, &private).replace(&lengths[0], &lengths[1]);
    net.receive(CALLEE, &text);
    net.expect(CALLEE, REFUSED);
    net.quiet();
    goes_on(&mut net, &up, 3);
}

#[test]
fn a_new_offer_from_a_private_address_is_refused_and_the_call_goes_on() {
    for method in ["INVITE", "UPDATE"] {
        let mut net = Net::with(refusing(0));
        let up = establish(&mut net);
        net.receive(CALLER, &caller_request(method, 2, "c1", &up.tag, &sdp("10.0.0.9", 4000)));
        net.expect(CALLER, REFUSED);
        if method == "INVITE" {
            net.receive(CALLER, &caller_request("ACK", 2, "c1", &up.tag, ""));
        }
        net.quiet();
        goes_on(&mut net, &up, 3);
    }
}
