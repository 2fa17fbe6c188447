//! The session identifier: who made it, which virtual shard owns it, and 64 random bits.

use std::fmt;
use std::str::FromStr;

use minicbor::{Decode, Encode};

/// Names one media session, and the call it belongs to, across processes and restarts.
///
/// The text form is 22 lower-case hexadecimal digits: node (4), virtual shard (2), random (16). The
/// virtual shard is the owner on the signaling side, so whoever sees the id knows who owns the call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct SessionId {
    /// The node that made the id.
    #[n(0)]
    pub node: u16,
    /// The virtual shard (of 256) that owns the call in signaling.
    #[n(1)]
    pub virtual_shard: u8,
    /// 64 bits from a cryptographic source, so that ids can be neither guessed nor repeated.
    #[n(2)]
    pub random: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}{:02x}{:016x}", self.node, self.virtual_shard, self.random)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

/// The text is not 22 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session id is 22 hexadecimal digits: node (4), virtual shard (2), random (16)")]
pub struct ParseSessionIdError;

impl FromStr for SessionId {
    type Err = ParseSessionIdError;

    fn from_str(text: &str) -> Result<Self, ParseSessionIdError> {
        if text.len() != 22 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParseSessionIdError);
        }
        let hex = |digits: &str| u64::from_str_radix(digits, 16).map_err(|_| ParseSessionIdError);
        let narrow = |_| ParseSessionIdError;
        Ok(SessionId {
            node: u16::try_from(hex(&text[..4])?).map_err(narrow)?,
            virtual_shard: u8::try_from(hex(&text[4..6])?).map_err(narrow)?,
            random: hex(&text[6..])?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let id = SessionId { node: 7, virtual_shard: 255, random: 0x0123_4567_89ab_cdef };
        assert_eq!(id.to_string(), "0007ff0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn text_of_another_shape_is_refused() {
        for text in ["", "0007ff0123456789abcde", "0007ff0123456789abcdeff", "+007ff0123456789abcdef", "ééééééééééé"]
        {
            assert_eq!(text.parse::<SessionId>(), Err(ParseSessionIdError), "{text}");
        }
    }
}
