//! Which synchronization source a port lets in: whoever forges a party's address does not know its SSRC.
//!
//! ```text
//!            first packet               its next number, or another source proved
//!   Silent -----------------> Unproved -------------------------------------------> Owned
//!                                                                                   |   ^
//!                                     another source proved, and the way is free    |   | any packet
//!                                                                                   v   | of the owner
//!                                                                                   Guest --+
//!                                                                                   ^       | another proved,
//!                                                                                   +-------+ and the way is free
//! ```
//!
//! A source is *proved* by two packets with consecutive numbers (RFC 3550 A.1 asks for as much of a new
//! source), both seen within [`PROOF_NS`]. The way is *free* while the one that speaks has been silent for
//! [`BREAK_NS`], and for [`ANNOUNCED_NS`] after signaling has touched the session: an answer, a hold, music.
//! It is *contested* while packets are refused that came beside the speaker's for [`OVERLAP_NS`]: a party that
//! changes its source stops the former one, so that is somebody else. Then only [`PAUSE_NS`] of silence free it,
//! or [`BREAK_NS`] after an announcement.
//! The *owner* is the first source proved since the party said where it is. Its packets are always let in, so
//! that whoever slips in while it pauses (silence suppression) is out again with its next word.
//!
//! | state    | the speaker's packet | the owner's | another's, not proved | proved, not free | proved, free |
//! |----------|----------------------|-------------|-----------------------|------------------|--------------|
//! | Silent   |                      |             | in, Unproved          |                  |              |
//! | Unproved | in, Owned if proved  |             | refused               | in, Owned        | in, Owned    |
//! | Owned    | in                   | in          | refused               | refused          | in, Guest    |
//! | Guest    | in                   | in, Owned   | refused               | refused          | in, Guest    |

/// A live stream of packets has no longer gaps, save by silence suppression, or where the network stalls.
const PAUSE_NS: u64 = 500_000_000;
/// Longer than any packet of media lasts: a gateway or mixer that changes its source unannounced is heard after it.
const BREAK_NS: u64 = 150_000_000;
/// Longer than the last packets of a former source trail behind the first ones of the next.
const OVERLAP_NS: u64 = 60_000_000;
/// Refused packets further apart than this have nothing to do with each other.
const RUN_NS: u64 = 1_000_000_000;
/// How long after a request of signaling another source is let in at once.
const ANNOUNCED_NS: u64 = 2_000_000_000;
/// How long a newcomer's first packet waits for its second. Media packets are at most 120 ms apart.
const PROOF_NS: u64 = 250_000_000;
/// Newcomers remembered: in a flood of forged sources the right one finds a place.
const NEWCOMERS: usize = 4;

/// The guard of one port that receives RTP of one source at a time.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SsrcGuard {
    state: State,
    /// Who is let in now.
    speaker: u32,
    owner: u32,
    /// The number that would prove an unproved speaker.
    awaited: u16,
    announced_until: u64,
    /// The first and the last packet of the current run of refused ones; 0 for none.
    refused_since: u64,
    refused_last: u64,
    newcomers: [Newcomer; NEWCOMERS],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum State {
    /// Nothing was heard since the party said where it is.
    #[default]
    Silent,
    /// One source was heard, and let in on trust.
    Unproved,
    /// The owner speaks.
    Owned,
    /// Another source speaks while the owner pauses.
    Guest,
}

/// A source that is not let in yet.
#[derive(Debug, Clone, Copy, Default)]
struct Newcomer {
    ssrc: u32,
    awaited: u16,
    proved: bool,
    /// The place is free from here on.
    until: u64,
}

impl SsrcGuard {
    /// Whether a packet is let in. `heard` is when the last one was.
    pub(crate) fn admit(&mut self, now: u64, heard: u64, ssrc: u32, sequence: u16) -> bool {
        match self.state {
            State::Silent => {
                (self.state, self.speaker, self.awaited) = (State::Unproved, ssrc, sequence.wrapping_add(1));
                return true;
            }
            State::Unproved if ssrc == self.speaker => {
                if sequence == self.awaited {
                    self.own(ssrc);
                }
                self.awaited = sequence.wrapping_add(1);
                return true;
            }
            State::Owned | State::Guest if ssrc == self.owner => {
                (self.state, self.speaker) = (State::Owned, ssrc);
                return true;
            }
            State::Guest if ssrc == self.speaker => return true,
            State::Unproved | State::Owned | State::Guest => {}
        }
        let proved = self.prove(now, ssrc, sequence);
        if !proved || self.state != State::Unproved && !self.is_free(now, heard) {
            self.note_refused(now);
            return false;
        }
        (self.refused_since, self.refused_last) = (0, 0);
        match self.state {
            State::Unproved => self.own(ssrc),
            _ => (self.state, self.speaker) = (State::Guest, ssrc),
        }
        true
    }

