//! Random packets and updates against the rules of the latch and of the SSRC in their plainest form: no flow
//! remembers anything, every packet is judged anew.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const WINDOW: u64 = 3 * SECOND;
const SDP: [&str; 2] = ["10.0.0.1:4000", "10.0.0.1:4444"];
/// The party's addresses by its SDP, two behind its NAT, and somebody else's.
const SOURCES: [&str; 5] = [SDP[0], SDP[1], "198.51.100.7:1111", "198.51.100.7:2222", MALLORY];

#[derive(Debug, Clone)]
enum Step {
    /// Packets of a source, `count` of them with consecutive numbers.
    Packets {
        from: usize,
        ssrc: u32,
        first: u16,
        count: u16,
        gap_ms: u64,
    },
    /// A re-INVITE: the SDP's address, and whether the party may have moved.
    Update {
        sdp: usize,
        moved: bool,
    },
    Pass {
        ms: u64,
    },
    /// A packet of the other party: where it goes shows what is believed.
    Reply,
}

fn step() -> impl Strategy<Value = Step> {
    let packets = (0..SOURCES.len(), 1..4u32, any::<u16>(), 1..4u16, 0..130u64);
    prop_oneof![
        6 => packets.prop_map(|(from, ssrc, first, count, gap_ms)| Step::Packets { from, ssrc, first, count, gap_ms }),
        2 => (0..2usize, any::<bool>()).prop_map(|(sdp, moved)| Step::Update { sdp, moved }),
        2 => (0..1_500u64).prop_map(|ms| Step::Pass { ms }),
        2 => Just(Step::Reply),
    ]
}

/// A source that asks to be let in.
struct Newcomer {
    awaited: u16,
    proved: bool,
    until: u64,
}

struct Model {
    sdp: SocketAddr,
    window_end: u64,
    fixed: Option<SocketAddr>,
    previous: Option<SocketAddr>,
    previous_fixes_at: u64,
    previous_leads: bool,
    /// The last packet let in.
    heard: u64,
    speaker: Option<u32>,
    awaited: u16,
    owner: Option<u32>,
    announced_until: u64,
    newcomers: BTreeMap<u32, Newcomer>,
    /// When packets were refused for their SSRC since another was let in.
    refused: Vec<u64>,
}

impl Model {
    fn new(now: u64) -> Model {
        Model {
            sdp: address(SDP[0]),
            window_end: now + WINDOW,
            fixed: None,
            previous: None,
            previous_fixes_at: 0,
            previous_leads: false,
            heard: 0,
            speaker: None,
            awaited: 0,
            owner: None,
            announced_until: 0,
            newcomers: BTreeMap::new(),
            refused: Vec::new(),
        }
    }

    fn update(&mut self, now: u64, sdp: SocketAddr, doubted: bool) {
        let moved = sdp != self.sdp;
        self.sdp = sdp;
        let held = self.fixed;
        for kept in [&mut self.fixed, &mut self.previous] {
            *kept = kept.filter(|source| *source == sdp || behind_nat(*source));
        }
        let lost = held.is_some() && self.fixed.is_none();
        if moved || doubted || lost {
            let held = self.fixed.take();
            self.previous = held.or(self.previous);
            self.previous_leads = !moved && (self.previous_leads || held.is_some());
            self.previous_fixes_at = now + SECOND;
            self.window_end = now + WINDOW;
        }
        if moved {
            (self.speaker, self.owner, self.announced_until) = (None, None, 0);
            self.newcomers.clear();
            self.refused.clear();
        } else if self.speaker.is_some() {
            self.announced_until = now + 2 * SECOND;
        }
    }

    fn is_free(&self, now: u64) -> bool {
        let needed = match (self.is_contested(now), now < self.announced_until) {
            (false, true) => 0,
            (true, false) => SECOND / 2,
            _ => 150 * MS,
        };
        now - self.heard >= needed
    }

    /// Whether the speaker was heard well after the first of the refused packets that follow each other closely.
    fn is_contested(&self, now: u64) -> bool {
        let (mut first, mut later) = (None, now);
        for &refused in self.refused.iter().rev().take_while(|&&refused| {
            let close = later - refused < SECOND;
            later = refused;
            close
        }) {
            first = Some(refused);
        }
        first.is_some_and(|first| self.heard > first + 60 * MS)
    }

    fn is_known(&self, ssrc: u32) -> bool {
        self.speaker == Some(ssrc) || self.owner == Some(ssrc)
    }

