//! The two processes, each as a command of its own.

use std::process::ExitCode;
use std::sync::Arc;

use nix::sys::{prctl, signal::Signal};
use nix::unistd::{User, geteuid, getppid, setgid};
use tracing::info;

use crate::Outcome;
use crate::cli::ProcessArgs;
use crate::config::{Configuration, make_private_directory};
use crate::log::Log;
use crate::reload::ConfigurationFile;

/// `moorline signaling`.
pub(crate) fn signaling(args: &ProcessArgs, log: &Log) -> Outcome {
    let Some(configuration) = start(args)? else { return Ok(ExitCode::SUCCESS) };
    let file = ConfigurationFile(args.config.config.clone());
    moorline_signaling::run(configuration.signaling, Arc::new(file), log.lost_lines())?;
    Ok(ExitCode::SUCCESS)
}

/// `moorline media`.
pub(crate) fn media(args: &ProcessArgs, log: &Log) -> Outcome {
    let Some(configuration) = start(args)? else { return Ok(ExitCode::SUCCESS) };
    if let Some(user) = configuration.signaling.user.as_ref().filter(|_| geteuid().is_root()) {
        // The control socket is made with this process's group: it must be one that signaling is in.
        let user =
            User::from_name(user)?.ok_or_else(|| format!("there is no user {user:?}: useradd --system {user}"))?;
        setgid(user.gid)?;
        // A change of group has cleared the parent-death signal.
        if !tie_to_parent(args)? {
            return Ok(ExitCode::SUCCESS);
        }
    }
    moorline_media::run(configuration.media, log.lost_lines())?;
    Ok(ExitCode::SUCCESS)
}

/// Ties the process to its parent and reads the configuration; `None` if the parent is gone already.
fn start(args: &ProcessArgs) -> Result<Option<Configuration>, Box<dyn std::error::Error>> {
    if !tie_to_parent(args)? {
        return Ok(None);
    }
    let configuration = Configuration::load(args.config.config.as_deref())?;
    if let Some(directory) = &configuration.private_directory {
        make_private_directory(directory)
            .map_err(|e| format!("the control socket's directory {}: {e}", directory.display()))?;
    }
    info!(version = env!("CARGO_PKG_VERSION"), configuration = configuration.name, "starting");
    Ok(Some(configuration))
}

/// Has this process end with its parent; false if the parent is gone already.
fn tie_to_parent(args: &ProcessArgs) -> nix::Result<bool> {
    let Some(parent) = args.parent else { return Ok(true) };
    prctl::set_pdeathsig(Signal::SIGTERM)?;
    // A parent that died before the line above sends nothing any more.
    Ok(getppid().as_raw().unsigned_abs() == parent)
}
