//! The neighbours of the host, and when the kernel is to be told that they are in use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// A neighbour: an address on the link of an interface.
pub(in crate::routes) type Id = (u32, IpAddr);

/// How the kernel stands to a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::routes) enum Standing {
    /// It is looked for, or did not answer, or nobody has asked.
    Unresolved,
    /// It is there.
    Resolved {
        address: [u8; 6],
        /// Nothing has been heard of it for a while: the kernel looks again when it is used.
        stale: bool,
        /// Set by hand: the kernel never looks. Telling it that such a neighbour is used would take that from it.
        fixed: bool,
    },
}

/// A neighbour that is there is said to be in use this often. Sooner than the kernel forgets or distrusts one:
/// gc_stale_time is 60 s, base_reachable_time 30 s.
const KEEP_NS: u64 = 10_000_000_000;
/// How long after a neighbour was said to be in use it is said again, whatever has happened.
const LEAST_NS: u64 = 1_000_000_000;
/// A neighbour that does not answer is looked for after one second, two, four and so on up to this.
const LOOK_NS: u64 = 10_000_000_000;

struct Neighbour {
    standing: Standing,
    /// Hops that go by it.
    users: BTreeSet<u32>,
    used_at: Option<u64>,
    /// How often it was looked for in vain.
    tries: u32,
    due: Option<u64>,
}

#[derive(Default)]
pub(super) struct Neighbours {
    all: BTreeMap<Id, Neighbour>,
    due: BTreeSet<(u64, Id)>,
}

impl Neighbours {
    /// Learns how the kernel stands to a neighbour. True if its address is another than before, or known now, or no
    /// more.
    pub(super) fn learn(&mut self, now: u64, id: Id, standing: Standing) -> bool {
        let neighbour = self.entry(id);
        let before = std::mem::replace(&mut neighbour.standing, standing);
        if before != standing {
            if let Standing::Resolved { .. } = standing {
                neighbour.tries = 0;
            }
            self.schedule(now, id);
        }
        self.drop_unknown(id);
        address(before) != address(standing)
    }

    /// Forgets how the kernel stood to all others than these.
    pub(super) fn replace(&mut self, now: u64, known: Vec<(Id, Standing)>) {
        let known: BTreeMap<Id, Standing> = known.into_iter().collect();
        let ids: BTreeSet<Id> = self.all.keys().chain(known.keys()).copied().collect();
        for id in ids {
            self.learn(now, id, known.get(&id).copied().unwrap_or(Standing::Unresolved));
        }
    }

    pub(super) fn address(&self, id: Id) -> Option<[u8; 6]> {
        self.all.get(&id).and_then(|neighbour| address(neighbour.standing))
    }

    /// A hop goes by this neighbour.
    pub(super) fn join(&mut self, now: u64, id: Id, hop: u32) {
        let neighbour = self.entry(id);
        neighbour.users.insert(hop);
        if neighbour.users.len() == 1 {
            self.schedule(now, id);
        }
    }

    /// It does so no more.
    pub(super) fn part(&mut self, now: u64, id: Id, hop: u32) {
        let Some(neighbour) = self.all.get_mut(&id) else { return };
        neighbour.users.remove(&hop);
        if neighbour.users.is_empty() {
            self.schedule(now, id);
            self.drop_unknown(id);
        }
    }

    pub(super) fn users(&self, id: Id) -> Vec<u32> {
        self.all.get(&id).map(|neighbour| neighbour.users.iter().copied().collect()).unwrap_or_default()
    }

    /// The hops that go by neighbours on an interface.
    pub(super) fn users_on(&self, interface: u32) -> Vec<u32> {
        self.on(interface).flat_map(|(_, neighbour)| neighbour.users.iter().copied()).collect()
    }

    /// An interface works again: what could not be found there is looked for at once.
    pub(super) fn look_again(&mut self, now: u64, interface: u32) {
        let ids: Vec<Id> = self.on(interface).map(|(id, _)| *id).collect();
        for id in ids {
            self.entry(id).tries = 0;
            self.schedule(now, id);
        }
    }

    pub(super) fn next_due(&self) -> Option<u64> {
        self.due.first().map(|(due, _)| *due)
    }

    /// A neighbour that is to be said to be in use now.
    pub(super) fn take_due(&mut self, now: u64) -> Option<Id> {
        let (_, id) = self.due.first().copied().filter(|(due, _)| *due <= now)?;
        let neighbour = self.entry(id);
        neighbour.used_at = Some(now);
        if neighbour.standing == Standing::Unresolved {
            neighbour.tries = neighbour.tries.saturating_add(1);
        }
        self.schedule(now, id);
        Some(id)
    }

    fn on(&self, interface: u32) -> impl Iterator<Item = (&Id, &Neighbour)> {
        let from = (interface, IpAddr::from([0; 4]));
        self.all.range(from..).take_while(move |((on, _), _)| *on == interface)
    }

    fn entry(&mut self, id: Id) -> &mut Neighbour {
        self.all.entry(id).or_insert_with(|| Neighbour {
            standing: Standing::Unresolved,
            users: BTreeSet::new(),
            used_at: None,
            tries: 0,
            due: None,
        })
    }

