//! INVITEs that were let in a short time ago.

use std::hash::{BuildHasher, RandomState};

use moorline_sip::Message;

use super::SECOND_NS;

/// Longer than an INVITE is repeated (RFC 3261 17.1.1.2, timer B).
const KEPT_NS: u64 = 32 * SECOND_NS;

/// INVITEs that are remembered: one in this place displaces the one before it.
const PLACES: usize = 16_384;

/// A table of fixed size, by a keyed hash.
#[derive(Debug)]
pub(super) struct Recent {
    /// The key, and until when it counts.
    places: Box<[(u64, u64)]>,
    hash: RandomState,
}

impl Recent {
    pub(super) fn new(hash: RandomState) -> Recent {
        Recent { places: vec![(0, 0); PLACES].into_boxed_slice(), hash }
    }

    /// What tells the transaction of an INVITE from others (RFC 3261 17.2.3).
    pub(super) fn key(&self, invite: Message<'_>) -> u64 {
        let branch = invite.via().ok().and_then(|via| via.branch).unwrap_or_default();
        let sequence = invite.cseq().map_or(0, |cseq| cseq.number);
        self.hash.hash_one((branch, invite.call_id().unwrap_or_default(), sequence))
    }

    pub(super) fn contains(&self, now: u64, key: u64) -> bool {
        let (found, until) = self.places[place(key)];
        found == key && now < until
    }

    pub(super) fn insert(&mut self, now: u64, key: u64) {
        self.places[place(key)] = (key, now.saturating_add(KEPT_NS));
    }
}

fn place(key: u64) -> usize {
    key as usize % PLACES
}
