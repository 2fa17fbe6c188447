//! Sequence numbers, loss and jitter, beside the RFC's own formulas.

use std::collections::BTreeSet;
use std::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Jitter, Sequence, Step, clock_rate, is_newer};

#[test]
fn newer_counts_round_the_circle() {
    for (a, b) in [(1, 0), (0, 65_535), (100, 65_500), (32_767, 0)] {
        assert!(is_newer(a, b) && !is_newer(b, a), "{a} {b}");
    }
    assert!(!is_newer(7, 7));
}

#[test]
fn each_step_says_what_it_is() {
    let mut sequence = Sequence::new(65_533);
    assert_eq!(sequence.receive(65_534), Step::Forward { skipped: 0 });
    assert_eq!(sequence.receive(1), Step::Forward { skipped: 2 });
    assert_eq!((sequence.extended(), sequence.lost()), (65_537, 2));
    assert_eq!(sequence.receive(65_535), Step::Late);
    assert_eq!(sequence.receive(1), Step::Duplicate);
    assert_eq!(sequence.receive(65_535), Step::Duplicate);
    assert_eq!(sequence.lost(), 1, "what came twice makes up for nothing");
    assert_eq!(sequence.receive(30_000), Step::Jump);
    assert_eq!(sequence.receive(2), Step::Forward { skipped: 0 }, "one stray packet is no restart");
    assert_eq!(sequence.receive(30_001), Step::Jump, "the stray is forgotten");
    assert_eq!(sequence.receive(30_002), Step::Restart);
    assert_eq!((sequence.extended(), sequence.lost()), (30_002, 0));
}

#[test]
fn a_jump_is_one_of_3000_and_late_is_up_to_100() {
    let step = |number: u16| Sequence::new(1000).receive(number);
    assert_eq!(step(3999), Step::Forward { skipped: 2998 });
    assert_eq!(step(4000), Step::Jump);
    assert_eq!(step(900), Step::Jump);
    assert_eq!(step(901), Step::Late);
}

#[test]
fn clock_rates_are_those_of_the_profile() {
    assert_eq!([0, 8, 9, 18, 13].map(clock_rate), [Some(8_000); 5]);
    assert_eq!([6, 10, 34].map(clock_rate), [Some(16_000), Some(44_100), Some(90_000)]);
    assert_eq!([1, 2, 72, 96, 127].map(clock_rate), [None; 5]);
}

#[test]
fn arrival_keeps_its_pace_however_long_the_machine_is_up() {
    let years = 100 * 365 * 86_400 * 1_000_000_000u64;
    for start in [0, years] {
        let units = Jitter::arrival(start + 20_000_000, 8_000).wrapping_sub(Jitter::arrival(start, 8_000));
        assert_eq!(units, 160);
    }
}

#[test]
fn jitter_survives_extremes() {
    let mut jitter = Jitter::new(0, 0);
    for i in 0..1000u32 {
        jitter.receive(i.wrapping_mul(0x7fff_ffff), 0);
    }
    assert!(jitter.units() <= u32::MAX >> 4);
    assert_eq!((jitter.micros(1), jitter.micros(0)), (u32::MAX, 0));
}

#[test]
fn the_estimate_stays_the_same_time_by_another_clock() {
    let mut jitter = Jitter::new(0, 0);
    for n in 0..100 {
        jitter.receive(n * 160 + 40 * (n % 2), n * 160);
    }
    let before = jitter.micros(8_000);
    jitter.change_clock(8_000, 48_000, 7, 9);
    assert!(before > 4_000 && jitter.micros(48_000).abs_diff(before) <= 1, "{before}");
    assert_eq!(jitter.step(960 + 7, 960 + 9), 0, "and has a new reference");
    jitter.change_clock(1, u32::MAX, 0, 0);
    assert_eq!(jitter.units(), u32::MAX >> 4);
}

