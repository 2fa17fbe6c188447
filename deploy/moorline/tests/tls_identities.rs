//! A trunk whose connections must show who they are: `tls_identities`, with openssl as the peer.
#![cfg(test)]

mod stand;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;

use stand::operator::{edit, moorline, said};
use stand::{PATIENCE, Stand, left_out};

/// The networks of the tests.
const NET: u8 = 88;
const NET_APART: u8 = 87;

/// Runs openssl, which must succeed.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().expect("it runs");
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Signs a certificate for `subject` (such as `DNS:pbx.example`) by `authority` into `name`.pem and `name`.key.
fn sign(folder: &Path, authority: &str, name: &str, subject: &str) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(folder, &format!("req -new {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    std::fs::write(folder.join(format!("{name}.ext")), format!("subjectAltName={subject}\n")).expect("written");
    let by = format!("-CA {authority}.pem -CAkey {authority}.key -CAcreateserial");
    openssl(folder, &format!("x509 -req -in {name}.csr {by} -days 2 -extfile {name}.ext -out {name}.pem"));
}

/// Two authorities, the host's certificate, and those of its peers: of the first authority's but for `foreign`.
fn certificates(folder: &Path, net: u8) {
    for authority in ["ca", "stranger"] {
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        openssl(
            folder,
            &format!("req -x509 {key} -keyout {authority}.key -out {authority}.pem -days 2 -subj /CN={authority}"),
        );
    }
    sign(folder, "ca", "own", &format!("IP:127.98.{net}.1"));
    sign(folder, "ca", "right", "DNS:pbx.example");
    sign(folder, "ca", "wrong", "DNS:other.example");
    sign(folder, "stranger", "foreign", "DNS:pbx.example");
}

/// A peer that holds a connection over TLS.
struct Peer {
    process: Child,
    to: ChildStdin,
    from: String,
    sbc: SocketAddr,
    /// What it heard, piece by piece; nobody says more once the connection is closed.
    heard: mpsc::Receiver<String>,
}

impl Peer {
    /// Connects from an address, with or without a certificate.
    fn new(stand: &Stand, folder: &Path, certificate: Option<&str>, from: &str) -> Peer {
        let sbc = stand.address(1, 5061);
        let mut command = Command::new("openssl");
        command.current_dir(folder).args(["s_client", "-quiet", "-verify_quiet", "-CAfile", "ca.pem", "-bind", from]);
        command.arg("-connect").arg(sbc.to_string());
        if let Some(name) = certificate {
            command.args(["-cert", &format!("{name}.pem"), "-key", &format!("{name}.key")]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("it runs");
        let (to, mut answers) = (process.stdin.take().expect("piped"), process.stdout.take().expect("piped"));
        let (tell, heard) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok(length @ 1..) = answers.read(&mut buffer) {
                if tell.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                    break;
                }
            }
        });
        Peer { process, to, from: from.to_owned(), sbc, heard }
    }

    /// What comes back to an OPTIONS: an answer, or nothing before the connection is closed.
    fn ask(&mut self, number: u32) -> String {
        self.hears("OPTIONS", "", number)
    }

    /// What comes back to an INVITE.
    fn calls(&mut self, number: u32) -> String {
        self.hears("INVITE", "5551000@", number)
    }

    /// Asks something, and hears the answer.
    fn hears(&mut self, method: &str, user: &str, number: u32) -> String {
        let Peer { from, sbc, .. } = self;
        let request = format!(
            "{method} sip:{user}{sbc};transport=tls SIP/2.0\r\nVia: SIP/2.0/TLS {from};branch=z9hG4bK{method}{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{from}>;tag=1\r\nTo: <sip:{user}{sbc}>\r\nCall-ID: {method}{number}\r\n\
             CSeq: {number} {method}\r\nContact: <sip:{from}>\r\nContent-Length: 0\r\n\r\n"
        );
        // Whoever is refused may be gone already.
        let _refused = self.to.write_all(request.as_bytes());
        let mut text = String::new();
        while !text.contains("\r\n\r\n") {
            match self.heard.recv_timeout(PATIENCE) {
                Ok(more) => text += &more,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("neither an answer nor the end of the connection"),
            }
        }
        text
    }

    /// Waits for the end of the connection.
    fn is_closed(&self) {
        assert_eq!(self.heard.recv_timeout(PATIENCE), Err(RecvTimeoutError::Disconnected));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _waited = self.process.wait();
    }
}

/// What comes back to who shows this certificate.
fn asked(stand: &Stand, folder: &Path, certificate: Option<&str>, from: &str) -> String {
    Peer::new(stand, folder, certificate, from).ask(1)
}

/// Moorline with a listener of TLS alone, whose clients may show a certificate, and what is written behind it.
fn stand_with(net: u8, folder: &Path, clients: &str, rest: &str) -> Stand {
    Stand::up_with(net, |text, socket| {
        let command = socket.replace("media.sock", "signaling.sock");
        let tls = format!(
            "transports = [\"tls\"]\ntls = {{ certificate = {:?}, key = {:?}, client_ca = {:?}, clients = {clients:?} }}\n",
            folder.join("own.pem"),
            folder.join("own.key"),
            folder.join("ca.pem")
        );
        let listener =
            format!("[[signaling.listeners]]\nname = \"secure\"\nbind = \"127.98.{net}.1:5061\"\n{tls}{rest}");
        text.replacen("[[signaling.routes]]", &format!("{listener}[[signaling.routes]]"), 1).replacen(
            "[signaling]\n",
            &format!("[signaling]\ncommand = {command:?}\n"),
            1,
        )
    })
}

