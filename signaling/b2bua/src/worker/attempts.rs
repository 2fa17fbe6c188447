//! The called side before it has answered: where the INVITE goes, and what becomes of refusals.

use moorline_control::SessionId;
use moorline_sip::transaction::ClientId;
use moorline_sip::{AddressText, Method, Name, Writer};

use super::hunt::Setback;
use super::records::given_up;
use super::setup::{Refused, refusal_body};
use super::targets::nowhere;
use super::{Arrival, ClientUse, Worker};
use crate::attempt::{Attempt, Destination, keep_better};
use crate::call::{Call, Invite, Phase, with_number_in};
use crate::forward::{self, ALLOW};
use crate::leg::Side;
use crate::{Observation, Outcome};

/// Our identifiers in one INVITE.
struct Identifiers {
    tag: SessionId,
    branch: String,
    call_id: SessionId,
    cseq: u32,
}

impl Worker {
    /// The media session is open: the INVITE goes on to the called side.
    pub(super) fn forward_invite(&mut self, now: u64, id: SessionId) {
        if self.calls.get(&id).is_none_or(|call| call.phase != Phase::Inviting) {
            return;
        }
        if self.calls.get(&id).is_some_and(|call| call.announcing.is_some()) {
            return self.show_announcement(now, id);
        }
        if self.calls.get(&id).and_then(|call| call.transfer.as_ref()?.from).is_some() {
            return self.join_again(now, id);
        }
        if !self.next_group(now, id) {
            self.all_refused(now, id, Setback::Nowhere);
        }
    }

    /// Sends the INVITE to the next group of destinations; false where there is none, or the called side has
    /// shown signs of life.
    pub(super) fn next_group(&mut self, now: u64, id: SessionId) -> bool {
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let Some(invite) = &mut call.invite else { return false };
        if invite.progressed {
            return false;
        }
        let Some(group) = invite.groups.pop_front() else {
            return self.locate_more(now, id) && (self.is_locating(id) || self.next_group(now, id));
        };
        if let Some(first) = group.first() {
            call.leg_mut(Side::Callee).flow = first.flow;
        }
        let mut refusal = None;
        for destination in group {
            if let Err(refused) = self.attempt(now, id, destination, None) {
                refusal = Some(refused);
            }
        }
        self.watch_called(now, id);
        self.watch_no_answer(now, id);
        let idle = self.calls.get(&id).is_some_and(|call| call.attempts.iter().all(|attempt| attempt.given_up));
        if let Some(refused) = refusal.filter(|_| idle)
            && !self.hunt_on(now, id, &Setback::Answer(refused.status, refused.reason.clone()))
        {
            self.refuse_caller(now, id, &refused, Outcome::Rejected(refused.status));
        }
        true
    }

    /// True while a target of the call is looked up.
    fn is_locating(&self, id: SessionId) -> bool {
        let invite = self.calls.get(&id).and_then(|call| call.invite.as_ref());
        invite.is_some_and(|invite| invite.locating.is_some())
    }

    /// True where there is somebody else to call.
    pub(super) fn has_more(&self, id: SessionId) -> bool {
        let invite = self.calls.get(&id).and_then(|call| call.invite.as_ref());
        invite.is_some_and(|invite| !invite.groups.is_empty() || !invite.targets.is_empty())
    }

    /// A destination has answered for the first time.
    pub(super) fn heard(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId) {
        let Some(attempt) = self.calls.get_mut(&id).and_then(|call| call.attempt_mut(client)) else { return };
        let first = !std::mem::replace(&mut attempt.heard, true);
        let (flow, given_up) = (attempt.destination.flow, attempt.given_up);
        // A 503 counts whenever it comes.
        if first || arrival.message.status() == Some(503) {
            self.fared(arrival.now, flow, Some(arrival.message));
            // Those who are called instead of it may be silent all the same.
            if !given_up {
                self.watch_silence(id, None);
            }
        }
    }

