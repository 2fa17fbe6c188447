//! All routes at once: a million of them, found in less than a microsecond, never changed and replaced as a whole.

use std::sync::Arc;

use super::prefixes::{MAX_PREFIX, Prefixes};
use super::{Decision, Route, Times, Way};
use crate::Local;

/// The routes of a policy. Clones are the same table.
#[derive(Debug, Clone, Default)]
pub struct Routes(Arc<Table>);

#[derive(Debug, Clone, Default)]
struct Table {
    called: Prefixes,
    /// By position in `called`.
    groups: Vec<Group>,
    callers: Vec<Callers>,
    leaves: Vec<Leaf>,
    times: Vec<Times>,
    decisions: Vec<Decision>,
    count: usize,
}

/// The routes with one called prefix.
#[derive(Debug, Clone, Copy)]
enum Group {
    /// They are for all callers: these leaves.
    All(Leaves),
    /// Some are for callers with a prefix: a position in the callers.
    Callers(u32),
}

/// The routes with one called prefix, by the caller's.
#[derive(Debug, Clone)]
struct Callers {
    prefixes: Prefixes,
    leaves: Vec<Leaves>,
}

/// From the first to before the second.
type Leaves = [u32; 2];

/// A route, less its prefixes.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    /// [`ANY`] for all trunks.
    from: u32,
    /// [`ANY`] for always.
    when: u32,
    decision: u32,
}

const ANY: u32 = u32::MAX;

/// The most routes that one table has.
const MAX_ROUTES: usize = 16_000_000;

/// Takes routes, in any order, until they are a table.
#[derive(Debug, Default)]
pub struct RoutesBuilder {
    rows: Vec<Row>,
    /// The prefixes of all rows.
    text: Vec<u8>,
    times: Vec<Times>,
    decisions: Vec<Decision>,
}

#[derive(Debug, Clone, Copy)]
struct Row {
    /// Where its called prefix begins in the text; the caller's follows.
    at: u32,
    called: u8,
    caller: u8,
    leaf: Leaf,
}

/// A route is for the same calls as another one. Both are named by how many were added before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Twice {
    /// The earlier one.
    pub first: usize,
    /// The other.
    pub second: usize,
}

impl Routes {
    /// These; of two for the same calls the first counts.
    pub fn new(routes: impl IntoIterator<Item = Route>) -> Routes {
        let mut builder = RoutesBuilder::default();
        for route in routes {
            let decision = builder.decision(Decision { to: route.to, numbers: route.numbers });
            let when = route.when.map(|times| builder.times(times));
            builder.add(&route.prefix, &route.caller, route.from, when, decision);
        }
        builder.build().0
    }

    /// All calls go to one trunk.
    pub fn all_to(trunk: usize) -> Routes {
        Routes::new([Route { to: Way::Trunk(trunk), ..Route::default() }])
    }

    /// What is decided on a call from `caller` to `called` that came from the trunk `from`, at a minute of local time; see
    /// [`Route`]. `None` where no route is for it.
    pub fn find(&self, from: usize, called: &[u8], caller: &[u8], at: Local) -> Option<&Decision> {
        let table = &*self.0;
        let found = table.called.of(called).find_map(|group| match table.groups[group] {
            Group::All(leaves) => table.leaf(leaves, from, at),
            Group::Callers(position) => {
                let callers = &table.callers[position as usize];
                callers.prefixes.of(caller).find_map(|leaves| table.leaf(callers.leaves[leaves], from, at))
            }
        });
        found.map(|leaf| &table.decisions[leaf.decision as usize])
    }

