//! What is refused at the door, and configurations that cannot work.

use moorline_control::{MAX_LEGS, MAX_SNAPSHOT, MAX_STREAMS, RefusalCode};

use super::*;
use crate::ConfigError;

#[test]
fn specifications_beyond_the_bounds_are_refused() {
    let too_many_legs = SessionSpec { legs: vec![answered_call().legs[0].clone(); MAX_LEGS + 1], ..answered_call() };
    let mut too_many_streams = answered_call();
    too_many_streams.legs[0].streams = vec![stream(None); MAX_STREAMS + 1];
    let snapshot = SessionSpec { snapshot: vec![0; MAX_SNAPSHOT + 1], ..answered_call() };
    let with = |stream| call(stream, StreamSpec::default());
    let empty_latch = with(StreamSpec { latch: Some(Latch { sources: vec![], window_ms: 1 }), ..stream(None) });
    let any = "0.0.0.0/0".parse().unwrap();
    let wide_latch = with(StreamSpec { latch: Some(Latch { sources: vec![any; 65], window_ms: 1 }), ..stream(None) });
    let wide_sources = with(StreamSpec { sources: vec![any; 65], ..stream(None) });
    let multicast = with(stream(Some("224.0.0.1:4000")));
    let broadcast = with(stream(Some("255.255.255.255:4000")));
    let other_version = with(stream(Some("[fd00::1]:4000")));
    for spec in [
        too_many_legs,
        too_many_streams,
        snapshot,
        empty_latch,
        wide_latch,
        wide_sources,
        multicast,
        broadcast,
        other_version,
    ] {
        let mut world = World::new();
        assert_eq!(world.try_open(id(1), &spec).unwrap_err().code, RefusalCode::Unacceptable);
        assert_eq!(world.relay.counters().sessions, 0);
        world.open(id(1), &answered_call());
        let refusal = world.relay.update(world.now, id(1), spec, &mut world.sockets).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Unacceptable);
    }
}

#[test]
fn an_unknown_range_is_named() {
    let mut spec = answered_call();
    spec.legs[1].range = "nowhere".to_owned();
    let refusal = World::new().try_open(id(1), &spec).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NoSuchRange);
    assert!(refusal.detail.contains("nowhere"));
}

#[test]
fn the_capacity_holds_and_slots_come_back() {
    let mut world = World::with(Config { capacity: 2, ..config() });
    world.open(id(1), &answered_call());
    world.open(id(2), &answered_call());
    let refusal = world.try_open(id(3), &answered_call()).unwrap_err();
    assert_eq!((refusal.code, refusal.is_capacity()), (RefusalCode::Capacity, true));
    assert!(world.try_open(id(2), &answered_call()).is_ok(), "what is open stays open");
    world.close(id(1));
    world.open(id(3), &answered_call());
}

#[test]
fn endpoints_stay_below_their_bound() {
    let config = Config { capacity: 8, ..config() };
    let bound = config.max_endpoints();
    assert_eq!(bound, 64);
    let mut world = World::with(config);
    let mut wide = answered_call();
    wide.legs[0].streams = vec![stream(None); 5];
    wide.legs[1].streams = vec![stream(None); 5];
    for n in 0..3 {
        world.open(id(n), &wide);
    }
    assert_eq!(world.try_open(id(9), &wide).unwrap_err().code, RefusalCode::Capacity);
    for round in 0..20 {
        world.close(id(round % 3));
        world.pass(10 * SECOND);
        world.open(id(round % 3), &wide);
        assert!(world.sockets.bound.keys().all(|endpoint| (endpoint.0 as usize) < bound));
    }
}

#[test]
fn a_session_of_no_legs_is_a_session() {
    let mut world = World::new();
    let empty = SessionSpec { legs: Vec::new(), media_timeout_ms: 5, snapshot: vec![1] };
    assert_eq!(world.open(id(1), &empty), LocalSession::default());
    world.update(id(1), &answered_call());
    assert_eq!(world.update(id(1), &empty), LocalSession::default());
    assert!(world.sockets.bound.is_empty());
}

#[test]
fn configurations_that_cannot_work_are_refused_with_a_reason() {
    let with = |change: &dyn Fn(&mut Config)| {
        let mut config = config();
        change(&mut config);
        Relay::new(config).err().inspect(|error| {
            assert!(!error.to_string().is_empty());
        })
    };
    let core = || "core".to_owned();
    assert_eq!(with(&|_| ()), None);
    assert_eq!(with(&|c| c.shards = 0), Some(ConfigError::Shard { shard: 0, shards: 0 }));
    assert_eq!(with(&|c| c.shard = 1), Some(ConfigError::Shard { shard: 1, shards: 1 }));
    assert_eq!(with(&|c| c.shards = 257), Some(ConfigError::Shard { shard: 0, shards: 257 }));
    assert_eq!(with(&|c| c.capacity = 0), Some(ConfigError::Capacity(0)));
    assert_eq!(with(&|c| c.capacity = usize::MAX), Some(ConfigError::Capacity(usize::MAX)));
    assert_eq!(with(&|c| c.ranges.clear()), Some(ConfigError::NoRanges));
    assert_eq!(with(&|c| c.ranges[1].name = core()), Some(ConfigError::DuplicateName(core())));
    assert_eq!(with(&|c| c.ranges[0].last_port = 20_000), Some(ConfigError::NoPorts(core())));
    assert_eq!(with(&|c| c.ranges[0].last_port = 1), Some(ConfigError::NoPorts(core())));
    let six = Some("fd00::1".parse().unwrap());
    assert_eq!(with(&|c| c.ranges[0].advertised = six), Some(ConfigError::Advertised(core())));
    let few = ConfigError::TooFewPorts { range: core(), blocks: 32, shards: 33 };
    assert_eq!(with(&|c| c.shards = 33), Some(few));
    let overlap = |c: &mut Config| c.ranges[1] = range("other", "127.0.0.0/16", 20_500, 30_000);
    assert_eq!(with(&overlap), Some(ConfigError::Overlap(core(), "other".to_owned())));
    assert_eq!(with(&|c| c.ranges[1] = range("other", "127.0.1.0/30", 21_000, 22_000)), None);
}
