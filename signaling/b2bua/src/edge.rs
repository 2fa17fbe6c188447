//! What is looked at before a message costs anything: how much one source sends, and whether there is room for new
//! calls.

mod recent;
mod sources;

use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use moorline_sip::transaction::{Flow, response_flow};
use moorline_sip::{Index, Method, reason_phrase, respond};

use crate::forward;
use recent::Recent;
use sources::Sources;

const SECOND_NS: u64 = 1_000_000_000;

/// Bounds at the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overload {
    /// Messages a second from one address that belongs to a trunk; two seconds' worth may come at once.
    pub per_source: u32,
    /// The same for any other address.
    pub per_stranger: u32,
    /// New calls a second, a second's worth at once; 0 for no bound.
    pub new_calls: u32,
    /// How long the INVITE of a new call may have waited; 0 for no bound.
    pub longest_wait_ns: u64,
    /// What a refusal's Retry-After says, in seconds.
    pub retry_after_s: u32,
}

/// The rate of new calls in all workers of a process.
#[derive(Debug, Default)]
pub struct NewCalls {
    /// When the calls admitted so far would all have been admitted at an even pace.
    even_at: AtomicU64,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It goes on.
    Pass {
        /// It is the INVITE of a new call that was not seen before: who finds no room for it may refuse it.
        new_call: bool,
    },
    /// It is not looked at: its source sends too much.
    Drop(Reason),
    /// It is the INVITE of a new call, and is answered by [`Edge::refusal`].
    Refuse(Reason),
}

/// Why something did not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Too many messages from an address of a trunk.
    Source,
    /// Too many messages from any other address.
    Stranger,
    /// Too many new calls a second.
    NewCalls,
    /// It has waited for too long.
    Wait,
    /// The queue of the worker that it is for is full.
    Queue,
}

impl Reason {
    /// All of them, in order of [`Reason::index`].
    pub const ALL: [Reason; 5] = [Reason::Source, Reason::Stranger, Reason::NewCalls, Reason::Wait, Reason::Queue];

    /// Its position in [`Reason::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// As the label of a metric.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Source => "source",
            Reason::Stranger => "stranger",
            Reason::NewCalls => "new_calls",
            Reason::Wait => "wait",
            Reason::Queue => "queue",
        }
    }
}

/// The edge of one receiver of messages.
///
/// Its memory does not grow, whatever comes: sources and INVITEs that it has no room for displace others, which are
/// then judged as if they were new.
#[derive(Debug)]
pub struct Edge {
    bounds: Overload,
    sources: Sources,
    recent: Recent,
    new_calls: Arc<NewCalls>,
    index: Box<Index>,
}

impl Edge {
    /// An edge that shares the rate of new calls with the others of its process. `hash` has a key that no stranger
    /// knows.
    pub fn new(bounds: Overload, new_calls: Arc<NewCalls>, hash: RandomState) -> Edge {
        let (sources, recent) = (Sources::new(hash.clone()), Recent::new(hash));
        Edge { bounds, sources, recent, new_calls, index: Box::new(Index::new()) }
    }

    /// Judges a message that came on `flow` and has waited for `waited_ns`. `is_known` says whether the source belongs
    /// to a trunk; it is asked when a source is seen for the first time, and of a stranger once a second.
    pub fn admit(
        &mut self,
        now: u64,
        flow: Flow,
        bytes: &[u8],
        waited_ns: u64,
        is_known: impl FnOnce() -> bool,
    ) -> Judgement {
        let source = self.sources.find(now, flow, is_known);
        let (rate, reason) = match source.known {
            true => (self.bounds.per_source, Reason::Source),
            false => (self.bounds.per_stranger, Reason::Stranger),
        };
        if !source.take(now, rate) {
            return Judgement::Drop(reason);
        }
        if !source.known || !bytes.starts_with(b"INVITE ") {
            return Judgement::Pass { new_call: false };
        }
        let Ok(invite) = self.index.parse(bytes) else { return Judgement::Pass { new_call: false } };
        // An INVITE that was let in is not refused when it is repeated: its call is being worked on.
        let key = self.recent.key(invite);
        if forward::to_tag(invite).is_some() || self.recent.contains(now, key) {
            return Judgement::Pass { new_call: false };
        }
        if self.bounds.longest_wait_ns > 0 && waited_ns > self.bounds.longest_wait_ns {
            return Judgement::Refuse(Reason::Wait);
        }
        if self.bounds.new_calls > 0 && !self.new_calls.take(now, self.bounds.new_calls) {
            return Judgement::Refuse(Reason::NewCalls);
        }
        self.recent.insert(now, key);
        Judgement::Pass { new_call: true }
    }

    /// From now on these are the bounds; what has come so far counts on.
    pub fn set_bounds(&mut self, bounds: Overload) {
        self.bounds = bounds;
    }

    /// Something is sent there: whatever name or Contact has led to it, what comes back is no stranger's.
    pub fn sent_to(&mut self, now: u64, flow: Flow) {
        self.sources.find(now, flow, || true).known = true;
    }

    /// The answer to the INVITE of a new call for which there is no room: 503 with Retry-After, of which nothing is
    /// kept (RFC 3261 21.5.4). Its ACK is dropped by whoever gets it.
    pub fn refusal(&mut self, flow: Flow, invite: &[u8]) -> Option<(Flow, Vec<u8>)> {
        let invite = self.index.parse(invite).ok()?;
        invite.check().ok()?;
        if invite.method() != Some(Method::Invite) {
            return None;
        }
        // The same for the same INVITE, however often it comes.
        let tag = format!("{:016x}", self.recent.key(invite));
        let status = 503;
        let answer = respond(invite, flow.remote, status, reason_phrase(status).as_bytes(), Some(tag.as_bytes()))
            .header("Retry-After", self.bounds.retry_after_s.to_string());
        Some((response_flow(flow, invite), answer.finish(b"")))
    }
}

impl NewCalls {
    /// Takes one of `rate` a second, if there is one.
    fn take(&self, now: u64, rate: u32) -> bool {
        let interval = SECOND_NS / u64::from(rate);
        let paced = |even_at: u64| {
            let even_at = even_at.max(now);
            (even_at - now <= SECOND_NS - interval).then_some(even_at + interval)
        };
        self.even_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, paced).is_ok()
    }
}

#[cfg(test)]
mod tests;
