//! Where calls go, as it is written.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use moorline_b2bua::policy::{
    Choice, Decision, Failover, Hunt, Names, Phrase, Refusal, RouteNumbers, Routes, RoutesBuilder, Times, Twice, Way,
    check_prefix,
};
use moorline_sip::reason_phrase;
use serde::Deserialize;

use super::Config;
use super::fault::{Faults, choices};
use super::numbers::{NumberRuleConfig, Plans, rules};

/// Says what becomes of some calls: `[[signaling.routes]]`. Of those that are for a call the one with the longest prefix
/// decides; of several the one with the longest `caller_prefix`, then one that names where the call is from, then one that
/// says when, then the first. Numbers are those that the rules of the trunk have made that the call came from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    /// The called number's first characters; empty matches every number.
    pub prefix: String,
    /// The caller's number's first characters; empty for all callers.
    pub caller_prefix: String,
    /// Only calls from this trunk; from any if left out.
    pub from: Option<String>,
    /// Only at these times, local ones: `"mon-fri 09:00-18:00; sat 10:00-12:00"`, `"22:00-06:00"`, `"sun"`. Hours that end
    /// before they begin end on the next day.
    pub when: Option<String>,
    /// Where the call goes: a trunk or one of `[[signaling.trunk_groups]]`, or trunks as those have them. One of `to`,
    /// `redirect` and `refuse` must be there.
    pub to: Option<TrunksConfig>,
    /// After which answers the next of several trunks is tried; what the group says, if left out.
    pub failover: Option<FailoverConfig>,
    /// Instead: the caller is told to try there (302), a SIP URI in which `{number}` stands for the called
    /// number.
    pub redirect: Option<String>,
    /// Instead: the caller is refused.
    pub refuse: Option<RefuseConfig>,
    /// What becomes of the numbers, before the rules of the trunk that the call goes to.
    pub numbers: RouteNumbersConfig,
}

/// What a route makes of numbers: `numbers = { called = [{ delete = 1 }] }`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteNumbersConfig {
    /// Of who is called.
    pub called: Vec<NumberRuleConfig>,
    /// Of who calls.
    pub caller: Vec<NumberRuleConfig>,
}

/// Where calls go.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum TrunksConfig {
    /// To one trunk, or to those of a group: `"carrier-a"`.
    One(String),
    /// To the first that takes the call: `["carrier-a", "carrier-b"]`.
    InOrder(Vec<String>),
    /// By order and weight: `[{ trunk = "carrier-a", weight = 70 }, { trunk = "carrier-b", weight = 30 }]`.
    Shared(Vec<ShareConfig>),
}

/// One of several trunks.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShareConfig {
    /// The trunk.
    pub trunk: String,
    /// Trunks with a lower one are tried first.
    #[serde(default)]
    pub order: u32,
    /// Its share of the calls among those of the same order; with 0 it has what those with more do not take.
    #[serde(default = "one")]
    pub weight: u32,
}

/// Trunks by one name: `[[signaling.trunk_groups]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkGroupConfig {
    /// The name in routes; no trunk has it.
    pub name: String,
    /// The trunks.
    pub trunks: TrunksConfig,
    /// After which answers the next one is tried.
    #[serde(default)]
    pub failover: FailoverConfig,
}

/// After which answers of a trunk the next one is tried, as long as the caller has heard nothing of the called side but
/// that it rings: `failover = { statuses = [503], reasons = [{ status = 480, reason = "no line*" }] }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FailoverConfig {
    /// After these statuses, 300 to 599. A 6xx speaks for everybody.
    pub statuses: Vec<u16>,
    /// After these reason phrases.
    pub reasons: Vec<ReasonConfig>,
    /// When it says nothing (`failover_s` of the trunk), cannot be reached or found, or has no room for the call.
    pub silence: bool,
}

/// An answer by its reason phrase.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReasonConfig {
    /// The status; any if left out.
    #[serde(default)]
    pub status: Option<u16>,
    /// The phrase, in any case, with `*` for any text: `"no line*"`.
    pub reason: String,
}

/// How a route refuses calls: `refuse = { status = 403, reason = "Barred", announcement = "call-restricted" }`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefuseConfig {
    /// The status, 400 to 699.
    pub status: u16,
    /// The reason phrase; the status's own if left out.
    #[serde(default)]
    pub reason: Option<String>,
    /// What the caller hears first, as early media: the name of an announcement of the media process, which `moorline
    /// check` lists. Callers who offer no G.711 over plain RTP are refused without.
    #[serde(default)]
    pub announcement: Option<String>,
}

impl Default for FailoverConfig {
    fn default() -> Self {
        let Failover { statuses, silence, .. } = Failover::default();
        FailoverConfig { statuses, reasons: Vec::new(), silence }
    }
}

