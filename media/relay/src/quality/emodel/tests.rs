//! The model beside published values, and its shape.

use proptest::prelude::*;

use super::*;

const G711: Path = Path { impairment: 0.0, robustness: 25.1, loss: 0.0, burst_ratio: 1.0, delay_ms: 0.0 };
const G729A: Path = Path { impairment: 11.0, robustness: 19.0, ..G711 };

/// Within what is lost by printing one decimal.
fn near(value: f64, published: f64) -> bool {
    (value - published).abs() <= 0.051
}

#[test]
fn the_default_rating_is_that_of_the_recommendation() {
    let r = rating(&G711);
    assert!(near(r, 93.2), "{r}");
    assert!((opinion(r) - 4.41).abs() < 0.005, "{}", opinion(r));
}

/// G.107 table B.1: R and MOS at the borders of the categories of quality.
#[test]
fn opinions_are_those_of_the_table() {
    for (r, mos) in [(90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58), (0.0, 1.0), (100.0, 4.5)] {
        assert!((opinion(r) - mos).abs() < 0.007, "{r}: {}", opinion(r));
    }
}

/// G.113 appendix I by the formula of G.107 section 7.5: the codec's factor at no loss, and loss on top.
#[test]
fn codecs_and_loss_take_off_what_their_factors_say() {
    assert!(near(rating(&G729A), 82.2), "{}", rating(&G729A));
    let lossy = Path { loss: 0.02, ..G729A };
    assert!(near(rating(&lossy), 93.2 - (11.0 + 84.0 * 2.0 / 21.0)), "{}", rating(&lossy));
    let lossy = Path { loss: 0.01, ..G711 };
    assert!(near(rating(&lossy), 93.2 - 95.0 / 26.1), "{}", rating(&lossy));
    let bursty = Path { loss: 0.02, burst_ratio: 2.0, ..G711 };
    assert!(near(rating(&bursty), 93.2 - 95.0 * 2.0 / 26.1), "{}", rating(&bursty));
}

/// The curve of G.114 (figure 1) for a path with delay alone: little below 150 ms, steep above 200.
#[test]
fn delay_costs_what_the_curve_of_g_114_says() {
    let at = |delay_ms| rating(&Path { delay_ms, ..G711 });
    for (delay_ms, low, high) in [(50.0, 91.0, 93.0), (150.0, 88.0, 91.0), (250.0, 78.0, 84.0), (400.0, 60.0, 68.0)] {
        let r = at(delay_ms);
        assert!((low..=high).contains(&r), "{delay_ms} ms: {r}");
    }
}

fn path() -> impl Strategy<Value = Path> {
    (0.0..60.0, 1.0..50.0, 0.0..=1.0, 1.0..8.0, 0.0..2_000.0).prop_map(
        |(impairment, robustness, loss, burst_ratio, delay_ms)| Path {
            impairment,
            robustness,
            loss,
            burst_ratio,
            delay_ms,
        },
    )
}

proptest! {
    #[test]
    fn every_opinion_is_one(path in path()) {
        let r = rating(&path);
        prop_assert!((0.0..=100.0).contains(&r), "{r}");
        prop_assert!((1.0..=4.5).contains(&opinion(r)));
    }

    #[test]
    fn more_loss_is_never_better(path in path(), more in 0.0..1.0f64) {
        let worse = Path { loss: (path.loss + more).min(1.0), ..path };
        prop_assert!(rating(&worse) <= rating(&path) + 1e-9);
        prop_assert!(opinion(rating(&worse)) <= opinion(rating(&path)) + 1e-9);
    }

    #[test]
    fn more_delay_is_never_better(path in path(), more in 0.0..1_000.0f64) {
        let worse = Path { delay_ms: path.delay_ms + more, ..path };
        // The sidetone's echo at the very shortest delays moves the rating by less than a tenth.
        prop_assert!(rating(&worse) <= rating(&path) + 0.1, "{} {}", rating(&worse), rating(&path));
        prop_assert!(opinion(rating(&worse)) <= opinion(rating(&path)) + 0.005);
    }

    #[test]
    fn a_better_rating_is_a_better_opinion(a in 0.0..=100.0, b in 0.0..=100.0) {
        let (low, high): (f64, f64) = if a <= b { (a, b) } else { (b, a) };
        prop_assert!(opinion(low) <= opinion(high) + 1e-12);
    }
}
