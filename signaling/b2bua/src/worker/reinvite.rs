//! Re-INVITEs: the offer of one party goes to the other, and its answer back.

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, ServerId};
use moorline_sip::{Message, Method, Writer, respond};

use super::refresh::with;
use super::setup::{Refused, refusal_body};
use super::shown_answers::without_interval;
use super::{Arrival, ClientUse, ServerUse, Worker};
use crate::Outcome;
use crate::call::{Offer, Phase, Waiting};
use crate::forward::{self, ALLOW, Body};
use crate::leg::{Reinvite, Side};
use crate::session_timer::Agreed;

impl Worker {
    /// A re-INVITE of `side`.
    pub(super) fn reinvite(&mut self, arrival: Arrival<'_>, server: ServerId, id: SessionId, side: Side) {
        let Arrival { now, message, flow, .. } = arrival;
        let Some(call) = self.calls.get(&id) else { return };
        if call.leg(side).reinvite.is_some() || (call.phase == Phase::Inviting && side == Side::Caller) {
            // RFC 3261 14.2: a second INVITE before the first is answered.
            return self.refuse_pending(arrival, server, b"Server Internal Error - INVITE Pending");
        }
        let open =
            |leg: &crate::leg::Leg| leg.gone || leg.is_inviting() || leg.is_updating() || leg.unacknowledged.is_some();
        let glare = call.legs.iter().any(open);
        // Who is referred to has nobody to offer to until the other has agreed.
        if glare || call.transfer.is_some() || call.phase != Phase::Answered {
            return self.refuse(arrival, server, 491, b"Request Pending");
        }
        if let Err(shortest_s) = Agreed::of_request(self.session_timers(call, side), message) {
            return self.refuse_interval(arrival, server, shortest_s);
        }
        let offer = match forward::body(message) {
            Body::Sdp(sdp) => match self.read_offer(call, side, sdp) {
                Ok(streams) => Some(Offer { by: side, streams }),
                Err(refused) => return self.refuse(arrival, server, refused.status, &refused.reason),
            },
            Body::Unsupported => {
                let refused = Refused::unsupported();
                return self.refuse(arrival, server, refused.status, &refused.reason);
            }
            Body::None | Body::Opaque(_) => None,
        };
        if !self.media.is_connected() {
            let refused = Refused::because(503, "No Media Process");
            return self.refuse(arrival, server, refused.status, &refused.reason);
        }
        let trying = respond(message, flow.remote, 100, b"Trying", None);
        self.layer.respond(now, server, trying.finish(b""));
        self.servers.insert(server, ServerUse::Reinvite(id, side));
        let Some(call) = self.calls.get_mut(&id) else { return };
        // Whoever rings for a re-INVITE does it no longer than for a call (RFC 3261 16.6, timer C).
        let until = now + self.policy.limits.ring_ns;
        self.timers.set(until, super::Due::Reinvite(id, side));
        call.leg_mut(side).reinvite =
            Some(Reinvite { server, request: message.to_owned(), source: flow.remote, until });
        call.late_offer = offer.is_none();
        if offer.is_some() {
            call.offer = offer;
            call.waiting.push(Waiting::Reinvite(side));
            self.update_media(id);
        } else {
            self.forward_reinvite(now, id, side);
        }
    }

    /// The re-INVITE of `side` goes on to the other party.
    pub(super) fn forward_reinvite(&mut self, now: u64, id: SessionId, side: Side) {
        let other = side.other();
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(reinvite) = &call.leg(side).reinvite else { return };
        let request = reinvite.request.clone();
        let flow = call.leg(other).next_hop(&self.next_hops);
        let shown = self.shown(flow);
        let via = shown.via(&self.identities.branch(id));
        let headers = self.timer_headers(id, other);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(dialog) = &mut call.leg_mut(other).dialog else { return };
        let mut writer = dialog
            .request(Method::Invite, via.as_bytes())
            .header("Contact", shown.secured(dialog.secure).contact())
            .header("Allow", ALLOW);
        writer = with(writer, headers);
        let Some(call) = self.calls.get(&id) else { return };
        let client = match self.body_for(call, other, request.view()) {
            Ok(body) => {
                let bytes = self.crossing(call, other).finish(writer, request.view(), &body);
                self.send(now, flow, bytes, ClientUse::Reinvite(id, other))
            }
            Err(refused) => return self.refuse_reinvite(now, id, side, &refused),
        };
        match (client, self.calls.get_mut(&id)) {
            (Some(client), Some(call)) => call.leg_mut(other).inviting = Some(client),
            _ => self.refuse_reinvite(now, id, side, &Refused::new(503)),
        }
    }

