//! When packets came, as far as the shard can tell: the kernel stamps none on this way.
//!
//! A packet counts as received when the shard first saw it in the ring. A port's successor must not get what came for
//! the former one, so the ring is looked at whenever a port is opened as well.

/// The moments at which a ring was looked at between batches.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Packets with a lower number were there at that time; the oldest first.
    marks: [Mark; MARKS],
    count: usize,
}

#[derive(Debug, Clone, Copy, Default)]
struct Mark {
    below: u32,
    at_ns: u64,
}

/// More looks between two batches than this count as one: its packets are then taken for older than they are.
const MARKS: usize = 8;

impl Arrivals {
    /// All packets below this number have come by now.
    pub(super) fn seen(&mut self, below: u32, now_ns: u64) {
        match self.marks.get_mut(self.count) {
            Some(mark) => {
                *mark = Mark { below, at_ns: now_ns };
                self.count += 1;
            }
            None => self.marks[MARKS - 1].below = below,
        }
    }

    /// When the packet of this number had come; `now_ns` for one that no look has seen. Packets are asked for in order.
    #[inline]
    pub(super) fn time(&mut self, number: u32, now_ns: u64) -> u64 {
        while self.count > 0 {
            let Mark { below, at_ns } = self.marks[0];
            // Numbers go round: what is less than half the way ahead is ahead.
            if below.wrapping_sub(number) as i32 > 0 {
                return at_ns;
            }
            self.marks.copy_within(1..self.count, 0);
            self.count -= 1;
        }
        now_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_the_time_of_the_first_look_that_saw_them() {
        let mut arrivals = Arrivals::default();
        let first = u32::MAX - 1;
        arrivals.seen(first.wrapping_add(2), 100);
        arrivals.seen(first.wrapping_add(2), 150);
        arrivals.seen(first.wrapping_add(5), 200);
        let times: Vec<u64> = (0..7).map(|n| arrivals.time(first.wrapping_add(n), 300)).collect();
        assert_eq!(times, [100, 100, 200, 200, 200, 300, 300]);
        assert_eq!(arrivals.time(first.wrapping_add(7), 400), 400);
    }

    #[test]
    fn looks_beyond_the_bound_make_packets_older_and_never_younger() {
        let mut arrivals = Arrivals::default();
        (1..=20).for_each(|n| arrivals.seen(n, u64::from(n)));
        let times: Vec<u64> = (0..21).map(|number| arrivals.time(number, 99)).collect();
        for (number, time) in (0u64..20).zip(&times) {
            assert!(*time <= number + 1, "packet {number} at {time}");
        }
        assert_eq!(times[20], 99);
    }
}
