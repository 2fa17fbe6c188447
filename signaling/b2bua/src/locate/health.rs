//! Which hops are worth trying: one that failed rests for a while.

use std::collections::HashMap;

use super::target::Hop;

const SECOND_NS: u64 = 1_000_000_000;

/// The first rest; each one after it, without a success between, is twice as long.
const FIRST_REST_NS: u64 = 5 * SECOND_NS;

/// The longest rest, also where a Retry-After asks for more: a peer that was wrong about its own future is found
/// again in bounded time.
const MAX_REST_NS: u64 = 300 * SECOND_NS;

/// The most hops of which something is remembered.
const MAX_HOPS_KNOWN: usize = 4096;

/// How hops fared. A hop that answered 503, or nothing, or that could not be connected to, rests; when its time
/// is over it is tried again, and a success, be it of a call or of an OPTIONS, clears it.
#[derive(Debug, Default)]
pub struct Health {
    failed: HashMap<Hop, Rest>,
}

/// How long a hop rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rest {
    /// Until when.
    until: u64,
    /// The last one without what the hop itself asked for: the next one is twice as long.
    length_ns: u64,
}

impl Health {
    /// Nothing is known: all are alive.
    pub fn new() -> Health {
        Health::default()
    }

    /// A hop failed: it answered 503, with a Retry-After or without, or did not answer, or could not be connected
    /// to. Failures of requests that were under way when it began to rest do not make the rest longer.
    pub fn failed(&mut self, now: u64, hop: Hop, retry_after_ns: Option<u64>) {
        let asked = retry_after_ns.unwrap_or_default().min(MAX_REST_NS);
        if let Some(rest) = self.failed.get_mut(&hop) {
            if now < rest.until {
                rest.until = rest.until.max(now.saturating_add(asked));
                return;
            }
            let forgotten = now.saturating_sub(rest.until) > MAX_REST_NS;
            rest.length_ns = if forgotten { FIRST_REST_NS } else { (rest.length_ns * 2).min(MAX_REST_NS) };
            rest.until = now.saturating_add(rest.length_ns.max(asked));
            return;
        }
        self.insert(hop, Rest { until: now.saturating_add(FIRST_REST_NS.max(asked)), length_ns: FIRST_REST_NS });
    }

    /// How a hop rests, or has rested last; `None` if nothing is held against it.
    pub fn rest(&self, hop: Hop) -> Option<Rest> {
        self.failed.get(&hop).copied()
    }

    /// Takes over what somebody else knows of a hop: their [`rest`](Health::rest).
    pub fn learn(&mut self, hop: Hop, rest: Option<Rest>) {
        match rest {
            None => drop(self.failed.remove(&hop)),
            Some(rest) => match self.failed.get_mut(&hop) {
                Some(known) => *known = rest,
                None => self.insert(hop, rest),
            },
        }
    }

    fn insert(&mut self, hop: Hop, rest: Rest) {
        if self.failed.len() >= MAX_HOPS_KNOWN {
            // The one that has rested longest, or is the nearest to it.
            let least = self.failed.iter().min_by_key(|(hop, rest)| (rest.until, **hop)).map(|(hop, _)| *hop);
            if let Some(least) = least {
                self.failed.remove(&least);
            }
        }
        self.failed.insert(hop, rest);
    }

    /// A hop answered: it is alive.
    pub fn succeeded(&mut self, _now: u64, hop: Hop) {
        self.failed.remove(&hop);
    }

    /// The hops in the order to try them: those alive as they are, then those that rest, for want of others, the
    /// one whose rest ends first in front.
    pub fn order(&self, now: u64, hops: &[Hop]) -> Vec<Hop> {
        let mut ordered = hops.to_vec();
        // Stable: equals keep their order.
        ordered.sort_by_key(|hop| self.rests_until(now, *hop).unwrap_or_default());
        ordered
    }

    /// Until when a hop rests; `None` if it does not.
    pub fn rests_until(&self, now: u64, hop: Hop) -> Option<u64> {
        self.failed.get(&hop).map(|rest| rest.until).filter(|until| now < *until)
    }

    /// How many hops rest.
    pub fn resting(&self, now: u64) -> usize {
        self.failed.values().filter(|rest| now < rest.until).count()
    }
}

#[cfg(test)]
mod tests {
    use moorline_sip::Transport;

    use super::*;

