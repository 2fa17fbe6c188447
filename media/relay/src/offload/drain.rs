//! Flows that could not go over because something of them was always on the way: drained, a few at a time.
//!
//! A process that takes packets up 20 ms or more after they came has at any time a packet of every flow in front of it,
//! so that no flow goes over to what could relay it without the process: it stays as late as it is. So packets of some
//! flows are dropped where they come, until what is on the way has been dealt with, and the flow goes over. That costs
//! it what waits, once, where packets are lost anyway. It is done only while the process is late, and only to
//! flows that this has kept for a second:
//!
//! ```text
//!   waited, or lost: Late ----------> kept for KEPT_NS -------> Drained --------> goes over, or
//!                     ^  no sign of it for CALM_NS                |               UNTIL: kept again from now on
//!                     +-------------------------------------------+
//! ```

use crate::EndpointId;

/// A packet that waited so long was taken up late.
const LATE_NS: u64 = 20_000_000;
/// A process without a sign of lateness for so long is not late.
const CALM_NS: u64 = 250_000_000;
/// A process is late once it has been for so long, and a flow is kept once it has been for so long.
const KEPT_NS: u64 = 1_000_000_000;
/// A loss is counted once in so long at the latest.
const LOSS_NS: u64 = 1_000_000_000;
/// The most flows that are drained at once.
const FLOWS: usize = 128;
/// A drain is as long as packets have waited, twice, and a packet's spacing: but no shorter and no longer than this.
const SHORTEST_NS: u64 = 100_000_000;
const LONGEST_NS: u64 = 400_000_000;
const SPACING_NS: u64 = 40_000_000;

/// Which flows of a shard are drained.
#[derive(Debug, Default)]
pub struct Drain {
    /// Since when the process is late, and until when it is taken for late; 0 for not.
    late_since: u64,
    late_until: u64,
    /// The longest that packets have waited since it is late.
    waited: u64,
    /// Flows, and when their drain is over.
    flows: Vec<(EndpointId, u64)>,
}

impl Drain {
    /// Nothing is drained. Room for all that ever will be is reserved.
    pub fn new() -> Drain {
        Drain { flows: Vec::with_capacity(FLOWS), ..Drain::default() }
    }

    /// How the last packets came: how long the one that had waited longest had, and whether some were lost for want of
    /// room.
    #[inline]
    pub fn observe(&mut self, now: u64, waited: u64, lost: bool) {
        if waited < LATE_NS && !lost {
            return;
        }
        if now >= self.late_until {
            (self.late_since, self.waited) = (now, 0);
        }
        self.waited = self.waited.max(waited);
        let calm = if lost { LOSS_NS + CALM_NS } else { CALM_NS };
        self.late_until = self.late_until.max(now.saturating_add(calm));
    }

    /// Until when to drain a flow that was told and has not gone over since `kept_since`; `None` if it is not to be.
    pub fn admit(&mut self, now: u64, endpoint: EndpointId, kept_since: u64) -> Option<u64> {
        let is_late = now < self.late_until && now.saturating_sub(self.late_since) >= KEPT_NS;
        if !is_late || now.saturating_sub(kept_since) < KEPT_NS || self.flows.len() >= FLOWS || self.has(endpoint) {
            return None;
        }
        let length = self.waited.saturating_mul(2).saturating_add(SPACING_NS).clamp(SHORTEST_NS, LONGEST_NS);
        let until = now.saturating_add(length);
        self.flows.push((endpoint, until));
        Some(until)
    }

    /// A flow may go over, is told no more or was closed.
    pub fn end(&mut self, endpoint: EndpointId) {
        self.flows.retain(|(own, _)| *own != endpoint);
    }

    /// A flow whose drain is over; to be asked until there is none.
    pub fn next_over(&mut self, now: u64) -> Option<EndpointId> {
        let place = self.flows.iter().position(|(_, until)| *until <= now)?;
        Some(self.flows.swap_remove(place).0)
    }

    /// When the next drain is over.
    pub fn next_end(&self) -> Option<u64> {
        self.flows.iter().map(|(_, until)| *until).min()
    }

