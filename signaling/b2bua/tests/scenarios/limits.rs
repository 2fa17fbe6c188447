//! Limits of trunks: each rule, the code that the caller hears, and how calls leave what they took.

use moorline_b2bua::policy::limit::{
    Callers, Cause, DayCounts, Direction, Key, Limiter, Numbers, Pattern, Patterns, Row, SLOT_BYTES, Verdict,
};
use moorline_b2bua::policy::{Hunt, Policy, Refer, Refusal, Route, Routes, Trunk, Way};
use moorline_b2bua::{Input, Observation, Outcome, Place, Wall};
use moorline_control::{Event, Refusal as MediaRefusal, RefusalCode};

use crate::harness::*;

const DAY: i64 = 24 * 3600 * SECOND as i64;

/// Limits of calls from the customers.
fn inbound(numbers: Numbers) -> Policy {
    let mut policy = policy();
    policy.trunks[0].limits.inbound.numbers = numbers;
    policy
}

/// Limits of calls to the carrier.
fn outbound(numbers: Numbers) -> Policy {
    let mut policy = policy();
    policy.trunks[1].limits.outbound.numbers = numbers;
    policy
}

/// A call of `caller` to `called` comes in.
fn call(net: &mut Net, call_id: &str, caller: &str, called: &str) {
    let text = invite(called, call_id, &sdp("192.0.2.10", 4000));
    net.receive(CALLER, &text.replace("<sip:2001@192.0.2.10>", &format!("<sip:{caller}@192.0.2.10>")));
}

/// It is refused at once with this, and its caller acknowledges that.
#[track_caller]
fn refused(net: &mut Net, start: &str) -> Message {
    let answer = net.expect(CALLER, start);
    net.quiet();
    answer
}

/// It goes on to the carrier.
#[track_caller]
fn goes_on(net: &mut Net) -> Message {
    net.expect(CALLER, "SIP/2.0 100");
    let sent = net.expect(CALLEE, "INVITE");
    net.quiet();
    sent
}

