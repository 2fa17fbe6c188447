//! How often callees were called today: a table of fixed size, which can be written down change by change.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;

use super::Direction;

/// How long a place of the table is when it is written down.
pub const SLOT_BYTES: usize = 32;

/// Changes that are remembered one by one until they are written down; with more, all is written.
const MAX_CHANGED: usize = 65_536;

/// Who was called from or by which trunk, as a number that tells nobody who: nobody who knows not the key can choose
/// numbers that fall on the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Callee(u128);

/// The table. A place is of the day that is written in it, and free on any other: so a new day costs nothing.
///
/// It has an eighth more places than callees fit, so that a free one is never far.
#[derive(Debug)]
pub struct DayCounts {
    key: [u8; 16],
    callees: usize,
    table: Mutex<Table>,
    /// Something has changed that is not written down.
    changed: AtomicBool,
}

#[derive(Debug, Default)]
struct Table {
    /// Empty until somebody is counted.
    slots: Vec<Slot>,
    day: i32,
    /// Places of today.
    used: usize,
    /// A day that has been before may come again: the clock was set back.
    set_back: bool,
    changed: Vec<u32>,
    all_changed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Slot {
    key: u128,
    /// [`NEVER`] where nobody was counted yet.
    day: i32,
    count: u32,
}

const NEVER: i32 = i32::MIN;

/// How many calls a callee has had today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Called {
    /// So many.
    Times(u32),
    /// It was not called yet, and there is no place for it.
    Full,
}

impl DayCounts {
    /// A table for so many callees, at least one. `key` must be random: see [`DayCounts::key`].
    pub fn new(key: [u8; 16], callees: usize) -> DayCounts {
        DayCounts {
            key,
            callees: callees.clamp(1, u32::MAX as usize / 2),
            table: Mutex::default(),
            changed: AtomicBool::new(false),
        }
    }

    /// The key that its places are found by: it must be kept with what is written down.
    pub fn key(&self) -> [u8; 16] {
        self.key
    }

    /// How many callees fit.
    pub fn callees(&self) -> usize {
        self.callees
    }

    /// How many places there are.
    pub fn slots(&self) -> usize {
        self.callees + self.callees / 8 + 1
    }

    /// How many callees were called today.
    pub fn used(&self) -> usize {
        self.lock().used
    }

    /// Takes the memory now that the first call would take.
    pub(crate) fn reserve(&self) {
        self.lock().reserve(self);
    }

