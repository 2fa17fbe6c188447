//! Answering challenges.

use super::challenge::Challenge;
use super::scheme::{Scheme, push_plain, push_quoted, push_text, unescaped};
use super::{Algorithm, Hash, Inputs, Secret};

/// The challenge to answer among all that came: the strongest hash function that the secret serves for, the first of
/// its kind. `values` are those of WWW-Authenticate, or of Proxy-Authenticate.
pub fn choose<'a>(values: impl Iterator<Item = &'a [u8]>, secret: Secret<'_>) -> Option<Challenge<'a>> {
    let usable = values.flat_map(Challenge::all).filter(|challenge| secret.serves(challenge.algorithm.hash));
    usable.reduce(|best, next| if next.algorithm.hash > best.algorithm.hash { next } else { best })
}

/// A challenge that is being answered: requests go on using its nonce until a new challenge comes.
///
/// After a challenge that a request with credentials got, the same secret is worth one more try if the challenge is
/// stale or its nonce another: see [`refuses`](Session::refuses).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    opaque: Option<Vec<u8>>,
    algorithm: Algorithm,
    named: bool,
    auth: bool,
    count: u32,
    /// The cnonce of the first request, if the algorithm binds the secret to it.
    first_cnonce: Option<Vec<u8>>,
}

impl Session {
    /// For a challenge that has come.
    pub fn new(challenge: &Challenge<'_>) -> Session {
        Session {
            realm: challenge.realm.to_vec(),
            nonce: challenge.nonce.to_vec(),
            opaque: challenge.opaque.map(<[u8]>::to_vec),
            algorithm: challenge.algorithm,
            named: challenge.named,
            auth: challenge.auth,
            count: 0,
            first_cnonce: None,
        }
    }

    /// Who asked.
    pub fn realm(&self) -> &[u8] {
        &self.realm
    }

    /// The hash function that the secret has to serve for.
    pub fn hash(&self) -> Hash {
        self.algorithm.hash
    }

    /// Whether a challenge to a request that this session signed says that the secret is wrong: it is about the same
    /// nonce, and that is not too old. If the nonce is another, servers differ in what they mean: the caller tries
    /// again once for each request.
    pub fn refuses(&self, challenge: &Challenge<'_>) -> bool {
        challenge.nonce == self.nonce && !challenge.stale
    }

    /// The value for Authorization, or for Proxy-Authorization, of one request. `uri` is its Request-URI; `cnonce` is
    /// random and of characters that need no escape.
    pub fn authorize(&mut self, user: &[u8], secret: Secret<'_>, method: &[u8], uri: &[u8], cnonce: &[u8]) -> Vec<u8> {
        // The session's own cnonce is used throughout where the secret depends on it.
        let first = self.first_cnonce.get_or_insert_with(|| cnonce.to_vec());
        let cnonce: &[u8] = if self.algorithm.session { first } else { cnonce };
        // After 2^32 requests with one nonce the server will long have made another.
        self.count = self.count.wrapping_add(1);
        let count = format!("{:08x}", self.count);
        let inputs = Inputs {
            algorithm: self.algorithm,
            user,
            realm: &unescaped(&self.realm),
            nonce: &self.nonce,
            method,
            uri,
            auth: self.auth.then_some((count.as_bytes(), cnonce)),
            session_cnonce: cnonce,
        };
        let response = inputs.response(secret);

        let mut out = Vec::with_capacity(400);
        out.extend_from_slice(b"Digest ");
        push_text(&mut out, "username", user);
        push_quoted(&mut out, "realm", &self.realm);
        push_quoted(&mut out, "nonce", &self.nonce);
        push_text(&mut out, "uri", uri);
        push_quoted(&mut out, "response", response.as_bytes());
        if self.named {
            push_plain(&mut out, "algorithm", self.algorithm.name().as_bytes());
        }
        if self.auth {
            push_quoted(&mut out, "cnonce", cnonce);
            push_plain(&mut out, "qop", b"auth");
            push_plain(&mut out, "nc", count.as_bytes());
        } else if self.algorithm.session {
            push_quoted(&mut out, "cnonce", cnonce);
        }
        if let Some(opaque) = &self.opaque {
            push_quoted(&mut out, "opaque", opaque);
        }
        out
    }

    /// Takes the `nextnonce` of an Authentication-Info, if there is one (RFC 7616 section 3.5).
    pub fn learn(&mut self, authentication_info: &[u8]) {
        let params = [b"Digest ", authentication_info].concat();
        if let Some(nonce) = Scheme::all(&params).next().and_then(|scheme| scheme.param(b"nextnonce")) {
            (self.nonce, self.count, self.first_cnonce) = (nonce.to_vec(), 0, None);
        }
    }
}
