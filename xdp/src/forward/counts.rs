//! The program's figures.

use moorline_xdp_abi::forward::{Counts, REASONS, RESIDENCE_BUCKETS};

/// How many figures a CPU has.
pub(super) const FIGURES: usize = 4 + REASONS + RESIDENCE_BUCKETS;

/// The figures in the order of their map.
pub(super) fn counts(figures: [u64; FIGURES]) -> Counts {
    let [relayed, steered, flooded, drained, rest @ ..] = figures;
    let (passed, residence) = rest.split_at(REASONS);
    let (passed, residence) = (std::array::from_fn(|n| passed[n]), std::array::from_fn(|n| residence[n]));
    Counts { relayed, steered, flooded, drained, passed, residence }
}

/// From how many nanoseconds on, and to below how many, the packets of a bucket of the residence histogram were in the
/// program.
pub const fn residence_bounds(bucket: usize) -> (u64, u64) {
    let n = bucket as u64;
    match bucket {
        0..64 => (n * 16, (n + 1) * 16),
        64..124 => ((n - 60) * 256, (n - 59) * 256),
        124..184 => ((n - 120) * 4096, (n - 119) * 4096),
        _ => (262_144, u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        assert_eq!(residence_bounds(0).0, 0);
        for bucket in 1..RESIDENCE_BUCKETS {
            assert_eq!(residence_bounds(bucket - 1).1, residence_bounds(bucket).0, "bucket {bucket}");
        }
        assert_eq!(residence_bounds(RESIDENCE_BUCKETS - 1).1, u64::MAX);
    }

    #[test]
    fn figures_are_in_the_order_of_their_map() {
        let counts = counts(std::array::from_fn(|n| n as u64));
        assert_eq!((counts.relayed, counts.steered, counts.flooded), (0, 1, 2));
        assert_eq!((counts.drained, counts.passed[0], counts.residence[0]), (3, 4, 4 + REASONS as u64));
        assert_eq!(counts.residence[RESIDENCE_BUCKETS - 1], FIGURES as u64 - 1);
    }
}
