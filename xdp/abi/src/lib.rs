//! Layouts that the XDP program and its loader share: plain `repr(C)` data, the same bytes on both sides.
#![no_std]
#![forbid(unsafe_code)]

pub mod forward;
pub mod lookup;

use core::net::IpAddr;

/// What a flow is known by: where its packets arrive. The key of the program's map of established flows.
///
/// All fields are in network byte order, so that the program compares them with the packet as it is. There
/// is no hidden padding: every byte of a key takes part in its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey {
    /// The local address; an IPv4 one in its IPv4-mapped form (RFC 4291 2.5.5.2).
    pub address: [u8; 16],
    /// The index of the interface, in host byte order as the program's context has it.
    pub interface: u32,
    /// The local UDP port.
    pub port: [u8; 2],
    /// Zero.
    pub reserved: [u8; 2],
}

impl FlowKey {
    /// The key of packets that come to `address` and `port` by the interface with this index.
    pub fn new(interface: u32, address: IpAddr, port: u16) -> FlowKey {
        let address = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        FlowKey { address, interface, port: port.to_be_bytes(), reserved: [0; 2] }
    }
}

// The layout that the program is compiled against.
const _: () = {
    assert!(size_of::<FlowKey>() == 24 && align_of::<FlowKey>() == 4);
    assert!(core::mem::offset_of!(FlowKey, address) == 0);
    assert!(core::mem::offset_of!(FlowKey, interface) == 16);
    assert!(core::mem::offset_of!(FlowKey, port) == 20);
    assert!(core::mem::offset_of!(FlowKey, reserved) == 22);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_and_its_mapped_form_are_one_key() {
        let v4 = FlowKey::new(3, IpAddr::from([47, 103, 169, 65]), 16_384);
        let v6 = FlowKey::new(3, IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0x2f67, 0xa941]), 16_384);
        assert_eq!(v4, v6);
        assert_eq!(v4.port, [0x40, 0x00]);
    }
}
