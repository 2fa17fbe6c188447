//! What carries SIP messages.

use std::fmt;

/// A transport protocol (RFC 3261 section 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Transport {
    /// A datagram for each message.
    #[default]
    Udp,
    /// A stream.
    Tcp,
    /// A stream under TLS.
    Tls,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];

    /// Whether it delivers by itself: nothing is repeated then (RFC 3261 section 17).
    pub const fn is_reliable(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// The port of an address that names none (RFC 3261 section 19.1.2).
    pub const fn default_port(self) -> u16 {
        if matches!(self, Transport::Tls) { 5061 } else { 5060 }
    }

    /// As in the sent-protocol of a Via: `UDP`, `TCP`, `TLS`.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
        }
    }

    /// As in the `transport` parameter of a URI: `udp`, `tcp`, `tls`.
    pub const fn param(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
        }
    }

    /// The transport that a Via or a `transport` parameter names, in any case of letters.
    pub fn parse(name: &[u8]) -> Option<Transport> {
        Transport::ALL.into_iter().find(|transport| name.eq_ignore_ascii_case(transport.name().as_bytes()))
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written_and_in_any_case() {
        for transport in Transport::ALL {
            assert_eq!(Transport::parse(transport.name().as_bytes()), Some(transport));
            assert_eq!(Transport::parse(transport.param().as_bytes()), Some(transport));
        }
        assert_eq!(Transport::parse(b"SCTP"), None);
        assert_eq!(Transport::parse(b""), None);
    }
}
