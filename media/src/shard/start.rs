//! Starting the thread of a shard, and the control side's end of it.

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;

use moorline_relay::{Announcements, Relay};
use moorline_xdp::Lookup;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use tokio::sync::{mpsc, oneshot};

use super::{ANSWERS, Held, Mailbox, Said, Shard, clock};
use crate::datapath::offload::{OffloadPlan, Offloaded};
use crate::datapath::{Datapath, MediaRange, NextHops, Setup, Tally, af_xdp};

/// A running shard, as the control side sees it.
pub(crate) struct ShardLink {
    pub(crate) mailbox: Arc<Mailbox>,
    thread: JoinHandle<()>,
}

impl ShardLink {
    /// Tells the shard to end and waits for it; its sockets close.
    pub(crate) fn stop(self) {
        self.mailbox.stop();
        // A panic has been reported as the shard's exit.
        let _ = self.thread.join();
    }
}

/// What a shard is made of.
pub(crate) struct Plan {
    pub(crate) core: usize,
    pub(crate) busy_poll_us: u32,
    pub(crate) relay: moorline_relay::Config,
    pub(crate) announcements: Arc<Announcements>,
    pub(crate) ranges: Vec<MediaRange>,
    /// As [`Setup::shared`].
    pub(crate) lookup: Option<Arc<Lookup>>,
    /// Where flows are relayed in the network driver.
    pub(crate) offload: Option<OffloadPlan>,
    /// As [`Setup::direct`].
    pub(crate) direct: Option<NextHops>,
    /// As [`Setup::af_xdp`].
    pub(crate) af_xdp: Option<af_xdp::Plan>,
    pub(crate) events: mpsc::Sender<Said>,
    pub(crate) exits: mpsc::UnboundedSender<Exit>,
}

/// A shard ended; before it was told to, that is a failure.
pub(crate) struct Exit {
    pub(crate) shard: u16,
    pub(crate) outcome: Result<(), String>,
}

/// A shard could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{0}")]
    Relay(#[from] moorline_relay::ConfigError),
    #[error("pinning to core {core}: {error}")]
    Pin { core: usize, error: nix::Error },
    #[error("datapath {datapath}: {error}")]
    Datapath { datapath: &'static str, error: io::Error },
    #[error("thread: {0}")]
    Thread(#[from] io::Error),
    #[error("histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
    #[error("it ended while starting")]
    Ended,
}

/// Starts a shard with datapath `D` and waits until it is ready to relay.
///
/// # Errors
/// What kept it from starting; its thread has ended then.
pub(crate) fn start<D: Datapath + 'static>(plan: Plan) -> Result<ShardLink, StartError> {
    let mailbox = Arc::new(Mailbox::new()?);
    let wake = mailbox.wake_descriptor()?;
    let (started, ready) = oneshot::channel();
    let name = format!("shard-{}", plan.relay.shard);
    let own = Arc::clone(&mailbox);
    let thread = std::thread::Builder::new().name(name).spawn(move || body::<D>(plan, own, wake, started))?;
    match ready.blocking_recv() {
        Ok(Ok(())) => Ok(ShardLink { mailbox, thread }),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(StartError::Ended),
    }
}

fn body<D: Datapath>(
    plan: Plan,
    mailbox: Arc<Mailbox>,
    wake: OwnedFd,
    started: oneshot::Sender<Result<(), StartError>>,
) {
    let (shard, exits) = (plan.relay.shard, plan.exits.clone());
    let mut running = match build::<D>(plan, mailbox, wake) {
        Ok(running) => running,
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    let _ = started.send(Ok(()));
    // The shard is not used again after a panic, so nothing half-changed is seen.
    let outcome = match catch_unwind(AssertUnwindSafe(|| running.run())) {
        Ok(ended) => ended.map_err(|error| error.to_string()),
        Err(_) => Err("it panicked".to_owned()),
    };
    let _ = exits.send(Exit { shard, outcome });
}

fn build<D: Datapath>(plan: Plan, mailbox: Arc<Mailbox>, wake: OwnedFd) -> Result<Shard<D>, StartError> {
    pin(plan.core)?;
    let shared = plan.lookup.map(|lookup| (lookup, plan.relay.shard));
    let endpoints = plan.relay.max_endpoints();
    let (shard, ranges) = (plan.relay.shard, plan.ranges.clone());
    let offload = plan.offload.map(|offload| Offloaded::new(offload, shard, ranges, endpoints));
    let setup = Setup { endpoints, wake, ranges: plan.ranges, shared, direct: plan.direct, af_xdp: plan.af_xdp };
    let mut datapath = D::new(setup).map_err(|error| StartError::Datapath { datapath: D::NAME, error })?;
    if plan.busy_poll_us > 0 {
        datapath.busy_poll(plan.busy_poll_us);
    }
    let mut relay = Relay::new(plan.relay)?;
    relay.announce(plan.announcements, seed()?);
    let started_ns = clock::monotonic_ns();
    if offload.is_some() {
        relay.offload_from(started_ns);
    }
    Ok(Shard {
        index: shard,
        relay,
        datapath,
        offload,
        tally: Tally::new()?,
        mailbox,
        events: plan.events,
        sequence: 0,
        started_ns,
        held: Held::default(),
        answers: Vec::with_capacity(ANSWERS),
        answers_since: 0,
        busy_poll_ns: u64::from(plan.busy_poll_us) * 1000,
        awake_until: 0,
        clock: clock::monotonic_ns,
    })
}

/// Streams of RTP that are made here begin anywhere.
fn seed() -> Result<u64, StartError> {
    getrandom::u64().map_err(|error| StartError::Thread(io::Error::other(error.to_string())))
}

fn pin(core: usize) -> Result<(), StartError> {
    let mut cores = CpuSet::new();
    cores
        .set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &cores))
        .map_err(|error| StartError::Pin { core, error })
}
