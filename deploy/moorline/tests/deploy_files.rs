//! The files that packagers and operators take from `deploy/`.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::Command;

const UNITS: [&str; 2] = ["moorline-signaling.service", "moorline-media.service"];

fn deploy(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn unit(name: &str) -> String {
    std::fs::read_to_string(deploy("systemd").join(name)).expect("the unit")
}

/// The values of a key, in the order of the file.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    text.lines().filter_map(|line| line.split_once('=')).filter(|(found, _)| *found == key).map(|(_, v)| v).collect()
}

#[test]
fn neither_process_is_root_or_can_become_it() {
    for name in UNITS {
        let text = unit(name);
        let user = values(&text, "User");
        assert_eq!(user.len(), 1, "{name}");
        assert!(user[0].starts_with("moorline-"), "{name}: {user:?}");
        assert_eq!(values(&text, "NoNewPrivileges"), ["yes"], "{name}");
        assert_eq!(values(&text, "ProtectSystem"), ["strict"], "{name}");
        assert_eq!(values(&text, "Restart"), ["always"], "{name}");
        assert_eq!(values(&text, "StartLimitIntervalSec"), ["0"], "{name}: always is not five times");
    }
    assert_eq!(values(&unit(UNITS[0]), "CapabilityBoundingSet"), [""]);
    // What shared media sockets need, and no more.
    for key in ["CapabilityBoundingSet", "AmbientCapabilities"] {
        assert_eq!(values(&unit(UNITS[1]), key), ["CAP_BPF CAP_NET_ADMIN CAP_NET_RAW"]);
    }
    assert_ne!(values(&unit(UNITS[0]), "User"), values(&unit(UNITS[1]), "User"), "each has a user of its own");
}

/// Next hops are asked for and followed, packets sent to them, and queues taken.
#[test]
fn media_may_have_the_sockets_that_its_datapaths_open() {
    let text = unit(UNITS[1]);
    let allowed = values(&text, "RestrictAddressFamilies").join(" ");
    for family in ["AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET", "AF_XDP"] {
        assert!(allowed.split_whitespace().any(|word| word == family), "{family} is not in {allowed}");
    }
}

#[test]
fn both_processes_meet_at_one_socket() {
    let example = std::fs::read_to_string(deploy("examples/edge.toml")).expect("the example");
    let (signaling, media) = (unit(UNITS[0]), unit(UNITS[1]));
    assert_eq!(values(&media, "RuntimeDirectory"), ["moorline"]);
    assert_eq!(values(&media, "Group"), values(&signaling, "Group"));
    assert_eq!(example.matches("control = \"/run/moorline/media.sock\"").count(), 2);
    assert!(example.contains(&format!("user = {:?}", values(&signaling, "User")[0])));
}

#[test]
fn what_outlives_signaling_has_a_directory() {
    let signaling = unit(UNITS[0]);
    assert_eq!(values(&signaling, "StateDirectory"), ["moorline"]);
    assert_eq!(values(&signaling, "StateDirectoryMode"), ["0700"], "it is nobody else's");
    let example = std::fs::read_to_string(deploy("examples/endpoints.toml")).expect("the example");
    assert!(example.contains("# state = \"/var/lib/moorline\""));
}

#[test]
fn units_start_commands_that_exist() {
    for (name, command) in UNITS.iter().zip(["signaling", "media"]) {
        let text = unit(name);
        let start = values(&text, "ExecStart");
        assert_eq!(start, [format!("/usr/bin/moorline {command} --config /etc/moorline/edge.toml")], "{name}");
        let help = Command::new(env!("CARGO_BIN_EXE_moorline")).args([command, "--help"]).output().expect("it runs");
        assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--config"), "{name}");
    }
}

/// systemd's own opinion, where systemd is installed.
#[test]
fn systemd_accepts_the_units() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in UNITS {
        // The executable is not installed on the machine that tests it.
        let text = unit(name).replace("/usr/bin/moorline", env!("CARGO_BIN_EXE_moorline"));
        std::fs::write(folder.path().join(name), text).expect("written");
    }
    let paths = UNITS.map(|name| folder.path().join(name));
    let Ok(output) = Command::new("systemd-analyze").arg("verify").args(&paths).output() else {
        eprintln!("systemd-analyze is not installed: the units were only read");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let about_ours: Vec<&str> = said.lines().filter(|line| line.contains("moorline")).collect();
    assert!(about_ours.is_empty(), "{about_ours:#?}");
}

#[test]
fn sysctl_settings_say_why() {
    let text = std::fs::read_to_string(deploy("sysctl/90-moorline.conf")).expect("the file");
    let mut explained = false;
    for line in text.lines() {
        match line.trim() {
            "" => explained = false,
            line if line.starts_with('#') => explained = true,
            line => {
                assert!(explained, "no comment above {line}");
                assert_eq!(line.split(" = ").count(), 2, "{line}");
            }
        }
    }
}
