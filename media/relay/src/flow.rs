//! The hot state: one flow per bound port, in two cache lines, with all that an ordinary packet needs.

use std::collections::VecDeque;

use moorline_control::StreamReport;
use moorline_rtp::{Jitter, Rtp, Sequence, Step, clock_rate};

use crate::address::Address;
use crate::ceiling::Tokens;
use crate::guard::Guard;

/// The clock that jitter is measured by where the payload type does not say one.
const DEFAULT_CLOCK: u32 = 8_000;

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
#[repr(align(64))]
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
    payload_type: u8,
    /// The guard lets in packets of `ssrc` without being asked.
    pub(crate) settled: bool,
    /// When the last packet was accepted, save RTCP beside RTP; 0 for never.
    pub(crate) last_seen: u64,
    packets: u64,
    bytes: u64,
    rtcp_packets: u64,
    pub(crate) tokens: Tokens,
    pub(crate) ssrc: u32,
    timestamp: u32,
    sequence: Sequence,
    jitter: Jitter,
    reordered: u32,
    /// Loss of the sources, and of the runs of numbers, before the current one.
    lost_before: u32,
}

// Two cache lines: the port's state must not become a third miss per packet.
const _: () = assert!(size_of::<Flow>() == 128);

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
            payload_type: 0,
            settled: false,
            last_seen: 0,
            packets: 0,
            bytes: 0,
            rtcp_packets: 0,
            tokens: Tokens::NONE,
            ssrc: 0,
            timestamp: 0,
            sequence: Sequence::new(0),
            jitter: Jitter::new(0, 0),
            reordered: 0,
            lost_before: 0,
        }
    }

    /// Counts an accepted RTP packet.
    #[inline]
    pub(crate) fn count_rtp(&mut self, now: u64, rtp: &Rtp<'_>, length: usize) {
        let first = self.packets == 0;
        self.last_seen = now;
        self.packets += 1;
        self.bytes += length as u64;
        let payload_type = rtp.payload_type();
        let rate = clock_rate(payload_type).unwrap_or(DEFAULT_CLOCK);
        let arrival = Jitter::arrival(now, rate);
        if first || rtp.ssrc() != self.ssrc {
            self.carry_loss(self.sequence.lost());
            self.ssrc = rtp.ssrc();
            self.sequence = Sequence::new(rtp.sequence());
            self.jitter = Jitter::new(arrival, rtp.timestamp());
        } else {
            self.follow(rtp, arrival, rate);
        }
        self.timestamp = rtp.timestamp();
        self.payload_type = payload_type;
    }

    /// Takes the next packet of the same source into loss and jitter.
    #[inline]
    fn follow(&mut self, rtp: &Rtp<'_>, arrival: u32, rate: u32) {
        let lost = self.sequence.lost();
        let step = self.sequence.receive(rtp.sequence());
        match step {
            Step::Late => self.reordered = self.reordered.saturating_add(1),
            Step::Restart => self.carry_loss(lost),
            Step::Forward { .. } | Step::Duplicate | Step::Jump => {}
        }
        let timestamp = rtp.timestamp();
        if timestamp == self.timestamp {
            // The packets of one telephone event or video frame share a timestamp: their spacing is the
            // sender's, not jitter.
            return;
        }
        let clock_changed = rate != clock_rate(self.payload_type).unwrap_or(DEFAULT_CLOCK);
        // More than a second is no jitter: timestamps began anew, or stood still during hold.
        if clock_changed || step == Step::Restart || self.jitter.step(arrival, timestamp) > rate {
            self.jitter.rebase(arrival, timestamp);
        } else {
            self.jitter.receive(arrival, timestamp);
        }
    }

    /// Counts an accepted datagram that is not looked into.
    #[inline]
    pub(crate) fn count_datagram(&mut self, now: u64, length: usize) {
        self.last_seen = now;
        self.packets += 1;
        self.bytes += length as u64;
    }

    fn carry_loss(&mut self, lost: i32) {
        self.lost_before = self.lost_before.saturating_add(u32::try_from(lost).unwrap_or(0));
    }

    /// Counts an accepted RTCP packet.
    #[inline]
    pub(crate) fn count_rtcp(&mut self) {
        self.rtcp_packets += 1;
    }

    /// Adds this port's share to its stream's report.
    pub(crate) fn add_to(&self, report: &mut StreamReport) {
        report.rtcp_packets += self.rtcp_packets;
        if self.packets > 0 {
            report.packets += self.packets;
            report.bytes += self.bytes;
            report.lost += u64::from(self.lost_before) + u64::try_from(self.sequence.lost()).unwrap_or(0);
            report.reordered += u64::from(self.reordered);
            if self.role != Role::Datagrams {
                report.jitter_us = self.jitter.micros(clock_rate(self.payload_type).unwrap_or(DEFAULT_CLOCK));
            }
        }
    }

    /// Adds this port's share to its stream's report and counts anew, for packets of another profile. Where
    /// packets come from and go to, and when the last one came, stays.
    pub(crate) fn hand_over(&mut self, report: &mut StreamReport) {
        self.add_to(report);
        let counts_anew = Flow::new(self.role, self.session, self.leg, self.stream);
        let Flow { source, destination, from, last_seen, tokens, .. } = *self;
        *self = Flow { source, destination, from, last_seen, tokens, ..counts_anew };
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

    /// Gives an endpoint back, and adds what it had received to its stream's report.
    pub(crate) fn remove(&mut self, endpoint: u32, report: &mut StreamReport) {
        self.add_to(endpoint, report);
        if let Some(flow) = self.flows.get_mut(endpoint as usize).filter(|flow| flow.role != Role::Unbound) {
            *flow = Flow::UNBOUND;
            self.unused.push_back(endpoint);
            self.bound -= 1;
        }
    }

    /// Adds a port's share to its stream's report.
    pub(crate) fn add_to(&self, endpoint: u32, report: &mut StreamReport) {
        if let (Some(flow), Some(guard)) = (self.get(endpoint), self.guard(endpoint))
            && flow.role != Role::Unbound
        {
            flow.add_to(report);
            report.refused += guard.refused;
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
