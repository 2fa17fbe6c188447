//! Registration: what REGISTER requests do to the bindings of users, and what becomes of bindings in time.

use std::collections::HashMap;

use moorline_sip::transaction::{Flow, ServerId};
use moorline_sip::{Message, Method, Name, Uri, Writer, unescape};

use super::setup::Refused;
use super::{Arrival, ClientUse, Due, Worker};
use crate::news::{News, Told};
use crate::registrar::{self, Aor, Binding, Location, Refusal, Rules};
use crate::{Output, extension};

/// Keep-alives in a row that may stay unanswered, 32 s each, until a binding counts as dead.
const MAX_LOSSES: u8 = 3;

/// Extensions that a REGISTER may require.
const KNOWN: &[&str] = &["path"];

/// The bindings of users, and how those fare that are kept alive from here.
#[derive(Default)]
pub(super) struct Registrar {
    pub(super) location: Location,
    /// The name of the last binding.
    serial: u64,
    pings: HashMap<u64, Ping>,
}

/// A binding that is kept alive.
struct Ping {
    /// When the next keep-alive is due; `None` while one is under way.
    due: Option<u64>,
    losses: u8,
}

impl Worker {
    /// A REGISTER, whose sender is who it says to be.
    pub(super) fn register(&mut self, arrival: Arrival<'_>, trunk: usize, server: ServerId) {
        let Arrival { now, flow, message, .. } = arrival;
        if self.policy.trunks[trunk].endpoints.is_none() {
            return self.not_allowed(arrival, server, 405, b"Method Not Allowed");
        }
        if !extension::unknown(message, KNOWN).is_empty() {
            return self.refuse_extension(arrival, server, KNOWN);
        }
        let (aor, rules) = match self.registered(arrival, trunk) {
            Ok(found) => found,
            Err(refused) => return self.refuse(arrival, server, refused.status, &refused.reason),
        };
        let mut bindings = self.registrar.location.of(&aor).to_vec();
        let serial = &mut self.registrar.serial;
        let answer = match registrar::register(now, flow, message, rules, serial, &mut bindings) {
            Ok(()) => {
                if message.contacts().next().is_some() {
                    self.bind(now, &aor, bindings, true);
                }
                self.registered_as(arrival, &aor)
            }
            Err(Refusal::Contact) => self.answer_to(arrival, 400, b"Bad Request - Contact"),
            Err(Refusal::OutOfOrder) => self.answer_to(arrival, 500, b"Server Internal Error - CSeq Out Of Order"),
            Err(Refusal::Brief(min_s)) => {
                self.answer_to(arrival, 423, b"Interval Too Brief").header("Min-Expires", min_s.to_string())
            }
            Err(Refusal::Full) => self.answer_to(arrival, 403, b"Forbidden - Too Many Contacts"),
        };
        self.layer.respond(now, server, answer.finish(b""));
    }

    /// Whose bindings a REGISTER is about, and what they may be.
    fn registered(&self, arrival: Arrival<'_>, trunk: usize) -> Result<(Aor, Rules), Refused> {
        let forbidden = |why| Err(Refused::because(403, why));
        let policy = &self.policy.trunks[trunk];
        let Some(endpoints) = &policy.endpoints else { return forbidden("No Registrar") };
        if self.place.index != 0 {
            return Err(Refused::because(503, "Not The Registrar's Worker"));
        }
        let to = arrival.message.to().map_err(|_| Refused::new(400))?;
        let uri = Uri::parse(to.uri).map_err(|_| Refused::new(400))?;
        let own = self.advertised(arrival.flow.listener).ip().to_string();
        let target = arrival.message.request_uri().and_then(|uri| Uri::parse(uri).ok());
        let hosts = [Some(uri.host), target.map(|target| target.host)];
        if hosts.into_iter().flatten().any(|host| !host.is_empty() && !endpoints.serves(host, &own)) {
            return Err(Refused::because(404, "No Such Domain"));
        }
        let user = unescape(uri.user.unwrap_or_default());
        if user.is_empty() || arrival.user != Some(&user[..]) {
            // A user registers itself and nobody else (RFC 3261 10.3, step 4).
            return forbidden("Not Your Address");
        }
        if self.names_us(arrival.message) {
            return forbidden("Contact Is This Host");
        }
        let known = policy.authentication.as_ref().and_then(|authentication| authentication.users.find(&user));
        let rules = Rules {
            min_s: endpoints.min_expires_s,
            default_s: endpoints.default_expires_s,
            max_s: endpoints.max_expires_s,
            max_contacts: known.and_then(|user| user.max_contacts).unwrap_or(endpoints.max_contacts),
            when_full: endpoints.when_full,
        };
        Ok((Aor { trunk, user: user.as_ref().into() }, rules))
    }

