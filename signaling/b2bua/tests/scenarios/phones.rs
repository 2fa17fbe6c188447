//! Telephones that register with Moorline, as scripts.

use std::sync::Arc;

use moorline_b2bua::policy::{Authentication, Endpoints, Password, Policy, Route, Routes, Trunk, User, Way};
use moorline_sip::digest::{Hash, Secret, Session, choose};

use crate::harness::*;

pub(crate) const REALM: &str = "phones.example";
pub(crate) const PHONE: &str = "203.0.113.60:5060";
pub(crate) const PHONE_1: &str = "203.0.113.61:5060";
pub(crate) const PHONE_2: &str = "203.0.113.62:5060";

/// The usual policy, and a trunk of endpoints: 6000 with the password 1234, 6001 with 4321, which may have two
/// devices, and 6002, who is locked. Their other calls go to the carrier.
pub(crate) fn with_phones() -> Policy {
    with_endpoints(Endpoints::default())
}

pub(crate) fn with_endpoints(endpoints: Endpoints) -> Policy {
    let mut policy = policy();
    let user = |name: &str, password: &str| User {
        name: name.into(),
        password: Password::plain(password),
        enabled: true,
        ..User::default()
    };
    let users = [
        User { numbers: vec!["02112345678".into()], ..user("6000", "1234") },
        User { max_contacts: Some(2), ..user("6001", "4321") },
        User { enabled: false, ..user("6002", "1111") },
    ];
    policy.trunks.push(Trunk {
        name: "phones".into(),
        listener: 1,
        sources: vec!["0.0.0.0/0".parse().unwrap()],
        media_range: "phones".into(),
        authentication: Some(Authentication {
            realm: REALM.into(),
            algorithms: vec![Hash::Sha256, Hash::Md5],
            users: Arc::new(users.into_iter().collect()),
            ..Authentication::default()
        }),
        endpoints: Some(endpoints),
        ..Trunk::default()
    });
    policy.routes = Routes::new([
        Route { prefix: "555".into(), to: Way::Trunk(1), ..Route::default() },
        Route { prefix: "2".into(), from: Some(1), to: Way::Trunk(0), ..Route::default() },
        Route { from: Some(2), to: Way::Trunk(1), ..Route::default() },
    ]);
    policy
}

/// One telephone.
pub(crate) struct Phone {
    pub(crate) at: &'static str,
    pub(crate) user: &'static str,
    pub(crate) password: &'static str,
    /// What it says of itself.
    pub(crate) contact: String,
    /// More parameters of its Contact.
    pub(crate) params: String,
    pub(crate) call_id: String,
    pub(crate) cseq: u32,
    session: Option<Session>,
}

pub(crate) fn phone(user: &'static str, password: &'static str, at: &'static str) -> Phone {
    Phone {
        at,
        user,
        password,
        contact: format!("sip:{user}@{at}"),
        params: String::new(),
        call_id: format!("reg-{user}-{at}"),
        cseq: 0,
        session: None,
    }
}

impl Phone {
    /// A REGISTER as it is before anybody asked for credentials.
    pub(crate) fn register_lines(&mut self, lines: &str) -> String {
        self.cseq += 1;
        let (user, at, cseq) = (self.user, self.at, self.cseq);
        format!(
            "REGISTER sip:{REALM} SIP/2.0\r\nVia: SIP/2.0/UDP {};branch=z9hG4bK-reg-{user}-{at}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{REALM}>;tag=f{cseq}\r\nTo: <sip:{user}@{REALM}>\r\n\
             Call-ID: {}\r\nCSeq: {cseq} REGISTER\r\n{lines}Content-Length: 0\r\n\r\n",
            self.contact.rsplit('@').next().unwrap(),
            self.call_id,
        )
    }

    /// The REGISTER that binds its contact for so long.
    pub(crate) fn register_text(&mut self, expires_s: u32) -> String {
        let lines = format!("Contact: <{}>{}\r\nExpires: {expires_s}\r\n", self.contact, self.params);
        self.register_lines(&lines)
    }