impl Config {
    /// All routes, of the file and of the one that it names.
    pub(super) fn routes(&self, faults: &mut Faults, plans: &Plans) -> Routes {
        self.check_groups(faults);
        let mut builder = RoutesBuilder::default();
        for (index, route) in self.routes.iter().enumerate() {
            let key = |field: &str| format!("routes[{index}].{field}");
            for (field, prefix) in [("prefix", &route.prefix), ("caller_prefix", &route.caller_prefix)] {
                if let Err(problem) = check_prefix(prefix) {
                    faults.add(key(field), problem, "write the first digits of numbers");
                }
            }
            let from = route.from.as_ref().map(|name| self.trunk(faults, key("from"), name));
            let when = route.when.as_ref().and_then(|text| match text.parse::<Times>() {
                Ok(times) => Some(times),
                Err(problem) => {
                    let remedy = "write some such as \"mon-fri 09:00-18:00; sat 10:00-12:00\"";
                    faults.add(key("when"), problem.to_string(), remedy);
                    None
                }
            });
            let to = route.way(self, faults, index);
            let numbers = RouteNumbers {
                called: rules(faults, &key("numbers.called"), &route.numbers.called, plans),
                caller: rules(faults, &key("numbers.caller"), &route.numbers.caller, plans),
            };
            let when = when.map(|times| builder.times(times));
            let decision = builder.decision(Decision { to, numbers });
            if !builder.add(&route.prefix, &route.caller_prefix, from, when, decision) {
                // A prefix too long has been named; its place in the table keeps the others' numbers.
                builder.add("", "", from, when, decision);
            }
        }
        let read = |path| self.read_routes(faults, path, &mut builder);
        let lines = self.routes_file.as_deref().and_then(read);
        let (routes, twice) = builder.build();
        // Of a file with other faults the lines are not known.
        let known = |pair: &&Twice| lines.is_some() || pair.second < self.routes.len();
        for pair in twice.iter().filter(known).take(MAX_TWICE) {
            let place = |at: usize| match at.checked_sub(self.routes.len()) {
                None => format!("routes[{at}]"),
                Some(row) => {
                    let line = lines.as_ref().and_then(|lines| lines.get(row)).copied().unwrap_or_default();
                    format!("line {line} of routes_file")
                }
            };
            let (first, second) = (place(pair.first), place(pair.second));
            let key = if pair.second < self.routes.len() { format!("{second}.prefix") } else { "routes_file".into() };
            faults.add(key, format!("{second} is for the same calls as {first}"), "remove one of the two");
        }
        routes
    }

    /// Adds the routes of a file, and returns the line of each; `None` where there are faults.
    fn read_routes(&self, faults: &mut Faults, path: &Path, builder: &mut RoutesBuilder) -> Option<Vec<u64>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) => {
                let problem = format!("{} cannot be read: {error}", path.display());
                faults.add("routes_file", problem, "name a file that signaling's user may read");
                return None;
            }
        };
        let way = |name: &str| {
            let mut ignored = Faults::default();
            self.named_way(&mut ignored, "", name)
        };
        let trunk = |name: &str| self.trunks.iter().position(|trunk| trunk.name == name);
        match builder.read_csv(&bytes, &Names { trunk: &trunk, way: &way }) {
            Ok(lines) => Some(lines),
            Err(rows) => {
                for row in rows {
                    let problem =
                        format!("{}, line {}, column {}: {}", path.display(), row.line, row.column, row.problem);
                    faults.add("routes_file", problem, "correct the line");
                }
                None
            }
        }
    }

    fn check_groups(&self, faults: &mut Faults) {
        super::resolve::unique(faults, "trunk_groups", self.trunk_groups.iter().map(|group| group.name.as_str()));
        for (index, group) in self.trunk_groups.iter().enumerate() {
            if self.trunks.iter().any(|trunk| trunk.name == group.name) {
                let problem = format!("{:?} is the name of a trunk", group.name);
                faults.add(format!("trunk_groups[{index}].name"), problem, "give it another name");
            }
            self.hunt(faults, &format!("trunk_groups[{index}].trunks"), &group.trunks);
            group.failover.check(faults, &format!("trunk_groups[{index}].failover"));
        }
    }

    /// The trunk or group of this name.
    fn named_way(&self, faults: &mut Faults, key: &str, name: &str) -> Option<Way> {
        let group = self.trunk_groups.iter().find(|group| group.name == name);
        match group {
            Some(group) => {
                // What is wrong with it is said where it stands.
                let mut said = Faults::default();
                let choices = self.hunt(&mut said, key, &group.trunks);
                Some(Way::Trunks(Hunt { choices, failover: group.failover.resolve() }))
            }
            None => {
                self.trunks.iter().any(|trunk| trunk.name == name).then(|| Way::Trunk(self.egress(faults, key, name)))
            }
        }
    }

    /// The trunks that are written at a key.
    fn hunt(&self, faults: &mut Faults, key: &str, trunks: &TrunksConfig) -> Vec<Choice> {
        let shares: Vec<ShareConfig> = match trunks {
            TrunksConfig::One(trunk) => vec![ShareConfig { trunk: trunk.clone(), order: 0, weight: 1 }],
            TrunksConfig::InOrder(names) => {
                let share = |(order, trunk): (u32, &String)| ShareConfig { trunk: trunk.clone(), order, weight: 1 };
                (0..).zip(names).map(share).collect()
            }
            TrunksConfig::Shared(shares) => shares.clone(),
        };
        if shares.is_empty() {
            faults.add(key, "no trunk", "name one or more");
        }
        let mut choices: Vec<Choice> = Vec::new();
        for share in &shares {
            let trunk = self.egress(faults, key, &share.trunk);
            if choices.iter().any(|choice| choice.trunk == trunk) && self.is_trunk(&share.trunk) {
                faults.add(key, format!("{:?} twice", share.trunk), "name each trunk once");
            }
            choices.push(Choice { trunk, order: share.order, weight: share.weight });
        }
        choices
    }

    fn is_trunk(&self, name: &str) -> bool {
        self.trunks.iter().any(|trunk| trunk.name == name)
    }

    /// A trunk that calls go to.
    fn egress(&self, faults: &mut Faults, key: &str, name: &str) -> usize {
        let to = self.trunk(faults, key.to_owned(), name);
        if self.trunks.get(to).is_some_and(|trunk| trunk.name == name && trunk.targets.is_empty()) {
            faults.add(key, format!("trunk {name:?} has no targets"), "add `targets` to the trunk");
        }
        to
    }
}

