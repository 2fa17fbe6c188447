//! A hop: what is known of it, what should be in its place, and what is.

use super::{Follow, Output, Question, Way};
use crate::routes::follow::neighbours::Id;
use crate::routes::key::Key;
use crate::routes::{NextHop, Reason};

/// A hop that is followed.
pub(super) struct Entry {
    pub(super) key: Key,
    /// The kernel's last answer.
    pub(super) way: Option<Result<Way, Reason>>,
    /// The route of that answer has gone, and no other answer has come.
    pub(super) lost: bool,
    /// It is to be asked for.
    pub(super) doubted: bool,
    pub(super) shown: Shown,
    /// Why the place is not valid, as last told; `None` if it soon is, or that has not been told.
    said: Option<Reason>,
}

/// What is in the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// Nothing, for long enough.
    Fresh,
    Valid(NextHop),
    /// Nothing, and it must not be written yet.
    Withdrawn,
}

impl Entry {
    pub(super) fn new(key: Key) -> Entry {
        Entry { key, way: None, lost: false, doubted: true, shown: Shown::Fresh, said: None }
    }

    /// The neighbour that it goes by.
    pub(super) fn neighbour(&self) -> Option<Id> {
        self.way?.ok().map(|way| (way.interface, way.next))
    }
}

impl Follow {
    /// Brings the place of a hop to what should be in it, as far as that may be now.
    pub(super) fn settle(&mut self, hop: u32) {
        let Some(entry) = self.entries.get(&hop) else { return };
        let Some(way) = entry.way else { return };
        let wanted = way.and_then(|way| self.wanted(entry, way));
        match (wanted, entry.shown) {
            (Ok(next), Shown::Valid(shown)) if next == shown => {}
            (Ok(_), Shown::Valid(_)) => self.withdraw(hop, None),
            (Err(reason), Shown::Valid(_)) => self.withdraw(hop, Some(reason)),
            (Ok(next), Shown::Fresh) => {
                self.set(hop, Shown::Valid(next), None);
                self.outputs.push_back(Output::Valid { hop, next });
            }
            (Ok(_), Shown::Withdrawn) if entry.said.is_some() => {
                self.set(hop, Shown::Withdrawn, None);
                self.outputs.push_back(Output::Said { hop, reason: None });
            }
            (Err(reason), shown) if entry.said != Some(reason) => {
                self.set(hop, shown, Some(reason));
                self.outputs.push_back(Output::Said { hop, reason: Some(reason) });
            }
            (_, Shown::Fresh | Shown::Withdrawn) => {}
        }
    }

    pub(super) fn withdraw(&mut self, hop: u32, reason: Option<Reason>) {
        self.set(hop, Shown::Withdrawn, reason);
        self.outputs.push_back(Output::Invalid { hop, reason });
        self.withdrawn.push(hop);
        self.changes += 1;
    }

    fn set(&mut self, hop: u32, shown: Shown, said: Option<Reason>) {
        if let Some(entry) = self.entries.get_mut(&hop) {
            self.valid += usize::from(matches!(shown, Shown::Valid(_)));
            self.valid -= usize::from(matches!(entry.shown, Shown::Valid(_)));
            (entry.shown, entry.said) = (shown, said);
        }
    }

    /// The hop of a way.
    fn wanted(&self, entry: &Entry, way: Way) -> Result<NextHop, Reason> {
        if entry.lost {
            return Err(Reason::NoRoute);
        }
        if let Some(reason) = self.rules.keeps(&entry.key) {
            return Err(reason);
        }
        let traffic_class = self.ranges.get(usize::from(entry.key.range)).map_or(0, |range| range.traffic_class);
        let egress = self.links.egress(way.interface, entry.key.destination.is_ipv4(), traffic_class)?;
        if !(self.serves)(egress.interface) {
            return Err(Reason::Device);
        }
        let destination = self.neighbours.address((way.interface, way.next)).ok_or(Reason::Unresolved)?;
        let mtu = way.mtu.map_or(egress.mtu, |mtu| mtu.min(egress.mtu));
        Ok(NextHop {
            interface: egress.interface,
            source: egress.source,
            destination,
            vlan: egress.vlan,
            mtu: u16::try_from(mtu).unwrap_or(u16::MAX),
        })
    }

    /// What to ask the kernel about a key, if it need be asked at all.
    pub(super) fn question(&self, key: &Key) -> Result<Question, Reason> {
        let Key { source, destination, range } = *key;
        if destination.is_multicast() || destination.is_unspecified() {
            return Err(Reason::NotUnicast);
        }
        let Some(outward) = self.ranges.get(usize::from(range)) else { return Err(Reason::NoInterface) };
        let interface = self.indexes.get(usize::from(range)).copied().flatten();
        if outward.interface.is_some() && interface.is_none() {
            return Err(Reason::NoInterface);
        }
        // An IPv6 address of a link means nothing without the link (RFC 4007 section 6).
        let of_a_link = matches!(destination, std::net::IpAddr::V6(v6) if v6.is_unicast_link_local());
        if source.is_ipv4() != destination.is_ipv4() || of_a_link && interface.is_none() {
            return Err(Reason::NoRoute);
        }
        Ok(Question { source, destination, interface, traffic_class: outward.traffic_class })
    }
}
