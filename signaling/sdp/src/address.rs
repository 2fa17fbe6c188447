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

fn literal(text: &[u8]) -> Option<IpAddr> {
    let address = text.split(|b| *b == b'/').next()?;
    std::str::from_utf8(address).ok()?.parse().ok()
}
