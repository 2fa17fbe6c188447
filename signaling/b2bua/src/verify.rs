//! Whether credentials are right, asked of somebody who knows the passwords: RADIUS.

use std::fmt;

/// What a request's Authorization says (RFC 7616 section 3.4), each value without its quotes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct DigestQuestion {
    /// `username`, with a domain if the client put one there.
    pub user: Vec<u8>,
    /// `realm`.
    pub realm: Vec<u8>,
    /// `nonce`. That it is one of ours, fresh and not replayed is for the asker to know.
    pub nonce: Vec<u8>,
    /// The request's method.
    pub method: Vec<u8>,
    /// `uri`.
    pub uri: Vec<u8>,
    /// `response`.
    pub response: Vec<u8>,
    /// `algorithm`, if there is one.
    pub algorithm: Option<Vec<u8>>,
    /// `qop`, if there is one.
    pub qop: Option<Vec<u8>>,
    /// `nc`, if there is one.
    pub nonce_count: Option<Vec<u8>>,
    /// `cnonce`, if there is one.
    pub cnonce: Option<Vec<u8>>,
    /// `opaque`, if there is one.
    pub opaque: Option<Vec<u8>>,
}

/// What the one who knows says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// They are right.
    Accepted,
    /// They are wrong, or the user may not.
    Rejected,
    /// Nobody answered: it cannot be known now.
    Unavailable,
}

/// Who and what for, and nothing that a password could be guessed from.
impl fmt::Debug for DigestQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DigestQuestion")
            .field("user", &String::from_utf8_lossy(&self.user))
            .field("realm", &String::from_utf8_lossy(&self.realm))
            .field("method", &String::from_utf8_lossy(&self.method))
            .finish_non_exhaustive()
    }
}
