//! Next hops: what the kernel would do with a packet from a local media address to a remote one, known without asking
//! it for every packet.
//!
//! Who sends packets past the kernel's routing, the XDP program and AF_XDP, needs the interface, the two MAC addresses
//! and the VLAN tag that the kernel would have used. A thread of this module asks the kernel once for every pair of
//! addresses, follows what changes (links, routes, rules, neighbours) and writes the answers, *hops*, to numbered
//! places: to a table in memory that any thread reads, and to a [`HopTable`], the program's. It also keeps the
//! neighbours of hops in use alive, since the kernel does not see their traffic.
//!
//! A place is only changed so: first it is invalid, at least 10 ms later it is rewritten, then it is valid again.
//! Whoever looks at a place and sends at once never sends by half of an old hop and half of a new one.
//!
//! [`follow`] decides and knows no sockets, clocks or threads; `netlink` speaks with the kernel; `thread` joins them.
//! A packet that does not pass the kernel does not pass its firewall, netfilter, either: where that is to be heeded
//! ([`Firewall`]), and where the kernel would have encrypted a packet by an IPsec policy, the packet is left to it.

mod bell;
mod follow;
mod hops;
mod key;
mod metrics;
mod netlink;
mod slots;
mod thread;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crossbeam::queue::ArrayQueue;

use bell::Bell;
use key::Key;
use slots::Slots;

pub(crate) use hops::{Answer, Hops};
pub(crate) use metrics::HopFigures;
pub(crate) use slots::HopReader;

/// A way out of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NextHop {
    /// The index of the interface; below a VLAN device, of the one that it sits on.
    pub(crate) interface: u32,
    /// The MAC address to send from.
    pub(crate) source: [u8; 6],
    /// The MAC address to send to.
    pub(crate) destination: [u8; 6],
    /// The tag control information of the VLAN tag (IEEE 802.1Q): its number, and the priority if the VLAN device maps
    /// one. 0 is untagged.
    pub(crate) vlan: u16,
    /// The longest IP packet.
    pub(crate) mtu: u16,
}

/// Where hops are written beside the table in memory. The routes thread alone calls it.
pub(crate) trait HopTable: Send + Sync {
    /// The place is not valid from now on.
    fn clear(&self, hop: u32);

    /// Writes a place that has not been valid for 10 ms, and makes it valid after that. False if it could not: it is
    /// tried again.
    fn write(&self, hop: u32, next: &NextHop) -> bool;

    /// Whether the place is valid: a table can outlive the process that wrote it.
    fn valid(&self, hop: u32) -> bool;

    /// Whether packets can be sent by this interface.
    fn serves(&self, interface: u32) -> bool {
        let _ = interface;
        true
    }
}

/// How packets of a media range leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outward {
    /// By this interface only.
    pub(crate) interface: Option<String>,
    /// The octet of the IP header with the code point (RFC 2474 section 3): routing rules may look at it.
    pub(crate) traffic_class: u8,
}

/// What a firewall of the host means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firewall {
    /// Where there is one, the kernel sends everything.
    Heeded,
    /// Packets go past it.
    Ignored,
}

/// Why the kernel has to send packets itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Reason {
    /// The destination is an address of this host.
    Local,
    /// There is no route to it from this source.
    NoRoute,
    /// It is a broadcast or multicast address.
    NotUnicast,
    /// The route encapsulates packets (MPLS, segment routing and the like).
    Encapsulated,
    /// An IPsec policy may apply.
    Encrypted,
    /// The host has a firewall, which is to see what is sent.
    Firewall,
    /// A routing rule looks at more than addresses: ports or firewall marks.
    Policy,
    /// The interface of the media range is not there.
    NoInterface,
    /// The interface is not one that frames can be put on: a tunnel, a bridge, a VLAN in a VLAN.
    Device,
    /// The interface is down or has no carrier.
    Down,
    /// The neighbour's MAC address is not known.
    Unresolved,
    /// There is no place left for another hop.
    Full,
    /// The kernel has not answered, or refused to.
    Unknown,
}

impl Reason {
    pub(crate) const ALL: [Reason; 13] = [
        Reason::Local,
        Reason::NoRoute,
        Reason::NotUnicast,
        Reason::Encapsulated,
        Reason::Encrypted,
        Reason::Firewall,
        Reason::Policy,
        Reason::NoInterface,
        Reason::Device,
        Reason::Down,
        Reason::Unresolved,
        Reason::Full,
        Reason::Unknown,
    ];

    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Reason::Local => "local",
            Reason::NoRoute => "no_route",
            Reason::NotUnicast => "not_unicast",
            Reason::Encapsulated => "encapsulated",
            Reason::Encrypted => "encrypted",
            Reason::Firewall => "firewall",
            Reason::Policy => "policy",
            Reason::NoInterface => "no_interface",
            Reason::Device => "device",
            Reason::Down => "down",
            Reason::Unresolved => "unresolved",
            Reason::Full => "full",
            Reason::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Local => "the destination is an address of this host",
            Reason::NoRoute => "there is no route to it from this address",
            Reason::NotUnicast => "it is a broadcast or multicast address",
            Reason::Encapsulated => "its route encapsulates packets",
            Reason::Encrypted => "an IPsec policy may apply",
            Reason::Firewall => "the host has a firewall",
            Reason::Policy => "a routing rule looks at ports or marks",
            Reason::NoInterface => "the interface of the media range is not there",
            Reason::Device => "the interface takes no frames past the kernel",
            Reason::Down => "the interface is down",
            Reason::Unresolved => "the MAC address of the neighbour is not known",
            Reason::Full => "the table of next hops is full",
            Reason::Unknown => "the kernel has not answered",
        })
    }
}

