//! Hearing of a child's death apart from reaping it.
//!
//! The kernel says at once that a process is dead. Reaping it may take long on a busy machine: its entries in /proc go
//! first, and grace periods of RCU, which may take seconds there, are waited for. The next process need not wait for that.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::thread::JoinHandle;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What tells of the deaths of children.
pub(super) struct Deaths(Signal);

impl Deaths {
    /// Watches from now on.
    pub(super) fn watch() -> io::Result<Deaths> {
        Ok(Deaths(signal(SignalKind::child())?))
    }

    /// Ready when the child is dead, which it stays: it is not reaped.
    pub(super) async fn of(&mut self, child: &Child) -> io::Result<ExitStatus> {
        let dead = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            match waitid(Id::Pid(pid_of(child)), dead)? {
                WaitStatus::Exited(_, code) => return Ok(ExitStatus::from_raw((code & 0xff) << 8)),
                WaitStatus::Signaled(_, signal, core) => {
                    return Ok(ExitStatus::from_raw(signal as i32 | i32::from(core) << 7));
                }
                _ => {}
            }
            // Signals of several deaths are one; there is none of this child's that was not looked after.
            if self.0.recv().await.is_none() {
                return Err(io::Error::other("no signal comes any more"));
            }
        }
    }
}

/// The child's process ID.
pub(super) fn pid_of(child: &Child) -> Pid {
    // The kernel counts no further than 2^22.
    Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX))
}

/// The last child that was left to be reaped by a thread.
#[derive(Debug, Default)]
pub(super) struct Reaping(Option<JoinHandle<()>>);

impl Reaping {
    /// Reaps a dead child while others go on.
    pub(super) fn begin(&mut self, mut child: Child) {
        let reap = move || {
            // What it died of is known.
            let _status = child.wait();
        };
        // Without a thread it stays until this process ends.
        self.0 = std::thread::Builder::new().name("reaper".to_owned()).spawn(reap).ok();
    }

    /// Waits until the child is reaped.
    pub(super) fn finish(&mut self) {
        // A thread that panicked has nothing more to do.
        let _over = self.0.take().map(JoinHandle::join);
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn until_dead(child: &Child) -> ExitStatus {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { Deaths::watch().unwrap().of(child).await.unwrap() })
    }

    fn is_unreaped(child: &Child) -> bool {
        std::fs::read_to_string(format!("/proc/{}/stat", child.id())).is_ok_and(|stat| stat.contains(") Z "))
    }

    #[test]
    fn a_death_is_heard_of_before_the_child_is_reaped() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.kill().unwrap();
        let status = until_dead(&child);
        assert_eq!((status.signal(), status.code()), (Some(9), None));
        assert!(is_unreaped(&child));
        assert_eq!(until_dead(&child), status, "it stays dead");

        let pid = child.id();
        let mut reaping = Reaping::default();
        reaping.begin(child);
        reaping.finish();
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[test]
    fn what_a_child_ended_with_is_told() {
        for code in [0, 1, 77] {
            let mut child = Command::new("sh").args(["-c", &format!("exit {code}")]).spawn().unwrap();
            let status = until_dead(&child);
            assert_eq!((status.signal(), status.code()), (None, Some(code)));
            assert_eq!(child.wait().unwrap(), status);
        }
    }
}
