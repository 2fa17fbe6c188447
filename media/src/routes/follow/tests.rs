//! Hops as they come, change and go.

use super::*;

const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;
const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 1];
const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn key(destination: &str) -> Key {
    let source = if ip(destination).is_ipv4() { "10.0.0.9" } else { "2001:db8::9" };
    Key::new(ip(source), ip(destination), 0)
}

fn card(index: u32) -> Link {
    let name = format!("eth{index}");
    Link { index, name, up: true, address: Some([4, 0, 0, 0, 0, index as u8]), mtu: 1500, kind: Kind::Card }
}

fn resolved(address: [u8; 6]) -> Standing {
    Standing::Resolved { address, stale: false, fixed: false }
}

fn by(interface: u32, next: &str) -> Result<Way, Reason> {
    Ok(Way { interface, next: ip(next), mtu: None })
}

fn next(interface: u32, destination: [u8; 6]) -> NextHop {
    NextHop { interface, source: [4, 0, 0, 0, 0, interface as u8], destination, vlan: 0, mtu: 1500 }
}

/// A host with two cards, and a gateway on the first.
fn host() -> Follow {
    let outward = |interface: Option<&str>| Outward { interface: interface.map(str::to_owned), traffic_class: 0xb8 };
    let mut follow = Follow::new(vec![outward(None), outward(Some("eth4"))], Box::new(|interface| interface != 9));
    let neighbours = vec![((3, ip("10.0.0.1")), resolved(GATEWAY))];
    follow.picture(0, Picture { links: vec![card(3), card(4)], neighbours, rules: Rules::default() });
    assert_eq!(outputs(&mut follow, 0), []);
    follow
}

fn outputs(follow: &mut Follow, now: u64) -> Vec<Output> {
    let all = std::iter::from_fn(|| follow.poll_output()).collect();
    follow.carried_out(now);
    all
}

fn questions(follow: &mut Follow, now: u64) -> Vec<u32> {
    std::iter::from_fn(|| follow.poll_question(now)).map(|(hop, _)| hop).collect()
}

/// A hop by the gateway, valid at 0.
fn gone_valid(follow: &mut Follow, hop: u32, destination: &str) {
    follow.follow(0, hop, key(destination));
    let (asked, question) = follow.poll_question(0).unwrap();
    assert_eq!(
        (asked, question.destination, question.interface, question.traffic_class),
        (hop, ip(destination), None, 0xb8)
    );
    follow.answered(0, hop, by(3, "10.0.0.1"));
    assert_eq!(outputs(follow, 0), [Output::Valid { hop, next: next(3, GATEWAY) }]);
}

#[test]
fn a_changed_mac_address_withdraws_the_hop_and_comes_12_ms_later() {
    let mut follow = host();
    gone_valid(&mut follow, 1, "192.0.2.7");
    follow.neighbour(5 * MS, (3, ip("10.0.0.1")), resolved(OTHER));
    assert_eq!(outputs(&mut follow, 6 * MS), [Output::Invalid { hop: 1, reason: None }]);
    // It changes once more meanwhile.
    follow.neighbour(7 * MS, (3, ip("10.0.0.1")), resolved([2, 0, 0, 0, 0, 3]));
    follow.handle_timeout(18 * MS - 1);
    assert_eq!(outputs(&mut follow, 18 * MS), []);
    assert_eq!(follow.next_timeout(), Some(18 * MS));
    follow.handle_timeout(18 * MS);
    assert_eq!(outputs(&mut follow, 18 * MS), [Output::Valid { hop: 1, next: next(3, [2, 0, 0, 0, 0, 3]) }]);
    assert_eq!(follow.figures(), (1, 1, 1));
}

#[test]
fn a_neighbour_that_is_lost_is_looked_for_and_the_reason_told() {
    let mut follow = host();
    gone_valid(&mut follow, 1, "192.0.2.7");
    follow.neighbour(S, (3, ip("10.0.0.1")), Standing::Unresolved);
    assert_eq!(outputs(&mut follow, S), [Output::Invalid { hop: 1, reason: Some(Reason::Unresolved) }]);
    follow.handle_timeout(S);
    assert_eq!(outputs(&mut follow, S), [Output::Use { neighbour: (3, ip("10.0.0.1")) }]);
    // Found before the place may be written.
    follow.neighbour(S + MS, (3, ip("10.0.0.1")), resolved(GATEWAY));
    assert_eq!(outputs(&mut follow, S + MS), [Output::Said { hop: 1, reason: None }]);
    follow.handle_timeout(S + 12 * MS);
    assert_eq!(outputs(&mut follow, S + 12 * MS), [Output::Valid { hop: 1, next: next(3, GATEWAY) }]);
}