    /// The answer of `side` to a re-INVITE of the other party.
    pub(super) fn reinvite_answered(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId, side: Side) {
        let Arrival { now, message, .. } = arrival;
        let Some(status) = message.status() else { return };
        let longer = self.longer_interval(id, side, message);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let leg = call.leg_mut(side);
        if leg.inviting != Some(client) {
            return self.repeated_answer(arrival);
        }
        match status {
            0..=100 => {}
            101..=199 => {
                if let Some((server, answer)) = self.reinvite_answer(id, side, message, b"") {
                    self.layer.respond(now, server, answer);
                }
            }
            200..=299 => {
                leg.inviting = None;
                leg.unacknowledged = message.cseq().ok().map(|cseq| cseq.number);
                if let Some(dialog) = &mut leg.dialog {
                    dialog.refresh_target(message);
                }
                self.refreshed_by_peer(now, id, side, message);
                let Some(call) = self.calls.get_mut(&id) else { return };
                if call.phase != Phase::Answered {
                    // The call ended while this was on its way: its BYE was sent already.
                    return self.acknowledge(now, id, side, None);
                }
                let origin = call.leg_mut(side.other());
                let Some(reinvite) = &origin.reinvite else {
                    // It was given up, and the parties no longer agree on what is in force.
                    return self.hang_up_both(now, id, Outcome::NoAck);
                };
                if let Some(dialog) = &mut origin.dialog {
                    dialog.refresh_target(reinvite.request.view());
                }
                origin.relatch = origin.relatch.wrapping_add(1);
                if let Err(refused) = self.answer_media(now, id, side, message) {
                    self.acknowledge(now, id, side, None);
                    self.refuse_reinvite(now, id, side.other(), &refused);
                    self.hang_up_both(now, id, Outcome::Rejected(refused.status));
                }
            }
            422 if longer => {
                leg.inviting = None;
                self.forward_reinvite(now, id, side.other());
            }
            _ => {
                leg.inviting = None;
                let instead = without_interval(message);
                let message = instead.as_ref().map_or(message, |instead| instead.view());
                let answer = self.reinvite_answer(id, side, message, refusal_body(message));
                self.take_reinvite(id, side.other());
                if let Some(call) = self.calls.get_mut(&id) {
                    call.offer = None;
                }
                if let Some((server, answer)) = answer {
                    self.layer.respond(now, server, answer);
                }
                // What the offer would have added is taken back.
                self.update_media(id);
            }
        }
    }

    /// The 2xx of `side` goes on to the party that sent the re-INVITE.
    pub(super) fn forward_reinvite_answer(&mut self, now: u64, id: SessionId, side: Side, response: Message<'_>) {
        let origin = side.other();
        let Some(call) = self.calls.get(&id) else { return };
        let body = match self.body_for(call, origin, response) {
            Ok(body) => body,
            Err(refused) => {
                self.acknowledge(now, id, side, None);
                self.refuse_reinvite(now, id, origin, &refused);
                return self.hang_up_both(now, id, Outcome::Rejected(refused.status));
            }
        };
        let Some((server, answer)) = self.reinvite_answer(id, side, response, &body) else { return };
        let Some(reinvite) = self.take_reinvite(id, origin) else { return };
        self.agree_timer(now, id, origin, reinvite.request.view());
        self.remember_sdp(id, origin, response);
        self.remember_sdp(id, side, reinvite.request.view());
        let cseq = reinvite.request.view().cseq().map(|cseq| cseq.number).unwrap_or_default();
        self.confirm(now, id, origin, server, cseq, answer);
    }

    /// A response of `side` as the party sees it that sent the re-INVITE.
    fn reinvite_answer(
        &self,
        id: SessionId,
        side: Side,
        response: Message<'_>,
        body: &[u8],
    ) -> Option<(ServerId, Vec<u8>)> {
        let call = self.calls.get(&id)?;
        let leg = call.leg(side.other());
        let reinvite = leg.reinvite.as_ref()?;
        let status = response.status()?;
        let reason = response.reason().unwrap_or_default();
        let mut writer: Writer = respond(reinvite.request.view(), reinvite.source, status, reason, None);
        if status < 300 {
            writer = writer
                .header("Contact", self.shown(leg.flow).secured(leg.is_secure()).contact())
                .header("Allow", ALLOW);
        }
        if status / 100 == 2 {
            writer = with(writer, self.agreed_headers(call, side.other(), reinvite.request.view()));
        }
        Some((reinvite.server, self.crossing(call, side.other()).finish(writer, response, body)))
    }

    /// The re-INVITE of `side` is finally answered.
    pub(super) fn take_reinvite(&mut self, id: SessionId, side: Side) -> Option<Reinvite> {
        let reinvite = self.calls.get_mut(&id)?.leg_mut(side).reinvite.take()?;
        self.timers.cancel(reinvite.until, super::Due::Reinvite(id, side));
        Some(reinvite)
    }

    /// The re-INVITE of `side` was not finally answered in all the time it may ring.
    pub(super) fn reinvite_over(&mut self, now: u64, id: SessionId, side: Side) {
        self.stop_reinvite(now, id, side, &Refused::new(408));
    }

    /// Gives up the re-INVITE of `side`: its sender hears `refused`, the other party a CANCEL.
    pub(super) fn stop_reinvite(&mut self, now: u64, id: SessionId, side: Side, refused: &Refused) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.waiting.iter().any(|waiting| matches!(waiting, Waiting::Answer { .. })) {
            // It was answered, and the media process is away for longer than anybody rings.
            return self.hang_up_both(now, id, Outcome::MediaLost);
        }
        call.waiting.retain(|waiting| !matches!(waiting, Waiting::Reinvite(_)));
        if let Some(client) = call.leg(side.other()).inviting {
            self.layer.cancel(now, client, None);
        }
        self.refuse_reinvite(now, id, side, refused);
    }

    /// Refuses the re-INVITE of `side`; the call goes on as it was.
    pub(super) fn refuse_reinvite(&mut self, now: u64, id: SessionId, side: Side, refused: &Refused) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.offer = None;
        let Some(reinvite) = self.take_reinvite(id, side) else { return };
        let answer = respond(reinvite.request.view(), reinvite.source, refused.status, &refused.reason, None);
        self.layer.respond(now, reinvite.server, answer.finish(b""));
        self.update_media(id);
    }
}