proptest! {
    /// Loss is what did not come, whatever comes late or twice, from any first number.
    #[test]
    fn loss_is_what_did_not_come(first: u16, fates in vec(0..5u8, 1..400)) {
        // Each number in turn is delivered, lost, delivered twice, swapped with the one before, or delivered
        // again some packets later.
        let mut arrivals: Vec<u32> = Vec::from([0]);
        for (number, fate) in (1u32..).zip(&fates) {
            match fate {
                0 => {}
                1 => arrivals.extend([number, number]),
                2 if arrivals.len() > 1 => arrivals.insert(arrivals.len() - 1, number),
                3 => arrivals.extend([number, arrivals[arrivals.len().saturating_sub(9)]]),
                _ => arrivals.push(number),
            }
        }
        let number = |index: u32| first.wrapping_add(index as u16);
        let mut sequence = Sequence::new(number(0));
        let (mut seen, mut highest) = (BTreeSet::from([0]), 0);
        for &index in &arrivals[1..] {
            let step = sequence.receive(number(index));
            let expected = if !seen.insert(index) {
                (highest - index < 32).then_some(Step::Duplicate)
            } else if index < highest {
                Some(Step::Late)
            } else {
                Some(Step::Forward { skipped: (index - highest - 1) as u16 })
            };
            prop_assert!(expected.is_none_or(|expected| step == expected), "{step:?} {expected:?}");
            prop_assume!(expected.is_some());
            highest = highest.max(index);
            prop_assert_eq!(sequence.lost() as usize, highest as usize + 1 - seen.len());
        }
        prop_assert_eq!(sequence.extended() as u16, number(highest));
        prop_assert_eq!(sequence.extended() >> 16, (u32::from(first) + highest) >> 16);
    }

    /// The short way is the same as the long one.
    #[test]
    fn the_next_number_is_taken_alike_both_ways(first: u16, steps in vec(prop_oneof![Just(1u16), any::<u16>()], 1..80)) {
        let (mut long, mut short) = (Sequence::new(first), Sequence::new(first));
        for ahead in steps {
            let number = (long.extended() as u16).wrapping_add(ahead);
            let step = long.receive(number);
            let next = short.receive_next(number);
            prop_assert_eq!(next, step == Step::Forward { skipped: 0 });
            if !next {
                short.receive(number);
            }
            prop_assert_eq!(short, long);
        }
    }

    /// The running estimate stays near the formula in real numbers: J = J + (|D| - J) / 16.
    #[test]
    fn jitter_follows_the_formula(delays in vec(0..2_000u32, 2..300)) {
        let arrival = |(n, delay): (usize, &u32)| n as u32 * 160 + delay;
        let mut jitter = Jitter::new(arrival((0, &delays[0])), 0);
        let mut exact = 0.0_f64;
        for n in 1..delays.len() {
            jitter.receive(arrival((n, &delays[n])), n as u32 * 160);
            exact += (f64::from(delays[n].abs_diff(delays[n - 1])) - exact) / 16.0;
        }
        prop_assert!((f64::from(jitter.units()) - exact).abs() <= 2.0, "{} {exact}", jitter.units());
    }
}

#[test]
fn counts_that_are_handed_over_and_back_are_those_of_one_hand() {
    let numbers = [1u16, 2, 5, 4, 6, 6, 40, 39, 41];
    let mut alone = Sequence::new(0);
    numbers.iter().for_each(|number| {
        alone.receive(*number);
    });
    for hand_over in 0..numbers.len() {
        let (here, there) = numbers.split_at(hand_over);
        let mut own = Sequence::new(0);
        here.iter().for_each(|number| {
            own.receive(*number);
        });
        let mut other = Sequence::new(0);
        other.resume(own.extended(), own.came(), 0, 0);
        let (mut skipped, mut late) = (0, 0);
        for number in there {
            match other.receive(*number) {
                Step::Forward { skipped: passed_over } => skipped += u32::from(passed_over),
                Step::Late => late += 1,
                _ => {}
            }
        }
        own.resume(other.extended(), other.came(), skipped, late);
        assert_eq!(own, alone, "{hand_over}");
    }
    let mut jitter = Jitter::new(0, 0);
    jitter.receive(400, 160);
    let mut other = Jitter::new(9, 9);
    other.resume(jitter.transit(), jitter.scaled());
    assert_eq!(other, jitter);
    other.resume(0, u32::MAX);
    other.receive(u32::MAX / 4, 0);
}
