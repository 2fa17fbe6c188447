//! A BPF array that the process shares with its program: plain memory, read and written by atomics.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// The mapped values of an array made with `BPF_F_MMAPABLE`. The mapping keeps the array in being.
pub(crate) struct Mapped {
    memory: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory is reached through atomics only, and belongs to no thread.
unsafe impl Send for Mapped {}
// SAFETY: as above.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// Maps `bytes`, rounded up to whole pages, of the array behind `map`.
    pub(crate) fn new(map: BorrowedFd<'_>, bytes: usize) -> io::Result<Mapped> {
        let bytes = bytes.next_multiple_of(PAGE).max(PAGE);
        let length = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs no other.
        let memory =
            unsafe { mmap(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Mapped { memory: memory.cast(), bytes })
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    /// Writes one byte. The program sees it soon, on every CPU.
    pub(crate) fn store_u8(&self, offset: usize, value: u8) {
        assert!(offset < self.bytes, "byte {offset} of {}", self.bytes);
        // SAFETY: inside the mapping, which lives as long as `self`; only atomics touch this byte, and the
        // program's reads are single loads.
        let byte = unsafe { AtomicU8::from_ptr(self.memory.as_ptr().add(offset)) };
        byte.store(value, Ordering::Release);
    }

    /// Reads 8 bytes at once, and nothing that follows before them.
    #[inline]
    pub(crate) fn u64_at(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.bytes, "byte {offset} of {}", self.bytes);
        // SAFETY: inside the mapping, which lives as long as `self`, and aligned, for a mapping begins on a page;
        // the program writes it by single stores or atomic operations.
        let counter = unsafe { AtomicU64::from_ptr(self.memory.as_ptr().add(offset).cast()) };
        counter.load(Ordering::Acquire)
    }

    /// Writes 8 bytes at once.
    #[inline]
    pub(crate) fn store_u64(&self, offset: usize, value: u64) {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.bytes, "byte {offset} of {}", self.bytes);
        // SAFETY: as in `u64_at`; the program's reads are single loads.
        let place = unsafe { AtomicU64::from_ptr(self.memory.as_ptr().add(offset).cast()) };
        place.store(value, Ordering::Release);
    }

    /// Reads 4 bytes at once, and nothing that follows before them.
    #[inline]
    pub(crate) fn u32_at(&self, offset: usize) -> u32 {
        self.word(offset).load(Ordering::Acquire)
    }

    /// Writes 4 bytes at once, after all that was written before.
    #[inline]
    pub(crate) fn store_u32(&self, offset: usize, value: u32) {
        self.word(offset).store(value, Ordering::Release);
    }

    #[inline]
    fn word(&self, offset: usize) -> &AtomicU32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.bytes, "byte {offset} of {}", self.bytes);
        // SAFETY: inside the mapping, which lives as long as `self`, and aligned, for a mapping begins on a page; the
        // program reads and writes it by single loads and stores or atomic operations.
        unsafe { AtomicU32::from_ptr(self.memory.as_ptr().add(offset).cast()) }
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

#[cfg(test)]
pub(crate) mod tests {
    /// Takes all capabilities but these from this thread.
    pub(crate) fn limit_capabilities(mask: u64) {
        // Of linux/capability.h: version 3, two words of each set.
        let header = [0x2008_0522_u32, 0];
        let (low, high) = (mask as u32, (mask >> 32) as u32);
        let sets = [low, low, 0, high, high, 0];
        // SAFETY: both arrays are as long as the kernel reads of version 3, and outlive the call.
        let answer = unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), sets.as_ptr()) };
        assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
    }
}
