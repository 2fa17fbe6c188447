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
/// Of a full table one part of so many rests at once, at most, to make room.
const RESTING: usize = 16;

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
        // Enough of them rest already, and soon can be given out.
        if self.free.len() > self.places.len() / RESTING {
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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::Mutex;
    use std::sync::atomic::AtomicBool;

    use proptest::prelude::*;

    use super::*;
    use crate::routes::bell::Bell;
    use crate::routes::slots::Slots;

    const S: u64 = 1_000_000_000;

    /// Hops without a thread.
    fn hops(places: u32) -> Hops {
        let shared = Shared {
            slots: Slots::new(places),
            bell: Bell::new().unwrap(),
            orders: Mutex::default(),
            stopping: AtomicBool::new(false),
            figures: Default::default(),
        };
        Hops::new(Arc::new(shared), Arc::new(ArrayQueue::new(orders(places))), 1, places)
    }

    fn ask(hops: &mut Hops, now: u64, n: u8) -> Answer {
        let address = |n: u8| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n));
        hops.hop(now, address(0), address(n), 0)
    }

    fn told(hops: &Hops) -> Vec<(bool, u32)> {
        let order = |order| match order {
            Order::Follow { hop, .. } => (true, hop),
            Order::Leave { hop } => (false, hop),
        };
        std::iter::from_fn(|| hops.orders.pop()).map(order).collect()
    }

    #[test]
    fn an_address_is_ordered_once_and_answered_when_its_place_says_so() {
        let mut hops = hops(2);
        assert_eq!([ask(&mut hops, 0, 1), ask(&mut hops, 0, 1)], [Answer::Pending; 2]);
        assert_eq!(told(&hops), [(true, 1)]);
        for (status, answer) in [
            (Status::Kernel(Reason::NoRoute), Answer::Kernel(Reason::NoRoute)),
            (Status::Kernel(Reason::Unresolved), Answer::Hop(1)),
            (Status::Changing, Answer::Hop(1)),
            (Status::Valid, Answer::Hop(1)),
        ] {
            hops.shared.slots.set(1, status);
            assert_eq!(ask(&mut hops, 0, 1), answer, "{status:?}");
        }
        assert_eq!(hops.places[0].users, 3);
    }

    #[test]
    fn a_hop_stays_while_it_is_used_and_a_minute_longer() {
        let mut hops = hops(2);
        ask(&mut hops, 0, 1);
        hops.shared.slots.set(1, Status::Valid);
        assert_eq!([ask(&mut hops, 0, 1), ask(&mut hops, 0, 1)], [Answer::Hop(1); 2]);
        told(&hops);
        hops.sweep(1000 * S);
        hops.release(1000 * S, 1);
        hops.sweep(2000 * S);
        assert_eq!(told(&hops), []);
        hops.release(2000 * S, 1);
        hops.sweep(2059 * S);
        assert_eq!(told(&hops), []);
        hops.sweep(2060 * S);
        assert_eq!(told(&hops), [(false, 1)]);
        hops.release(2060 * S, 1);
        hops.release(2060 * S, 77);
        // Its number is not given out before the thread says so.
        assert_eq!(
            [ask(&mut hops, 2060 * S, 2), ask(&mut hops, 2060 * S, 3)],
            [Answer::Pending, Answer::Kernel(Reason::Full)]
        );
        hops.shared.slots.set(1, Status::Free);
        assert_eq!(ask(&mut hops, 2061 * S, 3), Answer::Pending);
        assert_eq!(told(&hops), [(true, 2), (true, 1)]);
    }

    #[test]
    fn what_is_idle_makes_room_and_what_is_used_does_not() {
        let mut hops = hops(2);
        ask(&mut hops, 0, 1);
        ask(&mut hops, 0, 2);
        hops.shared.slots.set(1, Status::Valid);
        assert_eq!(ask(&mut hops, 0, 1), Answer::Hop(1));
        told(&hops);
        assert_eq!(ask(&mut hops, 0, 3), Answer::Kernel(Reason::Full));
        assert_eq!(told(&hops), [(false, 2)]);
        assert_eq!(ask(&mut hops, 0, 4), Answer::Kernel(Reason::Full));
        assert_eq!(told(&hops), [], "one is on its way");
        drop(hops);
    }

    proptest! {
        /// No order is lost, no number is given to two addresses, and all comes free in the end.
        #[test]
        fn numbers_are_given_out_once(steps in prop::collection::vec((0..6u8, 0..12u8, 0..30u64), 1..300)) {
            let (mut hops, mut now) = (hops(5), 0);
            let mut thread: HashMap<u32, bool> = HashMap::new();
            let mut held: Vec<(u8, u32)> = Vec::new();
            for (step, n, time) in steps {
                match step {
                    0..3 => if let Answer::Hop(hop) = ask(&mut hops, now, n) {
                        prop_assert!(held.iter().all(|(other, held)| (*other == n) == (*held == hop)));
                        held.push((n, hop));
                    },
                    3 => if let Some((_, hop)) = (!held.is_empty()).then(|| held.swap_remove(usize::from(n) % held.len())) {
                        hops.release(now, hop);
                    },
                    4 => {
                        now += time * S;
                        hops.sweep(now);
                    }
                    _ => {
                        prop_assert!(hops.orders.len() <= 10, "an order may have been lost");
                        for (follow, hop) in told(&hops) {
                            prop_assert_eq!(thread.insert(hop, follow).unwrap_or_default(), !follow);
                            hops.shared.slots.set(hop, if follow { Status::Valid } else { Status::Free });
                        }
                    }
                }
            }
            for (_, hop) in held {
                hops.release(now, hop);
            }
            hops.sweep(now + 61 * S);
            for (follow, hop) in told(&hops) {
                prop_assert_eq!(thread.insert(hop, follow).unwrap_or_default(), !follow);
            }
            prop_assert!(thread.values().all(|followed| !followed) && hops.known.is_empty());
        }
    }
}
