//! `[signaling.trunks.limits]`, and the rows of the black and white list.

use moorline_b2bua::policy::Refusal;
use moorline_b2bua::policy::limit::{
    Callers, Cause, DirectionLimits, Lists, Numbers, Pattern, Patterns, Refusals, Row, TrunkLimits, Verdict,
};
use moorline_sip::reason_phrase;
use serde::{Deserialize, Serialize};

use super::fault::{Faults, choices};
use super::{Config, RefuseConfig};

/// How many calls a trunk may have, how fast, from whom and to whom: `[signaling.trunks.limits]`. A limit that is left
/// out does not exist. A call that is refused uses up nothing; where several limits would refuse one, the caller hears
/// the first in the order of the keys of `refusals`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrunkLimitsConfig {
    /// Calls that come from the trunk.
    pub inbound: DirectionLimitsConfig,
    /// Calls that are sent to it. Where a route has another trunk, that is tried when one refuses.
    pub outbound: DirectionLimitsConfig,
    /// Its account has run out of money: no calls are taken from it, whoever of its users calls. Calls to it are left
    /// alone. Users have a switch of their own ([`UserConfig::arrears`](super::UserConfig::arrears)).
    pub arrears: bool,
    /// What callers hear.
    pub refusals: RefusalsConfig,
}

/// Limits of one direction: `[signaling.trunks.limits.inbound]` and `outbound`. Numbers are compared as the number rules
/// of the trunk that the call came from leave them, without what people write between digits (`-`, `.`, `(`, `)`).
///
/// A pattern is a number's beginning (`400`), or has an `x` for each digit that may be any, and then means numbers of
/// just that length (`95xxx`), or of that length and more (`95xxx*`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DirectionLimitsConfig {
    /// The most calls at once. 0 shuts the direction.
    pub calls: Option<u32>,
    /// The most new calls a second.
    pub calls_per_second: Option<u32>,
    /// How many of them may come at once after a pause; as many as in a second if left out. 1 keeps them an even
    /// distance apart, for a peer who looks at less than a second.
    pub burst: Option<u32>,
    /// The most calls at once of one caller.
    pub calls_per_caller: Option<u32>,
    /// The most calls to one callee on one day, midnight to midnight in `signaling.time_zone`. A call counts when it was
    /// sent on, whatever the callee says. The counts outlive this process, however it ends, where there is a directory for
    /// that (`signaling.state`).
    pub calls_per_callee_a_day: Option<u32>,
    /// Callees who may be called as often as one likes, by pattern.
    #[serde(deserialize_with = "patterns")]
    pub uncounted_callees: Vec<Pattern>,
    /// Called numbers that are refused, by pattern.
    #[serde(deserialize_with = "patterns")]
    pub barred: Vec<Pattern>,
    /// Called numbers that are not refused though they are barred, by pattern.
    #[serde(deserialize_with = "patterns")]
    pub barred_except: Vec<Pattern>,
    /// Whether callers without a number, or who withhold it, are refused.
    pub refuse_anonymous: bool,
}

/// What callers hear whom a limit of the trunk refuses: `[signaling.trunks.limits.refusals]`, each such as
/// `{ status = 475, reason = "CALL_CAPS_LIMIT", announcement = "call-restricted" }`, in the order in which the limits are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RefusalsConfig {
    /// The account is in arrears, the trunk's or that of the user who calls; 403 if left out.
    pub arrears: Option<RefuseConfig>,
    /// The direction is shut: its `calls` is 0; 403.
    pub shut: Option<RefuseConfig>,
    /// The caller has no number; 433.
    pub anonymous: Option<RefuseConfig>,
    /// A row of the blacklist means the caller, whoever is called; 403.
    pub blacklisted_caller: Option<RefuseConfig>,
    /// A row of the blacklist means the callee; 403.
    pub blacklisted_callee: Option<RefuseConfig>,
    /// The called number is barred; 403.
    pub barred: Option<RefuseConfig>,
    /// This process was started a moment ago and does not know yet how many calls are up; 503.
    pub restoring: Option<RefuseConfig>,
    /// `calls`; 503.
    pub calls: Option<RefuseConfig>,
    /// `calls_per_caller`; 480.
    pub calls_per_caller: Option<RefuseConfig>,
    /// `calls_per_callee_a_day`; 480.
    pub calls_per_callee_a_day: Option<RefuseConfig>,
    /// More callees were called today than are remembered (`signaling.limits.callees`); 503.
    pub callees_full: Option<RefuseConfig>,
    /// `calls_per_second`; 503.
    pub calls_per_second: Option<RefuseConfig>,
}

