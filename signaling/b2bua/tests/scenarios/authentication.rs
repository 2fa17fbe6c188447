//! Trunks that ask us for credentials, and what crosses where we have none; verdicts of others on credentials.

use moorline_b2bua::policy::{Credentials, Password, Policy};
use moorline_b2bua::verify::Verdict;
use moorline_b2bua::{Input, Outcome};
use moorline_sip::digest::{Challenger, Secret, Settings, Verdict as Worth};

use crate::harness::*;
use crate::phones::{PHONE, phone, with_phones};

/// A carrier that asks for credentials.
struct Carrier {
    challenger: Challenger,
    realm: &'static str,
}

fn carrier(realm: &'static str) -> Carrier {
    Carrier { challenger: Challenger::new(realm.as_bytes(), &[7; 32], Settings::default()), realm }
}

impl Carrier {
    /// The challenge to a request, as 401 or 407.
    fn challenge(&mut self, net: &Net, request: &Message, status: &str, stale: bool) -> String {
        let source = INSIDE.parse::<std::net::SocketAddr>().unwrap().ip();
        let name = if status.starts_with("401") { "WWW-Authenticate" } else { "Proxy-Authenticate" };
        let values = self.challenger.challenge(net.now, source, stale);
        let lines = values.iter().map(|value| format!("{name}: {}\r\n", String::from_utf8_lossy(value)));
        with(&answer(request, status, "carrier", CALLEE, ""), &lines.collect::<String>())
    }

    /// What the credentials of a request are worth.
    fn verify(&mut self, net: &Net, request: &Message, password: &str) -> Result<String, String> {
        let source = INSIDE.parse::<std::net::SocketAddr>().unwrap().ip();
        let values: Vec<&str> =
            ["Authorization", "Proxy-Authorization"].iter().filter_map(|n| request.find(n)).collect();
        let mut start = request.start().split(' ');
        let (method, uri) = (start.next().unwrap(), start.next().unwrap());
        let values = values.iter().map(|value| value.as_bytes());
        let secret = |_: &_| Some(Secret::Password(password.as_bytes()));
        match self.challenger.verify(net.now, source, (method.as_bytes(), uri.as_bytes()), values, secret) {
            Worth::Accepted { user } => Ok(String::from_utf8(user.into_owned()).unwrap()),
            other => Err(format!("{}: {other:?}", self.realm)),
        }
    }
}

fn with_credentials(user: &str) -> Policy {
    let mut policy = policy();
    policy.trunks[1].credentials =
        Some(Credentials { user: user.into(), password: Password::plain("secret"), realm: None });
    policy
}

/// INVITE, 407, ACK, and the INVITE with credentials.
fn challenged(net: &mut Net, carrier: &mut Carrier, status: &str) -> (Message, Message) {
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let first = net.expect(CALLEE, "INVITE");
    let challenge = carrier.challenge(net, &first, status, false);
    net.receive(CALLEE, &challenge);
    net.expect(CALLEE, "ACK");
    (first, net.expect(CALLEE, "INVITE"))
}