    fn packet(&mut self, now: u64, source: SocketAddr, ssrc: u32, sequence: u16) -> Result<(), DropReason> {
        let pause = now < self.announced_until || now - self.heard >= SECOND / 2;
        let plausible = self.owner.is_none() || self.is_known(ssrc) || pause;
        self.judge_source(now, source, plausible)?;
        self.judge_ssrc(now, ssrc, sequence)?;
        self.heard = now;
        Ok(())
    }

    fn judge_source(&mut self, now: u64, source: SocketAddr, plausible: bool) -> Result<(), DropReason> {
        if source == self.sdp {
            if self.fixed.is_none() && plausible {
                self.fix(source);
            }
            return Ok(());
        }
        if let Some(fixed) = self.fixed {
            return if fixed == source { Ok(()) } else { Err(DropReason::Source) };
        }
        let late = self.previous == Some(source);
        if late && now < self.previous_fixes_at {
            return Ok(());
        }
        if !behind_nat(source) || !late && now >= self.window_end {
            return Err(DropReason::Source);
        }
        if !plausible {
            return Err(DropReason::Ssrc);
        }
        self.fix(source);
        Ok(())
    }

    fn fix(&mut self, source: SocketAddr) {
        (self.fixed, self.previous, self.previous_leads) = (Some(source), None, false);
    }

    fn judge_ssrc(&mut self, now: u64, ssrc: u32, sequence: u16) -> Result<(), DropReason> {
        if self.speaker.is_none() {
            (self.speaker, self.awaited) = (Some(ssrc), sequence.wrapping_add(1));
            return Ok(());
        }
        if self.is_known(ssrc) {
            if self.owner.is_none() && sequence == self.awaited {
                self.owner = Some(ssrc);
            }
            self.awaited = sequence.wrapping_add(1);
            self.speaker = Some(ssrc);
            return Ok(());
        }
        self.newcomers.retain(|_, newcomer| now < newcomer.until);
        let until = now + SECOND / 4;
        let Some(newcomer) = self.newcomers.get_mut(&ssrc) else {
            self.newcomers.insert(ssrc, Newcomer { awaited: sequence.wrapping_add(1), proved: false, until });
            self.refused.push(now);
            return Err(DropReason::Ssrc);
        };
        newcomer.proved |= sequence == newcomer.awaited;
        newcomer.awaited = sequence.wrapping_add(1);
        if newcomer.proved {
            newcomer.until = until;
        }
        let proved = newcomer.proved;
        if proved && (self.owner.is_none() || self.is_free(now)) {
            self.speaker = Some(ssrc);
            self.owner = self.owner.or(Some(ssrc));
            self.refused.clear();
            return Ok(());
        }
        self.refused.push(now);
        Err(DropReason::Ssrc)
    }

    /// Where the party is reached.
    fn destination(&self) -> SocketAddr {
        let led = self.previous.filter(|_| self.previous_leads);
        self.fixed.or(led).unwrap_or(self.sdp)
    }
}

fn behind_nat(source: SocketAddr) -> bool {
    source.ip() == address(SOURCES[2]).ip()
}

fn spec(sdp: usize, relatch: u32) -> SessionSpec {
    let alice = StreamSpec { latch: latch("198.51.100.0/24", 3_000), relatch, ..stream(Some(SDP[sdp])) };
    call(alice, stream(Some(BOB)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn latch_and_ssrc_agree_with_the_model(steps in vec(step(), 1..60)) {
        let mut world = World::new();
        let (alice, bob) = sides(&world.open(id(1), &spec(0, 0)));
        let mut model = Model::new(world.now);
        let (mut relatch, mut replies, mut refused) = (0, 0, 0);
        for step in steps {
            match step {
                Step::Packets { from, ssrc, first, count, gap_ms } => for n in 0..count {
                    let sequence = first.wrapping_add(n);
                    let expected = model.packet(world.now, address(SOURCES[from]), ssrc, sequence);
                    let way = world.packet(SOURCES[from], alice.rtp, &rtp_of(0, sequence, 0, ssrc));
                    prop_assert_eq!(way, expected.map(|()| (bob.rtp, address(BOB))), "{} {}", SOURCES[from], sequence);
                    refused += u64::from(expected.is_err());
                    world.pass(gap_ms * MS + 1);
                },
                Step::Update { sdp, moved } => {
                    relatch += u32::from(moved);
                    world.update(id(1), &spec(sdp, relatch));
                    model.update(world.now, address(SDP[sdp]), moved);
                }
                Step::Pass { ms } => world.pass(ms * MS),
                Step::Reply => {
                    replies += 1;
                    let way = world.packet(BOB, bob.rtp, &rtp(replies));
                    prop_assert_eq!(way, Ok((alice.rtp, model.destination())));
                }
            }
        }
        prop_assert_eq!(world.report(id(1)).legs[0][0].refused, refused);
    }
}
