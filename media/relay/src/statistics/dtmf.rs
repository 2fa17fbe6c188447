//! Telephone events (RFC 4733): each counts once, though it comes in many packets and its end in three.

use moorline_control::Dtmf;
use moorline_rtp::TelephoneEvent;

/// The highest code of a DTMF digit: 0 to 9, `*`, `#`, A to D (RFC 4733 section 3.2). Others are line events and tones.
const LAST_DIGIT: u8 = 15;

const NANOS: u64 = 1_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// The events of one party.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Events {
    latest: Option<Latest>,
    /// When the one before the latest began: packets of it may still come.
    before: Option<u32>,
    /// The code of the latest event.
    code: u8,
    count: u32,
    total_ns: u64,
}

#[derive(Debug, Clone, Copy)]
struct Latest {
    code: u8,
    timestamp: u32,
    /// In timestamp units, of the segment that began at `timestamp`.
    duration: u16,
    ended: bool,
}

impl Events {
    /// Takes a packet of the payload type of telephone events. `in_turn` is whether its number follows those before it:
    /// then an earlier timestamp is that of a sender that began its timestamps anew, and not of a packet that is late.
    pub(super) fn take(&mut self, timestamp: u32, event: TelephoneEvent, clock: u32, in_turn: bool) {
        if event.code > LAST_DIGIT || self.before == Some(timestamp) {
            return;
        }
        let former = self.latest.map(|latest| latest.timestamp);
        let new = Latest { code: event.code, timestamp, duration: 0, ended: false };
        let latest = match &mut self.latest {
            Some(latest) if latest.timestamp == timestamp => latest,
            // A late packet of an event before.
            Some(latest) if !in_turn && timestamp.wrapping_sub(latest.timestamp) as i32 <= 0 => return,
            // A long event goes on in another segment where the duration has no room (section 2.5.1.3).
            Some(latest) if latest.continues(&new) => {
                *latest = new;
                self.before = former;
                latest
            }
            latest => {
                self.before = former;
                self.count = self.count.saturating_add(1);
                self.code = event.code;
                latest.insert(new)
            }
        };
        let more = event.duration.saturating_sub(latest.duration);
        latest.duration += more;
        latest.ended |= event.end;
        self.total_ns = self.total_ns.saturating_add(u64::from(more) * NANOS / u64::from(clock.max(1)));
    }

    /// Another source begins: its timestamps have nothing to do with the former one's.
    pub(super) fn forget_latest(&mut self) {
        (self.latest, self.before) = (None, None);
    }

    /// What there is to report; the latest digit only where that is wanted.
    pub(super) fn report(&self, tell_digit: bool) -> Option<Dtmf> {
        let last = tell_digit.then_some(self.code);
        let total_ms = u32::try_from(self.total_ns / NANOS_PER_MS).unwrap_or(u32::MAX);
        (self.count > 0).then_some(Dtmf { events: self.count, total_ms, last })
    }
}

impl Latest {
    fn continues(&self, next: &Latest) -> bool {
        !self.ended
            && self.duration == u16::MAX
            && self.code == next.code
            && self.timestamp.wrapping_add(u32::from(self.duration)) == next.timestamp
    }
}