/// A row of the blacklist, `[[signaling.blacklist]]`, or of the whitelist, `[[signaling.whitelist]]`. A call that a white
/// row means is refused neither by a black row nor because its number is barred. Of several black rows that mean a call,
/// the one that refuses the most counts. A row that names neither caller nor called would mean every call, and is
/// refused: who means that writes `"*"`. Rows can be added and removed while calls are up: `moorline blacklist`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListRowConfig {
    /// Who calls, by pattern; `anonymous` for callers without a number, or who withhold it; `*` for everybody, which it
    /// is if only who is called is said. Rows of a number mean it also where it is withheld.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// Who is called, by pattern; `*` for everybody, which it is if only who calls is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
    /// The trunk that the calls come from; any if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// How many of a hundred such calls a black row refuses, drawn by chance: 1 to 100, which it is if left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
}

fn patterns<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Pattern>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

impl RefuseConfig {
    /// The refusal that it says.
    pub(super) fn refusal(&self, faults: &mut Faults, key: &str) -> Refusal {
        if !(400..700).contains(&self.status) {
            faults.add(format!("{key}.status"), format!("{} refuses nothing", self.status), "use 400 to 699");
        }
        let reason = self.reason.as_deref().unwrap_or_else(|| reason_phrase(self.status));
        let announcement = self.announcement.as_deref().map(Into::into);
        Refusal { announcement, ..Refusal::new(self.status, reason) }
    }
}

impl RefusalsConfig {
    pub(super) fn of(&self, cause: Cause) -> Option<&RefuseConfig> {
        match cause {
            Cause::Arrears => self.arrears.as_ref(),
            Cause::Shut => self.shut.as_ref(),
            Cause::Anonymous => self.anonymous.as_ref(),
            Cause::ListedCaller => self.blacklisted_caller.as_ref(),
            Cause::ListedCallee => self.blacklisted_callee.as_ref(),
            Cause::Barred => self.barred.as_ref(),
            Cause::Restoring => self.restoring.as_ref(),
            Cause::Calls => self.calls.as_ref(),
            Cause::Caller => self.calls_per_caller.as_ref(),
            Cause::Callee => self.calls_per_callee_a_day.as_ref(),
            Cause::CalleesFull => self.callees_full.as_ref(),
            Cause::Rate => self.calls_per_second.as_ref(),
        }
    }
}

impl TrunkLimitsConfig {
    /// The limits that it says.
    pub(super) fn limits(&self, faults: &mut Faults, key: &str) -> TrunkLimits {
        let mut refusals = Refusals::default();
        for cause in Cause::ALL {
            if let Some(refusal) = self.refusals.of(cause) {
                let refusal = refusal.refusal(faults, &format!("{key}.refusals.{}", cause.name()));
                refusals = refusals.with(cause, refusal);
            }
        }
        TrunkLimits {
            inbound: self.inbound.limits(faults, &format!("{key}.inbound")),
            outbound: self.outbound.limits(faults, &format!("{key}.outbound")),
            arrears: self.arrears,
            refusals,
        }
    }
}

