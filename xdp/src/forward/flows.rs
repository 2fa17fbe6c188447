//! Flows and the ports that they belong to: the tables that packets touch.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use moorline_xdp_abi::forward::{Flow, GRACE_NS, Port, Seen, Slot, Told, wish};

use super::monotonic_ns;
use super::wish::{Progress, Wish};
use crate::mapped::Mapped;

/// A flow, by its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowId(u32);

impl FlowId {
    /// Its place.
    pub fn index(self) -> u32 {
        self.0
    }

    /// The first one.
    #[cfg(test)]
    pub(super) fn first() -> FlowId {
        FlowId(0)
    }
}

/// After so long no CPU goes on with what it read before: a program runs for microseconds.
const SETTLED_NS: u64 = 10_000_000;
const _: () = assert!(SETTLED_NS > GRACE_NS);

/// A flow that was given back is not used again for so long.
const REST_NS: u64 = 1_000_000_000;

/// The words of a half flow.
const WORDS: usize = size_of::<Told>() / 4;
/// The word of how many packets were dealt with, and that of the epoch.
const ARMED: usize = 1;
const EPOCH: usize = 2;
/// The first word of what travels.
const TRAVELS: usize = 27;

/// Both tables.
pub(super) struct Flows {
    slots: Mapped,
    flows: Mapped,
    count: u32,
    /// When each was last told to leave, by CLOCK_MONOTONIC; 0 for never.
    left: Vec<AtomicU64>,
    unused: Mutex<Unused>,
}

struct Unused {
    /// Flows to give out, and when they were given back, the longest unused first.
    free: VecDeque<(u32, u64)>,
    /// By entry, flows that live since before a take-over and that nobody has claimed.
    survivors: HashMap<u32, u32>,
}

impl Flows {
    /// Takes the tables as they are: flows that are relayed and belong to a port live on, all else is cleared.
    pub(super) fn new(slots: Mapped, flows: Mapped, entries: u32, count: u32) -> Flows {
        let unused = Mutex::new(Unused { free: VecDeque::new(), survivors: HashMap::new() });
        let own = Flows { slots, flows, count, left: (0..count).map(|_| AtomicU64::new(0)).collect(), unused };
        let mut survivors = HashMap::new();
        let mut lives = vec![false; count as usize];
        for entry in 0..entries {
            let flow = Slot::of(own.slots.u32_at(slot_at(entry))).flow;
            match flow.and_then(|flow| Some((flow, lives.get_mut(flow as usize)?))) {
                Some((flow, lives)) if !*lives && is_relayed(own.told(FlowId(flow)).wish) => {
                    *lives = true;
                    survivors.insert(entry, flow);
                    // What AF_XDP sockets there were are gone.
                    own.slots.store_u32(slot_at(entry), Slot { shard: None, flow: Some(flow) }.word());
                }
                _ => own.slots.store_u32(slot_at(entry), 0),
            }
        }
        let mut free = VecDeque::with_capacity(count as usize);
        for (flow, _) in (0..).zip(&lives).filter(|(_, lives)| !**lives) {
            own.wish(FlowId(flow), wish::UP);
            free.push_back((flow, 0));
        }
        *own.unused.lock().unwrap_or_else(PoisonError::into_inner) = Unused { free, survivors };
        own
    }

