//! The client against servers on loopback that these tests run.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use md5::{Digest, Md5};
use moorline_b2bua::radius::Stamp;
use tokio::net::UdpSocket;

use super::*;

const SECRET: &[u8] = b"lab-secret-0123456789";

fn question() -> DigestQuestion {
    DigestQuestion {
        user: b"6000".into(),
        realm: b"example.com".into(),
        nonce: b"abc123".into(),
        method: b"REGISTER".into(),
        uri: b"sip:example.com".into(),
        response: b"45fb6e6098cc42f8189968d77ab08a16".into(),
        algorithm: Some(b"MD5".into()),
        qop: Some(b"auth".into()),
        nonce_count: Some(b"00000001".into()),
        cnonce: Some(b"xyz".into()),
        opaque: None,
    }
}

/// An answer as a server makes it (RFC 2865 section 3, RFC 3579 section 3.2).
fn reply_to(stamp: Stamp, code: u8, secret: &[u8], signed: bool) -> Vec<u8> {
    let mut attributes = vec![18, 4, b'h', b'i'];
    if signed {
        let at = attributes.len() + 2;
        attributes.extend([80, 18]);
        attributes.extend([0; 16]);
        let length = u16::try_from(20 + attributes.len()).expect("short").to_be_bytes();
        let mut text = vec![code, stamp.identifier, length[0], length[1]];
        text.extend(stamp.authenticator);
        text.extend(&attributes);
        attributes[at..].copy_from_slice(&hmac_md5(secret, &text));
    }
    let length = u16::try_from(20 + attributes.len()).expect("short").to_be_bytes();
    let header = [code, stamp.identifier, length[0], length[1]];
    let mut hash = Md5::new();
    for part in [&header[..], &stamp.authenticator, &attributes, secret] {
        hash.update(part);
    }
    let mut packet = header.to_vec();
    packet.extend(hash.finalize());
    packet.extend(attributes);
    packet
}

/// HMAC written out (RFC 2104), for keys of up to 64 bytes.
fn hmac_md5(key: &[u8], text: &[u8]) -> [u8; 16] {
    let mut padded = [0; 64];
    padded[..key.len()].copy_from_slice(key);
    let inner = Md5::new().chain_update(padded.map(|byte| byte ^ 0x36)).chain_update(text).finalize();
    Md5::new().chain_update(padded.map(|byte| byte ^ 0x5c)).chain_update(inner).finalize().into()
}

/// A server on loopback: what it does with each datagram it gets, by number.
async fn server(behave: impl Fn(usize, Stamp) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("bound");
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        let mut count = 0;
        while let Ok((length, source)) = socket.recv_from(&mut buffer).await {
            let packet = &buffer[..length];
            let stamp = Stamp { identifier: packet[1], authenticator: packet[4..20].try_into().expect("16 bytes") };
            for reply in behave(count, stamp) {
                socket.send_to(&reply, source).await.expect("sent");
            }
            count += 1;
        }
    });
    address
}

fn accepting(_: usize, stamp: Stamp) -> Vec<Vec<u8>> {
    vec![reply_to(stamp, 2, SECRET, true)]
}

fn rejecting(_: usize, stamp: Stamp) -> Vec<Vec<u8>> {
    vec![reply_to(stamp, 3, SECRET, false)]
}

fn silent(_: usize, _: Stamp) -> Vec<Vec<u8>> {
    Vec::new()
}

fn secret_file(mode: u32, text: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), text).expect("written");
    std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).expect("its own file");
    file
}

fn config(servers: &[SocketAddr], secret_file: &Path) -> RadiusConfig {
    let servers: Vec<String> = servers.iter().map(ToString::to_string).collect();
    toml::from_str(&format!("servers = {servers:?}\nsecret_file = {secret_file:?}\ntimeout_ms = 300")).expect("good")
}

/// Asks a question of these servers.
async fn verdict(servers: &[SocketAddr], change: impl FnOnce(&mut RadiusConfig)) -> Verdict {
    let file = secret_file(0o600, SECRET);
    let mut config = config(servers, file.path());
    change(&mut config);
    let (questions, mut verdicts) = start(&config).expect("starts");
    assert!(questions.put(42, question()));
    let (number, verdict) = verdicts.recv().await.expect("a verdict");
    assert_eq!(number, 42);
    verdict
}

