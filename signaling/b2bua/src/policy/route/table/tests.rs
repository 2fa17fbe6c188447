use std::cmp::Reverse;

use proptest::prelude::*;

use super::*;
use crate::policy::{Names, Refusal};

/// The trunk that a route leads to.
fn first(to: &Way) -> Option<usize> {
    match to {
        Way::Trunk(trunk) => Some(*trunk),
        Way::Trunks(_) | Way::Redirect(_) | Way::Refuse(_) => None,
    }
}

/// A minute of a Monday.
fn monday(hour: u16) -> Local {
    Local { day: 0, weekday: 0, minute: 60 * hour }
}

fn route(prefix: &str, caller: &str, from: Option<usize>, when: Option<&str>, to: usize) -> Route {
    Route {
        prefix: prefix.into(),
        caller: caller.into(),
        from,
        when: when.map(|times| times.parse().unwrap()),
        to: Way::Trunk(to),
        ..Route::default()
    }
}

fn trunk(routes: &Routes, from: usize, called: &str, caller: &str, at: Local) -> Option<usize> {
    first(&routes.find(from, called.as_bytes(), caller.as_bytes(), at)?.to)
}

#[test]
fn the_longest_prefix_decides_then_the_caller_the_trunk_and_the_time() {
    let routes = Routes::new([
        route("", "", None, None, 0),
        route("86", "", None, None, 1),
        route("86", "", Some(7), None, 2),
        route("86", "", Some(7), Some("09:00-18:00"), 3),
        route("86", "2", None, None, 4),
        route("86", "20", Some(9), None, 5),
        route("8610", "", Some(8), Some("sat"), 6),
    ]);
    let at = monday(12);
    assert_eq!(trunk(&routes, 1, "49", "3", at), Some(0));
    assert_eq!(trunk(&routes, 1, "8621", "3", at), Some(1));
    assert_eq!(trunk(&routes, 7, "8621", "3", at), Some(3));
    assert_eq!(trunk(&routes, 7, "8621", "3", monday(20)), Some(2));
    assert_eq!(trunk(&routes, 7, "8621", "200", at), Some(4), "the caller counts more than the trunk");
    assert_eq!(trunk(&routes, 9, "8621", "200", at), Some(5));
    assert_eq!(trunk(&routes, 8, "8610", "3", at), Some(1), "one that is not for now leaves the call to shorter ones");
    assert_eq!(trunk(&routes, 8, "8610", "3", Local { weekday: 5, ..at }), Some(6));
    assert_eq!(trunk(&Routes::default(), 1, "1", "2", at), None);
}

#[test]
fn of_two_for_the_same_calls_the_first_counts_and_both_are_named() {
    let mut builder = RoutesBuilder::default();
    let [one, other] = [1, 2].map(|to| builder.decision(Decision { to: Way::Trunk(to), ..Decision::default() }));
    for (prefix, decision) in [("2", other), ("1", one), ("3", other), ("1", other)] {
        assert!(builder.add(prefix, "", None, None, decision));
    }
    assert!(!builder.add(&"1".repeat(65), "", None, None, one) && !builder.add("", &"1".repeat(300), None, None, one));
    let (routes, twice) = builder.build();
    assert_eq!(twice, [Twice { first: 1, second: 3 }]);
    assert_eq!((trunk(&routes, 0, "1", "", monday(0)), routes.len()), (Some(1), 4));
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let when = prop::option::of(prop::sample::select(vec!["00:00-12:00", "mon", "sat 09:00-24:00"]));
    let one = ("[0-1]{0,3}", "[0-1]{0,2}", prop::option::of(0usize..3), when);
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let numbered = all.into_iter().enumerate();
        numbered.map(|(to, (prefix, caller, from, when))| route(&prefix, &caller, from, when, to)).collect()
    })
}

