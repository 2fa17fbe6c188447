//! A shard: one pinned thread with its own relay, datapath and figures.
//!
//! Nothing of a shard is shared but its mailbox. Every turn relays a bounded batch of packets, reads a
//! bounded slice of mail and does a bounded slice of what is due, so that none of them can starve media.

pub(crate) mod clock;
mod mailbox;
mod start;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use moorline_control::{Event, MAX_FRAME, RefusalCode, Reply, Request};
use moorline_relay::{Counters, Owner, Relay};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::datapath::{Datapath, Tally};

pub(crate) use mailbox::{Answer, Letter, Mailbox};
pub(crate) use start::{Exit, Plan, ShardLink, start};

/// Letters read in one turn: opening a session binds four sockets, some tens of microseconds.
const MAIL_SLICE: usize = 16;
/// The longest sleep.
const IDLE: Duration = Duration::from_secs(1);
/// The sleep while a letter is held, or the control side is behind with the events.
const PAUSE: Duration = Duration::from_millis(5);
/// After a start, sessions come back on the ports that a dead predecessor had, and the kernel takes some tens
/// of milliseconds to close the sockets of a killed process's ring. During this time...
const RESTORING_NS: u64 = 5_000_000_000;
/// ...a request for ports that are still taken is held this long, and all letters behind it with it.
const HOLD_NS: u64 = 1_000_000_000;
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
    /// A letter to be tried again, before any other is read, and until when.
    held: Option<(Letter, u64)>,
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
            }
            // While events wait no letter is read: an answer must not overtake the end of its session.
            let backlog = !self.say_events();
            let read = if backlog { 0 } else { self.read_mail(now) };
            if relayed == 0 && read == 0 {
                self.sleep(backlog || self.held.is_some())?;
            }
        }
        Ok(())
    }

    /// Reads a slice of the mail; answers how many letters are done with.
    fn read_mail(&mut self, now: u64) -> usize {
        for read in 0..MAIL_SLICE {
            let (letter, hold_until) = match self.held.take() {
                Some(held) => held,
                None => match self.mailbox.read() {
                    Some(letter) => (letter, now + HOLD_NS),
                    None => return read,
                },
            };
            match letter {
                Letter::Request { owner, request, answer } => {
                    let restoring = now < (self.started_ns + RESTORING_NS).min(hold_until) && asks_for_ports(&request);
                    let again = restoring.then(|| request.clone());
                    let reply = self.answer(now, owner, request);
                    if let (Some(request), Reply::Refused(refusal)) = (again, &reply)
                        && refusal.code == RefusalCode::PortTaken
                    {
                        self.held = Some((Letter::Request { owner, request, answer }, hold_until));
                        return read;
                    }
                    self.sequence += 1;
                    // A connection that has ended takes no answer.
                    let _ = answer.send(Answer { sequence: self.sequence, reply });
                }
                Letter::Release { owner, lease_ns } => self.relay.release(now, owner, lease_ns),
                Letter::Scrape(answer) => {
                    let (shard, counters, tally) = (self.index, *self.relay.counters(), self.tally.clone());
                    let _ = answer.send(Box::new(Snapshot { shard, counters, tally }));
                }
            }
        }
        MAIL_SLICE
    }

    fn answer(&mut self, now: u64, owner: Owner, request: Request) -> Reply {
        let ports = &mut self.datapath;
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
        loop {
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
    }

    /// Sleeps until something comes or is due; with mail waiting only if `paused`, and then not long.
    fn sleep(&mut self, paused: bool) -> io::Result<()> {
        let longest = if paused { PAUSE } else { IDLE };
        let now = clock::monotonic_ns();
        let due = self.relay.next_timeout().map_or(longest, |due| Duration::from_nanos(due.saturating_sub(now)));
        let limit = longest.min(due);
        if !limit.is_zero() && (self.mailbox.fall_asleep() || paused) {
            self.datapath.sleep(limit)?;
            self.tally.wakeups += 1;
        }
        self.mailbox.wake_up();
        Ok(())
    }
}

/// The session was on these ports before: no others will do.
fn asks_for_ports(request: &Request) -> bool {
    let Request::Open { spec, .. } = request else { return false };
    spec.legs.iter().flat_map(|leg| &leg.streams).any(|stream| stream.local.is_some())
}
