//! Any datagrams at any times to the ports of a call, from its parties and from a stranger: each is forwarded to the
//! other party or counted as refused, and none of the stranger's is forwarded.
#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;
use moorline_control::{LegSpec, SessionId, SessionSpec, StreamSpec};
use moorline_relay::{BindError, Config, DropReason, EndpointId, Owner, Ports, Range, Relay, Traffic, Verdict};

/// The ports in the order in which they are bound: RTP and RTCP of one leg, then of the other.
#[derive(Default)]
struct Endpoints(Vec<EndpointId>);

impl Ports for Endpoints {
    fn bind(&mut self, endpoint: EndpointId, _: SocketAddr) -> Result<(), BindError> {
        self.0.push(endpoint);
        Ok(())
    }

    fn unbind(&mut self, _: EndpointId) {}
}

const PARTIES: [[u8; 4]; 2] = [[10, 1, 0, 1], [10, 2, 0, 1]];
const STRANGER: [u8; 4] = [203, 0, 113, 9];
const SESSION: SessionId = SessionId { node: 0, virtual_shard: 0, random: 1 };

fuzz_target!(|input: &[u8]| {
    let mut ports = Endpoints::default();
    let mut relay = call(&mut ports);
    let (mut now, mut given) = (1_000_000_000, 0);
    let mut rest = input;
    // Which port and who; how many units of 5 ms have passed; how long.
    while let [way, pause, length, tail @ ..] = rest {
        let (datagram, next) = tail.split_at(usize::from(*length).min(tail.len()));
        rest = next;
        now += u64::from(*pause) * 5_000_000;
        let at = usize::from(way & 3);
        let ip = if way & 4 == 0 { PARTIES[at / 2] } else { STRANGER };
        let source = SocketAddr::from((ip, 4000 + (at as u16 & 1)));
        given += 1;
        if let Verdict::Forward { from, to, .. } = relay.packet(now, ports.0[at], source, datagram) {
            assert_ne!(ip, STRANGER, "a stranger got through");
            assert_eq!(to, SocketAddr::from((PARTIES[1 - at / 2], source.port())));
            assert_eq!(from, ports.0[at ^ 2], "it leaves by the other leg's port");
        }
    }
    let counters = relay.counters();
    let relayed: u64 = Traffic::ALL.into_iter().map(|traffic| counters.relayed(traffic).packets).sum();
    let refused: u64 = DropReason::ALL.into_iter().map(|reason| counters.dropped[reason.index()]).sum();
    assert_eq!(relayed + refused, given, "every datagram is counted once");
    assert!(relay.close(now, SESSION, &mut ports).is_some(), "the session is open");
});

fn call(ports: &mut Endpoints) -> Relay {
    let name = || "carrier".to_owned();
    let network = "127.103.169.64/27".parse().expect("a network");
    let range = Range { name: name(), network, first_port: 16_384, last_port: 16_447, advertised: None, routed: false };
    let port_rest_ns = Config::DEFAULT_PORT_REST_NS;
    let config = Config { ranges: vec![range], shard: 0, shards: 1, capacity: 1, port_rest_ns, report_digits: true };
    let mut relay = Relay::new(config).expect("the configuration is valid");
    let leg = |party: [u8; 4]| LegSpec {
        range: name(),
        streams: vec![StreamSpec { active: true, remote_rtp: Some((party, 4000).into()), ..StreamSpec::default() }],
    };
    let spec = SessionSpec { legs: PARTIES.map(leg).to_vec(), media_timeout_ms: 60_000, snapshot: Vec::new() };
    relay.open(1_000_000_000, Owner(1), SESSION, spec, ports).expect("there is room");
    relay
}
