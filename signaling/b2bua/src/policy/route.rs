//! Routes: which trunk a called number goes to.

use super::{Policy, Refusal};

/// Sends called numbers with a prefix to a trunk.
#[derive(Debug, Clone)]
pub struct Route {
    /// The called number's first characters; empty matches every number.
    pub prefix: String,
    /// Only calls from this trunk, by position in [`Policy::trunks`]; `None` for calls from any.
    pub from: Option<usize>,
    /// What becomes of the call.
    pub to: Way,
}

/// What a route makes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// It goes to a trunk, by position in [`Policy::trunks`].
    Trunk(usize),
    /// The caller is told to try there (302): a SIP URI, in which `{number}` stands for the called number.
    Redirect(String),
    /// The caller is refused.
    Refuse(Refusal),
}

impl Policy {
    /// The trunk for `called`, if a trunk is what its route leads to; see [`Policy::way`].
    pub fn egress(&self, from: usize, called: &[u8]) -> Option<usize> {
        match self.way(from, called)? {
            Way::Trunk(trunk) => Some(*trunk),
            Way::Redirect(_) | Way::Refuse(_) => None,
        }
    }

    /// What becomes of a call to `called` (the user part of the Request-URI), for a call that came from the trunk
    /// `from`: the longest prefix wins, a route for that trunk wins over a general one of the same
    /// length, and then the first in the file. `None` where no route matches.
    pub fn way(&self, from: usize, called: &[u8]) -> Option<&Way> {
        let mut best: Option<(usize, bool, &Way)> = None;
        for route in &self.routes {
            let meant = route.from.is_none_or(|trunk| trunk == from);
            if !meant || !called.starts_with(route.prefix.as_bytes()) {
                continue;
            }
            let (length, specific) = (route.prefix.len(), route.from.is_some());
            if best.is_none_or(|(other, known, _)| (length, specific) > (other, known)) {
                best = Some((length, specific, &route.to));
            }
        }
        best.map(|(_, _, way)| way)
    }
}
