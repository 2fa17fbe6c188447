//! `moorline preset`: what is known of carriers, printed.
#![cfg(test)]

use std::process::{Command, Output};

fn moorline(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_moorline")).args(args).output().expect("it runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[test]
fn the_list_names_each_file_its_regions_and_its_needs() {
    let output = moorline(&["preset", "list"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let list = stdout(&output);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../presets");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).expect("the presets") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        let name = name.strip_suffix(".toml").expect("a data file");
        assert!(list.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}: {list}");
        files += 1;
    }
    assert_eq!(list.lines().filter(|line| !line.starts_with(' ')).count(), files, "{list}");
    assert!(list.contains("region: beijing, shanghai, shenzhen"), "{list}");
    assert!(list.contains("needs: secret_prefix.sent_file or secret_prefix.sent"), "{list}");
}

#[test]
fn a_preset_is_printed_as_a_trunk_with_its_comments() {
    let output = moorline(&["preset", "show", "aliyun-sip", "--region", "shanghai"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let shown = stdout(&output);
    assert!(shown.contains("\nmedia_sources = [\"47.103.169.64/27\"]\n"), "{shown}");
    assert!(shown.contains("\n# media_sources = [\"39.96.156.224/27\"]\n"), "{shown}");
    assert!(shown.contains("\n[signaling.trunks.limits.outbound]\n"), "{shown}");
    assert!(shown.contains("# The SIP trunk of a cloud carrier"), "{shown}");

    let without = stdout(&moorline(&["preset", "show", "aliyun-sip"]));
    let said = |text: &str| text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
    assert_eq!(said(&shown), said(&without) + 3, "targets, sources and media_sources");
}

#[test]
fn programs_get_the_list_and_the_keys_as_json() {
    let json = |args: &[&str]| -> serde_json::Value {
        let output = moorline(&[args, &["--json"]].concat());
        assert!(output.status.success() && stdout(&output).lines().count() == 1, "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let list = json(&["preset", "list"])["presets"].as_array().cloned().expect("a list");
    let names: Vec<&str> = list.iter().filter_map(|preset| preset["name"].as_str()).collect();
    assert!(names.len() > 4 && names.contains(&"sonetel"), "{names:?}");
    for preset in &list {
        let name = preset["name"].as_str().expect("a name");
        let shown = json(&["preset", "show", name])["preset"].clone();
        assert!(shown["trunk"].as_object().is_some_and(|trunk| !trunk.is_empty()), "{shown}");
        assert_eq!((&shown["about"], &shown["needs"]), (&preset["about"], &preset["needs"]), "{shown}");
    }
    let shanghai = json(&["preset", "show", "aliyun-sip", "--region", "shanghai"])["preset"].clone();
    assert_eq!(shanghai["region"], "shanghai");
    assert_eq!(shanghai["trunk"]["media_sources"][0], "47.103.169.64/27");
    assert_eq!(shanghai["trunk"]["limits"]["outbound"]["calls_per_second"], 20);
    assert_eq!(shanghai["needs"][0]["one_of"][0], "secret_prefix.sent_file");
    assert!(json(&["preset", "show", "aliyun-sip"])["preset"]["trunk"]["media_sources"].is_null(), "no region");
}

#[test]
fn what_there_is_not_is_said_with_what_there_is() {
    for (args, words) in [
        (&["preset", "show", "alyun"][..], "aliyun-sip, aliyun-sip-customer, sonetel"),
        (&["preset", "show", "aliyun-sip", "--region", "mars"], "beijing, shanghai, shenzhen"),
        (&["preset", "show", "sonetel", "--region", "mars"], "it has none"),
    ] {
        let output = moorline(args);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}
