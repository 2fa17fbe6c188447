//! Digest authentication (RFC 7616, RFC 3261 section 22, RFC 8760), from both sides: a [`Session`] answers the
//! challenges of another, a [`Challenger`] makes them and verifies the answers.
//!
//! SHA-256, SHA-512/256 and MD5, each also with `-sess` when answering; `qop=auth`, or none (RFC 2069). `auth-int`
//! is left out: every hop that rewrites a body would break it.

mod challenge;
mod client;
mod nonce;
mod response;
mod scheme;
mod server;

use md5::Md5;
use sha2::digest::{Digest, Output};
use sha2::{Sha256, Sha512_256};

pub use challenge::Challenge;
pub use client::{Session, choose};
pub use response::Response;
pub use server::{Challenger, Checked, Settings, Verdict, Wrong};

/// A hash function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hash {
    /// The weakest, and the one that everybody knows.
    Md5,
    /// SHA-512 with other initial values, cut to 256 bits.
    Sha512T256,
    /// What RFC 8760 wants first.
    Sha256,
}

/// The `algorithm` of a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Algorithm {
    /// The hash function.
    pub hash: Hash,
    /// `-sess`: nonce and cnonce of the first request go into the secret of all.
    pub session: bool,
}

/// What a user knows, or what is known of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret<'a> {
    /// The password.
    Password(&'a [u8]),
    /// The hash over user name, realm and password, in hexadecimal: of use for this hash function only.
    Hashed(Hash, &'a [u8]),
}

impl Secret<'_> {
    /// Whether this secret serves for a hash function.
    pub fn serves(&self, hash: Hash) -> bool {
        match self {
            Secret::Password(_) => true,
            Secret::Hashed(own, _) => *own == hash,
        }
    }
}

impl Algorithm {
    const ALL: [(Algorithm, &'static str); 6] = [
        (Algorithm { hash: Hash::Md5, session: false }, "MD5"),
        (Algorithm { hash: Hash::Md5, session: true }, "MD5-sess"),
        (Algorithm { hash: Hash::Sha256, session: false }, "SHA-256"),
        (Algorithm { hash: Hash::Sha256, session: true }, "SHA-256-sess"),
        (Algorithm { hash: Hash::Sha512T256, session: false }, "SHA-512-256"),
        (Algorithm { hash: Hash::Sha512T256, session: true }, "SHA-512-256-sess"),
    ];

    /// The algorithm that a parameter names, in any case. MD5 if it is absent (RFC 7616 section 3.3).
    fn named(value: Option<&[u8]>) -> Option<Algorithm> {
        let Some(value) = value else { return Some(Algorithm { hash: Hash::Md5, session: false }) };
        let (algorithm, _) = Self::ALL.iter().find(|(_, name)| value.eq_ignore_ascii_case(name.as_bytes()))?;
        Some(*algorithm)
    }

    /// The name in challenges and answers.
    pub fn name(self) -> &'static str {
        // Every algorithm stands in the table; the default is never used.
        Self::ALL.iter().find(|(algorithm, _)| *algorithm == self).map(|(_, name)| *name).unwrap_or_default()
    }
}

/// A hash in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Hex {
    digits: [u8; 64],
    length: usize,
}

impl Hex {
    fn as_bytes(&self) -> &[u8] {
        &self.digits[..self.length]
    }

    fn new(bytes: &[u8]) -> Hex {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = Hex { digits: [0; 64], length: 0 };
        for (pair, byte) in hex.digits.chunks_exact_mut(2).zip(bytes) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
            hex.length += 2;
        }
        hex
    }
}

impl Hash {
    /// The hash of the parts with a colon between them.
    fn of(self, parts: &[&[u8]]) -> Hex {
        fn joined<D: Digest>(parts: &[&[u8]]) -> Output<D> {
            let mut hasher = D::new();
            for (part, nth) in parts.iter().zip(0..) {
                if nth > 0 {
                    hasher.update(b":");
                }
                hasher.update(part);
            }
            hasher.finalize()
        }
        match self {
            Hash::Md5 => Hex::new(&joined::<Md5>(parts)),
            Hash::Sha256 => Hex::new(&joined::<Sha256>(parts)),
            Hash::Sha512T256 => Hex::new(&joined::<Sha512_256>(parts)),
        }
    }
}

/// The hash over user name, realm and password that [`Secret::Hashed`] takes: a password need not be stored.
pub fn hashed_secret(hash: Hash, user: &[u8], realm: &[u8], password: &[u8]) -> Vec<u8> {
    hash.of(&[user, realm, password]).as_bytes().to_vec()
}

/// What goes into a response besides the secret (RFC 7616 section 3.4.1).
struct Inputs<'a> {
    algorithm: Algorithm,
    user: &'a [u8],
    realm: &'a [u8],
    nonce: &'a [u8],
    method: &'a [u8],
    uri: &'a [u8],
    /// The count as it is written and the cnonce, with `qop=auth`.
    auth: Option<(&'a [u8], &'a [u8])>,
    /// The cnonce that a `-sess` secret is made with.
    session_cnonce: &'a [u8],
}

impl Inputs<'_> {
    /// The response that who knows the secret gives.
    fn response(&self, secret: Secret<'_>) -> Hex {
        let hash = self.algorithm.hash;
        let known;
        let mut ha1 = match secret {
            Secret::Hashed(_, hex) => hex,
            Secret::Password(password) => {
                known = hash.of(&[self.user, self.realm, password]);
                known.as_bytes()
            }
        };
        let of_session;
        if self.algorithm.session {
            of_session = hash.of(&[ha1, self.nonce, self.session_cnonce]);
            ha1 = of_session.as_bytes();
        }
        let ha2 = hash.of(&[self.method, self.uri]);
        match self.auth {
            Some((count, cnonce)) => hash.of(&[ha1, self.nonce, count, cnonce, b"auth", ha2.as_bytes()]),
            None => hash.of(&[ha1, self.nonce, ha2.as_bytes()]),
        }
    }
}

#[cfg(test)]
mod tests;
