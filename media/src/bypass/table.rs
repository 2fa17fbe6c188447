//! The program's table of next hops, as the routes thread writes it.

use std::sync::Arc;

use moorline_xdp::Forward;
use moorline_xdp::forward::Hop;
use moorline_xdp::forward::abi::MAX_HOPS;

use crate::routes::{HopTable, NextHop};

/// The program's table of neighbours, as the routes write it.
pub(super) struct Table(pub(super) Arc<Forward>);

impl HopTable for Table {
    fn clear(&self, hop: u32) {
        if let Some(hop) = own(hop) {
            self.0.clear_hop(hop);
        }
    }

    fn write(&self, hop: u32, next: &NextHop) -> bool {
        // Others than the program's are read from memory.
        let Some(number) = own(hop) else { return true };
        let vlan = Some(next.vlan).filter(|vlan| *vlan != 0);
        let hop = Hop {
            interface: next.interface,
            destination: next.destination,
            source: next.source,
            vlan,
            outer: None,
            mtu: next.mtu,
        };
        self.0.set_hop(number, &hop).is_ok()
    }

    fn valid(&self, hop: u32) -> bool {
        own(hop).is_some_and(|hop| self.0.hop(hop).is_some())
    }

    fn serves(&self, interface: u32) -> bool {
        self.0.serves(interface)
    }
}

fn own(hop: u32) -> Option<u16> {
    u16::try_from(hop).ok().filter(|hop| usize::from(*hop) < MAX_HOPS)
}
