//! SIP, SIPS and tel URIs (RFC 3261 section 19.1, RFC 3966); others are kept whole.

mod compare;

use std::borrow::Cow;
use std::net::SocketAddr;

use crate::header::{Params, is_absolute_uri};
use crate::lexical::{host_port, ip_literal};
use crate::{Fault, Transport};

/// The scheme of a URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme<'a> {
    /// `sip:`.
    Sip,
    /// `sips:`.
    Sips,
    /// `tel:`.
    Tel,
    /// Another, as it was written.
    Other(&'a [u8]),
}

impl<'a> Scheme<'a> {
    /// The scheme as it is written, without the colon.
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Scheme::Sip => b"sip",
            Scheme::Sips => b"sips",
            Scheme::Tel => b"tel",
            Scheme::Other(bytes) => bytes,
        }
    }
}

/// The parts of a URI, as they were written: escapes are not resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uri<'a> {
    /// How to read the rest.
    pub scheme: Scheme<'a>,
    /// The user; of a tel URI the number; of another scheme all that follows the colon.
    pub user: Option<&'a [u8]>,
    /// The password that may follow the user.
    pub password: Option<&'a [u8]>,
    /// The host: an IPv6 reference keeps its brackets. Empty unless the scheme is sip or sips.
    pub host: &'a [u8],
    /// The port.
    pub port: Option<u16>,
    /// The URI parameters, raw, from the first `;`.
    pub params: &'a [u8],
    /// The headers, raw, from the `?`.
    pub headers: &'a [u8],
}

impl<'a> Uri<'a> {
    /// Reads a URI.
    pub fn parse(uri: &'a [u8]) -> Result<Uri<'a>, Fault> {
        Uri::read(uri).ok_or(Fault::Uri)
    }

    /// A URI parameter by its name, in any case: `Some(None)` if it has no value.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        Params::new(self.params).find(name)
    }

    /// Where the host and port point to, if the host is an IP literal.
    pub fn socket_addr(&self, default_port: u16) -> Option<SocketAddr> {
        Some(SocketAddr::new(ip_literal(self.host)?, self.port.unwrap_or(default_port)))
    }

    /// The transport that the URI asks for: that of its `transport` parameter, TLS if it is a sips URI, or none.
    /// One that Moorline does not speak is a fault, and so is one that a sips URI cannot use (RFC 3261 section 19.1.2).
    pub fn transport(&self) -> Result<Option<Transport>, Fault> {
        let named = match self.param(b"transport") {
            None => None,
            Some(name) => Some(name.and_then(Transport::parse).ok_or(Fault::Uri)?),
        };
        match (self.scheme, named) {
            (Scheme::Sips, Some(Transport::Udp)) => Err(Fault::Uri),
            (Scheme::Sips, _) => Ok(Some(Transport::Tls)),
            (_, named) => Ok(named),
        }
    }

    /// Where to send instead of the host (RFC 3261 section 19.1.1).
    pub fn maddr(&self) -> Option<&'a [u8]> {
        self.param(b"maddr").flatten()
    }

    /// Whether the user is a telephone number: a tel URI, or `user=phone`.
    pub fn is_phone(&self) -> bool {
        let says_so = |user: &[u8]| user.eq_ignore_ascii_case(b"phone");
        self.scheme == Scheme::Tel || self.param(b"user").flatten().is_some_and(says_so)
    }

    /// Whether a route leads to a loose router (RFC 3261 section 16.12).
    pub fn is_loose_router(&self) -> bool {
        self.param(b"lr").is_some()
    }

    /// A header that the URI would have set, by its name, in any case, and unescaped: the Replaces of a Refer-To.
    pub fn header(&self, name: &[u8]) -> Option<Cow<'a, [u8]>> {
        let (_, value) = compare::headers(self.headers).find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        Some(unescape(value))
    }

    fn read(uri: &'a [u8]) -> Option<Uri<'a>> {
        if !is_absolute_uri(uri) {
            return None;
        }
        let (scheme, rest) = uri.split_at(uri.iter().position(|byte| *byte == b':')?);
        let rest = &rest[1..];
        let nothing = Uri {
            scheme: Scheme::Other(scheme),
            user: None,
            password: None,
            host: b"",
            port: None,
            params: b"",
            headers: b"",
        };
        if scheme.eq_ignore_ascii_case(b"tel") {
            let (number, params) = rest.split_at(memchr::memchr(b';', rest).unwrap_or(rest.len()));
            return (!number.is_empty()).then_some(Uri { scheme: Scheme::Tel, user: Some(number), params, ..nothing });
        }
        let scheme = match scheme {
            _ if scheme.eq_ignore_ascii_case(b"sip") => Scheme::Sip,
            _ if scheme.eq_ignore_ascii_case(b"sips") => Scheme::Sips,
            _ => return Some(Uri { user: Some(rest), ..nothing }),
        };

        // An `@` stands nowhere but after the user: elsewhere it is escaped. A `?` or `;` may stand in the user.
        let (user_info, address) = match memchr::memchr(b'@', rest) {
            Some(at) => (Some(&rest[..at]), &rest[at + 1..]),
            None => (None, rest),
        };
        if memchr::memchr(b'@', address).is_some() {
            return None;
        }
        let (user, password) = match user_info {
            None => (None, None),
            Some(info) => match info.iter().position(|byte| *byte == b':') {
                Some(colon) => (Some(&info[..colon]), Some(&info[colon + 1..])),
                None => (Some(info), None),
            },
        };
        if user.is_some_and(<[u8]>::is_empty) {
            return None;
        }
        let end = address.iter().position(|byte| matches!(byte, b';' | b'?')).unwrap_or(address.len());
        let (address, rest) = address.split_at(end);
        let (params, headers) = rest.split_at(memchr::memchr(b'?', rest).unwrap_or(rest.len()));
        let (host, port) = host_port(address)?;
        Some(Uri { scheme, user, password, host, port, params, headers })
    }
}

