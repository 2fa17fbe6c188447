//! What is known of hops and of the host's links, neighbours and rules, and what follows from news of them.
//!
//! Sans-IO. Driving order: hand in news and orders ([`follow`](Follow::follow), [`leave`](Follow::leave),
//! [`link`](Follow::link), [`neighbour`](Follow::neighbour), [`route`](Follow::route), [`rules`](Follow::rules),
//! [`picture`](Follow::picture)) and [`handle_timeout`](Follow::handle_timeout); carry out every
//! [`poll_output`](Follow::poll_output) at once and say when that was done by [`carried_out`](Follow::carried_out);
//! ask the kernel what [`poll_question`](Follow::poll_question) wants to know and hand the answers to
//! [`answered`](Follow::answered); again until both are empty; sleep until [`next_timeout`](Follow::next_timeout).
//!
//! A hop lives so:
//!
//! ```text
//!            follow          answered, resolved            changed, unresolved, gone
//!   (free) ---------> Fresh ---------------------> Valid ---------------------------> Withdrawn
//!      ^                ^                                                                 | carried out
//!      |                +----------------------- 12 ms later ------------------------ Resting
//!      +--- 1 s after it was left
//! ```

mod entry;
mod links;
mod neighbours;
mod rules;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use ipnet::IpNet;

use self::entry::{Entry, Shown};
use self::links::Links;
use self::neighbours::Neighbours;
use super::key::Key;
use super::{NextHop, Outward, Reason};

pub(super) use self::links::{Kind, Link};
pub(super) use self::neighbours::{Id, Standing};
pub(super) use self::rules::{Rules, Scope};

/// How long a place is invalid before it is rewritten: 10 ms, and some for clocks of different grain.
pub(super) const REST_NS: u64 = 12_000_000;
/// How long a place rests before another pair of addresses gets it.
pub(super) const FREE_NS: u64 = 1_000_000_000;
/// How long places that another process has left valid are left alone, if nothing changes: its flows are taken over, or
/// cleared, within 60 s.
pub(super) const INHERITED_NS: u64 = 65_000_000_000;
/// Within this time every route is asked for again. What no event tells (an ICMP redirect, a path's MTU) is learned so.
const RECHECK_S: u64 = 60;
const TICK_NS: u64 = 1_000_000_000;

/// What the kernel does with packets of a pair of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// The interface by which they leave.
    pub(super) interface: u32,
    /// The gateway, or the destination itself; a gateway of IPv4 packets can have an IPv6 address (RFC 5549).
    pub(super) next: IpAddr,
    /// The longest packet, if the route sets one.
    pub(super) mtu: Option<u32>,
}

/// What the kernel is to be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) interface: Option<u32>,
    pub(super) traffic_class: u8,
}

/// A route came or went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RouteChange {
    pub(super) destination: IpNet,
    /// It is about addresses of this host.
    pub(super) local: bool,
    /// It went; by this interface and gateway.
    pub(super) gone: Option<(Option<u32>, Option<IpAddr>)>,
}

/// The host at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Picture {
    pub(super) links: Vec<Link>,
    pub(super) neighbours: Vec<(Id, Standing)>,
    pub(super) rules: Rules,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// The place was valid and is not any more: for this reason, or `None` for a change.
    Invalid { hop: u32, reason: Option<Reason> },
    /// The place is not valid as before, now for this reason, or soon valid.
    Said { hop: u32, reason: Option<Reason> },
    /// The place is to be written and made valid.
    Valid { hop: u32, next: NextHop },
    /// The place is to be made invalid, and nobody follows it.
    Left { hop: u32 },
    /// The number of the place can be given out.
    Free { hop: u32 },
    /// The kernel is to be told that a neighbour is in use.
    Use { neighbour: Id },
}

