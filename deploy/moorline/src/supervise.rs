//! Both processes as children of this one: started, restarted when one dies, and stopped in order.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};

mod death;

use death::{Deaths, Reaping};

/// One that dies before this has not started: if it never has before, it will not by trying again.
const STARTED_AFTER: Duration = Duration::from_secs(2);

/// The first to die is followed at once. Then there is a pause, doubled each time up to the longest, and none again
/// after a while alive.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const STEADY_AFTER: Duration = Duration::from_secs(10);

/// How long a process may take to stop before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How both children are started.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// The configuration file; the built-in one without.
    pub(crate) config: Option<PathBuf>,
    /// The children's `--log-level`.
    pub(crate) log_level: LevelFilter,
    /// Where the children's output goes; this process's own without.
    pub(crate) log_file: Option<PathBuf>,
}

/// One child, kept alive by a task until it is stopped.
pub(crate) struct Kept {
    role: &'static str,
    stop: oneshot::Sender<()>,
    hangup: Arc<Notify>,
    task: JoinHandle<Result<(), StartError>>,
}

/// A process that could not be started even once; it has said why itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot start the {role} process: {source}")]
    Spawn { role: &'static str, source: std::io::Error },
    #[error("the {role} process did not start ({status}); its own message is above")]
    Died { role: &'static str, status: ExitStatus },
}

impl Kept {
    /// Starts the process named `role`. Must be called on the thread that lives as long as this process: the
    /// children end with the thread that made them.
    pub(crate) fn start(role: &'static str, recipe: Recipe) -> Kept {
        let (stop, stopped) = oneshot::channel();
        let hangup = Arc::new(Notify::new());
        Kept { role, stop, hangup: Arc::clone(&hangup), task: tokio::spawn(keep(role, recipe, stopped, hangup)) }
    }

    /// Passes SIGHUP on to the process, if it runs: one that is started anew reads all files anyway.
    pub(crate) fn hang_up(&self) {
        self.hangup.notify_waiters();
    }

    /// Ready when the process could not be started.
    pub(crate) async fn failed(&mut self) -> StartError {
        let role = self.role;
        match (&mut self.task).await {
            Ok(Err(error)) => error,
            // The task ends well only when it is stopped, which takes `self`.
            Ok(Ok(())) => StartError::Spawn { role, source: std::io::Error::other("stopped") },
            Err(error) => StartError::Spawn { role, source: std::io::Error::other(error) },
        }
    }

    /// Stops the process and waits until it is gone.
    pub(crate) async fn stop(self) {
        // An error means that the task is over already.
        let _over = self.stop.send(());
        if !self.task.is_finished()
            && let Err(error) = self.task.await
        {
            error!(role = self.role, "stopping: {error}");
        }
    }
}

async fn keep(
    role: &'static str,
    recipe: Recipe,
    mut stopped: oneshot::Receiver<()>,
    hangup: Arc<Notify>,
) -> Result<(), StartError> {
    // Before the first child, so that no death is missed.
    let mut deaths = Deaths::watch().map_err(|source| StartError::Spawn { role, source })?;
    let mut pause = Duration::ZERO;
    let mut has_started = false;
    let mut reaping = Reaping::default();
    loop {
        let since = Instant::now();
        let mut child = spawn(role, &recipe).map_err(|source| StartError::Spawn { role, source })?;
        let pid = child.id();
        info!(role, pid, "process started");
        let status = loop {
            tokio::select! {
                status = deaths.of(&child) => break status.map_err(|source| StartError::Spawn { role, source })?,
                () = hangup.notified() => signal(&child, Signal::SIGHUP),
                _ = &mut stopped => {
                    stop(role, &mut child, &mut deaths).await;
                    reaping.finish();
                    return Ok(());
                }
            }
        };
        reaping.begin(child);
        has_started |= since.elapsed() >= STARTED_AFTER;
        // Killed from outside, it says nothing about whether it can start.
        if !has_started && status.code().is_some() {
            return Err(StartError::Died { role, status });
        }
        if since.elapsed() >= STEADY_AFTER {
            pause = Duration::ZERO;
        }
        warn!(role, pid, %status, restart_in_ms = pause.as_millis(), "process died");
        if !pause.is_zero() {
            tokio::select! {
                () = sleep(pause) => {}
                _ = &mut stopped => {
                    reaping.finish();
                    return Ok(());
                }
            }
        }
        pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
    }
}

fn spawn(role: &'static str, recipe: &Recipe) -> std::io::Result<Child> {
    use std::os::unix::process::CommandExt as _;

    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--log-level").arg(recipe.log_level.to_string()).arg(role);
    command.arg("--parent").arg(std::process::id().to_string());
    if let Some(config) = &recipe.config {
        command.arg("--config").arg(config);
    }
    if let Some(path) = &recipe.log_file {
        let file = std::fs::File::options().create(true).append(true).open(path)?;
        command.stdout(file.try_clone()?).stderr(file);
    }
    // The terminal's Ctrl-C is for this process, which stops the children in their order.
    command.stdin(Stdio::null()).process_group(0);
    // It is born holding SIGHUP back, which would end it before it expects it.
    let before = SigSet::from(Signal::SIGHUP).thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let child = command.spawn();
    before.thread_set_mask()?;
    child
}

async fn stop(role: &'static str, child: &mut Child, deaths: &mut Deaths) {
    signal(child, Signal::SIGTERM);
    if timeout(STOP_PATIENCE, deaths.of(child)).await.is_err() {
        warn!(role, "process does not stop: killing it");
        signal(child, Signal::SIGKILL);
    }
    match child.wait() {
        Ok(status) if status.success() => info!(role, "process stopped"),
        Ok(status) => warn!(role, %status, "process stopped"),
        Err(error) => error!(role, "waiting for the process: {error}"),
    }
}

fn signal(child: &Child, signal: Signal) {
    // It may be dead already, which is as good; its number is its own until it is reaped.
    let _dead = kill(death::pid_of(child), signal);
}
