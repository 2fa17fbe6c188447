//! Nonces that need no memory: the time they were made at, and a keyed hash that says so.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Hex;

/// A nonce before it is written in hexadecimal: the time in nanoseconds, then the hash. Older ones come first in order.
pub(super) type Nonce = [u8; TIME_BYTES + HASH_BYTES];

const TIME_BYTES: usize = 8;
/// Of the 32 of HMAC-SHA-256 (RFC 2104 section 5 asks for half or more).
const HASH_BYTES: usize = 16;

/// Makes nonces and knows them again.
#[derive(Clone, Debug)]
pub(super) struct Nonces {
    /// Keyed, and fed with the realm.
    hash: Hmac<Sha256>,
    /// When the last one was made: of all clones, of which no two make the same.
    last: Arc<AtomicU64>,
}

impl Nonces {
    pub(super) fn new(secret: &[u8; 32], realm: &[u8]) -> Nonces {
        // HMAC fills its key up to the block size with zeros.
        let mut key = [0; 64];
        key[..secret.len()].copy_from_slice(secret);
        let mut hash = Hmac::<Sha256>::new(&key.into());
        hash.update(realm);
        Nonces { hash, last: Arc::default() }
    }

    /// A nonce for a source. No two are the same, even if made at the same time.
    pub(super) fn issue(&self, now: u64, source: IpAddr) -> Hex {
        let after = |last: u64| now.max(last.saturating_add(1));
        let before = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(after(last)));
        // There is always a next one.
        let issued = after(before.unwrap_or_default());
        let mut nonce = [0; TIME_BYTES + HASH_BYTES];
        nonce[..TIME_BYTES].copy_from_slice(&issued.to_be_bytes());
        let hash = self.hash(issued, source).finalize().into_bytes();
        nonce[TIME_BYTES..].copy_from_slice(&hash[..HASH_BYTES]);
        Hex::new(&nonce)
    }

    /// A nonce that was made here for that source.
    pub(super) fn read(&self, text: &[u8], source: IpAddr) -> Option<Nonce> {
        let mut nonce: Nonce = [0; TIME_BYTES + HASH_BYTES];
        if text.len() != 2 * nonce.len() {
            return None;
        }
        for (byte, pair) in nonce.iter_mut().zip(text.chunks_exact(2)) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        self.hash(issued(&nonce), source).verify_truncated_left(&nonce[TIME_BYTES..]).ok()?;
        Some(nonce)
    }

    fn hash(&self, issued: u64, source: IpAddr) -> Hmac<Sha256> {
        let mut hash = self.hash.clone();
        let address = match source.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        hash.update(&address.octets());
        hash.update(&issued.to_be_bytes());
        hash
    }
}

/// When a nonce was made.
pub(super) fn issued(nonce: &Nonce) -> u64 {
    let mut time = [0; TIME_BYTES];
    time.copy_from_slice(&nonce[..TIME_BYTES]);
    u64::from_be_bytes(time)
}
