//! The io_uring datapath: multishot receives into one ring of provided buffers, and all sends of a batch go out
//! with one system call. Every port has a socket and a receive of its own, or one socket serves all ports of the
//! shard ([`shared`]).
//!
//! What keeps it sound and in order:
//! - a buffer goes back to the kernel only after the submit that sent its packet has returned. Sends carry
//!   `MSG_DONTWAIT`, so by then each has been carried out or has failed;
//! - sends are submitted in the order of reception, so packets of a flow leave in order;
//! - a completion names the generation of the bind that armed it ([`slots`]).

mod buffers;
mod completions;
mod outside;
mod probe;
mod shared;
mod slots;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, Fixed, Napi, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use moorline_relay::{BindError, EndpointId, Outgoing, Ports, Traffic};
use nix::sys::eventfd::EventFd;

use self::buffers::Buffers;
use self::completions::{Came, GROUP};
use self::probe::{builder, explain, register};
use self::shared::Shared;
use self::slots::{Slots, Token};
use super::address::{NAME_LEN, Name};
use super::control_message::{CONTROL_LEN, CONTROL_LEN_WITH_DESTINATION};
use super::{BATCH, Datapath, Judge, MAX_DATAGRAM, MAX_MADE, MediaRange, Setup, Tally, socket};
use crate::shard::clock;

pub(super) use outside::Sends;
pub(crate) use probe::probe;
pub(crate) use shared::packet_sockets;
pub(super) use shared::{checksum, fold, sum};

/// Receive buffers: 80 ms of 50,000 packets/s, while the shard does something else.
const BUFFERS: u16 = 4096;
/// What the kernel puts in front of the payload: its header, the source address, the control messages.
const PREFIX: usize = 16 + NAME_LEN + CONTROL_LEN_WITH_DESTINATION;
const BUFFER_SIZE: usize = (PREFIX + MAX_DATAGRAM).next_multiple_of(64);
const BUFFER_GROUP: u16 = 0;
/// Sends of a batch, receives armed again, and what control messages arm and cancel.
const SUBMISSIONS: u32 = 1024;
/// Every buffer may be in a completion at once, and failed sends and ended receives beside them.
const COMPLETIONS: u32 = 2 * BUFFERS as u32;
/// Sockets opened between two submits, four sessions': their descriptors count as open files until then.
const OPENED: usize = 16;
/// What empties a place of the file table.
static NO_FILE: RawFd = -1;
/// The receives that end in one system call: the kernel does some 20 pieces of work that it has put off.
const WORK_PER_CALL: usize = 16;
/// The calls beside those, for the work that packets make.
const SETTLE_CALLS: usize = 4;
/// How often a submit is tried again when the kernel is short of memory for it.
const SUBMIT_TRIES: u32 = 1000;
/// A receive that failed for no known reason is armed again after this pause, so that it cannot spin.
const REARM_PAUSE: Duration = Duration::from_millis(10);

const _: () = assert!(SUBMISSIONS as usize >= 2 * BATCH);
// The headers of a datagram are written over what the kernel put in front of its payload.
const _: () =
    assert!(PREFIX >= shared::ROOM && PREFIX >= super::outward::header::ROOM && BUFFER_SIZE <= u16::MAX as usize);

pub(crate) struct Uring {
    ring: IoUring,
    buffers: Buffers,
    /// Tells the kernel how much room the source and the control messages have, of IPv4 and of IPv6. Read by every
    /// armed receive, so it stays where it is.
    messages: Box<[libc::msghdr; 2]>,
    /// The ports' own sockets, where they have any.
    slots: Slots,
    ranges: Vec<MediaRange>,
    /// The shard's sockets for all ports, if these have none of their own.
    shared: Option<Shared>,
    wake: OwnedFd,
    batch: Batch,
    /// Descriptors on their way into the file table, since the submission queue was last empty. Never grows,
    /// so that the kernel can read them in place.
    opened: Vec<RawFd>,
    /// Ports released since the last [`settle`](Datapath::settle).
    closing: usize,
    /// Completions taken out of the queue behind which failed sends stood. No more than there are buffers, and
    /// receives to end.
    backlog: VecDeque<cqueue::Entry>,
    /// Receives that ended for want of buffers, to be armed again once buffers are back.
    ended: Vec<Token>,
    /// Receives that failed, to be armed again after a pause.
    failed: Vec<Token>,
    /// When the pause of those is over.
    rearm_at: u64,
    /// Tells of what comes by the ring where a sleep waits for other descriptors too.
    told: Option<EventFd>,
    /// Datagrams queued that came another way.
    outside: usize,
}

