//! Answer maps, and how long calls may ring, as they are written.

use moorline_b2bua::policy::{AnswerMap, AnswerRule, Answers, Pattern, Template};
use serde::Deserialize;

use super::TrunkConfig;
use super::fault::Faults;

/// The most rules of a trunk.
const MAX_RULES: usize = 256;

/// What becomes of some refusals: `answers = [{ status = 480, reason = "(?i)no money", to_status = 402 }]`. The first
/// rule that fits counts; a refusal that none fits stays as it is, reason phrase included. 401, 407, 420, 421, 422 and
/// 487 are never changed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AnswerConfig {
    /// `received` for refusals by the trunk, `sent` for those that it is to hear. Whether the next trunk is tried is
    /// decided by what came, not by what becomes of it.
    #[serde(default)]
    pub on: WayConfig,
    /// The status, 300 to 699, or a class of them, such as `"5xx"`; any if left out.
    #[serde(default)]
    pub status: Option<StatusConfig>,
    /// A regular expression that the reason phrase must match somewhere; `(?i)` in front ignores case.
    #[serde(default)]
    pub reason: Option<String>,
    /// The status instead, 400 to 699; the same if left out.
    #[serde(default)]
    pub to_status: Option<u16>,
    /// The reason phrase instead; `$1` stands for what the first group of `reason` has caught. If left out, another
    /// status comes with its usual phrase.
    #[serde(default)]
    pub to_reason: Option<String>,
    /// What the caller hears first, as early media: the name of an announcement of the media process. Not where it has
    /// the called side's session description already, nor where announcements are not played for other reasons.
    #[serde(default)]
    pub announcement: Option<String>,
}

/// Which messages something is done to, seen from Moorline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WayConfig {
    /// Those that come from the trunk.
    #[default]
    Received,
    /// Those that go to the trunk.
    Sent,
}

/// One status, or a class of them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum StatusConfig {
    /// A status, such as 480.
    One(u16),
    /// `"3xx"` to `"6xx"`.
    Class(String),
}

impl TrunkConfig {
    /// The trunk's answer maps. `key` names the trunk.
    pub(super) fn answers(&self, key: &str, faults: &mut Faults) -> Answers {
        if self.answers.len() > MAX_RULES {
            faults.add(format!("{key}.answers"), "too many rules", format!("use {MAX_RULES} at most"));
        }
        let mut answers = Answers::default();
        for (index, config) in self.answers.iter().enumerate() {
            let rule = config.resolve(&format!("{key}.answers[{index}]"), faults);
            let AnswerMap(map) = match config.on {
                WayConfig::Received => &mut answers.received,
                WayConfig::Sent => &mut answers.sent,
            };
            map.extend(rule);
        }
        answers
    }
}

impl AnswerConfig {
    fn resolve(&self, key: &str, faults: &mut Faults) -> Option<AnswerRule> {
        let statuses = match &self.status {
            None => Some(300..=699),
            Some(StatusConfig::One(status)) => Some(*status..=*status).filter(|_| (300..700).contains(status)),
            Some(StatusConfig::Class(class)) => match class.as_bytes() {
                [digit @ b'3'..=b'6', b'x' | b'X', b'x' | b'X'] => {
                    let first = u16::from(digit - b'0') * 100;
                    Some(first..=first + 99)
                }
                _ => None,
            },
        };
        if statuses.is_none() {
            faults.add(format!("{key}.status"), "no refusal has it", "use 300 to 699, or \"3xx\" to \"6xx\"");
        }
        if self.to_status.is_some_and(|status| !(400..700).contains(&status)) {
            faults.add(format!("{key}.to_status"), "it refuses nothing", "use 400 to 699");
        }
        if self.to_status.is_none() && self.to_reason.is_none() && self.announcement.is_none() {
            faults.add(key, "the rule changes nothing", "set `to_status`, `to_reason` or `announcement`");
        }
        let reason = pattern(&format!("{key}.reason"), self.reason.as_deref(), faults);
        let to_reason = template(&format!("{key}.to_reason"), self.to_reason.as_deref(), reason.as_ref(), faults);
        let announcement = self.announcement.as_deref().map(Into::into);
        Some(AnswerRule { statuses: statuses?, reason, to_status: self.to_status, to_reason, announcement })
    }
}

/// A pattern, if there is one.
pub(super) fn pattern(key: &str, text: Option<&str>, faults: &mut Faults) -> Option<Pattern> {
    match Pattern::new(text?) {
        Ok(pattern) => Some(pattern),
        Err(bad) => {
            faults.add(key, format!("no regular expression: {bad}"), "write one such as \"(?i)no money\"");
            None
        }
    }
}

/// What is put in the place of a match, if there is one. Where its pattern is at fault, nothing is said of it.
pub(super) fn template(key: &str, text: Option<&str>, of: Option<&Pattern>, faults: &mut Faults) -> Option<Template> {
    match Template::new(text?, of) {
        Ok(template) => Some(template),
        Err(bad) => {
            faults.add(key, bad.to_string(), "use plain text, and $1 to $9 for groups of the pattern");
            None
        }
    }
}
