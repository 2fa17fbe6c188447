//! Calls in virtual time, against sockets in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use moorline_control::{
    Event, Latch, LegSpec, LocalAddresses, LocalSession, Refusal, SessionId, SessionReport, SessionSpec, StreamSpec,
};

use crate::{
    BindError, Config, DropReason, EndpointId, Offload, Owner, Ports, Range, Relay, Relayed, Traffic, Verdict,
};

mod bounds;
mod calls;
mod ceilings;
mod elsewhere;
mod far_end;
mod fax;
mod latch_model;
mod latching;
mod leases;
mod model;
mod play;
mod ports;
mod refusals;
mod silence;
mod ssrc;
mod statistics;
mod telephone_events;
mod timeouts;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const OWNER: Owner = Owner(1);

/// The parties' addresses in these calls, and somebody else's.
const ALICE: &str = "10.0.0.1:4000";
const BOB: &str = "47.103.169.70:6000";
const MALLORY: &str = "203.0.113.9:666";

/// Sockets in memory; binding twice or releasing what is not bound fails the test.
#[derive(Default)]
struct Sockets {
    bound: BTreeMap<EndpointId, SocketAddr>,
    /// Addresses that somebody outside holds.
    foreign: BTreeSet<SocketAddr>,
    /// The most sockets, where there is a limit.
    limit: Option<usize>,
    /// What relays flows elsewhere, where anything does.
    program: Option<elsewhere::Program>,
}

impl Ports for Sockets {
    fn bind(&mut self, endpoint: EndpointId, address: SocketAddr) -> Result<(), BindError> {
        if self.foreign.contains(&address) {
            return Err(BindError::AddressInUse);
        }
        if self.limit.is_some_and(|limit| self.bound.len() >= limit) {
            return Err(BindError::OutOfDescriptors);
        }
        assert!(!self.bound.values().any(|bound| *bound == address), "{address} bound twice");
        assert_eq!(self.bound.insert(endpoint, address), None, "{endpoint:?} bound twice");
        Ok(())
    }

    fn unbind(&mut self, endpoint: EndpointId) {
        assert!(self.bound.remove(&endpoint).is_some(), "{endpoint:?} is not bound");
        if let Some(program) = &mut self.program {
            program.close(endpoint);
        }
    }

    fn offload(&mut self) -> Option<&mut dyn Offload> {
        self.program.as_mut().map(|program| program as &mut dyn Offload)
    }
}

/// A relay with its sockets and its time.
struct World {
    relay: Relay,
    sockets: Sockets,
    now: u64,
}

impl World {
    fn new() -> World {
        World::with(config())
    }

    fn with(config: Config) -> World {
        World { relay: Relay::new(config).unwrap(), sockets: Sockets::default(), now: 100 * SECOND }
    }

    fn open(&mut self, session: SessionId, spec: &SessionSpec) -> LocalSession {
        self.try_open(session, spec).unwrap()
    }

    fn try_open(&mut self, session: SessionId, spec: &SessionSpec) -> Result<LocalSession, Refusal> {
        self.relay.open(self.now, OWNER, session, spec.clone(), &mut self.sockets)
    }

    fn update(&mut self, session: SessionId, spec: &SessionSpec) -> LocalSession {
        self.relay.update(self.now, session, spec.clone(), &mut self.sockets).unwrap()
    }

    fn close(&mut self, session: SessionId) -> Option<SessionReport> {
        self.relay.close(self.now, session, &mut self.sockets)
    }

    fn report(&self, session: SessionId) -> SessionReport {
        self.relay.query(self.now, session).unwrap()
    }

    /// A packet from `source` to the local address `to`: where it goes on to, as (local, remote).
    fn packet(&mut self, source: &str, to: SocketAddr, payload: &[u8]) -> Result<(SocketAddr, SocketAddr), DropReason> {
        let endpoint = *self.sockets.bound.iter().find(|(_, bound)| **bound == to).expect("a bound address").0;
        match self.relay.packet(self.now, endpoint, source.parse().unwrap(), payload) {
            Verdict::Forward { from, to, .. } => Ok((self.sockets.bound[&from], to)),
            Verdict::Drop(reason) => Err(reason),
        }
    }

    /// Lets time pass, with every timeout at its time.
    fn pass(&mut self, time: u64) {
        let until = self.now + time;
        while let Some(due) = self.relay.next_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.relay.handle_timeout(self.now, &mut self.sockets);
        }
        self.now = until;
    }

    fn events(&mut self) -> Vec<(Owner, Event)> {
        std::iter::from_fn(|| self.relay.poll_event()).collect()
    }
}

/// Two ranges, one for each side of the edge.
fn config() -> Config {
    Config {
        ranges: vec![range("core", "127.0.1.0/30", 20_000, 20_999), range("carrier", "127.0.2.0/29", 30_000, 30_999)],
        shard: 0,
        shards: 1,
        capacity: 100,
        port_rest_ns: Config::DEFAULT_PORT_REST_NS,
        report_digits: false,
    }
}

fn range(name: &str, network: &str, first_port: u16, last_port: u16) -> Range {
    let network = network.parse().unwrap();
    Range { name: name.to_owned(), network, first_port, last_port, advertised: None, routed: false }
}

fn id(n: u64) -> SessionId {
    SessionId { node: 1, virtual_shard: 2, random: n }
}

/// Alice on the core side calls Bob on the carrier side, both with plain SDP.
fn answered_call() -> SessionSpec {
    call(stream(Some(ALICE)), stream(Some(BOB)))
}

fn call(alice: StreamSpec, bob: StreamSpec) -> SessionSpec {
    let leg = |range: &str, stream| LegSpec { range: range.to_owned(), streams: vec![stream] };
    SessionSpec { legs: vec![leg("core", alice), leg("carrier", bob)], media_timeout_ms: 0, snapshot: Vec::new() }
}

fn stream(remote: Option<&str>) -> StreamSpec {
    StreamSpec { active: true, remote_rtp: remote.map(address), one_ssrc: true, ..StreamSpec::default() }
}

fn latch(network: &str, window_ms: u32) -> Option<Latch> {
    Some(Latch { sources: vec![network.parse().unwrap()], window_ms })
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// The local addresses of the two parties' first streams.
fn sides(local: &LocalSession) -> (LocalAddresses, LocalAddresses) {
    (local.legs[0][0].unwrap(), local.legs[1][0].unwrap())
}

/// 20 ms of PCMU.
fn rtp(sequence: u16) -> Vec<u8> {
    rtp_of(0, sequence, u32::from(sequence).wrapping_mul(160), 0x1234)
}

fn rtp_of(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend(sequence.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.resize(172, 0xd5);
    packet
}

/// An empty receiver report.
fn rtcp() -> Vec<u8> {
    vec![0x80, 201, 0, 1, 0, 0, 0x12, 0x34]
}
