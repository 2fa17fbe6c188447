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
    /// Expected less received since the (re)start; negative where packets came twice.
    missing: i32,
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
    /// The same number as the highest one.
    Duplicate,
    /// An earlier number than the highest one: reordered on the way, or repeated.
    Late,
    /// Far off: not counted unless the next packet confirms it.
    Jump,
    /// The second in a row after a jump: the sender has started anew.
    Restart,
}

impl Sequence {
    /// Starts with the first packet of a source.
    pub const fn new(first: u16) -> Self {
        Sequence { extended: first as u32, awaited: NO_RESTART, missing: 0 }
    }

    /// Takes the next packet's number.
    #[inline]
    pub fn receive(&mut self, number: u16) -> Step {
        let highest = self.extended as u16;
        let ahead = number.wrapping_sub(highest);
        if ahead == 0 {
            self.missing = self.missing.saturating_sub(1);
            Step::Duplicate
        } else if ahead < MAX_DROPOUT {
            self.extended = self.extended.wrapping_add(u32::from(ahead));
            self.missing = self.missing.saturating_add(i32::from(ahead) - 1);
            self.awaited = NO_RESTART;
            Step::Forward { skipped: ahead - 1 }
        } else if ahead <= MAX_MISORDER.wrapping_neg() {
            if u32::from(number) == self.awaited {
                *self = Sequence::new(number);
                return Step::Restart;
            }
            self.awaited = u32::from(number.wrapping_add(1));
            Step::Jump
        } else {
            self.missing = self.missing.saturating_sub(1);
            Step::Late
        }
    }

    /// The highest number seen, extended by the count of wraps.
    pub const fn extended(&self) -> u32 {
        self.extended
    }

    /// How many packets were expected since the (re)start and did not come (A.3): a late packet takes its
    /// loss back. Negative where packets came twice.
    pub const fn lost(&self) -> i32 {
        self.missing
    }
}
