//! Packets from the right source with a wrong SSRC, and changes of SSRC that are right.

use super::*;

const OLD: u32 = 0x1111;
const NEW: u32 = 0x2222;

/// A call in which Alice has spoken for a while.
fn spoken() -> (World, LocalAddresses, LocalAddresses) {
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &answered_call()));
    world.pass(5 * SECOND);
    for n in 0..50 {
        world.packet(ALICE, alice.rtp, &packet(OLD, n)).unwrap();
        world.pass(20 * MS);
    }
    (world, alice, bob)
}

fn packet(ssrc: u32, n: u16) -> Vec<u8> {
    rtp_of(0, n, u32::from(n) * 160, ssrc)
}

/// How many of `count` packets of a source pass, 20 ms apart.
fn say(world: &mut World, to: SocketAddr, ssrc: u32, first: u16, count: u16) -> usize {
    let mut passed = 0;
    for n in first..first + count {
        passed += usize::from(world.packet(ALICE, to, &packet(ssrc, n)).is_ok());
        world.pass(20 * MS);
    }
    passed
}

#[test]
fn of_a_flood_of_forged_sources_nothing_passes_and_the_stream_loses_nothing() {
    let (mut world, alice, _) = spoken();
    let mut random = 1u32;
    for n in 50..550 {
        for _ in 0..20 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let forged = packet(random, (random >> 13) as u16);
            assert_eq!(world.packet(ALICE, alice.rtp, &forged), Err(DropReason::Ssrc));
        }
        world.packet(ALICE, alice.rtp, &packet(OLD, n)).unwrap();
        world.pass(20 * MS);
    }
    let report = &world.report(id(1)).legs[0][0];
    assert_eq!((report.packets, report.refused, report.lost), (550, 10_000, 0));
    assert_eq!(world.relay.counters().dropped[DropReason::Ssrc.index()], 10_000);
}

#[test]
fn one_forged_source_that_counts_well_does_not_pass_either() {
    let (mut world, alice, _) = spoken();
    for n in 50..150 {
        assert_eq!(world.packet(ALICE, alice.rtp, &packet(NEW, n)), Err(DropReason::Ssrc));
        world.packet(ALICE, alice.rtp, &packet(OLD, n)).unwrap();
        world.pass(20 * MS);
    }
}

#[test]
fn a_change_without_notice_is_heard_after_a_short_break() {
    let (mut world, alice, _) = spoken();
    assert_eq!(say(&mut world, alice.rtp, NEW, 0, 100), 93, "140 ms are lost");
    assert_eq!(say(&mut world, alice.rtp, 0x3333, 0, 100), 93, "a mixer goes on to the next source");
}

#[test]
fn whoever_spoke_beside_the_party_waits_for_half_a_second_of_silence() {
    let (mut world, alice, _) = spoken();
    for n in 50..60 {
        world.packet(ALICE, alice.rtp, &packet(OLD, n)).unwrap();
        assert_eq!(say(&mut world, alice.rtp, NEW, n, 1), 0);
    }
    assert_eq!(say(&mut world, alice.rtp, NEW, 60, 24), 0);
    world.packet(ALICE, alice.rtp, &packet(OLD, 60)).unwrap();
    assert_eq!(say(&mut world, alice.rtp, NEW, 84, 24), 0, "the party is back: nothing was forwarded of the other");
}

#[test]
fn an_announcement_lets_in_nobody_who_had_spoken_beside_the_party() {
    let (mut world, alice, _) = spoken();
    for n in 50..200 {
        if n == 100 {
            world.update(id(1), &answered_call());
        }
        assert_eq!(world.packet(ALICE, alice.rtp, &packet(NEW, n)), Err(DropReason::Ssrc));
        world.packet(ALICE, alice.rtp, &packet(OLD, n)).unwrap();
        world.pass(20 * MS);
    }
}

#[test]
fn after_a_pause_a_change_costs_one_packet() {
    let (mut world, alice, _) = spoken();
    world.pass(SECOND);
    assert_eq!(say(&mut world, alice.rtp, NEW, 0, 50), 49);
}

#[test]
fn a_change_that_signaling_announced_costs_one_packet() {
    let (mut world, alice, _) = spoken();
    world.update(id(1), &answered_call());
    assert_eq!(say(&mut world, alice.rtp, NEW, 0, 50), 49, "music on hold, from the same address");
}

#[test]
fn a_change_of_address_costs_nothing() {
    let (mut world, alice, _) = spoken();
    let moved = "10.0.0.1:4444";
    world.update(id(1), &call(stream(Some(moved)), stream(Some(BOB))));
    for n in 0..50 {
        world.packet(moved, alice.rtp, &packet(NEW, n)).unwrap();
        world.pass(20 * MS);
    }
}

