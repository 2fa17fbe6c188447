//! The draw among SRV records of one priority (RFC 2782).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::world::{World, entropy, target};
use crate::locate::order::draw;
use crate::locate::*;

const DRAWS: u32 = 20_000;

/// How often each of the records came first.
fn firsts(records: &[Srv], seed: u64) -> BTreeMap<String, u32> {
    let mut entropy = entropy(seed);
    let mut counts = BTreeMap::new();
    for _ in 0..DRAWS {
        let first = draw(records, &mut entropy)[0];
        *counts.entry(first.target.clone()).or_default() += 1;
    }
    counts
}

fn srv(priority: u16, weight: u16, target: &str) -> Srv {
    Srv { priority, weight, port: 5060, target: target.into() }
}

/// Whether a count of [`DRAWS`] is within five standard deviations of what its chance lets expect. RFC 2782 draws
/// from 0 to the sum, both included, so shares are off by up to 1 in the sum: that is allowed for.
fn plausible(count: u32, weight: f64, sum: f64) -> bool {
    let draws = f64::from(DRAWS);
    let share = weight / sum;
    let deviation = (draws * share * (1.0 - share)).sqrt();
    (f64::from(count) - draws * share).abs() <= 5.0 * deviation + draws / (sum + 1.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn weights_are_followed(weights in proptest::collection::vec(20u16..2000, 1..6), seed: u64) {
        let records: Vec<Srv> =
            weights.iter().enumerate().map(|(index, weight)| srv(0, *weight, &index.to_string())).collect();
        let sum: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
        let counts = firsts(&records, seed);
        for (index, weight) in weights.iter().enumerate() {
            let count = counts.get(&index.to_string()).copied().unwrap_or_default();
            prop_assert!(plausible(count, f64::from(*weight), sum), "{weight} of {sum}: {count} of {DRAWS}");
        }
    }

    #[test]
    fn each_record_is_drawn_once_and_priorities_never_mix(
        drawn in proptest::collection::vec((0u16..4, 0u16..100), 0..30),
        seed: u64,
    ) {
        let records: Vec<Srv> =
            drawn.iter().enumerate().map(|(index, (priority, weight))| srv(*priority, *weight, &index.to_string())).collect();
        let order = draw(&records, &mut entropy(seed));
        prop_assert!(order.windows(2).all(|pair| pair[0].priority <= pair[1].priority));
        let mut names: Vec<&str> = order.iter().map(|record| record.target.as_str()).collect();
        names.sort_unstable();
        let mut all: Vec<&str> = records.iter().map(|record| record.target.as_str()).collect();
        all.sort_unstable();
        prop_assert_eq!(names, all);
    }
}

#[test]
fn three_to_one_is_three_to_one() {
    let counts = firsts(&[srv(0, 75, "big"), srv(0, 25, "small"), srv(1, 65_535, "spare")], 7);
    assert!(plausible(counts["big"], 75.0, 100.0), "{counts:?}");
    assert!(plausible(counts["small"], 25.0, 100.0), "{counts:?}");
    assert!(!counts.contains_key("spare"));
}

#[test]
fn without_weights_each_has_its_turn() {
    // RFC 2782 would have no choice to make here; whoever leaves out weights wants the load shared.
    let counts = firsts(&[srv(0, 0, "a"), srv(0, 0, "b"), srv(0, 0, "c")], 3);
    for name in ["a", "b", "c"] {
        assert!(plausible(counts[name], 1.0, 3.0), "{counts:?}");
    }
}

#[test]
fn one_without_weight_among_others_has_a_small_chance() {
    let counts = firsts(&[srv(0, 99, "big"), srv(0, 0, "none")], 11);
    let none = counts.get("none").copied().unwrap_or_default();
    assert!((100..=320).contains(&none), "about one in a hundred: {none} of {DRAWS}");
}

#[test]
fn every_call_draws_anew_from_what_is_kept() {
    let mut world = World::new()
        .srv("_sip._udp.example.com", &[(0, 50, 5060, "a.example.com"), (0, 50, 5060, "b.example.com")])
        .a("a.example.com", &["192.0.2.1"])
        .a("b.example.com", &["192.0.2.2"]);
    let mut firsts = BTreeMap::<String, u32>::new();
    for _ in 0..1000 {
        let hops = world.hops(&target("example.com"));
        assert_eq!(hops.len(), 2);
        *firsts.entry(hops[0].clone()).or_default() += 1;
    }
    assert_eq!(world.asked().len(), 6, "NAPTR, three SRV, two A: once");
    assert!(firsts.values().all(|count| (400..=600).contains(count)), "{firsts:?}");
}
