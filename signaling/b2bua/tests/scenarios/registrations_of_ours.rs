//! Moorline registers itself with a trunk.

use moorline_b2bua::policy::{Credentials, Password, Policy, Registration};
use moorline_b2bua::{Input, Observation};
use moorline_sip::Transport;
use moorline_sip::digest::{Challenger, Settings};
use moorline_sip::transaction::Flow;

use crate::harness::*;

fn with_registration(new_call_id: bool) -> Policy {
    let mut policy = policy();
    let trunk = &mut policy.trunks[1];
    trunk.domain = Some("gd.ctcims.cn".into());
    trunk.credentials =
        Some(Credentials { user: "+8612345678@gd.ctcims.cn".into(), password: Password::plain("secret"), realm: None });
    trunk.registration =
        Some(Registration { user: "+8612345678".into(), domain: "gd.ctcims.cn".into(), expires_s: 3600, new_call_id });
    policy
}

/// The registrar's 200.
fn granted(request: &Message, expires_s: u32, lines: &str) -> String {
    let contact = format!("{};expires={expires_s}", request.header("Contact"));
    let text = answer(request, "200 OK", "reg", CALLEE, "");
    with(&text.replace(&format!("Contact: <sip:{CALLEE}>"), &format!("Contact: {contact}")), lines)
}

/// Moorline is up; its first REGISTER.
fn first(net: &mut Net) -> Message {
    net.advance(1);
    net.expect(CALLEE, "REGISTER sip:gd.ctcims.cn SIP/2.0")
}