/// The working memory of one batch, allocated once.
struct Batch {
    completions: Vec<cqueue::Entry>,
    /// Packets that are being looked at together.
    came: Vec<Came>,
    /// Destinations of the sends. Never grows, so that the kernel can read them in place.
    names: Vec<Name>,
    /// The packets of the sends, in their order.
    forwarded: Vec<Forwarded>,
    /// Buffers to give back after the submit.
    used: Vec<u16>,
}

/// A packet that a send of the batch is for.
struct Forwarded {
    /// `None` once the send has failed, and for a packet that was made here.
    received_ns: Option<u64>,
    traffic: Traffic,
    bytes: u32,
    /// The buffer that it is sent from, and where in it, from its IP header on if headers are sent too.
    buffer: u16,
    begin: u16,
    length: u16,
}

impl Datapath for Uring {
    const NAME: &'static str = "io_uring";

    fn new(setup: Setup) -> io::Result<Uring> {
        Uring::beneath(setup)
    }

    fn relay(&mut self, tally: &mut Tally, judge: &mut impl Judge) -> io::Result<usize> {
        self.gather()?;
        self.relay_gathered(tally, judge)
    }

    fn emit(&mut self, tally: &mut Tally, mut next: impl FnMut(&mut [u8]) -> Option<Outgoing>) -> io::Result<usize> {
        let mut room = [0; MAX_MADE];
        let mut count = 0;
        while count < BATCH
            && let Some(Outgoing { from, to, length, traffic }) = next(&mut room)
        {
            self.queue(from, to, room.get(..length).unwrap_or_default(), None, traffic, tally)?;
            count += 1;
        }
        self.send_queued(tally)?;
        Ok(count)
    }

    fn count(&mut self, tally: &mut Tally) {
        if let Some(shared) = &self.shared {
            tally.flooded(shared.flooded());
            tally.direct = shared.sent_directly();
        }
    }

    fn waiting(&mut self) -> bool {
        // The kernel has put off the work of receiving, or done it.
        !self.batch.completions.is_empty()
            || !self.backlog.is_empty()
            || !self.ring.completion().is_empty()
            || self.ring.submission().taskrun()
    }

    fn sleep(&mut self, limit: Duration) -> io::Result<()> {
        let limit = if self.failed.is_empty() { limit } else { limit.min(REARM_PAUSE) };
        let limit = Timespec::from(limit);
        match self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit)) {
            Ok(_) => {}
            Err(e) if matches!(e.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {}
            Err(e) => return Err(e),
        }
        self.rearm_failed()
    }

    fn busy_poll(&mut self, micros: u32) {
        // Kernel 6.9. It does so where sockets know the queue that feeds them: a card with NAPI, not loopback.
        if let Err(error) = self.ring.submitter().register_napi(&mut Napi::new().set_busy_poll_timeout(micros)) {
            tracing::info!(%error, "the kernel does not poll the network card for io_uring");
        }
    }

    fn settle(&mut self) -> io::Result<()> {
        let closing = std::mem::take(&mut self.closing);
        if closing == 0 {
            return Ok(());
        }
        // The cancelled receives' last work lets go of the sockets, and so of the ports. It runs in the same
        // system call as the cancels, because that one asks for events; but a call does a bounded share of the
        // work, and packets make work as well.
        for _ in 0..SETTLE_CALLS + closing / WORK_PER_CALL {
            self.submit_with(EnterFlags::GETEVENTS)?;
            if !self.ring.submission().taskrun() {
                break;
            }
        }
        Ok(())
    }
}