#[test]
fn the_owner_takes_its_place_back_from_whoever_came_in_its_pause() {
    let (mut world, alice, _) = spoken();
    world.pass(10 * SECOND);
    assert_eq!(say(&mut world, alice.rtp, NEW, 0, 50), 49);
    for n in 50..100 {
        world.packet(ALICE, alice.rtp, &packet(OLD, n)).unwrap();
        assert_eq!(world.packet(ALICE, alice.rtp, &packet(NEW, n)), Err(DropReason::Ssrc));
        world.pass(20 * MS);
    }
}

#[test]
fn whoever_came_in_a_pause_is_no_owner_however_long_it_stays() {
    let (mut world, alice, _) = spoken();
    world.pass(SECOND);
    say(&mut world, alice.rtp, NEW, 0, 30_000);
    world.update(id(1), &answered_call());
    say(&mut world, alice.rtp, NEW, 30_000, 500);
    world.packet(ALICE, alice.rtp, &packet(OLD, 60)).unwrap();
    assert_eq!(world.packet(ALICE, alice.rtp, &packet(NEW, 30_500)), Err(DropReason::Ssrc));
}

#[test]
fn a_forged_first_packet_does_not_keep_the_party_out() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    world.packet(ALICE, alice.rtp, &packet(0xbad, 9)).unwrap();
    assert_eq!(say(&mut world, alice.rtp, OLD, 0, 50), 49);
    assert_eq!(world.packet(ALICE, alice.rtp, &packet(0xbad, 10)), Err(DropReason::Ssrc));
}

#[test]
fn the_party_finds_its_way_in_through_a_flood_from_the_first_packet_on() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    let (mut random, mut forged) = (7u32, 0);
    let mut last_refused = None;
    for n in 0..500 {
        for _ in 0..4 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let passed = world.packet(ALICE, alice.rtp, &packet(random, (random >> 13) as u16));
            forged += u32::from(passed.is_ok());
            world.pass(4 * MS);
        }
        if world.packet(ALICE, alice.rtp, &packet(OLD, n)).is_err() {
            last_refused = Some(n);
        }
        world.pass(4 * MS);
    }
    assert_eq!(forged, 1, "the first of all packets is trusted");
    assert!(last_refused < Some(100), "{last_refused:?}");
}

#[test]
fn video_has_several_sources_at_once() {
    let mut world = World::new();
    let video = |remote| StreamSpec { one_ssrc: false, ..stream(Some(remote)) };
    let (alice, bob) = sides(&world.open(id(1), &call(video(ALICE), video(BOB))));
    for n in 0..50 {
        for ssrc in [OLD, NEW, 0x3333] {
            assert_eq!(world.packet(ALICE, alice.rtp, &packet(ssrc, n)), Ok((bob.rtp, address(BOB))));
        }
        world.pass(20 * MS);
    }
    let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
    assert!(world.packet("10.0.0.1:4001", alice.rtcp, &report).is_ok());
}

#[test]
fn retransmissions_beside_video_leave_its_statistics_alone() {
    let mut world = World::new();
    let video = |remote| StreamSpec { one_ssrc: false, ..stream(Some(remote)) };
    let (alice, _) = sides(&world.open(id(1), &call(video(ALICE), video(BOB))));
    for n in 0..200 {
        if n % 10 != 5 {
            world.packet(ALICE, alice.rtp, &packet(OLD, n)).unwrap();
        }
        world.packet(ALICE, alice.rtp, &packet(NEW, n)).unwrap();
        world.pass(20 * MS);
    }
    let report = &world.report(id(1)).legs[0][0];
    assert_eq!((report.sources, report.ssrc, report.lost, report.packets), (1, Some(OLD), 20, 380));
    for n in 200..300 {
        world.packet(ALICE, alice.rtp, &packet(NEW, n)).unwrap();
        world.pass(20 * MS);
    }
    let report = &world.report(id(1)).legs[0][0];
    assert_eq!((report.sources, report.ssrc, report.lost), (2, Some(NEW), 20), "the first one has left");
}

