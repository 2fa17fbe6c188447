//! IPsec policies: the kernel encrypts packets after it has routed them, and a route does not tell.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::wire::HEADER;
use crate::routes::follow::Scope;

// linux/xfrm.h.
pub(super) const XFRMNLGRP_POLICY: u32 = 4;
pub(super) const XFRM_MSG_NEWPOLICY: u16 = 0x13;
pub(super) const XFRM_MSG_GETPOLICY: u16 = 0x15;
const XFRM_POLICY_OUT: u8 = 1;
/// `struct xfrm_userpolicy_id`, which a question is made of.
const QUESTION: usize = 64;

/// `struct xfrm_userpolicy_info`, which begins with a `struct xfrm_selector`.
mod offset {
    pub(super) const DESTINATION: usize = 0;
    pub(super) const SOURCE: usize = 16;
    pub(super) const FAMILY: usize = 40;
    pub(super) const DESTINATION_LENGTH: usize = 42;
    pub(super) const SOURCE_LENGTH: usize = 43;
    pub(super) const PROTOCOL: usize = 44;
    pub(super) const DIRECTION: usize = 160;
}

/// The question for all policies.
pub(super) fn question(sequence: u32, flags: u16) -> Vec<u8> {
    let length = (HEADER + QUESTION) as u32;
    let head = [&length.to_ne_bytes()[..], &XFRM_MSG_GETPOLICY.to_ne_bytes(), &flags.to_ne_bytes()].concat();
    [&head[..], &sequence.to_ne_bytes(), &[0; 4], &[0; QUESTION]].concat()
}

/// The addresses that a policy of outgoing UDP packets is about.
pub(super) fn policy(payload: &[u8]) -> Option<Scope> {
    let byte = |at: usize| payload.get(at).copied();
    let protocol = byte(offset::PROTOCOL)?;
    if byte(offset::DIRECTION)? != XFRM_POLICY_OUT || protocol != 0 && i32::from(protocol) != libc::IPPROTO_UDP {
        return None;
    }
    let v4 = match i32::from(u16::from_ne_bytes(*payload.get(offset::FAMILY..)?.first_chunk()?)) {
        libc::AF_INET => true,
        libc::AF_INET6 => false,
        _ => return None,
    };
    let network = |address: usize, length: usize| {
        let octets: [u8; 16] = *payload.get(address..)?.first_chunk()?;
        let [a, b, c, d, ..] = octets;
        let ip = if v4 { IpAddr::V4(Ipv4Addr::new(a, b, c, d)) } else { IpAddr::V6(Ipv6Addr::from(octets)) };
        IpNet::new(ip, byte(length)?).ok()
    };
    let to = network(offset::DESTINATION, offset::DESTINATION_LENGTH);
    Some(Scope { v4, from: network(offset::SOURCE, offset::SOURCE_LENGTH), to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_by_its_selector() {
        let mut bytes = [0; 164];
        bytes[..4].copy_from_slice(&[192, 0, 2, 0]);
        bytes[16..20].copy_from_slice(&[10, 0, 0, 1]);
        bytes[40..45].copy_from_slice(&[2, 0, 24, 32, 17]);
        bytes[160] = XFRM_POLICY_OUT;
        let scope = policy(&bytes).unwrap();
        assert_eq!((scope.from, scope.to), ("10.0.0.1/32".parse().ok(), "192.0.2.0/24".parse().ok()));
        assert_eq!(policy(&bytes[..160]), None, "short");
        bytes[44] = 6;
        assert_eq!(policy(&bytes), None, "TCP");
        (bytes[44], bytes[160]) = (0, 0);
        assert_eq!(policy(&bytes), None, "incoming");
    }
}
