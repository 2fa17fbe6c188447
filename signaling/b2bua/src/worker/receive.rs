//! What comes in: whose it is, and who answers it.

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow, Received, ServerId};
use moorline_sip::{Dialog, Index, Method, Name};

use super::boundary::Crossed;
use super::{Arrival, ClientUse, Worker};
use crate::forward;
use crate::leg::Side;

impl Worker {
    pub(super) fn message(&mut self, now: u64, flow: Flow, bytes: &[u8]) {
        self.counters.messages += 1;
        // A keep-alive (RFC 5626 4.4.1, or the empty datagrams of some peers) is no message at all.
        if bytes.iter().all(|b| matches!(b, b'\r' | b'\n' | 0)) {
            return;
        }
        let mut index = Index::new();
        let Ok(message) = index.parse(bytes) else {
            self.counters.malformed += 1;
            return;
        };
        let arrival = Arrival { now, flow, message, user: None };
        match self.cross_in(arrival) {
            Crossed::AsItCame => self.taken_in(arrival),
            Crossed::Rewritten(bytes) => self.take_in(now, flow, &bytes),
            Crossed::Refused => {}
        }
    }

    /// A message that was rewritten at the boundary.
    fn take_in(&mut self, now: u64, flow: Flow, bytes: &[u8]) {
        let mut index = Index::new();
        match index.parse(bytes) {
            Ok(message) => self.taken_in(Arrival { now, flow, message, user: None }),
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// A message that has crossed the boundary.
    fn taken_in(&mut self, arrival: Arrival<'_>) {
        let Arrival { flow, message, .. } = arrival;
        if message.is_request() {
            let trunk = self.policy.ingress(flow);
            let Some(trunk) = trunk.filter(|trunk| self.is_for_trunk(arrival, *trunk)) else {
                self.counters.unknown_source += 1;
                return;
            };
            self.request(arrival, trunk);
        } else if message.check().is_ok() {
            self.response(arrival);
        } else {
            self.counters.malformed += 1;
        }
    }

    /// False for a request that begins something with a trunk that is configured no more.
    fn is_for_trunk(&mut self, arrival: Arrival<'_>, trunk: usize) -> bool {
        self.policy.trunks.get(trunk).is_some_and(|trunk| !trunk.retired)
            || matches!(arrival.message.method(), Some(Method::Ack | Method::Cancel))
            || self.dialog_of(arrival).is_some()
            || self.subscription_of(arrival).is_some()
            || self.layer.tag_of_new(arrival.flow, arrival.message).is_none()
    }

    pub(super) fn request(&mut self, arrival: Arrival<'_>, trunk: usize) {
        let message = arrival.message;
        if let Err(fault) = message.check() {
            if message.method() == Some(Method::Ack) || message.via().is_err() {
                // An ACK is never answered, and without a Via there is nowhere to answer to.
                self.counters.malformed += 1;
            } else {
                self.counters.bad_requests += 1;
                let answer = self.answer_to(arrival, fault.status(), fault.reason().as_bytes());
                self.transmit_stateless(arrival, answer.finish(b""));
            }
            return;
        }
        // Until the listing of the media process is through, nobody can say that a dialog is not there: the
        // peer asks again.
        let unknown_dialog = self.media.is_restoring()
            && forward::to_tag(message).is_some()
            && self.dialog_of(arrival).is_none()
            && self.subscription_of(arrival).is_none();
        if unknown_dialog {
            return;
        }
        if let Some(arrival) = self.let_in(arrival, trunk) {
            self.receive(arrival, trunk);
        }
    }

    /// A request that was let in.
    pub(super) fn receive(&mut self, arrival: Arrival<'_>, trunk: usize) {
        let Arrival { now, flow, message, .. } = arrival;
        match self.layer.receive(now, flow, message) {
            Received::Request(server) => {
                self.look_up_sender(arrival);
                self.new_request(arrival, trunk, server);
            }
            Received::Cancel { invite: Some(server) } => self.cancelled(now, server, message.header(Name::Reason)),
            Received::Ack => self.acknowledged(arrival),
            // What there was no room for, the layer has answered 503.
            Received::Absorbed
            | Received::Full
            | Received::Cancel { invite: None }
            | Received::Stray
            | Received::Response(_) => {}
        }
    }

    pub(super) fn new_request(&mut self, arrival: Arrival<'_>, trunk: usize, server: ServerId) {
        let Some(method) = arrival.message.method() else { return };
        let in_dialog = forward::to_tag(arrival.message).is_some();
        match (self.dialog_of(arrival), method) {
            (Some((call, side)), _) => self.request_in_dialog(arrival, server, call, side),
            (None, _) if in_dialog => match self.subscription_of(arrival) {
                Some((id, side)) => self.request_in_subscription(arrival, server, id, side),
                None => self.refuse(arrival, server, 481, b"Call/Transaction Does Not Exist"),
            },
            (None, Method::Invite) => {
                self.counters.attempts += 1;
                self.invite(arrival, trunk, server);
            }
            (None, Method::Register) => self.register(arrival, trunk, server),
            (None, Method::Options) => self.options(arrival, trunk, server),
            (None, Method::Message | Method::Subscribe | Method::Refer | Method::Publish | Method::Notify) => {
                self.pass_outside(arrival, trunk, server);
            }
            (None, Method::Bye | Method::Info | Method::Cancel | Method::Prack | Method::Update) => {
                self.refuse(arrival, server, 481, b"Call/Transaction Does Not Exist");
            }
            (None, Method::Other(_)) => self.not_allowed(arrival, server, 501, b"Not Implemented"),
            (None, _) => self.not_allowed(arrival, server, 405, b"Method Not Allowed"),
        }
    }

    pub(super) fn response(&mut self, arrival: Arrival<'_>) {
        match self.layer.receive(arrival.now, arrival.flow, arrival.message) {
            Received::Response(client) if self.is_held(arrival, client) => {}
            Received::Response(client) => self.answer(arrival, client),
            // A 2xx whose transaction is gone is still owed an ACK (RFC 3261 13.2.2.4).
            Received::Stray if arrival.message.status().is_some_and(|status| status / 100 == 2) => {
                match self.answer_dialog(arrival.message) {
                    Some(_) => self.repeated_answer(arrival),
                    None => self.decline_stray(arrival),
                }
            }
            _ => {}
        }
    }

    /// An answer to a request of ours.
    pub(super) fn answered(&mut self, arrival: Arrival<'_>, client: ClientId) {
        match self.clients.get(&client) {
            Some(ClientUse::Invite(call)) => self.invite_answered(arrival, client, *call),
            Some(ClientUse::Reinvite(call, side)) => self.reinvite_answered(arrival, client, *call, *side),
            Some(ClientUse::Update(call, side)) => self.updated(arrival, client, *call, *side),
            Some(ClientUse::Refresh(call, side)) => self.refresh_answered(arrival, client, *call, *side),
            Some(ClientUse::Probe(trunk, hop)) => self.probe_answered(arrival, *trunk, *hop),
            Some(ClientUse::KeepAlive(serial)) => self.kept_alive(arrival, *serial),
            Some(ClientUse::Pass(_)) => self.passed_back(arrival, client),
            Some(ClientUse::Register(trunk)) => self.register_answered(arrival, *trunk),
            Some(ClientUse::Join(call, old)) => self.joined(arrival, client, *call, *old),
            Some(ClientUse::Notify(call, side, last)) => {
                let (call, side, last) = (*call, *side, *last);
                if last && arrival.message.status().is_some_and(|status| status >= 200) {
                    self.notified(arrival.now, call, side);
                }
            }
            Some(ClientUse::Bye(_)) => self.bye_answered(arrival),
            Some(ClientUse::Stray | ClientUse::Prack(_)) | None => {}
        }
    }

    /// The call and side in whose dialog a request is: our tag in To, their tag in From, and the Call-ID
    /// must all agree (RFC 3261 12), and it must come from where the leg's trunk speaks; where that may be
    /// anywhere, from where the party is known to be, or with its credentials.
    pub(super) fn dialog_of(&self, arrival: Arrival<'_>) -> Option<(SessionId, Side)> {
        let Arrival { flow, message: request, .. } = arrival;
        let tag = std::str::from_utf8(forward::to_tag(request)?).ok()?.parse().ok()?;
        let (id, side) = *self.tags.get(&tag)?;
        let call = self.calls.get(&id)?;
        let leg = call.leg(side);
        let (call_id, theirs) = (request.call_id().ok()?, request.from().ok()?.tag().unwrap_or_default());
        let same = |dialog: &Dialog| call_id == dialog.call_id && theirs == dialog.remote_tag;
        let mut at = leg.flow.remote.ip();
        let known = match &leg.dialog {
            Some(dialog) => same(dialog) && tag == leg.tag,
            None => call.early_of(tag, theirs).is_some_and(|(_, early)| same(&early.dialog)),
        };
        if leg.dialog.is_none()
            && let Some(attempt) = call.attempts.iter().find(|attempt| attempt.tag == tag)
        {
            at = attempt.destination.flow.remote.ip();
        }
        let speaks = self.policy.speaks_on(leg.trunk, flow);
        let asked = self.policy.trunks[leg.trunk].authentication.is_some();
        let shown = arrival.user.is_some() && (leg.user.is_none() || leg.user.as_deref() == arrival.user);
        let itself = !asked || flow.remote.ip() == at || shown;
        (known && speaks && itself).then_some((id, side))
    }
}
