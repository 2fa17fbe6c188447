//! Network interfaces by name, what is attached to them, and the program's table of them.

use std::fs;
use std::path::Path;

use moorline_xdp_abi::forward::{INTERFACE_PLACES, INTERFACE_PROBES, Interface as Row, MAX_QUEUES};
use nix::net::if_::{if_indextoname, if_nametoindex};

use super::error::ForwardError;
use crate::mapped::Mapped;

/// The interface that carries packets, and the VLANs that they come with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Carrier {
    pub(super) name: String,
    pub(super) index: u32,
    /// The outer VLAN in the upper half, the inner or only one in the lower.
    pub(super) tags: u32,
}

/// What carries the packets of an interface: itself, or for a VLAN what that lies on.
pub(super) fn carrier(name: &str) -> Result<Carrier, ForwardError> {
    let mut carrier = Carrier { name: name.to_string(), index: index(name)?, tags: 0 };
    // Two tags at most: an 802.1Q one in an 802.1ad one.
    for shift in [0, 16] {
        let Some((below, tag)) = vlan(&carrier.name) else { break };
        carrier = Carrier { index: index(&below)?, name: below, tags: carrier.tags | u32::from(tag) << shift };
    }
    Ok(carrier)
}

/// The same by the interface's index.
pub(super) fn carrier_of(index: u32) -> Result<Carrier, ForwardError> {
    let name = if_indextoname(index).map_err(|_| ForwardError::NoInterface(index.to_string()))?;
    carrier(&name.to_string_lossy())
}

pub(super) fn index(name: &str) -> Result<u32, ForwardError> {
    if_nametoindex(name).map_err(|_| ForwardError::NoInterface(name.to_string()))
}

/// Of a VLAN what it lies on, and its number.
fn vlan(name: &str) -> Option<(String, u16)> {
    let text = fs::read_to_string(Path::new("/proc/net/vlan").join(name)).ok()?;
    let number = text.split_whitespace().skip_while(|word| *word != "VID:").nth(1)?.parse().ok()?;
    let below = text.lines().find_map(|line| line.strip_prefix("Device:"))?.trim().to_string();
    Some((below, number))
}

/// The name of an interface's driver.
pub(super) fn driver(name: &str) -> String {
    let link = fs::read_link(Path::new("/sys/class/net").join(name).join("device/driver"));
    let driver = link.ok().and_then(|link| Some(link.file_name()?.to_string_lossy().into_owned()));
    driver.unwrap_or_else(|| "that is not named".to_string())
}

/// The program's table: where its interfaces are, and whose the AF_XDP sockets of their queues.
pub(super) struct Table(Mapped);

const INDEX: usize = 0;
const SLOT: usize = 4;
const GENERIC: usize = 8;
const SHARDS: usize = 64;

impl Table {
    pub(super) fn new(rows: Mapped) -> Table {
        Table(rows)
    }

    /// All interfaces in it: index, slot, whether generic.
    pub(super) fn rows(&self) -> Vec<(u32, u32, bool)> {
        let row = |place: usize| [INDEX, SLOT, GENERIC].map(|field| self.0.u32_at(place * size_of::<Row>() + field));
        let rows = (0..INTERFACE_PLACES).map(row).filter(|[index, ..]| *index != 0);
        rows.map(|[index, slot, generic]| (index, slot, generic != 0)).collect()
    }

    /// Adds an interface, or changes it, without sockets.
    pub(super) fn set(&self, index: u32, slot: u32, generic: bool) -> Result<(), ForwardError> {
        let free = |place: &usize| [0, index].contains(&self.0.u32_at(place * size_of::<Row>() + INDEX));
        let place = places(index).find(free);
        let row = place.ok_or(ForwardError::Interfaces(INTERFACE_PLACES))? * size_of::<Row>();
        (0..MAX_QUEUES as usize).for_each(|queue| self.0.store_u8(row + SHARDS + queue, 0));
        self.0.store_u32(row + SLOT, slot);
        self.0.store_u32(row + GENERIC, generic.into());
        self.0.store_u32(row + INDEX, index);
        Ok(())
    }

    /// Removes an interface.
    pub(super) fn remove(&self, index: u32) {
        if let Some(row) = self.row(index) {
            // No other that was placed further on because of it is lost: a free place does not end the search.
            self.0.store_u32(row + INDEX, 0);
        }
    }

    /// Says whose the socket of a queue is.
    pub(super) fn set_shard(&self, index: u32, queue: u32, shard: Option<u8>) {
        if let Some(row) = self.row(index) {
            self.0.store_u8(row + SHARDS + queue as usize, shard.map_or(0, |shard| shard + 1));
        }
    }

    fn row(&self, index: u32) -> Option<usize> {
        let mut rows = places(index).map(|place| place * size_of::<Row>());
        rows.find(|row| self.0.u32_at(row + INDEX) == index)
    }
}

/// Where an interface may be.
fn places(index: u32) -> impl Iterator<Item = usize> {
    (0..INTERFACE_PROBES).map(move |probe| (index as usize + probe) % INTERFACE_PLACES)
}
