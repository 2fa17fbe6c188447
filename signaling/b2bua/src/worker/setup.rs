//! The beginning of a call: the first INVITE, its provisional answers, its final one.

use moorline_sip::Dialog;
use moorline_sip::Message;
use moorline_sip::transaction::{ClientId, ServerId};
use moorline_sip::{reason_phrase, respond};

use super::{Arrival, RETRY_AFTER, ServerUse, Worker};
use crate::attempt::Groups;
use crate::call::{Call, Invite, Phase, Waiting};
use crate::forward::{self, ALLOW, Body, Crossing};
use crate::leg::{Confirming, Leg, Side};
use crate::media::{self, Remote, Unusable};
use crate::{Observation, Outcome};
use moorline_control::{LocalSession, SessionId};

/// T1 and T2 of RFC 3261 17.1.1.1, for the repetition of a 2xx.
pub(super) const T1_NS: u64 = 500_000_000;
pub(super) const T2_NS: u64 = 4_000_000_000;

/// Why those who rang in vain are cancelled (RFC 3326): their telephones show no missed call.
const ANSWERED_ELSEWHERE: &[u8] = b"SIP;cause=200;text=\"Call completed elsewhere\"";

/// What a new INVITE must have been found to be before there is a call.
struct Admission {
    egress: usize,
    groups: Groups,
    max_forwards: u32,
    offer: Option<Vec<Remote>>,
}

/// A final answer that this host gives itself.
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) reason: Vec<u8>,
}

impl Refused {
    pub(super) fn new(status: u16) -> Refused {
        Refused { status, reason: reason_phrase(status).as_bytes().to_vec() }
    }

    /// For a body that may hold a session description where it cannot be rewritten.
    pub(super) fn unsupported() -> Refused {
        Refused::because(415, "Body Not Readable Here")
    }

    pub(super) fn because(status: u16, why: &str) -> Refused {
        Refused { status, reason: format!("{} - {why}", reason_phrase(status)).into_bytes() }
    }
}

impl From<Unusable> for Refused {
    fn from(unusable: Unusable) -> Refused {
        Refused { status: 488, reason: unusable.0.into_bytes() }
    }
}

impl Worker {
    /// The first INVITE of a call.
    pub(super) fn invite(&mut self, arrival: Arrival<'_>, trunk: usize, server: ServerId) {
        if !forward::required(arrival.message).is_empty() {
            return self.refuse_extension(arrival, server);
        }
        let admission = match self.admit(arrival.message, trunk) {
            Ok(admission) => admission,
            Err(refused) => return self.reject(arrival, server, &refused),
        };
        let Ok((dialog, id)) = self.caller_dialog(arrival.message) else {
            self.place.calls.leave();
            return self.refuse(arrival, server, 400, b"Bad Request - No Usable Contact");
        };
        self.counters.calls += 1;
        let trying = respond(arrival.message, arrival.flow.remote, 100, b"Trying", None);
        self.layer.respond(arrival.now, server, trying.finish(b""));

        let mut caller = Leg::new(trunk, arrival.flow, dialog.1);
        caller.dialog = Some(dialog.0);
        // Until somebody has answered, the called side is where the first INVITE goes.
        let called_flow = admission.groups.front().and_then(|group| group.first()).map_or(arrival.flow, |to| to.flow);
        let callee = Leg::new(admission.egress, called_flow, self.identities.token(id));
        self.tags.insert(caller.tag, (id, Side::Caller));
        self.servers.insert(server, ServerUse::Invite(id));
        let deadline = arrival.now + self.policy.limits.ring_ns;
        self.timers.set(deadline, super::Due::Phase(id));
        let caller_tag = caller.tag;
        let both_trusted = [trunk, admission.egress].iter().all(|trunk| self.policy.trunks[*trunk].trusted);
        let call = Call {
            id,
            phase: Phase::Inviting,
            legs: [caller, callee],
            invite: Some(Invite {
                server,
                request: arrival.message.to_owned(),
                received_at: arrival.now,
                max_forwards: admission.max_forwards,
                groups: admission.groups,
                refusal: None,
                forwarded: false,
                progressed: false,
            }),
            attempts: Vec::new(),
            withheld: forward::is_privacy_asked(arrival.message) && !both_trusted,
            tags: vec![caller_tag],
            said: [admission.offer, None],
            offer: None,
            local: LocalSession::default(),
            waiting: Waiting::Invite,
            media_request: 0,
            deadline: Some(deadline),
            answered_at: None,
            ended_at: None,
            outcome: None,
            declined: Vec::new(),
            clients: 0,
            restored: false,
            media_closed: false,
            report: None,
            recorded: false,
        };
        self.calls.insert(id, call);
        self.live += 1;
        self.open_media(id);
    }

