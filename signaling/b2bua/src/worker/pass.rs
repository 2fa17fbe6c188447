//! Requests that are carried across without changing the call: OPTIONS, INFO, MESSAGE, and what is not known here.

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow, ServerId};
use moorline_sip::{Dialog, Method, Name, OwnedMessage};
use moorline_sip::{Writer, respond};

use super::targets::{Request, Waiter, is_secure, nowhere};
use super::{ACCEPT, Arrival, ClientUse, RETRY_AFTER, Worker};
use crate::extension;
use crate::forward::{self, ALLOW, Body, Crossing};
use crate::leg::Side;
use crate::locate::{Hop, Located, NotLocated};
use crate::policy::Refer;
use crate::subscription::End;
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
    /// OPTIONS outside a dialog: to this host itself it is a ping, and answered; to a number it goes where
    /// a call would go (RFC 3261 11).
    pub(super) fn options(&mut self, arrival: Arrival<'_>, trunk: usize, server: ServerId) {
        let uri = arrival.message.request_uri().and_then(|uri| moorline_sip::Uri::parse(uri).ok());
        if uri.is_some_and(|uri| uri.user.is_some()) {
            return self.pass_outside(arrival, trunk, server);
        }
        self.pong(arrival, server);
    }

    /// Answers OPTIONS for this host itself.
    fn pong(&mut self, arrival: Arrival<'_>, server: ServerId) {
        let answer = self.answer_to(arrival, 200, b"OK").header("Allow", ALLOW).header("Accept", ACCEPT);
        self.layer.respond(arrival.now, server, answer.finish(b""));
    }

    /// A request outside a dialog goes on by the routes.
    pub(super) fn pass_outside(&mut self, arrival: Arrival<'_>, trunk: usize, server: ServerId) {
        let Arrival { now, message, .. } = arrival;
        let max_forwards = message.max_forwards().ok().flatten().unwrap_or(70);
        if max_forwards == 0 {
            return self.refuse(arrival, server, 483, b"Too Many Hops");
        }
        if !extension::unknown(message, &[]).is_empty() {
            return self.refuse_extension(arrival, server, &[]);
        }
        if forward::is_looping(message, self.identities.node()) {
            return self.refuse(arrival, server, 482, b"Loop Detected");
        }
        let uri = message.request_uri().unwrap_or_default();
        let called = moorline_sip::Uri::parse(uri).ok().and_then(|uri| uri.user).unwrap_or_default();
        let egress = self.policy.egress(trunk, called);
        let Some(egress) = egress.filter(|egress| !self.policy.trunks[*egress].targets.is_empty()) else {
            return self.refuse(arrival, server, 404, b"Not Found - No Route");
        };
        if self.lacks_tls(message, egress) {
            return self.refuse(arrival, server, 416, b"Unsupported URI Scheme - No TLS There");
        }
        let target = &self.policy.trunks[egress].targets[0];
        let mut wanted = target.to_locate(&self.policy.listeners[self.policy.trunks[egress].listener]);
        wanted.secure |= is_secure(message);
        match self.locator.locate(now, &wanted) {
            Located::Ready(hops) => self.pass_to(arrival, trunk, server, hops),
            Located::Pending(ticket) => {
                let request = Request { server, flow: arrival.flow, message: message.to_owned(), trunk };
                self.waiters.insert(ticket, Waiter::Request(Box::new(request)));
            }
        }
    }

    /// A request outside a dialog goes on to the hops that its trunk's target was found to have.
    pub(super) fn pass_to(
        &mut self,
        arrival: Arrival<'_>,
        trunk: usize,
        server: ServerId,
        hops: Result<Vec<Hop>, NotLocated>,
    ) {
        let Arrival { now, message, .. } = arrival;
        let Some(method) = message.method() else { return };
        let max_forwards = message.max_forwards().ok().flatten().unwrap_or(70);
        let uri = message.request_uri().unwrap_or_default();
        let called = moorline_sip::Uri::parse(uri).ok().and_then(|uri| uri.user).unwrap_or_default();
        let Some(egress) = self.policy.egress(trunk, called) else { return };
        let hop = match hops.map(|hops| self.health.order(now, &hops).first().copied()) {
            Ok(Some(hop)) => hop,
            problem => {
                let (refused, _) = nowhere(problem.err());
                return self.refuse(arrival, server, refused.status, &refused.reason);
            }
        };
        let (Ok(from), Ok(to)) = (message.from(), message.to()) else { return };
        let Some(body) = opaque(arrival) else {
            return self.refuse(arrival, server, 415, b"Unsupported Media Type");
        };
        let owner = self.identities.call();
        let listener = self.policy.trunks[egress].listener;
        let advertised = self.advertised(listener);
        let domain = self.policy.trunks[egress].domain.clone();
        let host = self.policy.trunks[egress].host_at(&self.policy.trunks[egress].targets[0]);
        let host = host.unwrap_or_else(|| hop.address.to_string());
        let flow = Flow { listener, transport: hop.transport, remote: hop.address };
        let branch = self.identities.branch(owner) + &forward::loop_mark(uri);
        let method_name = String::from_utf8_lossy(method.as_bytes()).into_owned();
        let trusted = self.policy.trunks[trunk].trusted && self.policy.trunks[egress].trusted;
        let withheld = self.policy.trunks[egress].withhold_caller;
        let realm = self.policy.trunks[trunk].realm();
        let authenticates = self.policy.trunks[egress].credentials.is_some();
        let crossing = Crossing { trusted, withheld, realm, authenticates, shown_as: advertised };
        let mut caller = crossing.caller(message, &from, domain.as_deref());
        let (ours, theirs, call_id) =
            (self.identities.token(owner), self.identities.token(owner), self.identities.token(owner));
        caller.extend_from_slice(format!(";tag={theirs}").as_bytes());
        let subscribes = matches!(method, Method::Subscribe | Method::Refer);
        let subscriber = subscribes.then(|| Dialog::uas(message, ours.to_string().as_bytes()));
        let mut headers = Vec::new();
        if subscribes && !self.has_room_to_subscribe() {
            return self.refuse(arrival, server, 503, b"Service Unavailable");
        }
        if matches!(subscriber, Some(Err(_))) {
            return self.refuse(arrival, server, 400, b"Bad Request - No Usable Contact");
        }
        if method == Method::Refer {
            let refused = |trunk: usize| self.policy.trunks[trunk].dialogs.refer == Refer::Refuse;
            let Ok(Some(target)) = message.refer_to() else {
                return self.refuse(arrival, server, 400, b"Bad Request - No Usable Refer-To");
            };
            if refused(trunk) || refused(egress) {
                return self.refuse(arrival, server, 403, b"Forbidden - No Transfers");
            }
            headers = self.transfer_headers(listener, message, &target);
        }
        let mut writer = Writer::request(method, &forward::request_uri(uri, &host))
            .header("Via", self.shown(flow).via(&branch))
            .header("Max-Forwards", (max_forwards - 1).to_string())
            .header("From", caller)
            .header("To", forward::party(&to, &host))
            .header("Call-ID", call_id.to_string())
            .header("CSeq", format!("1 {method_name}"));
        if subscribes {
            writer = writer.header("Contact", self.shown(flow).contact());
        }
        let bytes = crossing.finish_with(writer, message, body, &headers);
        let purpose = if subscribes { Purpose::Subscription { id: owner, last: false } } else { Purpose::Nothing };
        let passing = Passing {
            server,
            request: message.to_owned(),
            came: arrival.flow,
            tag: Some(ours),
            trusted,
            purpose,
            to: egress,
            within: None,
        };
        if self.send(now, flow, bytes, ClientUse::Pass(Box::new(passing))).is_none() {
            return self.refuse(arrival, server, 503, b"Service Unavailable");
        }
        if let Some(Ok(dialog)) = subscriber {
            let own = dialog.call_id.clone();
            let near = End { trunk, flow: arrival.flow, tag: ours, call_id: own, dialog: Some(dialog) };
            let call_id = call_id.to_string().into_bytes();
            self.subscribed(now, owner, [near, End { trunk: egress, flow, tag: theirs, call_id, dialog: None }]);
        }
    }

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
        let writer = dialog.request(method, via.as_bytes()).header("Contact", shown.contact());
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
        let passing = Passing { server, request, came: arrival.flow, tag: None, trusted, purpose, to, within };
        if self.send(now, hop, bytes, ClientUse::Pass(Box::new(passing))).is_none() {
            self.refuse(arrival, server, 503, b"Service Unavailable");
        }
    }

    /// The answer to a request that was carried across goes back.
    pub(super) fn passed_back(&mut self, arrival: Arrival<'_>, client: ClientId) {
        let Some(status) = arrival.message.status().filter(|status| *status > 100) else { return };
        let Some(ClientUse::Pass(passing)) = self.clients.get(&client) else { return };
        let tag = passing.tag.map(|tag| tag.to_string());
        let reason = arrival.message.reason().unwrap_or_default();
        let mut writer =
            respond(passing.request.view(), passing.came.remote, status, reason, tag.as_deref().map(str::as_bytes));
        let shown = self.shown(passing.came);
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
