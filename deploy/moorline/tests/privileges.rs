//! Signaling never faces strangers as root.
#![expect(clippy::expect_used, reason = "a test fails by panicking")]

mod stand;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use moorline_bench::load;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use stand::Stand;

/// The user that every Debian has and that owns nothing.
const USER: &str = "nobody";

/// The four user ids (real, effective, saved, file system) and the effective capabilities of a process.
fn identity(pid: Pid) -> (Vec<u32>, String) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("its status");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("the field");
        line[name.len()..].trim().to_owned()
    };
    let ids = field("Uid:").split_whitespace().filter_map(|id| id.parse().ok()).collect();
    (ids, field("CapEff:"))
}

#[test]
fn root_is_given_up_and_calls_and_their_restoration_still_work() {
    if !geteuid().is_root() {
        eprintln!("not root: there is nothing to give up");
        return;
    }
    let user = User::from_name(USER).expect("the list of users").expect("the user");
    // The two users meet in a folder that both may enter.
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).expect("set");
    let control = format!("user = {USER:?}\ncontrol = {:?}", folder.path().join("media.sock"));
    let own = |stand: &str| format!("control = {stand:?}");
    let stand = Stand::start_with("up", 60, |text, socket| text.replacen(&own(socket), &control, 1));
    stand.until_connected();

    let signaling = stand.child("signaling").expect("it runs");
    let (ids, capabilities) = identity(signaling);
    assert_eq!(ids, [user.uid.as_raw(); 4]);
    assert_eq!(capabilities.trim_start_matches('0'), "", "no capability is left");

    stand.kill_and_await_successor("signaling");
    stand.until_connected();
    let report = load::run(&stand.plan(4, Duration::from_millis(500)), &mut |_| {}).expect("the load runs");
    assert!(report.is_clean(), "{report:#?}\n{}", stand.log());
    stand.until_nothing_is_left();

    // The parent-death signal outlives the change of user.
    let children = ["signaling", "media"].map(|role| stand.child(role).expect("it runs"));
    kill(stand.pid(), Signal::SIGKILL).expect("killed");
    stand.until("both children are gone", || children.iter().all(|pid| !stand::is_running(*pid)));
}

#[test]
fn an_address_that_strangers_reach_is_not_served_as_root() {
    // TEST-NET-1: no host has it, so that nothing is served if the refusal fails.
    let mut stand = Stand::start("signaling", 61, &[("bind = \"127.98.61.1:5060\"", "bind = \"192.0.2.1:5060\"")]);
    assert_eq!(stand.status(), Some(1), "{}", stand.log());
    let expected = if geteuid().is_root() { "set `signaling.user`" } else { "no interface of this host has it" };
    assert!(stand.log().contains(expected), "{}", stand.log());
}