impl Uring {
    /// With this many receive buffers, a power of two, and buffers beside them for datagrams that come another way.
    fn with_buffers(setup: Setup, buffers: u16, beside: u16) -> io::Result<Uring> {
        let ring = builder().setup_cqsize(COMPLETIONS).build(SUBMISSIONS).map_err(|e| explain("io_uring_setup", &e))?;
        let (shared, files) = match setup.shared {
            Some((lookup, shard)) => {
                let (shared, sockets) =
                    Shared::new(lookup, shard, setup.ranges.clone(), setup.endpoints, setup.direct)?;
                let descriptors: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
                // The table keeps them open; the descriptors close with `sockets`.
                ring.submitter().register_files(&descriptors).map_err(|e| explain("the file table", &e))?;
                (Some(shared), 0)
            }
            None => {
                let limit = crate::limits::file_table(crate::limits::open_files());
                let files = u32::try_from(limit.min(setup.endpoints as u64)).unwrap_or(u32::MAX);
                ring.submitter().register_files_sparse(files).map_err(|e| explain("the file table", &e))?;
                (None, files)
            }
        };
        let buffers = Buffers::new(buffers, beside, BUFFER_SIZE);
        register(&ring, &buffers)?;
        // SAFETY: an all-zero msghdr is valid: null pointers with zero lengths.
        let mut messages: Box<[libc::msghdr; 2]> = Box::new(unsafe { std::mem::zeroed() });
        let control_length = if shared.is_some() { CONTROL_LEN_WITH_DESTINATION } else { CONTROL_LEN };
        for message in messages.iter_mut() {
            message.msg_namelen = NAME_LEN as libc::socklen_t;
            message.msg_controllen = control_length;
        }
        let mut uring = Uring {
            ring,
            buffers,
            messages,
            slots: Slots::new(setup.endpoints, files),
            ranges: setup.ranges,
            shared,
            wake: setup.wake,
            batch: Batch {
                completions: Vec::with_capacity(BATCH),
                came: Vec::with_capacity(GROUP),
                names: Vec::with_capacity(BATCH),
                forwarded: Vec::with_capacity(BATCH),
                used: Vec::with_capacity(BATCH),
            },
            opened: Vec::with_capacity(OPENED),
            closing: 0,
            backlog: VecDeque::with_capacity(COMPLETIONS as usize + setup.endpoints),
            ended: Vec::with_capacity(setup.endpoints),
            failed: Vec::with_capacity(setup.endpoints),
            rearm_at: 0,
            outside: 0,
            told: None,
        };
        uring.arm_wake()?;
        if uring.shared.is_some() {
            uring.arm(shared::receive(false))?;
            uring.arm(shared::receive(true))?;
        }
        uring.submit()?;
        Ok(uring)
    }

    /// Arms the receives that failed, once their pause is over: also on a shard that never sleeps.
    fn rearm_failed(&mut self) -> io::Result<()> {
        if self.failed.is_empty() || clock::monotonic_ns() < self.rearm_at {
            return Ok(());
        }
        while let Some(token) = self.failed.pop() {
            self.arm(token)?;
        }
        self.submit()
    }

    /// Arms the receive of an endpoint, unless it was closed in the meantime.
    fn arm(&mut self, token: Token) -> io::Result<()> {
        let Token::Receive { endpoint, generation } = token else { return Ok(()) };
        let file = match &self.shared {
            Some(_) => Some(endpoint.0),
            None => self.slots.file_of(endpoint, generation),
        };
        let Some(file) = file else { return Ok(()) };
        let message = &self.messages[self.message_of(endpoint)];
        let entry = opcode::RecvMsgMulti::new(Fixed(file), message, BUFFER_GROUP).build().user_data(token.encode());
        self.push(&entry)
    }

    /// Which of the messages a receive was armed with.
    fn message_of(&self, receive: EndpointId) -> usize {
        if self.shared.is_some() { usize::from(receive == shared::V6) } else { 0 }
    }

