//! Random calls, with a program and without: the same packets leave in the same order, and the reports agree.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// The longest that what was passed up waits for the relay.
const STALL: u64 = 5 * MS;

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Packets of speech, 20 ms apart.
    Talk {
        leg: usize,
        packets: usize,
    },
    /// Packets within a moment, of which the relay takes some.
    Burst {
        leg: usize,
        packets: usize,
        taken: usize,
    },
    /// Numbers that do not come.
    Skip {
        leg: usize,
        numbers: u16,
    },
    /// A number again, of those that came a short time ago.
    Repeat {
        leg: usize,
        back: u16,
    },
    /// Of a payload type: an event, noise, another codec.
    Other {
        leg: usize,
        payload_type: u8,
    },
    /// From somebody else, or of another source.
    Forge {
        leg: usize,
        from_mallory: bool,
    },
    /// Reports of both sides.
    Rtcp {
        leg: usize,
    },
    Pause {
        ms: u64,
    },
    /// A re-INVITE that changes nothing.
    Update,
    /// Bob is said to be at the other of two addresses.
    Move,
    Query,
}

fn step() -> impl Strategy<Value = Step> {
    let leg = || 0..2usize;
    prop_oneof![
        8 => (leg(), 1..60usize).prop_map(|(leg, packets)| Step::Talk { leg, packets }),
        4 => (leg(), 1..5usize, 0..8usize).prop_map(|(leg, packets, taken)| Step::Burst { leg, packets, taken }),
        2 => (leg(), prop_oneof![1..5u16, 1..200u16]).prop_map(|(leg, numbers)| Step::Skip { leg, numbers }),
        2 => (leg(), 1..32u16).prop_map(|(leg, back)| Step::Repeat { leg, back }),
        2 => (leg(), prop_oneof![Just(101u8), Just(13), Just(8)])
            .prop_map(|(leg, payload_type)| Step::Other { leg, payload_type }),
        1 => (leg(), any::<bool>()).prop_map(|(leg, from_mallory)| Step::Forge { leg, from_mallory }),
        1 => leg().prop_map(|leg| Step::Rtcp { leg }),
        1 => prop_oneof![Just(100u64), Just(450), Just(700), Just(3_000)].prop_map(|ms| Step::Pause { ms }),
        1 => Just(Step::Update),
        1 => Just(Step::Move),
        1 => Just(Step::Query),
    ]
}

fn spec(bob: &str) -> SessionSpec {
    call(with_events(stream(Some(ALICE))), with_events(stream(Some(bob))))
}

/// The same call with a program and without; without one the relay takes every packet at once.
struct Both {
    beside: Net,
    alone: Net,
    /// Since when the relay beside the program has not worked.
    idle_since: u64,
    bob: usize,
    /// When each leg's latest packet came.
    heard: [u64; 2],
    /// And the number of its first.
    first: [Option<u16>; 2],
    /// A silence was so near to a pause that the relay's delay decides whether it is one.
    borderline: bool,
}

const BOBS: [&str; 2] = [BOB, "47.103.169.71:6000"];

impl Both {
    fn new() -> Both {
        let (beside, alone) = (Net::of(true, &spec(BOB)), Net::of(false, &spec(BOB)));
        let idle_since = beside.world.now;
        Both { beside, alone, idle_since, bob: 0, heard: [idle_since; 2], first: [None; 2], borderline: false }
    }

    fn come(&mut self, source: &str, leg: usize, rtcp: bool, payload: &[u8]) {
        for net in [&mut self.beside, &mut self.alone] {
            let local = net.local.legs[leg][0].unwrap();
            net.come(source, if rtcp { local.rtcp } else { local.rtp }, payload);
        }
        self.alone.work();
    }

    fn note_silence(&mut self, leg: usize) {
        let silent = self.alone.world.now - self.heard[leg];
        self.borderline |= silent.abs_diff(crate::Way::PAUSE_NS) <= STALL + MS;
    }

    fn say(&mut self, leg: usize, payload_type: u8, sequence: u16) {
        self.note_silence(leg);
        self.heard[leg] = self.alone.world.now;
        self.first[leg].get_or_insert(sequence);
        let source = if leg == 0 { ALICE } else { BOBS[self.bob] };
        // In the time of the sender, so that what is too long for jitter is so on both sides.
        let timestamp = (self.alone.world.now / 125_000) as u32;
        let packet = rtp_of(payload_type, sequence, timestamp, 0x1234 + leg as u32);
        self.come(source, leg, false, &packet);
    }

    fn next(&mut self, leg: usize) -> u16 {
        let sequence = self.beside.sequences[leg];
        self.skip(leg, 1);
        sequence
    }

    fn skip(&mut self, leg: usize, numbers: u16) {
        self.beside.sequences[leg] = self.beside.sequences[leg].wrapping_add(numbers);
    }

    /// The relay beside the program takes the first ones that wait.
    fn take(&mut self, packets: usize) {
        let rest = self.beside.rising.split_off(packets.min(self.beside.rising.len()));
        self.beside.work();
        self.beside.rising = rest;
    }

    fn work(&mut self) {
        self.beside.work();
        self.idle_since = self.beside.world.now;
    }

