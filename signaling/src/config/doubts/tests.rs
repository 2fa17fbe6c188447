use super::{Config, Doubts};

/// A PBX and a carrier, and calls both ways.
const GOOD: &str = r#"
    [[trunks]]
    name = "pbx"
    listener = "local"
    sources = ["127.0.1.0/24"]
    targets = ["127.0.1.1:5060"]
    [[trunks]]
    name = "carrier"
    listener = "local"
    sources = ["127.0.2.0/24"]
    targets = ["127.0.2.1:5060"]
    [[routes]]
    from = "pbx"
    to = "carrier"
    [[routes]]
    from = "carrier"
    to = "pbx"
"#;

fn doubts(text: &str) -> Doubts {
    let config = toml::from_str::<Config>(text).expect("a configuration");
    assert_eq!(config.policy().err(), None, "doubts are of what has no faults");
    config.doubts()
}

/// The doubts of `GOOD` with some replacements.
fn with(changes: &[(&str, &str)]) -> Doubts {
    let mut text = GOOD.to_owned();
    for (old, new) in changes {
        assert!(text.contains(old), "{old}");
        text = text.replacen(old, new, 1);
    }
    doubts(&text)
}

/// The one thing without effect: its key and its text.
fn idle(changes: &[(&str, &str)]) -> (String, String) {
    let Doubts { futile, idle } = with(changes);
    assert_eq!((futile.len(), idle.len()), (0, 1), "{futile:?} {idle:?}");
    assert!(!idle[0].remedy.is_empty());
    (idle[0].path.replacen("signaling.", "", 1), idle[0].problem.clone())
}

const PBX: &str = "targets = [\"127.0.1.1:5060\"]";
const CARRIER: &str = "targets = [\"127.0.2.1:5060\"]";
const BACK: &str = "from = \"carrier\"\n    to = \"pbx\"";

/// A trunk's table with one more line.
fn and(line: &str, more: &str) -> String {
    format!("{line}\n    {more}")
}

#[test]
fn what_is_used_is_not_doubted() {
    assert_eq!(doubts(GOOD), Doubts::default());
}

#[test]
fn trunks_of_a_route_without_a_common_codec_are_named() {
    let (pbx, carrier) = (and(PBX, "codecs = [\"pcma\", \"cn\"]"), and(CARRIER, "codecs = [\"g729\", \"CN\"]"));
    let Doubts { futile, idle } = with(&[(PBX, &pbx), (CARRIER, &carrier)]);
    assert_eq!((futile.len(), idle.len()), (1, 0), "one fault for both directions: {futile:?} {idle:?}");
    assert_eq!(futile[0].path, "signaling.trunks[1].codecs");
    assert!(futile[0].problem.contains("\"pbx\" (pcma, cn)") && futile[0].problem.contains("488"), "{futile:?}");

    for (one, other) in
        [("\"PCMA/8000\"", "\"pcma\""), ("\"speex\"", "\"speex/16000\""), ("\"pcma\"", "\"g729\", \"pcma\"")]
    {
        let (pbx, carrier) = (and(PBX, &format!("codecs = [{one}]")), and(CARRIER, &format!("codecs = [{other}]")));
        assert_eq!(with(&[(PBX, &pbx), (CARRIER, &carrier)]).futile, [], "{one} {other}");
    }
}

