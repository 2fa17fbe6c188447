//! The packet path: one received datagram, no allocation, a bounded number of steps.

use std::net::SocketAddr;

use moorline_rtp::{Kind, Rtcp, Rtp, kind};

use super::Relay;
use crate::address::Address;
use crate::ceiling::Excess;
use crate::flow::{Flow, Role};
use crate::session::{Component, Session, other_leg, within};
use crate::source::Claim;
use crate::{DropReason, EndpointId, Traffic, Verdict};

/// A datagram that has been parsed, or that needs no parsing.
enum Media<'a> {
    Rtp(Rtp<'a>),
    Rtcp(Rtcp<'a>),
    Datagram,
    Stun,
}

impl Relay {
    /// Decides about one received datagram. Allocates nothing, and its time is bounded.
    ///
    /// An accepted packet counts for its stream, its latch and the media timeout even if there is nowhere to
    /// send it yet. Legs beyond the first two are accepted and counted, but heard by nobody.
    #[inline]
    pub fn packet(&mut self, now: u64, endpoint: EndpointId, source: SocketAddr, payload: &[u8]) -> Verdict {
        let endpoint = endpoint.0;
        let Some(flow) = self.flows.get_mut(endpoint).filter(|flow| flow.role != Role::Unbound) else {
            return self.drop(DropReason::NoSession);
        };
        let source = Address::from(source);
        let expected = flow.source == source && source.is_some();
        let verdict = match parse(flow.role, payload) {
            Ok(Media::Rtp(rtp)) if expected && flow.settled && flow.ssrc == rtp.ssrc() => {
                self.forward_rtp(now, endpoint, &rtp, payload.len())
            }
            Ok(Media::Rtp(rtp)) => self
                .examine_rtp(now, endpoint, source, &rtp)
                .and_then(|()| self.forward_rtp(now, endpoint, &rtp, payload.len())),
            Ok(Media::Rtcp(rtcp)) => self.forward_rtcp(now, endpoint, source, &rtcp, payload.len()),
            Ok(Media::Datagram) if expected => self.forward_datagram(now, endpoint, payload.len()),
            Ok(Media::Datagram) => self
                .admit(now, endpoint, source, true)
                .and_then(|()| self.forward_datagram(now, endpoint, payload.len())),
            Ok(Media::Stun) => self.forward_stun(now, endpoint, source, payload.len()),
            Err(reason) => Err(reason),
        };
        verdict.unwrap_or_else(|reason| self.refuse(endpoint, reason))
    }

    /// A packet to this endpoint will be handed in soon: has the memory loaded that an ordinary one takes, and waits for
    /// nothing. Answers the endpoint that it will leave by, as things are. To be asked for several before the first is
    /// handed in, so that the memory serves all at once.
    #[inline]
    pub fn load(&self, endpoint: EndpointId) -> EndpointId {
        EndpointId(self.flows.get(endpoint.0).map_or(0, Flow::load))
    }

    #[inline]
    fn forward_rtp(&mut self, now: u64, endpoint: u32, rtp: &Rtp<'_>, length: usize) -> Result<Verdict, DropReason> {
        self.charge(now, endpoint, length)?;
        let flow = self.flows.get_mut(endpoint).ok_or(DropReason::NoSession)?;
        let way = (flow.from, flow.destination);
        if !flow.count_usual(now, rtp, length) {
            self.observe_rtp(now, endpoint, rtp, length);
        }
        Ok(self.forward(Traffic::Rtp, way, length))
    }

    fn forward_datagram(&mut self, now: u64, endpoint: u32, length: usize) -> Result<Verdict, DropReason> {
        self.charge(now, endpoint, length)?;
        let flow = self.flows.get_mut(endpoint).ok_or(DropReason::NoSession)?;
        flow.count_datagram(now, length);
        let way = (flow.from, flow.destination);
        Ok(self.forward(Traffic::Udptl, way, length))
    }

    fn forward_rtcp(
        &mut self,
        now: u64,
        endpoint: u32,
        source: Address,
        rtcp: &Rtcp<'_>,
        length: usize,
    ) -> Result<Verdict, DropReason> {
        let flow = self.flows.get(endpoint).ok_or(DropReason::NoSession)?;
        let (role, way, slot, leg, index) =
            (flow.role, (flow.from, flow.destination), flow.session, flow.leg, flow.stream);
        let expected = flow.source == source && source.is_some();
        let rtp =
            self.session(slot).and_then(|session| session.stream(leg, index)?.ends).ok_or(DropReason::NoSession)?;
        let media = self.flows.guard(rtp.rtp).ok_or(DropReason::NoSession)?.ssrc;
        let heard = self.flows.get(rtp.rtp).map_or(0, |flow| flow.last_seen);
        let reporter = self.flows.guard(endpoint).and_then(|guard| guard.reporter(now, &media, heard, rtcp));
        if !expected {
            self.admit(now, endpoint, source, reporter.is_some())?;
        }
        let reporter = reporter.ok_or(DropReason::Ssrc)?;
        let guard = self.flows.guard_mut(endpoint).ok_or(DropReason::NoSession)?;
        if !guard.rtcp_tokens.take(length) {
            guard.rtcp.refill(now, &mut guard.rtcp_tokens, length)?;
        }
        guard.hear_reporter(now, reporter);
        let way = if role == Role::Rtcp {
            Some(way)
        } else {
            // On a muxed port the flow knows RTP's way only; a look at the session every few seconds is cheap.
            other_leg(leg).and_then(|leg| self.session(slot)?.way_to(leg, index, Component::Rtcp))
        };
        let way = way.unwrap_or_default();
        self.observe_rtcp(now, (slot, leg, index), rtcp, way.1.is_some());
        Ok(self.forward(Traffic::Rtcp, way, length))
    }

    /// STUN from where the party's media comes from, where its stream relays it. It settles no latch, and is not
    /// counted for the stream: whoever keeps a NAT open says nothing yet.
    #[cold]
    fn forward_stun(&mut self, now: u64, endpoint: u32, source: Address, length: usize) -> Result<Verdict, DropReason> {
        let flow = self.flows.get(endpoint).ok_or(DropReason::NoSession)?;
        let (slot, leg, index, role) = (flow.session, flow.leg, flow.stream, flow.role);
        let way = (flow.from, flow.destination);
        if !self.flows.guard(endpoint).is_some_and(|guard| guard.stun) {
            return Err(DropReason::Stun);
        }
        if flow.source != source || !source.is_some() {
            let stream = self.session(slot).and_then(|session| session.stream(leg, index));
            let stream = stream.ok_or(DropReason::NoSession)?;
            if !source.is_some() || source != stream.told(component_of(role)) {
                return Err(DropReason::Source);
            }
            if !within(&stream.sources, &source) {
                return Err(DropReason::SourceNetwork);
            }
        }
        self.charge(now, endpoint, length)?;
        Ok(self.forward(Traffic::Stun, way, length))
    }

    /// Charges a packet to its stream's ceiling.
    #[inline]
    fn charge(&mut self, now: u64, endpoint: u32, length: usize) -> Result<(), DropReason> {
        let flow = self.flows.get_mut(endpoint).ok_or(DropReason::NoSession)?;
        if flow.tokens.take(length) {
            return Ok(());
        }
        let (flow, guard) = self.flows.pair_mut(endpoint).ok_or(DropReason::NoSession)?;
        Ok(guard.media.refill(now, &mut flow.tokens, length)?)
    }

    /// Looks closer at an RTP packet of which the flow does not know both the source and the SSRC.
    #[inline(never)]
    fn examine_rtp(&mut self, now: u64, endpoint: u32, source: Address, rtp: &Rtp<'_>) -> Result<(), DropReason> {
        let (flow, guard) = self.flows.pair_mut(endpoint).ok_or(DropReason::NoSession)?;
        let (ssrc, heard) = (rtp.ssrc(), flow.last_seen);
        if flow.source != source || !source.is_some() {
            let plausible = !guard.one_ssrc || guard.ssrc.is_plausible(now, heard, ssrc);
            self.admit(now, endpoint, source, plausible)?;
        }
        let (flow, guard) = self.flows.pair_mut(endpoint).ok_or(DropReason::NoSession)?;
        if !guard.one_ssrc {
            return Ok(());
        }
        let admitted = guard.ssrc.admit(now, heard, ssrc, rtp.sequence());
        flow.settled = guard.ssrc.settled() == Some(flow.ssrc);
        if admitted { Ok(()) } else { Err(DropReason::Ssrc) }
    }

    /// The verdict on an accepted packet that goes this way; to no address, nowhere.
    #[inline]
    fn forward(&mut self, traffic: Traffic, (from, to): (u32, Address), length: usize) -> Verdict {
        match to.get() {
            Some(to) => {
                let relayed = &mut self.counters.relayed[traffic.index()];
                relayed.packets += 1;
                relayed.bytes += length as u64;
                Verdict::Forward { from: EndpointId(from), to, traffic }
            }
            None => self.drop(DropReason::NoDestination),
        }
    }

    /// Asks the session's control state about a source that the flow does not know. Only a plausible packet moves
    /// a latch: one that may be of the party by what it says itself.
    #[cold]
    fn admit(&mut self, now: u64, endpoint: u32, source: Address, plausible: bool) -> Result<(), DropReason> {
        let flow = self.flows.get(endpoint).ok_or(DropReason::NoSession)?;
        let (slot, leg, index) = (flow.session, flow.leg, flow.stream);
        let component = component_of(flow.role);
        let session = self.session_mut(slot).ok_or(DropReason::NoSession)?;
        let latched = claim(now, session, leg, index, component, source, plausible)?;
        match latched {
            Latched::No => return Ok(()),
            Latched::Quietly => {}
            Latched::Newly => {
                session.untold_latches |= 1 << (u32::from(leg) * 8 + u32::from(index));
                self.counters.latched += 1;
                self.tell(slot);
            }
        }
        self.wire(slot, index);
        Ok(())
    }

    /// Forgets a packet that came to a stream, and counts it there too.
    #[cold]
    fn refuse(&mut self, endpoint: u32, reason: DropReason) -> Verdict {
        if let Some(guard) = self.flows.guard_mut(endpoint) {
            guard.refused += 1;
        }
        self.drop(reason)
    }

    #[inline]
    fn drop(&mut self, reason: DropReason) -> Verdict {
        self.counters.dropped[reason.index()] += 1;
        Verdict::Drop(reason)
    }
}

fn component_of(role: Role) -> Component {
    if role == Role::Rtcp { Component::Rtcp } else { Component::Rtp }
}

impl From<Excess> for DropReason {
    fn from(excess: Excess) -> DropReason {
        match excess {
            Excess::Packets => DropReason::Rate,
            Excess::Bytes => DropReason::Bandwidth,
        }
    }
}

/// What accepting a packet did to the latch.
enum Latched {
    No,
    /// It holds the address that the party had said.
    Quietly,
    /// The client must be told.
    Newly,
}

fn claim(
    now: u64,
    session: &mut Session,
    leg: u8,
    index: u8,
    component: Component,
    source: Address,
    plausible: bool,
) -> Result<Latched, DropReason> {
    let stream = session.stream_mut(leg, index).ok_or(DropReason::NoSession)?;
    if !source.is_some() {
        return Err(DropReason::Source);
    }
    if !within(&stream.sources, &source) {
        return Err(DropReason::SourceNetwork);
    }
    let (rtp_fixed, told, told_rtcp) = (stream.rtp.fixed(), stream.told(component), stream.told(Component::Rtcp));
    let latch = match component {
        Component::Rtp => &mut stream.rtp,
        Component::Rtcp => &mut stream.rtcp,
    };
    if source == told {
        // The SDP's own address is always right, and settles an open latch.
        if stream.latch.is_none() || latch.fixed().is_some() || !plausible {
            return Ok(Latched::No);
        }
        latch.fix(source);
        if component == Component::Rtp {
            stream.rtcp.retain(|rtcp| rtcp.same_ip(&source) || *rtcp == told_rtcp);
        }
        return Ok(Latched::Quietly);
    }
    let networks = stream.latch.as_ref().ok_or(DropReason::Source)?;
    if component == Component::Rtcp && rtp_fixed.is_some() && !rtp_fixed.same_ip(&source) {
        return Err(DropReason::Source);
    }
    match latch.claim(now, source) {
        Claim::Accept => Ok(Latched::No),
        Claim::Refuse => Err(DropReason::Source),
        Claim::Fix if !within(&networks.sources, &source) => Err(DropReason::Source),
        Claim::Fix if !plausible => Err(DropReason::Ssrc),
        Claim::Fix => {
            let known = latch.heard() == source;
            latch.fix(source);
            if component == Component::Rtcp {
                return Ok(Latched::Quietly);
            }
            // RTCP comes from where RTP comes from: what was latched elsewhere was somebody else.
            stream.rtcp.retain(|rtcp| rtcp.same_ip(&source) || *rtcp == told_rtcp);
            Ok(if known { Latched::Quietly } else { Latched::Newly })
        }
    }
}

/// What arrived, by the port it arrived at.
#[inline]
fn parse(role: Role, payload: &[u8]) -> Result<Media<'_>, DropReason> {
    let rtp = || Rtp::parse(payload).map(Media::Rtp).map_err(|_| DropReason::Malformed);
    match (role, kind(payload)) {
        (Role::Rtp | Role::Muxed, Kind::Rtp) => rtp(),
        // Without RTCP on the port, payload types 64 to 95 with the marker are RTP, except where the byte is
        // a packet type that RTCP really uses (RFC 3550 section 12.1).
        (Role::Rtp, Kind::Rtcp) if !matches!(payload.get(1), Some(192..=195 | 200..=213)) => rtp(),
        (Role::Muxed | Role::Rtcp, Kind::Rtcp) => match Rtcp::parse(payload) {
            Ok(rtcp) => Ok(Media::Rtcp(rtcp)),
            Err(_) => Err(DropReason::Malformed),
        },
        (Role::Datagrams, _) if payload.is_empty() => Err(DropReason::Malformed),
        (Role::Datagrams, _) => Ok(Media::Datagram),
        (Role::Unused, _) => Err(DropReason::UnusedPort),
        (_, Kind::Stun) => Ok(Media::Stun),
        (_, Kind::Dtls) => Err(DropReason::Dtls),
        _ => Err(DropReason::NotRtp),
    }
}
