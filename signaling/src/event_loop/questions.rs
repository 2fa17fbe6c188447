//! What the rest of the process asks of a worker. Each question takes a turn of its event loop, and a short one: what is
//! long is asked for in slices.

use moorline_b2bua::Input;
use moorline_b2bua::inspect::{CallFilter, CallKey, CallView, TrunkReach};
use moorline_control::SessionId;
use tokio::sync::oneshot;

use super::EventLoop;
use crate::clock::now_ns;
use crate::metrics::Snapshot;

/// A question, and where the answer goes. Who went away meanwhile needs none.
#[derive(Debug)]
pub(crate) enum Question {
    /// What it has counted.
    Snapshot(oneshot::Sender<Snapshot>),
    /// Which calls it has.
    Calls(oneshot::Sender<Vec<CallKey>>),
    /// What there is to be said of some calls.
    Describe(Vec<SessionId>, CallFilter, oneshot::Sender<Vec<CallView>>),
    /// How some trunks are reached: from this one on, so many.
    Reach(usize, usize, oneshot::Sender<Vec<TrunkReach>>),
    /// To end a call: whether there was one.
    HangUp(SessionId, oneshot::Sender<bool>),
}

impl EventLoop {
    pub(super) fn reply(&mut self, question: Question) {
        match question {
            Question::Snapshot(to) => drop(to.send(self.snapshot())),
            Question::Calls(to) => drop(to.send(self.worker.call_keys())),
            Question::Describe(ids, filter, to) => drop(to.send(self.worker.describe(now_ns(), &ids, &filter))),
            Question::Reach(from, count, to) => drop(to.send(self.worker.reach(now_ns(), from, count))),
            Question::HangUp(id, to) => {
                let known = self.worker.has_call(id);
                if known {
                    self.handle(now_ns(), Input::HangUp(id));
                }
                let _gone = to.send(known);
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            counters: self.worker.counters(),
            statistics: self.statistics.clone(),
            received: self.udp.received,
            sent: self.udp.sent,
            unsent: self.udp.unsent,
            media_connected: self.media.is_connected(),
        }
    }
}
