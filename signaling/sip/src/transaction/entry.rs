//! One transaction: its machine, what it repeats, and its two timers.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::machine::Machine;
use super::slab::Id;
use super::timer::Timer;
use super::{Flow, Timers, Transmit};

/// When which timer of which transaction is due.
pub(super) type Deadlines = BTreeSet<(u64, Id, Timer)>;

#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) machine: Machine,
    /// Where its messages go.
    pub(super) flow: Flow,
    /// What its messages have in common, and the hash of that. Empty for a request that could not be read.
    pub(super) key: Box<[u8]>,
    pub(super) key_hash: u64,
    /// Server, over a stream: the port at which the client takes connections.
    pub(super) sent_by: Option<u16>,
    /// Server: the hash by which copies of the request are known, if it is one outside a dialog.
    pub(super) origin: Option<u64>,
    /// What it repeats: a client its request and later, of an INVITE, the ACK; a server its last response.
    pub(super) message: Option<Arc<[u8]>>,
    /// The timer that repeats, and when it is due.
    pub(super) repeat: Option<(u64, Timer)>,
    /// The timer that ends a state.
    pub(super) expiry: Option<(u64, Timer)>,
    /// The last interval of the repeating timer.
    pub(super) interval_ns: u64,
    pub(super) cancel: Cancel,
    /// Whether `message` is the ACK already.
    pub(super) acknowledged: bool,
    /// Whether it is a CANCEL that the layer made, of which the user hears nothing.
    pub(super) internal: bool,
}

/// How far an INVITE is cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cancel {
    No,
    /// Client: a CANCEL, with this Reason, is to be sent as soon as a provisional response allows it.
    Wanted(Option<Box<[u8]>>),
    /// Client: the CANCEL was sent. Server: one was received.
    Done,
}

impl Transaction {
    pub(super) fn new(machine: Machine, flow: Flow, key: &[u8], key_hash: u64) -> Transaction {
        Transaction {
            machine,
            flow,
            key: key.into(),
            key_hash,
            sent_by: None,
            origin: None,
            message: None,
            repeat: None,
            expiry: None,
            interval_ns: 0,
            cancel: Cancel::No,
            acknowledged: false,
            internal: false,
        }
    }

    pub(super) fn send(&self, retransmission: bool, transmits: &mut VecDeque<Transmit>) {
        if let Some(bytes) = &self.message {
            transmits.push_back(Transmit { flow: self.flow, bytes: Arc::clone(bytes), retransmission });
        }
    }

    /// The place of a timer of this kind.
    pub(super) fn timer(&mut self, timer: Timer) -> &mut Option<(u64, Timer)> {
        if timer.repeats() { &mut self.repeat } else { &mut self.expiry }
    }

    pub(super) fn start(&mut self, id: Id, now: u64, timer: Timer, timers: &Timers, deadlines: &mut Deadlines) {
        let duration_ns = timer.duration_ns(timers, self.flow.transport.is_reliable());
        if timer.repeats() {
            self.repeat_in(id, now, timer, duration_ns, deadlines);
        } else {
            self.set(id, timer, now.saturating_add(duration_ns), deadlines);
        }
    }

    pub(super) fn repeat_in(&mut self, id: Id, now: u64, timer: Timer, interval_ns: u64, deadlines: &mut Deadlines) {
        if !self.flow.transport.is_reliable() {
            self.interval_ns = interval_ns;
            self.set(id, timer, now.saturating_add(interval_ns), deadlines);
        }
    }

    pub(super) fn set(&mut self, id: Id, timer: Timer, at: u64, deadlines: &mut Deadlines) {
        self.stop(id, timer, deadlines);
        *self.timer(timer) = Some((at, timer));
        deadlines.insert((at, id, timer));
    }

    /// Stops whatever runs in the place of `like`.
    pub(super) fn stop(&mut self, id: Id, like: Timer, deadlines: &mut Deadlines) {
        if let Some((at, timer)) = self.timer(like).take() {
            deadlines.remove(&(at, id, timer));
        }
    }
}
