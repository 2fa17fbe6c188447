//! What people see of a worker's calls and trunks, and how they end a call.

use moorline_control::SessionId;
use moorline_sip::Transport;

use super::Worker;
use super::records::place_in;
use super::setup::Refused;
use crate::Outcome;
use crate::call::{Call, Phase};
use crate::cdr::text;
use crate::inspect::{CallFilter, CallKey, CallState, CallView, HopReach, RegistrationState, TargetReach, TrunkReach};
use crate::leg::Side;
use crate::locate::Hop;
use crate::policy::Trunk;

impl Worker {
    /// All calls that are in memory, those that have just ended included, in no order.
    pub fn call_keys(&self) -> Vec<CallKey> {
        self.calls.values().map(|call| CallKey { setup: call.record.setup, id: call.id }).collect()
    }

    /// Those of these calls that are there and fit, in the order of `ids`.
    pub fn describe(&self, now: u64, ids: &[SessionId], filter: &CallFilter) -> Vec<CallView> {
        let known = ids.iter().filter_map(|id| self.calls.get(id));
        known.filter(|call| filter.fits(call.state(), &call.record)).map(|call| view(now, call)).collect()
    }

    /// Whether there is this call, and it is not over.
    pub fn has_call(&self, id: SessionId) -> bool {
        self.calls.get(&id).is_some_and(|call| call.state() != CallState::Ending)
    }

    /// How trunks are reached, in their order. The first worker of a process knows of registrations.
    pub fn reach(&self, now: u64, from: usize, count: usize) -> Vec<TrunkReach> {
        let trunks = self.policy.current_trunks().skip(from).take(count);
        trunks.map(|(index, trunk)| self.reach_of(now, index, trunk)).collect()
    }

    fn reach_of(&self, now: u64, index: usize, trunk: &Trunk) -> TrunkReach {
        let hop = |address| {
            // DNS may have named any transport for it.
            let rests = Transport::ALL.map(|transport| self.health.rests_until(now, Hop { transport, address }));
            HopReach { address, rests_ms: rests.into_iter().flatten().max().map(|until| ms(until - now)) }
        };
        let targets = trunk.targets.iter().enumerate().map(|(position, target)| {
            let known = trunk.resolved.of(position);
            let addresses = target.address().map_or(known, |address| vec![address]);
            TargetReach { target: target.to_string(), hops: addresses.into_iter().map(hop).collect() }
        });
        let registration = trunk.registration.as_ref().map(|_| {
            let (until, failures) = self.registrations.state(index).unwrap_or_default();
            let expires_in_ms = until.filter(|until| *until > now).map(|until| ms(until - now));
            RegistrationState { registered: expires_in_ms.is_some(), expires_in_ms, failures }
        });
        let listener = self.policy.listeners.get(trunk.listener).map(|listener| listener.name.clone());
        TrunkReach {
            trunk: trunk.name.clone(),
            listener: listener.unwrap_or_default(),
            targets: targets.collect(),
            registration,
        }
    }

    /// An operator ends a call. Who has not heard of an answer is refused; a call that is being refused with an announcement
    /// is refused for its own reason.
    pub(super) fn operator_hangs_up(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get(&id) else { return };
        match call.phase {
            Phase::Answered if call.invite.is_none() => self.hang_up_both(now, id, Outcome::OperatorHungUp),
            Phase::Inviting | Phase::Answered => {
                self.give_up(now, id, &Refused::because(480, "Ended By Operator"), Outcome::OperatorCancelled);
            }
            Phase::Cancelled | Phase::Ending => {}
        }
    }
}

impl Call {
    fn state(&self) -> CallState {
        match self.phase {
            Phase::Inviting if self.announcing.is_some() => CallState::Announcing,
            Phase::Inviting if self.record.ring.is_some() => CallState::Ringing,
            Phase::Inviting => CallState::Connecting,
            Phase::Answered => CallState::Up,
            Phase::Cancelled | Phase::Ending => CallState::Ending,
        }
    }
}

fn view(now: u64, call: &Call) -> CallView {
    let mut record = (*call.record).clone();
    place_in(&mut record, call.bypassed, &call.said, &call.local);
    if record.called_number.is_empty() {
        // It was restored, and nothing was written down of it.
        let numbers = &call.numbers.received;
        (record.caller_number, record.called_number) = (text(&numbers.caller), text(&numbers.called));
    }
    if record.end.is_none()
        && let Some(answered_at) = call.answered_at
    {
        record.duration_ms = ms(now.saturating_sub(answered_at));
    }
    CallView {
        state: call.state(),
        ends_in_ms: call.deadline.map(|at| ms(at.saturating_sub(now))),
        session_s: Side::BOTH.map(|side| call.leg(side).timer.as_ref().map(|timer| timer.interval_s)),
        record,
    }
}

fn ms(ns: u64) -> u64 {
    ns / 1_000_000
}
