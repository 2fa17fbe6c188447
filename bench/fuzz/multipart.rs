//! Any Content-Type and body: its parts found, each replaced by itself and by something else, and found again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_sip::multipart::{parts, replace};

fuzz_target!(|bytes: &[u8]| {
    // The first line is the Content-Type.
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
    let (content_type, body) = (&bytes[..end], bytes.get(end + 1..).unwrap_or_default());
    let Ok(found) = parts(content_type, body) else { return };
    for (at, part) in found.iter().enumerate() {
        // A part that holds others is replaced with them.
        if found.get(at + 1).is_some_and(|next| next.nested && !part.nested) {
            continue;
        }
        let Ok(replaced) = replace(body, part, b"v=0\r\n") else { continue };
        let again = parts(content_type, &replaced).expect("a replaced part changes no boundary");
        assert_eq!(again.len(), found.len());
        for (nth, (before, after)) in found.iter().zip(&again).enumerate() {
            let expected = if nth == at { b"v=0\r\n" } else { &body[before.content.clone()] };
            if nth == at || !(before.content.start <= part.content.start && before.content.end >= part.content.end) {
                assert_eq!(&replaced[after.content.clone()], expected);
            }
        }
    }
});
