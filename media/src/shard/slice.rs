//! How much control work a shard does between two looks at its packets.

/// While packets wait, control work takes this part of the time that the packets before it took: a fifth of a core
/// that is busy all the time, which is enough to open some thousand sessions a second.
const SHARE: u64 = 4;
/// While none waits, it goes on for this long at most: what is due and what is asked take turns.
const QUIET_NS: u64 = 200_000;

/// The control work of one turn. It is cut into pieces of some microseconds (one letter, one ended session), and
/// the first piece of each kind is always done, so that neither packets nor control work can be starved.
pub(super) struct Slice {
    /// When the turn began, with the packets.
    turn_ns: u64,
    begun_ns: Option<u64>,
}

impl Slice {
    pub(super) fn new(turn_ns: u64) -> Slice {
        Slice { turn_ns, begun_ns: None }
    }

    /// The first piece begins; the clock is not read again for others.
    pub(super) fn begin(&mut self, clock: impl FnOnce() -> u64) {
        if self.begun_ns.is_none() {
            self.begun_ns = Some(clock());
        }
    }

    /// Whether there is time for another piece.
    pub(super) fn allows(&self, now: u64, packets_wait: bool) -> bool {
        let begun = self.begun_ns.unwrap_or(now);
        let share = if packets_wait { begun.saturating_sub(self.turn_ns) / SHARE } else { QUIET_NS };
        now.saturating_sub(begun) < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_work_gets_a_share_of_the_time_that_packets_take() {
        let mut slice = Slice::new(1_000);
        slice.begin(|| 401_000);
        slice.begin(|| panic!("begun already"));
        assert!(slice.allows(500_999, true), "a quarter of 400 µs is not used up");
        assert!(!slice.allows(501_000, true));
        assert!(slice.allows(501_000, false), "nobody waits");
        assert!(!slice.allows(601_000, false), "other kinds of work get their turn");
    }

    #[test]
    fn a_turn_without_packets_leaves_no_time_once_packets_wait() {
        let mut slice = Slice::new(1_000);
        slice.begin(|| 1_000);
        assert!(slice.allows(30_000, false));
        assert!(!slice.allows(30_000, true));
    }
}