/// The carrier refuses it.
fn busy(net: &mut Net, sent: &Message) {
    net.receive(CALLEE, &answer(sent, "486 Busy Here", "bob", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.expect(CALLER, "SIP/2.0 486");
}

/// Calls at once, from the customers and to the carrier.
#[track_caller]
fn counted(net: &Net, from: u32, to: u32) {
    let calls = |name: &str, direction: Direction| {
        let view = net.worker.limits().view().into_iter().find(|trunk| trunk.name == name).unwrap();
        view.directions[direction.index()].calls
    };
    assert_eq!((calls("customers", Direction::Inbound), calls("carrier", Direction::Outbound)), (from, to));
    assert_eq!((calls("customers", Direction::Outbound), calls("carrier", Direction::Inbound)), (0, 0));
}

fn refusals(net: &Net, trunk: &str, direction: Direction, cause: Cause) -> u64 {
    let view = net.worker.limits().view().into_iter().find(|view| view.name == trunk).unwrap();
    view.directions[direction.index()].refused[cause.index()]
}

#[test]
fn a_trunk_has_so_many_calls_at_once_and_the_next_waits_for_one_to_end() {
    let mut net = Net::with(inbound(Numbers { calls: Some(1), ..Numbers::default() }));
    let up = establish(&mut net);
    call(&mut net, "c2", "2001", "5551000");
    let answer = refused(&mut net, "SIP/2.0 503 Service Unavailable - Too Many Calls");
    assert!(answer.find("Retry-After").is_some());
    assert_eq!(refusals(&net, "customers", Direction::Inbound, Cause::Calls), 1);
    assert!(net.observed.iter().any(|o| matches!(o, Observation::Ended { outcome: Outcome::Rejected(503), .. })));
    counted(&net, 1, 1);

    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    counted(&net, 0, 0);
    call(&mut net, "c3", "2001", "5551000");
    goes_on(&mut net);
    counted(&net, 1, 1);
}

#[test]
fn a_direction_with_no_calls_is_shut_and_the_other_is_open() {
    let mut net = Net::with(inbound(Numbers { calls: Some(0), ..Numbers::default() }));
    call(&mut net, "c1", "2001", "5551000");
    refused(&mut net, "SIP/2.0 403 Forbidden - No Calls This Way");

    let mut net = Net::with(outbound(Numbers { calls: Some(0), ..Numbers::default() }));
    call(&mut net, "c1", "2001", "5551000");
    refused(&mut net, "SIP/2.0 403 Forbidden - No Calls This Way");
    counted(&net, 0, 0);
    // The carrier's own calls come in.
    let from_carrier = invite("2001", "c2", &sdp("198.51.100.20", 6000)).replace("192.0.2.", "198.51.100.");
    let from_carrier = from_carrier.replace("198.51.100.10", "198.51.100.20").replace("5555551", "2001");
    net.receive(CALLEE, &from_carrier);
    net.expect(CALLEE, "SIP/2.0 100");
    net.expect(CALLER, "INVITE sip:2001@");
}

#[test]
fn calls_above_the_rate_are_refused_until_the_next_is_due() {
    let mut policy = inbound(Numbers { calls_per_second: Some(2), ..Numbers::default() });
    let refusal = Refusal::new(475, "CALL_CAPS_LIMIT");
    policy.trunks[0].limits.refusals = policy.trunks[0].limits.refusals.clone().with(Cause::Rate, refusal);
    let mut net = Net::with(policy);
    for call_id in ["c1", "c2"] {
        call(&mut net, call_id, "2001", "5551000");
        goes_on(&mut net);
    }
    call(&mut net, "c3", "2001", "5551000");
    assert_eq!(refused(&mut net, "SIP/2.0 475").start(), "SIP/2.0 475 CALL_CAPS_LIMIT");
    net.advance(SECOND / 2);
    net.take_sent();
    call(&mut net, "c4", "2001", "5551000");
    goes_on(&mut net);
    call(&mut net, "c5", "2001", "5551000");
    refused(&mut net, "SIP/2.0 475");
}

#[test]
fn a_burst_of_one_lets_calls_through_one_by_one() {
    let mut net = Net::with(outbound(Numbers { calls_per_second: Some(20), burst: Some(1), ..Numbers::default() }));
    call(&mut net, "c1", "2001", "5551000");
    goes_on(&mut net);
    call(&mut net, "c2", "2001", "5551000");
    refused(&mut net, "SIP/2.0 503 Service Unavailable - Too Many Calls A Second");
    net.advance(SECOND / 20);
    call(&mut net, "c3", "2001", "5551000");
    goes_on(&mut net);
}

#[test]
fn a_caller_has_so_many_calls_at_once_whoever_else_calls() {
    let mut net = Net::with(inbound(Numbers { calls_per_caller: Some(1), ..Numbers::default() }));
    call(&mut net, "c1", "2001", "5551000");
    let first = goes_on(&mut net);
    call(&mut net, "c2", "20-01", "5552000");
    refused(&mut net, "SIP/2.0 480 Temporarily Unavailable - Too Many Calls Of This Caller");
    call(&mut net, "c3", "2002", "5551000");
    goes_on(&mut net);
    busy(&mut net, &first);
    call(&mut net, "c4", "2001", "5551000");
    goes_on(&mut net);
}

#[test]
fn a_callee_is_called_so_often_a_day_by_whomever() {
    let mut policy = inbound(Numbers { calls_per_callee_a_day: Some(2), ..Numbers::default() });
    policy.trunks[0].limits.inbound.uncounted_callees = Patterns::of(["5559".parse().unwrap()]).unwrap();
    let mut net = Net::with(policy);
    let day = |net: &mut Net, day: i64| {
        net.input(Input::Wall(Wall { unix_at_zero_ns: day * DAY, utc_offset_s: 8 * 3600 }));
    };
    day(&mut net, 20_000);
    for (call_id, caller) in [("c1", "2001"), ("c2", "2002")] {
        call(&mut net, call_id, caller, "5551000");
        let sent = goes_on(&mut net);
        busy(&mut net, &sent);
    }
    call(&mut net, "c3", "2003", "5551000");
    refused(&mut net, "SIP/2.0 480 Temporarily Unavailable - Callee Called Too Often Today");
    call(&mut net, "c4", "2003", "5551001");
    goes_on(&mut net);
    for n in 0..5 {
        call(&mut net, &format!("free{n}"), "2003", "5559000");
        goes_on(&mut net);
    }
    day(&mut net, 20_001);
    call(&mut net, "c5", "2003", "5551000");
    goes_on(&mut net);
}

#[test]
fn what_is_refused_elsewhere_counts_to_no_callee_and_no_second() {
    let mut policy = inbound(Numbers {
        calls_per_callee_a_day: Some(1),
        calls_per_second: Some(1),
        calls: Some(1),
        ..Numbers::default()
    });
    policy.trunks[1].limits.outbound.numbers.calls = Some(0);
    let mut net = Net::with(policy);
    for n in 0..3 {
        call(&mut net, &format!("shut{n}"), "2001", "5551000");
        refused(&mut net, "SIP/2.0 403 Forbidden - No Calls This Way");
    }
    net.worker.limits().set("carrier", &[("outbound.calls".parse().unwrap(), None)]).unwrap();
    let open: Key = "outbound.calls".parse().unwrap();
    net.worker.limits().set("carrier", &[(open, open.read("9").unwrap())]).unwrap();
    // Nor does one for which the media process has no ports.
    net.media.refuse = Some(MediaRefusal::new(RefusalCode::OutOfPorts, "none left"));
    call(&mut net, "ports", "2001", "5551000");
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLER, "SIP/2.0 503");
    counted(&net, 0, 0);
    call(&mut net, "c1", "2001", "5551000");
    let sent = goes_on(&mut net);
    busy(&mut net, &sent);
    net.advance(SECOND);
    net.take_sent();
    call(&mut net, "c2", "2001", "5551000");
    refused(&mut net, "SIP/2.0 480");
}

#[test]
fn how_often_callees_were_called_outlives_the_process_whenever_it_is_killed() {
    let policy = inbound(Numbers { calls_per_callee_a_day: Some(2), ..Numbers::default() });
    let wall = Input::Wall(Wall { unix_at_zero_ns: 20_000 * DAY, utc_offset_s: 0 });
    let mut net = Net::with(policy.clone());
    net.input(wall);
    call(&mut net, "c1", "2001", "5551000");
    // What is sent on is written down before.
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE, "INVITE");
    for (n, called) in ["5551000", "5551001"].into_iter().enumerate() {
        let written: Vec<[u8; SLOT_BYTES]> = net.counted.values().copied().collect();
        let days = DayCounts::new(net.worker.limits().days().key(), 100);
        days.load(written.iter());
        let mut again = Net::at(Place { limits: Limiter::new(days).into(), ..Place::alone(1) }, policy.clone());
        again.input(Input::Wall(Wall { unix_at_zero_ns: 20_000 * DAY, utc_offset_s: 0 }));
        call(&mut again, &format!("d{n}"), "2001", called);
        goes_on(&mut again);
        call(&mut again, &format!("e{n}"), "2001", called);
        match called {
            "5551000" => drop(refused(&mut again, "SIP/2.0 480")),
            _ => drop(goes_on(&mut again)),
        }
    }
}

