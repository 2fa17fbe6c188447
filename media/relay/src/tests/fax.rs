//! T.38: datagrams that nobody looks into, and calls that change between them and audio.

use moorline_control::{Profile, StreamReport};

use super::*;

mod model;

const NAT: &str = "198.51.100.7:1111";

/// A UDPTL datagram: number, a primary IFP packet, no redundancy (ITU-T T.38 section 9.1).
fn udptl(sequence: u16) -> Vec<u8> {
    let mut packet = sequence.to_be_bytes().to_vec();
    packet.extend([3, 0xc0, 0x01, 0x80, 0, 0]);
    packet
}

fn fax(remote: &str) -> StreamSpec {
    StreamSpec { profile: Profile::Udptl, ..stream(Some(remote)) }
}

fn fax_call() -> SessionSpec {
    call(fax(ALICE), fax(BOB))
}

#[test]
fn fax_crosses_both_ways_and_is_counted_by_packet_and_byte() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &fax_call()));
    assert_eq!((alice.rtp.port() % 2, alice.rtcp.port()), (0, alice.rtp.port() + 1), "a pair of ports as ever");
    // Numbers far apart, and from the upper half: what RTP would take for loss, or for RTP.
    for sequence in [0, 1, 900, 899, 0x8000, 0x80c8, 0xbfff] {
        assert_eq!(world.packet(ALICE, alice.rtp, &udptl(sequence)), Ok((bob.rtp, address(BOB))));
        assert_eq!(world.packet(BOB, bob.rtp, &udptl(sequence)), Ok((alice.rtp, address(ALICE))));
        world.now += 37 * MS;
    }
    let counters = world.relay.counters();
    assert_eq!(counters.relayed(Traffic::Udptl), Relayed { packets: 14, bytes: 112 });
    assert_eq!(counters.relayed(Traffic::Rtp), Relayed::default());
    assert_eq!(counters.relayed(Traffic::Rtcp), Relayed::default());
    let report = |source| StreamReport { packets: 7, bytes: 56, source: Some(address(source)), ..Default::default() };
    assert_eq!(world.report(id(1)).legs, [[report(ALICE)], [report(BOB)]]);
    assert_eq!(world.close(id(1)).unwrap().legs, [[report(ALICE)], [report(BOB)]]);
}

#[test]
fn any_datagram_is_let_in_but_an_empty_one() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &fax_call()));
    let stun = [0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    for payload in [&[0][..], &[0xff; 1500], &stun, &[22, 0xfe, 0xfd, 0], &rtp(1), &rtcp(), &rtp(1)[..11]] {
        assert_eq!(world.packet(ALICE, alice.rtp, payload), Ok((bob.rtp, address(BOB))), "{payload:02x?}");
    }
    assert_eq!(world.packet(ALICE, alice.rtp, b""), Err(DropReason::Malformed));
    let report = world.report(id(1)).legs[0][0];
    assert_eq!((report.packets, report.rtcp_packets, report.refused), (7, 0, 1));
}

#[test]
fn nothing_is_let_in_at_its_rtcp_port() {
    let mut world = World::new();
    // Multiplexing and an RTCP address mean nothing here.
    let with_rtcp = StreamSpec { rtcp_mux: true, remote_rtcp: Some(address("10.0.0.1:4444")), ..fax(ALICE) };
    let (alice, bob) = sides(&world.open(id(1), &call(with_rtcp, fax(BOB))));
    for payload in [&rtcp()[..], &udptl(1), &rtp(1), b""] {
        for source in ["10.0.0.1:4001", "10.0.0.1:4444", ALICE, MALLORY] {
            assert_eq!(world.packet(source, alice.rtcp, payload), Err(DropReason::UnusedPort));
        }
    }
    assert_eq!(
        world.report(id(1)).legs[0][0],
        StreamReport { refused: 16, source: Some(address(ALICE)), ..Default::default() }
    );
    assert_eq!(world.packet(BOB, bob.rtp, &rtcp()), Ok((alice.rtp, address(ALICE))), "as any other datagram");
}

#[test]
fn a_machine_behind_nat_is_latched_and_held() {
    let mut world = World::new();
    let natted = StreamSpec { latch: latch("198.51.100.0/24", 5_000), ..fax(ALICE) };
    let (alice, bob) = sides(&world.open(id(1), &call(natted.clone(), fax(BOB))));
    assert_eq!(world.packet(MALLORY, alice.rtp, &udptl(0)), Err(DropReason::Source));
    assert_eq!(world.packet(NAT, alice.rtp, b""), Err(DropReason::Malformed), "nothing fixes nothing");
    assert_eq!(world.packet(NAT, alice.rtp, &udptl(0)), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.packet("198.51.100.8:1111", alice.rtp, &udptl(0)), Err(DropReason::Source));
    assert_eq!(world.packet(BOB, bob.rtp, &udptl(0)), Ok((alice.rtp, address(NAT))));
    let latched = Event::Latched { session: id(1), leg: 0, stream: 0, source: address(NAT) };
    assert_eq!(world.events(), [(OWNER, latched)]);
    // The window of a silent machine ends.
    world.close(id(1));
    let (alice, _) = sides(&world.open(id(2), &call(natted, fax(BOB))));
    world.pass(5 * SECOND);
    assert_eq!(world.packet(NAT, alice.rtp, &udptl(0)), Err(DropReason::Source));
}

