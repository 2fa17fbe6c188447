//! Moorline as a client: it registers itself with trunks that want it (RFC 3261 section 10.2), and keeps that up.
//!
//! The first worker of a process registers; all of them use what the registrar has said (RFC 3608). A registration is
//! left to run out when the process ends: calls outlive it, and the next process takes the registration over.
//!
//! The Contact is a `sip` URI over TLS even where the registrar is reached by a `sips` one: calls to a `sips` URI would be
//! refused where they go on without TLS.
//!
//! P-Associated-URI (RFC 7315 4.1), the identities that the registrar has given us besides, is not used: who calls is what
//! the caller's own trunk says, and to name one of these in its place would be to call as somebody else. A carrier that
//! takes no other identities refuses the call.

use std::collections::{HashMap, VecDeque};

use moorline_control::SessionId;
use moorline_sip::transaction::Flow;
use moorline_sip::{Contact, Message, Method, Name, Uri, Writer};

use super::targets::Waiter;
use super::{Arrival, ClientUse, Due, Worker};
use crate::forward::ALLOW;
use crate::locate::{Hop, Located, NotLocated};
use crate::news::{News, Told};
use crate::policy::Target;
use crate::{Observation, Output};

const SECOND_NS: u64 = 1_000_000_000;

/// After the first failure a registration is tried again in about this time, and then in twice the last one, up to
/// the longest.
const FIRST_PAUSE_S: u64 = 15;
const LONGEST_PAUSE_S: u64 = 600;

/// The longest time that a registrar may want us to ask for.
const LONGEST_S: u32 = 7 * 24 * 3600;

/// The most proxies of a Service-Route.
const MAX_ROUTE: usize = 8;

/// How our registrations stand.
#[derive(Default)]
pub(super) struct Registrations {
    kept: HashMap<usize, Kept>,
    /// By trunk: the way that calls to it take.
    routes: HashMap<usize, Vec<Vec<u8>>>,
}

/// One registration, as the first worker keeps it.
struct Kept {
    /// Ours, and of this process.
    id: SessionId,
    call_id: String,
    cseq: u32,
    /// What is asked for.
    expires_s: u32,
    /// Until when it was granted.
    until: Option<u64>,
    /// The next REGISTER is sent then.
    next_at: Option<u64>,
    /// What can be tried before this round has failed.
    targets: VecDeque<Target>,
    hops: VecDeque<Hop>,
    /// Where the last REGISTER went.
    flow: Option<Flow>,
    /// Rounds in a row that have failed.
    failures: u32,
}

impl Registrations {
    /// Until when the registration with a trunk was granted, and how often it has failed in a row since.
    pub(super) fn state(&self, trunk: usize) -> Option<(Option<u64>, u32)> {
        self.kept.get(&trunk).map(|kept| (kept.until, kept.failures))
    }

    /// The way that calls to a trunk take, as its registrar has said (RFC 3608).
    pub(super) fn route(&self, trunk: usize) -> Vec<Vec<u8>> {
        self.routes.get(&trunk).cloned().unwrap_or_default()
    }

    /// A trunk has been replaced, or there is none in its place. Its registration is left to run out, or made anew with
    /// what has changed; until then calls take the way that was learnt, those that began with it as long as they go on.
    pub(super) fn hand_over(&mut self, from: usize, to: Option<usize>) {
        self.kept.remove(&from);
        if let Some((to, route)) = to.and_then(|to| Some((to, self.routes.get(&from)?.clone()))) {
            self.routes.insert(to, route);
        }
    }
}

impl Worker {
    /// Registers with all trunks that want it, soon.
    pub(super) fn start_registrations(&mut self, now: u64) {
        for trunk in 0..self.policy.trunks.len() {
            self.start_registration(now, trunk);
        }
    }

    /// Registers with a trunk, if it wants that.
    pub(super) fn start_registration(&mut self, now: u64, trunk: usize) {
        let wanted = self.policy.trunks.get(trunk).filter(|trunk| !trunk.retired);
        let Some(registration) = wanted.and_then(|trunk| trunk.registration.as_ref()) else { return };
        let expires_s = registration.expires_s;
        let id = self.identities.call();
        let kept = Kept {
            id,
            call_id: self.identities.token(id).to_string(),
            cseq: 0,
            expires_s,
            until: None,
            next_at: None,
            targets: VecDeque::new(),
            hops: VecDeque::new(),
            flow: None,
            failures: 0,
        };
        self.registrations.kept.insert(trunk, kept);
        self.register_at(now, trunk);
    }

