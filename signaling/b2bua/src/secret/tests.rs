use moorline_sip::Index;
use proptest::prelude::*;

use super::*;
use crate::policy::SecretPrefixes;

const SECRET: &str = "88991";

fn trunk(received: Option<&str>, sent: Option<&str>) -> Trunk {
    let prefix = |text: Option<&str>| text.map(|text| SecretPrefix::new(text).unwrap());
    let secret_prefix = SecretPrefixes { received: prefix(received), sent: prefix(sent), ..Default::default() };
    Trunk { name: "carrier".into(), secret_prefix, ..Trunk::default() }
}

fn conceal(text: &str, trunk: Option<&Trunk>) -> Concealed {
    let mut index = Index::new();
    concealed(index.parse(text.as_bytes()).unwrap(), trunk)
}

#[track_caller]
fn rewritten(text: &str, trunk: &Trunk) -> String {
    match conceal(text, Some(trunk)) {
        Concealed::Rewritten(bytes) => String::from_utf8(bytes).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn invite(called: &str, lines: &str, body: &str) -> String {
    format!(
        "INVITE sip:{called}@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKa\r\n\
         From: <sip:889917000@192.0.2.9>;tag=a\r\nTo: <sip:{called}@192.0.2.1>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
         {lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn what_a_trunk_must_show_is_taken_off_wherever_it_stands() {
    let trunk = trunk(Some(SECRET), None);
    let lines = "Diversion: \"+889915551000\" <sip:889915552000@x>\r\nHistory-Info: <sip:889915551000@x>;index=1\r\n\
        t: \"889915551000\" <tel:889915551000>\r\nX-Dialled: 889915551000\r\nReferred-By: <sip:889915551000@x>\r\n\
        Proxy-Authorization: Digest uri=\"sip:889915551000@192.0.2.1\"\r\nX-Other: 7889915551000\r\n";
    let text = rewritten(&invite("889915551000", lines, "you called 889915551000"), &trunk);
    let expected = invite("5551000", &lines.replace("889915551000", "5551000").replace("889915552000", "5552000"), "");
    let expected = expected.replace("X-Other: 75551000", "X-Other: 7889915551000");
    let expected = expected.replace("Content-Length: 0\r\n\r\n", "Content-Length: 18\r\n\r\nyou called 5551000");
    assert_eq!(text, expected, "the caller's own number stays, though it begins with the same digits");
}

#[test]
fn an_escaped_prefix_is_the_same_prefix() {
    let text = rewritten(&invite("8%389915551000", "", ""), &trunk(Some(SECRET), None));
    assert!(text.starts_with("INVITE sip:5551000@") && text.contains("To: <sip:5551000@"), "{text}");
}

#[test]
fn a_call_without_the_prefix_is_lacking_it() {
    let trunk = trunk(Some(SECRET), None);
    for called in ["5551000", "88995551000", "", SECRET, "%388991"] {
        let text = invite(called, "", "");
        assert_eq!(conceal(&text, Some(&trunk)), Concealed::Lacking(WithoutPrefix::Forbid), "{called}");
    }
    let message = invite("5551000", "", "").replace("INVITE", "MESSAGE");
    assert_eq!(conceal(&message, Some(&trunk)), Concealed::Lacking(WithoutPrefix::Forbid));
    // What calls nobody needs none.
    for method in ["REGISTER", "ACK", "CANCEL"] {
        let text = invite("5551000", "", "").replace("INVITE", method);
        assert_eq!(conceal(&text, Some(&trunk)), Concealed::AsItCame);
    }
    let ping = invite("5551000", "", "").replace("INVITE sip:5551000@", "OPTIONS sip:").replace("INVITE", "OPTIONS");
    assert_eq!(conceal(&ping, Some(&trunk)), Concealed::AsItCame);
    let inside = invite("", "", "").replace("sip:@", "sip:").replace("To: <sip:192.0.2.1>", "To: <sip:5@x>;tag=b");
    assert_eq!(conceal(&inside, Some(&trunk)), Concealed::AsItCame);
}

fn answer(lines: &str) -> String {
    format!(
        "SIP/2.0 183 Calling 889915551000\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKa\r\n\
         From: <sip:889917000@192.0.2.1>;tag=a\r\nTo: <sip:889915551000@192.0.2.9>;tag=b\r\nCall-ID: c\r\n\
         CSeq: 1 INVITE\r\n{lines}Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn what_a_trunk_says_of_a_number_that_we_sent_it_holds_a_mark_that_comes_back_as_the_secret() {
    let trunk = trunk(None, Some(SECRET));
    let lines = "Contact: <sip:889915551000@192.0.2.9>\r\nRecord-Route: <sip:889915551000@192.0.2.8;lr>\r\n\
        P-Asserted-Identity: <sip:889915551000@x>, <sip:889917000@x>\r\n\
        Warning: 399 x \"prefix 88991 of 889915551000 is barred\"\r\n";
    let text = rewritten(&answer(lines), &trunk);
    assert!(!text.replace("sip:889917000@x", "").contains(SECRET), "{text}");
    let mark = mark(&trunk);
    assert!(text.starts_with("SIP/2.0 183 Calling 5551000\r\n"), "{text}");
    for header in ["To", "Contact", "Record-Route"] {
        assert!(text.contains(&format!("{header}: <sip:{mark}5551000@")), "{header} in {text}");
    }
    assert!(text.contains("P-Asserted-Identity: <sip:5551000@x>, <sip:889917000@x>\r\n"), "{text}");
    assert!(text.contains("\"prefix  of 5551000 is barred\""), "{text}");
    let back = revealed(text.as_bytes(), Some(0), std::slice::from_ref(&trunk)).unwrap();
    let back = String::from_utf8(back).unwrap();
    for header in ["To", "Contact", "Record-Route"] {
        assert!(back.contains(&format!("{header}: <sip:889915551000@")), "{header} in {back}");
    }
    assert!(back.contains("From: <sip:889917000@192.0.2.1>;tag=a\r\n"), "{back}");
}

#[test]
fn a_call_from_a_trunk_that_we_show_a_secret_is_as_it_came() {
    let trunk = trunk(None, Some(SECRET));
    assert_eq!(conceal(&invite("5551000", "Contact: <sip:889917000@x>\r\n", ""), Some(&trunk)), Concealed::AsItCame);
}

#[test]
fn marks_of_others_are_worth_nothing() {
    let carrier = trunk(None, Some(SECRET));
    let other = Trunk { name: "other".into(), ..trunk(None, Some("44444")) };
    let trunks = [carrier, other];
    let marks = [mark(&trunks[0]), mark(&trunks[1])];
    let sent = format!("X: {}1 {}2\r\n\r\n{}", marks[0], marks[1], marks[0]);
    let to = |to| String::from_utf8(revealed(sent.as_bytes(), to, &trunks).unwrap()).unwrap();
    assert_eq!(to(Some(0)), format!("X: 889911 2\r\n\r\n{}", marks[0]));
    assert_eq!(to(Some(1)), format!("X: 1 444442\r\n\r\n{}", marks[0]));
    // What comes in has none, from whomever: not even one that is put together of two.
    let halves = format!("({}~{:08x}~)", marks[1], 7);
    let stranger = invite("5551000", &format!("X: {}1{halves}\r\n", marks[0]), "");
    for trunk in [None, Some(&trunks[0]), Some(&Trunk::default())] {
        let Concealed::Rewritten(bytes) = conceal(&stranger, trunk) else { panic!("it had marks") };
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.contains("X: 1\r\n"), "{text}");
    }
}

#[test]
fn a_called_number_is_marked_once() {
    let mark = "(~00000000~)";
    for (text, expected) in [
        ("sip:5551000@h;x=1", "sip:(~00000000~)5551000@h;x=1"),
        ("\"B\" <sips:5551000@h>;y", "\"B\" <sips:(~00000000~)5551000@h>;y"),
        ("tel:+15551000", "tel:(~00000000~)+15551000"),
        ("sip:(~00000000~)5551000@h", "sip:(~00000000~)5551000@h"),
        ("sip:h", "sip:h"),
        ("none", "none"),
    ] {
        assert_eq!(String::from_utf8(marked(text.as_bytes(), mark)).unwrap(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_of_a_message_says_the_secret_and_all_else_is_as_it_was(
        lines in proptest::collection::vec("[A-Z][a-z]{0,8}: [ -~]{0,30}(<sip:88991[0-9]{0,6}@h>)?", 0..6),
        number in "[0-9*]{1,15}",
        body in "[ -~]{0,30}",
    ) {
        let trunk = trunk(Some(SECRET), Some(SECRET));
        let lines: String = lines.iter().map(|line| format!("X-{line}\r\n")).collect();
        let text = invite(&format!("{SECRET}{number}"), &lines, &body).replace("sip:889917000", "sip:7000");
        let mut index = Index::new();
        let Ok(message) = index.parse(text.as_bytes()) else { return Ok(()) };
        let Concealed::Rewritten(bytes) = concealed(message, Some(&trunk)) else { panic!("the secret is in it") };
        let made = String::from_utf8(bytes.clone()).unwrap();
        prop_assert!(!made.contains(&format!("sip:{SECRET}")), "{}", made);
        prop_assert!(made.starts_with(&format!("INVITE sip:{number}@")), "{}", made);
        let mut again = Index::new();
        let after = again.parse(&bytes).unwrap();
        prop_assert_eq!(after.lines().count(), message.lines().count());
        prop_assert_eq!(after.body().len(), body.len());
        prop_assert_eq!(after.via().map(|via| via.branch.map(<[u8]>::to_vec)), message.via().map(|via| via.branch.map(<[u8]>::to_vec)));
    }

    #[test]
    fn arbitrary_messages_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[ -~\r\n(~)]{0,200}") {
        let trunk = trunk(Some(SECRET), Some(SECRET));
        for bytes in [bytes, text.into_bytes()] {
            let mut index = Index::new();
            if let Ok(message) = index.parse(&bytes) {
                let _concealed = concealed(message, Some(&trunk));
            }
            let _revealed = revealed(&bytes, None, std::slice::from_ref(&trunk));
            prop_assert!(next_mark(&without_marks(&bytes)).is_none());
        }
    }
}