#[test]
fn more_callees_than_are_remembered_are_refused_or_let_through_as_it_is_said() {
    for pass in [false, true] {
        let mut policy = inbound(Numbers { calls_per_callee_a_day: Some(5), ..Numbers::default() });
        policy.limits.pass_when_callees_full = pass;
        let limits = Limiter::new(DayCounts::new([1; 16], 2)).into();
        let mut net = Net::at(Place { limits, ..Place::alone(1) }, policy);
        for (n, called) in ["5551", "5552", "5551"].into_iter().enumerate() {
            call(&mut net, &format!("c{n}"), "2001", called);
            goes_on(&mut net);
        }
        call(&mut net, "more", "2001", "5553");
        match pass {
            true => drop(goes_on(&mut net)),
            false => drop(refused(&mut net, "SIP/2.0 503 Service Unavailable - Too Many Callees Today")),
        }
    }
}

#[test]
fn barred_numbers_are_refused_but_for_those_that_are_not() {
    let of = |patterns: &[&str]| Patterns::of(patterns.iter().map(|pattern| pattern.parse().unwrap())).unwrap();
    let mut policy = policy();
    policy.routes = Routes::new(vec![Route { to: Way::Trunk(1), ..Route::default() }]);
    policy.trunks[0].limits.inbound.barred = of(&["400", "95xxx"]);
    policy.trunks[0].limits.inbound.barred_except = of(&["95588", "4008"]);
    let mut net = Net::with(policy);
    for (n, called) in ["4001234567", "95533", "400-123"].into_iter().enumerate() {
        call(&mut net, &format!("b{n}"), "2001", called);
        refused(&mut net, "SIP/2.0 403 Forbidden - Number Barred");
    }
    for (n, called) in ["95588", "4008123", "9518123456", "1400"].into_iter().enumerate() {
        call(&mut net, &format!("c{n}"), "2001", called);
        goes_on(&mut net);
    }
    // A white row is an exception too.
    let row = Row { from: None, caller: Callers::Number("2001".parse().unwrap()), called: "95533".parse().unwrap() };
    net.worker.limits().add_row(&row, Verdict::White).unwrap();
    call(&mut net, "white", "2001", "95533");
    goes_on(&mut net);
}

