//! The epoll datapath, for kernels without io_uring: readiness by mio, batches by `recvmmsg` and `sendmmsg`.
//!
//! Readiness is edge-triggered: a socket that became ready stays on the list until a receive has found it
//! empty. The list is added to before every batch, so that sockets take turns however busy one of them is. Sends of a batch are grouped by socket, in the order of reception within each, so packets of a
//! flow leave in order.

mod batch;
mod queue;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use moorline_relay::{BindError, EndpointId, Outgoing, Ports, Verdict};

use self::batch::{Inbox, Outbox, Queued};
use super::control_message::Lost;
use super::{BATCH, Datapath, Judge, KernelDrop, MediaRange, Packet, Setup, Tally, socket};
use crate::shard::clock;

/// The most packets taken from one socket before the others get their turn.
const BURST: usize = 16;
/// Readiness events fetched at once; the rest stay in the kernel.
const EVENTS: usize = 1024;
/// Sockets that are asked for what they lost, at each scrape.
const ASKED: usize = 512;
/// Above every endpoint number.
const WAKE: Token = Token(usize::MAX);

pub(crate) struct Epoll {
    poll: Poll,
    events: Events,
    slots: Vec<Option<Slot>>,
    /// Sockets that may hold packets, each at most once.
    ready: VecDeque<EndpointId>,
    /// A sleep has fetched readiness since the last batch.
    fetched: bool,
    ranges: Vec<MediaRange>,
    wake: OwnedFd,
    inbox: Inbox,
    outbox: Outbox,
    /// Lost by sockets that were closed since, and not in the tally yet.
    left: Left,
    /// The place that is asked next for what its socket lost.
    asked: usize,
}

/// What was in closed sockets.
#[derive(Debug, Default)]
struct Left {
    /// Packets for which they had no room.
    overflowed: u32,
    /// Packets that nobody had taken.
    unread: u64,
}

struct Slot {
    socket: OwnedFd,
    /// It is on the ready list.
    queued: bool,
    lost: Lost,
}

impl Datapath for Epoll {
    const NAME: &'static str = "epoll";

    fn new(setup: Setup) -> io::Result<Epoll> {
        let poll = Poll::new()?;
        poll.registry().register(&mut SourceFd(&setup.wake.as_raw_fd()), WAKE, Interest::READABLE)?;
        Ok(Epoll {
            poll,
            events: Events::with_capacity(EVENTS),
            slots: (0..setup.endpoints).map(|_| None).collect(),
            ready: VecDeque::with_capacity(setup.endpoints),
            fetched: false,
            ranges: setup.ranges,
            wake: setup.wake,
            inbox: Inbox::new(BATCH),
            outbox: Outbox::new(BATCH),
            left: Left::default(),
            asked: 0,
        })
    }

    fn relay(&mut self, tally: &mut Tally, judge: &mut impl Judge) -> io::Result<usize> {
        if !std::mem::take(&mut self.fetched) {
            self.fetch(Duration::ZERO)?;
        }
        let mut served = 0;
        while self.inbox.room() > 0 {
            let Some(endpoint) = self.ready.pop_front() else { break };
            let Some(slot) = self.slots.get_mut(endpoint.0 as usize).and_then(Option::as_mut) else { continue };
            served += 1;
            let wanted = self.inbox.room().min(BURST);
            let count = match self.inbox.receive(&slot.socket, endpoint, wanted) {
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => 0,
                Err(_) => {
                    tally.drop(KernelDrop::Receive);
                    0
                }
            };
            // Fewer than asked for: the socket is empty, and the next packet makes a new event.
            slot.queued = count == wanted;
            if slot.queued {
                self.ready.push_back(endpoint);
            }
        }

        for received in self.inbox.datagrams() {
            if let Some(slot) = self.slots.get_mut(received.endpoint.0 as usize).and_then(Option::as_mut) {
                tally.overflow(slot.lost.newly(&received.told));
            }
            if received.truncated {
                tally.drop(KernelDrop::Truncated);
                continue;
            }
            let Some(source) = received.source() else {
                tally.drop(KernelDrop::Receive);
                continue;
            };
            let packet = Packet { endpoint: received.endpoint, source, payload: received.payload };
            if let Verdict::Forward { from, to, traffic } = judge.verdict(packet) {
                let received_ns = Some(received.told.received_ns.unwrap_or_else(clock::realtime_ns));
                self.outbox.queue(Queued { from, index: received.index, to, traffic, received_ns });
            }
        }
        self.send(tally);
        Ok(served)
    }

