//! What is measured.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::forward::Forward;
use super::lab::{Lab, is_there};
use super::moorline::Moorline;
use super::rtpengine::Rtpengine;
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
    /// Moorline with a second shard, on the load's core.
    TwoShards,
    /// Debian's rtpengine, in user space.
    Rtpengine,
    /// The kernel alone: both addresses translated by nftables.
    Nft,
}

/// What a system counts for itself.
pub(super) type Counters = moorline_bench::scrape::Metrics;

/// A capacity at which sockets for each port fit the limit of open files of most hosts, 20,000.
const SOCKETS_EACH: u32 = 4_000;

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
    /// The time between bursts of the load.
    pub(super) tick: Duration,
    /// Lines for `[media]` of Moorline's configuration.
    pub(super) settings: Vec<String>,
}

/// A relay that runs.
pub(super) trait System {
    /// Opens calls until there are `count`, and returns the first `count`.
    fn open(&mut self, setup: &Setup, count: usize) -> Result<Vec<Pair>, Error>;

    /// Its process, if it has one.
    fn process(&self) -> Option<&Running>;

    /// What it counts for itself, if it does.
    fn counters(&self, setup: &Setup) -> Result<Option<Counters>, Error>;

    /// Ends it.
    fn stop(self: Box<Self>, setup: &Setup) -> Result<(), Error>;
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Moorline => "moorline",
            Kind::Shared => "shared",
            Kind::PerPort => "per_port",
            Kind::IoUring => "io_uring",
            Kind::Epoll => "epoll",
            Kind::TwoShards => "two_shards",
            Kind::Rtpengine => "rtpengine",
            Kind::Nft => "nft",
        }
    }

    pub(super) fn is_moorline(self) -> bool {
        !matches!(self, Kind::Rtpengine | Kind::Nft)
    }

    /// The Debian package that is not there, if one is needed.
    pub(super) fn missing(self) -> Option<&'static str> {
        let (tool, package) = match self {
            Kind::Rtpengine => ("rtpengine", "rtpengine-daemon"),
            Kind::Nft => ("nft", "nftables"),
            _ => return None,
        };
        (!is_there(tool)).then_some(package)
    }

    pub(super) fn start(self, setup: &Setup) -> Result<Box<dyn System>, Error> {
        let (relay, load) = (setup.relay_core, setup.load_core);
        let start = |settings: &[&str], cores: &[usize]| -> Result<Box<dyn System>, Error> {
            let capacity = if settings.is_empty() { setup.capacity } else { setup.capacity.min(SOCKETS_EACH) };
            Ok(Box::new(Moorline::start(setup, settings, cores, capacity)?))
        };
        match self {
            Kind::Moorline => start(&[], &[relay]),
            Kind::Shared => {
                let settings = [r#"datapath = "io_uring""#, r#"sockets = "shared""#];
                Ok(Box::new(Moorline::start(setup, &settings, &[relay], setup.capacity)?))
            }
            Kind::PerPort => start(&[r#"datapath = "io_uring""#, r#"sockets = "per_port""#], &[relay]),
            Kind::IoUring => start(&[r#"datapath = "io_uring""#], &[relay]),
            Kind::Epoll => start(&[r#"datapath = "epoll""#], &[relay]),
            Kind::TwoShards => start(&[], &[relay, load]),
            Kind::Rtpengine => Ok(Box::new(Rtpengine::start(setup)?)),
            Kind::Nft => Ok(Box::new(Forward::start(setup)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn systems_are_named_as_they_are_asked_for() {
        for kind in Kind::value_variants() {
            assert_eq!(kind.to_possible_value().unwrap().get_name(), kind.name());
        }
    }
}
