//! The numbered places of hops, in memory: written by the routes thread, read by all.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use super::{NextHop, Reason, Shared};

/// What a place holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Nothing: its number can be given out.
    Free,
    /// Asked for, and not known yet.
    Pending,
    /// A hop.
    Valid,
    /// A hop soon again.
    Changing,
    /// None: the kernel sends.
    Kernel(Reason),
    /// Something that was used lately.
    Resting,
}

impl Status {
    const REASONS: u32 = 16;

    fn code(self) -> u32 {
        match self {
            Status::Free => 0,
            Status::Pending => 1,
            Status::Valid => 2,
            Status::Changing => 3,
            Status::Resting => 4,
            Status::Kernel(reason) => Status::REASONS + reason as u32,
        }
    }

    fn of(code: u32) -> Status {
        match code {
            0 => Status::Free,
            1 => Status::Pending,
            2 => Status::Valid,
            3 => Status::Changing,
            4 => Status::Resting,
            _ => {
                let reason = Reason::ALL.get(code.wrapping_sub(Status::REASONS) as usize);
                Status::Kernel(reason.copied().unwrap_or(Reason::Unknown))
            }
        }
    }
}

/// One place. The words change only while `sequence` is odd, so that a reader who was away for long in the middle of
/// reading notices.
#[repr(align(32))]
#[derive(Default)]
struct Slot {
    status: AtomicU32,
    sequence: AtomicU32,
    words: [AtomicU64; 3],
}

/// All places. Number 0 is never valid.
pub(super) struct Slots(Box<[Slot]>);

impl Slots {
    pub(super) fn new(capacity: u32) -> Slots {
        Slots((0..=capacity).map(|_| Slot::default()).collect())
    }

    /// The highest number.
    pub(super) fn capacity(&self) -> u32 {
        self.0.len() as u32 - 1
    }

    pub(super) fn status(&self, hop: u32) -> Status {
        self.0
            .get(hop as usize)
            .map_or(Status::Kernel(Reason::Full), |slot| Status::of(slot.status.load(Ordering::Acquire)))
    }

    /// For the routes thread, and before it sees an order for the place, for who orders.
    pub(super) fn set(&self, hop: u32, status: Status) {
        if let Some(slot) = self.0.get(hop as usize) {
            slot.status.store(status.code(), Ordering::Release);
        }
    }

    /// Fills a place and makes it valid. For the routes thread only.
    pub(super) fn write(&self, hop: u32, next: &NextHop) {
        let Some(slot) = self.0.get(hop as usize) else { return };
        let sequence = slot.sequence.load(Ordering::Relaxed);
        slot.sequence.store(sequence.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        for (word, value) in slot.words.iter().zip(pack(next)) {
            word.store(value, Ordering::Relaxed);
        }
        slot.sequence.store(sequence.wrapping_add(2), Ordering::Release);
        slot.status.store(Status::Valid.code(), Ordering::Release);
    }

    #[inline]
    fn read(&self, hop: u32) -> Option<NextHop> {
        let slot = self.0.get(hop as usize)?;
        let sequence = slot.sequence.load(Ordering::Acquire);
        if slot.status.load(Ordering::Acquire) != Status::Valid.code() {
            return None;
        }
        let words = slot.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let whole = sequence.is_multiple_of(2) && slot.sequence.load(Ordering::Relaxed) == sequence;
        whole.then(|| unpack(words))
    }
}

fn pack(next: &NextHop) -> [u64; 3] {
    let mac = |[a, b, c, d, e, f]: [u8; 6]| u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
    [
        u64::from(next.interface),
        mac(next.source) | u64::from(next.vlan) << 48,
        mac(next.destination) | u64::from(next.mtu) << 48,
    ]
}

fn unpack([interface, source, destination]: [u64; 3]) -> NextHop {
    let mac = |word: u64| {
        let [_, _, mac @ ..] = word.to_be_bytes();
        mac
    };
    NextHop {
        interface: interface as u32,
        source: mac(source),
        destination: mac(destination),
        vlan: (source >> 48) as u16,
        mtu: (destination >> 48) as u16,
    }
}

/// Reads hops by their numbers: a few loads, on any thread.
#[derive(Clone)]
pub(crate) struct HopReader(Arc<Shared>);

impl HopReader {
    pub(super) fn new(shared: Arc<Shared>) -> HopReader {
        HopReader(shared)
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0
    }

    /// The hop; `None` while the kernel has to send.
    #[inline]
    pub(crate) fn read(&self, hop: u32) -> Option<NextHop> {
        self.0.slots.read(hop)
    }

    /// Why a hop is not valid, once that is known.
    #[cfg(test)]
    pub(super) fn reason(&self, hop: u32) -> Option<Reason> {
        match self.0.slots.status(hop) {
            Status::Kernel(reason) => Some(reason),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn next_hop() -> impl Strategy<Value = NextHop> {
        (any::<u32>(), any::<[u8; 6]>(), any::<[u8; 6]>(), any::<u16>(), any::<u16>()).prop_map(
            |(interface, source, destination, vlan, mtu)| NextHop { interface, source, destination, vlan, mtu },
        )
    }

    proptest! {
        #[test]
        fn a_hop_comes_out_as_it_went_in(next in next_hop()) {
            let slots = Slots::new(2);
            slots.write(2, &next);
            prop_assert_eq!(slots.read(2), Some(next));
            prop_assert_eq!((slots.read(0), slots.read(1), slots.read(3)), (None, None, None));
            slots.set(2, Status::Changing);
            prop_assert_eq!(slots.read(2), None);
        }
    }

    #[test]
    fn every_status_keeps_its_meaning() {
        let slots = Slots::new(1);
        let reasons = Reason::ALL.into_iter().map(Status::Kernel);
        let others = [Status::Free, Status::Pending, Status::Valid, Status::Changing, Status::Resting];
        for status in others.into_iter().chain(reasons) {
            slots.set(1, status);
            assert_eq!(slots.status(1), status);
        }
        assert_eq!(slots.status(2), Status::Kernel(Reason::Full));
    }

    #[test]
    fn a_reader_never_sees_half_a_hop() {
        let slots = Arc::new(Slots::new(1));
        let hop =
            |n: u8| NextHop { interface: n.into(), source: [n; 6], destination: [n; 6], vlan: n.into(), mtu: n.into() };
        let shared = Arc::clone(&slots);
        // Rewritten without any pause, which the thread never does.
        let writer = std::thread::spawn(move || (0..200_000u32).for_each(|n| shared.write(1, &hop(n as u8))));
        let mut seen = 0;
        while !writer.is_finished() || seen == 0 {
            if let Some(next) = slots.read(1) {
                assert_eq!(next, hop(next.interface as u8));
                seen += 1;
            }
        }
        writer.join().unwrap();
    }
}
