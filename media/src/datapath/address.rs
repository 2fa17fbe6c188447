//! Socket addresses in the kernel's form, in plain bytes.

use std::mem::offset_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for a `sockaddr_in6`, the larger of the two.
pub(crate) const NAME_LEN: usize = 28;
const V4_LEN: usize = 16;
const LINK_LEN: usize = size_of::<libc::sockaddr_ll>();

// The offsets below are those of Linux's sockaddr_in, sockaddr_in6 and sockaddr_ll.
const _: () = assert!(LINK_LEN == 20 && offset_of!(libc::sockaddr_ll, sll_ifindex) == 4);
const _: () = assert!(size_of::<libc::sockaddr_in>() == V4_LEN && size_of::<libc::sockaddr_in6>() == NAME_LEN);

/// A socket address as the kernel reads it.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub(crate) struct Name {
    bytes: [u8; NAME_LEN],
    len: u8,
}

impl Name {
    pub(crate) const EMPTY: Name = Name { bytes: [0; NAME_LEN], len: 0 };

    pub(crate) fn new(address: SocketAddr) -> Name {
        let mut name = Name::EMPTY;
        name.bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                name.bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                name.bytes[4..8].copy_from_slice(&v4.ip().octets());
                name.len = V4_LEN as u8;
            }
            SocketAddr::V6(v6) => {
                name.bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                name.bytes[4..8].copy_from_slice(&v6.flowinfo().to_be_bytes());
                name.bytes[8..24].copy_from_slice(&v6.ip().octets());
                name.bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                name.len = NAME_LEN as u8;
            }
        }
        name
    }

    /// An interface, by its index, as a packet socket takes it (`struct sockaddr_ll`): the rest is in the frame.
    pub(crate) fn link(interface: u32, ethertype: u16) -> Name {
        let mut name = Name::EMPTY;
        name.bytes[..2].copy_from_slice(&(libc::AF_PACKET as u16).to_ne_bytes());
        name.bytes[2..4].copy_from_slice(&ethertype.to_be_bytes());
        name.bytes[4..8].copy_from_slice(&interface.to_ne_bytes());
        name.len = LINK_LEN as u8;
        name
    }

    /// The kernel's bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    pub(crate) fn as_ptr(&self) -> *const libc::sockaddr {
        self.bytes.as_ptr().cast()
    }

    pub(crate) fn len(&self) -> libc::socklen_t {
        libc::socklen_t::from(self.len)
    }
}

/// The address that the kernel wrote, or `None` for a family that is not IP. The flow label is left out: it
/// is no part of who sent a packet.
pub(crate) fn parse(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*name.first_chunk()?);
    let port = u16::from_be_bytes(*name.get(2..)?.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => {
            let octets: [u8; 4] = *name.get(4..)?.first_chunk()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(octets), port).into())
        }
        libc::AF_INET6 => {
            let octets: [u8; 16] = *name.get(8..)?.first_chunk()?;
            let scope = u32::from_ne_bytes(*name.get(24..)?.first_chunk()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_round_trip() {
        for text in ["127.103.169.65:16384", "255.255.255.255:65535", "[2001:db8::1]:1", "[fe80::1%3]:40000"] {
            let address: SocketAddr = text.parse().unwrap();
            let name = Name::new(address);
            assert_eq!(parse(&name.bytes[..usize::from(name.len)]), Some(address));
        }
    }

    #[test]
    fn short_and_foreign_names_are_no_address() {
        let name = Name::new("[2001:db8::1]:1".parse().unwrap());
        for len in 0..NAME_LEN {
            assert_eq!(parse(&name.bytes[..len]), None, "{len} bytes");
        }
        assert_eq!(parse(&[libc::AF_UNIX as u8; NAME_LEN]), None);
    }
}
