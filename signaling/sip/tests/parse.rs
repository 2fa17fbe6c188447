//! Reading messages: line ends, folds, framing, bounds.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use moorline_sip::{
    Fault, Index, MAX_HEADERS, MAX_MESSAGE_BYTES, Method, Name, OwnedMessage, ParseError, ParseErrorKind, StartLine,
};

fn parse(bytes: &[u8]) -> Result<OwnedMessage, ParseError> {
    Index::new().parse(bytes).map(|message| message.to_owned())
}

fn kind(bytes: &[u8]) -> Option<ParseErrorKind> {
    parse(bytes).err().map(|error| error.kind)
}

/// A request that passes, with more header lines.
fn with(lines: &str, body: &str) -> String {
    format!(
        "OPTIONS sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKone\r\n\
         From: <sip:a@192.0.2.1>;tag=a\r\nTo: <sip:b@192.0.2.2>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n{lines}\r\n{body}"
    )
}

fn check(text: &str) -> Result<(), Fault> {
    parse(text.as_bytes()).unwrap().view().check()
}

#[test]
fn a_request_and_a_response() {
    let request = parse(b"INVITE sip:b SIP/2.0\r\nX: 1\r\n\r\nbody").unwrap();
    assert_eq!(request.view().start(), StartLine::Request { method: Method::Invite, uri: b"sip:b" });
    assert_eq!(request.view().body(), b"body");
    assert_eq!((request.view().status(), request.view().reason()), (None, None));

    let response = parse(b"SIP/2.0 180 Ringing now\r\n\r\n").unwrap();
    assert_eq!(response.view().start(), StartLine::Response { status: 180, reason: b"Ringing now" });
    assert_eq!((response.view().method(), response.view().request_uri()), (None, None));
    assert_eq!(parse(b"SIP/2.0 180\r\n\r\n").unwrap().view().reason(), Some(&b""[..]));
    assert_eq!(parse(b"SIP/2.0 180 \r\n\r\n").unwrap().view().reason(), Some(&b""[..]));
}

#[test]
fn methods_are_case_sensitive_and_header_names_are_not() {
    let message = parse(b"invite sip:b SIP/2.0\r\nmAX-fORWARDS: 7\r\nx-FOO: 8\r\n\r\n").unwrap();
    assert_eq!(message.view().method(), Some(Method::Other(b"invite")));
    assert_eq!(message.view().max_forwards(), Ok(Some(7)));
    assert_eq!(message.view().other(b"X-Foo"), Some(&b"8"[..]));
    assert_eq!(message.view().other(b"X-Fo"), None);
}

#[test]
fn lines_may_end_in_lf_alone() {
    let text = with("Content-Length: 4\r\n", "body").replace("\r\n", "\n");
    let message = parse(text.as_bytes()).unwrap();
    assert_eq!(message.view().check(), Ok(()));
    assert_eq!(message.view().header(Name::CallId), Some(&b"c"[..]));
    assert_eq!(message.view().body(), b"body");
}

#[test]
fn line_ends_before_the_message_are_skipped_and_alone_are_a_keep_alive() {
    let text = format!("\r\n\r\n\n{}", with("", ""));
    assert_eq!(check(&text), Ok(()));
    for bytes in [&b""[..], b"\r\n", b"\r\n\r\n", b"\n"] {
        assert!(parse(bytes).unwrap_err().is_keep_alive());
    }
}

#[test]
fn garbage_is_no_message() {
    let garbage: [&[u8]; 12] = [
        b"\0",
        b"\0\0\0\0",
        b"hello",
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"INVITE SIP/2.0\r\n\r\n",
        b"INVITE  SIP/2.0\r\n\r\n",
        b" INVITE sip:b SIP/2.0\r\n\r\n",
        b"INV(TE sip:b SIP/2.0\r\n\r\n",
        b"INVITE sip:b SIP2.0\r\n\r\n",
        b"SIP/2.0\r\n\r\n",
        b"\x80\x60\x00\x01\x00\x00\x00\x00",
    ];
    for bytes in garbage {
        assert_eq!(kind(bytes), Some(ParseErrorKind::StartLine), "{}", String::from_utf8_lossy(bytes));
    }
    for bytes in
        [&b"SIP/2.0 99 x\r\n\r\n"[..], b"SIP/2.0 700 x\r\n\r\n", b"SIP/2.0 2000 x\r\n\r\n", b"SIP/2.0  200\r\n\r\n"]
    {
        assert_eq!(kind(bytes), Some(ParseErrorKind::Status));
    }
}

#[test]
fn the_error_says_where() {
    assert_eq!(parse(b"\r\nhello").unwrap_err().offset, 2);
}

