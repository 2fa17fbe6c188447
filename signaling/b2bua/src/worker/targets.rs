//! Finding the hops of a trunk's targets, and remembering how they fared.

use std::collections::VecDeque;

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow};
use moorline_sip::{Message, Name, Transport};

use super::hunt::Setback;
use super::next_hops::Named;
use super::setup::Refused;
use super::{Due, Worker};
use crate::attempt::{Attempt, Destination};
use crate::locate::{Answer, Failure, Hop, Located, LocatorEvent, NotLocated, Ticket};
use crate::news::Told;
use crate::policy::Target;
use crate::registrar::Aor;
use crate::{Entropy, News, Outcome, Output};

/// Who waits for a lookup.
pub(super) enum Waiter {
    /// The first INVITE of a call.
    Call(SessionId),
    /// A request outside a dialog that is carried across, by its errand.
    Request(SessionId),
    /// Whoever asks whose requests come from a target of a trunk, by position.
    Name(usize, usize),
    /// Our registration with a trunk.
    Registration(usize),
    /// A dialog whose next hop is a name.
    NextHop(Box<Named>),
    /// The probes of a target of a trunk.
    Probe(usize, Target),
}

impl Waiter {
    /// The trunk that it waits for.
    pub(super) fn trunk(&self) -> Option<usize> {
        match self {
            Waiter::Name(trunk, _) | Waiter::Registration(trunk) | Waiter::Probe(trunk, _) => Some(*trunk),
            Waiter::Call(_) | Waiter::Request(_) | Waiter::NextHop(_) => None,
        }
    }
}

impl Worker {
    /// DNS has answered.
    pub(super) fn dns_answer(&mut self, now: u64, number: u64, answer: Result<Answer, Failure>) {
        self.locator.answer(now, number, answer);
    }

    /// Asks DNS what the locator must know, and goes on with what it has found.
    pub(super) fn poll_locator(&mut self, now: u64) {
        while let Some(event) = self.locator.poll_event() {
            match event {
                LocatorEvent::Query(query) => self.outputs.push_back(Output::Dns(query)),
                LocatorEvent::Located { ticket, hops } => self.located(now, ticket, hops),
            }
        }
    }

    fn located(&mut self, now: u64, ticket: Ticket, hops: Result<Vec<Hop>, NotLocated>) {
        match self.waiters.remove(&ticket) {
            Some(Waiter::Call(id)) => {
                let Some(invite) = self.calls.get_mut(&id).and_then(|call| call.invite.as_mut()) else { return };
                let target = invite.locating.take().map(|(_, target)| target);
                if let Some(target) = target {
                    self.found(now, id, vec![(target, hops)]);
                }
                if !self.next_group(now, id) {
                    self.all_refused(now, id, Setback::Nowhere);
                }
            }
            Some(Waiter::Request(id)) => self.errand_located(now, id, hops),
            Some(Waiter::Name(trunk, target)) => self.named(trunk, target, hops),
            Some(Waiter::Registration(trunk)) => self.registrar_located(now, trunk, hops),
            Some(Waiter::NextHop(named)) => self.next_hop_found(now, *named, hops),
            Some(Waiter::Probe(trunk, target)) => self.probe_hops(now, trunk, &target, hops.unwrap_or_default()),
            None => {}
        }
    }

    /// Looks up targets of the call until there is somewhere to go: those that need no question asked all at
    /// once, so that one that rests comes behind those alive; the others one after the other. False where nothing
    /// was found and nothing is being looked up.
    pub(super) fn locate_more(&mut self, now: u64, id: SessionId) -> bool {
        let mut found = Vec::new();
        let invite = self.calls.get(&id).and_then(|call| call.invite.as_ref());
        let secure = invite.is_some_and(|invite| is_secure(invite.request.view()));
        while let Some((target, listener)) = self.next_target(id) {
            let mut wanted = target.to_locate(&self.policy.listeners[listener]);
            wanted.secure |= secure;
            match self.locator.locate(now, &wanted) {
                Located::Ready(hops) => found.push((target, hops)),
                Located::Pending(ticket) => {
                    let Some(invite) = self.calls.get_mut(&id).and_then(|call| call.invite.as_mut()) else { break };
                    if found.iter().any(|(_, hops)| hops.is_ok()) {
                        self.locator.cancel(ticket);
                        invite.targets.push_front(target);
                    } else {
                        invite.locating = Some((ticket, target));
                        self.waiters.insert(ticket, Waiter::Call(id));
                    }
                    break;
                }
            }
        }
        self.found(now, id, found);
        let invite = self.calls.get(&id).and_then(|call| call.invite.as_ref());
        invite.is_some_and(|invite| !invite.groups.is_empty() || invite.locating.is_some())
    }

