//! The timers of all four machines (RFC 3261 table 4, RFC 6026 section 7).

/// The base values that the timers are made of, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// The round trip estimate: the first interval between retransmissions.
    pub t1_ns: u64,
    /// The longest interval between retransmissions, except of an INVITE.
    pub t2_ns: u64,
    /// How long a message stays in the network.
    pub t4_ns: u64,
}

impl Default for Timers {
    fn default() -> Timers {
        Timers { t1_ns: 500_000_000, t2_ns: 4_000_000_000, t4_ns: 5_000_000_000 }
    }
}

/// The names the RFCs give them, and what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Timer {
    /// INVITE client: send the INVITE again.
    A,
    /// INVITE client: no response at all.
    B,
    /// INVITE client: no more repeated failures to ACK.
    D,
    /// Client: send the request again.
    E,
    /// Client: no final response.
    F,
    /// INVITE server: send the failure again.
    G,
    /// INVITE server: no ACK to the failure.
    H,
    /// INVITE server: no more repeated ACKs.
    I,
    /// Server: no more repeated requests.
    J,
    /// Client: no more repeated responses.
    K,
    /// INVITE server: no more repeated INVITEs after a 2xx.
    L,
    /// INVITE client: no more repeated 2xx.
    M,
    /// INVITE client: no final response although it was cancelled (RFC 3261 section 9.1).
    Cancelled,
}

impl Timer {
    #[cfg(test)]
    pub(crate) const ALL: [Timer; 13] = {
        use Timer::*;
        [A, B, D, E, F, G, H, I, J, K, L, M, Cancelled]
    };

    /// Whether it repeats a message: these run at growing intervals, and not at all on a reliable transport.
    pub(crate) const fn repeats(self) -> bool {
        matches!(self, Timer::A | Timer::E | Timer::G)
    }

    /// How long it runs, at first.
    pub(crate) const fn duration_ns(self, timers: &Timers, reliable: bool) -> u64 {
        match self {
            Timer::A | Timer::E | Timer::G => timers.t1_ns,
            Timer::B | Timer::F | Timer::H | Timer::L | Timer::M | Timer::Cancelled => 64 * timers.t1_ns,
            // Nothing is repeated on a reliable transport, so there is nothing to wait for.
            Timer::D | Timer::I | Timer::J | Timer::K if reliable => 0,
            // D is "at least 32 s": as long as the far side's timer H, which is 64 T1.
            Timer::D | Timer::J => 64 * timers.t1_ns,
            Timer::I | Timer::K => timers.t4_ns,
        }
    }

    /// The interval after `last_ns`: doubled, up to T2 except for an INVITE.
    pub(crate) const fn next_interval_ns(self, last_ns: u64, timers: &Timers) -> u64 {
        let doubled = last_ns.saturating_mul(2);
        match self {
            Timer::E | Timer::G if doubled > timers.t2_ns => timers.t2_ns,
            _ => doubled,
        }
    }
}
