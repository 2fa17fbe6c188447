//! The search for the highest rate without loss.

/// Rates to try, one after the other: from a first guess up or down by large steps until the limit lies between two
/// of them, then by halves, until it is known to a twentieth.
#[derive(Debug, Clone)]
pub(super) struct Search {
    next: u32,
    highest_held: Option<u32>,
    lowest_refused: Option<u32>,
    has_failed_once: bool,
}

/// Packets a second: as many as a call sends both ways, in round numbers.
const STEP: u32 = 2_500;
const LOWEST: u32 = 10_000;
/// No load of one core gets that far.
const HIGHEST: u32 = 1_000_000;

/// How it went at a rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Held,
    /// Tried once more, as one stall of the machine says nothing.
    Missed,
    /// Missed by far.
    Overrun,
}

impl Search {
    pub(super) fn new(guess: u32) -> Search {
        Search { next: round(f64::from(guess)), highest_held: None, lowest_refused: None, has_failed_once: false }
    }

    /// The rate to try now; `None` at the end of the search.
    pub(super) fn next(&self) -> Option<u32> {
        match (self.highest_held, self.lowest_refused) {
            (Some(held), Some(refused)) if f64::from(refused) <= f64::from(held) * 1.05 + f64::from(STEP) => None,
            (Some(HIGHEST..), _) | (_, Some(..=LOWEST)) => None,
            _ => Some(self.next),
        }
    }

    /// Notes how it went at [`next`](Self::next).
    pub(super) fn note(&mut self, verdict: Verdict) {
        if verdict == Verdict::Missed && !std::mem::replace(&mut self.has_failed_once, true) {
            return;
        }
        self.has_failed_once = false;
        if verdict == Verdict::Held {
            self.highest_held = Some(self.next);
        } else {
            self.lowest_refused = Some(self.next);
        }
        self.next = match (self.highest_held.map(f64::from), self.lowest_refused.map(f64::from)) {
            (Some(held), Some(refused)) => round((held + refused) / 2.0),
            (Some(held), None) => round(held * 1.25),
            (None, Some(refused)) => round(refused * 0.8),
            (None, None) => self.next,
        };
    }

    /// The highest rate held; 0 if none was.
    pub(super) fn held(&self) -> u32 {
        self.highest_held.unwrap_or_default()
    }
}

fn round(rate: f64) -> u32 {
    ((rate / f64::from(STEP)).round() as u32 * STEP).clamp(LOWEST, HIGHEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates tried with a system that holds up to `limit`.
    fn search(guess: u32, limit: u32, stalls: &[usize]) -> (Vec<u32>, u32) {
        let mut search = Search::new(guess);
        let mut tried = Vec::new();
        while let Some(rate) = search.next() {
            let is_stalled = stalls.contains(&tried.len());
            tried.push(rate);
            search.note(match rate {
                _ if is_stalled => Verdict::Missed,
                _ if rate <= limit => Verdict::Held,
                _ if f64::from(rate) < f64::from(limit) * 1.2 => Verdict::Missed,
                _ => Verdict::Overrun,
            });
        }
        (tried, search.held())
    }

    #[test]
    fn the_limit_is_found_from_above_and_from_below() {
        for guess in [20_000, 100_000, 150_000, 400_000] {
            let (tried, held) = search(guess, 143_000, &[]);
            assert!(held <= 143_000 && f64::from(held) > 143_000.0 * 0.93, "{guess}: {tried:?}");
        }
        assert_eq!(search(150_000, 143_000, &[]).0, [150_000, 150_000, 120_000, 135_000, 142_500]);
    }

    #[test]
    fn one_stall_is_forgiven() {
        assert_eq!(search(100_000, 110_000, &[0]).0, [100_000, 100_000, 125_000, 125_000, 112_500, 112_500, 107_500]);
    }

    #[test]
    fn both_ends() {
        assert_eq!(search(100_000, 0, &[]).1, 0);
        assert_eq!(search(800_000, u32::MAX, &[]).1, 1_000_000);
    }
}
