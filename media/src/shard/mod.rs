//! A shard: one pinned thread with its own relay, datapath and figures.
//!
//! Nothing of a shard is shared but its mailbox. Every turn relays a bounded batch of packets, reads a
//! bounded slice of mail and does a bounded slice of what is due, so that none of them can starve media.

pub(crate) mod clock;
mod held;
mod mailbox;
mod start;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use moorline_control::{Event, MAX_FRAME, Reply, Request};
use moorline_relay::{Counters, Owner, Relay};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use crate::datapath::{Datapath, Tally};

use held::{Asked, Held, Told};

pub(crate) use mailbox::{Answer, Letter, Mailbox};
pub(crate) use start::{Exit, Plan, ShardLink, start};

/// Letters read in one turn: opening a session binds four sockets, some tens of microseconds.
const MAIL_SLICE: usize = 16;
/// The longest sleep.
const IDLE: Duration = Duration::from_secs(1);
/// The sleep while requests are held, or the control side is behind with the events.
const PAUSE: Duration = Duration::from_millis(5);
/// Bytes of a listing, so that its frame has room for the rest.
pub(crate) const LISTING_BYTES: usize = MAX_FRAME - 1024;

/// A shard's figures at one moment.
pub(crate) struct Snapshot {
    pub(crate) shard: u16,
    pub(crate) counters: Counters,
    pub(crate) tally: Tally,
}

/// An event on its way to the connection that owns the session.
pub(crate) struct Said {
    pub(crate) owner: Owner,
    pub(crate) event: Event,
    /// As [`Answer::sequence`].
    pub(crate) sequence: u64,
}

pub(crate) struct Shard<D> {
    index: u16,
    relay: Relay,
    datapath: D,
    tally: Tally,
    mailbox: Arc<Mailbox>,
    events: mpsc::Sender<Said>,
    sequence: u64,
    started_ns: u64,
    held: Held,
    /// The answers of this turn, in the order of the requests.
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
}

impl<D: Datapath> Shard<D> {
    /// Runs until the mailbox says stop.
    fn run(&mut self) -> io::Result<()> {
        while !self.mailbox.is_stopping() {
            let now = clock::monotonic_ns();
            let relay = &mut self.relay;
            let relayed = self
                .datapath
                .relay(&mut self.tally, |packet| relay.packet(now, packet.endpoint, packet.source, packet.payload))?;
            if self.relay.next_timeout().is_some_and(|due| due <= now) {
                self.relay.handle_timeout(now, &mut self.datapath);
                self.datapath.settle()?;
            }
            // While events wait no letter is read: an answer must not overtake the end of its session.
            let backlog = !self.say_events();
            let read = if backlog { 0 } else { self.try_held(now) + self.read_mail(now) };
            self.give_answers()?;
            if relayed == 0 && read == 0 {
                self.sleep(backlog)?;
            }
        }
        Ok(())
    }

    /// Reads a slice of the mail; answers how many letters were read.
    fn read_mail(&mut self, now: u64) -> usize {
        for read in 0..MAIL_SLICE {
            let Some(letter) = self.mailbox.read() else { return read };
            match letter {
                Letter::Request { owner, request, answer } => self.take(now, Asked { owner, request, answer }),
                Letter::Release { owner, lease_ns } => {
                    // Nothing may come in this owner's name afterwards.
                    self.give_up_held(now, owner);
                    self.relay.release(now, owner, lease_ns);
                }
                Letter::Scrape(answer) => {
                    let (shard, counters, tally) = (self.index, *self.relay.counters(), self.tally.clone());
                    let _ = answer.send(Box::new(Snapshot { shard, counters, tally }));
                }
            }
        }
        MAIL_SLICE
    }

    /// Gives the answers of a turn, once the ports of what it closed are let go of.
    fn give_answers(&mut self) -> io::Result<()> {
        if self.answers.is_empty() {
            return Ok(());
        }
        self.datapath.settle()?;
        // The last one first: a connection waits for the first of its answers, and finds all others with it, so
        // that it is woken once.
        while let Some((asker, answer)) = self.answers.pop() {
            // A connection that has ended takes no answer.
            let _ = asker.send(answer);
        }
        Ok(())
    }

    fn reply(&mut self, now: u64, owner: Owner, request: Request, ports_in_use: &mut bool) -> Reply {
        let ports = &mut Told { ports: &mut self.datapath, in_use: ports_in_use };
        let opened = match request {
            Request::Open { session, spec } => self.relay.open(now, owner, session, spec, ports),
            Request::Update { session, spec } => self.relay.update(now, session, spec, ports),
            Request::Claim { session } => self.relay.claim(now, owner, session),
            Request::Close { session } => return Reply::Closed(self.relay.close(now, session, ports)),
            Request::Query { session } => {
                return self.relay.query(now, session).map_or_else(Reply::Refused, Reply::Report);
            }
            Request::List { after } => return Reply::Listed(self.relay.list(after, LISTING_BYTES)),
        };
        opened.map_or_else(Reply::Refused, Reply::Opened)
    }

    /// Passes events on; false if some have to wait.
    fn say_events(&mut self) -> bool {
        // Most turns have none, and then the channel is left alone: another thread writes to it too.
        while self.relay.has_events() {
            let permit = match self.events.try_reserve() {
                Ok(permit) => permit,
                Err(TrySendError::Full(())) => return false,
                // The control side has ended, and the process with it.
                Err(TrySendError::Closed(())) => return true,
            };
            let Some((owner, event)) = self.relay.poll_event() else { return true };
            self.sequence += 1;
            permit.send(Said { owner, event, sequence: self.sequence });
        }
        true
    }

    /// Sleeps until something comes or is due. While the control side is behind mail may wait.
    fn sleep(&mut self, backlog: bool) -> io::Result<()> {
        let longest = if backlog || !self.held.is_empty() { PAUSE } else { IDLE };
        let now = clock::monotonic_ns();
        let due = self.relay.next_timeout().map_or(longest, |due| Duration::from_nanos(due.saturating_sub(now)));
        let limit = longest.min(due);
        if !limit.is_zero() && (self.mailbox.fall_asleep() || backlog) {
            self.datapath.sleep(limit)?;
            self.tally.wakeups += 1;
        }
        self.mailbox.wake_up();
        Ok(())
    }
}
