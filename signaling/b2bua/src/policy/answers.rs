//! Answer maps: what a refusal becomes on its way. Several services use one code for different reasons, told apart only
//! by the reason phrase.

use std::ops::RangeInclusive;
use std::sync::Arc;

use moorline_sip::reason_phrase;

use super::{Pattern, Template};

/// Statuses that ask something of whoever has sent the request, or answer its CANCEL: no map changes them.
const ASKING: [u16; 6] = [401, 407, 420, 421, 422, 487];

/// The answer maps of a trunk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answers {
    /// Of refusals by the trunk, before anybody else hears of them.
    pub received: AnswerMap,
    /// Of refusals that the trunk is to hear.
    pub sent: AnswerMap,
}

/// Rules for refusals (300 to 699); the first that fits counts. A refusal that none fits stays as it is, and so does its
/// reason phrase.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerMap(pub Vec<AnswerRule>);

/// What becomes of some refusals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerRule {
    /// The statuses it is for.
    pub statuses: RangeInclusive<u16>,
    /// The reason phrases it is for; any without.
    pub reason: Option<Pattern>,
    /// The status instead, 400 to 699; the same without.
    pub to_status: Option<u16>,
    /// The reason phrase instead, in which the groups of `reason` may stand. Without, the phrase stays with its status;
    /// another status has its own.
    pub to_reason: Option<Template>,
    /// The announcement that the caller hears first, by name.
    pub announcement: Option<Arc<str>>,
}

/// What a refusal becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapped {
    /// Its status.
    pub status: u16,
    /// Its reason phrase.
    pub reason: Vec<u8>,
    /// The announcement that the caller hears first, by name.
    pub announcement: Option<Arc<str>>,
}

impl AnswerMap {
    /// What a refusal becomes; `None` for one that stays as it is, and of which nothing is announced.
    pub fn map(&self, status: u16, reason: &[u8]) -> Option<Mapped> {
        let fits = |rule: &&AnswerRule| {
            rule.statuses.contains(&status) && rule.reason.as_ref().is_none_or(|pattern| pattern.is_in(reason))
        };
        let rule = self.0.iter().find(fits).filter(|_| !ASKING.contains(&status))?;
        let to_status = rule.to_status.unwrap_or(status);
        let made = rule.to_reason.as_ref().and_then(|template| match &rule.reason {
            Some(pattern) => pattern.expand(reason, template),
            None => Pattern::new("").ok()?.expand(b"", template),
        });
        let kept = || if to_status == status { reason.to_vec() } else { reason_phrase(to_status).as_bytes().to_vec() };
        let to_reason = made.unwrap_or_else(kept);
        let announcement = rule.announcement.clone();
        let changed = to_status != status || to_reason != reason || announcement.is_some();
        changed.then_some(Mapped { status: to_status, reason: to_reason, announcement })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(statuses: RangeInclusive<u16>, reason: Option<&str>, to: Option<u16>, with: Option<&str>) -> AnswerRule {
        let reason = reason.map(|text| Pattern::new(text).unwrap());
        let to_reason = with.map(|text| Template::new(text, reason.as_ref()).unwrap());
        AnswerRule { statuses, reason, to_status: to, to_reason, announcement: None }
    }

    #[test]
    fn the_first_rule_that_fits_counts() {
        let map = AnswerMap(vec![
            rule(480..=480, Some("(?i)no money"), Some(402), Some("No Credit")),
            rule(480..=480, Some("^Codec (.*)"), Some(488), Some("Not Acceptable - $1")),
            rule(480..=480, None, Some(404), None),
            rule(500..=599, None, None, Some("Try $5 Later")),
        ]);
        let mapped = |status, reason: &str| {
            let mapped = map.map(status, reason.as_bytes());
            mapped.map(|mapped| (mapped.status, String::from_utf8(mapped.reason).unwrap()))
        };
        assert_eq!(mapped(480, "No money left"), Some((402, "No Credit".into())));
        assert_eq!(mapped(480, "Codec mismatch"), Some((488, "Not Acceptable - mismatch".into())));
        assert_eq!(mapped(480, "Temporarily Unavailable"), Some((404, "Not Found".into())));
        assert_eq!(mapped(503, "Busy"), Some((503, "Try $5 Later".into())));
        assert_eq!(mapped(486, "Busy Here"), None);
        assert_eq!(AnswerMap(vec![rule(300..=699, None, Some(403), None)]).map(487, b""), None);
        assert_eq!(mapped(503, "Try $5 Later"), None);
        // What is only announced stays as it is.
        let told = AnswerRule { announcement: Some("no-line".into()), ..rule(503..=503, None, None, None) };
        let told = AnswerMap(vec![told]).map(503, b"Full").unwrap();
        assert_eq!((told.status, &told.reason[..], told.announcement.as_deref()), (503, &b"Full"[..], Some("no-line")));
    }
}