    /// Queues what puts a socket into the file table, arms its receive, and closes the descriptor: the table keeps
    /// the socket open, and sockets in it do not use up the limit of open files.
    fn register(&mut self, file: u32, receive: Token, socket: OwnedFd) -> io::Result<()> {
        // The caller has made room, so that no descriptor moves.
        debug_assert!(self.opened.len() < self.opened.capacity());
        // From here on the queue owns it.
        let descriptor = socket.into_raw_fd();
        self.opened.push(descriptor);
        let Some(in_place) = self.opened.last() else { return Ok(()) };
        let fill = update(file, in_place).user_data(Token::Files.encode());
        let close = opcode::Close::new(Fd(descriptor))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Token::Close.encode());
        self.push(&fill)?;
        self.arm(receive)?;
        self.push(&close)
    }

    fn arm_wake(&mut self) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(self.wake.as_raw_fd()), libc::POLLIN as u32)
            .multi(true)
            .build()
            .user_data(Token::Wake.encode());
        self.push(&entry)
    }

    fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.submit()?;
        }
        // SAFETY: what the entry points to outlives its operation. A send reads its payload and its name
        // during the submit that ends the batch, and both stay until after it. A receive reads `messages`,
        // and writes into `buffers`; both live until `drop` has cancelled every receive. An update of the file
        // table reads its descriptor during the submit: `NO_FILE`, or one of `opened`, which is cleared only
        // when the queue is empty.
        unsafe { self.ring.submission().push(entry) }.map_err(|_| io::Error::other("the submission queue is full"))
    }

    /// Submits all that is queued; when it returns without error nothing is. Work that the kernel has put off is done
    /// along with it.
    fn submit(&mut self) -> io::Result<()> {
        let queue = self.ring.submission();
        if queue.is_empty() && !queue.taskrun() && !queue.cq_overflow() {
            return Ok(());
        }
        drop(queue);
        self.submit_with(EnterFlags::empty())
    }

    /// As [`submit`](Self::submit), with work that the kernel has put off if `flags` ask for events.
    fn submit_with(&mut self, flags: EnterFlags) -> io::Result<()> {
        let mut tries = 0;
        loop {
            let outcome = if flags.is_empty() {
                self.ring.submitter().submit()
            } else {
                let queued = self.ring.submission().len() as u32;
                // SAFETY: `queued` entries are in the queue, and no argument is passed.
                unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, flags.bits(), None) }
            };
            let done = self.ring.submission().is_empty();
            match outcome {
                Ok(_) if done => return Ok(()),
                Ok(_) => {}
                Err(e) if matches!(e.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY)) => {
                    if done {
                        return Ok(());
                    }
                    tries += 1;
                    if tries > SUBMIT_TRIES {
                        return Err(e);
                    }
                    std::thread::yield_now();
                }
                Err(e) => return Err(e),
            }
        }
    }
}

impl Ports for Uring {
    fn bind(&mut self, endpoint: EndpointId, address: SocketAddr) -> Result<(), BindError> {
        if let Some(shared) = &mut self.shared {
            return shared.open(endpoint, address);
        }
        let fault = |e: io::Error| BindError::System(format!("bind {address}: registering the socket: {e}"));
        // The address may be one that was released and is not free yet.
        self.settle().map_err(fault)?;
        let socket = socket::open(address, &self.ranges)?;
        if self.ring.submission().is_empty() {
            self.opened.clear();
        } else if self.opened.len() == self.opened.capacity() {
            self.submit().map_err(fault)?;
            self.opened.clear();
        }
        let (file, token) = self.slots.open(endpoint).ok_or(BindError::OutOfDescriptors)?;
        if let Err(error) = self.register(file, token, socket) {
            self.slots.close(endpoint);
            return Err(fault(error));
        }
        Ok(())
    }

    fn unbind(&mut self, endpoint: EndpointId) {
        if let Some(shared) = &mut self.shared {
            return shared.close(endpoint);
        }
        let Some((file, token)) = self.slots.close(endpoint) else { return };
        let cancel = opcode::AsyncCancel2::new(CancelBuilder::user_data(token.encode()))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Token::Cancel.encode());
        let empty = update(file, &raw const NO_FILE).user_data(Token::Files.encode());
        // Queued entries are carried out in their order: a receive that is still queued is armed on the old
        // file and cancelled before the place in the table is emptied, and that before it is filled again.
        self.closing += 1;
        if let Err(error) = self.push(&cancel).and_then(|()| self.push(&empty)) {
            tracing::error!(endpoint = endpoint.0, %error, "io_uring did not let go of a port");
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        // Every receive ends before the buffers go. Nothing to cancel is no failure.
        let limit = Timespec::new().sec(1);
        let _ = self.submit();
        let _ = self.ring.submitter().register_sync_cancel(Some(limit), CancelBuilder::any());
        let _ = self.ring.submitter().unregister_buf_ring(BUFFER_GROUP);
        // Closes the sockets now; the kernel takes the ring itself apart some time after its descriptor is
        // closed, and a successor may want the same ports at once.
        let _ = self.ring.submitter().unregister_files();
        let _ = self.submit();
    }
}

/// Sets a place of the file table to the descriptor at `descriptor`.
fn update(file: u32, descriptor: *const RawFd) -> squeue::Entry {
    opcode::FilesUpdate::new(descriptor, 1).offset(file as i32).build().flags(squeue::Flags::SKIP_SUCCESS)
}

#[cfg(test)]
mod tests;
