//! Asking the hops of trunks, before a call does, whether they are alive.

use std::collections::HashSet;

use moorline_sip::{Message, Method, Writer};

use super::targets::Waiter;
use super::{Arrival, ClientUse, Due, Worker};
use crate::forward::ALLOW;
use crate::locate::{Hop, Located};
use crate::policy::{Target, Trunk};

/// The most hops of one target that are asked.
const MAX_HOPS: usize = 32;

/// How long a probe waits for its answer: timer F (RFC 3261 17.1.2.2).
const PROBE_NS: u64 = 32_000_000_000;

/// The time between the first probes of one trunk and of the next, and how many trunks share it out.
const STAGGER_NS: u64 = 50_000_000;
const STAGGERED: usize = 64;

/// Probes under way.
#[derive(Default)]
pub(super) struct Probes {
    asked: HashSet<(usize, Hop)>,
}

impl Probes {
    /// A probe is over, answered or not.
    pub(super) fn ended(&mut self, trunk: usize, hop: Hop) {
        self.asked.remove(&(trunk, hop));
    }
}

impl Worker {
    /// True where the first input sets timers: the first worker of a process watches targets for all.
    pub(super) fn has_to_start(&self) -> bool {
        let starts = |trunk: &Trunk| trunk.probe_ns > 0 || trunk.registration.is_some();
        self.place.index == 0 && (self.has_names() || self.policy.current_trunks().any(|(_, trunk)| starts(trunk)))
    }

    /// The first input has come, and with it the time.
    pub(super) fn start(&mut self, now: u64) {
        if self.place.index != 0 {
            return;
        }
        if self.has_names() {
            self.look_up_names(now);
        }
        self.start_registrations(now);
        let current: Vec<usize> = self.policy.current_trunks().map(|(trunk, _)| trunk).collect();
        current.into_iter().for_each(|trunk| self.start_probes(now, trunk));
    }

    /// Sets the first probe of a trunk, if it is to be asked.
    pub(super) fn start_probes(&mut self, now: u64, trunk: usize) {
        if self.policy.trunks.get(trunk).is_some_and(|trunk| trunk.probe_ns > 0 && !trunk.targets.is_empty()) {
            let at = now.saturating_add(STAGGER_NS * (trunk % STAGGERED) as u64);
            self.timers.set(at, Due::Probe(trunk));
        }
    }

    /// Asks all hops of a trunk, and again after its interval.
    pub(super) fn probe_trunk(&mut self, now: u64, trunk: usize) {
        let Some(probed) = self.policy.trunks.get(trunk) else { return };
        self.timers.set(now.saturating_add(probed.probe_ns), Due::Probe(trunk));
        let listener = &self.policy.listeners[probed.listener];
        let wanted: Vec<_> = probed.targets.iter().map(|target| (target.clone(), target.to_locate(listener))).collect();
        for (target, wanted) in wanted {
            match self.locator.locate(now, &wanted) {
                // What has no hops now is looked up again by the next call, and the next time.
                Located::Ready(hops) => self.probe_hops(now, trunk, &target, hops.unwrap_or_default()),
                Located::Pending(ticket) => drop(self.waiters.insert(ticket, Waiter::Probe(trunk, target))),
            }
        }
    }

    /// Asks the hops of a target, but for those that have not answered the last time yet.
    pub(super) fn probe_hops(&mut self, now: u64, trunk: usize, target: &Target, hops: Vec<Hop>) {
        for hop in hops.into_iter().take(MAX_HOPS) {
            if self.probes.asked.insert((trunk, hop)) && !self.probe(now, trunk, target, hop) {
                self.probes.ended(trunk, hop);
            }
        }
    }

    /// False where there was no room for another transaction.
    fn probe(&mut self, now: u64, trunk: usize, target: &Target, hop: Hop) -> bool {
        let probed = &self.policy.trunks[trunk];
        let flow = probed.flow_to(hop);
        let scheme = if target.secure { "sips" } else { "sip" };
        let uri = format!("{scheme}:{}", probed.host_at(target).unwrap_or_else(|| hop.address.to_string()));
        let shown = self.shown(flow);
        let owner = self.identities.call();
        let writer = Writer::request(Method::Options, uri.as_bytes())
            .header("Via", shown.via(&self.identities.branch(owner)))
            .header("Max-Forwards", "70")
            .header("From", format!("<sip:{}>;tag={}", shown.address, self.identities.token(owner)))
            .header("To", format!("<{uri}>"))
            .header("Call-ID", self.identities.token(owner).to_string())
            .header("CSeq", "1 OPTIONS")
            .header("Contact", shown.secured(target.secure).contact())
            .header("Allow", ALLOW)
            .header("Accept", "application/sdp");
        self.send(now, flow, writer.finish(b""), ClientUse::Probe(trunk, hop)).is_some()
    }

    /// Whatever it says, it is alive, but for 503, which asks to be left alone (RFC 3261 21.5.4).
    pub(super) fn probe_answered(&mut self, arrival: Arrival<'_>, trunk: usize, hop: Hop) {
        if arrival.message.status().is_some_and(|status| status >= 200) {
            self.probed(arrival.now, trunk, hop, Some(arrival.message));
        }
    }

    /// A hop has not answered, or cannot be reached.
    pub(super) fn probe_unanswered(&mut self, now: u64, trunk: usize, hop: Hop) {
        self.probed(now, trunk, hop, None);
    }

    fn probed(&mut self, now: u64, trunk: usize, hop: Hop, answer: Option<Message<'_>>) {
        // Calls are not the ones to find out whether it is back: it rests until the end of the next probe, if that is
        // not in vain too.
        let interval_ns = self.policy.trunks.get(trunk).map_or(0, |trunk| trunk.probe_ns);
        self.note_health(now, hop, answer, interval_ns.saturating_mul(2).saturating_add(PROBE_NS));
    }
}