    fn pass(&mut self, time: u64) {
        if self.beside.world.now + time > self.idle_since + STALL {
            self.work();
        }
        self.beside.world.pass(time);
        self.alone.world.pass(time);
    }

    fn update(&mut self) {
        self.work();
        (0..2).for_each(|leg| self.note_silence(leg));
        let spec = spec(BOBS[self.bob]);
        self.beside.world.update(id(1), &spec);
        self.alone.world.update(id(1), &spec);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Talk { leg, packets } => {
                for _ in 0..packets {
                    let sequence = self.next(leg);
                    self.say(leg, 0, sequence);
                    self.work();
                    self.pass(20 * MS);
                }
            }
            Step::Burst { leg, packets, taken } => {
                for _ in 0..packets {
                    let sequence = self.next(leg);
                    self.say(leg, 0, sequence);
                    self.pass(MS);
                }
                self.take(taken);
            }
            Step::Skip { leg, numbers } => self.skip(leg, numbers),
            Step::Repeat { leg, back } => {
                let sequence = self.beside.sequences[leg].checked_sub(back);
                if let (Some(sequence), Some(first)) = (sequence, self.first[leg])
                    && sequence >= first
                {
                    self.say(leg, 0, sequence);
                    self.pass(MS);
                }
            }
            Step::Other { leg, payload_type } => {
                let sequence = self.next(leg);
                self.say(leg, payload_type, sequence);
                self.pass(MS);
            }
            Step::Forge { leg, from_mallory } => {
                let source = if from_mallory { MALLORY } else { [ALICE, BOBS[self.bob]][leg] };
                self.come(source, leg, false, &rtp_of(0, 77, 77, 0x6666));
            }
            Step::Rtcp { leg } => {
                let mut report = rtcp();
                report[7] += leg as u8;
                self.come([ALICE, BOBS[self.bob]][leg], leg, true, &report);
            }
            Step::Pause { ms } => {
                self.work();
                self.pass(ms * MS);
            }
            Step::Update => self.update(),
            Step::Move => {
                self.bob = 1 - self.bob;
                self.update();
            }
            Step::Query => self.agree().unwrap(),
        }
    }

    fn agree(&mut self) -> Result<(), TestCaseError> {
        self.work();
        for leg in 0..2 {
            self.note_silence(leg);
            let (beside, alone) = (self.beside.report(leg), self.alone.report(leg));
            agree(&beside, &alone, self.borderline)?;
        }
        Ok(())
    }
}

fn agree(beside: &StreamReport, alone: &StreamReport, borderline: bool) -> Result<(), TestCaseError> {
    let close = |a: u64, b: u64, by: u64| a.abs_diff(b) <= by;
    let stall_ms = STALL / MS + 1;
    prop_assert!(close(beside.jitter_us.into(), alone.jitter_us.into(), 2 * STALL / 1_000), "{beside:?} {alone:?}");
    prop_assert!(close(beside.longest_gap_ms.into(), alone.longest_gap_ms.into(), stall_ms), "{beside:?} {alone:?}");
    // A late packet of which nobody knows whether it was missing.
    prop_assert!(close(beside.lost, alone.lost, alone.reordered), "{beside:?} {alone:?}");
    let (one, other) = (beside.silence.unwrap_or_default(), alone.silence.unwrap_or_default());
    if !borderline {
        prop_assert_eq!((one.pauses, one.noise_packets), (other.pauses, other.noise_packets));
        let by = 2 * stall_ms * u64::from(one.pauses + 1);
        // What was heard of the other party meanwhile ends with its latest packet, and the next may have come elsewhere
        // while this one waited.
        let one_way_by = by + u64::from(one.pauses) * crate::Way::PAUSE_NS / MS;
        let agree = close(one.total_ms, other.total_ms, by) && close(one.one_way_ms, other.one_way_ms, one_way_by);
        prop_assert!(agree, "{one:?} {other:?}");
    }
    // All else is the same.
    let exact = |report: &StreamReport| StreamReport {
        lost: 0,
        jitter_us: 0,
        longest_gap_ms: 0,
        silence: None,
        // They follow from what has been compared.
        quality: None,
        far_end: None,
        ..*report
    };
    prop_assert_eq!(exact(beside), exact(alone));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_program_beside_the_relay_changes_nothing(steps in vec(step(), 1..80)) {
        let mut both = Both::new();
        for step in steps {
            both.step(step);
        }
        both.agree()?;
        for leg in 0..2 {
            let from = both.alone.local.legs[leg][0].unwrap().rtp;
            let left = |net: &Net| net.left.iter().filter(|(local, ..)| *local == from).cloned().collect::<Vec<_>>();
            let (beside, alone) = (left(&both.beside), left(&both.alone));
            prop_assert!(beside == alone, "{} and {} left", beside.len(), alone.len());
        }
        let counters = *both.beside.world.relay.counters();
        let relayed = counters.relayed(Traffic::Rtp).packets + counters.elsewhere.packets;
        prop_assert_eq!(relayed, both.alone.world.relay.counters().relayed(Traffic::Rtp).packets);
        both.work();
        let (beside, alone) = (both.beside.world.close(id(1)).unwrap(), both.alone.world.close(id(1)).unwrap());
        for leg in 0..2 {
            agree(&beside.legs[leg][0], &alone.legs[leg][0], both.borderline)?;
        }
    }
}