    /// What the first worker has learnt of a registrar.
    pub(super) fn learn_route(&mut self, trunk: usize, route: Vec<Vec<u8>>) {
        if route.is_empty() {
            self.registrations.routes.remove(&trunk);
        } else {
            self.registrations.routes.insert(trunk, route);
        }
    }

    fn register_at(&mut self, at: u64, trunk: usize) {
        let Some(kept) = self.registrations.kept.get_mut(&trunk) else { return };
        if let Some(before) = kept.next_at.replace(at) {
            self.timers.cancel(before, Due::Registration(trunk));
        }
        self.timers.set(at, Due::Registration(trunk));
    }

    /// Begins to register with a trunk, or to refresh that.
    pub(super) fn register_with(&mut self, now: u64, trunk: usize) {
        let targets = self.policy.trunks[trunk].targets.iter().cloned().collect();
        let fresh = self.policy.trunks[trunk].registration.as_ref().is_some_and(|wanted| wanted.new_call_id);
        let Some(kept) = self.registrations.kept.get_mut(&trunk) else { return };
        (kept.next_at, kept.targets) = (None, targets);
        kept.hops.clear();
        if fresh {
            kept.call_id = self.identities.token(kept.id).to_string();
            kept.cseq = 0;
        }
        self.register_next(now, trunk);
    }

    /// Sends the REGISTER to the next hop, or target; where there is none left, the round has failed.
    fn register_next(&mut self, now: u64, trunk: usize) {
        loop {
            let Some(kept) = self.registrations.kept.get_mut(&trunk) else { return };
            if let Some(hop) = kept.hops.pop_front() {
                return self.send_register(now, trunk, hop);
            }
            let Some(target) = kept.targets.pop_front() else { return self.not_registered(now, trunk, None) };
            let wanted = target.to_locate(&self.policy.listeners[self.policy.trunks[trunk].listener]);
            match self.locator.locate(now, &wanted) {
                Located::Ready(hops) => self.take_hops(now, trunk, hops),
                Located::Pending(ticket) => {
                    self.waiters.insert(ticket, Waiter::Registration(trunk));
                    return;
                }
            }
        }
    }

    fn take_hops(&mut self, now: u64, trunk: usize, hops: Result<Vec<Hop>, NotLocated>) {
        let hops = self.health.order(now, &hops.unwrap_or_default());
        if let Some(kept) = self.registrations.kept.get_mut(&trunk) {
            kept.hops.extend(hops);
        }
    }

    /// The registrar's name was looked up.
    pub(super) fn registrar_located(&mut self, now: u64, trunk: usize, hops: Result<Vec<Hop>, NotLocated>) {
        self.take_hops(now, trunk, hops);
        self.register_next(now, trunk);
    }

    fn send_register(&mut self, now: u64, trunk: usize, hop: Hop) {
        let flow = self.policy.trunks[trunk].flow_to(hop);
        let shown = self.shown(flow);
        let Some(registration) = &self.policy.trunks[trunk].registration else { return };
        let Some(kept) = self.registrations.kept.get_mut(&trunk) else { return };
        kept.cseq += 1;
        kept.flow = Some(flow);
        let (user, domain) = (&registration.user, &registration.domain);
        let address = format!("<sip:{user}@{domain}>");
        let request = Writer::request(Method::Register, format!("sip:{domain}").as_bytes())
            .header("Via", shown.via(&self.identities.branch(kept.id)))
            .header("Max-Forwards", "70")
            .header("From", format!("{address};tag={}", self.identities.token(kept.id)))
            .header("To", address)
            .header("Call-ID", &kept.call_id)
            .header("CSeq", format!("{} REGISTER", kept.cseq))
            .header("Contact", shown.contact().replacen("sip:", &format!("sip:{user}@"), 1))
            .header("Expires", kept.expires_s.to_string())
            .header("Allow", ALLOW)
            .finish(b"");
        if self.send(now, flow, request, ClientUse::Register(trunk)).is_none() {
            self.not_registered(now, trunk, None);
        }
    }

