//! Requests outside dialogs, but for INVITE and REGISTER: they go where a call would go, to all devices of an endpoint or
//! by the routes.

use moorline_control::SessionId;
use moorline_sip::transaction::{Flow, ServerId};
use moorline_sip::{Dialog, Message, Method, Name, Uri, Writer};

use super::elsewhere::Owner;
use super::fork::Fork;
use super::pass::{Passing, Purpose, opaque};
use super::targets::{Request, Waiter, is_secure, nowhere, tell_name};
use super::{ACCEPT, Arrival, ClientUse, RETRY_AFTER, Worker};
use crate::attempt::Destination;
use crate::call::{Numbers, with_number_in};
use crate::extension;
use crate::forward::{self, ALLOW, Crossing, Naming};
use crate::locate::{Hop, Located, NotLocated};
use crate::policy::Refer;
use crate::subscription::End;

/// Where a request goes on to: one trunk's.
struct Onward {
    egress: usize,
    /// The endpoint's name, if it is for one.
    user: Option<Box<[u8]>>,
    destinations: Vec<Destination>,
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
        let numbers = Numbers::received(message, &self.policy.trunks[trunk]);
        let endpoint = match self.endpoint_for(arrival, &numbers.routed.called) {
            Ok(endpoint) => endpoint,
            Err(refused) => return self.refuse(arrival, server, refused.status, &refused.reason),
        };
        let egress = match &endpoint {
            Some(endpoint) => Some(endpoint.trunk),
            None => self.egress(trunk, message),
        };
        let Some(egress) = egress else {
            return self.refuse(arrival, server, 404, b"Not Found - No Route");
        };
        if self.lacks_tls(message, egress) {
            return self.refuse(arrival, server, 416, b"Unsupported URI Scheme - No TLS There");
        }
        if let Some(endpoint) = endpoint {
            let onward = Onward { egress, user: Some(endpoint.user), destinations: endpoint.destinations };
            return self.carry(arrival, trunk, server, onward);
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

    /// The trunk that a request goes to by the routes, if that has a target.
    fn egress(&self, trunk: usize, message: Message<'_>) -> Option<usize> {
        let numbers = Numbers::received(message, &self.policy.trunks[trunk]);
        let egress = self.decision(self.latest, trunk, &numbers)?.to.first()?;
        (!self.policy.trunks[egress].targets.is_empty()).then_some(egress)
    }

    /// A request outside a dialog goes on to the hops that its trunk's target was found to have.
    pub(super) fn pass_to(
        &mut self,
        arrival: Arrival<'_>,
        trunk: usize,
        server: ServerId,
        hops: Result<Vec<Hop>, NotLocated>,
    ) {
        let Some(egress) = self.egress(trunk, arrival.message) else { return };
        let hop = match hops.map(|hops| self.health.order(arrival.now, &hops).first().copied()) {
            Ok(Some(hop)) => hop,
            problem => {
                let (refused, _) = nowhere(problem.err());
                return self.refuse(arrival, server, refused.status, &refused.reason);
            }
        };
        let policy = &self.policy.trunks[egress];
        tell_name(&mut self.outputs, &policy.targets[0], &[hop]);
        let destination = Destination {
            flow: Flow { listener: policy.listener, transport: hop.transport, remote: hop.address },
            uri: None,
            host: policy.host_at(&policy.targets[0]),
            secure: policy.targets[0].secure,
            route: self.registrations.route(egress),
        };
        self.carry(arrival, trunk, server, Onward { egress, user: None, destinations: vec![destination] });
    }

    /// Sends a request on to all destinations. A subscription is with one notifier: it goes to the first.
    fn carry(&mut self, arrival: Arrival<'_>, trunk: usize, server: ServerId, onward: Onward) {
        let Onward { egress, user, mut destinations } = onward;
        let Arrival { now, message, .. } = arrival;
        let Some(method) = message.method() else { return };
        if opaque(arrival).is_none() {
            return self.refuse(arrival, server, 415, b"Unsupported Media Type");
        }
        let owner = self.identities.call();
        let ours = self.identities.token(owner);
        let subscribes = matches!(method, Method::Subscribe | Method::Refer);
        let subscriber = subscribes.then(|| Dialog::uas(message, ours.to_string().as_bytes()));
        let mut headers = Vec::new();
        if subscribes {
            destinations.truncate(1);
            if !self.has_room_to_subscribe() {
                return self.refuse(arrival, server, 503, b"Service Unavailable");
            }
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
            if !matches!(self.owner_of(&target), Owner::Settled) {
                // Nobody waits for another worker here: such dialogs are replaced from inside their calls.
                return self.refuse_gone(arrival, server);
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
            let Some(bytes) = self.as_seen_by(arrival, [trunk, egress], destination, &identifiers, &headers) else {
                return self.refuse(arrival, server, 400, b"Bad Request");
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
            };
            if self.send(now, destination.flow, bytes, ClientUse::Pass(Box::new(passing))).is_some() {
                sent += 1;
                subscription = Some((destination.flow, identifiers));
            }
        }
        let Some((flow, Identifiers { tag, call_id, .. })) = subscription else {
            return self.refuse(arrival, server, 503, b"Service Unavailable");
        };
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
    }

    /// The request as one destination sees it; `None` if it cannot be read.
    fn as_seen_by(
        &self,
        arrival: Arrival<'_>,
        [trunk, egress]: [usize; 2],
        destination: &Destination,
        ours: &Identifiers,
        headers: &[(Name, Vec<u8>)],
    ) -> Option<Vec<u8>> {
        let message = arrival.message;
        let method = message.method()?;
        let uri = message.request_uri()?;
        let (from, to) = (message.from().ok()?, message.to().ok()?);
        let [came, goes] = [trunk, egress].map(|trunk| &self.policy.trunks[trunk]);
        let mut numbers = Numbers::received(message, came);
        if let Some(decision) = self.decision(arrival.now, trunk, &numbers) {
            numbers.take(&decision.numbers);
        }
        numbers.send(goes);
        let crossing = Crossing {
            trusted: came.trusted && goes.trusted,
            withheld: goes.withhold_caller,
            realm: came.realm(),
            authenticates: goes.credentials.is_some(),
            shown_as: self.shown(destination.flow).address,
            naming: Some(Naming::new(&numbers, goes)),
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
