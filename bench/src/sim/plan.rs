//! What is to happen in a run: drawn from the seed before it begins, plain data.

use moorline_b2bua::policy::{Limits, ReliableProvisional, SessionTimers};

use super::random::Random;

pub(super) const MS: u64 = 1_000_000;
pub(super) const SECOND: u64 = 1_000 * MS;

/// A whole run.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) network: Conditions,
    pub(super) calls: Vec<CallPlan>,
    /// What befalls Moorline's processes, by time.
    pub(super) faults: Vec<(u64, Fault)>,
    pub(super) limits: Limits,
    /// The sessions that the media process takes.
    pub(super) capacity: usize,
    /// What the trunks say of reliable provisional answers, by listener.
    pub(super) reliable: [ReliableProvisional; 2],
    /// The session timers of the trunks, by listener.
    pub(super) timers: [Option<SessionTimers>; 2],
    /// The longest time that the media process takes for an answer.
    pub(super) media_delay: u64,
}

/// What the network does to datagrams.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    /// As over TCP: nothing is lost, doubled or overtaken, and nobody repeats anything.
    pub(super) reliable: bool,
    /// In percent.
    pub(super) loss: u64,
    /// In percent.
    pub(super) duplication: u64,
    pub(super) delay: u64,
    /// Up to how much longer a datagram may take: what comes later may overtake it.
    pub(super) jitter: u64,
}

/// What befalls Moorline's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Signaling is killed, and starts anew after this long.
    SignalingRestart { down: u64 },
    /// The media process is killed, and starts anew after this long.
    MediaRestart { down: u64 },
    /// The control connection breaks, and is made again after this long.
    ConnectionLost { down: u64 },
    /// The media process has no room for requests for this long.
    MediaBusy { during: u64 },
}

/// One call.
#[derive(Debug, Clone)]
pub(super) struct CallPlan {
    pub(super) at: u64,
    /// From the customers to the carrier, or the other way.
    pub(super) outwards: bool,
    pub(super) caller: Script,
    /// What each of the called side's targets does, should the call come to it.
    pub(super) callees: [Script; 2],
}

/// What a party means to do.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) calling: Calling,
    pub(super) answering: Answering,
    /// What it does in the call, by the time since it was answered.
    pub(super) talk: Vec<(u64, Action)>,
    pub(super) on_reinvite: OnReinvite,
    pub(super) knows: Knows,
    /// Its link goes dead this long after it heard or said its first word.
    pub(super) vanishes_after: Option<u64>,
    /// It sends no media.
    pub(super) silent: bool,
}

/// Which extensions a party knows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knows {
    pub(super) reliable: Reliable,
    pub(super) update: bool,
    /// Session timers (RFC 4028), and how long it wants a session to last without a refresh.
    pub(super) timer: Option<u64>,
}

/// Reliable provisional answers (RFC 3262).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reliable {
    No,
    Supported,
    /// A caller requires them.
    Required,
}

/// How a caller calls.
#[derive(Debug, Clone)]
pub(super) struct Calling {
    /// It offers in the INVITE, not in the ACK.
    pub(super) offers: bool,
    pub(super) video: bool,
    /// It gives up after this long.
    pub(super) patience: u64,
}

/// How a called party answers.
#[derive(Debug, Clone)]
pub(super) struct Answering {
    pub(super) progress: Vec<Progress>,
    pub(super) last: Final,
}

/// A provisional response.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    pub(super) after: u64,
    pub(super) status: u16,
    /// Which of the called party's devices says so: each has its own To tag.
    pub(super) device: usize,
    pub(super) early_media: bool,
}

/// A final response.
#[derive(Debug, Clone, Copy)]
pub(super) enum Final {
    /// 200 from this device, and from the other one too, that much later.
    Answer {
        after: u64,
        device: usize,
        other_too: Option<u64>,
    },
    Refuse {
        after: u64,
        status: u16,
    },
    /// It rings until somebody gives up.
    Never,
    /// It hears nothing.
    Dead,
}

/// Something that a party does in a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Hold {
        inactive: bool,
    },
    Resume,
    /// A re-INVITE that asks for an offer.
    AskForOffer,
    /// A re-INVITE that is cancelled after this long.
    Waver {
        cancel_after: u64,
    },
    /// A refresh of the session.
    Refresh,
    /// An UPDATE that holds or resumes.
    Update {
        hold: bool,
    },
    Info,
    Options,
    Message,
    Bye,
}

/// What a party says to a re-INVITE.
#[derive(Debug, Clone)]
pub(super) struct OnReinvite {
    pub(super) after: u64,
    /// In percent.
    pub(super) refuses: u64,
    pub(super) rings: bool,
}

impl Plan {
    pub(super) fn draw(seed: u64) -> Plan {
        let random = &mut Random::new(seed);
        let network = Conditions::draw(random);
        let limits = Limits {
            calls: 100,
            call_duration_ns: random.pick(&[60, 90, 150, 400, 600]) * SECOND,
            ring_ns: random.between(15, 60) * SECOND,
            media_timeout_ns: random.between(15, 30) * SECOND,
        };
        let calls: Vec<CallPlan> = (0..random.between(1, 3)).map(|_| CallPlan::draw(random)).collect();
        let mut faults = Vec::new();
        if random.chance(25) {
            for _ in 0..random.between(1, 2) {
                faults.push((random.between(0, 40_000) * MS, Fault::draw(random)));
            }
        }
        faults.sort_by_key(|(at, _)| *at);
        let capacity = if random.chance(8) { 1 } else { 16 };
        let media_delay = random.pick(&[0, 0, 2 * MS, 40 * MS, 400 * MS]);
        let reliable = [0, 1].map(|_| match random.below(12) {
            0 | 1 => ReliableProvisional::Off,
            2 => ReliableProvisional::Required,
            _ => ReliableProvisional::Supported,
        });
        let timers = [0, 1].map(|_| {
            let refresh_s = random.between(90, 300) as u32;
            random.chance(85).then_some(SessionTimers { refresh_s, min_s: 90 })
        });
        Plan { network, calls, faults, limits, capacity, reliable, timers, media_delay }
    }
}

