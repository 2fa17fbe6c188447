//! Where calls go: names, targets that are silent, refuse or cannot be reached.

use moorline_b2bua::Input;
use moorline_b2bua::locate::{Answer, Failure, RecordKind, Records, Srv};
use moorline_b2bua::policy::{Large, Policy};
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;

use crate::harness::*;

/// The carrier is reached by these targets.
fn to(targets: &[&str]) -> Policy {
    let mut policy = policy();
    policy.trunks[1].targets = targets.iter().map(|target| target.parse().unwrap()).collect();
    policy
}

/// As [`to`], and a target that says nothing is given up after four seconds.
fn impatient(targets: &[&str]) -> Policy {
    let mut policy = to(targets);
    policy.trunks[1].failover_ns = 4 * SECOND;
    policy
}

fn call(net: &mut Net) {
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
}

/// DNS answers the next question of this kind.
#[track_caller]
fn dns(net: &mut Net, kind: RecordKind, name: &str, answer: Result<Records, Failure>) {
    let found = net.questions.iter().position(|query| query.kind == kind && query.name == name);
    let Some(found) = found else { panic!("{kind:?} {name} was not asked, but {:?}", net.questions) };
    let number = net.questions.remove(found).number;
    let answer = answer.map(|records| Answer { records, ttl_s: 60 });
    net.input(Input::Dns { number, answer });
}

const NOTHING: Result<Records, Failure> = Err(Failure::NoRecords { ttl_s: 60 });

#[test]
fn a_name_is_looked_up_and_shown_to_the_callee() {
    let mut net = Net::with(to(&["carrier.example"]));
    call(&mut net);
    net.quiet();
    dns(&mut net, RecordKind::Naptr, "carrier.example", NOTHING);
    let srv = |target: &str, priority| Srv { priority, weight: 0, port: 6060, target: target.into() };
    let records = Records::Srv(vec![srv("b.carrier.example", 2), srv("a.carrier.example", 1)]);
    dns(&mut net, RecordKind::Srv, "_sip._udp.carrier.example", Ok(records));
    dns(&mut net, RecordKind::Srv, "_sip._tcp.carrier.example", NOTHING);
    dns(&mut net, RecordKind::Srv, "_sips._tcp.carrier.example", NOTHING);
    dns(&mut net, RecordKind::A, "a.carrier.example", Ok(Records::Addresses(vec!["198.51.100.21".parse().unwrap()])));
    dns(&mut net, RecordKind::A, "b.carrier.example", Ok(Records::Addresses(vec!["198.51.100.22".parse().unwrap()])));
    assert!(net.questions.is_empty(), "{:?}", net.questions);
    let sent = net.expect("198.51.100.21:6060", "INVITE sip:5551000@carrier.example SIP/2.0");
    assert_eq!(sent.header("To"), "<sip:5551000@carrier.example>");
    net.receive("198.51.100.21:6060", &answer(&sent, "503 Service Unavailable", "a", CALLEE, ""));
    net.expect("198.51.100.21:6060", "ACK");
    net.expect("198.51.100.22:6060", "INVITE sip:5551000@carrier.example SIP/2.0");
    assert!(net.questions.is_empty());
}

#[test]
fn over_tls_the_name_that_led_there_must_be_shown() {
    let mut net = Net::with(to(&["sips:carrier.example"]));
    call(&mut net);
    let srv = Srv { priority: 1, weight: 0, port: 5061, target: "a.provider.example".into() };
    dns(&mut net, RecordKind::Srv, "_sips._tcp.carrier.example", Ok(Records::Srv(vec![srv])));
    let address = Records::Addresses(vec!["198.51.100.21".parse().unwrap()]);
    dns(&mut net, RecordKind::A, "a.provider.example", Ok(address));
    net.expect("198.51.100.21:5061", "INVITE");
    let named = ("198.51.100.21:5061".parse().unwrap(), "carrier.example".to_owned());
    assert!(!net.names.is_empty() && net.names.iter().all(|told| *told == named), "{:?}", net.names);
}

/// TLS to the carrier by its name, which is asked for signs of life: the first thing that is sent there.
fn watched_over_tls(net: &mut Net) -> Flow {
    net.advance(SECOND / 10);
    let srv = Srv { priority: 1, weight: 0, port: 5061, target: "a.provider.example".into() };
    dns(net, RecordKind::Srv, "_sips._tcp.carrier.example", Ok(Records::Srv(vec![srv])));
    assert!(net.names.is_empty());
    let address = Records::Addresses(vec!["198.51.100.21".parse().unwrap()]);
    dns(net, RecordKind::A, "a.provider.example", Ok(address));
    net.expect("198.51.100.21:5061", "OPTIONS sips:carrier.example");
    Flow::new(1, Transport::Tls, "198.51.100.21:5061".parse().unwrap())
}

