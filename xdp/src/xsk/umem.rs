//! The memory of packets, in frames of one size.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, madvise};

use super::XskError;
use super::ring::Mapping;

/// How much memory packets get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UmemPlan {
    /// How many frames.
    pub frames: u32,
    /// The size of each, 2048 or 4096. The kernel keeps the first 256 bytes free, so that headers can grow.
    pub frame_size: u32,
    /// How many bytes it keeps free beside those.
    pub headroom: u32,
}

/// The memory of packets, and the pool of frames that are nowhere else.
///
/// It is to be made by the thread that will use it, which touches every page first: so it lies on the memory node
/// of that thread's core. Huge pages are used where some are reserved, else asked for.
pub struct Umem {
    memory: Mapping,
    plan: UmemPlan,
    free: Vec<u32>,
    /// Tells frames of different memories apart.
    identity: u32,
    /// The first socket, which it is registered with. Open as long as others may want to share it.
    pub(super) first: Option<OwnedFd>,
}

/// A frame that this side holds: it is in no ring and not in the pool. Dropped, it is lost to its memory.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a frame that is dropped is lost"]
pub struct Frame {
    number: u32,
    umem: u32,
}

/// The smallest page of any machine that this runs on.
const PAGE: usize = 4096;
/// A huge page of most machines.
const HUGE_PAGE: usize = 2 << 20;

impl Umem {
    /// Takes the memory; all frames are in the pool.
    ///
    /// # Errors
    /// [`XskError::Kernel`] for a plan that cannot be, or if there is no memory.
    pub fn new(plan: UmemPlan) -> Result<Umem, XskError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let sound = plan.frames > 0
            && plan.frames <= 1 << 24
            && matches!(plan.frame_size, 2048 | 4096)
            && plan.headroom <= plan.frame_size / 4;
        if !sound {
            let error = std::io::ErrorKind::InvalidInput.into();
            return Err(XskError::Kernel { what: "the plan of packet memory", error });
        }
        let memory = take(plan.frames as usize * plan.frame_size as usize)?;
        Ok(Umem {
            memory,
            plan,
            // The lowest first: it stays in the cache when few are in use.
            free: (0..plan.frames).rev().collect(),
            identity: NEXT.fetch_add(1, Ordering::Relaxed),
            first: None,
        })
    }

    /// Takes a frame out of the pool.
    #[inline]
    pub fn take(&mut self) -> Option<Frame> {
        self.free.pop().map(|number| Frame { number, umem: self.identity })
    }

    /// Puts a frame back into the pool.
    ///
    /// # Panics
    /// If it is of other memory.
    #[inline]
    pub fn put(&mut self, frame: Frame) {
        self.check(&frame);
        // As many as there are frames, for which there is room.
        self.free.push(frame.number);
    }

    /// How many frames are in the pool.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// The size of a frame.
    pub fn frame_size(&self) -> usize {
        self.plan.frame_size as usize
    }

    /// The bytes of a frame.
    ///
    /// # Panics
    /// If it is of other memory.
    #[inline]
    pub fn bytes<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        let at = self.address(frame) as usize;
        // SAFETY: `address` is of this memory and below its end. Whoever has the frame holds it alone: the kernel
        // reads and writes only frames that are in its rings, and those are no `Frame`s.
        unsafe { std::slice::from_raw_parts(self.memory.start().as_ptr().add(at), self.plan.frame_size as usize) }
    }

    /// The same for writing.
    ///
    /// # Panics
    /// If it is of other memory.
    #[inline]
    pub fn bytes_mut<'a>(&'a mut self, frame: &'a mut Frame) -> &'a mut [u8] {
        let at = self.address(frame) as usize;
        // SAFETY: as in `bytes`, and both are borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.memory.start().as_ptr().add(at), self.plan.frame_size as usize) }
    }

    #[inline]
    pub(super) fn identity(&self) -> u32 {
        self.identity
    }

    /// Where a frame begins, counted from the start of the memory.
    #[inline]
    pub(super) fn address(&self, frame: &Frame) -> u64 {
        self.check(frame);
        u64::from(frame.number) * u64::from(self.plan.frame_size)
    }

    /// The frame that an address of the kernel's is in, and where in it. `None` for one that is not in this memory.
    ///
    /// To be called once for each frame that the kernel gives back, for whoever has a `Frame` holds it alone.
    #[inline]
    pub(super) fn returned(&self, address: u64) -> Option<(Frame, usize)> {
        let size = u64::from(self.plan.frame_size);
        let number = u32::try_from(address / size).ok().filter(|number| *number < self.plan.frames)?;
        Some((Frame { number, umem: self.identity }, (address % size) as usize))
    }

    /// What the kernel is told of it.
    pub(super) fn registration(&self) -> libc::xdp_umem_reg {
        libc::xdp_umem_reg {
            addr: self.memory.start().as_ptr() as u64,
            len: u64::from(self.plan.frames) * u64::from(self.plan.frame_size),
            chunk_size: self.plan.frame_size,
            headroom: self.plan.headroom,
            flags: 0,
            tx_metadata_len: 0,
        }
    }

    fn check(&self, frame: &Frame) {
        assert!(frame.umem == self.identity, "a frame of other memory");
    }
}

