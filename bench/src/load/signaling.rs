//! The loop of the signaling thread: sockets, timers, and the phases of all calls.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::mpsc::Sender;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::call::{Call, GIVE_UP_NS, Pending, Phase, Side};
use super::dialog::{answer, answer_address};
use super::message::{Message, Start};
use super::{Plan, Progress, callee, caller};
use crate::media::{Command, Counters, Ends};
use crate::{Histogram, clock};

/// The signaling part of a report.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) attempted: u32,
    pub(crate) answered: u32,
    pub(crate) completed: u32,
    pub(crate) failed: BTreeMap<String, u32>,
    pub(crate) retransmissions: u64,
    pub(crate) setup: Histogram,
    pub(crate) first_provisional: Histogram,
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
}

/// Everything of a run that is not media.
pub(crate) struct Signaling<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) sockets: [UdpSocket; 2],
    pub(crate) addresses: [SocketAddr; 2],
    pub(crate) media: [Vec<SocketAddr>; 2],
    pub(crate) calls: Vec<Call>,
    /// Each side's Call-IDs.
    pub(crate) by_id: [HashMap<String, u32>; 2],
    pub(crate) outcome: Outcome,
    commands: Sender<Command>,
    timers: BinaryHeap<Reverse<(u64, Event, u32)>>,
    talking: u32,
    over: u32,
}

/// Between the last packet sent and the BYE, so that it does not overtake the packet.
const DRAIN_NS: u64 = 200_000_000;

/// Runs all calls to their end.
pub(crate) fn run(
    plan: &Plan,
    sockets: [UdpSocket; 2],
    media: [Vec<SocketAddr>; 2],
    commands: Sender<Command>,
    counters: &Counters,
    progress: &mut dyn FnMut(&Progress),
) -> io::Result<Outcome> {
    for socket in &sockets {
        socket.set_nonblocking(true)?;
    }
    let addresses = [sockets[0].local_addr()?, sockets[1].local_addr()?];
    let start = clock::monotonic();
    let mut signaling = Signaling {
        plan,
        sockets,
        addresses,
        media,
        calls: (0..plan.calls).map(|_| Call::new()).collect(),
        by_id: Default::default(),
        outcome: Outcome::default(),
        commands,
        timers: BinaryHeap::new(),
        talking: 0,
        over: 0,
    };
    for number in 0..plan.calls {
        let offset = Duration::from_secs_f64(f64::from(number) / plan.rate_per_s);
        signaling.at(start + clock::nanos(offset), Event::Place, number);
    }
    // Setup and ending each give up by themselves; this holds whatever happens.
    let span = Duration::from_secs_f64(f64::from(plan.calls) / plan.rate_per_s) + plan.ring + plan.talk;
    let deadline = start + clock::nanos(span) + 2 * GIVE_UP_NS;
    let mut shown = start;
    while signaling.over < plan.calls {
        let now = clock::monotonic();
        if now >= deadline {
            signaling.give_up_all();
        }
        if now >= shown {
            progress(&signaling.progress(now - start, counters));
            shown = now + 100_000_000;
        }
        signaling.fire(now);
        signaling.wait(shown)?;
        signaling.receive(Side::Caller);
        signaling.receive(Side::Callee);
    }
    progress(&signaling.progress(clock::monotonic() - start, counters));
    Ok(signaling.outcome)
}

