//! What is configured and never used.

use std::collections::BTreeSet;

use crate::config::fault::Faults;
use crate::config::{CdrConfig, Config, TrunksConfig};

impl Config {
    /// Trunks, groups and listeners that nothing leads to, callers without a route, and sinks of records that are off.
    pub(super) fn doubt_use(&self, idle: &mut Faults) {
        for (index, listener) in self.listeners.iter().enumerate() {
            if !self.trunks.iter().any(|trunk| trunk.listener == listener.name) {
                let problem = format!("no trunk is at listener {:?}: whoever asks there gets silence", listener.name);
                idle.add(format!("listeners[{index}].name"), problem, "name it as a trunk's `listener`, or remove it");
            }
        }
        if self.routes_file.is_none() {
            self.doubt_trunks(idle);
        }
        let CdrConfig { enabled, json, csv, sqlite, postgres, radius, .. } = &self.cdr;
        let sinks = [
            ("json", json.is_some()),
            ("csv", csv.is_some()),
            ("sqlite", sqlite.is_some()),
            ("postgres", postgres.is_some()),
            ("radius", radius.is_some()),
        ];
        for (name, _) in sinks.into_iter().filter(|(_, named)| *named && !enabled) {
            let problem = "it gets no records: `cdr.enabled` is false";
            idle.add(format!("cdr.{name}"), problem, "set enabled = true, or remove it");
        }
    }

    fn doubt_trunks(&self, idle: &mut Faults) {
        let led_to: BTreeSet<usize> = self.routes.iter().flat_map(|route| self.led_to(route)).collect();
        // Registered endpoints are called by their names, without a route.
        let endpoints = self.trunks.iter().any(|trunk| trunk.registrar.is_some());
        for (index, trunk) in self.trunks.iter().enumerate() {
            if !trunk.targets.is_empty() && !led_to.contains(&index) && trunk.limits.outbound.calls != Some(0) {
                let problem = format!("no route leads to trunk {:?}: its targets get no calls", trunk.name);
                let remedy = "add a route with `to`, or `limits.outbound.calls = 0` if it is for calls from it alone";
                idle.add(format!("trunks[{index}].name"), problem, remedy);
            }
            let routed = self.routes.iter().any(|route| route.from.as_ref().is_none_or(|from| *from == trunk.name));
            if !trunk.sources.is_empty() && !routed && !endpoints && trunk.limits.inbound.calls != Some(0) {
                let problem = format!("no route is for calls from trunk {:?}: each is refused with 404", trunk.name);
                let remedy = "add a route with `from`, or `limits.inbound.calls = 0` if it is for calls to it alone";
                idle.add(format!("trunks[{index}].name"), problem, remedy);
            }
        }
        for (index, group) in self.trunk_groups.iter().enumerate() {
            let names = |to: &TrunksConfig| matches!(to, TrunksConfig::One(name) if *name == group.name);
            if !self.routes.iter().any(|route| route.to.as_ref().is_some_and(names)) {
                let problem = format!("no route leads to trunk group {:?}", group.name);
                idle.add(format!("trunk_groups[{index}].name"), problem, "add a route with `to`, or remove it");
            }
        }
    }
}
