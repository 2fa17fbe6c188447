//! The packet path: one received datagram, no allocation, a bounded number of steps.

use std::net::SocketAddr;

use moorline_rtp::{Kind, Rtcp, Rtp, kind};

use super::Relay;
use crate::address::Address;
use crate::flow::Role;
use crate::session::{Component, Session, other_leg, within};
use crate::source::Claim;
use crate::{DropReason, EndpointId, Traffic, Verdict};

/// A datagram that has been parsed, or that needs no parsing.
enum Media<'a> {
    Rtp(Rtp<'a>),
    Rtcp,
    Datagram,
}

impl Relay {
    /// Decides about one received datagram. Allocates nothing, and its time is bounded.
    ///
    /// An accepted packet counts for its stream, its latch and the media timeout even if there is nowhere to
    /// send it yet. Legs beyond the first two are accepted and counted, but heard by nobody.
    #[inline]
    pub fn packet(&mut self, now: u64, endpoint: EndpointId, source: SocketAddr, payload: &[u8]) -> Verdict {
        let Some(flow) = self.flows.get_mut(endpoint.0).filter(|flow| flow.role != Role::Unbound) else {
            return self.drop(DropReason::NoSession);
        };
        let media = match parse(flow.role, payload) {
            Ok(media) => media,
            Err(reason) => {
                flow.count_refused();
                return self.drop(reason);
            }
        };
        let source = Address::from(source);
        if (flow.source != source || !source.is_some())
            && let Err(reason) = self.admit(now, endpoint.0, source)
        {
            if let Some(flow) = self.flows.get_mut(endpoint.0) {
                flow.count_refused();
            }
            return self.drop(reason);
        }
        match media {
            Media::Rtp(rtp) => self.forward_rtp(now, endpoint.0, &rtp, payload.len()),
            Media::Rtcp => self.forward_rtcp(now, endpoint.0, payload.len()),
            Media::Datagram => self.forward_datagram(now, endpoint.0, payload.len()),
        }
    }

    #[inline]
    fn forward_rtp(&mut self, now: u64, endpoint: u32, rtp: &Rtp<'_>, length: usize) -> Verdict {
        let Some(flow) = self.flows.get_mut(endpoint) else { return self.drop(DropReason::NoSession) };
        flow.count_rtp(now, rtp, length);
        let way = (flow.from, flow.destination);
        self.forward(Traffic::Rtp, way, length)
    }

    fn forward_datagram(&mut self, now: u64, endpoint: u32, length: usize) -> Verdict {
        let Some(flow) = self.flows.get_mut(endpoint) else { return self.drop(DropReason::NoSession) };
        flow.count_datagram(now, length);
        let way = (flow.from, flow.destination);
        self.forward(Traffic::Udptl, way, length)
    }

    fn forward_rtcp(&mut self, now: u64, endpoint: u32, length: usize) -> Verdict {
        let Some(flow) = self.flows.get_mut(endpoint) else { return self.drop(DropReason::NoSession) };
        flow.count_rtcp(now);
        let way = if flow.role == Role::Rtcp {
            Some((flow.from, flow.destination))
        } else {
            // On a muxed port the flow knows RTP's way only; a look at the session every few seconds is cheap.
            let (slot, leg, stream) = (flow.session, flow.leg, flow.stream);
            other_leg(leg).and_then(|leg| self.session(slot)?.way_to(leg, stream, Component::Rtcp))
        };
        self.forward(Traffic::Rtcp, way.unwrap_or_default(), length)
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

    /// Asks the session's control state about a source that the flow does not know.
    #[cold]
    fn admit(&mut self, now: u64, endpoint: u32, source: Address) -> Result<(), DropReason> {
        let flow = self.flows.get(endpoint).ok_or(DropReason::NoSession)?;
        let (slot, leg, index) = (flow.session, flow.leg, flow.stream);
        let component = if flow.role == Role::Rtcp { Component::Rtcp } else { Component::Rtp };
        let session = self.session_mut(slot).ok_or(DropReason::NoSession)?;
        let latched = claim(now, session, leg, index, component, source)?;
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

    #[inline]
    fn drop(&mut self, reason: DropReason) -> Verdict {
        self.counters.dropped[reason.index()] += 1;
        Verdict::Drop(reason)
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
        if stream.latch.is_none() || latch.fixed().is_some() {
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
        Claim::Fix if within(&networks.sources, &source) => {
            let known = latch.heard() == source;
            latch.fix(source);
            if component == Component::Rtcp {
                return Ok(Latched::Quietly);
            }
            // RTCP comes from where RTP comes from: what was latched elsewhere was somebody else.
            stream.rtcp.retain(|rtcp| rtcp.same_ip(&source) || *rtcp == told_rtcp);
            Ok(if known { Latched::Quietly } else { Latched::Newly })
        }
        Claim::Fix | Claim::Refuse => Err(DropReason::Source),
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
            Ok(_) => Ok(Media::Rtcp),
            Err(_) => Err(DropReason::Malformed),
        },
        (Role::Datagrams, _) if payload.is_empty() => Err(DropReason::Malformed),
        (Role::Datagrams, _) => Ok(Media::Datagram),
        (Role::Unused, _) => Err(DropReason::UnusedPort),
        _ => Err(DropReason::NotRtp),
    }
}
