//! What the forwarding program (`xdp/program/forward.bpf.c`) and its loader share.
//!
//! A flow has two halves, each with one writer: [`Told`] is the process's, [`Seen`] the program's. All of a packet's
//! change that is known beforehand is worked out by the process, so that the program only copies and adds.

mod words;

use crate::lookup::Range;

/// Written into the lease: a program and a process of different versions share no tables.
pub const VERSION: u32 = 2;

/// The most neighbours that packets are relayed to.
pub const MAX_HOPS: usize = 1 << 16;
/// The most interfaces that the program is attached to.
pub const MAX_INTERFACES: usize = 16;
/// Places in the table of interfaces; one is looked for from `index % INTERFACE_PLACES` on.
pub const INTERFACE_PLACES: usize = 64;
/// How many places are looked at.
pub const INTERFACE_PROBES: usize = 4;
/// The most queues of an interface that AF_XDP sockets are registered for.
pub const MAX_QUEUES: u32 = 64;
/// A frame that is longer is not looked at: it may be in more than one buffer.
pub const MAX_FRAME: u32 = 1600;
/// The most flows: the number has 24 bits in a slot, and 0 is none.
pub const MAX_FLOWS: u32 = (1 << 24) - 2;

/// A lease that was not renewed for so long is over: the program passes everything.
pub const LEASE_NS: u64 = 5_000_000_000;
/// A flow that is to leave the driver leaves it at the first packet that comes so long after the one before: those of
/// one poll of the driver are sent at its end, and what went up must not overtake them. Without such a pause it leaves at
/// the end of the window that ceilings are counted in.
pub const GRACE_NS: u64 = 200_000;
/// For so long a flow that is not to be relayed goes on by the kernel, after its last packet by another shard's queue.
pub const SETTLE_NS: u64 = 10_000_000;
/// What went up by the kernel so long ago has been dealt with or is lost.
pub const IN_FLIGHT_NS: u64 = 1_000_000_000;
/// A packet after so long a pause tells something new, and goes up.
pub const PAUSE_NS: u64 = 500_000_000;
/// Ceilings are counted in windows of 2 to this power of nanoseconds: 268 ms.
pub const WINDOW_SHIFT: u32 = 28;
/// A step forward of so many sequence numbers or more is a jump (RFC 3550 A.1, MAX_DROPOUT), and goes up.
pub const MAX_DROPOUT: u16 = 3000;
/// A step back of so many or fewer is a late packet (RFC 3550 A.1, MAX_MISORDER).
pub const MAX_MISORDER: u16 = 100;

/// What the process wants of a flow, in [`Told::wish`].
pub mod wish {
    /// All packets go up, from now on.
    pub const UP: u16 = 0;
    /// Packets are relayed in the driver as soon as nothing is in flight elsewhere.
    pub const RELAY: u16 = 1;
    /// As `UP`, from the first packet on that comes [`GRACE_NS`](super::GRACE_NS) after the one before.
    pub const LEAVE: u16 = 2;
    /// As `RELAY`; but until [`Lease::drain_until`](super::Lease::drain_until), packets that would have to go up only
    /// because others are in flight are dropped, so that the flow can be taken over when those have been dealt with.
    pub const DRAIN: u16 = 3;
}

