//! UPDATE (RFC 3311): an offer that needs no INVITE, before the answer and after it. One without an offer refreshes
//! its own dialog, and is answered here.

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, ServerId};
use moorline_sip::{Message, Method, respond};

use super::refresh::with;
use super::setup::{Refused, refusal_body};
use super::shown_answers::without_interval;
use super::targets::is_secure;
use super::{Arrival, ClientUse, Due, Worker};
use crate::Outcome;
use crate::call::{Call, Offer, Phase, Waiting};
use crate::forward::{self, ALLOW, Body};
use crate::leg::{Side, Update};
use crate::media::Remote;
use crate::session_timer::Agreed;

/// How long the other party has for its answer: as long as the transaction of an UPDATE (RFC 3261 17.1.2.2, timer F).
const ANSWER_NS: u64 = 32_000_000_000;

impl Worker {
    /// An UPDATE of `side`.
    pub(super) fn update(&mut self, arrival: Arrival<'_>, server: ServerId, id: SessionId, side: Side) {
        let Some(call) = self.calls.get(&id) else { return };
        if call.leg(side).update.is_some() {
            return self.refuse_pending(arrival, server, b"Server Internal Error - UPDATE Pending");
        }
        if call.is_agreed()
            && let Err(shortest_s) = Agreed::of_request(self.session_timers(call, side), arrival.message)
        {
            return self.refuse_interval(arrival, server, shortest_s);
        }
        match forward::body(arrival.message) {
            Body::Unsupported => self.refuse(arrival, server, 415, b"Unsupported Media Type"),
            Body::Sdp(sdp) => match self.read_offer(call, side, sdp) {
                Ok(streams) => self.take_offer(arrival, server, id, side, streams),
                Err(refused) => self.refuse(arrival, server, refused.status, &refused.reason),
            },
            Body::None | Body::Opaque(_) => self.answer_refresh(arrival, server, id, side),
        }
    }

    /// Answers an UPDATE that offers nothing: the target is refreshed (RFC 3311 5.2).
    fn answer_refresh(&mut self, arrival: Arrival<'_>, server: ServerId, id: SessionId, side: Side) {
        let Arrival { now, message, flow, .. } = arrival;
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(dialog) = call.dialog_mut(side) {
            dialog.refresh_target(message);
        }
        let agreed = call.is_agreed();
        let shown = self.shown(flow).secured(is_secure(message));
        let mut answer =
            respond(message, flow.remote, 200, b"OK", None).header("Contact", shown.contact()).header("Allow", ALLOW);
        if let Some(call) = self.calls.get(&id).filter(|_| agreed) {
            answer = with(answer, self.agreed_headers(call, side, message));
        }
        self.layer.respond(now, server, answer.finish(b""));
        if agreed {
            // The snapshot has to know how long the session lasts.
            self.agree_timer(now, id, side, message);
            self.update_media(id);
        }
    }

    /// 500 with a time to wait (RFC 3261 14.2, RFC 3311 5.2).
    pub(super) fn refuse_pending(&mut self, arrival: Arrival<'_>, server: ServerId, reason: &[u8]) {
        let pause = self.identities.call().random % 10;
        let answer = self.answer_to(arrival, 500, reason).header("Retry-After", pause.to_string());
        self.layer.respond(arrival.now, server, answer.finish(b""));
    }

    /// An offer of `side` outside an INVITE goes on to the other party, when the media process has it.
    pub(super) fn take_offer(
        &mut self,
        arrival: Arrival<'_>,
        server: ServerId,
        id: SessionId,
        side: Side,
        streams: Vec<Remote>,
    ) {
        let Arrival { now, message, flow, .. } = arrival;
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.announcing.is_some() {
            // There is nobody whom it could go on to.
            return self.refuse(arrival, server, 488, b"Not Acceptable Here - Announcement");
        }
        match conflict(call, side) {
            Some(500) => return self.refuse_pending(arrival, server, b"Server Internal Error - Offer Pending"),
            Some(status) => return self.refuse(arrival, server, status, b"Request Pending"),
            None => {}
        }
        if !call.updates(side.other()) && call.invite.is_some() {
            // Before the answer there is no other request that could take it on.
            return self.refuse(arrival, server, 488, b"Not Acceptable Here - Other Party Takes No UPDATE");
        }
        if !self.media.is_connected() {
            let refused = Refused::because(503, "No Media Process");
            return self.refuse(arrival, server, refused.status, &refused.reason);
        }
        let until = now + ANSWER_NS;
        self.timers.set(until, Due::Update(id, side));
        let early = call.early.as_ref().map(|(_, tag)| tag.clone());
        let update = Update { server, request: message.to_owned(), source: flow.remote, until, early };
        call.leg_mut(side).update = Some(Box::new(update));
        call.late_offer = false;
        call.offer = Some(Offer { by: side, streams });
        call.waiting.push(Waiting::Update(side));
        self.update_media(id);
    }

