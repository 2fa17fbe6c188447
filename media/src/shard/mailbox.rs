//! The bounded mailbox through which the control side reaches a shard, and its wake-up.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::ArrayQueue;
use moorline_control::{Reply, Request};
use moorline_relay::Owner;
use nix::sys::eventfd::{EfdFlags, EventFd};
use tokio::sync::oneshot;

use super::Snapshot;
use super::bell::Bell;

/// Letters that may wait. A shard reads some thousand a second while it relays; more would only wait longer
/// than a caller does.
const CAPACITY: usize = 1024;
/// Places left free for the letters that must arrive: releases.
const RESERVED: usize = 64;

/// What the control side asks of a shard.
pub(crate) enum Letter {
    /// A request of a connection, and where the answer goes.
    Request { owner: Owner, request: Request, answer: oneshot::Sender<Answer> },
    /// A connection has ended; its sessions run on for the lease.
    Release { owner: Owner, lease_ns: u64 },
    /// A copy of the shard's figures.
    Scrape(oneshot::Sender<Box<Snapshot>>),
}

/// A shard's answer to a request.
pub(crate) struct Answer {
    /// The shard's count of answers and events: tells which of two came later.
    pub(crate) sequence: u64,
    pub(crate) reply: Reply,
}

/// Written by the control side, read by one shard. No two share a cache line, nor a pair that is fetched together.
#[repr(align(128))]
pub(crate) struct Mailbox {
    letters: ArrayQueue<Letter>,
    bell: Bell<AtomicBool>,
    stopping: AtomicBool,
    wake: EventFd,
}

const _: () = assert!(align_of::<Mailbox>() == 128 && size_of::<Mailbox>().is_multiple_of(128));

impl Mailbox {
    pub(crate) fn new() -> io::Result<Mailbox> {
        Ok(Mailbox {
            letters: ArrayQueue::new(CAPACITY),
            bell: Bell::new(),
            stopping: AtomicBool::new(false),
            wake: EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?,
        })
    }

    /// A descriptor that becomes readable when the shard has to wake up.
    pub(crate) fn wake_descriptor(&self) -> io::Result<OwnedFd> {
        self.wake.as_fd().try_clone_to_owned()
    }

    /// Posts a letter, or gives it back if the mailbox is full. Never waits.
    pub(crate) fn post(&self, letter: Letter) -> Result<(), Letter> {
        if !matches!(letter, Letter::Release { .. }) && self.letters.len() >= CAPACITY - RESERVED {
            return Err(letter);
        }
        self.letters.push(letter)?;
        if self.bell.must_ring() {
            self.ring();
        }
        Ok(())
    }

    /// Tells the shard to end.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.ring();
    }

    /// Shard: the next letter.
    pub(crate) fn read(&self) -> Option<Letter> {
        self.letters.pop()
    }

    /// Shard: whether to end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Shard: says that it goes to sleep; false if there is mail, or it is to end, and it should not. A letter that
    /// is posted after this rings, or another one has. `stop` always rings.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.bell.fall_asleep(|| !self.letters.is_empty() || self.is_stopping())
    }

    /// Shard: says that it is awake.
    pub(crate) fn wake_up(&self) {
        self.bell.wake_up();
    }

    fn ring(&self) {
        // Full means that a wake-up is pending already.
        let _ = self.wake.write(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Letter {
        let (answer, _) = oneshot::channel();
        Letter::Request { owner: Owner(1), request: Request::List { after: None }, answer }
    }

    #[test]
    fn requests_are_refused_when_full_and_releases_still_fit() {
        let mailbox = Mailbox::new().unwrap();
        (0..CAPACITY - RESERVED).for_each(|_| assert!(mailbox.post(request()).is_ok()));
        assert!(mailbox.post(request()).is_err());
        assert!(mailbox.post(Letter::Scrape(oneshot::channel().0)).is_err());
        assert!(mailbox.post(Letter::Release { owner: Owner(1), lease_ns: 0 }).is_ok());
        assert!(mailbox.read().is_some());
        assert!(mailbox.read().is_some());
        assert!(mailbox.post(request()).is_ok());
    }

    #[test]
    fn a_sleeper_is_rung_once_and_a_waking_shard_is_not() {
        let mailbox = Mailbox::new().unwrap();
        assert!(mailbox.post(request()).is_ok());
        assert!(!mailbox.fall_asleep(), "there is mail");
        mailbox.wake_up();
        assert!(mailbox.wake.read().is_err(), "nobody rang");
        mailbox.read();
        assert!(mailbox.fall_asleep());
        assert!(mailbox.post(request()).is_ok());
        assert!(mailbox.post(request()).is_ok());
        assert_eq!(mailbox.wake.read(), Ok(1), "the second letter relies on the first one's ring");
        mailbox.wake_up();
        (0..2).for_each(|_| assert!(mailbox.read().is_some()));
        assert!(mailbox.fall_asleep());
        assert!(mailbox.post(request()).is_ok());
        assert_eq!(mailbox.wake.read(), Ok(1), "every sleep is rung out of");
    }

    #[test]
    fn no_letter_is_slept_over() {
        let mailbox = Mailbox::new().unwrap();
        const LETTERS: u32 = 20_000;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..LETTERS {
                    let mut letter = request();
                    while let Err(back) = mailbox.post(letter) {
                        letter = back;
                        std::thread::yield_now();
                    }
                }
            });
            let mut read = 0;
            while read < LETTERS {
                while mailbox.read().is_some() {
                    read += 1;
                }
                if mailbox.fall_asleep() && read < LETTERS {
                    // Blocks for ever if a wake-up is lost.
                    let descriptor = mailbox.wake.as_fd();
                    let mut poll = [nix::poll::PollFd::new(descriptor, nix::poll::PollFlags::POLLIN)];
                    nix::poll::poll(&mut poll, nix::poll::PollTimeout::NONE).unwrap();
                    let _ = mailbox.wake.read();
                }
                mailbox.wake_up();
            }
        });
    }
}
