//! A shard's end: which pair of addresses has which place, and who uses it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crossbeam::queue::ArrayQueue;

use super::key::Key;
use super::slots::Status;
use super::{Order, Reason, Shared};

/// How long a place is followed that nobody uses: the next call to the same address finds its hop ready.
const IDLE_NS: u64 = 60_000_000_000;
/// How many idle places one sweep looks at, and how many resting ones the search for a free one.
const SWEEP: usize = 256;
const TRIES: usize = 8;

/// Room for the orders that can be under way: a place is followed and left once before it is free again.
pub(super) fn orders(places: u32) -> usize {
    2 * places.max(1) as usize
}

/// What is known of a hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Its number. This is one use of it, to be given back by [`Hops::release`]. It is not valid while its neighbour
    /// is looked for, or while it changes, and then valid by itself: the number stays.
    Hop(u32),
    /// It is being found out: ask again some milliseconds later.
    Pending,
    /// The kernel has to send. That can change: ask again after a while.
    Kernel(Reason),
}

/// The hops of one shard. Nothing here waits, allocates or, but for waking the routes thread, makes a system call.
///
/// Numbers are given out here and not by the routes thread: it learns of them by a queue, and says what it finds in
/// the place itself.
pub(crate) struct Hops {
    shared: Arc<Shared>,
    orders: Arc<ArrayQueue<Order>>,
    /// The number of the first place.
    first: u32,
    known: HashMap<Key, u32>,
    places: Vec<Place>,
    /// Places without a key, the longest free first; the last ones may still rest.
    free: VecDeque<u32>,
    /// Places that perhaps nobody uses, each once.
    idle: VecDeque<u32>,
}

#[derive(Clone, Copy, Default)]
struct Place {
    key: Option<Key>,
    users: u32,
    /// When it was last asked for or released.
    since: u64,
    /// It is in the queue of idle ones.
    queued: bool,
}

impl Hops {
    pub(super) fn new(shared: Arc<Shared>, orders: Arc<ArrayQueue<Order>>, first: u32, places: u32) -> Hops {
        let count = places as usize;
        Hops {
            shared,
            orders,
            first,
            known: HashMap::with_capacity(count),
            places: vec![Place::default(); count],
            free: (0..places).collect(),
            idle: VecDeque::with_capacity(count),
        }
    }

    /// The hop of packets of a media range (by its position) from a local address to a remote one.
    pub(crate) fn hop(&mut self, now: u64, source: IpAddr, destination: IpAddr, range: u16) -> Answer {
        let key = Key::new(source, destination, range);
        let Some(&position) = self.known.get(&key) else { return self.follow(now, key) };
        let hop = self.first + position;
        let Some(place) = self.places.get_mut(position as usize) else { return Answer::Kernel(Reason::Full) };
        place.since = now;
        match self.shared.slots.status(hop) {
            // A neighbour that is looked for is mostly found some milliseconds later.
            Status::Valid | Status::Changing | Status::Kernel(Reason::Unresolved) => {
                place.users += 1;
                Answer::Hop(hop)
            }
            Status::Kernel(reason) => Answer::Kernel(reason),
            Status::Pending | Status::Free | Status::Resting => Answer::Pending,
        }
    }

    /// Gives one use back.
    pub(crate) fn release(&mut self, now: u64, hop: u32) {
        let Some(position) = hop.checked_sub(self.first) else { return };
        let Some(place) = self.places.get_mut(position as usize).filter(|place| place.users > 0) else { return };
        place.users -= 1;
        place.since = now;
        if place.users == 0 && !place.queued {
            place.queued = true;
            self.idle.push_back(position);
        }
    }

    /// Lets go of what nobody has used for a minute; to be called about once a second.
    pub(crate) fn sweep(&mut self, now: u64) {
        for _ in 0..self.idle.len().min(SWEEP) {
            let Some(position) = self.idle.pop_front() else { return };
            let Some(place) = self.places.get_mut(position as usize) else { continue };
            if place.users > 0 {
                place.queued = false;
            } else if now.saturating_sub(place.since) >= IDLE_NS {
                self.leave(position);
            } else {
                self.idle.push_back(position);
            }
        }
    }

    /// Gives a place to a key.
    fn follow(&mut self, now: u64, key: Key) -> Answer {
        let Some(position) = self.take_free() else {
            self.make_room();
            return Answer::Kernel(Reason::Full);
        };
        let hop = self.first + position;
        self.places[position as usize] = Place { key: Some(key), users: 0, since: now, queued: true };
        self.idle.push_back(position);
        self.known.insert(key, position);
        self.shared.slots.set(hop, Status::Pending);
        self.order(Order::Follow { hop, key });
        Answer::Pending
    }

    fn take_free(&mut self) -> Option<u32> {
        for _ in 0..self.free.len().min(TRIES) {
            let position = self.free.pop_front()?;
            if self.shared.slots.status(self.first + position) == Status::Free {
                return Some(position);
            }
            self.free.push_back(position);
        }
        None
    }

    /// All places are taken: one that is idle goes, for one of the next to be asked for.
    fn make_room(&mut self) {
        // Enough of them rest.
        if !self.free.is_empty() {
            return;
        }
        for _ in 0..self.idle.len().min(TRIES) {
            let Some(position) = self.idle.pop_front() else { return };
            let Some(place) = self.places.get_mut(position as usize) else { continue };
            if place.users == 0 {
                return self.leave(position);
            }
            place.queued = false;
        }
    }

    fn leave(&mut self, position: u32) {
        let Some(place) = self.places.get_mut(position as usize) else { return };
        if let Some(key) = place.key.take() {
            self.known.remove(&key);
        }
        place.queued = false;
        let hop = self.first + position;
        self.order(Order::Leave { hop });
        self.free.push_back(position);
    }

    fn order(&self, order: Order) {
        // There is room, see `orders`; without a thread there need not be, and then every place stays as it is.
        let _ = self.orders.push(order);
        self.shared.bell.ring();
    }
}

impl Drop for Hops {
    fn drop(&mut self) {
        for position in 0..self.places.len() as u32 {
            if self.places[position as usize].key.is_some() {
                self.leave(position);
            }
        }
    }
}