impl RouteConfig {
    /// What it makes of a call: exactly one of its three ways must be there.
    fn way(&self, config: &Config, faults: &mut Faults, index: usize) -> Way {
        let key = |field: &str| format!("routes[{index}].{field}");
        if let Some(failover) = &self.failover {
            failover.check(faults, &key("failover"));
        }
        match (&self.to, &self.redirect, &self.refuse) {
            (Some(to), None, None) => {
                let way = match to {
                    TrunksConfig::One(name) => config.named_way(faults, &key("to"), name).unwrap_or_else(|| {
                        let groups = config.trunk_groups.iter().map(|group| group.name.as_str());
                        let names = choices(config.trunks.iter().map(|trunk| trunk.name.as_str()).chain(groups));
                        let problem = format!("no trunk or group is called {name:?}");
                        faults.add(key("to"), problem, format!("use {names}"));
                        Way::default()
                    }),
                    several => {
                        let choices = config.hunt(faults, &key("to"), several);
                        Way::Trunks(Hunt { choices, failover: Failover::default() })
                    }
                };
                match (way, &self.failover) {
                    (Way::Trunks(hunt), Some(failover)) => Way::Trunks(Hunt { failover: failover.resolve(), ..hunt }),
                    (way @ Way::Trunk(_), Some(_)) => {
                        let problem = "with one trunk there is no next one";
                        faults.add(key("failover"), problem, "name several in `to`, or remove it");
                        way
                    }
                    (way, _) => way,
                }
            }
            (None, Some(redirect), None) => Way::redirect(redirect).unwrap_or_else(|problem| {
                faults.add(key("redirect"), problem, "write one such as \"sip:{number}@192.0.2.1\"");
                Way::default()
            }),
            (None, None, Some(refuse)) => {
                if !(400..700).contains(&refuse.status) {
                    faults.add(key("refuse.status"), format!("{} refuses nothing", refuse.status), "use 400 to 699");
                }
                let reason = refuse.reason.clone().unwrap_or_else(|| reason_phrase(refuse.status).to_owned());
                let announcement = refuse.announcement.as_deref().map(Arc::from);
                Way::Refuse(Refusal { status: refuse.status, reason: reason.into(), announcement })
            }
            _ => {
                let problem = "a route has exactly one of `to`, `redirect` and `refuse`";
                faults.add(format!("routes[{index}]"), problem, "keep the one that is meant");
                Way::default()
            }
        }
    }
}

impl FailoverConfig {
    fn check(&self, faults: &mut Faults, key: &str) {
        let statuses = self.statuses.iter().map(|status| ("statuses", *status));
        let reasons = self.reasons.iter().filter_map(|reason| Some(("reasons", reason.status?)));
        for (field, status) in statuses.chain(reasons).filter(|(_, status)| !(300..600).contains(status)) {
            let problem = format!("{status} leaves no next trunk to try");
            faults.add(format!("{key}.{field}"), problem, "use 300 to 599: a 6xx speaks for everybody");
        }
    }

    fn resolve(&self) -> Failover {
        let phrase = |reason: &ReasonConfig| (reason.status, Phrase::new(&reason.reason));
        Failover {
            statuses: self.statuses.clone(),
            reasons: self.reasons.iter().map(phrase).collect(),
            silence: self.silence,
        }
    }
}

/// Nobody reads more of the same.
const MAX_TWICE: usize = 20;

fn one() -> u32 {
    1
}

#[cfg(test)]
mod tests;
