//! Sending past the kernel's routing with io_uring: the thread that follows next hops, and what shards need of it.

use std::io;
use std::os::fd::OwnedFd;

use crate::config::{Config, Egress};
use crate::datapath::NextHops;
use crate::datapath::uring::packet_sockets;
use crate::error::MediaError;
use crate::routes::{self, Firewall, HopFigures, HopReader, Outward, Routes};

/// The most next hops of a shard: as many as it has ports, up to this. What is above goes by the kernel.
const MAX_HOPS: usize = 16_384;

/// Followed next hops, for every shard. Dropped, they are followed no more, and the kernel sends.
pub(crate) struct Direct {
    routes: Routes,
    each: u32,
    /// Of every shard that does not run yet.
    sockets: Vec<Vec<(u8, OwnedFd)>>,
}

/// What is known of them.
pub(crate) struct Watch(HopReader);

impl Watch {
    pub(crate) fn hops(&self) -> HopFigures {
        self.0.figures()
    }
}

impl Direct {
    /// For shards that have so many ports on shared sockets, if they have those, and the configuration wants it; where it
    /// does not insist, and the host does not offer it, `None`.
    ///
    /// # Errors
    /// What is missing, where the configuration insists.
    pub(crate) fn wished(config: &Config, shared_ports: Option<usize>) -> Result<Option<Direct>, MediaError> {
        let started = match (config.egress, shared_ports) {
            (Egress::Routed, _) | (Egress::Auto, None) => return Ok(None),
            (Egress::Direct, None) => Err("it takes shared sockets, and there are none".to_owned()),
            (Egress::Auto | Egress::Direct, Some(ports)) => Direct::start(config, ports),
        };
        match started {
            Ok(direct) => Ok(Some(direct)),
            Err(reason) if config.egress == Egress::Direct => Err(MediaError::Egress(reason)),
            Err(reason) => {
                tracing::warn!(reason, "the kernel routes all media that is sent");
                Ok(None)
            }
        }
    }

    /// The kernel's reason where it cannot be, in words.
    fn start(config: &Config, ports: usize) -> Result<Direct, String> {
        let classes = || config.ranges.iter().map(|range| range.dscp << 2);
        let sockets = config.cores.iter().map(|_| packet_sockets(classes())).collect::<io::Result<Vec<_>>>();
        let sockets = sockets.map_err(|error| format!("packet sockets: {error}"))?;
        let each = ports.min(MAX_HOPS);
        let firewall = if config.egress == Egress::Direct { Firewall::Ignored } else { Firewall::Heeded };
        let places = (each * config.cores.len()) as u32;
        let routes = Routes::start(outward(config), places, None, firewall);
        let routes = routes.map_err(|error| format!("following the kernel's routes: {error}"))?;
        Ok(Direct { routes, each: each as u32, sockets })
    }

    /// What the next shard needs.
    pub(crate) fn next_hops(&mut self) -> Option<NextHops> {
        let sockets = self.sockets.pop()?;
        Some(NextHops { sockets, hops: self.routes.share(self.each), reader: self.routes.reader() })
    }

    /// What metrics tell of it.
    pub(crate) fn watch(&self) -> Watch {
        Watch(self.routes.reader())
    }
}

/// Whether this host has a firewall that packets of IP pass, for which [`Egress::Auto`] leaves sending to the kernel. What
/// this user may not know counts as one.
pub fn has_firewall() -> bool {
    routes::has_firewall()
}

/// How packets of each range leave.
pub(crate) fn outward(config: &Config) -> Vec<Outward> {
    let range = |range: &crate::Range| Outward { interface: range.interface.clone(), traffic_class: range.dscp << 2 };
    config.ranges.iter().map(range).collect()
}
