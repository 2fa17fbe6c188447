//! Flows that are relayed elsewhere: which, since when, and what was seen of them there.
//!
//! ```text
//!             looked at while it speaks                wired anew, or its session closes
//!   Here --------------------------------> Told --------------------------------------------> Here
//!                                          |  ^
//!                                          +--+ a packet is passed up: what was seen is merged before it counts
//! ```

use std::collections::VecDeque;

use moorline_control::SessionId;

use super::Relay;
use crate::offload::{Seen, Stand, Way};
use crate::{EndpointId, Offload, Ports, Verdict};

/// How often each flow is looked at.
const LOOK_NS: u64 = 500_000_000;
/// Flows looked at in one slice: some microseconds.
const FLOWS_PER_SLICE: usize = 64;

/// What is known of flows elsewhere; of no use, and empty, until [`Relay::offload_from`] is called.
#[derive(Default)]
pub(super) struct Offers {
    /// When the next slice of the round is due; `None` while nothing is relayed elsewhere.
    due: Option<u64>,
    /// When the round began, and the endpoint to go on with.
    begun: u64,
    next: u32,
    /// By endpoint, as far as flows were looked at.
    offers: Vec<Offer>,
    /// How many of those are told.
    told: u64,
    /// Endpoints that were told and have changed since, each once. Room for all is reserved.
    changed: VecDeque<u32>,
}

#[derive(Clone, Copy, Default)]
struct Offer {
    told: Option<Way>,
    /// It was told since it was bound, so that something may have been seen.
    known: bool,
    /// It is among those that have changed.
    changed: bool,
    /// What has been merged.
    merged: Seen,
}

impl Relay {
    /// Flows are told to an [`Offload`] from now on.
    pub fn offload_from(&mut self, now: u64) {
        let limit = self.flows.limit();
        self.offers = Offers {
            due: Some(now),
            begun: now,
            next: 0,
            // Reserved, so that the packet path does not allocate; touched as endpoints come into use.
            offers: Vec::with_capacity(limit),
            told: 0,
            changed: VecDeque::with_capacity(limit),
        };
    }

    /// As [`packet`](Self::packet), where flows may be relayed elsewhere.
    #[inline]
    pub fn packet_beside(
        &mut self,
        now: u64,
        endpoint: EndpointId,
        source: std::net::SocketAddr,
        payload: &[u8],
        offload: &mut impl Offload,
    ) -> Verdict {
        if let Some(flow) = self.flows.get(endpoint.0).filter(|flow| flow.elsewhere) {
            let slot = flow.session;
            self.merge_session(slot, offload);
        }
        let verdict = self.packet(now, endpoint, source, payload);
        if !self.offers.changed.is_empty() {
            self.take_back(offload);
        }
        verdict
    }

    /// Where a flow stands that may go over after the packets that were handed in at `now`; `None` for one that was not
    /// told, whose next packets are still to be looked at closer, or that none of those packets were of.
    pub fn stand(&self, now: u64, endpoint: EndpointId) -> Option<Stand> {
        let told = self.offers.offers.get(endpoint.0 as usize)?.told.as_ref()?;
        self.flows.get(endpoint.0)?.stand(now, told)
    }

    /// Merges what was seen of a session elsewhere: what is asked of it then is up to date.
    pub fn catch_up(&mut self, session: SessionId, offload: &mut dyn Offload) {
        if let Some(&slot) = self.by_id.get(&session) {
            self.merge_session(slot, offload);
        }
    }

    /// When flows are to be looked at.
    pub(super) fn next_look_elsewhere(&self) -> Option<u64> {
        self.offers.due
    }

    /// Looks at a slice of the flows: merges what was seen of them, and tells those that have settled.
    pub(super) fn look_elsewhere(&mut self, now: u64, ports: &mut impl Ports) {
        if self.offers.due.is_none_or(|due| due > now) {
            return;
        }
        let Some(offload) = ports.offload() else {
            self.offers.due = None;
            return;
        };
        let used = self.flows.used();
        self.offers.offers.resize(used.max(self.offers.offers.len()), Offer::default());
        let begin = self.offers.next as usize;
        let end = (begin + FLOWS_PER_SLICE).min(used);
        for endpoint in begin..end {
            self.look_at(now, endpoint as u32, offload);
        }
        let round_is_over = end >= used;
        self.offers.next = if round_is_over { 0 } else { end as u32 };
        if round_is_over {
            // From its beginning, but never at once again.
            self.offers.begun = self.offers.begun.saturating_add(LOOK_NS).max(now.saturating_add(LOOK_NS / 2));
        }
        self.offers.due = Some(if round_is_over { self.offers.begun } else { now });
    }

    fn look_at(&mut self, now: u64, endpoint: u32, offload: &mut dyn Offload) {
        self.merge(endpoint, offload);
        let (way, told) = (self.way_of(now, endpoint), self.offers.way(endpoint));
        match (way, told) {
            (Some(way), None) => self.tell_elsewhere(endpoint, way, offload),
            // Told anew at the next look: by then nothing goes the former way.
            (Some(way), Some(told)) if way != told || !offload.keeps(EndpointId(endpoint)) => {
                offload.forget(EndpointId(endpoint));
                self.offers.take(endpoint);
            }
            // One that pauses, or of which another packet is to be looked at, may go on in its way.
            _ => {}
        }
    }

