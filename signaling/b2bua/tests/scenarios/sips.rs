//! Calls by `sips` URIs: over TLS, and by such URIs, from one end to the other (RFC 3261 12.1.1, 26.2.2).

use moorline_b2bua::Input;
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;

use crate::harness::*;

const TLS: &str = "198.51.100.20:5061";

/// A message of the callee, over TLS.
fn over_tls(net: &mut Net, text: &str) {
    let flow = Flow::new(1, Transport::Tls, TLS.parse().unwrap());
    net.input(Input::Message { flow, bytes: text.as_bytes() });
}

/// The callee answers by a `sips` URI: the answer as the caller sees it.
fn answered(net: &mut Net, out: &Message) -> Message {
    let ok = answer(out, "200 OK", "bob", TLS, &sdp("198.51.100.20", 6000)).replace("<sip:198", "<sips:198");
    over_tls(net, &ok);
    net.expect(CALLER, "SIP/2.0 200")
}

#[test]
fn a_sips_call_is_one_on_both_legs() {
    let mut policy = policy();
    policy.trunks[1].targets = vec!["198.51.100.20".parse().unwrap()];
    let mut net = Net::with(policy.clone());
    let call = invite("5551000", "c1", &sdp("192.0.2.10", 4000)).replacen("INVITE sip:", "INVITE sips:", 1);
    net.receive(CALLER, &call);
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(TLS, "INVITE sips:5551000@198.51.100.20:5061 SIP/2.0");
    assert_eq!(out.header("To"), "<sips:5551000@198.51.100.20:5061>");
    assert_eq!(out.header("Contact"), "<sips:198.51.100.1:5060>");
    let ok = answered(&mut net, &out);
    assert_eq!(ok.header("Contact"), "<sips:192.0.2.1:5060>");
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
    net.expect(TLS, "ACK sips:198.51.100.20:5061");

    // In the dialog too, and in one that was restored.
    net.restart_signaling(policy);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", ok.tag("To"), &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 100");
    let again = net.expect(TLS, "INVITE sips:198.51.100.20:5061");
    assert_eq!(again.header("Contact"), "<sips:198.51.100.1:5060>");
    assert!(again.header("Via").starts_with("SIP/2.0/TLS "), "{}", again.0);
    assert_eq!(answered(&mut net, &again).header("Contact"), "<sips:192.0.2.1:5060>");
}

#[test]
fn a_target_by_a_sips_uri_is_called_by_one() {
    let mut policy = policy();
    policy.trunks[1].targets = vec!["sips:198.51.100.20".parse().unwrap()];
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(TLS, "INVITE sips:5551000@198.51.100.20:5061 SIP/2.0");
    assert_eq!(out.header("Contact"), "<sips:198.51.100.1:5060>");
    let ok = answered(&mut net, &out);
    assert_eq!(ok.header("Contact"), "<sip:192.0.2.1:5060>", "the caller has called by another");
}

#[test]
fn over_tls_by_a_sip_uri_nothing_claims_more() {
    let mut policy = policy();
    policy.trunks[1].targets = vec!["sip:198.51.100.20;transport=tls".parse().unwrap()];
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(TLS, "INVITE sip:5551000@198.51.100.20:5061 SIP/2.0");
    assert_eq!(out.header("Contact"), "<sip:198.51.100.1:5060;transport=tls>");
}

#[test]
fn a_sips_call_is_redirected_nowhere_without_tls() {
    let mut policy = policy();
    policy.trunks[1].targets = vec!["198.51.100.20".parse().unwrap()];
    let mut net = Net::with(policy);
    let call = invite("5551000", "c1", &sdp("192.0.2.10", 4000)).replacen("INVITE sip:", "INVITE sips:", 1);
    net.receive(CALLER, &call);
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(TLS, "INVITE sips:");
    let moved = answer(&out, "302 Moved Temporarily", "bob", "198.51.100.21;transport=udp", "");
    over_tls(&mut net, &moved);
    net.expect(TLS, "ACK");
    net.expect(CALLER, "SIP/2.0 302");
    net.quiet();
}
