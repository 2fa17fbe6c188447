//! What is made of numbers, as it is written.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use moorline_b2bua::policy::{
    Assertion, At, CallerIdentity, Change, Edit, Form, NumberRule, NumberRules, Plan, TrunkNumbers,
};
use serde::Deserialize;

use super::fault::{Faults, choices};
use super::{Config, TrunkConfig};

/// The longest number that rules may write: called numbers have 28 digits at most.
const MAX_WRITTEN: usize = 64;

/// Rules for the numbers of a trunk's calls: `numbers = { called_out = [{ prefix = "+86", delete = 3, insert = "0" }] }`.
/// Of each list the first rule that fits a number changes it. Those of the trunk that a call comes from are first, then
/// come the route's, then those of the trunk that it goes to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrunkNumbersConfig {
    /// Of whom its callers call. Routes are chosen, and limits kept, by what comes out.
    pub called_in: Vec<NumberRuleConfig>,
    /// Of its callers, before that.
    pub caller_in: Vec<NumberRuleConfig>,
    /// Of who is called there.
    pub called_out: Vec<NumberRuleConfig>,
    /// Of callers as they are shown to it: in From, and where the network names them.
    pub caller_out: Vec<NumberRuleConfig>,
}

/// A rule for numbers. One that says nothing but which it is for leaves them as they are. A rule does not fit a number
/// that is too short for it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NumberRuleConfig {
    /// What the numbers begin with; any if left out.
    pub prefix: String,
    /// How many characters they have: `8`, or `[7, 8]` for 7 to 8; any number if left out.
    pub length: Option<LengthConfig>,
    /// Where digits are deleted and inserted: behind so many characters.
    pub at: usize,
    /// `at` counts from the end of the number: 0 is behind its last digit.
    pub from_end: bool,
    /// How many characters are taken out there.
    pub delete: usize,
    /// What is put in there.
    pub insert: String,
    /// Further edits, one after the other: `[{ at = 0, delete = 1, insert = "" }]`.
    pub edits: Vec<EditConfig>,
    /// Instead: the number is written in this form of `plan`; one that is no number of it is none of this rule's.
    pub write: Option<FormConfig>,
    /// One of `[[signaling.numbering_plans]]`.
    pub plan: Option<String>,
}

/// Characters deleted and inserted at one place, as in [`NumberRuleConfig`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EditConfig {
    /// Behind so many characters.
    pub at: usize,
    /// `at` counts from the end.
    pub from_end: bool,
    /// How many are taken out.
    pub delete: usize,
    /// What is put in.
    pub insert: String,
}

/// How many characters a number has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum LengthConfig {
    /// So many.
    Exactly(usize),
    /// From so many to so many.
    Between([usize; 2]),
}

/// A form in which numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FormConfig {
    /// `+861065551234`.
    E164,
    /// `861065551234`.
    E164Digits,
    /// As from abroad: `00861065551234`.
    International,
    /// As from another area: `01065551234`.
    National,
    /// As from the same area: `65551234`.
    Local,
}

/// How numbers are dialled in one area: `[[signaling.numbering_plans]]`. Rules name it to add or remove area codes and to
/// write E.164 with or without +.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberingPlanConfig {
    /// The name that rules refer to.
    pub name: String,
    /// The country's code, without +: `"86"`.
    pub country: String,
    /// The area's code, without the trunk prefix: `"10"`; empty where numbers are always dialled with it.
    #[serde(default)]
    pub area: String,
    /// What is dialled before a country's code.
    #[serde(default = "default_international_prefix")]
    pub international_prefix: String,
    /// What is dialled before an area's code; empty where nothing is.
    #[serde(default = "default_trunk_prefix")]
    pub trunk_prefix: String,
    /// How many digits a number has without its area's code, where there is one: `[7, 8]`.
    #[serde(default = "default_local_digits")]
    pub local_digits: [usize; 2],
    /// How many digits a number has with its area's code: `[9, 11]`.
    #[serde(default = "default_national_digits")]
    pub national_digits: [usize; 2],
    /// What national numbers begin with that are dialled without the trunk prefix, as mobile ones are in many countries:
    /// `["13", "15", "18"]`.
    #[serde(default)]
    pub bare_prefixes: Vec<String>,
}

/// Who callers are said to be to a trunk: `caller = { number = "02155550100", assertion = "asserted" }`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CallerConfig {
    /// The number that callers are shown by; their own, after all rules, if left out.
    pub number: Option<String>,
    /// The same for single callers, by the number that they have after their own trunk's rules and the route's:
    /// `{ "6000" = "02155550100" }`. What is written here and in `number` is sent as it stands, past `caller_out`.
    pub numbers: BTreeMap<String, String>,
    /// The name beside the number; `""` takes it away.
    pub display: Option<String>,
    /// Where the number is said besides From.
    pub assertion: AssertionConfig,
}

