//! Challenging, and verifying the answers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::nonce::{self, Nonce, Nonces};
use super::{Algorithm, Hash, Response, Secret, challenge};
use crate::Uri;

/// Asks for credentials and verifies them.
///
/// A challenge leaves nothing behind: its nonce itself says when, where and for whom it was made, so that a flood of
/// requests without credentials costs no memory. Only a nonce that was used with the right password is remembered,
/// with its count, so that a request that was overheard cannot be sent again. Clones know each other's nonces and their
/// counts, on whichever thread they are: only requests with the right password wait for the others, and for no longer
/// than a look-up takes.
///
/// For users whose secrets are elsewhere: [`check`](Challenger::check), ask there, then [`accept`](Challenger::accept).
#[derive(Clone, Debug)]
pub struct Challenger {
    realm: Vec<u8>,
    settings: Settings,
    nonces: Nonces,
    uses: Arc<Mutex<Uses>>,
}

/// What is remembered of nonces.
#[derive(Debug, Default)]
struct Uses {
    /// Counts of the nonces that were used with the right password.
    counts: BTreeMap<Nonce, u32>,
    /// Nonces made up to then, and not in `counts`, may have been used and forgotten.
    forgotten: u64,
}

/// How a [`Challenger`] behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The hash functions offered, best first (RFC 8760 section 2.3). Stored hashes limit this to their own.
    pub algorithms: Vec<Hash>,
    /// How long a nonce is good for.
    pub lifetime_ns: u64,
    /// How many used nonces are remembered; beyond that, the oldest ends early.
    pub max_used: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { algorithms: vec![Hash::Sha256, Hash::Md5], lifetime_ns: 300_000_000_000, max_used: 65_536 }
    }
}

/// What the credentials of a request are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// They are right.
    Accepted {
        /// The user name as it was given, with a domain if it has one.
        user: Cow<'a, [u8]>,
    },
    /// The nonce is too old, not from here, or was used with that count: challenge with `stale`.
    Stale,
    /// None for this realm: challenge.
    Missing,
    /// They are wrong: challenge again, or refuse.
    Wrong(Wrong),
}

/// Credentials that are good so far; whether the secret is right is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked<'a> {
    /// The answer.
    pub response: Response<'a>,
    /// The hash function that the secret has to serve for.
    pub hash: Hash,
    nonce: Nonce,
    uses: u32,
}

/// What is wrong with credentials. The client is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Wrong {
    /// A count that is none, or a quality of protection that was not offered.
    #[error("a malformed answer")]
    Malformed,
    /// An algorithm that was not offered.
    #[error("an algorithm that was not offered")]
    Algorithm,
    /// They are for another request.
    #[error("an answer for another Request-URI")]
    Uri,
    /// There is no such user.
    #[error("no such user")]
    User,
    /// The password is wrong.
    #[error("a wrong password")]
    Password,
}

impl Challenger {
    /// A challenger for a realm. The secret is random, and known to nobody else.
    pub fn new(realm: &[u8], secret: &[u8; 32], settings: Settings) -> Challenger {
        let nonces = Nonces::new(secret, realm);
        Challenger { realm: realm.to_vec(), settings, nonces, uses: Arc::default() }
    }

    /// The challenges to a request: one value of WWW-Authenticate or Proxy-Authenticate for each algorithm. `stale`
    /// after [`Verdict::Stale`].
    pub fn challenge(&self, now: u64, source: IpAddr, stale: bool) -> Vec<Vec<u8>> {
        let nonce = self.nonces.issue(now, source);
        let write = |hash: &Hash| {
            challenge::write(&self.realm, nonce.as_bytes(), Algorithm { hash: *hash, session: false }, stale)
        };
        self.settings.algorithms.iter().map(write).collect()
    }

    /// Verifies the credentials of a request: `values` are those of its Authorization, or Proxy-Authorization, `uri`
    /// is its Request-URI, and `secret` finds what is known of a user.
    pub fn verify<'a, 's>(
        &self,
        now: u64,
        source: IpAddr,
        (method, uri): (&[u8], &[u8]),
        values: impl Iterator<Item = &'a [u8]>,
        secret: impl FnOnce(&Checked<'a>) -> Option<Secret<'s>>,
    ) -> Verdict<'a> {
        let checked = match self.check(now, source, uri, values) {
            Ok(checked) => checked,
            Err(verdict) => return verdict,
        };
        let known = secret(&checked);
        // Without such a user the work is done all the same, or the time would tell who exists.
        let matches = checked.response.matches(method, known.unwrap_or(Secret::Password(b"")));
        match known {
            None => Verdict::Wrong(Wrong::User),
            Some(_) if !matches => Verdict::Wrong(Wrong::Password),
            Some(_) => self.accept(now, checked),
        }
    }

