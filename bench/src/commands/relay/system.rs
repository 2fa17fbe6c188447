//! What is measured.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::bare::{self, Bare};
use super::forward::Forward;
use super::lab::{Lab, is_there};
use super::links::Links;
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
    /// Moorline with established flows relayed in the driver.
    Offload,
    /// Moorline's AF_XDP datapath.
    AfXdp,
    /// Moorline with a second shard, on the load's core.
    TwoShards,
    /// The least that a relay in the driver must do.
    BareXdp,
    /// The least that a relay by AF_XDP sockets must do.
    BareAfXdp,
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
    pub(super) links: Links,
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

impl Setup {
    /// Where the bare bypasses and their generator are built.
    pub(super) fn forwarders(&self) -> PathBuf {
        self.directory.join("forwarders")
    }
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Moorline => "moorline",
            Kind::Shared => "shared",
            Kind::PerPort => "per_port",
            Kind::IoUring => "io_uring",
            Kind::Epoll => "epoll",
            Kind::Offload => "offload",
            Kind::AfXdp => "af_xdp",
            Kind::TwoShards => "two_shards",
            Kind::BareXdp => "bare_xdp",
            Kind::BareAfXdp => "bare_af_xdp",
            Kind::Rtpengine => "rtpengine",
            Kind::Nft => "nft",
        }
    }

    pub(super) fn is_moorline(self) -> bool {
        !matches!(self, Kind::Rtpengine | Kind::Nft | Kind::BareXdp | Kind::BareAfXdp)
    }

    /// Whether it takes packets before the kernel's stack.
    pub(super) fn is_bypass(self) -> bool {
        matches!(self, Kind::Offload | Kind::AfXdp | Kind::BareXdp | Kind::BareAfXdp)
    }

    /// Why it cannot be measured: one that bypasses the stack is started once to see.
    pub(super) fn refusal(self, setup: &Setup) -> Option<String> {
        if !self.is_bypass() {
            return None;
        }
        let attempt = || -> Result<bool, Error> {
            let system = self.start(setup)?;
            let has_programs = setup.links.have_programs();
            system.stop(setup)?;
            Ok(has_programs)
        };
        match attempt() {
            Ok(true) => None,
            Ok(false) => Some("it attached no XDP program".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// The Debian package that is not there, if one is needed.
    pub(super) fn missing(self) -> Option<&'static str> {
        let (tool, package) = match self {
            Kind::Rtpengine => ("rtpengine", "rtpengine-daemon"),
            Kind::Nft => ("nft", "nftables"),
            Kind::BareXdp | Kind::BareAfXdp => return bare::missing(),
            _ => return None,
        };
        (!is_there(tool)).then_some(package)
    }

    pub(super) fn start(self, setup: &Setup) -> Result<Box<dyn System>, Error> {
        let (relay, load) = (setup.relay_core, setup.load_core);
        setup.links.whole_checksums(self.is_bypass())?;
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
            // Neither has sockets to run out of.
            Kind::Offload | Kind::AfXdp => {
                let setting = if self == Kind::Offload { "offload = true" } else { r#"datapath = "af_xdp""# };
                let cores = setup.links.queue_cores();
                Ok(Box::new(Moorline::start(setup, &[setting], &cores, setup.capacity)?))
            }
            Kind::TwoShards => start(&[], &[relay, load]),
            Kind::BareXdp => Ok(Box::new(Bare::start(setup, "xdp")?)),
            Kind::BareAfXdp => Ok(Box::new(Bare::start(setup, "af_xdp")?)),
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
