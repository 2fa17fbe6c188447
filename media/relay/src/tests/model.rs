//! Random requests against a naive model of the same rules.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::shard_of;

const REST: u64 = 5 * SECOND;

#[derive(Debug, Clone)]
enum Step {
    Open { session: u64, owner: u64, streams: usize, active: u8 },
    Update { session: u64, streams: usize, active: u8 },
    Claim { session: u64, owner: u64 },
    Close { session: u64 },
    Release { owner: u64 },
    Pass { ms: u64 },
    Steal { nth: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let session = || 0..12u64;
    let owner = || 0..3u64;
    prop_oneof![
        4 => (session(), owner(), 1..4usize, any::<u8>())
            .prop_map(|(session, owner, streams, active)| Step::Open { session, owner, streams, active }),
        2 => (session(), 1..4usize, any::<u8>())
            .prop_map(|(session, streams, active)| Step::Update { session, streams, active }),
        1 => (session(), owner()).prop_map(|(session, owner)| Step::Claim { session, owner }),
        3 => session().prop_map(|session| Step::Close { session }),
        1 => owner().prop_map(|owner| Step::Release { owner }),
        2 => (0..4_000u64).prop_map(|ms| Step::Pass { ms }),
        1 => (0..64usize).prop_map(|nth| Step::Steal { nth }),
    ]
}

/// A session as the rules describe it.
#[derive(Debug, Clone)]
struct Modelled {
    owner: u64,
    /// Leg, stream: active.
    shape: Vec<Vec<bool>>,
}

#[derive(Default)]
struct Model {
    sessions: BTreeMap<SessionId, Modelled>,
    /// Names of connections change when they come back: generation by owner.
    generation: [u64; 3],
    /// Ends of leases by owner name.
    leases: BTreeMap<u64, u64>,
    /// When an RTP address was freed.
    freed: BTreeMap<SocketAddr, u64>,
}

impl Model {
    fn name(&self, owner: u64) -> u64 {
        owner + 10 * self.generation[owner as usize]
    }

