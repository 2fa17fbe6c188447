//! The called side has answered: its 2xx goes on to the caller, or the caller is refused.

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, ServerId};
use moorline_sip::{Message, Name, OwnedMessage, respond};

use super::refer::{REPLACES, takes_replaces};
use super::setup::Refused;
use super::{Arrival, RETRY_AFTER, Worker};
use crate::call::{Call, Invite, Phase};
use crate::extension;
use crate::forward::{self, ALLOW, Body};
use crate::leg::{Confirming, Side};
use crate::{Observation, Outcome};

/// T1 and T2 of RFC 3261 17.1.1.1, for the repetition of a 2xx.
pub(super) const T1_NS: u64 = 500_000_000;
pub(super) const T2_NS: u64 = 4_000_000_000;

/// Why those who rang in vain are cancelled (RFC 3326): their telephones show no missed call.
const ANSWERED_ELSEWHERE: &[u8] = b"SIP;cause=200;text=\"Call completed elsewhere\"";

impl Worker {
    /// A response of the callee as the caller sees it.
    pub(super) fn answer_for_caller(&self, call: &Call, response: Message<'_>, body: &[u8]) -> Option<Vec<u8>> {
        self.answer_with(call, response, body, &[])
    }

    /// The same, with more headers of our own.
    pub(super) fn answer_with(
        &self,
        call: &Call,
        response: Message<'_>,
        body: &[u8],
        headers: &[(&str, String)],
    ) -> Option<Vec<u8>> {
        let invite = call.invite.as_ref()?;
        let caller = call.leg(Side::Caller);
        let status = response.status()?;
        let tag = caller.tag.to_string();
        let reason = response.reason().unwrap_or_default();
        let mut writer = respond(invite.request.view(), caller.flow.remote, status, reason, Some(tag.as_bytes()));
        if status < 300 {
            writer = writer
                .record_route(invite.request.view())
                .header("Contact", self.shown(caller.flow).secured(caller.is_secure()).contact())
                .header("Allow", ALLOW);
        }
        for (name, value) in headers {
            writer = writer.header(name, value);
        }
        Some(self.crossing(call, Side::Caller).finish(writer, response, body))
    }

    /// A 2xx of the callee.
    pub(super) fn accepted(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId) {
        let Arrival { now, message, flow, .. } = arrival;
        let Some(call) = self.calls.get(&id) else { return };
        let callee = call.leg(Side::Callee);
        let known = callee.dialog.as_ref();
        let tag = forward::to_tag(message).unwrap_or_default();
        let ours = message.from().ok().and_then(|from| from.tag()).unwrap_or_default();
        if known.is_some_and(|dialog| dialog.remote_tag == tag && dialog.local_tag == ours) {
            return self.repeated_answer(arrival);
        }
        let attempt = call.attempts.iter().find(|attempt| attempt.client == client);
        let dialog = match attempt {
            Some(attempt) => attempt.confirmed(message),
            None => call.late_branch(message, forward::uri_at(flow.remote).as_bytes()),
        };
        let Some(dialog) = dialog else { return };
        let elsewhere = attempt.is_some_and(|attempt| attempt.trunk != callee.trunk);
        let over = call.phase != Phase::Inviting || call.announcing.is_some();
        if known.is_some() || over || elsewhere {
            // Another branch of a forked INVITE, a trunk that the call has gone on from, or the caller gave up while
            // this was on its way: the dialog is acknowledged and ended at once (RFC 3261 13.2.2.4, 9.1).
            return self.decline_answer(arrival, client, id, dialog);
        }
        let cseq = message.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(attempt) = call.take_attempt(client) else { return };
        let call_id = attempt.call_id;
        let early = attempt.early(&dialog.remote_tag);
        let updates = early.is_some_and(|early| early.updates);
        let settled = early.is_some_and(|early| early.settled);
        let answered = early.and_then(|early| early.answer.clone());
        if let Some(invite) = &mut call.invite {
            invite.answered_early = answered.filter(|_| forward::body(message) == Body::None);
        }
        call.branches = attempt.early;
        let mut updates_open = call.legs.iter().filter_map(|leg| leg.update.as_ref());
        let another = updates_open.any(|update| update.early.as_ref() != Some(&dialog.remote_tag));
        let callee = call.leg_mut(Side::Callee);
        callee.flow = attempt.destination.flow;
        callee.tag = attempt.tag;
        callee.updates = extension::updates(message).unwrap_or(updates);
        callee.dialog = Some(dialog);
        callee.unacknowledged = Some(cseq);
        callee.confirmed = true;
        for other in &call.attempts {
            self.layer.cancel(now, other.client, Some(ANSWERED_ELSEWHERE));
        }
        self.enter(id, Phase::Answered, Some(now + self.policy.limits.call_duration_ns));
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.answered_at = Some(now);
        self.record_accepted(now, id, call_id, message);
        self.refreshed_by_peer(now, id, Side::Callee, message);
        self.counters.answered += 1;
        if !settled || another {
            self.drop_updates(now, id);
        }
        if let Err(refused) = self.answer_media(now, id, Side::Callee, message) {
            self.refuse_caller(now, id, &refused, Outcome::Rejected(refused.status));
            self.hang_up(now, id, Side::Callee, None);
        }
    }

