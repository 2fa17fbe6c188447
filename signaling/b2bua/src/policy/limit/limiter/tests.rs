use std::thread;

use super::super::{Callers, LimitFault, Pattern, Row, TrunkLimits, UserView, Verdict};
use super::*;
use crate::policy::{Authentication, User};

const NOW: Moment = Moment { now: 1_000_000_000, day: 100, restoring: false, transfer: false, pass_when_full: false };

fn party(caller: &str, called: &str) -> Party {
    Party { caller: Some(caller.as_bytes().into()), called: called.as_bytes().into(), ..Party::default() }
}

fn limits(numbers: Numbers) -> DirectionLimits {
    DirectionLimits { numbers, ..DirectionLimits::default() }
}

fn pbx(limits: TrunkLimits) -> Trunk {
    Trunk { name: "pbx".into(), limits, ..Trunk::default() }
}

fn trunk(numbers: Numbers) -> (Limiter, Arc<TrunkCalls>, DirectionLimits) {
    let limiter = Limiter::new(DayCounts::new([7; 16], 1000));
    let inbound = limits(numbers);
    limiter.configure(&pbx(TrunkLimits { inbound: inbound.clone(), ..TrunkLimits::default() }));
    let trunk = limiter.trunk("pbx");
    (limiter, trunk, inbound)
}

fn seize(trunk: &Arc<TrunkCalls>, limits: &DirectionLimits, who: &Party, moment: Moment) -> Result<Seizure, Cause> {
    TrunkCalls::seize(trunk, Direction::Inbound, limits, who, moment)
}

#[test]
fn a_call_that_is_refused_has_used_up_nothing() {
    let numbers = Numbers {
        calls: Some(2),
        calls_per_second: Some(3),
        calls_per_caller: Some(1),
        calls_per_callee_a_day: Some(1),
        ..Numbers::default()
    };
    let (limiter, trunk, limits) = trunk(numbers);
    let mut first = seize(&trunk, &limits, &party("1", "a"), NOW).unwrap();
    first.sent();
    for _ in 0..10 {
        assert_eq!(seize(&trunk, &limits, &party("1", "b"), NOW).unwrap_err(), Cause::Caller);
        assert_eq!(seize(&trunk, &limits, &party("2", "a"), NOW).unwrap_err(), Cause::Callee);
    }
    let second = seize(&trunk, &limits, &party("2", "b"), NOW).unwrap();
    assert_eq!(seize(&trunk, &limits, &party("3", "c"), NOW).unwrap_err(), Cause::Calls);
    // One that was not sent on gives all back, one that was keeps its second and its callee's day.
    drop(second);
    drop(first);
    let again: Vec<_> = ["b", "c"].map(|called| seize(&trunk, &limits, &party(called, called), NOW)).into();
    assert!(again.iter().all(Result::is_ok), "two of the three in a second are left");
    drop(again.into_iter().map(Result::unwrap).map(|mut one| one.sent()).collect::<Vec<_>>());
    assert_eq!(seize(&trunk, &limits, &party("1", "a"), NOW).unwrap_err(), Cause::Callee);
    assert_eq!(seize(&trunk, &limits, &party("1", "d"), NOW).unwrap_err(), Cause::Rate);
    assert_eq!(limiter.days().called(limiter.days().callee("pbx", Direction::Inbound, b"d"), 100), Called::Times(0));
    let view = &limiter.view()[0].directions[0];
    assert_eq!((view.calls, view.peak, view.callers), (0, 2, 0));
}

#[test]
fn a_call_that_goes_on_elsewhere_leaves_its_second_behind_and_nothing_else() {
    let numbers =
        Numbers { calls_per_second: Some(2), calls_per_callee_a_day: Some(1), calls: Some(1), ..Numbers::default() };
    let (_limiter, trunk, limits) = trunk(numbers);
    let mut tried = seize(&trunk, &limits, &party("1", "a"), NOW).unwrap();
    tried.sent();
    tried.hand_on();
    let mut again = seize(&trunk, &limits, &party("1", "a"), NOW).unwrap();
    again.sent();
    drop(again);
    assert_eq!(seize(&trunk, &limits, &party("1", "b"), NOW).unwrap_err(), Cause::Rate);
}

