//! Numbers as each side writes them, and who callers are said to be.

use moorline_b2bua::policy::{
    Assertion, At, CallerIdentity, Change, Edit, NumberRule, NumberRules, Policy, Route, Routes, Way,
};

use crate::harness::*;

/// The first digits of a number, and what takes their place.
fn rule(prefix: &str, written: &str) -> NumberRules {
    let edit = Edit { at: At::Start(0), delete: prefix.len(), insert: written.into() };
    let change = Change::Edits(vec![edit]);
    NumberRules(vec![NumberRule { prefix: prefix.into(), length: 0..=usize::MAX, change }])
}

/// Customers dial 9 to get a line, and have short numbers; the carrier knows both with a country's code.
fn rewriting() -> Policy {
    let mut policy = policy();
    policy.trunks[0].numbers.called_in = rule("9", "");
    policy.trunks[0].numbers.caller_in = rule("2", "3002");
    policy.trunks[1].numbers.called_out = rule("555", "+1555");
    policy.trunks[1].numbers.caller_out = rule("3", "+13");
    policy
}

/// The INVITE that the carrier is sent, for one of Alice with more headers.
fn sent(net: &mut Net, called: &str, headers: &str) -> Message {
    let invite = invite(called, "c1", &sdp("192.0.2.10", 4000));
    net.receive(CALLER, &invite.replace("X-Kept:", &format!("{headers}X-Kept:")));
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE")
}

fn identified(caller: CallerIdentity) -> Net {
    let mut policy = policy();
    policy.trunks.iter_mut().for_each(|trunk| trunk.trusted = true);
    policy.trunks[1].caller = caller;
    Net::with(policy)
}

const ASSERTED: &str = "P-Asserted-Identity: \"A\" <sip:2001@pbx.example>;x=1, <tel:+49302001>\r\n";

