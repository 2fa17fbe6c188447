//! A small model of the program in the network driver: its rules, and the process's part of arming.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use moorline_rtp::{Jitter, Rtp, Sequence, Step};

use crate::EndpointId;
use crate::offload::{Arming, Offload, Passed, Seen, Stand, Way};

/// A flow that is taken back leaves at the first packet that comes so long after the one before.
const GRACE_NS: u64 = 200_000;
/// As the program counts ceilings.
const WINDOW_SHIFT: u32 = 28;

#[derive(Default)]
pub(in crate::tests) struct Program {
    flows: BTreeMap<EndpointId, Place>,
    /// No flow is taken.
    pub(super) full: bool,
    /// Packets dropped of flows that are drained.
    pub(super) dropped: usize,
}

#[derive(Default)]
struct Place {
    wish: bool,
    way: Option<Way>,
    armed: Option<u32>,
    told: Stand,
    passed: Passed,
    last_passed: u64,
    relaying: bool,
    /// What it has taken over or relays now.
    current: Option<Way>,
    seen: Seen,
    window: (u64, u32, u32),
    arming: Arming,
    drain_until: u64,
    /// Since when something is in flight whenever it is looked.
    kept_since: u64,
}

impl Offload for Program {
    fn tell(&mut self, endpoint: EndpointId, way: &Way) -> bool {
        if self.full {
            return false;
        }
        let place = self.flows.entry(endpoint).or_default();
        assert!(!place.wish, "told twice");
        // Disarmed: the first packet goes up.
        (place.wish, place.way, place.armed) = (true, Some(*way), None);
        place.arming.part();
        true
    }

    fn forget(&mut self, endpoint: EndpointId) {
        let place = self.flows.get_mut(&endpoint).expect("it was told");
        assert!(place.wish, "forgotten twice");
        place.wish = false;
    }

    fn seen(&mut self, endpoint: EndpointId) -> Option<Seen> {
        self.flows.get(&endpoint).filter(|place| place.way.is_some()).map(|place| place.seen)
    }
}

impl Program {
    /// A packet comes: the way that it is relayed, or `None` where it goes up.
    pub(super) fn packet(
        &mut self,
        now: u64,
        endpoint: EndpointId,
        source: SocketAddr,
        payload: &[u8],
    ) -> Option<(EndpointId, SocketAddr)> {
        // The port's place is there from when it is opened.
        let place = self.flows.entry(endpoint).or_default();
        if payload.len() < 12 || payload[0] >> 6 != 2 || (192..=223).contains(&payload[1]) || place.is_other(source) {
            return None;
        }
        let (mut unarmed, before) = (false, place.passed.count);
        let relayed = place.relay(now, source, payload, &mut unarmed);
        assert_eq!(place.passed.count, before);
        if unarmed && now < place.drain_until {
            self.dropped += 1;
            return None;
        }
        if relayed.is_none() {
            place.passed = Passed { count: place.passed.count.wrapping_add(1), last: *payload.first_chunk().unwrap() };
            (place.last_passed, place.relaying) = (now, false);
        }
        relayed
    }

    /// The process has received a packet that went up.
    pub(super) fn receive(&mut self, endpoint: EndpointId, source: SocketAddr, payload: &[u8]) {
        let place = self.flows.entry(endpoint).or_default();
        if !place.is_other(source) {
            place.arming.receive(payload);
        }
    }

    /// The process has dealt with all that it has received.
    pub(super) fn settle(&mut self, now: u64, endpoint: EndpointId, stand: Option<Stand>) {
        let Some(place) = self.flows.get_mut(&endpoint) else { return };
        let count = place.arming.settle(now, &place.passed);
        place.kept_since = match (count, place.wish) {
            (None, true) if place.kept_since != 0 => place.kept_since,
            (None, true) => now,
            _ => 0,
        };
        if let (Some(count), Some(stand)) = (count, stand) {
            (place.armed, place.told) = (Some(count), stand);
        }
    }

    /// Since when a flow has been kept from going over, and how it is drained.
    pub(super) fn kept(&mut self, endpoint: EndpointId) -> Option<(u64, &mut u64)> {
        let place = self.flows.get_mut(&endpoint)?;
        Some((place.kept_since, &mut place.drain_until)).filter(|(since, _)| *since != 0)
    }

