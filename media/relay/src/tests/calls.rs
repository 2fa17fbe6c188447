//! Where packets go.

use super::*;

#[test]
fn audio_crosses_both_ways_from_the_addresses_that_sdp_promised() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &answered_call()));
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(1)), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(ALICE))));
    assert_eq!(world.packet("10.0.0.1:4001", alice.rtcp, &rtcp()), Ok((bob.rtcp, address("47.103.169.70:6001"))));
    assert_eq!(world.packet("47.103.169.70:6001", bob.rtcp, &rtcp()), Ok((alice.rtcp, address("10.0.0.1:4001"))));
    let counters = world.relay.counters();
    assert_eq!(counters.relayed(Traffic::Rtp), Relayed { packets: 2, bytes: 344 });
    assert_eq!(counters.relayed(Traffic::Rtcp), Relayed { packets: 2, bytes: 16 });
    assert_eq!((counters.sessions, counters.ports_in_use, counters.dropped), (1, 4, [0; DropReason::COUNT]));
}

/// The hint that memory is loaded by names the port that packets then leave from, and promises nothing.
#[test]
fn the_port_that_a_packet_will_leave_by_is_known_beforehand() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &answered_call()));
    let endpoint = |world: &World, local: SocketAddr| {
        *world.sockets.bound.iter().find(|(_, bound)| **bound == local).expect("a bound address").0
    };
    for (from, to) in [(alice.rtp, bob.rtp), (bob.rtp, alice.rtp), (alice.rtcp, bob.rtcp)] {
        assert_eq!(world.relay.load(endpoint(&world, from)), endpoint(&world, to));
    }
    let counters = *world.relay.counters();
    world.relay.load(EndpointId(u32::MAX));
    assert_eq!(*world.relay.counters(), counters);
}

#[test]
fn rtcp_goes_where_the_party_asked_for_it() {
    let mut world = World::new();
    let asked = StreamSpec { remote_rtcp: Some(address("47.103.169.71:7777")), ..stream(Some(BOB)) };
    let (alice, bob) = sides(&world.open(id(1), &call(stream(Some(ALICE)), asked)));
    assert_eq!(world.packet("10.0.0.1:4001", alice.rtcp, &rtcp()), Ok((bob.rtcp, address("47.103.169.71:7777"))));
    assert!(world.packet("47.103.169.71:7777", bob.rtcp, &rtcp()).is_ok());
}

#[test]
fn rtcp_shares_the_rtp_port_of_both_parties() {
    let mut world = World::new();
    let mux = |remote| StreamSpec { rtcp_mux: true, ..stream(Some(remote)) };
    let (alice, bob) = sides(&world.open(id(1), &call(mux(ALICE), mux(BOB))));
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(1)), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.packet(ALICE, alice.rtp, &rtcp()), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.report(id(1)).legs[0][0].rtcp_packets, 1);
}

#[test]
fn rtcp_changes_ports_between_a_muxed_party_and_a_plain_one() {
    let mut world = World::new();
    let mux = StreamSpec { rtcp_mux: true, ..stream(Some(ALICE)) };
    let (alice, bob) = sides(&world.open(id(1), &call(mux, stream(Some(BOB)))));
    assert_eq!(world.packet(ALICE, alice.rtp, &rtcp()), Ok((bob.rtcp, address("47.103.169.70:6001"))));
    assert_eq!(world.packet("47.103.169.70:6001", bob.rtcp, &rtcp()), Ok((alice.rtp, address(ALICE))));
    assert_eq!(world.packet(BOB, bob.rtp, &rtcp()), Err(DropReason::NotRtp));
}

#[test]
fn payload_types_that_look_like_rtcp_are_rtp_where_nothing_is_muxed() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &answered_call()));
    let marked = rtp_of(0x80 | 90, 1, 160, 7);
    assert_eq!(world.packet(ALICE, alice.rtp, &marked), Ok((bob.rtp, address(BOB))));
}

#[test]
fn two_streams_do_not_mix() {
    let mut world = World::new();
    let mut spec = answered_call();
    spec.legs[0].streams.push(stream(Some("10.0.0.1:4002")));
    spec.legs[1].streams.push(stream(Some("47.103.169.70:6002")));
    let local = world.open(id(1), &spec);
    let (alice_video, bob_video) = (local.legs[0][1].unwrap(), local.legs[1][1].unwrap());
    let forwarded = world.packet("10.0.0.1:4002", alice_video.rtp, &rtp(1));
    assert_eq!(forwarded, Ok((bob_video.rtp, address("47.103.169.70:6002"))));
    assert_eq!(world.packet(ALICE, alice_video.rtp, &rtp(2)), Err(DropReason::Source));
}

#[test]
fn early_packets_are_accepted_and_go_nowhere_until_the_answer() {
    let mut world = World::new();
    let offered = call(stream(Some(ALICE)), stream(None));
    let (alice, bob) = sides(&world.open(id(1), &offered));
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(1)), Err(DropReason::NoDestination));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Err(DropReason::Source));
    assert_eq!(world.update(id(1), &answered_call()), LocalSession { legs: vec![vec![Some(alice)], vec![Some(bob)]] });
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(2)), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.report(id(1)).legs[0][0].packets, 2);
}

