use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const KEY: [u8; 16] = *b"a key of 16 byte";

fn counts(callees: usize) -> DayCounts {
    DayCounts::new(KEY, callees)
}

fn callee(counts: &DayCounts, called: &str) -> Callee {
    counts.callee("carrier", Direction::Inbound, called.as_bytes())
}

/// Everything that would be written down now.
fn written(counts: &DayCounts, file: &mut HashMap<u32, [u8; SLOT_BYTES]>) {
    let all = counts.write_changes(|at, bytes| {
        file.insert(at, *bytes);
        true
    });
    assert!(all);
}

#[test]
fn trunks_directions_and_callees_are_told_apart() {
    let counts = counts(100);
    let all = [
        counts.callee("a", Direction::Inbound, b"1"),
        counts.callee("a", Direction::Outbound, b"1"),
        counts.callee("a", Direction::Inbound, b"2"),
        counts.callee("a1", Direction::Inbound, b""),
        counts.callee("", Direction::Inbound, b"a1"),
        DayCounts::new([0; 16], 100).callee("a", Direction::Inbound, b"1"),
    ];
    for (at, one) in all.iter().enumerate() {
        assert!(all[..at].iter().all(|other| one != other));
    }
}

#[test]
fn a_new_day_begins_at_nothing() {
    let counts = counts(10);
    let bob = callee(&counts, "bob");
    assert_eq!([counts.count(bob, 100), counts.count(bob, 100)], [Some(100); 2]);
    assert_eq!(counts.called(bob, 100), Called::Times(2));
    assert_eq!(counts.called(bob, 101), Called::Times(0));
    assert!(counts.count(bob, 101).is_some());
    assert_eq!((counts.called(bob, 101), counts.used()), (Called::Times(1), 1));
    // What was counted yesterday is given back to nobody.
    counts.give_back(bob, 100);
    assert_eq!(counts.called(bob, 101), Called::Times(1));
    counts.give_back(bob, 101);
    counts.give_back(bob, 101);
    assert_eq!(counts.called(bob, 101), Called::Times(0));
}

#[test]
fn a_clock_that_goes_back_over_midnight_gives_no_calls_away() {
    let counts = counts(10);
    let bob = callee(&counts, "bob");
    counts.count(bob, 100);
    assert_eq!(counts.called(bob, 99), Called::Times(1));
    let counted = counts.count(bob, 99);
    assert_eq!((counted, counts.called(bob, 100)), (Some(100), Called::Times(2)));
    // One that was years ahead counts anew when it is put right, and finds what it had then.
    counts.count(bob, 5000);
    assert_eq!(counts.called(bob, 101), Called::Times(0));
    counts.count(bob, 101);
    assert_eq!((counts.called(bob, 101), counts.used()), (Called::Times(1), 1));
}

#[test]
fn what_does_not_fit_is_said_and_what_is_there_goes_on() {
    let counts = counts(50);
    let all: Vec<Callee> = (0..51).map(|n| callee(&counts, &n.to_string())).collect();
    for one in &all[..50] {
        assert!(counts.count(*one, 7).is_some());
    }
    assert_eq!((counts.called(all[50], 7), counts.count(all[50], 7)), (Called::Full, None));
    assert!(counts.count(all[3], 7).is_some());
    assert_eq!(counts.called(all[3], 7), Called::Times(2));
    assert!(counts.count(all[50], 8).is_some(), "tomorrow there is room again");
}

#[test]
fn what_cannot_be_written_is_written_later_and_damage_is_left_out() {
    let counts = counts(10);
    let (bob, eve) = (callee(&counts, "bob"), callee(&counts, "eve"));
    for _ in 0..3 {
        assert!(counts.count(bob, 7).is_some());
    }
    counts.count(eve, 7);
    let mut calls = 0;
    assert!(!counts.write_changes(|_, _| {
        calls += 1;
        calls < 2
    }));
    assert!(counts.has_changes());
    let mut file = HashMap::new();
    written(&counts, &mut file);
    assert!(!counts.has_changes());
    // The first change was written before, to nobody.
    counts.count(eve, 7);
    counts.count(bob, 7);
    written(&counts, &mut file);
    let mut slots: Vec<[u8; SLOT_BYTES]> = file.into_values().collect();
    assert_eq!(slots.len(), 2);
    slots.push([0; SLOT_BYTES]);
    slots.push([0xff; SLOT_BYTES]);
    let mut bad = slots[0];
    bad[20] ^= 1;
    slots.push(bad);
    let again = DayCounts::new(KEY, 10);
    assert_eq!(again.load(slots.iter()), 2);
    assert_eq!((again.called(bob, 7), again.called(eve, 7)), (Called::Times(4), Called::Times(2)));
    assert_eq!(again.called(bob, 8), Called::Times(0));
}

#[derive(Debug, Clone)]
enum Step {
    Count(u8),
    GiveBack(u8),
    Tomorrow,
    Write,
    /// Killed, and started with a table of this size.
    Restart(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0u8..60).prop_map(Step::Count),
        3 => (0u8..60).prop_map(Step::GiveBack),
        1 => Just(Step::Tomorrow),
        2 => Just(Step::Write),
        1 => (20usize..60).prop_map(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn it_counts_as_a_map_without_bounds_does(steps in proptest::collection::vec(step(), 1..400)) {
        let mut counts = counts(40);
        let (mut naive, mut day) = (HashMap::<u8, u32>::new(), 1000);
        let mut file = HashMap::new();
        for step in steps {
            match step {
                Step::Count(who) => {
                    let one = callee(&counts, &who.to_string());
                    let fits = naive.contains_key(&who) || naive.len() < counts.callees();
                    prop_assert_eq!(counts.count(one, day).is_some(), fits);
                    if fits {
                        *naive.entry(who).or_default() += 1;
                    }
                }
                Step::GiveBack(who) => {
                    counts.give_back(callee(&counts, &who.to_string()), day);
                    naive.entry(who).and_modify(|count| *count = count.saturating_sub(1));
                }
                Step::Tomorrow => {
                    day += 1;
                    naive.clear();
                }
                Step::Write => written(&counts, &mut file),
                Step::Restart(callees) => {
                    // Whatever is counted is written before anybody is called.
                    written(&counts, &mut file);
                    if naive.values().filter(|count| **count > 0).count() > callees {
                        continue;
                    }
                    naive.retain(|_, count| *count > 0);
                    counts = DayCounts::new(KEY, callees);
                    let slots: Vec<[u8; SLOT_BYTES]> = file.drain().map(|(_, bytes)| bytes).collect();
                    counts.load(slots.iter());
                    written(&counts, &mut file);
                }
            }
            for who in 0u8..60 {
                let called = counts.called(callee(&counts, &who.to_string()), day);
                let expected = match naive.get(&who) {
                    Some(count) => Called::Times(*count),
                    None if naive.len() < counts.callees() => Called::Times(0),
                    None => Called::Full,
                };
                prop_assert_eq!(called, expected, "{} on {}", who, day);
            }
        }
    }
}
