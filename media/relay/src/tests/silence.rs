//! When a party is not heard, and why.

use moorline_control::{Codec, Format, Silence, StreamReport};

use super::*;

struct Talk {
    world: World,
    local: LocalSession,
    sequences: [u16; 2],
}

impl Talk {
    fn new() -> Talk {
        let mut world = World::new();
        let local = world.open(id(1), &answered_call());
        Talk { world, local, sequences: [0; 2] }
    }

    /// A packet of one leg's party, with its number.
    fn say(&mut self, leg: usize, payload_type: u8, marker: bool, length: usize) {
        let sequence = self.sequences[leg];
        self.sequences[leg] += 1;
        let timestamp = (self.world.now / 125_000) as u32;
        let mut packet = rtp_of(payload_type, sequence, timestamp, 0x1234 + leg as u32);
        packet.truncate(12 + length);
        packet[1] |= u8::from(marker) << 7;
        let local = self.local.legs[leg][0].unwrap();
        self.world.packet([ALICE, BOB][leg], local.rtp, &packet).unwrap();
    }

    /// For this long, some of the parties speak.
    fn pass(&mut self, time: u64, speaking: [bool; 2]) {
        for _ in 0..time / (20 * MS) {
            for leg in [0, 1].into_iter().filter(|leg| speaking[*leg]) {
                self.say(leg, 0, false, 160);
            }
            self.world.now += 20 * MS;
        }
    }

    fn report(&self, leg: usize) -> StreamReport {
        self.world.report(id(1)).legs[leg][0]
    }

    fn silence(&self, leg: usize) -> Silence {
        self.report(leg).silence.unwrap_or_default()
    }
}

#[test]
fn who_speaks_on_is_never_silent() {
    let mut talk = Talk::new();
    talk.pass(3 * SECOND, [true, true]);
    assert_eq!((talk.report(0).silence, talk.report(1).silence), (None, None));
    talk.world.now += 440 * MS;
    assert_eq!(talk.report(0).silence, None, "a packet may come late");
}

#[test]
fn a_pause_of_one_party_is_one_way_audio() {
    let mut talk = Talk::new();
    talk.pass(SECOND, [true, true]);
    talk.pass(2 * SECOND, [false, true]);
    // While it lasts.
    let expected = Silence { pauses: 1, longest_ms: 2_020, total_ms: 2_020, one_way_ms: 2_000, ..Silence::default() };
    assert_eq!(talk.silence(0), expected);
    talk.pass(SECOND, [true, true]);
    // And afterwards, to the first packet.
    assert_eq!(talk.silence(0), expected);
    assert_eq!(talk.report(1).silence, None);
    talk.pass(SECOND, [false, false]);
    let both = talk.silence(0);
    assert_eq!((both.pauses, both.total_ms, both.one_way_ms), (2, 3_040, 2_000), "nobody is heard one way");
    assert_eq!(talk.silence(1).one_way_ms, 0);
}

#[test]
fn who_was_never_heard_is_silent_since_the_answer() {
    let mut talk = Talk::new();
    talk.pass(5 * SECOND, [true, false]);
    let silence = talk.silence(1);
    assert_eq!((silence.pauses, silence.total_ms, silence.one_way_ms), (1, 5_000, 4_980));
    let closed = talk.world.close(id(1)).unwrap();
    assert_eq!(closed.legs[1][0].silence, Some(silence), "the closing report says the same");
}

#[test]
fn comfort_noise_explains_a_pause() {
    let mut talk = Talk::new();
    talk.pass(SECOND, [true, true]);
    for _ in 0..3 {
        talk.say(0, 13, false, 1);
        talk.pass(900 * MS, [false, true]);
    }
    talk.pass(SECOND, [true, true]);
    let silence = talk.silence(0);
    assert_eq!((silence.pauses, silence.noise_packets, silence.dtx_ms), (0, 3, 2_700));
    let report = talk.report(0);
    assert_eq!((report.codec, report.lost, report.payload_type), (Codec::Pcmu, 0, Some(0)), "noise is no codec");
}

#[test]
fn the_mark_of_a_talkspurt_explains_a_pause_if_nothing_is_missing() {
    let mut talk = Talk::new();
    talk.pass(SECOND, [true, true]);
    talk.pass(SECOND, [false, true]);
    talk.say(0, 0, true, 160);
    assert_eq!((talk.silence(0).pauses, talk.silence(0).dtx_ms), (0, 1_020));
    talk.pass(SECOND, [false, true]);
    talk.sequences[0] += 40;
    talk.say(0, 0, true, 160);
    assert_eq!((talk.silence(0).pauses, talk.silence(0).total_ms), (1, 1_000), "its packets went missing");
    let report = talk.report(0);
    assert_eq!((report.gaps, report.longest_gap_packets, report.longest_gap_ms), (1, 40, 1_000));
}