#[test]
fn a_new_route_is_asked_for_and_changes_only_what_it_changes() {
    let mut follow = host();
    gone_valid(&mut follow, 1, "192.0.2.7");
    gone_valid(&mut follow, 2, "198.51.100.7");
    follow.neighbour(0, (4, ip("10.4.0.1")), resolved(OTHER));
    follow.route(RouteChange { destination: "192.0.2.0/24".parse().unwrap(), local: false, gone: None });
    assert_eq!((outputs(&mut follow, S), questions(&mut follow, S)), (vec![], vec![1]), "the old way holds until then");
    follow.answered(S, 1, by(4, "10.4.0.1"));
    assert_eq!(outputs(&mut follow, S), [Output::Invalid { hop: 1, reason: None }]);
    follow.handle_timeout(S + REST_NS);
    assert!(outputs(&mut follow, S + REST_NS).contains(&Output::Valid { hop: 1, next: next(4, OTHER) }));
    // A default route concerns all, and here it changes nothing.
    follow.route(RouteChange { destination: "0.0.0.0/0".parse().unwrap(), local: false, gone: None });
    assert_eq!(questions(&mut follow, 2 * S), [1, 2]);
    follow.answered(2 * S, 1, by(4, "10.4.0.1"));
    follow.answered(2 * S, 2, by(3, "10.0.0.1"));
    follow.route(RouteChange { destination: "::/0".parse().unwrap(), local: false, gone: None });
    assert_eq!((outputs(&mut follow, 2 * S), questions(&mut follow, 2 * S)), (vec![], vec![]));
}

#[test]
fn a_route_that_went_withdraws_what_went_by_it_at_once() {
    let mut follow = host();
    gone_valid(&mut follow, 1, "192.0.2.7");
    let gone = |gateway: &str| Some((Some(3), Some(ip(gateway))));
    let change = |gone| RouteChange { destination: "192.0.2.0/24".parse().unwrap(), local: false, gone };
    follow.route(change(gone("10.0.0.2")));
    assert_eq!((outputs(&mut follow, S), questions(&mut follow, S)), (vec![], vec![1]), "another gateway's");
    follow.answered(S, 1, by(3, "10.0.0.1"));
    follow.route(change(gone("10.0.0.1")));
    assert_eq!(outputs(&mut follow, S), [Output::Invalid { hop: 1, reason: Some(Reason::NoRoute) }]);
    assert_eq!(questions(&mut follow, S), [1]);
    follow.answered(S, 1, Err(Reason::NoRoute));
    assert_eq!(outputs(&mut follow, S), []);
}

#[test]
fn a_link_that_goes_down_takes_its_hops_along() {
    let mut follow = host();
    gone_valid(&mut follow, 1, "192.0.2.7");
    follow.link(S, 3, Some(card(3)));
    assert_eq!((outputs(&mut follow, S), questions(&mut follow, S)), (vec![], vec![]), "no news");
    follow.link(S, 3, Some(Link { up: false, ..card(3) }));
    assert_eq!(outputs(&mut follow, S), [Output::Invalid { hop: 1, reason: Some(Reason::Down) }]);
    assert_eq!(questions(&mut follow, S), [1]);
    follow.answered(S, 1, by(3, "10.0.0.1"));
    // Its neighbours are forgotten, and not looked for while nobody could answer.
    follow.neighbour(S, (3, ip("10.0.0.1")), Standing::Unresolved);
    follow.handle_timeout(3 * S);
    assert_eq!(outputs(&mut follow, 3 * S), []);
    follow.link(4 * S, 3, Some(card(3)));
    assert_eq!(outputs(&mut follow, 4 * S), [Output::Said { hop: 1, reason: Some(Reason::Unresolved) }]);
    follow.handle_timeout(4 * S);
    assert_eq!(outputs(&mut follow, 4 * S), [Output::Use { neighbour: (3, ip("10.0.0.1")) }]);
    follow.neighbour(4 * S, (3, ip("10.0.0.1")), resolved(GATEWAY));
    assert_eq!(outputs(&mut follow, 4 * S), [Output::Valid { hop: 1, next: next(3, GATEWAY) }]);
}

