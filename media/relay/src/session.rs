//! The control state of a session: what its client has said, what it holds, and where its media goes.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use moorline_control::{Ceiling, Latch, LocalAddresses, LocalSession, Play, Played, Profile, SessionId, StreamSpec};

use crate::address::Address;
use crate::pool::Pair;
use crate::source::{Cause, Source};
use crate::statistics::Statistics;

const NANOS_PER_MS: u64 = 1_000_000;

/// One open session.
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// The connection that opened or claimed it, alive or not.
    pub(crate) owner: u64,
    pub(crate) opened_at: u64,
    /// The virtual shard that its ports come from.
    pub(crate) virtual_shard: u8,
    pub(crate) legs: Vec<Leg>,
    pub(crate) snapshot: Vec<u8>,
    pub(crate) watch: Watch,
    /// Streams whose latch is still to be told of, one bit each.
    pub(crate) untold_latches: u32,
    pub(crate) untold_timeout: bool,
    /// Streams whose announcement is over and still to be told of, as those.
    pub(crate) untold_plays: u32,
}

/// The media timeout of a session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Watch {
    /// 0 while not watched.
    pub(crate) timeout_ns: u64,
    /// Silence counts from here at the earliest.
    pub(crate) since: u64,
    /// When the next look is due; `None` while not watched, and once said.
    pub(crate) due: Option<u64>,
}

/// One party's side.
#[derive(Default)]
pub(crate) struct Leg {
    /// The range's position in the configuration.
    pub(crate) range: usize,
    pub(crate) streams: Vec<Stream>,
}

/// One stream of a leg.
#[derive(Default)]
pub(crate) struct Stream {
    pub(crate) ends: Option<Ends>,
    /// Where the party receives, as it last said; kept during hold.
    pub(crate) told_rtp: Address,
    pub(crate) told_rtcp: Address,
    /// The party wants nothing sent for now (an address of zeros).
    pub(crate) held: bool,
    pub(crate) profile: Profile,
    /// RTCP comes to the RTP port.
    pub(crate) mux: bool,
    pub(crate) latch: Option<Latch>,
    /// How often the client has said that the party may have moved.
    pub(crate) relatch: u32,
    pub(crate) sources: Vec<IpNet>,
    pub(crate) ceiling: Option<Ceiling>,
    pub(crate) one_ssrc: bool,
    pub(crate) stun: bool,
    pub(crate) rtp: Source,
    pub(crate) rtcp: Source,
    /// No packets are expected from the party.
    pub(crate) quiet: bool,
    pub(crate) statistics: Statistics,
    pub(crate) playing: Option<Box<Playing>>,
}

/// An announcement to the party of a stream.
#[derive(Debug)]
pub(crate) struct Playing {
    /// As it was asked for.
    pub(crate) play: Play,
    /// Who plays it, until it is over.
    pub(crate) player: Option<u32>,
    /// How far it came, once it is over.
    pub(crate) played: Played,
}

/// The ports that an active stream holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    pub(crate) pair: Pair,
    pub(crate) rtp: u32,
    pub(crate) rtcp: u32,
    pub(crate) advertised: Option<IpAddr>,
}

/// Which of a stream's two ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Component {
    Rtp,
    Rtcp,
}

impl Session {
    pub(crate) fn local(&self) -> LocalSession {
        let leg = |leg: &Leg| leg.streams.iter().map(|stream| stream.ends.as_ref().map(Ends::local)).collect();
        LocalSession { legs: self.legs.iter().map(leg).collect() }
    }

    pub(crate) fn stream(&self, leg: u8, stream: u8) -> Option<&Stream> {
        self.legs.get(usize::from(leg))?.streams.get(usize::from(stream))
    }

    pub(crate) fn stream_mut(&mut self, leg: u8, stream: u8) -> Option<&mut Stream> {
        self.legs.get_mut(usize::from(leg))?.streams.get_mut(usize::from(stream))
    }

    /// The ports of all streams.
    pub(crate) fn ends(&self) -> impl Iterator<Item = &Ends> {
        self.legs.iter().flat_map(|leg| &leg.streams).filter_map(|stream| stream.ends.as_ref())
    }

    /// The most streams in a leg.
    pub(crate) fn width(&self) -> usize {
        self.legs.iter().map(|leg| leg.streams.len()).max().unwrap_or(0)
    }

    /// The local port and the remote address that one of a stream's components is sent by, or `None` if the
    /// party cannot be sent to.
    pub(crate) fn way_to(&self, leg: u8, stream: u8, component: Component) -> Option<(u32, Address)> {
        let stream = self.stream(leg, stream)?;
        let ends = stream.ends.as_ref()?;
        if component == Component::Rtcp && !stream.has_rtcp() {
            return None;
        }
        let endpoint = if component == Component::Rtp || stream.mux { ends.rtp } else { ends.rtcp };
        let to = Some(stream.destination(component)).filter(Address::is_some)?;
        // A party that names a port of the session as its own would get packets that never stop.
        let own = |ends: &Ends| to == Address::from(ends.pair.rtp) || to == Address::from(ends.pair.rtcp());
        (to.ip().is_ipv4() == ends.pair.rtp.is_ipv4() && !self.ends().any(own)).then_some((endpoint, to))
    }
}

/// The leg that hears what a leg says. Legs beyond the first two are kept and counted, but hear nothing yet.
pub(crate) fn other_leg(leg: u8) -> Option<u8> {
    match leg {
        0 => Some(1),
        1 => Some(0),
        _ => None,
    }
}