    /// The registrar has answered.
    pub(super) fn register_answered(&mut self, arrival: Arrival<'_>, trunk: usize) {
        let Arrival { now, message, .. } = arrival;
        let status = message.status().unwrap_or_default();
        if status < 200 {
            return;
        }
        let Some(kept) = self.registrations.kept.get_mut(&trunk) else { return };
        // It may have been sent again with credentials meanwhile.
        kept.cseq = kept.cseq.max(message.cseq().map_or(0, |cseq| cseq.number));
        match status {
            200..=299 => self.registered_at(arrival, trunk),
            423 => {
                let least: Option<u32> =
                    message.header(Name::MinExpires).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
                match least.filter(|least| (kept.expires_s + 1..=LONGEST_S).contains(least)) {
                    Some(least) => {
                        kept.expires_s = least;
                        self.register_with(now, trunk);
                    }
                    None => self.not_registered(now, trunk, Some(status)),
                }
            }
            // Another one may be able to.
            408 | 500..=599 => self.register_elsewhere(now, trunk, Some(status)),
            _ => self.not_registered(now, trunk, Some(status)),
        }
    }

    /// The registrar has not answered, or cannot be reached.
    pub(super) fn register_unanswered(&mut self, now: u64, trunk: usize) {
        self.register_elsewhere(now, trunk, None);
    }

    fn register_elsewhere(&mut self, now: u64, trunk: usize, status: Option<u16>) {
        let more = self.registrations.kept.get(&trunk);
        match more.is_some_and(|kept| !kept.hops.is_empty() || !kept.targets.is_empty()) {
            true => self.register_next(now, trunk),
            false => self.not_registered(now, trunk, status),
        }
    }

    /// We are registered: until when, and by which way calls go.
    fn registered_at(&mut self, arrival: Arrival<'_>, trunk: usize) {
        let Arrival { now, message, .. } = arrival;
        let own = self.advertised(self.policy.trunks[trunk].listener);
        let Some(registration) = &self.policy.trunks[trunk].registration else { return };
        let Some(kept) = self.registrations.kept.get_mut(&trunk) else { return };
        let ours = |uri: &Uri<'_>| {
            uri.user == Some(registration.user.as_bytes()) && uri.socket_addr(5060).is_some_and(|at| at == own)
        };
        let granted_s = granted(message, ours).unwrap_or(kept.expires_s).clamp(1, LONGEST_S);
        kept.until = Some(now.saturating_add(u64::from(granted_s) * SECOND_NS));
        kept.failures = 0;
        // Somewhere between 50 and 90 % of the time, so that many do not come at once.
        let share = 50 + self.identities.call().random % 41;
        self.register_at(now + u64::from(granted_s) * SECOND_NS * share / 100, trunk);
        let route: Vec<Vec<u8>> = message.values(Name::ServiceRoute).take(MAX_ROUTE).map(<[u8]>::to_vec).collect();
        if self.registrations.route(trunk) != route {
            if self.place.of > 1 {
                self.outputs.push_back(Output::Tell(News(Told::Route(trunk, route.clone()))));
            }
            self.learn_route(trunk, route);
        }
        let trunk = self.policy.trunks[trunk].name.clone();
        self.observe(Observation::Registered { trunk, granted_s });
    }

    /// A round has failed: there is another after a pause.
    fn not_registered(&mut self, now: u64, trunk: usize, status: Option<u16>) {
        let draw = self.identities.call().random;
        let Some(kept) = self.registrations.kept.get_mut(&trunk) else { return };
        let pause_s = FIRST_PAUSE_S.saturating_mul(1 << kept.failures.min(6)).min(LONGEST_PAUSE_S);
        kept.failures += 1;
        let registered = kept.until.is_some_and(|until| until > now);
        let pause_ns = pause_s * SECOND_NS;
        self.register_at(now + pause_ns - draw % (pause_ns / 4), trunk);
        let trunk = self.policy.trunks[trunk].name.clone();
        self.observe(Observation::NotRegistered { trunk, status, registered });
    }

    /// The stream that a registrar knows us by has ended: it is told of another one.
    pub(super) fn register_over_another(&mut self, now: u64, flow: Flow) {
        let gone = |(trunk, kept): (&usize, &Kept)| {
            (kept.flow == Some(flow) && kept.next_at.is_some() && kept.failures == 0).then_some(*trunk)
        };
        let gone: Vec<usize> = self.registrations.kept.iter().filter_map(gone).collect();
        for trunk in gone {
            let pause_ns = SECOND_NS + self.identities.call().random % (4 * SECOND_NS);
            self.register_at(now + pause_ns, trunk);
        }
    }
}

/// How long a registrar has granted our contact: by its Contact, or else by Expires.
fn granted(answer: Message<'_>, ours: impl Fn(&Uri<'_>) -> bool) -> Option<u32> {
    let contact = answer.contacts().find_map(|contact| match contact {
        Ok(Contact::Address(contact)) if Uri::parse(contact.uri).is_ok_and(|uri| ours(&uri)) => contact.expires(),
        _ => None,
    });
    contact.or_else(|| answer.expires())
}