#[test]
fn hops_of_a_vlan_follow_its_card() {
    let mut follow = host();
    let vlan = Link { kind: Kind::Vlan { lower: 3, id: 100, priorities: vec![] }, mtu: 1400, ..card(7) };
    follow.link(0, 7, Some(vlan));
    follow.neighbour(0, (7, ip("10.7.0.1")), resolved(OTHER));
    follow.follow(0, 1, key("192.0.2.7"));
    assert_eq!(questions(&mut follow, 0), [1]);
    follow.answered(0, 1, by(7, "10.7.0.1"));
    let tagged = NextHop { interface: 3, source: [4, 0, 0, 0, 0, 7], destination: OTHER, vlan: 100, mtu: 1400 };
    assert_eq!(outputs(&mut follow, 0), [Output::Valid { hop: 1, next: tagged }]);
    follow.link(S, 3, Some(Link { up: false, ..card(3) }));
    assert_eq!(outputs(&mut follow, S), [Output::Invalid { hop: 1, reason: Some(Reason::Down) }]);
}

#[test]
fn what_the_kernel_has_to_send_is_told_with_its_reason() {
    let mut follow = host();
    follow.link(0, 9, Some(card(9)));
    let other = Link { kind: Kind::Other, ..card(8) };
    follow.link(0, 8, Some(other));
    let answers = [
        (by(8, "10.8.0.1"), Reason::Device),
        (by(9, "10.9.0.1"), Reason::Device),
        (by(3, "10.0.0.77"), Reason::Unresolved),
        (Err(Reason::Local), Reason::Local),
        (Err(Reason::NoRoute), Reason::NoRoute),
    ];
    for (hop, (answer, reason)) in (1..).zip(answers) {
        follow.follow(0, hop, key("192.0.2.7"));
        assert_eq!(questions(&mut follow, 0), [hop]);
        follow.answered(0, hop, answer);
        assert_eq!(outputs(&mut follow, 0), [Output::Said { hop, reason: Some(reason) }]);
    }
}

#[test]
fn some_things_need_not_be_asked() {
    let mut follow = host();
    let source = |destination: &str, range| Key::new(ip("10.0.0.9"), ip(destination), range);
    let keys = [
        (key("224.0.0.1"), Reason::NotUnicast),
        (key("0.0.0.0"), Reason::NotUnicast),
        (key("fe80::1"), Reason::NoRoute),
        (source("2001:db8::1", 0), Reason::NoRoute),
        (source("192.0.2.1", 7), Reason::NoInterface),
    ];
    for (hop, (key, reason)) in (1..).zip(keys) {
        follow.follow(0, hop, key);
        assert_eq!(questions(&mut follow, 0), []);
        assert_eq!(outputs(&mut follow, 0), [Output::Said { hop, reason: Some(reason) }]);
    }
}

#[test]
fn a_range_asks_by_its_interface_and_waits_for_it() {
    let mut follow = host();
    let key = Key::new(ip("fe80::9"), ip("fe80::1"), 1);
    follow.follow(0, 1, key);
    assert_eq!(follow.poll_question(0).unwrap().1.interface, Some(4));
    follow.link(0, 4, None);
    assert_eq!(questions(&mut follow, 0), []);
    follow.answered(0, 1, Err(Reason::NoRoute));
    outputs(&mut follow, 0);
    // Made anew under its name, it has another index.
    follow.link(0, 14, Some(Link { name: "eth4".into(), ..card(14) }));
    assert_eq!(follow.poll_question(0).unwrap().1.interface, Some(14));
}

#[test]
fn a_rule_about_more_than_addresses_withdraws_what_it_could_be_about() {
    let mut follow = host();
    gone_valid(&mut follow, 1, "192.0.2.7");
    gone_valid(&mut follow, 2, "198.51.100.7");
    let scope = Scope { v4: true, from: None, to: "192.0.2.0/24".parse().ok() };
    follow.rules(Rules { narrow: vec![scope], ..Rules::default() });
    assert_eq!(outputs(&mut follow, S), [Output::Invalid { hop: 1, reason: Some(Reason::Policy) }]);
    follow.rules(Rules { encrypted: vec![scope], ..Rules::default() });
    assert_eq!(outputs(&mut follow, S), [Output::Said { hop: 1, reason: Some(Reason::Encrypted) }]);
    follow.rules(Rules::default());
    follow.handle_timeout(S + REST_NS);
    assert!(outputs(&mut follow, S + REST_NS).contains(&Output::Valid { hop: 1, next: next(3, GATEWAY) }));
    assert_eq!(questions(&mut follow, S), [1, 2], "a rule can change any route");
}

#[test]
fn a_local_address_that_comes_or_goes_concerns_its_own_packets() {
    let mut follow = host();
    gone_valid(&mut follow, 1, "192.0.2.7");
    let own = "10.0.0.9/32".parse().unwrap();
    follow.route(RouteChange { destination: own, local: true, gone: None });
    assert_eq!(questions(&mut follow, S), [1]);
}

