//! Dialogs whose next hop is a host name (RFC 3263, RFC 3261 12.2.1.1).

use moorline_b2bua::Input;
use moorline_b2bua::locate::{Answer, Failure, RecordKind, Records, Srv};
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;

use crate::harness::*;

const MOVED: &str = "198.51.100.22:5080";

#[track_caller]
fn dns(net: &mut Net, kind: RecordKind, name: &str, answer: Result<Records, Failure>) {
    let found = net.questions.iter().position(|query| query.kind == kind && query.name == name);
    let Some(found) = found else { panic!("{kind:?} {name} was not asked, but {:?}", net.questions) };
    let number = net.questions.remove(found).number;
    let answer = answer.map(|records| Answer { records, ttl_s: 3600 });
    net.input(Input::Dns { number, answer });
}

fn addresses(list: &[&str]) -> Result<Records, Failure> {
    Ok(Records::Addresses(list.iter().map(|at| at.parse().unwrap()).collect()))
}

/// The callee answers a call, and says that it is to be reached by name.
fn answered_by_name(net: &mut Net) -> Message {
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", "pbx.Example:5080", &sdp("198.51.100.20", 6000)));
    out
}

#[test]
fn the_answer_waits_for_the_name_that_its_ack_goes_to() {
    let mut net = Net::new();
    let out = answered_by_name(&mut net);
    net.quiet();
    dns(&mut net, RecordKind::A, "pbx.example", addresses(&["198.51.100.22"]));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(MOVED, "ACK sip:pbx.Example:5080");
    // Its 200 may come again: so does the ACK.
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", "pbx.Example:5080", &sdp("198.51.100.20", 6000)));
    net.expect(MOVED, "ACK");
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(MOVED, "BYE");
    assert!(net.questions.is_empty());
    net.nothing_left();
}

#[test]
fn while_dns_is_silent_a_party_is_where_it_speaks_from() {
    let mut net = Net::new();
    answered_by_name(&mut net);
    net.advance(10 * SECOND);
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
}

#[test]
fn a_name_leads_nobody_to_our_own_host() {
    let mut net = Net::new();
    answered_by_name(&mut net);
    dns(&mut net, RecordKind::A, "pbx.example", addresses(&["127.0.0.1", "10.0.0.1"]));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
}

#[test]
fn a_proxy_that_records_its_route_by_name_is_found_by_srv() {
    let mut net = Net::new();
    let recorded = "Record-Route: <sip:edge.example;transport=udp;lr>\r\nFrom:";
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)).replace("From:", recorded));
    // Nobody waits: the caller has answers on the way that its INVITE came.
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let srv = Srv { priority: 1, weight: 0, port: 5090, target: "a.edge.example".into() };
    dns(&mut net, RecordKind::Srv, "_sip._udp.edge.example", Ok(Records::Srv(vec![srv])));
    dns(&mut net, RecordKind::A, "a.edge.example", addresses(&["192.0.2.7"]));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLEE, &callee_request("BYE", 1, &out, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    let bye = net.expect("192.0.2.7:5090", "BYE sip:2001@192.0.2.10:5060");
    assert_eq!(bye.header("Route"), "<sip:edge.example;transport=udp;lr>");
}

#[test]
fn when_a_hop_of_a_name_is_silent_the_next_request_goes_to_another() {
    let mut net = Net::new();
    answered_by_name(&mut net);
    dns(&mut net, RecordKind::A, "pbx.example", addresses(&["198.51.100.22", "198.51.100.23"]));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(MOVED, "ACK");
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &tag, &sdp("192.0.2.10", 4002)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(MOVED, "INVITE");
    net.advance(40 * SECOND);
    net.take_sent();
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &tag, ""));
    net.receive(CALLER, &caller_request("BYE", 3, "c1", &tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect("198.51.100.23:5080", "BYE");
}

#[test]
fn a_restored_call_looks_its_names_up_again() {
    let mut net = Net::new();
    answered_by_name(&mut net);
    dns(&mut net, RecordKind::A, "pbx.example", addresses(&["198.51.100.22"]));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.restart_signaling(policy());
    dns(&mut net, RecordKind::A, "pbx.example", addresses(&["198.51.100.22"]));
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(MOVED, "BYE");
}

#[test]
fn an_answer_that_is_not_acknowledged_waits_for_no_name() {
    // Over a stream its transaction is over at once (RFC 3261 17.1.2.2, timer K).
    let mut policy = policy();
    policy.trunks[1].targets = vec![format!("sip:{CALLEE};transport=tcp").parse().unwrap()];
    let ours = Flow::new(1, Transport::Tcp, CALLEE.parse().unwrap());
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    let ok = answer(&out, "200 OK", "bob", "198.51.100.20:5060;transport=tcp", &sdp("198.51.100.20", 6000));
    net.input(Input::Message { flow: ours, bytes: ok.as_bytes() });
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLER, &caller_request("INFO", 2, "c1", &tag, ""));
    let info = net.expect(CALLEE, "INFO");
    let ok = answer(&info, "200 OK", "", "pbx.example:5080;transport=tcp", "");
    net.input(Input::Message { flow: ours, bytes: ok.as_bytes() });
    net.expect(CALLER, "SIP/2.0 200");
}
