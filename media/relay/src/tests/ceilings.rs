//! What a party sends above its ceiling, and packets that circle.

use moorline_control::Ceiling;

use super::*;

fn bounded(packets_per_s: u32, bytes_per_s: u32) -> SessionSpec {
    let ceiling = Some(Ceiling { packets_per_s, bytes_per_s });
    call(StreamSpec { ceiling, ..stream(Some(ALICE)) }, stream(Some(BOB)))
}

/// Sends `count` packets in `time`; how many were let in.
fn send(world: &mut World, to: SocketAddr, count: u32, time: u64) -> u32 {
    let mut passed = 0;
    for n in 0..count {
        passed += u32::from(world.packet(ALICE, to, &rtp(n as u16)).is_ok());
        world.pass(time / u64::from(count));
    }
    passed
}

#[test]
fn a_flood_of_the_right_stream_is_cut_to_its_ceiling_and_counted() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &bounded(200, 100_000)));
    let passed = send(&mut world, alice.rtp, 100_000, 10 * SECOND);
    assert!((2_000..=2_400).contains(&passed), "{passed} of 100,000 passed in 10 s at 200/s");
    let refused = u64::from(100_000 - passed);
    assert_eq!(world.relay.counters().dropped[DropReason::Rate.index()], refused);
    assert_eq!(world.report(id(1)).legs[0][0].refused, refused);
}

#[test]
fn large_packets_are_cut_by_their_bytes() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &bounded(1_000, 20_000)));
    let mut large = rtp(0);
    large.resize(1_400, 0);
    let mut passed = 0;
    for n in 0..1_000u16 {
        large[2..4].copy_from_slice(&n.to_be_bytes());
        passed += u32::from(world.packet(ALICE, alice.rtp, &large).is_ok());
        world.pass(10 * MS);
    }
    assert!((140..=172).contains(&passed), "{passed} of 1,400 bytes passed in 10 s at 20,000 B/s");
    assert_eq!(world.relay.counters().dropped[DropReason::Bandwidth.index()], u64::from(1_000 - passed));
}

#[test]
fn what_a_stalled_network_delivers_at_once_passes_again_and_again() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &bounded(200, 44_800)));
    for stall in 0..100 {
        // 10 ms packets: 800 ms of them on time, then 200 ms at once.
        assert_eq!(send(&mut world, alice.rtp, 80, 800 * MS), 80, "stall {stall}");
        world.pass(200 * MS);
        assert_eq!(send(&mut world, alice.rtp, 20, 20), 20, "stall {stall}");
    }
    assert_eq!(world.report(id(1)).legs[0][0].refused, 0);
}

#[test]
fn a_stream_just_below_its_ceiling_loses_nothing() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &bounded(100, 17_200)));
    assert_eq!(send(&mut world, alice.rtp, 60_000, 600 * SECOND), 60_000);
}

#[test]
fn an_update_changes_the_ceiling() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &bounded(10, 10_000)));
    assert_eq!(send(&mut world, alice.rtp, 100, 1), 20, "the burst, and the first second's");
    world.update(id(1), &bounded(100, 100_000));
    assert_eq!(send(&mut world, alice.rtp, 100, 1), 100);
    let before = world.report(id(1)).legs[0][0].packets;
    world.update(id(1), &bounded(100, 100_000));
    send(&mut world, alice.rtp, 1_000, 1);
    assert!(world.report(id(1)).legs[0][0].packets <= before + 100, "the same ceiling again gives no new burst");
}

#[test]
fn a_ceiling_that_lets_nothing_in_is_refused() {
    for (packets, bytes) in [(0, 10_000), (10, 0), (10, 2_047)] {
        let refusal = World::new().try_open(id(1), &bounded(packets, bytes)).unwrap_err();
        assert_eq!(refusal.code, moorline_control::RefusalCode::Unacceptable);
    }
}

#[test]
fn rtcp_and_fax_have_ceilings_too() {
    let mut world = World::new();
    let fax = |remote| StreamSpec { profile: moorline_control::Profile::Udptl, ..stream(Some(remote)) };
    let local = world.open(id(1), &call(fax(ALICE), fax(BOB)));
    let passed = |world: &mut World, from: &str, to, payload: &[u8]| {
        (0..20_000).filter(|_| world.packet(from, to, payload).is_ok()).count()
    };
    assert_eq!(passed(&mut world, ALICE, sides(&local).0.rtp, b"fax"), 8_000, "the burst and the first second's");
    let local = world.open(id(2), &answered_call());
    assert_eq!(passed(&mut world, "10.0.0.1:4001", sides(&local).0.rtcp, &rtcp()), 400);
    assert_eq!(world.relay.counters().dropped[DropReason::Rate.index()], 20_000 - 8_000 + 20_000 - 400);
}

#[test]
fn feedback_of_a_video_call_with_loss_passes() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    // Requests for lost packets and reports of arrivals, 50 a second each, for a minute.
    let passed = (0..6_000).filter(|_| {
        world.pass(10 * MS);
        world.packet("10.0.0.1:4001", alice.rtcp, &rtcp()).is_ok()
    });
    assert_eq!(passed.count(), 6_000);
}

/// Two calls between the same two parties, each of which names the other call's ports as its own: a packet
/// between them meets nobody, and would go round for as long as the calls last.
#[test]
fn packets_that_circle_between_two_calls_come_to_an_end() {
    let mut world = World::new();
    let first = sides(&world.open(id(1), &answered_call()));
    let second = sides(&world.open(id(2), &answered_call()));
    let at = |ports: (LocalAddresses, LocalAddresses)| {
        let text = |local: LocalAddresses| local.rtp.to_string();
        call(stream(Some(&text(ports.0))), stream(Some(&text(ports.1))))
    };
    world.update(id(1), &at(second));
    world.update(id(2), &at(first));
    let mut circling = [(second.0.rtp, first.0.rtp), (second.1.rtp, first.1.rtp)].map(Some);
    let mut hops = 0u64;
    while circling.iter().any(Option::is_some) {
        for place in &mut circling {
            *place = place.and_then(|(from, to)| world.packet(&from.to_string(), to, &rtp(7)).ok());
            hops += 1;
            world.pass(10_000);
        }
        assert!(hops < 1_000_000, "packets circle for ever");
    }
    assert!(hops < 100_000, "{hops} hops");
}

/// A call that comes back to this host as another: media goes from one session to the other, and on.
#[test]
fn a_call_that_comes_back_as_another_is_relayed_through_both() {
    let mut world = World::new();
    let first = sides(&world.open(id(1), &call(stream(Some(ALICE)), stream(None))));
    let second = sides(&world.open(id(2), &call(stream(Some(&first.1.rtp.to_string())), stream(Some(BOB)))));
    world.update(id(1), &call(stream(Some(ALICE)), stream(Some(&second.0.rtp.to_string()))));
    for n in 0..3_000 {
        let (from, to) = world.packet(ALICE, first.0.rtp, &rtp(n)).unwrap();
        assert_eq!((from, to), (first.1.rtp, second.0.rtp));
        assert_eq!(world.packet(&from.to_string(), to, &rtp(n)), Ok((second.1.rtp, address(BOB))));
        let (from, to) = world.packet(BOB, second.1.rtp, &rtp(n)).unwrap();
        assert_eq!(world.packet(&from.to_string(), to, &rtp(n)), Ok((first.0.rtp, address(ALICE))));
        world.pass(20 * MS);
    }
}
