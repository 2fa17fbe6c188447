//! The joining of two parties for a transfer: each is asked by re-INVITE in its old dialog to speak with the other. Until
//! both have agreed, the old calls go on as they were; then each has its leg in a call that is as any other.

use moorline_control::SessionId;
use moorline_sip::transaction::ClientId;
use moorline_sip::{Message, Method};

use super::refresh::with;
use super::setup::{Refused, read};
use super::{Arrival, ClientUse, Due, Worker};
use crate::Outcome;
use crate::call::{Phase, Waiting};
use crate::forward::{self, ALLOW, Body};
use crate::leg::{Leg, Side};
use crate::media::Remote;

/// How often the parties are asked again where they are busy with something else in their dialogs, and after which time.
const MAX_PAUSES: u32 = 20;
const PAUSE_NS: u64 = 500_000_000;

impl Worker {
    /// Whoever is referred to has answered, and the media process has its answer: the party that is transferred is
    /// asked to speak with it.
    pub(super) fn join(&mut self, now: u64, id: SessionId, response: Message<'_>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let early = call.invite.as_ref().and_then(|invite| invite.answered_early.clone());
        let Some(handled) = &mut call.transfer else { return };
        handled.answer = Some(early.unwrap_or_else(|| response.to_owned()));
        if handled.from.is_none() {
            self.acknowledge(now, id, Side::Callee, None);
        }
        self.join_again(now, id);
    }