    /// Takes in what was written down before: of the last day that there is. Whoever was called then and does not fit
    /// is left out. Gives how many were taken in.
    pub fn load<'a>(&self, slots: impl Iterator<Item = &'a [u8; SLOT_BYTES]> + Clone) -> usize {
        let written = slots.filter_map(Slot::read);
        let Some(day) = written.clone().map(|slot| slot.day).max() else { return 0 };
        let mut table = self.lock();
        table.turn(day);
        for slot in written.filter(|slot| slot.day == day) {
            table.add(self, slot.key, slot.count);
        }
        table.all_changed = true;
        self.changed.store(true, Ordering::Relaxed);
        table.used
    }

    /// All is to be written down again, as what was written is lost.
    pub fn change_all(&self) {
        self.lock().all_changed = true;
        self.changed.store(true, Ordering::Relaxed);
    }

    /// Gives what has changed since the last time to `write`: a place, and what is in it now. Nothing changes meanwhile.
    /// What it returns false for, and all behind, is given again the next time.
    pub fn write_changes(&self, mut write: impl FnMut(u32, &[u8; SLOT_BYTES]) -> bool) -> bool {
        let mut table = self.lock();
        if table.all_changed {
            let mut used = (0..).zip(&table.slots).filter(|(_, slot)| slot.day != NEVER);
            if !used.all(|(at, slot)| write(at, &slot.bytes())) {
                return false;
            }
            table.all_changed = false;
            table.changed.clear();
        }
        while let Some(at) = table.changed.pop() {
            let Some(slot) = table.slots.get(at as usize) else { continue };
            if !write(at, &slot.bytes()) {
                table.changed.push(at);
                return false;
            }
        }
        self.changed.store(false, Ordering::Relaxed);
        true
    }

    /// Whether there is anything to write down. Who has counted a call sees it until that is written, by whomever.
    pub(crate) fn has_changes(&self) -> bool {
        self.changed.load(Ordering::Relaxed)
    }

    /// Who a callee of a trunk's calls is, in a direction.
    pub(crate) fn callee(&self, trunk: &str, direction: Direction, called: &[u8]) -> Callee {
        let Ok(mut mac) = Hmac::<Md5>::new_from_slice(&self.key) else {
            // A key of any length is one (RFC 2104).
            return Callee(0);
        };
        for part in [trunk.as_bytes(), direction.name().as_bytes(), called] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Callee(u128::from_le_bytes(mac.finalize().into_bytes().into()))
    }

    /// How often a callee was called on a day.
    pub(crate) fn called(&self, callee: Callee, day: i32) -> Called {
        let mut table = self.lock();
        table.turn(day);
        match table.find(self, callee.0) {
            Some((_, slot)) if slot.day == table.day => Called::Times(slot.count),
            Some(_) if table.used < self.callees => Called::Times(0),
            None if table.slots.is_empty() => Called::Times(0),
            _ => Called::Full,
        }
    }

    /// Counts one more, and gives the day that it counts to: the later one where the clock was set back over midnight. `None`
    /// where there is no place for it.
    pub(crate) fn count(&self, callee: Callee, day: i32) -> Option<i32> {
        let mut table = self.lock();
        table.turn(day);
        let counted = table.add(self, callee.0, 1);
        if counted {
            self.changed.store(true, Ordering::Relaxed);
        }
        counted.then_some(table.day)
    }

    /// One that was counted on that day does not count.
    pub(crate) fn give_back(&self, callee: Callee, day: i32) {
        let mut table = self.lock();
        if let Some((at, mut slot)) = table.find(self, callee.0)
            && (slot.key, slot.day) == (callee.0, day)
        {
            slot.count = slot.count.saturating_sub(1);
            table.put(at, slot);
            self.changed.store(true, Ordering::Relaxed);
        }
    }

    /// A panic while it was held can have left one change behind that is not written down.
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Today is `day`. A clock that goes back over midnight by less than a day changes nothing.
    fn turn(&mut self, day: i32) {
        if day == self.day || Some(day) == self.day.checked_sub(1).filter(|_| self.used > 0) {
            return;
        }
        self.set_back |= day < self.day;
        self.day = day;
        self.used = 0;
        if self.set_back {
            self.used = self.slots.iter().filter(|slot| slot.day == day).count();
        }
    }

    /// The place of a key, or the one that is free for it; `None` while there are none.
    fn find(&self, counts: &DayCounts, key: u128) -> Option<(usize, Slot)> {
        let count = self.slots.len();
        // The upper half of the key, as a part of all places: below `count`.
        let home = (((key >> 64) * count as u128) >> 64) as usize;
        // An eighth of them is free on any day.
        let mut places = (home..count).chain(0..home).map(|at| (at, self.slots[at]));
        let is_it = |slot: &Slot| slot.day != self.day || slot.key == key;
        debug_assert!(count == 0 || count == counts.slots());
        places.find(|(_, slot)| is_it(slot))
    }

    fn add(&mut self, counts: &DayCounts, key: u128, more: u32) -> bool {
        self.reserve(counts);
        let Some((at, slot)) = self.find(counts, key) else { return false };
        let known = slot.day == self.day && slot.key == key;
        if !known && self.used >= counts.callees {
            return false;
        }
        self.used += usize::from(!known);
        let before = if known { slot.count } else { 0 };
        self.put(at, Slot { key, day: self.day, count: before.saturating_add(more) });
        true
    }

    fn reserve(&mut self, counts: &DayCounts) {
        if self.slots.is_empty() {
            self.slots = vec![Slot { key: 0, day: NEVER, count: 0 }; counts.slots()];
        }
    }

    fn put(&mut self, at: usize, slot: Slot) {
        self.slots[at] = slot;
        if self.changed.len() >= MAX_CHANGED {
            self.changed.clear();
            self.all_changed = true;
        }
        if !self.all_changed {
            // There are fewer than 2^32.
            self.changed.push(at as u32);
        }
    }
}

impl Slot {
    fn bytes(self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        bytes[..16].copy_from_slice(&self.key.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.day.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.count.to_le_bytes());
        let check = check(&bytes);
        bytes[24..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// `None` for a place that was never used, or holds anything else.
    fn read(bytes: &[u8; SLOT_BYTES]) -> Option<Slot> {
        let (key, rest) = bytes.split_first_chunk::<16>()?;
        let (day, rest) = rest.split_first_chunk::<4>()?;
        let (count, sum) = rest.split_first_chunk::<4>()?;
        let count = u32::from_le_bytes(*count);
        let whole = sum == check(bytes).to_le_bytes();
        let slot = Slot { key: u128::from_le_bytes(*key), day: i32::from_le_bytes(*day), count };
        (whole && count > 0).then_some(slot)
    }
}

/// FNV-1a of what comes before it: it tells damage, not malice.
fn check(bytes: &[u8; SLOT_BYTES]) -> u64 {
    bytes[..24].iter().fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests;
