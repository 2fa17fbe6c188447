use std::net::IpAddr;

use super::*;

const SECOND: u64 = 1_000_000_000;
const USER: &[u8] = b"+8612345678@gd.ctcims.cn";
const PASSWORD: Secret<'_> = Secret::Password(b"se\"cr:et");
const URI: &[u8] = b"sip:gd.ctcims.cn";

fn source() -> IpAddr {
    "192.0.2.1".parse().unwrap()
}

fn challenger() -> Challenger {
    Challenger::new(b"ctcims.cn", &[7; 32], Settings { max_used: 3, ..Settings::default() })
}

/// A session that answers what a challenger asks.
fn session(challenger: &mut Challenger, now: u64) -> Session {
    let values = challenger.challenge(now, source(), false);
    Session::new(&choose(values.iter().map(Vec::as_slice), PASSWORD).unwrap())
}

fn register(session: &mut Session) -> Vec<u8> {
    session.authorize(USER, PASSWORD, b"REGISTER", URI, b"cnonce")
}

fn verify<'a>(challenger: &mut Challenger, now: u64, value: &'a [u8]) -> Verdict<'a> {
    challenger.verify(now, source(), (b"REGISTER", URI), [value].into_iter(), |checked| {
        (*checked.response.user == *USER).then_some(PASSWORD)
    })
}

fn accepted<'a>() -> Verdict<'a> {
    Verdict::Accepted { user: USER.into() }
}

fn text(value: Vec<u8>) -> String {
    String::from_utf8(value).unwrap()
}

/// The `response` to a challenge, by a session that has made `before` others.
fn answered(
    challenge: &str,
    before: u32,
    user: &[u8],
    secret: Secret<'_>,
    request: (&[u8], &[u8]),
    cnonce: &[u8],
) -> String {
    let mut session = Session::new(&choose([challenge.as_bytes()].into_iter(), secret).unwrap());
    for _ in 0..before {
        session.authorize(user, secret, request.0, request.1, cnonce);
    }
    let value = session.authorize(user, secret, request.0, request.1, cnonce);
    let response = Response::all(&value).next().unwrap();
    assert!(response.matches(request.0, secret));
    text(response.response.to_vec())
}

/// RFC 7616 section 3.9.1, RFC 2617 section 3.5.
#[test]
fn the_examples_of_the_rfcs() {
    let get: (&[u8], &[u8]) = (b"GET", b"/dir/index.html");
    for (algorithm, response) in [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ] {
        let challenge = format!(
            "Digest\r\n realm=\"http-auth@example.org\",\r\n qop=\"auth, auth-int\",\r\n algorithm={algorithm},\r\n \
             nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\",\r\n \
             opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
        );
        let cnonce = b"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        assert_eq!(answered(&challenge, 0, b"Mufasa", Secret::Password(b"Circle of Life"), get, cnonce), response);
    }
    let challenge = "digest realm=\"testrealm@host.com\",qop=\"auth,auth-int\",\
        nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\",opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
    assert_eq!(
        answered(challenge, 0, b"Mufasa", Secret::Password(b"Circle Of Life"), get, b"0a4f113b"),
        "6629fae49393a05397450978507c4ef1"
    );
}

/// Made with another implementation of the hash functions.
#[test]
fn every_algorithm_with_and_without_qop() {
    let request: (&[u8], &[u8]) = (b"REGISTER", URI);
    let md5 = (Hash::Md5, "2188640188f46514726284ea1e2f3013");
    let sha256 = (Hash::Sha256, "c74068fdf9fbfb32bcf0962434adb98554e82f4ede0038d582b15fb6513b3dd3");
    for (params, expected, (hash, ha1)) in [
        ("", "0ea14843ff869d1561297d4372150416", md5),
        (",algorithm=md5", "0ea14843ff869d1561297d4372150416", md5),
        (",qop=auth", "7f22e120b075ad7e39eaab26a68a4b19", md5),
        (",qop=auth,algorithm=MD5-sess", "8f8252349939e36a3fe58b26c0965b06", md5),
        (",algorithm=\"SHA-256\"", "be2c75d22395adcc7afb1307fb0fdaf8eaf601470bc9f1f4852b77d1ca445209", sha256),
        (",algorithm=SHA-256,qop=\"auth\"", "94290a68ed82825216576459b46eafa8666f22447d0c4960c6051ed47f89449e", sha256),
        (
            ",algorithm=SHA-256-sess,qop=\"auth\"",
            "043d0ad16103c5eef04caebf918405f9eacfc5f1f902fb63acac2230705e847b",
            sha256,
        ),
    ] {
        let challenge = format!("Digest realm=\"ctcims.cn\",nonce=\"nonce1\"{params}");
        for secret in [PASSWORD, Secret::Hashed(hash, ha1.as_bytes())] {
            assert_eq!(answered(&challenge, 9, USER, secret, request, b"cn"), expected, "{params}");
        }
        assert_eq!(hashed_secret(hash, USER, b"ctcims.cn", b"se\"cr:et"), ha1.as_bytes());
    }
    let challenge = "Digest realm=\"ctcims.cn\",nonce=\"nonce1\",qop=auth,algorithm=SHA-512-256";
    assert_eq!(
        answered(challenge, 9, USER, PASSWORD, request, b"cn"),
        "d57ee9a9e83f327a3bce6a56bbba366442a2474b761b7e068066fc3a88d8e795"
    );
}