fn watching() -> Policy {
    let mut policy = to(&["sips:carrier.example"]);
    policy.trunks[1].probe_ns = 30 * SECOND;
    policy
}

#[test]
fn the_name_is_known_before_the_first_call() {
    let mut net = Net::with(watching());
    let flow = watched_over_tls(&mut net);
    let named = (flow.remote, "carrier.example".to_owned());
    assert!(net.names.contains(&named), "{:?}", net.names);
}

#[test]
fn a_contact_does_not_change_the_name_of_a_trunk() {
    let mut net = Net::with(watching());
    let flow = watched_over_tls(&mut net);
    call(&mut net);
    let out = net.expect("198.51.100.21:5061", "INVITE");
    let ok = answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    let ok = ok.replace(&format!("<sip:{CALLEE}>"), "<sips:edge.example:5061;transport=tcp>");
    net.input(Input::Message { flow, bytes: ok.as_bytes() });
    let address = Records::Addresses(vec!["198.51.100.21".parse().unwrap()]);
    dns(&mut net, RecordKind::A, "edge.example", Ok(address));
    net.expect(CALLER, "SIP/2.0 200");
    assert!(net.names.iter().all(|(_, name)| name == "carrier.example"), "{:?}", net.names);
}

#[test]
fn a_name_that_does_not_exist_is_502_and_dns_that_is_silent_503() {
    let mut net = Net::with(to(&["carrier.example:5060"]));
    call(&mut net);
    dns(&mut net, RecordKind::A, "carrier.example", NOTHING);
    assert!(net.expect(CALLER, "SIP/2.0 502").start().contains("no address"));
    net.nothing_left_but_names();

    let mut net = Net::with(to(&["carrier.example:5060"]));
    call(&mut net);
    net.advance(10 * SECOND);
    let refused = net.expect(CALLER, "SIP/2.0 503");
    assert_eq!(refused.header("Retry-After"), "5");
    net.nothing_left_but_names();
}

#[test]
fn a_caller_may_hang_up_while_a_name_is_looked_up() {
    let mut net = Net::with(to(&["carrier.example:5060"]));
    call(&mut net);
    let cancel = invite("5551000", "c1", "").replace("INVITE", "CANCEL");
    net.receive(CALLER, &cancel);
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    dns(&mut net, RecordKind::A, "carrier.example", Ok(Records::Addresses(vec!["198.51.100.21".parse().unwrap()])));
    net.quiet();
    net.nothing_left_but_names();
}

#[test]
fn behind_an_outbound_proxy_messages_name_the_domain() {
    let mut policy = to(&[CALLEE]);
    policy.trunks[1].domain = Some("gd.ctcims.cn".into());
    let mut net = Net::with(policy);
    call(&mut net);
    let sent = net.expect(CALLEE, "INVITE sip:5551000@gd.ctcims.cn SIP/2.0");
    assert_eq!(sent.header("To"), "<sip:5551000@gd.ctcims.cn>");
    assert!(sent.header("From").starts_with("\"Alice\" <sip:2001@gd.ctcims.cn>;tag="));
}