fn cseq(message: &Message) -> u32 {
    message.header("CSeq").split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn moorline_registers_and_answers_the_challenge() {
    let mut net = Net::with(with_registration(false));
    let register = first(&mut net);
    assert_eq!(register.header("To"), "<sip:+8612345678@gd.ctcims.cn>");
    assert!(register.header("From").starts_with("<sip:+8612345678@gd.ctcims.cn>;tag="));
    assert_eq!(register.header("Contact"), "<sip:+8612345678@198.51.100.1:5060>");
    assert_eq!((register.header("Expires"), register.header("CSeq")), ("3600", "1 REGISTER"));

    let challenger = Challenger::new(b"gd.ctcims.cn", &[7; 32], Settings::default());
    let values = challenger.challenge(net.now, OUTSIDE.parse::<std::net::SocketAddr>().unwrap().ip(), false);
    let lines: String =
        values.iter().map(|value| format!("WWW-Authenticate: {}\r\n", String::from_utf8_lossy(value))).collect();
    net.receive(CALLEE, &with(&answer(&register, "401 Unauthorized", "reg", CALLEE, ""), &lines));
    let again = net.expect(CALLEE, "REGISTER");
    assert_eq!(again.header("Call-ID"), register.header("Call-ID"));
    assert_eq!(again.header("CSeq"), "2 REGISTER");
    assert!(again.header("Authorization").contains("username=\"+8612345678@gd.ctcims.cn\""));
    net.receive(CALLEE, &granted(&again, 600, ""));
    assert!(net.observed.contains(&Observation::Registered { trunk: "carrier".into(), granted_s: 600 }));

    // It is refreshed within 50 to 90 % of what was granted, with the nonce it has.
    net.advance(299 * SECOND);
    net.quiet();
    net.advance(242 * SECOND);
    let refresh = net.expect(CALLEE, "REGISTER");
    assert_eq!(refresh.header("Call-ID"), register.header("Call-ID"));
    assert_eq!(cseq(&refresh), 3);
    assert!(refresh.header("Authorization").contains("nc=00000002"));
}

#[test]
fn each_register_may_have_a_call_id_of_its_own() {
    let mut net = Net::with(with_registration(true));
    let register = first(&mut net);
    net.receive(CALLEE, &granted(&register, 100, ""));
    net.advance(91 * SECOND);
    let refresh = net.expect(CALLEE, "REGISTER");
    assert_ne!(refresh.header("Call-ID"), register.header("Call-ID"));
    assert_eq!(cseq(&refresh), 1);
}

#[test]
fn a_registrar_that_wants_longer_times_is_asked_for_them() {
    let mut net = Net::with(with_registration(false));
    let register = first(&mut net);
    net.receive(
        CALLEE,
        &with(&answer(&register, "423 Interval Too Brief", "reg", CALLEE, ""), "Min-Expires: 7200\r\n"),
    );
    let again = net.expect(CALLEE, "REGISTER");
    assert_eq!(again.header("Expires"), "7200");
    // One that wants it for ever, or always more, gets its way once.
    net.receive(CALLEE, &with(&answer(&again, "423 Interval Too Brief", "reg", CALLEE, ""), "Min-Expires: 7200\r\n"));
    net.quiet();
    assert!(matches!(net.observed.last(), Some(Observation::NotRegistered { status: Some(423), .. })));
}

#[test]
fn a_registrar_that_does_not_answer_is_followed_by_the_next_and_tried_again() {
    let mut net = Net::with(with_registration(false));
    first(&mut net);
    net.advance(32 * SECOND);
    net.take_sent();
    net.advance(32 * SECOND);
    let second = net.take_sent();
    assert!(second.iter().all(|(to, _)| to == CALLEE_2), "the second address is asked");
    assert!(matches!(net.observed.last(), Some(Observation::NotRegistered { status: None, registered: false, .. })));
    // After a pause, from the beginning; the silent ones rest, so either may come first.
    net.advance(16 * SECOND);
    let again = net.take_sent();
    assert!(again.iter().any(|(_, message)| message.start().starts_with("REGISTER")));
}

#[test]
fn pauses_grow_while_a_registrar_refuses() {
    let mut net = Net::with(with_registration(false));
    let mut register = first(&mut net);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        net.receive(CALLEE, &answer(&register, "403 Forbidden", "reg", CALLEE, ""));
        let from = net.now;
        register = loop {
            net.advance(SECOND / 4);
            if let Some((_, message)) = net.take_sent().into_iter().next() {
                break message;
            }
        };
        pauses.push((net.now - from) / SECOND);
    }
    assert!(pauses[0] >= 11 && pauses[0] <= 16, "{pauses:?}");
    assert!(pauses[3] > pauses[1] && pauses.iter().all(|pause| *pause <= 601), "{pauses:?}");
    assert!(pauses[7] >= 450, "{pauses:?}");
}

#[test]
fn a_stream_that_ends_is_replaced() {
    let mut policy = with_registration(false);
    policy.trunks[1].targets = vec!["sip:198.51.100.20:5060;transport=tcp".parse().unwrap()];
    let mut net = Net::with(policy);
    let register = first(&mut net);
    assert_eq!(register.header("Contact"), "<sip:+8612345678@198.51.100.1:5060;transport=tcp>");
    let flow = Flow::new(1, Transport::Tcp, CALLEE.parse().unwrap());
    let ok = granted(&register, 3600, "");
    net.input(Input::Message { flow, bytes: ok.as_bytes() });
    net.advance(60 * SECOND);
    net.quiet();
    net.input(Input::Broken { flow });
    net.advance(6 * SECOND);
    net.expect(CALLEE, "REGISTER");
}

#[test]
fn calls_take_the_way_that_the_registrar_has_said() {
    let mut net = Net::with(with_registration(false));
    let register = first(&mut net);
    net.receive(CALLEE, &granted(&register, 3600, "Service-Route: <sip:orig@scscf.example;lr>\r\n"));
    net.receive(CALLER, &invite("5551000", "c1", ""));
    net.expect(CALLER, "SIP/2.0 100");
    let invite = net.expect(CALLEE, "INVITE sip:5551000@gd.ctcims.cn SIP/2.0");
    assert_eq!(invite.header("Route"), "<sip:orig@scscf.example;lr>");
    assert!(invite.header("From").contains("@gd.ctcims.cn>"));
}
