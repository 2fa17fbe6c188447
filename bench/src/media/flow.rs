//! One direction of one call: what was sent and what arrived of it.

use std::net::SocketAddr;

/// The state of one stream.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The endpoint of the sending side.
    pub(crate) endpoint: usize,
    pub(crate) to: SocketAddr,
    pub(crate) to_rtcp: SocketAddr,
    /// The source from which the other side expects it.
    pub(crate) from: SocketAddr,
    pub(crate) from_rtcp: SocketAddr,
    pub(crate) sending: bool,
    /// Packets sent; the next index.
    pub(crate) sent: u32,
    /// The first index that counts: those before it were to warm up.
    first: u32,
    /// One bit for each index that arrived.
    seen: Vec<u64>,
    highest: Option<u32>,
    /// Indexes below the highest that have not arrived.
    pub(crate) missed: u32,
    transit: Option<u64>,
    jitter_ns: f64,
}

/// What an arriving packet is to its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    InOrder,
    /// A later one has arrived before it.
    Late,
    Duplicate,
    /// Nothing with this index was sent.
    Unsent,
}

impl Flow {
    pub(crate) fn new(endpoint: usize, to: [SocketAddr; 2], from: [SocketAddr; 2]) -> Flow {
        Flow {
            endpoint,
            to: to[0],
            to_rtcp: to[1],
            from: from[0],
            from_rtcp: from[1],
            sending: true,
            sent: 0,
            first: 0,
            seen: Vec::new(),
            highest: None,
            missed: 0,
            transit: None,
            jitter_ns: 0.0,
        }
    }

    /// Notes the arrival of `index`, which took `transit` nanoseconds.
    pub(crate) fn arrive(&mut self, index: u32, transit: u64) -> Place {
        if index >= self.sent {
            return Place::Unsent;
        }
        let (word, bit) = (index as usize / 64, 1 << (index % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            return Place::Duplicate;
        }
        self.seen[word] |= bit;
        let late = self.highest.is_some_and(|highest| index < highest);
        self.missed = match self.highest {
            _ if late => self.missed.saturating_sub(1),
            highest => self.missed + index - highest.map_or(0, |highest| highest + 1),
        };
        self.highest = self.highest.max(Some(index));
        // RFC 3550 section 6.4.1, on the time of sending instead of the nominal one: the jitter of the
        // path, without that of this generator.
        if let Some(before) = self.transit.replace(transit) {
            self.jitter_ns += (transit.abs_diff(before) as f64 - self.jitter_ns) / 16.0;
        }
        if late { Place::Late } else { Place::InOrder }
    }

    /// `None` before two packets have arrived.
    pub(crate) fn jitter_ns(&self) -> Option<f64> {
        (self.received() > 1).then_some(self.jitter_ns)
    }

    /// What was sent until now does not count.
    pub(crate) fn begin_anew(&mut self) {
        self.first = self.sent;
    }

    /// Whether a packet counts.
    pub(crate) fn counts(&self, index: u32) -> bool {
        index >= self.first
    }

    /// Packets that were sent and count.
    pub(crate) fn counted(&self) -> u32 {
        self.sent - self.first
    }

    /// Packets that arrived and count, each once.
    pub(crate) fn received(&self) -> u32 {
        let (word, bits) = (self.first as usize / 64, u64::MAX << (self.first % 64));
        let of_first = self.seen.get(word).map_or(0, |seen| (seen & bits).count_ones());
        of_first + self.seen.iter().skip(word + 1).map(|seen| seen.count_ones()).sum::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(sent: u32) -> Flow {
        let address = "127.0.0.1:4".parse().unwrap();
        Flow { sent, ..Flow::new(0, [address; 2], [address; 2]) }
    }

    #[test]
    fn places_of_arrivals() {
        let mut flow = flow(200);
        let places: Vec<Place> = [0, 2, 1, 2, 199, 0, 200].into_iter().map(|index| flow.arrive(index, 5)).collect();
        use Place::{Duplicate, InOrder, Late, Unsent};
        assert_eq!(places, [InOrder, InOrder, Late, Duplicate, InOrder, Duplicate, Unsent]);
        assert_eq!((flow.received(), flow.missed), (4, 196));
    }

    #[test]
    fn what_was_sent_to_warm_up_does_not_count() {
        let mut flow = flow(130);
        for index in [0, 63, 64, 129] {
            flow.arrive(index, 5);
        }
        assert_eq!((flow.counted(), flow.received()), (130, 4));
        flow.begin_anew();
        flow.sent = 300;
        for index in [128, 130, 191, 192, 299] {
            flow.arrive(index, 5);
        }
        assert_eq!((flow.counted(), flow.received()), (170, 4));
        assert!(!flow.counts(129) && flow.counts(130));
    }

    #[test]
    fn jitter_is_that_of_the_transit() {
        let mut steady = flow(100);
        let mut shaky = flow(100);
        for index in 0..100 {
            steady.arrive(index, 50_000);
            shaky.arrive(index, if index % 2 == 0 { 50_000 } else { 51_600 });
        }
        assert_eq!(steady.jitter_ns(), Some(0.0));
        assert!((1_500.0..1_600.0).contains(&shaky.jitter_ns().unwrap()));
        assert_eq!(flow(1).jitter_ns(), None);
    }
}
