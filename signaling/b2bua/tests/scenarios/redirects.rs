//! Redirections: followed, passed, and made by a route.

use moorline_b2bua::policy::{Policy, Redirects, Refusal, Way};

use crate::harness::*;

/// A call that the carrier redirects to these contacts.
#[track_caller]
fn redirected(policy: Policy, contacts: &[&str]) -> (Net, Message) {
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &moved(&sent, contacts));
    net.expect(CALLEE, "ACK");
    (net, sent)
}

/// 302 with these contacts.
fn moved(request: &Message, contacts: &[&str]) -> String {
    let plain = answer(request, "302 Moved Temporarily", "bob", CALLEE, "");
    let listed: String = contacts.iter().map(|contact| format!("Contact: {contact}\r\n")).collect();
    plain.replace(&format!("Contact: <sip:{CALLEE}>\r\n"), &listed)
}

#[test]
fn contacts_of_the_same_peer_are_tried_the_most_wanted_first() {
    let second = format!("<sip:5559@{CALLEE_2};x=1>;q=0.5");
    let first = format!("\"First\" <sip:5558@{CALLEE_2}>;q=0.9");
    let (mut net, _) = redirected(policy(), &[&second, &first]);
    let sent = net.expect(CALLEE_2, &format!("INVITE sip:5558@{CALLEE_2} SIP/2.0"));
    net.receive(CALLEE_2, &answer(&sent, "503 Service Unavailable", "b", CALLEE_2, ""));
    net.expect(CALLEE_2, "ACK");
    let sent = net.expect(CALLEE_2, &format!("INVITE sip:5559@{CALLEE_2};x=1 SIP/2.0"));
    net.receive(CALLEE_2, &answer(&sent, "200 OK", "b", CALLEE_2, &sdp("198.51.100.21", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
}

#[test]
fn a_redirection_after_ringing_is_followed_too() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLEE, &moved(&sent, &[&format!("<sip:5559@{CALLEE_2}>")]));
    net.expect(CALLEE, "ACK");
    net.expect(CALLEE_2, "INVITE sip:5559@");
    net.quiet();
}

#[test]
fn a_redirection_after_the_late_offer_was_answered_is_passed() {
    const ABLE: &str = "Supported: 100rel\r\n";
    for answered in [true, false] {
        let mut net = Net::new();
        net.receive(CALLER, &with(&invite("5551000", "c1", ""), ABLE));
        net.expect(CALLER, "SIP/2.0 100");
        let sent = net.expect(CALLEE, "INVITE");
        let progress = answer(&sent, "183 Session Progress", "bob", CALLEE, &sdp("198.51.100.20", 6000));
        net.receive(CALLEE, &with(&progress, "Require: 100rel\r\nRSeq: 1\r\n"));
        let shown = net.expect(CALLER, "SIP/2.0 183");
        let prack = caller_request("PRACK", 2, "c1", shown.tag("To"), &sdp("192.0.2.10", 4000));
        if answered {
            net.receive(CALLER, &with(&prack, &format!("RAck: {} 1 INVITE\r\n", shown.header("RSeq"))));
            net.expect(CALLER, "SIP/2.0 200");
            net.expect(CALLEE, "PRACK");
        }
        // Another party would make another offer, and to an INVITE there is one answer.
        net.receive(CALLEE, &moved(&sent, &[&format!("<sip:5559@{CALLEE_2}>")]));
        net.expect(CALLEE, "ACK");
        net.expect(CALLER, "SIP/2.0 302");
        net.quiet();
        net.nothing_left();
    }
}

#[test]
fn a_strangers_address_is_never_called_but_the_number_may_lead_to_the_same_trunk() {
    let (mut net, _) = redirected(policy(), &["<sip:5557@203.0.113.66>"]);
    net.expect(CALLEE, &format!("INVITE sip:5557@{CALLEE} SIP/2.0"));
    net.quiet();

    for elsewhere in ["<sip:2001@203.0.113.66>", "<sip:900@203.0.113.66>", "<sip:203.0.113.66>", "<mailto:a@b>", "*"] {
        let (mut net, _) = redirected(policy(), &[elsewhere]);
        let heard = net.expect(CALLER, "SIP/2.0 302");
        assert!(!heard.0.contains("203.0.113.66"), "{}", heard.0);
        net.nothing_left();
    }
}

#[test]
fn redirections_in_a_circle_end() {
    let (mut net, _) = redirected(policy(), &[&format!("<sip:5559@{CALLEE}>")]);
    for next in ["5560", "5561", "5562", "5563", "5559"] {
        let sent = net.expect(CALLEE, "INVITE");
        net.receive(CALLEE, &moved(&sent, &[&format!("<sip:{next}@{CALLEE}>"), &format!("<sip:5559@{CALLEE}>")]));
        net.expect(CALLEE, "ACK");
    }
    net.expect(CALLER, "SIP/2.0 302");
    net.nothing_left();
}

#[test]
fn a_redirection_may_be_passed_with_our_address_for_the_host() {
    let mut policy = policy();
    policy.trunks[1].redirects = Redirects::Pass;
    let (mut net, _) = redirected(policy, &["<sip:5559@198.51.100.77>;q=0.25", "<sip:198.51.100.78>"]);
    let heard = net.expect(CALLER, "SIP/2.0 302");
    assert_eq!(heard.header("Contact"), format!("<sip:5559@{INSIDE}>;q=0.250"));
    assert!(!heard.0.contains("198.51.100.7"), "{}", heard.0);
    net.receive(CALLER, &caller_request("ACK", 1, "c1", heard.tag("To"), ""));
    net.nothing_left();
}

#[test]
fn a_route_may_redirect_or_refuse() {
    let mut policy = policy();
    policy.routes = routes(Way::Redirect("sip:{number}@192.0.2.200:5062;x=1".into()));
    let mut net = Net::with(policy.clone());
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let heard = net.expect(CALLER, "SIP/2.0 302");
    assert_eq!(heard.header("Contact"), "<sip:5551000@192.0.2.200:5062;x=1>");
    net.quiet();
    net.nothing_left();

    // What a number has escaped stays so.
    let mut net = Net::with(policy.clone());
    net.receive(CALLER, &invite("555%0D%0AX-Evil%3A%201%40h%3E", "c1", &sdp("192.0.2.10", 4000)));
    let heard = net.expect(CALLER, "SIP/2.0 302");
    assert_eq!(heard.header("Contact"), "<sip:555%0D%0AX-Evil%3A%201%40h%3E@192.0.2.200:5062;x=1>");

    policy.routes = routes(Way::Refuse(Refusal::new(403, "Barred Number")));
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    assert_eq!(net.expect(CALLER, "SIP/2.0 403").start(), "SIP/2.0 403 Barred Number");
    net.nothing_left();
}