    /// The offer of `side` goes on: in an UPDATE, or in a re-INVITE where the other party takes none.
    pub(super) fn forward_update(&mut self, now: u64, id: SessionId, side: Side) {
        let other = side.other();
        let Some(call) = self.calls.get(&id) else { return };
        let Some(update) = &call.leg(side).update else { return };
        let request = update.request.clone();
        let by_update = call.updates(other);
        if !by_update {
            // The ACK to its 2xx waits for that of `side`, who has heard of it; no INVITE may go before (RFC 3261 14.1).
            self.acknowledge(now, id, other, None);
        }
        let Some(call) = self.calls.get(&id) else { return };
        let method = if by_update { Method::Update } else { Method::Invite };
        let flow = call.next_hop(other, &self.next_hops);
        let shown = self.shown(flow);
        let via = shown.via(&self.identities.branch(id));
        let headers = self.timer_headers(id, other);
        let Some(dialog) = self.calls.get_mut(&id).and_then(|call| call.dialog_mut(other)) else { return };
        let writer = dialog
            .request(method, via.as_bytes())
            .header("Contact", shown.secured(dialog.secure).contact())
            .header("Allow", ALLOW);
        let writer = with(writer, headers);
        let Some(call) = self.calls.get(&id) else { return };
        let client = match self.body_for(call, other, request.view()) {
            Ok(body) => {
                let bytes = self.crossing(call, other).finish(writer, request.view(), &body);
                self.send(now, flow, bytes, ClientUse::Update(id, other))
            }
            Err(refused) => return self.refuse_update(now, id, side, &refused),
        };
        match (client, self.calls.get_mut(&id)) {
            (Some(client), Some(call)) if by_update => call.leg_mut(other).updating = Some(client),
            (Some(client), Some(call)) => call.leg_mut(other).inviting = Some(client),
            _ => self.refuse_update(now, id, side, &Refused::new(503)),
        }
    }

    /// The answer of `side` to an offer of the other party's UPDATE.
    pub(super) fn updated(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId, side: Side) {
        let Arrival { now, message, .. } = arrival;
        let origin = side.other();
        let Some(status) = message.status().filter(|status| *status >= 200) else { return };
        let longer = self.longer_interval(id, side, message);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let leg = call.leg_mut(side);
        let by_invite = leg.inviting.take_if(|inviting| *inviting == client).is_some();
        if !by_invite && leg.updating.take_if(|updating| *updating == client).is_none() {
            return self.repeated_answer(arrival);
        }
        if longer {
            return self.forward_update(now, id, origin);
        }
        if status >= 300 {
            return self.update_refused(now, id, side, message);
        }
        if by_invite {
            leg.unacknowledged = message.cseq().ok().map(|cseq| cseq.number);
        }
        if let Some(dialog) = call.dialog_mut(side) {
            dialog.refresh_target(message);
        }
        if by_invite {
            self.acknowledge(now, id, side, None);
        }
        if self.calls.get(&id).is_some_and(|call| call.is_agreed()) {
            self.refreshed_by_peer(now, id, side, message);
        }
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.is_live()) else { return };
        let Some(update) = &call.leg(origin).update else {
            // It was given up, and the parties no longer agree on what is in force.
            return self.end_disagreed(now, id, &Refused::new(500));
        };
        if update.request.view().method() == Some(Method::Update) {
            let request = update.request.clone();
            if let Some(dialog) = call.dialog_mut(origin) {
                dialog.refresh_target(request.view());
            }
        }
        let leg = call.leg_mut(origin);
        leg.relatch = leg.relatch.wrapping_add(1);
        let Some(call) = self.calls.get(&id) else { return };
        let streams = match forward::body(message) {
            Body::Sdp(sdp) => self.read_answer(call, side, sdp).map(Some),
            Body::Unsupported => Err(Refused::unsupported()),
            Body::None | Body::Opaque(_) => Ok(None),
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        match streams {
            Ok(streams) => {
                call.waiting.push(Waiting::Updated { from: side, response: message.to_owned() });
                match streams {
                    Some(streams) => self.agree(id, side, streams),
                    None => {
                        call.offer = None;
                        self.update_media(id);
                    }
                }
            }
            Err(refused) => {
                self.refuse_update(now, id, origin, &refused);
                self.end_disagreed(now, id, &refused);
            }
        }
    }

    /// The media process has the answer of `side` too: it goes on.
    pub(super) fn forward_updated(&mut self, now: u64, id: SessionId, side: Side, response: Message<'_>) {
        let origin = side.other();
        let Some(call) = self.calls.get(&id) else { return };
        match self.body_for(call, origin, response) {
            Ok(body) => self.answer_update(now, id, side, response, &body),
            Err(refused) => {
                self.refuse_update(now, id, origin, &refused);
                self.end_disagreed(now, id, &refused);
            }
        }
        self.release_answer(now, id);
    }

