//! Waking the routes thread.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering, fence};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// An event descriptor, written only while the thread sleeps: of many orders one is a system call.
pub(super) struct Bell {
    event: EventFd,
    asleep: AtomicBool,
}

impl Bell {
    pub(super) fn new() -> io::Result<Bell> {
        let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Bell { event, asleep: AtomicBool::new(false) })
    }

    /// After an order was put down.
    pub(super) fn ring(&self) {
        // With the fence in `fall_asleep`: either the order is seen there, or the sleep here.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.ring_anyway();
        }
    }

    pub(super) fn ring_anyway(&self) {
        // The only failure is a counter at its limit, and that wakes as well.
        let _ = self.event.write(1);
    }

    /// From now on orders ring. What was put down before is to be looked for after this.
    pub(super) fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Awake: orders are looked for without being told.
    pub(super) fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        // Empty unless somebody rang.
        let _ = self.event.read();
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}
