//! The longest of many prefixes that a number begins with.

use std::cmp::Ordering;
use std::collections::HashMap;

/// Prefixes in order, and of each the longest other one that it begins with itself. The last in order that is not
/// behind a number begins with all that the number begins with: one search finds them, the longest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Prefixes {
    /// The first bytes of each, zeros behind, so that they compare as text does.
    heads: Vec<u128>,
    lengths: Vec<u8>,
    /// [`NONE`] where there is no other.
    parents: Vec<u32>,
    /// Those that are longer than a head, whole.
    long: HashMap<u32, Box<[u8]>>,
}

const HEAD: usize = size_of::<u128>();
const NONE: u32 = u32::MAX;

/// The longest prefix that is kept.
pub(super) const MAX_PREFIX: usize = 64;
const _: () = assert!(MAX_PREFIX <= u8::MAX as usize);

impl Prefixes {
    /// Of prefixes in order, none twice and none longer than [`MAX_PREFIX`].
    pub(super) fn new<'a>(sorted: impl Iterator<Item = &'a [u8]>) -> Prefixes {
        let mut made = Prefixes::default();
        // Those that the one in hand may begin with: each begins with the one before.
        let mut open: Vec<(u32, &[u8])> = Vec::new();
        for (position, prefix) in (0..NONE).zip(sorted) {
            while open.last().is_some_and(|(_, other)| !prefix.starts_with(other)) {
                open.pop();
            }
            made.heads.push(head(prefix));
            made.lengths.push(prefix.len().min(MAX_PREFIX) as u8);
            made.parents.push(open.last().map_or(NONE, |(parent, _)| *parent));
            if prefix.len() > HEAD {
                made.long.insert(position, prefix.into());
            }
            open.push((position, prefix));
        }
        made.heads.shrink_to_fit();
        made.lengths.shrink_to_fit();
        made.parents.shrink_to_fit();
        made
    }

    /// The positions of the prefixes that `number` begins with, the longest first.
    pub(super) fn of<'a>(&'a self, number: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
        let head = head(number);
        let (mut low, mut high) = (0, self.heads.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.compare(middle, head, number) == Ordering::Greater {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        let parent =
            |at: &usize| Some(self.parents[*at]).filter(|parent| *parent != NONE).map(|parent| parent as usize);
        std::iter::successors(low.checked_sub(1), parent).filter(move |at| self.fits(*at, head, number))
    }

    fn compare(&self, at: usize, head: u128, number: &[u8]) -> Ordering {
        let by_head = self.heads[at].cmp(&head);
        by_head.then_with(|| match self.long.get(&(at as u32)) {
            Some(prefix) => (**prefix).cmp(number),
            None => self.heads[at].to_be_bytes()[..usize::from(self.lengths[at])].cmp(number),
        })
    }

    fn fits(&self, at: usize, head: u128, number: &[u8]) -> bool {
        match usize::from(self.lengths[at]) {
            0 => true,
            length if length > number.len() => false,
            length if length <= HEAD => (self.heads[at] ^ head) >> (8 * (HEAD - length)) == 0,
            _ => self.long.get(&(at as u32)).is_some_and(|prefix| number.starts_with(prefix)),
        }
    }
}

fn head(text: &[u8]) -> u128 {
    let mut bytes = [0; HEAD];
    let length = text.len().min(HEAD);
    bytes[..length].copy_from_slice(&text[..length]);
    u128::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Asking every prefix says the same.
        #[test]
        fn all_prefixes_of_a_number_are_found(
            prefixes in prop::collection::btree_set("[0-2+]{0,4}|1234567890123456[01]{0,4}|[a-b\u{1}]{1,3}", 0..40),
            number in "[0-2+]{0,8}|1234567890123456[01]{0,6}|[a-b\u{0}\u{1}]{0,5}",
        ) {
            let sorted: Vec<&[u8]> = prefixes.iter().map(|prefix| prefix.as_bytes()).collect();
            let made = Prefixes::new(sorted.iter().copied());
            let found: Vec<&[u8]> = made.of(number.as_bytes()).map(|at| sorted[at]).collect();
            let mut expected: Vec<&[u8]> = sorted.iter().copied().filter(|p| number.as_bytes().starts_with(p)).collect();
            expected.reverse();
            prop_assert_eq!(found, expected);
        }
    }
}
