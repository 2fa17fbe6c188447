//! Both sides of digest authentication agree, whatever the names and passwords are; and nothing else is let in.
#![cfg(test)]
#![expect(clippy::disallowed_methods, reason = "the crate reads no files; its tests do")]

use std::net::IpAddr;

use moorline_sip::digest::{
    Challenge, Challenger, Checked, Hash, Response, Secret, Session, Settings, Verdict, choose,
};
use proptest::prelude::*;

fn source() -> IpAddr {
    IpAddr::from([192, 0, 2, 1])
}

/// Names and passwords of any bytes but line ends, which no header field can hold.
fn text() -> impl Strategy<Value = Vec<u8>> {
    let any = prop::collection::vec(any::<u8>(), 0..20);
    let odd = prop::collection::vec(prop::sample::select(b"\"\\, =:;<>ab@.".to_vec()), 0..20);
    prop_oneof![any, odd].prop_map(|bytes| bytes.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect())
}

fn algorithms() -> impl Strategy<Value = Vec<Hash>> {
    prop::sample::subsequence(vec![Hash::Sha256, Hash::Sha512T256, Hash::Md5], 1..=3)
}

/// The inputs that fuzzing starts from, and those that it found: every challenge among them is answered so that the
/// answer can be read.
#[test]
fn kept_challenges_are_answered() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpora/digest");
    let mut answered = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let value = std::fs::read(entry.unwrap().path()).unwrap();
        for challenge in Challenge::all(&value) {
            let secret = Secret::Password(b"password");
            let answer = Session::new(&challenge).authorize(b"user", secret, b"REGISTER", b"sip:a", b"cnonce");
            assert!(Response::all(&answer).next().unwrap().matches(b"REGISTER", secret));
            answered += 1;
        }
    }
    assert!(answered >= 2, "{answered}");
}

proptest! {
    #[test]
    fn who_knows_the_password_is_let_in_and_nobody_else(
        (user, realm, password, wrong) in (text(), text(), text(), text()),
        uri in "sip:[a-z0-9]{1,8}@[a-z0-9.]{1,12}",
        cnonce in "[a-z0-9]{1,16}",
        algorithms in algorithms(),
        requests in 1..5_u32,
    ) {
        let settings = Settings { algorithms, ..Settings::default() };
        let challenger = Challenger::new(&realm, &[9; 32], settings);
        let values = challenger.challenge(1, source(), false);
        let secret = Secret::Password(&password);
        let challenge = choose(values.iter().map(Vec::as_slice), secret).unwrap();
        let mut session = Session::new(&challenge);
        for _ in 0..requests {
            let request = (&b"INVITE"[..], uri.as_bytes());
            let value = session.authorize(&user, secret, request.0, request.1, cnonce.as_bytes());
            let verify = |known| challenger.verify(2, source(), request, [&value[..]].into_iter(), |_| known);
            if wrong != password {
                prop_assert!(matches!(verify(Some(Secret::Password(&wrong))), Verdict::Wrong(_)));
            }
            prop_assert!(matches!(verify(None), Verdict::Wrong(_)));
            prop_assert_eq!(verify(Some(secret)), Verdict::Accepted { user: user.clone().into() });
            prop_assert_eq!(verify(Some(secret)), Verdict::Stale);
        }
    }

    /// Whatever is changed in the parts that count, the request is not let in.
    #[test]
    fn damaged_credentials_are_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let challenger = Challenger::new(b"realm", &[9; 32], Settings::default());
        let values = challenger.challenge(1, source(), false);
        let secret = Secret::Password(b"password");
        let mut session = Session::new(&choose(values.iter().map(Vec::as_slice), secret).unwrap());
        let request = (&b"INVITE"[..], &b"sip:a@b"[..]);
        let good = session.authorize(b"user", secret, request.0, request.1, b"cnonce");
        let mut value = good.clone();
        value[at.index(good.len())] = byte;
        let known = |checked: &Checked<'_>| (*checked.response.user == *b"user").then_some(secret);
        let verdict = challenger.verify(2, source(), request, [&value[..]].into_iter(), known);
        if matches!(verdict, Verdict::Accepted { .. }) {
            let parts = |value| Response::all(value).map(|mut response| {
                // Names without quotes and digits in capitals are the same; the host is, in any case.
                response.uri = response.uri.to_ascii_lowercase().into();
                (response.user, response.realm, response.uri, response.nonce.to_ascii_lowercase(),
                 response.response.to_ascii_lowercase(), response.cnonce, response.count, response.algorithm)
            }).next();
            prop_assert_eq!(parts(&value), parts(&good));
        }
    }

    #[test]
    fn any_value_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80), odd in "(Digest |[a-z]{1,6}=|\"|\\\\|, |x){0,20}") {
        for value in [&bytes[..], odd.as_bytes(), &[b"Digest ", &bytes[..]].concat()] {
            prop_assert!(Challenge::all(value).count() <= value.len());
            for response in Response::all(value) {
                let _ = (response.uses(), response.matches(b"INVITE", Secret::Password(b"")));
            }
        }
    }
}
