//! Whether two URIs name the same (RFC 3261 section 19.1.4, RFC 3966 section 4).

use std::borrow::Cow;

use super::{Scheme, Uri};
use crate::header::Params;

/// Parameters that count even if only one of the URIs has them.
const DISTINCTIVE: [&[u8]; 5] = [b"transport", b"user", b"ttl", b"method", b"maddr"];

impl Uri<'_> {
    /// Whether both are the same by the rules for comparing them. No default is assumed: a URI with port 5060 is not
    /// the one without a port.
    pub fn is_equivalent(&self, other: &Uri<'_>) -> bool {
        if self == other {
            return true;
        }
        match (self.scheme, other.scheme) {
            (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => self.is_same_sip(other),
            (Scheme::Tel, Scheme::Tel) => {
                digits(self.user).eq(digits(other.user))
                    && holds_params(self, other, |_| true)
                    && holds_params(other, self, |_| true)
            }
            (Scheme::Other(one), Scheme::Other(two)) => one.eq_ignore_ascii_case(two) && self.user == other.user,
            _ => false,
        }
    }

    fn is_same_sip(&self, other: &Uri<'_>) -> bool {
        let counts = |name: &[u8]| DISTINCTIVE.iter().any(|distinctive| name.eq_ignore_ascii_case(distinctive));
        same_text(self.user, other.user)
            && same_text(self.password, other.password)
            && self.host.eq_ignore_ascii_case(other.host)
            && self.port == other.port
            && holds_params(self, other, counts)
            && holds_params(other, self, counts)
            && holds_headers(self.headers, other.headers)
            && holds_headers(other.headers, self.headers)
    }
}

/// The digits of a telephone number, without what only makes them easier to read.
fn digits(number: Option<&[u8]>) -> impl Iterator<Item = u8> {
    let digits = number.unwrap_or_default().iter().filter(|byte| !matches!(byte, b'-' | b'.' | b'(' | b')'));
    digits.map(u8::to_ascii_lowercase)
}

/// Whether all parameters of `one` have the same value in `two`, or do not stand there at all and do not count then.
fn holds_params(one: &Uri<'_>, two: &Uri<'_>, counts: impl Fn(&[u8]) -> bool) -> bool {
    Params::new(one.params).filter(|(name, _)| !name.is_empty()).all(|(name, value)| match two.param(name) {
        None => !counts(name),
        Some(other) => match (value, other) {
            (Some(value), Some(other)) => normal(value).eq_ignore_ascii_case(&normal(other)),
            (value, other) => value.is_none() && other.is_none(),
        },
    })
}

fn holds_headers(one: &[u8], two: &[u8]) -> bool {
    headers(one).all(|(name, value)| {
        headers(two).any(|(other, found)| name.eq_ignore_ascii_case(other) && normal(value) == normal(found))
    })
}

/// The headers of a URI, still escaped.
pub(super) fn headers(raw: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let raw = raw.strip_prefix(b"?").unwrap_or(raw);
    raw.split(|&byte| byte == b'&').filter(|header| !header.is_empty()).map(|header| {
        match memchr::memchr(b'=', header) {
            Some(equals) => (&header[..equals], &header[equals + 1..]),
            None => (header, &b""[..]),
        }
    })
}

fn same_text(one: Option<&[u8]>, two: Option<&[u8]>) -> bool {
    match (one, two) {
        (Some(one), Some(two)) => one == two || normal(one) == normal(two),
        (one, two) => one.is_none() && two.is_none(),
    }
}

/// Text with what did not need its escape unescaped: a reserved character and its escape are not the same.
fn normal(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        match super::escaped_byte(rest) {
            Some(byte) if is_unreserved(byte) => {
                out.push(byte);
                rest = &rest[3..];
            }
            Some(_) => {
                out.extend_from_slice(&rest[..3].to_ascii_uppercase());
                rest = &rest[3..];
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(out)
}

/// `unreserved` of RFC 3261 section 25.1.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, two: &str) -> bool {
        let (one, two) = (Uri::parse(one.as_bytes()).unwrap(), Uri::parse(two.as_bytes()).unwrap());
        assert!(one.is_equivalent(&one) && two.is_equivalent(&two));
        assert_eq!(one.is_equivalent(&two), two.is_equivalent(&one));
        one.is_equivalent(&two)
    }

    /// The examples of RFC 3261 section 19.1.4.
    #[test]
    fn the_same() {
        for (one, two) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtlanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("tel:+1-201-555-0123", "TEL:+12015550123"),
            ("tel:7042;phone-context=Example.com", "tel:70-42;phone-context=example.com"),
            ("urn:service:sos", "URN:service:sos"),
            ("sip:a%3bb@x", "sip:a%3Bb@x"),
        ] {
            assert!(same(one, two), "{one} {two}");
        }
    }

    #[test]
    fn not_the_same() {
        for (one, two) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
            ("sip:bob@biloxi.com", "sip:biloxi.com"),
            ("sip:bob:a@biloxi.com", "sip:bob:b@biloxi.com"),
            ("sip:bob@biloxi.com;maddr=192.0.2.1", "sip:bob@biloxi.com"),
            ("sip:a%3Bb@x", "sip:a;b@x"),
            ("tel:7042;phone-context=example.com", "tel:7042"),
            ("tel:+1201", "tel:1201"),
            ("urn:service:sos", "urn:service:sos.police"),
        ] {
            assert!(!same(one, two), "{one} {two}");
        }
    }
}
