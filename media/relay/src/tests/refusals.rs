//! What is no media of its stream: every reason to refuse a packet, each counted under its own name.

use super::*;

fn stun() -> Vec<u8> {
    let mut request = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42];
    request.extend([7; 12]);
    request
}

fn dropped(world: &World) -> Vec<DropReason> {
    let counted = |reason: &DropReason| world.relay.counters().dropped[reason.index()] > 0;
    DropReason::ALL.into_iter().filter(counted).collect()
}

#[test]
fn what_is_not_rtp_goes_nowhere() {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &answered_call()));
    let dtls = [22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let large = |first: u8| vec![first; 1_500];
    let cases = [
        (alice.rtp, vec![], DropReason::NotRtp),
        (alice.rtp, vec![0x80], DropReason::NotRtp),
        (alice.rtp, b"garbage".to_vec(), DropReason::NotRtp),
        (alice.rtp, large(0), DropReason::NotRtp),
        (alice.rtp, large(0xff), DropReason::NotRtp),
        (alice.rtp, large(0x9f), DropReason::Malformed),
        (alice.rtp, rtp(1)[..11].to_vec(), DropReason::Malformed),
        (alice.rtp, dtls.to_vec(), DropReason::Dtls),
        (alice.rtp, stun(), DropReason::Stun),
        (alice.rtcp, stun(), DropReason::Stun),
        (alice.rtcp, dtls.to_vec(), DropReason::Dtls),
        (alice.rtcp, vec![], DropReason::NotRtp),
        (alice.rtcp, rtp(1), DropReason::NotRtp),
        (alice.rtp, rtcp(), DropReason::NotRtp),
        (alice.rtcp, rtcp()[..6].to_vec(), DropReason::Malformed),
    ];
    for (n, (to, payload, reason)) in cases.iter().enumerate() {
        let source = if *to == alice.rtp { ALICE } else { "10.0.0.1:4001" };
        assert_eq!(world.packet(source, *to, payload), Err(*reason), "case {n}");
    }
    assert_eq!(world.report(id(1)).legs[0][0].refused, cases.len() as u64);
    let mut ethernet = rtp(1);
    ethernet.resize(1_472, 0xd5);
    assert_eq!(world.packet(ALICE, alice.rtp, &ethernet), Ok((bob.rtp, address(BOB))));
}

#[test]
fn stun_is_relayed_where_its_stream_says_so_and_comes_from_the_party() {
    let mut world = World::new();
    let stun_too = |remote| StreamSpec { stun: true, ..stream(Some(remote)) };
    let (alice, bob) = sides(&world.open(id(1), &call(stun_too(ALICE), stream(Some(BOB)))));
    assert_eq!(world.packet(ALICE, alice.rtp, &stun()), Ok((bob.rtp, address(BOB))));
    assert_eq!(world.packet("10.0.0.1:4001", alice.rtcp, &stun()), Ok((bob.rtcp, address("47.103.169.70:6001"))));
    assert_eq!(world.packet(MALLORY, alice.rtp, &stun()), Err(DropReason::Source));
    assert_eq!(world.packet(BOB, bob.rtp, &stun()), Err(DropReason::Stun), "the other party's stream does not");
    let report = world.report(id(1));
    assert_eq!((report.legs[0][0].packets, report.legs[0][0].refused), (0, 1), "it is no media");
    assert_eq!(world.relay.counters().relayed(Traffic::Stun), Relayed { packets: 2, bytes: 40 });
}

#[test]
fn stun_settles_no_latch() {
    let mut world = World::new();
    let natted = StreamSpec { stun: true, latch: latch("198.51.100.0/24", 5_000), ..stream(Some(ALICE)) };
    let (alice, bob) = sides(&world.open(id(1), &call(natted, stream(Some(BOB)))));
    assert_eq!(world.packet("198.51.100.7:1111", alice.rtp, &stun()), Err(DropReason::Source));
    assert!(world.packet(ALICE, alice.rtp, &stun()).is_ok());
    assert!(world.packet("198.51.100.7:1111", alice.rtp, &rtp(1)).is_ok());
    assert!(world.packet("198.51.100.7:1111", alice.rtp, &stun()).is_ok());
    assert_eq!(world.packet(BOB, bob.rtp, &rtp(1)), Ok((alice.rtp, address("198.51.100.7:1111"))));
}

#[test]
fn every_reason_is_counted_under_its_own_name() {
    let mut world = World::new();
    let inside = StreamSpec { sources: vec!["10.0.0.0/8".parse().unwrap()], ..stream(Some(ALICE)) };
    let (alice, bob) = sides(&world.open(id(1), &call(inside, stream(None))));
    world.packet(ALICE, alice.rtp, &rtp(1)).unwrap_err();
    world.packet(ALICE, alice.rtp, &rtp(2)).unwrap_err();
    assert_eq!(dropped(&world), [DropReason::NoDestination]);
    world.packet(MALLORY, alice.rtp, &rtp(1)).unwrap_err();
    world.packet(BOB, bob.rtp, &rtp(1)).unwrap_err();
    world.packet(ALICE, alice.rtp, b"").unwrap_err();
    world.packet(ALICE, alice.rtp, &rtp(1)[..9]).unwrap_err();
    world.packet(ALICE, alice.rtp, &rtp_of(0, 7, 7, 0xbad)).unwrap_err();
    world.packet(ALICE, alice.rtp, &stun()).unwrap_err();
    world.packet(ALICE, alice.rtp, &[20; 20]).unwrap_err();
    let fax = StreamSpec { profile: moorline_control::Profile::Udptl, ..stream(Some(ALICE)) };
    let ceiling = Some(moorline_control::Ceiling { packets_per_s: 1, bytes_per_s: 3_000 });
    let slow = StreamSpec { ceiling, ..stream(Some(BOB)) };
    let (alice, bob) = sides(&world.open(id(2), &call(fax, slow)));
    world.packet(ALICE, alice.rtcp, b"fax").unwrap_err();
    let mut large = rtp(0);
    large.resize(1_472, 0);
    let outcomes: Vec<_> = (0..6).map(|_| world.packet(BOB, bob.rtp, &large).err()).collect();
    assert!(outcomes.contains(&Some(DropReason::Rate)), "{outcomes:?}");
    let ceiling = Some(moorline_control::Ceiling { packets_per_s: 100, bytes_per_s: 3_000 });
    world.update(id(2), &call(stream(Some(ALICE)), StreamSpec { ceiling, ..stream(Some(BOB)) }));
    let outcomes: Vec<_> = (0..6).map(|_| world.packet(BOB, bob.rtp, &large).err()).collect();
    assert!(outcomes.contains(&Some(DropReason::Bandwidth)), "{outcomes:?}");
    let nobody = world.relay.packet(world.now, EndpointId(99_999), address(BOB), &rtp(1));
    assert_eq!(nobody, Verdict::Drop(DropReason::NoSession));
    assert_eq!(dropped(&world), DropReason::ALL);
}