impl Signaling<'_> {
    /// Has `event` happen to a call at a time.
    pub(crate) fn at(&mut self, time: u64, event: Event, number: u32) {
        self.timers.push(Reverse((time, event, number)));
    }

    /// What a send error loses is sent again by the timers.
    pub(crate) fn send(&self, side: Side, bytes: &[u8], to: SocketAddr) {
        let _ = self.sockets[side.index()].send_to(bytes, to);
    }

    /// Sends a message, and again until [`Pending`] is taken away.
    pub(crate) fn send_until_answered(&mut self, number: u32, side: Side, pending: Pending) {
        self.send(side, &pending.bytes, pending.to);
        self.at(pending.due(), Event::Retransmit, number);
        if let Some(call) = self.calls.get_mut(number as usize) {
            call.leg(side).pending = Some(pending);
        }
    }

    /// Both sides are through: media starts.
    pub(crate) fn start_media(&mut self, number: u32, now: u64) {
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        let [Some(a), Some(b)] = [call.legs[0].far, call.legs[1].far] else { return };
        call.phase = Phase::Talking;
        self.talking += 1;
        let ends = Ends { a_far: a.rtp, b_far: b.rtp, a_far_rtcp: a.rtcp, b_far_rtcp: b.rtcp };
        // The media thread is gone only if it panicked, which its join reports.
        let _ = self.commands.send(Command::Start { call: number, ends });
        self.at(now + clock::nanos(self.plan.talk), Event::StopMedia, number);
    }

    /// Ends a call for good; `reason` if it failed.
    pub(crate) fn finish(&mut self, number: u32, reason: Option<String>) {
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        if call.phase == Phase::Over {
            return;
        }
        if call.phase == Phase::Talking {
            self.talking -= 1;
            let _ = self.commands.send(Command::Stop { call: number });
        }
        call.phase = Phase::Over;
        call.legs.iter_mut().for_each(|leg| leg.pending = None);
        self.over += 1;
        match reason.or(call.fault.take()) {
            None => self.outcome.completed += 1,
            Some(reason) => *self.outcome.failed.entry(reason).or_default() += 1,
        }
    }

    /// A BYE has been answered or received on `side`; the call is over when both sides know.
    pub(crate) fn side_ended(&mut self, number: u32, side: Side) {
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        call.leg(side).ended = true;
        if call.phase == Phase::Ending && call.legs.iter().all(|leg| leg.ended) {
            self.finish(number, None);
        }
    }

    fn fire(&mut self, now: u64) {
        while let Some(Reverse((time, event, number))) = self.timers.peek().copied() {
            if time > now {
                break;
            }
            self.timers.pop();
            match event {
                Event::Place => caller::place(self, number, now),
                Event::Answer => callee::pick_up(self, number, now),
                Event::StopMedia => self.stop_media(number, now),
                Event::HangUp => self.hang_up(number, now),
                Event::Retransmit => self.retransmit(number, now),
            }
        }
    }

    fn stop_media(&mut self, number: u32, now: u64) {
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        if call.phase == Phase::Talking {
            call.phase = Phase::Draining;
            self.talking -= 1;
            let _ = self.commands.send(Command::Stop { call: number });
            self.at(now + DRAIN_NS, Event::HangUp, number);
        }
    }

    fn hang_up(&mut self, number: u32, now: u64) {
        let side = if number.is_multiple_of(2) { Side::Caller } else { Side::Callee };
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        if call.phase != Phase::Draining {
            return;
        }
        call.phase = Phase::Ending;
        let Some(dialog) = &mut call.leg(side).dialog else { return };
        dialog.cseq += 1;
        let branch = format!("{:x}.{number}.bye", self.plan.seed);
        let bytes = dialog.request("BYE", dialog.cseq, &branch, "", "");
        let pending = Pending::new(bytes, dialog.destination(), "BYE", now);
        self.send_until_answered(number, side, pending);
    }

    fn retransmit(&mut self, number: u32, now: u64) {
        for side in [Side::Caller, Side::Callee] {
            let Some(call) = self.calls.get_mut(number as usize) else { return };
            let Some(pending) = &mut call.legs[side.index()].pending else { continue };
            if now >= pending.give_up {
                let reason = format!("no answer to {}", pending.what);
                self.finish(number, Some(reason));
                return;
            }
            if pending.again.is_some_and(|again| now >= again) {
                pending.repeat(now);
                let due = pending.due();
                let _ = self.sockets[side.index()].send_to(&pending.bytes, pending.to);
                self.outcome.retransmissions += 1;
                self.at(due, Event::Retransmit, number);
            } else if pending.again.is_none() {
                let due = pending.due();
                self.at(due, Event::Retransmit, number);
            }
        }
    }

    fn give_up_all(&mut self) {
        for number in 0..self.plan.calls {
            self.finish(number, Some("not over in time".into()));
        }
    }

    fn wait(&self, shown: u64) -> io::Result<()> {
        let next = self.timers.peek().map_or(shown, |Reverse((time, ..))| shown.min(*time));
        let wait_ns = next.saturating_sub(clock::monotonic());
        let [a, b] = &self.sockets;
        let mut fds = [PollFd::new(a.as_fd(), PollFlags::POLLIN), PollFd::new(b.as_fd(), PollFlags::POLLIN)];
        // Rounded up: a timer may be late by a millisecond, but the loop does not spin.
        let timeout = PollTimeout::try_from(wait_ns.div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn receive(&mut self, side: Side) {
        let mut datagram = [0; 8192];
        // Bounded, so that timers are looked at even under a flood.
        for _ in 0..256 {
            let Ok((length, source)) = self.sockets[side.index()].recv_from(&mut datagram) else { return };
            let now = clock::monotonic();
            let Some(message) = datagram.get(..length).and_then(Message::parse) else { continue };
            match &message.start {
                Start::Response { .. } => self.response(side, &message, now),
                Start::Request { method, .. } if method == "INVITE" && side == Side::Callee => {
                    callee::invite(self, message, source, now);
                }
                Start::Request { .. } => self.request(side, &message, source, now),
            }
        }
    }

    fn response(&mut self, side: Side, message: &Message, now: u64) {
        let number = message.header("Call-ID").and_then(|id| self.by_id[side.index()].get(id)).copied();
        let (Some(number), Start::Response { status, reason }) = (number, &message.start) else { return };
        match message.cseq() {
            Some((_, "INVITE")) if side == Side::Caller => caller::invite_answered(self, number, message, now),
            Some((_, "BYE")) if *status >= 200 => {
                let pending = self.calls.get_mut(number as usize).and_then(|call| call.leg(side).pending.take());
                match (pending, status) {
                    (None, _) => {}
                    (Some(_), 200..300) => self.side_ended(number, side),
                    (Some(_), _) => self.finish(number, Some(format!("BYE answered {status} {reason}"))),
                }
            }
            _ => {}
        }
    }

    /// A request other than the callee's INVITE.
    fn request(&mut self, side: Side, message: &Message, source: SocketAddr, now: u64) {
        let Start::Request { method, .. } = &message.start else { return };
        let number = message.header("Call-ID").and_then(|id| self.by_id[side.index()].get(id)).copied();
        let status = match (method.as_str(), number) {
            ("ACK", number) => {
                if let (Some(number), Side::Callee) = (number, side) {
                    callee::acknowledged(self, number, now);
                }
                return;
            }
            ("BYE", Some(number)) => {
                self.bye(number, side);
                (200, "OK")
            }
            ("BYE" | "CANCEL", None) => (481, "Call/Transaction Does Not Exist"),
            ("CANCEL", Some(_)) | ("OPTIONS", _) => (200, "OK"),
            ("INVITE", _) => (488, "Not Acceptable Here"),
            _ => (501, "Not Implemented"),
        };
        let bytes = answer(message, source, status, "load", "", "");
        self.send(side, &bytes, answer_address(message, source));
        if let ("CANCEL", Some(number)) = (method.as_str(), number) {
            callee::cancelled(self, number);
        }
    }

    fn bye(&mut self, number: u32, side: Side) {
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        let again = std::mem::replace(&mut call.leg(side).ended, true);
        if again {
            self.outcome.retransmissions += 1;
            return;
        }
        match call.phase {
            Phase::Ending => self.side_ended(number, side),
            Phase::Over => {}
            _ => self.finish(number, Some(format!("BYE for the {side:?} in mid-call"))),
        }
    }

    fn progress(&self, elapsed_ns: u64, counters: &Counters) -> Progress {
        Progress {
            elapsed: Duration::from_nanos(elapsed_ns),
            calls: self.plan.calls,
            attempted: self.outcome.attempted,
            answered: self.outcome.answered,
            active: self.talking,
            completed: self.outcome.completed,
            failed: self.outcome.failed.values().sum(),
            packets_sent: counters.sent(),
            packets_received: counters.received(),
        }
    }
}