    /// The port is closed: its flow goes to another port some time, with all that it has counted.
    pub(in crate::tests) fn close(&mut self, endpoint: EndpointId) {
        if let Some(place) = self.flows.get_mut(&endpoint) {
            (place.wish, place.way, place.armed, place.relaying) = (false, None, None, false);
        }
    }

    /// How many packets the program has passed up.
    pub(super) fn passed(&self) -> u32 {
        self.flows.values().map(|place| place.passed.count).sum()
    }
}

impl Place {
    /// Not the source of the flow: no part of what it waits for.
    fn is_other(&self, source: SocketAddr) -> bool {
        self.way.is_some_and(|way| way.source != source)
    }

    fn relay(
        &mut self,
        now: u64,
        source: SocketAddr,
        payload: &[u8],
        unarmed: &mut bool,
    ) -> Option<(EndpointId, SocketAddr)> {
        let leaving = self.relaying && now.saturating_sub(self.seen.last_seen) < GRACE_NS;
        if !self.wish && !leaving {
            return None;
        }
        let way = if leaving { self.current? } else { self.way? };
        let rtp = Rtp::parse(payload).ok()?;
        let pause = now.saturating_sub(self.seen.last_seen.max(self.last_passed));
        if source != way.source
            || rtp.ssrc() != way.ssrc
            || rtp.payload_type() != way.payload_type
            || pause >= Way::PAUSE_NS
        {
            return None;
        }
        let goes_on = self.relaying && self.current == Some(way);
        if !goes_on && self.armed != Some(self.passed.count) {
            *unarmed = true;
            return None;
        }
        let stand = if goes_on { self.seen.stand } else { self.told };
        let mut sequence = Sequence::new(0);
        sequence.resume(stand.highest, stand.came, 0, 0);
        let highest = stand.highest;
        let step = sequence.receive(rtp.sequence());
        if matches!(step, Step::Jump | Step::Restart) || !self.is_below(now, &way, payload.len()) {
            return None;
        }
        let mut jitter = Jitter::new(0, 0);
        jitter.resume(stand.transit, stand.jitter);
        let arrival = Jitter::arrival(now, way.clock);
        if rtp.timestamp() == stand.timestamp {
            // The packets of one video frame.
        } else if jitter.step(arrival, rtp.timestamp()) > way.clock {
            jitter.rebase(arrival, rtp.timestamp());
        } else {
            jitter.receive(arrival, rtp.timestamp());
        }
        if !goes_on && self.current != Some(way) {
            (self.seen.longest_gap_ns, self.seen.longest_gap_packets) = (0, 0);
        }
        let seen = &mut self.seen;
        match step {
            Step::Forward { skipped } if skipped > 0 => {
                seen.skipped = seen.skipped.wrapping_add(skipped.into());
                seen.gaps += 1;
                seen.longest_gap_packets = seen.longest_gap_packets.max(skipped.into());
                seen.longest_gap_ns = seen.longest_gap_ns.max(pause);
            }
            Step::Late => seen.late += 1,
            Step::Duplicate => seen.duplicates += 1,
            _ => {}
        }
        assert!(sequence.extended() >= highest);
        seen.stand = Stand {
            highest: sequence.extended(),
            came: sequence.came(),
            timestamp: rtp.timestamp(),
            transit: jitter.transit(),
            jitter: jitter.scaled(),
        };
        seen.packets += 1;
        seen.bytes += payload.len() as u64;
        (seen.last_seen, seen.last_length) = (now, payload.len() as u16);
        (self.relaying, self.current) = (true, Some(way));
        Some((way.from, way.to))
    }

    fn is_below(&mut self, now: u64, way: &Way, length: usize) -> bool {
        let share = |per_s: u32| ((u64::from(per_s) << WINDOW_SHIFT) / 1_000_000_000).max(1) as u32;
        let window = now >> WINDOW_SHIFT;
        if self.window.0 != window {
            self.window = (window, 0, 0);
        }
        let (packets, bytes) = (self.window.1 + 1, self.window.2 + length as u32);
        let below = packets <= share(way.ceiling.packets_per_s) && bytes <= share(way.ceiling.bytes_per_s);
        if below {
            self.window = (window, packets, bytes);
        }
        below
    }
}
