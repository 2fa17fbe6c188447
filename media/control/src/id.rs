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

/// The length of the text form.
const LENGTH: usize = 22;

const DIGITS: &[u8; 16] = b"0123456789abcdef";

impl SessionId {
    /// The parts behind each other, as they are written.
    fn to_bits(self) -> u128 {
        u128::from(self.node) << 72 | u128::from(self.virtual_shard) << 64 | u128::from(self.random)
    }

    /// Each part is what its bits leave of the whole.
    fn from_bits(bits: u128) -> SessionId {
        SessionId { node: (bits >> 72) as u16, virtual_shard: (bits >> 64) as u8, random: bits as u64 }
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the formatters of numbers: identifiers are written several times for each message of a call.
        let mut text = [0; LENGTH];
        let mut rest = self.to_bits();
        for place in text.iter_mut().rev() {
            *place = DIGITS[(rest % 16) as usize];
            rest /= 16;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
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
        if text.len() != LENGTH {
            return Err(ParseSessionIdError);
        }
        let mut bits = 0;
        for byte in text.bytes() {
            let digit = char::from(byte).to_digit(16).ok_or(ParseSessionIdError)?;
            bits = bits << 4 | u128::from(digit);
        }
        Ok(SessionId::from_bits(bits))
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
