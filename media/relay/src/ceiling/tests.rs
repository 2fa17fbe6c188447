use proptest::prelude::*;

use super::*;

proptest! {
    /// Never more than twice the burst and the rate; never less than the rate to a sender that keeps to it.
    #[test]
    fn what_is_let_in_keeps_to_the_rate(
        per_s in 1..2_000u32,
        steps in proptest::collection::vec((0..200_000_000u64, 0..60u32), 1..200),
    ) {
        let ceiling = Ceiling { packets_per_s: per_s, bytes_per_s: 4_000_000 };
        let (mut bucket, mut tokens) = Bucket::new(ceiling);
        let start = 5 * NANOS;
        let (mut now, mut passed) = (start, 0u64);
        // A plain bucket that never holds more than the burst: what it lets in is let in here too.
        let (mut plain, mut given) = (f64::from(per_s), start);
        for (pause, packets) in steps {
            now += pause;
            for _ in 0..packets {
                plain = (plain + (now - given) as f64 * f64::from(per_s) / NANOS as f64).min(f64::from(per_s));
                given = now;
                let taken = tokens.take(100) || bucket.refill(now, &mut tokens, 100).is_ok();
                passed += u64::from(taken);
                if plain >= 2.0 {
                    prop_assert!(taken, "refused with {plain} tokens");
                }
                plain = if taken { (plain - 1.0).max(0.0) } else { plain };
            }
            let most = 2 * u64::from(per_s) + (now - start) * u64::from(per_s) / NANOS;
            prop_assert!(passed <= most, "{passed} passed, at most {most}");
        }
    }
}
