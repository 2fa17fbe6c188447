//! Which local ports sessions get.

use moorline_control::RefusalCode;

use super::*;
use crate::shard_of;

/// One address with four pairs.
fn tiny() -> Config {
    let ranges = vec![range("core", "127.0.1.1/32", 20_000, 20_007), range("carrier", "127.0.2.1/32", 30_000, 30_007)];
    Config { ranges, ..config() }
}

fn preset(local: &LocalSession) -> SessionSpec {
    let mut spec = answered_call();
    for (leg, locals) in spec.legs.iter_mut().zip(&local.legs) {
        for (stream, local) in leg.streams.iter_mut().zip(locals) {
            stream.local = *local;
        }
    }
    spec
}

#[test]
fn rtp_is_even_rtcp_is_next_and_the_advertised_address_is_told() {
    let mut config = config();
    config.ranges[1].advertised = Some("192.0.2.1".parse().unwrap());
    let mut world = World::with(config);
    let (alice, bob) = sides(&world.open(id(1), &answered_call()));
    for local in [alice, bob] {
        assert_eq!(local.rtp.port() % 2, 0);
        assert_eq!(local.rtcp, SocketAddr::new(local.rtp.ip(), local.rtp.port() + 1));
    }
    assert_eq!((alice.public(), bob.public()), (alice.rtp.ip(), "192.0.2.1".parse().unwrap()));
}

#[test]
fn sessions_spread_over_the_addresses_but_not_onto_network_and_broadcast() {
    let mut world = World::new();
    let mut used = BTreeMap::new();
    for n in 0..96 {
        let (_, bob) = sides(&world.open(id(n), &answered_call()));
        *used.entry(bob.rtp.ip().to_string()).or_insert(0) += 1;
    }
    let all: Vec<&str> = used.keys().map(String::as_str).collect();
    assert_eq!(all, ["127.0.2.1", "127.0.2.2", "127.0.2.3", "127.0.2.4", "127.0.2.5", "127.0.2.6"]);
    assert!(used.values().all(|&count| count >= 10), "{used:?}");
}

/// Tables by port are read for every packet: ports in use share cache lines.
#[test]
fn ports_are_given_out_next_to_each_other_and_each_takes_its_turn() {
    let mut world = World::with(tiny());
    let opened: Vec<u16> = (0..4).map(|n| sides(&world.open(id(n), &answered_call())).0.rtp.port()).collect();
    assert_eq!(opened, [20_000, 20_002, 20_004, 20_006]);
    for turn in [1, 3, 0, 2, 3] {
        world.close(id(turn));
        world.now += Config::DEFAULT_PORT_REST_NS;
        let again = sides(&world.open(id(turn), &answered_call())).0.rtp.port();
        assert_eq!(again, opened[turn as usize], "the only one that is free");
    }
    for n in 0..4 {
        world.close(id(n));
    }
    world.now += Config::DEFAULT_PORT_REST_NS;
    let first = sides(&world.open(id(5), &answered_call())).0.rtp.port();
    assert_eq!(first, 20_000, "after the last one, which was 20,006");
}

#[test]
fn a_routed_range_uses_all_its_addresses() {
    let mut config = config();
    config.ranges[0].routed = true;
    let mut world = World::with(config);
    let used: BTreeSet<_> = (0..64).map(|n| sides(&world.open(id(n), &answered_call())).0.rtp.ip()).collect();
    assert_eq!(used.len(), 4);
}

#[test]
fn a_freed_port_rests() {
    let mut world = World::with(tiny());
    let first: BTreeSet<_> = (0..4).map(|n| sides(&world.open(id(n), &answered_call())).0.rtp).collect();
    assert_eq!(first.len(), 4);
    world.close(id(0));
    assert_eq!(world.relay.counters().ports_resting, 4);
    world.now += Config::DEFAULT_PORT_REST_NS - 1;
    assert_eq!(world.try_open(id(9), &answered_call()).unwrap_err().code, RefusalCode::OutOfPorts);
    world.now += 1;
    world.open(id(9), &answered_call());
    assert_eq!(world.relay.counters().ports_resting, 0);
}

#[test]
fn without_ports_a_request_is_refused_and_leaves_nothing() {
    let mut config = tiny();
    config.ranges[1].last_port = 30_003;
    let mut world = World::with(config);
    world.open(id(1), &answered_call());
    world.open(id(2), &answered_call());
    let before = (world.sockets.bound.clone(), *world.relay.counters());
    let refusal = world.try_open(id(3), &answered_call()).unwrap_err();
    assert_eq!((refusal.code, refusal.is_capacity()), (RefusalCode::OutOfPorts, true));
    assert!(refusal.detail.contains("carrier"), "{refusal}");
    let mut video = answered_call();
    video.legs[1].streams.push(stream(Some("47.103.169.70:6002")));
    let refusal = world.relay.update(world.now, id(1), video, &mut world.sockets).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::OutOfPorts);
    assert_eq!((world.sockets.bound.clone(), *world.relay.counters()), before);
    let (alice, bob) = sides(&world.open(id(1), &answered_call()));
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(1)), Ok((bob.rtp, address(BOB))), "untouched");
}

