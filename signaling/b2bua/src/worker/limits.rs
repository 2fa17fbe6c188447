//! What a call takes of the limits of its trunks, from its INVITE to its end; see [`crate::policy::limit`].

use std::sync::Arc;

use moorline_control::SessionId;
use moorline_sip::Message;

use super::Worker;
use super::setup::Admission;
use crate::Output;
use crate::call::Call;
use crate::leg::Side;
use crate::policy::limit::{Cause, Counted, Direction, Limiter, Moment, Party, Seizure, TrunkCalls};
use crate::policy::{Policy, Refusal, Trunk};

/// The calls of each trunk, by position in the policy, as all workers count them.
pub(super) fn of_trunks(place: &crate::Place, policy: &Policy) -> Vec<Arc<TrunkCalls>> {
    let limiter: &Limiter = &place.limits;
    limiter.expect(place.of);
    for (_, trunk) in policy.current_trunks() {
        limiter.configure(trunk);
    }
    counted_for(place, policy)
}

/// The same, of a policy whose limits hold already. Trunks of one name count together.
pub(super) fn counted_for(place: &crate::Place, policy: &Policy) -> Vec<Arc<TrunkCalls>> {
    let of = |trunk: &Trunk| match trunk.retired {
        true => place.limits.retired(&trunk.name),
        false => place.limits.trunk(&trunk.name),
    };
    policy.trunks.iter().map(of).collect()
}

impl Worker {
    /// Everything but counts that can refuse a call of a trunk, and of one of its users, before it is known where it goes.
    /// Gives its numbers as the rest is told of them.
    pub(super) fn screen(
        &self,
        (trunk, user): (usize, Option<&[u8]>),
        invite: Message<'_>,
        caller: &[u8],
        called: &[u8],
    ) -> Result<Party, Refusal> {
        let (calls, policy) = (&self.trunk_calls[trunk], &self.policy.trunks[trunk]);
        let mut party = Party::new(invite, caller, called);
        let arrears = if calls.is_in_arrears(user) { Err(Cause::Arrears) } else { Ok(()) };
        arrears
            .and_then(|()| calls.screen(Direction::Inbound, &party))
            .and_then(|()| self.place.limits.judge(&policy.name, &mut party, || self.draw()))
            .and_then(|()| TrunkCalls::bar(&policy.limits.inbound, &party))
            .map_err(|cause| self.limited(trunk, Direction::Inbound, cause))?;
        Ok(party)
    }

    /// Takes what a call needs at the trunk that it came from.
    pub(super) fn seize_inbound(
        &self,
        now: u64,
        from: usize,
        party: &Party,
        transfer: bool,
    ) -> Result<Seizure, Refusal> {
        self.seize_at(now, from, Direction::Inbound, party, transfer)
    }

    /// Takes what a call needs at a trunk that it may be sent to.
    pub(super) fn seize_outbound(&self, now: u64, to: usize, party: &Party) -> Result<Seizure, Refusal> {
        let (calls, limits) = (&self.trunk_calls[to], &self.policy.trunks[to].limits.outbound);
        calls
            .screen(Direction::Outbound, party)
            .and_then(|()| TrunkCalls::bar(limits, party))
            .map_err(|cause| self.limited(to, Direction::Outbound, cause))?;
        self.seize_at(now, to, Direction::Outbound, party, false)
    }

    fn seize_at(
        &self,
        now: u64,
        trunk: usize,
        direction: Direction,
        party: &Party,
        transfer: bool,
    ) -> Result<Seizure, Refusal> {
        let limits = self.policy.trunks[trunk].limits.of(direction);
        let day = self.wall.local(now).day.clamp(i32::MIN.into(), i32::MAX.into());
        let moment = Moment {
            now,
            // Within bounds.
            day: day as i32,
            restoring: self.place.limits.is_restoring(),
            transfer,
            pass_when_full: self.policy.limits.pass_when_callees_full,
        };
        let seized = TrunkCalls::seize(&self.trunk_calls[trunk], direction, limits, party, moment);
        seized.map_err(|cause| self.limited(trunk, direction, cause))
    }

    /// The call goes on to another trunk: it is a call of the one before no longer, and takes what it needs at the new
    /// one.
    ///
    /// # Errors
    /// There is none of it; the call holds nothing at either then.
    pub(super) fn seize_next(&mut self, now: u64, id: SessionId, to: usize) -> Result<(), Refusal> {
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        if let Some(before) = call.seized.outbound.take() {
            before.hand_on();
        }
        let party = call.seized.party.clone();
        let seizure = self.seize_outbound(now, to, &party)?;
        if let Some(call) = self.calls.get_mut(&id) {
            call.seized.outbound = Some(seizure);
        }
        Ok(())
    }

    /// A call that is made for a transfer: each party who is in a call already counts as it does there, whatever the
    /// limits. What was taken for who asked for the transfer stays used up, and is held no longer.
    pub(super) fn seize_for_transfer(
        &self,
        admission: &mut Admission,
        (call, moved): (&Call, Side),
        other: Option<(&Call, Side)>,
    ) {
        if let Some(asked) = &mut admission.seized.inbound {
            asked.sent();
        }
        admission.seized.inbound = call.seized.of(moved).map(Seizure::again);
        if let Some((call, side)) = other {
            admission.seized.outbound = call.seized.of(side).map(Seizure::again);
        } else if admission.replacement.is_some() {
            let there = &self.trunk_calls[admission.egress];
            admission.seized.outbound = Some(TrunkCalls::restore(there, Direction::Outbound, None));
        }
    }

    /// A call that is up already counts again after a restart, whatever the limits are by now.
    pub(super) fn seize_again(&self, call: &mut Call, counted: [Counted; 2]) {
        let [caller, callee] = Side::BOTH.map(|side| &self.trunk_calls[call.leg(side).trunk]);
        let [(inbound, by), (outbound, to)] = counted;
        call.seized.inbound = Some(TrunkCalls::restore(caller, inbound, by));
        call.seized.outbound = Some(TrunkCalls::restore(callee, outbound, to));
    }

    /// Tells of counts that must be written down before anything else leaves.
    pub(super) fn tell_counted(&mut self) {
        if self.place.limits.days().has_changes() {
            self.outputs.push_back(Output::Counted);
        }
    }

    /// A limit of a trunk refuses a call.
    fn limited(&self, trunk: usize, direction: Direction, cause: Cause) -> Refusal {
        self.trunk_calls[trunk].refused(direction, cause);
        self.policy.trunks[trunk].limits.refusals.of(cause).clone()
    }

    /// A random number that need not be hard to guess.
    fn draw(&self) -> u64 {
        // SplitMix64.
        let state = self.draws.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.draws.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
