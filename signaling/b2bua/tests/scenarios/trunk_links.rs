//! How trunks are spoken to, and calls whose media go past us.

use moorline_b2bua::policy::{Codecs, Policy, Relay};

use crate::harness::*;

/// Neither the customers' calls nor those to the carrier are relayed.
fn past() -> Policy {
    let mut policy = policy();
    policy.trunks[0].relay.inbound = false;
    policy.trunks[1].relay.outbound = false;
    policy
}

#[track_caller]
fn offered(policy: Policy, offer: &str) -> (Net, Message) {
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", offer));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    (net, sent)
}

#[test]
fn media_go_past_where_both_trunks_agree() {
    let (mut net, sent) = offered(past(), &sdp("192.0.2.10", 4000));
    assert_eq!(sent.body(), sdp("192.0.2.10", 4000));
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(ok.body(), sdp("198.51.100.20", 6000));
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
    net.expect(CALLEE, "ACK");
    let session = net.session().1;
    assert!(session.legs.iter().all(|leg| leg.streams.is_empty()) && session.media_timeout_ms == 0);
    net.receive(CALLER, &caller_request("BYE", 2, "c1", ok.tag("To"), ""));
    net.expect(CALLER, "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    net.nothing_left();
}

#[test]
fn they_are_relayed_where_one_of_them_wants_that_or_the_other_direction_is_meant() {
    for (trunk, relay) in [(0, Relay { inbound: true, outbound: false }), (1, Relay { inbound: false, outbound: true })]
    {
        let mut policy = past();
        policy.trunks[trunk].relay = relay;
        let (_, sent) = offered(policy, &sdp("192.0.2.10", 4000));
        assert_eq!(sent.body(), sdp("198.51.100.1", 20_002));
    }
}

#[test]
fn they_are_relayed_where_nat_is_seen() {
    let (_, sent) = offered(past(), &sdp("10.0.0.9", 4000));
    assert_eq!(sent.body(), sdp("198.51.100.1", 20_002));
}

#[test]
fn codecs_count_past_the_relay_too() {
    let mut policy = past();
    policy.trunks[1].codecs = Codecs::new(vec!["pcma".parse().unwrap()]);
    let offer = sdp("192.0.2.10", 4000).replace("RTP/AVP 8 101", "RTP/AVP 0 8 101");
    let (_, sent) = offered(policy, &offer);
    assert_eq!(sent.body(), sdp("192.0.2.10", 4000));
}

#[test]
fn a_trunk_is_shown_the_address_that_is_meant_for_it() {
    const OWN: &str = "203.0.113.10:5070";
    let mut policy = policy();
    policy.trunks[1].link.advertised = Some(OWN.parse().unwrap());
    let (mut net, sent) = offered(policy, &sdp("192.0.2.10", 4000));
    assert!(sent.header("Via").starts_with(&format!("SIP/2.0/UDP {OWN};")), "{}", sent.0);
    assert_eq!(sent.header("Contact"), format!("<sip:{OWN}>"));
    assert!(sent.header("From").contains(&format!("@{OWN}>")), "{}", sent.0);
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(ok.header("Contact"), format!("<sip:{INSIDE}>"), "the other side is shown its own");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
    assert!(net.expect(CALLEE, "ACK").header("Via").contains(OWN));
    net.receive(CALLEE, &callee_request("INVITE", 1, &sent, "bob", &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "SIP/2.0 100");
    let offer = net.expect(CALLER, "INVITE");
    assert!(offer.header("Via").contains(INSIDE));
    net.receive(CALLER, &answer(&offer, "200 OK", "", CALLER, &sdp("192.0.2.10", 4000)));
    assert_eq!(net.expect(CALLEE, "SIP/2.0 200").header("Contact"), format!("<sip:{OWN}>"));
}

#[test]
fn a_trunk_may_not_be_asked_for_rport() {
    let mut policy = policy();
    let (_, sent) = offered(policy.clone(), &sdp("192.0.2.10", 4000));
    assert!(sent.header("Via").ends_with(";rport"));
    policy.trunks[1].link.rport = false;
    let (mut net, sent) = offered(policy, &sdp("192.0.2.10", 4000));
    assert!(!sent.header("Via").contains("rport"), "{}", sent.0);
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
}

#[test]
fn a_trunk_without_dns_is_spoken_to_where_it_speaks_from() {
    for dns in [true, false] {
        let mut policy = policy();
        policy.trunks[1].link.dns = dns;
        let (mut net, sent) = offered(policy, &sdp("192.0.2.10", 4000));
        let ok = answer(&sent, "200 OK", "bob", "bob@carrier.example", &sdp("198.51.100.20", 6000));
        net.receive(CALLEE, &ok);
        assert_eq!(net.questions.is_empty(), !dns);
        if !dns {
            let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
            net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
            net.expect(CALLEE, "ACK sip:bob@carrier.example ");
        }
    }
}
