use super::{BUILT_IN, BUILT_IN_NAME, ConfigError, Configuration, Fault};

/// The faults of the built-in configuration with one replacement.
fn faults(old: &str, new: &str) -> Vec<Fault> {
    assert!(BUILT_IN.contains(old), "{old}");
    match Configuration::parse("test.toml", &BUILT_IN.replacen(old, new, 1)) {
        Err(ConfigError::Faults { faults, .. }) => faults,
        other => panic!("faults were expected: {other:?}"),
    }
}

/// The line of the built-in configuration that holds `text`.
fn line_of(text: &str) -> usize {
    1 + BUILT_IN.lines().position(|line| line.contains(text)).expect("the text")
}

fn one(old: &str, new: &str) -> Fault {
    let mut faults = faults(old, new);
    assert_eq!(faults.len(), 1, "{faults:?}");
    faults.remove(0)
}

#[test]
fn the_built_in_configuration_has_no_faults_and_is_this_users_own() {
    let configuration = Configuration::load(None).expect("no faults");
    assert_eq!(configuration.name, BUILT_IN_NAME);
    assert_eq!(configuration.signaling.control, configuration.media.control);
    let directory = configuration.private_directory.expect("a directory to make");
    assert!(configuration.media.control.starts_with(directory));
}

#[test]
fn a_control_path_said_once_is_meant_for_both() {
    let text = BUILT_IN.replacen("[media]", "[media]\ncontrol = \"/run/x.sock\"", 1);
    let configuration = Configuration::parse("test.toml", &text).expect("no faults");
    assert_eq!(configuration.signaling.control.to_str(), Some("/run/x.sock"));
    assert_eq!(configuration.private_directory, None);
}

#[test]
fn a_wrong_key_is_named_with_its_place_and_the_right_one() {
    let fault = one("targets = [\"127.0.0.1:5080\"]", "tragets = [\"127.0.0.1:5080\"]\ntargets = [\"127.0.0.1:5080\"]");
    assert_eq!((fault.line, fault.column), (line_of("targets = "), 1));
    assert_eq!(fault.key, "signaling.trunks[1].tragets");
    assert!(fault.problem.contains("tragets"), "{fault:?}");
    assert_eq!(fault.remedy, "did you mean `targets`?");
}

#[test]
fn an_unknown_section_is_named() {
    let fault = one("[media]", "[meida]");
    assert_eq!((fault.line, fault.key.as_str()), (line_of("[media]"), "meida"));
    assert_eq!(fault.remedy, "did you mean `media`?");
}

#[test]
fn a_wrong_type_is_named_with_its_value() {
    let fault = one("first_port = 16384", "first_port = \"16384\"");
    assert_eq!((fault.line, fault.column), (line_of("first_port"), "first_port = ".len() + 1));
    assert_eq!(fault.key, "media.ranges[0].first_port");
    assert!(fault.remedy.contains("whole number"), "{fault:?}");
}

#[test]
fn an_address_that_is_none_is_explained() {
    let fault = one("bind = \"127.0.0.1:5060\"", "bind = \"127.0.0.1\"");
    assert_eq!((fault.line, fault.key.as_str()), (line_of("bind ="), "signaling.listeners[0].bind"));
    assert!(fault.remedy.contains("127.0.0.1:5060"), "{fault:?}");
    let fault = one("sources = [\"127.0.0.0/8\"]", "sources = [\"localhost\"]");
    assert_eq!((fault.line, fault.key.as_str()), (line_of("sources ="), "signaling.trunks[0].sources[0]"));
    assert!(fault.remedy.contains("192.0.2.0/24"), "{fault:?}");
}

#[test]
fn a_missing_key_is_named() {
    let fault = one("bind = \"127.0.0.1:5060\"\n", "");
    assert!(fault.problem.contains("bind"), "{fault:?}");
    assert!(fault.remedy.contains("`bind = ...`"), "{fault:?}");
    assert!(fault.line >= line_of("[[signaling.listeners]]") && fault.line <= line_of("name = \"local\""), "{fault:?}");
}

#[test]
fn text_that_is_not_toml_is_refused_with_the_line() {
    let fault = &faults("first_port = 16384", "first_port 16384")[0];
    assert_eq!(fault.line, line_of("first_port"));
    assert!(fault.problem.starts_with("not TOML"), "{fault:?}");
}

