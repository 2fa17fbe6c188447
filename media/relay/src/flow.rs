//! The hot state: one flow per bound port, in two cache lines, with all that an ordinary packet needs.

use std::collections::VecDeque;

use moorline_rtp::{Jitter, Rtp, Sequence};

use crate::address::Address;
use crate::ceiling::Tokens;
use crate::guard::Guard;
use crate::statistics::{DEFAULT_CLOCK, PAUSE_NS, Totals};

mod elsewhere;
mod unusual;

/// What a bound port receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing: it is not bound.
    Unbound,
    /// RTP alone.
    Rtp,
    /// RTP and RTCP (RFC 5761).
    Muxed,
    /// RTCP alone.
    Rtcp,
    /// Any datagram (UDPTL).
    Datagrams,
    /// Nothing: the RTCP port of a stream without RTCP.
    Unused,
}

/// What arrives at one bound port, where it may come from and where it goes.
///
/// `source` and `destination` are worked out from the session's control state whenever that changes, so
/// that a packet from the right source touches nothing else.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Flow {
    /// Packets from here are accepted at once; from elsewhere the session's control state decides.
    pub(crate) source: Address,
    pub(crate) destination: Address,
    /// The local port that packets leave from.
    pub(crate) from: u32,
    pub(crate) session: u32,
    pub(crate) leg: u8,
    pub(crate) stream: u8,
    pub(crate) role: Role,
    /// The payload type of which another packet is nothing new, or [`NOTHING_USUAL`].
    usual: u8,
    /// The guard lets in packets of `ssrc` without being asked.
    pub(crate) settled: bool,
    /// Packets of this session may be relayed elsewhere.
    pub(crate) elsewhere: bool,
    /// When the last packet was accepted, save RTCP beside RTP; 0 for never.
    pub(crate) last_seen: u64,
    packets: u64,
    bytes: u64,
    pub(crate) tokens: Tokens,
    pub(crate) ssrc: u32,
    timestamp: u32,
    /// Of the last packet's timestamp, in Hz.
    clock: u32,
    /// The bytes of the last packet's payload.
    payload_length: u16,
    sequence: Sequence,
    jitter: Jitter,
}

/// No payload type: the next packet is looked at closer.
const NOTHING_USUAL: u8 = 0xff;

// Two cache lines: the port's state must not become a third miss per packet.
const _: () = assert!(size_of::<Flow>() == 128);
// What `load` touches lies in both.
const _: () = assert!(std::mem::offset_of!(Flow, from) < 64 && std::mem::offset_of!(Flow, packets) >= 64);

impl Flow {
    const UNBOUND: Flow = Flow::new(Role::Unbound, 0, 0, 0);

    pub(crate) const fn new(role: Role, session: u32, leg: u8, stream: u8) -> Flow {
        Flow {
            source: Address::NONE,
            destination: Address::NONE,
            from: 0,
            session,
            leg,
            stream,
            role,
            usual: NOTHING_USUAL,
            settled: false,
            elsewhere: false,
            last_seen: 0,
            packets: 0,
            bytes: 0,
            tokens: Tokens::NONE,
            ssrc: 0,
            timestamp: 0,
            clock: DEFAULT_CLOCK,
            payload_length: 0,
            sequence: Sequence::new(0),
            jitter: Jitter::new(0, 0),
        }
    }

    /// Has both lines loaded; answers the endpoint that packets leave from.
    #[inline]
    pub(crate) fn load(&self) -> u32 {
        std::hint::black_box(self.packets);
        self.from
    }

    /// Counts an accepted RTP packet that is nothing new: the next one of its source, of the same payload type, with
    /// no pause before it. False, and nothing is changed, for any other, which is for
    /// [`count_unusual`](Self::count_unusual).
    #[inline]
    pub(crate) fn count_usual(&mut self, now: u64, rtp: &Rtp<'_>, length: usize) -> bool {
        let known = rtp.ssrc() == self.ssrc && rtp.payload_type() == self.usual;
        if !known || now.saturating_sub(self.last_seen) >= PAUSE_NS || !self.sequence.receive_next(rtp.sequence()) {
            return false;
        }
        let timestamp = rtp.timestamp();
        // The packets of one video frame share a timestamp: their spacing is the sender's, not jitter.
        if timestamp != self.timestamp {
            let arrival = Jitter::arrival(now, self.clock);
            // More than a second is no jitter: timestamps began anew, or stood still during hold.
            if self.jitter.step(arrival, timestamp) > self.clock {
                self.jitter.rebase(arrival, timestamp);
            } else {
                self.jitter.receive(arrival, timestamp);
            }
            self.timestamp = timestamp;
        }
        self.count_datagram(now, length);
        // No datagram is longer than that.
        self.payload_length = rtp.payload().len() as u16;
        true
    }

    /// Counts an accepted datagram that is not looked into.
    #[inline]
    pub(crate) fn count_datagram(&mut self, now: u64, length: usize) {
        self.last_seen = now;
        self.packets += 1;
        self.bytes += length as u64;
    }