    /// Everything that can refuse a call before it exists.
    fn admit(&self, invite: Message<'_>, trunk: usize) -> Result<Admission, Refused> {
        let max_forwards = invite.max_forwards().ok().flatten().unwrap_or(70);
        if max_forwards == 0 {
            return Err(Refused::new(483));
        }
        if forward::is_looping(invite, self.identities.node()) {
            return Err(Refused::new(482));
        }
        let offer = match forward::body(invite) {
            Body::Sdp(sdp) => Some(read(sdp)?),
            Body::Unsupported => return Err(Refused::unsupported()),
            Body::None | Body::Opaque(_) => None,
        };
        let called = invite.request_uri().map(called_number).unwrap_or_default();
        let egress = self.policy.egress(trunk, called).ok_or_else(|| Refused::because(404, "No Route"))?;
        let groups = self.destinations(egress);
        if groups.is_empty() {
            return Err(Refused::because(480, "Trunk Has No Target"));
        }
        if !self.media.is_connected() {
            return Err(Refused::because(503, "No Media Process"));
        }
        // Last: from here on the call counts.
        if !self.place.calls.enter(self.policy.limits.calls) {
            return Err(Refused::because(503, "Call Limit Reached"));
        }
        Ok(Admission { egress, groups, max_forwards, offer })
    }

    /// Refuses a new INVITE before there is a call.
    fn reject(&mut self, arrival: Arrival<'_>, server: ServerId, refused: &Refused) {
        let mut answer = self.answer_to(arrival, refused.status, &refused.reason);
        if refused.status == 503 {
            answer = answer.header("Retry-After", RETRY_AFTER);
        }
        if refused.status == 415 {
            answer = answer.header("Accept", "application/sdp");
        }
        self.layer.respond(arrival.now, server, answer.finish(b""));
        let call = self.identities.call();
        let from = self.policy.ingress(arrival.flow.listener, arrival.flow.remote);
        self.observe(Observation::Ended {
            call,
            from: from.map(|trunk| self.policy.trunks[trunk].name.clone()).unwrap_or_default(),
            to: None,
            outcome: Outcome::Rejected(refused.status),
            talk_ns: 0,
            report: None,
        });
    }

    fn caller_dialog(&mut self, invite: Message<'_>) -> Result<((Dialog, SessionId), SessionId), ()> {
        let id = self.identities.call();
        let tag = self.identities.token(id);
        let dialog = Dialog::uas(invite, tag.to_string().as_bytes()).map_err(|_| ())?;
        Ok(((dialog, tag), id))
    }

    /// How headers cross to the leg of `to`.
    pub(super) fn crossing(&self, call: &Call, to: Side) -> Crossing {
        let egress = &self.policy.trunks[call.leg(to).trunk];
        Crossing {
            withheld: to == Side::Callee && (call.withheld || egress.withhold_caller),
            trusted: call.legs.iter().all(|leg| self.policy.trunks[leg.trunk].trusted),
            shown_as: self.advertised(call.leg(to).flow.listener),
        }
    }

