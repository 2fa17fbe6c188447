//! When a party was not heard though packets were expected of it.

use moorline_control::Silence;

/// From this long on a pause counts: no sender of continuous speech makes one, and codecs with discontinuous
/// transmission that refresh their comfort noise (Opus every 400 ms) do not either.
pub(crate) const PAUSE_NS: u64 = 500_000_000;

const NANOS_PER_MS: u64 = 1_000_000;

/// When a party was heard.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Heard {
    /// Without a pause since then.
    pub(crate) since: u64,
    /// Last; 0 for never.
    pub(crate) last: u64,
}

/// The pauses of one party.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pauses {
    /// Since when packets are expected; `None` while they are not.
    pub(super) expected_since: Option<u64>,
    pub(super) heard_since: u64,
    /// The latest packet was comfort noise.
    pub(super) noise: bool,
    pub(super) noise_packets: u64,
    count: u32,
    longest_ns: u64,
    total_ns: u64,
    one_way_ns: u64,
    dtx_ns: u64,
}

impl Pauses {
    /// Counts the time up to `now` since packets were last heard, or expected, if that was a pause.
    ///
    /// `explained` is whether discontinuous transmission accounts for it, `other` what was heard of the other party.
    pub(super) fn settle(&mut self, now: u64, last: u64, explained: bool, other: Heard) {
        let Some(expected_since) = self.expected_since else { return };
        let begin = last.max(expected_since);
        let pause_ns = now.saturating_sub(begin);
        if pause_ns < PAUSE_NS {
            return;
        }
        if explained {
            self.dtx_ns += pause_ns;
            return;
        }
        self.count = self.count.saturating_add(1);
        self.longest_ns = self.longest_ns.max(pause_ns);
        self.total_ns += pause_ns;
        self.one_way_ns += other.last.saturating_sub(other.since.max(begin));
    }

    pub(super) fn report(&self) -> Option<Silence> {
        let silence = Silence {
            pauses: self.count,
            longest_ms: u32::try_from(self.longest_ns / NANOS_PER_MS).unwrap_or(u32::MAX),
            total_ms: self.total_ns / NANOS_PER_MS,
            one_way_ms: self.one_way_ns / NANOS_PER_MS,
            noise_packets: self.noise_packets,
            dtx_ms: self.dtx_ns / NANOS_PER_MS,
        };
        (silence != Silence::default()).then_some(silence)
    }
}