#[test]
fn values_are_lists_split_outside_quotes_and_brackets() {
    let message =
        parse(with("Route: <sip:a,b>, \"x, \\\"y\" <sip:c> ,\r\nRoute: , <sip:d;e>\r\n", "").as_bytes()).unwrap();
    let values: Vec<_> = message.view().values(Name::Route).collect();
    assert_eq!(values, [&b"<sip:a,b>"[..], b"\"x, \\\"y\" <sip:c>", b"<sip:d;e>"]);
    assert_eq!(message.view().all(Name::Route).count(), 2);
    assert_eq!(message.view().values(Name::Supported).count(), 0);
}

#[test]
fn the_lines_are_the_header_section_byte_for_byte() {
    let section = "A:1\r\n b\r\n\tc\r\nVia  : \t x \r\nNo colon\r\n:\r\nX:\n";
    let text = format!("X sip:b SIP/2.0\r\n{section}\r\nbody");
    let message = parse(text.as_bytes()).unwrap();
    let lines: Vec<_> = message.view().lines().collect();
    assert_eq!(lines.iter().map(|line| line.raw).collect::<Vec<_>>().concat(), section.as_bytes());
    assert_eq!((lines[0].name_text, lines[0].value), (&b"A"[..], &b"1\r\n b\r\n\tc"[..]));
    assert_eq!((lines[1].name, lines[1].name_text, lines[1].value), (Name::Via, &b"Via"[..], &b"x"[..]));
    assert_eq!((lines[2].name_text, lines[2].value), (&b""[..], &b"No colon"[..]));
    assert_eq!(lines[4].value, b"");
    assert_eq!(message.view().check(), Err(Fault::HeaderLine));
}

#[test]
fn bytes_that_are_no_utf8_survive() {
    let mut bytes = b"X sip:b SIP/2.0\r\nSubject: caf\xe9 \xff\r\n\r\n".to_vec();
    bytes.extend_from_slice(&[0xfe, 0x00]);
    let message = parse(&bytes).unwrap();
    assert_eq!(message.view().header(Name::Subject), Some(&b"caf\xe9 \xff"[..]));
    assert_eq!(message.view().body(), [0xfe, 0x00]);
}

#[test]
fn the_body_is_as_long_as_announced() {
    let body = |lines: &str| parse(with(lines, "0123456789").as_bytes()).unwrap().view().body().len();
    assert_eq!(body(""), 10);
    assert_eq!(body("Content-Length: 4\r\n"), 4);
    assert_eq!(body("l: 004\r\nContent-Length: 4\r\n"), 4, "said twice, but the same");
    assert_eq!(body("l: 0\r\n"), 0);
}

#[test]
fn a_content_length_that_cannot_be() {
    let fault = |lines: &str| check(&with(lines, "0123456789")).unwrap_err();
    assert_eq!(fault("Content-Length: 11\r\n"), Fault::Truncated);
    assert_eq!(fault("Content-Length: 9999999999\r\n"), Fault::Truncated);
    assert_eq!(fault("Content-Length: 4\r\nl: 5\r\n"), Fault::ContentLengthConflict);
    for value in ["-1", "five", "", "1 1", "0x4", "99999999999", "18446744073709551620"] {
        assert_eq!(fault(&format!("Content-Length: {value}\r\n")), Fault::Malformed(Name::ContentLength), "{value}");
    }
}

#[test]
fn each_mandatory_header_is_missed_and_may_not_be_repeated() {
    let good = with("", "");
    for (name, line) in [
        (Name::From, "From: <sip:a@192.0.2.1>;tag=a\r\n"),
        (Name::To, "To: <sip:b@192.0.2.2>\r\n"),
        (Name::CallId, "Call-ID: c\r\n"),
        (Name::CSeq, "CSeq: 1 OPTIONS\r\n"),
    ] {
        assert_eq!(check(&good.replace(line, "")), Err(Fault::Missing(name)));
        assert_eq!(check(&with(line, "")), Err(Fault::Repeated(name)));
    }
    assert_eq!(check(&good.replace("Via: SIP", "X: SIP")), Err(Fault::Missing(Name::Via)));
    assert_eq!(check(&with("Max-Forwards: 7\r\nMax-Forwards: 7\r\n", "")), Err(Fault::Repeated(Name::MaxForwards)));
}