#[test]
fn what_the_client_writes() {
    let challenge = "Digest realm=\"a \\\"b\\\"\", nonce=\"n=,=\", opaque=\"\", qop=\"auth\", algorithm=MD5";
    let mut session = Session::new(&choose([challenge.as_bytes()].into_iter(), PASSWORD).unwrap());
    let value = text(session.authorize(b"x\\y", PASSWORD, b"BYE", b"sip:a@b", b"c1"));
    let response = text(Response::all(value.as_bytes()).next().unwrap().response.to_vec());
    assert_eq!(
        value,
        format!(
            "Digest username=\"x\\\\y\", realm=\"a \\\"b\\\"\", nonce=\"n=,=\", uri=\"sip:a@b\", \
             response=\"{response}\", algorithm=MD5, cnonce=\"c1\", qop=auth, nc=00000001, opaque=\"\""
        )
    );
    assert_eq!(*Response::all(value.as_bytes()).next().unwrap().realm, *b"a \"b\"");
    assert!(text(session.authorize(b"x", PASSWORD, b"BYE", b"sip:a@b", b"c2")).contains("nc=00000002"));
    session.learn(b"qop=auth, nextnonce=\"other\"");
    let next = text(session.authorize(b"x", PASSWORD, b"BYE", b"sip:a@b", b"c3"));
    assert!(next.contains("nonce=\"other\"") && next.contains("nc=00000001"));

    let old = "Digest realm=\"r\",nonce=\"n\"";
    let mut session = Session::new(&choose([old.as_bytes()].into_iter(), PASSWORD).unwrap());
    let value = text(session.authorize(b"x", PASSWORD, b"BYE", b"sip:a@b", b"c"));
    assert!(["algorithm", "qop", "nc=", "cnonce", "opaque"].iter().all(|param| !value.contains(param)), "{value}");
}

#[test]
fn the_strongest_challenge_is_chosen() {
    let realm = |values: &[&str], secret: Secret<'_>| {
        choose(values.iter().map(|value| value.as_bytes()), secret).map(|challenge| text(challenge.realm.to_vec()))
    };
    let md5 = "Digest realm=\"md5\",nonce=n,algorithm=MD5";
    let sha = "Digest realm=sha,nonce=n,algorithm=SHA-256,qop=\"auth-int,auth\"";
    let others = "Basic realm=\"basic\", NTLM, Digest realm=\"x\",nonce=n,algorithm=AKAv1-MD5, \
        Digest realm=\"y\",nonce=n,qop=\"auth-int\", Digest realm=\"z\"";
    assert_eq!(realm(&[md5, sha], PASSWORD).as_deref(), Some("sha"));
    assert_eq!(realm(&[md5, sha], Secret::Hashed(Hash::Md5, b"")).as_deref(), Some("md5"));
    assert_eq!(realm(&[others], PASSWORD), None);
    let glued = format!("{others} , {md5} ,\r\n {sha}");
    assert_eq!(realm(&[&glued], PASSWORD).as_deref(), Some("sha"));
    let two = [md5, "Digest realm=\"second\",nonce=n,algorithm=MD5"];
    assert_eq!(realm(&two, PASSWORD).as_deref(), Some("md5"), "the first of its kind");
}

#[test]
fn quotes_and_escapes_stand_only_in_quotes() {
    for nonce in ["a\"b", "a\\", "\"a", "\"a\"b", "\"a\\\"", "a\"b\"", "\\"] {
        let value = format!("Digest realm=r, nonce={nonce}");
        assert_eq!(Challenge::all(value.as_bytes()).count(), 0, "{nonce}");
    }
    let value = "Digest realm=r, nonce=\"a\\\\\"";
    assert_eq!(Challenge::all(value.as_bytes()).next().map(|challenge| challenge.nonce), Some(&br"a\\"[..]));
}

