//! The limits of trunks and the socket for commands, as the configuration wants them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use moorline_b2bua::policy::Policy;
use tokio::net::UnixListener;
use tokio::task::spawn_blocking;
use tracing::warn;

use super::STATE;
use crate::access::why;
use crate::command::CommandSocket;
use crate::limits::Limits;
use crate::{Config, SignalingError, TrunkConfig};

/// How long the calls of a day may be in the system's memory alone.
const SYNC_COUNTS: Duration = Duration::from_secs(1);

/// The socket for commands. One that was asked for must be there; else the process does without.
pub(super) fn listen_for_commands(config: &Config) -> Result<Option<(CommandSocket, UnixListener)>, SignalingError> {
    let path = config.command_path();
    let listener = CommandSocket::listen(&path).and_then(|(socket, listener)| {
        let listener = UnixListener::from_std(listener)?;
        Ok((socket, listener))
    });
    match listener {
        Ok(listening) => Ok(Some(listening)),
        Err(source) if config.command.is_some() => Err(SignalingError::Command { path, source }),
        Err(problem) => {
            let why = why(&path, &problem);
            warn!(path = %path.display(), "no commands will be taken: {why}; set `signaling.command`");
            Ok(None)
        }
    }
}

/// The limits of trunks, with what is kept of them. A directory that was asked for must be usable.
pub(super) fn open(config: &Config, policy: &Policy) -> Result<Limits, SignalingError> {
    let by_day = |trunk: &TrunkConfig| {
        [&trunk.limits.inbound, &trunk.limits.outbound].iter().any(|limits| limits.calls_per_callee_a_day.is_some())
    };
    let directory = match &config.state {
        Some(directory) => Some(directory.as_path()),
        None => config.trunks.iter().any(by_day).then_some(Path::new(STATE)),
    };
    let callees = usize::try_from(config.limits.callees).unwrap_or(usize::MAX);
    match Limits::open(policy, config.lists(), callees, directory) {
        Err(fault) if config.state.is_none() && directory.is_some() => {
            warn!("calls of the day will be counted anew after a restart: {fault}; set `signaling.state`");
            Ok(Limits::open(policy, config.lists(), callees, None)?)
        }
        opened => Ok(opened?),
    }
}

/// Brings the calls of the day to the disk again and again.
pub(super) async fn sync_counts(limits: Arc<Limits>) {
    loop {
        tokio::time::sleep(SYNC_COUNTS).await;
        let limits = Arc::clone(&limits);
        // It may wait for the disk, and does not fail.
        drop(spawn_blocking(move || limits.sync_counts()).await);
    }
}