/// Text of a URI with its escapes resolved (RFC 3986 section 2.1). A percent sign that starts none stays.
pub fn unescape(text: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'%', text).is_none() {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, after @ ..] = rest {
        let escaped = escaped_byte(rest);
        out.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &rest[3..] } else { after };
    }
    Cow::Owned(out)
}

/// The byte that the escape at the start of `text` stands for.
fn escaped_byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |digit: u8| char::from(digit).to_digit(16);
    Some((digit(*high)? * 16 + digit(*low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sip_uri_in_parts() {
        let uri = Uri::parse(b"sips:bob;x=1:secret@[2001:db8::1]:5071;transport=tcp;lr?Subject=a").unwrap();
        assert_eq!(uri.scheme, Scheme::Sips);
        assert_eq!((uri.user, uri.password), (Some(&b"bob;x=1"[..]), Some(&b"secret"[..])));
        assert_eq!((uri.host, uri.port), (&b"[2001:db8::1]"[..], Some(5071)));
        assert_eq!(uri.param(b"TRANSPORT"), Some(Some(&b"tcp"[..])));
        assert_eq!(uri.param(b"lr"), Some(None));
        assert_eq!(uri.param(b"maddr"), None);
        assert_eq!(uri.headers, b"?Subject=a");
        assert_eq!(uri.socket_addr(5060), "[2001:db8::1]:5071".parse().ok());
    }

    #[test]
    fn hosts_that_are_addresses_and_hosts_that_are_not() {
        assert_eq!(Uri::parse(b"sip:192.0.2.1").unwrap().socket_addr(5060), "192.0.2.1:5060".parse().ok());
        assert_eq!(Uri::parse(b"sip:a.example:5070").unwrap().socket_addr(5060), None);
        assert_eq!(Uri::parse(b"tel:+1").unwrap().socket_addr(5060), None);
    }

    #[test]
    fn a_tel_uri_is_a_number_and_parameters() {
        let uri = Uri::parse(b"TEL:+44-20-7123;phone-context=x").unwrap();
        assert_eq!((uri.scheme, uri.user, uri.host), (Scheme::Tel, Some(&b"+44-20-7123"[..]), &b""[..]));
        assert_eq!(uri.param(b"phone-context"), Some(Some(&b"x"[..])));
    }

    #[test]
    fn other_schemes_are_kept_whole() {
        let uri = Uri::parse(b"soap.beep://192.0.2.103:3002").unwrap();
        assert_eq!((uri.scheme, uri.user), (Scheme::Other(b"soap.beep"), Some(&b"//192.0.2.103:3002"[..])));
    }

    #[test]
    fn what_is_no_uri() {
        for uri in [
            &b""[..],
            b"sip",
            b"sip:",
            b":a",
            b"sip:@host",
            b"sip:a@",
            b"sip:a@b@c",
            b"sip:a@b c",
            b"sip:a@b:",
            b"sip:a@b:99999",
            b"sip:a@b:-1",
            b"sip:a@b/c",
            b"sip:2001:db8::1",
            b"sip:[2001:db8::1",
            b"sip:[2001:db8:::1]",
            b"sip:[]",
            b"tel:",
            b"tel:;x",
            b"<sip:a@b>",
        ] {
            assert_eq!(Uri::parse(uri), Err(Fault::Uri), "{}", String::from_utf8_lossy(uri));
        }
    }

    #[test]
    fn what_a_uri_asks_for() {
        let transport = |uri: &str| Uri::parse(uri.as_bytes()).unwrap().transport();
        assert_eq!(transport("sip:a@b"), Ok(None));
        assert_eq!(transport("sip:a@b;transport=TCP"), Ok(Some(Transport::Tcp)));
        assert_eq!(transport("sip:a@b;transport=tls"), Ok(Some(Transport::Tls)));
        assert_eq!(transport("sips:a@b"), Ok(Some(Transport::Tls)));
        assert_eq!(transport("sips:a@b;transport=tcp"), Ok(Some(Transport::Tls)));
        for uri in ["sip:a@b;transport=sctp", "sip:a@b;transport", "sips:a@b;transport=udp"] {
            assert_eq!(transport(uri), Err(Fault::Uri), "{uri}");
        }
        let uri = Uri::parse(b"sip:+1@b;user=Phone;maddr=192.0.2.1;lr").unwrap();
        assert!(uri.is_phone() && uri.is_loose_router());
        assert_eq!(uri.maddr(), Some(&b"192.0.2.1"[..]));
        assert!(Uri::parse(b"tel:+1").unwrap().is_phone() && !Uri::parse(b"sip:+1@b;user=ip").unwrap().is_phone());
    }

    #[test]
    fn headers_of_a_uri_are_unescaped() {
        let uri = Uri::parse(b"sip:a@b?Subject=x&replaces=1%402%3bto-tag%3Da%3Bfrom-tag=b").unwrap();
        assert_eq!(uri.header(b"Replaces").as_deref(), Some(&b"1@2;to-tag=a;from-tag=b"[..]));
        assert_eq!(uri.header(b"Subject").as_deref(), Some(&b"x"[..]));
        assert_eq!(uri.header(b"Require"), None);
        assert_eq!(*unescape(b"%41%4g%4%"), *b"A%4g%4%");
    }
}