pub(super) struct Follow {
    ranges: Vec<Outward>,
    /// The index of each range's interface.
    indexes: Vec<Option<u32>>,
    serves: Box<dyn Fn(u32) -> bool + Send>,
    links: Links,
    neighbours: Neighbours,
    rules: Rules,
    entries: BTreeMap<u32, Entry>,
    by_destination: BTreeSet<(IpAddr, u32)>,
    by_source: BTreeSet<(IpAddr, u32)>,
    /// To be asked for the first time, and again.
    fresh: VecDeque<u32>,
    doubted: VecDeque<u32>,
    /// To be asked for again at the next tick: the kernel did not answer.
    unanswered: Vec<u32>,
    outputs: VecDeque<Output>,
    /// Made invalid, and it is not known when that was done.
    withdrawn: Vec<u32>,
    left: Vec<u32>,
    /// Until when they rest, in order.
    resting: VecDeque<(u64, u32)>,
    freeing: VecDeque<(u64, u32)>,
    /// Left by another process, until then.
    inherited: BTreeSet<u32>,
    inherited_until: u64,
    /// When the next few routes are asked for again, and from which hop on.
    tick: u64,
    cursor: u32,
    valid: usize,
    /// Hops that became invalid while they were followed.
    changes: u64,
}

impl Follow {
    /// `serves` tells whether frames can be put on an interface at all.
    pub(super) fn new(ranges: Vec<Outward>, serves: Box<dyn Fn(u32) -> bool + Send>) -> Follow {
        Follow {
            indexes: vec![None; ranges.len()],
            ranges,
            serves,
            links: Links::default(),
            neighbours: Neighbours::default(),
            rules: Rules::default(),
            entries: BTreeMap::new(),
            by_destination: BTreeSet::new(),
            by_source: BTreeSet::new(),
            fresh: VecDeque::new(),
            doubted: VecDeque::new(),
            unanswered: Vec::new(),
            outputs: VecDeque::new(),
            withdrawn: Vec::new(),
            left: Vec::new(),
            resting: VecDeque::new(),
            freeing: VecDeque::new(),
            inherited: BTreeSet::new(),
            inherited_until: 0,
            tick: 0,
            cursor: 0,
            valid: 0,
            changes: 0,
        }
    }

    /// These places were left valid by another process: they stay as they are until something changes, or for 65 s.
    pub(super) fn inherit(&mut self, now: u64, hops: impl IntoIterator<Item = u32>) {
        self.inherited.extend(hops);
        self.inherited_until = now.saturating_add(INHERITED_NS);
    }

    /// Follows a pair of addresses in a free place.
    pub(super) fn follow(&mut self, now: u64, hop: u32, key: Key) {
        if self.entries.is_empty() {
            self.tick = now.saturating_add(TICK_NS);
        }
        self.entries.insert(hop, Entry::new(key));
        self.by_destination.insert((key.destination, hop));
        self.by_source.insert((key.source, hop));
        self.fresh.push_back(hop);
    }

    /// The place is used no more.
    pub(super) fn leave(&mut self, now: u64, hop: u32) {
        let Some(entry) = self.entries.remove(&hop) else { return };
        self.valid -= usize::from(matches!(entry.shown, Shown::Valid(_)));
        self.by_destination.remove(&(entry.key.destination, hop));
        self.by_source.remove(&(entry.key.source, hop));
        if let Some(neighbour) = entry.neighbour() {
            self.neighbours.part(now, neighbour, hop);
        }
        self.put_down(hop);
    }

    /// The kernel's answer to a question.
    pub(super) fn answered(&mut self, now: u64, hop: u32, answer: Result<Way, Reason>) {
        let Some(entry) = self.entries.get_mut(&hop) else { return };
        (entry.doubted, entry.lost) = (false, false);
        let before = entry.neighbour();
        entry.way = Some(answer);
        let after = entry.neighbour();
        if before != after {
            if let Some(neighbour) = before {
                self.neighbours.part(now, neighbour, hop);
            }
            if let Some(neighbour) = after {
                self.neighbours.join(now, neighbour, hop);
            }
        }
        if answer == Err(Reason::Unknown) {
            self.unanswered.push(hop);
        }
        self.settle(hop);
    }

