//! Properties of reading and replacing the parts of a body.

#![expect(clippy::disallowed_methods, reason = "the crate reads no files; its tests do")]

use moorline_sip::multipart::{Part, find, parts, replace};
use proptest::prelude::*;

const CONTENT_TYPE: &[u8] = b"multipart/mixed; boundary=\"b'1\"";

/// A part as it is written, and its content.
fn part() -> impl Strategy<Value = (String, Vec<u8>)> {
    let headers = prop::sample::select(vec![
        "",
        "Content-Type: application/isup;version=x\r\n",
        "content-type : text/plain\r\nContent-ID:\r\n <a@b>\r\nX: --b'1\r\n",
        "X-Foo: bar\r\nContent-Disposition: render\r\n",
    ]);
    let content = prop::collection::vec(prop::sample::select(b"ab'1-\r\n :\xff".to_vec()), 0..60);
    (headers.prop_map(str::to_owned), content)
        .prop_filter("a boundary within is another test's", |(_, content)| !content.windows(5).any(|w| w == b"--b'1"))
}

fn written(parts: &[(String, Vec<u8>)], closed: bool) -> Vec<u8> {
    let mut body = b"preamble\r\n".to_vec();
    for (headers, content) in parts {
        body.extend_from_slice(format!("--b'1\r\n{headers}\r\n").as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(if closed { b"--b'1--\r\n" } else { b"--b'1" });
    body
}

/// A body with some bytes changed.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5);
    (prop::collection::vec(part(), 0..4), any::<bool>(), changes).prop_map(|(parts, closed, changes)| {
        let mut body = written(&parts, closed);
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body
    })
}

/// The inputs that fuzzing starts from, and those that it found.
#[test]
fn kept_bodies_are_read_or_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/multipart");
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
        let (content_type, body) = (&bytes[..end], &bytes[end + 1..]);
        let Ok(found) = parts(content_type, body) else { continue };
        for (at, part) in found.iter().enumerate() {
            if found.get(at + 1).is_none_or(|next| part.nested || !next.nested) {
                let replaced = replace(body, part, b"v=0\r\n").unwrap();
                let again = parts(content_type, &replaced).unwrap();
                assert_eq!((again.len(), &replaced[again[at].content.clone()]), (found.len(), &b"v=0\r\n"[..]));
            }
        }
    }
}

/// What replacing a part must leave.
fn around<'a>(body: &'a [u8], parts: &[Part<'_>]) -> Vec<&'a [u8]> {
    parts.iter().map(|part| &body[part.content.clone()]).collect()
}

proptest! {
    #[test]
    fn what_is_written_is_found(written_parts in prop::collection::vec(part(), 1..6), closed in any::<bool>()) {
        let body = written(&written_parts, closed);
        let found = parts(CONTENT_TYPE, &body).unwrap();
        prop_assert_eq!(found.len(), written_parts.len());
        for (part, (headers, content)) in found.iter().zip(&written_parts) {
            prop_assert_eq!(&body[part.headers.clone()], headers.as_bytes());
            prop_assert_eq!(&body[part.content.clone()], &content[..]);
        }
    }

    #[test]
    fn one_part_is_replaced_and_no_other(
        written_parts in prop::collection::vec(part(), 1..5),
        at in any::<prop::sample::Index>(),
        new in prop::collection::vec(prop::sample::select(b"ab'1-\r\n".to_vec()), 0..40),
    ) {
        let body = written(&written_parts, true);
        let found = parts(CONTENT_TYPE, &body).unwrap();
        let at = at.index(found.len());
        let Ok(replaced) = replace(&body, &found[at], &new) else {
            prop_assert!(new.windows(5).any(|window| window == b"--b'1"));
            return Ok(());
        };
        let again = parts(CONTENT_TYPE, &replaced).unwrap();
        let mut expected = around(&body, &found);
        expected[at] = &new;
        prop_assert_eq!(around(&replaced, &again), expected);
        prop_assert_eq!(replace(&replaced, &again[at], &body[found[at].content.clone()]).unwrap(), body);
    }

    #[test]
    fn damaged_bodies_are_read_or_refused(body in damaged(), content_type in "multipart/mixed; ?boundary=\"?b'1\"?") {
        for content_type in [CONTENT_TYPE, content_type.as_bytes()] {
            for part in parts(content_type, &body).unwrap_or_default() {
                prop_assert!(part.headers.end <= part.content.start && part.content.end <= body.len());
                let same = &body[part.content.clone()];
                if !same.is_empty() {
                    prop_assert_eq!(&replace(&body, &part, same).unwrap(), &body);
                }
            }
        }
    }

    #[test]
    fn any_body_is_read_or_refused(content_type in prop::collection::vec(any::<u8>(), 0..60), body in damaged()) {
        let _ = parts(&content_type, &body);
        let _ = find(&[b"multipart/mixed;boundary=", &content_type[..]].concat(), &body, "application", "sdp");
    }
}
