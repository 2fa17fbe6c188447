//! What is measured.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::lab::Lab;
use super::moorline::Moorline;
use crate::commands::process::{Error, Running};

/// Which system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Moorline as it comes: the best datapath that the host offers.
    Moorline,
    /// Moorline's io_uring datapath with one socket for all ports of a shard.
    Shared,
    /// Moorline's io_uring datapath with a socket for each port.
    PerPort,
    /// Moorline's io_uring datapath, however it comes by its sockets.
    IoUring,
    /// Moorline's epoll datapath.
    Epoll,
}

/// Where side A sends, and where side B sends.
pub(super) type Pair = (SocketAddr, SocketAddr);

/// What all systems are started with.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) executable: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) lab: Lab,
    pub(super) relay_core: usize,
    pub(super) load_core: usize,
    /// The most calls at once.
    pub(super) capacity: u32,
    /// Lines for `[media]` of Moorline's configuration.
    pub(super) settings: Vec<String>,
}

/// A relay that runs.
pub(super) trait System {
    /// Opens calls until there are `count`, and returns the first `count`.
    fn open(&mut self, setup: &Setup, count: usize) -> Result<Vec<Pair>, Error>;

    /// Its process, if it has one.
    fn process(&self) -> Option<&Running>;

    /// Counters worth telling beside what the load saw: batch and residence, from before and after.
    fn counters(&self, setup: &Setup) -> Result<Option<moorline_bench::scrape::Metrics>, Error>;

    /// Ends it.
    fn stop(self: Box<Self>) -> Result<(), Error>;
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Moorline => "moorline",
            Kind::Shared => "shared",
            Kind::PerPort => "per_port",
            Kind::IoUring => "io_uring",
            Kind::Epoll => "epoll",
        }
    }

    pub(super) fn start(self, setup: &Setup) -> Result<Box<dyn System>, Error> {
        let settings: &[&str] = match self {
            Kind::Moorline => &[],
            Kind::Shared => &[r#"datapath = "io_uring""#, r#"sockets = "shared""#],
            Kind::PerPort => &[r#"datapath = "io_uring""#, r#"sockets = "per_port""#],
            Kind::IoUring => &[r#"datapath = "io_uring""#],
            Kind::Epoll => &[r#"datapath = "epoll""#],
        };
        Ok(Box::new(Moorline::start(setup, settings)?))
    }
}
