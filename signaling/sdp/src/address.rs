//! `<nettype> <addrtype> <address>`, as it stands in `o=`, `c=` and `a=rtcp` lines.

use std::net::IpAddr;

use crate::line::{Span, tokens};

/// Where the three parts of a network address stand, and the address where it is an IP literal.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NetworkAddress {
    pub(crate) family: Span,
    /// With the TTL and count of a multicast address, where there are any.
    pub(crate) address: Span,
    /// `None` for a host name.
    pub(crate) ip: Option<IpAddr>,
}

impl NetworkAddress {
    /// Reads the three parts at the beginning of `span`. Only the network type `IN` is known.
    pub(crate) fn first(bytes: &[u8], span: Span) -> Option<NetworkAddress> {
        let mut parts = tokens(bytes, span);
        NetworkAddress::from_parts(bytes, parts.next()?, parts.next()?, parts.next()?)
    }

    /// Reads the last three parts of `span` that begin with the network type. The user name of an `o=`
    /// line may hold anything, even blanks, so that line is read from its end.
    pub(crate) fn last(bytes: &[u8], span: Span) -> Option<NetworkAddress> {
        let mut parts = tokens(bytes, span).rev();
        let (mut address, mut family) = (parts.next()?, parts.next()?);
        parts.find_map(|network| {
            let found = NetworkAddress::from_parts(bytes, network, family, address);
            (address, family) = (family, network);
            found
        })
    }

    fn from_parts(bytes: &[u8], network: Span, family: Span, address: Span) -> Option<NetworkAddress> {
        let known = network.of(bytes).eq_ignore_ascii_case(b"IN");
        known.then(|| NetworkAddress { family, address, ip: literal(address.of(bytes)) })
    }

    /// True for `0.0.0.0` and `::`, by which RFC 2543 put a call on hold.
    pub(crate) fn is_unspecified(&self) -> bool {
        self.ip.is_some_and(|ip| ip.is_unspecified())
    }
}

/// The name of the address family (RFC 4566 section 5.7).
pub(crate) fn family_name(ip: IpAddr) -> &'static str {
    match ip {
        IpAddr::V4(_) => "IP4",
        IpAddr::V6(_) => "IP6",
    }
}

/// Appends an address as text. IPv4 addresses are written here: the standard formatter takes ten times as long.
pub(crate) fn push_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (at, octet) in ip.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                let digits = [octet / 100, octet / 10 % 10, octet % 10].map(|digit| b'0' + digit);
                let first = usize::from(octet < 100) + usize::from(octet < 10);
                out.extend_from_slice(&digits[first..]);
            }
        }
        IpAddr::V6(ip) => out.extend_from_slice(ip.to_string().as_bytes()),
    }
}

fn literal(text: &[u8]) -> Option<IpAddr> {
    let address = text.split(|b| *b == b'/').next()?;
    std::str::from_utf8(address).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_the_standard_formatter_writes_them() {
        let every = (0..=u8::MAX).map(|octet| IpAddr::from([octet, 0, 255, octet]));
        for ip in every.chain(["::1".parse().unwrap(), "2001:db8::192.0.2.1".parse().unwrap()]) {
            let mut out = Vec::new();
            push_ip(&mut out, ip);
            assert_eq!(out, ip.to_string().into_bytes());
        }
    }
}