#[test]
fn an_unknown_trunk_is_named_with_those_there_are() {
    let fault = one("to = \"carrier\"", "to = \"carier\"");
    assert_eq!((fault.line, fault.key.as_str()), (line_of("to = "), "signaling.routes[0].to"));
    assert!(fault.problem.contains("\"carier\""), "{fault:?}");
    assert_eq!(fault.remedy, "use \"customer\" or \"carrier\"");
}

#[test]
fn a_range_that_neither_process_could_find_alone() {
    let fault = one("media_range = \"edge\"", "media_range = \"egde\"");
    assert_eq!((fault.line, fault.key.as_str()), (line_of("media_range"), "signaling.trunks[0].media_range"));
    assert_eq!(fault.remedy, "use \"edge\"");
}

#[test]
fn the_sections_must_not_take_the_same_address() {
    let fault = one("admin = \"127.0.0.1:9061\"", "admin = \"127.0.0.1:9060\"");
    assert_eq!((fault.line, fault.key.as_str()), (line_of("127.0.0.1:9061"), "media.admin"));
    let fault = one("bind = \"127.0.0.1:5060\"", "bind = \"127.103.169.65:20000\"");
    assert_eq!((fault.line, fault.key.as_str()), (line_of("bind ="), "signaling.listeners[0].bind"));
}

#[test]
fn a_user_needs_a_socket_that_it_can_reach() {
    let fault = one("[signaling]", "[signaling]\nuser = \"nobody\"");
    assert_eq!((fault.line, fault.key.as_str()), (line_of("[signaling]") + 1, "signaling.user"));
    assert!(fault.remedy.contains("control"), "{fault:?}");
}

#[test]
fn the_user_that_signaling_becomes_is_let_in_by_media() {
    let text = BUILT_IN.replacen("[signaling]", "[signaling]\nuser = \"nobody\"", 1).replacen(
        "[media]",
        "[media]\ncontrol = \"/run/x.sock\"",
        1,
    );
    let configuration = Configuration::parse("test.toml", &text).expect("no faults");
    assert_eq!(configuration.media.control_users, ["nobody"]);
}

#[test]
fn announcements_must_be_built_in_or_in_the_directory() {
    const ROUTES: &str = "[[signaling.routes]]";
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("out-of-hours.al"), [0xd5; 800]).expect("written");
    let refuse = |name: &str| {
        format!("{ROUTES}\nprefix = \"9\"\nrefuse = {{ status = 403, announcement = \"{name}\" }}\n{ROUTES}")
    };
    let own = |text: String| text.replacen("[media]", &format!("[media]\nannouncements = {:?}", folder.path()), 1);
    let parsed = |text: String| Configuration::parse("test.toml", &text);
    assert!(parsed(BUILT_IN.replacen(ROUTES, &refuse("call-restricted"), 1)).is_ok(), "built in");
    assert!(parsed(own(BUILT_IN.replacen(ROUTES, &refuse("out-of-hours"), 1))).is_ok(), "in the directory");
    let fault = one(ROUTES, &refuse("out-of-hours"));
    assert_eq!((fault.line, fault.key.as_str()), (line_of(ROUTES) + 2, "signaling.routes[0].refuse.announcement"));
    assert!(fault.remedy.contains("out-of-hours.wav"), "{fault:?}");
    let fault =
        one("name = \"carrier\"", "name = \"carrier\"\nanswers = [{ status = 404, announcement = \"unheard\" }]");
    assert_eq!(fault.key, "signaling.trunks[1].answers[0].announcement");
    std::fs::write(folder.path().join("broken.wav"), b"RIFF").expect("written");
    assert!(
        parsed(own(BUILT_IN.replacen(ROUTES, &refuse("out-of-hours"), 1))).is_ok(),
        "media says what is wrong there"
    );
}

