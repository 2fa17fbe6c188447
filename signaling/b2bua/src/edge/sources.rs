//! What each source may send: a bounded table of token buckets.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use moorline_sip::transaction::Flow;

use super::SECOND_NS;

/// Sources that a set holds; one more displaces the one that was silent for longest.
const WAYS: usize = 4;

/// Sets: 4,096 sources in 160 KiB.
const SETS: usize = 1024;

/// The buckets of all sources, in sets by a keyed hash.
#[derive(Debug)]
pub(super) struct Sources {
    sets: Box<[[Source; WAYS]]>,
    hash: RandomState,
}

/// One source.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Source {
    /// Of listener and address; 0 for none.
    key: u64,
    /// When what it has sent so far would all have come at the rate it may send at.
    even_at: u64,
    /// When it last sent something.
    seen_at: u64,
    /// When it was last asked whether it is known.
    asked_at: u64,
    /// It belongs to a trunk.
    pub(super) known: bool,
}

impl Sources {
    pub(super) fn new(hash: RandomState) -> Sources {
        Sources { sets: vec![[Source::default(); WAYS]; SETS].into_boxed_slice(), hash }
    }

    /// The source of a flow.
    pub(super) fn find(&mut self, now: u64, flow: Flow, is_known: impl FnOnce() -> bool) -> &mut Source {
        let hash = self.hash.hash_one((flow.listener, network(flow.remote.ip()), flow.identity));
        // The lowest bits choose the set, and need not be compared again.
        let key = hash | 1;
        let set = &mut self.sets[(hash >> 1) as usize % SETS];
        let way = match set.iter().position(|source| source.key == key) {
            // Names of targets may have led to its address meanwhile.
            Some(way) if !set[way].known && now.saturating_sub(set[way].asked_at) >= SECOND_NS => {
                (set[way].known, set[way].asked_at) = (is_known(), now);
                way
            }
            Some(way) => way,
            None => {
                let oldest = (0..WAYS).min_by_key(|way| set[*way].seen_at).unwrap_or_default();
                set[oldest] = Source { key, known: is_known(), asked_at: now, ..Source::default() };
                oldest
            }
        };
        &mut set[way]
    }
}

impl Source {
    /// Takes one of `rate` a second, if there is one; two seconds' worth may be taken at once.
    pub(super) fn take(&mut self, now: u64, rate: u32) -> bool {
        let interval = SECOND_NS / u64::from(rate.max(1));
        self.seen_at = now;
        self.even_at = self.even_at.max(now);
        let allowed = self.even_at - now <= 2 * SECOND_NS - interval;
        if allowed {
            self.even_at += interval;
        }
        allowed
    }
}

/// What one sender is known by: its IPv4 address, or its IPv6 network, of which it has all addresses.
fn network(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    }
}
