//! Kernel bypass: the XDP program on the media interfaces, the next hops that the kernel knows, and what shards need of
//! both.

mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use moorline_xdp::forward::{Attached, Counts, Mode, monotonic_ns};
use moorline_xdp::{Forward, LookupRange, forward, xsk};

use crate::config::{Config, OffloadChoice, ZeroCopy};
use crate::datapath::af_xdp::{Interface, Plan};
use crate::datapath::offload::OffloadPlan;
use crate::egress::outward;
use crate::routes::{Firewall, HopFigures, HopReader, Hops, Routes};

use table::Table;

/// How often the program is told that its process lives; it waits 5 s for that.
const BEAT: Duration = Duration::from_millis(500);
/// How many beats pass between two looks at the interfaces.
const BEATS_PER_LOOK: u32 = 2;

/// The most next hops of a shard: as many as it has ports, up to this.
const MAX_HOPS: usize = 65_536;
/// The most next hops of the program, over all shards. The first place has no number.
const DRIVER_HOPS: usize = forward::abi::MAX_HOPS - 1;
/// Flows of a session: two legs with two streams each.
const FLOWS_PER_SESSION: u32 = 4;
/// A table cannot be empty.
const NO_FLOWS: u32 = 1;
/// Where instances have their folders on the BPF file system.
const PINS: &str = "/sys/fs/bpf/moorline";
/// After so many beats, a minute, flows of a former process that no session has claimed are over.
const SURVIVAL: u32 = 120;

/// The attached program, and the thread that follows the kernel's routes. Dropped, both are gone; but where the program
/// relays flows by `media.offload` it is pinned, and relays on for the next process until the lease ends.
pub(crate) struct Bypass {
    program: Arc<Forward>,
    routes: Routes,
    interfaces: Vec<Interface>,
    /// Of every shard that does not run yet, if flows are relayed in the driver.
    driver_hops: Vec<Hops>,
    offloads: bool,
    /// Only those that come by another shard's queue.
    only_foreign: bool,
    /// How many next hops a shard's AF_XDP sockets need, where there are any.
    socket_hops: Option<u32>,
}

/// What the program has done, and what is known of next hops.
pub(crate) struct Watch {
    program: Arc<Forward>,
    hops: HopReader,
}

impl Watch {
    /// What the program has counted, if the kernel says.
    pub(crate) fn counts(&self) -> Option<Counts> {
        self.program.counts().ok()
    }

    pub(crate) fn hops(&self) -> HopFigures {
        self.hops.figures()
    }
}

impl Bypass {
    /// Attaches the program to the media interfaces. No packet comes by it before sockets have been made, or flows told.
    /// With AF_XDP sockets of shards that have so many endpoints, where there are to be any.
    ///
    /// # Errors
    /// What is missing, in words.
    pub(crate) fn start(config: &Config, ranges: &[LookupRange], sockets: Option<usize>) -> Result<Bypass, String> {
        if sockets.is_some() {
            probe(config)?;
        }
        let is_wished = config.offload != OffloadChoice::Off;
        // A shard cannot be handed what comes by another's queue.
        let only_foreign = !is_wished && sockets.is_some() && config.cores.len() > 1;
        let offloads = is_wished || only_foreign;
        let names = config.xdp_interfaces();
        let port_pps = Some(config.port_flood_pps).filter(|pps| *pps != 0);
        let flows = if offloads { config.capacity.saturating_mul(FLOWS_PER_SESSION) } else { NO_FLOWS };
        let pin = is_wished.then(|| pin_of(&names));
        let program = Forward::attach(&names, ranges, port_pps, flows, Mode::Any, pin.as_deref())
            .map_err(|error| error.to_string())?;
        let program = Arc::new(program);
        if only_foreign {
            program.relay_only_foreign();
        }
        if let Some(reason) = program.not_pinned() {
            tracing::warn!(reason, "the XDP program is not pinned: while the process restarts no flow is relayed");
        }
        let mut interfaces = Vec::with_capacity(names.len());
        for Attached { name, index, native, .. } in program.attached() {
            let queues = queues(&name)?;
            if !native {
                tracing::warn!(interface = name, "its driver runs no XDP programs: generic XDP, which gains little");
            }
            interfaces.push(Interface { name, index, queues });
        }
        program.beat(monotonic_ns());
        let shards = config.cores.len();
        let socket_hops = sockets.map(|endpoints| endpoints.min(MAX_HOPS));
        // The program's come first: its table is small.
        let driver_hops = if offloads { DRIVER_HOPS } else { 0 };
        let hops = driver_hops + socket_hops.unwrap_or(0) * shards;
        let table = offloads.then(|| Arc::new(Table(Arc::clone(&program))) as _);
        let routes = Routes::start(outward(config), hops as u32, table, Firewall::Ignored);
        let mut routes = routes.map_err(|error| format!("following the kernel's routes: {error}"))?;
        let each = (driver_hops / shards.max(1)) as u32;
        let driver_hops = (0..shards).filter(|_| offloads).map(|_| routes.share(each)).collect();
        if offloads {
            let (interfaces, took_over) = (program.attached(), program.took_over());
            tracing::info!(?interfaces, took_over, only_foreign, "settled flows are relayed in the network driver");
        }
        let socket_hops = socket_hops.map(|hops| hops as u32);
        Ok(Bypass { program, routes, interfaces, driver_hops, offloads, only_foreign, socket_hops })
    }

