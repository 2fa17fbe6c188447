//! Whose requests come from where: a target that is a name has addresses too, and its peer speaks from them. Over TLS it
//! must show that name there, to whatever is sent first: a call, a probe, or our registration.

use super::targets::{Waiter, tell_name};
use super::{Due, Worker};
use crate::locate::{Hop, Located, NotLocated};
use crate::policy::Target;

/// How often names are looked up. The locator asks DNS only when the time to live of what it has is nearly over.
const INTERVAL_NS: u64 = 10_000_000_000;

impl Worker {
    /// True where a target is a name.
    pub(super) fn has_names(&self) -> bool {
        self.policy.current_trunks().any(|(_, trunk)| trunk.targets.iter().any(|target| target.name().is_some()))
    }

    /// Looks all names up, and again after a while.
    pub(super) fn look_up_names(&mut self, now: u64) {
        self.timers.set(now.saturating_add(INTERVAL_NS), Due::Names);
        let mut wanted = Vec::new();
        for (index, trunk) in self.policy.current_trunks() {
            let listener = &self.policy.listeners[trunk.listener];
            let named = |(_, target): &(usize, &Target)| target.name().is_some();
            let names = trunk.targets.iter().enumerate().filter(named);
            wanted.extend(names.map(|(position, target)| (index, position, target.to_locate(listener))));
        }
        for (trunk, position, target) in wanted {
            match self.locator.locate(now, &target) {
                Located::Ready(hops) => self.named(trunk, position, hops),
                Located::Pending(ticket) => drop(self.waiters.insert(ticket, Waiter::Name(trunk, position))),
            }
        }
    }

    /// A name was looked up. What was known stands while DNS is silent.
    pub(super) fn named(&mut self, trunk: usize, position: usize, hops: Result<Vec<Hop>, NotLocated>) {
        let Some(trunk) = self.policy.trunks.get(trunk) else { return };
        match hops {
            Ok(hops) => {
                if let Some(target) = trunk.targets.get(position) {
                    tell_name(&mut self.outputs, target, &hops);
                }
                trunk.resolved.set(position, hops.into_iter().map(|hop| hop.address));
            }
            Err(problem) if problem.is_temporary() => {}
            Err(_) => trunk.resolved.set(position, []),
        }
    }
}
