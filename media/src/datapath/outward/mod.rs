//! Out of the host past the kernel's routing: which way each port's packets leave, and the headers that they need for it.

pub(super) mod header;
pub(super) mod ways;

use std::os::fd::OwnedFd;

use crate::routes::{HopReader, Hops};

/// What a shard of io_uring needs to send to next hops.
pub(crate) struct NextHops {
    /// Packet sockets, by traffic class. To close one takes the kernel some time: none is made in vain.
    pub(crate) sockets: Vec<(u8, OwnedFd)>,
    pub(crate) hops: Hops,
    pub(crate) reader: HopReader,
}