    /// Whether a source could be let in with this packet or its next: nobody else's packet may move a latch.
    pub(crate) fn is_plausible(&self, now: u64, heard: u64, ssrc: u32) -> bool {
        match self.state {
            State::Silent | State::Unproved => true,
            State::Owned | State::Guest => {
                // A latch that has moved stays: it takes more than a short break.
                self.is_known(ssrc) || now < self.announced_until || now.saturating_sub(heard) >= PAUSE_NS
            }
        }
    }

    /// The one that may pass without being asked about again, if there is one.
    pub(crate) fn settled(&self) -> Option<u32> {
        matches!(self.state, State::Owned | State::Guest).then_some(self.speaker)
    }

    /// True for the source that speaks, and for the owner.
    pub(crate) fn is_known(&self, ssrc: u32) -> bool {
        match self.state {
            State::Silent => false,
            State::Unproved => ssrc == self.speaker,
            State::Owned | State::Guest => ssrc == self.speaker || ssrc == self.owner,
        }
    }

    /// True before the first packet.
    pub(crate) fn is_silent(&self) -> bool {
        self.state == State::Silent
    }

    /// Signaling has touched the session: another source than was heard may come at once.
    pub(crate) fn announce(&mut self, now: u64) {
        if !self.is_silent() {
            self.announced_until = now.saturating_add(ANNOUNCED_NS);
        }
    }

    /// The party is elsewhere from now on: what was heard before says nothing.
    pub(crate) fn forget(&mut self) {
        *self = SsrcGuard::default();
    }

    fn own(&mut self, ssrc: u32) {
        (self.state, self.speaker, self.owner) = (State::Owned, ssrc, ssrc);
    }

    fn is_free(&self, now: u64, heard: u64) -> bool {
        let silent_ns = now.saturating_sub(heard);
        match (self.is_contested(now, heard), now < self.announced_until) {
            (false, true) => true,
            (false, false) | (true, true) => silent_ns >= BREAK_NS,
            (true, false) => silent_ns >= PAUSE_NS,
        }
    }

    /// Whether the one that speaks was heard beside packets that were refused.
    fn is_contested(&self, now: u64, heard: u64) -> bool {
        self.is_refusing(now) && heard > self.refused_since.saturating_add(OVERLAP_NS)
    }

    fn is_refusing(&self, now: u64) -> bool {
        self.refused_last > 0 && now.saturating_sub(self.refused_last) < RUN_NS
    }

    fn note_refused(&mut self, now: u64) {
        if !self.is_refusing(now) {
            self.refused_since = now;
        }
        self.refused_last = now;
    }

    /// Takes a newcomer's packet; true once it is proved. A proved one keeps its place while it goes on.
    fn prove(&mut self, now: u64, ssrc: u32, sequence: u16) -> bool {
        let until = now.saturating_add(PROOF_NS);
        let place = self.newcomers.iter().position(|newcomer| newcomer.ssrc == ssrc && now < newcomer.until);
        if let Some(newcomer) = place.and_then(|place| self.newcomers.get_mut(place)) {
            newcomer.proved |= sequence == newcomer.awaited;
            newcomer.awaited = sequence.wrapping_add(1);
            // One that is not proved must make room in time, however many packets it sends.
            newcomer.until = if newcomer.proved { until } else { newcomer.until };
            return newcomer.proved;
        }
        if let Some(unused) = self.newcomers.iter_mut().find(|newcomer| newcomer.until <= now) {
            *unused = Newcomer { ssrc, awaited: sequence.wrapping_add(1), proved: false, until };
        }
        false
    }
}

#[cfg(test)]
mod tests;
