//! Answers to challenges: Authorization and Proxy-Authorization.

use std::borrow::Cow;

use subtle::ConstantTimeEq;

use super::scheme::{Scheme, unescaped};
use super::{Algorithm, Inputs, Secret};

/// An answer to a challenge, as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// Who wants to be let in; with or without a domain, as the user was told.
    pub user: Cow<'a, [u8]>,
    /// Whose challenge it was.
    pub realm: Cow<'a, [u8]>,
    /// The nonce of the challenge; the inside of the quotes.
    pub nonce: &'a [u8],
    /// What is asked for.
    pub uri: Cow<'a, [u8]>,
    /// The hash in hexadecimal.
    pub response: &'a [u8],
    /// How it was hashed; `None` if Moorline does not know the algorithm.
    pub algorithm: Option<Algorithm>,
    /// The quality of protection; `None` from an old client (RFC 2069).
    pub qop: Option<&'a [u8]>,
    /// The client's part of the nonce.
    pub cnonce: Option<&'a [u8]>,
    /// How often the nonce was used: eight hexadecimal digits.
    pub count: Option<&'a [u8]>,
    /// What the challenge asked to be sent back.
    pub opaque: Option<&'a [u8]>,
}

impl<'a> Response<'a> {
    /// The Digest answers in one value; those that lack a part are left out.
    pub fn all(value: &'a [u8]) -> impl Iterator<Item = Response<'a>> {
        Scheme::all(value).filter(Scheme::is_digest).filter_map(|scheme| Response::read(&scheme))
    }

    /// Whether this answer to a challenge is from one who knows the secret. How long that takes tells nothing about
    /// where the answer is wrong.
    pub fn matches(&self, method: &[u8], secret: Secret<'_>) -> bool {
        let Some(algorithm) = self.algorithm.filter(|algorithm| secret.serves(algorithm.hash)) else { return false };
        let auth = match (self.qop, self.count, self.cnonce) {
            (None, _, _) => None,
            (Some(qop), Some(count), Some(cnonce)) if qop.eq_ignore_ascii_case(b"auth") => Some((count, cnonce)),
            _ => return false,
        };
        let inputs = Inputs {
            algorithm,
            user: &self.user,
            realm: &self.realm,
            nonce: self.nonce,
            method,
            uri: &self.uri,
            auth,
            session_cnonce: self.cnonce.unwrap_or_default(),
        };
        let expected = inputs.response(secret);
        self.response.to_ascii_lowercase().ct_eq(expected.as_bytes()).into()
    }

    /// How often the nonce was used, by the client's count. One without a count used it once.
    pub fn uses(&self) -> Option<u32> {
        if self.qop.is_none() {
            return Some(1);
        }
        let digits = std::str::from_utf8(self.count?).ok().filter(|digits| !digits.starts_with('+'))?;
        u32::from_str_radix(digits, 16).ok().filter(|count| *count > 0 && digits.len() == 8)
    }

    fn read(scheme: &Scheme<'a>) -> Option<Response<'a>> {
        Some(Response {
            user: unescaped(scheme.param(b"username")?),
            realm: unescaped(scheme.param(b"realm")?),
            nonce: scheme.param(b"nonce")?,
            uri: unescaped(scheme.param(b"uri")?),
            response: scheme.param(b"response")?,
            algorithm: Algorithm::named(scheme.param(b"algorithm")),
            qop: scheme.param(b"qop"),
            cnonce: scheme.param(b"cnonce"),
            count: scheme.param(b"nc"),
            opaque: scheme.param(b"opaque"),
        })
    }
}