/// What a flow's packets must be and become. Written by the process only.
///
/// All sums are of 16-bit words as this machine loads them (RFC 1071 section 2 B).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C, align(64))]
pub struct Told {
    /// One of [`wish`]; written last.
    pub wish: u16,
    /// 4 or 6.
    pub version: u16,
    /// How many of this port's RTP packets that went up the process has dealt with, counted as [`Seen::passed`] is.
    pub armed: u32,
    /// Changes whenever anything changes but `wish`, `armed` and what follows `max_bytes`.
    pub epoch: u32,
    /// In network byte order.
    pub ssrc: [u8; 4],
    /// A bit for every payload type that may be relayed in the driver.
    pub payload_types: [u64; 2],
    /// Where packets come from; an IPv4 address as its four bytes, then zeros.
    pub source: [u8; 16],
    /// Where they are sent to, in the same form.
    pub to: [u8; 16],
    /// Where they are sent from, in the same form.
    pub from: [u8; 16],
    /// The port that they come from, in network byte order.
    pub source_port: [u8; 2],
    /// The most packets of a window.
    pub max_packets: u16,
    /// The ports that they are sent from and to, in network byte order.
    pub ports: [[u8; 2]; 2],
    /// The type of service, or traffic class, that they are sent with.
    pub tos: u8,
    /// Their time to live, or hop limit.
    pub ttl: u8,
    /// What is added to the complement of a UDP checksum: the new addresses and ports less the former ones.
    pub change: u16,
    /// The sum of an IPv4 header as it leaves, but for length, identification and fragment offset.
    pub header: u16,
    /// The sum of the UDP pseudo-header as it comes, but for the length.
    pub pseudo: u16,
    /// Which hop they are sent to.
    pub hop: u16,
    /// The sum of the UDP pseudo-header as it leaves, but for the length.
    pub pseudo_after: u16,
    /// Units of the RTP clock in a nanosecond, times 2^42, rounded up.
    pub clock_factor: u32,
    /// The most bytes of UDP payload of a window.
    pub max_bytes: u32,
    /// The highest sequence number, with cycles, that the program goes on from when it takes over.
    pub sequence: u32,
    /// Which of the latest 32 numbers came, the highest in the lowest bit.
    pub came: u32,
    /// The latest RTP timestamp.
    pub timestamp: u32,
    /// Arrival less timestamp of the latest packet with a new timestamp.
    pub transit: u32,
    /// The jitter, times 16.
    pub jitter: u32,
}

/// What the program has seen of a flow. Written by the program only, and never set back: who reads it keeps what it
/// read before and works with differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C, align(64))]
pub struct Seen {
    /// RTP packets of this port that went up; while it has a wish other than `UP`, those of the flow's source only.
    pub passed: u32,
    /// 1 while packets are relayed in the driver.
    pub relaying: u32,
    /// The epoch that they are, or were last, relayed by.
    pub epoch: u32,
    /// The highest sequence number, with cycles.
    pub sequence: u32,
    /// Packets relayed.
    pub packets: u64,
    /// Bytes of their UDP payload.
    pub bytes: u64,
    /// When the latest one came, by CLOCK_MONOTONIC.
    pub last_seen: u64,
    /// Sequence numbers passed over.
    pub skipped: u32,
    /// How often numbers were passed over.
    pub gaps: u32,
    /// Packets with an earlier number than the highest that had not come yet: each takes one of `skipped` back.
    pub late: u32,
    /// Packets whose number had come.
    pub duplicates: u32,
    /// Which of the latest 32 numbers came, the highest in the lowest bit.
    pub came: u32,
    /// The latest RTP timestamp.
    pub timestamp: u32,
    /// Arrival less timestamp of the latest packet with a new timestamp.
    pub transit: u32,
    /// Interarrival jitter in units of the clock, times 16 (RFC 3550 A.8).
    pub jitter: u32,
    /// The window that packets are counted in.
    pub window: u32,
    /// Packets in it.
    pub window_packets: u32,
    /// Bytes of UDP payload in it.
    pub window_bytes: u32,
    /// The most numbers passed over at once, in this epoch.
    pub longest_gap: u32,
    /// The longest time without a packet at which numbers were passed over, in this epoch.
    pub longest_gap_ns: u64,
    /// When the latest packet of `passed` went up, by CLOCK_MONOTONIC.
    pub up_at: u64,
    /// The first eight bytes of that packet's RTP header.
    pub last_up: [u8; 8],
    /// How often the program has taken over.
    pub takeovers: u32,
    /// Bytes of the latest relayed packet's UDP payload.
    pub length: u32,
    /// When the latest packet of `passed` went up by the kernel, not by an AF_XDP socket, by CLOCK_MONOTONIC.
    pub by_kernel_at: u64,
}

/// A flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Flow {
    /// The process's half.
    pub told: Told,
    /// The program's half.
    pub seen: Seen,
}

