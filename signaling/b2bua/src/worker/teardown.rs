//! The end of a call: CANCEL, BYE, and everything that runs out.

use moorline_control::SessionId;
use moorline_sip::respond;
use moorline_sip::transaction::{ClientId, ServerId};
use moorline_sip::{Message, Method, Name};

use super::answer::T2_NS;
use super::records::relayed;
use super::setup::{Refused, refusal_body};
use super::{Arrival, ClientUse, Due, ServerUse, Worker};
use crate::call::{Phase, Waiting};
use crate::leg::Side;
use crate::{Observation, Outcome};

impl Worker {
    /// A CANCEL matched the INVITE transaction `server`, and was answered. Its Reason (RFC 3326) goes on.
    pub(super) fn cancelled(&mut self, now: u64, server: ServerId, reason: Option<&[u8]>) {
        match self.servers.get(&server) {
            Some(ServerUse::Invite(id)) => {
                let id = *id;
                self.record_reason(id, reason);
                for attempt in self.calls.get(&id).map(|call| &call.attempts[..]).unwrap_or_default() {
                    self.layer.cancel(now, attempt.client, reason);
                }
                self.give_up(now, id, &Refused::new(487), Outcome::Cancelled);
            }
            Some(ServerUse::Reinvite(id, side)) => {
                let (id, side) = (*id, *side);
                let Some(call) = self.calls.get(&id) else { return };
                let waits = call.waiting.iter().any(|waiting| matches!(waiting, Waiting::Reinvite(_)));
                match call.leg(side.other()).inviting {
                    // The other party decides: its 487 or 2xx comes back as the answer.
                    Some(client) => self.layer.cancel(now, client, reason),
                    // It did not go on yet, and will not.
                    None if waits => self.stop_reinvite(now, id, side, &Refused::new(487)),
                    // Its 2xx is on the way.
                    None => {}
                }
            }
            None => {}
        }
    }

    /// Ends a call whose answer the caller has not heard: the caller gets `refused`, the callee a CANCEL, or
    /// a BYE if it has answered.
    pub(super) fn give_up(&mut self, now: u64, id: SessionId, refused: &Refused, outcome: Outcome) {
        let Some(call) = self.calls.get(&id) else { return };
        if call.phase == Phase::Answered && call.invite.is_some() {
            self.refuse_caller(now, id, refused, outcome);
            return self.hang_up(now, id, Side::Callee, None);
        }
        if call.phase != Phase::Inviting {
            return;
        }
        let asked = !call.attempts.is_empty();
        self.refuse_caller(now, id, refused, outcome);
        // It may be told why first.
        let over = self.calls.get(&id).is_some_and(|call| call.outcome.is_some());
        if asked && over {
            self.enter(id, Phase::Cancelled, None);
        }
    }

    /// A BYE of `side`.
    pub(super) fn bye(&mut self, arrival: Arrival<'_>, server: ServerId, id: SessionId, side: Side) {
        let now = arrival.now;
        self.refuse(arrival, server, 200, b"OK");
        let Some(phase) = self.calls.get(&id).map(|call| call.phase) else { return };
        match phase {
            // RFC 3261 15: a caller may end an early dialog this way too.
            Phase::Inviting => self.give_up(now, id, &Refused::new(487), Outcome::Cancelled),
            Phase::Answered if self.leaves(id, side) => {}
            Phase::Answered => {
                let outcome = if side == Side::Caller { Outcome::CallerHungUp } else { Outcome::CalleeHungUp };
                self.record_reason(id, arrival.message.header(Name::Reason));
                self.drop_confirming(id, side);
                // An answer that was not passed on yet will not be: its INVITE is over with the call.
                self.refuse_caller(now, id, &Refused::new(487), outcome);
                self.hang_up(now, id, side.other(), Some(arrival.message));
            }
            Phase::Cancelled | Phase::Ending => {
                // Both hung up at once: our own BYE to this side may still be due.
                self.drop_confirming(id, side);
                call_mut(self, id, |call| {
                    call.leg_mut(side).bye_due = false;
                    call.leg_mut(side).gone = true;
                });
                self.ending.push(id);
            }
        }
    }

    /// Ends an answered call on both legs.
    pub(super) fn hang_up_both(&mut self, now: u64, id: SessionId, outcome: Outcome) {
        self.refuse_caller(now, id, &Refused::new(500), outcome);
        for side in Side::BOTH {
            self.hang_up(now, id, side, None);
        }
    }