    /// Sends the INVITE to one destination. One that was refused there, `before`, is sent as the next of the same call
    /// (RFC 3261 8.1.3.5).
    pub(super) fn attempt(
        &mut self,
        now: u64,
        id: SessionId,
        destination: Destination,
        before: Option<Attempt>,
    ) -> Result<(), Refused> {
        let Some(call) = self.calls.get(&id) else { return Ok(()) };
        let Some(invite) = &call.invite else { return Ok(()) };
        let called = invite.request.view().request_uri().unwrap_or_default();
        let identifiers = Identifiers {
            tag: before.as_ref().map_or_else(|| self.identities.token(id), |before| before.tag),
            branch: self.identities.branch(id) + &forward::loop_mark(called),
            call_id: before.as_ref().map_or_else(|| self.identities.token(id), |before| before.call_id),
            cseq: before.map_or(1, |before| before.cseq + 1),
        };
        let Identifiers { tag, call_id, cseq, .. } = identifiers;
        let received_at = invite.received_at;
        let bytes = self.callee_invite(call, invite, &destination, &identifiers)?;
        let client = self.send(now, destination.flow, bytes, ClientUse::Invite(id));
        let client = client.ok_or_else(|| Refused::because(503, "Too Many Transactions"))?;
        self.record_try(now, id, &destination, call_id);
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        call.seized.sent();
        if self.tags.insert(tag, (id, Side::Callee)).is_none() {
            call.tags.push(tag);
        }
        let trunk = call.leg(Side::Callee).trunk;
        call.attempts.push(Attempt {
            client,
            trunk,
            tag,
            call_id,
            cseq,
            destination,
            early: Vec::new(),
            heard: false,
            given_up: false,
        });
        if call.invite.as_mut().is_some_and(|invite| !std::mem::replace(&mut invite.forwarded, true)) {
            self.observe(Observation::InviteForwarded { received_at });
        }
        Ok(())
    }

    /// The INVITE as one destination sees it.
    fn callee_invite(
        &self,
        call: &Call,
        invite: &Invite,
        destination: &Destination,
        ours: &Identifiers,
    ) -> Result<Vec<u8>, Refused> {
        let request = invite.request.view();
        let host = destination.host.clone().unwrap_or_else(|| AddressText::from(destination.flow.remote).to_string());
        let shown = self.shown(destination.flow);
        let bad = || Refused::new(400);
        let from = request.from().map_err(|_| bad())?;
        let to = request.to().map_err(|_| bad())?;
        let crossing = self.crossing(call, Side::Callee);
        let trunk = &self.policy.trunks[call.leg(Side::Callee).trunk];
        let mut caller = crossing.caller(request, &from, trunk.domain.as_deref());
        caller.extend_from_slice([";tag=", &ours.tag.to_string()].concat().as_bytes());
        let called = request.request_uri().unwrap_or_default();
        let uri = destination.request_uri(&with_number_in(called, &call.numbers.sent.called, &host), &host);
        let egress = call.leg(Side::Callee).trunk;
        let uri = if destination.uri.is_none() { self.marked(egress, uri) } else { uri };
        let secure = forward::is_sips(&uri);
        let writer = Writer::request(Method::Invite, &uri)
            .header("Via", shown.via(&ours.branch))
            .header("Max-Forwards", (invite.max_forwards - 1).to_string());
        let writer = destination.route.iter().fold(writer, |writer, route| writer.header("Route", route));
        let writer = writer
            .header("From", caller)
            .header("To", self.marked(egress, call.numbers.to(&to, &host, secure)))
            .header("Call-ID", ours.call_id.to_string())
            .header("CSeq", format!("{} INVITE", ours.cseq))
            .header("Contact", shown.secured(secure).contact())
            .header("Allow", ALLOW);
        let writer = self.invite_extensions(call, invite, writer);
        let body = self.body_for(call, Side::Callee, request)?;
        let replaced = invite.replaces.clone().map(|value| (Name::Replaces, value));
        Ok(crossing.finish_with(writer, request, &body, replaced.as_slice()))
    }