    /// What metrics tell of it.
    pub(crate) fn watch(&self) -> Watch {
        Watch { program: self.program(), hops: self.routes.reader() }
    }

    /// The program.
    pub(crate) fn program(&self) -> Arc<Forward> {
        Arc::clone(&self.program)
    }

    /// What the next shard needs to have flows relayed in the driver.
    pub(crate) fn offload(&mut self) -> Option<OffloadPlan> {
        let hops = self.driver_hops.pop()?;
        Some(OffloadPlan { forward: Arc::clone(&self.program), hops, only_foreign: self.only_foreign })
    }

    /// What the next shard's AF_XDP sockets need.
    pub(crate) fn plan(&mut self, config: &Config) -> Option<Plan> {
        let hops = self.socket_hops?;
        Some(Plan {
            program: Arc::clone(&self.program),
            interfaces: self.interfaces.clone(),
            zero_copy: match config.xdp.zero_copy {
                ZeroCopy::Prefer => xsk::ZeroCopy::Prefer,
                ZeroCopy::Require => xsk::ZeroCopy::Require,
                ZeroCopy::Never => xsk::ZeroCopy::Never,
            },
            frames_per_queue: config.xdp.frames_per_queue,
            shards: config.cores.len() as u16,
            hops: self.routes.share(hops),
            reader: self.routes.reader(),
            offloads: self.offloads,
        })
    }

    /// Keeps the program going, and on interfaces that are made anew. Does not end.
    pub(crate) fn keep(&self) -> impl Future<Output = ()> + use<> {
        let program = Arc::clone(&self.program);
        async move {
            let mut beats = 0u32;
            loop {
                for _ in 0..BEATS_PER_LOOK {
                    program.beat(monotonic_ns());
                    tokio::time::sleep(BEAT).await;
                    beats = beats.saturating_add(1);
                    if beats == SURVIVAL {
                        let cleared = program.clear_survivors();
                        tracing::info!(cleared, "flows of a former process that no session has claimed are over");
                    }
                }
                match program.renew() {
                    Ok(false) => {}
                    // Its sockets went with the old one.
                    Ok(true) => {
                        tracing::warn!("an XDP interface was made anew: its media goes by the kernel until a restart")
                    }
                    Err(error) => tracing::error!(%error, "the XDP program is not on an interface that was made anew"),
                }
            }
        }
    }
}

/// One folder for each set of interfaces: two instances cannot share one. Names in a BPF file system have no dots.
fn pin_of(interfaces: &[String]) -> PathBuf {
    let names: Vec<String> = interfaces.iter().map(|name| name.replace('.', "_")).collect();
    PathBuf::from(PINS).join(names.join("+"))
}

/// Ends what a former process left in the driver, where the configuration no longer has flows relayed there.
pub(crate) fn clear(config: &Config) {
    let names = config.xdp_interfaces();
    if config.offload == OffloadChoice::Off && !names.is_empty() && forward::clear(&names, &pin_of(&names)) {
        tracing::info!("the XDP program that a former process had left is gone");
    }
}

/// Whether this host offers what AF_XDP takes, as far as it can be told without attaching anything.
///
/// # Errors
/// What is missing, in words.
pub(crate) fn probe(config: &Config) -> Result<(), String> {
    xsk::probe().map_err(|error| error.to_string())?;
    for name in config.xdp_interfaces() {
        if nix::net::if_::if_nametoindex(name.as_str()).is_err() {
            return Err(format!("there is no interface \"{name}\": see `ip link`"));
        }
        queues(&name)?;
    }
    forward::probe().map_err(|error| error.to_string())
}

fn queues(interface: &str) -> Result<u32, String> {
    xsk::queues(interface).map_err(|error| format!("the queues of {interface}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_of_interfaces_has_a_folder_of_its_own() {
        let pin = |names: &[&str]| pin_of(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(pin(&["eth0"]), PathBuf::from("/sys/fs/bpf/moorline/eth0"));
        assert_eq!(pin(&["eth0.100", "eth1"]), PathBuf::from("/sys/fs/bpf/moorline/eth0_100+eth1"));
    }
}
