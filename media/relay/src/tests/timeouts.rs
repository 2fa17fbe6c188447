//! Silence, and who is told.

use super::*;

const TIMEOUT: u64 = 20 * SECOND;

fn watched() -> SessionSpec {
    SessionSpec { media_timeout_ms: 20_000, ..answered_call() }
}

fn timed_out() -> Vec<(Owner, Event)> {
    vec![(OWNER, Event::MediaTimeout { session: id(1) })]
}

#[test]
fn silence_on_both_sides_is_said_once() {
    let mut world = World::new();
    world.open(id(1), &watched());
    world.pass(TIMEOUT - 1);
    assert!(world.events().is_empty());
    world.pass(1);
    assert_eq!(world.events(), timed_out());
    world.pass(10 * TIMEOUT);
    assert!(world.events().is_empty());
    let counters = world.relay.counters();
    assert_eq!((counters.timeouts, counters.sessions), (1, 1));
}

#[test]
fn either_party_keeps_the_session_alive() {
    for talker in [0, 1] {
        let mut world = World::new();
        let (alice, bob) = sides(&world.open(id(1), &watched()));
        let (source, to) = [(ALICE, alice.rtp), (BOB, bob.rtp)][talker];
        for sequence in 0..10 {
            world.pass(TIMEOUT - SECOND);
            world.packet(source, to, &rtp(sequence)).unwrap();
        }
        assert!(world.events().is_empty());
        world.pass(TIMEOUT - 1);
        assert!(world.events().is_empty());
        world.pass(1);
        assert_eq!(world.events(), timed_out());
    }
}

#[test]
fn rtcp_keeps_it_alive_and_refused_packets_do_not() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &watched()));
    world.pass(TIMEOUT / 2);
    world.packet("10.0.0.1:4001", alice.rtcp, &rtcp()).unwrap();
    world.pass(TIMEOUT / 2);
    assert_eq!(world.packet(MALLORY, alice.rtp, &rtp(1)), Err(DropReason::Source));
    assert!(world.events().is_empty());
    world.pass(TIMEOUT / 2);
    assert_eq!(world.events(), timed_out());
}

#[test]
fn a_call_on_hold_is_not_watched_and_starts_anew_at_resume() {
    let mut world = World::new();
    world.open(id(1), &watched());
    world.pass(TIMEOUT / 2);
    world.update(id(1), &answered_call());
    assert_eq!(world.relay.next_timeout(), None);
    world.pass(100 * TIMEOUT);
    assert!(world.events().is_empty());
    world.update(id(1), &watched());
    world.pass(TIMEOUT - 1);
    assert!(world.events().is_empty());
    world.pass(1);
    assert_eq!(world.events(), timed_out());
}

#[test]
fn a_repeated_request_does_not_prolong_silence() {
    let mut world = World::new();
    world.open(id(1), &watched());
    world.pass(TIMEOUT / 2);
    world.update(id(1), &watched());
    world.pass(TIMEOUT / 2);
    assert_eq!(world.events(), timed_out());
}

#[test]
fn nobody_is_told_while_nobody_owns_it_and_the_claimant_gets_a_full_timeout() {
    let mut world = World::new();
    world.open(id(1), &watched());
    world.relay.release(world.now, OWNER, 600 * SECOND);
    world.pass(10 * TIMEOUT);
    assert!(world.events().is_empty());
    world.relay.claim(world.now, Owner(2), id(1)).unwrap();
    world.pass(TIMEOUT - 1);
    assert!(world.events().is_empty());
    world.pass(1);
    assert_eq!(world.events(), vec![(Owner(2), Event::MediaTimeout { session: id(1) })]);
}

#[test]
fn a_timeout_said_to_an_owner_that_died_is_said_again_to_the_next() {
    let mut world = World::new();
    world.open(id(1), &watched());
    world.pass(TIMEOUT);
    world.relay.release(world.now, OWNER, 600 * SECOND);
    world.relay.claim(world.now, Owner(2), id(1)).unwrap();
    assert!(world.events().is_empty());
    world.pass(TIMEOUT);
    assert_eq!(world.events(), vec![(Owner(2), Event::MediaTimeout { session: id(1) })]);
}

#[test]
fn a_closed_session_leaves_no_timer_and_no_event() {
    let mut world = World::new();
    world.open(id(1), &watched());
    world.pass(TIMEOUT);
    world.close(id(1));
    assert!(world.events().is_empty());
    world.pass(Config::DEFAULT_PORT_REST_NS);
    assert_eq!((world.relay.next_timeout(), world.relay.counters().ports_resting), (None, 0));
}

#[test]
fn a_thousand_calls_fall_silent_in_the_same_millisecond() {
    let mut world = World::with(Config { capacity: 1000, ..config() });
    for n in 0..1000 {
        world.open(id(n), &watched());
    }
    world.pass(TIMEOUT);
    assert_eq!(world.events().len(), 1000);
    assert_eq!(world.relay.next_timeout(), None);
}

#[test]
fn what_a_closed_session_had_to_tell_is_not_told_of_the_one_that_takes_its_place() {
    let mut world = World::with(Config { capacity: 1, ..config() });
    for n in 0..3 {
        world.open(id(n), &watched());
        world.pass(TIMEOUT);
        assert!(world.relay.has_events());
        world.close(id(n));
    }
    world.open(id(9), &watched());
    assert!(world.events().is_empty());
    world.pass(TIMEOUT);
    assert_eq!(world.events(), vec![(OWNER, Event::MediaTimeout { session: id(9) })]);
    assert!(!world.relay.has_events());
}