#[test]
fn a_trunks_challenge_is_answered_and_the_caller_sees_nothing_of_it() {
    for status in ["407 Proxy Authentication Required", "401 Unauthorized"] {
        let mut net = Net::with(with_credentials("+8612345678@gd.ctcims.cn"));
        let mut carrier = carrier("gd.ctcims.cn");
        let (first, second) = challenged(&mut net, &mut carrier, status);
        net.quiet();
        assert_eq!(carrier.verify(&net, &second, "secret").as_deref(), Ok("+8612345678@gd.ctcims.cn"));
        for same in ["Call-ID", "From", "To", "Contact"] {
            assert_eq!(first.header(same), second.header(same), "{same}");
        }
        assert_eq!((first.header("CSeq"), second.header("CSeq")), ("1 INVITE", "2 INVITE"));
        assert_ne!(first.branch(), second.branch());
        assert_eq!(first.body(), second.body());

        net.receive(CALLEE, &answer(&second, "180 Ringing", "bob", CALLEE, ""));
        net.expect(CALLER, "SIP/2.0 180");
        net.receive(CALLEE, &answer(&second, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
        let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
        net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
        let ack = net.expect(CALLEE, "ACK");
        assert_eq!(ack.header("CSeq"), "2 ACK");
        let name = if status.starts_with("401") { "Authorization" } else { "Proxy-Authorization" };
        assert_eq!(ack.header(name), second.header(name), "RFC 3261 13.2.2.4");

        // The nonce serves for what follows, with its count.
        net.receive(CALLER, &caller_request("BYE", 2, "c1", &tag, ""));
        net.expect(CALLER, "SIP/2.0 200");
        let bye = net.expect(CALLEE, "BYE");
        assert!(bye.header(name).contains("nc=00000002"), "{}", bye.0);
        assert!(carrier.verify(&net, &bye, "secret").is_ok());
        net.receive(CALLEE, &answer(&bye, "200 OK", "", CALLEE, ""));
        net.nothing_left();
    }
}

#[test]
fn the_next_call_shows_credentials_at_once_and_learns_a_new_nonce() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("carrier.example");
    challenged(&mut net, &mut carrier, "407 Proxy Authentication Required");
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let next = net.expect(CALLEE, "INVITE");
    assert!(next.header("Proxy-Authorization").contains("nc=00000002"));
    assert!(carrier.verify(&net, &next, "secret").is_ok());
    // The carrier finds the nonce too old.
    let stale = carrier.challenge(&net, &next, "407 Proxy Authentication Required", true);
    net.receive(CALLEE, &stale);
    net.expect(CALLEE, "ACK");
    let again = net.expect(CALLEE, "INVITE");
    assert!(again.header("Proxy-Authorization").contains("nc=00000001"));
    assert!(carrier.verify(&net, &again, "secret").is_ok());
    net.quiet();
}

#[test]
fn credentials_that_are_wrong_are_not_shown_again_and_again() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("carrier.example");
    let (_, second) = challenged(&mut net, &mut carrier, "407 Proxy Authentication Required");
    assert!(carrier.verify(&net, &second, "another").is_err());
    let refusal = carrier.challenge(&net, &second, "407 Proxy Authentication Required", false);
    net.receive(CALLEE, &refusal);
    net.expect(CALLEE, "ACK");
    // It is not the caller's fault, and none of its credentials would help.
    let refused = net.expect(CALLER, "SIP/2.0 502 Bad Gateway - Our Credentials Were Refused");
    assert!(!refused.0.contains("Authenticate") && !refused.0.contains("carrier.example"), "{}", refused.0);
    net.quiet();
    assert_eq!(net.counters().credentials_refused, 1);
    net.nothing_left();
}

#[test]
fn a_carrier_that_always_says_stale_is_given_up() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("carrier.example");
    let (_, mut sent) = challenged(&mut net, &mut carrier, "407 Proxy Authentication Required");
    for _ in 0..2 {
        let stale = carrier.challenge(&net, &sent, "407 Proxy Authentication Required", true);
        net.receive(CALLEE, &stale);
        net.expect(CALLEE, "ACK");
        sent = net.expect(CALLEE, "INVITE");
    }
    let stale = carrier.challenge(&net, &sent, "407 Proxy Authentication Required", true);
    net.receive(CALLEE, &stale);
    net.expect(CALLEE, "ACK");
    net.expect(CALLER, "SIP/2.0 502");
}

#[test]
fn a_proxy_and_the_server_behind_it_may_both_ask() {
    let mut net = Net::with(with_credentials("user"));
    let (mut proxy, mut server) = (carrier("proxy.example"), carrier("server.example"));
    let (_, second) = challenged(&mut net, &mut proxy, "407 Proxy Authentication Required");
    let challenge = server.challenge(&net, &second, "401 Unauthorized", false);
    net.receive(CALLEE, &challenge);
    net.expect(CALLEE, "ACK");
    let third = net.expect(CALLEE, "INVITE");
    assert_eq!(third.header("CSeq"), "3 INVITE");
    assert!(third.header("Authorization").contains("server.example"));
    assert!(third.header("Proxy-Authorization").contains("proxy.example"));
}

#[test]
fn a_realm_that_is_not_the_one_gets_nothing() {
    let mut policy = with_credentials("user");
    policy.trunks[1].credentials.as_mut().unwrap().realm = Some("carrier.example".into());
    let mut net = Net::with(policy);
    let mut other = carrier("elsewhere.example");
    net.receive(CALLER, &invite("5551000", "c1", ""));
    net.expect(CALLER, "SIP/2.0 100");
    let first = net.expect(CALLEE, "INVITE");
    let challenge = other.challenge(&net, &first, "401 Unauthorized", false);
    net.receive(CALLEE, &challenge);
    net.expect(CALLEE, "ACK");
    net.expect(CALLER, "SIP/2.0 502");
    net.quiet();
}

