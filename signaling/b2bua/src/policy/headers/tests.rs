use proptest::prelude::*;

use super::*;

fn rule(name: &str, change: HeaderChange) -> HeaderRule {
    HeaderRule { name: name.into(), methods: Vec::new(), requests: true, responses: true, change }
}

fn replace(name: &str, pattern: &str, with: &str) -> HeaderRule {
    let pattern = Pattern::new(pattern).unwrap();
    let with = Template::new(with, Some(&pattern)).unwrap();
    rule(name, HeaderChange::Replace(pattern, with))
}

fn remove(name: &str, pattern: Option<&str>) -> HeaderRule {
    rule(name, HeaderChange::Remove(pattern.map(|text| Pattern::new(text).unwrap())))
}

fn add(name: &str, value: &str) -> HeaderRule {
    rule(name, HeaderChange::Add(value.into()))
}

const INVITE: &str = "INVITE sip:b@x SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bKa\r\nCSeq: 1 INVITE\r\n\
    s: Hello\r\nX-Region: north\r\nX-Region: south\r\nUser-Agent: A\r\n  (folded)\r\nContent-Length: 4\r\n\r\nbody";

fn applied(rules: &[HeaderRule], text: &str) -> Option<String> {
    let mut index = Index::new();
    let message = index.parse(text.as_bytes()).unwrap();
    changed(rules, message).map(|bytes| String::from_utf8(bytes).unwrap())
}

#[test]
fn fields_are_added_removed_and_replaced_and_all_else_stays() {
    assert_eq!(applied(&[], INVITE), None);
    assert_eq!(applied(&[remove("X-None", None), replace("Subject", "none", "")], INVITE), None);
    let made = applied(&[add("X-New", "1")], INVITE).unwrap();
    assert_eq!(made, INVITE.replace("\r\n\r\nbody", "\r\nX-New: 1\r\n\r\nbody"));
    let made = applied(&[remove("x-region", None)], INVITE).unwrap();
    assert_eq!(made, INVITE.replace("X-Region: north\r\nX-Region: south\r\n", ""));
    let made = applied(&[remove("X-Region", Some("^n"))], INVITE).unwrap();
    assert_eq!(made, INVITE.replace("X-Region: north\r\n", ""));
    let made = applied(&[replace("Subject", "^(.)ello", "${1}i")], INVITE).unwrap();
    assert_eq!(made, INVITE.replace("s: Hello", "Subject: Hi"), "the compact form is meant too");
    let made = applied(&[replace("User-Agent", r"A \((.*)\)", "$1")], INVITE).unwrap();
    assert_eq!(made, INVITE.replace("User-Agent: A\r\n  (folded)", "User-Agent: folded"));
}

#[test]
fn rules_apply_in_their_order() {
    let made = applied(&[remove("X-Region", None), add("X-Region", "a1"), replace("X-Region", "a", "b")], INVITE);
    assert!(made.unwrap().contains("X-Region: b1\r\n"));
}

#[test]
fn a_rule_may_be_for_some_messages_only() {
    let answer = INVITE.replace("INVITE sip:b@x SIP/2.0", "SIP/2.0 200 OK");
    let only = |requests, responses, methods: &[&str]| HeaderRule {
        requests,
        responses,
        methods: methods.iter().map(|method| (*method).into()).collect(),
        ..add("X-New", "1")
    };
    for (rule, in_request, in_answer) in [
        (only(true, false, &[]), true, false),
        (only(false, true, &[]), false, true),
        (only(true, true, &["BYE"]), false, false),
        (only(true, true, &["BYE", "INVITE"]), true, true),
    ] {
        assert_eq!(applied(std::slice::from_ref(&rule), INVITE).is_some(), in_request);
        assert_eq!(applied(std::slice::from_ref(&rule), &answer).is_some(), in_answer);
    }
}

#[test]
fn a_message_that_would_have_too_many_fields_stays_as_it_is() {
    let many: Vec<HeaderRule> = (0..moorline_sip::MAX_HEADERS).map(|_| add("X-New", "1")).collect();
    assert_eq!(applied(&many, INVITE), None);
}

#[test]
fn fields_that_form_dialogs_are_protected() {
    for name in [
        "Via",
        "v",
        "from",
        "T",
        "Call-ID",
        "i",
        "CSEQ",
        "Contact",
        "Record-Route",
        "l",
        "RAck",
        "Session-Expires",
        "join",
    ] {
        assert!(is_protected(name), "{name}");
    }
    for name in ["X-Region", "User-Agent", "P-Asserted-Identity", "Subject", "Allow-Events", "History-Info"] {
        assert!(!is_protected(name), "{name}");
    }
}

proptest! {
    #[test]
    fn no_rule_brings_a_line_end_or_a_field_into_a_message(
        value in "[ -~\r\n\t]{0,60}",
        (pattern, with) in prop_oneof![
            Just(("(?s)(.*)", "$1")),
            Just(("(.)", "a$1${1}b")),
            Just(("^", "x")),
            Just(("(?s)(.+)(.)", "$2$1")),
        ],
    ) {
        // A value that came with whatever bytes the parser lets through.
        let text = format!("INVITE sip:b@x SIP/2.0\r\nCSeq: 1 INVITE\r\nX-In: {value}\r\nContent-Length: 0\r\n\r\n");
        let mut index = Index::new();
        let Ok(message) = index.parse(text.as_bytes()) else { return Ok(()) };
        let before = message.lines().count();
        if let Some(made) = changed(&[replace("X-In", pattern, with)], message) {
            let mut index = Index::new();
            let after = index.parse(&made).unwrap();
            prop_assert_eq!(after.lines().count(), before);
            prop_assert_eq!(after.body(), message.body());
            for line in after.lines().filter(|line| line.name_text == b"X-In") {
                prop_assert!(!line.value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            }
        }
    }
}
