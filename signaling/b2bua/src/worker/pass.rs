//! Requests that are carried across without changing the call: OPTIONS, INFO, MESSAGE, and what is not known here.

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow, ServerId};
use moorline_sip::{Method, Name, OwnedMessage, respond};

use super::targets::is_secure;
use super::{Arrival, ClientUse, RETRY_AFTER, Worker};
use crate::forward::{self, ALLOW, Body, Crossing};
use crate::leg::Side;
use crate::transfer::Usage;

/// A request on its way to the other party.
pub(super) struct Passing {
    pub(super) server: ServerId,
    pub(super) request: OwnedMessage,
    /// Where it came from, and the answer goes.
    pub(super) came: Flow,
    /// The tag of our answers; `None` in a dialog, which has one.
    pub(super) tag: Option<SessionId>,
    /// Identity headers cross.
    pub(super) trusted: bool,
    pub(super) purpose: Purpose,
    /// The trunk that it goes to.
    pub(super) to: usize,
    /// The call or subscription in whose dialog it is.
    pub(super) within: Option<SessionId>,
    /// It went to several devices, and the same is one of theirs.
    pub(super) fork: Option<SessionId>,
    /// It may go on to another trunk, and the same is one of its ways.
    pub(super) errand: Option<SessionId>,
}

/// What depends on the answer to a request that is carried across.
#[derive(Default)]
pub(super) enum Purpose {
    /// Nothing.
    #[default]
    Nothing,
    /// A subscription inside the call, which its refusal takes back.
    Subscribes(SessionId, Usage),
    /// The end of that.
    LastNotify(SessionId, Usage),
    /// A request of a subscription outside calls, or its last.
    Subscription { id: SessionId, last: bool },
}

/// What a request says differently on the other side.
#[derive(Default)]
pub(super) struct Extra {
    /// Headers with other values.
    pub(super) headers: Vec<(Name, Vec<u8>)>,
    /// Another body.
    pub(super) body: Option<Vec<u8>>,
    pub(super) purpose: Purpose,
}

impl Worker {
    /// A request in the dialog of `side` goes on in the other's.
    pub(super) fn pass_inside(
        &mut self,
        arrival: Arrival<'_>,
        server: ServerId,
        id: SessionId,
        side: Side,
        method: Method<'_>,
    ) {
        self.pass_with(arrival, server, id, side, method, Extra::default());
    }

    /// The same for one that says some things differently on the other side.
    pub(super) fn pass_with(
        &mut self,
        arrival: Arrival<'_>,
        server: ServerId,
        id: SessionId,
        side: Side,
        method: Method<'_>,
        mut extra: Extra,
    ) {
        let Arrival { now, message, .. } = arrival;
        let Some(body) = opaque(arrival) else {
            return self.refuse(arrival, server, 415, b"Unsupported Media Type");
        };
        let Some(call) = self.calls.get(&id) else { return };
        if !call.is_known_to(side.other()) {
            // The callee has not answered, or the caller has not heard so yet: 481, of ours or of the other
            // party's, would say that the dialog is gone.
            if method == Method::Options {
                return self.pong(arrival, server);
            }
            let answer = self.answer_to(arrival, 500, b"Server Internal Error - Not Answered Yet");
            return self.layer.respond(now, server, answer.header("Retry-After", RETRY_AFTER).finish(b""));
        }
        let hop = call.next_hop(side.other(), &self.next_hops);
        let shown = self.shown(hop);
        let via = shown.via(&self.identities.branch(id));
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(dialog) = call.dialog_mut(side.other()) else {
            return self.refuse(arrival, server, 481, b"Call/Transaction Does Not Exist");
        };
        let writer = dialog.request(method, via.as_bytes()).header("Contact", shown.secured(dialog.secure).contact());
        if let Purpose::Subscribes(_, usage) = &mut extra.purpose {
            usage.sent = dialog.local_cseq;
            call.usages.push(usage.clone());
        }
        let Some(call) = self.calls.get(&id) else { return };
        let crossing = self.crossing(call, side.other());
        let trusted = crossing.trusted;
        let body = extra.body.as_deref().unwrap_or(body);
        let bytes = crossing.finish_with(writer, message, body, &extra.headers);
        let purpose = extra.purpose;
        let request = message.to_owned();
        let (to, within) = (call.leg(side.other()).trunk, Some(id));
        let passing = Passing {
            server,
            request,
            came: arrival.flow,
            tag: None,
            trusted,
            purpose,
            to,
            within,
            fork: None,
            errand: None,
        };
        if self.send(now, hop, bytes, ClientUse::Pass(Box::new(passing))).is_none() {
            self.refuse(arrival, server, 503, b"Service Unavailable");
        }
    }

