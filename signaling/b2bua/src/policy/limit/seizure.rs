//! What a call holds of the limits of its trunks, for as long as it is there.

use std::sync::Arc;

use super::days::Callee;
use super::limiter::TrunkCalls;
use super::{Direction, Party};
use crate::leg::Side;

/// A call counts at a trunk in a direction until this is dropped, in whatever way the call ends.
///
/// What else it has taken, one of a second and one of its callee's day, is given back with it unless its INVITE was
/// sent on.
#[derive(Debug)]
pub(crate) struct Seizure {
    pub(super) trunk: Arc<TrunkCalls>,
    pub(super) direction: Direction,
    pub(super) caller: Option<Box<[u8]>>,
    /// It has taken one of this second, which is not used yet.
    pub(super) token: bool,
    /// It counts to this callee on that day.
    pub(super) callee: Option<(Callee, i32)>,
    /// Its INVITE was sent on.
    pub(super) sent: bool,
}

/// What a call holds at the trunk that it came from and at the one that it is sent to.
#[derive(Debug, Default)]
pub(crate) struct Seized {
    /// Who calls whom, for other trunks that it may go to.
    pub(crate) party: Party,
    pub(crate) inbound: Option<Seizure>,
    pub(crate) outbound: Option<Seizure>,
}

/// In which direction a party counts, and for which caller: what outlives this process of a [`Seizure`].
pub(crate) type Counted = (Direction, Option<Box<[u8]>>);

impl Seizure {
    /// Its INVITE was sent on: what it has used up it keeps.
    pub(crate) fn sent(&mut self) {
        self.sent = true;
        self.token = false;
    }

    /// It goes on at another trunk: its callee was not called by this one.
    pub(crate) fn hand_on(mut self) {
        self.sent = false;
    }

    /// The same party goes on in another call, which counts as this one does, whatever the limit.
    pub(crate) fn again(&self) -> Seizure {
        TrunkCalls::restore(&self.trunk, self.direction, self.caller.clone())
    }

    /// In which direction it counts, and for whom.
    pub(crate) fn counted(&self) -> (Direction, Option<&[u8]>) {
        (self.direction, self.caller.as_deref())
    }
}

impl Drop for Seizure {
    fn drop(&mut self) {
        self.trunk.release(self);
    }
}

impl Seized {
    /// The INVITE was sent on.
    pub(crate) fn sent(&mut self) {
        for seizure in [&mut self.inbound, &mut self.outbound].into_iter().flatten() {
            seizure.sent();
        }
    }

    /// What the party of a side counts as.
    pub(crate) fn of(&self, side: Side) -> Option<&Seizure> {
        match side {
            Side::Caller => self.inbound.as_ref(),
            Side::Callee => self.outbound.as_ref(),
        }
    }

    /// The call is over.
    pub(crate) fn release(&mut self) {
        self.inbound = None;
        self.outbound = None;
    }
}
