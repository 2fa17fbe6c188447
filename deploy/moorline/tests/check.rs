//! `moorline check`: what a configuration says in vain, and what this host lacks for it.
#![cfg(test)]

use std::process::{Command, Output};

/// A customer's PBX and a carrier on loopback.
const GOOD: &str = r#"[signaling]
[[signaling.listeners]]
name = "local"
bind = "127.97.0.1:5060"
[[signaling.trunks]]
name = "pbx"
listener = "local"
sources = ["127.97.1.0/24"]
[[signaling.trunks]]
name = "carrier"
listener = "local"
targets = ["127.97.2.1:5060"]
[[signaling.routes]]
from = "pbx"
to = "carrier"
[media]
[[media.ranges]]
name = "edge"
network = "127.97.3.0/27"
"#;

/// What `moorline check` says of `GOOD` with one replacement.
fn check(options: &[&str], old: &str, new: &str) -> (Output, String) {
    assert!(GOOD.contains(old), "{old}");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("edge.toml");
    let text = GOOD.replacen(old, new, 1).replace("FOLDER", &folder.path().display().to_string());
    std::fs::write(folder.path().join("file"), "").expect("written");
    std::fs::write(&path, text).expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_moorline"));
    let output = command.arg("check").args(options).arg(&path).output().expect("it runs");
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8(said).expect("text").replace(&path.display().to_string(), "F");
    (output, said)
}

/// Line and key of each fault, or each warning.
fn told(said: &str, warnings: bool) -> Vec<String> {
    let lines = said.lines().filter(|line| line.strip_prefix("warning: ").unwrap_or(line).starts_with("F:"));
    let wanted = lines.filter(|line| line.starts_with("warning: ") == warnings);
    let key = |line: &str| {
        let mut parts = line.trim_start_matches("warning: ").split(':').skip(1);
        let (number, key) = (parts.next()?, parts.nth(1)?);
        number.parse::<u32>().is_ok().then(|| format!("{number}{key}"))
    };
    wanted.filter_map(key).collect()
}

#[test]
fn what_works_here_has_nothing_said_of_it() {
    let (output, said) = check(&[], "", "");
    assert!(output.status.success(), "{said}");
    assert!(told(&said, true).is_empty() && told(&said, false).is_empty(), "{said}");
}

#[test]
fn what_this_host_does_not_have_is_a_fault_here_and_none_offline() {
    let network = "name = \"edge\"\nnetwork = \"127.97.3.0/27\"";
    // 192.0.2.0/24 is for documentation: no host has it.
    for (old, new, place, words) in [
        ("127.97.0.1:5060", "192.0.2.1:5060", "4 signaling.listeners[0].bind", "192.0.2.1 is on no interface"),
        (
            "127.97.3.0/27",
            "192.0.2.32/27",
            "19 media.ranges[0].network",
            "none of the 30 addresses of 192.0.2.32/27 is on an interface",
        ),
        (
            network,
            "name = \"edge\"\nnetwork = \"192.0.2.32/27\"\nrouted = true",
            "19 media.ranges[0].network",
            "none of the 32 addresses",
        ),
        (
            network,
            "name = \"edge\"\nnetwork = \"127.97.3.0/27\"\ninterface = \"nowhere0\"",
            "20 media.ranges[0].interface",
            "no interface \"nowhere0\"",
        ),
        (
            "[media]\n",
            "[media]\nxdp = { interfaces = [\"lo\", \"nowhere0\"] }\n",
            "17 media.xdp.interfaces[1]",
            "no interface \"nowhere0\"",
        ),
        ("[signaling]\n", "[signaling]\nstate = \"FOLDER/file/x\"\n", "2 signaling.state", "/file is a file"),
        (
            "[signaling]\n",
            "[signaling]\ncdr = { csv = { directory = \"FOLDER/file\" } }\n",
            "2 signaling.cdr.csv.directory",
            "/file is a file",
        ),
    ] {
        let (output, said) = check(&[], old, new);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(told(&said, false), [place], "{said}");
        assert!(said.contains(words) && said.contains("    remedy: "), "{said}");
        assert!(said.ends_with("F: 1 fault\n"), "{said}");

        let (output, said) = check(&["--offline"], old, new);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(told(&said, false).is_empty() && said.ends_with("this host was not looked at\n"), "{said}");
    }
}

