//! Any datagram in the place of a RADIUS server's answer, and any credentials in a question.
#![no_main]

use libfuzzer_sys::fuzz_target;
use moorline_b2bua::radius::{Form, Stamp, access_request, answer};
use moorline_b2bua::verify::DigestQuestion;

/// No secret that a few million guesses would find.
const SECRET: &[u8] = &[0x5a; 32];

fuzz_target!(|input: &[u8]| {
    let stamp = Stamp { identifier: 0, authenticator: [0; 16] };
    for signed in [false, true] {
        assert!(answer(input, stamp, SECRET, signed).is_err(), "nobody guesses the secret");
    }
    let mut values = input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec);
    let question = DigestQuestion {
        user: values.next().unwrap_or_default(),
        realm: values.next().unwrap_or_default(),
        uri: values.next().unwrap_or_default(),
        response: values.next().unwrap_or_default(),
        qop: values.next(),
        cnonce: values.next(),
        opaque: values.next(),
        ..DigestQuestion::default()
    };
    for form in [Form::Sterman, Form::Rfc5090] {
        if let Ok(packet) = access_request(stamp, SECRET, "edge", form, &question) {
            let length = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            assert_eq!(length, packet.len());
        }
    }
});