#[test]
fn a_call_that_is_given_up_meanwhile_is_not_tried_again() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("carrier.example");
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let first = net.expect(CALLEE, "INVITE");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    let challenge = carrier.challenge(&net, &first, "407 Proxy Authentication Required", false);
    net.receive(CALLEE, &challenge);
    net.expect(CALLEE, "ACK");
    net.quiet();
    net.nothing_left();
}

#[test]
fn the_challenge_of_a_target_that_was_silent_for_too_long_is_no_refusal() {
    let mut policy = with_credentials("user");
    policy.trunks[1].targets = vec![CALLEE.parse().unwrap(), CALLEE_2.parse().unwrap()];
    policy.trunks[1].failover_ns = 4 * SECOND;
    let mut net = Net::with(policy);
    let mut carrier = carrier("carrier.example");
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let first = net.expect(CALLEE, "INVITE");
    net.advance(4 * SECOND);
    let second = net.expect(CALLEE_2, "INVITE");
    net.take_sent();
    let challenge = carrier.challenge(&net, &first, "407 Proxy Authentication Required", false);
    net.receive(CALLEE, &challenge);
    net.expect(CALLEE, "ACK");
    net.receive(CALLEE_2, &answer(&second, "503 Service Unavailable", "b", CALLEE_2, ""));
    net.expect(CALLEE_2, "ACK");
    net.expect(CALLER, "SIP/2.0 503");
    assert_eq!(net.counters().credentials_refused, 0);
    net.nothing_left();
}

#[test]
fn a_cancel_after_the_challenge_cancels_what_was_sent_again() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("carrier.example");
    let (_, second) = challenged(&mut net, &mut carrier, "407 Proxy Authentication Required");
    net.receive(CALLEE, &answer(&second, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    let cancel = net.expect(CALLEE, "CANCEL");
    assert_eq!((cancel.header("CSeq"), cancel.branch()), ("2 CANCEL", second.branch()));
    net.receive(CALLEE, &answer(&cancel, "200 OK", "", CALLEE, ""));
    net.receive(CALLEE, &answer(&second, "487 Request Terminated", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.nothing_left();
    let ended = net.observed.iter().filter(|o| matches!(o, moorline_b2bua::Observation::Ended { .. }));
    assert!(ended.clone().all(|o| matches!(o, moorline_b2bua::Observation::Ended { outcome: Outcome::Cancelled, .. })));
    assert_eq!(ended.count(), 1);
}

#[test]
fn requests_inside_a_call_are_answered_for_too() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("carrier.example");
    let up = establish(&mut net);
    for (method, cseq) in [("INVITE", 2), ("INFO", 3), ("INVITE", 4)] {
        let body = if method == "INFO" { String::new() } else { sdp("192.0.2.10", 4000) };
        net.receive(CALLER, &caller_request(method, cseq, "c1", &up.tag, &body));
        if method == "INVITE" {
            net.expect(CALLER, "SIP/2.0 100");
        }
        let sent = net.expect(CALLEE, method);
        let challenge = carrier.challenge(&net, &sent, "401 Unauthorized", true);
        net.receive(CALLEE, &challenge);
        if method == "INVITE" {
            net.expect(CALLEE, "ACK");
        }
        let again = net.expect(CALLEE, method);
        let number = |message: &Message| message.header("CSeq").split(' ').next().unwrap().parse::<u32>().unwrap();
        assert_eq!(number(&again), number(&sent) + 1, "{method}");
        assert!(carrier.verify(&net, &again, "secret").is_ok(), "{method}");
        let body = if method == "INFO" { String::new() } else { sdp("198.51.100.20", 6000) };
        net.receive(CALLEE, &answer(&again, "200 OK", "", CALLEE, &body));
        net.expect(CALLER, "SIP/2.0 200");
        if method == "INVITE" {
            net.receive(CALLER, &caller_request("ACK", cseq, "c1", &up.tag, ""));
            net.expect(CALLEE, "ACK");
        }
    }
    // The next request counts on from there.
    net.receive(CALLER, &caller_request("BYE", 9, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE");
    assert!(bye.header("CSeq").split(' ').next().unwrap().parse::<u32>().unwrap() > 4);
    assert!(carrier.verify(&net, &bye, "secret").is_ok());
}

#[test]
fn a_challenge_to_a_reinvite_of_a_call_that_has_ended_is_not_answered() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("carrier.example");
    let up = establish(&mut net);
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLER, &caller_request("BYE", 3, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    let bye = net.expect(CALLEE, "BYE");
    let challenge = carrier.challenge(&net, &sent, "407 Proxy Authentication Required", false);
    net.receive(CALLEE, &challenge);
    net.expect(CALLEE, "ACK");
    net.quiet();
    // Its BYE still is.
    let challenge = carrier.challenge(&net, &bye, "407 Proxy Authentication Required", false);
    net.receive(CALLEE, &challenge);
    let again = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&again, "200 OK", "", CALLEE, ""));
    net.nothing_left();
}

#[test]
fn a_challenge_to_a_prack_of_a_call_that_was_given_up_is_not_answered() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("carrier.example");
    let (_, second) = challenged(&mut net, &mut carrier, "407 Proxy Authentication Required");
    let ringing = answer(&second, "180 Ringing", "bob", CALLEE, "");
    net.receive(CALLEE, &with(&ringing, "Require: 100rel\r\nRSeq: 1\r\n"));
    net.expect(CALLER, "SIP/2.0 180");
    let prack = net.expect(CALLEE, "PRACK");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.take_sent();
    let challenge = carrier.challenge(&net, &prack, "407 Proxy Authentication Required", true);
    net.receive(CALLEE, &challenge);
    net.quiet();
    net.receive(CALLEE, &answer(&second, "487 Request Terminated", "bob", CALLEE, ""));
    net.nothing_left();
}

#[test]
fn the_interval_that_is_asked_for_after_a_challenge_comes_with_a_number_of_its_own() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("carrier.example");
    let (_, second) = challenged(&mut net, &mut carrier, "407 Proxy Authentication Required");
    let short = answer(&second, "422 Session Interval Too Small", "bob", CALLEE, "");
    net.receive(CALLEE, &with(&short, "Min-SE: 2000\r\n"));
    net.expect(CALLEE, "ACK");
    let third = net.expect(CALLEE, "INVITE");
    assert_eq!((third.header("CSeq"), third.header("Call-ID")), ("3 INVITE", second.header("Call-ID")));
}