    /// Sends a BYE to `side`, or makes it due with the ACK that must come first. What the other party's BYE
    /// said besides, `original`, crosses: carriers read its Reason.
    pub(super) fn hang_up(&mut self, now: u64, id: SessionId, side: Side, original: Option<Message<'_>>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let leg = call.leg_mut(side);
        if leg.confirming.is_some() {
            leg.bye_due = true;
            return;
        }
        if leg.gone {
            return;
        }
        if !leg.confirmed {
            // There was no 2xx: the final answer has ended the dialog.
            return;
        }
        self.acknowledge(now, id, side, None);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let flow = call.leg(side).next_hop(&self.next_hops);
        let via = self.shown(flow).via(&self.identities.branch(id));
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(dialog) = &mut call.leg_mut(side).dialog else { return };
        let writer = dialog.request(Method::Bye, via.as_bytes());
        let bye = match (original, self.calls.get(&id)) {
            (Some(original), Some(call)) => self.crossing(call, side).finish(writer, original, refusal_body(original)),
            _ => writer.finish(b""),
        };
        self.send(now, flow, bye, ClientUse::Bye(id));
    }

    /// The answer to a BYE of ours. One that a later request has overtaken is refused (RFC 3261 12.2.2), and the party
    /// would be left in the call: it is said again, once.
    pub(super) fn bye_answered(&mut self, arrival: Arrival<'_>) {
        if arrival.message.status() != Some(500) {
            return;
        }
        let Some((id, side)) = self.answer_dialog(arrival.message) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !std::mem::replace(&mut call.leg_mut(side).bye_repeated, true) {
            self.hang_up(arrival.now, id, side, None);
        }
    }

    /// Our request was not answered (timers B and F), or not even after a CANCEL.
    pub(super) fn unanswered(&mut self, now: u64, client: ClientId) {
        match self.clients.get(&client) {
            Some(ClientUse::Invite(id)) => {
                let id = *id;
                self.unanswered_by_callee(now, client, id);
            }
            Some(ClientUse::Reinvite(id, side)) => {
                let (id, side) = (*id, *side);
                self.next_hop_failed(now, id, side);
                call_mut(self, id, |call| call.leg_mut(side).inviting = None);
                self.refuse_reinvite(now, id, side.other(), &Refused::new(408));
            }
            Some(ClientUse::Update(id, side)) => {
                let (id, side) = (*id, *side);
                self.next_hop_failed(now, id, side);
                call_mut(self, id, |call| {
                    call.leg_mut(side).inviting.take_if(|inviting| *inviting == client);
                    call.leg_mut(side).updating.take_if(|updating| *updating == client);
                });
                self.refuse_update(now, id, side.other(), &Refused::new(408));
            }
            Some(ClientUse::Refresh(id, side)) => {
                let (id, side) = (*id, *side);
                self.refresh_unanswered(now, client, id, side);
            }
            Some(ClientUse::Probe(trunk, hop)) => {
                let (trunk, hop) = (*trunk, *hop);
                self.probe_unanswered(now, trunk, hop);
            }
            Some(ClientUse::KeepAlive(serial)) => self.not_kept_alive(now, *serial),
            Some(ClientUse::Pass(_)) => self.pass_unanswered(now, client),
            Some(ClientUse::Register(trunk)) => self.register_unanswered(now, *trunk),
            Some(ClientUse::Join(id, old)) => {
                let (id, old) = (*id, *old);
                self.join_unanswered(now, client, id, old);
            }
            Some(ClientUse::Notify(id, side, true)) => {
                let (id, side) = (*id, *side);
                self.notified(now, id, side);
            }
            Some(ClientUse::Bye(_) | ClientUse::Stray | ClientUse::Prack(_) | ClientUse::Notify(..)) | None => {}
        }
    }

    /// The transaction of a first INVITE is over; a call that was given up has nothing more to wait for.
    pub(super) fn invite_ended(&mut self, now: u64, client: ClientId, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.take_attempt(client);
        if call.phase == Phase::Cancelled && call.attempts.is_empty() {
            self.end(now, id);
        }
    }

    /// The call has been in its phase as long as it may.
    pub(super) fn phase_over(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.deadline = None;
        match call.phase {
            Phase::Inviting => self.give_up(now, id, &Refused::new(408), Outcome::Rejected(408)),
            Phase::Answered => self.hang_up_both(now, id, Outcome::TooLong),
            Phase::Cancelled | Phase::Ending => {}
        }
    }