#[test]
fn trunks_that_may_come_from_anywhere_are_told_apart_by_their_certificates() {
    if Command::new("openssl").arg("version").output().is_err() {
        return left_out("trunks told apart by certificates", "openssl");
    }
    let certificates_folder = tempfile::tempdir().expect("a folder");
    let folder = certificates_folder.path();
    certificates(folder, NET_APART);
    let customer = |name: &str, identities: &str, status: u16| {
        format!(
            "[[signaling.trunks]]\nname = \"{name}\"\nlistener = \"secure\"\nsources = [\"127.0.0.0/8\"]\n\
             tls_identities = {identities}\n[[signaling.routes]]\nfrom = \"{name}\"\n\
             refuse = {{ status = {status}, reason = \"For {name}\" }}\n"
        )
    };
    let rest = [
        customer("pbx", "[\"pbx.example\"]", 480),
        customer("other", "[\"other.example\"]", 486),
        customer("anybody", "[]", 600),
    ];
    let stand = stand_with(NET_APART, folder, "allow", &rest.concat());
    let from = format!("127.98.{NET_APART}.6");
    let mut peers = [Some("right"), Some("wrong"), None].map(|shown| Peer::new(&stand, folder, shown, &from));
    let answers = ["SIP/2.0 480 For pbx", "SIP/2.0 486 For other", "SIP/2.0 600 For anybody"];
    // In turn, so that all are connected from one address at a time.
    for number in 1..=3 {
        for (peer, expected) in peers.iter_mut().zip(answers) {
            let heard = peer.calls(number);
            assert!(heard.starts_with(expected), "{expected}: {heard}");
        }
    }
    // Where nobody is left who asks for no name, who shows none is a stranger, and the others stay.
    edit(&stand, "tls_identities = []", "tls_identities = [\"nobody.example\"]");
    let output = moorline(&stand, &["reload"]);
    assert!(output.status.success(), "{}", said(&output));
    let [pbx, other, anybody] = &mut peers;
    anybody.is_closed();
    for (peer, expected) in [pbx, other].into_iter().zip(answers) {
        let heard = peer.calls(4);
        assert!(heard.starts_with(expected), "{expected}: {heard}");
    }
    assert_eq!(asked(&stand, folder, None, &from), "");
}

#[test]
fn a_trunk_lets_in_who_shows_that_it_is_meant_and_closes_on_others() {
    if Command::new("openssl").arg("version").output().is_err() {
        return left_out("TLS identities of trunks", "openssl");
    }
    let certificates_folder = tempfile::tempdir().expect("a folder");
    let folder = certificates_folder.path();
    certificates(folder, NET);
    let trunk = "[[signaling.trunks]]\nname = \"pbx\"\nlistener = \"secure\"\nsources = [\"127.98.88.6/32\"]\n\
                 tls_identities = [\"pbx.example\"]\n";
    let stand = stand_with(NET, folder, "require", trunk);
    let failed = || stand.signaling_value("moorline_sip_tls_handshakes_failed_total");
    let answer = asked(&stand, folder, Some("right"), "127.98.88.6");
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");
    assert_eq!(failed(), Some(0.0));
    // Of the same authority, for somebody else; for the right one, of another authority; and none at all.
    for (count, certificate) in [(1.0, Some("wrong")), (2.0, Some("foreign")), (3.0, None)] {
        assert_eq!(asked(&stand, folder, certificate, "127.98.88.6"), "", "{certificate:?}");
        stand.until("the refusal is counted", || failed() == Some(count));
    }
    // Who it is does not help where it may not come from.
    assert_eq!(asked(&stand, folder, Some("right"), "127.98.88.7"), "");
    let answer = asked(&stand, folder, Some("right"), "127.98.88.6");
    assert!(answer.starts_with("SIP/2.0 200 "), "{answer}");

    // A reload with another identity closes on who has connected by the former one, and on nobody else.
    let mut right = Peer::new(&stand, folder, Some("right"), "127.98.88.6");
    assert!(right.ask(1).starts_with("SIP/2.0 200 "));
    let edited = |old: &str, new: &str| {
        edit(&stand, old, new);
        let output = moorline(&stand, &["reload"]);
        assert!(output.status.success(), "{}", said(&output));
    };
    edited("[\"pbx.example\"]", "[\"pbx.example\", \"other.example\"]");
    assert!(right.ask(2).starts_with("SIP/2.0 200 "), "it is still meant");
    let mut other = Peer::new(&stand, folder, Some("wrong"), "127.98.88.6");
    assert!(other.ask(1).starts_with("SIP/2.0 200 "), "it is meant now");
    edited("[\"pbx.example\", \"other.example\"]", "[\"other.example\"]");
    right.is_closed();
    assert!(other.ask(2).starts_with("SIP/2.0 200 "));
    assert_eq!(asked(&stand, folder, Some("right"), "127.98.88.6"), "");
}
