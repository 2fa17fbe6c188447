//! What is kept, for how long, and what happens while DNS does not answer.

use super::world::{SECOND, World, addresses_for, target};
use crate::locate::*;

fn host(name: &str) -> Target {
    Target { port: Some(5060), ..target(name) }
}

/// A world with one host, whose record lives 100 s.
fn world() -> World {
    let mut world = World::new();
    world.change(RecordKind::A, "a.example.com", addresses_for(&["192.0.2.1"], 100));
    world
}

#[test]
fn an_answer_serves_for_its_time() {
    let mut world = world();
    world.hops(&host("a.example.com"));
    world.asked();
    world.now += 89 * SECOND;
    assert_eq!(world.hops(&host("A.example.com")), ["udp 192.0.2.1:5060"]);
    assert_eq!(world.asked(), [""; 0]);
}

#[test]
fn in_its_last_tenth_it_is_asked_for_anew_and_nobody_waits() {
    let mut world = world();
    world.hops(&host("a.example.com"));
    world.asked();
    world.change(RecordKind::A, "a.example.com", addresses_for(&["192.0.2.2"], 100));
    world.now += 91 * SECOND;
    assert_eq!(world.hops(&host("a.example.com")), ["udp 192.0.2.1:5060"]);
    assert_eq!(world.asked(), ["A a.example.com"]);
    assert_eq!(world.hops(&host("a.example.com")), ["udp 192.0.2.2:5060"]);
    world.now += 89 * SECOND;
    world.hops(&host("a.example.com"));
    assert_eq!(world.asked(), [""; 0]);
}

#[test]
fn after_its_time_it_is_asked_for_again() {
    let mut world = world();
    world.hops(&host("a.example.com"));
    world.change(RecordKind::A, "a.example.com", addresses_for(&["192.0.2.2"], 100));
    world.now += 100 * SECOND;
    assert_eq!(world.hops(&host("a.example.com")), ["udp 192.0.2.2:5060"]);
}

#[test]
fn times_are_kept_between_a_second_and_a_day() {
    let mut world = World::new();
    world.change(RecordKind::A, "short.example.com", addresses_for(&["192.0.2.1"], 0));
    world.change(RecordKind::A, "long.example.com", addresses_for(&["192.0.2.2"], u32::MAX));
    world.hops(&host("short.example.com"));
    world.hops(&host("long.example.com"));
    world.asked();
    world.now += SECOND / 2;
    world.hops(&host("short.example.com"));
    assert_eq!(world.asked(), [""; 0]);
    world.now += 86_400 * SECOND;
    world.hops(&host("short.example.com"));
    world.hops(&host("long.example.com"));
    assert_eq!(world.asked(), ["A short.example.com", "A long.example.com"]);
}

#[test]
fn that_there_is_nothing_is_kept_too() {
    let mut world = World::new();
    assert_eq!(world.locate(&host("b.example.com")), Err(NotLocated::NoAddress));
    world.now += 59 * SECOND;
    assert_eq!(world.locate(&host("b.example.com")), Err(NotLocated::NoAddress));
    assert_eq!(world.asked().len(), 1);
    world.now += SECOND;
    assert_eq!(world.locate(&host("b.example.com")), Err(NotLocated::NoAddress));
    assert_eq!(world.asked().len(), 1);
}

#[test]
fn an_answer_without_records_is_nothing_and_not_a_failure() {
    let mut world = World::new();
    world.change(RecordKind::A, "b.example.com", addresses_for(&[], 30));
    assert_eq!(world.locate(&host("b.example.com")), Err(NotLocated::NoAddress));
}

#[test]
fn an_answer_of_the_wrong_kind_is_a_failure() {
    let mut world = World::new();
    world.change(RecordKind::A, "b.example.com", addresses_for(&["2001:db8::1"], 30));
    assert_eq!(world.locate(&host("b.example.com")), Err(NotLocated::Unavailable));
}

#[test]
fn while_dns_fails_what_was_known_serves_for_an_hour() {
    let mut world = world();
    world.hops(&host("a.example.com"));
    world.change(RecordKind::A, "a.example.com", Err(Failure::Unavailable));
    world.now += 100 * SECOND;
    world.asked();
    assert_eq!(world.hops(&host("a.example.com")), ["udp 192.0.2.1:5060"]);
    assert_eq!(world.asked(), ["A a.example.com"]);
    // For 30 seconds nobody asks again; then one question more.
    world.now += 29 * SECOND;
    world.hops(&host("a.example.com"));
    assert_eq!(world.asked(), [""; 0]);
    world.now += SECOND;
    world.hops(&host("a.example.com"));
    assert_eq!(world.asked(), ["A a.example.com"]);
    world.now += 3500 * SECOND;
    world.hops(&host("a.example.com"));
    world.now += 100 * SECOND;
    assert_eq!(world.locate(&host("a.example.com")), Err(NotLocated::Unavailable));
}

#[test]
fn dns_that_says_no_ends_what_was_known() {
    let mut world = world();
    world.hops(&host("a.example.com"));
    world.change(RecordKind::A, "a.example.com", Err(Failure::NoRecords { ttl_s: 60 }));
    world.now += 100 * SECOND;
    assert_eq!(world.locate(&host("a.example.com")), Err(NotLocated::NoAddress));
}

#[test]
fn after_a_failure_the_question_is_asked_again_five_seconds_later() {
    let mut world = World::new().failing(RecordKind::A, "a.example.com");
    assert_eq!(world.locate(&host("a.example.com")), Err(NotLocated::Unavailable));
    world.now += 4 * SECOND;
    assert_eq!(world.locate(&host("a.example.com")), Err(NotLocated::Unavailable));
    assert_eq!(world.asked().len(), 1);
    world.change(RecordKind::A, "a.example.com", addresses_for(&["192.0.2.1"], 100));
    world.now += SECOND;
    assert_eq!(world.hops(&host("a.example.com")), ["udp 192.0.2.1:5060"]);
}

