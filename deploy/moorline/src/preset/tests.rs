use moorline_signaling::TrunkConfig;

use super::{PRESETS, find};
use crate::config::{ConfigError, Configuration, Fault};

/// A configuration around one trunk, which may name the files of the folder.
fn around(trunk: &str) -> String {
    let carrier = "[[signaling.listeners]]\nname = \"carrier\"\nbind = \"127.0.0.1:5060\"\n";
    let core = "[[signaling.trunks]]\nname = \"core\"\nlistener = \"carrier\"\nsources = [\"127.0.0.0/8\"]\n";
    format!("{carrier}{core}{trunk}")
}

fn trunk(text: &str) -> TrunkConfig {
    let mut configuration = Configuration::parse("test.toml", text).expect("no faults");
    configuration.signaling.trunks.pop().expect("the trunk")
}

fn faults(text: &str) -> Vec<Fault> {
    match Configuration::parse("test.toml", text) {
        Err(ConfigError::Faults { faults, .. }) => faults,
        other => panic!("faults were expected: {other:?}"),
    }
}

fn line_of(text: &str, part: &str) -> usize {
    1 + text.lines().position(|line| line.contains(part)).expect("the line")
}

/// Secrets in the text, where an example names a file.
fn without_files(text: &str) -> String {
    text.lines()
        .map(|line| match line.split_once("_file = ") {
            Some((key, _)) if !line.starts_with('#') => format!("{key} = \"8613700\"\n"),
            _ => format!("{line}\n"),
        })
        .collect()
}

/// Each preset, and each with each of its regions.
fn every() -> Vec<(&'static super::Preset, Option<String>)> {
    let with_regions = |preset: &'static super::Preset| {
        let regions = preset.regions();
        let none = regions.is_empty().then_some(None);
        none.into_iter().chain(regions.into_iter().map(Some)).map(move |region| (preset, region))
    };
    PRESETS.iter().flat_map(with_regions).collect()
}

#[test]
fn what_is_shown_of_a_preset_is_what_the_preset_stands_for() {
    assert_eq!(every().len(), PRESETS.len() + 2, "three regions of one");
    for (preset, region) in every() {
        let shown = trunk(&around(&without_files(&preset.as_trunk(region.as_deref()))));
        let region = region.map(|region| format!("region = {region:?}\n")).unwrap_or_default();
        let needs: String = preset.head().needs.iter().map(|need| format!("{}\n", need.example)).collect();
        let named = format!(
            "[[signaling.trunks]]\nname = {:?}\nlistener = \"carrier\"\npreset = {:?}\n{region}{}",
            preset.name,
            preset.name,
            without_files(&needs)
        );
        assert_eq!(trunk(&around(&named)), shown, "{}", preset.name);
    }
}

#[test]
fn a_preset_says_nothing_of_what_is_each_trunks_own() {
    for (preset, region) in every() {
        let keys = preset.trunk(region.as_deref());
        for own in ["name", "listener", "media_range", "preset", "region"] {
            assert!(!keys.contains_key(own), "{} says {own}", preset.name);
        }
        assert!(!preset.head().about.is_empty());
    }
}

const CARRIER: &str = "[[signaling.trunks]]
name = \"a\"
listener = \"carrier\"
preset = \"aliyun-sip\"
region = \"beijing\"
secret_prefix.sent = \"8613700\"
";

#[test]
fn a_carriers_facts_are_in_its_preset() {
    let a = trunk(&around(CARRIER));
    let targets: Vec<String> = a.targets.iter().map(ToString::to_string).collect();
    assert_eq!(targets.len(), 4);
    assert!(targets[0].contains("39.96.156.225"), "{targets:?}");
    assert_eq!(a.media_sources, ["39.96.156.224/27".parse().expect("a network")]);
    let limits = &a.limits.outbound;
    assert_eq!((limits.calls, limits.calls_per_second), (None, Some(20)));
    assert_eq!((limits.calls_per_caller, limits.calls_per_callee_a_day), (Some(20), Some(5)));
    assert_eq!(limits.barred.len(), 2);
    let rate = a.limits.refusals.calls_per_second.expect("a refusal");
    assert_eq!((rate.status, rate.reason.as_deref()), (475, Some("CALL_CAPS_LIMIT")));
    assert_eq!(rate.announcement.as_deref(), Some("call-restricted"));
}

