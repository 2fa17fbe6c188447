//! The first start, by an ordinary user: what cannot be used is named, with its owner and what to do, or done without.
#![cfg(test)]

mod stand;

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use stand::{PATIENCE, left_out};

/// The user that every Debian has and that owns nothing.
const USER: &str = "nobody";

/// Where that user can run the executable, and has a directory of its own, `home`.
struct Place {
    folder: tempfile::TempDir,
    user: User,
    /// 127.98.net.0 is the test's own.
    net: u8,
}

impl Place {
    /// `None` where nobody can become another user, nor hide this host's own `/var/lib`.
    fn new(net: u8) -> Option<Place> {
        if !geteuid().is_root() || unshare(CloneFlags::CLONE_NEWNS).is_err() {
            left_out("the first start of an ordinary user", "nothing, but run the tests as root, who may mount");
            return None;
        }
        for arguments in [&["--make-rprivate", "/"][..], &["-t", "tmpfs", "-o", "mode=755", "moorline", "/var/lib"]] {
            assert!(Command::new("mount").args(arguments).status().expect("mount runs").success());
        }
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("set");
        fs::copy(env!("CARGO_BIN_EXE_moorline"), folder.path().join("moorline")).expect("copied");
        let place = Place { folder, user: User::from_name(USER).expect("asked").expect("there is one"), net };
        let home = place.folder.path().join("home");
        fs::create_dir(&home).expect("made");
        place.give(&home);
        Some(place)
    }

    fn give(&self, path: &Path) {
        chown(path, Some(self.user.uid.as_raw()), Some(self.user.gid.as_raw())).expect("given");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts signaling with these settings, until it is up or has ended: whether it was up, and what it said.
    fn start(&self, settings: &str) -> (bool, String) {
        let text = stand::configuration(self.net, &self.path("home/media.sock"));
        let text = text.replacen("[signaling]\n", &format!("[signaling]\n{settings}\n"), 1);
        fs::write(self.path("up.toml"), text).expect("written");
        let log = self.path("log");
        let mut process = Command::new(self.path("moorline"))
            .args(["signaling", "--config"])
            .arg(self.path("up.toml"))
            .uid(self.user.uid.as_raw())
            .gid(self.user.gid.as_raw())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).expect("a log"))
            .spawn()
            .expect("it runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let said = fs::read_to_string(&log).expect("a log");
            if let Some(status) = process.try_wait().expect("waited") {
                assert_eq!(status.code(), Some(1), "{said}");
                return (false, fs::read_to_string(&log).expect("a log"));
            }
            if said.contains("signaling is up") {
                let pid = Pid::from_raw(i32::try_from(process.id()).expect("a pid"));
                kill(pid, Signal::SIGTERM).expect("signalled");
                assert_eq!(process.wait().expect("waited").code(), Some(0), "{said}");
                return (true, fs::read_to_string(&log).expect("a log"));
            }
            assert!(Instant::now() < deadline, "neither up nor over: {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[track_caller]
fn holds(said: &str, texts: &[&str]) {
    for text in texts {
        assert!(said.contains(text), "{text:?} is not in:\n{said}");
    }
}

#[test]
fn what_cannot_be_kept_by_default_is_done_without_and_said() {
    let Some(place) = Place::new(98) else { return };
    let (up, said) = place.start("");
    assert!(up);
    holds(&said, &["calls are not recorded: set `signaling.state` or `signaling.cdr.directory`"]);

    fs::create_dir("/var/lib/moorline").expect("made");
    let (up, said) = place.start("");
    assert!(up);
    let whose =
        "/var/lib/moorline belongs to root (mode 755), this process is nobody: `chown` it, or name another place";
    holds(
        &said,
        &["calls are not recorded: /var/lib/moorline/cdr cannot be used", whose, "set `signaling.cdr.directory`"],
    );

    // Somebody has tried it as root before.
    place.give(Path::new("/var/lib/moorline"));
    fs::create_dir("/var/lib/moorline/cdr").expect("made");
    place.give(Path::new("/var/lib/moorline/cdr"));
    File::create("/var/lib/moorline/cdr/lock").expect("made");
    let (up, said) = place.start("");
    assert!(up);
    holds(&said, &["calls are not recorded: /var/lib/moorline/cdr/lock cannot be used", "it belongs to root"]);
    fs::remove_file("/var/lib/moorline/cdr/lock").expect("removed");
    let (up, said) = place.start("");
    assert!(up);
    holds(&said, &["calls are recorded directory=/var/lib/moorline/cdr"]);
}

#[test]
fn what_was_asked_for_and_cannot_be_kept_ends_the_start_with_the_reason() {
    let Some(place) = Place::new(99) else { return };
    let ours = place.path("home/state");
    let state = |path: &Path| format!("state = {path:?}");
    fs::create_dir(place.path("theirs")).expect("made");
    for (name, at) in [("theirs", "theirs"), ("theirs/state", "theirs")] {
        let (up, said) = place.start(&state(&place.path(name)));
        assert!(!up, "{said}");
        let whose = format!("{} belongs to root (mode 755), this process is nobody", place.path(at).display());
        holds(&said, &[&whose, "see `signaling.state`"]);
    }
    let (up, said) = place.start(&state(&place.path("up.toml")));
    assert!(!up, "{said}");
    holds(&said, &["up.toml: ", "it is no directory; see `signaling.state`"]);

    let journal = ours.join("cdr/journal.000000000001");
    let (up, said) = place.start(&state(&ours));
    assert!(up, "{said}");
    chown(&journal, Some(0), Some(0)).expect("taken");
    let (up, said) = place.start(&state(&ours));
    assert!(!up, "{said}");
    let what = format!("signaling.cdr: {} cannot be used: Permission denied", journal.display());
    holds(&said, &[&what, "it belongs to root (mode 640), this process is nobody", "see `signaling.cdr.directory`"]);
    place.give(&journal);

    // Where records go from the journal is tried again and again, and calls go on meanwhile.
    let elsewhere = place.path("theirs/records");
    let (up, said) = place.start(&format!("{}\ncdr.json.directory = {elsewhere:?}", state(&ours)));
    assert!(up, "{said}");
    let path = elsewhere.display().to_string();
    holds(&said, &["call records wait in the journal: ", &path, "belongs to root", "it is tried again"]);
}
