//! Verdicts of a real FreeRADIUS on loopback.
#![cfg(test)]

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use md5::{Digest, Md5};
use moorline_b2bua::verify::{DigestQuestion, Verdict};
use moorline_signaling::radius::{self, DigestAttributes, RadiusConfig};

const FREERADIUS: &str = "/usr/sbin/freeradius";
const SECRET: &str = "a secret of the lab";

/// Ends the server with the test.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts FreeRADIUS with its `digest` and `files` modules, and two users.
fn start_server(directory: &Path) -> Server {
    // A port that was free a moment ago: there is no way to have it choose one and tell.
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("bound");
    drop(socket);
    let at = directory.display();
    let port = address.port();
    let config = format!(
        "prefix = /usr\nlocalstatedir = {at}\nlogdir = {at}\nrun_dir = {at}\nraddbdir = {at}\n\
         libdir = /usr/lib/freeradius\nmax_request_time = 30\ncleanup_delay = 5\nmax_requests = 1024\n\
         security {{\nmax_attributes = 200\nreject_delay = 0\nstatus_server = no\n}}\n\
         thread pool {{\nstart_servers = 1\nmax_servers = 4\nmin_spare_servers = 1\nmax_spare_servers = 2\n}}\n\
         client local {{\nipaddr = 127.0.0.1\nsecret = \"{SECRET}\"\nrequire_message_authenticator = yes\n}}\n\
         modules {{\ndigest {{\n}}\nfiles {{\nusersfile = {at}/users\n}}\n}}\n\
         server default {{\nlisten {{\ntype = auth\nipaddr = 127.0.0.1\nport = {port}\n}}\n\
         authorize {{\ndigest\nfiles\n}}\nauthenticate {{\ndigest\n}}\n}}\n"
    );
    fs::write(directory.join("radiusd.conf"), config).expect("written");
    let users = "6000 Cleartext-Password := \"secret-6000\"\n\
                 +8612345678@gd.ctcims.cn Cleartext-Password := \"secret-im\"\n";
    fs::write(directory.join("users"), users).expect("written");
    let log = fs::File::create(directory.join("log")).expect("a log");
    let process = Command::new(FREERADIUS)
        .args(["-f", "-l", "stdout", "-n", "radiusd", "-d"])
        .arg(directory)
        .stdout(log.try_clone().expect("a log"))
        .stderr(log)
        .stdin(Stdio::null())
        .spawn()
        .expect("FreeRADIUS starts");
    Server { process, address }
}

fn md5(text: &str) -> String {
    Md5::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a client with this password says (RFC 2617 section 3.2.2).
fn question(user: &str, password: &str, qop: bool) -> DigestQuestion {
    let (realm, nonce, method, uri) = ("gd.ctcims.cn", "65f1c0de:0011", "REGISTER", "sip:gd.ctcims.cn");
    let ha1 = md5(&format!("{user}:{realm}:{password}"));
    let ha2 = md5(&format!("{method}:{uri}"));
    let response = if qop {
        md5(&format!("{ha1}:{nonce}:00000001:0a4f113b:auth:{ha2}"))
    } else {
        md5(&format!("{ha1}:{nonce}:{ha2}"))
    };
    let only_with_qop = |value: &str| qop.then(|| value.as_bytes().to_vec());
    DigestQuestion {
        user: user.into(),
        realm: realm.into(),
        nonce: nonce.into(),
        method: method.into(),
        uri: uri.into(),
        response: response.into(),
        algorithm: Some("MD5".into()),
        qop: only_with_qop("auth"),
        nonce_count: only_with_qop("00000001"),
        cnonce: only_with_qop("0a4f113b"),
        opaque: None,
    }
}

#[tokio::test]
async fn freeradius_judges_digest_credentials() {
    if !Path::new(FREERADIUS).exists() {
        eprintln!("left out: FreeRADIUS is not installed (apt-get install freeradius)");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let secret_file = directory.path().join("secret");
    fs::write(&secret_file, format!("{SECRET}\n")).expect("written");
    fs::set_permissions(&secret_file, fs::Permissions::from_mode(0o600)).expect("its own file");
    let mut server = start_server(directory.path());
    let config = RadiusConfig {
        servers: vec![server.address],
        secret_file,
        timeout_ms: 1000,
        attempts: 5,
        attributes: DigestAttributes::Sterman,
        require_message_authenticator: false,
        nas_identifier: "moorline".into(),
    };
    let (questions, mut verdicts) = radius::start(&config).expect("starts");
    let mut ask = async |question: DigestQuestion| {
        assert!(questions.put(1, question));
        verdicts.recv().await.expect("a verdict").1
    };
    // Until it listens, nobody answers.
    let right = question("6000", "secret-6000", true);
    let mut first = Verdict::Unavailable;
    for _attempt in 0..100 {
        first = ask(right.clone()).await;
        let ended = server.process.try_wait().expect("asked");
        if first != Verdict::Unavailable || ended.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let log = fs::read_to_string(directory.path().join("log")).expect("a log");
    assert_eq!(first, Verdict::Accepted, "{log}");
    let cases = [
        ("without qop", question("6000", "secret-6000", false), Verdict::Accepted),
        ("a user name with a domain", question("+8612345678@gd.ctcims.cn", "secret-im", true), Verdict::Accepted),
        ("a wrong password", question("6000", "guess", true), Verdict::Rejected),
        ("an unknown user", question("6001", "secret-6000", true), Verdict::Rejected),
        ("another method", DigestQuestion { method: "INVITE".into(), ..right.clone() }, Verdict::Rejected),
        ("another nonce", DigestQuestion { nonce: "65f1c0de:0012".into(), ..right.clone() }, Verdict::Rejected),
        ("an unknown algorithm", DigestQuestion { algorithm: Some("SHA-256".into()), ..right }, Verdict::Rejected),
    ];
    for (case, question, expected) in cases {
        assert_eq!(ask(question).await, expected, "{case}");
    }
}
