//! Where a trunk is reached.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use moorline_sip::{Scheme, Transport, Uri};

use crate::locate::{self, Family, Transports};
use crate::policy::Listener;

/// An address or a host name that a trunk's calls are sent to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// An IP address (of IPv6 without brackets) or a host name, which is looked up by RFC 3263.
    pub host: String,
    /// The port; without one DNS says it, or it is the transport's own.
    pub port: Option<u16>,
    /// What it is spoken to over; without one DNS says it, or it is what the listener has, UDP first.
    pub transport: Option<Transport>,
    /// It is a `sips` URI: so is what requests are for that are sent there.
    pub secure: bool,
    /// The host, where it is an address: asked for with every message received, and so read once.
    ip: Option<IpAddr>,
}

/// A text is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no address, host name or SIP URI")]
pub struct NoTarget(String);

impl Target {
    fn new(host: String, port: Option<u16>, transport: Option<Transport>, secure: bool) -> Target {
        let ip = host.parse().ok();
        Target { host, port, transport, secure, ip }
    }

    /// The address, where it is one and not a name.
    pub fn address(&self) -> Option<SocketAddr> {
        let ip = self.ip?;
        let port = self.port.unwrap_or_else(|| self.transport.unwrap_or_default().default_port());
        Some(SocketAddr::new(ip, port))
    }

    /// The host name, where it is one and not an address.
    pub fn name(&self) -> Option<&str> {
        self.address().is_none().then_some(&self.host)
    }

    /// The same for a lookup, as `listener` can reach it.
    pub(crate) fn to_locate(&self, listener: &Listener) -> locate::Target {
        locate::Target {
            host: self.host.clone(),
            port: self.port,
            transport: self.transport,
            secure: self.transport == Some(Transport::Tls),
            transports: Transports::new(listener.transports.iter().copied()),
            family: Family::of(listener.bind.ip()),
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(address: SocketAddr) -> Target {
        Target::new(address.ip().to_string(), Some(address.port()), None, false)
    }
}

impl FromStr for Target {
    type Err = NoTarget;

    /// Reads `192.0.2.1:5060`, `[2001:db8::1]`, `carrier.example`, `sip:carrier.example;transport=tcp` or
    /// `sips:carrier.example`.
    fn from_str(text: &str) -> Result<Target, NoTarget> {
        let no_target = || NoTarget(text.to_owned());
        let lower = text.to_ascii_lowercase();
        let uri = if lower.starts_with("sip:") || lower.starts_with("sips:") {
            text.to_owned()
        } else {
            // A bare IPv6 address has colons enough of its own.
            match text.parse::<IpAddr>() {
                Ok(IpAddr::V6(v6)) => format!("sip:[{v6}]"),
                _ => format!("sip:{text}"),
            }
        };
        let uri = Uri::parse(uri.as_bytes()).map_err(|_| no_target())?;
        let host = std::str::from_utf8(uri.host).map_err(|_| no_target())?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() || uri.user.is_some() {
            return Err(no_target());
        }
        let named = uri.transport().map_err(|_| no_target())?;
        let transport = if uri.scheme == Scheme::Sips { Some(Transport::Tls) } else { named };
        Ok(Target::new(bare.to_owned(), uri.port, transport, uri.scheme == Scheme::Sips))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.ip, self.port) {
            (Some(IpAddr::V6(v6)), Some(port)) => write!(f, "[{v6}]:{port}")?,
            (_, Some(port)) => write!(f, "{}:{port}", self.host)?,
            (_, None) => f.write_str(&self.host)?,
        }
        self.transport.map_or(Ok(()), |transport| write!(f, ";transport={}", transport.param()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_read_in_all_their_forms() {
        let target = |host: &str, port, transport| Target::new(host.into(), port, transport, false);
        let secure = |host: &str| Target::new(host.into(), None, Some(Transport::Tls), true);
        for (text, expected) in [
            ("192.0.2.1:5070", target("192.0.2.1", Some(5070), None)),
            ("192.0.2.1", target("192.0.2.1", None, None)),
            ("[2001:db8::1]:5070", target("2001:db8::1", Some(5070), None)),
            ("2001:db8::1", target("2001:db8::1", None, None)),
            ("carrier.example", target("carrier.example", None, None)),
            ("SIP:carrier.example:5080;transport=TCP", target("carrier.example", Some(5080), Some(Transport::Tcp))),
            ("sips:carrier.example", secure("carrier.example")),
            ("sip:192.0.2.1;transport=tls", target("192.0.2.1", None, Some(Transport::Tls))),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "sip:", "sip:user@host", "sip:host;transport=smoke", "tel:+1", "a b"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_without_a_port_has_its_transports_own() {
        let address = |text: &str| text.parse::<Target>().unwrap().address().map(|address| address.to_string());
        assert_eq!(address("192.0.2.1").as_deref(), Some("192.0.2.1:5060"));
        assert_eq!(address("sips:[2001:db8::1]").as_deref(), Some("[2001:db8::1]:5061"));
        assert_eq!(address("carrier.example"), None);
    }
}
