//! DTMF by RFC 4733.

use moorline_control::{Codec, Dtmf, Format};
use proptest::prelude::*;

use super::*;

const EVENT: u8 = 101;

struct Keys {
    world: World,
    alice: SocketAddr,
    sequence: u16,
}

impl Keys {
    fn new(report_digits: bool) -> Keys {
        let mut world = World::with(Config { report_digits, ..config() });
        let formats = vec![Format { payload_type: EVENT, codec: Codec::TelephoneEvent, clock_rate: 8_000 }];
        let spec = call(StreamSpec { formats, ..stream(Some(ALICE)) }, stream(Some(BOB)));
        let alice = sides(&world.open(id(1), &spec)).0.rtp;
        Keys { world, alice, sequence: 0 }
    }

    fn packet(&mut self, timestamp: u32, code: u8, end: bool, duration: u16) -> Vec<u8> {
        let mut packet = rtp_of(EVENT, self.sequence, timestamp, 9);
        self.sequence += 1;
        packet.truncate(12);
        packet.extend([code, u8::from(end) << 7 | 10]);
        packet.extend(duration.to_be_bytes());
        packet
    }

    fn send(&mut self, packet: &[u8]) {
        self.world.packet(ALICE, self.alice, packet).unwrap();
        self.world.now += 20 * MS;
    }

    /// A key held for `packets` times 20 ms, with its end three times.
    fn press(&mut self, timestamp: u32, code: u8, packets: u16) -> Vec<Vec<u8>> {
        let mut sent: Vec<Vec<u8>> = (1..packets).map(|n| self.packet(timestamp, code, false, 160 * n)).collect();
        sent.extend((0..3).map(|_| self.packet(timestamp, code, true, 160 * packets)));
        sent
    }

    fn dtmf(&self) -> Option<Dtmf> {
        self.world.report(id(1)).legs[0][0].dtmf
    }
}

#[test]
fn an_event_counts_once_however_often_its_end_is_repeated() {
    let mut keys = Keys::new(true);
    assert_eq!(keys.dtmf(), None);
    for (n, code) in [1, 2, 2, 11].into_iter().enumerate() {
        keys.press(8_000 * n as u32, code, 5).iter().for_each(|packet| keys.send(packet));
    }
    assert_eq!(keys.dtmf(), Some(Dtmf { events: 4, total_ms: 400, last: Some(11) }));
    let report = keys.world.report(id(1)).legs[0][0];
    assert_eq!((report.payload_type, report.quality), (None, None), "events are no speech");
}

#[test]
fn digits_are_told_only_where_that_is_configured() {
    let mut keys = Keys::new(false);
    keys.press(0, 7, 5).iter().for_each(|packet| keys.send(packet));
    assert_eq!(keys.dtmf(), Some(Dtmf { events: 1, total_ms: 100, last: None }));
}

#[test]
fn an_event_of_which_only_an_end_came_counts() {
    let mut keys = Keys::new(true);
    let packets = keys.press(0, 5, 5);
    keys.send(packets.last().unwrap());
    assert_eq!(keys.dtmf(), Some(Dtmf { events: 1, total_ms: 100, last: Some(5) }));
}

#[test]
fn a_late_packet_of_the_event_before_is_not_another() {
    let mut keys = Keys::new(true);
    let (first, second) = (keys.press(u32::MAX - 100, 1, 3), keys.press(4_000, 2, 3));
    let (late, first) = first.split_last().unwrap();
    first.iter().chain(&second).for_each(|packet| keys.send(packet));
    keys.send(late);
    assert_eq!(keys.dtmf(), Some(Dtmf { events: 2, total_ms: 120, last: Some(2) }));
}

#[test]
fn timestamps_that_begin_anew_hide_no_event() {
    let mut keys = Keys::new(true);
    keys.press(3_000_000, 1, 3).iter().for_each(|packet| keys.send(packet));
    // The numbers go on, as where a gateway joins another call to the same stream.
    keys.press(8_000, 2, 3).iter().for_each(|packet| keys.send(packet));
    assert_eq!(keys.dtmf(), Some(Dtmf { events: 2, total_ms: 120, last: Some(2) }));
    // And where they begin anew too.
    keys.sequence += 30_000;
    keys.press(0, 3, 3).iter().for_each(|packet| keys.send(packet));
    assert_eq!(keys.dtmf().map(|dtmf| (dtmf.events, dtmf.last)), Some((3, Some(3))));
}

#[test]
fn an_end_repeated_behind_the_next_event_is_not_another() {
    let mut keys = Keys::new(true);
    keys.press(8_000, 1, 3).iter().for_each(|packet| keys.send(packet));
    let (begin, again) = (keys.packet(9_000, 2, false, 160), keys.packet(8_000, 1, true, 480));
    let end = keys.packet(9_000, 2, true, 320);
    [begin, again, end].iter().for_each(|packet| keys.send(packet));
    assert_eq!(keys.dtmf(), Some(Dtmf { events: 2, total_ms: 100, last: Some(2) }));
}

#[test]
fn a_very_long_event_goes_on_in_segments() {
    let mut keys = Keys::new(true);
    let segments = [(0, false, 32_000), (0, false, 65_535), (65_535, false, 160), (65_535, true, 320)];
    for (timestamp, end, duration) in segments {
        let packet = keys.packet(timestamp, 3, end, duration);
        keys.send(&packet);
    }
    assert_eq!(keys.dtmf(), Some(Dtmf { events: 1, total_ms: 8_231, last: Some(3) }));
    // Released, and pressed again at once, it is another.
    let packet = keys.packet(65_535 + 320, 3, true, 160);
    keys.send(&packet);
    assert_eq!(keys.dtmf().unwrap().events, 2);
}

#[test]
fn what_is_no_digit_or_no_event_is_relayed_and_not_counted() {
    let mut keys = Keys::new(true);
    let flash = keys.packet(0, 16, true, 800);
    keys.send(&flash);
    let mut short = keys.packet(0, 1, true, 800);
    short.truncate(15);
    keys.send(&short);
    assert_eq!(keys.dtmf(), None);
    assert_eq!(keys.world.report(id(1)).legs[0][0].packets, 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Keys pressed one after the other count as many as there were, whatever is lost or repeated of each, as long as
    /// something of it comes.
    #[test]
    fn every_key_counts_once(
        presses in proptest::collection::vec((0..16u8, 1..8u16, any::<u16>(), 1..3usize), 1..20),
        start: u32,
    ) {
        let mut keys = Keys::new(true);
        for (n, (code, packets, kept, repeated)) in presses.iter().enumerate() {
            let timestamp = start.wrapping_add(4_000 * n as u32);
            let sent = keys.press(timestamp, *code, *packets);
            let last = sent.len() - 1;
            for (index, packet) in sent.iter().enumerate() {
                if index == last || kept >> index & 1 == 1 {
                    (0..*repeated).for_each(|_| keys.send(packet));
                }
            }
        }
        let total_ms = presses.iter().map(|(_, packets, ..)| 20 * u32::from(*packets)).sum();
        let last = presses.last().map(|(code, ..)| *code);
        prop_assert_eq!(keys.dtmf(), Some(Dtmf { events: presses.len() as u32, total_ms, last }));
    }
}