#[test]
fn an_update_that_changes_nothing_keeps_ports_and_packets() {
    let mut world = World::new();
    let local = world.open(id(1), &answered_call());
    let (alice, bob) = sides(&local);
    for sequence in 0..20 {
        assert_eq!(world.update(id(1), &answered_call()), local);
        assert_eq!(world.open(id(1), &answered_call()), local);
        assert_eq!(world.packet(ALICE, alice.rtp, &rtp(sequence)), Ok((bob.rtp, address(BOB))));
    }
    assert_eq!(world.report(id(1)).legs[0][0].packets, 20);
    assert_eq!(world.relay.counters().opened, 1);
}

#[test]
fn a_party_on_hold_is_sent_nothing_and_still_heard() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &answered_call()));
    world.update(id(1), &call(stream(Some("0.0.0.0:4000")), stream(Some(BOB))));
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Err(DropReason::NoDestination));
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(1)), Ok((bob.rtp, address(BOB))), "music on hold");
    world.update(id(1), &answered_call());
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(2)), Ok((alice.rtp, address(ALICE))));
}

#[test]
fn a_stream_is_refused_and_comes_back() {
    let mut world = World::new();
    let mut spec = answered_call();
    let (alice, _) = sides(&world.open(id(1), &spec));
    world.packet(ALICE, alice.rtp, &rtp(1)).unwrap();
    spec.legs[0].streams[0].active = false;
    spec.legs[1].streams[0].active = false;
    assert_eq!(world.update(id(1), &spec).legs, vec![vec![None], vec![None]]);
    assert!(world.sockets.bound.is_empty());
    assert_eq!(world.report(id(1)).legs[0][0].packets, 1);
    let (alice, bob) = sides(&world.update(id(1), &answered_call()));
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(2)), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.report(id(1)).legs[0][0].packets, 2);
}

#[test]
fn what_is_not_media_is_refused_by_reason() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    let mut stun = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    stun.resize(20, 7);
    for (payload, reason) in [
        (&b""[..], DropReason::NotRtp),
        (&b"\x80"[..], DropReason::NotRtp),
        (&stun, DropReason::Stun),
        (&[22, 0xfe, 0xfd, 0][..], DropReason::Dtls),
        (&rtp(1)[..11], DropReason::Malformed),
        (&[0x8f, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], DropReason::Malformed),
        (&rtcp(), DropReason::NotRtp),
    ] {
        assert_eq!(world.packet(ALICE, alice.rtp, payload), Err(reason), "{payload:02x?}");
    }
    assert_eq!(world.packet("10.0.0.1:4001", alice.rtcp, &rtcp()[..7]), Err(DropReason::Malformed));
    assert_eq!(world.packet("10.0.0.1:4001", alice.rtcp, &rtp(1)), Err(DropReason::NotRtp));
    let counters = world.relay.counters();
    assert_eq!(counters.dropped[DropReason::NotRtp.index()], 4);
    assert_eq!(counters.dropped[DropReason::Malformed.index()], 3);
    assert_eq!(world.report(id(1)).legs[0][0].refused, 9);
}

#[test]
fn a_closed_session_hears_nothing() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    let endpoint = *world.sockets.bound.iter().find(|(_, bound)| **bound == alice.rtp).unwrap().0;
    world.packet(ALICE, alice.rtp, &rtp(1)).unwrap();
    world.now += 2 * SECOND;
    let report = world.close(id(1)).unwrap();
    assert_eq!((report.legs[0][0].packets, report.open_ms), (1, 2000));
    assert_eq!(world.close(id(1)), None);
    for endpoint in [endpoint, EndpointId(u32::MAX)] {
        let verdict = world.relay.packet(world.now, endpoint, address(ALICE), &rtp(2));
        assert_eq!(verdict, Verdict::Drop(DropReason::NoSession));
    }
    assert!(world.sockets.bound.is_empty());
}

#[test]
fn a_third_leg_is_counted_and_heard_by_nobody() {
    let mut world = World::new();
    let mut spec = answered_call();
    spec.legs.push(LegSpec { range: "core".to_owned(), streams: vec![stream(Some("10.0.0.3:5000"))] });
    let local = world.open(id(1), &spec);
    let third = local.legs[2][0].unwrap();
    assert_eq!(world.packet("10.0.0.3:5000", third.rtp, &rtp(1)), Err(DropReason::NoDestination));
    assert_eq!(world.report(id(1)).legs[2][0].packets, 1);
}

#[test]
fn ipv4_talks_to_ipv6() {
    let mut config = config();
    config.ranges.push(range("six", "fd00:1::/64", 40_000, 40_999));
    let mut world = World::with(config);
    let mut spec = call(stream(Some(ALICE)), stream(Some("[fd00:2::9]:6000")));
    spec.legs[1].range = "six".to_owned();
    let (alice, six) = sides(&world.open(id(1), &spec));
    assert!(six.rtp.is_ipv6());
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(1)), Ok((six.rtp, address("[fd00:2::9]:6000"))));
    assert_eq!(world.packet("[fd00:2::9]:6000", six.rtp, &rtp(1)), Ok((alice.rtp, address(ALICE))));
}

#[test]
fn a_party_that_names_a_port_of_its_own_session_is_sent_nothing() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &answered_call()));
    let (to_bob, to_alice) = (bob.rtp.to_string(), alice.rtp.to_string());
    world.update(id(1), &call(stream(Some(&to_bob)), stream(Some(&to_alice))));
    assert_eq!(world.packet(&to_bob, alice.rtp, &rtp(1)), Err(DropReason::NoDestination));
}
