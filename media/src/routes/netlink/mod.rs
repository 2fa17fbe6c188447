//! The kernel's side, by netlink (RFC 3549): what is asked of it, and what it tells by itself.

mod firewall;
mod ipsec;
mod kernel;
mod news;
mod read;
mod wire;

pub(super) use firewall::has_legacy_tables;
pub(super) use kernel::Kernel;
pub(super) use news::{Event, News};
