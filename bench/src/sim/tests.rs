use super::*;

#[test]
fn random_calls_end_as_both_sides_see_them() {
    for seed in 1..=7_000 {
        let run = run(seed, Detail::None);
        assert!(run.faults.is_empty(), "to see it: {}\n{}", replay(seed), run.faults.join("\n"));
    }
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 1..=20 {
        let [first, second] = [0, 1].map(|_| run(seed, Detail::Ladder));
        assert!(first.trace.lines().count() > 10, "nothing happens with {seed}");
        assert_eq!(first.trace, second.trace, "seed {seed}");
    }
}
