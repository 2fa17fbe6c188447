//! Reloads of a process: what they are started with, and by what.

use std::path::Path;
use std::sync::Arc;

use moorline_b2bua::policy::Policy;
use tokio::sync::{mpsc, watch};
use tokio::task::{spawn_blocking, spawn_local};
use tracing::{info, warn};

use super::STATE;
use crate::Config;
use crate::cdr::Sinks;
use crate::limits::Limits;
use crate::reload::{self, Reload, Source, UsedTrunks};

/// Where a new policy goes, and where workers are asked what they use.
type Told = (watch::Sender<Arc<Policy>>, Vec<mpsc::Sender<UsedTrunks>>);

/// What reloads the process's configuration from now on; inside a `LocalSet`.
pub(super) fn start(
    source: Arc<dyn Source>,
    (config, policy): (&Config, &Policy),
    limits: Arc<Limits>,
    (policies, workers): Told,
    sinks: Option<Arc<Sinks>>,
) -> Arc<Reload> {
    // By default where the other things are that outlive a process, if there is such a place.
    let default = Some(Path::new(STATE)).filter(|directory| directory.is_dir());
    let state = config.state.as_deref().or(default);
    let reload = Reload::new(source, (config, policy), limits, policies, workers, state);
    let reload = Arc::new(reload.recording_to(sinks));
    let started = Arc::clone(&reload);
    // It may wait for the disk; nobody waits for it.
    drop(spawn_blocking(move || started.remember_start()));
    spawn_local(reload::sweep(Arc::clone(&reload)));
    reload
}

/// Somebody has sent SIGHUP, and hears of it from the log.
pub(super) async fn by_signal(reload: Arc<Reload>) {
    // It may wait for the disk, and does not fail.
    let Ok(reply) = spawn_blocking(move || reload.reload(false)).await else { return };
    for problem in &reply.refused {
        warn!(configuration = reply.configuration, "the configuration stays as it was: {problem}");
    }
    for note in &reply.notes {
        warn!("{note}");
    }
    if reply.changes.is_empty() && reply.refused.is_empty() {
        info!(configuration = reply.configuration, "the configuration is the same");
    }
}
