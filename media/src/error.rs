//! Why a media process does not run.

use std::io;
use std::net::SocketAddr;

use moorline_xdp::LookupError;

use crate::ConfigFault;

/// Why the media process could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaError {
    /// A setting cannot work.
    #[error("{0}")]
    Config(#[from] ConfigFault),
    /// An announcement cannot be had.
    #[error("announcements: {0}")]
    Announcements(#[from] crate::AnnouncementError),
    /// The datapath that the configuration names is not available on this host.
    #[error(
        "datapath = \"{datapath}\" is not available: {reason}; set datapath = \"epoll\", or \"auto\" to choose by host"
    )]
    Datapath {
        /// The datapath.
        datapath: &'static str,
        /// What is missing.
        reason: String,
    },
    /// Shared sockets are not available on this host.
    #[error("sockets = \"shared\" is not available: {0}; set sockets = \"per_port\", or \"auto\" to choose by host")]
    SharedSockets(LookupError),
    /// Flows cannot be relayed in the network driver on this host.
    #[error("offload = true is not available: {0}; set offload = false, or \"auto\" to choose by host")]
    Offload(String),
    /// Another process has the media ports.
    #[error("{0}: stop it, or give the two separate ranges")]
    PortsTaken(LookupError),
    /// A core that the configuration names is not there for this process.
    #[error("cores names {core}, and this process may run on {available:?} only")]
    NoSuchCore {
        /// The core.
        core: usize,
        /// Those that there are.
        available: Vec<usize>,
    },
    /// A range names an interface that is not there.
    #[error("media range \"{range}\" names interface \"{interface}\", and there is none of that name: see `ip link`")]
    NoSuchInterface {
        /// The range.
        range: String,
        /// The interface.
        interface: String,
    },
    /// Media cannot be sent past the kernel's routing.
    #[error("egress = \"direct\": {0}; set it to \"auto\" or \"routed\"")]
    Egress(String),
    /// The limit of open files leaves no room for a session.
    #[error("the limit of open files is {limit}, too low for any session: raise it (LimitNOFILE, ulimit -n)")]
    OpenFiles {
        /// The limit.
        limit: u64,
    },
    /// The limit of open files leaves room for fewer sessions than are configured.
    #[error(
        "capacity = {configured} needs more sockets than the limit of {limit} open files leaves room for, which is \
         enough for {fitting} sessions: raise it (LimitNOFILE, ulimit -Hn), or lower the capacity"
    )]
    Capacity {
        /// The sessions configured.
        configured: u32,
        /// Those there is room for.
        fitting: u32,
        /// The limit.
        limit: u64,
    },
    /// A shard could not start.
    #[error("shard {shard}: {reason}")]
    Start {
        /// The shard.
        shard: u16,
        /// Why.
        reason: String,
    },
    /// A shard ended while it should have relayed.
    #[error("shard {shard} failed: {reason}")]
    Shard {
        /// The shard.
        shard: u16,
        /// Why.
        reason: String,
    },
    /// The control socket could not be made.
    #[error("{0}")]
    Control(String),
    /// The admin server could not listen.
    #[error("admin = \"{address}\": {error}; choose a free port")]
    Admin {
        /// The address.
        address: SocketAddr,
        /// The system's words.
        error: io::Error,
    },
    /// The system refused something else.
    #[error("{0}")]
    Io(#[from] io::Error),
}
