//! Requests outside dialogs that go by the routes: as calls do, they go on to the next hop, target or trunk where one
//! takes nothing.

use std::collections::VecDeque;

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow, ServerId};
use moorline_sip::{Method, OwnedMessage};

use super::hunt::Setback;
use super::outside::{Carried, Onward};
use super::pass::Purpose;
use super::setup::Refused;
use super::targets::{Waiter, is_secure, lottery, nowhere, tell_name};
use super::{Arrival, ClientUse, Due, Worker};
use crate::attempt::{Destination, keep_better};
use crate::call::Numbers;
use crate::locate::{Hop, Located, NotLocated};
use crate::policy::{Failover, Target, Way};

/// A request on its way through the trunks of its route. What was decided on when it came holds to its end, whatever is
/// configured meanwhile.
pub(super) struct Errand {
    server: ServerId,
    request: OwnedMessage,
    /// Where it came from, and by which trunk.
    came: Flow,
    from: usize,
    numbers: Numbers,
    /// The trunk that it is at, and what of it was not tried yet.
    egress: usize,
    hops: VecDeque<(Hop, Target)>,
    targets: VecDeque<Target>,
    /// The target that is looked up.
    locating: Option<Target>,
    /// The other trunks that it may go to, and after what.
    trunks: VecDeque<usize>,
    failover: Option<Failover>,
    /// What it waits for, and until when for a sign of life.
    under_way: Option<(ClientId, Flow)>,
    silent_at: Option<u64>,
    /// Whoever was asked last.
    asked: Option<ClientId>,
    refusal: Option<OwnedMessage>,
    not_located: Option<NotLocated>,
}

impl Errand {
    fn arrival(&self, now: u64) -> Arrival<'_> {
        Arrival { now, flow: self.came, message: self.request.view(), user: None }
    }

    /// The trunks that it may still be about.
    pub(super) fn trunks(&self) -> impl Iterator<Item = usize> {
        [self.from, self.egress].into_iter().chain(self.trunks.iter().copied())
    }

    fn has_more(&self) -> bool {
        let silence = self.failover.as_ref().is_some_and(|failover| failover.silence);
        !self.hops.is_empty() || !self.targets.is_empty() || (silence && !self.trunks.is_empty())
    }
}

impl Worker {
    /// A request goes on by the routes.
    pub(super) fn run_errand(&mut self, arrival: Arrival<'_>, from: usize, server: ServerId, mut numbers: Numbers) {
        let now = arrival.now;
        let draw = self.identities.call().random;
        let Some(decision) = self.decision(now, from, &numbers) else {
            return self.refuse(arrival, server, 404, b"Not Found - No Route");
        };
        let (trunks, failover) = match &decision.to {
            Way::Trunk(trunk) => (vec![*trunk], None),
            Way::Trunks(hunt) => (hunt.draw(lottery(draw)), Some(hunt.failover.clone())),
            Way::Redirect(to) => {
                let refused = Refused::redirect(to, &numbers.routed.called);
                return self.turn_away(arrival, server, &refused);
            }
            Way::Refuse(refusal) => {
                let refused = Refused::from(refusal);
                return self.turn_away(arrival, server, &refused);
            }
        };
        numbers.take(&decision.numbers);
        let with_targets = |egress: &usize| !self.policy.trunks[*egress].targets.is_empty();
        let known: Vec<usize> = trunks.into_iter().filter(with_targets).collect();
        let mut trunks: VecDeque<usize> =
            known.iter().copied().filter(|egress| !self.lacks_tls(arrival.message, *egress)).collect();
        // Stable: of those alive the drawn order stays.
        trunks.make_contiguous().sort_by_key(|egress| self.is_resting(now, *egress));
        let Some(egress) = trunks.pop_front() else {
            return match known.is_empty() {
                true => self.refuse(arrival, server, 404, b"Not Found - No Route"),
                false => self.refuse(arrival, server, 416, b"Unsupported URI Scheme - No TLS There"),
            };
        };
        let errand = Errand {
            server,
            request: arrival.message.to_owned(),
            came: arrival.flow,
            from,
            numbers,
            egress,
            hops: VecDeque::new(),
            targets: self.policy.trunks[egress].targets_in_turn(draw),
            locating: None,
            trunks,
            failover,
            under_way: None,
            silent_at: None,
            asked: None,
            refusal: None,
            not_located: None,
        };
        let owner = self.identities.call();
        let id = self.identities.token(owner);
        self.errands.insert(id, Box::new(errand));
        self.errand_on(now, id, &Setback::Nowhere);
    }

