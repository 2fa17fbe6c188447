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
