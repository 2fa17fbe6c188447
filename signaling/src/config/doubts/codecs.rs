//! Codecs that two trunks of a call must both allow.

use std::collections::BTreeSet;

use crate::config::fault::Faults;
use crate::config::{Config, TrunkConfig};

impl Config {
    /// Trunks between which no call can be made, though a route leads from one to the other, and codecs that no trunk at the
    /// other end of a call allows.
    pub(super) fn doubt_codecs(&self, futile: &mut Faults, idle: &mut Faults) {
        // Endpoints are reached by their names, and any route may be in a file.
        let all_known = self.routes_file.is_none() && self.trunks.iter().all(|trunk| trunk.registrar.is_none());
        let mut peers = vec![BTreeSet::new(); self.trunks.len()];
        let mut said = BTreeSet::new();
        for (index, route) in self.routes.iter().enumerate() {
            let callers = self.led_from(route);
            for to in self.led_to(route) {
                let callers: Vec<usize> = callers.iter().copied().filter(|from| *from != to).collect();
                for from in &callers {
                    peers[*from].insert(to);
                    peers[to].insert(*from);
                }
                let apart = |from: &usize| !share(&self.trunks[*from], &self.trunks[to]);
                // Where the route does not say from where, one of its callers may be enough.
                if callers.is_empty() || !callers.iter().all(apart) {
                    continue;
                }
                let from = callers[0];
                if said.insert((from.min(to), from.max(to))) {
                    let (from, called) = (&self.trunks[from], &self.trunks[to]);
                    let problem = format!(
                        "trunk {:?} allows none of the codecs of trunk {:?} ({}): each call of routes[{index}] between the \
                         two is refused with 488",
                        called.name,
                        from.name,
                        from.codecs.join(", ")
                    );
                    let remedy = "add a codec that both have, such as \"pcma\"";
                    futile.add(format!("trunks[{to}].codecs"), problem, remedy);
                }
            }
        }
        if !all_known {
            return;
        }
        for (index, trunk) in self.trunks.iter().enumerate() {
            let others: Vec<&TrunkConfig> = peers[index].iter().map(|at: &usize| &self.trunks[*at]).collect();
            // Where none are in common that has been said; where nothing leads, something else is.
            if others.is_empty() || others.iter().any(|other| !share(trunk, other)) {
                continue;
            }
            for (position, codec) in trunk.codecs.iter().enumerate().filter(|(_, codec)| is_speech(codec)) {
                if others.iter().all(|other| !allows(other, codec)) {
                    let problem =
                        format!("{codec:?} is never used: no trunk that its calls come from or go to allows it");
                    let remedy = "remove it, or add it to the `codecs` of the others";
                    idle.add(format!("trunks[{index}].codecs[{position}]"), problem, remedy);
                }
            }
        }
    }
}

/// Whether a call between the two can have a codec.
fn share(one: &TrunkConfig, other: &TrunkConfig) -> bool {
    one.codecs.is_empty() || one.codecs.iter().any(|codec| is_speech(codec) && allows(other, codec))
}

/// Whether a trunk allows a codec: names in any case, and a name without a clock rate means every rate.
fn allows(trunk: &TrunkConfig, codec: &str) -> bool {
    let same = |other: &String| {
        let parts = |text: &str| {
            let (name, rate) = text.split_once('/').map_or((text, None), |(name, rate)| (name, Some(rate)));
            (name.to_ascii_lowercase(), rate.map(str::to_owned))
        };
        let ((name, rate), (other, its)) = (parts(codec), parts(other));
        name == other && (rate.is_none() || its.is_none() || rate == its)
    };
    trunk.codecs.is_empty() || trunk.codecs.iter().any(same)
}

/// Telephone events and comfort noise come with codecs, and are none that a call could be made of.
fn is_speech(codec: &str) -> bool {
    let name = codec.split('/').next().unwrap_or_default().to_ascii_lowercase();
    name != "telephone-event" && name != "cn"
}