    /// A message's body as `to` is shown it: session descriptions with our addresses, others as they are.
    pub(super) fn body_for(&self, call: &Call, to: Side, message: Message<'_>) -> Result<Vec<u8>, Refused> {
        match forward::body(message) {
            Body::None => Ok(Vec::new()),
            Body::Opaque(bytes) => Ok(bytes.to_vec()),
            Body::Unsupported => Err(Refused::unsupported()),
            Body::Sdp(sdp) => {
                let unreadable = || Refused::because(488, "Session Description Not Understood");
                let session = moorline_sdp::Session::parse(sdp).map_err(|_| unreadable())?;
                let fallback = self.policy.listeners[call.leg(to).flow.listener].advertised.ip();
                let (origin, anchors) = media::anchors(&call.local, to.index(), fallback);
                Ok(moorline_sdp::rewrite(&session, origin, &anchors))
            }
        }
    }

    /// An answer to the first INVITE.
    pub(super) fn invite_answered(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId) {
        let Some(status) = arrival.message.status() else { return };
        match status {
            0..=100 => {}
            101..=199 => self.progress(arrival, client, id),
            200..=299 => self.accepted(arrival, client, id),
            _ => self.refused_by_callee(arrival, client, id, status),
        }
    }

    fn progress(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId) {
        let Arrival { now, message, .. } = arrival;
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.phase != Phase::Inviting {
            return;
        }
        let Some(attempt) = call.attempt_mut(client) else { return };
        attempt.note_early(message);
        let flow = attempt.destination.flow;
        let first = call.invite.as_mut().is_some_and(|invite| !std::mem::replace(&mut invite.progressed, true));
        // An early answer. What would be an offer (the INVITE had none) cannot be one in an unreliable
        // response (RFC 3261 13.2.1), and one that cannot be anchored is left out: ringing goes on.
        let offered = call.said[Side::Caller.index()].is_some();
        let early = match forward::body(message) {
            Body::Sdp(sdp) => read(sdp).ok().filter(|_| offered),
            _ => None,
        };
        let answered = early.is_some();
        if answered {
            call.said[Side::Callee.index()] = early;
            call.leg_mut(Side::Callee).flow = flow;
            self.update_media(id);
        }
        let Some(call) = self.calls.get(&id) else { return };
        let Some(invite) = &call.invite else { return };
        let (server, invited_at) = (invite.server, invite.received_at);
        let body = match forward::body(message) {
            Body::Sdp(_) if !answered => Vec::new(),
            _ => self.body_for(call, Side::Caller, message).unwrap_or_default(),
        };
        let Some(answer) = self.answer_for_caller(call, message, &body) else { return };
        self.layer.respond(now, server, answer);
        if first {
            self.observe(Observation::FirstProvisional { invited_at });
        }
    }

    /// A response of the callee as the caller sees it.
    pub(super) fn answer_for_caller(&self, call: &Call, response: Message<'_>, body: &[u8]) -> Option<Vec<u8>> {
        let invite = call.invite.as_ref()?;
        let caller = call.leg(Side::Caller);
        let status = response.status()?;
        let tag = caller.tag.to_string();
        let reason = response.reason().unwrap_or_default();
        let mut writer = respond(invite.request.view(), caller.flow.remote, status, reason, Some(tag.as_bytes()));
        if status < 300 {
            writer = writer
                .record_route(invite.request.view())
                .header("Contact", self.shown(caller.flow).contact())
                .header("Allow", ALLOW);
        }
        Some(self.crossing(call, Side::Caller).finish(writer, response, body))
    }