proptest! {
    /// Looking at every route says the same.
    #[test]
    fn routes_are_found_as_a_naive_search_finds_them(
        routes in routes(), from in 0usize..3, called in "[0-1]{0,4}", caller in "[0-1]{0,3}",
        weekday in 0u8..7, minute in 0u16..1440,
    ) {
        let at = Local { day: 0, weekday, minute };
        let fits = |route: &&Route| {
            called.starts_with(&route.prefix) && caller.starts_with(&route.caller)
                && route.from.is_none_or(|trunk| trunk == from)
                && route.when.as_ref().is_none_or(|times| times.contain(at))
        };
        let rank = |route: &&Route| {
            (route.prefix.len(), route.caller.len(), route.from.is_some(), route.when.is_some(), Reverse(first(&route.to)))
        };
        let best = routes.iter().filter(fits).max_by_key(rank);
        let expected = best.and_then(|route| first(&route.to));
        prop_assert_eq!(trunk(&Routes::new(routes.clone()), from, &called, &caller, at), expected);
    }

    /// A table from a file says what the same routes say that were added one by one.
    #[test]
    fn a_file_says_the_same(routes in routes(), called in "[0-1]{0,4}", caller in "[0-1]{0,3}", from in 0usize..3) {
        let mut text = "caller_prefix,prefix,to,from,when\n".to_owned();
        let windows = ["00:00-12:00", "mon", "sat 09:00-24:00"];
        for route in &routes {
            let from = route.from.map(|trunk| trunk.to_string()).unwrap_or_default();
            let when = windows.iter().find(|text| route.when == Some(text.parse().unwrap())).copied().unwrap_or_default();
            let to = first(&route.to).unwrap();
            text += &format!("{},\"{}\",{to},{from},{when}\n", route.caller, route.prefix);
        }
        let mut builder = RoutesBuilder::default();
        let lines = builder.read_csv(text.as_bytes(), &by_number()).unwrap();
        prop_assert_eq!(lines.len(), routes.len());
        let at = monday(11);
        let (read, made) = (builder.build().0, Routes::new(routes));
        prop_assert_eq!(trunk(&read, from, &called, &caller, at), trunk(&made, from, &called, &caller, at));
    }
}

/// Trunks go by their numbers.
fn by_number() -> Names<'static> {
    Names { trunk: &|name| name.parse().ok(), way: &|name| name.parse().ok().map(Way::Trunk) }
}

#[test]
fn a_row_redirects_or_refuses_too() {
    let text = "prefix,to,redirect,refuse\r\n1,,sip:{number}@192.0.2.9,\r\n2,,,403 Not  That\r\n3,,,404\r\n4,7,,\r\n";
    let mut builder = RoutesBuilder::default();
    assert_eq!(builder.read_csv(text.as_bytes(), &by_number()).unwrap(), [2, 3, 4, 5]);
    let (routes, _) = builder.build();
    let way = |called: &str| routes.find(0, called.as_bytes(), b"", monday(0)).map(|decision| decision.to.clone());
    assert_eq!(way("1"), Some(Way::Redirect("sip:{number}@192.0.2.9".into())));
    assert_eq!(way("2"), Some(Way::Refuse(Refusal::new(403, "Not  That"))));
    assert_eq!(way("3"), Some(Way::Refuse(Refusal::new(404, "Not Found"))));
    assert_eq!((way("4"), way("5")), (Some(Way::Trunk(7)), None));
}

#[test]
fn rows_that_are_no_routes_are_named() {
    let read = |text: &str| {
        let mut builder = RoutesBuilder::default();
        builder.read_csv(text.as_bytes(), &by_number()).unwrap_err()
    };
    for (text, line, column) in [
        ("prefix,to\n1,2\n2,nowhere\n", 3, "to"),
        ("prefix,to,from\n1,2,x\n", 2, "from"),
        ("prefix,to,when\n1,2,noon\n", 2, "when"),
        ("prefix,redirect\n1,tel:1\n", 2, "redirect"),
        ("prefix,refuse\n1,200 OK\n", 2, "refuse"),
        ("prefix,refuse\n1,no\n", 2, "refuse"),
        ("prefix,to,refuse\n1,2,403\n", 2, "to"),
        ("prefix,to\n1,\n", 2, "to"),
        ("prefix,to\n1\n", 2, "prefix"),
        ("prefix,to\n1 2,3\n", 2, "prefix"),
        ("prefix,to\n12345678901234567890123456789012345678901234567890123456789012345,3\n", 2, "prefix"),
        ("prefix,caller_prefix,to\n1,\u{e9},3\n", 2, "caller_prefix"),
        ("prefix,to,too\n1,2,3\n", 1, "too"),
        ("to\n1\n", 1, "prefix"),
        ("prefix\n1\n", 1, "to"),
        ("", 1, "prefix"),
    ] {
        let faults = read(text);
        assert_eq!((faults[0].line, &*faults[0].column), (line, column), "{text:?}: {:?}", faults[0]);
    }
    let many = format!("prefix,to\n{}", "1,x\n".repeat(1000));
    assert_eq!(read(&many).len(), 20, "enough to see what is wrong");
}