/// A neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Hop {
    /// 1 while packets may be relayed to it; written last.
    pub valid: u32,
    /// The index of the interface that it is reached by.
    pub interface: u32,
    /// That interface's place in the device map.
    pub device: u32,
    /// The longest IP packet.
    pub mtu: u16,
    /// The VLAN (802.1Q), or 0.
    pub vlan: u16,
    /// The outer VLAN (802.1ad), or 0.
    pub outer: u16,
    /// Its MAC address.
    pub destination: [u8; 6],
    /// The interface's MAC address.
    pub source: [u8; 6],
    /// Zero.
    pub padding: u16,
}

/// Who tells the program what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Lease {
    /// [`VERSION`].
    pub version: u32,
    /// The process.
    pub pid: u32,
    /// When it was renewed last, by CLOCK_MONOTONIC.
    pub beat: u64,
    /// That time's whole seconds, which the program reckons the arrival of packets from.
    pub second: u64,
    /// Until when flows are drained that are to be, by CLOCK_MONOTONIC.
    pub drain_until: u64,
    /// 1 if a flow is relayed only while it comes by a queue whose AF_XDP socket is not its shard's.
    pub foreign: u32,
    /// Zero.
    pub zero: u32,
    /// Zero.
    pub padding: [u64; 3],
}

/// An interface that the program is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Interface {
    /// Its index, or 0 for a free place.
    pub index: u32,
    /// Its place in the device map; AF_XDP sockets are at `slot * MAX_QUEUES + queue`.
    pub slot: u32,
    /// 1 if the program is attached in generic mode, where the kernel completes partial checksums later.
    pub generic: u32,
    /// Zero.
    pub padding: [u32; 13],
    /// For each queue 0, or the shard of its socket and 1.
    pub shards: [u8; MAX_QUEUES as usize],
}

/// Why a packet was passed up, as an index into [`Counts::passed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Reason {
    /// No plain UDP: another protocol, fragments, options, extension headers, truncated, more than one buffer.
    Other = 0,
    /// No media port, or by another interface than its own.
    Elsewhere = 1,
    /// The port is closed.
    Closed = 2,
    /// The port is open, without a flow.
    Flowless = 3,
    /// RTCP, STUN and all that is not RTP.
    NotRtp = 4,
    /// The lease is over.
    Lease = 5,
    /// The process wants the flow's packets.
    Unwished = 6,
    /// The flow's next hop is not known at present.
    Hop = 7,
    /// From elsewhere than the flow's source.
    Source = 8,
    /// Of another synchronization source.
    Ssrc = 9,
    /// Of a payload type that is not relayed in the driver.
    PayloadType = 10,
    /// A wrong checksum or length.
    Malformed = 11,
    /// Too long for the hop.
    TooLong = 12,
    /// Above the flow's ceilings.
    Ceiling = 13,
    /// After a pause, or a jump in the sequence numbers.
    Unusual = 14,
    /// Packets that went up before are still in flight.
    Unarmed = 15,
    /// Of a flow that is relayed only while it comes by another shard's queue, by a queue of its own shard.
    OwnQueue = 16,
}

/// How many [`Reason`]s there are.
pub const REASONS: usize = 17;
/// How many buckets the histogram of residence has: 64 of 16 ns, 60 of 256 ns from 1,024 ns on, 60 of 4,096 ns from
/// 16,384 ns on, and one for all from 262,144 ns on.
pub const RESIDENCE_BUCKETS: usize = 64 + 60 + 60 + 1;
/// One of so many packets of a flow is timed.
pub const RESIDENCE_EVERY: u64 = 16;

/// Figures of one CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// Packets relayed in the driver.
    pub relayed: u64,
    /// Packets handed to an AF_XDP socket; they are in `passed` too.
    pub steered: u64,
    /// Packets above the ceiling of their port, which no AF_XDP socket got; they are in `passed` too.
    pub flooded: u64,
    /// Packets dropped of flows that are drained; they are not in `passed`.
    pub drained: u64,
    /// Packets passed up, by [`Reason`].
    pub passed: [u64; REASONS],
    /// How long relayed packets were in the program, by bucket.
    pub residence: [u64; RESIDENCE_BUCKETS],
}

