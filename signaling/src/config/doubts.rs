//! What a configuration without faults still says in vain. It starts and serves; `moorline check` tells of this.

mod codecs;
mod numbers;
mod routes;
mod secrets;
mod unused;

use moorline_b2bua::policy::limit::Cause;

use super::fault::Faults;
use super::{Config, ConfigFault, RouteConfig, TrunksConfig};

/// What is doubtful in a configuration without faults.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Doubts {
    /// What cannot work: calls that it says something of are always refused.
    pub futile: Vec<ConfigFault>,
    /// What has no effect, or one that is hardly meant.
    pub idle: Vec<ConfigFault>,
}

/// An announcement that is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAnnouncement {
    /// Where, such as `signaling.routes[0].refuse.announcement`.
    pub path: String,
    /// Its name.
    pub name: String,
}

impl Config {
    /// What is doubtful. Routes of `routes_file` are not looked at, and whatever they might use counts as used.
    pub fn doubts(&self) -> Doubts {
        let (mut futile, mut idle) = (Faults::default(), Faults::default());
        self.doubt_codecs(&mut futile, &mut idle);
        self.doubt_routes(&mut idle);
        self.doubt_numbers(&mut idle);
        self.doubt_secrets(&mut idle);
        self.doubt_use(&mut idle);
        let list = |faults: Faults| faults.or(()).err().unwrap_or_default();
        Doubts { futile: list(futile), idle: list(idle) }
    }

    /// The announcements that callers are to hear.
    pub fn named_announcements(&self) -> Vec<NamedAnnouncement> {
        let mut named = Vec::new();
        let mut add = |path: String, name: Option<&String>| {
            named.extend(name.map(|name| NamedAnnouncement { path: format!("signaling.{path}"), name: name.clone() }));
        };
        for (index, route) in self.routes.iter().enumerate() {
            let name = route.refuse.as_ref().and_then(|refuse| refuse.announcement.as_ref());
            add(format!("routes[{index}].refuse.announcement"), name);
        }
        for (index, trunk) in self.trunks.iter().enumerate() {
            for cause in Cause::ALL {
                let name = trunk.limits.refusals.of(cause).and_then(|refuse| refuse.announcement.as_ref());
                add(format!("trunks[{index}].limits.refusals.{}.announcement", cause.name()), name);
            }
            for (rule, answer) in trunk.answers.iter().enumerate() {
                add(format!("trunks[{index}].answers[{rule}].announcement"), answer.announcement.as_ref());
            }
        }
        named
    }

    /// The positions of the trunks that a route leads to.
    fn led_to(&self, route: &RouteConfig) -> Vec<usize> {
        let group = |name: &String| self.trunk_groups.iter().find(|group| group.name == *name);
        match &route.to {
            Some(TrunksConfig::One(name)) => match group(name) {
                Some(group) => self.positions(&group.trunks),
                None => self.positions(&TrunksConfig::One(name.clone())),
            },
            Some(several) => self.positions(several),
            None => Vec::new(),
        }
    }

    fn positions(&self, trunks: &TrunksConfig) -> Vec<usize> {
        let position = |name: &str| self.trunks.iter().position(|trunk| trunk.name == name);
        match trunks {
            TrunksConfig::One(name) => position(name).into_iter().collect(),
            TrunksConfig::InOrder(names) => names.iter().filter_map(|name| position(name)).collect(),
            TrunksConfig::Shared(shares) => shares.iter().filter_map(|share| position(&share.trunk)).collect(),
        }
    }

    /// The positions of the trunks whose calls a route is for. Where it names none, those that are expected to call:
    /// others are peers that calls are sent to.
    fn led_from(&self, route: &RouteConfig) -> Vec<usize> {
        let calls = |at: usize| match &route.from {
            Some(name) => self.trunks[at].name == *name,
            None => !self.trunks[at].sources.is_empty() || self.trunks[at].registrar.is_some(),
        };
        (0..self.trunks.len()).filter(|at| calls(*at)).collect()
    }
}

#[cfg(test)]
mod tests;
