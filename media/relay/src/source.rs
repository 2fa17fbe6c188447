//! Where the packets of one port may come from: the SDP's address, or the latched one.
//!
//! ```text
//!            first valid packet within the window
//!   open ------------------------------------------> fixed
//!    ^                                                 |
//!    +-------------------------------------------------+
//!         the party says another address in its SDP, signals from another network,
//!         or is said to have moved perhaps
//! ```
//!
//! When a party that was latched moves, packets of its old source are still on the way. They
//! are let through, but must not seize the reopened latch at once: only if they keep coming after
//! [`SETTLE_NS`] has the party evidently not moved.

use crate::address::Address;

/// Longer than packets stay on the way after their sender has moved.
const SETTLE_NS: u64 = 1_000_000_000;

/// The latch of one port.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Source {
    fixed: Address,
    /// What was fixed before the party said another address.
    previous: Address,
    previous_fixes_at: u64,
    /// Send to the previous source until another one is fixed.
    previous_leads: bool,
    window_end: u64,
}

/// What a packet's source means to the latch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Accepted; nothing changes.
    Accept,
    /// Accepted if the latch may follow it; it then holds this source.
    Fix,
    /// Refused.
    Refuse,
}

/// Why a latch is open again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The party has said its first address: what was latched before was its early media.
    Answered,
    /// The party has said another address, and may be reached there.
    Moved,
    /// The party may have moved behind its NAT, and said no address that helps: until it is heard from
    /// elsewhere it may be where it was.
    Doubt,
}

impl Source {
    /// Reopens the latch for `window_ns`.
    pub(crate) fn reopen(&mut self, now: u64, window_ns: u64, cause: Cause) {
        let held = self.fixed.is_some();
        if held {
            self.previous = self.fixed;
            self.fixed = Address::NONE;
        }
        match cause {
            Cause::Answered => self.previous_leads = true,
            Cause::Moved => self.previous_leads = false,
            Cause::Doubt => self.previous_leads |= held,
        }
        let settle_ns = if cause == Cause::Answered { 0 } else { SETTLE_NS };
        self.previous_fixes_at = now.saturating_add(settle_ns);
        self.window_end = now.saturating_add(window_ns);
    }

    /// Gives a party that was never heard of its window from now on.
    pub(crate) fn extend(&mut self, now: u64, window_ns: u64) {
        if !self.fixed.is_some() && !self.previous.is_some() {
            self.window_end = self.window_end.max(now.saturating_add(window_ns));
        }
    }

    /// Forgets all sources that `keep` does not accept; true if the one that held was among them.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Address) -> bool) -> bool {
        let held = self.fixed.is_some();
        for address in [&mut self.fixed, &mut self.previous] {
            if address.is_some() && !keep(address) {
                *address = Address::NONE;
            }
        }
        held && !self.fixed.is_some()
    }

    /// Forgets everything: there is no latch any more.
    pub(crate) fn clear(&mut self) {
        *self = Source::default();
    }

    /// Holds `address` from now on.
    pub(crate) fn fix(&mut self, address: Address) {
        *self = Source { fixed: address, window_end: self.window_end, ..Source::default() };
    }

    /// The source that holds, or no address while the latch is open.
    pub(crate) fn fixed(&self) -> Address {
        self.fixed
    }

    /// Where the party evidently is, by its packets; no address where only its SDP tells.
    pub(crate) fn heard(&self) -> Address {
        if self.fixed.is_some() || !self.previous_leads { self.fixed } else { self.previous }
    }

    /// What a packet from `source` means, which is not the SDP's address.
    pub(crate) fn claim(&self, now: u64, source: Address) -> Claim {
        if self.fixed.is_some() {
            return if self.fixed == source { Claim::Accept } else { Claim::Refuse };
        }
        if self.previous.is_some() && source == self.previous {
            return if now >= self.previous_fixes_at { Claim::Fix } else { Claim::Accept };
        }
        if now < self.window_end { Claim::Fix } else { Claim::Refuse }
    }
}
