//! The relay of one shard, sans-IO: which packet goes where, and what was seen of it.
//!
//! [`Relay`] owns the sessions of one shard, the local ports they hold, the sources they accept and their
//! statistics. It opens no socket and reads no clock: sockets are bound and released through [`Ports`],
//! received datagrams come in through [`Relay::packet`], announcements go out through [`Relay::play`], flows are left to a program in the kernel through [`Offload`],
//! and time is a `u64` of nanoseconds on any clock
//! that never goes back.
#![forbid(unsafe_code)]

mod address;
mod announcement;
mod ceiling;
mod closing;
mod config;
mod counters;
mod door;
mod flow;
mod guard;
mod layout;
mod offload;
mod player;
mod pool;
mod ports;
mod quality;
mod relay;
mod session;
mod source;
mod ssrc;
mod statistics;
mod verdict;

pub use announcement::{Announcement, Announcements};
pub use closing::{Closing, Histogram};
pub use config::{Config, ConfigError, Range, Span, VIRTUAL_SHARDS};
pub use counters::{Counters, Relayed};
pub use layout::shard_of;
pub use offload::{Arming, Drain, Offload, Passed, Seen, Stand, Way};
pub use player::Announced;
pub use ports::{BindError, EndpointId, Ports};
pub use relay::{Owner, Relay};
pub use verdict::{DropReason, Outgoing, Traffic, Verdict};

#[cfg(test)]
mod tests;
