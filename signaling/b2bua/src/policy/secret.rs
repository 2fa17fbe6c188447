//! The secret called prefix: digits that a trunk and we have agreed on out of band, which stand in front of each called
//! number on the way between us and nowhere else.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

/// The shortest and the longest.
const LENGTH: std::ops::RangeInclusive<usize> = 3..=32;

/// A secret prefix. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretPrefix(Box<[u8]>);

/// A text is no prefix. It is not said which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a secret prefix has {} to {} digits, letters, * and +", LENGTH.start(), LENGTH.end())]
pub struct NoPrefix;

/// The secret prefixes of a trunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretPrefixes {
    /// Calls from the trunk must show this one; it is taken off before anything else is done.
    pub received: Option<SecretPrefix>,
    /// Calls to the trunk are shown this one; it is put in front as the last thing.
    pub sent: Option<SecretPrefix>,
    /// What becomes of a call that does not show it.
    pub without: WithoutPrefix,
}

/// What becomes of a request that lacks the secret prefix. It is counted either way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WithoutPrefix {
    /// It is answered 403, which does not say why.
    #[default]
    Forbid,
    /// It is not answered. This is the safer one: whoever tries learns not even that somebody is there, and has to wait
    /// for each try. A peer whose prefix is wrong by mistake has to wait as well.
    Silence,
    /// It is answered so, for peers who have agreed on what a wrong prefix is told by.
    Refuse {
        /// The status, 400 to 699.
        status: u16,
        /// The reason phrase.
        reason: Arc<str>,
    },
}

impl SecretPrefix {
    /// Reads a prefix.
    ///
    /// # Errors
    /// It is too short or too long, or holds what does not stand in a called number.
    pub fn new(text: &str) -> Result<SecretPrefix, NoPrefix> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'+');
        if LENGTH.contains(&text.len()) && text.bytes().all(plain) {
            Ok(SecretPrefix(text.as_bytes().into()))
        } else {
            Err(NoPrefix)
        }
    }

    /// Whether one of the two begins with the other: who shows the longer one shows both.
    pub fn collides(&self, other: &SecretPrefix) -> bool {
        self.0.starts_with(&other.0) || other.0.starts_with(&self.0)
    }

    /// How many bytes at the start of a URI's user part it takes up, escapes included (RFC 3261 19.1.4); `None` where the
    /// user part begins otherwise. How much of it was right cannot be told by the time this takes.
    pub(crate) fn length_in(&self, user: &[u8]) -> Option<usize> {
        let mut found = [0; *LENGTH.end()];
        let mut at = 0;
        let found = found.get_mut(..self.0.len())?;
        for byte in found.iter_mut() {
            (*byte, at) = match user.get(at..)? {
                [b'%', high, low, ..] => (hex(*high)? * 16 + hex(*low)?, at + 3),
                [plain, ..] => (*plain, at + 1),
                [] => return None,
            };
        }
        bool::from(self.0.ct_eq(found)).then_some(at)
    }

    /// Its bytes, for the wire.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

fn hex(digit: u8) -> Option<u8> {
    // Below 16.
    char::from(digit).to_digit(16).map(|value| value as u8)
}

impl fmt::Debug for SecretPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretPrefix(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_found_at_the_start_escaped_or_not() {
        let prefix = SecretPrefix::new("88*9").unwrap();
        assert_eq!(prefix.length_in(b"88*9555"), Some(4));
        assert_eq!(prefix.length_in(b"8%38%2a9555"), Some(8));
        assert_eq!(prefix.length_in(b"88*9"), Some(4));
        for other in [&b"88*8555"[..], b"188*9", b"88*", b"", b"88*%", b"88*%3", b"88*%zz"] {
            assert_eq!(prefix.length_in(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_prefix_shows_itself_to_nobody() {
        let prefix = SecretPrefix::new("77124").unwrap();
        let prefixes = SecretPrefixes { received: Some(prefix.clone()), sent: Some(prefix), ..Default::default() };
        assert!(!format!("{prefixes:?}").contains("77124"));
        for text in ["", "12", &"1".repeat(33), "12 34", "12;34", "12@34", "12%34", "12\r\n34", "12é4"] {
            let fault = SecretPrefix::new(text).unwrap_err().to_string();
            assert!(text.is_empty() || !fault.contains(text), "{fault}");
        }
    }
}
