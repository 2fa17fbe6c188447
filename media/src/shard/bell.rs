//! When a letter has to wake the shard: how one sleeps, and the others know, without a lock.
//!
//! It is the store and load of Dekker's algorithm: the shard says that it sleeps and then looks for mail, a sender
//! puts mail down and then looks whether the shard sleeps. With a sequentially consistent fence between the two
//! on both sides, at least one sees what the other wrote. Every write is a swap, so that they have one order for all.
//! The tests try the interleavings.

use std::sync::atomic::{AtomicBool, Ordering, fence};

/// One bit of memory that two threads use: the machine's, or a model's.
pub(super) trait Flag {
    fn new(value: bool) -> Self;
    fn load(&self) -> bool;
    fn swap(&self, value: bool) -> bool;
    /// No later read of this thread comes before an earlier write of it.
    fn fence();
}

impl Flag for AtomicBool {
    fn new(value: bool) -> AtomicBool {
        AtomicBool::new(value)
    }

    fn load(&self) -> bool {
        AtomicBool::load(self, Ordering::Relaxed)
    }

    fn swap(&self, value: bool) -> bool {
        AtomicBool::swap(self, value, Ordering::Relaxed)
    }

    fn fence() {
        fence(Ordering::SeqCst);
    }
}

/// Whether the shard sleeps, or is about to, and nobody has rung yet.
pub(super) struct Bell<F>(F);

impl<F: Flag> Bell<F> {
    pub(super) fn new() -> Bell<F> {
        Bell(F::new(false))
    }

    /// A sender that has put mail down: whether it has to ring. The first to find the shard asleep does, the others
    /// rely on it: the shard reads the mail between the ring and its next sleep. A ring that comes late, once the
    /// shard is awake, only cuts the next sleep short.
    pub(super) fn must_ring(&self) -> bool {
        F::fence();
        // The load spares a shard that is awake the write.
        self.0.load() && self.0.swap(false)
    }

    /// The shard: says that it goes to sleep, and answers whether it may: not if there is mail.
    pub(super) fn fall_asleep(&self, has_mail: impl FnOnce() -> bool) -> bool {
        self.0.swap(true);
        F::fence();
        !has_mail()
    }

    /// The shard: says that it is awake.
    pub(super) fn wake_up(&self) {
        self.0.swap(false);
    }
}

#[cfg(test)]
mod tests {
    use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
    use loom::sync::{Arc, Condvar, Mutex};

    use super::*;

    /// The model's memory: a load may see any value that the memory model allows.
    impl Flag for AtomicBool {
        fn new(value: bool) -> AtomicBool {
            AtomicBool::new(value)
        }

        fn load(&self) -> bool {
            AtomicBool::load(self, Ordering::Relaxed)
        }

        fn swap(&self, value: bool) -> bool {
            AtomicBool::swap(self, value, Ordering::Relaxed)
        }

        fn fence() {
            fence(Ordering::SeqCst);
        }
    }

    /// A mailbox of which only the number of letters is kept, and its event descriptor.
    struct Model {
        letters: AtomicUsize,
        bell: Bell<AtomicBool>,
        rung: Mutex<bool>,
        wake: Condvar,
    }

    impl Model {
        fn post(&self) {
            self.letters.fetch_add(1, Ordering::AcqRel);
            if self.bell.must_ring() {
                *self.rung.lock().unwrap() = true;
                self.wake.notify_one();
            }
        }

        /// Reads until so many letters have come; blocks for ever, which loom finds, if a wake-up is lost.
        fn read(&self, wanted: usize) {
            let mut read = 0;
            loop {
                let waiting = self.letters.swap(0, Ordering::AcqRel);
                read += waiting;
                if read == wanted {
                    break;
                }
                if self.bell.fall_asleep(|| self.letters.load(Ordering::Acquire) > 0) {
                    let mut rung = self.rung.lock().unwrap();
                    while !*rung {
                        rung = self.wake.wait(rung).unwrap();
                    }
                    *rung = false;
                }
                self.bell.wake_up();
            }
        }
    }

    fn no_wake_up_is_lost(senders: usize, letters_each: usize, preemptions: Option<usize>) {
        let mut interleavings = loom::model::Builder::new();
        interleavings.preemption_bound = preemptions;
        interleavings.check(move || {
            let model = Arc::new(Model {
                letters: AtomicUsize::new(0),
                bell: Bell::new(),
                rung: Mutex::new(false),
                wake: Condvar::new(),
            });
            let threads: Vec<_> = (0..senders)
                .map(|_| {
                    let model = Arc::clone(&model);
                    loom::thread::spawn(move || (0..letters_each).for_each(|_| model.post()))
                })
                .collect();
            model.read(senders * letters_each);
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }

    #[test]
    fn no_wake_up_is_lost_with_one_sender_and_four_preemptions() {
        no_wake_up_is_lost(1, 2, Some(4));
    }

    #[test]
    fn no_wake_up_is_lost_with_two_senders_and_two_preemptions() {
        no_wake_up_is_lost(2, 1, Some(2));
    }
}
