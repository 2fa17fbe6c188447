//! What parties report by RTCP, and the round trips from here to them.

use moorline_control::FarEnd;
use proptest::prelude::*;

use super::*;

const ALICE_RTCP: &str = "10.0.0.1:4001";
const BOB_RTCP: &str = "47.103.169.70:6001";
const ALICE_SSRC: u32 = 0x1234;
const BOB_SSRC: u32 = 0x5678;

/// A sender report without blocks.
fn sender_report(ssrc: u32, ntp: u64) -> Vec<u8> {
    let mut packet = vec![0x80, 200, 0, 6];
    packet.extend(ssrc.to_be_bytes());
    packet.extend(ntp.to_be_bytes());
    packet.extend([0; 12]);
    packet
}

/// A receiver report with one block.
struct Report {
    about: u32,
    fraction: u8,
    lost: i32,
    jitter: u32,
    last: u32,
    delay: u32,
}

const REPORT: Report = Report { about: ALICE_SSRC, fraction: 0, lost: 0, jitter: 0, last: 0, delay: 0 };

fn receiver_report(from: u32, report: &Report) -> Vec<u8> {
    let mut packet = vec![0x81, 201, 0, 7];
    packet.extend(from.to_be_bytes());
    packet.extend(report.about.to_be_bytes());
    packet.extend((u32::from(report.fraction) << 24 | report.lost as u32 & 0xff_ffff).to_be_bytes());
    packet.extend([0; 4]);
    packet.extend(report.jitter.to_be_bytes());
    packet.extend(report.last.to_be_bytes());
    packet.extend(report.delay.to_be_bytes());
    packet
}

struct Sides {
    world: World,
    alice: LocalAddresses,
    bob: LocalAddresses,
}

impl Sides {
    /// A call in which Alice has spoken.
    fn new() -> Sides {
        let mut world = World::new();
        let (alice, bob) = sides(&world.open(id(1), &answered_call()));
        for sequence in 0..100 {
            world.packet(ALICE, alice.rtp, &rtp(sequence)).unwrap();
            world.now += 20 * MS;
        }
        Sides { world, alice, bob }
    }

    fn alice_reports(&mut self, packet: &[u8]) {
        self.world.packet(ALICE_RTCP, self.alice.rtcp, packet).unwrap();
    }

    fn bob_reports(&mut self, packet: &[u8]) {
        self.world.packet(BOB_RTCP, self.bob.rtcp, packet).unwrap();
    }

    fn bob_hears(&self) -> Option<FarEnd> {
        self.world.report(id(1)).legs[1][0].far_end
    }
}

#[test]
fn a_party_says_what_it_hears_of_the_other() {
    let mut sides = Sides::new();
    assert_eq!(sides.bob_hears(), None);
    sides.bob_reports(&receiver_report(BOB_SSRC, &Report { fraction: 51, lost: 20, jitter: 80, ..REPORT }));
    sides.bob_reports(&receiver_report(BOB_SSRC, &Report { fraction: 13, lost: 25, jitter: 40, ..REPORT }));
    // Of a source that is not Alice's.
    sides.bob_reports(&receiver_report(BOB_SSRC, &Report { about: 77, fraction: 255, ..REPORT }));
    let heard = sides.bob_hears().unwrap();
    let figures = (heard.reports, heard.fraction_lost, heard.worst_fraction_lost, heard.lost, heard.jitter_us);
    assert_eq!(figures, (2, 13, 51, 25, 5_000), "40 units of 8 kHz are 5 ms");
    assert_eq!((heard.round_trip_us, heard.longest_round_trip_us), (None, None));
    let report = sides.world.report(id(1));
    let (received, heard) = (report.legs[0][0].quality.unwrap(), heard.quality.unwrap());
    assert!(heard.mos_hundredths < received.mos_hundredths, "Bob hears Alice worse than she came here");
    assert_eq!(report.legs[0][0].far_end, None);
    assert_eq!(report.legs[1][0].quality, None, "Bob has said nothing yet");
}

#[test]
fn packets_that_came_twice_are_no_loss() {
    let mut sides = Sides::new();
    sides.bob_reports(&receiver_report(BOB_SSRC, &Report { lost: -2, ..REPORT }));
    let heard = sides.bob_hears().unwrap();
    assert_eq!((heard.lost, heard.quality.unwrap().mos_hundredths), (-2, 440));
}

#[test]
fn the_round_trip_is_from_here_to_the_party_and_back() {
    let mut sides = Sides::new();
    let ntp = 0xe5a1_0000_8000_0000;
    sides.alice_reports(&sender_report(ALICE_SSRC, ntp));
    // 30 ms there and back, and 2 s that Bob has held it.
    sides.world.now += 30 * MS + 2 * SECOND;
    let answer = Report { last: (ntp >> 16) as u32, delay: 2 << 16, ..REPORT };
    sides.bob_reports(&receiver_report(BOB_SSRC, &answer));
    assert_eq!(sides.bob_hears().unwrap().round_trip_us, Some(30_000));
    // The same report answered again a second later, as it must be while no other comes.
    sides.world.now += SECOND + 10 * MS;
    sides.bob_reports(&receiver_report(BOB_SSRC, &Report { delay: 3 << 16, ..answer }));
    let heard = sides.bob_hears().unwrap();
    assert_eq!((heard.round_trip_us, heard.longest_round_trip_us), (Some(40_000), Some(40_000)));
    // It counts as delay in both directions.
    assert_eq!(heard.quality.unwrap().delay_ms, 40);
    assert_eq!(sides.world.report(id(1)).legs[0][0].quality.unwrap().delay_ms, 40);
}

