//! Owners that go, and sessions that run on.

use moorline_control::{EndReason, RefusalCode};

use super::*;

#[test]
fn an_unclaimed_session_ends_with_its_lease_and_not_before() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &answered_call()));
    world.relay.release(world.now, OWNER, 30 * SECOND);
    world.pass(29 * SECOND);
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(1)), Ok((bob.rtp, address(BOB))), "media is not paused");
    world.pass(SECOND);
    assert!(world.sockets.bound.is_empty());
    let events = world.events();
    let [(owner, Event::Ended(ended))] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((*owner, ended.session, ended.reason), (OWNER, id(1), EndReason::LeaseExpired));
    assert_eq!(ended.report.legs[0][0].packets, 1);
    let counters = world.relay.counters();
    assert_eq!((counters.sessions, counters.closed, counters.leases_expired), (0, 1, 1));
}

#[test]
fn a_claimed_session_lives_on_under_its_new_owner() {
    let mut world = World::new();
    let local = world.open(id(1), &answered_call());
    let refusal = world.relay.claim(world.now, Owner(2), id(1)).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Owned);
    let refusal = world.relay.open(world.now, Owner(2), id(1), answered_call(), &mut world.sockets).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::Owned);
    world.relay.release(world.now, OWNER, 30 * SECOND);
    assert!(!world.relay.list(None, 1000).sessions[0].owned);
    assert_eq!(world.relay.claim(world.now, Owner(2), id(1)), Ok(local.clone()));
    assert_eq!(world.relay.claim(world.now, Owner(2), id(1)), Ok(local));
    assert!(world.relay.list(None, 1000).sessions[0].owned);
    assert_eq!(world.relay.next_timeout(), None, "the empty lease is forgotten");
    world.pass(3600 * SECOND);
    assert_eq!(world.relay.counters().sessions, 1);
    assert_eq!(world.relay.next_timeout(), None);
}

#[test]
fn opening_an_orphan_claims_it() {
    let mut world = World::new();
    let local = world.open(id(1), &answered_call());
    world.relay.release(world.now, OWNER, 30 * SECOND);
    let again = world.relay.open(world.now, Owner(2), id(1), answered_call(), &mut world.sockets);
    assert_eq!(again, Ok(local));
    world.pass(60 * SECOND);
    assert_eq!(world.relay.counters().sessions, 1);
}

#[test]
fn what_is_not_there_is_refused() {
    let mut world = World::new();
    assert_eq!(world.relay.claim(0, OWNER, id(9)).unwrap_err().code, RefusalCode::NoSuchSession);
    assert_eq!(world.relay.query(0, id(9)).unwrap_err().code, RefusalCode::NoSuchSession);
    let refusal = world.relay.update(0, id(9), answered_call(), &mut world.sockets).unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NoSuchSession);
}

#[test]
fn a_thousand_leases_end_in_slices() {
    let mut world = World::with(Config { capacity: 1000, ..config() });
    for n in 0..1000 {
        world.open(id(n), &answered_call());
    }
    world.relay.release(world.now, OWNER, SECOND);
    world.now += SECOND;
    let mut slices = 0;
    let mut ended = 0;
    while world.relay.next_timeout().is_some_and(|due| due <= world.now) {
        let before = world.relay.counters().closed;
        world.relay.handle_timeout(world.now, &mut world.sockets);
        assert!(world.relay.counters().closed - before <= 1);
        ended += world.events().len();
        slices += 1;
    }
    assert_eq!(ended, 1000);
    assert!(slices >= 1000);
    assert!(world.sockets.bound.is_empty());
}

#[test]
fn no_end_goes_untold_while_nobody_takes_events() {
    let ranges = vec![range("core", "127.0.1.0/28", 20_000, 20_999), range("carrier", "127.0.2.0/28", 30_000, 30_999)];
    let mut world = World::with(Config { capacity: 1500, ranges, ..config() });
    for n in 0..1500 {
        world.open(id(n), &answered_call());
    }
    world.relay.release(world.now, OWNER, SECOND);
    world.pass(10 * SECOND);
    let held = world.relay.counters().sessions;
    assert!(held > 0, "what cannot be told of goes on");
    assert!(world.relay.next_timeout().is_none_or(|due| due > world.now), "and does not keep the driver busy");
    let mut ended = world.events().len() as u64;
    assert_eq!(ended + held, 1500);
    assert!(!world.relay.has_events());
    world.pass(0);
    assert!(world.relay.has_events());
    ended += world.events().len() as u64;
    assert_eq!((ended, world.relay.counters().sessions), (1500, 0));
}

#[test]
fn owners_do_not_share_a_lease() {
    let mut world = World::new();
    world.open(id(1), &answered_call());
    world.relay.open(world.now, Owner(2), id(2), answered_call(), &mut world.sockets).unwrap();
    world.relay.release(world.now, OWNER, SECOND);
    world.pass(2 * SECOND);
    let left: Vec<SessionId> = world.relay.list(None, 1000).sessions.iter().map(|s| s.session).collect();
    assert_eq!(left, vec![id(2)]);
}

#[test]
fn pages_of_large_snapshots_fit_their_bound_and_miss_nothing() {
    const PAGE: usize = 20_000;
    let mut world = World::new();
    let spec = SessionSpec { snapshot: vec![7; moorline_control::MAX_SNAPSHOT], ..answered_call() };
    for n in (0..23).rev() {
        world.open(id(n), &spec);
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = world.relay.list(after, PAGE);
        let frame =
            moorline_control::ServerFrame::Reply { id: u32::MAX, reply: moorline_control::Reply::Listed(page.clone()) };
        assert!(moorline_control::codec::encode(&frame).unwrap().len() <= PAGE);
        assert!(page.sessions.iter().all(|listing| listing.snapshot == spec.snapshot && listing.owned));
        seen.extend(page.sessions.iter().map(|listing| listing.session));
        after = seen.last().copied();
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, (0..23).map(id).collect::<Vec<_>>());
    assert_eq!(world.relay.list(None, 0).sessions.len(), 1, "always one, or a listing would never end");
}

#[test]
fn the_largest_session_fits_a_frame() {
    let mut config = config();
    config.ranges = vec![range("six", "fd00::/64", 1024, 65_535)];
    let mut world = World::with(config);
    let streams = vec![stream(Some("[fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535")); moorline_control::MAX_STREAMS];
    let legs = vec![LegSpec { range: "six".to_owned(), streams }; moorline_control::MAX_LEGS];
    let spec = SessionSpec { legs, media_timeout_ms: 0, snapshot: vec![255; moorline_control::MAX_SNAPSHOT] };
    world.open(id(u64::MAX), &spec);
    world.open(id(1), &spec);
    let page = world.relay.list(None, 0);
    assert_eq!((page.sessions.len(), page.more), (1, true));
    let two = world.relay.list(None, moorline_control::MAX_FRAME);
    assert_eq!(two.sessions.len(), 2);
    let frame = moorline_control::ServerFrame::Reply { id: 1, reply: moorline_control::Reply::Listed(two) };
    assert!(moorline_control::codec::encode(&frame).is_ok());
}
