//! Secret called prefixes: required of one trunk and taken off, put in front for another, and shown to nobody else.

use moorline_b2bua::policy::{Credentials, Password, Policy, Redirects, SecretPrefix, WithoutPrefix};
use moorline_b2bua::{Counters, Observation};
use moorline_control::Request;
use moorline_sip::Transport;
use moorline_sip::digest::{Response, Secret};
use moorline_sip::transaction::Flow;

use crate::harness::*;

/// What the customers must show, and what the carrier is shown.
const FROM_CUSTOMERS: &str = "77124";
const TO_CARRIER: &str = "88991";

fn secrets() -> Policy {
    let mut policy = policy();
    policy.trunks[0].secret_prefix.received = Some(SecretPrefix::new(FROM_CUSTOMERS).unwrap());
    policy.trunks[1].secret_prefix.sent = Some(SecretPrefix::new(TO_CARRIER).unwrap());
    policy
}

fn prefixed(number: &str) -> String {
    format!("{FROM_CUSTOMERS}{number}")
}

/// Nothing that is not on the way to the carrier holds the carrier's secret, and nothing at all that of the customers.
#[track_caller]
fn shows_nothing(message: &Message) {
    for secret in [FROM_CUSTOMERS, TO_CARRIER] {
        assert!(!message.0.contains(secret), "{}", message.0);
    }
    assert!(!message.0.contains("(~"), "{}", message.0);
}

/// What was written down anywhere: media requests (snapshots among them), observations, what was stored.
#[track_caller]
fn wrote_nothing(net: &Net) {
    let mut texts: Vec<Vec<u8>> = net.media.log.iter().map(|request| format!("{request:?}").into_bytes()).collect();
    for request in &net.media.log {
        if let Request::Open { spec, .. } | Request::Update { spec, .. } = request {
            texts.push(spec.snapshot.clone());
        }
    }
    texts.extend(net.observed.iter().map(|observation: &Observation| format!("{observation:?}").into_bytes()));
    texts.extend(net.stored.iter().flat_map(|(key, value)| [key.clone(), value.clone()]));
    texts.extend(net.marks.iter().map(|mark| format!("{mark:?}").into_bytes()));
    texts.push(format!("{:?} {:?} {:?}", net.counters(), net.told, net.questions).into_bytes());
    for text in texts {
        for secret in [FROM_CUSTOMERS, TO_CARRIER] {
            let shown = text.windows(secret.len()).any(|part| part == secret.as_bytes());
            assert!(!shown, "{}", String::from_utf8_lossy(&text));
        }
    }
}

/// The carrier's side of the call: its Contact names the number as it was sent it.
fn contact() -> String {
    format!("{TO_CARRIER}5551000@{CALLEE}")
}

fn in_call(method: &str, cseq: u32, tag: &str, body: &str) -> String {
    caller_request(method, cseq, "c1", tag, body)
        .replace("To: <sip:5551000@", &format!("To: <sip:{}@", prefixed("5551000")))
}