#[test]
fn full_tables_refuse_or_let_through_as_it_is_said() {
    let limiter = Limiter::new(DayCounts::new([7; 16], 1));
    let inbound = limits(Numbers { calls_per_callee_a_day: Some(2), ..Numbers::default() });
    limiter.configure(&pbx(TrunkLimits { inbound: inbound.clone(), ..TrunkLimits::default() }));
    let trunk = limiter.trunk("pbx");
    let first = seize(&trunk, &inbound, &party("1", "a"), NOW).unwrap();
    assert_eq!(seize(&trunk, &inbound, &party("1", "b"), NOW).unwrap_err(), Cause::CalleesFull);
    let pass = Moment { pass_when_full: true, ..NOW };
    let uncounted = seize(&trunk, &inbound, &party("1", "b"), pass).unwrap();
    assert!(uncounted.callee.is_none());
    assert!(seize(&trunk, &inbound, &party("1", "a"), NOW).is_ok());
    drop((first, uncounted));
}

#[test]
fn what_is_set_holds_at_once_and_goes_back_to_the_configuration() {
    use super::super::change::Field;
    let (limiter, trunk, limits) = trunk(Numbers { calls: Some(1), ..Numbers::default() });
    let key: Key = "inbound.calls".parse().unwrap();
    assert_eq!(key, Key::Of(Direction::Inbound, Field::Calls));
    let first = seize(&trunk, &limits, &party("1", "a"), NOW).unwrap();
    assert!(seize(&trunk, &limits, &party("1", "a"), NOW).is_err());
    limiter.set("pbx", &[(key, key.read("2").unwrap()), (Key::Arrears, Key::Arrears.read("true").unwrap())]).unwrap();
    let second = seize(&trunk, &limits, &party("1", "a"), NOW).unwrap();
    assert!(trunk.is_in_arrears(None));
    // A configuration that is read again does not undo what was set.
    limiter.configure(&pbx(TrunkLimits::default()));
    assert_eq!(limiter.view()[0].value(key), Value::Number(2));
    assert_eq!(limiter.view()[0].set, [(Key::Arrears, Value::Switch(false)), (key, Value::None)]);
    limiter.set("pbx", &[(key, None), (Key::Arrears, None)]).unwrap();
    assert!(limiter.view()[0].set.is_empty() && !trunk.is_in_arrears(None));
    drop((first, second));
    let unknown = limiter.set("pbz", &[]).unwrap_err().to_string();
    assert_eq!(unknown, "no trunk is called \"pbz\"; there are \"pbx\"");
    assert!(key.read("many").is_err() && key.read("-1").is_err() && key.read("true").is_err() && key.read("").is_err());
    assert!(Key::Arrears.read("1").is_err() && key.read("4294967296").is_err());
    assert!("inbound.call".parse::<Key>().unwrap_err().to_string().contains("inbound.calls_per_caller"));
    for key in Key::all() {
        assert_eq!(key.to_string().parse::<Key>(), Ok(key));
    }
}

#[test]
fn a_percentage_refuses_so_many_of_a_hundred() {
    let limiter = Limiter::default();
    let row = Row { from: None, caller: Callers::Number(Pattern::any()), called: "1".parse().unwrap() };
    limiter.add_row(&row, Verdict::Black { percent: 30 }).unwrap();
    let draws = (0..1000u64).map(|draw| (2 * draw + 1) * (u64::MAX / 2000));
    let refused = draws.filter(|draw| limiter.judge("pbx", &mut party("2", "1"), || *draw).is_err()).count();
    assert_eq!(refused, 300);
    limiter.add_row(&row, Verdict::Black { percent: 100 }).unwrap();
    assert_eq!(limiter.judge("pbx", &mut party("2", "1"), || u64::MAX), Err(Cause::ListedCallee));
    assert_eq!(limiter.judge("pbx", &mut party("2", "1"), || 0), Err(Cause::ListedCallee));
    assert_eq!(limiter.judge("pbx", &mut party("2", "3"), || 0), Ok(()));
}