#[test]
fn what_check_refuses() {
    let good = with("", "");
    assert_eq!(check(&good), Ok(()));
    for (from, to, fault) in [
        ("SIP/2.0\r\nVia", "SIP/1.0\r\nVia", Fault::Version),
        ("sip:b@192.0.2.2 SIP", "<sip:b@192.0.2.2> SIP", Fault::RequestUri),
        ("sip:b@192.0.2.2 SIP", "sip:b@192.0.2.2; lr SIP", Fault::RequestUri),
        ("sip:b@192.0.2.2 SIP", "sip:b@192.0.2.2?Subject=x SIP", Fault::RequestUri),
        ("sip:b@192.0.2.2 SIP", "b SIP", Fault::RequestUri),
        ("1 OPTIONS", "1 INVITE", Fault::MethodMismatch),
        ("1 OPTIONS", "1 options", Fault::MethodMismatch),
        ("1 OPTIONS", "2147483648 OPTIONS", Fault::Malformed(Name::CSeq)),
        ("Call-ID: c", "Call-ID: ", Fault::Malformed(Name::CallId)),
        ("Call-ID: c", "Call-ID: c d", Fault::Malformed(Name::CallId)),
        ("<sip:a@192.0.2.1>;tag=a", "<sip:a@192.0.2.1>;;tag=a", Fault::Malformed(Name::From)),
        ("To: <sip:b@192.0.2.2>", "To: b", Fault::Malformed(Name::To)),
        ("SIP/2.0/UDP 192.0.2.1", "SIP/2.0/UDP", Fault::Malformed(Name::Via)),
        ("z9hG4bKone", "z9hG4bKone,", Fault::Malformed(Name::Via)),
        ("CSeq: 1 OPTIONS\r\n", "CSeq: 1 OPTIONS\r\nMax-Forwards: 256\r\n", Fault::Malformed(Name::MaxForwards)),
        ("CSeq: 1 OPTIONS\r\n", "CSeq: 1 OPTIONS\r\nMax-Forwards: many\r\n", Fault::Malformed(Name::MaxForwards)),
        ("CSeq: 1 OPTIONS\r\n", "CSeq: 1 OPTIONS\r\nContact: <sip:a\r\n", Fault::Malformed(Name::Contact)),
        ("CSeq: 1 OPTIONS\r\n", "CSeq: 1 OPTIONS\r\nX: a\rEvil: b\r\n", Fault::BareCr),
        ("CSeq: 1 OPTIONS\r\n", "CSeq: 1 OPTIONS\r\nX y: a\r\n", Fault::HeaderLine),
        ("CSeq: 1 OPTIONS\r\n\r\n", "CSeq: 1 OPTIONS\r\n", Fault::Unterminated),
        ("CSeq: 1 OPTIONS\r\n\r\n", "CSeq: 1 OPT", Fault::Unterminated),
    ] {
        assert_eq!(check(&good.replacen(from, to, 1)), Err(fault), "{to}");
    }
}

#[test]
fn what_check_lets_pass() {
    for lines in
        ["Contact: *\r\n", "Contact: <sip:a>, \"x\" <sip:b>\r\nm: <sip:c>\r\n", "Max-Forwards: 0\r\n", "Supported:\r\n"]
    {
        assert_eq!(check(&with(lines, "")), Ok(()), "{lines}");
    }
}

#[test]
fn a_message_has_bounds() {
    let headers = |count: usize| format!("X sip:b SIP/2.0\r\n{}\r\n", "A: 1\r\n".repeat(count));
    assert_eq!(parse(headers(MAX_HEADERS).as_bytes()).unwrap().view().lines().count(), MAX_HEADERS);
    assert_eq!(kind(headers(MAX_HEADERS + 1).as_bytes()), Some(ParseErrorKind::TooManyHeaders));

    let mut bytes = b"X sip:b SIP/2.0\r\n\r\n".to_vec();
    let start = bytes.len();
    bytes.resize(MAX_MESSAGE_BYTES, b'x');
    assert_eq!(parse(&bytes).unwrap().view().body().len(), MAX_MESSAGE_BYTES - start);
    bytes.push(b'x');
    assert_eq!(kind(&bytes), Some(ParseErrorKind::TooLong));
}

#[test]
fn an_index_is_used_again() {
    let mut index = Index::new();
    assert_eq!(index.parse(b"X sip:b SIP/7.0\r\nA: 1\r\nB: 2\r\n\r\n").unwrap().check(), Err(Fault::Version));
    let second = with("", "");
    let message = index.parse(second.as_bytes()).unwrap();
    assert_eq!(message.check(), Ok(()));
    assert_eq!(message.other(b"A"), None);
    assert!(index.parse(b"garbage").is_err());
}

#[test]
fn display_names_without_their_quotes_pass() {
    let text = with("Contact: Bob: <sip:b@192.0.2.1>, B (home) <sip:b@192.0.2.9>\r\n", "");
    let text = text.replace("<sip:a@192.0.2.1>", "Doe, A. (work) <sip:a@192.0.2.1>");
    assert_eq!(check(&text.replace("<sip:b@192.0.2.2>", "100% B & Co; [x] <sip:b@192.0.2.2>")), Ok(()));
    for (name, fault) in [("a\" <", Name::From), ("a > <", Name::From), ("a\x01 <", Name::From)] {
        let text = with("", "").replace("From: <", &format!("From: {name}"));
        assert_eq!(check(&text), Err(Fault::Malformed(fault)), "{name}");
    }
}