#[test]
fn a_call_shows_each_side_its_own_prefix_and_nobody_else_any() {
    let mut net = Net::with(secrets());
    let history = format!("History-Info: <sip:{}@192.0.2.1>;index=1\r\nX-Called: {0}\r\n", prefixed("5551000"));
    net.receive(CALLER, &with(&invite(&prefixed("5551000"), "c1", &sdp("192.0.2.10", 4000)), &history));
    shows_nothing(&net.expect(CALLER, "SIP/2.0 100"));
    let sent = net.expect(CALLEE, &format!("INVITE sip:{TO_CARRIER}5551000@198.51.100.20:5060 SIP/2.0"));
    assert_eq!(sent.header("To"), format!("<sip:{TO_CARRIER}5551000@198.51.100.20:5060>"));
    assert_eq!(sent.header("X-Called"), "5551000");
    assert_eq!(sent.0.matches(TO_CARRIER).count(), 2, "{}", sent.0);
    assert!(!sent.0.contains(FROM_CUSTOMERS), "{}", sent.0);
    // It is the same when it is sent again.
    net.advance(SECOND / 2);
    assert_eq!(net.expect(CALLEE, "INVITE").0, sent.0);

    let progress = answer(&sent, &format!("183 To {TO_CARRIER}5551000"), "bob", &contact(), "");
    let lines = format!("P-Called-Party-ID: <sip:{TO_CARRIER}5551000@x>\r\nWarning: 399 x \"{TO_CARRIER}5551000\"\r\n");
    net.receive(CALLEE, &with(&progress, &lines));
    let shown = net.expect(CALLER, "SIP/2.0 183 To 5551000");
    shows_nothing(&shown);
    assert_eq!(shown.header("P-Called-Party-ID"), "<sip:5551000@x>");
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", &contact(), &sdp("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    shows_nothing(&ok);
    let tag = ok.tag("To").to_owned();
    net.receive(CALLER, &in_call("ACK", 1, &tag, ""));
    let ack = net.expect(CALLEE, &format!("ACK sip:{TO_CARRIER}5551000@{CALLEE} SIP/2.0"));
    assert_eq!(ack.header("To"), format!("<sip:{TO_CARRIER}5551000@198.51.100.20:5060>;tag=bob"));

    // In the call, either way, and after a restart of signaling.
    net.receive(CALLER, &in_call("INFO", 2, &tag, ""));
    let info = net.expect(CALLEE, &format!("INFO sip:{TO_CARRIER}5551000@{CALLEE} SIP/2.0"));
    net.receive(CALLEE, &answer(&info, "200 OK", "", &contact(), ""));
    shows_nothing(&net.expect(CALLER, "SIP/2.0 200"));
    let reinvite = callee_request("INVITE", 1, &sent, "bob", &sdp("198.51.100.20", 6000));
    net.receive(
        CALLEE,
        &reinvite.replace(&format!("Contact: <sip:{CALLEE}>"), &format!("Contact: <sip:{}>", contact())),
    );
    let trying = net.expect(CALLEE, "SIP/2.0 100");
    assert_eq!(trying.header("From"), format!("<sip:{TO_CARRIER}5551000@198.51.100.20:5060>;tag=bob"));
    let offer = net.expect(CALLER, "INVITE");
    shows_nothing(&offer);
    net.receive(CALLER, &answer(&offer, "200 OK", "", CALLER, &sdp("192.0.2.10", 4000)));
    net.expect(CALLEE, "SIP/2.0 200");
    net.receive(CALLEE, &callee_request("ACK", 1, &sent, "bob", ""));
    shows_nothing(&net.expect(CALLER, "ACK"));
    net.restart_signaling(secrets());
    net.receive(CALLER, &in_call("BYE", 3, &tag, ""));
    shows_nothing(&net.expect(CALLER, "SIP/2.0 200"));
    let bye = net.expect(CALLEE, &format!("BYE sip:{TO_CARRIER}5551000@{CALLEE} SIP/2.0"));
    net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
    wrote_nothing(&net);
    net.nothing_left();
}

#[test]
fn who_does_not_show_the_prefix_is_refused_and_counted() {
    for called in ["5551000", "7712", "771245", "9988555"] {
        let called = if called == "771245" { "77125551000" } else { called };
        let mut net = Net::with(secrets());
        net.receive(CALLER, &invite(called, "c1", &sdp("192.0.2.10", 4000)));
        let refused = net.expect(CALLER, "SIP/2.0 403 Forbidden");
        shows_nothing(&refused);
        net.receive(CALLER, &caller_request("ACK", 1, "c1", refused.tag("To"), ""));
        net.quiet();
        assert_eq!(net.counters(), Counters { messages: 2, without_prefix: 1, ..Counters::default() });
        net.nothing_left();
    }
    // What is no request at all is refused as that.
    let mut net = Net::with(secrets());
    net.receive(CALLER, &invite("", "c1", ""));
    net.expect(CALLER, "SIP/2.0 400");
    // Repetitions get the same answer.
    let mut net = Net::with(secrets());
    net.receive(CALLER, &invite("5551000", "c1", ""));
    let first = net.expect(CALLER, "SIP/2.0 403");
    net.receive(CALLER, &invite("5551000", "c1", ""));
    assert_eq!(net.expect(CALLER, "SIP/2.0 403").0, first.0);
}