    /// An interface came, changed, or went.
    pub(super) fn link(&mut self, now: u64, index: u32, link: Option<Link>) {
        if !self.links.learn(index, link) {
            return;
        }
        self.disturb();
        self.find_interfaces();
        for index in self.links.with_vlans(index) {
            for hop in self.neighbours.users_on(index) {
                self.settle(hop);
            }
            if self.links.asks(index) {
                self.neighbours.look_again(now, index);
            }
        }
        // No event tells which routes the kernel leaves out while a link is down.
        self.doubt_all();
    }

    /// The kernel stands to a neighbour so from now on.
    pub(super) fn neighbour(&mut self, now: u64, id: Id, standing: Standing) {
        let known = self.neighbours.address(id).is_some();
        if self.neighbours.learn(now, id, standing) {
            if known {
                self.disturb();
            }
            for hop in self.neighbours.users(id) {
                self.settle(hop);
            }
        }
    }

    /// A route came or went.
    pub(super) fn route(&mut self, change: RouteChange) {
        self.disturb();
        for hop in within(&self.by_destination, change.destination) {
            if let Some((interface, gateway)) = change.gone
                && let Some(entry) = self.entries.get_mut(&hop)
                && let Some(Ok(way)) = entry.way
                && interface.is_none_or(|interface| interface == way.interface)
                && way.next == gateway.unwrap_or(entry.key.destination)
            {
                entry.lost = true;
                self.settle(hop);
            }
            self.doubt(hop);
        }
        if change.local {
            for hop in within(&self.by_source, change.destination) {
                self.doubt(hop);
            }
        }
    }

    /// All rules, as they are now.
    pub(super) fn rules(&mut self, rules: Rules) {
        self.disturb();
        if self.rules != rules {
            self.rules = rules;
            self.settle_all();
        }
        self.doubt_all();
    }

    /// Routes changed, nobody knows which.
    pub(super) fn routes_changed(&mut self) {
        self.disturb();
        self.doubt_all();
    }

    /// All links, neighbours and rules, as they are now: news may have been missed.
    pub(super) fn picture(&mut self, now: u64, picture: Picture) {
        let Picture { links, neighbours, rules } = picture;
        self.disturb();
        self.links.replace(links);
        self.neighbours.replace(now, neighbours);
        self.rules = rules;
        self.find_interfaces();
        self.settle_all();
        self.doubt_all();
    }

    /// The kernel cannot be asked: nothing is known any more.
    pub(super) fn blind(&mut self, now: u64) {
        self.disturb();
        self.neighbours.replace(now, Vec::new());
        let hops: Vec<u32> = self.entries.keys().copied().collect();
        for hop in hops {
            self.answered(now, hop, Err(Reason::Unknown));
        }
    }

    /// All outputs have been carried out, by now.
    pub(super) fn carried_out(&mut self, now: u64) {
        for hop in self.withdrawn.drain(..) {
            self.resting.push_back((now.saturating_add(REST_NS), hop));
        }
        for hop in self.left.drain(..) {
            self.freeing.push_back((now.saturating_add(FREE_NS), hop));
        }
    }

