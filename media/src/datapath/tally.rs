//! What a datapath counts: drops that the relay cannot see, and how long packets stayed.

use std::io;

use hdrhistogram::Histogram;
use moorline_relay::{Relayed, Traffic};

/// Why the kernel or the datapath lost a packet, on either side of the relay's verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum KernelDrop {
    /// Received, but longer than a buffer.
    Truncated,
    /// Received for a port that was closed in the meantime.
    Closed,
    /// Received, but the kernel's answer could not be read.
    Receive,
    /// Not received: the socket's receive buffer was full, the shard was too late.
    Overflow,
    /// Not received: more came to one port in a moment than any codec sends.
    PortFlooded,
    /// Not sent: no route, or the network or host is unreachable.
    Unreachable,
    /// Not sent: the socket's or the interface's queue is full.
    QueueFull,
    /// Not sent: refused by a local rule.
    Filtered,
    /// Not sent, for another reason.
    Send,
}

impl KernelDrop {
    pub(crate) const ALL: [KernelDrop; 9] = [
        KernelDrop::Truncated,
        KernelDrop::Closed,
        KernelDrop::Receive,
        KernelDrop::Overflow,
        KernelDrop::PortFlooded,
        KernelDrop::Unreachable,
        KernelDrop::QueueFull,
        KernelDrop::Filtered,
        KernelDrop::Send,
    ];

    /// The name as a metric label.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            KernelDrop::Truncated => "truncated",
            KernelDrop::Closed => "closed",
            KernelDrop::Receive => "receive_error",
            KernelDrop::Overflow => "receive_buffer_full",
            KernelDrop::PortFlooded => "port_flooded",
            KernelDrop::Unreachable => "send_unreachable",
            KernelDrop::QueueFull => "send_queue_full",
            KernelDrop::Filtered => "send_filtered",
            KernelDrop::Send => "send_error",
        }
    }

    /// The reason behind a failed send.
    pub(crate) fn of_send(error: &io::Error) -> KernelDrop {
        match error.raw_os_error() {
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN) => KernelDrop::Unreachable,
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => KernelDrop::QueueFull,
            Some(libc::EPERM | libc::EACCES) => KernelDrop::Filtered,
            _ => KernelDrop::Send,
        }
    }
}

/// The datapath's own counters, one per shard, plain integers.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    dropped: [u64; KernelDrop::ALL.len()],
    /// Receives that stopped because every buffer was in use; the packets waited in the socket.
    pub(crate) buffer_stalls: u64,
    /// Returns from a sleep.
    pub(crate) wakeups: u64,
    /// Packets that the relay counted as forwarded, and that were never sent, by [`Traffic::index`].
    unsent: [Relayed; Traffic::COUNT],
    /// How long packets that were sent stayed.
    pub(crate) residence: Residence,
    /// Packets that io_uring sent past the kernel's routing.
    pub(crate) direct: u64,
    /// What went past the kernel's network stack.
    pub(crate) af_xdp: AfXdpPackets,
}

/// Packets that AF_XDP sockets had to do with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct AfXdpPackets {
    /// Came by them.
    pub(crate) received: u64,
    /// Were queued to leave by them.
    pub(crate) sent: u64,
    /// Came by them, and were left to the kernel's sockets to send.
    pub(crate) sent_by_kernel: u64,
}

impl Tally {
    pub(crate) fn new() -> Result<Tally, hdrhistogram::CreationError> {
        Ok(Tally {
            dropped: [0; KernelDrop::ALL.len()],
            buffer_stalls: 0,
            wakeups: 0,
            unsent: [Relayed::default(); Traffic::COUNT],
            residence: Residence::new()?,
            direct: 0,
            af_xdp: AfXdpPackets::default(),
        })
    }

    /// Takes over how many packets have been cut from flooded ports, since the start.
    pub(crate) fn flooded(&mut self, packets: u64) {
        self.dropped[KernelDrop::PortFlooded as usize] = packets;
    }

    /// Counts a packet that the relay has counted as forwarded, and that was not sent.
    pub(crate) fn count_unsent(&mut self, reason: KernelDrop, traffic: Traffic, bytes: usize) {
        self.drop(reason);
        let unsent = &mut self.unsent[traffic.index()];
        unsent.packets += 1;
        unsent.bytes += bytes as u64;
    }

    /// What could not be sent of one kind.
    pub(crate) fn unsent(&self, traffic: Traffic) -> Relayed {
        self.unsent[traffic.index()]
    }

    pub(crate) fn drop(&mut self, reason: KernelDrop) {
        self.dropped[reason as usize] += 1;
    }

