//! Why a limit refuses a call, and what the caller hears.

use std::sync::Arc;

use super::super::Refusal;

/// Why a call is refused, in the order in which it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The account of the trunk that it comes from, or of the user who calls, has run out of money.
    Arrears,
    /// The trunk takes no calls in this direction: its limit is 0.
    Shut,
    /// Its caller has no number, or withholds it.
    Anonymous,
    /// Its caller is on the blacklist.
    ListedCaller,
    /// Its callee is on the blacklist.
    ListedCallee,
    /// The called number is barred.
    Barred,
    /// Signaling was started anew, and has not heard yet of all calls that are up.
    Restoring,
    /// The trunk has as many calls as it may.
    Calls,
    /// The caller has as many calls as it may.
    Caller,
    /// The callee was called as often as it may be, today.
    Callee,
    /// More callees were called today than are remembered.
    CalleesFull,
    /// Too many calls a second.
    Rate,
}

impl Cause {
    /// All of them, in the order of [`Cause::index`].
    pub const ALL: [Cause; 12] = [
        Cause::Arrears,
        Cause::Shut,
        Cause::Anonymous,
        Cause::ListedCaller,
        Cause::ListedCallee,
        Cause::Barred,
        Cause::Restoring,
        Cause::Calls,
        Cause::Caller,
        Cause::Callee,
        Cause::CalleesFull,
        Cause::Rate,
    ];

    /// Its position in [`Cause::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// As a key of the configuration, and as the label of a metric.
    pub const fn name(self) -> &'static str {
        match self {
            Cause::Arrears => "arrears",
            Cause::Shut => "shut",
            Cause::Anonymous => "anonymous",
            Cause::ListedCaller => "blacklisted_caller",
            Cause::ListedCallee => "blacklisted_callee",
            Cause::Barred => "barred",
            Cause::Restoring => "restoring",
            Cause::Calls => "calls",
            Cause::Caller => "calls_per_caller",
            Cause::Callee => "calls_per_callee_a_day",
            Cause::CalleesFull => "callees_full",
            Cause::Rate => "calls_per_second",
        }
    }

    /// What is said where nothing else is configured. 503 tells the peer to try elsewhere, and when to come back (RFC 3261
    /// 21.5.4): it is for what passes by itself. 480 is about this number alone, 433 is RFC 5079's.
    pub fn usual(self) -> Refusal {
        let (status, why) = match self {
            Cause::Arrears => (403, "Forbidden - Account In Arrears"),
            Cause::Shut => (403, "Forbidden - No Calls This Way"),
            Cause::Anonymous => (433, "Anonymity Disallowed"),
            Cause::ListedCaller => (403, "Forbidden - Caller Not Allowed"),
            Cause::ListedCallee => (403, "Forbidden - Callee Not Allowed"),
            Cause::Barred => (403, "Forbidden - Number Barred"),
            Cause::Restoring => (503, "Service Unavailable - Calls Are Being Restored"),
            Cause::Calls => (503, "Service Unavailable - Too Many Calls"),
            Cause::Caller => (480, "Temporarily Unavailable - Too Many Calls Of This Caller"),
            Cause::Callee => (480, "Temporarily Unavailable - Callee Called Too Often Today"),
            Cause::CalleesFull => (503, "Service Unavailable - Too Many Callees Today"),
            Cause::Rate => (503, "Service Unavailable - Too Many Calls A Second"),
        };
        Refusal::new(status, why)
    }
}

/// What the callers of a trunk hear, by cause. Cloning it copies nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusals(Arc<[Refusal; Cause::ALL.len()]>);

impl Default for Refusals {
    fn default() -> Refusals {
        Refusals(Arc::new(Cause::ALL.map(Cause::usual)))
    }
}

impl Refusals {
    /// Another one for a cause.
    pub fn with(mut self, cause: Cause, refusal: Refusal) -> Refusals {
        Arc::make_mut(&mut self.0)[cause.index()] = refusal;
        self
    }

    /// The one for a cause.
    pub fn of(&self, cause: Cause) -> &Refusal {
        &self.0[cause.index()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_in_their_order_and_refuse_by_default() {
        for (at, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause.index(), at);
            assert!((400..700).contains(&cause.usual().status), "{}", cause.name());
        }
        let mine = Refusals::default().with(Cause::Rate, Refusal::new(475, "CALL_CAPS_LIMIT"));
        assert_eq!(mine.of(Cause::Rate).status, 475);
        assert_eq!(mine.of(Cause::Calls), &Cause::Calls.usual());
        assert_eq!(Refusals::default().of(Cause::Rate).status, 503);
    }
}