/// An entry of the slot table. The process writes the word; the program writes the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[repr(C)]
pub struct Port {
    /// See [`Slot::word`].
    pub word: u32,
    /// The window that steered packets are counted in.
    pub window: u16,
    /// Steered packets in this window.
    pub packets: u16,
}

/// What the process writes of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slot {
    /// Whose port it is: packets that go up are steered to this shard's AF_XDP sockets.
    pub shard: Option<u8>,
    /// Its flow.
    pub flow: Option<u32>,
}

impl Slot {
    /// As a word: the flow and 1 in the lower 24 bits, the shard and 1 above.
    pub const fn word(self) -> u32 {
        let flow = match self.flow {
            Some(flow) if flow < MAX_FLOWS => flow + 1,
            _ => 0,
        };
        let shard = match self.shard {
            Some(shard) => (shard as u32 + 1) & 0xff,
            None => 0,
        };
        shard << 24 | flow
    }

    /// From a word.
    pub const fn of(word: u32) -> Slot {
        let (flow, shard) = (word & 0x00ff_ffff, word >> 24);
        Slot {
            shard: if shard == 0 { None } else { Some((shard - 1) as u8) },
            flow: if flow == 0 { None } else { Some(flow - 1) },
        }
    }
}

/// Whether a datagram is RTP as the program counts it: version 2 of RTP, at least its header, and no RTCP (RFC 5761
/// section 4).
#[inline]
pub const fn is_rtp(datagram: &[u8]) -> bool {
    datagram.len() >= 12 && datagram[0] >> 6 == 2 && !matches!(datagram[1], 192..=223)
}

/// A range as the program has it: its last word is the VLANs that packets of its interface come with, the outer in the
/// upper half, the inner or only one in the lower.
pub fn range_words(range: &Range, tags: u32) -> [u32; size_of::<Range>() / 4] {
    let mut words = range.words();
    if let Some(last) = words.last_mut() {
        *last = tags;
    }
    words
}

// The layouts that the program is compiled against.
const _: () = {
    use core::mem::offset_of;
    assert!(size_of::<Told>() == 128 && size_of::<Seen>() == 128 && size_of::<Flow>() == 256);
    assert!(offset_of!(Flow, seen) == 128);
    assert!(offset_of!(Told, payload_types) == 16 && offset_of!(Told, source) == 32 && offset_of!(Told, to) == 48);
    assert!(offset_of!(Told, from) == 64 && offset_of!(Told, source_port) == 80 && offset_of!(Told, ports) == 84);
    assert!(offset_of!(Told, tos) == 88 && offset_of!(Told, header) == 92 && offset_of!(Told, hop) == 96);
    assert!(offset_of!(Told, clock_factor) == 100 && offset_of!(Told, jitter) == 124);
    assert!(offset_of!(Seen, packets) == 16 && offset_of!(Seen, skipped) == 40 && offset_of!(Seen, came) == 56);
    assert!(offset_of!(Seen, window) == 72 && offset_of!(Seen, longest_gap_ns) == 88 && offset_of!(Seen, up_at) == 96);
    assert!(offset_of!(Seen, last_up) == 104 && offset_of!(Seen, length) == 116);
    assert!(offset_of!(Seen, by_kernel_at) == 120);
    assert!(size_of::<Hop>() == 32 && offset_of!(Hop, mtu) == 12 && offset_of!(Hop, destination) == 18);
    assert!(size_of::<Lease>() == 64 && offset_of!(Lease, beat) == 8 && offset_of!(Lease, second) == 16);
    assert!(offset_of!(Lease, drain_until) == 24 && offset_of!(Lease, foreign) == 32);
    assert!(size_of::<Interface>() == 128 && offset_of!(Interface, shards) == 64);
    assert!(size_of::<Port>() == 8 && offset_of!(Port, window) == 4);
    assert!(size_of::<Counts>() == 8 * (4 + REASONS + RESIDENCE_BUCKETS) && Reason::OwnQueue as usize == REASONS - 1);
};

#[cfg(test)]
mod tests;
