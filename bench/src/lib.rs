//! Load for Moorline and what reads the result: SIP user agents, RTP streams that verify every packet,
//! latency pictures and metrics.
//!
//! [`load::run`] places whole calls; [`media::run`] sends media alone through a relay whose sessions are
//! already open. Both use the same media engine.
#![forbid(unsafe_code)]

pub mod account;
pub mod attack;
pub mod capture;
pub mod load;
pub mod media;
pub mod picture;
pub mod random;
pub mod scrape;
pub mod sim;

mod clock;

use std::fmt;
use std::ops::{Deref, DerefMut};

/// Nanoseconds, to 3 significant digits, up to a minute; what is longer is recorded as a minute by
/// `saturating_record`.
#[derive(Clone)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

impl Histogram {
    /// An empty histogram.
    pub fn new() -> Histogram {
        #[expect(clippy::expect_used, reason = "bounds and precision are constants that the histogram accepts")]
        Histogram(hdrhistogram::Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are valid"))
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram::new()
    }
}

impl Deref for Histogram {
    type Target = hdrhistogram::Histogram<u64>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Histogram {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl fmt::Debug for Histogram {
    /// A summary; the tens of thousands of buckets help nobody.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p99] = [0.5, 0.99].map(|quantile| self.value_at_quantile(quantile));
        write!(f, "Histogram({} values, p50 {p50} ns, p99 {p99} ns, max {} ns)", self.len(), self.max())
    }
}