impl Stream {
    /// Takes over what the client says of the stream now; its ports are not touched. True if the party receives
    /// elsewhere than before.
    pub(crate) fn apply(&mut self, now: u64, spec: StreamSpec) -> bool {
        let told = spec.remote_rtp.map(Address::from).unwrap_or_default();
        let told_rtcp = match spec.remote_rtcp {
            Some(address) if !is_nowhere(address) => Address::from(address),
            _ => told.next_port(),
        };
        self.held = spec.remote_rtp.is_some_and(is_nowhere);
        self.profile = spec.profile;
        self.mux = spec.rtcp_mux && self.has_rtcp();
        self.sources = spec.sources;
        (self.quiet, self.statistics.formats) = (spec.quiet, spec.formats);
        (self.ceiling, self.one_ssrc, self.stun) = (spec.ceiling, spec.one_ssrc, spec.stun);
        let networks = |latch| Option::map(latch, |latch: &Latch| &latch.sources);
        // From a new signaling address, or after a re-INVITE that says the same SDP as before, the party may
        // send from elsewhere.
        let doubted = spec.relatch != self.relatch || networks(self.latch.as_ref()) != networks(spec.latch.as_ref());
        self.relatch = spec.relatch;
        self.latch = spec.latch;
        let answered = !self.told_rtp.is_some();
        let moved = !self.held && told != self.told_rtp;
        let rtcp_moved = !self.held && (moved || told_rtcp != self.told_rtcp);
        if !self.held {
            (self.told_rtp, self.told_rtcp) = (told, told_rtcp);
        }
        let Some(latch) = &self.latch else {
            self.rtp.clear();
            self.rtcp.clear();
            return moved && !answered;
        };
        let window_ns = window_ns(latch);
        let (sources, rtp, rtcp) = (&self.sources, self.told_rtp, self.told_rtcp);
        let inside = |source: &Address| within(sources, source);
        let latched = |source: &Address| within(&latch.sources, source);
        let rtp_lost = self.rtp.retain(|source| inside(source) && (*source == rtp || latched(source)));
        let rtcp_lost = self.rtcp.retain(|source| inside(source) && (*source == rtcp || latched(source)));
        let cause = |moved, doubted: bool| match (moved, answered) {
            (true, true) => Some(Cause::Answered),
            (true, false) => Some(Cause::Moved),
            (false, _) => doubted.then_some(Cause::Doubt),
        };
        if let Some(cause) = cause(moved, doubted || rtp_lost) {
            self.rtp.reopen(now, window_ns, cause);
        }
        if let Some(cause) = cause(rtcp_moved, doubted || rtp_lost || rtcp_lost) {
            self.rtcp.reopen(now, window_ns, cause);
        }
        moved && !answered
    }

    /// Who plays to the party.
    pub(crate) fn player(&self) -> Option<u32> {
        self.playing.as_ref()?.player
    }

    /// Whether the profile has RTCP beside its media.
    pub(crate) fn has_rtcp(&self) -> bool {
        match self.profile {
            Profile::Rtp => true,
            Profile::Udptl => false,
        }
    }

    /// The other party has answered: only now is there anybody to talk to, so a silent party's window begins.
    pub(crate) fn other_answered(&mut self, now: u64) {
        if let Some(latch) = &self.latch {
            let window_ns = window_ns(latch);
            self.rtp.extend(now, window_ns);
            self.rtcp.extend(now, window_ns);
        }
    }

    /// The address that a component is expected from by the SDP; no address before the answer.
    pub(crate) fn told(&self, component: Component) -> Address {
        match component {
            Component::Rtp => self.told_rtp,
            Component::Rtcp => self.told_rtcp,
        }
    }

    /// Packets from here need no second look. None while a latch is open: the first packet must fix it.
    pub(crate) fn known_source(&self, component: Component) -> Address {
        let source = match component {
            Component::Rtp => &self.rtp,
            Component::Rtcp => &self.rtcp,
        };
        match self.latch {
            Some(_) => source.fixed(),
            None if within(&self.sources, &self.told(component)) => self.told(component),
            None => Address::NONE,
        }
    }

    /// Where the stream's media is accepted from, as far as it is known.
    pub(crate) fn source(&self) -> Option<SocketAddr> {
        self.rtp.heard().get().or_else(|| self.told_rtp.get())
    }

    fn destination(&self, component: Component) -> Address {
        if self.held {
            return Address::NONE;
        }
        let rtp = first_of(self.rtp.heard(), self.told_rtp);
        if component == Component::Rtp || self.mux {
            return rtp;
        }
        let heard = self.rtcp.heard();
        if heard.is_some() {
            heard
        } else if rtp.same_ip(&self.told_rtp) {
            self.told_rtcp
        } else {
            // Behind NAT the SDP's RTCP address is as wrong as its RTP address was.
            rtp.next_port()
        }
    }
}

impl Ends {
    pub(crate) fn local(&self) -> LocalAddresses {
        LocalAddresses { rtp: self.pair.rtp, rtcp: self.pair.rtcp(), advertised: self.advertised }
    }
}

/// True where a network of the list holds the address, or the list is empty.
pub(crate) fn within(networks: &[IpNet], address: &Address) -> bool {
    networks.is_empty() || networks.iter().any(|network| network.contains(&address.ip()))
}

/// True for an address that says "send nothing": zeros (RFC 3264 section 8.4), or port 0.
pub(crate) fn is_nowhere(address: SocketAddr) -> bool {
    address.ip().is_unspecified() || address.port() == 0
}

fn window_ns(latch: &Latch) -> u64 {
    u64::from(latch.window_ms) * NANOS_PER_MS
}

fn first_of(a: Address, b: Address) -> Address {
    if a.is_some() { a } else { b }
}
