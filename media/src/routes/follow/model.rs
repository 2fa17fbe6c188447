//! Random news and orders against a world that is known: places are only rewritten as they may be, and when all is
//! told and asked they hold what the world says.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const CARDS: [u32; 2] = [3, 4];
const VLAN: u32 = 7;
const HOPS: u32 = 6;

/// What can happen.
#[derive(Debug, Clone)]
enum Step {
    Follow(u32, u8),
    Leave(u32),
    Neighbour(Id, Standing),
    Link(u32, Option<(bool, u8)>),
    Route(u8, Option<(u32, u8)>),
    Keep(Option<u8>),
    /// The world changes and nobody is told but by a picture afterwards.
    Missed(Box<Step>),
    Blind,
    Unwritten(u32),
    Pass(u64),
    /// Some questions are answered.
    Answer(usize),
}

fn address(n: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, n])
}

fn step() -> impl Strategy<Value = Step> {
    let interface = || prop::sample::select(vec![CARDS[0], CARDS[1], VLAN]);
    let standing = prop_oneof![
        Just(Standing::Unresolved),
        (1..4u8, any::<bool>(), any::<bool>()).prop_map(|(mac, stale, fixed)| Standing::Resolved {
            address: [mac; 6],
            stale: stale && !fixed,
            fixed
        })
    ];
    let happens = prop_oneof![
        4 => ((interface(), (1..5u8).prop_map(address)), standing).prop_map(|(id, standing)| Step::Neighbour(id, standing)),
        2 => (interface(), prop::option::weighted(0.8, (any::<bool>(), 1..3u8))).prop_map(|(i, link)| Step::Link(i, link)),
        2 => (1..5u8, prop::option::of((interface(), 1..5u8))).prop_map(|(to, way)| Step::Route(to, way)),
        1 => prop::option::of(1..5u8).prop_map(Step::Keep),
    ]
    .boxed();
    prop_oneof![
        3 => (1..=HOPS, 1..5u8).prop_map(|(hop, to)| Step::Follow(hop, to)),
        2 => (1..=HOPS).prop_map(Step::Leave),
        6 => happens.clone(),
        1 => happens.prop_map(|step| Step::Missed(Box::new(step))),
        1 => Just(Step::Blind),
        1 => (1..=HOPS).prop_map(Step::Unwritten),
        4 => (0..30_000_000u64).prop_map(Step::Pass),
        1 => (0..3_000_000_000u64).prop_map(Step::Pass),
        4 => (0..8usize).prop_map(Step::Answer),
    ]
}

/// The truth.
#[derive(Default)]
struct World {
    links: BTreeMap<u32, Link>,
    neighbours: BTreeMap<Id, Standing>,
    routes: BTreeMap<IpAddr, Way>,
    kept: Option<IpAddr>,
}

impl World {
    fn rules(&self) -> Rules {
        let scope = |ip: IpAddr| Scope { v4: true, from: None, to: Some(ip.into()) };
        Rules { narrow: self.kept.map(scope).into_iter().collect(), ..Rules::default() }
    }

    fn picture(&self) -> Picture {
        let neighbours = self.neighbours.iter().map(|(id, standing)| (*id, *standing)).collect();
        Picture { links: self.links.values().cloned().collect(), neighbours, rules: self.rules() }
    }

    fn answer(&self, question: &Question) -> Result<Way, Reason> {
        self.routes.get(&question.destination).copied().ok_or(Reason::NoRoute)
    }

    /// What the place of a destination should hold.
    fn hop(&self, to: IpAddr) -> Option<NextHop> {
        self.by(to, self.routes.get(&to)?)
    }

    /// What it should hold if this were the way there, worked out otherwise than by `Follow`.
    fn by(&self, to: IpAddr, way: &Way) -> Option<NextHop> {
        if self.kept == Some(to) {
            return None;
        }
        let link = self.links.get(&way.interface)?;
        let (card, vlan) = match link.kind {
            Kind::Vlan { lower, id, .. } => (self.links.get(&lower)?, id),
            _ => (link, 0),
        };
        let Standing::Resolved { address: destination, .. } = self.neighbours.get(&(way.interface, way.next))? else {
            return None;
        };
        (link.up && card.up).then_some(NextHop {
            interface: card.index,
            source: link.address?,
            destination: *destination,
            vlan,
            mtu: 1500,
        })
    }
}

/// The places, and the rules for them.
#[derive(Default)]
struct Board {
    now: u64,
    places: BTreeMap<u32, Option<NextHop>>,
    cleared: BTreeMap<u32, u64>,
    taken: BTreeMap<u32, IpAddr>,
    /// The kernel's last answers.
    ways: BTreeMap<u32, Way>,
    resting: BTreeMap<u32, u64>,
}

impl Board {
    fn carry_out(&mut self, follow: &mut Follow, world: &World) {
        while let Some(output) = follow.poll_output() {
            match output {
                Output::Valid { hop, next } => {
                    assert!(self.taken.contains_key(&hop), "{hop} belongs to nobody");
                    assert_eq!(self.places.get(&hop).copied().flatten(), None, "{hop} was valid");
                    let rested = self.cleared.get(&hop).is_none_or(|at| self.now >= at + 10_000_000);
                    assert!(rested, "{hop} was valid just now");
                    self.places.insert(hop, Some(next));
                }
                Output::Invalid { hop, .. } | Output::Left { hop } => {
                    self.places.insert(hop, None);
                    self.cleared.insert(hop, self.now);
                }
                Output::Said { hop, .. } => assert_eq!(self.places.get(&hop).copied().flatten(), None),
                Output::Free { hop } => {
                    assert!(self.resting.remove(&hop).is_some_and(|left| self.now >= left + FREE_NS));
                }
                Output::Use { neighbour } => {
                    let standing = world.neighbours.get(&neighbour);
                    // What was missed or is not told yet may differ, and then a picture has come.
                    let fixed = matches!(standing, Some(Standing::Resolved { fixed: true, .. }));
                    assert!(!fixed, "{neighbour:?} was set by hand");
                }
            }
        }
        follow.carried_out(self.now);
        // What was answered may be out of date; links, neighbours and rules are not.
        for (hop, next) in self.places.iter().filter_map(|(hop, next)| Some((hop, next.as_ref()?))) {
            let by_way = self.ways.get(hop).and_then(|way| world.by(self.taken[hop], way));
            assert_eq!(by_way.as_ref(), Some(next), "hop {hop} by {:?}", self.ways.get(hop));
        }
    }