#[test]
fn a_challenge_offers_the_strong_hash_first() {
    let challenger = challenger();
    let [sha256, md5] = challenger.challenge(5, source(), true).try_into().unwrap();
    let [sha256, md5] = [text(sha256), text(md5)];
    assert!(sha256.starts_with("Digest realm=\"ctcims.cn\", nonce=\""));
    assert!(sha256.ends_with("\", stale=true, algorithm=SHA-256, qop=\"auth\""));
    assert_eq!(md5, sha256.replace("SHA-256", "MD5"));
    assert!(Challenge::all(md5.as_bytes()).next().unwrap().stale);
    assert_ne!(challenger.challenge(5, source(), true)[0], sha256.as_bytes(), "no two nonces are the same");
}

#[test]
fn a_nonce_is_used_again_with_a_higher_count() {
    let mut challenger = challenger();
    let mut session = session(&mut challenger, 5);
    assert_eq!(challenger.used(), 0, "asking leaves nothing behind");
    let (first, second, third) = (register(&mut session), register(&mut session), register(&mut session));
    assert_eq!(verify(&mut challenger, 6, &first), accepted());
    assert_eq!(verify(&mut challenger, 7, &third), accepted());
    for replayed in [&first, &second, &third] {
        assert_eq!(verify(&mut challenger, 8, replayed), Verdict::Stale);
    }
    assert_eq!(challenger.used(), 1);
}

#[test]
fn an_answer_without_qop_is_good_once() {
    let mut challenger = challenger();
    let values = challenger.challenge(5, source(), false);
    let md5 = text(values[1].clone()).replace(", qop=\"auth\"", "");
    let mut session = Session::new(&Challenge::all(md5.as_bytes()).next().unwrap());
    let (first, second) = (register(&mut session), register(&mut session));
    assert_eq!(verify(&mut challenger, 6, &first), accepted());
    assert_eq!(verify(&mut challenger, 6, &second), Verdict::Stale);
}

#[test]
fn clones_know_each_others_nonces_and_counts() {
    let mut challenger = challenger();
    let mut session = session(&mut challenger, 5);
    let (first, second) = (register(&mut session), register(&mut session));
    let mut other = challenger.clone();
    assert_eq!(verify(&mut other, 6, &first), accepted());
    assert_eq!(verify(&mut challenger, 6, &first), Verdict::Stale, "a replay, elsewhere");
    assert_eq!(verify(&mut challenger, 6, &second), accepted());
    assert_eq!((challenger.used(), other.used()), (1, 1));
    // In the same moment, for the same source.
    assert_ne!(challenger.challenge(7, source(), false), other.challenge(7, source(), false));
}

#[test]
fn a_nonce_grows_old() {
    let mut challenger = challenger();
    let mut session = session(&mut challenger, 5);
    assert_eq!(verify(&mut challenger, 5 + 300 * SECOND, &register(&mut session)), accepted());
    assert_eq!(verify(&mut challenger, 6 + 300 * SECOND, &register(&mut session)), Verdict::Stale);
    let mut fresh = self::session(&mut challenger, 400 * SECOND);
    assert_eq!(verify(&mut challenger, 401 * SECOND, &register(&mut fresh)), accepted());
    assert_eq!(challenger.used(), 1, "the old one is forgotten");
    assert_eq!(verify(&mut challenger, 0, &register(&mut fresh)), Verdict::Stale, "made in the future");
}

#[test]
fn a_nonce_from_elsewhere_is_stale() {
    let mut challenger = challenger();
    let mut session = session(&mut challenger, 5);
    let value = register(&mut session);
    let elsewhere = "192.0.2.2".parse().unwrap();
    let none = |_: &Checked<'_>| -> Option<Secret<'_>> { panic!("the nonce is looked at first") };
    let verdict = challenger.verify(6, elsewhere, (b"REGISTER", URI), [&value[..]].into_iter(), none);
    assert_eq!(verdict, Verdict::Stale);
    let mut other = Challenger::new(b"ctcims.cn", &[8; 32], Settings::default());
    assert_eq!(verify(&mut other, 6, &value), Verdict::Stale, "another secret");
    let mapped = "::ffff:192.0.2.1".parse().unwrap();
    let verdict = challenger.verify(6, mapped, (b"REGISTER", URI), [&value[..]].into_iter(), |_| Some(PASSWORD));
    assert_eq!(verdict, accepted(), "the same address, seen by a socket of both families");
}

