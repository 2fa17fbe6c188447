//! Number rules that make numbers longer than numbers are.

use crate::config::fault::Faults;
use crate::config::{Config, LengthConfig, NumberRuleConfig};

/// The longest numbers of callers and of who is called: more is taken by few networks.
const CALLER_DIGITS: usize = 20;
const CALLED_DIGITS: usize = 28;

impl Config {
    /// Rules of which even the shortest number that they fit comes out too long.
    pub(super) fn doubt_numbers(&self, idle: &mut Faults) {
        for (index, trunk) in self.trunks.iter().enumerate() {
            let (key, numbers) = (format!("trunks[{index}].numbers"), &trunk.numbers);
            doubt_rules(&format!("{key}.called_in"), &numbers.called_in, CALLED_DIGITS, idle);
            doubt_rules(&format!("{key}.caller_in"), &numbers.caller_in, CALLER_DIGITS, idle);
            doubt_rules(&format!("{key}.called_out"), &numbers.called_out, CALLED_DIGITS, idle);
            doubt_rules(&format!("{key}.caller_out"), &numbers.caller_out, CALLER_DIGITS, idle);
        }
        for (index, route) in self.routes.iter().enumerate() {
            let (key, numbers) = (format!("routes[{index}].numbers"), &route.numbers);
            doubt_rules(&format!("{key}.called"), &numbers.called, CALLED_DIGITS, idle);
            doubt_rules(&format!("{key}.caller"), &numbers.caller, CALLER_DIGITS, idle);
        }
    }
}

fn doubt_rules(key: &str, rules: &[NumberRuleConfig], most: usize, idle: &mut Faults) {
    for (index, rule) in rules.iter().enumerate() {
        let made = shortest(rule);
        if made > most {
            let problem =
                format!("it makes numbers of {made} characters or more, of which networks take {most} at most");
            idle.add(format!("{key}[{index}]"), problem, "insert fewer digits, or delete some");
        }
    }
}

/// How long the shortest number is that a rule makes.
fn shortest(rule: &NumberRuleConfig) -> usize {
    let length = match rule.length {
        Some(LengthConfig::Exactly(length) | LengthConfig::Between([length, _])) => length,
        None => 0,
    };
    let fits = length.max(rule.prefix.len());
    let own = (rule.delete, rule.insert.len());
    let edits = std::iter::once(own).chain(rule.edits.iter().map(|edit| (edit.delete, edit.insert.len())));
    edits.fold(fits, |made, (delete, insert)| made.saturating_sub(delete) + insert)
}
