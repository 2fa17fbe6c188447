//! Numbers, and what is made of them between one trunk and another.

mod plan;
mod rule;

use std::borrow::Cow;

use moorline_sip::unescape;

pub use plan::{Form, Plan};
pub use rule::{At, Change, Edit, NumberRule, NumberRules};

/// What is made of the numbers of a trunk's calls, in each direction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrunkNumbers {
    /// Of whom its callers call, before a route is looked for.
    pub called_in: NumberRules,
    /// Of its callers, before a route is looked for.
    pub caller_in: NumberRules,
    /// Of who is called there, after the route's own rules.
    pub called_out: NumberRules,
    /// Of callers as they are shown to it, after the route's own rules.
    pub caller_out: NumberRules,
}

/// The number in the user part of a URI: unescaped, without its parameters (RFC 3261 19.1.6), and, where it is a telephone
/// number, without the visual separators, which mean nothing (RFC 3966 5.1.1).
pub(crate) fn number_of(user: &[u8]) -> Cow<'_, [u8]> {
    let (number, _) = split(user);
    let number = unescape(number);
    let separator = |byte: &u8| matches!(byte, b'-' | b'.' | b'(' | b')');
    let dialled = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'*' | b'#');
    if !number.iter().any(separator) || !number.iter().any(dialled) {
        return number;
    }
    if !number.iter().all(|byte| separator(byte) || dialled(byte)) {
        return number;
    }
    Cow::Owned(number.iter().copied().filter(dialled).collect())
}

/// A user part with another number, and the parameters that it had. One that has the number stays as it is.
pub(crate) fn with_number<'a>(user: &'a [u8], number: &[u8]) -> Cow<'a, [u8]> {
    if *number_of(user) == *number {
        return Cow::Borrowed(user);
    }
    let (_, params) = split(user);
    let mut out = Vec::with_capacity(number.len() + params.len());
    for byte in number {
        // RFC 3261 25.1, `user`, without what would start parameters.
        let plain = byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,/".contains(byte);
        if plain {
            out.push(*byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out.extend_from_slice(params);
    Cow::Owned(out)
}

/// A user part without its parameters, and these.
fn split(user: &[u8]) -> (&[u8], &[u8]) {
    user.split_at(user.iter().position(|byte| *byte == b';').unwrap_or(user.len()))
}

#[cfg(test)]
mod tests;
