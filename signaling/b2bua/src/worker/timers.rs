//! The timers of calls, in one table: what is set is in it once, and what is cancelled is gone.

use std::collections::BTreeSet;

use moorline_control::SessionId;

use crate::leg::Side;

/// What a timer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// The call has been in its phase for as long as it may: ringing, giving up, or talking.
    Phase(SessionId),
    /// Those called must have given a sign of life.
    Silent(SessionId),
    /// The trunk in use has had its no-answer time.
    NoAnswer(SessionId),
    /// A re-INVITE of this side must be finally answered.
    Reinvite(SessionId, Side),
    /// An UPDATE of this side must be answered.
    Update(SessionId, Side),
    /// The session of this side is to be refreshed, or is over (RFC 4028 10).
    Session(SessionId, Side),
    /// The party that is transferred is to be asked again.
    Join(SessionId),
    /// Another worker must have said whose a dialog is.
    Elsewhere(u64),
    /// The call is kept no longer for its subscriptions.
    Linger(SessionId),
    /// A subscription outside calls is forgotten.
    Subscription(SessionId),
    /// A reliable provisional answer to the caller is due again (RFC 3262 3).
    Reliable(SessionId),
    /// The names of targets are to be looked up again.
    Names,
    /// The targets of this trunk are to be probed.
    Probe(usize),
    /// A binding ends.
    Expiry(u64),
    /// A device must be kept alive.
    KeepAlive(u64),
    /// Moorline is to register with this trunk.
    Registration(usize),
    /// A verdict on credentials must have come.
    Verdict(u64),
    /// Whoever a request outside calls went to must have given a sign of life.
    Errand(SessionId),
    /// Requests that the media process had no room for may be asked again.
    Media,
    /// The record of a call that is up is to be marked.
    Interim(SessionId),
    /// Our 2xx to this side is due again, or given up (RFC 3261 13.3.1.4).
    Confirm(SessionId, Side),
}

/// All timers of a worker's calls, soonest first.
#[derive(Default)]
pub(super) struct Timers {
    table: BTreeSet<(u64, Due)>,
}

impl Timers {
    pub(super) fn set(&mut self, at: u64, due: Due) {
        self.table.insert((at, due));
    }

    pub(super) fn cancel(&mut self, at: u64, due: Due) {
        self.table.remove(&(at, due));
    }

    /// Takes out those that are not to stay.
    pub(super) fn retain(&mut self, stays: impl Fn(&Due) -> bool) {
        self.table.retain(|(_, due)| stays(due));
    }

    pub(super) fn next(&self) -> Option<u64> {
        self.table.first().map(|(at, _)| *at)
    }

    /// Takes out a timer whose time has come.
    pub(super) fn due(&mut self, now: u64) -> Option<Due> {
        if self.next()? > now {
            return None;
        }
        self.table.pop_first().map(|(_, due)| due)
    }
}
