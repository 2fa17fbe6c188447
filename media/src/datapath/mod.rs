//! Datapaths: how datagrams get from the kernel to the relay and back, in batches.
//!
//! This module and those below it are the only place of the crate with `unsafe` code. A datapath belongs to
//! one shard and never leaves its thread. It knows sockets and buffers; which packet goes where is the
//! relay's decision, asked through a closure.
#![allow(unsafe_code)]

mod address;
pub(crate) mod af_xdp;
mod control_message;
pub(crate) mod epoll;
pub(crate) mod offload;
mod outward;
mod socket;
mod tally;
pub(crate) mod uring;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use moorline_relay::{EndpointId, Outgoing, Ports, Relay, Verdict};
use moorline_xdp::Lookup;

pub(crate) use outward::NextHops;
pub(crate) use socket::MediaRange;
pub(crate) use tally::{KernelDrop, Tally};

/// The largest datagram that is relayed; a longer one is dropped and counted as truncated. Media stays
/// below an Ethernet frame of 1,500 bytes.
pub(crate) const MAX_DATAGRAM: usize = 2048;

/// The longest packet that is made here.
pub(crate) const MAX_MADE: usize = Relay::LONGEST_PLAYED;

const _: () = assert!(MAX_MADE <= MAX_DATAGRAM);

/// The most packets of one batch: bounds how long control messages wait behind media.
pub(crate) const BATCH: usize = 256;

/// A received datagram.
pub(crate) struct Packet<'a> {
    /// The local port that it came to.
    pub(crate) endpoint: EndpointId,
    /// Where it came from.
    pub(crate) source: SocketAddr,
    /// Its bytes, without IP and UDP headers.
    pub(crate) payload: &'a [u8],
}

/// Who decides about packets; a closure does, if it needs no hint.
pub(crate) trait Judge {
    /// What becomes of a packet.
    fn verdict(&mut self, packet: Packet<'_>) -> Verdict;

    /// A packet to this port will be judged soon: has the memory loaded that this takes, and waits for nothing. Answers
    /// the port that it will likely leave by.
    fn expect(&mut self, port: EndpointId) -> EndpointId {
        port
    }
}

impl<F: FnMut(Packet<'_>) -> Verdict> Judge for F {
    fn verdict(&mut self, packet: Packet<'_>) -> Verdict {
        self(packet)
    }
}

/// The sockets of one shard.
///
/// Driving order: [`relay`](Self::relay), and [`emit`](Self::emit) where something is due, until they answer 0, then [`sleep`](Self::sleep), and again.
/// `bind` and `unbind` come between these, never inside, and [`settle`](Self::settle) after them.
pub(crate) trait Datapath: Ports + Sized {
    /// The name in the configuration, in the hello and in metrics.
    const NAME: &'static str;

    /// Makes the datapath on the thread that will drive it.
    ///
    /// # Errors
    /// What the system lacks.
    fn new(setup: Setup) -> io::Result<Self>;

    /// Takes one bounded batch of what has been received, asks `judge` about each packet in order of
    /// arrival, and has sent all that was to be forwarded when it returns. Answers how much there was to
    /// do; 0 means that nothing waits.
    ///
    /// # Errors
    /// Only what makes the datapath unusable; a packet that cannot be sent is counted in `tally`.
    fn relay(&mut self, tally: &mut Tally, judge: &mut impl Judge) -> io::Result<usize>;

    /// Sends packets that are made here: `next` writes one into the room that it is given, of [`MAX_MADE`] bytes, until
    /// it has none or the batch is full. They have been sent when it returns. Answers how many there were.
    ///
    /// # Errors
    /// As [`relay`](Self::relay).
    fn emit(&mut self, tally: &mut Tally, next: impl FnMut(&mut [u8]) -> Option<Outgoing>) -> io::Result<usize>;

    /// Whether packets wait, as far as that can be told without a system call; a datapath that cannot tell says
    /// that some do.
    fn waiting(&mut self) -> bool {
        true
    }

    /// Brings up to date what the kernel counts by itself.
    fn count(&mut self, _tally: &mut Tally) {}

    /// Sleeps until there is something to relay, the wake-up descriptor is written, or `limit` has passed.
    ///
    /// # Errors
    /// Only what makes the datapath unusable.
    fn sleep(&mut self, limit: Duration) -> io::Result<()>;

    /// Asks the kernel to look into the network card's queue itself, for so long, before it puts the shard to sleep.
    /// A datapath or a kernel that cannot does not.
    fn busy_poll(&mut self, micros: u32) {
        let _ = micros;
    }

    /// Lets go of the ports unbound so far: others can bind them when this returns. A datapath may do so
    /// earlier.
    ///
    /// # Errors
    /// Only what makes the datapath unusable.
    fn settle(&mut self) -> io::Result<()>;
}

/// What a datapath is made of.
pub(crate) struct Setup {
    /// The bound on endpoint numbers.
    pub(crate) endpoints: usize,
    /// An event descriptor that others write to end a sleep.
    pub(crate) wake: OwnedFd,
    /// The media ranges, in the order of the configuration.
    pub(crate) ranges: Vec<MediaRange>,
    /// Where one socket serves all ports: the lookup program that sees to that, made for the same ranges, and the
    /// number of this shard.
    pub(crate) shared: Option<(Arc<Lookup>, u16)>,
    /// What io_uring with shared sockets takes to send past the kernel's routing.
    pub(crate) direct: Option<NextHops>,
    /// What AF_XDP takes beside that.
    pub(crate) af_xdp: Option<af_xdp::Plan>,
}

#[cfg(test)]
mod tests;
