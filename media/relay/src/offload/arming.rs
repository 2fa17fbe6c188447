//! When a flow may go over from the relay to what relays elsewhere: once all that was passed up has been dealt with.
//!
//! ```text
//!            the packet dealt with last is the one passed up last
//!   Apart ---------------------------------------------------------> Joined
//!     ^                                                                |
//!     +----------------------------------------------------------------+
//!        more were dealt with than passed up, which cannot be,
//!        or the flow is told another source
//! ```
//!
//! Both ends count the RTP packets of a port, and once its flow was told those of its source only: one those that it
//! passes up, the other those that it has dealt with. Who else sends to the port has no part in the flow. While the
//! counts are equal nothing is on the way between the two, so that nothing can be overtaken. To begin with, and
//! after packets were lost on the way, the counts are apart: they are joined where the packet that was passed up last is
//! known to have been dealt with, for packets do not overtake each other on the way.

/// Packets that were passed up so long ago have been dealt with or are lost.
const LOST_NS: u64 = 1_000_000_000;

/// What was passed up of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// How many packets; it wraps.
    pub count: u32,
    /// The first eight bytes of the last one.
    pub last: [u8; 8],
}

/// What was dealt with of a port.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arming {
    count: u32,
    last: [u8; 8],
    joined: bool,
    /// Since when fewer were dealt with than passed up, whenever it was looked; 0 for not.
    behind_since: u64,
}

impl Arming {
    /// A packet of the flow's source that was passed up has been received; false if it is not one of those that are
    /// counted: RTP, told from RTCP as RFC 5761 section 4 does.
    #[inline]
    pub fn receive(&mut self, payload: &[u8]) -> bool {
        let Some((&first, _)) = payload.split_first_chunk::<8>() else { return false };
        if !is_counted(payload) {
            return false;
        }
        self.count = self.count.wrapping_add(1);
        self.last = first;
        true
    }

    /// From now on packets of another source are counted at both ends, but not from the same packet on.
    pub fn part(&mut self) {
        self.joined = false;
    }

    /// All that was received has been dealt with; `passed` was read after that. The count to go over at, if the flow
    /// may.
    pub fn settle(&mut self, now: u64, passed: &Passed) -> Option<u32> {
        let behind = passed.count.wrapping_sub(self.count);
        if self.joined && behind == 0 {
            self.behind_since = 0;
            return Some(passed.count);
        }
        let (is_ahead, is_last) = (behind > u32::MAX / 2, self.last == passed.last);
        if self.joined && is_ahead {
            self.joined = false;
        }
        let lost = if self.joined {
            if self.behind_since == 0 {
                self.behind_since = now.max(1);
            }
            now.saturating_sub(self.behind_since) >= LOST_NS
        } else {
            true
        };
        if !lost || !is_last {
            return None;
        }
        *self = Arming { count: passed.count, joined: true, behind_since: 0, ..*self };
        Some(passed.count)
    }
}

/// Whether a datagram counts at both ends: RTP by its version, and no RTCP by its packet type.
#[inline]
fn is_counted(payload: &[u8]) -> bool {
    payload.len() >= 12 && payload[0] >> 6 == 2 && !(192..=223).contains(&payload[1])
}

impl From<u32> for Arming {
    /// Nothing has come of a port of which so many packets were passed up before.
    fn from(count: u32) -> Arming {
        Arming { count, ..Arming::default() }
    }
}
