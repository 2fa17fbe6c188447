//! Which sources are followed, and which refused.

use super::*;

const NAT: &str = "198.51.100.7:1111";
const NAT_RTCP: &str = "198.51.100.7:1112";
const NAT_MOVED: &str = "198.51.100.7:2222";

/// Alice says a private address and sits behind a NAT; Bob is plain.
fn natted_call() -> SessionSpec {
    call(StreamSpec { latch: latch("198.51.100.0/24", 5_000), ..stream(Some(ALICE)) }, stream(Some(BOB)))
}

fn latched(source: &str) -> Vec<(Owner, Event)> {
    vec![(OWNER, Event::Latched { session: id(1), leg: 0, stream: 0, source: address(source) })]
}

#[test]
fn without_a_latch_only_the_sdp_address_is_accepted() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    for source in [MALLORY, "10.0.0.1:4001", "10.0.0.2:4000"] {
        assert_eq!(world.packet(source, alice.rtp, &rtp(1)), Err(DropReason::Source), "{source}");
    }
    assert_eq!(world.report(id(1)).legs[0][0].refused, 3);
    assert!(world.events().is_empty());
}

#[test]
fn the_first_packet_fixes_source_and_destination_and_then_holds() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    assert_eq!(world.packet(MALLORY, alice.rtp, &rtp(1)), Err(DropReason::Source), "not a latch network");
    assert_eq!(world.packet(NAT, alice.rtp, b"garbage"), Err(DropReason::NotRtp), "garbage fixes nothing");
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(1)), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.events(), latched(NAT));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(NAT))));
    assert_eq!(world.packet(NAT_MOVED, alice.rtp, &rtp(2)), Err(DropReason::Source), "held within the window");
    world.pass(10 * SECOND);
    assert_eq!(world.packet(NAT_MOVED, alice.rtp, &rtp(2)), Err(DropReason::Source));
    assert!(world.packet(NAT, alice.rtp, &rtp(2)).is_ok());
    assert!(world.packet(ALICE, alice.rtp, &rtp(3)).is_ok(), "the SDP's own address is always right");
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(2)), Ok((alice.rtp, address(NAT))));
    assert_eq!(world.report(id(1)).legs[0][0].source, Some(address(NAT)));
    assert!(world.events().is_empty());
}

#[test]
fn a_packet_from_the_sdp_address_settles_the_latch() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    assert!(world.packet(ALICE, alice.rtp, &rtp(1)).is_ok());
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(2)), Err(DropReason::Source));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(ALICE))));
    assert!(world.events().is_empty());
}

#[test]
fn after_the_window_nobody_is_followed() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &natted_call()));
    world.pass(5 * SECOND);
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(1)), Err(DropReason::Source));
    assert!(world.packet(ALICE, alice.rtp, &rtp(1)).is_ok());
}

#[test]
fn a_caller_that_was_silent_while_it_rang_has_its_window_at_the_answer() {
    let mut world = World::new();
    let mut ringing = natted_call();
    ringing.legs[1].streams[0].remote_rtp = None;
    let (alice, bob) = sides(&world.open(id(1), &ringing));
    world.pass(30 * SECOND);
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(1)), Err(DropReason::Source));
    world.update(id(1), &natted_call());
    world.pass(4 * SECOND);
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(1)), Ok((bob.rtp, address(BOB))));
}

#[test]
fn early_media_of_a_natted_party_goes_on_across_its_answer() {
    let mut world = World::new();
    let mut early = natted_call();
    early.legs[0].streams[0].remote_rtp = None;
    let (alice, bob) = sides(&world.open(id(1), &early));
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(1)), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(NAT))));
    world.update(id(1), &natted_call());
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(2)), Ok((alice.rtp, address(NAT))), "nothing goes astray");
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(2)), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.events(), latched(NAT), "said once");
}

