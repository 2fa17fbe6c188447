//! The executable's commands, as the README and operators use them.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};

fn moorline(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_moorline")).args(args).output().expect("the executable runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A file of the repository's `deploy` folder.
fn deploy(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

#[test]
fn help_names_every_command() {
    let output = moorline(&["--help"]);
    assert!(output.status.success());
    let text = stdout(&output);
    let commands: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("Commands:"))
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected = [
        "up",
        "signaling",
        "media",
        "check",
        "preset",
        "session",
        "status",
        "trunks",
        "calls",
        "call",
        "hangup",
        "drain",
        "openapi",
        "limits",
        "blacklist",
        "whitelist",
        "reload",
        "rollback",
        "demo",
        "load",
        "help",
    ];
    assert_eq!(commands, expected, "{text}");
}

#[test]
fn session_open_keeps_its_options() {
    let output = moorline(&["session", "open", "--help"]);
    assert!(output.status.success());
    for option in ["--count", "--a", "--b", "--range", "--control", "--increment-ports"] {
        assert!(stdout(&output).contains(option), "{option} is missing");
    }
}

#[test]
fn a_reader_that_has_had_enough_ends_a_command_quietly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moorline"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command
        .args(["check", "--offline"])
        .arg(deploy("examples/edge.toml"))
        .stdout(writer)
        .output()
        .expect("it runs");
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn the_version_is_the_packages() {
    let output = moorline(&["--version"]);
    assert_eq!(stdout(&output).trim(), concat!("moorline ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn wrong_usage_has_a_status_of_its_own() {
    for args in [&["no-such-command"][..], &[], &["session", "open", "--a", "nonsense"], &["up", "--confg", "x"]] {
        let output = moorline(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn check_passes_the_examples_and_says_what_they_configure() {
    for (file, word) in [
        ("default.toml", "127.103.169.64/27"),
        ("edge.toml", "47.103.169.64/27"),
        ("endpoints.toml", "trunk \"phones\""),
    ] {
        let path = deploy("examples").join(file);
        // They are for hosts with other addresses.
        let output = moorline(&["check", "--offline", path.to_str().expect("a path")]);
        assert_eq!(output.status.code(), Some(0), "{file}: {}", stderr(&output));
        assert!(stdout(&output).contains(word), "{file}: {}", stdout(&output));
        assert!(!stdout(&output).contains("warning: "), "{file}: {}", stdout(&output));
    }
    let built_in = moorline(&["check"]);
    assert_eq!(built_in.status.code(), Some(0), "{}", stderr(&built_in));
}

#[test]
fn the_users_of_the_example_can_be_read_by_who_may() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, users) = (folder.path().join("endpoints.toml"), folder.path().join("users.toml"));
    let text = std::fs::read_to_string(deploy("examples/endpoints.toml")).expect("the example");
    let (before, rest) = text.split_once("users = [").expect("users");
    let (_, after) = rest.split_once("\n]\n").expect("their end");
    std::fs::write(&path, format!("{before}users_file = {users:?}\n{after}")).expect("written");
    std::fs::copy(deploy("examples/users.toml"), &users).expect("copied");
    for (mode, status) in [(0o640, 0), (0o644, 1)] {
        std::fs::set_permissions(&users, std::fs::Permissions::from_mode(mode)).expect("its own file");
        let output = moorline(&["check", "--offline", path.to_str().expect("a path")]);
        assert_eq!(output.status.code(), Some(status), "mode {mode:o}: {}{}", stdout(&output), stderr(&output));
    }
}

#[test]
fn check_refuses_with_file_line_key_and_remedy() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("broken.toml");
    let text = std::fs::read_to_string(deploy("examples/default.toml")).expect("the example");
    std::fs::write(&path, text.replacen("network = ", "netwrok = ", 1)).expect("written");
    let line = 1 + text.lines().position(|line| line.starts_with("network = ")).expect("the line");

    let output = moorline(&["check", path.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.starts_with(&format!("{}:{line}:1: media.ranges[0].netwrok: ", path.display())), "{said}");
    assert!(said.contains("remedy: did you mean `network`?"), "{said}");
}

#[test]
fn processes_refuse_a_faulty_or_missing_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("broken.toml");
    std::fs::write(&path, "[signaling]\ncolour = \"blue\"\n").expect("written");
    let broken = path.to_str().expect("a path");
    for role in ["up", "signaling", "media"] {
        let output = moorline(&[role, "--config", broken]);
        assert_eq!(output.status.code(), Some(1), "{role}");
        assert!(stderr(&output).contains(&format!("{broken}:2:1: signaling.colour: ")), "{}", stderr(&output));
        let output = moorline(&[role, "--config", "/nonexistent/moorline.toml"]);
        assert_eq!(output.status.code(), Some(1), "{role}");
        assert!(stderr(&output).contains("/nonexistent/moorline.toml: "), "{}", stderr(&output));
    }
}

#[test]
fn session_open_says_where_no_media_process_is() {
    let args =
        ["session", "open", "--a", "127.0.0.1:4000", "--b", "127.0.0.1:4002", "--control", "/nonexistent/x.sock"];
    let output = moorline(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("/nonexistent/x.sock"), "{}", stderr(&output));
    assert!(stderr(&output).contains("--control"), "{}", stderr(&output));
}

#[test]
fn check_lists_announcements_and_names_what_cannot_be_played() {
    let directory = tempfile::tempdir().expect("a directory");
    let config = directory.path().join("edge.toml");
    let own = directory.path().join("announcements");
    std::fs::create_dir(&own).expect("made");
    std::fs::write(own.join("no-line.al"), [0xd5; 12_000]).expect("written");
    let trunk = "[[signaling.listeners]]\nname = \"a\"\nbind = \"127.0.0.1:5060\"\n\
                 [[signaling.trunks]]\nname = \"a\"\nlistener = \"a\"\nsources = [\"127.0.0.0/8\"]\n";
    let folder = format!("{trunk}[media]\nannouncements = {:?}\n", own.display().to_string());
    std::fs::write(&config, folder).expect("written");
    let output = moorline(&["check", &config.display().to_string()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(text.lines().any(|line| line.starts_with("announcement \"call-restricted\": 3.0 s, built in")), "{text}");
    let replaced = format!("announcement \"no-line\": 1.5 s, {}", own.join("no-line.al").display());
    assert!(text.lines().any(|line| line == replaced), "{text}");

    let refused = format!("{trunk}[[signaling.routes]]\nrefuse = {{ status = 403, announcement = \"unheard-of\" }}\n");
    let other = directory.path().join("other.toml");
    std::fs::write(&other, refused).expect("written");
    let output = moorline(&["check", &other.display().to_string()]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let said = format!("{}:9:", other.display());
    let line = stderr(&output).lines().find(|line| line.starts_with(&said)).map(str::to_owned).expect("its line");
    assert!(line.contains("signaling.routes[0].refuse.announcement: media has no \"unheard-of\""), "{line}");

    std::fs::write(own.join("broken.wav"), b"RIFF").expect("written");
    let output = moorline(&["check", &config.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("media.announcements: ") && said.contains("broken.wav: not a WAV file"), "{said}");
}

#[test]
fn who_does_not_answer_as_a_process_should_is_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("strange.sock");
    let listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    let strange = std::thread::spawn(move || {
        for words in [&b"\xff\xfe no answer\n"[..], b"{\"unheard\":1}\n", b"half", b""] {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut line = String::new();
            std::io::BufRead::read_line(&mut std::io::BufReader::new(&stream), &mut line).expect("asked");
            std::io::Write::write_all(&mut stream, words).expect("said");
        }
    });
    let asked = || {
        let output = moorline(&["status", "--socket", socket.to_str().expect("a path")]);
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    for words in ["no answer that this version understands", "hung up without an answer"] {
        for _ in 0..2 {
            let said = asked();
            assert!(said.contains(words), "{said}");
        }
    }
    strange.join().expect("all were answered");
    let gone = asked();
    assert!(gone.contains("Connection refused") && gone.contains("start signaling there"), "{gone}");
}

#[test]
fn what_is_said_twice_or_of_nobody_is_refused() {
    for (args, status, words) in [
        (&["blacklist", "add"][..], 2, "--caller"),
        (&["whitelist", "remove", "--from", "pbx"], 2, "--called"),
        (&["blacklist", "remove", "--caller", "1", "--percent", "5"], 2, "--percent"),
        (&["blacklist", "add", "--caller", "1", "--percent", "0"], 2, "0 is not in 1..=100"),
        (&["limits", "set", "pbx", "inbound.calls=1", "inbound.calls=2"], 1, "inbound.calls is there twice"),
        (&["status", "--config", "/nonexistent/moorline.toml"], 1, "(--socket)"),
    ] {
        let output = moorline(args);
        assert_eq!(output.status.code(), Some(status), "{args:?}");
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
}
