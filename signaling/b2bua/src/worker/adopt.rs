//! A new policy, while calls are up. Trunks keep their positions ([`Policy::followed_by`]), so whatever began with one goes
//! on as it began; what belongs to the peer rather than to a call (who is registered there, our own registration, probes)
//! goes over to the trunk that has taken its place.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::admission::Admission;
use super::boundary::Boundary;
use super::targets::Waiter;
use super::{ClientUse, Due, TRANSACTIONS_PER_CALL, Worker, limits};
use crate::Output;
use crate::leg::Side;
use crate::policy::{Policy, Trunk};
use crate::registrar::{self, Aor};

impl Worker {
    /// From now on this is the policy, for everything that begins.
    pub(super) fn adopt_policy(&mut self, now: u64, policy: Arc<Policy>) {
        let before = std::mem::replace(&mut self.policy, Arc::clone(&policy));
        self.boundary = Boundary::of(&policy);
        self.shortest_long = shortest_long(&policy);
        self.trunk_calls = limits::counted_for(&self.place, &policy);
        self.layer.set_max_transactions(transactions(&policy));
        self.proofs.wanted |= policy.trunks.iter().any(|trunk| trunk.credentials.is_some());
        let identities = &mut self.identities;
        self.admission.challengers = Admission::challengers(&policy, || identities.call().random);

        let was_current = |at: usize| before.trunks.get(at).is_some_and(|trunk| !trunk.retired);
        let gone: Vec<usize> =
            before.current_trunks().map(|(at, _)| at).filter(|at| policy.trunks[*at].retired).collect();
        let fresh: Vec<usize> = policy.current_trunks().map(|(at, _)| at).filter(|at| !was_current(*at)).collect();
        for trunk in &gone {
            let heir = Some(policy.successor(*trunk)).filter(|heir| heir != trunk);
            self.move_bindings(now, &before, *trunk, heir);
            self.registrations.hand_over(*trunk, heir);
        }
        self.counters.bindings = self.registrar.location.len() as u64;
        if self.place.index != 0 {
            return;
        }
        self.timers.retain(|due| match due {
            Due::Probe(trunk) | Due::Registration(trunk) => !gone.contains(trunk),
            Due::Names => false,
            _ => true,
        });
        if self.has_names() {
            self.look_up_names(now);
        }
        for trunk in fresh {
            self.start_probes(now, trunk);
            self.start_registration(now, trunk);
        }
    }

    /// The trunks, by position, that calls and subscriptions have begun with, and requests that are under way.
    pub fn trunks_in_use(&self) -> BTreeSet<usize> {
        let mut used = BTreeSet::new();
        for call in self.calls.values() {
            used.extend(Side::BOTH.map(|side| call.leg(side).trunk));
            used.extend(call.attempts.iter().map(|attempt| attempt.trunk));
            if let Some(invite) = &call.invite {
                used.extend(invite.hunting.iter().flat_map(|hunting| hunting.left.iter().copied()));
                used.extend(invite.refused_by);
            }
        }
        used.extend(self.errands.values().flat_map(|errand| errand.trunks()));
        used.extend(self.waiters.values().filter_map(Waiter::trunk));
        used.extend(self.admission.trunks());
        let ends = self.subscriptions.values().flat_map(|subscription| &subscription.ends);
        used.extend(ends.map(|end| end.trunk));
        used.extend(self.clients.values().filter_map(|usage| match usage {
            ClientUse::Pass(passing) => Some(passing.to),
            ClientUse::Probe(trunk, _) | ClientUse::Register(trunk) => Some(*trunk),
            _ => None,
        }));
        used
    }

    /// Who is registered at a trunk is so at the one that has taken its place, if that has the user still.
    fn move_bindings(&mut self, now: u64, before: &Policy, from: usize, to: Option<usize>) {
        for aor in self.registrar.location.users_of(from) {
            let bindings = self.registrar.location.of(&aor).to_vec();
            self.registrar.location.put(&aor, Vec::new());
            let heir = to.filter(|to| self.policy.trunks.get(*to).is_some_and(|trunk| has_user(trunk, &aor.user)));
            if let Some(trunk) = heir {
                self.registrar.location.put(&Aor { trunk, ..aor }, bindings);
                continue;
            }
            for binding in &bindings {
                self.forget_binding(binding.expires_at, binding.serial);
            }
            if self.place.index == 0
                && let Some(key) = registrar::key(&aor, before)
            {
                self.outputs.push_back(Output::Store { key, value: None, expires_at: now });
            }
        }
    }
}

/// Whether a user may be registered at a trunk.
fn has_user(trunk: &Trunk, user: &[u8]) -> bool {
    let known = trunk.authentication.as_ref().is_some_and(|authentication| {
        authentication.ask || authentication.users.find(user).is_some_and(|user| user.enabled)
    });
    trunk.endpoints.is_some() && known
}

/// No request is longer than its trunk wants over UDP that has no more bytes than this.
pub(super) fn shortest_long(policy: &Policy) -> usize {
    policy.trunks.iter().map(|trunk| trunk.large.above()).min().unwrap_or(usize::MAX)
}

/// How many transactions there may be at once.
pub(super) fn transactions(policy: &Policy) -> usize {
    policy.limits.calls.saturating_mul(TRANSACTIONS_PER_CALL)
}
