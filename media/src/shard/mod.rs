//! A shard: one pinned thread with its own relay, datapath and figures.
//!
//! Nothing of a shard is shared but its mailbox. Every turn relays a bounded batch of packets, sends what is to
//! be played, then does what is due, then reads mail: both in pieces of some microseconds, and with packets waiting only for a part of the time
//! that these took ([`slice`]), so that none of them can starve media, nor media them.

mod bell;
pub(crate) mod clock;
mod held;
mod mailbox;
mod slice;
mod start;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use moorline_control::{Event, LocalSession, MAX_FRAME, Refusal, Reply, Request};
use moorline_relay::{Announced, Closing, Counters, EndpointId, Owner, Relay, Verdict};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use crate::datapath::offload::Offloaded;
use crate::datapath::{Datapath, Judge, Packet, Tally};

use held::{Asked, Held, Told};
use slice::Slice;

pub(crate) use mailbox::{Answer, Letter, Mailbox};
pub(crate) use start::{Exit, Plan, ShardLink, start};

/// Answers given together, so that whoever waits for them is woken once.
const ANSWERS: usize = 16;
/// How long an answer waits for others.
const ANSWERS_WAIT_NS: u64 = 300_000;
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
    /// Of sessions that have ended, by media range.
    pub(crate) closing: Vec<(String, Closing)>,
    /// What was played, by announcement.
    pub(crate) announced: Vec<(String, Announced)>,
}

/// An event on its way to the connection that owns the session.
pub(crate) struct Said {
    pub(crate) owner: Owner,
    pub(crate) event: Event,
    /// As [`Answer::sequence`].
    pub(crate) sequence: u64,
}

/// A shard's own state. It is built, and so its memory is first touched, on the pinned thread: on the memory node of
/// its core.
///
/// On the packet path a shard writes to nothing that another thread reads or writes: relay, flows, tally and rings
/// are its own, and figures leave by copy. What it shares is touched once a turn or less. It reads the mailbox's
/// words (`letters`, which pads its two ends to lines of their own, and `stopping`), which others write when they
/// post; it writes the bell when it sleeps and wakes; the event channel and the answers' are used when there is
/// something to say. Of two shards, none touches what is the other's: each mailbox is an allocation of its own,
/// aligned to a pair of cache lines.
pub(crate) struct Shard<D> {
    index: u16,
    relay: Relay,
    datapath: D,
    /// Where flows are relayed in the network driver.
    offload: Option<Offloaded>,
    tally: Tally,
    mailbox: Arc<Mailbox>,
    events: mpsc::Sender<Said>,
    sequence: u64,
    started_ns: u64,
    held: Held,
    /// Answers to be given, in the order of the requests.
    answers: Vec<(oneshot::Sender<Answer>, Answer)>,
    /// When the first of them was made.
    answers_since: u64,
    /// How long a shard that has had packets looks for more before it sleeps.
    busy_poll_ns: u64,
    /// Until then, that is.
    awake_until: u64,
    /// Tells the time; a test's stands still.
    clock: fn() -> u64,
}

impl<D: Datapath> Shard<D> {
    /// Runs until the mailbox says stop.
    fn run(&mut self) -> io::Result<()> {
        while !self.mailbox.is_stopping() {
            let now = (self.clock)();
            let relayed = self.relay_packets(now)? + self.play(now)?;
            let mut slice = Slice::new(now);
            self.do_what_is_due(now, &mut slice)?;
            // While events wait no letter is read: an answer must not overtake the end of its session.
            let backlog = !self.say_events();
            let read = if backlog { 0 } else { self.try_held(now, &mut slice)? + self.read_mail(now, &mut slice)? };
            if backlog || self.answers.len() >= ANSWERS || now.saturating_sub(self.answers_since) >= ANSWERS_WAIT_NS {
                self.give_answers();
            }
            if relayed > 0 {
                self.awake_until = now.saturating_add(self.busy_poll_ns);
            }
            if relayed > 0 || read > 0 {
                continue;
            }
            if now < self.awake_until {
                std::hint::spin_loop();
            } else {
                self.sleep(backlog)?;
            }
        }
        Ok(())
    }

    /// Relays a batch of packets; answers how much there was to do.
    fn relay_packets(&mut self, now: u64) -> io::Result<usize> {
        let judge = &mut Judging { now, relay: &mut self.relay, offload: self.offload.as_mut() };
        let relayed = self.datapath.relay(&mut self.tally, judge)?;
        if let Some(offload) = &mut self.offload {
            // What was to be sent has been sent.
            offload.settle(now, &self.relay, &mut self.tally);
        }
        Ok(relayed)
    }

    /// Sends a batch of the packets of announcements that are due; answers how many.
    fn play(&mut self, now: u64) -> io::Result<usize> {
        if self.relay.next_play().is_none_or(|due| due > now) {
            return Ok(0);
        }
        let relay = &mut self.relay;
        self.datapath.emit(&mut self.tally, |room| relay.play(now, room))
    }

    /// Whether this turn has time for another piece of control work. A piece that released ports lets go of them
    /// first, so that this is a piece by itself too.
    fn goes_on(&mut self, slice: &Slice) -> io::Result<bool> {
        self.datapath.settle()?;
        Ok(slice.allows((self.clock)(), self.datapath.waiting()))
    }

