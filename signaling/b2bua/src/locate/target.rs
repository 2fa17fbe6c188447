//! What is looked for, and what is found.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use moorline_sip::Transport;
use thiserror::Error;

/// The longest host name, as it is written (RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;

/// Where a request is to go: what a URI, a route or a configuration says, and what the listener that it will
/// leave from can do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// A host name, or an IP address (of IPv6 with or without brackets).
    pub host: String,
    /// The port, if one is named; it leaves nothing to look up but the address (RFC 3263 section 4.2).
    pub port: Option<u16>,
    /// The transport, if one is named.
    pub transport: Option<Transport>,
    /// Whether the URI is a `sips` one: TLS or nothing.
    pub secure: bool,
    /// What the listener can send over.
    pub transports: Transports,
    /// The address family of the listener.
    pub family: Family,
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4: addresses are in A records.
    V4,
    /// IPv6: addresses are in AAAA records.
    V6,
}

/// Transports in order of preference, each at most once.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transports([Option<Transport>; Transport::ALL.len()]);

/// A transport and an address to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hop {
    /// Over what.
    pub transport: Transport,
    /// To where.
    pub address: SocketAddr,
}

/// Why nothing was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotLocated {
    /// It does not exist: DNS knows no records that lead to an address of the listener's family.
    #[error("no address of the listener's family is known for it")]
    NoAddress,
    /// DNS did not answer. It may do so later.
    #[error("DNS did not answer")]
    Unavailable,
    /// The listener has no transport that the target may be reached over.
    #[error("it may not be reached over any transport of the listener")]
    NoTransport,
    /// The host is neither a name nor an address.
    #[error("not a host name")]
    BadName,
    /// As many lookups as may be are under way.
    #[error("too many lookups at once")]
    Busy,
}

impl NotLocated {
    /// True where trying again soon may help (503 and not 404 or 502 for a caller).
    pub const fn is_temporary(self) -> bool {
        matches!(self, NotLocated::Unavailable | NotLocated::Busy)
    }
}

impl Target {
    /// The address that the host is, if it is one.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        let bare = self.host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        match bare {
            Some(v6) => v6.parse().ok().map(IpAddr::V6),
            None => self.host.parse().ok(),
        }
    }

    /// The host as a name to ask for: in small letters, without the final dot.
    pub(super) fn name(&self) -> Result<String, NotLocated> {
        normal(&self.host).ok_or(NotLocated::BadName)
    }

    /// The transports it may be reached over, in order of preference.
    pub(super) fn usable(&self) -> impl Iterator<Item = Transport> + use<> {
        let (named, secure) = (self.transport, self.secure);
        // `sips` over TCP means TLS (RFC 3261 section 26.2.2).
        let named = if secure && named == Some(Transport::Tcp) { Some(Transport::Tls) } else { named };
        self.transports.iter().filter(move |transport| {
            named.is_none_or(|named| named == *transport) && (!secure || *transport == Transport::Tls)
        })
    }

    /// The transport where neither the target nor DNS names one: UDP, and TLS for `sips` (RFC 3263 section
    /// 4.1); what the listener likes best where it has no UDP.
    pub(super) fn default_transport(&self) -> Result<Transport, NotLocated> {
        let plain = self.usable().find(|transport| *transport == Transport::Udp);
        plain.or_else(|| self.usable().next()).ok_or(NotLocated::NoTransport)
    }
}

/// A host name in the form in which it is compared; `None` for what is none.
pub(super) fn normal(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels_fit = name.split('.').all(|label| (1..=63).contains(&label.len()));
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
    (name.len() <= MAX_NAME && labels_fit && letters).then(|| name.to_ascii_lowercase())
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

impl Transports {
    /// In this order; repetitions are left out.
    pub fn new(preferred: impl IntoIterator<Item = Transport>) -> Transports {
        let mut list = Transports([None; Transport::ALL.len()]);
        for transport in preferred {
            if list.contains(transport) {
                continue;
            }
            if let Some(free) = list.0.iter_mut().find(|slot| slot.is_none()) {
                *free = Some(transport);
            }
        }
        list
    }

    /// Whether it is among them.
    pub fn contains(self, transport: Transport) -> bool {
        self.0.contains(&Some(transport))
    }

    /// The best first.
    pub fn iter(self) -> impl Iterator<Item = Transport> {
        self.0.into_iter().flatten()
    }
}

impl fmt::Debug for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.transport.param())
    }
}
