//! What one packet costs: sessions in turn, so that their state is as cold as in a busy shard.
#![expect(clippy::unwrap_used, reason = "a benchmark stops where its ground is missing")]

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use moorline_control::{LegSpec, SessionId, SessionSpec, StreamSpec};
use moorline_relay::{BindError, Config, EndpointId, Owner, Ports, Range, Relay, Verdict};

/// Remembers which endpoints were bound, in their order: RTP and RTCP of one leg, then of the other.
#[derive(Default)]
struct Endpoints(Vec<EndpointId>);

impl Ports for Endpoints {
    fn bind(&mut self, endpoint: EndpointId, _: SocketAddr) -> Result<(), BindError> {
        self.0.push(endpoint);
        Ok(())
    }

    fn unbind(&mut self, _: EndpointId) {}
}

fn relay(sessions: u16) -> (Relay, Vec<(EndpointId, SocketAddr)>) {
    let network = "127.103.169.64/27".parse().unwrap();
    let name = || "carrier".to_owned();
    let range = Range { name: name(), network, first_port: 16_384, last_port: 32_767, advertised: None, routed: false };
    let port_rest_ns = Config::DEFAULT_PORT_REST_NS;
    let config = Config {
        ranges: vec![range],
        shard: 0,
        shards: 1,
        capacity: sessions.into(),
        port_rest_ns,
        report_digits: false,
    };
    let mut relay = Relay::new(config).unwrap();
    let mut flows = Vec::new();
    for n in 0..sessions {
        let mut endpoints = Endpoints::default();
        let remotes = [SocketAddr::from(([10, 1, 0, 1], 2 * n + 2)), SocketAddr::from(([10, 2, 0, 1], 2 * n + 2))];
        let leg = |remote| LegSpec {
            range: name(),
            streams: vec![StreamSpec {
                active: true,
                remote_rtp: Some(remote),
                one_ssrc: true,
                ..StreamSpec::default()
            }],
        };
        let spec = SessionSpec { legs: remotes.map(leg).to_vec(), media_timeout_ms: 60_000, snapshot: vec![0; 1024] };
        let session = SessionId { node: 0, virtual_shard: 0, random: n.into() };
        relay.open(0, Owner(1), session, spec, &mut endpoints).unwrap();
        flows.extend([(endpoints.0[0], remotes[0]), (endpoints.0[2], remotes[1])]);
    }
    (relay, flows)
}

fn packets(c: &mut Criterion) {
    let mut group = c.benchmark_group("packet");
    group.throughput(Throughput::Elements(1));
    for sessions in [1, 1_000, 20_000] {
        let (mut relay, flows) = relay(sessions);
        let mut payload = [0xd5; 172];
        payload[..12].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x12, 0x34]);
        let (mut turn, mut now) = (0, 0u64);
        group.bench_function(format!("forward/{sessions}_sessions"), |bencher| {
            bencher.iter(|| {
                // One round over all flows is one frame of 20 ms.
                let round = now / 20_000_000;
                payload[2..4].copy_from_slice(&(round as u16).to_be_bytes());
                payload[4..8].copy_from_slice(&(round as u32).wrapping_mul(160).to_be_bytes());
                let (endpoint, source) = flows[turn];
                turn += 1;
                if turn == flows.len() {
                    (turn, now) = (0, now + 20_000_000);
                }
                black_box(relay.packet(now, endpoint, source, black_box(&payload)))
            });
        });
        let (endpoint, _) = flows[0];
        let stranger = SocketAddr::from(([203, 0, 113, 9], 666));
        assert!(matches!(relay.packet(now, endpoint, stranger, &payload), Verdict::Drop(_)));
        group.bench_function(format!("refuse/{sessions}_sessions"), |bencher| {
            bencher.iter(|| {
                let (endpoint, _) = flows[turn % flows.len()];
                turn += 1;
                black_box(relay.packet(now, endpoint, stranger, black_box(&payload)))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, packets);
criterion_main!(benches);