#[test]
fn a_key_of_the_trunks_own_wins_and_leaves_the_others() {
    let own = "targets = [\"127.0.0.9:5060\"]\n[signaling.trunks.limits.outbound]\ncalls_per_second = 50\n\
               [signaling.trunks.limits.refusals]\nbarred = { status = 403 }\n";
    let a = trunk(&around(&format!("{CARRIER}{own}")));
    assert_eq!(a.targets.len(), 1, "lists are replaced, not mixed");
    assert_eq!(a.limits.outbound.calls_per_second, Some(50));
    assert_eq!(a.limits.outbound.calls_per_caller, Some(20));
    let barred = a.limits.refusals.barred.expect("a refusal");
    assert_eq!((barred.status, barred.reason), (403, Some("CALLED_BLACKLIST_LIMIT".into())), "key by key");
    assert_eq!(a.limits.refusals.arrears.expect("a refusal").status, 476);
}

#[test]
fn keys_of_a_preset_can_be_left_out() {
    let without = "preset_without = [\"limits.outbound.calls_per_callee_a_day\", \"limits.refusals\"]\n";
    let a = trunk(&around(&format!("{CARRIER}{without}")));
    assert_eq!(a.limits.outbound.calls_per_callee_a_day, None);
    assert_eq!(a.limits.outbound.calls_per_second, Some(20));
    assert_eq!(a.limits.refusals.barred, None);

    let text = around(&format!("{CARRIER}preset_without = [\"limits.outbound.colour\"]\n"));
    let found = faults(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].line, line_of(&text, "preset_without"));
    assert!(found[0].remedy.contains("moorline preset show aliyun-sip"), "{found:?}");
}

#[test]
fn a_need_that_is_not_met_is_named() {
    let text = around(&CARRIER.replace("secret_prefix.sent = \"8613700\"\n", ""));
    let found = faults(&text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].line, found[0].column), (line_of(&text, "preset ="), 1));
    assert!(found[0].problem.contains("`secret_prefix.sent_file` or `secret_prefix.sent`"), "{found:?}");
    assert!(found[0].remedy.contains("secret_prefix.sent_file = "), "{found:?}");
}

#[test]
fn an_unknown_preset_or_region_is_named_with_those_that_there_are() {
    for (old, new, part, remedy) in [
        ("preset = \"aliyun-sip\"", "preset = \"alyun-sip\"", "preset = ", "aliyun-sip, aliyun-sip-customer"),
        ("preset = \"aliyun-sip\"", "preset = 7", "preset = ", "generic-ip"),
        ("region = \"beijing\"", "region = \"bejing\"", "region = ", "beijing, shanghai, shenzhen"),
        ("region = \"beijing\"", "region = 7", "region = ", "beijing, shanghai, shenzhen"),
        ("region = \"beijing\"\n", "", "preset = ", "add `region = \"beijing\"`"),
        ("preset = \"aliyun-sip\"\n", "", "region = ", "add `preset = \"...\"`"),
    ] {
        let text = around(&CARRIER.replacen(old, new, 1));
        let found = faults(&text);
        assert_eq!(found[0].line, line_of(&text, part), "{found:?}");
        assert!(found[0].remedy.contains(remedy), "{found:?}");
        assert!(found[0].key.starts_with("signaling.trunks[1]."), "{found:?}");
    }
    let text = around(
        "[[signaling.trunks]]\nname = \"b\"\nlistener = \"carrier\"\npreset = \"generic-ip\"\nregion = \"x\"\ntargets = [\"127.0.0.2:5060\"]\n",
    );
    let found = faults(&text);
    assert_eq!((found.len(), found[0].line, found[0].remedy.as_str()), (1, line_of(&text, "region ="), "remove it"));
}

#[test]
fn a_fault_in_what_a_preset_says_is_told_at_the_trunk() {
    // Two trunks to the same carrier by one listener: each request of it would fit both.
    let text = around(&format!("{CARRIER}{}", CARRIER.replacen("name = \"a\"", "name = \"b\"", 1)));
    let found = faults(&text);
    let second = text.lines().enumerate().filter(|(_, line)| line.starts_with("preset =")).nth(1).expect("two").0 + 1;
    assert_eq!(found.len(), 8, "four targets and four sources: {found:?}");
    for fault in &found {
        assert_eq!((fault.line, fault.column), (second, 1), "{fault:?}");
        assert!(fault.problem.ends_with("(preset \"aliyun-sip\" says so)"), "{fault:?}");
        assert!(fault.key.starts_with("signaling.trunks[2]."), "{fault:?}");
    }
}

#[test]
fn a_wrong_key_beside_a_preset_is_named_where_it_stands() {
    let text = around(&format!("{CARRIER}colour = \"blue\"\nlimits = 5\n"));
    let found = faults(&text);
    let lines: Vec<usize> = found.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [line_of(&text, "colour"), line_of(&text, "limits = 5")], "{found:?}");
}

#[test]
fn names_are_unlike() {
    for preset in &PRESETS {
        assert_eq!(find(preset.name).map(|found| found.text), Some(preset.text));
    }
    assert!(find("aliyun").is_none());
}
