//! The media process of Moorline: relays RTP and RTCP between the legs of calls.
//!
//! One thread per configured core, a shard, owns its sessions, their ports and their packets
//! (`moorline-relay` decides, a datapath moves the bytes). One more thread serves the control socket, by
//! which signaling opens and closes sessions, and the read-only admin server. It outlives signaling: a client
//! that goes away leaves its sessions relaying for their lease.
//!
//! [`run`] is the whole process; what it needs is in [`Config`].
#![deny(unsafe_code)]

mod admin;
mod announcements;
mod bypass;
mod config;
mod control;
mod datapath;
mod egress;
mod error;
mod limits;
mod metrics;
mod process;
mod routes;
mod shard;

pub use announcements::{AnnouncementError, AnnouncementSource, WavError, announcements};
pub use config::{Config, ConfigFault, DatapathChoice, Egress, OffloadChoice, Range, Sockets, Xdp, ZeroCopy};
pub use egress::has_firewall;
pub use error::MediaError;
pub use moorline_xdp::LookupError;
pub use process::{af_xdp, offload, run, run_until, shared_sockets};

/// Says how many lines of the process's log were lost, whenever it is asked: it does not wait.
pub type LostLines = std::sync::Arc<dyn Fn() -> u64 + Send + Sync>;
