//! Which XDP program an interface has, asked of the kernel by rtnetlink.

use std::os::fd::AsRawFd;

use aya::programs::loaded_programs;
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket};

// Of linux/rtnetlink.h and linux/if_link.h.
const RTM_GETLINK: u16 = 18;
const NLM_F_REQUEST: u16 = 1;
const HEADER: usize = 16;
const LINK: usize = 16;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
const IFLA_XDP_PROG_ID: u16 = 4;
const IFLA_XDP_DRV_PROG_ID: u16 = 5;
const IFLA_XDP_SKB_PROG_ID: u16 = 6;
const XDP_ATTACHED_SKB: u8 = 2;
const TYPE_MASK: u16 = 0x3fff;

/// An interface's XDP program in words, as far as this process may know them.
pub(super) fn program(index: u32) -> String {
    let Some(id) = id(index) else { return "which one is not said".to_string() };
    // Only CAP_SYS_ADMIN may look at programs of others.
    let named = loaded_programs().map_while(Result::ok).find(|program| program.id() == id);
    match named.as_ref().and_then(|program| program.name_as_str()).filter(|name| !name.is_empty()) {
        Some(name) => format!("{name}, id {id}"),
        None => format!("id {id}"),
    }
}

/// The id of an interface's XDP program.
pub(super) fn id(index: u32) -> Option<u32> {
    let xdp = attached(index)?;
    let mut ids = [IFLA_XDP_PROG_ID, IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID].into_iter();
    ids.find_map(|kind| Some(u32::from_ne_bytes(*attribute(&xdp, kind)?.first_chunk()?)))
}

/// Whether an interface has its XDP program in generic mode.
pub(super) fn is_generic(index: u32) -> bool {
    attached(index).is_some_and(|xdp| attribute(&xdp, IFLA_XDP_ATTACHED).is_some_and(|mode| mode == [XDP_ATTACHED_SKB]))
}

/// What rtnetlink says of an interface's XDP program.
fn attached(index: u32) -> Option<Vec<u8>> {
    let netlink = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute);
    let netlink = netlink.ok()?;
    let mut request = [0; HEADER + LINK];
    request[..4].copy_from_slice(&((HEADER + LINK) as u32).to_ne_bytes());
    request[4..6].copy_from_slice(&RTM_GETLINK.to_ne_bytes());
    request[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    request[HEADER + 4..HEADER + 8].copy_from_slice(&index.to_ne_bytes());
    send(netlink.as_raw_fd(), &request, MsgFlags::empty()).ok()?;
    let mut answer = vec![0; 32 << 10];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).ok()?;
    attribute(answer.get(HEADER + LINK..length)?, IFLA_XDP).map(<[u8]>::to_vec)
}

/// The value of the first attribute of a kind.
fn attribute(mut rest: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let &[l0, l1, k0, k1] = rest.first_chunk()?;
        let (length, kind) = (usize::from(u16::from_ne_bytes([l0, l1])), u16::from_ne_bytes([k0, k1]));
        let value = rest.get(4..length)?;
        if kind & TYPE_MASK == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_among_others_and_broken_ones_end_the_search() {
        let bytes = [5, 0, 1, 0, 9, 0, 0, 0, 8, 0, 2, 0x80, 1, 2, 3, 4];
        assert_eq!(attribute(&bytes, 1), Some(&[9][..]));
        assert_eq!(attribute(&bytes, 2), Some(&[1, 2, 3, 4][..]));
        assert_eq!(attribute(&bytes, 3), None);
        assert_eq!(attribute(&[3, 0, 1, 0, 0, 0, 0, 0], 2), None, "shorter than its own header");
        assert_eq!(attribute(&[9, 0, 1, 0], 1), None, "longer than the message");
    }

    #[test]
    fn loopback_has_no_program() {
        assert_eq!(id(nix::net::if_::if_nametoindex("lo").unwrap()), None);
    }
}