#[test]
fn numbers_go_up_after_a_challenge_in_a_call_that_was_forked() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("carrier.example");
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let out = net.expect(CALLEE, "INVITE");
    for rseq in 1..4 {
        let ringing = answer(&out, "180 Ringing", "bob", CALLEE, "");
        net.receive(CALLEE, &with(&ringing, &format!("Require: 100rel\r\nRSeq: {rseq}\r\n")));
    }
    net.receive(CALLEE, &answer(&out, "200 OK", "carol", CALLEE, &sdp("198.51.100.20", 6000)));
    net.advance(SECOND);
    let sent = net.take_sent();
    let tag =
        sent.iter().find(|(_, message)| message.start().starts_with("SIP/2.0 200")).unwrap().1.tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    let mut last = 0;
    for cseq in 2..5 {
        net.receive(CALLER, &caller_request("INFO", cseq, "c1", &tag, ""));
        let sent = net.expect(CALLEE, "INFO");
        let challenge = carrier.challenge(&net, &sent, "407 Proxy Authentication Required", true);
        net.receive(CALLEE, &challenge);
        let again = net.expect(CALLEE, "INFO");
        for message in [sent, again] {
            let number: u32 = message.header("CSeq").split(' ').next().unwrap().parse().unwrap();
            assert!(number > last, "CSeq {number} after {last}");
            last = number;
        }
    }
}

#[test]
fn who_picks_up_after_a_restart_may_ask_for_credentials() {
    let mut carrier = carrier("carrier");
    let mut net = Net::with(with_credentials("moorline"));
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let out = net.expect(CALLEE, "INVITE");
    net.restart_signaling(with_credentials("moorline"));
    net.take_sent();
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    let challenge = carrier.challenge(&net, &bye, "407 Proxy Authentication Required", false);
    net.receive(CALLEE, &challenge);
    let again = net.expect(CALLEE, "BYE");
    assert_eq!(carrier.verify(&net, &again, "secret"), Ok("moorline".into()));
    net.receive(CALLEE, &answer(&again, "200 OK", "", CALLEE, ""));
    net.nothing_left();
}

#[test]
fn without_credentials_a_challenge_and_its_answer_cross() {
    let mut net = Net::new();
    let mut carrier = carrier("carrier.example");
    net.receive(CALLER, &invite("5551000", "c1", ""));
    net.expect(CALLER, "SIP/2.0 100");
    let first = net.expect(CALLEE, "INVITE");
    let challenge = carrier.challenge(&net, &first, "407 Proxy Authentication Required", false);
    net.receive(CALLEE, &challenge);
    net.expect(CALLEE, "ACK");
    let refused = net.expect(CALLER, "SIP/2.0 407");
    assert!(refused.header("Proxy-Authenticate").contains("carrier.example"));
    let again =
        with(&invite("5551000", "c2", ""), "Proxy-Authorization: Digest username=\"x\", realm=\"carrier.example\"\r\n");
    net.receive(CALLER, &again);
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert_eq!(sent.header("Proxy-Authorization"), "Digest username=\"x\", realm=\"carrier.example\"");
}

