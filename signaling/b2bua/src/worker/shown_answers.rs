//! Refusals as they are told: mapped by the trunk that they come from, and by the one that they go to.

use std::sync::Arc;

use moorline_sip::{Index, Message, OwnedMessage};

use super::Worker;
use super::setup::Refused;
use crate::policy::Mapped;

/// A refusal as others hear it, and the announcement that the caller hears first.
pub(super) type Shown = (OwnedMessage, Option<Arc<str>>);

impl Worker {
    /// A refusal of a trunk as others hear it; `None` where that is as it came.
    pub(super) fn as_mapped(&self, trunk: usize, refusal: Message<'_>) -> Option<Shown> {
        if let Some(instead) = without_interval(refusal) {
            return Some((instead, None));
        }
        let (status, reason) = (refusal.status()?, refusal.reason().unwrap_or_default());
        with_status(refusal, self.policy.trunks.get(trunk)?.answers.received.map(status, reason)?)
    }

    /// The same for a refusal that is at hand, which another trunk is to hear.
    pub(super) fn as_told(&self, trunk: usize, refusal: Message<'_>) -> Option<Shown> {
        let (status, reason) = (refusal.status()?, refusal.reason().unwrap_or_default());
        with_status(refusal, self.policy.trunks.get(trunk)?.answers.sent.map(status, reason)?)
    }

    /// The same for a refusal that is made here.
    pub(super) fn told_by_us(&self, trunk: usize, refused: &Refused) -> Refused {
        let mut told = refused.clone();
        let answers = self.policy.trunks.get(trunk).map(|trunk| &trunk.answers.sent);
        if let Some(mapped) = answers.and_then(|answers| answers.map(refused.status, &refused.reason)) {
            (told.status, told.reason) = (mapped.status, mapped.reason);
            told.announcement = mapped.announcement.or(told.announcement);
        }
        told
    }

    /// What a trunk's answer map makes of our own words for its silence.
    pub(super) fn unanswered_by(&self, trunk: usize, mut refused: Refused) -> Refused {
        let Some(trunk) = self.policy.trunks.get(trunk) else { return refused };
        if let Some(mapped) = trunk.answers.received.map(refused.status, &refused.reason) {
            (refused.status, refused.reason) = (mapped.status, mapped.reason);
            refused.announcement = mapped.announcement.or(refused.announcement);
        }
        refused
    }
}

/// What others hear of a 422: the session interval is between us and who refused it (RFC 4028 section 6), and nobody
/// else can mend it.
pub(super) fn without_interval(refusal: Message<'_>) -> Option<OwnedMessage> {
    let reason = b"Bad Gateway - Session Interval Refused".to_vec();
    let instead = (refusal.status() == Some(422)).then_some(Mapped { status: 502, reason, announcement: None })?;
    Some(with_status(refusal, instead)?.0)
}

/// A response with another status line.
fn with_status(response: Message<'_>, mapped: Mapped) -> Option<Shown> {
    let bytes = response.bytes();
    let rest = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = [format!("SIP/2.0 {} ", mapped.status).as_bytes(), &mapped.reason, b"\r\n"].concat();
    let text = [&line[..], bytes.get(rest + 1..)?].concat();
    let mut index = Index::new();
    Some((index.parse(&text).ok()?.to_owned(), mapped.announcement))
}