#[test]
fn what_is_no_text_is_told_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("edge.toml");
    std::fs::write(&path, [BUILT_IN.as_bytes(), b"# caf\xe9"].concat()).expect("written");
    let Err(ConfigError::Faults { faults, .. }) = Configuration::load(Some(&path)) else { panic!("it is Latin-1") };
    assert_eq!((faults[0].line, faults[0].column), (BUILT_IN.lines().count() + 1, 6));
    let endless = Configuration::load(Some(std::path::Path::new("/dev/zero"))).expect_err("endless").to_string();
    assert!(endless.contains("longer than"), "{endless}");
    // As editors of another system write it.
    std::fs::write(&path, format!("\u{feff}{}", BUILT_IN.replace('\n', "\r\n"))).expect("written");
    Configuration::load(Some(&path)).expect("no faults");
}

#[test]
fn overlapping_ranges_are_refused() {
    let more = "last_port = 32767\n[[media.ranges]]\nname = \"more\"\nnetwork = \"127.103.169.80/28\"\n\
                first_port = 20000\nlast_port = 30000";
    let fault = one("last_port = 32767", more);
    assert!(fault.key.starts_with("media.ranges[1]"), "{fault:?}");
    assert!(fault.line > line_of("last_port"), "{fault:?}");
}

#[test]
fn a_list_is_no_table() {
    const TRUNK: &str = "name = \"customer\"";
    for (old, new, key) in [
        ("[signaling]", "[signaling]\nlimits = []", "signaling.limits"),
        ("[signaling]", "[signaling]\noverload = [1, 2]", "signaling.overload"),
        ("[signaling]", "[signaling]\nradius = []", "signaling.radius"),
        ("[signaling]", "[signaling]\nblacklist = [[\"1\", \"2\"]]", "signaling.blacklist[0]"),
        ("[signaling]", "[signaling]\ncdr.json = []", "signaling.cdr.json"),
        (TRUNK, "name = \"customer\"\nsession_timer = []", "signaling.trunks[0].session_timer"),
        (TRUNK, "name = \"customer\"\nsecret_prefix = []", "signaling.trunks[0].secret_prefix"),
        (TRUNK, "name = \"customer\"\nlimits.inbound = []", "signaling.trunks[0].limits.inbound"),
        (TRUNK, "name = \"customer\"\nlimits.refusals.barred = [403]", "signaling.trunks[0].limits.refusals.barred"),
        (TRUNK, "name = \"customer\"\nnumbers.called_in = [[]]", "signaling.trunks[0].numbers.called_in[0]"),
        (TRUNK, "name = \"customer\"\nanswers = [[]]", "signaling.trunks[0].answers[0]"),
        ("to = \"carrier\"", "to = [[\"carrier\", 0, 1]]", "signaling.routes[0].to[0]"),
        ("to = \"carrier\"", "to = \"carrier\"\nnumbers = []", "signaling.routes[0].numbers"),
        ("[media]", "[media]\nxdp = []", "media.xdp"),
    ] {
        let fault = one(old, new);
        assert_eq!(fault.key, key, "{fault:?}");
        assert!(fault.remedy.starts_with("write a table"), "{fault:?}");
    }
    for text in ["signaling = []", "signaling.trunks = [[\"a\", \"b\"]]", "media.ranges = [[\"a\", \"127.0.0.0/8\"]]"] {
        assert!(Configuration::parse("test.toml", text).is_err(), "{text}");
    }
}

#[test]
fn every_wrong_key_is_found_at_once() {
    let text = BUILT_IN
        .replacen("first_port = 16384", "frist_port = 1\nfirst_port = 16384", 1)
        .replacen("sources = [\"127.0.0.0/8\"]", "sources = 3", 1)
        .replacen("[media]", "[media]\ncolour = 1", 1);
    let Err(ConfigError::Faults { faults, .. }) = Configuration::parse("test.toml", &text) else {
        panic!("faults were expected")
    };
    let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
    assert_eq!(keys, ["signaling.trunks[0].sources", "media.colour", "media.ranges[0].frist_port"]);
}

#[test]
fn the_text_form_has_file_line_and_column_first() {
    let text = BUILT_IN.replacen("to = \"carrier\"", "to = \"x\"", 1);
    let error = Configuration::parse("edge.toml", &text).expect_err("a fault").to_string();
    assert!(error.starts_with(&format!("edge.toml:{}:", line_of("to = "))), "{error}");
    assert!(error.contains("\n    remedy: "), "{error}");
}
