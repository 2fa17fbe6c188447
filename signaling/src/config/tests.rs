use super::{Config, MediaNatConfig};
use moorline_b2bua::Wall;
use moorline_b2bua::policy::{MediaNat, Way};
use moorline_sip::Transport;

const GOOD: &str = r#"
    node = 3
    lease_s = 30
    [[listeners]]
    name = "lan"
    bind = "127.0.0.1:5060"
    transports = ["udp"]
    [[listeners]]
    name = "wan"
    bind = "127.0.0.2:5060"
    advertised = "203.0.113.9:5060"
    [[trunks]]
    name = "pbx"
    listener = "lan"
    sources = ["127.0.0.0/8"]
    [[trunks]]
    name = "carrier"
    listener = "wan"
    targets = ["203.0.113.1:5060", "203.0.113.2:5060"]
    media_range = "outside"
    media_sources = ["203.0.113.64/27"]
    media_nat = "off"
    [[routes]]
    to = "carrier"
    [[routes]]
    prefix = "1"
    from = "carrier"
    to = "carrier"
    [limits]
    ring_s = 30
"#;

fn config(text: &str) -> Config {
    toml::from_str(text).expect("a configuration")
}

/// The first fault of `GOOD` with one replacement: its key and its text.
fn fault(old: &str, new: &str) -> (String, String) {
    assert!(GOOD.contains(old), "{old}");
    let faults = config(&GOOD.replacen(old, new, 1)).policy().expect_err("a fault");
    assert!(!faults[0].remedy.is_empty());
    (faults[0].path.clone(), faults[0].to_string())
}

#[test]
fn names_become_positions() {
    let policy = config(GOOD).policy().expect("no faults");
    assert_eq!(policy.trunks[1].listener, 1);
    assert_eq!(policy.trunks[1].media_nat, MediaNat::Off);
    assert_eq!(policy.trunks[0].media_range, "edge");
    let decided = |called: &[u8]| policy.routes.find(1, called, b"", Wall::default().local(0)).map(|found| &found.to);
    assert_eq!((decided(b"1"), decided(b"2")), (Some(&Way::Trunk(1)), Some(&Way::Trunk(1))));
    assert_eq!(policy.listeners[0].advertised, policy.listeners[0].bind);
    assert_eq!(policy.listeners[1].advertised, "203.0.113.9:5060".parse().expect("an address"));
    assert_eq!(policy.limits.ring_ns, 30_000_000_000);
    assert_eq!(policy.limits.media_timeout_ns, 60_000_000_000);
}

#[test]
fn what_is_left_out_has_a_default() {
    let config = config("");
    assert_eq!(config, Config::default());
    assert!(config.admin.ip().is_loopback());
    assert_eq!(MediaNatConfig::default(), MediaNatConfig::Auto);
    let faults = config.policy().expect_err("nobody can call");
    assert_eq!(faults[0].path, "signaling.trunks");
}

#[test]
fn listeners_serve_udp_and_tcp_unless_they_say_otherwise() {
    let policy = config(GOOD).policy().expect("no faults");
    assert_eq!(policy.listeners[0].transports, [Transport::Udp]);
    assert_eq!(policy.listeners[1].transports, [Transport::Udp, Transport::Tcp]);
    assert_eq!(config("workers = 5").workers(), 5);
    assert!((1..=16).contains(&config("").workers()));
}

#[test]
fn unknown_keys_are_refused() {
    for text in ["colour = 1", "[limits]\ncals = 3", "[[routes]]\nto = \"x\"\nprefx = \"1\""] {
        assert!(toml::from_str::<Config>(text).is_err(), "{text}");
    }
}

/// A line of `GOOD` about transports, and what may stand in its place.
const LAN: &str = r#"transports = ["udp"]"#;
const TLS: &str = r#"transports = ["tls"]
    tls = { certificate = "/nowhere/certificate.pem", key = "/nowhere/key.pem" }"#;
const PER_SOURCE: &str = "signaling.overload.messages_per_second_per_source";