#[test]
fn a_target_that_asked_for_peace_is_asked_last() {
    let mut net = Net::with(to(&[CALLEE, CALLEE_2]));
    call(&mut net);
    let sent = net.expect(CALLEE, "INVITE");
    let busy =
        answer(&sent, "503 Service Unavailable", "a", CALLEE, "").replace("Contact:", "Retry-After: 60\r\nContact:");
    net.receive(CALLEE, &busy);
    net.expect(CALLEE, "ACK");
    let sent = net.expect(CALLEE_2, "INVITE");
    net.receive(CALLEE_2, &answer(&sent, "486 Busy Here", "b", CALLEE_2, ""));
    net.expect(CALLEE_2, "ACK");
    net.expect(CALLER, "SIP/2.0 486");
    net.advance(30 * SECOND);
    net.take_sent();
    net.receive(CALLER, &invite("5551000", "c2", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE_2, "INVITE");
    net.quiet();
    net.advance(31 * SECOND);
    net.take_sent();
    net.receive(CALLER, &invite("5551000", "c3", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
}

#[test]
fn a_silent_target_is_given_up_soon_and_hung_up_on_if_it_answers_after_all() {
    let mut net = Net::with(impatient(&[CALLEE, CALLEE_2]));
    call(&mut net);
    let first = net.expect(CALLEE, "INVITE");
    net.advance(4 * SECOND);
    let second = net.expect(CALLEE_2, "INVITE");
    net.receive(CALLEE_2, &answer(&second, "200 OK", "bob", CALLEE_2, &sdp("198.51.100.21", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE_2, "ACK");
    net.take_sent();
    net.receive(CALLEE, &answer(&first, "200 OK", "late", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLEE, "ACK");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "late", CALLEE, ""));
    net.quiet();
    let (_, spec) = net.session();
    assert_eq!(spec.legs[1].streams[0].remote_rtp, Some("198.51.100.21:6000".parse().unwrap()));
}

#[test]
fn a_silent_target_that_wakes_up_is_cancelled() {
    let mut net = Net::with(impatient(&[CALLEE, CALLEE_2]));
    call(&mut net);
    let first = net.expect(CALLEE, "INVITE");
    net.advance(4 * SECOND);
    let second = net.expect(CALLEE_2, "INVITE");
    net.take_sent();
    net.receive(CALLEE, &answer(&first, "180 Ringing", "late", CALLEE, ""));
    net.expect(CALLEE, "CANCEL");
    net.receive(CALLEE, &answer(&first, "487 Request Terminated", "late", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLEE_2, &answer(&second, "486 Busy Here", "b", CALLEE_2, ""));
    net.expect(CALLEE_2, "ACK");
    // The 487 only says that we cancelled.
    net.expect(CALLER, "SIP/2.0 486");
    net.nothing_left();
}

#[test]
fn one_that_says_it_is_trying_is_not_given_up() {
    let mut net = Net::with(impatient(&[CALLEE, CALLEE_2]));
    call(&mut net);
    let first = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&first, "100 Trying", "", CALLEE, ""));
    net.advance(20 * SECOND);
    net.quiet();
}

#[test]
fn when_all_are_silent_the_caller_hears_408() {
    let mut net = Net::with(impatient(&[CALLEE, CALLEE_2]));
    call(&mut net);
    net.advance(40 * SECOND);
    let refused = net.take_sent().into_iter().filter(|(to, message)| to == CALLER && !message.start().contains("100"));
    let starts: Vec<String> = refused.map(|(_, message)| message.start().to_owned()).collect();
    assert!(starts.first().is_some_and(|start| start.starts_with("SIP/2.0 408")), "{starts:?}");
    net.nothing_left();
}

#[test]
fn a_target_that_cannot_be_connected_to_is_left_at_once() {
    let mut policy = to(&[&format!("sip:{CALLEE};transport=tcp"), CALLEE_2]);
    policy.listeners[1].transports = vec![Transport::Udp, Transport::Tcp];
    let mut net = Net::with(policy);
    call(&mut net);
    let sent = net.expect(CALLEE, "INVITE");
    assert!(sent.header("Via").starts_with("SIP/2.0/TCP "));
    assert!(sent.header("Contact").contains(";transport=tcp"));
    let flow = Flow::new(1, Transport::Tcp, CALLEE.parse().unwrap());
    net.input(Input::Broken { flow });
    let sent = net.expect(CALLEE_2, "INVITE");
    assert!(sent.header("Via").starts_with("SIP/2.0/UDP "));
}

#[test]
fn requests_outside_dialogs_wait_for_dns_too() {
    let mut net = Net::with(to(&["carrier.example:5060"]));
    let message =
        invite("5551000", "m1", "hello").replace("INVITE", "MESSAGE").replace("application/sdp", "text/plain");
    net.receive(CALLER, &message);
    net.quiet();
    dns(&mut net, RecordKind::A, "carrier.example", Ok(Records::Addresses(vec!["198.51.100.20".parse().unwrap()])));
    let sent = net.expect("198.51.100.20:5060", "MESSAGE sip:5551000@carrier.example SIP/2.0");
    net.receive("198.51.100.20:5060", &answer(&sent, "200 OK", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.nothing_left_but_names();
}

#[test]
fn requests_from_where_a_name_leads_to_are_its_trunks() {
    let mut policy = to(&["carrier.example:5060"]);
    policy.trunks[1].sources.clear();
    let mut net = Net::with(policy);
    let options = |branch: &str| {
        format!(
            "OPTIONS sip:{OUTSIDE} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLEE};branch=z9hG4bK-{branch}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:carrier.example>;tag=x\r\nTo: <sip:{OUTSIDE}>\r\n\
             Call-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        )
    };
    net.receive(CALLEE, &options("1"));
    net.quiet();
    assert_eq!(net.counters().unknown_source, 1, "DNS has not answered yet");
    let lead_to = |net: &mut Net, address: &str| {
        let records = Records::Addresses(vec![address.parse().unwrap()]);
        dns(net, RecordKind::A, "carrier.example", Ok(records));
    };
    lead_to(&mut net, "198.51.100.20");
    net.receive(CALLEE, &options("2"));
    net.expect(CALLEE, "SIP/2.0 200");
    net.receive("198.51.100.20:40000", &options("3"));
    net.expect(CALLEE, "SIP/2.0 200");
    net.receive(CALLEE_2, &options("4"));
    net.quiet();
    assert_eq!(net.counters().unknown_source, 2);
    // Its records live for 60 seconds; then it is elsewhere.
    net.advance(61 * SECOND);
    lead_to(&mut net, "198.51.100.21");
    net.receive(CALLEE_2, &options("5"));
    net.expect(CALLEE_2, "SIP/2.0 200");
    net.receive(CALLEE, &options("6"));
    net.quiet();
    assert_eq!(net.counters().unknown_source, 3);
    // DNS is silent: what was known stands.
    net.advance(100 * SECOND);
    net.receive(CALLEE_2, &options("7"));
    net.expect(CALLEE_2, "SIP/2.0 200");
}

/// A call whose INVITE is too long for UDP.
fn long_call(net: &mut Net) -> Message {
    let long = format!("{}a=x-long:{}\r\n", sdp("192.0.2.10", 4000), "x".repeat(1500));
    net.receive(CALLER, &invite("5551000", "c1", &long));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE")
}

/// The stream that long requests to the callee go over.
fn stream() -> Flow {
    Flow::new(1, Transport::Tcp, CALLEE.parse().unwrap())
}

#[test]
fn a_request_too_long_for_udp_goes_over_tcp() {
    let mut net = Net::new();
    let sent = long_call(&mut net);
    assert!(sent.header("Via").starts_with("SIP/2.0/TCP 198.51.100.1:5060;branch="), "{}", sent.0);
    net.advance(10 * SECOND);
    net.quiet();
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    let ack = net.expect(CALLEE, "ACK");
    assert!(ack.header("Via").starts_with("SIP/2.0/UDP "), "it is short");
    // In the dialog too; and refused there, back over UDP.
    let long = format!("{}a=x-long:{}\r\n", sdp("192.0.2.10", 4002), "x".repeat(1500));
    net.receive(CALLER, &caller_request("INVITE", 2, "c1", &tag, &long));
    net.expect(CALLER, "SIP/2.0 100");
    let over_tcp = net.expect(CALLEE, "INVITE");
    assert!(over_tcp.header("Via").starts_with("SIP/2.0/TCP "));
    net.input(Input::Broken { flow: stream() });
    let over_udp = net.expect(CALLEE, "INVITE");
    assert_eq!(over_udp.0, over_tcp.0.replace("SIP/2.0/TCP", "SIP/2.0/UDP"));
    net.receive(CALLEE, &answer(&over_udp, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &caller_request("ACK", 2, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLER, &caller_request("BYE", 3, "c1", &tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    let bye = net.expect(CALLEE, "BYE");
    net.receive(CALLEE, &answer(&bye, "200 OK", "bob", CALLEE, ""));
    net.nothing_left();
}

#[test]
fn where_tcp_is_refused_a_long_request_goes_over_udp_after_all() {
    let mut net = Net::new();
    let over_tcp = long_call(&mut net);
    net.input(Input::Broken { flow: stream() });
    let over_udp = net.expect(CALLEE, "INVITE");
    assert_eq!(over_udp.0, over_tcp.0.replace("SIP/2.0/TCP", "SIP/2.0/UDP"));
    net.receive(CALLEE, &answer(&over_udp, "180 Ringing", "bob", CALLEE, ""));
    net.expect(CALLER, "SIP/2.0 180");
    net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLER, "SIP/2.0 487");
    let cancel = net.expect(CALLEE, "CANCEL");
    assert_eq!(cancel.branch(), over_udp.branch());
    assert!(cancel.header("Via").starts_with("SIP/2.0/UDP "));
    net.receive(CALLEE, &answer(&over_udp, "487 Request Terminated", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    // It has not been forgotten that there is no TCP.
    net.receive(CALLER, &invite("5551000", "c2", &format!("{}{}", sdp("192.0.2.10", 4000), "a=x\r\n".repeat(300))));
    net.expect(CALLER, "SIP/2.0 100");
    assert!(net.expect(CALLEE, "INVITE").header("Via").starts_with("SIP/2.0/UDP "));
}

#[test]
fn where_tcp_is_dropped_a_long_request_goes_over_udp_before_the_next_target_is_tried() {
    let mut net = Net::with(impatient(&[CALLEE, CALLEE_2]));
    long_call(&mut net);
    net.advance(4 * SECOND);
    let sent = net.expect(CALLEE, "INVITE");
    assert!(sent.header("Via").starts_with("SIP/2.0/UDP "));
    net.quiet();
    net.receive(CALLEE, &answer(&sent, "486 Busy Here", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.expect(CALLER, "SIP/2.0 486");
    net.nothing_left();
}

#[test]
fn a_trunk_may_want_long_requests_over_udp() {
    let mut policy = policy();
    policy.trunks[1].large = Large::Udp;
    let mut net = Net::with(policy);
    assert!(long_call(&mut net).header("Via").starts_with("SIP/2.0/UDP "));
    let mut policy = crate::harness::policy();
    policy.listeners[1].transports = vec![Transport::Udp];
    let mut net = Net::with(policy);
    assert!(long_call(&mut net).header("Via").starts_with("SIP/2.0/UDP "), "there is no TCP");
}

#[test]
fn a_contact_is_spoken_to_over_the_transport_it_names() {
    for (listener, spoken) in [(&Transport::ALL[..], "TCP"), (&[Transport::Udp][..], "UDP")] {
        let mut policy = policy();
        policy.listeners[1].transports = listener.to_vec();
        let mut net = Net::with(policy);
        call(&mut net);
        let sent = net.expect(CALLEE, "INVITE");
        let contact = "198.51.100.20:5062;transport=tcp";
        net.receive(CALLEE, &answer(&sent, "200 OK", "bob", contact, &sdp("198.51.100.20", 6000)));
        let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
        net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
        let ack = net.expect("198.51.100.20:5062", "ACK");
        assert!(ack.header("Via").starts_with(&format!("SIP/2.0/{spoken} ")), "{}", ack.0);
        net.receive(CALLER, &caller_request("BYE", 2, "c1", &tag, ""));
        net.expect(CALLER, "SIP/2.0 200");
        let bye = net.expect("198.51.100.20:5062", "BYE");
        assert!(bye.header("Via").starts_with(&format!("SIP/2.0/{spoken} ")), "{}", bye.0);
    }
}

#[test]
fn a_sips_call_goes_over_tls_or_not_at_all() {
    let sips = |called: &str| invite(called, "c1", &sdp("192.0.2.10", 4000)).replacen("INVITE sip:", "INVITE sips:", 1);
    let mut plain = policy();
    plain.listeners[1].transports = vec![Transport::Udp, Transport::Tcp];
    let mut net = Net::with(plain);
    net.receive(CALLER, &sips("5551000"));
    net.expect(CALLER, "SIP/2.0 416");
    net.quiet();
    let mut net = Net::with(to(&["198.51.100.20"]));
    net.receive(CALLER, &sips("5551000"));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect("198.51.100.20:5061", "INVITE");
    assert!(sent.header("Via").starts_with("SIP/2.0/TLS "));
}

/// Where the INVITEs of so many calls go.
fn first_tried(policy: Policy, calls: usize) -> Vec<String> {
    let mut net = Net::with(policy);
    let mut tried = Vec::new();
    for call in 0..calls {
        net.receive(CALLER, &invite("5551000", &format!("c{call}"), &sdp("192.0.2.10", 4000)));
        let sent = net.take_sent();
        let invites = sent.into_iter().filter(|(_, message)| message.start().starts_with("INVITE "));
        let invites: Vec<String> = invites.map(|(to, _)| to).collect();
        assert_eq!(invites.len(), 1, "{invites:?}");
        tried.extend(invites);
    }
    tried
}

#[test]
fn calls_are_spread_over_targets_where_that_is_wanted() {
    let targets = ["198.51.100.21:5060", "198.51.100.22:5060", "198.51.100.23:5060", "198.51.100.24:5060"];
    assert_eq!(first_tried(to(&targets), 8), vec![targets[0]; 8]);

    let mut spread = to(&targets);
    spread.trunks[1].spread = true;
    let tried = first_tried(spread.clone(), 60);
    for target in targets {
        let share = tried.iter().filter(|to| *to == target).count();
        assert!((5..=30).contains(&share), "{share} of 60 at {target}");
    }

    // The others are for failover, each once.
    let mut net = Net::with(spread);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    let mut seen = Vec::new();
    loop {
        let invited = net.take_sent().into_iter().find(|(_, message)| message.start().starts_with("INVITE "));
        let Some((to, sent)) = invited else { break };
        net.receive(&to, &answer(&sent, "503 Service Unavailable", "a", CALLEE, ""));
        seen.push(to);
    }
    seen.sort();
    assert_eq!(seen, targets);
}
