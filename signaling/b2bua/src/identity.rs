//! Identifiers that Moorline makes: node, virtual shard, 64 random bits, so that whoever receives one knows
//! its owner, and nobody can guess another.

use moorline_control::SessionId;

use crate::Entropy;

/// The magic cookie of RFC 3261 branches (section 8.1.1.7).
const COOKIE: &str = "z9hG4bK";

/// Makes the identifiers of one worker.
pub(crate) struct Identities {
    node: u16,
    entropy: Entropy,
}

impl Identities {
    pub(crate) fn new(node: u16, entropy: Entropy) -> Self {
        Identities { node, entropy }
    }

    /// The id of a new call and of its media session, in a virtual shard drawn at random.
    pub(crate) fn call(&mut self) -> SessionId {
        let virtual_shard = (self.entropy)().to_be_bytes()[0];
        SessionId { node: self.node, virtual_shard, random: (self.entropy)() }
    }

    /// A tag, Call-ID or branch that belongs to the same owner as `call`, yet does not show it.
    pub(crate) fn token(&mut self, call: SessionId) -> SessionId {
        SessionId { random: (self.entropy)(), ..call }
    }

    /// A branch parameter for a transaction of `call`.
    pub(crate) fn branch(&mut self, call: SessionId) -> String {
        format!("{COOKIE}{}", self.token(call))
    }
}