    /// The same where the trunks have other positions: the one at `n` is at `positions[n]`.
    pub(crate) fn renumber(&mut self, positions: &[usize]) {
        if positions.iter().enumerate().all(|(before, now)| before == *now) {
            return;
        }
        let now = |trunk: usize| positions.get(trunk).copied().unwrap_or(trunk);
        let table = Arc::make_mut(&mut self.0);
        for leaf in table.leaves.iter_mut().filter(|leaf| leaf.from != ANY) {
            leaf.from = now(leaf.from as usize).min(ANY as usize - 1) as u32;
        }
        for decision in &mut table.decisions {
            match &mut decision.to {
                Way::Trunk(trunk) => *trunk = now(*trunk),
                Way::Trunks(hunt) => hunt.choices.iter_mut().for_each(|choice| choice.trunk = now(choice.trunk)),
                Way::Redirect(_) | Way::Refuse(_) => {}
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.count == 0
    }
}

impl Table {
    fn leaf(&self, [first, end]: Leaves, from: usize, at: Local) -> Option<Leaf> {
        let here = |leaf: &&Leaf| leaf.from == ANY || leaf.from as usize == from;
        let now = |leaf: &&Leaf| leaf.when == ANY || self.times[leaf.when as usize].contain(at);
        self.leaves[first as usize..end as usize].iter().find(|leaf| here(leaf) && now(leaf)).copied()
    }
}

impl RoutesBuilder {
    /// Takes note of what routes decide.
    pub fn decision(&mut self, decision: Decision) -> u32 {
        self.decisions.push(decision);
        self.decisions.len() as u32 - 1
    }

    /// Takes note of when routes are for calls.
    pub fn times(&mut self, times: Times) -> u32 {
        let known = self.times.iter().position(|known| *known == times);
        known.unwrap_or_else(|| {
            self.times.push(times);
            self.times.len() - 1
        }) as u32
    }

    /// Adds a route by what was noted before. False where it is not taken: a prefix has more than 64 bytes, or there are
    /// 16 million routes already.
    pub fn add(&mut self, prefix: &str, caller: &str, from: Option<usize>, when: Option<u32>, decision: u32) -> bool {
        let (Ok(called_length), Ok(caller_length)) = (prefix.len().try_into(), caller.len().try_into()) else {
            return false;
        };
        if prefix.len().max(caller.len()) > MAX_PREFIX || self.rows.len() >= MAX_ROUTES {
            return false;
        }
        let from = from.map_or(ANY, |from| from.min(ANY as usize - 1) as u32);
        let leaf = Leaf { from, when: when.unwrap_or(ANY), decision };
        // 16 million times two prefixes fit.
        let at = self.text.len() as u32;
        self.rows.push(Row { at, called: called_length, caller: caller_length, leaf });
        self.text.extend_from_slice(prefix.as_bytes());
        self.text.extend_from_slice(caller.as_bytes());
        true
    }

    /// The table, and the routes that are in it though an earlier one is for the same calls.
    pub fn build(mut self) -> (Routes, Vec<Twice>) {
        let mut order: Vec<u32> = (0..self.rows.len() as u32).collect();
        let key = |at: u32| {
            let row = &self.rows[at as usize];
            let (called, caller) = self.prefixes(row);
            (called, caller, row.leaf.from == ANY, row.leaf.from, row.leaf.when == ANY, at)
        };
        order.sort_unstable_by(|one, other| key(*one).cmp(&key(*other)));
        let same = |one: u32, other: u32| {
            let (a, b) = (&self.rows[one as usize], &self.rows[other as usize]);
            self.prefixes(a) == self.prefixes(b) && (a.leaf.from, a.leaf.when) == (b.leaf.from, b.leaf.when)
        };
        let twice = order.windows(2).filter(|pair| same(pair[0], pair[1]));
        let twice = twice.map(|pair| Twice { first: pair[0] as usize, second: pair[1] as usize }).collect();

        let mut table = Table { count: order.len(), ..Table::default() };
        let mut called = Vec::new();
        for group in order.chunk_by(|one, other| key(*one).0 == key(*other).0) {
            called.push(key(group[0]).0);
            let for_all = key(group[group.len() - 1]).1.is_empty();
            let mut add = |rows: &[u32]| {
                let first = table.leaves.len() as u32;
                table.leaves.extend(rows.iter().map(|row| self.rows[*row as usize].leaf));
                [first, table.leaves.len() as u32]
            };
            if for_all {
                let leaves = add(group);
                table.groups.push(Group::All(leaves));
                continue;
            }
            let by_caller = group.chunk_by(|one, other| key(*one).1 == key(*other).1);
            let leaves = by_caller.clone().map(&mut add).collect();
            let prefixes = Prefixes::new(by_caller.map(|rows| key(rows[0]).1));
            table.groups.push(Group::Callers(table.callers.len() as u32));
            table.callers.push(Callers { prefixes, leaves });
        }
        table.called = Prefixes::new(called.into_iter());
        table.times = std::mem::take(&mut self.times);
        table.decisions = std::mem::take(&mut self.decisions);
        (Routes(Arc::new(table)), twice)
    }

    fn prefixes(&self, row: &Row) -> (&[u8], &[u8]) {
        let (at, called, caller) = (row.at as usize, usize::from(row.called), usize::from(row.caller));
        (&self.text[at..at + called], &self.text[at + called..at + called + caller])
    }
}

#[cfg(test)]
mod tests;
