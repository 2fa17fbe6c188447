//! A transport address in 18 bytes, so that two of them and a flow's counters share two cache lines.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// An IP address and port; IPv4 in its IPv6-mapped form. The default is no address: its port is 0.
/// IPv6 scope ids are not kept: media ranges are global addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Address {
    ip: [u8; 16],
    port: [u8; 2],
}

impl Address {
    pub(crate) const NONE: Address = Address { ip: [0; 16], port: [0; 2] };

    pub(crate) fn new(ip: IpAddr, port: u16) -> Self {
        let ip = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Address { ip: ip.octets(), port: port.to_be_bytes() }
    }

    pub(crate) fn is_some(&self) -> bool {
        self.port != [0; 2]
    }

    pub(crate) fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.ip).to_canonical()
    }

    pub(crate) fn same_ip(&self, other: &Address) -> bool {
        self.ip == other.ip
    }

    pub(crate) fn port(&self) -> u16 {
        u16::from_be_bytes(self.port)
    }

    /// The address with the next port, or none above the last.
    pub(crate) fn next_port(&self) -> Self {
        match self.port().checked_add(1) {
            Some(port) if self.is_some() => Address { port: port.to_be_bytes(), ..*self },
            _ => Address::NONE,
        }
    }

    pub(crate) fn get(&self) -> Option<SocketAddr> {
        self.is_some().then(|| SocketAddr::new(self.ip(), self.port()))
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Address::new(address.ip(), address.port())
    }
}
