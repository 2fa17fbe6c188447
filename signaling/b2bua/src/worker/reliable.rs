//! Provisional answers, reliable ones too (RFC 3262): each leg for itself, so that either party may know of them and
//! the other not.

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, ServerId};
use moorline_sip::{Message, Method, Name};

use super::boundary::shown;
use super::setup::Refused;
use super::{Arrival, ClientUse, Due, Worker};
use crate::attempt::Provision;
use crate::call::{Call, Invite, Offer, Phase, Waiting};
use crate::extension::{RAck, RELIABLE};
use crate::forward::{self, Body};
use crate::leg::Side;
use crate::policy::ReliableProvisional;
use crate::reliable::{OfferedIn, Provisional};
use crate::{Observation, Outcome};

impl Worker {
    /// What the called side is told of reliable provisional answers. Where the INVITE has no offer, they come only
    /// if the caller takes them too: the first of them holds the offer, and its PRACK the answer (RFC 3262 5).
    pub(super) fn reliable_wanted(&self, call: &Call, invite: &Invite) -> ReliableProvisional {
        let wanted = self.policy.trunks[call.leg(Side::Callee).trunk].dialogs.reliable_provisional;
        let able = invite.offered || call.leg(Side::Caller).reliable.is_some();
        if able { wanted } else { ReliableProvisional::Off }
    }

    /// A provisional answer of the called side, above 100.
    pub(super) fn progress(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId) {
        let Arrival { now, message, .. } = arrival;
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.phase != Phase::Inviting {
            return;
        }
        let Some(attempt) = call.attempt_mut(client).filter(|attempt| !attempt.given_up) else { return };
        let provision = attempt.note_early(message);
        if provision == Provision::Stray {
            return;
        }
        let flow = attempt.destination.flow;
        let Some(invite) = &call.invite else { return };
        let offered = invite.offered;
        let described = matches!(forward::body(message), Body::Sdp(_));
        if let Provision::Reliable(rack) = provision {
            let tag = forward::to_tag(message).unwrap_or_default().to_vec();
            let meant = OfferedIn { client, tag, rack };
            if described && !offered && !call.leg(Side::Callee).confirmed {
                return self.offered_early(arrival, id, meant);
            }
            self.prack(now, id, &meant, None);
        }
        // An early answer. What would be an offer (the INVITE had none) cannot be one in an unreliable
        // response (RFC 3261 13.2.1), and one that cannot be anchored is left out: ringing goes on.
        let early = match forward::body(message) {
            Body::Sdp(sdp) if offered => {
                self.calls.get(&id).and_then(|call| self.read_answer(call, Side::Callee, sdp).ok())
            }
            _ => None,
        };
        let described = early.is_some();
        if described && let Some(call) = self.calls.get_mut(&id) {
            call.said[Side::Callee.index()] = early;
            call.leg_mut(Side::Callee).flow = flow;
            let tag = forward::to_tag(message).unwrap_or_default();
            if let Some(early) = call.attempt_mut(client).and_then(|attempt| attempt.early_mut(tag))
                && matches!(provision, Provision::Reliable(_))
            {
                early.settled = true;
                early.answer = Some(message.to_owned());
            }
            self.update_media(id);
        }
        let provisional = Provisional { response: message.to_owned(), described, offer: None };
        self.forward_progress(now, id, client, provisional);
    }

    /// A reliable provisional answer with the offer, to an INVITE without one. It goes on when there are ports for
    /// it, and is acknowledged with the caller's answer.
    fn offered_early(&mut self, arrival: Arrival<'_>, id: SessionId, offered_in: OfferedIn) {
        let Arrival { now, message, .. } = arrival;
        let Body::Sdp(sdp) = forward::body(message) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let answered = call.said.iter().all(Option::is_some);
        if call.offer.is_some() || answered || call.leg(Side::Caller).reliable.is_none() {
            // The caller has one dialog, in which there is one offer at a time: that of another branch is not
            // taken, nor acknowledged, and comes again.
            return;
        }
        let streams = match self.calls.get(&id) {
            Some(call) => self.read_offer(call, Side::Callee, sdp),
            None => return,
        };
        let Some(call) = self.calls.get_mut(&id) else { return };
        match streams {
            Ok(streams) => {
                let Some(attempt) = call.attempt_mut(offered_in.client) else { return };
                let flow = attempt.destination.flow;
                if let Some(early) = attempt.early_mut(&offered_in.tag) {
                    early.rseq = Some(offered_in.rack.rseq);
                }
                call.leg_mut(Side::Callee).flow = flow;
                call.offer = Some(Offer { by: Side::Callee, streams });
                call.waiting.push(Waiting::Offered { response: message.to_owned(), offered_in });
                self.update_media(id);
            }
            // It cannot be refused in its place; the call can.
            Err(refused) => self.give_up(now, id, &refused, Outcome::Rejected(refused.status)),
        }
    }

