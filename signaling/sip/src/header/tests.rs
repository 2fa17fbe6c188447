use proptest::prelude::*;

use super::*;

#[test]
fn a_via_in_parts() {
    let via = Via::parse(b"SIP/2.0/UDP [2001:db8::1] : 5070 ; branch=z9hG4bKa;rport; received = 192.0.2.1;x").unwrap();
    assert_eq!((via.transport, via.host, via.port), (&b"UDP"[..], &b"[2001:db8::1]"[..], Some(5070)));
    assert_eq!((via.branch, via.received), (Some(&b"z9hG4bKa"[..]), Some(&b"192.0.2.1"[..])));
    assert_eq!(via.rport, Rport::Empty);
    assert_eq!(Via::parse(b"SIP/2.0/TLS a.example;rport=4096").unwrap().rport, Rport::Port(4096));
    assert_eq!(Via::parse(b"SIP/2.0/TLS a.example").unwrap().rport, Rport::Absent);
}

#[test]
fn a_via_that_is_none() {
    for value in [
        &b""[..],
        b"SIP/2.0/UDP",
        b"SIP/2.0/UDP ",
        b"SIP/2.0/UDP;branch=z9hG4bKa",
        b"SIP/2.0 UDP host",
        b"SIP/3.0/UDP host",
        b"HTTP/2.0/UDP host",
        b"SIP/2.0/UDP host:port",
        b"SIP/2.0/UDP host:65536",
        b"SIP/2.0/UDP ho st",
        b"SIP/2.0/UDP [::1",
        b"SIP/2.0/UDP [::g]",
        b"SIP/2.0/UDP host;;branch=a",
        b"SIP/2.0/UDP host;rport=x",
        b"SIP/2.0/UDP host;branch=z9hG4bKa\r\n Max-Forwards: 70",
        b"SIP/2.0/UDP host;received=\"192.0.2.1;branch=z9hG4bKa",
    ] {
        assert_eq!(Via::parse(value), Err(Fault::Malformed(Name::Via)), "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn addresses_with_and_without_brackets() {
    let quoted = NameAddr::parse(br#""A \"<B>\", C" <sip:a@b;lr?x=y>;tag=1;q="a;b""#).unwrap();
    assert_eq!(quoted.display, br#""A \"<B>\", C""#);
    assert_eq!(quoted.uri, b"sip:a@b;lr?x=y");
    assert_eq!(quoted.tag(), Some(&b"1"[..]));
    assert_eq!(quoted.param(b"Q"), Some(Some(&b"\"a;b\""[..])));
    assert_eq!(quoted.param(b"lr"), None, "a parameter of the URI");

    let bare = NameAddr::parse(b"sip:a@b;tag=1").unwrap();
    assert_eq!((bare.display, bare.uri, bare.params), (&b""[..], &b"sip:a@b"[..], &b";tag=1"[..]));

    let tokens = NameAddr::parse("Zo\u{eb} M. <tel:+1>".as_bytes()).unwrap();
    assert_eq!((tokens.display, tokens.uri, tokens.params), ("Zo\u{eb} M.".as_bytes(), &b"tel:+1"[..], &b""[..]));
}

#[test]
fn display_names_that_lack_quotes_are_read_and_written_with_them() {
    for (value, display, written) in [
        (&b"Bob (work) <sip:a@b>;tag=1"[..], &b"Bob (work)"[..], &b"\"Bob (work)\""[..]),
        (b"Dr. O'Neil @ home/2 [x]<sip:a@b>;tag=1", b"Dr. O'Neil @ home/2 [x]", b"\"Dr. O'Neil @ home/2 [x]\""),
        (b"Bell, A; B <sip:a@b>;tag=1", b"Bell, A; B", b"\"Bell, A; B\""),
        (b"sip:1@x <sip:a@b>;tag=1", b"sip:1@x", b"\"sip:1@x\""),
        (b"a\\b: <sip:a@b> ; tag=1", b"a\\b:", b"\"a\\\\b:\""),
        (b"Bob Smith <sip:a@b>;tag=1", b"Bob Smith", b"Bob Smith"),
        (b"\"Bob (work)\" <sip:a@b>;tag=1", b"\"Bob (work)\"", b"\"Bob (work)\""),
        (b"<sip:a@b>;tag=1", b"", b""),
    ] {
        let address = NameAddr::parse(value).unwrap();
        assert_eq!((address.display, address.uri, address.tag()), (display, &b"sip:a@b"[..], Some(&b"1"[..])));
        assert_eq!(address.display_name(), written);
        let again = [&address.display_name()[..], b" <sip:a@b>"].concat();
        assert_eq!(NameAddr::parse(&again).map(|again| again.display), Ok(written), "it is read back");
    }
    let bare = NameAddr::parse(b"sip:a@b;tag=1;x=\"<y>\"").unwrap();
    assert_eq!((bare.uri, bare.tag()), (&b"sip:a@b"[..], Some(&b"1"[..])));
}

#[test]
fn an_address_that_is_none() {
    for value in [
        &b""[..],
        b"<>",
        b"alice",
        b"alice <sip:a@b",
        b"\"alice <sip:a@b>",
        b"\"alice\" sip:a@b",
        b"O\"Brien <sip:a@b>",
        b"a > b <sip:a@b>",
        b"a \x07 <sip:a@b>",
        b"a \x7f <sip:a@b>",
        b"sip:a@b, c <sip:a@b>",
        b"sip:a@b?x;y=<sip:c@d>",
        b"a; b",
        b"<sip:a@b> x",
        b"<sip: a@b>",
        b"< sip:a@b>",
        b"sip:a@b?x=y",
        b"sip:;a@b;tag=1",
        b"<1sip:a@b>",
        b"<sip:>",
    ] {
        assert_eq!(NameAddr::parse(value), Err(Fault::Uri), "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn cseq_is_a_number_below_2_to_31_and_a_method() {
    assert_eq!(CSeq::parse(b"0009\r\n INVITE"), Ok(CSeq { number: 9, method: Method::Invite }));
    assert_eq!(CSeq::parse(b"2147483647 X").map(|cseq| cseq.number), Ok(2_147_483_647));
    for value in [&b""[..], b"1", b"INVITE", b"1INVITE", b"-1 INVITE", b"2147483648 INVITE", b"1 IN VITE", b"1 "] {
        assert_eq!(CSeq::parse(value), Err(Fault::Malformed(Name::CSeq)), "{}", String::from_utf8_lossy(value));
    }
}

#[test]
fn parameters_split_outside_quotes() {
    let params: Vec<_> = Params::new(br#"; a ;b=1;; c = "x;\";y" "#).collect();
    let expected: [(&[u8], Option<&[u8]>); 4] =
        [(b"a", None), (b"b", Some(b"1")), (b"", None), (b"c", Some(br#""x;\";y""#))];
    assert_eq!(params, expected);
    assert_eq!(Params::new(b"").count(), 0);
    assert!(!Params::new(b";;").are_well_formed());
    assert!(Params::new(b";a=\"b c\" ; d = e=f/@").are_well_formed());
    for raw in [&b";a=\"b"[..], b";a=\"b\" c", b";a=b c", b";a=b\r\n c", b";a=b\";c", b";a=<b;c"] {
        assert!(!Params::new(raw).are_well_formed(), "{}", String::from_utf8_lossy(raw));
    }
}

proptest! {
    /// Parameters of the usual form are read by a shorter way, which must lead to the same.
    #[test]
    fn parameters_read_the_same_by_either_way(text in "(;[ab-]{0,2}[ \t]?(=[ \t]?[a;=\"<>\\\\ \u{7f}\u{1}é]{0,4})?){0,4}") {
        let mut rest = trim_start(text.as_bytes()).strip_prefix(b";");
        let mut slowly = Vec::new();
        while let Some(bytes) = rest {
            let (param, after) = split_at(bytes, b';');
            rest = after;
            let mut parts = param.splitn(2, |byte| *byte == b'=');
            slowly.push((trim(parts.next().unwrap()), parts.next().map(trim)));
        }
        let params = Params::new(text.as_bytes());
        prop_assert_eq!(params.clone().collect::<Vec<_>>(), slowly.clone());
        let well_formed = slowly.iter().all(|(name, value)| is_well_formed(name, *value));
        prop_assert_eq!(params.are_well_formed(), well_formed);
    }
}