    /// True where a contact leads back to this host: calls to it would loop.
    fn names_us(&self, request: Message<'_>) -> bool {
        let addresses = request.values(Name::Contact).filter_map(|value| {
            let contact = moorline_sip::NameAddr::parse(value).ok()?;
            Uri::parse(contact.uri).ok()?.socket_addr(5060)
        });
        let mut addresses = addresses;
        addresses.any(|at| self.policy.listeners.iter().any(|own| own.bind == at || own.advertised == at))
    }

    /// The 200 to a REGISTER: all bindings that the user has now.
    fn registered_as(&mut self, arrival: Arrival<'_>, aor: &Aor) -> Writer {
        let now = arrival.now;
        let shown: Vec<Vec<u8>> = self.registrar.location.reached(now, aor).map(|binding| binding.shown(now)).collect();
        let mut answer = self.answer_to(arrival, 200, b"OK");
        for contact in shown {
            answer = answer.header("Contact", contact);
        }
        for path in arrival.message.all(Name::Path) {
            answer = answer.header("Path", path);
        }
        answer
    }

    /// From now on these are the user's bindings. All workers learn it, and it is written down unless it comes from
    /// there.
    fn bind(&mut self, now: u64, aor: &Aor, bindings: Vec<Binding>, write: bool) {
        for gone in self.registrar.location.of(aor) {
            self.timers.cancel(gone.expires_at, Due::Expiry(gone.serial));
            if !bindings.iter().any(|kept| kept.serial == gone.serial)
                && let Some(Ping { due: Some(at), .. }) = self.registrar.pings.remove(&gone.serial)
            {
                self.timers.cancel(at, Due::KeepAlive(gone.serial));
            }
        }
        let keep_alive_s = self.policy.trunks[aor.trunk].endpoints.as_ref().map_or(0, |at| at.keep_alive_s);
        for binding in &bindings {
            self.timers.set(binding.expires_at, Due::Expiry(binding.serial));
            let kept = binding.nat || binding.flow.transport.is_reliable();
            if kept && keep_alive_s > 0 && !self.registrar.pings.contains_key(&binding.serial) {
                self.keep_alive_in(now, binding.serial, keep_alive_s, 0);
            }
        }
        if write && let Some(key) = registrar::key(aor, &self.policy) {
            let value = (!bindings.is_empty()).then(|| registrar::encode(&bindings, &self.policy));
            let expires_at = bindings.iter().map(|binding| binding.expires_at).max().unwrap_or(now);
            self.outputs.push_back(Output::Store { key, value, expires_at });
        }
        if self.place.of > 1 {
            self.outputs.push_back(Output::Tell(News(Told::Bindings(aor.clone(), bindings.clone()))));
        }
        self.registrar.location.put(aor, bindings);
        self.counters.bindings = self.registrar.location.len() as u64;
    }

    /// Sets the next keep-alive, somewhat before its time: many that came at once do not stay together.
    fn keep_alive_in(&mut self, now: u64, serial: u64, period_s: u32, losses: u8) {
        let period_ns = u64::from(period_s) * 1_000_000_000;
        let at = now + period_ns - self.identities.call().random % (period_ns / 8).max(1);
        self.registrar.pings.insert(serial, Ping { due: Some(at), losses });
        self.timers.set(at, Due::KeepAlive(serial));
    }