    /// What the payload types stand for may have changed: the next packet is looked at closer.
    pub(crate) fn forget_usual(&mut self) {
        self.usual = NOTHING_USUAL;
    }

    /// Adds this port's share to its stream's totals.
    fn add_to(&self, totals: &mut Totals) {
        if self.packets == 0 {
            return;
        }
        totals.packets += self.packets;
        totals.bytes += self.bytes;
        totals.lost += u64::from(self.sequence.lost());
        if self.role != Role::Datagrams {
            totals.rtp_packets += self.packets;
            totals.jitter_us = self.jitter.micros(self.clock);
        }
    }

    /// Adds this port's share to its stream's totals and counts anew, for packets of another profile. Where packets
    /// come from and go to, and when the last one came, stays.
    pub(crate) fn hand_over(&mut self, totals: &mut Totals) {
        self.add_to(totals);
        let counts_anew = Flow::new(self.role, self.session, self.leg, self.stream);
        let Flow { source, destination, from, last_seen, tokens, elsewhere, .. } = *self;
        *self = Flow { source, destination, from, last_seen, tokens, elsewhere, ..counts_anew };
    }
}

/// All flows of a shard, by endpoint, each with its guard.
pub(crate) struct Flows {
    flows: Vec<Flow>,
    guards: Vec<Guard>,
    /// Endpoints to give out again, the longest unused first.
    unused: VecDeque<u32>,
    bound: usize,
    limit: usize,
}

impl Flows {
    pub(crate) fn new(limit: usize) -> Flows {
        // Reserved now, touched as endpoints come into use: no packet waits for memory to be copied.
        let (flows, guards) = (Vec::with_capacity(limit), Vec::with_capacity(limit));
        Flows { flows, guards, unused: VecDeque::new(), bound: 0, limit }
    }

    /// The most endpoints.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many endpoints have ever been bound: all are below that.
    pub(crate) fn used(&self) -> usize {
        self.flows.len()
    }

    /// How many endpoints are bound.
    pub(crate) fn bound(&self) -> usize {
        self.bound
    }

    /// How many more can be bound.
    pub(crate) fn room(&self) -> usize {
        self.limit - self.bound
    }

    /// Takes an endpoint; `None` if all are bound.
    pub(crate) fn insert(&mut self, mut flow: Flow) -> Option<u32> {
        let (guard, tokens) = Guard::new();
        flow.tokens = tokens;
        let endpoint = match self.unused.pop_front() {
            Some(endpoint) => endpoint,
            None if self.flows.len() < self.limit => {
                self.flows.push(Flow::UNBOUND);
                self.guards.push(guard);
                u32::try_from(self.flows.len() - 1).ok()?
            }
            None => return None,
        };
        *self.flows.get_mut(endpoint as usize)? = flow;
        *self.guards.get_mut(endpoint as usize)? = guard;
        self.bound += 1;
        Some(endpoint)
    }

    /// Gives an endpoint back, and adds what it had received to its stream's totals.
    pub(crate) fn remove(&mut self, endpoint: u32, totals: &mut Totals) {
        self.add_to(endpoint, totals);
        if let Some(flow) = self.flows.get_mut(endpoint as usize).filter(|flow| flow.role != Role::Unbound) {
            *flow = Flow::UNBOUND;
            self.unused.push_back(endpoint);
            self.bound -= 1;
        }
    }

    /// Adds a port's share to its stream's totals.
    pub(crate) fn add_to(&self, endpoint: u32, totals: &mut Totals) {
        if let (Some(flow), Some(guard)) = (self.get(endpoint), self.guard(endpoint))
            && flow.role != Role::Unbound
        {
            flow.add_to(totals);
            totals.refused += guard.refused;
        }
    }

    /// When the last packet was accepted at a port; 0 for never.
    pub(crate) fn last_seen(&self, endpoint: u32) -> u64 {
        let media = self.get(endpoint).map_or(0, |flow| flow.last_seen);
        media.max(self.guard(endpoint).map_or(0, |guard| guard.rtcp_seen))
    }

    #[inline]
    pub(crate) fn get(&self, endpoint: u32) -> Option<&Flow> {
        self.flows.get(endpoint as usize)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, endpoint: u32) -> Option<&mut Flow> {
        self.flows.get_mut(endpoint as usize)
    }

    pub(crate) fn guard(&self, endpoint: u32) -> Option<&Guard> {
        self.guards.get(endpoint as usize)
    }

    pub(crate) fn guard_mut(&mut self, endpoint: u32) -> Option<&mut Guard> {
        self.guards.get_mut(endpoint as usize)
    }

    /// A flow and its guard.
    pub(crate) fn pair_mut(&mut self, endpoint: u32) -> Option<(&mut Flow, &mut Guard)> {
        Some((self.flows.get_mut(endpoint as usize)?, self.guards.get_mut(endpoint as usize)?))
    }
}
