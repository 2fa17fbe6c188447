//! The state of one call on both sides, and the retransmission both sides share.

use std::fmt;
use std::net::SocketAddr;

use super::body::Far;
use super::dialog::Dialog;
use super::message::Message;
use super::{Failure, credentials::Answer};

/// RFC 3261 section 17.1.1.1.
pub(crate) const T1_NS: u64 = 500_000_000;
/// RFC 3261 section 17.1.2.2.
pub(crate) const T2_NS: u64 = 4_000_000_000;
/// Timers B, F and H.
pub(crate) const GIVE_UP_NS: u64 = 64 * T1_NS;

/// A side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Caller,
    Callee,
}

impl Side {
    pub(crate) fn index(self) -> usize {
        match self {
            Side::Caller => 0,
            Side::Callee => 1,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Side::Caller => "caller",
            Side::Callee => "callee",
        })
    }
}

/// A message that is sent again until it is answered.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) bytes: Vec<u8>,
    pub(crate) to: SocketAddr,
    /// What it is, for the reason of a failure.
    pub(crate) what: &'static str,
    /// When it is sent again; `None` once a provisional answer has come.
    pub(crate) again: Option<u64>,
    interval: u64,
    /// INVITE goes on doubling (timer A); others stop at T2 (timers E and G).
    longest: u64,
    pub(crate) give_up: u64,
}

impl Pending {
    /// Over a reliable transport nothing is sent again but the 200 (RFC 3261 section 13.3.1.4).
    pub(crate) fn new(bytes: Vec<u8>, to: SocketAddr, what: &'static str, now: u64, reliable: bool) -> Pending {
        let longest = if what == "INVITE" { u64::MAX } else { T2_NS };
        let give_up = now + GIVE_UP_NS;
        Pending {
            bytes,
            to,
            what,
            again: (!reliable || what == "200").then_some(now + T1_NS),
            interval: T1_NS,
            longest,
            give_up,
        }
    }

    /// Notes that it is sent again at `now`.
    pub(crate) fn repeat(&mut self, now: u64) {
        self.interval = self.interval.saturating_mul(2).min(self.longest);
        self.again = Some(now + self.interval);
    }

    /// When it wants attention next.
    pub(crate) fn due(&self) -> u64 {
        self.again.map_or(self.give_up, |again| again.min(self.give_up))
    }
}

/// One side of one call.
#[derive(Debug, Default)]
pub(crate) struct Leg {
    pub(crate) dialog: Option<Dialog>,
    pub(crate) pending: Option<Pending>,
    /// Where this side sends media.
    pub(crate) far: Option<Far>,
    /// The last answer to an INVITE, or the ACK to the 200: sent again when the other side repeats.
    pub(crate) last: Option<(Vec<u8>, SocketAddr)>,
    /// A BYE was received or answered here.
    pub(crate) ended: bool,
}

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the INVITE.
    Planned,
    /// Until the callee has its ACK.
    Setup,
    /// Media flows.
    Talking,
    /// Media has stopped, the last packets arrive.
    Draining,
    /// BYE was sent.
    Ending,
    /// Over, well or not.
    Over,
}

/// One call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) phase: Phase,
    pub(crate) legs: [Leg; 2],
    pub(crate) invited_at: u64,
    /// The number of the INVITE: 1, and 2 after a challenge.
    pub(crate) invites: u32,
    pub(crate) got_provisional: bool,
    /// The called party's state is known to the caller.
    pub(crate) rings: bool,
    pub(crate) answered: bool,
    /// To be cancelled once that is possible (RFC 3261 section 9.1).
    pub(crate) wants_cancel: bool,
    /// What the caller answers challenges with.
    pub(crate) challenged: Option<Answer>,
    /// When the callee sent its 200.
    pub(crate) picked_up_at: Option<u64>,
    /// When the BYE was sent.
    pub(crate) bye_at: u64,
    /// The callee's INVITE while it rings, and where it came from.
    pub(crate) ringing: Option<(Message, SocketAddr)>,
    /// Something is wrong, but the call can go on to its end.
    pub(crate) fault: Option<Failure>,
}

impl Call {
    pub(crate) fn new() -> Call {
        Call {
            phase: Phase::Planned,
            legs: Default::default(),
            invited_at: 0,
            invites: 0,
            got_provisional: false,
            rings: false,
            answered: false,
            wants_cancel: false,
            challenged: None,
            picked_up_at: None,
            bye_at: 0,
            ringing: None,
            fault: None,
        }
    }

    pub(crate) fn leg(&mut self, side: Side) -> &mut Leg {
        &mut self.legs[side.index()]
    }

    /// Keeps the first fault.
    pub(crate) fn note_fault(&mut self, fault: impl Into<Failure>) {
        self.fault.get_or_insert_with(|| fault.into());
    }
}