    /// Counts packets that were received for a port that was closed in the meantime.
    pub(crate) fn closed(&mut self, packets: u64) {
        self.dropped[KernelDrop::Closed as usize] += packets;
    }

    /// Counts what a socket says that it lost before it received a datagram.
    pub(crate) fn overflow(&mut self, lost: u32) {
        self.dropped[KernelDrop::Overflow as usize] += u64::from(lost);
    }

    pub(crate) fn dropped(&self, reason: KernelDrop) -> u64 {
        self.dropped[reason as usize]
    }
}

/// Residence time: from the kernel's receive timestamp until the submit that sent the packet had returned.
#[derive(Debug, Clone)]
pub(crate) struct Residence {
    histogram: Histogram<u64>,
    sum_ns: u64,
    /// The longest since it was last taken.
    longest_ns: u64,
}

impl Residence {
    /// Times outside are recorded as the bound. A step of the real-time clock can make any of them.
    const BOUNDS_NS: (u64, u64) = (1, 10_000_000_000);

    fn new() -> Result<Residence, hdrhistogram::CreationError> {
        let (low, high) = Self::BOUNDS_NS;
        Ok(Residence { histogram: Histogram::new_with_bounds(low, high, 2)?, sum_ns: 0, longest_ns: 0 })
    }

    /// Records one packet. Both times are of the real-time clock; allocates nothing.
    pub(crate) fn record(&mut self, received_ns: u64, sent_ns: u64) {
        let (low, high) = Self::BOUNDS_NS;
        let ns = sent_ns.saturating_sub(received_ns).clamp(low, high);
        self.histogram.saturating_record(ns);
        self.sum_ns = self.sum_ns.wrapping_add(ns);
        self.longest_ns = self.longest_ns.max(ns);
    }

    /// The longest time recorded since this was last asked; 0 for none.
    pub(crate) fn take_longest(&mut self) -> u64 {
        std::mem::take(&mut self.longest_ns)
    }

    /// How many packets were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The sum of all recorded times, in seconds.
    pub(crate) fn sum_seconds(&self) -> f64 {
        self.sum_ns as f64 / 1e9
    }

    /// How many packets fall below each of the ascending bounds and above the one before; the last count
    /// is of those above all bounds.
    pub(crate) fn buckets<const N: usize>(&self, bounds_ns: &[u64; N]) -> ([u64; N], u64) {
        let (mut counts, mut above, mut bucket) = ([0; N], 0, 0);
        for value in self.histogram.iter_recorded() {
            while bucket < N && value.value_iterated_to() > bounds_ns[bucket] {
                bucket += 1;
            }
            match counts.get_mut(bucket) {
                Some(count) => *count += value.count_at_value(),
                None => above += value.count_at_value(),
            }
        }
        (counts, above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_add_up_and_keep_to_their_bounds() {
        let mut residence = Residence::new().unwrap();
        for (received, sent) in [(1_000, 1_400), (1_000, 1_900), (1_000, 5_000), (0, 1_000_000), (0, u64::MAX)] {
            residence.record(received, sent);
        }
        let (counts, above) = residence.buckets(&[1_000, 10_000, 2_000_000]);
        assert_eq!((counts, above), ([2, 1, 1], 1));
        assert_eq!(residence.count(), 5);
    }

    #[test]
    fn the_longest_time_is_taken_once() {
        let mut residence = Residence::new().unwrap();
        [400, 900, 700].iter().for_each(|ns| residence.record(1_000, 1_000 + ns));
        assert_eq!([residence.take_longest(), residence.take_longest()], [900, 0]);
    }

    #[test]
    fn a_clock_that_steps_back_is_recorded_as_the_shortest_time() {
        let mut residence = Residence::new().unwrap();
        residence.record(2_000_000_000, 1_000_000_000);
        assert_eq!(residence.buckets(&[1_000]), ([1], 0));
        assert_eq!(residence.sum_seconds(), 1e-9);
    }

    #[test]
    fn every_reason_counts_for_itself_under_its_own_name() {
        let mut tally = Tally::new().unwrap();
        for (index, reason) in KernelDrop::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
            (0..=index).for_each(|_| tally.drop(reason));
        }
        let counted: Vec<u64> = KernelDrop::ALL.into_iter().map(|reason| tally.dropped(reason)).collect();
        assert_eq!(counted, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        let mut names: Vec<&str> = KernelDrop::ALL.into_iter().map(KernelDrop::as_str).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KernelDrop::ALL.len());
    }
}
