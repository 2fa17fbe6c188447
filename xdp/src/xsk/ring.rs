//! The rings that frames change hands by: an array in shared memory that one side writes and the other reads, with
//! a counter of entries for each side. Counters wrap at 32 bits; an entry's place is its number modulo the size,
//! a power of two.
//!
//! Each half keeps its own counter and a copy of the other side's, so that the shared words are touched once a
//! batch. What is written into entries is visible before the counter that publishes them (release, acquire), and
//! an entry is not written again before the reader has let go of it.

use std::io;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

/// A packet in a receive or transmit ring (`struct xdp_desc`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Descriptor {
    /// Where it begins, counted from the start of the memory.
    pub(super) address: u64,
    pub(super) length: u32,
    pub(super) options: u32,
}

const _: () = assert!(size_of::<Descriptor>() == size_of::<libc::xdp_desc>());

/// What a ring holds: any bytes make one.
pub(super) trait Entry: Copy {}

impl Entry for u64 {}
impl Entry for Descriptor {}

/// Where the parts of a ring are, in bytes from the start of its mapping (`struct xdp_ring_offset`).
#[derive(Debug, Clone, Copy)]
pub(super) struct Offsets {
    pub(super) producer: usize,
    pub(super) consumer: usize,
    pub(super) flags: usize,
    pub(super) entries: usize,
}