    /// A final refusal of one destination. When all of a group have refused, the next one is tried where
    /// nothing has rung yet, else the caller hears the best refusal.
    pub(super) fn refused_by_callee(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId, status: u16) {
        let Arrival { now, message, .. } = arrival;
        self.heard(arrival, client, id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let attempt = call.take_attempt(client);
        // The call may have gone on to another trunk meanwhile.
        let from = attempt.as_ref().map_or(call.leg(Side::Callee).trunk, |attempt| attempt.trunk);
        let shown = self.as_mapped(from, message);
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(attempt) = &attempt {
            let reason = message.reason().unwrap_or_default();
            call.record.try_ended(&attempt.call_id.to_string(), Some(status), reason);
        }
        self.ending.push(id);
        // Who was cancelled for its silence says no more than that, or asks for another INVITE in vain.
        let given_up = attempt.as_ref().is_some_and(|attempt| attempt.given_up);
        let hung_up = matches!(status, 422 | 487) && given_up;
        match call.phase {
            Phase::Cancelled if call.attempts.is_empty() => self.end(now, id),
            // The caller is being told why already.
            Phase::Inviting if call.announcing.is_some() => {}
            Phase::Inviting => {
                let (flow, trunk) = attempt.map(|attempt| (attempt.destination.flow, attempt.trunk)).unzip();
                // Nor where it would have the call go to instead.
                if let Some(flow) = flow.filter(|_| status / 100 == 3 && !given_up)
                    && self.follow(id, message, flow)
                {
                    // Those who ring beside it do not keep it waiting (RFC 3261 16.7, step 4).
                    if !self.next_group(now, id) {
                        self.all_refused(now, id, Setback::Nowhere);
                    }
                    return;
                }
                let Some(call) = self.calls.get_mut(&id) else { return };
                let Some(invite) = &mut call.invite else { return };
                let heard = shown.as_ref().map_or(message, |(shown, _)| shown.view());
                if !hung_up && keep_better(&mut invite.refusal, heard) {
                    invite.refused_by = trunk;
                    invite.announcement = shown.as_ref().and_then(|(_, announcement)| announcement.clone());
                }
                if status / 100 == 6 {
                    // Nobody else need be asked (RFC 3261 16.7, step 5).
                    invite.groups.clear();
                    invite.hunting = None;
                    for other in &call.attempts {
                        self.layer.cancel(now, other.client, None);
                    }
                }
                self.all_refused(now, id, Setback::answer(message));
            }
            Phase::Cancelled | Phase::Answered | Phase::Ending => {}
        }
    }

    /// One destination does not answer, or cannot be reached.
    pub(super) fn unanswered_by_callee(&mut self, now: u64, client: ClientId, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let attempt = call.take_attempt(client);
        if let Some(attempt) = &attempt {
            given_up(&mut call.record, attempt);
        }
        self.ending.push(id);
        let phase = call.phase;
        if let Some(attempt) = attempt.filter(|attempt| !attempt.heard && phase != Phase::Cancelled) {
            self.fared(now, attempt.destination.flow, None);
        }
        let Some(call) = self.calls.get(&id) else { return };
        match call.phase {
            Phase::Cancelled if call.attempts.is_empty() => self.end(now, id),
            Phase::Inviting => self.all_refused(now, id, Setback::Silence),
            Phase::Cancelled | Phase::Answered | Phase::Ending => {}
        }
    }

    /// Goes on when no attempt is left: with the next group, or the next trunk, if that may do better than this setback,
    /// else with the best refusal, or 408 where nobody said anything.
    pub(super) fn all_refused(&mut self, now: u64, id: SessionId, setback: Setback) {
        let Some(call) = self.calls.get(&id) else { return };
        let told = call.announcing.is_some();
        if told || call.attempts.iter().any(|attempt| !attempt.given_up) || call.is_opening() || self.is_locating(id) {
            return;
        }
        if (setback.is_of_target() && self.next_group(now, id)) || self.hunt_on(now, id, &setback) {
            return;
        }
        self.turn_back(id);
        let Some(call) = self.calls.get(&id) else { return };
        let Some(invite) = &call.invite else { return };
        if invite.refusal.is_none() {
            if invite.forwarded {
                let refused = self.unanswered_by(call.leg(Side::Callee).trunk, Refused::new(408));
                return self.refuse_caller(now, id, &refused, Outcome::Refused(refused.status));
            }
            let (refused, outcome) = nowhere(invite.not_located);
            return self.refuse_caller(now, id, &refused, outcome);
        }
        if !self.announce_refusal(now, id) {
            self.pass_refusal(now, id);
        }
    }

    /// The called side's best refusal goes on to the caller, and the call ends.
    pub(super) fn pass_refusal(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some((invite, refusal)) = call.invite.as_ref().and_then(|invite| Some((invite, invite.refusal.as_ref()?)))
        else {
            return;
        };
        let server = invite.server;
        let told = self.as_told(call.leg(Side::Caller).trunk, refusal.view());
        let refusal = told.as_ref().map_or(refusal, |(told, _)| told);
        let status = refusal.view().status().unwrap_or_default();
        let contacts = match status {
            300..400 => self.contacts_for_caller(call.leg(Side::Caller).flow, refusal.view()),
            _ => Vec::new(),
        };
        let body = refusal_body(refusal.view());
        match server {
            Some(server) => {
                let Some(answer) = self.answer_with(call, refusal.view(), body, &contacts) else { return };
                self.told_caller(id, &answer);
                self.layer.respond(now, server, answer);
            }
            None => {
                let reason = refusal.view().reason().unwrap_or_default().to_vec();
                self.transfer_failed(now, id, status, &reason);
            }
        }
        self.take_invite(id);
        self.finish(now, id, Outcome::Refused(status));
        self.end(now, id);
    }
}
