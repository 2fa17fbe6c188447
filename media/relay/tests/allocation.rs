//! The packet path allocates nothing, whatever comes.
#![expect(clippy::unwrap_used, reason = "a test stops where its ground is missing")]

use std::net::SocketAddr;
use std::sync::Arc;

use moorline_control::{Codec, Latch, LegSpec, Play, Profile, SessionId, SessionSpec, StreamSpec};
use moorline_relay::{Announcement, Announcements, BindError, Config, EndpointId, Owner, Ports, Range, Relay, Verdict};

#[derive(Default)]
struct Endpoints(Vec<EndpointId>);

impl Ports for Endpoints {
    fn bind(&mut self, endpoint: EndpointId, _: SocketAddr) -> Result<(), BindError> {
        self.0.push(endpoint);
        Ok(())
    }

    fn unbind(&mut self, _: EndpointId) {}
}

const SESSIONS: u64 = 500;

fn open_all(relay: &mut Relay) -> Vec<Vec<EndpointId>> {
    let latch = Some(Latch { sources: vec!["198.51.100.0/24".parse().unwrap()], window_ms: 5_000 });
    let muxed = StreamSpec {
        active: true,
        remote_rtp: Some("10.0.0.1:4000".parse().unwrap()),
        rtcp_mux: true,
        latch,
        ..StreamSpec::default()
    };
    let plain =
        StreamSpec { active: true, remote_rtp: Some("10.0.0.2:4000".parse().unwrap()), ..StreamSpec::default() };
    let fax = StreamSpec { profile: Profile::Udptl, ..plain.clone() };
    let leg = |stream, fax| LegSpec { range: "all".to_owned(), streams: vec![stream, fax] };
    let legs = vec![leg(muxed, fax.clone()), leg(plain, fax)];
    let spec = SessionSpec { legs, media_timeout_ms: 1_000, snapshot: Vec::new() };
    let open = |n| {
        let mut endpoints = Endpoints::default();
        let session = SessionId { node: 0, virtual_shard: 0, random: n };
        relay.open(0, Owner(1), session, spec.clone(), &mut endpoints).unwrap();
        endpoints.0
    };
    (0..SESSIONS).map(open).collect()
}

#[test]
fn forwarding_latching_and_refusing_allocate_nothing() {
    let network = "127.0.0.0/24".parse().unwrap();
    let range =
        Range { name: "all".to_owned(), network, first_port: 1024, last_port: 65_535, advertised: None, routed: false };
    let port_rest_ns = Config::DEFAULT_PORT_REST_NS;
    let capacity = SESSIONS as usize;
    let mut relay =
        Relay::new(Config { ranges: vec![range], shard: 0, shards: 1, capacity, port_rest_ns, report_digits: false })
            .unwrap();
    let sessions = open_all(&mut relay);
    let [nat, bob, mallory] = ["198.51.100.7:1111", "10.0.0.2:4000", "203.0.113.9:6"].map(|a| a.parse().unwrap());
    let mut rtp = [0; 172];
    rtp[0] = 0x80;
    let rtcp = [0x80, 201, 0, 1, 0, 0, 0, 1];
    let mut forwarded = 0;
    let allocations = allocation_counter::measure(|| {
        for round in 0..50u8 {
            rtp[3] = round;
            for endpoints in &sessions {
                let now = u64::from(round) * 20_000_000;
                for (endpoint, source, payload) in [
                    (0, mallory, &rtp[..]),
                    (0, nat, &rtp),
                    (0, nat, &rtcp),
                    (4, bob, &rtp),
                    (5, mallory, &rtcp),
                    (4, bob, &rtp[..5]),
                    (4, bob, b"garbage"),
                    (6, bob, b"fax"),
                    (7, bob, b"fax"),
                    (6, bob, b""),
                ] {
                    let verdict = relay.packet(now, endpoints[endpoint], source, payload);
                    forwarded += u32::from(matches!(verdict, Verdict::Forward { .. }));
                }
            }
        }
    });
    assert_eq!(forwarded, 50 * SESSIONS as u32 * 4);
    assert_eq!(relay.counters().latched, SESSIONS);
    assert_eq!(allocations.count_total, 0);
    let events = std::iter::from_fn(|| relay.poll_event()).count();
    assert_eq!(events, SESSIONS as usize, "every latch is told afterwards");
}

#[test]
fn announcements_that_begin_play_and_end_allocate_nothing_by_packet() {
    let network = "127.0.0.0/24".parse().unwrap();
    let range =
        Range { name: "all".to_owned(), network, first_port: 1024, last_port: 65_535, advertised: None, routed: false };
    let capacity = SESSIONS as usize;
    let config = Config { ranges: vec![range], shard: 0, shards: 1, capacity, port_rest_ns: 0, report_digits: false };
    let mut relay = Relay::new(config).unwrap();
    let octets = vec![0xd5; 8_000].into_boxed_slice();
    let announcement = Announcement { name: "second".to_owned(), pcma: octets.clone(), pcmu: octets };
    relay.announce(Arc::new(Announcements::new(vec![announcement])), 1);
    let play = Play { name: "second".to_owned(), codec: Codec::Pcma, payload_type: 8, packet_ms: 20 };
    let stream = StreamSpec {
        active: true,
        remote_rtp: Some("10.0.0.1:4000".parse().unwrap()),
        play: Some(play),
        ..StreamSpec::default()
    };
    let legs = vec![LegSpec { range: "all".to_owned(), streams: vec![stream] }];
    let spec = SessionSpec { legs, media_timeout_ms: 0, snapshot: Vec::new() };
    for n in 0..SESSIONS {
        let session = SessionId { node: 0, virtual_shard: 0, random: n };
        relay.open(0, Owner(1), session, spec.clone(), &mut Endpoints::default()).unwrap();
    }
    let mut room = [0; Relay::LONGEST_PLAYED];
    let mut sent = 0;
    let allocations = allocation_counter::measure(|| {
        while let Some(due) = relay.next_play() {
            while relay.play(due, &mut room).is_some() {
                sent += 1;
            }
        }
    });
    assert_eq!((sent, allocations.count_total), (SESSIONS * 50, 0));
    let events = std::iter::from_fn(|| relay.poll_event()).count();
    assert_eq!(events, SESSIONS as usize, "every end is told afterwards");
}