#[test]
fn who_shows_it_in_another_place_alone_is_refused_without_being_shown_it_again() {
    let to = |text: String| text.replace("To: <sip:5551000@", &format!("To: <sip:{}@", prefixed("5551000")));
    for method in ["INVITE", "MESSAGE", "SUBSCRIBE"] {
        let mut net = Net::with(secrets());
        let request = to(invite("5551000", "c1", &sdp("192.0.2.10", 4000)).replace("INVITE", method));
        net.receive(CALLER, &request);
        let refused = net.expect(CALLER, "SIP/2.0 403 Forbidden");
        shows_nothing(&refused);
        assert!(refused.header("To").starts_with("<sip:5551000@"), "{}", refused.0);
        net.receive(CALLER, &request);
        assert_eq!(net.expect(CALLER, "SIP/2.0 403").0, refused.0, "repetitions get the same answer");
        assert_eq!(net.counters().without_prefix, 2);
        net.quiet();
        wrote_nothing(&net);
        net.nothing_left();
    }
    // Nor where there is no time for it.
    let request = to(invite("5551000", "c1", ""));
    let flow = Flow::new(0, Transport::Udp, CALLER.parse().unwrap());
    let shown = secrets().without_secrets(flow, request.as_bytes()).into_owned();
    assert_eq!(String::from_utf8(shown).unwrap(), invite("5551000", "c1", ""));
    // What is no request at all is refused as that.
    let mut net = Net::with(secrets());
    net.receive(CALLER, &to(invite("5551000", "c1", "")).replace("CSeq: 1 INVITE", "CSeq: 1 BYE"));
    shows_nothing(&net.expect(CALLER, "SIP/2.0 400"));
    wrote_nothing(&net);
}

#[test]
fn or_hears_what_was_agreed_on() {
    let mut policy = secrets();
    policy.trunks[0].secret_prefix.without = WithoutPrefix::Refuse { status: 470, reason: "CONFIG_ERROR".into() };
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let refused = net.expect(CALLER, "SIP/2.0 470 CONFIG_ERROR");
    shows_nothing(&refused);
    net.receive(CALLER, &caller_request("ACK", 1, "c1", refused.tag("To"), ""));
    net.quiet();
    assert_eq!(net.counters().without_prefix, 1);
    net.nothing_left();
}

#[test]
fn or_hears_nothing() {
    let mut policy = secrets();
    policy.trunks[0].secret_prefix.without = WithoutPrefix::Silence;
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.receive(CALLER, &invite("5551000", "c2", "").replace("INVITE", "MESSAGE"));
    net.quiet();
    assert_eq!(net.counters().without_prefix, 2);
    net.receive(CALLER, &invite(&prefixed("5551000"), "c3", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
}

#[test]
fn other_requests_show_it_too_and_a_ping_needs_none() {
    let mut net = Net::with(secrets());
    let message = invite(&prefixed("5551000"), "c1", "").replace("INVITE", "MESSAGE");
    net.receive(CALLER, &message);
    let sent = net.expect(CALLEE, &format!("MESSAGE sip:{TO_CARRIER}5551000@"));
    assert!(sent.header("To").starts_with(&format!("<sip:{TO_CARRIER}5551000@")));
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, ""));
    shows_nothing(&net.expect(CALLER, "SIP/2.0 200"));
    let ping = invite("x", "c2", "").replace("INVITE sip:x@", "OPTIONS sip:").replace("1 INVITE", "1 OPTIONS");
    net.receive(CALLER, &ping);
    net.expect(CALLER, "SIP/2.0 200");
}

#[test]
fn a_cancel_and_the_ack_of_a_refusal_name_the_number_as_their_invite() {
    let mut net = Net::with(secrets());
    let text = invite(&prefixed("5551000"), "c1", &sdp("192.0.2.10", 4000));
    net.receive(CALLER, &text);
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "180 Ringing", "bob", CALLEE, ""));
    shows_nothing(&net.expect(CALLER, "SIP/2.0 180"));
    net.receive(CALLER, &text.replace("INVITE", "CANCEL"));
    shows_nothing(&net.expect(CALLER, "SIP/2.0 200"));
    shows_nothing(&net.expect(CALLER, "SIP/2.0 487"));
    let uri = format!("sip:{TO_CARRIER}5551000@198.51.100.20:5060");
    let cancel = net.expect(CALLEE, &format!("CANCEL {uri} SIP/2.0"));
    assert_eq!(cancel.header("To"), format!("<{uri}>"));
    net.receive(CALLEE, &answer(&sent, "487 Request Terminated", "bob", CALLEE, ""));
    let ack = net.expect(CALLEE, &format!("ACK {uri} SIP/2.0"));
    assert_eq!(ack.header("To"), format!("<{uri}>;tag=bob"));
    wrote_nothing(&net);
    net.nothing_left();
}

