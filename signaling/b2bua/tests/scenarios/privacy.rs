//! Who is told who calls, and calls that come back.

use crate::harness::*;

/// An INVITE of Alice with more headers.
fn invite_with(headers: &str) -> String {
    let plain = invite("5551000", "c1", &sdp("192.0.2.10", 4000));
    plain.replace("X-Kept:", &format!("{headers}X-Kept:"))
}

const IDENTITY: &str = "P-Asserted-Identity: <sip:+4930123@192.0.2.10>\r\nUser-Agent: Alice's telephone\r\n";

fn trusted() -> moorline_b2bua::policy::Policy {
    let mut policy = policy();
    policy.trunks.iter_mut().for_each(|trunk| trunk.trusted = true);
    policy
}

#[test]
fn a_caller_who_asks_for_it_is_withheld_from_those_who_are_not_trusted() {
    let mut net = Net::new();
    net.receive(CALLER, &invite_with(&format!("{IDENTITY}Privacy: id;user\r\n")));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert!(sent.header("From").starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="));
    assert_eq!(sent.header("Privacy"), "id", "who carries it further keeps it so");
    for telling in ["Alice", "2001", "+4930123", "192.0.2.10"] {
        assert!(!sent.0.contains(telling), "{telling} shows in\n{}", sent.0);
    }
    assert!(sent.0.contains("X-Kept:   as  it\tis "), "what tells nothing crosses");
}

#[test]
fn later_requests_of_a_withheld_caller_do_not_name_it_either() {
    let mut net = Net::new();
    net.receive(CALLER, &invite_with("Privacy: id\r\n"));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let tag = net.expect(CALLER, "SIP/2.0 200").tag("To").to_owned();
    net.receive(CALLER, &caller_request("ACK", 1, "c1", &tag, ""));
    net.expect(CALLEE, "ACK");
    let info = caller_request("INFO", 2, "c1", &tag, "").replace("Contact:", "Subject: Alice here\r\nContact:");
    net.receive(CALLER, &info);
    let info = net.expect(CALLEE, "INFO");
    assert!(info.header("From").contains("anonymous.invalid"));
    assert!(!info.0.contains("Alice"), "{}", info.0);
}

#[test]
fn those_who_are_trusted_learn_who_it_is_and_that_they_must_not_tell() {
    let mut net = Net::with(trusted());
    net.receive(CALLER, &invite_with(&format!("{IDENTITY}Privacy: id\r\n")));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert_eq!(sent.header("P-Asserted-Identity"), "<sip:+4930123@192.0.2.10>");
    assert_eq!(sent.header("Privacy"), "id");
    assert!(sent.header("From").contains("sip:2001@"));
}

#[test]
fn identity_does_not_cross_to_a_trunk_that_is_not_trusted() {
    let mut net = Net::new();
    let claims = "P-Asserted-Identity: <tel:+1>\r\nP-Preferred-Identity: <tel:+2>\r\nRemote-Party-ID: <tel:+3>\r\n\
                  Diversion: <tel:+4>\r\nHistory-Info: <sip:x@y>;index=1\r\nP-Charging-Vector: icid-value=1\r\n";
    net.receive(CALLER, &invite_with(claims));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    for name in claims.lines().filter_map(|line| line.split(':').next()) {
        assert!(!sent.0.contains(name), "{name} crossed");
    }
    assert!(sent.header("From").contains("\"Alice\" <sip:2001@"), "who does not ask is named");
}

#[test]
fn a_trunk_may_be_told_of_no_caller_at_all() {
    let mut policy = trusted();
    policy.trunks[1].withhold_caller = true;
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite_with(IDENTITY));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert!(sent.header("From").contains("anonymous.invalid"));
    assert_eq!(sent.header("Privacy"), "id");
    assert!(!sent.0.contains("User-Agent"));
}

#[test]
fn a_call_that_comes_back_unchanged_is_a_loop_and_one_for_somebody_else_a_detour() {
    let mut net = Net::new();
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    let via = format!("Via: {}\r\nMax-Forwards:", sent.header("Via"));
    let back = |called: &str, call_id: &str| {
        let text = invite(called, call_id, &sdp("192.0.2.10", 4000));
        text.replacen("Max-Forwards:", &via, 1)
    };
    net.receive(CALLER, &back("5551000", "c2"));
    net.expect(CALLER, "SIP/2.0 482");
    net.quiet();
    net.receive(CALLER, &back("5552000", "c3"));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE sip:5552000@");
}
