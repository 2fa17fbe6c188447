//! What is counted of a stream.

use moorline_control::{Codec, Quality, StreamReport};

use super::*;

/// Sends packets to Alice's port and reports on her.
fn alice_sends(packets: impl IntoIterator<Item = Vec<u8>>) -> StreamReport {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    for packet in packets {
        world.packet(ALICE, alice.rtp, &packet).unwrap();
        world.now += 20 * MS;
    }
    world.report(id(1)).legs[0][0]
}

#[test]
fn a_steady_stream_has_neither_loss_nor_jitter() {
    let report = alice_sends((0..100).map(rtp));
    let expected = StreamReport {
        packets: 100,
        bytes: 17_200,
        source: Some(address(ALICE)),
        sources: 1,
        ssrc: Some(0x1234),
        payload_type: Some(0),
        codec: Codec::Pcmu,
        quality: Some(Quality { r_tenths: 925, mos_hundredths: 440, delay_ms: 20 }),
        ..StreamReport::default()
    };
    assert_eq!(report, expected);
}

#[test]
fn gaps_are_loss_and_late_packets_take_it_back() {
    let report = alice_sends([1, 2, 5, 3, 6, 9].map(rtp));
    assert_eq!((report.packets, report.lost, report.reordered), (6, 3, 1));
}

#[test]
fn numbers_wrap_without_loss() {
    let report = alice_sends((65_500..=65_535).chain(0..50).map(rtp));
    assert_eq!((report.packets, report.lost, report.reordered), (86, 0, 0));
}

#[test]
fn another_ssrc_starts_anew_and_keeps_what_was_lost() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    for sequence in [1, 2, 4] {
        world.packet(ALICE, alice.rtp, &rtp(sequence)).unwrap();
    }
    world.pass(SECOND);
    // The first of another source is its proof, and not let in.
    for sequence in [39_999, 40_000, 40_001, 40_003] {
        let passed = world.packet(ALICE, alice.rtp, &rtp_of(0, sequence, 9 * u32::from(sequence), 0x9999));
        assert_eq!(passed.is_ok(), sequence >= 40_000);
    }
    let report = world.report(id(1)).legs[0][0];
    assert_eq!((report.packets, report.lost, report.reordered), (6, 2, 0));
}

#[test]
fn numbers_that_begin_anew_are_no_loss() {
    let report = alice_sends([1, 2, 4, 30_000, 30_001, 30_002].map(rtp));
    assert_eq!((report.packets, report.lost), (6, 1));
}

#[test]
fn a_repeated_packet_is_no_negative_loss() {
    let report = alice_sends([1, 1, 1, 2].map(rtp));
    assert_eq!((report.packets, report.lost, report.reordered), (4, 0, 0));
}

#[test]
fn jitter_is_that_of_the_rfc() {
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &answered_call()));
    let mut expected = 0.0_f64;
    for sequence in 0..200u16 {
        world.packet(ALICE, alice.rtp, &rtp(sequence)).unwrap();
        // Packets come 15 and 25 ms apart in turn: every one is 5 ms off.
        world.now += if sequence % 2 == 0 { 15 * MS } else { 25 * MS };
        if sequence > 0 {
            expected += (5_000.0 - expected) / 16.0;
        }
    }
    let jitter = f64::from(world.report(id(1)).legs[0][0].jitter_us);
    assert!((jitter - expected).abs() < 100.0, "{jitter} {expected}");
}

#[test]
fn a_telephone_event_and_a_pause_are_no_jitter() {
    let voice = (0..10).map(rtp);
    let event = (10..20).map(|sequence| rtp_of(101, sequence, 1600, 0x1234));
    let resumed = (20..30).map(|sequence| rtp_of(0, sequence, 0x7000_0000 + 160 * u32::from(sequence), 0x1234));
    let report = alice_sends(voice.chain(event).chain(resumed));
    assert_eq!((report.jitter_us, report.lost), (0, 0));
}
