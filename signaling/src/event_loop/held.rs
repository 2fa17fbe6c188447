//! What leaves only when the journal has what it tells of. Everything else goes on: what a call says waits for its own
//! record alone, and in its order.

use std::collections::VecDeque;
use std::collections::hash_map::{Entry, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use moorline_b2bua::Observation;
use moorline_b2bua::cdr::{Mark, Stage, text};
use moorline_control::{Request, SessionId};
use moorline_sip::Index;
use moorline_sip::transaction::Flow;

use crate::cdr::{Handover, PATIENCE};
use crate::clock::nanos;

/// The most that is held. More is as a disk that hangs.
const MOST: usize = 65_536;

/// What a worker wants done, when its turn comes.
pub(super) enum Step {
    Transmit {
        flow: Flow,
        bytes: Arc<[u8]>,
    },
    Media {
        request: u32,
        body: Request,
    },
    Observe(Observation),
    /// The message that came then was forwarded.
    Forwarded(u64),
}

/// What a hand-over is waited for with.
#[derive(Hash)]
enum Name<'a> {
    /// What is said in a dialog.
    Call(&'a [u8]),
    /// The end of a session at the media process: until then it has what a record is made of after a crash.
    Close(SessionId),
    /// Everything that the media process is asked about a session.
    Session(SessionId),
}

/// See the module.
pub(super) struct Held {
    handover: Option<Handover>,
    /// Not handed over yet.
    marks: Vec<Mark>,
    counted: bool,
    /// Everything of this input waits.
    all: bool,
    /// The number of the last hand-over.
    given: u64,
    /// Up to here it was seen that everything is written.
    written: u64,
    /// How often the disk has taken something, when that was seen last.
    progress: u64,
    /// Since when it takes nothing, though there is something.
    since: u64,
    hasher: RandomState,
    /// Which hand-over each name waits for.
    names: HashMap<u64, u64>,
    /// The numbers never fall.
    steps: VecDeque<(u64, Step)>,
}

impl Held {
    pub(super) fn new(handover: Option<Handover>) -> Held {
        Held {
            handover,
            marks: Vec::new(),
            counted: false,
            all: false,
            given: 0,
            written: 0,
            progress: 0,
            since: 0,
            hasher: RandomState::new(),
            names: HashMap::new(),
            steps: VecDeque::new(),
        }
    }

    /// Takes a mark that is to be written down.
    pub(super) fn mark(&mut self, mark: Mark) {
        if self.handover.is_none() {
            return;
        }
        // That a call is still up is told to nobody.
        if mark.stage != Stage::Going && !self.is_stalled() {
            let record = &mark.record;
            let tries = record.tries.iter().map(|tried| tried.call_id.as_str());
            for call_id in [record.caller.call_id.as_str(), record.callee.call_id.as_str()].into_iter().chain(tries) {
                self.names.insert(self.hasher.hash_one(Name::Call(call_id.as_bytes())), self.given + 1);
            }
            if let Ok(session) = record.id.parse() {
                self.names.insert(self.hasher.hash_one(Name::Close(session)), self.given + 1);
            }
        }
        self.marks.push(mark);
    }

    /// Callees were counted: false if that cannot be handed over. Nothing of this input leaves before.
    pub(super) fn counted(&mut self) -> bool {
        self.counted = self.handover.is_some();
        self.all = self.counted && !self.is_stalled();
        self.counted
    }

    /// The next input may be of another call.
    pub(super) fn next_input(&mut self) {
        self.all = false;
    }

    /// Keeps a step that must wait, or gives it back.
    pub(super) fn hold(&mut self, index: &mut Index, step: Step) -> Option<Step> {
        if self.names.is_empty() && !self.all {
            return Some(step);
        }
        let next = self.given + 1;
        let names = match &step {
            Step::Transmit { bytes, .. } => {
                let call_id = index.parse(bytes).ok().and_then(|message| message.call_id().ok());
                [call_id.map(|call_id| self.name_of(call_id)), None]
            }
            Step::Media { body: Request::Close { session }, .. } => {
                [Name::Close(*session), Name::Session(*session)].map(|name| Some(self.hasher.hash_one(name)))
            }
            Step::Media { body: Request::Open { session, .. } | Request::Update { session, .. }, .. }
            | Step::Media { body: Request::Claim { session } | Request::Query { session }, .. } => {
                [Some(self.hasher.hash_one(Name::Session(*session))), None]
            }
            Step::Media { body: Request::List { .. }, .. } | Step::Observe(_) | Step::Forwarded(_) => [None; 2],
        };
        let names = names.into_iter().flatten();
        let awaited = names.clone().filter_map(|name| self.names.get(&name).copied()).max();
        let Some(awaited) = awaited.or(self.all.then_some(next)) else { return Some(step) };
        // Behind what waits for later ones, so that the numbers never fall.
        let awaited = self.steps.back().map_or(awaited, |(last, _)| awaited.max(*last));
        for name in names {
            match self.names.entry(name) {
                Entry::Occupied(mut entry) => *entry.get_mut() = awaited.max(*entry.get()),
                Entry::Vacant(entry) => drop(entry.insert(awaited)),
            }
        }
        self.steps.push_back((awaited, step));
        None
    }

    /// Keeps what measures steps that wait, behind them.
    pub(super) fn behind(&mut self, step: Step) {
        let awaited = self.steps.back().map_or(self.given, |(last, _)| *last);
        self.steps.push_back((awaited, step));
    }

    /// What would have been asked over a connection that is gone is not asked over the next.
    pub(super) fn disconnected(&mut self) {
        self.steps.retain(|(_, step)| !matches!(step, Step::Media { .. }));
    }

    /// Hands over what is to be written down.
    pub(super) fn hand_over(&mut self, now: u64) {
        let Some(handover) = &mut self.handover else { return };
        if self.marks.is_empty() && !self.counted {
            return;
        }
        if self.given == self.written {
            self.since = now;
        }
        self.given = handover.give(&mut self.marks, std::mem::take(&mut self.counted));
    }

    /// Looks how far the journal has come; it may have been given up on.
    pub(super) fn look(&mut self, now: u64) {
        let Some(handover) = &self.handover else { return };
        let progress = handover.progress();
        if progress != self.progress {
            (self.progress, self.since) = (progress, now);
        }
        if self.steps.len() > MOST || self.deadline().is_some_and(|at| at <= now) && !handover.is_stalled() {
            handover.stall();
        }
        let written = handover.written();
        if written != self.written {
            self.written = written;
            self.names.retain(|_, awaited| *awaited > written);
        }
    }

    /// The next step that need not wait any more.
    pub(super) fn next(&mut self) -> Option<Step> {
        let (awaited, _) = self.steps.front()?;
        if *awaited > self.written && !self.is_stalled() {
            return None;
        }
        let (_, step) = self.steps.pop_front()?;
        if self.steps.is_empty() && self.is_stalled() {
            self.names.clear();
        }
        Some(step)
    }

    /// When the disk is given up on.
    pub(super) fn deadline(&self) -> Option<u64> {
        let waits = self.given > self.written && !self.is_stalled();
        waits.then(|| self.since.saturating_add(nanos(PATIENCE)))
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.given == self.written && self.marks.is_empty()
    }

    /// Everything may leave.
    pub(super) fn give_up(&self) {
        if let Some(handover) = &self.handover {
            handover.stall();
        }
    }

    /// Ready when the journal has come further; never, where there is none.
    pub(super) async fn told(&self) {
        match &self.handover {
            Some(handover) => handover.told().await,
            None => std::future::pending().await,
        }
    }

    /// As a record has it.
    fn name_of(&self, call_id: &[u8]) -> u64 {
        let plain = call_id.len() <= 128 && call_id.iter().all(u8::is_ascii_graphic);
        if plain {
            self.hasher.hash_one(Name::Call(call_id))
        } else {
            self.hasher.hash_one(Name::Call(text(call_id).as_bytes()))
        }
    }

    fn is_stalled(&self) -> bool {
        self.handover.as_ref().is_some_and(Handover::is_stalled)
    }
}

#[cfg(test)]
mod tests;
