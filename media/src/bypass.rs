//! Kernel bypass: the XDP program on the media interfaces, the next hops that the kernel knows, and what shards need of
//! both.

use std::sync::Arc;
use std::time::Duration;

use moorline_xdp::forward::{Attached, Mode, monotonic_ns};
use moorline_xdp::{Forward, LookupRange, forward, xsk};

use crate::config::{Config, ZeroCopy};
use crate::datapath::af_xdp::{Interface, Plan};
use crate::routes::{Outward, Routes};

/// How often the program is told that its process lives; it waits 5 s for that.
const BEAT: Duration = Duration::from_millis(500);
/// How many beats pass between two looks at the interfaces.
const BEATS_PER_LOOK: u32 = 2;
/// The most next hops of a shard: as many as it has ports, up to this.
const MAX_HOPS: usize = 65_536;

/// The program's table of flows cannot be empty; none is relayed in the driver here.
const NO_FLOWS: u32 = 1;

/// The attached program, and the thread that follows the kernel's routes. Dropped, both are gone.
pub(crate) struct Bypass {
    program: Arc<Forward>,
    routes: Routes,
    interfaces: Vec<Interface>,
}

impl Bypass {
    /// Attaches the program to the media interfaces. No packet comes by it before sockets have been made.
    ///
    /// # Errors
    /// What is missing, in words.
    pub(crate) fn start(config: &Config, ranges: &[LookupRange], endpoints: usize) -> Result<Bypass, String> {
        probe(config)?;
        let names = config.xdp_interfaces();
        let port_pps = Some(config.port_flood_pps).filter(|pps| *pps != 0);
        let program =
            Forward::attach(&names, ranges, port_pps, NO_FLOWS, Mode::Any, None).map_err(|error| error.to_string())?;
        let mut interfaces = Vec::with_capacity(names.len());
        for Attached { name, index, native, .. } in program.attached() {
            let queues = queues(&name)?;
            if !native {
                tracing::warn!(interface = name, "its driver runs no XDP programs: generic XDP, which gains little");
            }
            interfaces.push(Interface { name, index, queues });
        }
        program.beat(monotonic_ns());
        let outward =
            |range: &crate::Range| Outward { interface: range.interface.clone(), traffic_class: range.dscp << 2 };
        let hops = endpoints.min(MAX_HOPS) * config.cores.len();
        let routes = Routes::start(config.ranges.iter().map(outward).collect(), hops as u32, None);
        let routes = routes.map_err(|error| format!("following the kernel's routes: {error}"))?;
        Ok(Bypass { program: Arc::new(program), routes, interfaces })
    }

    /// What the next shard needs.
    pub(crate) fn plan(&mut self, config: &Config, endpoints: usize) -> Plan {
        Plan {
            program: Arc::clone(&self.program),
            interfaces: self.interfaces.clone(),
            zero_copy: match config.xdp.zero_copy {
                ZeroCopy::Prefer => xsk::ZeroCopy::Prefer,
                ZeroCopy::Require => xsk::ZeroCopy::Require,
                ZeroCopy::Never => xsk::ZeroCopy::Never,
            },
            frames_per_queue: config.xdp.frames_per_queue,
            shards: config.cores.len() as u16,
            hops: self.routes.share(endpoints.min(MAX_HOPS) as u32),
            reader: self.routes.reader(),
        }
    }

    /// Keeps the program going, and on interfaces that are made anew. Does not end.
    pub(crate) fn keep(&self) -> impl Future<Output = ()> + use<> {
        let program = Arc::clone(&self.program);
        async move {
            loop {
                for _ in 0..BEATS_PER_LOOK {
                    program.beat(monotonic_ns());
                    tokio::time::sleep(BEAT).await;
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
