//! Routes: what becomes of calls, by their numbers, where they come from, and when.

mod csv;
mod hunt;
mod prefixes;
mod table;
mod when;

use super::{NumberRules, Refusal};

pub use csv::{Names, RowFault, check_prefix};
pub use hunt::{Choice, Failover, Hunt, Phrase};
pub use table::{Routes, RoutesBuilder, Twice};
pub use when::{NoTimes, Times};

/// Says what becomes of some calls.
///
/// Of the routes that are for a call the one with the longest called prefix decides; of several the one with the longest
/// caller prefix, then one for the call's own trunk, then one for the time, then the first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// The called number's first characters; empty matches every number.
    pub prefix: String,
    /// The caller's number's first characters.
    pub caller: String,
    /// Only calls from this trunk, by position in [`Policy::trunks`](super::Policy::trunks); `None` for calls from any.
    pub from: Option<usize>,
    /// Only then; `None` for always.
    pub when: Option<Times>,
    /// What becomes of the call.
    pub to: Way,
    /// What becomes of its numbers.
    pub numbers: RouteNumbers,
}

/// What a route makes of a call's numbers, after the rules of the trunk that it came from and before those of the trunk
/// that it goes to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteNumbers {
    /// Of who is called.
    pub called: NumberRules,
    /// Of who calls.
    pub caller: NumberRules,
}

/// What a route makes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It goes to a trunk, by position in [`Policy::trunks`](super::Policy::trunks).
    Trunk(usize),
    /// It goes to one of several trunks.
    Trunks(Hunt),
    /// The caller is told to try there (302): a SIP URI, in which `{number}` stands for the called number.
    Redirect(String),
    /// The caller is refused.
    Refuse(Refusal),
}

impl Default for Way {
    fn default() -> Way {
        Way::Trunks(Hunt::default())
    }
}

/// What was decided on a call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of it.
    pub to: Way,
    /// What becomes of its numbers.
    pub numbers: RouteNumbers,
}

impl Way {
    /// Whether a trunk is one of those that it leads to.
    pub(crate) fn leads_to(&self, trunk: usize) -> bool {
        match self {
            Way::Trunk(only) => *only == trunk,
            Way::Trunks(hunt) => hunt.choices.iter().any(|choice| choice.trunk == trunk),
            Way::Redirect(_) | Way::Refuse(_) => false,
        }
    }
}
