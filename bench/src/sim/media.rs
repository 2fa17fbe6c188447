//! The media process: the real relay of one shard, with ports that are numbers, behind a control connection
//! that takes its time, breaks, and comes back.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use moorline_b2bua::MediaInput;
use moorline_control::{
    Event, MAX_FRAME, MediaRange, Profile, Refusal, RefusalCode, Reply, Request, ServerHello, VERSION,
};
use moorline_relay::{BindError, Config, EndpointId, Owner, Ports, Range, Relay, Verdict};

use super::plan::SECOND;
use super::random::Random;

/// The names of the media ranges, by listener, and their networks.
pub(super) const RANGES: [(&str, &str); 2] = [("inside", "192.0.2.128/29"), ("outside", "198.51.100.128/29")];

/// Their ports.
const PORTS: (u16, u16) = (20_000, 20_099);

/// How long sessions outlive the connection that opened them.
const LEASE_NS: u64 = 60 * SECOND;

pub(super) struct MediaProcess {
    relay: Relay,
    bound: Bound,
    capacity: usize,
    /// The longest time that an answer takes.
    delay: u64,
    random: Random,
    /// The connection, while there is one.
    owner: Option<Owner>,
    connections: u64,
    boot: u64,
    /// Requests find no room until then.
    pub(super) busy_until: u64,
    /// What is on its way to signaling, by its time of arrival.
    replies: VecDeque<(u64, MediaInput)>,
}

/// The sockets.
#[derive(Default)]
struct Bound {
    by_address: BTreeMap<SocketAddr, EndpointId>,
    by_endpoint: BTreeMap<u32, SocketAddr>,
}

impl Ports for Bound {
    fn bind(&mut self, endpoint: EndpointId, address: SocketAddr) -> Result<(), BindError> {
        if self.by_address.contains_key(&address) {
            return Err(BindError::AddressInUse);
        }
        self.by_address.insert(address, endpoint);
        self.by_endpoint.insert(endpoint.0, address);
        Ok(())
    }

    fn unbind(&mut self, endpoint: EndpointId) {
        if let Some(address) = self.by_endpoint.remove(&endpoint.0) {
            self.by_address.remove(&address);
        }
    }
}

impl MediaProcess {
    pub(super) fn new(capacity: usize, delay: u64, random: Random) -> Result<MediaProcess, String> {
        Ok(MediaProcess {
            relay: relay(capacity)?,
            bound: Bound::default(),
            capacity,
            delay,
            random,
            owner: None,
            connections: 0,
            boot: 1,
            busy_until: 0,
            replies: VecDeque::new(),
        })
    }

    /// Another process, which knows nothing.
    pub(super) fn restart(&mut self) -> Result<(), String> {
        self.relay = relay(self.capacity)?;
        self.bound = Bound::default();
        self.boot += 1;
        self.owner = None;
        self.replies.clear();
        Ok(())
    }

    pub(super) fn connect(&mut self) -> ServerHello {
        self.connections += 1;
        self.owner = Some(Owner(self.connections));
        ServerHello {
            version: VERSION,
            boot: self.boot,
            shards: 1,
            capacity: u32::try_from(self.capacity).unwrap_or(u32::MAX),
            datapath: "simulated".into(),
            ranges: ranges(),
            profiles: vec![Profile::Rtp, Profile::Udptl],
            announcements: Vec::new(),
        }
    }

    /// The connection has ended, whoever ended it.
    pub(super) fn disconnect(&mut self, now: u64) {
        if let Some(owner) = self.owner.take() {
            self.relay.release(now, owner, LEASE_NS);
        }
        self.replies.clear();
    }

    pub(super) fn is_connected(&self) -> bool {
        self.owner.is_some()
    }

    /// It takes requests.
    pub(super) fn is_at_hand(&self, now: u64) -> bool {
        self.is_connected() && now >= self.busy_until + SECOND
    }