#[test]
fn what_is_said_in_vain_is_a_fault_or_a_warning_with_its_line() {
    let codecs = "name = \"pbx\"\nlistener = \"local\"\ncodecs = [\"pcma\"]\n";
    let apart = format!(
        "{codecs}sources = [\"127.97.1.0/24\"]\n[[signaling.trunks]]\nname = \"carrier\"\ncodecs = [\"g729\"]\n"
    );
    let old = "name = \"pbx\"\nlistener = \"local\"\nsources = [\"127.97.1.0/24\"]\n[[signaling.trunks]]\nname = \"carrier\"\n";
    let (output, said) = check(&[], old, &apart);
    assert_eq!(
        (output.status.code(), told(&said, false)),
        (Some(1), vec!["12 signaling.trunks[1].codecs".into()]),
        "{said}"
    );

    let refuse = "[[signaling.routes]]\nprefix = \"9\"\nrefuse = { status = 403, announcement = \"unheard\" }\n[[signaling.routes]]";
    let (output, said) = check(&["--offline"], "[[signaling.routes]]", refuse);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(told(&said, false), ["15 signaling.routes[0].refuse.announcement"], "{said}");

    for (old, new, place) in [
        (
            "[media]\n",
            "[media]\n[[media.ranges]]\nname = \"idle\"\nnetwork = \"127.97.4.0/27\"\n",
            "18 media.ranges[0].name",
        ),
        (
            "[signaling]\n",
            "[signaling]\ncdr = { postgres = { host = \"/nowhere\", database = \"d\", user = \"u\" } }\n",
            "2 signaling.cdr.postgres.host",
        ),
    ] {
        let (output, said) = check(&[], old, new);
        assert_eq!((output.status.code(), told(&said, true)), (Some(0), vec![place.to_owned()]), "{said}");
    }
}

#[test]
fn media_ranges_that_share_addresses_and_ports_are_named() {
    let other = "[media]\n[[media.ranges]]\nname = \"all\"\nnetwork = \"127.97.3.0/24\"\n";
    let (output, said) = check(&[], "[media]\n", other);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(told(&said, false), ["22 media.ranges[1].network"], "{said}");
    let apart = "[media]\n[[media.ranges]]\nname = \"all\"\nnetwork = \"127.97.3.0/24\"\nfirst_port = 40000\nlast_port = 41000\n";
    let (output, said) = check(&[], "[media]\n", apart);
    assert!(output.status.success(), "{said}");
}

#[test]
fn programs_get_each_finding_with_its_place() {
    let json = |options: &[&str], old: &str, new: &str| {
        let (output, said) = check(&[options, &["--json"]].concat(), old, new);
        assert_eq!(said.lines().count(), 1, "{said}");
        let value: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        (output.status.code(), value["check"].clone())
    };
    let (status, good) =
        json(&["--offline"], "[media]\n", "[media]\n[[media.ranges]]\nname = \"idle\"\nnetwork = \"127.97.4.0/27\"\n");
    assert_eq!(
        (status, &good["usable"], &good["file"], &good["offline"]),
        (Some(0), &true.into(), &"F".into(), &true.into())
    );
    let warning = &good["findings"][0];
    assert_eq!(
        (&warning["severity"], &warning["line"], &warning["key"]),
        (&"warning".into(), &18.into(), &"media.ranges[0].name".into())
    );
    assert!(warning["problem"].is_string() && warning["remedy"].is_string() && warning["file"] == "F", "{warning}");
    assert!(good["announcements"].as_array().is_some_and(|all| !all.is_empty()), "{good}");

    let (status, bad) = json(&[], "to = \"carrier\"", "to = \"carier\"\ncolour = 1");
    assert_eq!((status, &bad["usable"]), (Some(1), &false.into()), "{bad}");
    let fault = &bad["findings"][0];
    assert_eq!(
        (&fault["severity"], &fault["line"], &fault["column"]),
        (&"fault".into(), &16.into(), &1.into()),
        "{bad}"
    );
    assert_eq!(fault["key"], "signaling.routes[0].colour");

    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_moorline"));
    let output = command.args(["check", "--json"]).arg(folder.path()).output().expect("it runs");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(
        (output.status.code(), &value["check"]["findings"][0]["severity"]),
        (Some(1), &"fault".into()),
        "{value}"
    );
    assert!(value["check"]["findings"][0]["line"].is_null(), "{value}");
}
