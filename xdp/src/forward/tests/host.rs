//! What the tests want of the host: network namespaces, veth pairs, a thread with few capabilities.

use std::fs::File;
use std::io::Write;
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, unshare};

use crate::forward::{ForwardError, probe};
use crate::mapped::tests::limit_capabilities;

/// Whether this process may load the program and make namespaces; if not, that is said where it is seen.
pub(super) fn is_possible() -> bool {
    let reason = match probe() {
        Err(error @ (ForwardError::Capabilities(_) | ForwardError::Kernel { .. })) if !is_root() => error.to_string(),
        Err(error) => panic!("{error}"),
        Ok(()) if !is_root() => "network namespaces: needs root".to_string(),
        Ok(()) if Command::new("ip").arg("-V").output().is_err() => "ip is not installed".to_string(),
        Ok(()) => return true,
    };
    // Not by a macro, whose output is kept back where a test succeeds.
    let _ = writeln!(std::io::stderr(), "SKIPPED, forwarding in the driver is not possible: {reason}");
    if let Some(path) = std::env::var_os("MOORLINE_SKIPPED") {
        let mut file = File::options().append(true).create(true).open(path).unwrap();
        writeln!(file, "tests of the forwarding program: {reason}").unwrap();
    }
    false
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Runs a test on a thread in a network and mount namespace of its own, with its own BPF filesystem; all of it is gone
/// afterwards.
pub(super) fn apart(test: impl FnOnce() + Send) {
    if !is_possible() {
        return;
    }
    alone(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
        run("mount --make-rprivate /");
        run("mount -t bpf bpf /sys/fs/bpf");
        run("ip link set lo up");
        test();
    });
}

/// Runs something on a thread of its own, which ends with it.
fn alone(test: impl FnOnce() + Send) {
    let ended = thread::scope(|scope| scope.spawn(test).join());
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
}

/// Runs something with CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW only.
pub(super) fn with_few_capabilities(test: impl FnOnce() + Send) {
    let (bpf, admin, raw) = (39, 12, 13);
    with_capabilities(1 << bpf | 1 << admin | 1 << raw, test);
}

/// Runs something with these capabilities only.
pub(super) fn with_capabilities(mask: u64, test: impl FnOnce() + Send) {
    alone(|| {
        limit_capabilities(mask);
        test();
    });
}

/// Runs a command, which has to succeed.
#[track_caller]
pub(super) fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