    /// Asks whoever is next to speak with the other: who is referred to, if it is in a call, and then the party that is
    /// transferred.
    pub(super) fn join_again(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.is_live()) else { return };
        let (Some(handled), Some(invite)) = (&mut call.transfer, &call.invite) else { return };
        let ((old, there), here, said) = match (&handled.answer, handled.from) {
            (None, Some(from)) => (from, Side::Callee, invite.request.clone()),
            (Some(answer), _) => ((handled.of, handled.moved()), Side::Caller, answer.clone()),
            (None, None) => return,
        };
        let pauses = handled.pauses;
        handled.pauses += 1;
        if pauses >= MAX_PAUSES {
            return self.fail(now, id, &Refused::new(491));
        }
        let Some(before) = self.calls.get(&old).filter(|call| call.phase == Phase::Answered) else {
            return self.fail(now, id, &Refused::new(481));
        };
        let (leg, other) = (before.leg(there), before.leg(there.other()));
        let busy = leg.is_inviting() || leg.is_updating() || leg.unacknowledged.is_some() || before.offer.is_some();
        if busy || other.reinvite.is_some() || other.update.is_some() {
            return self.timers.set(now + PAUSE_NS, Due::Join(id));
        }
        let flow = leg.next_hop(&self.next_hops);
        let shown = self.shown(flow);
        let via = shown.via(&self.identities.branch(old));
        let headers = self.timer_headers(old, there);
        let Some(call) = self.calls.get(&id) else { return };
        let body = match self.body_for(call, here, said.view()) {
            Ok(body) => body,
            Err(refused) => return self.fail(now, id, &refused),
        };
        let dialog = self.calls.get_mut(&old).and_then(|before| before.leg_mut(there).dialog.as_mut());
        let Some(dialog) = dialog else { return };
        let writer = dialog.request(Method::Invite, via.as_bytes());
        let writer =
            with(writer.header("Contact", shown.secured(dialog.secure).contact()).header("Allow", ALLOW), headers);
        let Some(call) = self.calls.get(&id) else { return };
        let bytes = self.crossing(call, here).finish(writer, said.view(), &body);
        let client = self.send(now, flow, bytes, ClientUse::Join(id, (old, there)));
        match (client, self.calls.get_mut(&old)) {
            (Some(client), Some(before)) => before.leg_mut(there).inviting = Some(client),
            _ => self.fail(now, id, &Refused::new(503)),
        }
    }

    /// The answer of a party that was asked, in its old call, to speak with the other.
    pub(super) fn joined(
        &mut self,
        arrival: Arrival<'_>,
        client: ClientId,
        id: SessionId,
        (old, side): (SessionId, Side),
    ) {
        let Arrival { now, message, .. } = arrival;
        let Some(status) = message.status().filter(|status| *status >= 200) else { return };
        let longer = self.longer_interval(old, side, message);
        let inviting = self.calls.get_mut(&old).map(|before| before.leg_mut(side));
        let Some(leg) = inviting.filter(|leg| leg.inviting == Some(client)) else {
            return self.repeated_answer(arrival);
        };
        leg.inviting = None;
        if status >= 300 {
            let waits = self.calls.get(&id).is_some_and(|call| call.transfer.is_some());
            match status {
                422 if longer && waits => self.join_again(now, id),
                491 if waits => {
                    let pause_ns = self.glare_pause_ns(side);
                    self.timers.set(now + pause_ns, Due::Join(id));
                }
                _ if waits => {
                    let reason = message.reason().unwrap_or_default().to_vec();
                    self.fail(now, id, &Refused { reason, ..Refused::new(status) });
                }
                _ => {}
            }
            return;
        }
        leg.unacknowledged = message.cseq().ok().map(|cseq| cseq.number);
        if let Some(dialog) = &mut leg.dialog {
            dialog.refresh_target(message);
        }
        self.acknowledge(now, old, side, None);
        self.refreshed_by_peer(now, old, side, message);
        let wanted = self.calls.get(&id).filter(|call| call.is_live()).and_then(|call| call.transfer.as_ref());
        let referred = wanted.map(|handled| handled.from == Some((old, side)));
        let streams = match forward::body(message) {
            Body::Sdp(sdp) => self.read_joining(id, (old, side), sdp),
            _ => Err(Refused::because(488, "No Session Description")),
        };
        match (referred, streams) {
            // The transfer has failed meanwhile: what was said before is in force again.
            (None, _) => self.say_again(now, old, side),
            (Some(_), Err(refused)) => {
                self.say_again(now, old, side);
                self.fail(now, id, &refused);
            }
            (Some(true), Ok(streams)) => {
                let Some(call) = self.calls.get_mut(&id) else { return };
                if let Some(handled) = &mut call.transfer {
                    handled.left = true;
                }
                let response = message.to_owned();
                call.waiting.push(Waiting::Answer { from: Side::Callee, response, received_at: now });
                self.agree(id, Side::Callee, streams);
            }
            (Some(false), Ok(streams)) => {
                self.complete(now, id);
                self.agree(id, Side::Caller, streams);
            }
        }
    }

    /// What the answer of a party that was asked to speak with the other says of its streams, or why they cannot speak:
    /// it is one of the new call, as if the party had been called in that.
    fn read_joining(&self, id: SessionId, (old, side): (SessionId, Side), sdp: &[u8]) -> Result<Vec<Remote>, Refused> {
        let mut streams = read(sdp)?;
        let (Some(call), Some(before)) = (self.calls.get(&id), self.calls.get(&old)) else {
            return Err(Refused::new(481));
        };
        let leg = before.leg(side);
        self.check_private(leg.trunk, leg.flow.remote.ip(), &streams)?;
        let referred = call.transfer.as_ref().is_some_and(|handled| handled.from == Some((old, side)));
        let other = if referred { Side::Caller } else { Side::Callee };
        self.leave_out([leg.trunk, call.leg(other).trunk], sdp, &mut streams)?;
        Ok(streams)
    }

    /// A party did not answer when it was asked to speak with the other.
    pub(super) fn join_unanswered(
        &mut self,
        now: u64,
        client: ClientId,
        id: SessionId,
        (old, side): (SessionId, Side),
    ) {
        if let Some(before) = self.calls.get_mut(&old) {
            before.leg_mut(side).inviting.take_if(|inviting| *inviting == client);
        }
        self.next_hop_failed(now, old, side);
        if self.calls.get(&id).is_some_and(|call| call.transfer.is_some()) {
            self.fail(now, id, &Refused::new(408));
        }
    }

    /// Both have agreed: their legs become those of the new call, and the old ones end.
    fn complete(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(handled) = call.transfer.take() else { return };
        let answer = handled.answer.clone();
        if let Some(from) = handled.from {
            call.answered_at = Some(now);
            self.enter(id, Phase::Answered, Some(now + self.policy.limits.call_duration_ns));
            self.adopt(id, Side::Callee, from);
        }
        self.adopt(id, Side::Caller, (handled.of, handled.moved()));
        if let Some(invite) = self.take_invite(id) {
            self.remember_sdp(id, Side::Callee, invite.request.view());
        }
        if let Some(answer) = answer {
            self.remember_sdp(id, Side::Caller, answer.view());
        }
        self.record_joined(now, id);
        self.transferred(now, handled.of);
        if !self.notify(now, (handled.of, handled.by), handled.subscription, "SIP/2.0 200 OK", true) {
            self.hang_up(now, handled.of, handled.by, None);
        }
        if let Some((other, side)) = handled.from {
            self.transferred(now, other);
            self.hang_up(now, other, side.other(), None);
        }
    }

    /// The call is over: its party goes on in another one.
    fn transferred(&mut self, now: u64, id: SessionId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.transferring = None;
        }
        self.finish(now, id, Outcome::Transferred);
        self.end(now, id);
    }

    /// A leg of an old call becomes that of a new one.
    fn adopt(&mut self, id: SessionId, as_side: Side, (old, side): (SessionId, Side)) {
        let placeholder = self.identities.token(old);
        let timer = self.calls.get(&old).and_then(|before| before.leg(side).timer);
        self.set_timer(old, side, None);
        let Some(before) = self.calls.get_mut(&old) else { return };
        let nobody = Leg::new(before.leg(side).trunk, before.leg(side).flow, placeholder);
        let leg = std::mem::replace(before.leg_mut(side), nobody);
        before.tags.retain(|tag| *tag != leg.tag);
        let Some(call) = self.calls.get_mut(&id) else { return };
        self.tags.insert(leg.tag, (id, as_side));
        call.tags.push(leg.tag);
        *call.leg_mut(as_side) = leg;
        self.set_timer(id, as_side, timer);
    }

    /// The transfer cannot be: whoever is referred to is let go, and all else is as it was.
    fn fail(&mut self, now: u64, id: SessionId, refused: &Refused) {
        self.refuse_caller(now, id, refused, Outcome::Refused(refused.status));
        self.hang_up(now, id, Side::Callee, None);
    }
}