#[test]
fn rows_of_the_list_refuse_callers_and_callees_each_with_its_own_code() {
    let mut policy = policy();
    let refusals = &mut policy.trunks[0].limits.refusals;
    *refusals = refusals.clone().with(Cause::ListedCaller, Refusal::new(472, "ILLEGAL_CALLER_NUMBER"));
    *refusals = refusals.clone().with(Cause::ListedCallee, Refusal::new(474, "CALLED_BLACKLIST_LIMIT"));
    let mut net = Net::with(policy);
    let number = |text: &str| Callers::Number(text.parse().unwrap());
    let row = |caller, called: &str| Row { from: Some("customers".into()), caller, called: called.parse().unwrap() };
    let limits = net.worker.limits().clone();
    let all = Verdict::Black { percent: 100 };
    limits.add_row(&row(number("3"), "*"), all).unwrap();
    limits.add_row(&row(number("*"), "5556"), all).unwrap();
    limits.add_row(&row(Callers::Anonymous, "5557"), all).unwrap();
    for (n, (caller, called, heard)) in [
        ("3001", "5551000", Some("SIP/2.0 472 ILLEGAL_CALLER_NUMBER")),
        ("2001", "5556000", Some("SIP/2.0 474 CALLED_BLACKLIST_LIMIT")),
        ("anonymous", "5557000", Some("SIP/2.0 474")),
        ("2001", "5557000", None),
        ("anonymous", "5551000", None),
    ]
    .into_iter()
    .enumerate()
    {
        call(&mut net, &format!("c{n}"), caller, called);
        match heard {
            Some(start) => drop(refused(&mut net, start)),
            None => drop(goes_on(&mut net)),
        }
    }
    // What is removed is refused no more, at once.
    limits.remove_row(&row(number("3"), "*")).unwrap();
    call(&mut net, "removed", "3001", "5551000");
    goes_on(&mut net);
}

#[test]
fn a_share_of_the_calls_is_refused() {
    let mut net = Net::new();
    let row = Row { from: None, caller: Callers::Number(Pattern::any()), called: Pattern::any() };
    net.worker.limits().add_row(&row, Verdict::Black { percent: 25 }).unwrap();
    for n in 0..400 {
        call(&mut net, &format!("c{n}"), "2001", "5551000");
    }
    let refused = refusals(&net, "customers", Direction::Inbound, Cause::ListedCaller);
    let sent = net.take_sent();
    let heard = sent.iter().filter(|(_, message)| message.start().starts_with("SIP/2.0 403")).count();
    assert_eq!(refused, heard as u64);
    assert!((60..=140).contains(&refused), "{refused} of 400");
}