    /// Our 2xx to `side` is due again, or no ACK came for 64*T1 (RFC 3261 13.3.1.4).
    pub(super) fn confirm_again(&mut self, now: u64, id: SessionId, side: Side) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let phase = call.phase;
        let leg = call.leg_mut(side);
        let Some(confirming) = &mut leg.confirming else { return };
        if now >= confirming.give_up_at {
            leg.confirming = None;
            leg.bye_due = false;
            self.ending.push(id);
            if phase == Phase::Answered {
                self.hang_up_both(now, id, Outcome::NoAck);
            } else {
                self.hang_up(now, id, side, None);
            }
            return;
        }
        self.layer.respond(now, confirming.server, confirming.response.clone());
        self.counters.retransmissions += 1;
        confirming.interval_ns = (confirming.interval_ns * 2).min(T2_NS);
        confirming.next_at = (now + confirming.interval_ns).min(confirming.give_up_at);
        self.timers.set(confirming.next_at, Due::Confirm(id, side));
    }

    /// Notes how the call ended and closes its media; the first reason stands.
    pub(super) fn finish(&mut self, now: u64, id: SessionId, outcome: Outcome) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.outcome.is_none() {
            call.outcome = Some(outcome);
            call.ended_at = Some(now);
            let transfer = call.transferring.take();
            self.record_end(now, id, outcome);
            Side::BOTH.iter().for_each(|side| self.set_timer(id, *side, None));
            self.close_media(id);
            self.linger(now, id);
            if let Some(transfer) = transfer {
                self.give_up(now, transfer, &Refused::new(487), Outcome::Cancelled);
            }
        }
    }

    /// Nothing new can happen in the call: INVITEs under way in it are cancelled and refused, and it is
    /// forgotten when its transactions have run out.
    pub(super) fn end(&mut self, now: u64, id: SessionId) {
        self.enter(id, Phase::Ending, None);
        let Some(call) = self.calls.get(&id) else { return };
        for attempt in &call.attempts {
            self.layer.cancel(now, attempt.client, None);
        }
        for side in Side::BOTH {
            let Some(call) = self.calls.get_mut(&id) else { return };
            // An INVITE that rings would never end by itself (RFC 3261 17.1.1.2).
            if let Some(client) = call.leg(side).inviting {
                self.layer.cancel(now, client, None);
            }
            if let Some(reinvite) = call.leg_mut(side).reinvite.take() {
                self.timers.cancel(reinvite.until, Due::Reinvite(id, side));
                let refused = Refused::new(487);
                let answer = respond(reinvite.request.view(), reinvite.source, refused.status, &refused.reason, None);
                self.layer.respond(now, reinvite.server, answer.finish(b""));
            }
            self.refuse_update(now, id, side, &Refused::new(487));
        }
        self.ending.push(id);
    }

    /// Puts the call into `phase`, which must be over at `deadline`.
    pub(super) fn enter(&mut self, id: SessionId, phase: Phase, deadline: Option<u64>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let was_live = call.is_live();
        call.phase = phase;
        if was_live && !call.is_live() {
            self.live = self.live.saturating_sub(1);
            self.place.calls.leave();
            if let Some(announcing) = &mut call.announcing {
                announcing.seat = None;
            }
            call.seized.release();
        }
        if let Some(at) = call.deadline.take() {
            self.timers.cancel(at, Due::Phase(id));
        }
        call.deadline = deadline;
        if let Some(at) = deadline {
            self.timers.set(at, Due::Phase(id));
        }
    }

    /// Observes the end of a call, once the media process has told what it relayed.
    pub(super) fn record(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(outcome) = call.outcome.filter(|_| call.media_closed && !call.recorded) else { return };
        call.recorded = true;
        relayed(&mut call.record, call.report.as_ref());
        let name = |side: Side| self.policy.trunks.get(call.leg(side).trunk).map(|trunk| trunk.name.clone());
        let ended = Observation::Ended {
            call: id,
            from: name(Side::Caller).unwrap_or_default(),
            to: name(Side::Callee).filter(|_| call.announcing.as_ref().is_none_or(|announcing| announcing.called)),
            outcome,
            talk_ns: call.answered_at.map_or(0, |at| call.ended_at.unwrap_or(now).saturating_sub(at)),
            report: call.report.take(),
        };
        self.observe(ended);
    }

    pub(super) fn forget(&mut self, id: SessionId) {
        let Some(call) = self.calls.remove(&id) else { return };
        for tag in &call.tags {
            self.tags.remove(tag);
        }
        if let Some(at) = call.deadline {
            self.timers.cancel(at, Due::Phase(id));
        }
        if let Some(at) = call.lingers_until {
            self.timers.cancel(at, Due::Linger(id));
        }
    }

    pub(super) fn drop_confirming(&mut self, id: SessionId, side: Side) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(confirming) = call.leg_mut(side).confirming.take() {
            self.timers.cancel(confirming.next_at, Due::Confirm(id, side));
        }
    }
}

fn call_mut(worker: &mut Worker, id: SessionId, change: impl FnOnce(&mut crate::call::Call)) {
    if let Some(call) = worker.calls.get_mut(&id) {
        change(call);
    }
}