#[test]
fn without_descriptors_a_request_is_refused_and_leaves_nothing() {
    for limit in 0..4 {
        let mut world = World::new();
        world.sockets.limit = Some(limit);
        let refusal = world.try_open(id(1), &answered_call()).unwrap_err();
        assert_eq!((refusal.code, refusal.is_capacity()), (RefusalCode::OutOfDescriptors, true));
        assert!(world.sockets.bound.is_empty());
        world.sockets.limit = None;
        world.open(id(1), &answered_call());
    }
}

#[test]
fn refused_requests_use_up_no_port() {
    let mut world = World::with(tiny());
    for _ in 0..10 {
        world.sockets.limit = Some(3);
        world.try_open(id(1), &answered_call()).unwrap_err();
    }
    world.sockets.limit = None;
    for n in 0..4 {
        world.open(id(n), &answered_call());
    }
}

#[test]
fn ports_that_others_hold_are_passed_over() {
    let mut world = World::with(tiny());
    world.sockets.foreign.extend([address("127.0.1.1:20000"), address("127.0.1.1:20003")]);
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    assert_eq!(alice.rtp, address("127.0.1.1:20004"));
    assert_eq!(world.relay.counters().ports_stolen, 2);
    world.open(id(2), &answered_call());
    assert_eq!(world.try_open(id(3), &answered_call()).unwrap_err().code, RefusalCode::OutOfPorts);
    world.sockets.foreign.clear();
    world.now += 60 * SECOND;
    world.open(id(3), &answered_call());
}

#[test]
fn a_range_held_by_others_is_given_up_after_bounded_tries() {
    let mut world = World::new();
    world.sockets.foreign =
        (20_000..21_000).flat_map(|p| [1, 2].map(|h| format!("127.0.1.{h}:{p}"))).map(|a| address(&a)).collect();
    let refusal = world.try_open(id(1), &answered_call()).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::OutOfPorts);
    assert!(refusal.detail.contains("outside this process"), "{refusal}");
    assert_eq!(world.relay.counters().ports_stolen, 17);
    assert!(world.sockets.bound.is_empty());
    world.sockets.foreign.clear();
    world.open(id(1), &answered_call());
}

#[test]
fn a_session_comes_back_on_the_same_ports_after_a_restart() {
    let mut world = World::new();
    let locals: Vec<_> = (0..50).map(|n| world.open(id(n), &answered_call())).collect();
    let mut restarted = World::new();
    for (n, local) in (0..50).zip(&locals) {
        assert_eq!(restarted.open(id(n), &preset(local)), *local);
        assert_eq!(restarted.open(id(n), &preset(local)), *local, "and again");
    }
    let fresh = restarted.open(id(99), &answered_call());
    assert!(!locals.contains(&fresh));
}

#[test]
fn exact_ports_are_given_though_they_rest_and_refused_while_held() {
    let mut world = World::new();
    let local = world.open(id(1), &answered_call());
    assert_eq!(world.try_open(id(2), &preset(&local)).unwrap_err().code, RefusalCode::PortTaken);
    world.close(id(1));
    assert_eq!(world.open(id(2), &preset(&local)), local);
    assert_eq!(world.relay.counters().ports_resting, 0);
    world.pass(2 * Config::DEFAULT_PORT_REST_NS);
    assert_eq!(world.try_open(id(3), &preset(&local)).unwrap_err().code, RefusalCode::PortTaken);
    world.sockets.foreign.insert(local.legs[0][0].unwrap().rtcp);
    world.close(id(2));
    assert_eq!(world.try_open(id(3), &preset(&local)).unwrap_err().code, RefusalCode::PortTaken);
    assert!(world.sockets.bound.is_empty());
}

#[test]
fn exact_ports_that_are_no_pair_of_the_range_are_refused() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    world.close(id(1));
    let odd = LocalAddresses { rtp: alice.rtcp, rtcp: alice.rtp, advertised: None };
    let apart = LocalAddresses { rtcp: address("127.0.1.1:20999"), ..alice };
    let outside = LocalAddresses { rtp: address("127.0.1.1:19998"), rtcp: address("127.0.1.1:19999"), ..alice };
    let stranger = LocalAddresses { rtp: address("127.0.9.1:20000"), rtcp: address("127.0.9.1:20001"), ..alice };
    for wrong in [odd, apart, outside, stranger] {
        let mut spec = answered_call();
        spec.legs[0].streams[0].local = Some(wrong);
        assert_eq!(world.try_open(id(2), &spec).unwrap_err().code, RefusalCode::PortTaken, "{wrong:?}");
    }
    assert!(world.sockets.bound.is_empty());
}

#[test]
fn a_leg_moves_to_another_range() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    world.packet(ALICE, alice.rtp, &rtp(1)).unwrap();
    let mut spec = answered_call();
    spec.legs[0].range = "carrier".to_owned();
    let (moved, bob) = sides(&world.update(id(1), &spec));
    assert!(moved.rtp.ip().to_string().starts_with("127.0.2."));
    assert_eq!(world.packet(ALICE, moved.rtp, &rtp(2)), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.report(id(1)).legs[0][0].packets, 2);
    assert_eq!(world.sockets.bound.len(), 4);
}