    /// The way of a flow that speaks and is settled.
    fn way_of(&self, now: u64, endpoint: u32) -> Option<Way> {
        let (flow, guard) = (self.flows.get(endpoint)?, self.flows.guard(endpoint)?);
        if guard.one_ssrc && !flow.settled {
            return None;
        }
        let way = flow.way(now, guard.media.ceiling())?;
        // The program cannot make IPv6 of IPv4.
        (way.source.is_ipv4() == way.to.is_ipv4()).then_some(way)
    }

    fn tell_elsewhere(&mut self, endpoint: u32, way: Way, offload: &mut dyn Offload) {
        if !offload.tell(EndpointId(endpoint), &way) {
            return;
        }
        let seen = offload.seen(EndpointId(endpoint)).unwrap_or_default();
        if let Some(offer) = self.offers.get_mut(endpoint) {
            // Of another call, before the port was bound, or merged already.
            (offer.told, offer.known, offer.merged) = (Some(way), true, seen);
        }
        self.offers.told += 1;
        let Some(slot) = self.flows.get(endpoint).map(|flow| flow.session) else { return };
        let session = self.sessions.get(slot as usize).and_then(Option::as_deref);
        for end in session.into_iter().flat_map(|session| session.ends()).flat_map(|ends| [ends.rtp, ends.rtcp]) {
            if let Some(flow) = self.flows.get_mut(end) {
                flow.elsewhere = true;
            }
        }
    }

    /// Merges what was seen of all flows of a session.
    #[cold]
    #[inline(never)]
    pub(super) fn merge_session(&mut self, slot: u32, offload: &mut dyn Offload) {
        let Some(session) = self.session(slot) else { return };
        let (legs, width) = (session.legs.len() as u8, session.width() as u8);
        for position in 0..legs {
            for index in 0..width {
                let session = self.sessions.get(slot as usize).and_then(Option::as_deref);
                if let Some(ends) = session.and_then(|session| session.stream(position, index)?.ends) {
                    self.merge(ends.rtp, offload);
                }
            }
        }
    }

    /// Merges what was seen of a flow.
    fn merge(&mut self, endpoint: u32, offload: &mut dyn Offload) {
        let Some(offer) = self.offers.get_mut(endpoint).filter(|offer| offer.known) else { return };
        let Some(seen) = offload.seen(EndpointId(endpoint)).filter(|seen| *seen != offer.merged) else { return };
        let before = std::mem::replace(&mut offer.merged, seen);
        let (packets, bytes) = (seen.packets.wrapping_sub(before.packets), seen.bytes.wrapping_sub(before.bytes));
        self.counters.elsewhere.packets += packets;
        self.counters.elsewhere.bytes += bytes;
        let Some(flow) = self.flows.get_mut(endpoint) else { return };
        let session = self.sessions.get_mut(flow.session as usize).and_then(Option::as_deref_mut);
        let Some(stream) = session.and_then(|session| session.stream_mut(flow.leg, flow.stream)) else { return };
        flow.merge(&before, &seen, &mut stream.statistics);
    }

    /// Takes all flows of a session back, and merges what was seen of them.
    pub(super) fn take_session_back(&mut self, slot: u32, ports: &mut impl Ports) {
        let Some(offload) = ports.offload() else { return };
        let Some(session) = self.sessions.get(slot as usize).and_then(Option::as_deref) else { return };
        for ends in session.ends() {
            if self.offers.take(ends.rtp) {
                offload.forget(EndpointId(ends.rtp));
            }
        }
        self.merge_session(slot, offload);
    }

    /// Takes back those that have changed since they were told.
    #[cold]
    pub(super) fn take_back(&mut self, offload: &mut dyn Offload) {
        while let Some(endpoint) = self.offers.changed.pop_front() {
            if let Some(offer) = self.offers.get_mut(endpoint) {
                offer.changed = false;
            }
            if self.offers.take(endpoint) {
                offload.forget(EndpointId(endpoint));
            }
        }
    }
}

impl Offers {
    fn get_mut(&mut self, endpoint: u32) -> Option<&mut Offer> {
        self.offers.get_mut(endpoint as usize)
    }

    fn way(&self, endpoint: u32) -> Option<Way> {
        self.offers.get(endpoint as usize)?.told
    }

    /// True if the endpoint was told; it is no longer.
    fn take(&mut self, endpoint: u32) -> bool {
        let taken = self.get_mut(endpoint).is_some_and(|offer| offer.told.take().is_some());
        self.told -= u64::from(taken);
        taken
    }

    /// How many flows are told.
    pub(super) fn count(&self) -> u64 {
        self.told
    }

    /// The endpoint's sources or destination were worked out anew.
    pub(super) fn note_change(&mut self, endpoint: u32) {
        let Some(offer) = self.offers.get_mut(endpoint as usize) else { return };
        if offer.told.is_some() && !std::mem::replace(&mut offer.changed, true) {
            self.changed.push_back(endpoint);
        }
    }

    /// The endpoint is unbound: what was seen of it says nothing of the next one.
    pub(super) fn unbind(&mut self, endpoint: u32) {
        self.take(endpoint);
        if let Some(offer) = self.get_mut(endpoint) {
            *offer = Offer { changed: offer.changed, ..Offer::default() };
        }
    }
}
