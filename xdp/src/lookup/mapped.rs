//! A BPF array that the process shares with its program: plain memory, read and written by atomics.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The mapped values of an array made with `BPF_F_MMAPABLE`. The mapping keeps the array in being.
pub(super) struct Mapped {
    memory: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is reached through atomics only, and belongs to no thread.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps `bytes`, rounded up to whole pages, of the array behind `map`.
    pub(super) fn new(map: BorrowedFd<'_>, bytes: usize) -> io::Result<Mapped> {
        let bytes = bytes.next_multiple_of(PAGE).max(PAGE);
        let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other.
        let memory =
            unsafe { mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Mapped { memory: memory.cast(), bytes })
    }

    pub(super) fn len(&self) -> usize {
        self.bytes
    }

    /// Writes one byte. The program sees it soon, on every CPU.
    pub(super) fn store_u8(&self, offset: usize, value: u8) {
        assert!(offset < self.bytes, "byte {offset} of {}", self.bytes);
        // SAFETY: inside the mapping, which lives as long as `self`; only atomics touch this byte, and the
        // program's reads are single loads.
        let byte = unsafe { AtomicU8::from_ptr(self.memory.as_ptr().add(offset)) };
        byte.store(value, Ordering::Release);
    }

    /// Reads a counter.
    pub(super) fn u64_at(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.bytes, "byte {offset} of {}", self.bytes);
        // SAFETY: inside the mapping, which lives as long as `self`, and aligned, for a mapping begins on a page;
        // the program adds to it by atomic operations.
        let counter = unsafe { AtomicU64::from_ptr(self.memory.as_ptr().add(offset).cast()) };
        counter.load(Ordering::Relaxed)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: this is what `new` mapped, and nothing refers to it any more.
        let unmapped = unsafe { munmap(self.memory.cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

/// The smallest page of any machine; a larger one is what the kernel rounds up to by itself.
const PAGE: usize = 4096;
