//! Neighbours that packets are relayed to.

use std::sync::atomic::{AtomicU64, Ordering};

use moorline_xdp_abi::forward::{Hop as Row, MAX_HOPS};

use super::error::ForwardError;
use super::monotonic_ns;
use crate::mapped::Mapped;

/// A neighbour, and how frames reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    /// The index of the interface, of a VLAN its parent's.
    pub interface: u32,
    /// The neighbour's MAC address.
    pub destination: [u8; 6],
    /// The interface's MAC address.
    pub source: [u8; 6],
    /// The control field of an 802.1Q tag: the VLAN and its priority.
    pub vlan: Option<u16>,
    /// The same of an 802.1ad tag around it.
    pub outer: Option<u16>,
    /// The longest IP packet.
    pub mtu: u16,
}

/// After so long no CPU goes on with what it read before.
const SETTLED_NS: u64 = 10_000_000;

/// The table.
pub(super) struct Hops {
    rows: Mapped,
    /// When each was last made invalid; 0 for never.
    cleared: Vec<AtomicU64>,
}

impl Hops {
    pub(super) fn new(rows: Mapped) -> Hops {
        Hops { rows, cleared: (0..MAX_HOPS).map(|_| AtomicU64::new(0)).collect() }
    }

    pub(super) fn set(&self, number: u16, hop: &Hop, device: u32) -> Result<(), ForwardError> {
        let refused = |reason| ForwardError::Hop { hop: number, reason };
        if self.word(number, 0) != 0 {
            return Err(refused("it is in use"));
        }
        let cleared = self.cleared[usize::from(number)].load(Ordering::Relaxed);
        if cleared != 0 && monotonic_ns().saturating_sub(cleared) < SETTLED_NS {
            return Err(refused("packets may be on their way to it"));
        }
        let vlan = hop.vlan.unwrap_or(0);
        if hop.outer.is_some() && vlan == 0 {
            return Err(refused("an outer VLAN and none inside"));
        }
        let [d0, d1, d2, d3, d4, d5] = hop.destination;
        let [s0, s1, s2, s3, s4, s5] = hop.source;
        let ([m0, m1], [v0, v1]) = (hop.mtu.to_ne_bytes(), vlan.to_ne_bytes());
        let [o0, o1] = hop.outer.unwrap_or(0).to_ne_bytes();
        let bytes = [[m0, m1, v0, v1], [o0, o1, d0, d1], [d2, d3, d4, d5], [s0, s1, s2, s3], [s4, s5, 0, 0]];
        for (index, word) in (1..).zip([hop.interface, device].into_iter().chain(bytes.map(u32::from_ne_bytes))) {
            self.rows.store_u32(at(number, index), word);
        }
        self.rows.store_u32(at(number, 0), 1);
        Ok(())
    }

    pub(super) fn clear(&self, number: u16) {
        if self.word(number, 0) != 0 {
            self.rows.store_u32(at(number, 0), 0);
            self.cleared[usize::from(number)].store(monotonic_ns(), Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self, number: u16) -> Option<Hop> {
        let words: [u32; WORDS] = std::array::from_fn(|index| self.word(number, index));
        let [1, interface, _device, sizes, upper, destination, source, end] = words else { return None };
        let ([m0, m1, v0, v1], [o0, o1, d0, d1]) = (sizes.to_ne_bytes(), upper.to_ne_bytes());
        let ([d2, d3, d4, d5], [s0, s1, s2, s3]) = (destination.to_ne_bytes(), source.to_ne_bytes());
        let [s4, s5, ..] = end.to_ne_bytes();
        let tag = |bytes| Some(u16::from_ne_bytes(bytes)).filter(|tag| *tag != 0);
        let (destination, source) = ([d0, d1, d2, d3, d4, d5], [s0, s1, s2, s3, s4, s5]);
        let (vlan, outer, mtu) = (tag([v0, v1]), tag([o0, o1]), u16::from_ne_bytes([m0, m1]));
        Some(Hop { interface, destination, source, vlan, outer, mtu })
    }

    fn word(&self, number: u16, index: usize) -> u32 {
        self.rows.u32_at(at(number, index))
    }
}

const WORDS: usize = size_of::<Row>() / 4;
const _: () = assert!(MAX_HOPS == u16::MAX as usize + 1);

fn at(number: u16, index: usize) -> usize {
    usize::from(number) * size_of::<Row>() + 4 * index
}