    fn emit(&mut self, tally: &mut Tally, mut next: impl FnMut(&mut [u8]) -> Option<Outgoing>) -> io::Result<usize> {
        let mut count = 0;
        while let Some((index, made)) = self.inbox.make(|room| next(room).map(|made| (made, made.length))) {
            let Outgoing { from, to, traffic, .. } = made;
            self.outbox.queue(Queued { from, index, to, traffic, received_ns: None });
            count += 1;
        }
        self.send(tally);
        Ok(count)
    }

    fn count(&mut self, tally: &mut Tally) {
        let Left { overflowed, unread } = std::mem::take(&mut self.left);
        tally.overflow(overflowed);
        tally.closed(unread);
        // A packet tells of those that were lost before it. After the last one the socket is asked, some of them each time.
        for _ in 0..self.slots.len().min(ASKED) {
            self.asked = (self.asked + 1) % self.slots.len();
            if let Some(slot) = self.slots.get_mut(self.asked).and_then(Option::as_mut)
                && let Ok(queue) = queue::of(&slot.socket)
            {
                tally.overflow(slot.lost.newly_of(queue.overflowed));
            }
        }
    }

    fn sleep(&mut self, limit: Duration) -> io::Result<()> {
        self.fetched = true;
        self.fetch(limit)
    }

    fn settle(&mut self) -> io::Result<()> {
        // `unbind` has closed the sockets.
        Ok(())
    }
}

impl Epoll {
    /// Notes what is lost with a socket that is about to be closed.
    fn leave(&mut self, mut lost: Lost, socket: &OwnedFd) {
        let Ok(queue) = queue::of(socket) else { return };
        self.left.overflowed = self.left.overflowed.saturating_add(lost.newly_of(queue.overflowed));
        if queue.bytes > 0 {
            self.left.unread += queue::drain(socket);
        }
    }

    /// Sends what is queued out of the inbox, and empties that.
    fn send(&mut self, tally: &mut Tally) {
        let slots = &self.slots;
        let socket = |endpoint: EndpointId| Some(&slots.get(endpoint.0 as usize)?.as_ref()?.socket);
        self.outbox.send(&self.inbox, socket, tally);
        self.inbox.clear();
    }

    /// Waits up to `limit` for readiness and puts what is ready at the end of the list.
    fn fetch(&mut self, limit: Duration) -> io::Result<()> {
        match self.poll.poll(&mut self.events, Some(limit)) {
            Ok(()) => {}
            // The events of the last fetch are still there.
            Err(e) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(e) => return Err(e),
        }
        for event in &self.events {
            if event.token() == WAKE {
                // The count does not matter, only that it is back at 0.
                let _ = nix::unistd::read(&self.wake, &mut [0; 8]);
                continue;
            }
            let index = event.token().0;
            if let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut)
                && !slot.queued
            {
                slot.queued = true;
                self.ready.push_back(EndpointId(index as u32));
            }
        }
        Ok(())
    }
}

impl Ports for Epoll {
    fn bind(&mut self, endpoint: EndpointId, address: SocketAddr) -> Result<(), BindError> {
        let slot = self.slots.get_mut(endpoint.0 as usize).filter(|slot| slot.is_none());
        let slot = slot.ok_or(BindError::OutOfDescriptors)?;
        let socket = socket::open(address, &self.ranges)?;
        let token = Token(endpoint.0 as usize);
        self.poll
            .registry()
            .register(&mut SourceFd(&socket.as_raw_fd()), token, Interest::READABLE)
            .map_err(|e| BindError::System(format!("bind {address}: registering the socket: {e}")))?;
        *slot = Some(Slot { socket, queued: false, lost: Lost::default() });
        Ok(())
    }

    fn unbind(&mut self, endpoint: EndpointId) {
        let Some(slot) = self.slots.get_mut(endpoint.0 as usize).and_then(Option::take) else { return };
        if slot.queued {
            // A later socket of this endpoint starts off the list.
            self.ready.retain(|&ready| ready != endpoint);
        }
        self.leave(slot.lost, &slot.socket);
        // Closing the descriptor takes it out of the poll as well; it has no duplicate.
        drop(slot);
    }
}
