//! Refusals as they are told: mapped by the trunk that they come from, and by the one that they go to.

use moorline_sip::{Index, Message, OwnedMessage};

use super::Worker;
use super::setup::Refused;

impl Worker {
    /// A refusal of a trunk as others hear it; `None` where that is as it came.
    pub(super) fn as_mapped(&self, trunk: usize, refusal: Message<'_>) -> Option<OwnedMessage> {
        let (status, reason) = (refusal.status()?, refusal.reason().unwrap_or_default());
        let (status, reason) = self.policy.trunks.get(trunk)?.answers.received.map(status, reason)?;
        with_status(refusal, status, &reason)
    }

    /// The same for a refusal that is at hand, which another trunk is to hear.
    pub(super) fn as_told(&self, trunk: usize, refusal: Message<'_>) -> Option<OwnedMessage> {
        let (status, reason) = (refusal.status()?, refusal.reason().unwrap_or_default());
        let (status, reason) = self.policy.trunks.get(trunk)?.answers.sent.map(status, reason)?;
        with_status(refusal, status, &reason)
    }

    /// The same for a refusal that is made here.
    pub(super) fn told_by_us(&self, trunk: usize, refused: &Refused) -> Refused {
        let mut told = refused.clone();
        let mapped =
            self.policy.trunks.get(trunk).and_then(|trunk| trunk.answers.sent.map(refused.status, &refused.reason));
        if let Some((status, reason)) = mapped {
            (told.status, told.reason) = (status, reason);
        }
        told
    }

    /// What a trunk's answer map makes of our own words for its silence.
    pub(super) fn unanswered_by(&self, trunk: usize, mut refused: Refused) -> Refused {
        let Some(trunk) = self.policy.trunks.get(trunk) else { return refused };
        if let Some((status, reason)) = trunk.answers.received.map(refused.status, &refused.reason) {
            (refused.status, refused.reason) = (status, reason);
        }
        refused
    }
}

/// A response with another status line.
fn with_status(response: Message<'_>, status: u16, reason: &[u8]) -> Option<OwnedMessage> {
    let bytes = response.bytes();
    let rest = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = [format!("SIP/2.0 {status} ").as_bytes(), reason, b"\r\n"].concat();
    let text = [&line[..], bytes.get(rest + 1..)?].concat();
    let mut index = Index::new();
    Some(index.parse(&text).ok()?.to_owned())
}
