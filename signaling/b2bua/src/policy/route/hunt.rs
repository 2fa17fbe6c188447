//! Several trunks for the same calls: in which order they are tried, and after which answers the next one is.

use std::cmp::Reverse;

/// Trunks of which one is to carry a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hunt {
    /// The trunks.
    pub choices: Vec<Choice>,
    /// After which answers the next one is tried.
    pub failover: Failover,
}

/// One of several trunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The trunk, by position in [`Policy::trunks`](crate::policy::Policy::trunks).
    pub trunk: usize,
    /// Those with a lower number are tried first.
    pub order: u32,
    /// Its share of the calls among those with the same order; 0 leaves it to the others as long as they take calls.
    pub weight: u32,
}

/// After which answers of a trunk the next one is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failover {
    /// After these, whatever the reason phrase says.
    pub statuses: Vec<u16>,
    /// After these reason phrases, with this status or with any. Several services use one status for many things.
    pub reasons: Vec<(Option<u16>, Phrase)>,
    /// When it says nothing, cannot be reached or found, or has no room.
    pub silence: bool,
}

impl Default for Failover {
    /// After what says that the trunk cannot carry calls now. What says something of the one who is called (404, 480, 486,
    /// 603) is the call's end.
    fn default() -> Failover {
        Failover { statuses: vec![500, 502, 503, 504], reasons: Vec::new(), silence: true }
    }
}

/// What a reason phrase is to say: in any case, with `*` for any text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phrase(String);

impl Hunt {
    /// These trunks one after the other.
    pub fn in_order(trunks: impl IntoIterator<Item = usize>) -> Hunt {
        let choice = |(order, trunk): (u32, usize)| Choice { trunk, order, weight: 1 };
        Hunt { choices: (0..).zip(trunks).map(choice).collect(), failover: Failover::default() }
    }

    /// All trunks in the order in which a call tries them: by order, and among those with the same drawn by weight, as SRV
    /// records are (RFC 2782).
    pub fn draw(&self, mut random: impl FnMut() -> u64) -> Vec<usize> {
        let mut left = self.choices.clone();
        // Stable: what nothing tells apart stays as it was written.
        left.sort_by_key(|choice| (choice.order, Reverse(choice.weight.min(1))));
        let mut drawn = Vec::with_capacity(left.len());
        while let Some(first) = left.first() {
            let alike = left.iter().take_while(|other| other.order == first.order);
            let total: u64 = alike.clone().map(|choice| u64::from(choice.weight)).sum();
            let mut ticket = if total == 0 || alike.count() == 1 { 0 } else { random() % total };
            let chosen = left.iter().position(|choice| {
                let weight = u64::from(choice.weight);
                let wins = ticket < weight || total == 0;
                ticket = ticket.saturating_sub(weight);
                wins
            });
            drawn.push(left.remove(chosen.unwrap_or_default()).trunk);
        }
        drawn
    }
}

impl Failover {
    /// Whether the next trunk is tried after this answer.
    pub fn follows(&self, status: u16, reason: &[u8]) -> bool {
        let said =
            |(only, phrase): &(Option<u16>, Phrase)| only.is_none_or(|only| only == status) && phrase.is_in(reason);
        // Whoever answers 6xx speaks for everybody (RFC 3261 16.7, step 5).
        status < 600 && (self.statuses.contains(&status) || self.reasons.iter().any(said))
    }
}

impl Phrase {
    /// Of a text with `*`.
    pub fn new(text: &str) -> Phrase {
        Phrase(text.to_ascii_lowercase())
    }

    /// Whether a reason phrase says so.
    pub fn is_in(&self, reason: &[u8]) -> bool {
        let reason = reason.trim_ascii().to_ascii_lowercase();
        let mut parts = self.0.split('*').map(str::as_bytes);
        let Some(mut rest) = parts.next().and_then(|first| reason.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let found = (0..=rest.len()).find(|at| rest[*at..].starts_with(part));
            let Some(at) = found else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hunt(choices: &[(usize, u32, u32)]) -> Hunt {
        let choice = |&(trunk, order, weight): &(usize, u32, u32)| Choice { trunk, order, weight };
        Hunt { choices: choices.iter().map(choice).collect(), failover: Failover::default() }
    }

    #[test]
    fn trunks_are_drawn_by_order_and_weight() {
        assert_eq!(Hunt::in_order([7, 3, 5]).draw(|| panic!("nothing to draw")), [7, 3, 5]);
        let shared = hunt(&[(9, 2, 1), (1, 1, 70), (2, 1, 30), (3, 1, 0)]);
        let mut first = [0; 10];
        for ticket in 0..100 {
            let drawn = shared.draw(|| ticket);
            assert_eq!(drawn[2..], [3, 9], "the one without weight, then the next order");
            first[drawn[0]] += 1;
        }
        assert_eq!((first[1], first[2]), (70, 30));
        assert_eq!(Hunt::default().draw(|| 0), Vec::<usize>::new());
    }

    #[test]
    fn failover_goes_by_status_and_phrase() {
        let failover = Failover {
            statuses: vec![503],
            reasons: vec![(Some(480), Phrase::new("no *LINE*")), (None, Phrase::new("Codec Mismatch"))],
            silence: true,
        };
        for (status, reason, expected) in [
            (503, "anything", true),
            (480, "No Available Line Now", true),
            (480, "no line", true),
            (480, "Temporarily Unavailable", false),
            (404, "No Line", false),
            (488, "codec mismatch ", true),
            (488, "codec mismatch here", false),
            (603, "codec mismatch", false),
            (600, "", false),
        ] {
            assert_eq!(failover.follows(status, reason.as_bytes()), expected, "{status} {reason}");
        }
        assert!(Phrase::new("*").is_in(b"") && Phrase::new("").is_in(b"") && !Phrase::new("").is_in(b"x"));
        assert!(Phrase::new("a*a").is_in(b"aa") && !Phrase::new("a*a").is_in(b"a"), "no text counts twice");
    }

    proptest! {
        /// Every trunk is tried once, those of a lower order first.
        #[test]
        fn every_trunk_is_drawn_once(choices in prop::collection::vec((0u32..4, 0u32..4), 0..8), seed: u64) {
            let hunt = hunt(&choices.iter().enumerate().map(|(t, (o, w))| (t, *o, *w)).collect::<Vec<_>>());
            let mut state = seed;
            let drawn = hunt.draw(|| { state = state.wrapping_mul(6364136223846793005).wrapping_add(1); state >> 8 });
            let orders: Vec<u32> = drawn.iter().map(|trunk| choices[*trunk].0).collect();
            prop_assert!(orders.is_sorted());
            let mut all = drawn.clone();
            all.sort_unstable();
            prop_assert_eq!(all, (0..choices.len()).collect::<Vec<_>>());
        }
    }
}