    fn answer(&mut self, follow: &mut Follow, world: &World) -> bool {
        let Some((hop, question)) = follow.poll_question(self.now) else { return false };
        let answer = world.answer(&question);
        match answer {
            Ok(way) => self.ways.insert(hop, way),
            Err(_) => self.ways.remove(&hop),
        };
        follow.answered(self.now, hop, answer);
        true
    }
}

fn happen(world: &mut World, step: &Step) {
    match step {
        Step::Neighbour(id, Standing::Unresolved) => drop(world.neighbours.remove(id)),
        Step::Neighbour(id, standing) => drop(world.neighbours.insert(*id, *standing)),
        Step::Link(index, None) => drop(world.links.remove(index)),
        Step::Link(index, Some((up, mac))) => {
            let vlan = Kind::Vlan { lower: CARDS[0], id: 100, priorities: vec![] };
            let kind = if *index == VLAN { vlan } else { Kind::Card };
            let (name, address) = (format!("eth{index}"), Some([*mac + 16; 6]));
            world.links.insert(*index, Link { index: *index, name, up: *up, address, mtu: 1500, kind });
        }
        Step::Route(to, None) => drop(world.routes.remove(&address(*to))),
        Step::Route(to, Some((interface, next))) => {
            world.routes.insert(address(*to), Way { interface: *interface, next: address(*next), mtu: None });
        }
        Step::Keep(to) => world.kept = to.map(address),
        _ => {}
    }
}

/// The news of what happened.
fn tell(follow: &mut Follow, now: u64, world: &World, before: Option<Way>, step: &Step) {
    match step {
        Step::Neighbour(id, standing) => follow.neighbour(now, *id, *standing),
        Step::Link(index, _) => follow.link(now, *index, world.links.get(index).cloned()),
        Step::Route(to, way) => {
            let gone = way.is_none().then(|| (before.map(|way| way.interface), before.map(|way| way.next)));
            follow.route(RouteChange { destination: address(*to).into(), local: false, gone });
        }
        Step::Keep(_) => follow.rules(world.rules()),
        _ => {}
    }
}

fn run(steps: Vec<Step>) {
    let (mut world, mut board) = (World::default(), Board::default());
    for index in CARDS.into_iter().chain([VLAN]) {
        happen(&mut world, &Step::Link(index, Some((true, 1))));
    }
    let outward = Outward { interface: None, traffic_class: 0 };
    let mut follow = Follow::new(vec![outward], Box::new(|_| true));
    follow.picture(0, world.picture());
    for step in steps {
        let before = if let Step::Route(to, _) = &step { world.routes.get(&address(*to)).copied() } else { None };
        happen(&mut world, &step);
        tell(&mut follow, board.now, &world, before, &step);
        match step {
            Step::Follow(hop, to) if !board.taken.contains_key(&hop) && !board.resting.contains_key(&hop) => {
                board.taken.insert(hop, address(to));
                follow.follow(board.now, hop, Key::new(address(200), address(to), 0));
            }
            Step::Leave(hop) if board.taken.remove(&hop).is_some() => {
                board.ways.remove(&hop);
                board.resting.insert(hop, board.now);
                follow.leave(board.now, hop);
            }
            Step::Missed(step) => {
                happen(&mut world, &step);
                follow.picture(board.now, world.picture());
            }
            Step::Blind => {
                follow.blind(board.now);
                board.carry_out(&mut follow, &world);
                assert!(board.places.values().all(Option::is_none), "blind, and something is valid");
                follow.picture(board.now, world.picture());
            }
            Step::Unwritten(hop) => follow.unwritten(hop),
            Step::Pass(time) => {
                board.now += time;
                follow.handle_timeout(board.now);
            }
            Step::Answer(count) => {
                (0..count).take_while(|_| board.answer(&mut follow, &world)).for_each(drop);
            }
            _ => {}
        }
        board.carry_out(&mut follow, &world);
        assert!(follow.next_timeout().is_some() || board.taken.is_empty());
    }
    // Everything is asked, and the rests are over.
    for _ in 0..3 {
        while board.answer(&mut follow, &world) {}
        board.carry_out(&mut follow, &world);
        board.now += REST_NS;
        follow.handle_timeout(board.now);
        board.carry_out(&mut follow, &world);
    }
    for (hop, to) in &board.taken {
        assert_eq!(board.places.get(hop).copied().flatten(), world.hop(*to), "hop {hop} to {to}");
    }
    let valid = board.places.values().flatten().count();
    assert_eq!((follow.figures().0, follow.figures().1), (board.taken.len(), valid));
    board.now += FREE_NS;
    follow.handle_timeout(board.now);
    board.carry_out(&mut follow, &world);
    assert!(board.resting.is_empty(), "{:?} never came free", board.resting);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn places_hold_what_the_world_says(steps in prop::collection::vec(step(), 1..60)) {
        run(steps);
    }
}