    /// What was written down by the process before.
    pub(super) fn stored(&mut self, now: u64, entries: Vec<(Vec<u8>, Vec<u8>)>) {
        for (key, value) in entries {
            let Some(aor) = registrar::key_of(&key, &self.policy) else { continue };
            let bindings = registrar::decode(&value, &aor, now, &self.policy, &mut self.registrar.serial);
            // Who has registered meanwhile is where it says now.
            if !bindings.is_empty() && self.registrar.location.of(&aor).is_empty() {
                self.bind(now, &aor, bindings, false);
            } else if bindings.is_empty() {
                self.outputs.push_back(Output::Store { key, value: None, expires_at: now });
            }
        }
    }

    /// A stream has ended, and with it the bindings that it carried.
    pub(super) fn stream_ended(&mut self, now: u64, flow: Flow) {
        if self.place.index == 0 && flow.transport.is_reliable() {
            for serial in self.registrar.location.over(&flow) {
                self.unbind(now, serial);
            }
        }
    }

    /// A binding is over.
    pub(super) fn unbind(&mut self, now: u64, serial: u64) {
        let Some((aor, _)) = self.registrar.location.find(serial) else { return };
        let aor = aor.clone();
        let mut bindings = self.registrar.location.of(&aor).to_vec();
        bindings.retain(|binding| binding.serial != serial);
        self.bind(now, &aor, bindings, true);
    }

    /// Nothing is due any more for a binding that is gone.
    pub(super) fn forget_binding(&mut self, expires_at: u64, serial: u64) {
        self.timers.cancel(expires_at, Due::Expiry(serial));
        if let Some(Ping { due: Some(at), .. }) = self.registrar.pings.remove(&serial) {
            self.timers.cancel(at, Due::KeepAlive(serial));
        }
    }

    /// Sends an OPTIONS to a device, so that the NAT between keeps the way open.
    pub(super) fn keep_alive(&mut self, now: u64, serial: u64) {
        let Some((aor, binding)) = self.registrar.location.find(serial) else { return };
        let (trunk, flow, contact, path) = (aor.trunk, binding.hop(), binding.contact.clone(), binding.path.clone());
        let losses = self.registrar.pings.get(&serial).map_or(0, |ping| ping.losses);
        let id = self.identities.call();
        let shown = self.shown(flow);
        let branch = self.identities.branch(id);
        let mut writer =
            Writer::request(Method::Options, &contact).header("Via", shown.via(&branch)).header("Max-Forwards", "70");
        for path in path {
            writer = writer.header("Route", path);
        }
        let options = writer
            .header("From", format!("<sip:{}>;tag={}", shown.address, self.identities.token(id)))
            .header("To", [b"<", &contact[..], b">"].concat())
            .header("Call-ID", self.identities.token(id).to_string())
            .header("CSeq", "1 OPTIONS")
            .finish(b"");
        match self.send(now, flow, options, ClientUse::KeepAlive(serial)) {
            Some(_) => drop(self.registrar.pings.insert(serial, Ping { due: None, losses })),
            // There is no room now: the next time will do.
            None => self.keep_alive_again(now, trunk, serial, losses),
        }
    }

    /// A device has answered a keep-alive: anything is a sign of life.
    pub(super) fn kept_alive(&mut self, arrival: Arrival<'_>, serial: u64) {
        let Some((aor, _)) = self.registrar.location.find(serial) else { return };
        let trunk = aor.trunk;
        if arrival.message.status().is_some_and(|status| status >= 200) {
            self.keep_alive_again(arrival.now, trunk, serial, 0);
        }
    }

    /// A device has not answered a keep-alive.
    pub(super) fn not_kept_alive(&mut self, now: u64, serial: u64) {
        let Some((aor, _)) = self.registrar.location.find(serial) else { return };
        let trunk = aor.trunk;
        let losses = self.registrar.pings.get(&serial).map_or(0, |ping| ping.losses) + 1;
        if losses >= MAX_LOSSES {
            return self.unbind(now, serial);
        }
        self.keep_alive_again(now, trunk, serial, losses);
    }

    fn keep_alive_again(&mut self, now: u64, trunk: usize, serial: u64, losses: u8) {
        let Some(endpoints) = &self.policy.trunks[trunk].endpoints else { return };
        // One that was lost has been waited for as long already.
        let period_s = if losses > 0 { 1 } else { endpoints.keep_alive_s };
        self.keep_alive_in(now, serial, period_s.max(1), losses);
    }
}