    /// What neither the kernel nor a hop knows need not be kept.
    fn drop_unknown(&mut self, id: Id) {
        let unknown = |n: &Neighbour| n.users.is_empty() && n.standing == Standing::Unresolved;
        if self.all.get(&id).is_some_and(unknown)
            && let Some(Neighbour { due: Some(due), .. }) = self.all.remove(&id)
        {
            self.due.remove(&(due, id));
        }
    }

    fn schedule(&mut self, now: u64, id: Id) {
        let Some(neighbour) = self.all.get_mut(&id) else { return };
        let after = |pause: u64| neighbour.used_at.map_or(now, |at| at.saturating_add(pause).max(now));
        let due = match neighbour.standing {
            _ if neighbour.users.is_empty() => None,
            Standing::Resolved { fixed: true, .. } => None,
            Standing::Resolved { stale: true, .. } if neighbour.used_at != Some(now) => Some(after(LEAST_NS)),
            Standing::Resolved { .. } => Some(now.saturating_add(KEEP_NS)),
            Standing::Unresolved => {
                let doubled = LEAST_NS << neighbour.tries.saturating_sub(1).min(5);
                Some(after(doubled.min(LOOK_NS)))
            }
        };
        let before = std::mem::replace(&mut neighbour.due, due);
        if let Some(before) = before {
            self.due.remove(&(before, id));
        }
        if let Some(due) = due {
            self.due.insert((due, id));
        }
    }
}

fn address(standing: Standing) -> Option<[u8; 6]> {
    match standing {
        Standing::Resolved { address, .. } => Some(address),
        Standing::Unresolved => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const FRESH: Standing = Standing::Resolved { address: MAC, stale: false, fixed: false };
    const STALE: Standing = Standing::Resolved { address: MAC, stale: true, fixed: false };
    const FIXED: Standing = Standing::Resolved { address: MAC, stale: false, fixed: true };

    fn id() -> Id {
        (3, IpAddr::from([192, 0, 2, 1]))
    }

    /// The seconds at which the neighbour is said to be in use until `until`.
    fn uses(neighbours: &mut Neighbours, until: u64) -> Vec<u64> {
        let mut uses = Vec::new();
        while let Some(due) = neighbours.next_due().filter(|due| *due <= until * S) {
            assert_eq!(neighbours.take_due(due), Some(id()));
            uses.push(due / S);
        }
        uses
    }

    #[test]
    fn one_that_does_not_answer_is_looked_for_ever_less_often() {
        let mut neighbours = Neighbours::default();
        neighbours.join(0, id(), 1);
        assert_eq!(uses(&mut neighbours, 36), [0, 1, 3, 7, 15, 25, 35]);
        assert!(neighbours.learn(40 * S, id(), FRESH));
        assert_eq!(neighbours.address(id()), Some(MAC));
        assert_eq!(uses(&mut neighbours, 60), [50, 60]);
    }

    #[test]
    fn one_that_the_kernel_distrusts_is_used_at_once_and_once() {
        let mut neighbours = Neighbours::default();
        neighbours.join(0, id(), 1);
        neighbours.learn(0, id(), FRESH);
        assert!(!neighbours.learn(4 * S, id(), STALE), "its address is the same");
        assert_eq!(uses(&mut neighbours, 20), [4, 14]);
    }

    #[test]
    fn one_set_by_hand_is_left_alone() {
        let mut neighbours = Neighbours::default();
        neighbours.learn(0, id(), FIXED);
        neighbours.join(0, id(), 1);
        assert_eq!(neighbours.next_due(), None);
        neighbours.learn(S, id(), Standing::Unresolved);
        assert_eq!(uses(&mut neighbours, 1), [1]);
    }

    #[test]
    fn nobody_is_asked_for_without_a_hop_and_nothing_is_kept() {
        let mut neighbours = Neighbours::default();
        neighbours.learn(0, id(), STALE);
        assert_eq!(neighbours.next_due(), None);
        neighbours.join(0, id(), 1);
        neighbours.join(0, id(), 2);
        neighbours.part(0, id(), 1);
        assert_eq!(
            (neighbours.users(id()), neighbours.users_on(3), neighbours.users_on(4)),
            (vec![2], vec![2], vec![])
        );
        neighbours.part(0, id(), 2);
        assert_eq!(neighbours.next_due(), None);
        assert!(neighbours.learn(0, id(), Standing::Unresolved));
        assert!(neighbours.all.is_empty());
    }

    #[test]
    fn a_new_picture_replaces_the_old_one_and_keeps_the_users() {
        let mut neighbours = Neighbours::default();
        let other = (3, IpAddr::from([192, 0, 2, 2]));
        neighbours.learn(0, id(), FRESH);
        neighbours.join(0, id(), 1);
        neighbours.replace(5 * S, vec![(other, FRESH)]);
        assert_eq!((neighbours.address(id()), neighbours.address(other)), (None, Some(MAC)));
        assert_eq!(neighbours.users(id()), [1]);
        assert_eq!(uses(&mut neighbours, 5), [5]);
    }
}