#[test]
fn a_route_for_all_is_doubted_where_none_of_its_callers_can_use_it() {
    let third =
        "[[trunks]]\n    name = \"other\"\n    listener = \"local\"\n    sources = [\"127.0.3.0/24\"]\n    CODECS\n";
    let route = "[[routes]]\n    from = \"pbx\"\n    to";
    let text = |codecs: &str| {
        let carrier = and(CARRIER, "codecs = [\"g729\"]");
        let text = GOOD.replacen(CARRIER, &carrier, 1).replacen(PBX, &and(PBX, "codecs = [\"pcma\"]"), 1);
        let text = text.replacen(BACK, "from = \"carrier\"\n    redirect = \"sip:{number}@127.0.4.1\"", 1);
        text.replacen(route, &format!("{}{}", third.replacen("CODECS", codecs, 1), "[[routes]]\n    to"), 1)
    };
    assert_eq!(doubts(&text("codecs = [\"g729\"]")).futile, [], "one caller can");
    let found = doubts(&text("codecs = [\"pcmu\"]")).futile;
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_codec_that_nobody_else_allows_is_named() {
    let (pbx, carrier) = (and(PBX, "codecs = [\"pcma\"]"), and(CARRIER, "codecs = [\"pcma\", \"g729\"]"));
    let (key, problem) = idle(&[(PBX, &pbx), (CARRIER, &carrier)]);
    assert_eq!(key, "trunks[1].codecs[1]");
    assert!(problem.contains("\"g729\" is never used"), "{problem}");
}

#[test]
fn routes_behind_others_are_named() {
    // Those that say from where take all calls; a week can be taken by hours and days.
    let all = "to = \"carrier\"\n    [[routes]]\n    redirect = \"sip:{number}@127.0.4.1\"\n    [[routes]]";
    let (key, problem) = idle(&[("to = \"carrier\"\n    [[routes]]", all)]);
    assert_eq!(key, "routes[1].prefix");
    assert!(problem.contains("routes[0], routes[2]"), "{problem}");

    let week = "from = \"pbx\"\n    when = \"mon-fri\"\n    to = \"carrier\"\n    [[routes]]\n    from = \"pbx\"\n    when = \"sat; sun\"\n    to = \"carrier\"\n    \
                [[routes]]\n    from = \"pbx\"\n    to = \"carrier\"\n    [[routes]]";
    let (key, _) = idle(&[("from = \"pbx\"\n    to = \"carrier\"\n    [[routes]]", week)]);
    assert_eq!(key, "routes[2].prefix");
    let week = week.replacen("sat; sun", "sat; sun 00:01-24:00", 1);
    assert_eq!(with(&[("from = \"pbx\"\n    to = \"carrier\"\n    [[routes]]", &week)]), Doubts::default());
}

#[test]
fn routes_of_barred_numbers_and_shut_trunks_are_named() {
    let barred = and(PBX, "limits = { inbound = { barred = [\"400\", \"95xxx\"] } }");
    let route = |prefix: &str| {
        format!(
            "from = \"pbx\"\n    to = \"carrier\"\n    [[routes]]\n    prefix = \"{prefix}\"\n    from = \"pbx\"\n    to = \"carrier\""
        )
    };
    let from = "from = \"pbx\"\n    to = \"carrier\"";
    let (key, problem) = idle(&[(PBX, &barred), (from, &route("4008"))]);
    assert_eq!(key, "routes[1].prefix");
    assert!(problem.contains("(400)"), "{problem}");
    for prefix in ["40", "95", "95123", "1"] {
        assert_eq!(with(&[(PBX, &barred), (from, &route(prefix))]), Doubts::default(), "{prefix}");
    }
    let spared = barred.replacen("95xxx\"]", "95xxx\"], barred_except = [\"40088\"]", 1);
    assert_eq!(with(&[(PBX, &spared), (from, &route("4008"))]), Doubts::default());

    let (key, _) = idle(&[(PBX, &and(PBX, "limits = { inbound = { calls = 0 } }"))]);
    assert_eq!(key, "routes[0].from");
    let (key, _) = idle(&[(CARRIER, &and(CARRIER, "limits = { outbound = { calls = 0 } }"))]);
    assert_eq!(key, "routes[0].to");
}

#[test]
fn secret_prefixes_that_admit_others_are_named_and_not_shown() {
    let secret = |way: &str, digits: &str| format!("secret_prefix = {{ {way} = \"{digits}\" }}");
    for (one, other, key) in [
        (("received", "77124"), ("received", "77124"), "trunks[1].secret_prefix.received"),
        (("received", "77124"), ("received", "771"), "trunks[1].secret_prefix.received"),
        (("received", "77124"), ("sent", "77124"), "trunks[1].secret_prefix.sent"),
    ] {
        let (pbx, carrier) = (and(PBX, &secret(one.0, one.1)), and(CARRIER, &secret(other.0, other.1)));
        let (found, problem) = idle(&[(PBX, &pbx), (CARRIER, &carrier)]);
        assert_eq!(found, key);
        assert!(problem.contains("\"pbx\"") && !problem.contains("771"), "{problem}");
    }
    for (one, other) in [(("received", "77124"), ("received", "77125")), (("sent", "77124"), ("sent", "77124"))] {
        let (pbx, carrier) = (and(PBX, &secret(one.0, one.1)), and(CARRIER, &secret(other.0, other.1)));
        assert_eq!(with(&[(PBX, &pbx), (CARRIER, &carrier)]), Doubts::default());
    }
}

#[test]
fn what_nothing_leads_to_is_named() {
    let (key, problem) = idle(&[(BACK, "from = \"carrier\"\n    redirect = \"sip:{number}@127.0.4.1\"")]);
    assert!(key == "trunks[0].name" && problem.contains("its targets get no calls"), "{key}: {problem}");
    let (key, problem) = idle(&[(BACK, "from = \"pbx\"\n    prefix = \"1\"\n    to = \"pbx\"")]);
    assert!(key == "trunks[1].name" && problem.contains("404"), "{key}: {problem}");
    let group = "[[trunk_groups]]\n    name = \"both\"\n    trunks = [\"pbx\", \"carrier\"]\n    [[routes]]";
    assert_eq!(idle(&[("[[routes]]", group)]).0, "trunk_groups[0].name");
    let used = "from = \"pbx\"\n    prefix = \"1\"\n    to = \"both\"\n    [[routes]]\n    from = \"carrier\"";
    assert_eq!(with(&[("[[routes]]", group), ("from = \"carrier\"", used)]), Doubts::default());
    let listeners = "[[listeners]]\n    name = \"local\"\n    bind = \"127.0.0.1:5060\"\n    [[listeners]]\n    name = \"idle\"\n    \
                     bind = \"127.0.0.2:5060\"\n    [[trunks]]";
    assert_eq!(idle(&[("[[trunks]]", listeners)]).0, "listeners[1].name");
    assert_eq!(idle(&[("[[routes]]", "[cdr]\n    enabled = false\n    csv = {}\n    [[routes]]")]).0, "cdr.csv");
}

#[test]
fn rules_that_make_numbers_too_long_are_named() {
    let (long, longer) = ("1".repeat(21), "1".repeat(29));
    for (rules, at) in [
        (format!("called_out = [{{ insert = \"{long}\" }}]"), None),
        (format!("called_out = [{{ insert = \"{longer}\" }}]"), Some("called_out[0]")),
        (format!("called_in = [{{ delete = 1 }}, {{ length = [9, 11], insert = \"{long}\" }}]"), Some("called_in[1]")),
        (format!("called_in = [{{ length = [9, 11], delete = 2, insert = \"{long}\" }}]"), None),
        (
            format!("called_in = [{{ edits = [{{ insert = \"{long}\" }}, {{ insert = \"12345678\" }}] }}]"),
            Some("called_in[0]"),
        ),
        (format!("caller_in = [{{ insert = \"{long}\" }}]"), Some("caller_in[0]")),
        (format!("caller_out = [{{ prefix = \"0\", insert = \"{}\" }}]", "1".repeat(20)), Some("caller_out[0]")),
    ] {
        let changes = [(CARRIER, &*and(CARRIER, &format!("numbers = {{ {rules} }}")))];
        match at {
            Some(at) => assert_eq!(idle(&changes).0, format!("trunks[1].numbers.{at}")),
            None => assert_eq!(with(&changes), Doubts::default(), "{rules}"),
        }
    }
    let route = format!("{BACK}\n    numbers = {{ called = [{{ insert = \"{longer}\" }}] }}");
    assert_eq!(idle(&[(BACK, &route)]).0, "routes[1].numbers.called[0]");
}

#[test]
fn announcements_are_named_where_they_stand() {
    let refusals =
        and(PBX, "limits = { refusals = { barred = { status = 474, announcement = \"call-restricted\" } } }");
    let refuse = "from = \"pbx\"\n    prefix = \"0900\"\n    refuse = { status = 403, announcement = \"no-line\" }\n    [[routes]]\n    from = \"pbx\"";
    let answers = "answers = [{ status = 480, to_status = 486 }, { status = 404, announcement = \"no-number\" }]";
    let text = GOOD.replacen(PBX, &format!("{refusals}\n    {answers}"), 1).replacen("from = \"pbx\"", refuse, 1);
    let named = toml::from_str::<Config>(&text).expect("a configuration").named_announcements();
    let named: Vec<(&str, &str)> = named.iter().map(|named| (named.path.as_str(), named.name.as_str())).collect();
    let expected = [
        ("signaling.routes[0].refuse.announcement", "no-line"),
        ("signaling.trunks[0].limits.refusals.barred.announcement", "call-restricted"),
        ("signaling.trunks[0].answers[1].announcement", "no-number"),
    ];
    assert_eq!(named, expected);
}