    /// True where a request may not go to a trunk: it asks for TLS, which the trunk's listener has not.
    pub(super) fn lacks_tls(&self, request: Message<'_>, egress: usize) -> bool {
        let listener = &self.policy.listeners[self.policy.trunks[egress].listener];
        is_secure(request) && !listener.transports.contains(&Transport::Tls)
    }

    /// The next target that was not looked up yet, and the listener that its trunk is reached through.
    fn next_target(&mut self, id: SessionId) -> Option<(Target, usize)> {
        let call = self.calls.get_mut(&id)?;
        let trunk = call.leg(crate::leg::Side::Callee).trunk;
        let target = call.invite.as_mut()?.targets.pop_front()?;
        Some((target, self.policy.trunks[trunk].listener))
    }

    /// Notes what lookups have found: hops to try, those alive first, or why there are none.
    fn found(&mut self, now: u64, id: SessionId, found: Vec<(Target, Result<Vec<Hop>, NotLocated>)>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let index = call.leg(crate::leg::Side::Callee).trunk;
        let trunk = &self.policy.trunks[index];
        let Some(invite) = &mut call.invite else { return };
        let mut hops = Vec::new();
        for (target, result) in found {
            match result {
                Ok(located) => {
                    tell_name(&mut self.outputs, &target, &located);
                    hops.extend(located.into_iter().map(|hop| (hop, trunk.host_at(&target), target.secure)));
                }
                Err(problem) => invite.not_located = Some(problem),
            }
        }
        hops.sort_by_key(|(hop, ..)| self.health.rests_until(now, *hop).unwrap_or_default());
        for (hop, host, secure) in hops {
            let flow = trunk.flow_to(hop);
            invite.groups.push_back(vec![Destination {
                flow,
                uri: None,
                host,
                secure,
                route: self.registrations.route(index),
            }]);
        }
    }

    /// A hop of a trunk has answered, or not.
    pub(super) fn fared(&mut self, now: u64, flow: Flow, answer: Option<Message<'_>>) {
        let hop = Hop { transport: flow.transport, address: flow.remote };
        self.note_health(now, hop, answer, 0);
    }

    /// Notes that a hop has answered, or not, and tells the other workers what that changes. One that failed rests
    /// for at least `rest_ns`.
    pub(super) fn note_health(&mut self, now: u64, hop: Hop, answer: Option<Message<'_>>, rest_ns: u64) {
        let before = self.health.rest(hop);
        match answer {
            Some(answer) if answer.status() != Some(503) => self.health.succeeded(now, hop),
            _ => {
                let asked = answer.and_then(retry_after_ns).unwrap_or_default();
                self.health.failed(now, hop, Some(asked.max(rest_ns)));
            }
        }
        let after = self.health.rest(hop);
        if before != after && self.place.of > 1 {
            self.outputs.push_back(Output::Tell(News(Told::Hop(hop, after))));
        }
    }

    /// Another worker has told something.
    pub(super) fn news(&mut self, news: News) {
        match news.0 {
            Told::Hop(hop, rest) => self.health.learn(hop, rest),
            Told::Whose { from, number, dialog } => self.tell_other_end(from, number, &dialog),
            Told::OtherEnd { to, number, end } if to == self.place.index => {
                self.owner_answered(self.latest, number, end.map(|end| *end));
            }
            Told::OtherEnd { .. } => {}
            // What was told before a reload, and comes behind it, is of the trunk that has taken the other's place.
            Told::Route(trunk, route) => self.learn_route(self.policy.successor(trunk), route),
            Told::Bindings(aor, bindings) => {
                let aor = Aor { trunk: self.policy.successor(aor.trunk), ..aor };
                self.registrar.location.put(&aor, bindings);
            }
        }
    }

