//! Out of the host past the kernel's routing: which way each port's packets leave, and the headers that they need for it.

pub(super) mod header;
pub(super) mod ways;

use crate::routes::{HopReader, Hops};

/// What a shard needs to know next hops.
pub(crate) struct NextHops {
    pub(crate) hops: Hops,
    pub(crate) reader: HopReader,
}