    /// A place could not be written: it is tried again.
    pub(super) fn unwritten(&mut self, hop: u32) {
        if let Some(Entry { shown: Shown::Valid(_), .. }) = self.entries.get(&hop) {
            self.withdraw(hop, None);
        }
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        let tick = (!self.entries.is_empty()).then_some(self.tick);
        let inherited = (!self.inherited.is_empty()).then_some(self.inherited_until);
        let first = |queue: &VecDeque<(u64, u32)>| queue.front().map(|(due, _)| *due);
        let all = [tick, inherited, first(&self.resting), first(&self.freeing), self.neighbours.next_due()];
        all.into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: u64) {
        while let Some((_, hop)) = self.resting.pop_front_if(|(due, _)| *due <= now) {
            if let Some(entry) = self.entries.get_mut(&hop)
                && entry.shown == Shown::Withdrawn
            {
                entry.shown = Shown::Fresh;
                self.settle(hop);
            }
        }
        while let Some((_, hop)) = self.freeing.pop_front_if(|(due, _)| *due <= now) {
            self.outputs.push_back(Output::Free { hop });
        }
        while let Some(neighbour) = self.neighbours.take_due(now) {
            // On a link that is down nobody answers; it is looked for again when the link is up.
            if self.links.asks(neighbour.0) {
                self.outputs.push_back(Output::Use { neighbour });
            }
        }
        if self.inherited_until <= now {
            self.disturb();
        }
        if self.tick <= now {
            self.tick = now.saturating_add(TICK_NS);
            self.recheck();
        }
    }

    /// What is to be done next.
    pub(super) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(super) fn has_questions(&self) -> bool {
        !self.fresh.is_empty() || !self.doubted.is_empty()
    }

    /// What the kernel is to be asked next, and for which hop.
    pub(super) fn poll_question(&mut self, now: u64) -> Option<(u32, Question)> {
        while let Some(hop) = self.fresh.pop_front().or_else(|| self.doubted.pop_front()) {
            let Some(entry) = self.entries.get(&hop) else { continue };
            match self.question(&entry.key) {
                Ok(question) => return Some((hop, question)),
                Err(reason) => self.answered(now, hop, Err(reason)),
            }
        }
        None
    }

    /// Hops that are followed, of these the valid ones, and how often one became invalid.
    pub(super) fn figures(&self) -> (usize, usize, u64) {
        (self.entries.len(), self.valid, self.changes)
    }

    fn find_interfaces(&mut self) {
        for (index, range) in self.indexes.iter_mut().zip(&self.ranges) {
            *index = range.interface.as_deref().and_then(|name| self.links.named(name));
        }
    }

    /// Something changed that the hops of another process may have depended on.
    fn disturb(&mut self) {
        for hop in std::mem::take(&mut self.inherited) {
            self.put_down(hop);
        }
    }

    fn put_down(&mut self, hop: u32) {
        self.outputs.push_back(Output::Left { hop });
        self.left.push(hop);
    }

    fn doubt(&mut self, hop: u32) {
        if let Some(entry) = self.entries.get_mut(&hop)
            && !entry.doubted
        {
            entry.doubted = true;
            self.doubted.push_back(hop);
        }
    }

    fn doubt_all(&mut self) {
        let hops: Vec<u32> = self.entries.keys().copied().collect();
        hops.into_iter().for_each(|hop| self.doubt(hop));
    }

    fn settle_all(&mut self) {
        let hops: Vec<u32> = self.entries.keys().copied().collect();
        hops.into_iter().for_each(|hop| self.settle(hop));
    }

    /// Doubts the next part of all hops, and those that nothing is known of.
    fn recheck(&mut self) {
        std::mem::take(&mut self.unanswered).into_iter().for_each(|hop| self.doubt(hop));
        let part = (self.entries.len() as u64).div_ceil(RECHECK_S) as usize;
        let hops: Vec<u32> = self.entries.range(self.cursor..).take(part).map(|(hop, _)| *hop).collect();
        self.cursor = if hops.len() < part { 0 } else { hops.last().map_or(0, |hop| hop + 1) };
        hops.into_iter().for_each(|hop| self.doubt(hop));
    }
}

/// The hops of addresses in a network.
fn within(addresses: &BTreeSet<(IpAddr, u32)>, network: IpNet) -> Vec<u32> {
    let all = (network.network(), 0)..=(network.broadcast(), u32::MAX);
    addresses.range(all).map(|(_, hop)| *hop).collect()
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