#[test]
fn a_packet_of_another_source_moves_no_latch() {
    let nat = "198.51.100.7:1111";
    let natted = |relatch| {
        let alice = StreamSpec { latch: latch("198.51.100.0/24", 60_000), relatch, ..stream(Some(ALICE)) };
        call(alice, stream(Some(BOB)))
    };
    let mut world = World::new();
    let (alice, bob) = sides(&world.open(id(1), &natted(0)));
    for n in 0..2 {
        world.packet(nat, alice.rtp, &packet(OLD, n)).unwrap();
    }
    world.update(id(1), &natted(1));
    for n in 2..200 {
        world.packet(nat, alice.rtp, &packet(OLD, n)).unwrap();
        if n == 150 {
            world.update(id(1), &natted(2));
            world.pass(2_100 * MS);
            // The party is back after its window of notice; the latch is open for a minute, and doubted.
            world.packet(nat, alice.rtp, &packet(OLD, n)).unwrap();
        }
        world.pass(20 * MS);
    }
    world.update(id(1), &natted(3));
    world.packet(nat, alice.rtp, &packet(OLD, 200)).unwrap();
    world.pass(2_100 * MS);
    world.update(id(1), &natted(3));
    world.packet(nat, alice.rtp, &packet(OLD, 201)).unwrap();
    assert_eq!(world.packet(BOB, bob.rtp, &packet(NEW, 0)), Ok((alice.rtp, address(nat))));
}

fn report_of(ssrc: u32) -> Vec<u8> {
    [&[0x80, 201, 0, 1][..], &ssrc.to_be_bytes()].concat()
}

fn goodbye_of(ssrc: u32) -> Vec<u8> {
    [&[0x81, 203, 0, 1][..], &ssrc.to_be_bytes()].concat()
}

#[test]
fn nobody_else_reports_or_says_goodbye_for_a_party_that_sends() {
    let (mut world, alice, bob) = spoken();
    let at = "10.0.0.1:4001";
    let bob_rtcp = Ok((bob.rtcp, address("47.103.169.70:6001")));
    for forged in [report_of(NEW), goodbye_of(NEW), [report_of(OLD), goodbye_of(NEW)].concat()] {
        assert_eq!(world.packet(at, alice.rtcp, &forged), Err(DropReason::Ssrc));
    }
    assert_eq!(world.packet(at, alice.rtcp, &[0x80, 203, 0, 0]), Err(DropReason::Ssrc), "names nobody");
    assert_eq!(world.packet(at, alice.rtcp, &report_of(OLD)), bob_rtcp);
    assert_eq!(world.packet(at, alice.rtcp, &[report_of(OLD), goodbye_of(OLD)].concat()), bob_rtcp);
    world.pass(SECOND);
    say(&mut world, alice.rtp, NEW, 0, 10);
    assert_eq!(world.packet(at, alice.rtcp, &goodbye_of(OLD)), bob_rtcp, "the one before leaves late");
    assert_eq!(world.packet(at, alice.rtcp, &report_of(NEW)), bob_rtcp);
}

#[test]
fn a_party_that_only_listens_reports_under_the_name_it_began_with() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    let at = "10.0.0.1:4001";
    for _ in 0..10 {
        assert!(world.packet(at, alice.rtcp, &report_of(OLD)).is_ok());
        assert_eq!(world.packet(at, alice.rtcp, &goodbye_of(NEW)), Err(DropReason::Ssrc));
        world.pass(5 * SECOND);
    }
    world.pass(25 * SECOND);
    assert!(world.packet(at, alice.rtcp, &report_of(NEW)).is_ok(), "the one before is gone");
}

#[test]
fn a_party_that_has_stopped_sending_may_report_under_another_name_in_time() {
    let (mut world, alice, _) = spoken();
    let at = "10.0.0.1:4001";
    assert!(world.packet(at, alice.rtcp, &report_of(OLD)).is_ok());
    world.pass(20 * SECOND);
    assert_eq!(world.packet(at, alice.rtcp, &report_of(NEW)), Err(DropReason::Ssrc));
    world.pass(6 * SECOND);
    for _ in 0..10 {
        assert!(world.packet(at, alice.rtcp, &report_of(NEW)).is_ok(), "put on hold, and began anew");
        assert_eq!(world.packet(at, alice.rtcp, &goodbye_of(0xbad)), Err(DropReason::Ssrc));
        world.pass(5 * SECOND);
    }
    world.packet(ALICE, alice.rtp, &packet(OLD, 60)).unwrap();
    assert_eq!(world.packet(at, alice.rtcp, &report_of(NEW)), Err(DropReason::Ssrc), "the former one speaks");
}

#[test]
fn forged_numbers_of_the_right_source_spoil_no_statistics() {
    let (mut world, alice, _) = spoken();
    for n in 50..150u16 {
        world.packet(ALICE, alice.rtp, &packet(OLD, n)).unwrap();
        if n % 10 == 0 {
            let stray = rtp_of(0, n.wrapping_add(20_000), 0xdead_beef, OLD);
            world.packet(ALICE, alice.rtp, &stray).unwrap();
        }
        world.pass(20 * MS);
    }
    let report = &world.report(id(1)).legs[0][0];
    assert_eq!((report.lost, report.reordered, report.jitter_us), (0, 0, 0));
}