    fn may_claim(&self, session: SessionId, name: u64) -> bool {
        self.sessions.get(&session).is_none_or(|s| s.owner == name || self.leases.contains_key(&s.owner))
    }
}

fn spec(streams: usize, active: u8) -> SessionSpec {
    let leg = |range: &str, side: usize| LegSpec {
        range: range.to_owned(),
        streams: (0..streams)
            .map(|i| StreamSpec { active: active >> (4 * side + i) & 1 != 0, ..stream(None) })
            .collect(),
    };
    SessionSpec { legs: vec![leg("core", 0), leg("carrier", 1)], media_timeout_ms: 0, snapshot: Vec::new() }
}

fn shape(spec: &SessionSpec) -> Vec<Vec<bool>> {
    spec.legs.iter().map(|leg| leg.streams.iter().map(|s| s.active).collect()).collect()
}

fn small() -> Config {
    let ranges = vec![range("core", "127.0.1.0/30", 20_001, 20_050), range("carrier", "127.0.2.1/32", 30_000, 30_041)];
    Config { ranges, capacity: 10, port_rest_ns: REST, ..config() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Ports come in pairs, to one session at a time, rested, from the right shard; sessions, owners and
    /// leases are those of the model; a refusal changes nothing.
    #[test]
    fn the_session_table_agrees_with_the_model(steps in vec(step(), 1..120)) {
        let mut world = World::with(small());
        let mut model = Model::default();
        for step in steps {
            take(&mut world, &mut model, step)?;
            check(&world, &model)?;
        }
        for id in model.sessions.keys() {
            world.relay.close(world.now, *id, &mut world.sockets);
        }
        prop_assert!(world.sockets.bound.is_empty());
        world.pass(REST);
        prop_assert_eq!(world.relay.counters().ports_resting, 0);
    }
}

fn take(world: &mut World, model: &mut Model, step: Step) -> Result<(), TestCaseError> {
    let held_before: BTreeSet<SocketAddr> = world.sockets.bound.values().copied().collect();
    match step {
        Step::Open { session, owner, streams, active } => {
            let (session, name, spec) = (id(session), model.name(owner), spec(streams, active));
            let wanted = shape(&spec);
            let result = world.relay.open(world.now, Owner(name), session, spec, &mut world.sockets);
            let full = !model.sessions.contains_key(&session) && model.sessions.len() == 10;
            if !model.may_claim(session, name) || full {
                prop_assert!(result.is_err());
            } else if result.is_ok() {
                model.sessions.insert(session, Modelled { owner: name, shape: wanted });
            }
            unchanged_if_refused(world, &held_before, result.is_err())?;
        }
        Step::Update { session, streams, active } => {
            let spec = spec(streams, active);
            let wanted = shape(&spec);
            let result = world.relay.update(world.now, id(session), spec, &mut world.sockets);
            match model.sessions.get_mut(&id(session)) {
                Some(modelled) if result.is_ok() => modelled.shape = wanted,
                Some(_) => {}
                None => prop_assert!(result.is_err()),
            }
            unchanged_if_refused(world, &held_before, result.is_err())?;
        }
        Step::Claim { session, owner } => {
            let name = model.name(owner);
            let result = world.relay.claim(world.now, Owner(name), id(session));
            let may = model.sessions.contains_key(&id(session)) && model.may_claim(id(session), name);
            prop_assert_eq!(result.is_ok(), may);
            if let Some(modelled) = model.sessions.get_mut(&id(session)).filter(|_| may) {
                modelled.owner = name;
            }
        }
        Step::Close { session } => {
            let report = world.relay.close(world.now, id(session), &mut world.sockets);
            prop_assert_eq!(report.is_some(), model.sessions.remove(&id(session)).is_some());
        }
        Step::Release { owner } => {
            let name = model.name(owner);
            world.relay.release(world.now, Owner(name), 3 * SECOND);
            model.leases.insert(name, world.now + 3 * SECOND);
            model.generation[owner as usize] += 1;
        }
        Step::Pass { ms } => {
            let until = world.now + ms * MS;
            while world.now < until {
                world.pass(MS.min(until - world.now).max(1));
                note_freed(world, model, &held_before);
            }
            let expired = |owner: &u64| model.leases.get(owner).is_some_and(|end| *end <= until);
            model.sessions.retain(|_, s| !expired(&s.owner));
            world.events();
        }
        Step::Steal { nth } => {
            let ours: BTreeSet<_> = world.sockets.bound.values().collect();
            let stolen = address(&format!("127.0.1.1:{}", 20_000 + nth));
            if !ours.contains(&stolen) {
                world.sockets.foreign.clear();
                world.sockets.foreign.insert(stolen);
            }
        }
    }
    let held: BTreeSet<SocketAddr> = world.sockets.bound.values().copied().collect();
    for port in held.difference(&held_before) {
        let rested = model.freed.get(port).is_none_or(|freed| world.now >= freed + REST);
        prop_assert!(rested, "{} was freed at {:?}, now {}", port, model.freed.get(port), world.now);
    }
    note_freed(world, model, &held_before);
    Ok(())
}

fn note_freed(world: &World, model: &mut Model, held_before: &BTreeSet<SocketAddr>) {
    let held: BTreeSet<SocketAddr> = world.sockets.bound.values().copied().collect();
    for port in held_before.difference(&held) {
        let freed = model.freed.entry(*port).or_insert(0);
        // A lease that ran out within the step freed it at the first moment at which it was missed.
        *freed = if world.now - *freed > REST { world.now } else { *freed };
    }
}

fn unchanged_if_refused(world: &World, before: &BTreeSet<SocketAddr>, refused: bool) -> Result<(), TestCaseError> {
    let held: BTreeSet<SocketAddr> = world.sockets.bound.values().copied().collect();
    prop_assert!(!refused || held == *before, "a refused request left something");
    Ok(())
}

fn check(world: &World, model: &Model) -> Result<(), TestCaseError> {
    let listed = world.relay.list(None, usize::MAX);
    let ids: Vec<SessionId> = listed.sessions.iter().map(|listing| listing.session).collect();
    prop_assert_eq!(ids, model.sessions.keys().copied().collect::<Vec<_>>());
    let mut ports = BTreeSet::new();
    for listing in &listed.sessions {
        let modelled = &model.sessions[&listing.session];
        prop_assert_eq!(listing.owned, !model.leases.contains_key(&modelled.owner));
        let held: Vec<Vec<bool>> =
            listing.local.legs.iter().map(|leg| leg.iter().map(Option::is_some).collect()).collect();
        prop_assert_eq!(&held, &modelled.shape);
        for local in listing.local.legs.iter().flatten().flatten() {
            prop_assert_eq!(local.rtp.port() % 2, 0);
            prop_assert_eq!(local.rtcp, SocketAddr::new(local.rtp.ip(), local.rtp.port() + 1));
            prop_assert_eq!(shard_of(&small().ranges, 1, local.rtp), Some(0));
            prop_assert!(ports.insert(local.rtp) && ports.insert(local.rtcp), "{} twice", local.rtp);
        }
    }
    let bound: BTreeSet<SocketAddr> = world.sockets.bound.values().copied().collect();
    prop_assert_eq!(&ports, &bound);
    let counters = world.relay.counters();
    prop_assert_eq!(counters.sessions, listed.sessions.len() as u64);
    prop_assert_eq!(counters.ports_in_use, bound.len() as u64);
    Ok(())
}
