use super::*;

const MIXED: &[u8] = b"multipart/mixed;boundary=b1";

/// A body with CRLF for each line end.
fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn texts(body: &[u8], parts: &[Part<'_>]) -> Vec<String> {
    parts.iter().map(|part| String::from_utf8_lossy(&body[part.content.clone()]).into_owned()).collect()
}

fn fault(content_type: &[u8], body: &str) -> Option<Fault> {
    let lf = parts(content_type, body.as_bytes()).err();
    assert_eq!(parts(content_type, &crlf(body)).err(), lf, "line ends do not matter");
    lf
}

const TWO: &str = "preamble\n--b1\nContent-Type: application/sdp\nContent-Disposition: session;handling=required\n\n\
    v=0\ns=-\n\n--b1 \t\nc : text/html ; charset=x\nContent-ID: <1@x>\n\n<p>\n--b1--\nepilogue\n--b";

#[test]
fn parts_are_found_with_their_headers() {
    let body = crlf(TWO);
    let found = parts(MIXED, &body).unwrap();
    assert_eq!(texts(&body, &found), ["v=0\r\ns=-\r\n", "<p>"]);
    assert!(found[0].is("Application", "SDP") && !found[0].nested);
    assert_eq!(found[0].disposition, Some(&b"session;handling=required"[..]));
    assert_eq!(&body[found[1].headers.clone()], b"c : text/html ; charset=x\r\nContent-ID: <1@x>\r\n");
    assert_eq!(found[1].content_id, Some(&b"<1@x>"[..]));
    assert_eq!(found[1].content_type.unwrap().param(b"charset"), Some(&b"x"[..]));
}

#[test]
fn one_part_is_replaced_and_the_rest_kept() {
    for body in [crlf(TWO), TWO.as_bytes().to_vec()] {
        let part = find(MIXED, &body, "application", "sdp").unwrap().unwrap();
        let old = &body[part.content.clone()];
        assert_eq!(replace(&body, &part, old).unwrap(), body);
        let at = part.content.start;
        let expected = [&body[..at], b"v=1\r\n", &body[at + old.len()..]].concat();
        assert_eq!(replace(&body, &part, b"v=1\r\n").unwrap(), expected);
        assert_eq!(replace(&body, &part, b"v=1\r\n--b1\r\n"), Err(Fault::Ambiguous), "it would end the part");
    }
}

#[test]
fn a_length_in_the_part_stays_right() {
    let body = crlf("--b1\nContent-Length: 3\nContent-Type: application/sdp\n\nv=0\n--b1--");
    let part = find(MIXED, &body, "application", "sdp").unwrap().unwrap();
    let expected = crlf("--b1\nContent-Length: 10\nContent-Type: application/sdp\n\n0123456789\n--b1--");
    assert_eq!(replace(&body, &part, b"0123456789").unwrap(), expected);
}

#[test]
fn a_body_that_is_no_multipart_is_one_part() {
    let part = find(b"application/sdp", b"v=0\r\n", "application", "sdp").unwrap().unwrap();
    assert_eq!((part.content.clone(), part.headers.clone()), (0..5, 0..0));
    assert_eq!(replace(b"v=0\r\n", &part, b"--b1").unwrap(), b"--b1");
    assert_eq!(find(b"text/plain", b"v=0\r\n", "application", "sdp"), Ok(None));
}

#[test]
fn a_nested_body_is_looked_into() {
    let body = crlf(
        "--b1\nContent-Type: multipart/alternative; boundary=\"b 2\"\n\n--b 2\n\nplain\n--b 2\n\
         Content-Type: application/sdp\n\nv=0\n--b 2--\n--b1\nContent-Type: text/html\n\n<p>\n--b1--\n",
    );
    let found = parts(b"Multipart/Related; type=\"x/y\"; boundary=\"b1\"", &body).unwrap();
    assert_eq!(found.iter().map(|part| part.nested).collect::<Vec<_>>(), [false, true, true, false]);
    assert_eq!(texts(&body, &found)[1..], ["plain", "v=0", "<p>"]);
    assert!(found[1].is("text", "plain"), "without a type it is text");
    for clash in [&b"\n--b1"[..], b"--b 2"] {
        assert_eq!(replace(&body, &found[2], clash), Err(Fault::Ambiguous));
    }

    let deep = crlf(
        "--b1\nContent-Type: multipart/mixed;boundary=b2\n\n--b2\nContent-Type: multipart/mixed;boundary=b3\n\n\
         --b3\n\nx\n--b3--\n--b2--\n--b1--\n",
    );
    assert_eq!(parts(MIXED, &deep), Err(Fault::TooDeep));
}

#[test]
fn the_last_boundary_may_be_absent() {
    let body = crlf("--b1\n\none\n--b1\n\ntwo\n");
    assert_eq!(texts(&body, &parts(MIXED, &body).unwrap()), ["one", "two\r\n"]);
}

#[test]
fn parts_without_content_or_headers() {
    let body =
        crlf("--b1\nContent-Type: application/sdp\n--b1\nContent-Type: application/sdp\n\n--b1\n--b1\n\n\n--b1--");
    let found = parts(MIXED, &body).unwrap();
    assert_eq!(texts(&body, &found), ["", "", ""], "nothing between two boundaries is no part");
    for (part, nth) in found.iter().zip(0..) {
        let filled = replace(&body, part, b"v=0").unwrap();
        let again = parts(MIXED, &filled).unwrap();
        assert_eq!(texts(&filled, &again)[nth], "v=0");
        assert_eq!(again[nth].content_type, part.content_type);
    }
}

#[test]
fn boundaries_that_are_none() {
    for content_type in [
        "multipart/mixed",
        "multipart/mixed;boundary=",
        "multipart/mixed;boundary=\"\"",
        "multipart/mixed;boundary=\"a \"",
        "multipart/mixed;boundary=\"a\\b\"",
        "multipart/mixed;boundary=\"a\tb\"",
    ] {
        assert_eq!(parts(content_type.as_bytes(), b"--a\r\n\r\nx"), Err(Fault::Boundary), "{content_type}");
    }
    let longest = "b".repeat(70);
    let content_type = |boundary: &str| format!("multipart/mixed;boundary={boundary}");
    assert_eq!(parts(content_type(&longest).as_bytes(), format!("--{longest}\r\n\r\nx").as_bytes()).unwrap().len(), 1);
    assert_eq!(parts(content_type(&(longest + "b")).as_bytes(), b""), Err(Fault::Boundary));
    assert_eq!(parts(b"multipart", b""), Err(Fault::ContentType));
}

#[test]
fn what_others_could_read_differently_is_refused() {
    assert_eq!(fault(MIXED, ""), Some(Fault::NoParts));
    assert_eq!(fault(MIXED, " --b1\n\nx\n"), Some(Fault::NoParts));
    assert_eq!(fault(MIXED, "--b1--\n"), Some(Fault::NoParts));
    assert_eq!(fault(MIXED, "--b1\n--b1--\n"), Some(Fault::NoParts));
    let hollow = "--b1\nContent-Type: multipart/mixed;boundary=b2\n\n--b2--\n--b1--";
    assert_eq!(fault(MIXED, hollow), Some(Fault::NoParts));
    assert_eq!(fault(MIXED, "--b1\n\nx\n--b12\n\ny\n--b1--"), Some(Fault::Ambiguous));
    assert_eq!(fault(MIXED, "--b1\n\nx\n--b1--x\n"), Some(Fault::Ambiguous));
    assert_eq!(fault(MIXED, "--b1\n\nx\n--b1 --\n"), Some(Fault::Ambiguous));
    assert_eq!(fault(MIXED, "--b1\n\nx\n--b1--\n--b1\n\ny\n"), Some(Fault::Ambiguous));
    assert_eq!(fault(MIXED, "--b1\nno header\n\nx\n--b1--"), Some(Fault::Header));
    assert_eq!(fault(MIXED, "--b1\nContent-Type: a/b\nc: d/e\n\nx\n--b1--"), Some(Fault::Header));
    assert_eq!(fault(MIXED, "--b1\nContent-Type: a\n\nx\n--b1--"), Some(Fault::ContentType));
    assert_eq!(fault(MIXED, "--b1\nContent-Type: multipart/mixed\n\nx\n--b1--"), Some(Fault::Boundary));
}

#[test]
fn parts_are_bounded() {
    let body = |count: usize| "--b1\n\nx\n".repeat(count);
    assert_eq!(parts(MIXED, body(MAX_PARTS).as_bytes()).unwrap().len(), MAX_PARTS);
    assert_eq!(fault(MIXED, &body(MAX_PARTS + 1)), Some(Fault::TooManyParts));
    assert_eq!(parts(MIXED, &vec![b'-'; MAX_MESSAGE_BYTES + 1]), Err(Fault::TooLong));
}

#[test]
fn which_of_several_is_not_guessed_and_no_code_is_broken() {
    let body = crlf("--b1\nContent-Type: application/sdp\n\nx\n--b1\nContent-Type: application/sdp\n\ny\n--b1--");
    assert_eq!(find(MIXED, &body, "application", "sdp"), Err(Fault::Several));
    for (encoding, expected) in [("Base64", Err(Fault::Encoded)), ("8BIT", Ok(true)), ("binary", Ok(true))] {
        let body = crlf(&format!(
            "--b1\nContent-Type: application/sdp\ncontent-transfer-encoding :\n {encoding}\n\nx\n--b1--"
        ));
        assert_eq!(find(MIXED, &body, "application", "sdp").map(|part| part.is_some()), expected, "{encoding}");
    }
}
