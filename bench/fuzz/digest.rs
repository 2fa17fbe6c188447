//! Any header value of authentication, from either side: challenges are answered, answers verified, and what a
//! challenge was answered with is right for who knows the password.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use moorline_sip::digest::{Challenge, Challenger, Response, Secret, Session, Settings, Verdict, choose};

fuzz_target!(|value: &[u8]| {
    let secret = Secret::Password(b"password");
    let request = (&b"REGISTER"[..], &b"sip:a.example"[..]);
    for challenge in Challenge::all(value) {
        let answer = Session::new(&challenge).authorize(b"user", secret, request.0, request.1, b"cnonce");
        let mut answers = Response::all(&answer);
        let response = answers.next().expect("what is written can be read");
        assert!(answers.next().is_none(), "one challenge, one answer");
        assert!(*response.user == *b"user" && response.nonce.len() == challenge.nonce.len());
        assert_eq!(response.algorithm, Some(challenge.algorithm));
        // A line end in a challenge does not get into the answer, which is then another.
        if !value.contains(&b'\r') && !value.contains(&b'\n') {
            assert!(response.matches(request.0, secret));
        }
    }
    let _ = choose([value].into_iter(), secret);

    let source = IpAddr::from([192, 0, 2, 1]);
    let challenger = Challenger::new(b"realm", &[9; 32], Settings::default());
    let verdict = challenger.verify(1, source, request, [value].into_iter(), |_| Some(secret));
    assert!(!matches!(verdict, Verdict::Accepted { .. }), "no nonce was made");
    for response in Response::all(value) {
        let _ = (response.uses(), response.matches(b"REGISTER", secret));
    }
});
