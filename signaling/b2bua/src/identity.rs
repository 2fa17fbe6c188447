//! Identifiers that Moorline makes: node, virtual shard, 64 random bits, so that whoever receives one knows
//! its owner, and nobody can guess another.

use moorline_control::SessionId;

use crate::{Entropy, Place};

/// The magic cookie of RFC 3261 branches (section 8.1.1.7).
pub(crate) const COOKIE: &str = "z9hG4bK";

/// The length of an identifier as text.
pub(crate) const TOKEN: usize = 22;

/// Makes the identifiers of one worker.
pub(crate) struct Identities {
    place: Place,
    entropy: Entropy,
}

impl Identities {
    pub(crate) fn new(place: Place, entropy: Entropy) -> Self {
        Identities { place, entropy }
    }

    /// The node whose identifiers these are.
    pub(crate) fn node(&self) -> u16 {
        self.place.node
    }

    /// The id of a new call and of its media session, in a virtual shard of this worker drawn at random.
    pub(crate) fn call(&mut self) -> SessionId {
        let virtual_shard = self.place.virtual_shard((self.entropy)());
        SessionId { node: self.place.node, virtual_shard, random: (self.entropy)() }
    }

    /// A tag, Call-ID or branch that belongs to the same owner as `call`, yet does not show it.
    pub(crate) fn token(&mut self, call: SessionId) -> SessionId {
        SessionId { random: (self.entropy)(), ..call }
    }

    /// A branch parameter for a transaction of `call`.
    pub(crate) fn branch(&mut self, call: SessionId) -> String {
        [COOKIE, &self.token(call).to_string()].concat()
    }
}

/// What a tag made by [`Identities::token`] says; `None` for one that others made.
pub(crate) fn of_tag(tag: &[u8]) -> Option<SessionId> {
    std::str::from_utf8(tag).ok()?.parse().ok()
}

/// What a branch made by [`Identities::branch`] says, whatever follows it; `None` for one that others made.
pub(crate) fn of_branch(branch: &[u8]) -> Option<SessionId> {
    of_tag(branch.strip_prefix(COOKIE.as_bytes())?.get(..TOKEN)?)
}
