//! Hashing what no peer chooses.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// A table by identifiers of our own.
///
/// What is put into it is chosen by this process, at random or by counting, or is a keyed hash already: nobody can
/// choose keys that collide, and mixing them by a multiplication will do. What peers choose, such as branches and
/// Call-IDs, needs a keyed hash, which is the standard one.
pub type IdMap<K, V> = HashMap<K, V, BuildHasherDefault<IdHasher>>;

/// A set of identifiers of our own; see [`IdMap`].
pub type IdSet<K> = HashSet<K, BuildHasherDefault<IdHasher>>;

/// The hash of an [`IdMap`].
#[derive(Clone, Copy, Debug, Default)]
pub struct IdHasher(u64);

/// Odd, with its bits spread evenly: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u8(&mut self, word: u8) {
        self.write_u64(u64::from(word));
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(SPREAD);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    /// Tables look at the lowest and the highest bits, and a product is well mixed at its upper end.
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::BuildHasher;

    use super::*;

    #[test]
    fn identifiers_that_count_up_spread_over_all_places() {
        let hash = BuildHasherDefault::<IdHasher>::default();
        let mut places = [0; 256];
        for slot in 0..4096_u32 {
            places[hash.hash_one((slot, 0_u32)) as usize % 256] += 1;
        }
        assert!(places.iter().all(|found| (1..64).contains(found)), "{places:?}");
        let upper: HashSet<u64> = (0..4096_u32).map(|slot| hash.hash_one((slot, 7_u32)) >> 57).collect();
        assert_eq!(upper.len(), 128, "the bits that tell entries of a group apart");
    }
}
