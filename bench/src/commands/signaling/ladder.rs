//! The search for the highest rate that a system holds.

/// Rates to try, one after the other: up the rungs until one is not held, then by halves of what is left.
/// A rate counts as not held when it was not held twice, as one stall of the machine says nothing.
#[derive(Debug)]
pub(super) struct Ladder {
    rungs: Vec<u32>,
    highest_held: u32,
    lowest_refused: Option<u32>,
    halvings: u32,
    has_failed_once: bool,
}

/// No finer than this.
const STEP: u32 = 50;

impl Ladder {
    /// `rungs` in ascending order; `halvings` of the last gap between them.
    pub(super) fn new(rungs: &[u32], halvings: u32) -> Ladder {
        Ladder { rungs: rungs.to_vec(), highest_held: 0, lowest_refused: None, halvings, has_failed_once: false }
    }

    /// The rate to try now; `None` at the end of the search.
    pub(super) fn next(&self) -> Option<u32> {
        let Some(refused) = self.lowest_refused else {
            return self.rungs.iter().copied().find(|rung| *rung > self.highest_held);
        };
        let middle = (self.highest_held + refused) / 2 / STEP * STEP;
        (self.halvings > 0 && middle > self.highest_held).then_some(middle)
    }

    /// Notes how it went at the rate that [`next`](Self::next) named.
    pub(super) fn note(&mut self, rate: u32, is_held: bool) {
        if !is_held && !self.has_failed_once {
            self.has_failed_once = true;
            return;
        }
        self.has_failed_once = false;
        if self.lowest_refused.is_some() {
            self.halvings -= 1;
        }
        if is_held {
            self.highest_held = rate;
        } else {
            self.lowest_refused = Some(rate);
        }
    }

    /// The highest rate held; 0 if none was.
    pub(super) fn held(&self) -> u32 {
        self.highest_held
    }

    /// Whether the top rung was held, so that the system might hold more.
    pub(super) fn is_topped(&self) -> bool {
        self.lowest_refused.is_none() && self.next().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates tried with a system that holds up to `limit`.
    fn climb(limit: u32, stalls: &[usize]) -> (Vec<u32>, Ladder) {
        let mut ladder = Ladder::new(&[800, 1000, 1600, 2400], 2);
        let mut tried = Vec::new();
        while let Some(rate) = ladder.next() {
            let is_stalled = stalls.contains(&tried.len());
            tried.push(rate);
            ladder.note(rate, rate <= limit && !is_stalled);
        }
        (tried, ladder)
    }

    #[test]
    fn the_last_gap_is_halved() {
        let (tried, ladder) = climb(1450, &[]);
        assert_eq!(tried, [800, 1000, 1600, 1600, 1300, 1450]);
        assert_eq!((ladder.held(), ladder.is_topped()), (1450, false));
    }

    #[test]
    fn one_stall_is_forgiven() {
        let (tried, ladder) = climb(1000, &[0]);
        assert_eq!(tried, [800, 800, 1000, 1600, 1600, 1300, 1300, 1150, 1150]);
        assert_eq!(ladder.held(), 1000);
    }

    #[test]
    fn both_ends_of_the_ladder() {
        let (_, ladder) = climb(9999, &[]);
        assert_eq!((ladder.held(), ladder.is_topped()), (2400, true));
        let (tried, ladder) = climb(100, &[]);
        assert_eq!(tried, [800, 800, 400, 400, 200, 200]);
        assert_eq!((ladder.held(), ladder.is_topped()), (0, false));
    }
}