impl DirectionLimitsConfig {
    fn limits(&self, faults: &mut Faults, key: &str) -> DirectionLimits {
        for (name, value, remedy) in [
            ("calls_per_second", self.calls_per_second, "use `calls = 0` to shut the direction"),
            ("burst", self.burst, "use 1 or more, or leave the key out"),
            ("calls_per_caller", self.calls_per_caller, "use `calls = 0` to shut the direction"),
            ("calls_per_callee_a_day", self.calls_per_callee_a_day, "use `calls = 0` to shut the direction"),
        ] {
            if value == Some(0) {
                faults.add(format!("{key}.{name}"), "0: every call would be refused", remedy);
            }
        }
        if self.burst.is_some() && self.calls_per_second.is_none() {
            let remedy = "add `calls_per_second`, or leave the key out";
            faults.add(format!("{key}.burst"), "a burst of a rate that has no limit", remedy);
        }
        let mut table = |name: &str, patterns: &[Pattern]| {
            Patterns::of(patterns.iter().cloned()).unwrap_or_else(|fault| {
                faults.add(format!("{key}.{name}"), fault.to_string(), "write some of them with fewer lengths");
                Patterns::default()
            })
        };
        DirectionLimits {
            numbers: Numbers {
                calls: self.calls,
                calls_per_second: self.calls_per_second,
                burst: self.burst,
                calls_per_caller: self.calls_per_caller,
                calls_per_callee_a_day: self.calls_per_callee_a_day,
                refuse_anonymous: self.refuse_anonymous,
            },
            uncounted_callees: table("uncounted_callees", &self.uncounted_callees),
            barred: table("barred", &self.barred),
            barred_except: table("barred_except", &self.barred_except),
        }
    }
}

impl ListRowConfig {
    /// The row that it says, and its verdict.
    ///
    /// # Errors
    /// The key that is at fault, what is wrong with it, and what to write.
    pub(crate) fn row(&self, white: bool) -> Result<(Row, Verdict), (&'static str, String, &'static str)> {
        const PATTERN: &str = "write a number's beginning, such as \"0755\", or \"*\"";
        let party = |said: &Option<String>| said.clone().unwrap_or_else(|| "*".to_owned());
        if self.caller.is_none() && self.called.is_none() {
            let remedy = "name `caller`, `called` or both; \"*\" is everybody";
            return Err(("caller", "a row about nobody would mean every call".into(), remedy));
        }
        let caller = party(&self.caller).parse::<Callers>().map_err(|fault| ("caller", fault.to_string(), PATTERN))?;
        let called = party(&self.called).parse::<Pattern>().map_err(|fault| ("called", fault.to_string(), PATTERN))?;
        let row = Row { from: self.from.as_deref().map(Into::into), caller, called };
        let verdict = match self.percent {
            None if white => Verdict::White,
            Some(_) if white => {
                return Err(("percent", "a white row lets every call through".into(), "leave the key out"));
            }
            None => Verdict::Black { percent: 100 },
            Some(percent @ 1..=100) => Verdict::Black { percent },
            Some(percent) => return Err(("percent", format!("{percent} of a hundred"), "use 1 to 100")),
        };
        Ok((row, verdict))
    }
}

impl Config {
    /// The black and white list as it is written, without rows that are at fault.
    pub(crate) fn lists(&self) -> Lists {
        self.read_lists(&mut Faults::default())
    }

    pub(super) fn read_lists(&self, faults: &mut Faults) -> Lists {
        let mut lists = Lists::default();
        let black = self.blacklist.iter().enumerate().map(|(at, row)| ("blacklist", at, row, false));
        let white = self.whitelist.iter().enumerate().map(|(at, row)| ("whitelist", at, row, true));
        for (list, at, written, is_white) in black.chain(white) {
            let key = |name: &str| format!("{list}[{at}].{name}");
            if let Some(from) = written.from.as_ref().filter(|from| self.trunks.iter().all(|t| t.name != **from)) {
                let names = choices(self.trunks.iter().map(|trunk| trunk.name.as_str()));
                faults.add(key("from"), format!("no trunk is called {from:?}"), format!("use {names}"));
            }
            let inserted = match written.row(is_white) {
                Ok((row, verdict)) => lists.insert(&row, verdict),
                Err((name, problem, remedy)) => {
                    faults.add(key(name), problem, remedy);
                    continue;
                }
            };
            match inserted {
                Ok(None) => {}
                Ok(Some(_)) => {
                    faults.add(format!("{list}[{at}]"), "this row is there already", "remove one of the two");
                }
                Err(fault) => faults.add(format!("{list}[{at}]"), fault.to_string(), "write fewer rows"),
            }
        }
        lists
    }
}

#[cfg(test)]
mod tests;