#[tokio::test]
async fn the_first_server_decides() {
    let yes = server(accepting).await;
    let no = server(rejecting).await;
    assert_eq!(verdict(&[yes, no], |_| {}).await, Verdict::Accepted);
    assert_eq!(verdict(&[no, yes], |_| {}).await, Verdict::Rejected);
    let challenging = server(|_, stamp| vec![reply_to(stamp, 11, SECRET, false)]).await;
    assert_eq!(verdict(&[challenging, yes], |_| {}).await, Verdict::Rejected);
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again() {
    let second_time = server(|count, stamp| if count == 0 { Vec::new() } else { accepting(count, stamp) }).await;
    assert_eq!(verdict(&[second_time], |_| {}).await, Verdict::Accepted);
    assert_eq!(verdict(&[server(silent).await], |config| config.attempts = 1).await, Verdict::Unavailable);
}

#[tokio::test]
async fn the_next_server_is_asked_when_one_is_silent_or_not_there() {
    let silent = server(silent).await;
    let closed = UdpSocket::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let yes = server(accepting).await;
    assert_eq!(verdict(&[silent, closed, yes], |_| {}).await, Verdict::Accepted);
    assert_eq!(verdict(&[silent, closed], |_| {}).await, Verdict::Unavailable);
}

#[tokio::test]
async fn forged_answers_are_passed_over() {
    let beset = server(|count, stamp| {
        let mut changed = reply_to(stamp, 3, SECRET, true);
        changed[0] = 2;
        let guessed = Stamp { identifier: stamp.identifier.wrapping_add(1), ..stamp };
        let mut replies = vec![changed, reply_to(guessed, 2, SECRET, true), reply_to(stamp, 2, b"guess", true)];
        replies.extend([vec![], vec![2; 3], vec![2; 5000]]);
        replies.extend(rejecting(count, stamp));
        replies
    })
    .await;
    assert_eq!(verdict(&[beset], |_| {}).await, Verdict::Rejected);
}

#[tokio::test]
async fn unsigned_answers_are_passed_over_where_they_must_be_signed() {
    let signing = server(accepting).await;
    let not_signing = server(|_, stamp| vec![reply_to(stamp, 2, SECRET, false)]).await;
    let must = |config: &mut RadiusConfig| config.require_message_authenticator = true;
    assert_eq!(verdict(&[signing], must).await, Verdict::Accepted);
    assert_eq!(verdict(&[not_signing], must).await, Verdict::Unavailable);
    assert_eq!(verdict(&[not_signing], |_| {}).await, Verdict::Accepted);
}

#[tokio::test]
async fn a_server_that_did_not_answer_is_asked_last_for_a_while() {
    let (asked, mut was_asked) = mpsc::unbounded_channel();
    let silent = server(move |_, _| {
        asked.send(()).expect("listening");
        Vec::new()
    })
    .await;
    let yes = server(accepting).await;
    let file = secret_file(0o640, SECRET);
    let (questions, mut verdicts) = start(&config(&[silent, yes], file.path())).expect("starts");
    for number in 0..20 {
        assert!(questions.put(number, question()));
        assert_eq!(verdicts.recv().await, Some((number, Verdict::Accepted)));
    }
    let mut count = 0;
    while was_asked.try_recv().is_ok() {
        count += 1;
    }
    assert_eq!(count, 2, "the attempts of the first question");
}

#[tokio::test]
async fn many_questions_are_asked_at_once_and_each_gets_its_own_verdict() {
    let yes = server(accepting).await;
    let file = secret_file(0o600, SECRET);
    let (questions, mut verdicts) = start(&config(&[yes], file.path())).expect("starts");
    let put = (0..2000).filter(|number| questions.put(*number, question())).count();
    assert_eq!(put, MAX_QUEUED);
    let mut numbers = BTreeSet::new();
    for _ in 0..put {
        let (number, verdict) = verdicts.recv().await.expect("a verdict");
        assert_eq!(verdict, Verdict::Accepted);
        numbers.insert(number);
    }
    assert_eq!(numbers.len(), put);
}

#[tokio::test]
async fn credentials_that_no_server_could_be_told_are_wrong() {
    let yes = server(accepting).await;
    let file = secret_file(0o600, SECRET);
    let (questions, mut verdicts) = start(&config(&[yes], file.path())).expect("starts");
    assert!(questions.put(1, DigestQuestion { uri: vec![b'a'; 300], ..question() }));
    assert_eq!(verdicts.recv().await, Some((1, Verdict::Rejected)));
}

#[test]
fn the_secret_is_one_line_that_strangers_cannot_read_and_is_never_shown() {
    for (mode, text) in [(0o600, &b"s3cret"[..]), (0o640, b"s3cret\n"), (0o400, b"s3cret\r\n")] {
        assert_eq!(SharedSecret::read(secret_file(mode, text).path()).expect("good"), SharedSecret::new(*b"s3cret"));
    }
    for mode in [0o644, 0o604, 0o660, 0o602] {
        let fault = SharedSecret::read(secret_file(mode, b"s3cret").path()).expect_err("open to others");
        assert!(matches!(fault, SecretFault::Open { mode: found, .. } if found == mode), "{fault}");
    }
    for text in [&b""[..], b"\n", b"two\nlines", &[b'a'; 1025]] {
        let fault = SharedSecret::read(secret_file(0o600, text).path()).expect_err("no secret");
        assert!(matches!(fault, SecretFault::Malformed { .. }), "{fault}");
    }
    let fault = SharedSecret::read(Path::new("/nowhere/secret")).expect_err("no file");
    assert!(matches!(fault, SecretFault::Unreadable { .. }), "{fault}");
    assert_eq!(format!("{:?}", SharedSecret::new(*b"s3cret")), "SharedSecret(..)");
    let shown = format!("{:?}", question());
    assert!(shown.contains("6000") && !shown.contains("45fb6e60"), "{shown}");
}

#[test]
fn faults_of_the_configuration_are_named() {
    let file = secret_file(0o600, SECRET);
    let server = SocketAddr::from(([127, 0, 0, 1], 1812));
    let good = config(&[server], file.path());
    assert_eq!(good.faults(), []);
    assert_eq!((good.attempts, good.attributes), (2, DigestAttributes::Sterman));
    let bad = RadiusConfig {
        servers: vec![server, server, SocketAddr::from(([0, 0, 0, 0], 1812))],
        timeout_ms: 0,
        attempts: 6,
        nas_identifier: String::new(),
        secret_file: "/nowhere/secret".into(),
        ..good
    };
    let keys: Vec<String> = bad.faults().into_iter().map(|(key, ..)| key).collect();
    assert_eq!(keys, ["servers[1]", "servers[2]", "timeout_ms", "attempts", "nas_identifier", "secret_file"]);
    assert_eq!(RadiusConfig { servers: Vec::new(), ..config(&[server], file.path()) }.faults().len(), 1);
}