#[test]
fn a_rebind_said_by_an_update_is_followed_and_late_packets_do_not_seize_it() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    world.pass(60 * SECOND);
    let mut moved = natted_call();
    moved.legs[0].streams[0].remote_rtp = Some(address("10.0.0.1:4444"));
    world.update(id(1), &moved);
    assert!(world.packet(NAT, alice.rtp, &rtp(2)).is_ok(), "still on the way, and not lost");
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address("10.0.0.1:4444"))));
    assert!(world.packet(NAT_MOVED, alice.rtp, &rtp(3)).is_ok());
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(2)), Ok((alice.rtp, address(NAT_MOVED))));
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(4)), Err(DropReason::Source));
    assert_eq!(world.events(), latched(NAT_MOVED), "as it is when the client asks");
}

#[test]
fn a_party_that_stays_in_spite_of_its_new_sdp_is_believed_after_a_while() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    let mut moved = natted_call();
    moved.legs[0].streams[0].remote_rtp = Some(address("10.0.0.1:4444"));
    world.update(id(1), &moved);
    world.pass(2 * SECOND);
    world.packet(NAT, alice.rtp, &rtp(2)).unwrap();
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(NAT))));
}

#[test]
fn an_update_with_the_same_address_keeps_the_latch() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    for _ in 0..3 {
        world.update(id(1), &natted_call());
        assert_eq!(world.packet(NAT_MOVED, alice.rtp, &rtp(2)), Err(DropReason::Source));
        assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(NAT))));
    }
}

#[test]
fn hold_and_resume_keep_the_latch() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    let mut held = natted_call();
    held.legs[0].streams[0].remote_rtp = Some(address("0.0.0.0:4000"));
    world.update(id(1), &held);
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Err(DropReason::NoDestination));
    world.update(id(1), &natted_call());
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(2)), Ok((alice.rtp, address(NAT))));
    assert_eq!(world.packet(NAT_MOVED, alice.rtp, &rtp(2)), Err(DropReason::Source));
}

#[test]
fn withdrawing_the_latch_returns_to_the_sdp_address() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    world.update(id(1), &answered_call());
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(2)), Err(DropReason::Source));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(ALICE))));
}

#[test]
fn rtcp_latches_for_itself_but_only_beside_rtp() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    let before = world.packet("47.103.169.70:6001", bob.rtcp, &rtcp());
    assert_eq!(before, Ok((alice.rtcp, address(NAT_RTCP))), "the best guess is the next port");
    assert_eq!(world.packet("198.51.100.8:9", alice.rtcp, &rtcp()), Err(DropReason::Source), "another host");
    assert!(world.packet("198.51.100.7:9999", alice.rtcp, &rtcp()).is_ok());
    let after = world.packet("47.103.169.70:6001", bob.rtcp, &rtcp());
    assert_eq!(after, Ok((alice.rtcp, address("198.51.100.7:9999"))));
    assert_eq!(world.events(), latched(NAT), "RTCP's latch is nobody's news");
}

#[test]
fn rtcp_latched_elsewhere_is_forgotten_when_rtp_comes() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    world.packet("198.51.100.8:9", alice.rtcp, &rtcp()).unwrap();
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    assert_eq!(world.packet("198.51.100.8:9", alice.rtcp, &rtcp()), Err(DropReason::Source));
    let guess = world.packet("47.103.169.70:6001", bob.rtcp, &rtcp());
    assert_eq!(guess, Ok((alice.rtcp, address(NAT_RTCP))));
}

#[test]
fn muxed_rtcp_may_be_the_first_packet() {
    let mut world = World::new();
    let mut spec = natted_call();
    spec.legs[0].streams[0].rtcp_mux = true;
    let (alice, bob) = sides(&world.open(id(1), &spec));
    assert!(world.packet(NAT, alice.rtp, &rtcp()).is_ok());
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(NAT))));
}

#[test]
fn a_trunk_restricts_media_to_its_networks() {
    let mut world = World::new();
    let carrier = |remote| StreamSpec { sources: vec!["47.103.169.64/27".parse().unwrap()], ..stream(Some(remote)) };
    let (alice, bob) = sides(&world.open(id(1), &call(stream(Some(ALICE)), carrier(BOB))));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(ALICE))));
    assert_eq!(world.packet("47.103.169.71:6000", bob.rtp, &rtp(1)), Err(DropReason::Source));
    assert_eq!(world.packet(MALLORY, bob.rtp, &rtp(1)), Err(DropReason::SourceNetwork));
    world.update(id(1), &call(stream(Some(ALICE)), carrier("203.0.113.5:6000")));
    assert_eq!(world.packet("203.0.113.5:6000", bob.rtp, &rtp(2)), Err(DropReason::SourceNetwork), "even by SDP");
}

