use moorline_b2bua::policy::Policy;

use super::*;

const GOOD: &str = r#"
    blacklist = [{ caller = "anonymous", percent = 50 }, { caller = "0755", called = "*" }]
    whitelist = [{ caller = "*", called = "95588", from = "pbx" }]
    [[trunks]]
    name = "pbx"
    listener = "local"
    sources = ["127.0.0.0/8"]
    [trunks.limits]
    arrears = true
    [trunks.limits.inbound]
    calls = 0
    calls_per_second = 20
    burst = 5
    calls_per_caller = 20
    calls_per_callee_a_day = 5
    uncounted_callees = ["10086"]
    barred = ["400", "95xxx"]
    barred_except = ["95588"]
    refuse_anonymous = true
    [trunks.limits.refusals]
    calls_per_second = { status = 475, reason = "CALL_CAPS_LIMIT" }
    barred = { status = 403 }
    [limits]
    callees = 5000
    callees_full = "pass"
"#;

fn policy(text: &str) -> Result<Policy, Vec<crate::ConfigFault>> {
    toml::from_str::<Config>(text).expect("a configuration").policy()
}

fn fault(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old), "{old}");
    let faults = policy(&GOOD.replacen(old, new, 1)).expect_err("a fault");
    assert!(!faults[0].remedy.is_empty());
    faults[0].to_string()
}

#[test]
fn limits_are_as_they_are_written() {
    let policy = policy(GOOD).expect("no faults");
    let limits = &policy.trunks[0].limits;
    let numbers = Numbers {
        calls: Some(0),
        calls_per_second: Some(20),
        burst: Some(5),
        calls_per_caller: Some(20),
        calls_per_callee_a_day: Some(5),
        refuse_anonymous: true,
    };
    assert_eq!((limits.inbound.numbers, limits.outbound.numbers), (numbers, Numbers::default()));
    assert!(limits.arrears && policy.limits.pass_when_callees_full);
    assert!(limits.inbound.barred.matches(b"4001") && limits.inbound.barred_except.matches(b"95588"));
    assert!(limits.inbound.uncounted_callees.matches(b"10086"));
    assert_eq!(limits.refusals.of(Cause::Rate), &Refusal::new(475, "CALL_CAPS_LIMIT"));
    assert_eq!(limits.refusals.of(Cause::Barred), &Refusal::new(403, "Forbidden"));
    assert_eq!(limits.refusals.of(Cause::Calls).status, 503);
    let config: Config = toml::from_str(GOOD).expect("a configuration");
    let lists = config.lists();
    assert_eq!(lists.len(), 3);
    let row = Row { from: None, caller: Callers::Anonymous, called: Pattern::any() };
    assert_eq!(lists.get(&row), Some(Verdict::Black { percent: 50 }));
}

#[test]
fn faults_name_their_key_and_what_to_write() {
    let at = |old, new| fault(old, new).split(':').next().map(str::to_owned).unwrap_or_default();
    assert_eq!(
        at("calls_per_second = 20\n", "calls_per_second = 0\n"),
        "signaling.trunks[0].limits.inbound.calls_per_second"
    );
    assert_eq!(at("calls_per_second = 20\n", ""), "signaling.trunks[0].limits.inbound.burst");
    assert_eq!(at("burst = 5", "burst = 0"), "signaling.trunks[0].limits.inbound.burst");
    assert_eq!(at("status = 475", "status = 200"), "signaling.trunks[0].limits.refusals.calls_per_second.status");
    assert_eq!(at("callees = 5000", "callees = 0"), "signaling.limits.callees");
    assert_eq!(at("callees = 5000", "callees = 4000000000"), "signaling.limits.callees");
    assert_eq!(at("percent = 50", "percent = 0"), "signaling.blacklist[0].percent");
    assert_eq!(at("called = \"*\" }", "called = \"abc\" }"), "signaling.blacklist[1].called");
    assert_eq!(at("called = \"*\" }", "called = \"*\" }, { caller = \"0755\" }"), "signaling.blacklist[2]");
    assert_eq!(at("caller = \"anonymous\", percent", "percent"), "signaling.blacklist[0].caller");
    assert_eq!(at("from = \"pbx\"", "from = \"pbz\""), "signaling.whitelist[0].from");
    assert_eq!(at("from = \"pbx\"", "percent = 5"), "signaling.whitelist[0].percent");
    assert_eq!(at("[limits]", "[limits]\n    call_duration_s = 0"), "signaling.limits.call_duration_s");
    let wrong = GOOD.replacen("\"95xxx\"", "\"95-xx\"", 1);
    let wrong = toml::from_str::<Config>(&wrong).expect_err("no pattern").to_string();
    assert!(wrong.contains("'-' is in no number"), "{wrong}");
    assert!(toml::from_str::<Config>(&GOOD.replacen("arrears", "arrear", 1)).is_err());
}