#[test]
fn a_trunk_restricts_fax_to_its_networks() {
    let mut world = World::new();
    let elsewhere = StreamSpec { sources: vec!["47.103.169.128/25".parse().unwrap()], ..fax(BOB) };
    let (_, bob) = sides(&world.open(id(1), &call(fax(ALICE), elsewhere)));
    assert_eq!(world.packet(BOB, bob.rtp, &udptl(0)), Err(DropReason::SourceNetwork));
}

#[test]
fn a_call_changes_to_fax_and_back_on_the_same_ports() {
    let mut world = World::new();
    let audio = world.open(id(1), &answered_call());
    let (alice, bob) = sides(&audio);
    for sequence in [1, 2, 4] {
        world.packet(ALICE, alice.rtp, &rtp(sequence)).unwrap();
        world.now += 25 * MS;
    }
    world.packet("10.0.0.1:4001", alice.rtcp, &rtcp()).unwrap();
    assert_eq!(world.packet(ALICE, alice.rtp, &udptl(0)), Err(DropReason::NotRtp), "not yet");
    let before = world.report(id(1)).legs[0][0];
    assert_eq!((before.packets, before.lost, before.rtcp_packets, before.refused), (3, 1, 1, 1));
    assert!(before.jitter_us > 0);

    assert_eq!(world.update(id(1), &fax_call()), audio, "the ports stay");
    assert_eq!(world.report(id(1)).legs[0][0], before, "nothing is forgotten");
    assert_eq!(world.packet("10.0.0.1:4001", alice.rtcp, &rtcp()), Err(DropReason::UnusedPort));
    assert!(world.packet(ALICE, alice.rtp, &rtp(5)).is_ok(), "late audio goes on as it is");
    for sequence in 0..40 {
        assert_eq!(world.packet(ALICE, alice.rtp, &udptl(sequence)), Ok((bob.rtp, address(BOB))));
        assert_eq!(world.packet(BOB, bob.rtp, &udptl(sequence)), Ok((alice.rtp, address(ALICE))));
        assert_eq!(world.update(id(1), &fax_call()), audio);
    }
    let during = world.report(id(1)).legs[0][0];
    let expected = StreamReport { packets: 44, bytes: before.bytes + 172 + 320, refused: 2, ..before };
    assert_eq!(during, expected);

    assert_eq!(world.update(id(1), &answered_call()), audio);
    assert_eq!(world.packet(ALICE, alice.rtp, &udptl(40)), Err(DropReason::NotRtp), "late fax is refused");
    // The numbers went on meanwhile, and nothing of that is loss.
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(905)), Ok((bob.rtp, address(BOB))));
    assert!(world.packet(ALICE, alice.rtp, &rtp(907)).is_ok());
    assert!(world.packet("10.0.0.1:4001", alice.rtcp, &rtcp()).is_ok());
    let after = world.close(id(1)).unwrap().legs[0][0];
    assert_eq!((after.packets, after.lost, after.reordered), (46, 2, 0));
    assert_eq!((after.rtcp_packets, after.refused), (2, 3));
}

#[test]
fn audio_of_ssrc_0_after_fax_starts_like_any_other() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &fax_call()));
    world.packet(ALICE, alice.rtp, &udptl(0)).unwrap();
    world.update(id(1), &answered_call());
    for sequence in [500, 501, 503] {
        world.packet(ALICE, alice.rtp, &rtp_of(0, sequence, 160 * u32::from(sequence), 0)).unwrap();
    }
    let report = world.report(id(1)).legs[0][0];
    assert_eq!((report.packets, report.lost, report.reordered), (4, 1, 0));
}

#[test]
fn a_change_to_fax_keeps_the_latch_unless_the_party_moves() {
    let mut world = World::new();
    let natted = |stream| StreamSpec { latch: latch("198.51.100.0/24", 5_000), ..stream };
    let audio = call(natted(stream(Some(ALICE))), stream(Some(BOB)));
    let (alice, bob) = sides(&world.open(id(1), &audio));
    world.packet(NAT, alice.rtp, &rtp(1)).unwrap();
    world.pass(60 * SECOND);
    world.update(id(1), &call(natted(fax(ALICE)), fax(BOB)));
    assert_eq!(world.packet("198.51.100.7:2222", alice.rtp, &udptl(0)), Err(DropReason::Source));
    assert_eq!(world.packet(BOB, bob.rtp, &udptl(0)), Ok((alice.rtp, address(NAT))));
    // Its fax comes out of another socket, which its SDP says.
    world.update(id(1), &call(natted(fax("10.0.0.1:4400")), fax(BOB)));
    assert!(world.packet("198.51.100.7:2222", alice.rtp, &udptl(0)).is_ok());
    assert_eq!(world.packet(BOB, bob.rtp, &udptl(1)), Ok((alice.rtp, address("198.51.100.7:2222"))));
}