/// Memory that is mapped while this lives.
pub(super) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping belongs to no thread; who reads and writes what in it is said where it is used.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// What the kernel shows of a socket at this offset.
    pub(super) fn of_socket(socket: BorrowedFd<'_>, bytes: usize, offset: i64) -> io::Result<Mapping> {
        let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let (access, flags) =
            (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE);
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other.
        let start = unsafe { mmap(None, length, access, flags, socket, offset) }?;
        Ok(Mapping { start: start.cast(), bytes })
    }

    /// Memory of its own, zeroed; `flags` say which pages.
    pub(super) fn own(bytes: usize, flags: MapFlags) -> io::Result<Mapping> {
        let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: as above.
        let start = unsafe { mmap_anonymous(None, length, access, flags | MapFlags::MAP_PRIVATE) }?;
        Ok(Mapping { start: start.cast(), bytes })
    }

    pub(super) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is what was mapped, and nothing refers to it any more.
        let unmapped = unsafe { munmap(self.start.cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A ring in its mapping.
struct Ring<T> {
    mapping: Arc<Mapping>,
    offsets: Offsets,
    size: u32,
    entries: PhantomData<T>,
}

impl<T: Entry> Ring<T> {
    /// `size` entries, a power of two. All that `offsets` name lies inside the mapping, or this panics.
    fn new(mapping: Arc<Mapping>, offsets: Offsets, size: u32) -> Ring<T> {
        assert!(size.is_power_of_two(), "{size} entries");
        let Offsets { producer, consumer, flags, entries } = offsets;
        for word in [producer, consumer, flags] {
            assert!(word.is_multiple_of(align_of::<AtomicU32>()) && word + size_of::<AtomicU32>() <= mapping.bytes);
        }
        assert!(entries.is_multiple_of(align_of::<T>()) && entries + size as usize * size_of::<T>() <= mapping.bytes);
        Ring { mapping, offsets, size, entries: PhantomData }
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: `new` has checked that the word lies inside the mapping and is aligned, for a mapping begins on a
        // page. Both sides touch it by atomic operations only. It lives as long as `self` holds the mapping.
        unsafe { AtomicU32::from_ptr(self.mapping.start.as_ptr().add(offset).cast()) }
    }

    fn producer(&self) -> &AtomicU32 {
        self.word(self.offsets.producer)
    }

    fn consumer(&self) -> &AtomicU32 {
        self.word(self.offsets.consumer)
    }

    fn flags(&self) -> &AtomicU32 {
        self.word(self.offsets.flags)
    }

    /// The place of the entry with this number.
    fn place(&self, number: u32) -> *mut T {
        let index = (number & (self.size - 1)) as usize;
        // SAFETY: the index is below `size`, and `new` has checked that so many entries lie inside the mapping.
        unsafe { self.mapping.start.as_ptr().add(self.offsets.entries).cast::<T>().add(index) }
    }
}

/// The half that writes entries.
pub(super) struct Producer<T> {
    ring: Ring<T>,
    /// Entries written.
    head: u32,
    /// Entries that the other side may see.
    published: u32,
    /// Entries that the other side has let go of, as last looked.
    consumed: u32,
}

impl<T: Entry> Producer<T> {
    pub(super) fn new(mapping: Arc<Mapping>, offsets: Offsets, size: u32) -> Producer<T> {
        let ring = Ring::new(mapping, offsets, size);
        let head = ring.producer().load(Ordering::Relaxed);
        let consumed = ring.consumer().load(Ordering::Acquire);
        Producer { ring, head, published: head, consumed }
    }

    /// Writes one more entry; false if there is no room. The other side sees it after [`publish`](Self::publish).
    #[inline]
    pub(super) fn push(&mut self, entry: T) -> bool {
        if self.head.wrapping_sub(self.consumed) >= self.ring.size {
            self.look();
            if self.head.wrapping_sub(self.consumed) >= self.ring.size {
                return false;
            }
        }
        // SAFETY: inside the mapping (`place`). The other side has let go of this place, which `look` has acquired,
        // and reads it again only after `publish`.
        unsafe { self.ring.place(self.head).write(entry) };
        self.head = self.head.wrapping_add(1);
        true
    }

    /// Lets the other side see what was written; false if that was nothing.
    #[inline]
    pub(super) fn publish(&mut self) -> bool {
        if self.published == self.head {
            return false;
        }
        self.published = self.head;
        self.ring.producer().store(self.head, Ordering::Release);
        true
    }

    /// How many entries the other side has not let go of; touches its counter.
    #[inline]
    pub(super) fn outstanding(&mut self) -> u32 {
        self.look();
        self.head.wrapping_sub(self.consumed)
    }

    /// As [`outstanding`](Self::outstanding) when it was last looked: never less than there are.
    #[inline]
    pub(super) fn outstanding_at_most(&self) -> u32 {
        self.head.wrapping_sub(self.consumed)
    }

    /// Whether the kernel wants to be told of what is published. To be asked after that.
    #[inline]
    pub(super) fn needs_wake_up(&self) -> bool {
        // The kernel sets the flag and looks again, the process publishes and looks at the flag: one of the two sees
        // the other's, if neither's read comes before its own write.
        std::sync::atomic::fence(Ordering::SeqCst);
        self.ring.flags().load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }

    fn look(&mut self) {
        self.consumed = self.ring.consumer().load(Ordering::Acquire);
    }
}

/// The half that reads entries.
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    /// Entries read.
    tail: u32,
    /// Entries that the other side may write over.
    released: u32,
    /// Entries published, as last looked.
    published: u32,
}

impl<T: Entry> Consumer<T> {
    pub(super) fn new(mapping: Arc<Mapping>, offsets: Offsets, size: u32) -> Consumer<T> {
        let ring = Ring::new(mapping, offsets, size);
        let tail = ring.consumer().load(Ordering::Relaxed);
        Consumer { ring, tail, released: tail, published: tail }
    }

    /// Looks what has been published; answers the number of the next entry to come, that is, how many there have
    /// ever been.
    #[inline]
    pub(super) fn look(&mut self) -> u32 {
        let published = self.ring.producer().load(Ordering::Acquire);
        // More than the ring holds cannot be.
        if published.wrapping_sub(self.tail) <= self.ring.size {
            self.published = published;
        }
        self.published
    }

    /// The number of the next entry to be taken.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        self.tail
    }

    /// Takes the next of the entries seen by the last [`look`](Self::look), with its number.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(u32, T)> {
        if self.tail == self.published {
            return None;
        }
        let number = self.tail;
        // SAFETY: inside the mapping (`place`). The other side has written it before it published, which `look` has
        // acquired, and writes it again only after `release`.
        let entry = unsafe { self.ring.place(number).read() };
        self.tail = number.wrapping_add(1);
        Some((number, entry))
    }

    /// Lets the other side have the places of what was taken.
    #[inline]
    pub(super) fn release(&mut self) {
        if self.released != self.tail {
            self.released = self.tail;
            self.ring.consumer().store(self.tail, Ordering::Release);
        }
    }

    /// Whether there are entries that were not taken, by a look that changes nothing.
    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.tail != self.published || self.ring.producer().load(Ordering::Relaxed) != self.tail
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    const OFFSETS: Offsets = Offsets { producer: 0, consumer: 64, flags: 128, entries: 192 };

    /// Both halves of a ring, which are each other's other side; their counters begin at `first`.
    fn ring<T: Entry>(size: u32, first: u32) -> (Producer<T>, Consumer<T>) {
        let bytes = OFFSETS.entries + size as usize * size_of::<T>();
        let mapping = Arc::new(Mapping::own(bytes, MapFlags::empty()).unwrap());
        let counters = Ring::<T>::new(Arc::clone(&mapping), OFFSETS, size);
        counters.producer().store(first, Ordering::Relaxed);
        counters.consumer().store(first, Ordering::Relaxed);
        (Producer::new(Arc::clone(&mapping), OFFSETS, size), Consumer::new(mapping, OFFSETS, size))
    }

    proptest! {
        /// Any order of steps agrees with queues in ordinary memory: what is written, published, taken, released.
        #[test]
        fn a_ring_is_a_queue(
            log in 0u32..6, first in prop_oneof![Just(0), u32::MAX - 200..=u32::MAX, any::<u32>()],
            steps in prop::collection::vec((0u8..5, 1u32..40), 1..400),
        ) {
            let size = 1 << log;
            let (mut producer, mut consumer) = ring::<u64>(size, first);
            let (mut written, mut published, mut seen) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
            let (mut next, mut taken, mut held) = (0u64, first, 0);
            for (step, times) in steps {
                match step {
                    0 => for _ in 0..times {
                        let room = (written.len() + published.len() + seen.len()) as u32 + held < size;
                        prop_assert_eq!(producer.push(next), room);
                        if room {
                            written.push_back(next);
                            next += 1;
                        }
                    },
                    1 => {
                        prop_assert_eq!(producer.publish(), !written.is_empty());
                        published.append(&mut written);
                    }
                    2 => {
                        prop_assert_eq!(consumer.is_waiting(), !published.is_empty() || !seen.is_empty());
                        seen.append(&mut published);
                        prop_assert_eq!(consumer.look(), taken.wrapping_add(seen.len() as u32));
                    }
                    3 => for _ in 0..times {
                        let popped = consumer.pop();
                        prop_assert_eq!(popped, seen.pop_front().map(|entry| (taken, entry)));
                        if popped.is_some() {
                            taken = taken.wrapping_add(1);
                            held += 1;
                        }
                    },
                    _ => {
                        consumer.release();
                        held = 0;
                        let all = (written.len() + published.len() + seen.len()) as u32;
                        prop_assert_eq!(producer.outstanding(), all);
                    }
                }
                prop_assert!(producer.outstanding_at_most() <= size);
            }
        }
    }

    #[test]
    fn what_one_thread_writes_another_reads_whole_and_in_order() {
        const ENTRIES: u64 = 200_000;
        let (mut producer, mut consumer) = ring::<Descriptor>(64, u32::MAX - 1000);
        let writer = std::thread::spawn(move || {
            for n in 0..ENTRIES {
                let entry = Descriptor { address: n, length: n as u32, options: !(n as u32) };
                while !producer.push(entry) {
                    producer.publish();
                    std::thread::yield_now();
                }
                if n % 7 == 0 {
                    producer.publish();
                }
            }
            producer.publish();
        });
        let mut expected = 0;
        while expected < ENTRIES {
            consumer.look();
            while let Some((_, entry)) = consumer.pop() {
                let (length, options) = (expected as u32, !(expected as u32));
                assert_eq!(entry, Descriptor { address: expected, length, options });
                expected += 1;
            }
            consumer.release();
            std::thread::yield_now();
        }
        writer.join().unwrap();
    }

    #[test]
    fn a_counter_that_cannot_be_is_not_believed() {
        let (_producer, mut consumer) = ring::<u64>(8, 5);
        consumer.ring.producer().store(5 + 9, Ordering::Relaxed);
        consumer.look();
        assert_eq!(consumer.pop(), None);
    }

    #[test]
    #[should_panic(expected = "assertion failed")]
    fn a_ring_beyond_its_mapping_is_refused() {
        let mapping = Arc::new(Mapping::own(4096, MapFlags::empty()).unwrap());
        let _ = Producer::<u64>::new(mapping, OFFSETS, 1 << 12);
    }
}
