//! What the process tells the program of itself and of all flows.

use std::mem::offset_of;

use moorline_xdp_abi::forward::{Lease, VERSION};

use super::{FlowId, Forward, NANOS};
use crate::mapped::Mapped;

const PID: usize = offset_of!(Lease, pid);
const BEAT: usize = offset_of!(Lease, beat);
const SECOND: usize = offset_of!(Lease, second);
const DRAIN_UNTIL: usize = offset_of!(Lease, drain_until);
const FOREIGN: usize = offset_of!(Lease, foreign);
const _: () = assert!(offset_of!(Lease, version) == 0);

/// From now on this process tells the program what to do.
pub(super) fn take(lease: &Mapped, now: u64) {
    lease.store_u32(PID, std::process::id());
    lease.store_u32(FOREIGN, 0);
    lease.store_u64(DRAIN_UNTIL, 0);
    lease.store_u32(0, VERSION);
    beat(lease, now);
}

fn beat(lease: &Mapped, now: u64) {
    // The seconds first: reckoned from too early a second, times are right all the same.
    lease.store_u64(SECOND, now / NANOS);
    lease.store_u64(BEAT, now);
}

impl Forward {
    /// Renews the lease at a time of [`monotonic_ns`](super::monotonic_ns). Five seconds after the last time the program
    /// passes everything.
    pub fn beat(&self, now: u64) {
        beat(&self.lease, now);
    }

    /// Until a time of [`monotonic_ns`](super::monotonic_ns), packets of a flow that was told are dropped where they
    /// would have to go up only because others of it are in flight: for a process that is so late that some always are.
    /// False, and nothing is changed, for a flow that was not told. To be ended by [`fill`](Self::fill): while any flow
    /// is drained, all are that were not ended.
    pub fn drain(&self, flow: FlowId, until: u64) -> bool {
        if self.lease.u64_at(DRAIN_UNTIL) < until {
            self.lease.store_u64(DRAIN_UNTIL, until);
        }
        self.flows.set_drained(flow, true)
    }

    /// A flow is no longer drained.
    pub fn fill(&self, flow: FlowId) {
        self.flows.set_drained(flow, false);
    }

    /// From now on a flow is relayed in the driver only while it comes by a queue whose AF_XDP socket is not its port's
    /// shard's, or that has none; elsewhere its packets go up.
    pub fn relay_only_foreign(&self) {
        self.lease.store_u32(FOREIGN, 1);
    }
}
