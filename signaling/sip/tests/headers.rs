//! The typed views of header fields.
#![cfg(test)]

use moorline_sip::{
    Contact, Event, Fault, Index, Message, Method, Name, NameAddr, OwnedMessage, Privacy, RAck, Refresher, Replaces,
    SessionExpires, Transport, Uri, Via, Writer,
};
use proptest::prelude::*;

fn with(name: &str, value: impl AsRef<[u8]>) -> OwnedMessage {
    let bytes = Writer::request(Method::Invite, b"sip:a@b").header(name, value).finish(b"");
    Index::new().parse(&bytes).unwrap().to_owned()
}

/// What a view says of each value.
fn each<T: PartialEq + std::fmt::Debug>(name: &str, read: impl Fn(Message<'_>) -> T, cases: Vec<(&str, T)>) {
    for (value, expected) in cases {
        assert_eq!(read(with(name, value).view()), expected, "{name}: {value}");
    }
}

#[test]
fn session_timers() {
    let expires = |seconds, refresher| Ok(Some(SessionExpires { seconds, refresher }));
    let malformed = || Err(Fault::Malformed(Name::SessionExpires));
    let cases = vec![
        ("1800", expires(1800, None)),
        ("1800;refresher=uac", expires(1800, Some(Refresher::Uac))),
        ("90 ; x=y ; Refresher = UAS", expires(90, Some(Refresher::Uas))),
        ("90;refresher=me", expires(90, None)),
        ("99999999999", expires(u32::MAX, None)),
        ("", malformed()),
        ("-1", malformed()),
        ("18x", malformed()),
        ("1 2", malformed()),
    ];
    each("x", |message| message.session_expires(), cases);
    for text in ["1800", "1800;refresher=uac", "90;refresher=uas"] {
        assert_eq!(SessionExpires::parse(text.as_bytes()).unwrap().to_string(), text);
    }
    let malformed = Err(Fault::Malformed(Name::MinSe));
    each("Min-SE", |message| message.min_se(), vec![("90", Ok(Some(90))), ("90;x", Ok(Some(90))), ("x", malformed)]);
    assert_eq!(with("X-Foo", "1").view().session_expires(), Ok(None));
    assert_eq!(with("X-Foo", "1").view().min_se(), Ok(None));
}

#[test]
fn reliable_responses() {
    assert_eq!(
        with("RAck", "776656  1\t INVITE").view().rack(),
        Ok(Some(RAck { rseq: 776_656, cseq: 1, method: Method::Invite }))
    );
    assert_eq!(with("X-Foo", "1").view().rack(), Ok(None));
    for value in ["", "1", "1 2", "0 1 INVITE", "1 x INVITE", "x 1 INVITE", "4294967296 1 INVITE", "1 1 INVITE x"] {
        assert_eq!(with("RAck", value).view().rack(), Err(Fault::Malformed(Name::RAck)), "{value}");
    }
    let malformed = || Err(Fault::Malformed(Name::RSeq));
    let largest = ("4294967295", Ok(Some(u32::MAX)));
    each("RSeq", |message| message.rseq(), vec![largest, ("0", malformed()), ("", malformed()), ("a", malformed())]);
    assert_eq!(with("X-Foo", "1").view().rseq(), Ok(None));
}

#[test]
fn replaced_dialogs() {
    let message = with("Replaces", "425928@bobster.example.org;to-tag=7743;from-tag=6472;early-only;x");
    let replaces = message.view().replaces().unwrap().unwrap();
    assert_eq!(
        replaces,
        Replaces { call_id: b"425928@bobster.example.org", to_tag: b"7743", from_tag: b"6472", early_only: true }
    );
    assert_eq!(replaces.to_value(), b"425928@bobster.example.org;to-tag=7743;from-tag=6472;early-only");
    for value in [
        "a",
        "a;to-tag=b",
        ";to-tag=b;from-tag=c",
        "a;to-tag=b;from-tag=c;to-tag=d",
        "a b;to-tag=b;from-tag=c",
        "a;to-tag;from-tag=c",
    ] {
        assert_eq!(Replaces::parse(value.as_bytes()), Err(Fault::Malformed(Name::Replaces)), "{value}");
    }
    let twice = with("Replaces", "a;to-tag=b;from-tag=c, d;to-tag=e;from-tag=f");
    assert_eq!(twice.view().replaces(), Err(Fault::Repeated(Name::Replaces)));
    assert_eq!(with("X-Foo", "1").view().replaces(), Ok(None));
}

#[test]
fn an_attended_transfer() {
    let message =
        with("r", "\"B\" <sips:b@biloxi.example.com?Replaces=090459243588173445%3Bto-tag%3D79as%3Bfrom-tag%3D7gh>;x");
    let target = message.view().refer_to().unwrap().unwrap();
    let uri = Uri::parse(target.uri).unwrap();
    let value = uri.header(b"Replaces").unwrap();
    let expected = Replaces { call_id: b"090459243588173445", to_tag: b"79as", from_tag: b"7gh", early_only: false };
    assert_eq!(Replaces::parse(&value), Ok(expected));
    assert_eq!(with("Refer-To", "b").view().refer_to(), Err(Fault::Malformed(Name::ReferTo)));
    assert_eq!(with("X-Foo", "b").view().refer_to(), Ok(None));
    let bytes =
        Writer::request(Method::Refer, b"sip:a@b").header("r", "sip:a@b").header("Refer-To", "sip:c@d").finish(b"");
    assert_eq!(Index::new().parse(&bytes).unwrap().refer_to(), Err(Fault::Repeated(Name::ReferTo)));
}

#[test]
fn lists_of_tags_and_methods() {
    let bytes = Writer::request(Method::Invite, b"sip:a@b")
        .header("k", "Timer ,replaces,,")
        .header("Supported", "100rel")
        .header("Allow", "INVITE, prack , X-Own")
        .finish(b"");
    let mut index = Index::new();
    let message = index.parse(&bytes).unwrap();
    for tag in ["timer", "replaces", "100REL"] {
        assert!(message.lists(Name::Supported, tag), "{tag}");
    }
    assert!(
        !message.lists(Name::Supported, "")
            && !message.lists(Name::Supported, "rel")
            && !message.lists(Name::Require, "timer")
    );
    assert_eq!(message.allows(Method::Invite), Some(true));
    assert_eq!(message.allows(Method::Prack), Some(false), "methods are case-sensitive");
    assert_eq!(message.allows(Method::Other(b"X-Own")), Some(true));
    assert_eq!(with("X-Foo", "1").view().allows(Method::Invite), None);
    assert_eq!(with("Allow", "").view().allows(Method::Invite), Some(false));
}

#[test]
fn contacts_of_a_registration() {
    let message =
        with("m", "<sip:a@b;expires=9>;expires=60;q=0.75, \"x,y\" <sip:c@d>;Q=1.0, sip:e@f;expires=never, <bad");
    let contacts: Vec<_> = message.view().contacts().collect();
    let [Ok(Contact::Address(a)), Ok(Contact::Address(b)), Ok(Contact::Address(c)), Err(fault)] = contacts[..] else {
        panic!("{contacts:?}")
    };
    assert_eq!((a.uri, a.expires(), a.q()), (&b"sip:a@b;expires=9"[..], Some(60), Some(750)));
    assert_eq!((b.uri, b.expires(), b.q()), (&b"sip:c@d"[..], None, Some(1_000)));
    assert_eq!((c.uri, c.expires(), c.q()), (&b"sip:e@f"[..], Some(3_600), None));
    assert_eq!(fault, Fault::Malformed(Name::Contact));
    assert_eq!(with("Contact", "*").view().contacts().collect::<Vec<_>>(), [Ok(Contact::Any)]);
    assert_eq!(with("X-Foo", "*").view().contacts().count(), 0);

    for (q, expected) in [
        ("0", Some(0)),
        ("1", Some(1_000)),
        ("0.5", Some(500)),
        ("0.", Some(0)),
        ("1.000", Some(1_000)),
        ("0.123", Some(123)),
        ("1.001", None),
        ("2", None),
        ("0.1234", None),
        (".5", None),
        ("-0.5", None),
        ("0.x", None),
        ("", None),
    ] {
        let value = format!("<sip:a@b>;q={q}");
        assert_eq!(NameAddr::parse(value.as_bytes()).unwrap().q(), expected, "{q}");
    }
    each(
        "Expires",
        |message| message.expires(),
        vec![("0", Some(0)), ("7200", Some(7_200)), ("soon", Some(3_600)), ("4294967296", Some(u32::MAX))],
    );
    assert_eq!(with("X-Foo", "1").view().expires(), None);
}

#[test]
fn events_and_what_became_of_them() {
    let id = |id| Ok(Some(Event { package: b"refer", id }));
    let malformed = Err(Fault::Malformed(Name::Event));
    for (value, expected) in [("refer", id(None)), ("refer ; id=93", id(Some(&b"93"[..]))), ("re fer", malformed)] {
        assert_eq!(with("o", value).view().event(), expected, "{value}");
    }
    let message = with("Subscription-State", "Terminated;reason=noresource;retry-after=5");
    let state = message.view().subscription_state().unwrap().unwrap();
    assert!(state.is_terminated());
    assert_eq!((state.reason, state.retry_after, state.expires), (Some(&b"noresource"[..]), Some(5), None));
    let message = with("Subscription-State", "active;expires=60");
    let state = message.view().subscription_state().unwrap().unwrap();
    assert!(!state.is_terminated());
    assert_eq!(state.expires, Some(60));
    let malformed = Err(Fault::Malformed(Name::SubscriptionState));
    assert_eq!(with("Subscription-State", ";x").view().subscription_state(), malformed);
    assert_eq!(
        (with("X-Foo", "1").view().event(), with("X-Foo", "1").view().subscription_state()),
        (Ok(None), Ok(None))
    );
}

#[test]
fn privacy_that_is_asked_for() {
    let none = Privacy::default();
    each(
        "Privacy",
        |message| message.privacy(),
        vec![
            ("id", Privacy { id: true, ..none }),
            ("ID ; critical;header", Privacy { id: true, critical: true, header: true, ..none }),
            ("user,session;history", Privacy { user: true, session: true, history: true, ..none }),
            ("none", Privacy { none: true, ..none }),
            ("what;", Privacy { other: true, ..none }),
            ("", none),
        ],
    );
    assert!(Privacy { id: true, ..none }.withholds_identity() && Privacy { user: true, ..none }.withholds_identity());
    assert!(!Privacy { id: true, none: true, ..none }.withholds_identity() && !none.withholds_identity());
}

#[test]
fn routes_of_a_registration() {
    let message = with("Path", "<sip:p1.example;lr>,<sip:p2.example;lr;x=a,b>");
    let routes: Vec<_> = message.view().values(Name::Path).map(|value| NameAddr::parse(value).unwrap().uri).collect();
    assert_eq!(routes, [&b"sip:p1.example;lr"[..], b"sip:p2.example;lr;x=a,b"]);
}

#[test]
fn vias_of_every_transport() {
    for transport in Transport::ALL {
        for sent_by in ["192.0.2.1:5070", "[2001:db8::1]", "sbc.example"] {
            let text = Via::value(transport, sent_by, "z9hG4bKa");
            let via = Via::parse(text.as_bytes()).unwrap();
            assert_eq!((via.known_transport(), via.branch), (Some(transport), Some(&b"z9hG4bKa"[..])));
            assert!(text.contains(sent_by));
        }
    }
    assert_eq!(Via::parse(b"SIP/2.0/SCTP a").unwrap().known_transport(), None);
}

proptest! {
    #[test]
    fn any_value_is_read_or_refused(value in prop::collection::vec(any::<u8>(), 0..40)) {
        for name in Name::KNOWN {
            let message = with(name.text(), &value);
            let message = message.view();
            let _ = (message.session_expires(), message.min_se(), message.rack(), message.rseq(), message.replaces());
            let _ = (message.refer_to(), message.event(), message.subscription_state(), message.privacy());
            let _ = (message.expires(), message.allows(Method::Invite), message.lists(*name, "x"));
            for contact in message.contacts() {
                if let Ok(Contact::Address(address)) = contact {
                    let _ = (address.expires(), address.q());
                }
            }
        }
    }

    /// What is written is read back.
    #[test]
    fn replaces_are_written_as_they_are_read(call_id in "[!-:<-~]{1,30}", to in "[a-z0-9]{1,9}", from in "[a-z0-9]{1,9}", early_only in any::<bool>()) {
        prop_assume!(!call_id.contains(['"', '<']));
        let replaces = Replaces { call_id: call_id.as_bytes(), to_tag: to.as_bytes(), from_tag: from.as_bytes(), early_only };
        let value = replaces.to_value();
        prop_assert_eq!(Replaces::parse(&value), Ok(replaces));
    }

    #[test]
    fn comparing_uris_is_fair(one in "sip:(a|%61|A)@(b|B)(:5060)?(;transport=(udp|UDP)|;x(=1)?|;lr|;X=2){0,3}(\\?(a=%62|A=b|c=d)(&e=f)?)?", two in "sip:(a|%61)@b(;transport=udp|;x(=1)?|;y){0,3}(\\?(a=b|c=d)(&E=f)?)?") {
        let (one, two) = (Uri::parse(one.as_bytes()).unwrap(), Uri::parse(two.as_bytes()).unwrap());
        prop_assert_eq!(one.is_equivalent(&two), two.is_equivalent(&one));
        prop_assert!(one.is_equivalent(&one) && two.is_equivalent(&two));
    }
}
