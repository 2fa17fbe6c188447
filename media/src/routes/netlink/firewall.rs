//! Whether the host has a firewall: rules that packets pass which the kernel routes, and others do not.
//!
//! Any rule counts, also of what comes in: a rule that lets answers in has to have seen what went out.

use super::wire::HEADER;

// linux/netfilter/nfnetlink.h and nf_tables.h.
pub(super) const NFNLGRP_NFTABLES: u32 = 7;
const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFT_MSG_NEWCHAIN: u16 = 3;
const NFT_MSG_GETCHAIN: u16 = 4;
const NFTA_CHAIN_HOOK: u16 = 4;
/// The families whose chains see packets of IP on their way through the kernel. Those of bridges, and of devices, see
/// frames, whoever sends them.
const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
/// `struct nfgenmsg`.
const GENERAL: usize = 4;
/// The length and the type of an attribute, and the bits of the type that are not flags.
const ATTRIBUTE: usize = 4;
const TYPE: u16 = 0x3fff;
/// Where the kernel lists the tables of the older kind that are in use, in the network namespace of the thread.
const LEGACY: [&str; 2] = ["/proc/thread-self/net/ip_tables_names", "/proc/thread-self/net/ip6_tables_names"];

/// The question for all chains.
pub(super) fn question(sequence: u32, flags: u16) -> Vec<u8> {
    let length = (HEADER + GENERAL) as u32;
    let kind = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETCHAIN;
    let head = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &flags.to_ne_bytes()].concat();
    [&head[..], &sequence.to_ne_bytes(), &[0; 4], &[0; GENERAL]].concat()
}

/// Whether a message tells of a chain that packets of IP pass.
pub(super) fn is_passed(kind: u16, payload: &[u8]) -> bool {
    let family = payload.first().copied().unwrap_or_default();
    kind == NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWCHAIN
        && [NFPROTO_INET, NFPROTO_IPV4, NFPROTO_IPV6].contains(&family)
        && has_hook(payload.get(GENERAL..).unwrap_or_default())
}

/// Other chains are only called from those that have one.
fn has_hook(mut attributes: &[u8]) -> bool {
    while let Some((length, kind)) = attributes.first_chunk::<2>().zip(attributes.get(2..4)) {
        if u16::from_ne_bytes([kind[0], kind[1]]) & TYPE == NFTA_CHAIN_HOOK {
            return true;
        }
        let length = usize::from(u16::from_ne_bytes(*length)).max(ATTRIBUTE).next_multiple_of(4);
        attributes = attributes.get(length..).unwrap_or_default();
    }
    false
}

/// Whether tables of iptables' older kind are in use. The kernel does not tell when that changes.
pub(in crate::routes) fn has_legacy_tables() -> bool {
    LEGACY.iter().any(|list| std::fs::read_to_string(list).is_ok_and(|tables| !tables.trim().is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEWCHAIN: u16 = 10 << 8 | 3;

    /// A message about a chain of this family, with these attributes, each of so many bytes.
    fn chain(family: u8, attributes: &[(u16, usize)]) -> Vec<u8> {
        let mut payload = vec![family, 0, 0, 0];
        for (kind, length) in attributes {
            payload.extend((length + ATTRIBUTE).to_ne_bytes().first_chunk::<2>().unwrap());
            payload.extend(kind.to_ne_bytes());
            payload.resize(payload.len() + length.next_multiple_of(4), 0xff);
        }
        payload
    }

    #[test]
    fn a_chain_counts_if_packets_of_ip_come_to_it() {
        let hooked = [(1, 5), (3, 7), (0x8000 | NFTA_CHAIN_HOOK, 20), (7, 1)];
        for (family, passed) in [(1, true), (2, true), (10, true), (0, false), (5, false), (7, false)] {
            assert_eq!(is_passed(NEWCHAIN, &chain(family, &hooked)), passed, "family {family}");
        }
        assert!(!is_passed(NEWCHAIN, &chain(2, &[(1, 5), (3, 7)])), "called by others only");
        assert!(!is_passed(NEWCHAIN + 1, &chain(2, &hooked)), "not of a chain");
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(payload in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            is_passed(NEWCHAIN, &payload);
        }
    }
}