/// Four threads, as four workers: at no moment are there more calls than the limits say, and nothing is lost either.
#[test]
fn limits_are_exact_however_many_ask_at_once() {
    const THREADS: u32 = 4;
    const ROUNDS: u32 = 20_000;
    let numbers = Numbers {
        calls: Some(7),
        calls_per_caller: Some(3),
        calls_per_second: Some(1000),
        burst: Some(9_000),
        calls_per_callee_a_day: Some(2_500),
        ..Numbers::default()
    };
    let (limiter, trunk, limits) = trunk(numbers);
    let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (sent, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (trunk, limits, now, most, sent, refused) = (&trunk, &limits, &now, &most, &sent, &refused);
            scope.spawn(move || {
                let mut held = Vec::new();
                for round in 0..ROUNDS {
                    // A few callers, and eight callees.
                    let who = party(&format!("{}", (round + number) % 4), &format!("{}", (round * 7 + number) % 8));
                    match seize(trunk, limits, &who, NOW) {
                        Ok(mut seizure) => {
                            let at_once = now.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(at_once, Ordering::SeqCst);
                            if round % 3 == 0 {
                                sent.fetch_add(1, Ordering::SeqCst);
                                seizure.sent();
                            }
                            held.push(seizure);
                        }
                        Err(_) => drop(refused.fetch_add(1, Ordering::SeqCst)),
                    }
                    if held.len() > (round % 3) as usize {
                        // Counted before it leaves: never more than there are.
                        now.fetch_sub(1, Ordering::SeqCst);
                        held.swap_remove(0);
                    }
                }
                now.fetch_sub(held.len(), Ordering::SeqCst);
            });
        }
    });
    assert!(most.load(Ordering::SeqCst) <= 7 && refused.load(Ordering::SeqCst) > 0);
    let sent = sent.load(Ordering::SeqCst);
    let day = |called: u32| {
        let days = limiter.days();
        match days.called(days.callee("pbx", Direction::Inbound, called.to_string().as_bytes()), 100) {
            Called::Times(times) => u64::from(times),
            Called::Full => panic!("eight callees fit"),
        }
    };
    assert_eq!((0..8).map(day).sum::<u64>(), sent, "each that was sent counts, and nothing else");
    // What is left of the second is what was not sent.
    let mut left = 0;
    while let Ok(mut one) =
        TrunkCalls::seize(&trunk, Direction::Inbound, &DirectionLimits::default(), &Party::default(), NOW)
    {
        if let Some((who, day)) = one.callee.take() {
            limiter.days().give_back(who, day);
        }
        one.sent();
        left += 1;
        if left > 9_000 {
            break;
        }
    }
    assert!(sent <= 9_000);
    let view = &limiter.view()[0].directions[0];
    assert_eq!((view.calls, view.callers), (0, 0));
    assert!(view.peak <= 7);
    assert_eq!(left + sent, 9_000, "nothing of the second is lost, and nothing is there twice");
}

#[test]
fn each_user_of_a_trunk_has_an_account_of_its_own() {
    let phones = |indebted: &str, ask: bool| {
        let user = |name: &str| User { name: name.into(), arrears: name == indebted, ..User::default() };
        let users = Arc::new(["6000", "6001"].into_iter().map(user).collect());
        Trunk {
            authentication: Some(Authentication { users, ask, ..Authentication::default() }),
            ..pbx(TrunkLimits::default())
        }
    };
    let (limiter, trunk, _) = trunk(Numbers::default());
    let indebted = || ["6000", "6001", "6002"].map(|user| trunk.is_in_arrears(Some(user.as_bytes())));
    limiter.configure(&phones("6001", false));
    assert_eq!((indebted(), trunk.is_in_arrears(None)), ([false, true, false], false));
    limiter.set_user("pbx", "6000", Some(true)).unwrap();
    limiter.set_user("pbx", "6001", Some(false)).unwrap();
    assert_eq!(indebted(), [true, false, false]);
    let unknown = limiter.set_user("pbx", "6002", Some(true));
    assert_eq!(unknown, Err(LimitFault::User("6002".into(), "pbx".into())));
    assert!(limiter.set_user("pbz", "6000", Some(true)).unwrap_err().to_string().contains("there are \"pbx\""));
    // A configuration that is read again does not undo what was set. RADIUS may know others.
    limiter.configure(&phones("", true));
    assert_eq!(indebted(), [true, false, false]);
    limiter.set_user("pbx", "6002", Some(true)).unwrap();
    for wrong in ["", "6002@phones.example", "60\r\n02", &"6".repeat(129)] {
        assert!(limiter.set_user("pbx", wrong, Some(true)).is_err(), "{wrong:?}");
    }
    let view = &limiter.view()[0];
    let user = |name: &str, arrears| UserView { name: name.into(), arrears, configured: Some(false) };
    assert_eq!(view.users, [user("6000", true), user("6001", false), user("6002", true)]);
    assert_eq!((view.users_in_arrears, view.arrears), (2, false));
    limiter.set_user("pbx", "6000", None).unwrap();
    limiter.set_user("pbx", "6002", None).unwrap();
    assert_eq!(indebted(), [false; 3]);
    // What the trunk owes is everybody's.
    limiter.set("pbx", &[(Key::Arrears, Some(Value::Switch(true)))]).unwrap();
    assert_eq!(indebted(), [true; 3]);
}