#[test]
fn a_redirection_is_told_without_and_followed_with_the_prefix() {
    for (redirects, target) in [(Redirects::Pass, CALLER), (Redirects::Follow, CALLEE_2)] {
        let mut policy = secrets();
        policy.trunks[1].redirects = redirects;
        let mut net = Net::with(policy);
        net.receive(CALLER, &invite(&prefixed("5551000"), "c1", &sdp("192.0.2.10", 4000)));
        net.expect(CALLER, "SIP/2.0 100");
        let sent = net.expect(CALLEE, "INVITE");
        let there = format!("{TO_CARRIER}5559@{CALLEE_2}");
        net.receive(CALLEE, &answer(&sent, "302 Moved Temporarily", "bob", &there, ""));
        net.expect(CALLEE, "ACK");
        if target == CALLER {
            let told = net.expect(CALLER, "SIP/2.0 302");
            assert_eq!(told.header("Contact"), format!("<sip:5559@{INSIDE}>"));
            shows_nothing(&told);
        } else {
            net.expect(CALLEE_2, &format!("INVITE sip:{there} SIP/2.0"));
        }
        wrote_nothing(&net);
    }
}

#[test]
fn a_number_that_is_called_elsewhere_leads_to_the_same_carrier_behind_its_prefix() {
    let mut net = Net::with(secrets());
    net.receive(CALLER, &invite(&prefixed("5551000"), "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "302 Moved Temporarily", "bob", "5559@203.0.113.7", ""));
    net.expect(CALLEE, "ACK");
    net.expect(CALLEE, &format!("INVITE sip:{TO_CARRIER}5559@"));
}

#[test]
fn a_challenge_is_answered_for_the_number_that_the_carrier_sees() {
    let mut policy = secrets();
    policy.trunks[1].credentials =
        Some(Credentials { user: "me".into(), password: Password::plain("pass"), realm: None });
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite(&prefixed("5551000"), "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    let challenge = "Proxy-Authenticate: Digest realm=\"r\", nonce=\"n1\", algorithm=MD5\r\n";
    let refusal = answer(&sent, "407 Proxy Authentication Required", "bob", CALLEE, "");
    net.receive(CALLEE, &with(&refusal, challenge));
    net.expect(CALLEE, "ACK");
    let again = net.expect(CALLEE, &format!("INVITE sip:{TO_CARRIER}5551000@"));
    let uri = format!("sip:{TO_CARRIER}5551000@198.51.100.20:5060");
    let shown = again.header("Proxy-Authorization");
    assert!(shown.contains(&format!("uri=\"{uri}\"")), "{shown}");
    let proof = Response::all(shown.as_bytes()).next().unwrap();
    assert!(proof.matches(b"INVITE", Secret::Password(b"pass")), "{shown}");
    // And the ACK shows the same.
    net.receive(CALLEE, &answer(&again, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &in_call("ACK", 1, &tag, ""));
    assert_eq!(net.expect(CALLEE, "ACK").header("Proxy-Authorization"), shown);
    wrote_nothing(&net);
}

#[test]
fn a_transfer_target_is_told_without_the_prefix() {
    let mut net = Net::with(secrets());
    net.receive(CALLER, &invite(&prefixed("5551000"), "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", &contact(), &sdp("198.51.100.20", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &in_call("ACK", 1, &tag, ""));
    net.expect(CALLEE, "ACK");
    let target = format!("Refer-To: <sip:{}@192.0.2.1>\r\n", prefixed("5552000"));
    net.receive(CALLER, &with(&in_call("REFER", 2, &tag, ""), &target));
    let refer = net.expect(CALLEE, "REFER");
    assert!(refer.header("Refer-To").contains("sip:5552000@"), "{}", refer.0);
    assert!(!refer.0.contains(FROM_CUSTOMERS), "{}", refer.0);
    let target = format!("Refer-To: <sip:{TO_CARRIER}5553000@198.51.100.1>\r\n");
    net.receive(CALLEE, &with(&callee_request("REFER", 1, &sent, "bob", ""), &target));
    let refer = net.expect(CALLER, "REFER");
    assert!(refer.header("Refer-To").contains("sip:5553000@"), "{}", refer.0);
    shows_nothing(&refer);
    wrote_nothing(&net);
}

#[test]
fn the_policy_does_not_show_them_either() {
    let text = format!("{:?}", secrets());
    assert!(
        text.contains("SecretPrefix(..)") && !text.contains(TO_CARRIER) && !text.contains(FROM_CUSTOMERS),
        "{text}"
    );
}