#[test]
fn fax_is_added_beside_audio_and_removed() {
    let mut world = World::new();
    let audio = world.open(id(1), &answered_call());
    let (alice, bob) = sides(&audio);
    world.packet(ALICE, alice.rtp, &rtp(1)).unwrap();
    let mut both = answered_call();
    both.legs[0].streams.push(fax("10.0.0.1:4500"));
    both.legs[1].streams.push(fax("47.103.169.70:6500"));
    let local = world.update(id(1), &both);
    assert_eq!(sides(&local), (alice, bob), "audio stays where it is");
    let (alice_fax, bob_fax) = (local.legs[0][1].unwrap(), local.legs[1][1].unwrap());
    let to_bob = Ok((bob_fax.rtp, address("47.103.169.70:6500")));
    for sequence in 2..10 {
        assert_eq!(world.packet(ALICE, alice.rtp, &rtp(sequence)), Ok((bob.rtp, address(BOB))));
        assert_eq!(world.packet("10.0.0.1:4500", alice_fax.rtp, &udptl(sequence)), to_bob);
        assert_eq!(world.packet(ALICE, alice.rtp, &udptl(sequence)), Err(DropReason::NotRtp));
    }
    let streams = &world.report(id(1)).legs[0];
    assert_eq!((streams[0].packets, streams[0].lost, streams[1].packets), (9, 0, 8));

    for leg in &mut both.legs {
        leg.streams[1].active = false;
    }
    let local = world.update(id(1), &both);
    assert_eq!((sides(&local), local.legs[0][1], local.legs[1][1]), ((alice, bob), None, None));
    assert_eq!(world.report(id(1)).legs[0][1].packets, 8);
    // Audio ends instead, and fax goes on alone.
    for (audio, fax) in [(true, true), (false, true)] {
        for leg in &mut both.legs {
            (leg.streams[0].active, leg.streams[1].active) = (audio, fax);
        }
        world.update(id(1), &both);
    }
    let alice_fax = world.update(id(1), &both).legs[0][1].unwrap();
    world.packet("10.0.0.1:4500", alice_fax.rtp, &udptl(10)).unwrap();
    let streams = &world.close(id(1)).unwrap().legs[0];
    assert_eq!((streams[0].packets, streams[1].packets), (9, 9));
}

/// A re-INVITE on its way: one party has changed already, the other has not.
#[test]
fn while_the_profiles_differ_each_port_lets_in_its_own() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &call(fax(ALICE), stream(Some(BOB)))));
    assert_eq!(world.packet(ALICE, alice.rtp, &rtp(1)), Ok((bob.rtp, address(BOB))), "audio until the answer");
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address(ALICE))));
    assert_eq!(world.packet(BOB, bob.rtp, &udptl(1)), Err(DropReason::NotRtp));
    assert_eq!(world.packet("47.103.169.70:6001", bob.rtcp, &rtcp()), Err(DropReason::NoDestination));
    let mux = StreamSpec { rtcp_mux: true, ..stream(Some(BOB)) };
    world.update(id(1), &call(fax(ALICE), mux));
    assert_eq!(world.packet(BOB, bob.rtp, &rtcp()), Err(DropReason::NoDestination));
}

#[test]
fn fax_keeps_a_session_alive_and_a_change_does_not_prolong_silence() {
    const TIMEOUT: u64 = 20 * SECOND;
    let watched = |spec| SessionSpec { media_timeout_ms: 20_000, ..spec };
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &watched(answered_call())));
    world.packet(ALICE, alice.rtp, &rtp(1)).unwrap();
    world.pass(TIMEOUT - SECOND);
    world.update(id(1), &watched(fax_call()));
    for sequence in 0..5 {
        world.packet(BOB, bob.rtp, &udptl(sequence)).unwrap();
        world.pass(TIMEOUT - SECOND);
        assert_eq!(world.packet("10.0.0.1:4001", alice.rtcp, &rtcp()), Err(DropReason::UnusedPort));
    }
    assert!(world.events().is_empty());
    world.update(id(1), &watched(answered_call()));
    world.pass(SECOND - 1);
    assert!(world.events().is_empty());
    world.pass(1);
    assert_eq!(world.events(), [(OWNER, Event::MediaTimeout { session: id(1) })]);
}
