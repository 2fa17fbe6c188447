//! Requests outside dialogs, but for INVITE and REGISTER: they go where a call would go, to all devices of an endpoint or
//! by the routes.

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow, ServerId};
use moorline_sip::{Dialog, Method, Name, Uri, Writer};

use super::elsewhere::Owner;
use super::fork::Fork;
use super::pass::{Passing, Purpose, opaque};
use super::{ACCEPT, Arrival, ClientUse, RETRY_AFTER, Worker};
use crate::attempt::Destination;
use crate::call::{Numbers, with_number_in};
use crate::extension;
use crate::forward::{self, ALLOW, Crossing, Naming};
use crate::policy::Refer;
use crate::subscription::End;

/// Where a request goes on to: one trunk's.
pub(super) struct Onward {
    pub(super) egress: usize,
    /// The endpoint's name, if it is for one.
    pub(super) user: Option<Box<[u8]>>,
    pub(super) destinations: Vec<Destination>,
    /// As that trunk is sent them.
    pub(super) numbers: Numbers,
    /// What it goes on by, where it is refused there.
    pub(super) errand: Option<SessionId>,
}

/// What became of a request that was to be carried.
pub(super) enum Carried {
    /// It is under way; of several devices, to the last one by this.
    Sent(ClientId, Flow),
    /// There is no room for it.
    NotSent,
    /// It was not to be carried, and is answered.
    Answered,
}

/// Our identifiers in a request that is carried across.
struct Identifiers {
    branch: String,
    tag: SessionId,
    call_id: SessionId,
}

impl Worker {
    /// OPTIONS outside a dialog: to this host itself it is a ping, and answered; to a number it goes where
    /// a call would go (RFC 3261 11).
    pub(super) fn options(&mut self, arrival: Arrival<'_>, trunk: usize, server: ServerId) {
        let uri = arrival.message.request_uri().and_then(|uri| Uri::parse(uri).ok());
        if uri.is_some_and(|uri| uri.user.is_some()) {
            return self.pass_outside(arrival, trunk, server);
        }
        if self.place.calls.is_draining() {
            let answer = self.answer_to(arrival, 503, b"Service Unavailable - Draining");
            let answer = answer.header("Retry-After", RETRY_AFTER).header("Allow", ALLOW);
            return self.layer.respond(arrival.now, server, answer.finish(b""));
        }
        self.pong(arrival, server);
    }

    /// Answers OPTIONS for this host itself.
    pub(super) fn pong(&mut self, arrival: Arrival<'_>, server: ServerId) {
        let answer = self.answer_to(arrival, 200, b"OK").header("Allow", ALLOW).header("Accept", ACCEPT);
        self.layer.respond(arrival.now, server, answer.finish(b""));
    }

    /// A request outside a dialog goes on to the endpoint that it is for, or by the routes.
    pub(super) fn pass_outside(&mut self, arrival: Arrival<'_>, trunk: usize, server: ServerId) {
        let Arrival { now, message, .. } = arrival;
        if message.max_forwards().ok().flatten() == Some(0) {
            return self.refuse(arrival, server, 483, b"Too Many Hops");
        }
        if !extension::unknown(message, &[]).is_empty() {
            return self.refuse_extension(arrival, server, &[]);
        }
        if forward::is_looping(message, self.identities.node()) {
            return self.refuse(arrival, server, 482, b"Loop Detected");
        }
        let mut numbers = Numbers::received(message, &self.policy.trunks[trunk]);
        let endpoint = match self.endpoint_for(arrival, &numbers.routed.called) {
            Ok(endpoint) => endpoint,
            Err(refused) => return self.refuse(arrival, server, refused.status, &refused.reason),
        };
        let Some(endpoint) = endpoint else { return self.run_errand(arrival, trunk, server, numbers) };
        let egress = endpoint.trunk;
        if self.lacks_tls(message, egress) {
            return self.refuse(arrival, server, 416, b"Unsupported URI Scheme - No TLS There");
        }
        if let Some(decision) = self.decision(now, trunk, &numbers) {
            numbers.take(&decision.numbers);
        }
        numbers.send(&self.policy.trunks[egress]);
        let (user, destinations) = (Some(endpoint.user), endpoint.destinations);
        let onward = Onward { egress, user, destinations, numbers, errand: None };
        if let Carried::NotSent = self.carry(arrival, trunk, server, onward) {
            self.refuse(arrival, server, 503, b"Service Unavailable");
        }
    }

    /// Sends a request on to all destinations. A subscription is with one notifier: it goes to the first.
    pub(super) fn carry(&mut self, arrival: Arrival<'_>, trunk: usize, server: ServerId, onward: Onward) -> Carried {
        match self.carry_to(arrival, trunk, server, onward) {
            Ok(carried) => carried,
            Err((status, reason)) => {
                self.refuse(arrival, server, status, reason.as_bytes());
                Carried::Answered
            }
        }
    }

