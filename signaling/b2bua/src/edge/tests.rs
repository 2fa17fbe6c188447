use std::hash::RandomState;
use std::net::SocketAddr;
use std::sync::Arc;

use moorline_sip::transaction::Flow;
use moorline_sip::{Index, Name, Transport};

use super::{Edge, Judgement, NewCalls, Overload, Reason, SECOND_NS};

const PASS: Judgement = Judgement::Pass { new_call: false };
const NEW: Judgement = Judgement::Pass { new_call: true };
const BOUNDS: Overload =
    Overload { per_source: 100, per_stranger: 5, new_calls: 0, longest_wait_ns: 0, retry_after_s: 7 };

fn edge(bounds: Overload) -> Edge {
    Edge::new(bounds, Arc::default(), RandomState::new())
}

fn flow(source: &str) -> Flow {
    Flow::new(0, Transport::Udp, source.parse().unwrap())
}

fn invite(call: usize, to_tag: &str) -> Vec<u8> {
    format!(
        "INVITE sip:1@192.0.2.9 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@192.0.2.1>;tag=a\r\nTo: <sip:1@192.0.2.9>{to_tag}\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\n\
         Contact: <sip:a@192.0.2.1>\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

fn known() -> bool {
    true
}

/// How many of `count` messages that come at once pass.
fn passed(edge: &mut Edge, now: u64, source: &str, count: usize, is_known: bool) -> usize {
    let verdicts = (0..count).map(|_| edge.admit(now, flow(source), b"BYE", 0, || is_known));
    verdicts.filter(|verdict| *verdict == PASS).count()
}

#[test]
fn a_source_may_send_at_its_rate_and_twice_that_at_once() {
    let mut edge = edge(BOUNDS);
    assert_eq!(passed(&mut edge, 0, "192.0.2.1:5060", 1000, true), 200);
    assert_eq!(passed(&mut edge, SECOND_NS / 2, "192.0.2.1:5060", 1000, true), 50);
    assert_eq!(passed(&mut edge, SECOND_NS * 60, "192.0.2.1:5060", 1000, true), 200);
    let dropped = edge.admit(SECOND_NS * 60, flow("192.0.2.1:6000"), b"BYE", 0, known);
    assert_eq!(dropped, Judgement::Drop(Reason::Source), "another port is the same source");
    assert_eq!(passed(&mut edge, SECOND_NS * 60, "192.0.2.2:5060", 1000, true), 200, "another address is not");
}

#[test]
fn other_bounds_hold_at_once_for_who_is_known_already() {
    let mut edge = edge(BOUNDS);
    assert_eq!(passed(&mut edge, 0, "192.0.2.1:5060", 1000, true), 200);
    edge.set_bounds(Overload { per_source: 10, new_calls: 1, retry_after_s: 9, ..BOUNDS });
    assert_eq!(passed(&mut edge, SECOND_NS * 60, "192.0.2.1:5060", 1000, true), 20);
    assert_eq!(edge.admit(SECOND_NS * 90, flow("192.0.2.1:5060"), &invite(1, ""), 0, known), NEW);
    let second = edge.admit(SECOND_NS * 90, flow("192.0.2.1:5060"), &invite(2, ""), 0, known);
    assert_eq!(second, Judgement::Refuse(Reason::NewCalls));
    let (_, answer) = edge.refusal(flow("192.0.2.1:5060"), &invite(2, "")).unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("Retry-After: 9\r\n"));
}

#[test]
fn strangers_have_a_rate_of_their_own() {
    let mut edge = edge(BOUNDS);
    assert_eq!(passed(&mut edge, 0, "203.0.113.1:5060", 100, false), 10);
    let dropped = edge.admit(0, flow("203.0.113.1:5060"), &invite(1, ""), 0, || false);
    assert_eq!(dropped, Judgement::Drop(Reason::Stranger));
    assert_eq!(passed(&mut edge, 0, "[2001:db8::1]:5060", 100, false), 10);
    assert_eq!(passed(&mut edge, 0, "[2001:db8::2]:5060", 100, false), 0, "the same IPv6 network");
}

#[test]
fn a_flood_of_sources_takes_no_more_memory_and_silences_nobody() {
    let mut edge = edge(BOUNDS);
    for source in 0..100_000u32 {
        let address = SocketAddr::from((source.to_be_bytes(), 5060));
        let flow = Flow { remote: address, ..flow("0.0.0.1:1") };
        assert_eq!(edge.admit(u64::from(source), flow, b"BYE", 0, || false), PASS);
    }
    assert_eq!(passed(&mut edge, SECOND_NS, "192.0.2.1:5060", 1000, true), 200);
}

#[test]
fn new_calls_are_bounded_across_all_edges() {
    let shared = Arc::new(NewCalls::default());
    let bounds = Overload { new_calls: 10, ..BOUNDS };
    let mut edges: Vec<Edge> = (0..2).map(|_| Edge::new(bounds, Arc::clone(&shared), RandomState::new())).collect();
    let mut verdicts = |now: u64, calls: std::ops::Range<usize>| -> usize {
        let each = calls.map(|call| edges[call % 2].admit(now, flow("192.0.2.1:5060"), &invite(call, ""), 0, known));
        each.filter(|verdict| *verdict == NEW).count()
    };
    assert_eq!(verdicts(0, 0..30), 10);
    assert_eq!(verdicts(SECOND_NS / 2, 30..60), 5);
    let mut other = Edge::new(bounds, shared, RandomState::new());
    let refused = other.admit(SECOND_NS / 2, flow("192.0.2.1:5060"), &invite(99, ""), 0, known);
    assert_eq!(refused, Judgement::Refuse(Reason::NewCalls));
    let bye = other.admit(SECOND_NS / 2, flow("192.0.2.1:5060"), b"BYE sip:x SIP/2.0\r\n\r\n", 0, known);
    assert_eq!(bye, PASS, "calls that are up go on");
    let reinvite = other.admit(SECOND_NS / 2, flow("192.0.2.1:5060"), &invite(99, ";tag=x"), 0, known);
    assert_eq!(reinvite, PASS, "so do their re-INVITEs");
}

#[test]
fn who_has_waited_too_long_is_refused_but_not_when_it_is_a_repetition() {
    let mut edge = edge(Overload { longest_wait_ns: SECOND_NS / 2, ..BOUNDS });
    let from = flow("192.0.2.1:5060");
    assert_eq!(edge.admit(0, from, &invite(1, ""), SECOND_NS / 4, known), NEW);
    assert_eq!(edge.admit(1, from, &invite(1, ""), SECOND_NS, known), PASS, "its call is being worked on");
    assert_eq!(edge.admit(1, from, &invite(2, ""), SECOND_NS, known), Judgement::Refuse(Reason::Wait));
    assert_eq!(edge.admit(2, from, &invite(2, ""), SECOND_NS, known), Judgement::Refuse(Reason::Wait), "still no");
    assert_eq!(edge.admit(3, from, &invite(2, ""), 0, known), NEW);
    let later = 40 * SECOND_NS;
    assert_eq!(edge.admit(later, from, &invite(1, ""), SECOND_NS, known), Judgement::Refuse(Reason::Wait));
    assert_eq!(edge.admit(later, from, b"SIP/2.0 200 OK\r\n\r\n", SECOND_NS, known), PASS);
}

#[test]
fn a_refusal_is_a_503_that_says_when_to_come_back() {
    let mut edge = edge(BOUNDS);
    let from = flow("192.0.2.1:4444");
    let (to, bytes) = edge.refusal(from, &invite(1, "")).unwrap();
    assert_eq!(to.remote, "192.0.2.1:5060".parse().unwrap(), "no rport: to the port in the Via");
    assert_eq!(edge.refusal(from, &invite(1, "")).unwrap().1, bytes, "the same when it is repeated");
    let mut index = Index::new();
    let answer = index.parse(&bytes).unwrap();
    assert_eq!((answer.status(), answer.check()), (Some(503), Ok(())));
    assert_eq!(answer.other(b"Retry-After").or(answer.header(Name::RetryAfter)), Some(&b"7"[..]));
    assert!(answer.to().unwrap().tag().is_some());
    for other in [&b"INVITE"[..], b"BYE sip:x SIP/2.0\r\n\r\n", b"INVITE sip:x SIP/2.0\r\n\r\n"] {
        assert_eq!(edge.refusal(from, other), None, "nothing to answer");
    }
}

#[test]
fn who_is_sent_to_is_no_stranger() {
    let mut edge = edge(BOUNDS);
    assert_eq!(passed(&mut edge, 0, "203.0.113.1:5060", 100, false), 10);
    edge.sent_to(0, flow("203.0.113.1:5060"));
    edge.sent_to(0, flow("203.0.113.2:5060"));
    assert_eq!(passed(&mut edge, 60 * SECOND_NS, "203.0.113.1:5070", 1000, false), 200);
    assert_eq!(passed(&mut edge, 60 * SECOND_NS, "203.0.113.2:5060", 1000, false), 200);
}

#[test]
fn a_stranger_may_become_known() {
    let mut edge = edge(BOUNDS);
    assert_eq!(passed(&mut edge, 0, "203.0.113.1:5060", 100, false), 10);
    assert_eq!(passed(&mut edge, SECOND_NS - 1, "203.0.113.1:5060", 100, true), 4, "it was asked lately");
    assert_eq!(passed(&mut edge, 61 * SECOND_NS, "203.0.113.1:5060", 1000, true), 200);
}
