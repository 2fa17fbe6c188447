//! What the configuration wants of the host, and what the host offers: cores, a datapath, shared sockets, offload.

use std::io;
use std::sync::Arc;

use moorline_xdp::{Lookup, LookupError, LookupRange};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::bypass::{self, Bypass};
use crate::config::{Config, DatapathChoice, MAX_SHARDS, OffloadChoice, Range, Sockets};
use crate::datapath::Datapath;
use crate::datapath::uring::{self, Uring};
use crate::error::MediaError;

/// What relays flows in the network driver beside io_uring, if the configuration wants it; where it does not insist, and
/// the host does not offer it, `None`.
pub(super) fn start_offload(config: &Config, shared: bool) -> Result<Option<Bypass>, MediaError> {
    if config.offload == OffloadChoice::Off {
        return Ok(None);
    }
    let started = if !shared {
        Err("what comes up needs shared sockets, and there are none".to_owned())
    } else if config.xdp_interfaces().is_empty() {
        Err("no interface is named".to_owned())
    } else {
        Bypass::start(config, &lookup_ranges(config), None)
    };
    match started {
        Ok(bypass) => Ok(Some(bypass)),
        Err(reason) if config.offload == OffloadChoice::On => Err(MediaError::Offload(reason)),
        Err(reason) => {
            tracing::info!(reason, "no flow is relayed in the network driver");
            Ok(None)
        }
    }
}

/// Whether this host offers what `offload` takes, where the configuration wants it, as far as can be told without
/// attaching anything.
///
/// # Errors
/// What is missing, in words.
pub fn offload(config: &Config) -> Result<(), String> {
    if config.offload == OffloadChoice::Off {
        return Ok(());
    }
    if config.xdp_interfaces().is_empty() {
        return Err("no interface is named".to_owned());
    }
    moorline_xdp::forward::probe().map_err(|error| error.to_string())
}

/// Whether this host offers what `datapath = "af_xdp"` takes, as far as it can be told without attaching anything.
///
/// # Errors
/// What is missing, in words.
pub fn af_xdp(config: &Config) -> Result<(), String> {
    bypass::probe(config)
}

/// The cores to run on: those configured, or all that there are.
pub(super) fn cores(config: &Config) -> Result<Vec<usize>, MediaError> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).map_err(io::Error::from)?;
    let mut available: Vec<usize> =
        (0..CpuSet::count()).filter(|&core| allowed.is_set(core).unwrap_or(false)).collect();
    if let Some(&core) = config.cores.iter().find(|core| !available.contains(core)) {
        return Err(MediaError::NoSuchCore { core, available });
    }
    available.truncate(MAX_SHARDS);
    Ok(if config.cores.is_empty() { available } else { config.cores.clone() })
}

/// The datapath to use: the one named, or what the host offers.
pub(super) fn choose(choice: DatapathChoice) -> Result<DatapathChoice, MediaError> {
    if choice == DatapathChoice::Epoll {
        return Ok(DatapathChoice::Epoll);
    }
    match (uring::probe(), choice) {
        (Ok(()), _) => Ok(DatapathChoice::IoUring),
        (Err(error), DatapathChoice::IoUring) => {
            Err(MediaError::Datapath { datapath: Uring::NAME, reason: error.to_string() })
        }
        (Err(error), _) => {
            tracing::warn!(reason = %error, "io_uring is not available: media goes by epoll");
            Ok(DatapathChoice::Epoll)
        }
    }
}

/// Whether this process may have shared media sockets on this host, see [`Sockets::Shared`].
///
/// # Errors
/// What is missing.
pub fn shared_sockets() -> Result<(), LookupError> {
    moorline_xdp::lookup::probe()
}

pub(super) fn lookup_ranges(config: &Config) -> Vec<LookupRange> {
    let spans = config.relay_ranges().into_iter().map(|range| range.span());
    let range = |(span, range): (moorline_relay::Span, &Range)| LookupRange {
        first: span.first,
        addresses: span.addresses,
        first_port: span.first_port,
        ports: span.ports,
        interface: range.interface.as_deref().and_then(|name| nix::net::if_::if_nametoindex(name).ok()),
    };
    spans.zip(&config.ranges).map(range).collect()
}

/// What makes shards share a socket among their ports, if the configuration and the host allow it.
pub(super) fn share(config: &Config) -> Result<Option<Arc<Lookup>>, MediaError> {
    if config.sockets == Sockets::PerPort {
        return Ok(None);
    }
    let ceiling = Some(config.port_flood_pps).filter(|pps| *pps != 0);
    match Lookup::attach(&lookup_ranges(config), config.cores.len() as u16, ceiling) {
        Ok(lookup) => Ok(Some(Arc::new(lookup))),
        // With sockets of its own it would hear nothing either.
        Err(error @ LookupError::Taken(_)) => Err(MediaError::PortsTaken(error)),
        Err(error) if config.sockets == Sockets::Shared => Err(MediaError::SharedSockets(error)),
        Err(error) => {
            tracing::info!(reason = %error, "every media port gets a socket of its own: sharing one is not possible");
            Ok(None)
        }
    }
}