impl Conditions {
    fn draw(random: &mut Random) -> Conditions {
        let delay = random.pick(&[0, 100_000, 10 * MS, 60 * MS]);
        let (reliable, loss, duplication, jitter) = match random.below(5) {
            0 => (true, 0, 0, 0),
            1 => (false, 0, 0, 0),
            2 => (false, 0, 20, 100 * MS),
            3 => (false, 10, 5, 20 * MS),
            _ => (false, 30, 10, 300 * MS),
        };
        Conditions { reliable, loss, duplication, delay, jitter }
    }
}

impl Fault {
    fn draw(random: &mut Random) -> Fault {
        let down = random.pick(&[10, 200, 1_500]) * MS;
        match random.below(4) {
            0 => Fault::SignalingRestart { down },
            1 => Fault::MediaRestart { down },
            2 => Fault::ConnectionLost { down },
            _ => Fault::MediaBusy { during: down },
        }
    }
}

impl CallPlan {
    fn draw(random: &mut Random) -> CallPlan {
        let at = random.between(0, 5_000) * MS;
        let outwards = random.chance(60);
        let mut caller = Script::draw(random);
        let mut callees = [Script::draw(random), Script::draw(random)];
        // Whoever wants the call to go on for ever, the other one does not, or the longest duration ends it.
        if random.chance(85) {
            let longest = random.pick(&[50_000, 50_000, 50_000, 350_000]);
            let at = random.between(0, longest) * MS;
            let who = random.below(3);
            if who != 1 {
                caller.talk.push((at, Action::Bye));
            }
            if who != 0 {
                // With `who` 2 both hang up at nearly the same time.
                let apart = random.below(200) * MS;
                callees.iter_mut().for_each(|callee| callee.talk.push((at + apart, Action::Bye)));
            }
        }
        for script in std::iter::once(&mut caller).chain(&mut callees) {
            script.talk.sort_by_key(|(at, _)| *at);
        }
        CallPlan { at, outwards, caller, callees }
    }
}

impl Script {
    fn draw(random: &mut Random) -> Script {
        let actions = if random.chance(50) { random.between(1, 4) } else { 0 };
        Script {
            calling: Calling::draw(random),
            answering: Answering::draw(random),
            talk: (0..actions).map(|_| (random.between(0, 30_000) * MS, Action::draw(random))).collect(),
            on_reinvite: OnReinvite {
                after: random.pick(&[0, 0, 50, 600, 3_000]) * MS,
                refuses: random.pick(&[0, 0, 0, 50]),
                rings: random.chance(15),
            },
            knows: Knows {
                reliable: match random.below(20) {
                    0..=9 => Reliable::No,
                    10..=18 => Reliable::Supported,
                    _ => Reliable::Required,
                },
                update: random.chance(50),
                timer: random.chance(35).then(|| random.between(90, 150) * SECOND),
            },
            vanishes_after: random.chance(4).then(|| random.between(0, 30_000) * MS),
            silent: random.chance(8),
        }
    }
}

impl Calling {
    fn draw(random: &mut Random) -> Calling {
        let patience = match random.below(10) {
            0 => random.between(0, 50),
            1 => random.between(0, 2_000),
            2 => random.between(0, 12_000),
            _ => 180_000,
        };
        Calling { offers: random.chance(85), video: random.chance(15), patience: patience * MS }
    }
}

impl Answering {
    fn draw(random: &mut Random) -> Answering {
        let mut progress: Vec<Progress> = (0..random.below(4))
            .map(|_| Progress {
                after: random.between(0, 4_000) * MS,
                status: random.pick(&[100, 180, 180, 181, 183, 183, 199]),
                device: random.below(2) as usize,
                early_media: random.chance(40),
            })
            .collect();
        progress.sort_by_key(|progress| progress.after);
        let after = random.pick(&[0, 100, 1_000, 5_000, 12_000]) * MS + random.below(500) * MS;
        let last = match random.below(20) {
            0..=13 => Final::Answer {
                after,
                device: random.below(2) as usize,
                other_too: random.chance(7).then(|| random.between(0, 2_000) * MS),
            },
            14..=17 => Final::Refuse { after, status: random.pick(&[404, 480, 486, 488, 503, 503, 600, 603]) },
            18 => Final::Never,
            _ => Final::Dead,
        };
        Answering { progress, last }
    }
}

impl Action {
    fn draw(random: &mut Random) -> Action {
        match random.below(10) {
            8 | 9 => Action::Update { hold: random.chance(50) },
            0 | 1 => Action::Hold { inactive: random.chance(30) },
            2 => Action::Resume,
            3 => Action::AskForOffer,
            4 => Action::Waver { cancel_after: random.between(0, 1_500) * MS },
            5 => Action::Info,
            6 => Action::Options,
            _ => Action::Message,
        }
    }
}