/// Where the network names a caller (RFC 3325).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AssertionConfig {
    /// Identity headers cross between trusted trunks, and say the number that From has.
    #[default]
    Pass,
    /// They stay behind.
    Off,
    /// P-Asserted-Identity names every caller; one who is withheld, only between trusted trunks.
    Asserted,
    /// The same with P-Preferred-Identity, by which a carrier is asked for one of its numbers.
    Preferred,
}

/// Plans by their names.
pub(super) type Plans = BTreeMap<String, Arc<Plan>>;

impl Config {
    /// The numbering plans.
    pub(super) fn plans(&self, faults: &mut Faults) -> Plans {
        super::resolve::unique(faults, "numbering_plans", self.numbering_plans.iter().map(|plan| plan.name.as_str()));
        let plans = self.numbering_plans.iter().enumerate();
        plans.map(|(index, plan)| (plan.name.clone(), Arc::new(plan.resolve(faults, index)))).collect()
    }
}

impl NumberingPlanConfig {
    fn resolve(&self, faults: &mut Faults, index: usize) -> Plan {
        let mut wrong = |field: &str, problem: String, remedy: &str| {
            faults.add(format!("numbering_plans[{index}].{field}"), problem, remedy);
        };
        let texts = [
            ("country", &self.country, false),
            ("area", &self.area, true),
            ("international_prefix", &self.international_prefix, false),
            ("trunk_prefix", &self.trunk_prefix, true),
        ];
        let bare = self.bare_prefixes.iter().map(|prefix| ("bare_prefixes", prefix, false));
        for (field, text, may_be_empty) in texts.into_iter().chain(bare) {
            if !text.bytes().all(|byte| byte.is_ascii_digit()) {
                wrong(field, format!("{text:?} is not all digits"), "write digits only, without +");
            } else if text.is_empty() && !may_be_empty {
                wrong(field, "nothing".into(), "write the digits that are dialled");
            }
        }
        let [local, national] = [self.local_digits, self.national_digits].map(|[from, to]| from..=to);
        for (field, range) in [("local_digits", &local), ("national_digits", &national)] {
            if range.is_empty() || *range.start() == 0 || *range.end() > 15 {
                wrong(field, format!("no number has {} to {} digits", range.start(), range.end()), "use 1 to 15");
            }
        }
        if !self.area.is_empty() && local.end() >= national.start() {
            let problem = format!("a number of {} digits could be one with or without its area's code", local.end());
            wrong("local_digits", problem, "end it below the first of `national_digits`");
        }
        Plan {
            country: self.country.clone(),
            area: self.area.clone(),
            international_prefix: self.international_prefix.clone(),
            trunk_prefix: self.trunk_prefix.clone(),
            local_digits: local,
            national_digits: national,
            bare_prefixes: self.bare_prefixes.clone(),
        }
    }
}

impl TrunkConfig {
    /// What its numbers become.
    pub(super) fn numbers(&self, faults: &mut Faults, index: usize, plans: &Plans) -> TrunkNumbers {
        let mut list = |name: &str, list: &[NumberRuleConfig]| {
            rules(faults, &format!("trunks[{index}].numbers.{name}"), list, plans)
        };
        TrunkNumbers {
            called_in: list("called_in", &self.numbers.called_in),
            caller_in: list("caller_in", &self.numbers.caller_in),
            called_out: list("called_out", &self.numbers.called_out),
            caller_out: list("caller_out", &self.numbers.caller_out),
        }
    }

    /// Who callers are said to be to it.
    pub(super) fn caller(&self, faults: &mut Faults, index: usize) -> CallerIdentity {
        let CallerConfig { number, numbers, display, assertion } = &self.caller;
        let key = |field: &str| format!("trunks[{index}].caller.{field}");
        for (field, number) in number.iter().map(|n| ("number", n)).chain(numbers.values().map(|n| ("numbers", n))) {
            if number.is_empty() || !is_writable(number) {
                let remedy = "use 1 to 64 letters, digits, + * # . _ -";
                faults.add(key(field), format!("{number:?} is no number"), remedy);
            }
        }
        if display.as_ref().is_some_and(|display| display.chars().any(char::is_control) || display.len() > 128) {
            faults.add(key("display"), "control characters, or more than 128 bytes", "write a short name");
        }
        CallerIdentity {
            mapped: numbers.iter().map(|(from, to)| (from.clone().into_bytes(), to.clone().into_bytes())).collect(),
            number: number.clone().map(String::into_bytes),
            display: display.clone(),
            assertion: match assertion {
                AssertionConfig::Pass => Assertion::Pass,
                AssertionConfig::Off => Assertion::Off,
                AssertionConfig::Asserted => Assertion::Asserted,
                AssertionConfig::Preferred => Assertion::Preferred,
            },
        }
    }
}