/// What the routes thread has done, ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Figures {
    /// Hops that were asked for and not let go of.
    pub(crate) followed: u64,
    /// Of these, valid.
    pub(crate) valid: u64,
    /// Routes asked of the kernel.
    pub(crate) questions: u64,
    /// Neighbours that the kernel was told are in use.
    pub(crate) kept_alive: u64,
    /// Hops that became invalid while they were followed.
    pub(crate) changes: u64,
    /// How often the kernel's events were lost, and all was read anew.
    pub(crate) lost_events: u64,
}

/// Whether the host has a firewall; what cannot be known counts as one.
pub(crate) fn has_firewall() -> bool {
    netlink::Kernel::open(Firewall::Heeded).and_then(|mut kernel| kernel.rules()).map_or(true, |rules| rules.firewall)
}

/// What the thread and the others share.
struct Shared {
    slots: Slots,
    bell: Bell,
    /// One of each [`Hops`]; locked when one is made, and by the thread.
    orders: Mutex<Vec<Arc<ArrayQueue<Order>>>>,
    stopping: AtomicBool,
    figures: [AtomicU64; FIGURES],
}

const FIGURES: usize = 6;

/// What a shard tells the thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Follow this pair of addresses in this place.
    Follow { hop: u32, key: Key },
    /// The place is used no more.
    Leave { hop: u32 },
}

/// The running thread. Dropped, it ends, and a [`HopTable`] is left as it is: flows go on by it until the next process
/// takes over.
pub(crate) struct Routes {
    shared: Arc<Shared>,
    capacity: u32,
    given: u32,
    thread: Option<JoinHandle<()>>,
}

impl Routes {
    /// Starts the thread, in the network namespace of the caller's thread, with `capacity` places for the media ranges
    /// `ranges`. Returns when links, neighbours and rules have been read.
    ///
    /// # Errors
    /// The kernel's reason.
    pub(crate) fn start(
        ranges: Vec<Outward>,
        capacity: u32,
        table: Option<Arc<dyn HopTable>>,
        firewall: Firewall,
    ) -> io::Result<Routes> {
        Routes::start_with(ranges, capacity, table, firewall, None)
    }

    /// With room for so many bytes of events; `None` is enough.
    fn start_with(
        ranges: Vec<Outward>,
        capacity: u32,
        table: Option<Arc<dyn HopTable>>,
        firewall: Firewall,
        receive_buffer: Option<usize>,
    ) -> io::Result<Routes> {
        let shared = Arc::new(Shared {
            slots: Slots::new(capacity),
            bell: Bell::new()?,
            orders: Mutex::default(),
            stopping: AtomicBool::new(false),
            figures: Default::default(),
        });
        let thread = thread::start(Arc::clone(&shared), ranges, table, firewall, receive_buffer)?;
        Ok(Routes { shared, capacity, given: 0, thread: Some(thread) })
    }

    /// A shard's end, with so many places of its own, or as many as are left.
    pub(crate) fn share(&mut self, hops: u32) -> Hops {
        let places = hops.min(self.capacity - self.given);
        // Number 0 is nobody's.
        let first = self.given + 1;
        self.given += places;
        let orders = Arc::new(ArrayQueue::new(hops::orders(places)));
        self.shared.orders.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&orders));
        Hops::new(Arc::clone(&self.shared), orders, first, places)
    }

    /// What reads hops by their numbers, on any thread.
    pub(crate) fn reader(&self) -> HopReader {
        HopReader::new(Arc::clone(&self.shared))
    }

    /// Figures of the thread.
    #[cfg(test)]
    fn figures(&self) -> Figures {
        self.shared.figures()
    }
}

impl Shared {
    fn figures(&self) -> Figures {
        let [followed, valid, questions, kept_alive, changes, lost_events] =
            self.figures.each_ref().map(|figure| figure.load(Ordering::Relaxed));
        Figures { followed, valid, questions, kept_alive, changes, lost_events }
    }
}

impl Drop for Routes {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.bell.ring_anyway();
        if let Some(thread) = self.thread.take() {
            // What it would panic about has been logged.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests;