#[test]
fn callers_without_a_number_may_be_refused() {
    let numbers = Numbers { refuse_anonymous: true, ..Numbers::default() };
    for (policy, trunk, direction) in
        [(inbound(numbers), "customers", Direction::Inbound), (outbound(numbers), "carrier", Direction::Outbound)]
    {
        let mut net = Net::with(policy);
        call(&mut net, "c1", "anonymous", "5551000");
        refused(&mut net, "SIP/2.0 433 Anonymity Disallowed");
        let text = invite("5551000", "c2", &sdp("192.0.2.10", 4000));
        net.receive(CALLER, &with(&text, "Privacy: id\r\n"));
        refused(&mut net, "SIP/2.0 433");
        assert_eq!(refusals(&net, trunk, direction, Cause::Anonymous), 2);
        call(&mut net, "c3", "2001", "5551000");
        goes_on(&mut net);
    }
}

#[test]
fn a_trunk_in_arrears_is_heard_no_more_until_it_has_paid() {
    let mut policy = policy();
    policy.trunks[0].limits.arrears = true;
    let refusals = &mut policy.trunks[0].limits.refusals;
    *refusals = refusals.clone().with(Cause::Arrears, Refusal::new(476, "ACCOUNT_STOP_LIMIT"));
    let mut net = Net::with(policy);
    call(&mut net, "c1", "2001", "5551000");
    refused(&mut net, "SIP/2.0 476 ACCOUNT_STOP_LIMIT");
    net.worker.limits().set("customers", &[(Key::Arrears, Key::Arrears.read("false").unwrap())]).unwrap();
    call(&mut net, "c2", "2001", "5551000");
    goes_on(&mut net);
}