    /// What can be said of the credentials without the secret.
    pub fn check<'a>(
        &self,
        now: u64,
        source: IpAddr,
        uri: &[u8],
        values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Checked<'a>, Verdict<'a>> {
        let Some(response) = values.flat_map(Response::all).find(|response| *response.realm == self.realm[..]) else {
            return Err(Verdict::Missing);
        };
        let nonce = self.nonces.read(response.nonce, source).filter(|nonce| self.is_fresh(now, nonce));
        let nonce = nonce.ok_or(Verdict::Stale)?;
        let offered = |algorithm: &Algorithm| !algorithm.session && self.settings.algorithms.contains(&algorithm.hash);
        let algorithm = response.algorithm.filter(offered).ok_or(Verdict::Wrong(Wrong::Algorithm))?;
        let auth = response.qop.is_none_or(|qop| qop.eq_ignore_ascii_case(b"auth") && response.cnonce.is_some());
        let uses = response.uses().filter(|_| auth).ok_or(Verdict::Wrong(Wrong::Malformed))?;
        if !is_same_resource(&response.uri, uri) {
            return Err(Verdict::Wrong(Wrong::Uri));
        }
        Ok(Checked { response, hash: algorithm.hash, nonce, uses })
    }

    /// The credentials were found to be right: remembers the use of the nonce. Stale if it was used with that count
    /// or a higher one before.
    pub fn accept<'a>(&self, now: u64, checked: Checked<'a>) -> Verdict<'a> {
        let (lifetime_ns, max_used) = (self.settings.lifetime_ns, self.settings.max_used);
        if self.uses().count(now, checked.nonce, checked.uses, lifetime_ns, max_used) {
            Verdict::Accepted { user: checked.response.user }
        } else {
            Verdict::Stale
        }
    }

    /// How many nonces are remembered.
    pub fn used(&self) -> usize {
        self.uses().counts.len()
    }

    /// Whether a nonce can still be used.
    fn is_fresh(&self, now: u64, nonce: &Nonce) -> bool {
        self.uses().is_fresh(now, nonce, self.settings.lifetime_ns)
    }

    fn uses(&self) -> MutexGuard<'_, Uses> {
        // Whoever has panicked meanwhile left the counts as they were, or counted.
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Uses {
    /// Counts a use; false where the nonce was used with that count or a higher one before, or is too old.
    fn count(&mut self, now: u64, nonce: Nonce, uses: u32, lifetime_ns: u64, max_used: usize) -> bool {
        while let Some(oldest) = self.counts.first_entry()
            && nonce::issued(oldest.key()).saturating_add(lifetime_ns) < now
        {
            oldest.remove();
        }
        if !self.is_fresh(now, &nonce, lifetime_ns) {
            return false;
        }
        let known = self.counts.entry(nonce).or_insert(0);
        if uses <= *known {
            return false;
        }
        *known = uses;
        if self.counts.len() > max_used
            && let Some((oldest, _)) = self.counts.pop_first()
        {
            self.forgotten = self.forgotten.max(nonce::issued(&oldest));
        }
        true
    }

    fn is_fresh(&self, now: u64, nonce: &Nonce, lifetime_ns: u64) -> bool {
        let issued = nonce::issued(nonce);
        issued.saturating_add(lifetime_ns) >= now
            // Nonces of the same moment are spread over the next.
            && issued <= now.saturating_add(lifetime_ns)
            && (issued > self.forgotten || self.counts.contains_key(nonce))
    }
}

/// Whether the answer is for this request (RFC 7616 section 3.4.6). Clients and the proxies on the way differ in ports
/// and parameters, so that only what names the resource counts: scheme, user and host.
fn is_same_resource(answered: &[u8], asked: &[u8]) -> bool {
    if answered == asked {
        return true;
    }
    match (Uri::parse(answered), Uri::parse(asked)) {
        (Ok(answered), Ok(asked)) => {
            answered.scheme == asked.scheme
                && answered.user == asked.user
                && answered.host.eq_ignore_ascii_case(asked.host)
        }
        _ => false,
    }
}
