//! A trunk's no-answer time: who rings for longer is given up, and somebody else is tried.

use moorline_control::SessionId;

use super::hunt::Setback;
use super::setup::Refused;
use super::{Due, Worker};
use crate::Outcome;
use crate::call::Phase;
use crate::leg::Side;

impl Worker {
    /// The INVITE goes to the trunk in use: from its first target on, its time runs.
    pub(super) fn watch_no_answer(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get(&id) else { return };
        let trunk = call.leg(Side::Callee).trunk;
        let wait_ns = self.policy.trunks[trunk].no_answer_ns;
        let Some(invite) = self.calls.get_mut(&id).and_then(|call| call.invite.as_mut()) else { return };
        let known = invite.no_answer.filter(|(watched, _)| *watched == trunk);
        if known.is_some() {
            return;
        }
        self.forget_no_answer(id);
        if wait_ns > 0
            && let Some(invite) = self.calls.get_mut(&id).and_then(|call| call.invite.as_mut())
        {
            let until = now.saturating_add(wait_ns);
            invite.no_answer = Some((trunk, until));
            self.timers.set(until, Due::NoAnswer(id));
        }
    }

    /// Nobody waits for the answer of that trunk any more.
    pub(super) fn forget_no_answer(&mut self, id: SessionId) {
        let invite = self.calls.get_mut(&id).and_then(|call| call.invite.as_mut());
        if let Some((_, until)) = invite.and_then(|invite| invite.no_answer.take()) {
            self.timers.cancel(until, Due::NoAnswer(id));
        }
    }

    /// The time is up: those called are cancelled, and what is left of their trunk is not tried.
    pub(super) fn not_answered(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(invite) = call.invite.as_mut() else { return };
        invite.no_answer = None;
        if call.phase != Phase::Inviting {
            return;
        }
        // Those who rang have heard of the call; of the others nothing is known.
        let refused = match invite.progressed {
            true => Refused::because(480, "No Answer"),
            false => Refused::new(408),
        };
        let trunk = call.leg(Side::Callee).trunk;
        if self.hunt_on(now, id, &Setback::Silence) {
            return;
        }
        let refused = self.unanswered_by(trunk, refused);
        let outcome = Outcome::Refused(refused.status);
        self.give_up(now, id, &refused, outcome);
    }
}
