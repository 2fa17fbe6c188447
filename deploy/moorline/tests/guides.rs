//! The guides of `deploy/guides`: their configurations have no faults, and their commands exist.
#![cfg(test)]

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const CARRIER_EDGE: &str = include_str!("../../guides/carrier-edge.md");

/// The blocks of a language.
fn blocks(language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = CARRIER_EDGE;
    while let Some((_, after)) = rest.split_once(&format!("\n```{language}\n")) {
        let (block, after) = after.split_once("\n```\n").expect("its end");
        found.push(format!("{block}\n"));
        rest = after;
    }
    found
}

#[test]
fn configurations_of_the_guide_have_no_faults_and_say_nothing_in_vain() {
    let folder = tempfile::tempdir().expect("a folder");
    let configurations = blocks("toml");
    assert_eq!(configurations.len(), 3);
    for text in configurations {
        let name = text.lines().next().and_then(|line| line.strip_prefix("# ")).expect("the file's name").to_owned();
        // The files of secret prefixes are this test's own.
        let mut text = text.replace("/etc/moorline/", &format!("{}/", folder.path().display()));
        for secret in ["carrier.prefix", "customer-1.prefix"] {
            let path = folder.path().join(secret);
            std::fs::write(&path, "8613700\n").expect("written");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).expect("permitted");
            text = text.replace(&format!("\"{secret}\""), &format!("{path:?}"));
        }
        std::fs::write(folder.path().join(&name), text).expect("written");
        let mut check = Command::new(env!("CARGO_BIN_EXE_moorline"));
        check.args(["check", &name]).current_dir(folder.path());
        if name != "rehearsal.toml" {
            check.arg("--offline");
        }
        let output = check.output().expect("it runs");
        let said = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
        assert!(output.status.success(), "{name}: {said}");
        assert!(!said.contains("warning: ") && !said.contains("8613700"), "{name}: {said}");
    }
}

#[test]
fn configurations_of_the_guide_fit_the_units() {
    const SIGNALING: &str = include_str!("../../systemd/moorline-signaling.service");
    const MEDIA: &str = include_str!("../../systemd/moorline-media.service");
    let value = |unit: &str, key: &str| {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).expect("the key");
        line.to_owned()
    };
    // Those that are installed as the units' file.
    for text in blocks("toml").iter().filter(|text| !text.starts_with("# rehearsal.toml")) {
        let user = value(SIGNALING, "User");
        assert!(text.contains(&format!("user = {user:?}")), "{text}");
        assert!(CARRIER_EDGE.contains(&format!("useradd --system --gid moorline --shell /usr/sbin/nologin {user}\n")));
        let control = format!("control = \"/run/{}/", value(MEDIA, "RuntimeDirectory"));
        assert_eq!(text.matches(&control).count(), 2, "both processes meet there: {text}");
        assert!(text.contains(&format!("command = \"/run/{}/", value(SIGNALING, "RuntimeDirectory"))), "{text}");
        assert!(text.contains(&format!("state = \"/var/lib/{}\"", value(SIGNALING, "StateDirectory"))), "{text}");
    }
    for unit in [SIGNALING, MEDIA] {
        assert!(value(unit, "ExecStart").ends_with(" --config /etc/moorline/edge.toml"));
        assert!(CARRIER_EDGE.contains(&format!("nologin {}\n", value(unit, "User"))));
        assert!(CARRIER_EDGE.contains(&format!("groupadd --system {}\n", value(unit, "Group"))));
    }
}

#[test]
fn commands_of_the_guide_exist() {
    let mut commands = 0;
    for block in blocks("sh") {
        for line in block.lines().filter(|line| line.starts_with("moorline ")) {
            let words = line.split_whitespace().skip(1).take_while(|word| *word != ">");
            let output =
                Command::new(env!("CARGO_BIN_EXE_moorline")).args(words).arg("--help").output().expect("it runs");
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            commands += 1;
        }
    }
    assert!(commands >= 9, "{commands}");
}