    fn turn_away(&mut self, arrival: Arrival<'_>, server: ServerId, refused: &Refused) {
        let mut answer = self.answer_to(arrival, refused.status, &refused.reason);
        if let Some(contact) = &refused.contact {
            answer = answer.header("Contact", contact);
        }
        self.layer.respond(arrival.now, server, answer.finish(b""));
    }

    /// DNS has said where the target of a request is.
    pub(super) fn errand_located(&mut self, now: u64, id: SessionId, hops: Result<Vec<Hop>, NotLocated>) {
        let Some(target) = self.errands.get_mut(&id).and_then(|errand| errand.locating.take()) else { return };
        self.errand_found(now, id, target, hops);
        self.errand_on(now, id, &Setback::Nowhere);
    }

    fn errand_found(&mut self, now: u64, id: SessionId, target: Target, hops: Result<Vec<Hop>, NotLocated>) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        match hops {
            Ok(hops) => {
                let hops = self.health.order(now, &hops);
                errand.hops.extend(hops.into_iter().map(|hop| (hop, target.clone())));
            }
            Err(problem) => errand.not_located = Some(problem),
        }
    }

    /// Sends the request to what was not tried yet, after what became of it before; answers it where nothing is left.
    fn errand_on(&mut self, now: u64, id: SessionId, setback: &Setback) {
        let mut setback = setback.clone();
        loop {
            let Some(errand) = self.errands.get_mut(&id) else { return };
            // Another target of the same trunk does no better where the trunk has said so.
            if matches!(setback, Setback::Answer(..)) && !setback.is_of_target() {
                errand.hops.clear();
                errand.targets.clear();
            }
            if let Some((hop, target)) = errand.hops.pop_front() {
                match self.errand_to(now, id, hop, &target) {
                    Carried::Sent(client, flow) => return self.watch_errand(now, id, client, flow),
                    Carried::Answered => return drop(self.errands.remove(&id)),
                    Carried::NotSent => setback = Setback::Silence,
                }
                continue;
            }
            if let Some(target) = errand.targets.pop_front() {
                let listener = &self.policy.listeners[self.policy.trunks[errand.egress].listener];
                let mut wanted = target.to_locate(listener);
                wanted.secure |= is_secure(errand.request.view());
                match self.locator.locate(now, &wanted) {
                    Located::Ready(hops) => self.errand_found(now, id, target, hops),
                    Located::Pending(ticket) => {
                        errand.locating = Some(target);
                        self.waiters.insert(ticket, Waiter::Request(id));
                        return;
                    }
                }
                continue;
            }
            let follows = errand.failover.as_ref().is_some_and(|failover| match &setback {
                Setback::Silence | Setback::Nowhere => failover.silence,
                Setback::Answer(status, reason) => failover.follows(*status, reason),
            });
            let Some(egress) = errand.trunks.pop_front().filter(|_| follows) else {
                return self.errand_over(now, id);
            };
            (errand.egress, setback) = (egress, Setback::Nowhere);
            errand.targets = self.policy.trunks[egress].targets_in_turn(id.random);
            self.counters.failovers += 1;
        }
    }

    fn errand_to(&mut self, now: u64, id: SessionId, hop: Hop, target: &Target) -> Carried {
        let Some(errand) = self.errands.remove(&id) else { return Carried::Answered };
        let egress = errand.egress;
        let policy = &self.policy.trunks[egress];
        tell_name(&mut self.outputs, target, &[hop]);
        let destination = Destination {
            flow: policy.flow_to(hop),
            uri: None,
            host: policy.host_at(target),
            secure: target.secure,
            route: self.registrations.route(egress),
        };
        let mut numbers = errand.numbers.clone();
        numbers.send(policy);
        let onward = Onward { egress, user: None, destinations: vec![destination], numbers, errand: Some(id) };
        let carried = self.carry(errand.arrival(now), errand.from, errand.server, onward);
        self.errands.insert(id, errand);
        carried
    }

    /// Waits for an answer, and for the first sign of life where there is something else to try.
    fn watch_errand(&mut self, now: u64, id: SessionId, client: ClientId, flow: Flow) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        // A subscription is with whoever was asked first.
        if matches!(errand.request.view().method(), Some(Method::Subscribe | Method::Refer)) {
            self.errands.remove(&id);
            if let Some(ClientUse::Pass(passing)) = self.clients.get_mut(&client) {
                passing.errand = None;
            }
            return;
        }
        (errand.under_way, errand.asked) = (Some((client, flow)), Some(client));
        let failover_ns = self.policy.trunks[errand.egress].failover_ns;
        if failover_ns > 0 && errand.has_more() {
            let at = now.saturating_add(failover_ns);
            errand.silent_at = Some(at);
            self.timers.set(at, Due::Errand(id));
        }
    }

    fn heard_of_errand(&mut self, id: SessionId) {
        let silent_at = self.errands.get_mut(&id).and_then(|errand| errand.silent_at.take());
        if let Some(at) = silent_at {
            self.timers.cancel(at, Due::Errand(id));
        }
    }

    /// The transaction of a request goes on as another one.
    pub(super) fn follow_errand(&mut self, id: SessionId, client: ClientId, again: ClientId) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        if let Some((under_way, _)) = errand.under_way.as_mut().filter(|(under_way, _)| *under_way == client) {
            *under_way = again;
            errand.asked = Some(again);
        }
    }

    /// An answer to such a request.
    pub(super) fn errand_answered(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId) {
        let status = arrival.message.status().unwrap_or_default();
        let under_way = self.errands.get(&id).and_then(|errand| errand.under_way);
        // Who was given up says nothing any more, nor does anybody once the request is answered.
        let Some((_, flow)) = under_way.filter(|(under_way, _)| *under_way == client) else { return };
        self.heard_of_errand(id);
        if status < 200 {
            return self.pass_back(arrival, client, status);
        }
        self.fared(arrival.now, flow, Some(arrival.message));
        let Some(errand) = self.errands.get_mut(&id) else { return };
        errand.under_way = None;
        if status < 300 {
            self.errands.remove(&id);
            return self.pass_back(arrival, client, status);
        }
        let _better = keep_better(&mut errand.refusal, arrival.message);
        self.errand_on(arrival.now, id, &Setback::answer(arrival.message));
    }

    /// Nothing was heard of whom the request went to, or it cannot be reached.
    pub(super) fn errand_unanswered(&mut self, now: u64, client: ClientId, id: SessionId) {
        self.heard_of_errand(id);
        let Some(errand) = self.errands.get_mut(&id) else { return };
        if let Some((_, flow)) = errand.under_way.take_if(|(under_way, _)| *under_way == client) {
            self.fared(now, flow, None);
            self.errand_on(now, id, &Setback::Silence);
        }
    }

    /// There was no sign of life for as long as the trunk has for it.
    pub(super) fn errand_silent(&mut self, now: u64, id: SessionId) {
        let Some(errand) = self.errands.get_mut(&id) else { return };
        errand.silent_at = None;
        if let Some((client, _)) = errand.under_way {
            self.errand_unanswered(now, client, id);
        }
    }

    /// Nothing is left to try: the best refusal is the answer.
    fn errand_over(&mut self, now: u64, id: SessionId) {
        let Some(errand) = self.errands.remove(&id) else { return };
        let asked = errand.asked.filter(|client| self.clients.contains_key(client));
        match (&errand.refusal, asked) {
            (Some(refusal), Some(client)) => {
                let message = refusal.view();
                let arrival = Arrival { message, ..errand.arrival(now) };
                self.pass_back(arrival, client, message.status().unwrap_or(500));
            }
            (Some(refusal), None) => {
                let (status, reason) = (refusal.view().status(), refusal.view().reason());
                self.refuse(errand.arrival(now), errand.server, status.unwrap_or(500), reason.unwrap_or_default());
            }
            (None, _) if errand.asked.is_some() => {
                self.refuse(errand.arrival(now), errand.server, 408, b"Request Timeout");
            }
            (None, _) => {
                let refused = match errand.not_located {
                    None => Refused { reason: b"Service Unavailable".to_vec(), ..Refused::new(503) },
                    located => nowhere(located).0,
                };
                self.refuse(errand.arrival(now), errand.server, refused.status, &refused.reason);
            }
        }
        if let Some(ClientUse::Pass(passing)) = asked.and_then(|client| self.clients.get_mut(&client)) {
            passing.purpose = Purpose::Nothing;
        }
    }
}
