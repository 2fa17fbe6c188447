//! Header rules of trunks, in calls.

use moorline_b2bua::policy::{HeaderChange, HeaderRule, Pattern, Policy, Template};

use crate::harness::*;

fn rule(name: &str, change: HeaderChange) -> HeaderRule {
    HeaderRule { name: name.into(), methods: Vec::new(), requests: true, responses: true, change }
}

fn replace(name: &str, pattern: &str, with: &str) -> HeaderRule {
    let pattern = Pattern::new(pattern).unwrap();
    let with = Template::new(with, Some(&pattern)).unwrap();
    rule(name, HeaderChange::Replace(pattern, with))
}

fn with_rules(trunk: usize, received: Vec<HeaderRule>, sent: Vec<HeaderRule>) -> Policy {
    let mut policy = policy();
    policy.trunks.iter_mut().for_each(|trunk| trunk.trusted = true);
    policy.trunks[trunk].headers.received = received;
    policy.trunks[trunk].headers.sent = sent;
    policy
}

#[test]
fn what_a_carrier_gets_is_said_its_way() {
    let rules = vec![
        rule("X-Kept", HeaderChange::Remove(None)),
        replace("P-Asserted-Identity", r"^<sip:\+86(\d+)@", "<sip:0$1@"),
        HeaderRule { methods: vec!["INVITE".into()], ..rule("X-Region", HeaderChange::Add("north".into())) },
    ];
    let mut net = Net::with(with_rules(1, Vec::new(), rules));
    let text = with(
        &invite("5551000", "c1", &sdp("192.0.2.10", 4000)),
        "P-Asserted-Identity: <sip:+8621555@192.0.2.10>\r\nX-Region: south\r\n",
    );
    net.receive(CALLER, &text);
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert_eq!(sent.find("X-Kept"), None);
    assert_eq!(sent.header("P-Asserted-Identity"), "<sip:021555@192.0.2.10>");
    assert_eq!(sent.0.matches("X-Region: ").count(), 2);
    // It is the same when it is sent again.
    net.advance(SECOND / 2);
    assert_eq!(net.expect(CALLEE, "INVITE").0, sent.0);
    net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    net.receive(CALLER, &with(&caller_request("ACK", 1, "c1", ok.tag("To"), ""), "X-Kept: 1\r\n"));
    let ack = net.expect(CALLEE, "ACK");
    assert_eq!((ack.find("X-Kept"), ack.find("X-Region")), (None, None));
}

#[test]
fn what_a_customer_says_is_read_as_if_it_had_said_it_so() {
    let rules = vec![
        rule("Privacy", HeaderChange::Add("id".into())),
        rule("X-Kept", HeaderChange::Remove(Some(Pattern::new("as +it").unwrap()))),
    ];
    let mut policy = with_rules(0, rules, Vec::new());
    policy.trunks[1].trusted = false;
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert!(sent.header("From").starts_with("\"Anonymous\""), "{}", sent.0);
    assert_eq!(sent.find("X-Kept"), None);
}

#[test]
fn answers_have_rules_too_and_calls_go_on_as_ever() {
    let answers = HeaderRule { requests: false, ..rule("Server", HeaderChange::Remove(None)) };
    let mut net = Net::with(with_rules(1, vec![answers, replace("X-Cost", "^(.*)$", "cost $1")], Vec::new()));
    net.receive(CALLER, &invite("5551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    let ok = answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000));
    net.receive(CALLEE, &with(&ok, "Server: Switch 9\r\nX-Cost: 3\r\n"));
    let shown = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!((shown.find("Server"), shown.header("X-Cost")), (None, "cost 3"));
    net.receive(CALLER, &caller_request("ACK", 1, "c1", shown.tag("To"), ""));
    net.expect(CALLEE, "ACK");
    net.receive(CALLEE, &callee_request("BYE", 1, &sent, "bob", ""));
    net.expect(CALLEE, "SIP/2.0 200");
    let bye = net.expect(CALLER, "BYE");
    net.receive(CALLER, &answer(&bye, "200 OK", "", CALLER, ""));
    net.nothing_left();
}

#[test]
fn no_rule_can_be_made_to_smuggle_a_field_in() {
    let rules = vec![replace("X-In", "(?s)^(.*)$", "<$1>")];
    let mut net = Net::with(with_rules(1, Vec::new(), rules));
    let text = with(&invite("5551000", "c1", ""), "X-In: a\r\n Evil: 1\r\n\tRoute: <sip:192.0.2.66>\r\n");
    net.receive(CALLER, &text);
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    assert_eq!((sent.find("Evil"), sent.find("Route")), (None, None), "{}", sent.0);
    assert_eq!(sent.header("X-In"), "<a Evil: 1 Route: <sip:192.0.2.66>>");
}
