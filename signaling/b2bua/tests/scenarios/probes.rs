//! OPTIONS that find out whether a trunk's targets are alive, before a call does.

use moorline_b2bua::locate::{Answer, RecordKind, Records};
use moorline_b2bua::policy::Policy;
use moorline_b2bua::{Input, Place};

use crate::harness::*;

/// The carrier's targets are asked every 30 seconds.
fn probing() -> Policy {
    let mut policy = policy();
    policy.trunks[1].probe_ns = 30 * SECOND;
    policy
}

/// Who is called first; it is busy.
#[track_caller]
fn first_called(net: &mut Net, call_id: &str) -> String {
    net.receive(CALLER, &invite("5551000", call_id, &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.take_sent();
    let [(to, message)] = &sent[..] else { panic!("one INVITE expected: {sent:?}") };
    assert!(message.start().starts_with("INVITE"), "{}", message.0);
    net.receive(to, &answer(message, "486 Busy Here", "busy", to, ""));
    net.expect(to, "ACK");
    net.expect(CALLER, "SIP/2.0 486");
    net.receive(CALLER, &invite("5551000", call_id, "").replace("INVITE", "ACK"));
    to.clone()
}

/// The first round of probes, with its time to come.
fn first_probes(net: &mut Net) -> [Message; 2] {
    net.quiet();
    net.advance(SECOND / 10);
    [net.expect(CALLEE, "OPTIONS"), net.expect(CALLEE_2, "OPTIONS")]
}

#[test]
fn each_target_is_asked_and_any_answer_is_a_sign_of_life() {
    let mut net = Net::with(probing());
    let [first, second] = first_probes(&mut net);
    assert_eq!(first.start(), format!("OPTIONS sip:{CALLEE} SIP/2.0"));
    assert!(first.header("From").starts_with(&format!("<sip:{OUTSIDE}>;tag=")));
    assert_eq!(first.header("To"), format!("<sip:{CALLEE}>"));
    assert_eq!(first.header("Contact"), format!("<sip:{OUTSIDE}>"));
    net.receive(CALLEE, &answer(&first, "405 Method Not Allowed", "a", CALLEE, ""));
    net.receive(CALLEE_2, &answer(&second, "200 OK", "b", CALLEE_2, ""));
    assert_eq!(net.counters().targets_resting, 0);
    net.quiet();
    net.advance(29 * SECOND);
    net.quiet();
    net.advance(2 * SECOND);
    net.expect(CALLEE, "OPTIONS");
    net.expect(CALLEE_2, "OPTIONS");
}

#[test]
fn a_dead_target_is_passed_over_until_it_answers() {
    let mut net = Net::with(probing());
    // The second one answers whenever it is asked.
    for _ in 0..40 {
        net.advance(SECOND);
        for (to, message) in net.take_sent() {
            if to == CALLEE_2 {
                net.receive(CALLEE_2, &answer(&message, "200 OK", "b", CALLEE_2, ""));
            }
        }
    }
    assert_eq!(net.counters().targets_resting, 1);
    assert_eq!(first_called(&mut net, "c1"), CALLEE_2);
    // For minutes no call tries it.
    for _ in 0..300 {
        net.advance(SECOND);
        for (to, message) in net.take_sent() {
            if to == CALLEE_2 && message.start().starts_with("OPTIONS") {
                net.receive(CALLEE_2, &answer(&message, "200 OK", "b", CALLEE_2, ""));
            }
        }
        assert_eq!(net.counters().targets_resting, 1);
    }
    assert_eq!(first_called(&mut net, "c2"), CALLEE_2);
    // It comes back.
    for _ in 0..31 {
        net.advance(SECOND);
        for (to, message) in net.take_sent() {
            if message.start().starts_with("OPTIONS") {
                let who = if to == CALLEE { CALLEE } else { CALLEE_2 };
                net.receive(who, &answer(&message, "200 OK", "b", who, ""));
            }
        }
    }
    assert_eq!(net.counters().targets_resting, 0);
    net.take_sent();
    assert_eq!(first_called(&mut net, "c3"), CALLEE);
}

#[test]
fn one_that_answers_503_is_left_alone_but_asked_on() {
    let mut net = Net::with(probing());
    let [first, second] = first_probes(&mut net);
    net.receive(CALLEE, &answer(&first, "503 Service Unavailable", "a", CALLEE, ""));
    net.receive(CALLEE_2, &answer(&second, "200 OK", "b", CALLEE_2, ""));
    assert_eq!(net.counters().targets_resting, 1);
    assert_eq!(first_called(&mut net, "c1"), CALLEE_2);
    net.advance(30 * SECOND);
    net.expect(CALLEE, "OPTIONS");
    assert_eq!(net.counters().targets_resting, 1);
}

#[test]
fn the_hops_of_a_name_are_asked() {
    let mut policy = probing();
    policy.trunks[1].targets = vec!["carrier.example:5060".parse().unwrap()];
    let mut net = Net::with(policy);
    net.advance(SECOND / 10);
    net.quiet();
    let query = net.questions.remove(0);
    assert_eq!((query.kind, query.name.as_str()), (RecordKind::A, "carrier.example"));
    let addresses = ["198.51.100.20", "198.51.100.21"].map(|address| address.parse().unwrap());
    let answer = Ok(Answer { records: Records::Addresses(addresses.to_vec()), ttl_s: 600 });
    net.input(Input::Dns { number: query.number, answer });
    net.expect(CALLEE, "OPTIONS sip:carrier.example SIP/2.0");
    net.expect(CALLEE_2, "OPTIONS sip:carrier.example SIP/2.0");
}

#[test]
fn the_first_worker_asks_and_tells_the_others() {
    let place = |index| Place { index, of: 2, ..Place::alone(1) };
    let (mut first, mut second) = (Net::at(place(0), probing()), Net::at(place(1), probing()));
    second.advance(60 * SECOND);
    second.quiet();
    let [probe, _] = first_probes(&mut first);
    first.receive(CALLEE, &answer(&probe, "503 Service Unavailable", "a", CALLEE, ""));
    first.told.drain(..).for_each(|news| second.input(Input::News(news)));
    assert_eq!(first_called(&mut second, "c1"), CALLEE_2);
    first.advance(31 * SECOND);
    let probe = first.take_sent().into_iter().rfind(|(to, _)| to == CALLEE).expect("another probe").1;
    first.receive(CALLEE, &answer(&probe, "200 OK", "a", CALLEE, ""));
    first.told.drain(..).for_each(|news| second.input(Input::News(news)));
    assert_eq!(first_called(&mut second, "c2"), CALLEE);
    assert_eq!(second.counters().targets_resting, 0, "said by the first worker only");
}