#[test]
fn a_silence_descriptor_of_g729_explains_a_pause() {
    for (length, pauses) in [(22, 0), (20, 1)] {
        let mut talk = Talk::new();
        talk.say(0, 18, false, 20);
        talk.world.now += 20 * MS;
        talk.say(0, 18, false, length);
        talk.pass(SECOND, [false, true]);
        talk.say(0, 18, false, 20);
        assert_eq!(talk.silence(0).pauses, pauses, "{length} bytes");
    }
}

#[test]
fn nobody_is_silent_before_the_answer_or_on_hold() {
    let quiet = |stream| StreamSpec { quiet: true, ..stream };
    let (alice, bob) = (stream(Some(ALICE)), stream(Some(BOB)));
    let mut world = World::new();
    let local = world.open(id(1), &call(quiet(alice.clone()), quiet(bob.clone())));
    let mut talk = Talk { world, local, sequences: [0; 2] };
    talk.pass(5 * SECOND, [false, true]);
    assert_eq!(talk.report(0).silence, None, "it rings");
    talk.world.update(id(1), &answered_call());
    talk.pass(SECOND, [true, true]);
    talk.pass(SECOND, [false, true]);
    // Bob puts Alice on hold: what she was silent before counts, and nothing of what comes.
    talk.world.update(id(1), &call(quiet(alice.clone()), bob.clone()));
    let before = talk.silence(0);
    assert_eq!((before.pauses, before.total_ms), (1, 1_020));
    talk.pass(10 * SECOND, [false, true]);
    assert_eq!(talk.silence(0), before);
    talk.world.update(id(1), &answered_call());
    assert_eq!(talk.silence(0), before);
    talk.pass(SECOND, [false, true]);
    let after = talk.silence(0);
    assert_eq!((after.pauses, after.total_ms), (2, 2_020), "resumed, and still nothing");
    // An address of zeros is a hold too.
    let zeros = StreamSpec { remote_rtp: Some(address("0.0.0.0:6000")), ..bob };
    talk.world.update(id(1), &call(alice, zeros));
    talk.pass(10 * SECOND, [false, true]);
    assert_eq!(talk.silence(0), after);
}

#[test]
fn new_ports_do_not_make_a_silence() {
    let mut talk = Talk::new();
    talk.pass(SECOND, [true, true]);
    let (before, sources) = (talk.report(0).packets, talk.report(0).sources);
    let mut moved = answered_call();
    (moved.legs[0].range, moved.legs[1].range) = ("carrier".to_owned(), "core".to_owned());
    talk.local = talk.world.update(id(1), &moved);
    talk.pass(SECOND, [true, true]);
    let report = talk.report(0);
    assert_eq!((report.silence, report.packets - before, report.sources, sources), (None, 50, 1, 1));
    assert_eq!(report.lost, 0);
}

#[test]
fn payload_types_are_what_the_latest_sdp_says() {
    let opus = |payload_type| Format { payload_type, codec: Codec::Opus, clock_rate: 48_000 };
    let named = |formats: Vec<Format>| call(StreamSpec { formats, ..stream(Some(ALICE)) }, stream(Some(BOB)));
    let mut world = World::new();
    let (alice, _) = sides(&world.open(id(1), &named(vec![opus(111)])));
    // 5 ms early and late in turn: the clock tells what that is.
    let say = |world: &mut World, payload_type, sequence: u16| {
        let packet = rtp_of(payload_type, sequence, 960 * u32::from(sequence), 7);
        world.packet(ALICE, alice.rtp, &packet).unwrap();
        world.now += if sequence.is_multiple_of(2) { 15 * MS } else { 25 * MS };
    };
    (0..100).for_each(|sequence| say(&mut world, 111, sequence));
    let report = world.report(id(1)).legs[0][0];
    assert_eq!((report.codec, report.payload_type), (Codec::Opus, Some(111)));
    assert!((4_900..5_100).contains(&report.jitter_us), "{}", report.jitter_us);
    // A re-INVITE moves the codec to another number, and gives the old one another meaning.
    let noise = Format { payload_type: 111, codec: Codec::ComfortNoise, clock_rate: 8_000 };
    world.update(id(1), &named(vec![opus(96), noise]));
    (100..200).for_each(|sequence| say(&mut world, 96, sequence));
    say(&mut world, 111, 200);
    let report = world.report(id(1)).legs[0][0];
    assert_eq!((report.codec, report.payload_type), (Codec::Opus, Some(96)));
    assert_eq!(report.silence.unwrap().noise_packets, 1);
    assert!((4_500..5_500).contains(&report.jitter_us), "{}", report.jitter_us);
    assert_eq!((report.lost, report.gaps, report.sources), (0, 0, 1));
}