#[test]
fn many_wait_for_one_question() {
    let mut world = world();
    let tickets: Vec<Located> = (0..50).map(|_| world.locator.locate(world.now, &host("a.example.com"))).collect();
    let found = world.serve();
    assert_eq!(world.asked(), ["A a.example.com"]);
    assert_eq!(found.len(), 50);
    for (located, (ticket, hops)) in tickets.iter().zip(found) {
        assert_eq!(*located, Located::Pending(ticket));
        assert_eq!(hops.map(|hops| hops.len()), Ok(1));
    }
    assert_eq!(world.locator.usage(), (0, 0, 1));
}

#[test]
fn a_question_is_asked_twice_two_seconds_apart_and_then_given_up() {
    let mut world = World::new();
    let start = world.now;
    let Located::Pending(waiting) = world.locator.locate(world.now, &host("a.example.com")) else {
        panic!("nothing is known")
    };
    let first = world.unanswered();
    world.time_out();
    assert_eq!(world.now, start + 2 * SECOND);
    assert_eq!(world.unanswered(), first, "the same question, under the same number");
    world.time_out();
    assert_eq!(world.now, start + 4 * SECOND);
    let given_up = LocatorEvent::Located { ticket: waiting, hops: Err(NotLocated::Unavailable) };
    assert_eq!(world.unanswered(), [given_up]);
    assert_eq!(world.locator.next_timeout(), None);
    // What comes now is too late.
    let [LocatorEvent::Query(query)] = &first[..] else { panic!("{first:?}") };
    world.locator.answer(world.now, query.number, addresses_for(&["192.0.2.1"], 100));
    assert_eq!(world.unanswered(), []);
}

#[test]
fn the_answer_to_the_first_of_two_attempts_counts() {
    let mut world = world();
    assert!(matches!(world.locator.locate(world.now, &host("a.example.com")), Located::Pending(_)));
    world.unanswered();
    world.time_out();
    let found = world.serve();
    assert_eq!(found.len(), 1);
    assert!(found[0].1.is_ok());
    assert_eq!(world.locator.next_timeout(), None);
}

#[test]
fn one_who_gave_up_is_not_told() {
    let mut world = world();
    let Located::Pending(ticket) = world.locator.locate(world.now, &host("a.example.com")) else {
        panic!("nothing is known")
    };
    world.locator.cancel(ticket);
    assert_eq!(world.serve(), []);
    assert_eq!(world.locator.usage(), (0, 0, 1), "the answer is kept all the same");
}

#[test]
fn answers_that_die_while_others_are_awaited_still_count() {
    // Every record lives one second, and every answer takes two.
    let mut world = World::new();
    let srv = Records::Srv(vec![Srv { priority: 0, weight: 0, port: 5070, target: "a.example.com".into() }]);
    world.change(RecordKind::Srv, "_sip._udp.example.com", Ok(Answer { records: srv, ttl_s: 0 }));
    world.change(RecordKind::A, "a.example.com", addresses_for(&["192.0.2.1"], 0));
    let located = world.locator.locate(world.now, &target("example.com"));
    let mut found = Vec::new();
    for _round in 0..4 {
        world.now += 2 * SECOND - 1;
        // One round of answers at a time.
        let asked: Vec<LocatorEvent> = world.unanswered();
        for event in asked {
            match event {
                LocatorEvent::Query(query) => {
                    let reply = match query.kind {
                        RecordKind::Srv if query.name.starts_with("_sip._udp") => {
                            let target = "a.example.com".into();
                            let records = Records::Srv(vec![Srv { priority: 0, weight: 0, port: 5070, target }]);
                            Ok(Answer { records, ttl_s: 0 })
                        }
                        RecordKind::A => addresses_for(&["192.0.2.1"], 0),
                        _ => Err(Failure::NoRecords { ttl_s: 0 }),
                    };
                    world.locator.answer(world.now, query.number, reply);
                }
                LocatorEvent::Located { ticket, hops } => found.push((ticket, hops)),
            }
        }
    }
    let [(ticket, Ok(hops))] = &found[..] else { panic!("{found:?}") };
    assert_eq!(located, Located::Pending(*ticket));
    assert_eq!(hops[0].address.port(), 5070);
}

#[test]
fn no_more_is_kept_than_there_is_room_for() {
    let mut world = World::new();
    world.locator = Locator::with_capacity(super::world::entropy(1), 10);
    for number in 0..100 {
        let name = format!("host{number}.example.com");
        world.change(RecordKind::A, &name, addresses_for(&["192.0.2.1"], 100 + number));
        world.hops(&host(&name));
        assert!(world.locator.usage().2 <= 10);
    }
    world.asked();
    world.hops(&host("host99.example.com"));
    assert_eq!(world.asked(), [""; 0], "the ones with the most time left are kept");
}

#[test]
fn no_more_is_asked_at_once_than_there_may_be() {
    let mut world = World::new();
    let mut busy = 0;
    for number in 0..1000 {
        let located = world.locator.locate(world.now, &host(&format!("host{number}.example.com")));
        busy += usize::from(located == Located::Ready(Err(NotLocated::Busy)));
    }
    assert_eq!(busy, 1000 - 256);
    assert_eq!(world.serve().len(), 256);
    assert!(matches!(world.locator.locate(world.now, &host("host999.example.com")), Located::Pending(_)));
}