    fn hop(last: u8) -> Hop {
        Hop { transport: Transport::Udp, address: ([192, 0, 2, last], 5060).into() }
    }

    #[test]
    fn one_that_failed_goes_behind_those_alive_until_its_rest_is_over() {
        let mut health = Health::new();
        health.failed(0, hop(1), None);
        assert_eq!(health.order(1, &[hop(1), hop(2), hop(3)]), [hop(2), hop(3), hop(1)]);
        assert_eq!(health.resting(1), 1);
        assert_eq!(health.order(5 * SECOND_NS, &[hop(1), hop(2), hop(3)]), [hop(1), hop(2), hop(3)]);
        assert_eq!(health.resting(5 * SECOND_NS), 0);
    }

    #[test]
    fn when_all_rest_all_are_tried_and_the_first_to_come_back_goes_first() {
        let mut health = Health::new();
        health.failed(0, hop(1), Some(60 * SECOND_NS));
        health.failed(0, hop(2), None);
        assert_eq!(health.order(SECOND_NS, &[hop(1), hop(2)]), [hop(2), hop(1)]);
    }

    #[test]
    fn the_rest_doubles_with_each_failure_after_it_up_to_five_minutes() {
        let mut health = Health::new();
        let mut now = 0;
        for expected in [5, 10, 20, 40, 80, 160, 300, 300] {
            health.failed(now, hop(1), None);
            let until = health.rests_until(now, hop(1)).expect("rests");
            assert_eq!((until - now) / SECOND_NS, expected);
            now = until;
        }
    }

    #[test]
    fn many_calls_that_fail_at_once_are_one_failure() {
        let mut health = Health::new();
        for call in 0..100 {
            health.failed(call, hop(1), None);
        }
        assert_eq!(health.rests_until(100, hop(1)), Some(5 * SECOND_NS));
    }

    #[test]
    fn retry_after_is_kept_within_bounds() {
        let mut health = Health::new();
        health.failed(0, hop(1), Some(30 * SECOND_NS));
        assert_eq!(health.rests_until(0, hop(1)), Some(30 * SECOND_NS));
        health.failed(SECOND_NS, hop(1), Some(u64::MAX));
        assert_eq!(health.rests_until(SECOND_NS, hop(1)), Some(301 * SECOND_NS));
        health.failed(0, hop(2), Some(SECOND_NS));
        assert_eq!(health.rests_until(0, hop(2)), Some(5 * SECOND_NS), "no less than without it");
    }

    #[test]
    fn a_pong_brings_it_back_and_the_next_rest_is_short_again() {
        let mut health = Health::new();
        health.failed(0, hop(1), None);
        health.failed(5 * SECOND_NS, hop(1), None);
        health.succeeded(6 * SECOND_NS, hop(1));
        assert_eq!(health.order(6 * SECOND_NS, &[hop(1), hop(2)]), [hop(1), hop(2)]);
        health.failed(7 * SECOND_NS, hop(1), None);
        assert_eq!(health.rests_until(7 * SECOND_NS, hop(1)), Some(12 * SECOND_NS));
    }

    #[test]
    fn a_failure_long_after_the_last_is_a_first_one() {
        let mut health = Health::new();
        health.failed(0, hop(1), None);
        health.failed(5 * SECOND_NS, hop(1), None);
        let later = 15 * SECOND_NS + MAX_REST_NS + 1;
        health.failed(later, hop(1), None);
        assert_eq!(health.rests_until(later, hop(1)), Some(later + FIRST_REST_NS));
    }

    #[test]
    fn the_same_address_over_another_transport_is_another_hop() {
        let mut health = Health::new();
        health.failed(0, hop(1), None);
        let tcp = Hop { transport: Transport::Tcp, ..hop(1) };
        assert_eq!(health.order(0, &[hop(1), tcp]), [tcp, hop(1)]);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut health = Health::new();
        for port in 0..u16::try_from(MAX_HOPS_KNOWN).expect("fits") + 100 {
            let address = ([192, 0, 2, 1], port).into();
            health.failed(u64::from(port), Hop { transport: Transport::Udp, address }, None);
        }
        assert_eq!(health.failed.len(), MAX_HOPS_KNOWN);
        assert!(!health.failed.contains_key(&Hop { transport: Transport::Udp, address: ([192, 0, 2, 1], 0).into() }));
    }
}
