//! The interfaces of the host.

use std::collections::BTreeMap;

use crate::routes::Reason;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::routes) struct Link {
    pub(in crate::routes) index: u32,
    pub(in crate::routes) name: String,
    /// Switched on, and with a carrier.
    pub(in crate::routes) up: bool,
    /// Its MAC address; `None` if it is no Ethernet, or knows no neighbours.
    pub(in crate::routes) address: Option<[u8; 6]>,
    pub(in crate::routes) mtu: u32,
    pub(in crate::routes) kind: Kind,
}

/// What an interface is, as far as it matters for frames that are put on it past the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::routes) enum Kind {
    /// It takes frames as they are: a network card, a bond of some, an end of a veth pair.
    Card,
    /// Frames of this VLAN of the interface `lower`. `priorities` are the tag's priorities for the kernel's.
    Vlan { lower: u32, id: u16, priorities: Vec<(u32, u32)> },
    /// Anything else: the kernel does something of its own with what it is given.
    Other,
}

/// How frames are put on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Egress {
    pub(super) interface: u32,
    pub(super) source: [u8; 6],
    pub(super) vlan: u16,
    pub(super) mtu: u32,
}

#[derive(Default)]
pub(super) struct Links(BTreeMap<u32, Link>);

impl Links {
    /// Learns of an interface, or that there is none of this index; false if that is no news.
    pub(super) fn learn(&mut self, index: u32, link: Option<Link>) -> bool {
        match link {
            Some(link) => {
                let changed = self.0.get(&index) != Some(&link);
                self.0.insert(index, link);
                changed
            }
            None => self.0.remove(&index).is_some(),
        }
    }

    /// Forgets all others than these.
    pub(super) fn replace(&mut self, links: Vec<Link>) {
        self.0 = links.into_iter().map(|link| (link.index, link)).collect();
    }

    pub(super) fn named(&self, name: &str) -> Option<u32> {
        self.0.values().find(|link| link.name == name).map(|link| link.index)
    }

    /// The interface and the VLAN devices on it.
    pub(super) fn with_vlans(&self, index: u32) -> Vec<u32> {
        let on_it = |link: &&Link| matches!(link.kind, Kind::Vlan { lower, .. } if lower == index);
        std::iter::once(index).chain(self.0.values().filter(on_it).map(|link| link.index)).collect()
    }

    /// Whether neighbours can be asked for on it.
    pub(super) fn asks(&self, index: u32) -> bool {
        self.0.get(&index).is_some_and(|link| link.up && link.address.is_some())
    }

    /// How frames with packets of this traffic class leave by an interface.
    pub(super) fn egress(&self, index: u32, v4: bool, traffic_class: u8) -> Result<Egress, Reason> {
        let link = self.0.get(&index).ok_or(Reason::Device)?;
        let source = link.address.ok_or(Reason::Device)?;
        let (card, vlan) = match &link.kind {
            Kind::Card => (link, 0),
            Kind::Vlan { lower, id, priorities } => {
                let card = self.0.get(lower).filter(|card| card.kind == Kind::Card).ok_or(Reason::Device)?;
                (card, tag(*id, priorities, if v4 { priority(traffic_class) } else { 0 }))
            }
            Kind::Other => return Err(Reason::Device),
        };
        if !link.up || !card.up {
            return Err(Reason::Down);
        }
        Ok(Egress { interface: card.index, source, vlan, mtu: link.mtu })
    }
}

/// The tag of a VLAN for packets of a kernel priority.
fn tag(id: u16, priorities: &[(u32, u32)], priority: u32) -> u16 {
    let mapped = priorities.iter().find(|(from, _)| *from == priority).map_or(0, |(_, to)| *to);
    (mapped as u16 & 7) << 13 | (id & 0xfff)
}

/// The priority that the kernel gives to IPv4 packets by their type of service; it gives none to IPv6 packets.
fn priority(traffic_class: u8) -> u32 {
    match (traffic_class & 0x1e) >> 2 {
        0 | 1 => 0,
        2 | 3 => 2,
        4 | 5 => 6,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(index: u32) -> Link {
        let name = format!("eth{index}");
        Link { index, name, up: true, address: Some([2, 0, 0, 0, 0, index as u8]), mtu: 1500, kind: Kind::Card }
    }

    fn vlan(index: u32, lower: u32, id: u16) -> Link {
        Link { kind: Kind::Vlan { lower, id, priorities: vec![(4, 5)] }, mtu: 1496, ..card(index) }
    }

    fn links(links: impl IntoIterator<Item = Link>) -> Links {
        let mut all = Links::default();
        all.replace(links.into_iter().collect());
        all
    }

    #[test]
    fn a_card_takes_frames_as_they_are() {
        let egress = links([card(3)]).egress(3, true, 0xb8).unwrap();
        assert_eq!(egress, Egress { interface: 3, source: [2, 0, 0, 0, 0, 3], vlan: 0, mtu: 1500 });
    }

    #[test]
    fn frames_of_a_vlan_leave_by_the_card_with_the_vlans_address_mtu_and_tag() {
        let links = links([card(3), vlan(7, 3, 100)]);
        let egress = links.egress(7, true, 0xb8).unwrap();
        assert_eq!(egress, Egress { interface: 3, source: [2, 0, 0, 0, 0, 7], vlan: 5 << 13 | 100, mtu: 1496 });
        assert_eq!(links.egress(7, true, 0).unwrap().vlan, 100);
        assert_eq!(links.egress(7, false, 0xb8).unwrap().vlan, 100, "the kernel maps no IPv6 traffic class");
        assert_eq!(links.with_vlans(3), [3, 7]);
    }

    #[test]
    fn what_takes_no_frames_is_left_to_the_kernel() {
        let other = Link { kind: Kind::Other, ..card(4) };
        let mute = Link { address: None, ..card(5) };
        let all = links([card(3), vlan(7, 3, 100), vlan(8, 7, 200), vlan(9, 99, 1), other, mute]);
        for (index, what) in [(4, "a tunnel"), (5, "no neighbours"), (8, "VLAN in VLAN"), (9, "elsewhere"), (6, "none")]
        {
            assert_eq!(all.egress(index, true, 0), Err(Reason::Device), "{what}");
        }
    }

    #[test]
    fn an_interface_that_is_down_takes_nothing_and_its_vlans_neither() {
        let mut all = links([card(3), vlan(7, 3, 100)]);
        assert!(all.learn(3, Some(Link { up: false, ..card(3) })));
        assert!(!all.learn(3, Some(Link { up: false, ..card(3) })), "no news");
        assert_eq!((all.egress(3, true, 0), all.egress(7, true, 0)), (Err(Reason::Down), Err(Reason::Down)));
        assert!(!all.asks(3));
        assert!(all.learn(3, None));
        assert_eq!((all.egress(3, true, 0), all.named("eth3")), (Err(Reason::Device), None));
    }

    #[test]
    fn priorities_are_the_kernels() {
        for (class, expected) in [(0, 0), (0x20, 0), (0x08, 2), (0x10, 6), (0x18, 4), (0xb8, 4), (0x88, 2), (0x03, 0)] {
            assert_eq!(priority(class), expected, "{class:#x}");
        }
    }
}
