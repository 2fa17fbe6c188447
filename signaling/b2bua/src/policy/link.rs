//! How a trunk is spoken to, and where the media of its calls go.

use std::net::SocketAddr;

/// How a trunk is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// The address that it is shown in Via, Contact and From, where that is not its listener's.
    pub advertised: Option<SocketAddr>,
    /// Requests to it ask for answers to where they come from, port and all (RFC 3581).
    pub rport: bool,
    /// Host names in its Contact and Record-Route are looked up; else it is spoken to where it speaks from.
    pub dns: bool,
}

impl Default for Link {
    fn default() -> Link {
        Link { advertised: None, rport: true, dns: true }
    }
}

/// Whether the media of a trunk's calls go through us. They go past only where the other trunk of the call agrees, and
/// nothing is seen between the two that they could not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay {
    /// Of calls that it makes.
    pub inbound: bool,
    /// Of calls that are made to it.
    pub outbound: bool,
}

impl Default for Relay {
    fn default() -> Relay {
        Relay { inbound: true, outbound: true }
    }
}
