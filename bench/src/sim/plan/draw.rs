//! Drawing a plan from a seed.

use moorline_b2bua::policy::{Limits, Redirects, Refer, ReliableProvisional, SessionTimers};

use super::{
    Action, Answering, Asks, CallPlan, Calling, Conditions, Fault, Final, Knows, MS, OnReinvite, Plan, Progress,
    Reliable, SECOND, Script, Side,
};
use crate::sim::random::Random;

impl Plan {
    pub(in crate::sim) fn draw(seed: u64) -> Plan {
        let random = &mut Random::new(seed);
        let network = Conditions::draw(random);
        let limits = Limits {
            calls: 100,
            call_duration_ns: random.pick(&[60, 90, 150, 400, 600]) * SECOND,
            ring_ns: random.between(15, 60) * SECOND,
            media_timeout_ns: random.between(15, 30) * SECOND,
            ..Limits::default()
        };
        let calls: Vec<CallPlan> = (0..random.between(1, 3)).map(|_| CallPlan::draw(random)).collect();
        let mut faults = Vec::new();
        if random.chance(25) {
            for _ in 0..random.between(1, 2) {
                faults.push((random.between(0, 40_000) * MS, Fault::draw(random)));
            }
        }
        faults.sort_by_key(|(at, _)| *at);
        let breaks = if network.streams { random.below(6) } else { 0 };
        let breaks = (0..breaks).map(|_| random.between(0, 60_000) * MS).collect();
        let capacity = if random.chance(8) { 1 } else { 16 };
        let media_delay = random.pick(&[0, 0, 2 * MS, 40 * MS, 400 * MS]);
        let sides = [0, 1].map(|_| Side::draw(random));
        Plan { network, calls, breaks, faults, limits, capacity, sides, media_delay }
    }
}

impl Side {
    fn draw(random: &mut Random) -> Side {
        let refresh_s = random.between(90, 300) as u32;
        let min_s = random.pick(&[90, 90, 90, 120]);
        Side {
            reliable: match random.below(12) {
                0 | 1 => ReliableProvisional::Off,
                2 => ReliableProvisional::Required,
                _ => ReliableProvisional::Supported,
            },
            timers: random.chance(85).then_some(SessionTimers { refresh_s: refresh_s.max(min_s), min_s }),
            redirects: if random.chance(80) { Redirects::Follow } else { Redirects::Pass },
            refer: if random.chance(80) { Refer::Pass } else { Refer::Refuse },
            trusted: random.chance(50),
            failover: random.pick(&[0, 0, 2, 4]) * SECOND,
            asks: random.chance(25).then(|| Asks {
                status: random.pick(&[401, 407]),
                always: random.chance(40),
                lifetime: random.pick(&[5, 60, 600]) * SECOND,
            }),
        }
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
        let streams = reliable && random.chance(60);
        Conditions { reliable, streams, loss, duplication, delay, jitter }
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
        let mut callees = [0, 1, 2, 3].map(|_| Script::draw(random));
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
                timer: random.chance(35).then(|| random.between(90, 200) * SECOND),
                shortest: random.pick(&[90, 90, 90, 130]) * SECOND,
            },
            proxies: random.pick(&[0, 0, 0, 1, 2]),
            early_update: random.chance(25).then(|| random.between(0, 3_000) * MS),
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
        Calling {
            offers: random.chance(85),
            video: random.chance(15),
            private: random.chance(20),
            patience: patience * MS,
        }
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
            14..=16 => Final::Refuse { after, status: random.pick(&[404, 480, 486, 488, 503, 503, 600, 603]) },
            17 => Final::Redirect { after, to: [0, 1].map(|_| random.chance(75).then(|| random.below(4) as usize)) },
            18 => Final::Never,
            _ => Final::Dead,
        };
        Answering { progress, last }
    }
}

impl Action {
    fn draw(random: &mut Random) -> Action {
        match random.below(11) {
            10 => Action::Refer,
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