    fn carry_to(
        &mut self,
        arrival: Arrival<'_>,
        trunk: usize,
        server: ServerId,
        onward: Onward,
    ) -> Result<Carried, (u16, &'static str)> {
        let Onward { egress, user, mut destinations, numbers, errand } = onward;
        let Arrival { now, message, .. } = arrival;
        let Some(method) = message.method() else { return Ok(Carried::Answered) };
        if opaque(arrival).is_none() {
            return Err((415, "Unsupported Media Type"));
        }
        let owner = self.identities.call();
        let ours = self.identities.token(owner);
        let subscribes = matches!(method, Method::Subscribe | Method::Refer);
        let subscriber = subscribes.then(|| Dialog::uas(message, ours.to_string().as_bytes()));
        let mut headers = Vec::new();
        if subscribes {
            destinations.truncate(1);
            if !self.has_room_to_subscribe() {
                return Err((503, "Service Unavailable"));
            }
        }
        if matches!(subscriber, Some(Err(_))) {
            return Err((400, "Bad Request - No Usable Contact"));
        }
        if method == Method::Refer {
            let refused = |trunk: usize| self.policy.trunks[trunk].dialogs.refer == Refer::Refuse;
            let Ok(Some(target)) = message.refer_to() else {
                return Err((400, "Bad Request - No Usable Refer-To"));
            };
            if refused(trunk) || refused(egress) {
                return Err((403, "Forbidden - No Transfers"));
            }
            if !matches!(self.owner_of(&target), Owner::Settled) {
                // Nobody waits for another worker here: such dialogs are replaced from inside their calls.
                self.refuse_gone(arrival, server);
                return Ok(Carried::Answered);
            }
            headers = self.transfer_headers(self.policy.trunks[egress].listener, message, &target, None);
        }
        let trusted = self.policy.trunks[trunk].trusted && self.policy.trunks[egress].trusted;
        let fork = (destinations.len() > 1).then_some(ours);
        let (mut sent, mut subscription) = (0, None);
        for destination in &destinations {
            let identifiers = Identifiers {
                branch: self.identities.branch(owner) + &forward::loop_mark(message.request_uri().unwrap_or_default()),
                tag: self.identities.token(owner),
                call_id: self.identities.token(owner),
            };
            let sides = ([trunk, egress], &numbers);
            let Some(bytes) = self.as_seen_by(arrival, sides, destination, &identifiers, &headers) else {
                return Err((400, "Bad Request"));
            };
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
                fork,
                errand,
            };
            if let Some(client) = self.send(now, destination.flow, bytes, ClientUse::Pass(Box::new(passing))) {
                sent += 1;
                subscription = Some((client, destination.flow, identifiers));
            }
        }
        let Some((client, flow, Identifiers { tag, call_id, .. })) = subscription else { return Ok(Carried::NotSent) };
        if let Some(fork) = fork {
            self.forks.insert(fork, Fork::new(sent));
        }
        if let Some(Ok(dialog)) = subscriber {
            let endpoint = |trunk: usize| self.policy.trunks[trunk].endpoints.is_some();
            let near = End {
                trunk,
                flow: arrival.flow,
                endpoint: endpoint(trunk),
                user: arrival.user.map(Into::into),
                tag: ours,
                call_id: dialog.call_id.clone(),
                dialog: Some(dialog),
            };
            let far = End {
                trunk: egress,
                flow,
                endpoint: endpoint(egress),
                user,
                tag,
                call_id: call_id.to_string().into_bytes(),
                dialog: None,
            };
            self.subscribed(now, owner, [near, far]);
        }
        Ok(Carried::Sent(client, flow))
    }

    /// The request as one destination sees it; `None` if it cannot be read.
    fn as_seen_by(
        &self,
        arrival: Arrival<'_>,
        ([trunk, egress], numbers): ([usize; 2], &Numbers),
        destination: &Destination,
        ours: &Identifiers,
        headers: &[(Name, Vec<u8>)],
    ) -> Option<Vec<u8>> {
        let message = arrival.message;
        let method = message.method()?;
        let uri = message.request_uri()?;
        let (from, to) = (message.from().ok()?, message.to().ok()?);
        let [came, goes] = [trunk, egress].map(|trunk| &self.policy.trunks[trunk]);
        let crossing = Crossing {
            trusted: came.trusted && goes.trusted,
            withheld: goes.withhold_caller,
            realm: came.realm(),
            authenticates: goes.credentials.is_some(),
            shown_as: self.shown(destination.flow).address,
            naming: Some(Naming::new(numbers, came, goes)),
        };
        let shown = self.shown(destination.flow);
        let host = destination.host.clone().unwrap_or_else(|| destination.flow.remote.to_string());
        let mut caller = crossing.caller(message, &from, goes.domain.as_deref());
        caller.extend_from_slice(format!(";tag={}", ours.tag).as_bytes());
        let max_forwards = message.max_forwards().ok().flatten().unwrap_or(70).saturating_sub(1);
        let uri = destination.request_uri(&with_number_in(uri, &numbers.sent.called, &host), &host);
        let uri = if destination.uri.is_none() { self.marked(egress, uri) } else { uri };
        let secure = forward::is_sips(&uri);
        let writer = Writer::request(method, &uri)
            .header("Via", shown.via(&ours.branch))
            .header("Max-Forwards", max_forwards.to_string());
        let writer = destination.route.iter().fold(writer, |writer, route| writer.header("Route", route));
        let mut writer = writer
            .header("From", caller)
            .header("To", self.marked(egress, numbers.to(&to, &host, secure)))
            .header("Call-ID", ours.call_id.to_string())
            .header("CSeq", [b"1 ", method.as_bytes()].concat());
        if matches!(method, Method::Subscribe | Method::Refer) {
            writer = writer.header("Contact", shown.secured(secure).contact());
        }
        Some(crossing.finish_with(writer, message, opaque(arrival)?, headers))
    }
}