/// Users whose passwords somebody else knows.
fn with_radius() -> Policy {
    let mut policy = with_phones();
    policy.trunks[2].authentication.as_mut().unwrap().ask = true;
    policy
}

#[test]
fn another_may_be_asked_about_credentials() {
    let mut net = Net::with(with_radius());
    let mut phone = phone("7000", "elsewhere", PHONE);
    let plain = phone.register_text(600);
    net.receive(PHONE, &plain);
    let challenge = net.expect(PHONE, "SIP/2.0 401");
    phone.challenged(&challenge);
    let plain = phone.register_text(600);
    let text = phone.authorized(&plain);
    net.receive(PHONE, &text);
    net.receive(PHONE, &text);
    net.quiet();
    let (request, question) = net.asked.pop().expect("a question");
    assert!(net.asked.is_empty(), "a repetition asks nothing");
    assert_eq!(
        (&question.user[..], &question.realm[..], &question.method[..]),
        (&b"7000"[..], &b"phones.example"[..], &b"REGISTER"[..])
    );
    assert_eq!(question.algorithm.as_deref(), Some(&b"SHA-256"[..]));
    net.input(Input::Verdict { request, verdict: Verdict::Accepted });
    net.expect(PHONE, "SIP/2.0 200");
    assert_eq!(net.counters().bindings, 1);
    // Once is enough.
    net.input(Input::Verdict { request, verdict: Verdict::Accepted });
    net.quiet();
    // Those who are known here are not asked about.
    crate::phones::phone("6000", "1234", PHONE).register(&mut net, 600);
    assert!(net.asked.is_empty());
}

#[test]
fn a_verdict_may_be_no_or_none() {
    for (verdict, expected) in [(Verdict::Rejected, "403"), (Verdict::Unavailable, "503")] {
        let mut net = Net::with(with_radius());
        let mut phone = phone("7000", "elsewhere", PHONE);
        let plain = phone.register_text(600);
        net.receive(PHONE, &plain);
        let challenge = net.expect(PHONE, "SIP/2.0 401");
        phone.challenged(&challenge);
        let plain = phone.register_text(600);
        let text = phone.authorized(&plain);
        net.receive(PHONE, &text);
        let (request, _) = net.asked.pop().expect("a question");
        net.input(Input::Verdict { request, verdict });
        net.expect(PHONE, &format!("SIP/2.0 {expected}"));
        assert_eq!(net.worker.next_timeout(), None);

        // Nor is one awaited for ever.
        let plain = phone.register_text(600);
        let text = phone.authorized(&plain);
        net.receive(PHONE, &text);
        net.advance(10 * SECOND);
        assert!(net.expect(PHONE, "SIP/2.0 503").find("Retry-After").is_some());
        assert_eq!(net.worker.next_timeout(), None);
    }
}

#[test]
fn a_subscription_that_was_challenged_counts_on_when_its_notify_comes_first() {
    let mut net = Net::with(with_credentials("user"));
    let mut carrier = carrier("r");
    let lines = "Event: presence\r\nExpires: 600\r\n";
    net.receive(CALLER, &with(&invite("5551000", "s1", "").replace("INVITE", "SUBSCRIBE"), lines));
    let first = net.expect(CALLEE, "SUBSCRIBE");
    let challenge = carrier.challenge(&net, &first, "401 Unauthorized", false);
    net.receive(CALLEE, &challenge);
    let second = net.expect(CALLEE, "SUBSCRIBE");
    assert_eq!(second.header("CSeq"), "2 SUBSCRIBE");
    let state = "Event: presence\r\nSubscription-State: active;expires=600\r\n";
    net.receive(CALLEE, &with(&callee_request("NOTIFY", 1, &second, "bob", ""), state));
    let told = net.expect(CALLER, "NOTIFY");
    net.receive(CALLER, &answer(&told, "200 OK", "", CALLER, ""));
    net.expect(CALLEE, "SIP/2.0 200");
    net.receive(CALLEE, &with(&answer(&second, "200 OK", "bob", CALLEE, ""), "Expires: 600\r\n"));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &with(&caller_request("SUBSCRIBE", 2, "s1", &tag, ""), lines));
    assert_eq!(net.expect(CALLEE, "SUBSCRIBE").header("CSeq"), "3 SUBSCRIBE");
}