    /// Nothing was heard of those called for as long as their trunk allows: the next ones are called. Those before
    /// are cancelled as soon as they show signs of life.
    pub(super) fn silent(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(invite) = &mut call.invite else { return };
        invite.silent_at = None;
        let asked = |attempt: &&Attempt| !attempt.heard && !attempt.given_up;
        let silent: Vec<(ClientId, Flow)> =
            call.attempts.iter().filter(asked).map(|attempt| (attempt.client, attempt.destination.flow)).collect();
        for (client, flow) in silent {
            if self.over_udp(now, client) {
                // Its TCP went nowhere: what was not refused was dropped.
                self.watch_called(now, id);
                continue;
            }
            if let Some(attempt) = self.calls.get_mut(&id).and_then(|call| call.attempt_mut(client)) {
                attempt.given_up = true;
            }
            self.record_silence(id, client);
            self.layer.cancel(now, client, None);
            self.fared(now, flow, None);
        }
        self.all_refused(now, id, Setback::Silence);
    }

    /// Waits for the first sign of life of those called, where there is something else to try.
    pub(super) fn watch_called(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get(&id) else { return };
        let failover_ns = self.policy.trunks[call.leg(crate::leg::Side::Callee).trunk].failover_ns;
        let other_ways = self.has_more(id)
            || self.has_more_trunks(id)
            || call.attempts.iter().any(|attempt| self.is_long(attempt.client));
        let watched = failover_ns > 0 && other_ways;
        self.watch_silence(id, watched.then(|| now.saturating_add(failover_ns)));
    }

    /// Starts or stops waiting for the first sign of life.
    pub(super) fn watch_silence(&mut self, id: SessionId, until: Option<u64>) {
        let Some(invite) = self.calls.get_mut(&id).and_then(|call| call.invite.as_mut()) else { return };
        if let Some(at) = std::mem::replace(&mut invite.silent_at, until) {
            self.timers.cancel(at, Due::Silent(id));
        }
        if let Some(at) = until {
            self.timers.set(at, Due::Silent(id));
        }
    }
}

/// Over TLS the far end must show the name that led there (RFC 3261 26.3.1).
pub(super) fn tell_name(outputs: &mut VecDeque<Output>, target: &Target, hops: &[Hop]) {
    let Some(name) = target.name() else { return };
    for hop in hops.iter().filter(|hop| hop.transport == Transport::Tls) {
        outputs.push_back(Output::Name { remote: hop.address, name: name.to_owned() });
    }
}

const SIPS: &[u8] = b"sips:";

/// True for a request to a `sips` URI: it goes over TLS or not at all (RFC 3261 26.2.2).
pub(super) fn is_secure(request: Message<'_>) -> bool {
    let scheme = request.request_uri().and_then(|uri| uri.get(..SIPS.len()));
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(SIPS))
}

/// What a caller hears whose call can go nowhere.
pub(super) fn nowhere(problem: Option<NotLocated>) -> (Refused, Outcome) {
    let (status, why) = match problem {
        None => (480, "Trunk Has No Target".to_owned()),
        Some(problem) if problem.is_temporary() => (503, problem.to_string()),
        Some(problem) => (502, problem.to_string()),
    };
    (Refused::because(status, &why), Outcome::Rejected(status))
}

/// The Retry-After of a response (RFC 3261 20.33): seconds, which a comment or parameters may follow.
fn retry_after_ns(response: Message<'_>) -> Option<u64> {
    let value = response.header(Name::RetryAfter)?;
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let seconds: u64 = std::str::from_utf8(&value[..digits]).ok()?.parse().ok()?;
    seconds.checked_mul(1_000_000_000)
}

/// Numbers that need not be hard to guess, from a seed (SplitMix64): they draw among SRV records.
pub(super) fn lottery(seed: u64) -> Entropy {
    let mut state = seed;
    Box::new(move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    })
}
