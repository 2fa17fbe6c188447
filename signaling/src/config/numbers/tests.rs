use moorline_b2bua::policy::{Assertion, Policy};

use crate::Config;
use crate::config::ConfigFault;

/// Two trunks; `lines` are of the second, `plans` stand at the end.
fn policy(lines: &str, plans: &str) -> Result<Policy, Vec<ConfigFault>> {
    let text = format!(
        "[[trunks]]\nname = \"pbx\"\nlistener = \"local\"\nsources = [\"127.0.0.0/8\"]\n\
         [[trunks]]\nname = \"carrier\"\nlistener = \"local\"\ntargets = [\"192.0.2.1:5060\"]\n{lines}\n{plans}"
    );
    let config: Config = toml::from_str(&text).expect("a configuration");
    config.policy()
}

const BEIJING: &str = "[[numbering_plans]]\nname = \"beijing\"\ncountry = \"86\"\narea = \"10\"\n";

fn called_out(rules: &str, number: &str) -> String {
    let policy = policy(&format!("numbers = {{ called_out = [{rules}] }}"), BEIJING).expect("no faults");
    String::from_utf8(policy.trunks[1].numbers.called_out.apply(number.as_bytes()).into_owned()).expect("text")
}

#[test]
fn rules_do_as_they_are_written() {
    assert_eq!(called_out("{ prefix = \"+86\", delete = 3, insert = \"0\" }", "+861065551234"), "01065551234");
    assert_eq!(called_out("{ length = [7, 8], insert = \"010\" }", "65551234"), "01065551234");
    assert_eq!(called_out("{ at = 3, delete = 4, insert = \"0000\" }", "13912345678"), "13900005678");
    assert_eq!(called_out("{ at = 4, from_end = true, delete = 4 }", "13912345678"), "1391234");
    assert_eq!(called_out("{ delete = 1, edits = [{ from_end = true, insert = \"#\" }] }", "912"), "12#");
    assert_eq!(called_out("{ write = \"e164\", plan = \"beijing\" }", "65551234"), "+861065551234");
    assert_eq!(called_out("{ write = \"e164-digits\", plan = \"beijing\" }", "010-65551234"), "010-65551234");
    assert_eq!(called_out("{ prefix = \"1\" }, { insert = \"9\" }", "110"), "110", "left as it is");
}

#[test]
fn callers_are_shown_as_it_is_written() {
    let lines = "caller = { number = \"100\", numbers = { 6000 = \"200\" }, display = \"\", assertion = \"asserted\" }";
    let caller = policy(lines, "").expect("no faults").trunks.remove(1).caller;
    assert_eq!((caller.number, caller.display), (Some(b"100".to_vec()), Some(String::new())));
    assert_eq!(caller.mapped.get(&b"6000"[..]).map(Vec::as_slice), Some(&b"200"[..]));
    assert_eq!(caller.assertion, Assertion::Asserted);
}

#[test]
fn each_fault_names_its_key() {
    let rule = |rule: &str| format!("numbers = {{ caller_in = [{{ insert = \"1\" }}, {{ {rule} }}] }}");
    let at = |field: &str| format!("signaling.trunks[1].numbers.caller_in[1].{field}");
    for (lines, key) in [
        (rule("length = [8, 7]"), at("length")),
        (rule("prefix = \"123\", length = 2"), at("length")),
        (rule("length = 3, at = 2, delete = 2"), at("at")),
        (rule("at = 1, from_end = true, delete = 2"), at("delete")),
        (rule("insert = \"1@b\""), at("insert")),
        (rule("edits = [{ insert = \" \" }]"), at("insert")),
        (rule("plan = \"beijing\""), at("plan")),
        (rule("write = \"e164\""), at("write")),
        (rule("write = \"e164\", plan = \"nowhere\""), at("plan")),
        (rule("write = \"e164\", plan = \"beijing\", delete = 1"), at("").trim_end_matches('.').to_owned()),
        ("caller = { number = \"\" }".into(), "signaling.trunks[1].caller.number".into()),
        ("caller = { numbers = { 1 = \"a b\" } }".into(), "signaling.trunks[1].caller.numbers".into()),
        ("caller = { display = \"\\n\" }".into(), "signaling.trunks[1].caller.display".into()),
    ] {
        let faults = policy(&lines, BEIJING).expect_err(&lines);
        assert_eq!(faults[0].path, key, "{lines}: {}", faults[0]);
    }
    for (line, field) in [
        ("international_prefix = \"\"", "international_prefix"),
        ("trunk_prefix = \"+\"", "trunk_prefix"),
        ("bare_prefixes = [\"\"]", "bare_prefixes"),
        ("local_digits = [8, 7]", "local_digits"),
        ("national_digits = [8, 11]", "local_digits"),
        ("national_digits = [0, 16]", "national_digits"),
    ] {
        let faults = policy("", &format!("{BEIJING}{line}")).expect_err(line);
        assert_eq!(faults[0].path, format!("signaling.numbering_plans[0].{field}"), "{line}: {}", faults[0]);
    }
    let faults = policy("", &format!("{BEIJING}{BEIJING}")).expect_err("two of one name");
    assert_eq!(faults[0].path, "signaling.numbering_plans[1].name");
}
