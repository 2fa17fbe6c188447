//! The loop of the signaling thread: sockets, timers, and the phases of all calls.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use nix::poll::{PollTimeout, poll};

use super::call::{Call, GIVE_UP_NS, Phase, Side};
use super::message::{Message, Start};
use super::series::Recorder;
use super::socket::{Buffer, SipSocket};
use super::{Failure, Plan, Progress, Watch, callee, caller};
use crate::media::{Command, Counters};
use crate::{Histogram, clock};

mod ending;
mod requests;

/// The signaling part of a report.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) attempted: u32,
    pub(crate) answered: u32,
    pub(crate) completed: u32,
    pub(crate) cancelled: u32,
    pub(crate) failed: BTreeMap<Failure, u32>,
    pub(crate) reached: u32,
    pub(crate) strangers: u32,
    pub(crate) challenged: u32,
    pub(crate) waited: u32,
    pub(crate) most_active: u32,
    pub(crate) placing: Duration,
    pub(crate) retransmissions: u64,
    pub(crate) setup: Histogram,
    pub(crate) first_provisional: Histogram,
    pub(crate) post_dial: Histogram,
    pub(crate) invite_transit: Histogram,
    pub(crate) answer_transit: Histogram,
    pub(crate) release: Histogram,
}

/// What happens to a call at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Place,
    Answer,
    StopMedia,
    HangUp,
    /// A look at the pending messages of both sides.
    Retransmit,
    /// What the other side should have done by now.
    Overdue,
}

/// The media thread, as the signaling thread knows it.
pub(crate) struct Media<'a> {
    pub(crate) commands: Sender<Command>,
    pub(crate) counters: &'a Counters,
    /// One-way times so far, now and then.
    pub(crate) one_way: Receiver<Histogram>,
}

/// Everything of a run that is not media.
pub(crate) struct Signaling<'a> {
    pub(crate) plan: &'a Plan,
    /// The callee's is missing where nobody is called here.
    pub(crate) sockets: [Option<SipSocket>; 2],
    pub(crate) addresses: [SocketAddr; 2],
    pub(crate) media: [Vec<SocketAddr>; 2],
    pub(crate) calls: Vec<Call>,
    /// Each side's Call-IDs.
    pub(crate) by_id: [HashMap<String, u32>; 2],
    pub(crate) outcome: Outcome,
    engine: Option<Media<'a>>,
    timers: BinaryHeap<Reverse<(u64, Event, u32)>>,
    /// Calls whose turn has come, but not their place.
    waiting: VecDeque<u32>,
    started_at: u64,
    talking: u32,
    over: u32,
    /// No more calls are placed, and those that are up are hung up; by when this must be done.
    stopped: Option<u64>,
    /// When the last call was placed.
    placed_at: u64,
}

/// The time between two looks of the watcher.
const WATCH_NS: u64 = 100_000_000;

/// How long the calls of a load that is stopped may take to end.
const STOP_NS: u64 = 5_000_000_000;

/// Runs all calls to their end.
pub(crate) fn run(
    plan: &Plan,
    sockets: [Option<SipSocket>; 2],
    media: [Vec<SocketAddr>; 2],
    engine: Option<Media<'_>>,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Watch<'_>),
) -> io::Result<(Outcome, Recorder)> {
    let address = |socket: &Option<SipSocket>, own: SocketAddr| socket.as_ref().map_or(own, SipSocket::address);
    let addresses = [address(&sockets[0], plan.caller), address(&sockets[1], plan.callee)];
    let started_at = clock::monotonic();
    let mut signaling = Signaling {
        plan,
        sockets,
        addresses,
        media,
        calls: (0..plan.calls).map(|_| Call::new()).collect(),
        by_id: Default::default(),
        outcome: Outcome::default(),
        engine,
        timers: BinaryHeap::new(),
        waiting: VecDeque::new(),
        started_at,
        talking: 0,
        over: 0,
        stopped: None,
        placed_at: started_at,
    };
    for number in 0..plan.calls {
        let offset = Duration::from_secs_f64(f64::from(number) / plan.rate_per_s);
        signaling.at(started_at + clock::nanos(offset), Event::Place, number);
    }
    let mut recorder = Recorder::new(plan.expected());
    let mut one_way = Histogram::new();
    let mut buffer = Buffer::new();
    let mut shown = started_at;
    loop {
        let now = clock::monotonic();
        let is_end = signaling.over >= plan.calls;
        if now >= shown || is_end {
            if let Some(latest) = signaling.engine.as_ref().and_then(|media| media.one_way.try_iter().last()) {
                one_way = latest;
            }
            let progress = signaling.progress(now - started_at);
            recorder.look(&progress, &signaling.outcome.setup, &one_way, is_end);
            let Outcome { setup, post_dial, .. } = &signaling.outcome;
            watch(&Watch { progress, setup, post_dial, one_way: &one_way });
            shown = now + WATCH_NS;
        }
        if is_end {
            return Ok((signaling.outcome, recorder));
        }
        if stop.load(Relaxed) && signaling.stopped.is_none() {
            signaling.stopped = Some(now + STOP_NS);
            signaling.stop_all(now);
        }
        if now >= signaling.deadline() {
            signaling.give_up_all();
        }
        signaling.fire(now);
        signaling.wait(shown)?;
        signaling.receive(Side::Caller, &mut buffer);
        signaling.receive(Side::Callee, &mut buffer);
    }
}

