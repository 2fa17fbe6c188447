//! Challenges: WWW-Authenticate and Proxy-Authenticate.

use super::Algorithm;
use super::scheme::{Scheme, push_plain, push_quoted, push_text};
use crate::lexical::trim;

/// A challenge that Moorline can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// Who asks: the inside of the quotes, escapes as they are. So are the others.
    pub realm: &'a [u8],
    /// What makes the answer good for a while only.
    pub nonce: &'a [u8],
    /// To be sent back as it is.
    pub opaque: Option<&'a [u8]>,
    /// How to hash.
    pub algorithm: Algorithm,
    /// Whether the algorithm was named; one that was not is not named in the answer either.
    pub named: bool,
    /// Whether `qop=auth` is offered; else it is an old challenge without any (RFC 2069).
    pub auth: bool,
    /// Only the nonce was too old: the same password is worth another try.
    pub stale: bool,
}

impl<'a> Challenge<'a> {
    /// The challenges in one value that can be answered. Others are left out: another scheme, algorithm or quality of
    /// protection, or no realm or nonce.
    pub fn all(value: &'a [u8]) -> impl Iterator<Item = Challenge<'a>> {
        Scheme::all(value).filter(Scheme::is_digest).filter_map(|scheme| Challenge::read(&scheme))
    }

    fn read(scheme: &Scheme<'a>) -> Option<Challenge<'a>> {
        let algorithm = scheme.param(b"algorithm");
        let auth = match scheme.param(b"qop") {
            None => false,
            Some(offered) => {
                let mut offered = offered.split(|&byte| byte == b',').map(trim);
                offered.any(|offer| offer.eq_ignore_ascii_case(b"auth")).then_some(true)?
            }
        };
        Some(Challenge {
            realm: scheme.param(b"realm")?,
            nonce: scheme.param(b"nonce")?,
            opaque: scheme.param(b"opaque"),
            algorithm: Algorithm::named(algorithm)?,
            named: algorithm.is_some(),
            auth,
            stale: scheme.param(b"stale").is_some_and(|stale| stale.eq_ignore_ascii_case(b"true")),
        })
    }
}

/// Writes a challenge with `qop="auth"`.
pub(super) fn write(realm: &[u8], nonce: &[u8], algorithm: Algorithm, stale: bool) -> Vec<u8> {
    let mut out = b"Digest ".to_vec();
    push_text(&mut out, "realm", realm);
    push_quoted(&mut out, "nonce", nonce);
    if stale {
        push_plain(&mut out, "stale", b"true");
    }
    push_plain(&mut out, "algorithm", algorithm.name().as_bytes());
    push_quoted(&mut out, "qop", b"auth");
    out
}
