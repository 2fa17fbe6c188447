//! A request outside calls that went to several devices of an endpoint (RFC 3261 16.7).

use moorline_control::SessionId;
use moorline_sip::OwnedMessage;
use moorline_sip::transaction::{ClientId, Flow};

use super::{Arrival, ClientUse, Worker};
use crate::attempt::keep_better;

/// A request that went to several devices: the first good answer is its answer.
pub(super) struct Fork {
    /// Devices that have not answered yet.
    left: usize,
    /// The best of their refusals.
    refusal: Option<OwnedMessage>,
}

impl Fork {
    pub(super) fn new(devices: usize) -> Fork {
        Fork { left: devices, refusal: None }
    }
}

impl Worker {
    /// One of the devices that a request went to has answered: a good answer goes back at once, else the best when all
    /// have refused (RFC 3261 16.7).
    pub(super) fn fork_answered(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId) {
        let status = arrival.message.status().unwrap_or_default();
        // Another one may have been quicker.
        let Some(fork) = self.forks.get_mut(&id) else { return };
        match status {
            0..200 => {}
            200..300 => {
                self.forks.remove(&id);
                self.pass_back(arrival, client, status);
            }
            _ => {
                let _better = keep_better(&mut fork.refusal, arrival.message);
                self.fork_refused(arrival.now, arrival.flow, client, id);
            }
        }
    }

    /// One of the devices that a request went to does not answer. True where nobody has said anything.
    pub(super) fn fork_unanswered(&mut self, now: u64, client: ClientId, id: SessionId) -> bool {
        let Some(ClientUse::Pass(passing)) = self.clients.get(&client) else { return false };
        let came = passing.came;
        let Some(fork) = self.forks.get(&id) else { return false };
        if fork.left <= 1 && fork.refusal.is_none() {
            self.forks.remove(&id);
            return true;
        }
        self.fork_refused(now, came, client, id);
        false
    }

    fn fork_refused(&mut self, now: u64, flow: Flow, client: ClientId, id: SessionId) {
        let Some(fork) = self.forks.get_mut(&id) else { return };
        fork.left = fork.left.saturating_sub(1);
        if fork.left > 0 {
            return;
        }
        let Some(refusal) = self.forks.remove(&id).and_then(|fork| fork.refusal) else { return };
        let message = refusal.view();
        self.pass_back(Arrival { now, flow, message, user: None }, client, message.status().unwrap_or(500));
    }
}