    pub(super) fn take(&self, entry: u32) -> Option<FlowId> {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flow) = unused.survivors.remove(&entry) {
            return Some(FlowId(flow));
        }
        let &(flow, since) = unused.free.front()?;
        if since != 0 && monotonic_ns().saturating_sub(since) < REST_NS {
            return None;
        }
        unused.free.pop_front();
        drop(unused);
        self.left[flow as usize].store(0, Ordering::Relaxed);
        Some(FlowId(flow))
    }

    pub(super) fn survivors(&self) -> Vec<(u32, FlowId)> {
        let unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.survivors.iter().map(|(entry, flow)| (*entry, FlowId(*flow))).collect()
    }

    pub(super) fn clear_survivors(&self) -> usize {
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        let cleared = std::mem::take(&mut unused.survivors);
        for (entry, flow) in &cleared {
            self.clear(*entry, *flow, &mut unused);
        }
        cleared.len()
    }

    pub(super) fn open(&self, entry: u32, slot: Slot) {
        self.slots.store_u32(slot_at(entry), slot.word());
    }

    pub(super) fn close(&self, entry: u32) {
        match Slot::of(self.slots.u32_at(slot_at(entry))).flow {
            Some(flow) => {
                let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
                unused.survivors.remove(&entry);
                self.clear(entry, flow, &mut unused);
            }
            None => self.slots.store_u32(slot_at(entry), 0),
        }
    }

    fn clear(&self, entry: u32, flow: u32, unused: &mut Unused) {
        self.slots.store_u32(slot_at(entry), 0);
        self.wish(FlowId(flow), wish::UP);
        unused.free.push_back((flow, monotonic_ns()));
    }

    pub(super) fn give_back(&self, flow: FlowId) {
        self.wish(flow, wish::UP);
        let mut unused = self.unused.lock().unwrap_or_else(PoisonError::into_inner);
        unused.free.push_back((flow.0, monotonic_ns()));
    }

    pub(super) fn tell(&self, flow: FlowId, new: &Wish, now: u64) -> bool {
        let Some(new) = new.told().filter(|_| self.has_left(flow, now)) else { return false };
        let words = Told { wish: wish::UP, ..new }.words();
        let epoch = self.word(flow, EPOCH).wrapping_add(1);
        self.store(flow, 0, words[0]);
        // No count that can come about soon: the flow is to be armed anew.
        self.store(flow, ARMED, self.seen(flow).passed.wrapping_sub(1));
        self.store(flow, EPOCH, epoch);
        for (index, word) in words.iter().enumerate().take(TRAVELS).skip(EPOCH + 1) {
            self.store(flow, index, *word);
        }
        self.store(flow, 0, Told { wish: wish::RELAY, ..new }.words()[0]);
        true
    }

    pub(super) fn arm(&self, flow: FlowId, count: u32, progress: &Progress) {
        let Progress { sequence, came, timestamp, transit, jitter } = *progress;
        for (index, word) in (TRAVELS..).zip([sequence, came, timestamp, transit, jitter]) {
            self.store(flow, index, word);
        }
        self.store(flow, ARMED, count);
    }

    pub(super) fn withdraw(&self, flow: FlowId, wish: u16, now: u64) {
        if is_relayed(self.told(flow).wish) {
            self.left[flow.0 as usize].store(now.max(1), Ordering::Relaxed);
        }
        self.wish(flow, wish);
    }

    /// Changes what a flow that is relayed is told between `RELAY` and `DRAIN`; false if it is told neither.
    pub(super) fn set_drained(&self, flow: FlowId, drained: bool) -> bool {
        let is_told = is_relayed(self.told(flow).wish);
        if is_told {
            self.wish(flow, if drained { wish::DRAIN } else { wish::RELAY });
        }
        is_told
    }

    pub(super) fn has_left(&self, flow: FlowId, now: u64) -> bool {
        if is_relayed(self.told(flow).wish) {
            return false;
        }
        let left = self.left[flow.0 as usize].load(Ordering::Relaxed);
        let seen = self.seen(flow);
        let still = seen.relaying != 0 && now.saturating_sub(seen.last_seen) < SETTLED_NS;
        left == 0 || (now.saturating_sub(left) >= SETTLED_NS && !still)
    }

    pub(super) fn told(&self, flow: FlowId) -> Told {
        Told::of(&std::array::from_fn(|index| self.word(flow, index)))
    }

    pub(super) fn is_told(&self, flow: FlowId, new: &Wish) -> bool {
        let told = self.told(flow);
        let Told { wish, armed, epoch, sequence, came, timestamp, transit, jitter, .. } = told;
        new.told().is_some_and(|new| {
            is_relayed(wish) && Told { wish, armed, epoch, sequence, came, timestamp, transit, jitter, ..new } == told
        })
    }

    pub(super) fn seen(&self, flow: FlowId) -> Seen {
        assert!(flow.0 < self.count, "flow {} of {}", flow.0, self.count);
        let at = flow.0 as usize * size_of::<Flow>() + size_of::<Told>();
        Seen::of(&std::array::from_fn(|index| self.flows.u64_at(at + 8 * index)))
    }

    fn wish(&self, flow: FlowId, wish: u16) {
        let [_, _, c, d] = self.word(flow, 0).to_ne_bytes();
        let [a, b] = wish.to_ne_bytes();
        self.store(flow, 0, u32::from_ne_bytes([a, b, c, d]));
    }

    fn word(&self, flow: FlowId, index: usize) -> u32 {
        self.flows.u32_at(told_at(flow, index, self.count))
    }

    fn store(&self, flow: FlowId, index: usize, word: u32) {
        self.flows.store_u32(told_at(flow, index, self.count), word);
    }
}

/// Whether a flow with this wish is relayed in the driver, or to be.
pub(super) fn is_relayed(wish: u16) -> bool {
    matches!(wish, wish::RELAY | wish::DRAIN)
}

fn slot_at(entry: u32) -> usize {
    entry as usize * size_of::<Port>()
}

fn told_at(flow: FlowId, index: usize, count: u32) -> usize {
    assert!(flow.0 < count && index < WORDS, "flow {} of {count}", flow.0);
    flow.0 as usize * size_of::<Flow>() + 4 * index
}
