use std::io::Write as _;

use moorline_b2bua::Wall;
use moorline_b2bua::policy::{Choice, Policy, Way};

use crate::Config;
use crate::config::ConfigFault;

/// Three trunks to carriers; what `lines` say comes behind them.
fn policy(lines: &str) -> Result<Policy, Vec<ConfigFault>> {
    let trunk = |name: &str, last: u8| {
        format!("[[trunks]]\nname = \"{name}\"\nlistener = \"local\"\ntargets = [\"192.0.2.{last}:5060\"]\n")
    };
    let pbx = "[[trunks]]\nname = \"pbx\"\nlistener = \"local\"\nsources = [\"127.0.0.0/8\"]\n";
    let text = [lines.split_once("---").map_or("", |(top, _)| top), &trunk("a", 1), &trunk("b", 2), pbx].concat();
    let rest = lines.split_once("---").map_or(lines, |(_, rest)| rest);
    let config: Config = toml::from_str(&(text + rest)).expect("a configuration");
    config.policy()
}

fn way(policy: &Policy, called: &str) -> Option<Way> {
    let found = policy.routes.find(2, called.as_bytes(), b"2000", Wall::default().local(0));
    found.map(|found| found.to.clone())
}

/// The trunks that a route leads to, with order and weight.
fn hunt(policy: &Policy, called: &str) -> Vec<(usize, u32, u32)> {
    let Some(Way::Trunks(hunt)) = way(policy, called) else { panic!("one trunk, or none") };
    hunt.choices.iter().map(|Choice { trunk, order, weight }| (*trunk, *order, *weight)).collect()
}

const GROUP: &str = "[[trunk_groups]]\nname = \"all\"\ntrunks = [\"b\", \"a\"]\nfailover = { statuses = [404] }\n";

#[test]
fn routes_lead_to_one_trunk_or_to_several() {
    let policy = policy(&format!(
        "{GROUP}[[routes]]\nprefix = \"1\"\nto = \"a\"\n[[routes]]\nprefix = \"2\"\nto = [\"b\", \"a\"]\n\
         [[routes]]\nprefix = \"3\"\nto = [{{ trunk = \"a\", weight = 70 }}, {{ trunk = \"b\", weight = 30, order = 1 }}]\n\
         [[routes]]\nprefix = \"4\"\nto = \"all\"\n[[routes]]\nprefix = \"5\"\nto = \"all\"\n\
         failover = {{ reasons = [{{ status = 480, reason = \"No Line*\" }}], silence = false }}\n"
    ))
    .expect("no faults");
    assert_eq!(way(&policy, "1"), Some(Way::Trunk(0)));
    assert_eq!(hunt(&policy, "2"), [(1, 0, 1), (0, 1, 1)]);
    assert_eq!(hunt(&policy, "3"), [(0, 0, 70), (1, 1, 30)]);
    assert_eq!(hunt(&policy, "4"), [(1, 0, 1), (0, 1, 1)]);
    let failover = |called: &str| match way(&policy, called) {
        Some(Way::Trunks(hunt)) => hunt.failover,
        other => panic!("{other:?}"),
    };
    assert!(failover("2").follows(503, b"") && !failover("2").follows(404, b"") && failover("2").silence);
    assert!(failover("4").follows(404, b"") && !failover("4").follows(503, b""));
    assert!(failover("5").follows(480, b"no line left") && failover("5").follows(503, b"") && !failover("5").silence);
}

#[test]
fn callers_trunks_and_times_choose_too() {
    let policy = policy(
        "[[routes]]\nto = \"a\"\n[[routes]]\ncaller_prefix = \"20\"\nto = \"b\"\n\
         [[routes]]\ncaller_prefix = \"20\"\nwhen = \"thu\"\nrefuse = { status = 480 }\n\
         [[routes]]\nprefix = \"9\"\nfrom = \"pbx\"\nto = \"a\"\nnumbers = { called = [{ delete = 1 }] }\n",
    )
    .expect("no faults");
    // The first day of 1970 was a Thursday.
    assert!(matches!(way(&policy, "1"), Some(Way::Refuse(refusal)) if refusal.status == 480));
    let decided = policy.routes.find(2, b"90", b"2000", Wall::default().local(0)).expect("a route");
    assert_eq!(*decided.numbers.called.apply(b"90"), *b"0");
}