#[test]
fn an_ipv6_prefix_is_not_enumerated() {
    let mut config = config();
    config.ranges = vec![range("core", "fd00::/32", 20_000, 20_999), range("carrier", "fd01::/64", 1024, 65_535)];
    let mut world = World::with(config);
    let spec = call(stream(None), stream(None));
    let (alice, bob) = sides(&world.open(id(1), &spec));
    assert_ne!(alice.rtp.ip(), "fd00::".parse::<std::net::IpAddr>().unwrap(), "the routers' anycast address");
    assert!(bob.rtp.is_ipv6());
}

#[test]
fn every_shard_has_its_own_ports_and_a_port_names_its_shard() {
    for shards in [1, 2, 3, 7] {
        let config = Config { shards, ..config() };
        let mut seen = BTreeSet::new();
        for shard in 0..shards {
            let mut world = World::with(Config { shard, capacity: 2000, ..config.clone() });
            for n in 0.. {
                let Ok(local) = world.try_open(id(n), &answered_call()) else { break };
                let (alice, bob) = sides(&local);
                for port in [alice.rtp, alice.rtcp, bob.rtp, bob.rtcp] {
                    assert_eq!(shard_of(&config.ranges, shards, port), Some(shard));
                    assert!(seen.insert(port), "{port} belongs to two shards");
                }
            }
        }
        assert_eq!(seen.len(), 4 * 1000, "with {shards} shards every pair of the smaller range is used");
    }
    assert_eq!(shard_of(&config().ranges, 2, address("127.0.1.0:20000")), None, "the network's address");
    assert_eq!(shard_of(&config().ranges, 2, address("127.0.1.1:21000")), None);
    assert_eq!(shard_of(&config().ranges, 0, address("127.0.1.1:20000")), None);
}

#[test]
fn all_ports_of_a_session_stay_together_when_the_number_of_shards_changes() {
    let mut world = World::new();
    for n in 0..100 {
        let (alice, bob) = sides(&world.open(id(n), &answered_call()));
        for shards in 1..=32 {
            let of = |port| shard_of(&config().ranges, shards, port);
            assert_eq!(of(alice.rtp), of(bob.rtp));
        }
    }
}

#[test]
fn a_carriers_27_with_thousands_of_ports_costs_little() {
    let mut config = config();
    config.ranges = vec![range("carrier", "47.103.169.64/27", 16_384, 32_767)];
    let layout = crate::layout::Layout::of(&config.ranges[0]);
    assert_eq!((layout.blocks(), layout.pairs()), (30 * 256, 8192));
    let mut spec = answered_call();
    spec.legs[0].range = "carrier".to_owned();
    let mut world = World::with(config);
    world.open(id(1), &spec);
}

#[test]
fn ports_that_have_rested_at_once_are_freed_in_slices_and_are_all_there_when_asked_for() {
    const SESSIONS: u64 = 200;
    let ranges = vec![range("core", "127.0.1.1/32", 20_000, 20_399), range("carrier", "127.0.2.1/32", 30_000, 30_399)];
    let mut world = World::with(Config { capacity: 1000, ranges, ..config() });
    for n in 0..SESSIONS {
        world.open(id(n), &answered_call());
    }
    assert_eq!(world.try_open(id(999), &answered_call()).unwrap_err().code, RefusalCode::OutOfPorts);
    for n in 0..SESSIONS {
        world.close(id(n));
    }
    world.now += Config::DEFAULT_PORT_REST_NS;
    assert_eq!(world.relay.counters().ports_resting, 4 * SESSIONS);
    world.relay.handle_timeout(world.now, &mut world.sockets);
    let resting = world.relay.counters().ports_resting;
    assert!(resting < 4 * SESSIONS && resting > 2 * SESSIONS, "a slice of them: {resting}");
    assert!(world.relay.next_timeout().is_some_and(|due| due <= world.now), "and the rest at once");
    for n in 0..SESSIONS {
        world.open(id(1000 + n), &answered_call());
    }
    assert_eq!(world.relay.counters().ports_resting, 0);
}

#[test]
fn a_port_that_has_rested_is_found_behind_many_others_that_have() {
    let ranges = vec![range("core", "127.0.1.1/32", 20_000, 20_999), range("carrier", "127.0.2.1/32", 30_000, 30_003)];
    let mut world = World::with(Config { ranges, ..config() });
    let within = |name: &str| {
        let mut spec = answered_call();
        spec.legs.iter_mut().for_each(|leg| leg.range = name.to_owned());
        spec
    };
    for n in 0..80 {
        world.open(id(n), &within("core"));
    }
    world.open(id(99), &within("carrier"));
    (0..80).for_each(|n| drop(world.close(id(n))));
    world.close(id(99));
    world.now += Config::DEFAULT_PORT_REST_NS;
    world.open(id(100), &within("carrier"));
}
