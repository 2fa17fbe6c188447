//! `moorline up`: both processes, for as long as this one runs.

use std::process::ExitCode;

use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing::level_filters::LevelFilter;

use crate::Outcome;
use crate::cli::ConfigArgs;
use crate::config::Configuration;
use crate::supervise::{Kept, Recipe};

pub(crate) fn run(args: &ConfigArgs, log_level: LevelFilter) -> Outcome {
    // Both children would refuse a faulty file; saying it once is enough.
    let configuration = Configuration::load(args.config.as_deref())?;
    let recipe = Recipe { config: args.config.clone(), log_level, log_file: None };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut hangup = signal(SignalKind::hangup())?;
        SigSet::from(Signal::SIGHUP).thread_unblock()?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        info!(version = env!("CARGO_PKG_VERSION"), configuration = configuration.name, "moorline is starting");
        let mut media = Kept::start("media", recipe.clone());
        let mut signaling = Kept::start("signaling", recipe);
        let failed = loop {
            tokio::select! {
                _ = terminate.recv() => break None,
                _ = interrupt.recv() => break None,
                // Signaling alone has something to read again: its certificates, and its configuration.
                _ = hangup.recv() => signaling.hang_up(),
                error = media.failed() => break Some(error),
                error = signaling.failed() => break Some(error),
            }
        };
        // Signaling first: no call is set up any more when media goes.
        signaling.stop().await;
        media.stop().await;
        match failed {
            None => Ok(ExitCode::SUCCESS),
            Some(error) => Err(error.into()),
        }
    })
}