#[test]
fn what_is_remembered_is_bounded_and_what_is_forgotten_is_stale() {
    let mut challenger = challenger();
    let mut sessions: Vec<_> = (0..6).map(|_| session(&mut challenger, 5)).collect();
    let values: Vec<_> = sessions[..4].iter_mut().map(register).collect();
    for value in &values {
        assert_eq!(verify(&mut challenger, 6, value), accepted());
    }
    assert_eq!(challenger.used(), 3);
    assert_eq!(verify(&mut challenger, 6, &values[0]), Verdict::Stale, "forgotten, but no replay");
    assert_eq!(verify(&mut challenger, 6, &register(&mut sessions[0])), Verdict::Stale);
    assert_eq!(verify(&mut challenger, 6, &register(&mut sessions[3])), accepted());
    assert_eq!(verify(&mut challenger, 6, &register(&mut sessions[5])), accepted());
}

#[test]
fn what_is_wrong_is_told() {
    let mut challenger = challenger();
    assert_eq!(verify(&mut challenger, 5, b"Basic QWxhZGRpbg=="), Verdict::Missing);
    let good = text(register(&mut session(&mut challenger, 5)));
    for (from, to, verdict) in [
        ("realm=\"ctcims.cn\"", "realm=\"other\"", Verdict::Missing),
        ("nonce=\"", "nonce=\"0", Verdict::Stale),
        ("nonce=\"0", "nonce=\"+", Verdict::Stale),
        ("SHA-256", "SHA-256-sess", Verdict::Wrong(Wrong::Algorithm)),
        ("SHA-256", "SHA-512-256", Verdict::Wrong(Wrong::Algorithm)),
        ("SHA-256", "ROT-13", Verdict::Wrong(Wrong::Algorithm)),
        ("SHA-256", "MD5", Verdict::Wrong(Wrong::Password)),
        ("qop=auth", "qop=auth-int", Verdict::Wrong(Wrong::Malformed)),
        ("nc=00000001", "nc=00000000", Verdict::Wrong(Wrong::Malformed)),
        ("nc=00000001", "nc=1", Verdict::Wrong(Wrong::Malformed)),
        ("nc=00000001", "nc=+0000001", Verdict::Wrong(Wrong::Malformed)),
        ("nc=00000001", "x=y", Verdict::Wrong(Wrong::Malformed)),
        ("nc=00000001", "nc=00000002", Verdict::Wrong(Wrong::Password)),
        ("cnonce=\"", "cnonce=\"x", Verdict::Wrong(Wrong::Password)),
        ("cnonce=", "cnonse=", Verdict::Wrong(Wrong::Malformed)),
        ("uri=\"sip:", "uri=\"sips:", Verdict::Wrong(Wrong::Uri)),
        ("uri=\"sip:gd", "uri=\"sip:cq", Verdict::Wrong(Wrong::Uri)),
        ("response=\"", "response=\"0", Verdict::Wrong(Wrong::Password)),
        ("+86", "+87", Verdict::Wrong(Wrong::User)),
    ] {
        assert!(good.contains(from) || from == "nonce=\"0", "{from}");
        assert_eq!(verify(&mut challenger, 6, good.replacen(from, to, 1).as_bytes()), verdict, "{to}");
    }
    assert_eq!(challenger.used(), 0, "nothing wrong is remembered");
    assert_eq!(verify(&mut challenger, 6, good.as_bytes()), accepted());
}

#[test]
fn the_request_may_name_the_resource_a_little_otherwise() {
    let mut challenger = challenger();
    let mut session = session(&mut challenger, 5);
    let mut verdict = |uri: &[u8], method: &[u8]| {
        let value = register(&mut session);
        let verdict = challenger.verify(6, source(), (method, uri), [&value[..]].into_iter(), |_| Some(PASSWORD));
        matches!(verdict, Verdict::Accepted { .. })
    };
    assert!(verdict(b"sip:gd.ctcims.cn", b"REGISTER"));
    assert!(verdict(b"sip:GD.ctcims.cn:5060;transport=udp", b"REGISTER"));
    assert!(!verdict(b"sip:6001@gd.ctcims.cn", b"REGISTER"));
    assert!(!verdict(b"tel:+1", b"REGISTER"));
    assert!(!verdict(b"sip:gd.ctcims.cn", b"INVITE"));
}

#[test]
fn a_challenge_after_an_answer() {
    let read = |value: &'static str| Challenge::all(value.as_bytes()).next().unwrap();
    let session = Session::new(&read("Digest realm=r,nonce=n"));
    assert!(session.refuses(&read("Digest realm=r,nonce=n,stale=false")));
    assert!(!session.refuses(&read("Digest realm=r,nonce=n,stale=TRUE")));
    assert!(!session.refuses(&read("Digest realm=r,nonce=m")));
}