#[test]
fn routes_come_from_a_file_too() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(b"prefix,to,refuse\n86,all,\n8610,a,\n95,,403 Barred\n").expect("room");
    let path = file.path().display();
    let good = format!("routes_file = \"{path}\"\n---{GROUP}[[routes]]\nprefix = \"1\"\nto = \"a\"\n");
    let read = policy(&good).expect("no faults");
    assert_eq!(
        (read.routes.len(), way(&read, "86101"), way(&read, "1")),
        (4, Some(Way::Trunk(0)), Some(Way::Trunk(0)))
    );
    assert_eq!(hunt(&read, "8621"), [(1, 0, 1), (0, 1, 1)]);

    file.write_all(b"1,b,\n86,a,\n").expect("room");
    let faults = policy(&good).expect_err("twice");
    let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(
        said.iter().any(|text| text.contains("line 5 of routes_file is for the same calls as routes[0]")),
        "{said:?}"
    );
    assert!(said.iter().any(|text| text.contains("line 6 of routes_file is for the same calls as line 2")), "{said:?}");

    file.write_all(b"7,nobody,\n").expect("room");
    let faults = policy(&good).expect_err("no such trunk");
    assert_eq!(faults[0].path, "signaling.routes_file");
    assert!(faults[0].problem.contains("line 7, column to") && faults[0].problem.contains("nobody"), "{}", faults[0]);

    let faults = policy("routes_file = \"/nowhere/routes.csv\"\n---").expect_err("no file");
    assert_eq!(faults[0].path, "signaling.routes_file");
}

#[test]
fn each_fault_names_its_key() {
    for (lines, key) in [
        ("prefix = \"1 2\"\nto = \"a\"", "prefix"),
        ("caller_prefix = \"\\n\"\nto = \"a\"", "caller_prefix"),
        ("when = \"noon\"\nto = \"a\"", "when"),
        ("to = \"nobody\"", "to"),
        ("to = \"pbx\"", "to"),
        ("to = []", "to"),
        ("to = [\"a\", \"nobody\"]", "to"),
        ("to = [\"a\", \"a\"]", "to"),
        ("to = [{ trunk = \"pbx\" }]", "to"),
        ("to = [\"a\", \"b\"]\nfailover = { statuses = [603] }", "failover.statuses"),
        ("to = [\"a\", \"b\"]\nfailover = { reasons = [{ status = 200, reason = \"x\" }] }", "failover.reasons"),
        ("to = \"a\"\nfailover = {}", "failover"),
        ("redirect = \"tel:1\"", "redirect"),
        ("refuse = { status = 200 }", "refuse.status"),
        ("to = \"a\"\nnumbers = { caller = [{ insert = \" \" }] }", "numbers.caller[0].insert"),
    ] {
        let faults = policy(&format!("[[routes]]\n{lines}\n")).expect_err(lines);
        assert_eq!(faults[0].path, format!("signaling.routes[0].{key}"), "{lines}: {}", faults[0]);
    }
    for (lines, key) in [
        ("name = \"a\"\ntrunks = [\"b\"]", "trunk_groups[0].name"),
        ("name = \"\"\ntrunks = [\"b\"]", "trunk_groups[0].name"),
        ("name = \"g\"\ntrunks = [\"g\"]", "trunk_groups[0].trunks"),
        ("name = \"g\"\ntrunks = [\"b\"]\nfailover = { statuses = [200] }", "trunk_groups[0].failover.statuses"),
    ] {
        let faults = policy(&format!("[[trunk_groups]]\n{lines}\n")).expect_err(lines);
        assert_eq!(faults[0].path, format!("signaling.{key}"), "{lines}: {}", faults[0]);
    }
}