#[test]
fn nonsense_makes_no_round_trip() {
    let mut sides = Sides::new();
    let ntp = 0xe5a1_0000_8000_0000;
    sides.alice_reports(&sender_report(ALICE_SSRC, ntp));
    sides.world.now += SECOND;
    let last = (ntp >> 16) as u32;
    for (last, delay) in [(0, 0), (last + 1, 0), (last, 2 << 16), (last, u32::MAX)] {
        sides.bob_reports(&receiver_report(BOB_SSRC, &Report { last, delay, ..REPORT }));
        assert_eq!(sides.bob_hears().unwrap().round_trip_us, None, "{last:x} {delay:x}");
    }
    // A clock that runs a little fast is not.
    sides.bob_reports(&receiver_report(BOB_SSRC, &Report { last, delay: (1 << 16) + 65, ..REPORT }));
    assert_eq!(sides.bob_hears().unwrap().round_trip_us, Some(0));
}

#[test]
fn reports_that_were_not_passed_on_are_not_answered() {
    let mut world = World::new();
    let unanswered = call(stream(Some(ALICE)), stream(None));
    let (alice, bob) = sides(&world.open(id(1), &unanswered));
    world.packet(ALICE, alice.rtp, &rtp(1)).unwrap_err();
    let ntp = 0xe5a1_0000_8000_0000;
    world.packet(ALICE_RTCP, alice.rtcp, &sender_report(ALICE_SSRC, ntp)).unwrap_err();
    world.update(id(1), &answered_call());
    world.now += 10 * MS;
    let answer = Report { last: (ntp >> 16) as u32, ..REPORT };
    world.packet(BOB_RTCP, bob.rtcp, &receiver_report(BOB_SSRC, &answer)).unwrap();
    let heard = world.report(id(1)).legs[1][0].far_end.unwrap();
    assert_eq!((heard.reports, heard.round_trip_us), (1, None));
}

#[test]
fn a_muxed_party_is_known_as_well_as_a_plain_one() {
    let mut world = World::new();
    let muxed = StreamSpec { rtcp_mux: true, ..stream(Some(ALICE)) };
    let (alice, bob) = sides(&world.open(id(1), &call(muxed, stream(Some(BOB)))));
    let spoken = rtp_of(0, 1, 160, BOB_SSRC);
    world.packet(ALICE, alice.rtp, &rtp(1)).unwrap();
    world.packet(BOB, bob.rtp, &spoken).unwrap();
    let ntp = 0xe5a1_0000_8000_0000;
    // Muxed in, plain out; and back.
    let out = world.packet(ALICE, alice.rtp, &sender_report(ALICE_SSRC, ntp));
    assert_eq!(out, Ok((bob.rtcp, address(BOB_RTCP))));
    let out = world.packet(BOB_RTCP, bob.rtcp, &sender_report(BOB_SSRC, ntp));
    assert_eq!(out, Ok((alice.rtp, address(ALICE))));
    world.now += 15 * MS;
    let last = (ntp >> 16) as u32;
    world.packet(ALICE, alice.rtp, &receiver_report(ALICE_SSRC, &Report { about: BOB_SSRC, last, ..REPORT })).unwrap();
    world.now += 5 * MS;
    world.packet(BOB_RTCP, bob.rtcp, &receiver_report(BOB_SSRC, &Report { last, ..REPORT })).unwrap();
    let report = world.report(id(1));
    let round_trip = |leg: usize| report.legs[leg][0].far_end.unwrap().round_trip_us;
    assert_eq!((round_trip(0), round_trip(1)), (Some(15_000), Some(20_000)));
    assert_eq!((report.legs[0][0].rtcp_packets, report.legs[1][0].rtcp_packets), (2, 2));
}

#[test]
fn a_goodbye_is_noted_and_a_malformed_compound_is_not_passed_on() {
    let mut sides = Sides::new();
    let mut compound = receiver_report(ALICE_SSRC, &Report { about: BOB_SSRC, ..REPORT });
    compound.extend([0x81, 203, 0, 1]);
    compound.extend(ALICE_SSRC.to_be_bytes());
    let mut cut = compound.clone();
    cut.pop();
    assert_eq!(sides.world.packet(ALICE_RTCP, sides.alice.rtcp, &cut), Err(DropReason::Malformed));
    assert_eq!(sides.world.report(id(1)).legs[0][0].goodbyes, 0);
    sides.alice_reports(&compound);
    let report = sides.world.report(id(1)).legs[0][0];
    assert_eq!((report.goodbyes, report.rtcp_packets, report.refused), (1, 1, 1));
}

proptest! {
    /// The arithmetic holds for every NTP time, those around its wraps included, and every delay.
    #[test]
    fn round_trips_are_right_at_any_time(ntp: u64, held in 0..600u32 << 16, there_and_back in 0..2 * SECOND) {
        prop_assume!((ntp >> 16) as u32 != 0);
        let mut sides = Sides::new();
        sides.alice_reports(&sender_report(ALICE_SSRC, ntp));
        sides.world.now += there_and_back + u64::from(held) * SECOND / 65_536;
        let answer = Report { last: (ntp >> 16) as u32, delay: held, ..REPORT };
        sides.bob_reports(&receiver_report(BOB_SSRC, &answer));
        let measured = sides.bob_hears().unwrap().round_trip_us;
        prop_assert_eq!(measured, Some((there_and_back / 1_000) as u32));
    }
}
