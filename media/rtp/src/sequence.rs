//! Sequence numbers: order, extension beyond 16 bits, loss and restarts (RFC 3550 A.1, A.3).

/// A step forward of this many or more is a jump, not loss (RFC 3550 A.1, MAX_DROPOUT).
const MAX_DROPOUT: u16 = 3000;
/// A step back of this many or fewer is a late packet, not a restart (RFC 3550 A.1, MAX_MISORDER).
const MAX_MISORDER: u16 = 100;

/// True where `a` comes after `b`, counting round the 16-bit circle.
pub const fn is_newer(a: u16, b: u16) -> bool {
    let ahead = a.wrapping_sub(b);
    ahead != 0 && ahead < 0x8000
}

/// The sequence numbers received from one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sequence {
    /// The highest number seen, with the count of wraps above its 16 bits.
    extended: u32,
    /// The number that would confirm a restart; [`NO_RESTART`] where none is suspected.
    awaited: u32,
    /// Numbers since the (re)start that did not come.
    missing: u32,
    /// Which of the latest 32 numbers came: the highest in the lowest bit.
    came: u32,
}

const NO_RESTART: u32 = u32::MAX;

/// What a packet's number says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The next, or a later one with this many missing in between.
    Forward {
        /// How many numbers were passed over.
        skipped: u16,
    },
    /// A number that had come before.
    Duplicate,
    /// An earlier number than the highest one: reordered on the way.
    Late,
    /// Far off: not counted unless the next packet confirms it.
    Jump,
    /// The second in a row after a jump: the sender has started anew.
    Restart,
}

impl Sequence {
    /// Starts with the first packet of a source.
    pub const fn new(first: u16) -> Self {
        Sequence { extended: first as u32, awaited: NO_RESTART, missing: 0, came: 1 }
    }

    /// Takes the next packet's number.
    #[inline]
    pub fn receive(&mut self, number: u16) -> Step {
        let highest = self.extended as u16;
        let ahead = number.wrapping_sub(highest);
        if ahead == 0 {
            Step::Duplicate
        } else if ahead < MAX_DROPOUT {
            self.extended = self.extended.wrapping_add(u32::from(ahead));
            self.missing = self.missing.saturating_add(u32::from(ahead) - 1);
            self.awaited = NO_RESTART;
            self.came = self.came.checked_shl(u32::from(ahead)).unwrap_or(0) | 1;
            Step::Forward { skipped: ahead - 1 }
        } else if ahead <= MAX_MISORDER.wrapping_neg() {
            if u32::from(number) == self.awaited {
                *self = Sequence::new(number);
                return Step::Restart;
            }
            self.awaited = u32::from(number.wrapping_add(1));
            Step::Jump
        } else {
            let bit = 1u32.checked_shl(u32::from(ahead.wrapping_neg())).unwrap_or(0);
            if self.came & bit != 0 {
                return Step::Duplicate;
            }
            self.came |= bit;
            // Where nothing is missing it is from before the first packet.
            self.missing = self.missing.saturating_sub(1);
            Step::Late
        }
    }

    /// Takes the next packet's number if it is the next one; else changes nothing and answers false.
    #[inline]
    pub fn receive_next(&mut self, number: u16) -> bool {
        let next = self.extended.wrapping_add(1);
        if number != next as u16 {
            return false;
        }
        self.extended = next;
        self.awaited = NO_RESTART;
        self.came = self.came << 1 | 1;
        true
    }

    /// Goes on where another has counted on from here: up to the highest number, of the latest 32 of which those
    /// came whose bits are set. It passed over some numbers, and some of those came late.
    pub const fn resume(&mut self, highest: u32, came: u32, skipped: u32, late: u32) {
        let missing = self.missing.saturating_add(skipped).saturating_sub(late);
        *self = Sequence { extended: highest, awaited: NO_RESTART, missing, came: came | 1 };
    }

    /// Which of the latest 32 numbers came: the highest in the lowest bit.
    pub const fn came(&self) -> u32 {
        self.came
    }

    /// The highest number seen, extended by the count of wraps.
    pub const fn extended(&self) -> u32 {
        self.extended
    }

    /// How many numbers since the (re)start did not come: a late packet takes its loss back.
    ///
    /// Deliberately not the count of RFC 3550 A.3, where a packet that came twice makes up for one that was
    /// lost: a repeated number takes nothing back here, unless it is more than 31 numbers old.
    pub const fn lost(&self) -> u32 {
        self.missing
    }
}