    /// The answer to a request that was carried across goes back.
    pub(super) fn passed_back(&mut self, arrival: Arrival<'_>, client: ClientId) {
        let Some(status) = arrival.message.status().filter(|status| *status > 100) else { return };
        let Some(ClientUse::Pass(passing)) = self.clients.get(&client) else { return };
        if let Some(fork) = passing.fork {
            return self.fork_answered(arrival, client, fork);
        }
        if let Some(errand) = passing.errand {
            return self.errand_answered(arrival, client, errand);
        }
        self.pass_back(arrival, client, status);
    }

    /// An answer goes back to where the request came from.
    pub(super) fn pass_back(&mut self, arrival: Arrival<'_>, client: ClientId, status: u16) {
        let Some(ClientUse::Pass(passing)) = self.clients.get(&client) else { return };
        let tag = passing.tag.map(|tag| tag.to_string());
        let reason = arrival.message.reason().unwrap_or_default();
        let mut writer =
            respond(passing.request.view(), passing.came.remote, status, reason, tag.as_deref().map(str::as_bytes));
        let shown = self.shown(passing.came).secured(is_secure(passing.request.view()));
        if status < 300 {
            if passing.tag.is_some() && matches!(passing.purpose, Purpose::Subscription { .. }) {
                writer = writer.record_route(passing.request.view());
            }
            writer = writer.header("Contact", shown.contact()).header("Allow", ALLOW);
        }
        let crossing = Crossing {
            trusted: passing.trusted,
            withheld: false,
            realm: None,
            authenticates: false,
            shown_as: shown.address,
            naming: None,
        };
        // The description in an answer to OPTIONS (RFC 3261 11.2) names addresses and no media is meant.
        let answer = crossing.finish(writer, arrival.message, opaque(arrival).unwrap_or_default());
        let server = passing.server;
        self.layer.respond(arrival.now, server, answer);
        if status >= 200 {
            self.pass_over(Some(arrival), arrival.now, client);
        }
    }

    /// What depends on the answer to a request that was carried across, or on there being none.
    fn pass_over(&mut self, arrival: Option<Arrival<'_>>, now: u64, client: ClientId) {
        let Some(ClientUse::Pass(passing)) = self.clients.get_mut(&client) else { return };
        let status = arrival.and_then(|arrival| arrival.message.status()).unwrap_or(408);
        // RFC 4488: a transfer may be agreed on without a subscription.
        let silent = |answer: Arrival<'_>| answer.message.other(b"Refer-Sub").is_some_and(|sub| sub == b"false");
        match std::mem::take(&mut passing.purpose) {
            Purpose::Nothing => {}
            Purpose::Subscribes(id, usage) if status >= 300 || arrival.is_some_and(silent) => {
                self.drop_usage(id, &usage);
            }
            Purpose::Subscribes(..) => {}
            Purpose::LastNotify(id, usage) if !comes_again(status) => self.drop_usage(id, &usage),
            Purpose::LastNotify(..) => {}
            Purpose::Subscription { id, last } => {
                let request = passing.request.clone();
                self.subscription_answered(arrival, now, request.view(), id, last);
            }
        }
    }

    pub(super) fn pass_unanswered(&mut self, now: u64, client: ClientId) {
        let Some(ClientUse::Pass(passing)) = self.clients.get(&client) else { return };
        if let Some(errand) = passing.errand {
            return self.errand_unanswered(now, client, errand);
        }
        if let Some(fork) = passing.fork
            && !self.fork_unanswered(now, client, fork)
        {
            return;
        }
        let Some(ClientUse::Pass(passing)) = self.clients.get(&client) else { return };
        let tag = passing.tag.map(|tag| tag.to_string());
        let answer = respond(
            passing.request.view(),
            passing.came.remote,
            408,
            b"Request Timeout",
            tag.as_deref().map(str::as_bytes),
        );
        let server = passing.server;
        self.layer.respond(now, server, answer.finish(b""));
        self.pass_over(None, now, client);
    }
}

/// True where a NOTIFY so refused may be sent once more (RFC 6665 4.2.2), as one that was overtaken is.
pub(super) fn comes_again(status: u16) -> bool {
    matches!(status, 491 | 500 | 503)
}

/// A body that may cross as it is; `None` where it is, or may hold, a session description.
pub(super) fn opaque<'a>(arrival: Arrival<'a>) -> Option<&'a [u8]> {
    match forward::body(arrival.message) {
        Body::None => Some(b""),
        Body::Opaque(bytes) => Some(bytes),
        Body::Sdp(_) | Body::Unsupported => None,
    }
}