#[test]
fn each_fault_names_its_key() {
    let cases = [
        (r#"listener = "wan""#, r#"listener = "want""#, "signaling.trunks[1].listener"),
        (r#"name = "wan""#, r#"name = "lan""#, "signaling.listeners[1].name"),
        (r#"bind = "127.0.0.1:5060""#, r#"bind = "127.0.0.2:5060""#, "signaling.listeners[1].bind"),
        (r#"bind = "127.0.0.1:5060""#, r#"bind = "127.0.0.1:0""#, "signaling.listeners[0].bind"),
        (r#"bind = "127.0.0.1:5060""#, r#"bind = "0.0.0.0:5060""#, "signaling.listeners[0].bind"),
        (r#""203.0.113.9:5060""#, r#""0.0.0.0:5060""#, "signaling.listeners[1].advertised"),
        (r#""203.0.113.9:5060""#, r#""[2001:db8::1]:5060""#, "signaling.listeners[1].advertised"),
        (r#"sources = ["127.0.0.0/8"]"#, "", "signaling.trunks[0]"),
        (r#""203.0.113.2:5060""#, r#""[2001:db8::1]:5060""#, "signaling.trunks[1].targets[1]"),
        (r#""203.0.113.2:5060""#, r#""127.0.0.1:5060""#, "signaling.trunks[1].targets[1]"),
        (r#""203.0.113.2:5060""#, r#""203.0.113.2:0""#, "signaling.trunks[1].targets[1]"),
        (r#"to = "carrier""#, r#"to = "nobody""#, "signaling.routes[0].to"),
        (r#"to = "carrier""#, r#"to = "pbx""#, "signaling.routes[0].to"),
        (r#"from = "carrier""#, r#"from = "nobody""#, "signaling.routes[1].from"),
        ("ring_s = 30", "ring_s = 0", "signaling.limits.ring_s"),
        ("lease_s = 30", "lease_s = 601", "signaling.lease_s"),
        ("lease_s = 30", r#"admin = "192.0.2.1:9060""#, "signaling.admin"),
        ("lease_s = 30", "dns = { timeout_ms = 0 }", "signaling.dns.timeout_ms"),
        ("lease_s = 30", r#"dns = { servers = ["0.0.0.0:53"] }"#, "signaling.dns.servers[0]"),
        ("lease_s = 30", r#"user = "root""#, "signaling.user"),
        ("lease_s = 30", r#"control = """#, "signaling.control"),
        ("lease_s = 30", "workers = 0", "signaling.workers"),
        ("lease_s = 30", "workers = 17", "signaling.workers"),
        ("[limits]", "[overload]\nqueue = 0\n[limits]", "signaling.overload.queue"),
        ("[limits]", "[overload]\nretry_after_s = 0\n[limits]", "signaling.overload.retry_after_s"),
        ("[limits]", "[overload]\nmessages_per_second_per_source = 0\n[limits]", PER_SOURCE),
        ("[limits]", "[streams]\nidle_s = 0\n[limits]", "signaling.streams.idle_s"),
        ("[limits]", "[streams]\nconnections = 0\n[limits]", "signaling.streams.connections"),
        (LAN, "transports = []", "signaling.listeners[0].transports"),
        (LAN, r#"transports = ["udp", "udp"]"#, "signaling.listeners[0].transports"),
        (LAN, r#"transports = ["tcp", "tls"]"#, "signaling.listeners[0].transports"),
        (LAN, r#"transports = ["tls"]"#, "signaling.listeners[0].transports"),
        (LAN, "tls = { certificate = \"/x\", key = \"/y\" }", "signaling.listeners[0].tls"),
        (LAN, TLS, "signaling.listeners[0].tls.certificate"),
    ];
    for (old, new, path) in cases {
        let (found, text) = fault(old, new);
        assert_eq!(found, path, "{new}: {text}");
    }
}

#[test]
fn two_routes_for_the_same_calls_are_a_fault() {
    let (path, text) = fault("[limits]", "[[routes]]\nto = \"carrier\"\n[limits]");
    assert_eq!(path, "signaling.routes[2].prefix");
    assert!(text.contains("routes[0]"), "{text}");
}

#[test]
fn two_trunks_with_the_same_source_are_a_fault() {
    let (path, text) = fault(
        "[[routes]]",
        "[[trunks]]\nname = \"other\"\nlistener = \"lan\"\nsources = [\"127.1.2.3/8\"]\n[[routes]]",
    );
    assert_eq!(path, "signaling.trunks[2].sources[0]");
    assert!(text.contains("\"pbx\""), "{text}");
}

#[test]
fn trunks_with_the_same_source_are_told_apart_by_what_they_show() {
    let trunk = |name: &str, identities: &str| {
        let place = "listener = \"lan\"\nsources = [\"192.0.2.0/24\"]\ntargets = [\"192.0.2.9:5061\"]\n";
        format!("[[trunks]]\nname = {name:?}\n{place}tls_identities = {identities}\n")
    };
    let shared = |first: &str, second: &str| {
        let text = GOOD.replacen("[[routes]]", &(trunk("a", first) + &trunk("b", second) + "[[routes]]"), 1);
        let faults = config(&text).policy().expect_err("the listener is none of TLS alone");
        let of_both = faults.iter().filter(|fault| fault.problem.contains("fit both")).count();
        assert!(of_both == 0 || of_both == 2, "sources and targets alike: {faults:?}");
        of_both == 2
    };
    assert!(!shared("[\"a.example\"]", "[\"b.example\"]"));
    assert!(!shared("[\"a.example\", \"c.example\"]", "[]") && !shared("[]", "[\"b.example\"]"));
    assert!(shared("[]", "[]") && shared("[\"a.example\", \"c.example\"]", "[\"b.example\", \"C.Example\"]"));
}

#[test]
fn every_fault_is_found_at_once() {
    let text = GOOD.replace("listener = \"lan\"", "listener = \"x\"").replace("ring_s = 30", "ring_s = 0");
    let faults = config(&text).policy().expect_err("faults");
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn trunks_with_several_targets_are_probed() {
    let of = |text: &str| config(text).policy().expect("no faults").trunks[1].probe_ns / 1_000_000_000;
    assert_eq!(of(GOOD), 30);
    assert_eq!(of(&GOOD.replace(", \"203.0.113.2:5060\"", "")), 0);
    assert_eq!(of(&GOOD.replace("media_nat = \"off\"", "probe_s = 10")), 10);
    assert_eq!(of(&GOOD.replace("media_nat = \"off\"", "probe_s = 0")), 0);
    let (key, _) = fault("media_nat = \"off\"", "probe_s = 3601");
    assert_eq!(key, "signaling.trunks[1].probe_s");
}

#[test]
fn long_requests_go_over_tcp_unless_told_otherwise() {
    use moorline_b2bua::policy::Large;
    let of = |lines: &str| config(&GOOD.replace("media_nat = \"off\"", lines)).policy().expect("fine").trunks[1].large;
    assert_eq!(of(""), Large::Tcp { above: 1300 });
    assert_eq!(of("max_udp_bytes = 1400"), Large::Tcp { above: 1400 });
    assert_eq!(of("large = \"udp\""), Large::Udp);
    let (key, _) = fault("media_nat = \"off\"", "max_udp_bytes = 10");
    assert_eq!(key, "signaling.trunks[1].max_udp_bytes");
}

#[test]
fn what_dialogs_may_do_is_read_and_checked() {
    use moorline_b2bua::policy::{Dialogs, ReliableProvisional, SessionTimers};
    let trunk = |lines: &str| GOOD.replacen("media_nat = \"off\"", lines, 1);
    let of = |lines: &str| config(&trunk(lines)).policy().expect("no faults").trunks[1].dialogs.clone();
    assert_eq!(of(""), Dialogs::default());
    assert_eq!(of("reliable_provisional = \"required\"").reliable_provisional, ReliableProvisional::Required);
    assert_eq!(of("session_timer = { enabled = false }").session_timers, None);
    assert!(!of("fax = false").fax);
    assert!(!of("video = false").video);
    assert!(of("stun = \"relay\"").stun && !of("stun = \"refuse\"").stun);
    assert_eq!(of("refer = \"handle\"").refer, moorline_b2bua::policy::Refer::Handle);
    assert_eq!(of("refer = \"refuse\"").refer, moorline_b2bua::policy::Refer::Refuse);
    assert!(!of("unknown_methods = \"refuse\"").unknown_methods);
    let timers = of("session_timer = { refresh_s = 900 }").session_timers;
    assert_eq!(timers, Some(SessionTimers { refresh_s: 900, min_s: 90 }));
    let (key, _) = fault("media_nat = \"off\"", "session_timer = { min_s = 60 }");
    assert_eq!(key, "signaling.trunks[1].session_timer.min_s");
    let (key, _) = fault("media_nat = \"off\"", "session_timer = { refresh_s = 100, min_s = 120 }");
    assert_eq!(key, "signaling.trunks[1].session_timer.refresh_s");
}

#[test]
fn answers_codecs_and_private_media_are_read_and_checked() {
    use moorline_b2bua::policy::PrivateMedia;
    let trunk = |lines: &str| GOOD.replacen("media_nat = \"off\"", lines, 1);
    let of = |lines: &str| config(&trunk(lines)).policy().expect("no faults").trunks[1].clone();
    let plain = of("");
    assert_eq!((plain.private_media, plain.no_answer_ns), (PrivateMedia::Latch, 0));
    assert!(plain.codecs.is_any() && plain.answers.received.0.is_empty());
    let made = of("private_media = \"refuse\"\nno_answer_s = 15\ncodecs = [\"PCMA\", \"speex/16000\"]\n\
        answers = [{ status = 480, reason = \"no (\\\\w+)\", to_status = 402, to_reason = \"No $1\" }, \
        { on = \"sent\", status = \"5xx\", to_status = 486 }]");
    assert_eq!((made.private_media, made.no_answer_ns), (PrivateMedia::Refuse, 15_000_000_000));
    let mapped = made.answers.received.map(480, b"no money").unwrap();
    assert_eq!((mapped.status, &mapped.reason[..], mapped.announcement), (402, &b"No money"[..], None));
    let mapped = made.answers.sent.map(503, b"x").unwrap();
    assert_eq!((mapped.status, &mapped.reason[..]), (486, &b"Busy Here"[..]));
    assert!(!made.codecs.is_any());
    for (line, key) in [
        ("codecs = [\"a b\"]", "codecs[0]"),
        ("codecs = [\"pcma\", \"pcma\"]", "codecs[1]"),
        ("codecs = [\"telephone-event\"]", "codecs"),
        ("answers = [{ status = 200, to_status = 480 }]", "answers[0].status"),
        ("answers = [{ status = \"2xx\", to_status = 480 }]", "answers[0].status"),
        ("answers = [{ to_status = 200 }]", "answers[0].to_status"),
        ("answers = [{ status = 480 }]", "answers[0]"),
        ("answers = [{ reason = \"(\", to_status = 480 }]", "answers[0].reason"),
        ("answers = [{ reason = \"a\", to_reason = \"$1\" }]", "answers[0].to_reason"),
        ("answers = [{ to_reason = \"a\\nb\" }]", "answers[0].to_reason"),
    ] {
        let (found, text) = fault("media_nat = \"off\"", line);
        assert_eq!(found, format!("signaling.trunks[1].{key}"), "{text}");
    }
}

/// The first fault of `GOOD` with a line in the carrier's table.
fn carrier_fault(line: &str) -> (String, String) {
    let (key, text) = fault("media_nat = \"off\"", line);
    (key.replace("signaling.trunks[1].", ""), text)
}

#[test]
fn secret_prefixes_are_read_from_here_or_a_file_and_never_shown() {
    use moorline_b2bua::policy::WithoutPrefix;
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("prefix");
    std::fs::write(&path, "88991\n").expect("written");
    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("permitted");
    mode(0o640);
    let line = format!("secret_prefix = {{ received = \"77124\", sent_file = {path:?}, without = \"silence\" }}");
    let good = config(&GOOD.replacen("media_nat = \"off\"", &line, 1));
    assert!(!format!("{good:?}").contains("77124"));
    let policy = good.policy().expect("no faults");
    let secrets = &policy.trunks[1].secret_prefix;
    assert!(secrets.received.is_some() && secrets.sent.is_some() && secrets.without == WithoutPrefix::Silence);
    assert!(!format!("{policy:?}").contains("77124") && !format!("{policy:?}").contains("88991"));
    let refuse = line.replace("\"silence\"", "{ status = 470, reason = \"CONFIG_ERROR\" }");
    let policy = config(&GOOD.replacen("media_nat = \"off\"", &refuse, 1)).policy().expect("no faults");
    let without = WithoutPrefix::Refuse { status: 470, reason: "CONFIG_ERROR".into() };
    assert_eq!(policy.trunks[1].secret_prefix.without, without);
    for (wrong, key) in [
        (refuse.replace("470", "200"), "secret_prefix.without.status"),
        (refuse.replace("\"CONFIG_ERROR\"", "\"x\", announcement = \"y\""), "secret_prefix.without.announcement"),
    ] {
        assert_eq!(carrier_fault(&wrong).0, key);
    }
    mode(0o644);
    let (key, text) = carrier_fault(&line);
    assert!(key == "secret_prefix.sent_file" && text.contains("others may read"), "{key}: {text}");
    for (line, key) in [
        ("secret_prefix = { sent = \"77124\", sent_file = \"/nowhere\" }", "secret_prefix.sent"),
        ("secret_prefix = { received = \"77 124\" }", "secret_prefix.received"),
        ("secret_prefix = { received = \"7\" }", "secret_prefix.received"),
        (
            "secret_prefix = { received = \"77124\" }\n[trunks.authentication]\nrealm = \"r\"\nusers = [{ name = \"a\", password = \"b\" }]",
            "secret_prefix.received",
        ),
    ] {
        let (found, text) = carrier_fault(line);
        assert_eq!(found, key, "{text}");
        assert!(!text.contains("77124") && !text.contains("77 124"), "{text}");
    }
    // In the place of the table, or of the file, it is not quoted either.
    let text = GOOD.replacen("media_nat = \"off\"", "secret_prefix = \"77124\"", 1);
    let error = toml::from_str::<Config>(&text).expect_err("a fault");
    assert!(!error.message().contains("7124"), "{}", error.message());
    let (key, text) = carrier_fault("secret_prefix = { sent_file = \"77124\" }");
    assert!(key == "secret_prefix.sent_file" && !text.contains("77124"), "{text}");
    // Written without quotes it is a fault that does not quote it.
    for written in ["77124", "7.7124", "true", "[\"77124\"]", "{ x = 77124 }"] {
        for line in [format!("secret_prefix = {{ sent = {written} }}"), format!("secret_prefix = {written}")] {
            let text = GOOD.replacen("media_nat = \"off\"", &line, 1);
            let error = toml::from_str::<Config>(&text).expect_err("a fault");
            assert!(!error.message().contains("7124"), "{}", error.message());
        }
    }
}

#[test]
fn header_rules_are_read_and_checked() {
    let rules = "headers = [{ on = \"sent\", name = \"X-Region\", add = \"north\", methods = [\"INVITE\"] }, \
        { name = \"User-Agent\", remove = true, messages = \"responses\" }, \
        { name = \"P-Asserted-Identity\", pattern = \"sip:(.*)@\", replace = \"sip:0$1@\" }]";
    let policy = config(&GOOD.replacen("media_nat = \"off\"", rules, 1)).policy().expect("no faults");
    let headers = &policy.trunks[1].headers;
    assert_eq!((headers.sent.len(), headers.received.len()), (1, 2));
    assert!(!headers.received[0].requests && headers.received[0].responses);
    for (rule, key) in [
        ("{ name = \"Call-ID\", remove = true }", "headers[0].name"),
        ("{ name = \"t\", add = \"x\" }", "headers[0].name"),
        ("{ name = \"X Y\", add = \"x\" }", "headers[0].name"),
        ("{ name = \"X-Y\", add = \"a\\r\\nEvil: 1\" }", "headers[0].add"),
        ("{ name = \"X-Y\", pattern = \"(\", replace = \"x\" }", "headers[0].pattern"),
        ("{ name = \"X-Y\", pattern = \"a\", replace = \"$1\" }", "headers[0].replace"),
        ("{ name = \"X-Y\", pattern = \"a\", replace = \"a\\nb\" }", "headers[0].replace"),
        ("{ name = \"X-Y\", pattern = \"a\" }", "headers[0]"),
        ("{ name = \"X-Y\", add = \"1\", remove = true }", "headers[0]"),
        ("{ name = \"X-Y\", remove = true, methods = [\"invite\"] }", "headers[0].methods"),
    ] {
        let (found, text) = carrier_fault(&format!("headers = [{rule}]"));
        assert_eq!(found, key, "{text}");
    }
}

#[test]
fn how_a_trunk_is_spoken_to_is_read_and_checked() {
    use moorline_b2bua::policy::{Link, Relay};
    let of = |lines: &str| {
        let policy = config(&GOOD.replacen("media_nat = \"off\"", lines, 1)).policy().expect("no faults");
        (policy.trunks[1].link, policy.trunks[1].relay)
    };
    assert_eq!(of(""), (Link::default(), Relay::default()));
    let advertised = Some("203.0.113.10:5070".parse().expect("an address"));
    let lines = "advertised = \"203.0.113.10:5070\"\nrport = false\ndns = false\nrelay = { outbound = false }";
    assert_eq!(of(lines), (Link { advertised, rport: false, dns: false }, Relay { inbound: true, outbound: false }));
    for (lines, key) in [
        ("advertised = \"0.0.0.0:5060\"", "advertised"),
        ("advertised = \"[2001:db8::1]:5060\"", "advertised"),
        ("tls_identities = [\"pbx.example\"]", "tls_identities"),
        ("tls_identities = [\"a b\"]", "tls_identities[0]"),
    ] {
        assert_eq!(carrier_fault(lines).0, key);
    }
    let named = GOOD.replace("203.0.113.2:5060", "carrier.example").replacen("media_nat", "dns = false\nmedia_nat", 1);
    let faults = config(&named).policy().expect_err("a fault");
    assert_eq!(faults[0].path, "signaling.trunks[1].targets[1]");
}