#[test]
fn rules_of_both_trunks_are_applied_on_the_way() {
    let mut net = Net::with(rewriting());
    let out = sent(&mut net, "95551000", "");
    assert_eq!(out.start(), format!("INVITE sip:+15551000@{CALLEE} SIP/2.0"));
    assert_eq!(out.header("To"), format!("<sip:+15551000@{CALLEE}>"));
    assert!(out.header("From").starts_with(&format!("\"Alice\" <sip:+13002001@{OUTSIDE}>;tag=")));
    net.receive(CALLEE, &answer(&out, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
    let ok = net.expect(CALLER, "SIP/2.0 200");
    assert_eq!(ok.header("From"), "\"Alice\" <sip:2001@192.0.2.10>;tag=alice", "the caller hears its own words");
    assert!(ok.header("To").starts_with("<sip:95551000@192.0.2.1>;tag="));
    net.receive(CALLER, &caller_request("ACK", 1, "c1", ok.tag("To"), ""));
    let ack = net.expect(CALLEE, "ACK");
    assert_eq!(ack.header("From"), out.header("From"));
}

#[test]
fn who_is_sent_elsewhere_than_called_stays_in_to() {
    let mut net = Net::with(rewriting());
    let invite = invite("95551000", "c1", &sdp("192.0.2.10", 4000));
    net.receive(CALLER, &invite.replace("To: <sip:95551000@", "To: <sip:7777;npdi@"));
    net.expect(CALLER, "SIP/2.0 100");
    assert_eq!(net.expect(CALLEE, "INVITE").header("To"), format!("<sip:7777;npdi@{CALLEE}>"));
}

#[test]
fn telephone_uris_are_numbers_too() {
    let mut net = Net::with(rewriting());
    let text = invite("95551000", "c1", &sdp("192.0.2.10", 4000));
    let text = text.replace(&format!("sip:95551000@{INSIDE} "), "tel:9-555-1000;phone-context=x ");
    net.receive(CALLER, &text.replace("<sip:2001@192.0.2.10>", "<tel:2001;phone-context=pbx>"));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert_eq!(out.start(), format!("INVITE sip:+15551000@{CALLEE};user=phone SIP/2.0"));
    assert!(out.header("From").starts_with("\"Alice\" <tel:+13002001>;tag="), "{}", out.header("From"));
}

#[test]
fn long_numbers_pass() {
    let (caller, called) = ("12345678901234567890", "5551234567890123456789012345");
    let mut net = Net::new();
    let text =
        invite(called, "c1", &sdp("192.0.2.10", 4000)).replace("sip:2001@192.0.2.10>", &format!("sip:{caller}@a>"));
    net.receive(CALLER, &text);
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, &format!("INVITE sip:{called}@"));
    assert!(out.header("From").contains(&format!("<sip:{caller}@")));
}

#[test]
fn routes_go_by_what_the_callers_trunk_has_made_of_the_number() {
    let mut policy = rewriting();
    policy.routes = Routes::new([Route { prefix: "95".into(), to: Way::Trunk(1), ..Route::default() }]);
    let mut net = Net::with(policy);
    net.receive(CALLER, &invite("95551000", "c1", &sdp("192.0.2.10", 4000)));
    net.expect(CALLER, "SIP/2.0 404");
}

#[test]
fn requests_outside_calls_are_rewritten_too() {
    let mut net = Net::with(rewriting());
    let text = invite("95551000", "m1", "").replace("INVITE", "MESSAGE");
    net.receive(CALLER, &text);
    let out = net.expect(CALLEE, "MESSAGE");
    assert_eq!(out.start(), format!("MESSAGE sip:+15551000@{CALLEE} SIP/2.0"));
    assert_eq!(out.header("To"), format!("<sip:+15551000@{CALLEE}>"));
    assert!(out.header("From").contains("sip:+13002001@"));
}

#[test]
fn identity_headers_say_the_number_that_from_has() {
    let mut policy = rewriting();
    policy.trunks.iter_mut().for_each(|trunk| trunk.trusted = true);
    let mut net = Net::with(policy);
    let out = sent(&mut net, "95551000", ASSERTED);
    assert!(out.0.contains("P-Asserted-Identity: \"A\" <sip:+13002001@pbx.example>;x=1\r\n"), "{}", out.0);
    assert!(out.0.contains("P-Asserted-Identity: <tel:+49302001>\r\n"), "somebody else's stays");

    let mut net = identified(CallerIdentity::default());
    assert!(sent(&mut net, "5551000", ASSERTED).0.contains(ASSERTED), "what is not changed crosses as it is");
}

#[test]
fn who_has_diverted_a_call_is_named_as_a_caller_is() {
    let mut policy = rewriting();
    policy.trunks.iter_mut().for_each(|trunk| trunk.trusted = true);
    let mut net = Net::with(policy.clone());
    let diverted = "Diversion: \"B\" <sip:2002@pbx.example>;reason=no-answer;counter=1, <tel:+49302001>\r\n\
                    History-Info: <sip:2002@pbx.example?Reason=SIP%3Bcause%3D302>;index=1,\r\n <sip:desk@pbx.example>;index=1.1\r\n";
    let out = sent(&mut net, "95551000", diverted);
    for line in [
        "Diversion: \"B\" <sip:+13002002@pbx.example>;reason=no-answer;counter=1",
        "Diversion: <tel:+49302001>",
        "History-Info: <sip:+13002002@pbx.example?Reason=SIP%3Bcause%3D302>;index=1",
        "History-Info: <sip:desk@pbx.example>;index=1.1",
    ] {
        assert!(out.0.contains(&format!("\r\n{line}\r\n")), "{line} in\n{}", out.0);
    }
    assert!(!out.0.contains("sip:2002"), "{}", out.0);

    // Among those who do not trust each other nothing is told of it.
    policy.trunks[1].trusted = false;
    let out = sent(&mut Net::with(policy), "95551000", diverted);
    assert!(out.find("Diversion").is_none() && out.find("History-Info").is_none(), "{}", out.0);
}

#[test]
fn a_number_may_stand_for_all_callers_or_for_one() {
    let company = || CallerIdentity {
        number: Some(b"02155550100".to_vec()),
        mapped: [(b"2001".to_vec(), b"02155550101".to_vec())].into(),
        display: Some("Ex \"am\" ple".into()),
        ..CallerIdentity::default()
    };
    let mut net = identified(company());
    let out = sent(&mut net, "5551000", ASSERTED);
    let shown = format!("\"Ex \\\"am\\\" ple\" <sip:02155550101@{OUTSIDE}>;tag=");
    assert!(out.header("From").starts_with(&shown), "{}", out.header("From"));
    assert!(!out.0.contains("2001@") && !out.0.contains("+4930"), "nobody is named otherwise:\n{}", out.0);

    let mut net = identified(CallerIdentity { mapped: Default::default(), display: Some(String::new()), ..company() });
    let out = sent(&mut net, "5551000", "");
    assert!(out.header("From").starts_with(&format!("<sip:02155550100@{OUTSIDE}>;tag=")), "{}", out.header("From"));
}

#[test]
fn the_network_names_callers_where_the_trunk_wants_it() {
    let with = |assertion| identified(CallerIdentity { assertion, ..CallerIdentity::default() });
    let claims = format!("{ASSERTED}Remote-Party-ID: <tel:+3>\r\nP-Preferred-Identity: <tel:+2>\r\n");
    let out = sent(&mut with(Assertion::Off), "5551000", &claims);
    for name in ["P-Asserted-Identity", "P-Preferred-Identity", "Remote-Party-ID"] {
        assert_eq!(out.find(name), None, "{name}");
    }
    for (assertion, name) in
        [(Assertion::Asserted, "P-Asserted-Identity"), (Assertion::Preferred, "P-Preferred-Identity")]
    {
        let out = sent(&mut with(assertion), "5551000", &claims);
        assert_eq!(out.header(name), format!("<sip:2001@{OUTSIDE}>"));
        assert_eq!(out.0.matches("-Identity:").count(), 1, "{}", out.0);
        assert_eq!(out.find("Remote-Party-ID"), None);
    }
}

#[test]
fn a_withheld_caller_is_asserted_among_the_trusted_only() {
    let caller = CallerIdentity { assertion: Assertion::Asserted, ..CallerIdentity::default() };
    let out = sent(&mut identified(caller.clone()), "5551000", "Privacy: id\r\n");
    assert_eq!(out.header("P-Asserted-Identity"), format!("<sip:2001@{OUTSIDE}>"));
    assert_eq!(out.header("Privacy"), "id");
    let mut policy = policy();
    policy.trunks[1].caller = caller;
    let out = sent(&mut Net::with(policy), "5551000", "Privacy: id\r\n");
    assert_eq!(out.find("P-Asserted-Identity"), None);
    assert!(!out.0.contains("2001"), "{}", out.0);
}

#[test]
fn an_anonymous_caller_of_a_trusted_trunk_is_who_the_network_says() {
    let mut policy = rewriting();
    policy.trunks.iter_mut().for_each(|trunk| trunk.trusted = true);
    let mut net = Net::with(policy);
    let text = invite("95551000", "c1", &sdp("192.0.2.10", 4000));
    let text = text.replace("\"Alice\" <sip:2001@192.0.2.10>", "<sip:anonymous@anonymous.invalid>");
    net.receive(CALLER, &text.replace("X-Kept:", "P-Asserted-Identity: <sip:2001@pbx.example>\r\nX-Kept:"));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert_eq!(out.header("P-Asserted-Identity"), "<sip:+13002001@pbx.example>");
    assert!(out.header("From").contains("sip:anonymous@"), "From still names nobody");
}

#[test]
fn after_a_restart_callers_are_named_as_before() {
    let mut policy = policy();
    policy.trunks.iter_mut().for_each(|trunk| trunk.trusted = true);
    policy.trunks[1].caller.number = Some(b"100".to_vec());
    let mut net = Net::with(policy.clone());
    let up = establish(&mut net);
    assert!(up.invite.header("From").contains("sip:100@"));
    net.restart_signaling(policy);
    let again = caller_request("INVITE", 2, "c1", &up.tag, &sdp("192.0.2.10", 4002));
    net.receive(CALLER, &again.replace("Contact:", "P-Asserted-Identity: <sip:2001@pbx.example>\r\nContact:"));
    net.expect(CALLER, "SIP/2.0 100");
    let out = net.expect(CALLEE, "INVITE");
    assert!(out.header("From").contains("sip:100@"));
    assert_eq!(out.header("P-Asserted-Identity"), "<sip:100@pbx.example>");
}