    /// Registers, with the challenge in between if there is one: the final answer.
    #[track_caller]
    pub(crate) fn register(&mut self, net: &mut Net, expires_s: u32) -> Message {
        let lines = format!("Contact: <{}>{}\r\nExpires: {expires_s}\r\n", self.contact, self.params);
        self.register_with(net, &lines)
    }

    #[track_caller]
    pub(crate) fn register_with(&mut self, net: &mut Net, lines: &str) -> Message {
        let plain = self.register_lines(lines);
        let text = self.authorized(&plain);
        net.receive(self.at, &text);
        let answer = net.next(self.at);
        if !answer.start().contains(" 401 ") {
            return answer;
        }
        self.challenged(&answer);
        let plain = self.register_lines(lines);
        let text = self.authorized(&plain);
        net.receive(self.at, &text);
        net.next(self.at)
    }

    /// Takes a challenge.
    pub(crate) fn challenged(&mut self, answer: &Message) {
        let secret = Secret::Password(self.password.as_bytes());
        let head = answer.0.lines().filter(|line| line.contains("-Authenticate: "));
        let values = head.map(|line| line.split_once(": ").unwrap().1.as_bytes());
        self.session = Some(Session::new(&choose(values, secret).expect("a challenge")));
    }

    /// The request with credentials, once there was a challenge.
    pub(crate) fn authorized(&mut self, request: &str) -> String {
        let Some(session) = &mut self.session else { return request.to_owned() };
        let mut start = request.split(' ');
        let (method, uri) = (start.next().unwrap(), start.next().unwrap());
        let secret = Secret::Password(self.password.as_bytes());
        let value = session.authorize(self.user.as_bytes(), secret, method.as_bytes(), uri.as_bytes(), b"cnonce");
        let name = if method == "REGISTER" { "Authorization" } else { "Proxy-Authorization" };
        let line = format!("\r\n{name}: {}\r\nMax-Forwards:", String::from_utf8(value).unwrap());
        request.replacen("\r\nMax-Forwards:", &line, 1)
    }

    /// A request of its own: outside a dialog, or in the one with this tag of Moorline's.
    pub(crate) fn request(&self, method: &str, cseq: u32, called: &str, tag: &str, body: &str) -> String {
        let (user, at) = (self.user, self.at);
        let (uri, tag) = match tag {
            "" => (format!("sip:{called}@{REALM}"), String::new()),
            tag => (format!("sip:{OUTSIDE}"), format!(";tag={tag}")),
        };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {at};branch=z9hG4bK-{method}-{user}-{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{user}@{REALM}>;tag=from-{user}\r\nTo: <sip:{called}@{REALM}>{tag}\r\n\
             Call-ID: call-{user}\r\nCSeq: {cseq} {method}\r\nContact: <{}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            self.contact,
            body.len(),
        )
    }

    /// Calls, with the challenge in between: INVITE, 407, INVITE, 100.
    #[track_caller]
    pub(crate) fn call(&mut self, net: &mut Net, called: &str, body: &str) {
        self.ask(net, called, body);
        net.expect(self.at, "SIP/2.0 100");
    }

    /// The same up to the second INVITE.
    #[track_caller]
    pub(crate) fn ask(&mut self, net: &mut Net, called: &str, body: &str) {
        net.receive(self.at, &self.request("INVITE", 1, called, "", body));
        let challenge = net.expect(self.at, "SIP/2.0 407");
        self.challenged(&challenge);
        let ack =
            self.request("ACK", 1, called, "", "").replace(&format!("<sip:{called}@{REALM}>"), challenge.header("To"));
        net.receive(self.at, &ack.replace("ACK-", "INVITE-"));
        let invite = self.request("INVITE", 2, called, "", body);
        let invite = self.authorized(&invite);
        net.receive(self.at, &invite);
    }
}