    /// Whether a flow is drained.
    pub fn has(&self, endpoint: EndpointId) -> bool {
        self.flows.iter().any(|(own, _)| *own == endpoint)
    }

    /// Whether any flow is.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const SECOND: u64 = 1000 * MS;

    /// Late for so long, with a sign of it every 100 ms.
    fn late(from: u64, until: u64) -> Drain {
        let mut drain = Drain::new();
        (from..until).step_by(100 * MS as usize).for_each(|now| drain.observe(now, 30 * MS, false));
        drain
    }

    #[test]
    fn a_process_in_time_drains_nothing() {
        let mut drain = Drain::new();
        for now in (SECOND..10 * SECOND).step_by(MS as usize) {
            drain.observe(now, LATE_NS - 1, false);
            assert_eq!(drain.admit(now, EndpointId(1), SECOND), None);
        }
    }

    #[test]
    fn one_hiccup_drains_nothing() {
        let mut drain = Drain::new();
        drain.observe(5 * SECOND, 300 * MS, true);
        assert_eq!(drain.admit(5 * SECOND, EndpointId(1), 1), None);
        assert_eq!(drain.admit(5 * SECOND + SECOND + CALM_NS, EndpointId(1), 1), None);
        // Nor do two, a while apart.
        drain.observe(8 * SECOND, 300 * MS, false);
        assert_eq!(drain.admit(8 * SECOND, EndpointId(1), 1), None);
    }

    #[test]
    fn a_flow_that_lateness_has_kept_is_drained_for_as_long_as_packets_wait() {
        let mut drain = late(SECOND, 3 * SECOND);
        let now = 3 * SECOND;
        assert_eq!(drain.admit(now, EndpointId(1), now - KEPT_NS + 1), None, "not yet");
        assert_eq!(drain.admit(now, EndpointId(1), now - KEPT_NS), Some(now + 100 * MS));
        assert_eq!(drain.admit(now, EndpointId(1), now - KEPT_NS), None, "it is already");
        assert!(drain.has(EndpointId(1)) && !drain.has(EndpointId(2)));
        assert_eq!((drain.next_over(now + 100 * MS - 1), drain.next_end()), (None, Some(now + 100 * MS)));
        assert_eq!(drain.next_over(now + 100 * MS), Some(EndpointId(1)));
        assert_eq!((drain.next_over(now + SECOND), drain.is_empty(), drain.next_end()), (None, true, None));
        // The process has caught up.
        assert_eq!(drain.admit(now + CALM_NS, EndpointId(1), SECOND), None);
    }

    #[test]
    fn a_drain_is_bounded_both_ways() {
        let mut drain = late(SECOND, 3 * SECOND);
        drain.observe(3 * SECOND, 100 * SECOND, false);
        assert_eq!(drain.admit(3 * SECOND, EndpointId(1), 0), Some(3 * SECOND + LONGEST_NS));
        // Where waits are not known, losses tell of lateness.
        let mut drain = Drain::new();
        (1..5).for_each(|second| drain.observe(second * SECOND, 0, true));
        assert_eq!(drain.admit(5 * SECOND, EndpointId(1), 0), Some(5 * SECOND + SHORTEST_NS));
    }

    #[test]
    fn so_many_flows_are_drained_at_once_and_no_more() {
        let mut drain = late(SECOND, 3 * SECOND);
        let admitted =
            |drain: &mut Drain| (0..1000).filter(|n| drain.admit(3 * SECOND, EndpointId(*n), SECOND).is_some()).count();
        assert_eq!(admitted(&mut drain), FLOWS);
        (0..10).for_each(|n| drain.end(EndpointId(n)));
        assert_eq!(admitted(&mut drain), 10);
        assert_eq!(drain.flows.capacity(), FLOWS, "nothing was allocated");
        let over = std::iter::from_fn(|| drain.next_over(10 * SECOND)).count();
        assert_eq!((over, drain.is_empty()), (FLOWS, true));
    }
}