impl Signaling<'_> {
    /// Has `event` happen to a call at a time.
    pub(crate) fn at(&mut self, time: u64, event: Event, number: u32) {
        self.timers.push(Reverse((time, event, number)));
    }

    /// What a send error loses is sent again by the timers.
    pub(crate) fn send(&mut self, side: Side, bytes: &[u8], to: SocketAddr) {
        if let Some(socket) = &mut self.sockets[side.index()] {
            socket.send(bytes, to);
        }
    }

    /// The header line of a side's own `Contact`.
    pub(crate) fn contact(&self, side: Side) -> String {
        format!("Contact: <sip:load@{}{}>\r\n", self.addresses[side.index()], self.plan.transport.in_uri())
    }

    pub(crate) fn note_placed(&mut self, now: u64) {
        self.placed_at = now;
        self.outcome.placing = Duration::from_nanos(now.saturating_sub(self.started_at));
    }

    /// Whatever happens, the load is over by then: each call gives up by itself before.
    fn deadline(&self) -> u64 {
        if let Some(stopped) = self.stopped {
            return stopped;
        }
        if self.outcome.attempted < self.plan.calls {
            return u64::MAX;
        }
        self.placed_at + clock::nanos(self.plan.ring + self.plan.talk) + 3 * GIVE_UP_NS
    }

    fn fire(&mut self, now: u64) {
        while let Some(Reverse((time, event, number))) = self.timers.peek().copied() {
            if time > now {
                break;
            }
            self.timers.pop();
            match event {
                Event::Place => self.place(number, now),
                Event::Answer => callee::pick_up(self, number, now),
                Event::StopMedia => self.stop_media(number, now),
                Event::HangUp => self.hang_up(number, now),
                Event::Retransmit => self.retransmit(number, now),
                Event::Overdue => self.overdue(number),
            }
        }
        while self.has_room() && self.stopped.is_none() {
            let Some(number) = self.waiting.pop_front() else { break };
            caller::place(self, number, now);
        }
    }

    /// Places a call, or has it wait where too many are under way.
    fn place(&mut self, number: u32, now: u64) {
        if self.stopped.is_some() {
            return;
        }
        if self.has_room() && self.waiting.is_empty() {
            caller::place(self, number, now);
        } else {
            self.outcome.waited += 1;
            self.waiting.push_back(number);
        }
    }

    fn has_room(&self) -> bool {
        self.outcome.attempted.saturating_sub(self.over) < self.plan.concurrent
    }

    fn retransmit(&mut self, number: u32, now: u64) {
        for side in [Side::Caller, Side::Callee] {
            let Some(call) = self.calls.get_mut(number as usize) else { return };
            let Some(pending) = &mut call.legs[side.index()].pending else { continue };
            if now >= pending.give_up {
                let reason = format!("no answer to {}", pending.what);
                self.finish(number, Some(reason.into()));
                return;
            }
            if pending.again.is_some_and(|again| now >= again) {
                pending.repeat(now);
                let due = pending.due();
                if let Some(socket) = &mut self.sockets[side.index()] {
                    socket.send(&pending.bytes, pending.to);
                }
                self.outcome.retransmissions += 1;
                self.at(due, Event::Retransmit, number);
            } else if pending.again.is_none() {
                let due = pending.due();
                self.at(due, Event::Retransmit, number);
            }
        }
    }

    fn wait(&self, shown: u64) -> io::Result<()> {
        let next = self.timers.peek().map_or(shown, |Reverse((time, ..))| shown.min(*time));
        let wait_ns = next.saturating_sub(clock::monotonic());
        let mut fds: Vec<_> = self.sockets.iter().flatten().flat_map(SipSocket::interests).collect();
        // Rounded up: a timer may be late by a millisecond, but the loop does not spin.
        let timeout = PollTimeout::try_from(wait_ns.div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn receive(&mut self, side: Side, buffer: &mut Buffer) {
        // Bounded, so that timers are looked at even under a flood.
        for _ in 0..256 {
            let Some(socket) = &mut self.sockets[side.index()] else { return };
            let Some((bytes, source)) = socket.receive(buffer) else { break };
            let now = clock::monotonic();
            let Some(message) = Message::parse(&bytes) else { continue };
            match &message.start {
                Start::Response { .. } => self.response(side, &message, now),
                Start::Request { .. } => self.request(side, message, source, now),
            }
        }
        let mut refused: Vec<SocketAddr> = Vec::new();
        while let Some(address) = self.sockets[side.index()].as_mut().and_then(SipSocket::refused) {
            if !refused.contains(&address) {
                refused.push(address);
            }
        }
        for address in refused {
            self.unreachable(side, address);
        }
    }

    /// A transport error is an answer (RFC 3261 section 8.1.3.1): calls that wait for nothing else have failed.
    fn unreachable(&mut self, side: Side, address: SocketAddr) {
        let waits = |call: &Call| {
            let pending = call.legs[side.index()].pending.as_ref();
            call.phase == Phase::Setup && !call.got_provisional && pending.is_some_and(|pending| pending.to == address)
        };
        let numbers = (0u32..).zip(&self.calls).filter(|(_, call)| waits(call)).map(|(number, _)| number);
        for number in numbers.collect::<Vec<u32>>() {
            self.finish(number, Some(format!("{address} cannot be reached: nobody listens there").into()));
        }
    }

    fn progress(&self, elapsed_ns: u64) -> Progress {
        let counters = self.engine.as_ref().map(|media| media.counters);
        Progress {
            elapsed: Duration::from_nanos(elapsed_ns),
            calls: self.plan.calls,
            attempted: self.outcome.attempted,
            answered: self.outcome.answered,
            active: self.talking,
            completed: self.outcome.completed,
            failed: self.outcome.failed.values().sum(),
            cancelled: self.outcome.cancelled,
            waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX),
            is_stopping: self.stopped.is_some(),
            packets_sent: counters.map_or(0, Counters::sent),
            packets_received: counters.map_or(0, Counters::received),
            packets_missed: counters.map_or(0, Counters::missed),
        }
    }
}