    /// Lets leases, silence and rest end that are over, as far as the slice allows.
    fn do_what_is_due(&mut self, now: u64, slice: &mut Slice) -> io::Result<()> {
        while self.relay.next_timeout().is_some_and(|due| due <= now) {
            slice.begin(self.clock);
            let ports = &mut Told::new(&mut self.datapath, self.offload.as_mut());
            self.relay.handle_timeout(now, ports);
            if !self.goes_on(slice)? {
                break;
            }
        }
        Ok(())
    }

    /// Reads mail, as far as the slice allows; answers how many letters were read.
    fn read_mail(&mut self, now: u64, slice: &mut Slice) -> io::Result<usize> {
        let mut read = 0;
        loop {
            let Some(letter) = self.mailbox.read() else {
                self.give_answers();
                break;
            };
            slice.begin(self.clock);
            match letter {
                Letter::Request { owner, request, answer } => self.take(now, Asked { owner, request, answer }),
                Letter::Release { owner, lease_ns } => {
                    // Nothing may come in this owner's name afterwards.
                    self.give_up_held(now, owner);
                    self.relay.release(now, owner, lease_ns);
                }
                Letter::Scrape(answer) => {
                    self.datapath.count(&mut self.tally);
                    let (shard, counters, tally) = (self.index, *self.relay.counters(), self.tally.clone());
                    let closing =
                        self.relay.closing().map(|(range, closing)| (range.to_owned(), closing.clone())).collect();
                    let announced =
                        self.relay.announced().map(|(name, announced)| (name.to_owned(), announced)).collect();
                    let _ = answer.send(Box::new(Snapshot { shard, counters, tally, closing, announced }));
                }
            }
            read += 1;
            if !self.goes_on(slice)? {
                break;
            }
        }
        Ok(read)
    }

    /// Keeps an answer until it is given with others. The ports of what it closed have been let go of by then.
    fn keep(&mut self, now: u64, asker: oneshot::Sender<Answer>, reply: Reply) {
        if self.answers.is_empty() {
            self.answers_since = now;
        }
        self.sequence += 1;
        self.answers.push((asker, Answer { sequence: self.sequence, reply }));
    }

    fn give_answers(&mut self) {
        // The last one first: a connection waits for the first of its answers, and finds all others with it, so
        // that it is woken once.
        while let Some((asker, answer)) = self.answers.pop() {
            // A connection that has ended takes no answer.
            let _ = asker.send(answer);
        }
    }

    fn reply(&mut self, now: u64, owner: Owner, request: Request, ports_in_use: &mut bool) -> Reply {
        let ports = &mut Told::new(&mut self.datapath, self.offload.as_mut());
        let reply = match request {
            Request::Open { session, spec } => opened(self.relay.open(now, owner, session, spec, ports)),
            Request::Update { session, spec } => opened(self.relay.update(now, session, spec, ports)),
            Request::Claim { session } => opened(self.relay.claim(now, owner, session)),
            Request::Close { session } => Reply::Closed(self.relay.close(now, session, ports)),
            Request::Query { session } => {
                if let Some(offload) = &mut ports.offload {
                    self.relay.catch_up(session, *offload);
                }
                self.relay.query(now, session).map_or_else(Reply::Refused, Reply::Report)
            }
            Request::List { after } => Reply::Listed(self.relay.list(after, LISTING_BYTES)),
        };
        *ports_in_use |= ports.in_use;
        reply
    }

    /// Passes events on; false if some have to wait.
    fn say_events(&mut self) -> bool {
        // Most turns have none, and then the channel is left alone: another thread writes to it too.
        while self.relay.has_events() {
            // What was answered before comes before.
            self.give_answers();
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
        let now = (self.clock)();
        let drained = self.offload.as_ref().and_then(Offloaded::next_end);
        let due = self.relay.next_timeout().into_iter().chain(self.relay.next_play()).chain(drained).min();
        let due = due.map_or(longest, |due| Duration::from_nanos(due.saturating_sub(now)));
        let limit = longest.min(due);
        if !limit.is_zero() && (self.mailbox.fall_asleep() || backlog) {
            self.datapath.sleep(limit)?;
            self.tally.wakeups += 1;
        }
        self.mailbox.wake_up();
        Ok(())
    }
}

/// The relay and its time, as the judge of a batch of packets.
struct Judging<'a> {
    now: u64,
    relay: &'a mut Relay,
    offload: Option<&'a mut Offloaded>,
}

impl Judge for Judging<'_> {
    #[inline]
    fn verdict(&mut self, packet: Packet<'_>) -> Verdict {
        match &mut self.offload {
            None => self.relay.packet(self.now, packet.endpoint, packet.source, packet.payload),
            Some(offload) => offload.verdict(self.now, self.relay, packet),
        }
    }

    #[inline]
    fn expect(&mut self, port: EndpointId) -> EndpointId {
        self.relay.load(port)
    }
}

fn opened(local: Result<LocalSession, Refusal>) -> Reply {
    local.map_or_else(Reply::Refused, Reply::Opened)
}

#[cfg(test)]
mod tests;