    /// Takes a request; its answer comes by [`reply`](Self::reply).
    pub(super) fn request(&mut self, now: u64, request: u32, body: Request) {
        // Without a connection it is lost, as signaling knows.
        let Some(owner) = self.owner else { return };
        let ports = &mut self.bound;
        let reply = if now < self.busy_until {
            Err(Refusal::new(RefusalCode::Busy, "simulated"))
        } else {
            match body {
                Request::Open { session, spec } => self.relay.open(now, owner, session, spec, ports).map(Reply::Opened),
                Request::Update { session, spec } => self.relay.update(now, session, spec, ports).map(Reply::Opened),
                Request::Claim { session } => self.relay.claim(now, owner, session).map(Reply::Opened),
                Request::Close { session } => Ok(Reply::Closed(self.relay.close(now, session, ports))),
                Request::Query { session } => self.relay.query(now, session).map(Reply::Report),
                Request::List { after } => Ok(Reply::Listed(self.relay.list(after, MAX_FRAME / 2))),
            }
        };
        let reply = reply.unwrap_or_else(Reply::Refused);
        self.say(now, MediaInput::Reply { request, reply });
    }

    /// Frames arrive in the order in which they were sent.
    fn say(&mut self, now: u64, said: MediaInput) {
        let at = now + self.random.below(self.delay);
        let at = self.replies.back().map_or(at, |(last, _)| at.max(*last));
        self.replies.push_back((at, said));
    }

    /// What has arrived at signaling.
    pub(super) fn reply(&mut self, now: u64) -> Option<MediaInput> {
        self.replies.pop_front_if(|(at, _)| *at <= now).map(|(_, said)| said)
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        let reply = self.replies.front().map(|(at, _)| *at);
        [self.relay.next_timeout(), reply].into_iter().flatten().min()
    }

    pub(super) fn handle_timeout(&mut self, now: u64) {
        for _ in 0..64 {
            if self.relay.next_timeout().is_none_or(|at| at > now) {
                break;
            }
            self.relay.handle_timeout(now, &mut self.bound);
        }
        while let Some((owner, event)) = self.relay.poll_event() {
            let lost = matches!(event, Event::Ended(_));
            if !lost && self.owner == Some(owner) {
                self.say(now, MediaInput::Event(event));
            }
        }
    }

    /// Sends a packet of RTP to a local address: the address it leaves from, and where it goes.
    pub(super) fn packet(
        &mut self,
        now: u64,
        from: SocketAddr,
        to: SocketAddr,
        payload: &[u8],
    ) -> Result<(SocketAddr, SocketAddr), String> {
        let Some(endpoint) = self.bound.by_address.get(&to).copied() else { return Err(format!("{to} is not bound")) };
        match self.relay.packet(now, endpoint, from, payload) {
            Verdict::Forward { from, to, .. } => match self.bound.by_endpoint.get(&from.0) {
                Some(local) => Ok((*local, to)),
                None => Err("sent from a port that is not bound".into()),
            },
            Verdict::Drop(reason) => Err(format!("dropped at {to}: {}", reason.as_str())),
        }
    }

    pub(super) fn is_bound(&self, address: SocketAddr) -> bool {
        self.bound.by_address.contains_key(&address)
    }

    pub(super) fn sessions(&self) -> u64 {
        self.relay.counters().sessions
    }
}

/// The ranges as signaling is told of them.
fn ranges() -> Vec<MediaRange> {
    let range = |(name, network): (&str, &str)| {
        let (first_port, last_port) = PORTS;
        Some(MediaRange { name: name.into(), network: network.parse().ok()?, first_port, last_port, advertised: None })
    };
    RANGES.into_iter().filter_map(range).collect()
}

fn relay(capacity: usize) -> Result<Relay, String> {
    let range = |(name, network): (&str, &str)| {
        Ok(Range {
            name: name.into(),
            network: network.parse().map_err(|error| format!("{network}: {error}"))?,
            first_port: PORTS.0,
            last_port: PORTS.1,
            advertised: None,
            routed: false,
        })
    };
    let ranges = RANGES.into_iter().map(range).collect::<Result<_, String>>()?;
    let config = Config {
        ranges,
        shard: 0,
        shards: 1,
        capacity,
        port_rest_ns: Config::DEFAULT_PORT_REST_NS,
        report_digits: false,
    };
    Relay::new(config).map_err(|error| error.to_string())
}
