use super::*;

#[test]
fn random_calls_end_as_both_sides_see_them() {
    for seed in 1..=100 {
        let run = run(seed, Detail::None);
        assert!(run.faults.is_empty(), "to see it: {}\n{}", replay(seed), run.faults.join("\n"));
    }
}