    /// A 2xx of the callee.
    fn accepted(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId) {
        let Arrival { now, message, flow } = arrival;
        let Some(call) = self.calls.get(&id) else { return };
        let callee = call.leg(Side::Callee);
        let known = callee.dialog.as_ref();
        let tag = forward::to_tag(message).unwrap_or_default();
        let ours = message.from().ok().and_then(|from| from.tag()).unwrap_or_default();
        if known.is_some_and(|dialog| dialog.remote_tag == tag && dialog.local_tag == ours) {
            return self.repeated_answer(arrival);
        }
        let target = format!("sip:{}", flow.remote);
        let attempt = call.attempts.iter().find(|attempt| attempt.client == client);
        let dialog = match attempt {
            Some(attempt) => attempt.confirmed(message),
            None => Dialog::uac(message, target.as_bytes()).ok(),
        };
        let Some(dialog) = dialog else { return };
        if known.is_some() || call.phase != Phase::Inviting {
            // Another branch of a forked INVITE, or the caller gave up while this was on its way: the
            // dialog is acknowledged and ended at once (RFC 3261 13.2.2.4, 9.1).
            return self.decline_answer(arrival, client, id, dialog);
        }
        let cseq = message.cseq().map(|cseq| cseq.number).unwrap_or_default();
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(attempt) = call.take_attempt(client) else { return };
        let callee = call.leg_mut(Side::Callee);
        callee.flow = attempt.destination.flow;
        callee.tag = attempt.tag;
        callee.dialog = Some(dialog);
        callee.unacknowledged = Some(cseq);
        callee.confirmed = true;
        for other in &call.attempts {
            self.layer.cancel(now, other.client, Some(ANSWERED_ELSEWHERE));
        }
        self.enter(id, Phase::Answered, Some(now + self.policy.limits.call_duration_ns));
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.answered_at = Some(now);
        self.counters.answered += 1;
        if let Err(refused) = self.answer_media(now, id, Side::Callee, message) {
            self.refuse_caller(now, id, &refused, Outcome::Rejected(refused.status));
            self.hang_up(now, id, Side::Callee, None);
        }
    }

    /// The 2xx goes on to the caller, and is repeated until its ACK.
    pub(super) fn forward_answer(&mut self, now: u64, id: SessionId, response: Message<'_>, received_at: u64) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(invite) = &call.invite else { return };
        let (server, invited_at) = (invite.server, invite.received_at);
        let cseq = invite.request.view().cseq().map(|cseq| cseq.number).unwrap_or_default();
        let body = match self.body_for(call, Side::Caller, response) {
            Ok(body) => body,
            Err(refused) => {
                self.refuse_caller(now, id, &refused, Outcome::Rejected(refused.status));
                return self.hang_up(now, id, Side::Callee, None);
            }
        };
        let Some(answer) = self.answer_for_caller(call, response, &body) else { return };
        self.confirm(now, id, Side::Caller, server, cseq, answer);
        if let Some(call) = self.calls.get_mut(&id) {
            call.invite = None;
        }
        self.observe(Observation::Answered { invited_at });
        self.observe(Observation::AnswerForwarded { received_at });
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
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(invite) = call.invite.take() {
            let caller = call.leg(Side::Caller);
            let tag = caller.tag.to_string();
            let request = invite.request.view();
            let mut answer =
                respond(request, caller.flow.remote, refused.status, &refused.reason, Some(tag.as_bytes()));
            if refused.status == 503 {
                answer = answer.header("Retry-After", RETRY_AFTER);
            }
            self.layer.respond(now, invite.server, answer.finish(b""));
        }
        self.finish(now, id, outcome);
        self.end(now, id);
    }
}

/// What a session description says of its streams, or why it cannot be carried.
pub(super) fn read(sdp: &[u8]) -> Result<Vec<Remote>, Refused> {
    let session = moorline_sdp::Session::parse(sdp)
        .map_err(|error| Refused::because(488, &format!("Session Description: {error}")))?;
    Ok(media::remotes(&session)?)
}

/// What crosses of a refusal's body: the description that a 488 may carry says what the refuser could do, with
/// its addresses, and no media is meant by it.
pub(super) fn refusal_body(refusal: Message<'_>) -> &[u8] {
    match forward::body(refusal) {
        Body::Opaque(bytes) => bytes,
        Body::None | Body::Sdp(_) | Body::Unsupported => b"",
    }
}

/// The called number: the user part of a SIP URI, or the number of a `tel:` one.
fn called_number(uri: &[u8]) -> &[u8] {
    moorline_sip::Uri::parse(uri).ok().and_then(|uri| uri.user).unwrap_or_default()
}
