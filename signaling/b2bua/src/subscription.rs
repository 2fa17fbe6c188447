//! A subscription outside calls (RFC 6665): two dialogs, each side's own, and how long they are kept.

use moorline_control::SessionId;
use moorline_sip::transaction::Flow;
use moorline_sip::{Dialog, Message};

use crate::leg::Side;
use crate::next_hop::NextHops;

const SECOND_NS: u64 = 1_000_000_000;

/// How long a subscription is kept that nobody has said a time for: a NOTIFY does (RFC 6665 4.1.2.4).
const UNSAID_S: u32 = 180;

/// How much longer it is kept than it was granted for: a refresh may be late, and the last NOTIFY is.
const GRACE_S: u32 = 60;

/// The longest that one is kept without a refresh.
const LONGEST_S: u32 = 7 * 24 * 3600;

/// A subscription that crosses.
pub(crate) struct Subscription {
    /// The subscriber's side and the notifier's, by [`Side::index`].
    pub(crate) ends: [End; 2],
    /// When it is forgotten.
    pub(crate) until: u64,
}

/// One side of it.
pub(crate) struct End {
    /// Its trunk, by position in the policy.
    pub(crate) trunk: usize,
    pub(crate) flow: Flow,
    /// It is a registered one, which may be behind NAT.
    pub(crate) endpoint: bool,
    /// Whose credentials it has shown.
    pub(crate) user: Option<Box<[u8]>>,
    /// Our tag towards it.
    pub(crate) tag: SessionId,
    /// Our Call-ID, or the subscriber's.
    pub(crate) call_id: Vec<u8>,
    /// The notifier has one once it has accepted, or sent its first NOTIFY.
    pub(crate) dialog: Option<Dialog>,
}

impl Subscription {
    pub(crate) fn end(&self, side: Side) -> &End {
        &self.ends[side.index()]
    }

    pub(crate) fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side.index()]
    }
}

impl End {
    /// True for a request in this side's dialog. The first NOTIFY, and only that, may come before there is one (RFC 6665
    /// 4.4.1).
    pub(crate) fn is_meant(&self, request: Message<'_>) -> bool {
        let theirs = request.from().ok().and_then(|from| from.tag()).unwrap_or_default();
        request.call_id() == Ok(&self.call_id) && self.dialog.as_ref().is_none_or(|dialog| dialog.remote_tag == theirs)
    }

    /// Where requests in its dialog go.
    pub(crate) fn next_hop(&self, hops: &NextHops) -> Flow {
        hops.of(self.dialog.as_ref(), self.flow, self.endpoint)
    }
}

/// When a subscription is forgotten that was granted for `expires_s`.
pub(crate) fn kept_until(now: u64, expires_s: Option<u32>) -> u64 {
    let seconds = expires_s.unwrap_or(UNSAID_S).min(LONGEST_S) + GRACE_S;
    now.saturating_add(u64::from(seconds) * SECOND_NS)
}
