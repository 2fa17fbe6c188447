//! What went into Moorline on one flow, matched with what came out of it.

use std::collections::{HashMap, VecDeque};

use moorline_rtp::{Kind, Rtp, kind};

use super::packet::Datagram;
use super::report::Tally;

/// One direction of one stream of one call: the packets before and behind Moorline, in their order.
#[derive(Debug, Default)]
pub(super) struct Flow<'a> {
    pub(super) sent: Vec<Datagram<'a>>,
    pub(super) relayed: Vec<Datagram<'a>>,
}

/// What makes two packets the same one. For RTP not the payload, so that a changed payload is told from a
/// packet that nobody sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Identity<'a> {
    Rtp { ssrc: u32, sequence: u16, timestamp: u32 },
    Bytes(&'a [u8]),
}

impl<'a> Identity<'a> {
    pub(super) fn of(payload: &'a [u8]) -> Identity<'a> {
        match Rtp::parse(payload) {
            Ok(rtp) if kind(payload) == Kind::Rtp => {
                Identity::Rtp { ssrc: rtp.ssrc(), sequence: rtp.sequence(), timestamp: rtp.timestamp() }
            }
            _ => Identity::Bytes(payload),
        }
    }
}

impl<'a> Flow<'a> {
    /// Counts what became of the packets. `is_known` says whether somebody sent a packet in any flow.
    pub(super) fn judge(&self, tally: &mut Tally, is_known: impl Fn(&Identity<'a>) -> bool) {
        tally.sent += self.sent.len() as u64;
        tally.relayed += self.relayed.len() as u64;
        let mut waiting: HashMap<Identity<'_>, VecDeque<usize>> = HashMap::new();
        for (place, packet) in self.sent.iter().enumerate() {
            waiting.entry(Identity::of(packet.payload)).or_default().push_back(place);
        }
        let mut relayed_at: Vec<Option<u64>> = vec![None; self.sent.len()];
        let mut last_place = None;
        for packet in &self.relayed {
            let identity = Identity::of(packet.payload);
            let Some(places) = waiting.get_mut(&identity) else {
                *(if is_known(&identity) { &mut tally.crossed } else { &mut tally.unsent }) += 1;
                continue;
            };
            let Some(place) = places.pop_front() else {
                tally.duplicated += 1;
                continue;
            };
            let sent = &self.sent[place];
            tally.corrupted += u64::from(sent.payload != packet.payload);
            tally.reordered += u64::from(last_place > Some(place));
            last_place = last_place.max(Some(place));
            relayed_at[place] = Some(packet.at_ns);
            tally.transit.saturating_record(packet.at_ns.saturating_sub(sent.at_ns));
        }
        tally.lost += relayed_at.iter().filter(|at| at.is_none()).count() as u64;
        tally.interruption_ns = tally.interruption_ns.max(self.interruption(&relayed_at));
    }

    /// The longest time that the flow stood still behind Moorline beyond what it stood still before: for
    /// packets that were lost, the time in which they were sent; for packets that were held up, by how much
    /// the pause between two of them grew.
    fn interruption(&self, relayed_at: &[Option<u64>]) -> u64 {
        let mut longest = 0;
        let mut last: Option<(usize, u64)> = None;
        for (place, at) in relayed_at.iter().enumerate() {
            let Some(at) = *at else { continue };
            let previous = match last {
                Some((previous, previous_at)) => {
                    let pause_before = self.sent[place].at_ns.saturating_sub(self.sent[previous].at_ns);
                    longest = longest.max(at.saturating_sub(previous_at).saturating_sub(pause_before));
                    previous
                }
                None => 0,
            };
            if place > previous + 1 || (last.is_none() && place > 0) {
                longest = longest.max(self.sent[place].at_ns.saturating_sub(self.sent[previous].at_ns));
            }
            last = Some((place, at));
        }
        let from = last.map_or(0, |(place, _)| place);
        match (self.sent.get(from), self.sent.last()) {
            (Some(first), Some(end)) => longest.max(end.at_ns.saturating_sub(first.at_ns)),
            _ => longest,
        }
    }
}