    /// There are ports for the offer in a reliable provisional answer: it goes on.
    pub(super) fn forward_offered(&mut self, now: u64, id: SessionId, provisional: Provisional) {
        let Some(client) = provisional.offer.as_ref().map(|offer| offer.client) else { return };
        self.forward_progress(now, id, client, provisional);
    }

    /// A provisional answer goes on to the caller, reliably where it can.
    fn forward_progress(&mut self, now: u64, id: SessionId, client: ClientId, provisional: Provisional) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(invite) = &mut call.invite else { return };
        let first = !std::mem::replace(&mut invite.progressed, true);
        let invited_at = invite.received_at;
        let server = invite.server;
        if let Some(tag) = forward::to_tag(provisional.response.view()) {
            call.early = Some((client, tag.to_vec()));
        }
        // The party that is transferred hears of the new call when that is answered.
        let Some(server) = server else { return };
        invite.described |= provisional.described || provisional.offer.is_some();
        let offer_due = !invite.offered && !invite.settled && provisional.offer.is_none();
        let required = invite.request.view().lists(Name::Require, RELIABLE);
        let able = call.leg_mut(Side::Caller).reliable.as_mut();
        // To an INVITE without an offer the first reliable answer makes it (RFC 3261 13.2.1): one that does not goes
        // on without reliability, or not at all.
        match able.filter(|reliable| !offer_due || reliable.holds_offer()) {
            None if offer_due && required => return,
            Some(reliable) => {
                if let Some(provisional) = reliable.push(provisional) {
                    self.send_reliably(now, id, provisional);
                }
            }
            None => {
                let Some(call) = self.calls.get(&id) else { return };
                let body = self.early_body(call, &provisional);
                let Some(answer) = self.answer_for_caller(call, provisional.response.view(), &body) else { return };
                self.layer.respond(now, server, answer);
            }
        }
        if first {
            self.observe(Observation::FirstProvisional { invited_at });
        }
    }

    /// What the caller is shown of the body: a description that is no answer stays behind.
    fn early_body(&self, call: &Call, provisional: &Provisional) -> Vec<u8> {
        let response = provisional.response.view();
        match forward::body(response) {
            Body::Sdp(_) if !provisional.described => Vec::new(),
            _ => self.body_for(call, Side::Caller, response).unwrap_or_default(),
        }
    }

    /// Sends a provisional answer to the caller that is repeated until its PRACK comes.
    fn send_reliably(&mut self, now: u64, id: SessionId, provisional: Provisional) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(server) = call.invite.as_ref().and_then(|invite| invite.server) else { return };
        let Some(reliable) = &mut call.leg_mut(Side::Caller).reliable else { return };
        let rseq = reliable.number();
        let headers = [("Require", "100rel".to_owned()), ("RSeq", rseq.to_string())];
        let Some(call) = self.calls.get(&id) else { return };
        let body = self.early_body(call, &provisional);
        let Some(answer) = self.answer_with(call, provisional.response.view(), &body, &headers) else { return };
        self.layer.respond(now, server, answer.clone());
        if provisional.described || provisional.offer.is_some() {
            self.remember_sdp(id, Side::Caller, provisional.response.view());
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(reliable) = &mut call.leg_mut(Side::Caller).reliable else { return };
        let next_at = reliable.sent(now, rseq, provisional, answer);
        self.timers.set(next_at, Due::Reliable(id));
    }

    /// A reliable provisional answer is due again; without a PRACK in 64*T1 the call is refused (RFC 3262 3).
    pub(super) fn reliable_again(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(server) = call.invite.as_ref().and_then(|invite| invite.server) else { return };
        let Some(reliable) = &mut call.leg_mut(Side::Caller).reliable else { return };
        match reliable.repeat(now) {
            Some((answer, next_at)) => {
                self.layer.respond(now, server, answer);
                self.counters.retransmissions += 1;
                self.timers.set(next_at, Due::Reliable(id));
            }
            None => self.give_up(now, id, &Refused::because(504, "No PRACK"), Outcome::Rejected(504)),
        }
    }

    /// A PRACK.
    pub(super) fn pracked(&mut self, arrival: Arrival<'_>, server: ServerId, id: SessionId, side: Side) {
        let Arrival { now, message, .. } = arrival;
        if forward::body(message) == Body::Unsupported {
            return self.refuse(arrival, server, 415, b"Unsupported Media Type");
        }
        let rack = RAck::of(message);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let reliable = call.leg_mut(side).reliable.as_mut();
        let found = reliable.and_then(|reliable| reliable.acknowledge(rack?));
        let Some(pending) = found else {
            return self.refuse(arrival, server, 481, b"Call/Transaction Does Not Exist");
        };
        if !pending.response.is_empty() {
            self.timers.cancel(pending.next_at, Due::Reliable(id));
        }
        match (pending.offer, forward::body(message)) {
            (Some(offer), body) => {
                self.refuse(arrival, server, 200, b"OK");
                self.answered_in_prack(now, id, &offer, message, body);
            }
            (None, Body::Sdp(sdp)) => {
                self.settle_caller(id, pending.described);
                // An offer of the caller (RFC 3262 5): it waits for the answer of the called side.
                let Some(call) = self.calls.get(&id) else { return };
                match self.read_offer(call, side, sdp) {
                    Ok(streams) => self.take_offer(arrival, server, id, side, streams),
                    Err(refused) => self.refuse(arrival, server, refused.status, &refused.reason),
                }
            }
            (None, _) => {
                self.settle_caller(id, pending.described);
                self.refuse(arrival, server, 200, b"OK");
            }
        }
        self.next_reliable(now, id);
        self.release_answer(now, id);
        self.play_announcement(now, id);
    }

    fn settle_caller(&mut self, id: SessionId, described: bool) {
        if let Some(invite) = self.calls.get_mut(&id).and_then(|call| call.invite.as_mut()) {
            invite.settled |= described;
        }
    }

    /// The next provisional answer of the queue goes out.
    fn next_reliable(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let open = call.invite.is_some();
        let Some(reliable) = &mut call.leg_mut(Side::Caller).reliable else { return };
        if !open {
            if !reliable.is_pending() {
                call.leg_mut(Side::Caller).reliable = None;
            }
        } else if let Some(provisional) = reliable.pop() {
            self.send_reliably(now, id, provisional);
        }
    }

    /// The caller's PRACK acknowledges the offer of the called side, and goes on with the answer.
    fn answered_in_prack(&mut self, now: u64, id: SessionId, offer: &OfferedIn, prack: Message<'_>, body: Body<'_>) {
        match body {
            Body::Sdp(sdp) => match self.read_answer_of(id, Side::Caller, sdp) {
                Ok(streams) => {
                    self.agree(id, Side::Caller, streams);
                    self.settle_caller(id, true);
                    let attempt = self.calls.get_mut(&id).and_then(|call| call.attempt_mut(offer.client));
                    if let Some(early) = attempt.and_then(|attempt| attempt.early_mut(&offer.tag)) {
                        early.settled = true;
                    }
                    self.prack(now, id, offer, Some(prack));
                    self.remember_sdp(id, Side::Callee, prack);
                }
                // An answer cannot be refused; the call can.
                Err(refused) => self.give_up(now, id, &refused, Outcome::Rejected(refused.status)),
            },
            _ => self.prack(now, id, offer, Some(prack)),
        }
    }

    /// Acknowledges a reliable provisional answer of the called side, with what the caller's PRACK says.
    fn prack(&mut self, now: u64, id: SessionId, meant: &OfferedIn, original: Option<Message<'_>>) {
        let branch = self.identities.branch(id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let (answered, endpoint) = (call.leg(Side::Callee).flow, call.leg(Side::Callee).endpoint);
        let (dialog, flow) = match call.attempts.iter_mut().find(|attempt| attempt.client == meant.client) {
            Some(attempt) => {
                let flow = attempt.destination.flow;
                let Some(early) = attempt.early_mut(&meant.tag) else { return };
                early.rseq = Some(meant.rack.rseq);
                (&mut early.dialog, flow)
            }
            // It has answered meanwhile.
            None => match &mut call.leg_mut(Side::Callee).dialog {
                Some(dialog) if dialog.remote_tag == meant.tag => (dialog, answered),
                _ => return,
            },
        };
        let flow = self.next_hops.of(Some(dialog), flow, endpoint);
        let via = shown(&self.policy, self.boundary, flow).via(&branch);
        let writer = dialog.request(Method::Prack, via.as_bytes()).header("RAck", meant.rack.value());
        let bytes = match (original, self.calls.get(&id)) {
            (Some(original), Some(call)) => {
                let body = self.body_for(call, Side::Callee, original).unwrap_or_default();
                self.crossing(call, Side::Callee).finish(writer, original, &body)
            }
            _ => writer.finish(b""),
        };
        self.send(now, flow, bytes, ClientUse::Prack(id));
    }
}