#[test]
fn the_networks_bound_the_latch_too() {
    let mut world = World::new();
    let mut spec = natted_call();
    spec.legs[0].streams[0].latch = latch("0.0.0.0/0", 5_000);
    spec.legs[0].streams[0].sources = vec!["198.51.100.0/24".parse().unwrap()];
    let (alice, bob) = sides(&world.open(id(1), &spec));
    assert_eq!(world.packet(MALLORY, alice.rtp, &rtp(1)), Err(DropReason::SourceNetwork));
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(1)), Ok((bob.rtp, address(BOB))));
    spec.legs[0].streams[0].sources = vec!["10.0.0.0/8".parse().unwrap()];
    world.update(id(1), &spec);
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(2)), Err(DropReason::SourceNetwork), "narrowed in mid-call");
}

#[test]
fn a_party_that_may_have_moved_behind_its_nat_is_heard_from_its_new_port() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    world.packet(NAT_RTCP, alice.rtcp, &rtcp()).unwrap();
    world.pass(60 * SECOND);
    // The same SDP from the same signaling address: only the count says that there was a re-INVITE.
    let mut again = natted_call();
    again.legs[0].streams[0].relatch = 1;
    world.update(id(1), &again);
    assert!(world.packet(NAT, alice.rtp, &rtp(2)).is_ok(), "still on the way, and not lost");
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(NAT))), "where it was until heard anew");
    assert!(world.packet(NAT_MOVED, alice.rtp, &rtp(3)).is_ok());
    assert!(world.packet("198.51.100.7:2223", alice.rtcp, &rtcp()).is_ok());
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(2)), Ok((alice.rtp, address(NAT_MOVED))));
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(4)), Err(DropReason::Source));
    assert_eq!(world.events(), latched(NAT_MOVED));
    world.update(id(1), &again);
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(5)), Err(DropReason::Source), "the same count reopens nothing");
}

#[test]
fn a_party_that_did_not_move_after_all_keeps_its_latch() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    assert_eq!(world.events(), latched(NAT));
    let mut again = natted_call();
    again.legs[0].streams[0].relatch = 1;
    world.update(id(1), &again);
    world.pass(2 * SECOND);
    world.packet(NAT, alice.rtp, &rtp(2)).unwrap();
    assert_eq!(world.packet(NAT_MOVED, alice.rtp, &rtp(3)), Err(DropReason::Source));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(NAT))));
    assert!(world.events().is_empty());
}

#[test]
fn a_party_that_signals_from_elsewhere_is_heard_from_there() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted_call()));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    world.pass(60 * SECOND);
    let mut moved = natted_call();
    moved.legs[0].streams[0].latch = latch("192.0.2.9/32", 5_000);
    world.update(id(1), &moved);
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(2)), Err(DropReason::Source), "no latch network any more");
    assert_eq!(world.packet("192.0.2.9:3333", alice.rtp, &rtp(3)), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address("192.0.2.9:3333"))));
}

#[test]
fn a_source_that_the_trunk_forbids_from_now_on_leaves_its_window_to_another() {
    let mut world = World::new();
    let mut spec = natted_call();
    let (alice, bob) = sides(&world.open(id(1), &spec));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    world.pass(60 * SECOND);
    spec.legs[0].streams[0].sources = vec!["198.51.100.128/25".parse().unwrap()];
    world.update(id(1), &spec);
    assert_eq!(world.packet(NAT, alice.rtp, &rtp(2)), Err(DropReason::SourceNetwork));
    assert_eq!(world.packet("198.51.100.200:9", alice.rtp, &rtp(3)), Ok((bob.rtp, address(BOB))));
}
