//! Who callers are said to be to a trunk.

use std::collections::HashMap;

/// How callers are shown to a trunk, beyond the rules for numbers: carriers take calls from numbers that they know only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallerIdentity {
    /// The number that a caller is shown by, by the one that the route has: as they stand, past the trunk's own rules.
    pub mapped: HashMap<Vec<u8>, Vec<u8>>,
    /// The number of all others; `None` leaves them theirs.
    pub number: Option<Vec<u8>>,
    /// The name beside the number; an empty one takes it away, `None` leaves what there is.
    pub display: Option<String>,
    /// Where the number is said besides From.
    pub assertion: Assertion,
}

/// Where the network says who calls (RFC 3325).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Assertion {
    /// P-Asserted-Identity, P-Preferred-Identity and Remote-Party-ID cross between trusted trunks, with the number that
    /// From has where they name the caller.
    #[default]
    Pass,
    /// They stay behind.
    Off,
    /// P-Asserted-Identity names the caller, whatever came in. Callers who are withheld are named to a trusted trunk only.
    Asserted,
    /// P-Preferred-Identity does, by which a customer asks the carrier for one of its numbers.
    Preferred,
}

impl CallerIdentity {
    /// The number that stands for a caller's, if one does.
    pub(crate) fn number_for(&self, caller: &[u8]) -> Option<&[u8]> {
        self.mapped.get(caller).or(self.number.as_ref()).map(Vec::as_slice)
    }
}
