//! Interarrival jitter (RFC 3550 A.8).

/// The jitter estimate of one source, in its timestamp units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Jitter {
    transit: u32,
    /// The estimate times 16, so that the division by 16 keeps its fraction.
    scaled: u32,
}

impl Jitter {
    /// Starts with the first packet's arrival time (see [`arrival`](Self::arrival)) and timestamp.
    pub const fn new(arrival: u32, timestamp: u32) -> Self {
        Jitter { transit: arrival.wrapping_sub(timestamp), scaled: 0 }
    }

    /// A time in nanoseconds as timestamp units of a clock of `rate` Hz, modulo 2^32.
    #[inline]
    pub const fn arrival(now_ns: u64, rate: u32) -> u32 {
        // Seconds and fraction apart: their product with the rate would not fit otherwise.
        let seconds = now_ns / NANOS;
        let fraction = now_ns % NANOS;
        (seconds.wrapping_mul(rate as u64)).wrapping_add(fraction * rate as u64 / NANOS) as u32
    }

    /// How far the next packet's spacing is from its sender's: the D of the RFC.
    #[inline]
    pub const fn step(&self, arrival: u32, timestamp: u32) -> u32 {
        (arrival.wrapping_sub(timestamp).wrapping_sub(self.transit) as i32).unsigned_abs()
    }

    /// Takes the next packet.
    #[inline]
    pub fn receive(&mut self, arrival: u32, timestamp: u32) {
        let difference = self.step(arrival, timestamp);
        self.transit = arrival.wrapping_sub(timestamp);
        let decayed = self.scaled - ((self.scaled + 8) >> 4);
        self.scaled = decayed.saturating_add(difference).min(MAX_SCALED);
    }

    /// Takes a new reference without counting the step: the sender's timestamps have jumped.
    pub fn rebase(&mut self, arrival: u32, timestamp: u32) {
        self.transit = arrival.wrapping_sub(timestamp);
    }

    /// Takes a new reference as [`rebase`](Self::rebase) does, in units of a clock of `to` Hz instead of `from`; the
    /// estimate stays the same time.
    pub fn change_clock(&mut self, from: u32, to: u32, arrival: u32, timestamp: u32) {
        self.rebase(arrival, timestamp);
        if from != to && from != 0 {
            let scaled = self.scaled as u64 * to as u64 / from as u64;
            self.scaled = if scaled > MAX_SCALED as u64 { MAX_SCALED } else { scaled as u32 };
        }
    }

    /// Goes on where another has measured on from here.
    pub const fn resume(&mut self, transit: u32, scaled: u32) {
        *self = Jitter { transit, scaled: if scaled > MAX_SCALED { MAX_SCALED } else { scaled } };
    }

    /// The last packet's arrival time less its timestamp.
    pub const fn transit(&self) -> u32 {
        self.transit
    }

    /// The estimate times 16.
    pub const fn scaled(&self) -> u32 {
        self.scaled
    }

    /// The estimate in timestamp units.
    pub const fn units(&self) -> u32 {
        self.scaled >> 4
    }

    /// The estimate in microseconds of a clock of `rate` Hz.
    pub const fn micros(&self, rate: u32) -> u32 {
        if rate == 0 {
            return 0;
        }
        let micros = self.scaled as u64 * 1_000_000 / 16 / rate as u64;
        if micros > u32::MAX as u64 { u32::MAX } else { micros as u32 }
    }
}

/// So that half a unit can be added.
const MAX_SCALED: u32 = u32::MAX - 8;

const NANOS: u64 = 1_000_000_000;