/// Memory, every page touched by this thread.
fn take(bytes: usize) -> Result<Mapping, XskError> {
    let huge = bytes.next_multiple_of(HUGE_PAGE);
    let flags = MapFlags::MAP_HUGETLB | MapFlags::MAP_POPULATE;
    // None are reserved on most hosts, or too few.
    if let Ok(mapping) = Mapping::own(huge, flags) {
        return Ok(mapping);
    }
    let mapping = Mapping::own(bytes.next_multiple_of(PAGE), MapFlags::empty())
        .map_err(XskError::kernel("memory for packets"))?;
    // SAFETY: advice about a mapping of our own changes none of its bytes. A kernel without huge pages refuses it.
    let _ = unsafe { madvise(mapping.start().cast(), mapping.bytes(), MmapAdvise::MADV_HUGEPAGE) };
    for page in (0..mapping.bytes()).step_by(PAGE) {
        // SAFETY: inside the mapping, which nobody else knows yet. Volatile, so that it is done.
        unsafe { mapping.start().as_ptr().add(page).write_volatile(0) };
    }
    Ok(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn umem(frames: u32) -> Umem {
        Umem::new(UmemPlan { frames, frame_size: 2048, headroom: 0 }).unwrap()
    }

    #[test]
    fn every_frame_is_held_once_and_has_bytes_of_its_own() {
        let mut umem = umem(64);
        let mut frames: Vec<Frame> = std::iter::from_fn(|| umem.take()).collect();
        assert_eq!((frames.len(), umem.free()), (64, 0));
        for (n, frame) in (0u8..).zip(&mut frames) {
            umem.bytes_mut(frame).fill(n);
        }
        for (n, frame) in (0u8..).zip(&frames) {
            assert!(umem.bytes(frame).iter().all(|byte| *byte == n));
            let address = umem.address(frame);
            assert_eq!(umem.returned(address + 300), Some((Frame { ..*frame }, 300)));
        }
        frames.into_iter().for_each(|frame| umem.put(frame));
        assert_eq!(umem.free(), 64);
    }

    #[test]
    fn an_address_outside_is_no_frame() {
        let umem = umem(4);
        assert_eq!(umem.returned(4 * 2048), None);
        assert_eq!(umem.returned(u64::MAX), None);
    }

    #[test]
    #[should_panic(expected = "other memory")]
    fn a_frame_of_other_memory_is_not_taken_for_an_own() {
        let (mut own, mut other) = (umem(1), umem(1));
        own.put(other.take().unwrap());
    }

    #[test]
    fn plans_that_cannot_be_are_refused() {
        let sound = UmemPlan { frames: 1, frame_size: 4096, headroom: 64 };
        Umem::new(sound).unwrap();
        let plans = [
            UmemPlan { frames: 0, ..sound },
            UmemPlan { frames: u32::MAX, ..sound },
            UmemPlan { frame_size: 1000, ..sound },
            UmemPlan { headroom: 4096, ..sound },
        ];
        for plan in plans {
            assert!(matches!(Umem::new(plan), Err(XskError::Kernel { .. })), "{plan:?}");
        }
    }
}
