//! INVITEs to the called side: where they may go, and those under way.

use std::collections::VecDeque;

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow};
use moorline_sip::{Dialog, Message, OwnedMessage};

use crate::extension::{self, RAck};
use crate::forward;
use crate::forward::request_uri;

/// Early dialogs of one attempt that are remembered; branches beyond them ring unseen.
const MAX_EARLY: usize = 8;

/// Where an INVITE may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The listener it leaves from, and the address it goes to.
    pub(crate) flow: Flow,
    /// The Request-URI, where it is not the called number at that address.
    pub(crate) uri: Option<Vec<u8>>,
    /// The host in Request-URI and To, where it is not that address.
    pub(crate) host: Option<String>,
    /// It is reached by a `sips` URI, whoever calls.
    pub(crate) secure: bool,
    /// Proxies on the way (RFC 3327, RFC 3608).
    pub(crate) route: Vec<Vec<u8>>,
}

/// The destinations of a call that were not tried yet: those of a group ring together, and the next group is
/// tried when nobody of the one before has answered.
pub(crate) type Groups = VecDeque<Vec<Destination>>;

/// An INVITE to one destination that is not finally answered.
pub(crate) struct Attempt {
    pub(crate) client: ClientId,
    /// Our tag towards it. Each attempt has its own, as it has its own Call-ID: to those who are called, they
    /// are different calls.
    pub(crate) tag: SessionId,
    /// Our Call-ID and CSeq in it, to be used on when the INVITE is sent again with what was missing (RFC 3261
    /// 8.1.3.5).
    pub(crate) call_id: SessionId,
    pub(crate) cseq: u32,
    pub(crate) destination: Destination,
    /// The trunk that it goes to.
    pub(crate) trunk: usize,
    /// The dialogs that provisional answers have set up (RFC 3261 12.1), one for each branch of a fork.
    pub(crate) early: Vec<Early>,
    /// It has answered, be it with 100.
    pub(crate) heard: bool,
    /// It kept silent for too long, and is waited for no more.
    pub(crate) given_up: bool,
}

/// A dialog that a provisional answer has set up.
pub(crate) struct Early {
    pub(crate) dialog: Dialog,
    /// The RSeq of its last reliable provisional answer (RFC 3262 4).
    pub(crate) rseq: Option<u32>,
    /// Its Allow names UPDATE.
    pub(crate) updates: bool,
    /// The reliable provisional answer whose description answered the offer of the INVITE: a 2xx without one is as
    /// good as if it had this (RFC 3262 5).
    pub(crate) answer: Option<OwnedMessage>,
    /// The first offer was answered in it for good, by a reliable provisional answer or its PRACK: another may
    /// follow (RFC 3311 5.1).
    pub(crate) settled: bool,
}

impl Destination {
    /// The Request-URI of a request that was for `original`, where this destination's host is `host`.
    pub(crate) fn request_uri(&self, original: &[u8], host: &str) -> Vec<u8> {
        self.uri.clone().unwrap_or_else(|| request_uri(original, host, self.secure))
    }
}

impl Early {
    fn new(dialog: Dialog) -> Early {
        Early { dialog, rseq: None, updates: false, answer: None, settled: false }
    }
}

/// What a provisional answer is to the dialog it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Provision {
    /// Sent once and not acknowledged.
    Plain,
    /// To be acknowledged so.
    Reliable(RAck),
    /// A repetition, or one that overtook another: not for use (RFC 3262 4).
    Stray,
}

impl Attempt {
    /// Takes note of the early dialog that a provisional answer sets up, if it does.
    pub(crate) fn note_early(&mut self, response: Message<'_>) -> Provision {
        let Ok(Some(tag)) = response.to().map(|to| to.tag()) else { return Provision::Plain };
        if self.early.len() < MAX_EARLY && self.early(tag).is_none() {
            let target = forward::uri_at(self.destination.flow.remote);
            let dialog = Dialog::uac(response, target.as_bytes()).ok();
            self.early.extend(dialog.map(Early::new));
        }
        let due = RAck::due(response);
        let Some(early) = self.early_mut(tag) else {
            // A branch that is not remembered cannot be sent a PRACK.
            return if due.is_some() { Provision::Stray } else { Provision::Plain };
        };
        early.updates = extension::updates(response).unwrap_or(early.updates);
        match (due, early.rseq) {
            (None, _) => Provision::Plain,
            (Some(rack), Some(last)) if rack.rseq != last.wrapping_add(1) => Provision::Stray,
            (Some(rack), _) => Provision::Reliable(rack),
        }
    }

    /// The early dialog with this tag of theirs.
    pub(crate) fn early(&self, tag: &[u8]) -> Option<&Early> {
        self.early.iter().find(|early| early.dialog.remote_tag == tag)
    }

    /// The same, to change.
    pub(crate) fn early_mut(&mut self, tag: &[u8]) -> Option<&mut Early> {
        self.early.iter_mut().find(|early| early.dialog.remote_tag == tag)
    }

    /// The dialog that a 2xx sets up. Requests that were sent in it while it was early have used CSeq numbers;
    /// target and route set are those of the 2xx (RFC 3261 13.2.2.4).
    pub(crate) fn confirmed(&self, response: Message<'_>) -> Option<Dialog> {
        let target = forward::uri_at(self.destination.flow.remote);
        let mut dialog = Dialog::uac(response, target.as_bytes()).ok()?;
        if let Some(Early { dialog: early, .. }) = self.early(&dialog.remote_tag) {
            dialog.local_cseq = dialog.local_cseq.max(early.local_cseq);
            dialog.remote_cseq = early.remote_cseq;
        }
        Some(dialog)
    }
}

/// The refusal that the caller hears when all attempts have failed (RFC 3261 16.7, step 6): a 6xx if there is
/// one, else one of the lowest class; the first of its like. True where this one is it.
pub(crate) fn keep_better(best: &mut Option<OwnedMessage>, refusal: Message<'_>) -> bool {
    let rank = |message: Message<'_>| match message.status().unwrap_or(u16::MAX) / 100 {
        6 => 0,
        class => class,
    };
    let better = best.as_ref().is_none_or(|best| rank(refusal) < rank(best.view()));
    if better {
        *best = Some(refusal.to_owned());
    }
    better
}