#[test]
fn however_a_call_ends_it_is_counted_no_more() {
    let numbers = Numbers { calls: Some(1), calls_per_caller: Some(1), ..Numbers::default() };
    type End = (&'static str, fn(&mut Net));
    let ends: [End; 9] = [
        ("the caller cancels", |net| {
            call(net, "c1", "2001", "5551000");
            let sent = goes_on(net);
            net.receive(CALLER, &invite("5551000", "c1", "").replace("INVITE", "CANCEL"));
            net.receive(CALLEE, &answer(&sent, "487 Request Terminated", "bob", CALLEE, ""));
        }),
        ("it is refused", |net| {
            call(net, "c1", "2001", "5551000");
            let sent = goes_on(net);
            busy(net, &sent);
        }),
        ("nobody answers", |net| {
            call(net, "c1", "2001", "5551000");
            net.advance(200 * SECOND);
        }),
        ("the callee hangs up", |net| {
            let up = establish(net);
            net.receive(CALLEE, &callee_request("BYE", 1, &up.invite, "bob", ""));
        }),
        ("no media", |net| {
            establish(net);
            let (session, _) = net.session();
            net.media_event(Event::MediaTimeout { session });
        }),
        ("it lasts too long", |net| {
            establish(net);
            net.advance(5 * 3600 * SECOND);
        }),
        ("nobody acknowledges the answer", |net| {
            call(net, "c1", "2001", "5551000");
            let sent = goes_on(net);
            net.receive(CALLEE, &answer(&sent, "200 OK", "bob", CALLEE, &sdp("198.51.100.20", 6000)));
            net.advance(40 * SECOND);
        }),
        ("the media process has no ports", |net| {
            net.media.refuse = Some(MediaRefusal::new(RefusalCode::OutOfPorts, "none left"));
            call(net, "c1", "2001", "5551000");
        }),
        ("the contact cannot be used", |net| {
            let text = invite("5551000", "c1", &sdp("192.0.2.10", 4000));
            net.receive(CALLER, &text.replace(&format!("Contact: <sip:2001@{CALLER}>\r\n"), ""));
        }),
    ];
    for (how, end) in ends {
        let mut policy = inbound(numbers);
        policy.trunks[1].limits.outbound.numbers = numbers;
        let mut net = Net::with(policy);
        end(&mut net);
        net.take_sent();
        counted(&net, 0, 0);
        call(&mut net, "next", "2001", "5551000");
        net.expect(CALLER, "SIP/2.0 100");
        net.expect(CALLEE, "INVITE");
        counted(&net, 1, 1);
        net.receive(CALLER, &invite("5551000", "next", "").replace("INVITE", "CANCEL"));
        net.nothing_left();
        counted(&net, 0, 0);
        assert!(
            net.worker.limits().view().iter().all(|trunk| trunk.directions.iter().all(|view| view.callers == 0)),
            "{how}"
        );
    }
}

#[test]
fn calls_that_are_up_count_again_after_a_restart_and_new_ones_wait_for_them() {
    let policy = inbound(Numbers { calls: Some(1), calls_per_caller: Some(1), ..Numbers::default() });
    let mut net = Net::with(policy.clone());
    let up = establish(&mut net);
    net.media.paused = true;
    net.restart_signaling(policy);
    call(&mut net, "early", "2002", "5551000");
    refused(&mut net, "SIP/2.0 503 Service Unavailable - Calls Are Being Restored");
    net.resume_media();
    counted(&net, 1, 1);
    call(&mut net, "second", "2002", "5551000");
    refused(&mut net, "SIP/2.0 503 Service Unavailable - Too Many Calls");
    let two: Key = "inbound.calls".parse().unwrap();
    net.worker.limits().set("customers", &[(two, two.read("2").unwrap())]).unwrap();
    call(&mut net, "same-caller", "2001", "5551000");
    refused(&mut net, "SIP/2.0 480 Temporarily Unavailable - Too Many Calls Of This Caller");
    net.receive(CALLER, &caller_request("BYE", 2, "c1", &up.tag, ""));
    net.expect(CALLER, "SIP/2.0 200");
    net.expect(CALLEE, "BYE");
    counted(&net, 0, 0);
    call(&mut net, "third", "2001", "5551000");
    goes_on(&mut net);
}

#[test]
fn what_is_set_holds_for_all_workers_and_calls_that_are_up_go_on() {
    let place = Place { of: 2, ..Place::alone(1) };
    let mut first = Net::at(place.clone(), policy());
    let mut second = Net::at(Place { index: 1, ..place }, policy());
    let calls: Key = "outbound.calls".parse().unwrap();
    call(&mut first, "c1", "2001", "5551000");
    goes_on(&mut first);
    call(&mut second, "c2", "2001", "5551000");
    goes_on(&mut second);
    first.worker.limits().set("carrier", &[(calls, calls.read("1").unwrap())]).unwrap();
    for net in [&mut first, &mut second] {
        call(net, "c3", "2001", "5551000");
        refused(net, "SIP/2.0 503 Service Unavailable - Too Many Calls");
    }
    counted(&second, 2, 2);
}

/// Calls go to "carrier", and then to "spare"; each may call a number once a day, and has one call at once.
fn two_carriers() -> Policy {
    let one = Numbers { calls: Some(1), calls_per_callee_a_day: Some(1), ..Numbers::default() };
    let mut policy = outbound(one);
    policy.trunks[1].targets = vec![CALLEE.parse().unwrap()];
    let mut spare = Trunk {
        name: "spare".into(),
        listener: 1,
        targets: vec![CALLEE_2.parse().unwrap()],
        media_range: "carrier".into(),
        ..Trunk::default()
    };
    spare.limits.outbound.numbers = one;
    policy.trunks.push(spare);
    policy.routes = routes(Way::Trunks(Hunt::in_order([1, 2])));
    policy
}

/// Calls at once to the first carrier and to the spare one.
fn at_carriers(net: &Net) -> [u32; 2] {
    ["carrier", "spare"].map(|name| {
        let view = net.worker.limits().view().into_iter().find(|trunk| trunk.name == name).unwrap();
        view.directions[Direction::Outbound.index()].calls
    })
}

#[test]
fn a_call_that_fails_over_counts_at_the_next_trunk_and_no_longer_at_the_one_before() {
    let mut net = Net::with(two_carriers());
    call(&mut net, "c1", "2001", "5551000");
    let first = goes_on(&mut net);
    assert_eq!(at_carriers(&net), [1, 0]);
    net.receive(CALLEE, &answer(&first, "500 Server Internal Error", "a", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    let second = net.expect(CALLEE_2, "INVITE");
    assert_eq!(at_carriers(&net), [0, 1]);
    net.receive(CALLEE_2, &answer(&second, "486 Busy Here", "b", CALLEE_2, ""));
    net.expect(CALLEE_2, "ACK");
    net.expect(CALLER, "SIP/2.0 486");
    assert_eq!(at_carriers(&net), [0, 0]);
    // The first has not called that number, as far as its day is concerned; the second has.
    call(&mut net, "c2", "2001", "5551000");
    let first = goes_on(&mut net);
    net.receive(CALLEE, &answer(&first, "500 Server Internal Error", "a", CALLEE, ""));
    net.expect(CALLEE, "ACK");
    net.expect(CALLER, "SIP/2.0 500");
    net.quiet();
    assert_eq!(refusals(&net, "spare", Direction::Outbound, Cause::Callee), 1);
    net.nothing_left();
    assert_eq!(at_carriers(&net), [0, 0]);
}

#[test]
fn a_trunk_whose_limit_is_reached_is_passed_over() {
    let mut net = Net::with(two_carriers());
    call(&mut net, "c1", "2001", "5551000");
    goes_on(&mut net);
    call(&mut net, "c2", "2001", "5552000");
    net.expect(CALLER, "SIP/2.0 100");
    net.expect(CALLEE_2, "INVITE");
    assert_eq!(at_carriers(&net), [1, 1]);
    call(&mut net, "c3", "2001", "5553000");
    refused(&mut net, "SIP/2.0 503 Service Unavailable - Too Many Calls");
    counted(&net, 2, 1);
}

#[test]
fn a_transfer_leaves_as_many_calls_as_there_are_parties_and_is_not_refused_for_its_own_sake() {
    let mut policy = inbound(Numbers { calls: Some(1), ..Numbers::default() });
    policy.trunks[0].dialogs.refer = Refer::Handle;
    policy.trunks[0].limits.inbound.barred = Patterns::of(["5559".parse().unwrap()]).unwrap();
    let mut net = Net::with(policy);
    let up = establish(&mut net);
    let refer = |to: &str, cseq| {
        let to = format!("Refer-To: <sip:{to}@192.0.2.1>\r\n");
        with(&caller_request("REFER", cseq, "c1", &up.tag, ""), &to)
    };
    // Whoever asks for it may not have called there itself.
    net.receive(CALLER, &refer("5559000", 2));
    net.expect(CALLER, "SIP/2.0 403 Forbidden - Number Barred");
    counted(&net, 1, 1);

    net.receive(CALLER, &refer("5552000", 3));
    net.expect(CALLER, "SIP/2.0 202");
    let sent = net.expect(CALLEE, "INVITE sip:5552000");
    let calls = |net: &Net, at: usize| {
        let mut views = net.worker.limits().view();
        views.sort_by(|one, other| other.name.cmp(&one.name));
        Direction::BOTH.map(|direction| views[at].directions[direction.index()].calls)
    };
    assert_eq!((calls(&net, 0), calls(&net, 1)), ([1, 0], [0, 3]), "the old call, and the new one between two callees");
    net.receive(CALLEE, &answer(&sent, "486 Busy Here", "eve", CALLEE, ""));
    counted(&net, 1, 1);
    net.receive(CALLER, &caller_request("BYE", 4, "c1", &up.tag, ""));
    counted(&net, 0, 0);
}
