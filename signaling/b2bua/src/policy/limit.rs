//! Limits of trunks: how many calls, how fast, from whom and to whom, and what a caller hears who is above them.
//!
//! A call counts at the trunk that it came from (inbound) and at the trunk that it is sent to (outbound). At each it is
//! looked at in this order, and the first that refuses is heard ([`Cause`]):
//!
//! 1. what no count decides: the arrears of the trunk or of the user who calls, a direction that is shut, callers
//!    without a number, the black and white list, barred numbers;
//! 2. the calls at once, those of its caller, those to its callee on the day, and those of the second.
//!
//! The second step takes all or nothing, under one lock for each trunk and direction, so that limits are exact however
//! many workers there are, and a call that is refused, by whatever, has used up nothing. A call that was sent on has: it
//! is one of its second and of its callee's day for good, and one of those at once until it ends. One that goes on to
//! another trunk, because this one failed, is a call of that trunk's and no longer of this one's, though the second
//! that its INVITE was sent in keeps it.

mod accounts;
mod bucket;
mod calls;
mod change;
mod days;
mod limiter;
mod lists;
mod party;
mod pattern;
mod refusals;
mod seizure;

pub use accounts::UserView;
pub use bucket::Rate;
pub use change::{Field, Key, LimitFault, TrunkView, Value, View};
pub use days::{DayCounts, SLOT_BYTES};
pub use limiter::Limiter;
pub(crate) use limiter::{Moment, TrunkCalls};
pub use lists::{Callers, Lists, Row, RowFault, Verdict};
pub(crate) use party::Party;
pub use pattern::{Pattern, PatternFault, Patterns};
pub use refusals::{Cause, Refusals};
pub(crate) use seizure::{Counted, Seized, Seizure};

/// What a trunk is limited to, as it was configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrunkLimits {
    /// Calls that come from it.
    pub inbound: DirectionLimits,
    /// Calls that are sent to it.
    pub outbound: DirectionLimits,
    /// Its account has run out of money: no calls are taken from it, whoever of its users calls.
    pub arrears: bool,
    /// What callers hear.
    pub refusals: Refusals,
}

/// What the calls of a trunk in one direction are limited to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DirectionLimits {
    /// What can be changed while calls are up.
    pub numbers: Numbers,
    /// Callees whose calls of a day are not counted.
    pub uncounted_callees: Patterns<()>,
    /// Called numbers that are refused.
    pub barred: Patterns<()>,
    /// Called numbers that are not, though they are barred.
    pub barred_except: Patterns<()>,
}

/// The limits that are numbers and switches. `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Numbers {
    /// Calls at once; 0 shuts the direction.
    pub calls: Option<u32>,
    /// New calls a second.
    pub calls_per_second: Option<u32>,
    /// How many of them may come at once; as many as in a second where it is left out.
    pub burst: Option<u32>,
    /// Calls at once of one caller.
    pub calls_per_caller: Option<u32>,
    /// Calls to one callee on one day.
    pub calls_per_callee_a_day: Option<u32>,
    /// Callers without a number are refused.
    pub refuse_anonymous: bool,
}

/// Which way a trunk's calls go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// They come from it.
    Inbound,
    /// They are sent to it.
    Outbound,
}

impl Direction {
    /// Both, in the order of [`Direction::index`].
    pub const BOTH: [Direction; 2] = [Direction::Inbound, Direction::Outbound];

    /// 0 or 1.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::Inbound => "inbound",
            Direction::Outbound => "outbound",
        }
    }
}

impl TrunkLimits {
    /// Those of one direction.
    pub fn of(&self, direction: Direction) -> &DirectionLimits {
        match direction {
            Direction::Inbound => &self.inbound,
            Direction::Outbound => &self.outbound,
        }
    }
}

impl Numbers {
    /// The rate of new calls, if there is a limit to it.
    pub(crate) fn rate(&self) -> Option<Rate> {
        let per_second = self.calls_per_second?;
        Some(Rate { per_second, burst: self.burst.unwrap_or(per_second) })
    }
}