    /// A refusal of `side` goes on; all stays as it was.
    fn update_refused(&mut self, now: u64, id: SessionId, side: Side, response: Message<'_>) {
        let instead = without_interval(response);
        let refusal = instead.as_ref().map_or(response, |instead| instead.view());
        self.answer_update(now, id, side, refusal, refusal_body(refusal));
        if let Some(call) = self.calls.get_mut(&id) {
            call.offer = None;
        }
        self.update_media(id);
        self.release_answer(now, id);
    }

    /// Answers the UPDATE of the other party with a final response of `side`.
    fn answer_update(&mut self, now: u64, id: SessionId, side: Side, response: Message<'_>, body: &[u8]) {
        let origin = side.other();
        let Some(update) = self.take_update(id, origin) else { return };
        let Some(call) = self.calls.get(&id) else { return };
        let Some(status) = response.status() else { return };
        let reason = response.reason().unwrap_or_default();
        let mut writer = respond(update.request.view(), update.source, status, reason, None);
        if status < 300 {
            let leg = call.leg(origin);
            let contact = self.shown(leg.flow).secured(leg.is_secure()).contact();
            writer = writer.header("Contact", contact).header("Allow", ALLOW);
        }
        let refreshing = status < 300 && update.request.view().method() == Some(Method::Update) && call.is_agreed();
        if refreshing {
            writer = with(writer, self.agreed_headers(call, origin, update.request.view()));
        }
        let answer = self.crossing(call, origin).finish(writer, response, body);
        self.layer.respond(now, update.server, answer);
        if refreshing {
            self.agree_timer(now, id, origin, update.request.view());
        }
        if status < 300 {
            self.remember_sdp(id, origin, response);
            self.remember_sdp(id, side, update.request.view());
        }
    }

    fn take_update(&mut self, id: SessionId, side: Side) -> Option<Box<Update>> {
        let update = self.calls.get_mut(&id)?.leg_mut(side).update.take()?;
        self.timers.cancel(update.until, Due::Update(id, side));
        Some(update)
    }

    /// Refuses the UPDATE of `side`; the call goes on as it was.
    pub(super) fn refuse_update(&mut self, now: u64, id: SessionId, side: Side, refused: &Refused) {
        let Some(update) = self.take_update(id, side) else { return };
        let answer = respond(update.request.view(), update.source, refused.status, &refused.reason, None);
        self.layer.respond(now, update.server, answer.finish(b""));
        if let Some(call) = self.calls.get_mut(&id) {
            call.offer = None;
            call.waiting.retain(|waiting| !matches!(waiting, Waiting::Update(by) if *by == side));
        }
        self.update_media(id);
        self.release_answer(now, id);
    }

    /// The call was answered in another early dialog than that in which an UPDATE is open: that offer is over with it.
    pub(super) fn drop_updates(&mut self, now: u64, id: SessionId) {
        for side in Side::BOTH {
            if let Some(call) = self.calls.get_mut(&id) {
                call.leg_mut(side).updating = None;
            }
            self.refuse_update(now, id, side, &Refused::new(491));
        }
    }

    /// The UPDATE of `side` was not answered in time.
    pub(super) fn update_over(&mut self, now: u64, id: SessionId, side: Side) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.leg(side).update.is_none() {
            return;
        }
        let other = call.leg_mut(side.other());
        other.updating = None;
        if let Some(client) = other.inviting {
            self.layer.cancel(now, client, None);
        }
        let answered = call.waiting.iter().any(|waiting| matches!(waiting, Waiting::Updated { .. }));
        self.refuse_update(now, id, side, &Refused::new(408));
        if answered {
            self.end_disagreed(now, id, &Refused::new(500));
        }
    }

    /// Ends a call whose parties no longer agree on their media.
    fn end_disagreed(&mut self, now: u64, id: SessionId, refused: &Refused) {
        let Some(call) = self.calls.get(&id) else { return };
        let outcome = Outcome::Rejected(refused.status);
        if call.phase == Phase::Answered && call.invite.is_none() {
            self.hang_up_both(now, id, outcome);
        } else {
            self.give_up(now, id, refused, outcome);
        }
    }
}

/// The status that an offer of `side` must be refused with now, if it must (RFC 3261 14.2, RFC 3311 5.2): 500 where an
/// offer of its own is not answered yet, 491 where one to it, or to the other party, is not.
fn conflict(call: &Call, side: Side) -> Option<u16> {
    let (own, other) = (call.leg(side), call.leg(side.other()));
    if own.update.is_some() || own.reinvite.is_some() {
        return Some(500);
    }
    let open = other.gone || own.updating.is_some() || own.inviting.is_some() || other.is_updating();
    if open || other.inviting.is_some() || other.reinvite.is_some() || call.offer.is_some() || !call.waiting.is_empty()
    {
        return Some(491);
    }
    let invite = call.invite.as_ref()?;
    let settled = |side: Side| match side {
        Side::Caller => invite.settled,
        Side::Callee => call.leg(side).confirmed || call.early().is_some_and(|early| early.settled),
    };
    match (settled(side), settled(side.other())) {
        (true, true) => None,
        (false, _) if side == Side::Caller && invite.offered => Some(500),
        _ => Some(491),
    }
}