/// The rules of a list.
pub(super) fn rules(faults: &mut Faults, key: &str, list: &[NumberRuleConfig], plans: &Plans) -> NumberRules {
    let rule = |(index, rule): (usize, &NumberRuleConfig)| rule.resolve(faults, &format!("{key}[{index}]"), plans);
    NumberRules(list.iter().enumerate().map(rule).collect())
}

impl NumberRuleConfig {
    fn resolve(&self, faults: &mut Faults, key: &str, plans: &Plans) -> NumberRule {
        let length = match self.length {
            None => 0..=usize::MAX,
            Some(LengthConfig::Exactly(length)) => length..=length,
            Some(LengthConfig::Between([from, to])) => from..=to,
        };
        if length.is_empty() {
            let problem = format!("no number has {} to {} digits", length.start(), length.end());
            faults.add(format!("{key}.length"), problem, "write the smaller one first");
        } else if self.prefix.len() > *length.end() {
            let problem = format!("no number of {} digits begins with {:?}", length.end(), self.prefix);
            faults.add(format!("{key}.length"), problem, "make it longer than the prefix");
        }
        let change = match (self.write, &self.plan) {
            (None, None) => Change::Edits(self.edits(faults, key, &length)),
            (Some(form), Some(name)) => {
                if self.first_edit().is_some() || !self.edits.is_empty() {
                    faults.add(key, "a rule either edits digits or writes a form", "make two rules of it");
                }
                match plans.get(name) {
                    Some(plan) => Change::Form(form.into(), Arc::clone(plan)),
                    None => {
                        let names = choices(plans.keys().map(String::as_str));
                        let problem = format!("no numbering plan is called {name:?}");
                        faults.add(format!("{key}.plan"), problem, format!("use {names}"));
                        Change::Edits(Vec::new())
                    }
                }
            }
            (None, Some(_)) => {
                faults.add(format!("{key}.plan"), "a plan, but no form", "add `write`, such as \"e164\"");
                Change::Edits(Vec::new())
            }
            (Some(_), None) => {
                faults.add(format!("{key}.write"), "a form, but no plan", "add `plan`, a name of a numbering plan");
                Change::Edits(Vec::new())
            }
        };
        NumberRule { prefix: self.prefix.clone().into_bytes(), length, change }
    }

    /// The edit that is written in the rule itself.
    fn first_edit(&self) -> Option<EditConfig> {
        let NumberRuleConfig { at, from_end, delete, .. } = *self;
        let edit = EditConfig { at, from_end, delete, insert: self.insert.clone() };
        (edit != EditConfig::default()).then_some(edit)
    }

    fn edits(&self, faults: &mut Faults, key: &str, length: &RangeInclusive<usize>) -> Vec<Edit> {
        let mut edits = Vec::new();
        // The longest number that the rule is for, as far as it says so.
        let mut longest = *length.end();
        for edit in self.first_edit().into_iter().chain(self.edits.iter().cloned()) {
            let EditConfig { at, from_end, delete, insert } = edit;
            let taken = if from_end { at.max(delete) } else { at.saturating_add(delete) };
            if from_end && delete > at {
                let problem = format!("{delete} are not there behind the place {at} from the end");
                faults.add(format!("{key}.delete"), problem, "count `at` from the end to the first that goes");
            } else if taken > longest {
                let problem = format!("no number that it is for has {taken} digits there");
                faults.add(format!("{key}.at"), problem, "count from 0, within `length`");
            }
            if !is_writable(&insert) {
                let remedy = "use up to 64 letters, digits, + * # . _ -";
                faults.add(format!("{key}.insert"), format!("{insert:?} cannot stand in a number"), remedy);
            }
            longest = longest.saturating_sub(delete).saturating_add(insert.len());
            let at = if from_end { At::End(at) } else { At::Start(at) };
            edits.push(Edit { at, delete, insert: insert.into_bytes() });
        }
        edits
    }
}

fn is_writable(text: &str) -> bool {
    let writable = |byte: u8| byte.is_ascii_alphanumeric() || b"+*#._-".contains(&byte);
    text.len() <= MAX_WRITTEN && text.bytes().all(writable)
}

impl From<FormConfig> for Form {
    fn from(form: FormConfig) -> Form {
        match form {
            FormConfig::E164 => Form::E164,
            FormConfig::E164Digits => Form::E164Digits,
            FormConfig::International => Form::International,
            FormConfig::National => Form::National,
            FormConfig::Local => Form::Local,
        }
    }
}

fn default_international_prefix() -> String {
    "00".into()
}

fn default_trunk_prefix() -> String {
    "0".into()
}

fn default_local_digits() -> [usize; 2] {
    [6, 8]
}

fn default_national_digits() -> [usize; 2] {
    [9, 11]
}

#[cfg(test)]
mod tests;