#[test]
fn a_place_that_was_left_is_free_a_second_later() {
    let mut follow = host();
    gone_valid(&mut follow, 1, "192.0.2.7");
    follow.leave(S, 1);
    assert_eq!(outputs(&mut follow, S), [Output::Left { hop: 1 }]);
    follow.neighbour(S, (3, ip("10.0.0.1")), resolved(OTHER));
    follow.handle_timeout(2 * S - 1);
    assert_eq!(outputs(&mut follow, 2 * S), []);
    follow.handle_timeout(2 * S);
    assert_eq!(outputs(&mut follow, 2 * S), [Output::Free { hop: 1 }]);
    assert_eq!((follow.figures(), follow.next_timeout()), ((0, 0, 0), None));
}

#[test]
fn what_another_process_left_stays_until_something_changes_or_65_s() {
    let mut follow = host();
    follow.inherit(0, [5, 6]);
    follow.neighbour(0, (3, ip("10.0.0.99")), resolved(OTHER));
    assert_eq!(outputs(&mut follow, 0), [], "a neighbour more changes nothing");
    follow.handle_timeout(INHERITED_NS - 1);
    assert_eq!(outputs(&mut follow, 0), []);
    follow.handle_timeout(INHERITED_NS);
    assert_eq!(outputs(&mut follow, 0), [Output::Left { hop: 5 }, Output::Left { hop: 6 }]);
    let mut follow = host();
    follow.inherit(0, [5]);
    follow.neighbour(0, (3, ip("10.0.0.1")), resolved(OTHER));
    assert_eq!(outputs(&mut follow, 0), [Output::Left { hop: 5 }]);
    follow.handle_timeout(FREE_NS);
    assert_eq!(outputs(&mut follow, 0), [Output::Free { hop: 5 }]);
}

#[test]
fn after_lost_events_the_new_picture_counts() {
    let mut follow = host();
    gone_valid(&mut follow, 1, "192.0.2.7");
    gone_valid(&mut follow, 2, "192.0.2.8");
    follow.answered(0, 2, by(4, "10.4.0.1"));
    outputs(&mut follow, 0);
    let neighbours = vec![((3, ip("10.0.0.1")), resolved(OTHER)), ((4, ip("10.4.0.1")), resolved(OTHER))];
    follow.picture(S, Picture { links: vec![card(3), card(4)], neighbours, rules: Rules::default() });
    let all = outputs(&mut follow, S);
    assert!(all.contains(&Output::Invalid { hop: 1, reason: None }), "{all:?}");
    assert_eq!(questions(&mut follow, S), [1, 2]);
    follow.blind(S);
    let all = outputs(&mut follow, S);
    assert!(all.contains(&Output::Said { hop: 1, reason: Some(Reason::Unknown) }), "{all:?}");
}

#[test]
fn every_route_is_asked_for_again_within_a_minute() {
    let mut follow = host();
    for hop in 1..=150 {
        gone_valid(&mut follow, hop, "192.0.2.7");
    }
    let mut asked = BTreeSet::new();
    for second in 1..=60 {
        follow.handle_timeout(second * S);
        let now = questions(&mut follow, second * S);
        assert!(now.len() <= 3, "{} at once", now.len());
        for hop in now {
            asked.insert(hop);
            follow.answered(second * S, hop, by(3, "10.0.0.1"));
        }
        assert!(outputs(&mut follow, second * S).iter().all(|output| matches!(output, Output::Use { .. })));
    }
    assert_eq!(asked.len(), 150);
}

#[test]
fn what_the_kernel_did_not_answer_is_asked_again_a_second_later() {
    let mut follow = host();
    follow.follow(0, 1, key("192.0.2.7"));
    assert_eq!(questions(&mut follow, 0), [1]);
    follow.answered(0, 1, Err(Reason::Unknown));
    follow.handle_timeout(S);
    assert_eq!(questions(&mut follow, S), [1]);
}

#[test]
fn a_place_that_could_not_be_written_is_tried_again() {
    let mut follow = host();
    gone_valid(&mut follow, 1, "192.0.2.7");
    follow.unwritten(1);
    assert_eq!(outputs(&mut follow, 0), [Output::Invalid { hop: 1, reason: None }]);
    follow.handle_timeout(REST_NS);
    assert_eq!(outputs(&mut follow, 0), [Output::Valid { hop: 1, next: next(3, GATEWAY) }]);
}