    /// The 2xx goes on to the caller, and is repeated until its ACK.
    pub(super) fn forward_answer(&mut self, now: u64, id: SessionId, response: Message<'_>, received_at: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let caller = call.leg(Side::Caller);
        let unacknowledged = caller.reliable.as_ref().is_some_and(|reliable| reliable.holds_answer());
        if (unacknowledged || caller.update.is_some())
            && let Some(invite) = &mut call.invite
        {
            invite.held = Some((response.to_owned(), received_at));
            return;
        }
        let Some(call) = self.calls.get(&id) else { return };
        let Some(invite) = &call.invite else { return };
        let Some(server) = invite.server else { return self.join(now, id, response) };
        let invited_at = invite.received_at;
        let cseq = invite.request.view().cseq().map(|cseq| cseq.number).unwrap_or_default();
        // A caller that took no reliable provisional answer is owed the description in the 2xx (RFC 3261 13.3.1.4).
        let early = invite.answered_early.clone().filter(|_| !invite.settled);
        let described = early.as_ref().map_or(response, OwnedMessage::view);
        let body = match self.body_for(call, Side::Caller, described) {
            Ok(body) => body,
            Err(refused) => {
                self.refuse_caller(now, id, &refused, Outcome::Rejected(refused.status));
                return self.hang_up(now, id, Side::Callee, None);
            }
        };
        let mut headers = self.agreed_headers(call, Side::Caller, invite.request.view());
        if let Some(kind) = early.as_ref().and_then(|early| early.view().header(Name::ContentType)) {
            headers.push(("Content-Type", String::from_utf8_lossy(kind).into_owned()));
        }
        if takes_replaces(response) {
            headers.push(("Supported", REPLACES.into()));
        }
        let Some(answer) = self.answer_with(call, response, &body, &headers) else { return };
        self.told_caller(id, &answer);
        self.record_up(now, id);
        self.confirm(now, id, Side::Caller, server, cseq, answer);
        if let Some(invite) = self.take_invite(id) {
            self.agree_timer(now, id, Side::Caller, invite.request.view());
            self.remember_sdp(id, Side::Callee, invite.request.view());
        }
        self.remember_sdp(id, Side::Caller, described);
        self.observe(Observation::Answered { invited_at });
        self.observe(Observation::AnswerForwarded { received_at });
    }

    /// The 2xx that was held back goes on, if nothing holds it any more.
    pub(super) fn release_answer(&mut self, now: u64, id: SessionId) {
        let invite = self.calls.get_mut(&id).and_then(|call| call.invite.as_mut());
        if let Some((response, received_at)) = invite.and_then(|invite| invite.held.take()) {
            self.forward_answer(now, id, response.view(), received_at);
        }
    }

    /// The first INVITE is finally answered.
    pub(super) fn take_invite(&mut self, id: SessionId) -> Option<Invite> {
        self.forget_no_answer(id);
        let call = self.calls.get_mut(&id)?;
        if let Some(reliable) = &mut call.leg_mut(Side::Caller).reliable {
            if let Some(at) = reliable.next_at() {
                self.timers.cancel(at, super::Due::Reliable(id));
            }
            reliable.finish();
        }
        call.invite.take()
    }

    /// Sends a 2xx to an INVITE of `side`, and again until the ACK comes (RFC 3261 13.3.1.4).
    pub(super) fn confirm(
        &mut self,
        now: u64,
        id: SessionId,
        side: Side,
        server: ServerId,
        cseq: u32,
        response: Vec<u8>,
    ) {
        self.layer.respond(now, server, response.clone());
        let Some(call) = self.calls.get_mut(&id) else { return };
        let next_at = now + T1_NS;
        let give_up_at = now + 64 * T1_NS;
        call.leg_mut(side).confirmed = true;
        call.leg_mut(side).confirming =
            Some(Confirming { server, cseq, response, interval_ns: T1_NS, next_at, give_up_at });
        self.timers.set(next_at, super::Due::Confirm(id, side));
    }

    /// Answers the caller's first INVITE with a final refusal of our own, and ends the call.
    pub(super) fn refuse_caller(&mut self, now: u64, id: SessionId, refused: &Refused, outcome: Outcome) {
        if self.announce_failure(now, id, refused, outcome) {
            return;
        }
        let announcing = self.calls.get(&id).and_then(|call| call.announcing.as_ref());
        if outcome != Outcome::Cancelled && announcing.is_some_and(|announcing| announcing.passed_on) {
            return self.pass_refusal(now, id);
        }
        let own = self.calls.get(&id).and_then(|call| call.refusal_in_the_end(outcome));
        let (refused, outcome) = own.as_ref().map_or((refused, outcome), |(refused, outcome)| (refused, *outcome));
        if let Some(invite) = self.take_invite(id)
            && let Some(call) = self.calls.get(&id)
        {
            let caller = call.leg(Side::Caller);
            let tag = caller.tag.to_string();
            let request = invite.request.view();
            let refused = &self.told_by_us(caller.trunk, refused);
            let mut answer =
                respond(request, caller.flow.remote, refused.status, &refused.reason, Some(tag.as_bytes()));
            if refused.status == 503 {
                answer = answer.header("Retry-After", RETRY_AFTER);
            }
            match invite.server {
                Some(server) => {
                    let answer = answer.finish(b"");
                    self.told_caller(id, &answer);
                    self.layer.respond(now, server, answer);
                }
                None => self.transfer_failed(now, id, refused.status, &refused.reason),
            }
        }
        self.finish(now, id, outcome);
        self.end(now, id);
    }
}
