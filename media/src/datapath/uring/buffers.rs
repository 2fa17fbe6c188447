//! The provided buffer ring: memory that the kernel receives into, lent by the entry and given back after
//! the packet has been sent.
//!
//! The ring is an array of entries (address, length, buffer number) that the kernel consumes in order from
//! its own head, and a tail that only this side writes. A buffer number is either in the ring (the kernel's)
//! or out of it (ours); there are as many entries as buffers, so the ring cannot overflow.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

/// The kernel wants the entries page-aligned.
const PAGE: usize = 4096;

/// A buffer ring and its buffers.
pub(super) struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    /// Buffers beside those, which are never in the ring.
    beside: u16,
    size: usize,
    /// Counts entries ever written, wrapping; published to the kernel by `publish`.
    tail: u16,
}

impl Buffers {
    /// `count` buffers of `size` bytes, all of them in the ring, and those after them, `beside`, which are never in it.
    /// `count` is a power of two, at most 2^15.
    pub(super) fn new(count: u16, beside: u16, size: usize) -> Buffers {
        assert!(count.is_power_of_two() && count <= 1 << 15 && beside <= 1 << 15 && size > 0);
        let entries = allocate(Self::entries_layout(count)).cast();
        let memory = allocate(Self::memory_layout(count + beside, size));
        let mut buffers = Buffers { entries, memory, count, beside, size, tail: 0 };
        (0..count).for_each(|buffer| buffers.give_back(buffer));
        buffers.publish();
        buffers
    }

    /// The address that the ring is registered under.
    pub(super) fn ring_address(&self) -> u64 {
        self.entries.as_ptr() as u64
    }

    pub(super) fn count(&self) -> u16 {
        self.count
    }

    /// The bytes of a buffer that the kernel has handed out; `None` for a number that there is
    /// not.
    pub(super) fn get(&self, buffer: u16) -> Option<&[u8]> {
        let offset = usize::from(buffer).checked_mul(self.size).filter(|_| buffer < self.count + self.beside)?;
        // SAFETY: the allocation has `(count + beside) * size` initialised bytes and lives as long as `self`. The
        // kernel writes into a buffer only between `publish` and the completion that names it.
        Some(unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(offset), self.size) })
    }

    /// The same for writing.
    pub(super) fn get_mut(&mut self, buffer: u16) -> Option<&mut [u8]> {
        let offset = usize::from(buffer).checked_mul(self.size).filter(|_| buffer < self.count + self.beside)?;
        // SAFETY: as in `get`, and `self` is borrowed exclusively: nobody else of this side reads it.
        Some(unsafe { std::slice::from_raw_parts_mut(self.memory.as_ptr().add(offset), self.size) })
    }

    /// Puts a buffer back into the ring; the kernel sees it after the next `publish`. Nothing may read the
    /// buffer from then on.
    pub(super) fn give_back(&mut self, buffer: u16) {
        assert!(buffer < self.count, "buffer {buffer} of {}", self.count);
        let slot = usize::from(self.tail & (self.count - 1));
        // SAFETY: `slot` is below `count`, the number of entries allocated; the kernel does not read an
        // entry at or past the published tail. Fields are set one by one because the tail lives in the
        // unused field of the first entry. `buffer` is below `count`, so its address is in the allocation.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(slot);
            entry.set_addr(self.memory.as_ptr().add(usize::from(buffer) * self.size) as u64);
            entry.set_len(self.size as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was given back.
    pub(super) fn publish(&mut self) {
        // SAFETY: the tail is a u16 inside the first entry, aligned, and shared with the kernel only, which
        // reads it with acquire order.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn entries_layout(count: u16) -> Layout {
        layout(usize::from(count) * size_of::<BufRingEntry>())
    }

    fn memory_layout(count: u16, size: usize) -> Layout {
        layout(usize::from(count) * size)
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts. The owner has unregistered the ring and cancelled
        // every receive before, so the kernel writes here no more.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), Self::entries_layout(self.count));
            dealloc(self.memory.as_ptr(), Self::memory_layout(self.count + self.beside, self.size));
        }
    }
}

fn layout(bytes: usize) -> Layout {
    #[expect(clippy::expect_used, reason = "at most 2^15 buffers of a few KiB: far below isize::MAX")]
    Layout::from_size_align(bytes, PAGE).expect("a small layout")
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: no layout here has size 0: there is at least one buffer of at least one byte.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// The kernel's side of the ring: takes entries from its own head up to the published tail.
    struct Kernel {
        head: u16,
    }

    impl Kernel {
        fn take(&mut self, buffers: &Buffers) -> Option<(u16, u64, u32)> {
            // SAFETY: the test reads what `Buffers` owns, on the same thread.
            unsafe {
                let tail = *BufRingEntry::tail(buffers.entries.as_ptr());
                let entry = &*buffers.entries.as_ptr().add(usize::from(self.head & (buffers.count - 1)));
                (self.head != tail).then(|| {
                    self.head = self.head.wrapping_add(1);
                    (entry.bid(), entry.addr(), entry.len())
                })
            }
        }
    }

    proptest! {
        /// Takes, gives and publishes in any order agree with a queue in ordinary memory, across many wraps
        /// of the 16-bit cursors.
        #[test]
        fn the_ring_is_a_queue(log in 0u32..5, steps in prop::collection::vec((0u8..3, 1u16..400), 1..600)) {
            let mut buffers = Buffers::new(1 << log, 0, 64);
            let mut kernel = Kernel { head: 0 };
            let mut published: VecDeque<u16> = (0..buffers.count()).collect();
            let mut written: VecDeque<u16> = VecDeque::new();
            let mut ours: VecDeque<u16> = VecDeque::new();
            for (step, times) in steps {
                for _ in 0..times {
                    match step {
                        0 => {
                            let taken = kernel.take(&buffers);
                            prop_assert_eq!(taken.map(|(bid, ..)| bid), published.pop_front());
                            if let Some((bid, address, len)) = taken {
                                let bytes = buffers.get(bid).unwrap();
                                prop_assert_eq!((bytes.as_ptr() as u64, bytes.len()), (address, len as usize));
                                ours.push_back(bid);
                            }
                        }
                        1 => if let Some(bid) = ours.pop_front() {
                            buffers.give_back(bid);
                            written.push_back(bid);
                        },
                        _ => {
                            buffers.publish();
                            published.append(&mut written);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn the_cursors_wrap_without_losing_a_buffer() {
        let mut buffers = Buffers::new(4, 0, 64);
        let mut kernel = Kernel { head: 0 };
        for turn in 0..200_000u32 {
            let (bid, ..) = kernel.take(&buffers).expect("a buffer is there");
            assert_eq!(u32::from(bid), turn % 4);
            buffers.give_back(bid);
            buffers.publish();
        }
    }

    #[test]
    fn a_number_out_of_range_names_no_buffer() {
        let buffers = Buffers::new(4, 0, 64);
        assert!(buffers.get(3).is_some());
        assert!(buffers.get(4).is_none() && buffers.get(u16::MAX).is_none());
    }
}
