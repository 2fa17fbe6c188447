//! Answering a challenge of the SBC (RFC 3261 section 22).

use moorline_sip::digest::{Challenge, Secret, Session, choose};

use super::Credentials;
use super::message::Message;

/// A challenge that is being answered, and in which header.
#[derive(Debug)]
pub(crate) struct Answer {
    session: Session,
    header: &'static str,
    cnonce: u64,
}

impl Answer {
    /// To a 401 or 407; `None` if it holds no challenge that can be answered.
    pub(crate) fn new(message: &Message, credentials: &Credentials, cnonce: u64) -> Option<Answer> {
        let (asked, header) = match message.status() {
            Some(401) => ("WWW-Authenticate", "Authorization"),
            Some(407) => ("Proxy-Authenticate", "Proxy-Authorization"),
            _ => return None,
        };
        let secret = Secret::Password(credentials.password.as_bytes());
        let challenge: Challenge<'_> = choose(message.all(asked).map(str::as_bytes), secret)?;
        Some(Answer { session: Session::new(&challenge), header, cnonce })
    }

    /// The header line for a request.
    pub(crate) fn header(&mut self, credentials: &Credentials, method: &str, uri: &str) -> String {
        let secret = Secret::Password(credentials.password.as_bytes());
        let cnonce = format!("{:016x}", self.cnonce);
        let user = credentials.user.as_bytes();
        let value = self.session.authorize(user, secret, method.as_bytes(), uri.as_bytes(), cnonce.as_bytes());
        format!("{}: {}\r\n", self.header, String::from_utf8_lossy(&value))
    }
}
