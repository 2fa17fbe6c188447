//! Which trunk a call goes to by the routes, and which next where that one cannot carry it.

use std::collections::VecDeque;

use moorline_control::{LocalSession, SessionId};
use moorline_sip::{Message, Transport};

use super::setup::{Refused, read};
use super::targets::lottery;
use super::{Arrival, Worker};
use crate::call::{Call, Hunting, Numbers, Phase, Waiting};
use crate::forward::{self, Body};
use crate::leg::{Leg, Side};
use crate::locate::Hop;
use crate::media::Remote;
use crate::policy::limit::{Party, Seizure};
use crate::policy::{Decision, Refusal, Target, Way};

/// Why a trunk does not carry a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setback {
    /// Nothing was heard of it, it cannot be reached or found, or has no room.
    Silence,
    /// Nothing is left to try of what it was to be reached by.
    Nowhere,
    /// It has answered so, whatever the caller is to hear.
    Answer(u16, Vec<u8>),
}

impl Setback {
    /// A trunk's answer.
    pub(super) fn answer(answer: Message<'_>) -> Setback {
        Setback::Answer(answer.status().unwrap_or_default(), answer.reason().unwrap_or_default().to_vec())
    }

    /// True where another target of the same trunk may do better.
    pub(super) fn is_of_target(&self) -> bool {
        matches!(self, Setback::Silence | Setback::Answer(503, _))
    }
}

impl Worker {
    /// What the routes decide on calls with these numbers, from a trunk, now.
    pub(super) fn decision(&self, now: u64, from: usize, numbers: &Numbers) -> Option<&Decision> {
        let at = self.wall.local(now);
        // A call that began with a configuration before may place another one, for a transfer.
        let from = self.policy.successor(from);
        self.policy.routes.find(from, &numbers.routed.called, &numbers.routed.caller, at)
    }

    /// The trunk that a new call goes to by the routes, and the others that it may go to. `draw` is a random number.
    pub(super) fn way_out(
        &self,
        arrival: Arrival<'_>,
        from: usize,
        numbers: &mut Numbers,
        offer: &[Remote],
        draw: u64,
        party: &Party,
    ) -> Result<(usize, Option<Box<Hunting>>, Seizure), Refused> {
        let decision = self.decision(arrival.now, from, numbers);
        let decision = decision.ok_or_else(|| Refused::because(404, "No Route"))?;
        let (left, failover) = match &decision.to {
            Way::Trunk(trunk) => (vec![*trunk], None),
            Way::Trunks(hunt) => (hunt.draw(lottery(draw)), Some(&hunt.failover)),
            Way::Redirect(to) => return Err(Refused::redirect(to, &numbers.routed.called)),
            Way::Refuse(refusal) => return Err(refusal.into()),
        };
        numbers.take(&decision.numbers);
        let mut left = VecDeque::from(left);
        // Stable: of those alive the drawn order stays.
        left.make_contiguous().sort_by_key(|egress| self.is_resting(arrival.now, *egress));
        let mut refused = Refused::because(404, "No Route");
        let mut first = true;
        while let Some(egress) = left.pop_front() {
            let limited = |refusal: Refusal| Refused::from(&refusal);
            let seize = || self.seize_outbound(arrival.now, egress, party).map_err(limited);
            match self.suits(arrival.message, [from, egress], offer).and_then(|_| seize()) {
                Ok(seizure) => {
                    let failover = failover.filter(|_| !left.is_empty());
                    return Ok((
                        egress,
                        failover.map(|failover| Box::new(Hunting { left, failover: failover.clone() })),
                        seizure,
                    ));
                }
                // What the first lacks is what the caller hears.
                Err(lacks) if std::mem::take(&mut first) => refused = lacks,
                Err(_) => {}
            }
        }
        Err(refused)
    }

    /// True where all targets of a trunk are addresses that have failed a short while ago.
    pub(super) fn is_resting(&self, now: u64, trunk: usize) -> bool {
        let targets = &self.policy.trunks[trunk].targets;
        let rests = |target: &Target| {
            let hops = |address| Transport::ALL.map(|transport| Hop { transport, address });
            target.address().is_some_and(|at| hops(at).iter().any(|hop| self.health.rests_until(now, *hop).is_some()))
        };
        !targets.is_empty() && targets.iter().all(rests)
    }

    /// The streams that are left of an offer between these trunks.
    ///
    /// # Errors
    /// A call by this INVITE cannot be between them.
    fn suits(&self, invite: Message<'_>, trunks: [usize; 2], offer: &[Remote]) -> Result<Vec<Remote>, Refused> {
        let [_, egress] = trunks;
        if self.lacks_tls(invite, egress) {
            return Err(Refused::because(416, "No TLS There"));
        }
        if self.policy.trunks[egress].targets.is_empty() {
            return Err(Refused::because(480, "Trunk Has No Target"));
        }
        self.check_streams(trunks, offer)?;
        let mut left = offer.to_vec();
        if let Body::Sdp(sdp) = forward::body(invite) {
            self.leave_out(trunks, sdp, &mut left)?;
        }
        Ok(left)
    }

    /// Sends the call to the next of its trunks, if there is one and this setback leads there.
    pub(super) fn hunt_on(&mut self, now: u64, id: SessionId, setback: &Setback) -> bool {
        let Some(call) = self.calls.get(&id).filter(|call| may_hunt(call)) else { return false };
        let hunting = call.invite.as_ref().and_then(|invite| invite.hunting.as_ref());
        let Some(failover) = hunting.map(|hunting| &hunting.failover) else { return false };
        let follows = match setback {
            Setback::Silence | Setback::Nowhere => failover.silence,
            Setback::Answer(status, reason) => failover.follows(*status, reason),
        };
        follows && self.media.is_connected() && self.next_trunk(now, id)
    }

    /// True where the call goes on to another trunk if nothing is heard of this one.
    pub(super) fn has_more_trunks(&self, id: SessionId) -> bool {
        let call = self.calls.get(&id).filter(|call| may_hunt(call));
        let hunting = call.and_then(|call| call.invite.as_ref()?.hunting.as_ref());
        hunting.is_some_and(|hunting| hunting.failover.silence && !hunting.left.is_empty())
    }

    fn next_trunk(&mut self, now: u64, id: SessionId) -> bool {
        loop {
            let Some(call) = self.calls.get_mut(&id) else { return false };
            let Some(invite) = &mut call.invite else { return false };
            let Some(egress) = invite.hunting.as_mut().and_then(|hunting| hunting.left.pop_front()) else {
                return false;
            };
            let Some(call) = self.calls.get(&id) else { return false };
            let Some(invite) = &call.invite else { return false };
            let request = invite.request.view();
            // The trunk before may have left out streams that this one takes.
            let offer = match forward::body(request) {
                Body::Sdp(sdp) if invite.server.is_some() => read(sdp).ok(),
                _ => call.said[Side::Caller.index()].clone(),
            };
            let trunks = [call.leg(Side::Caller).trunk, egress];
            let Ok(left) = self.suits(request, trunks, offer.as_deref().unwrap_or_default()) else { continue };
            let flow = call.leg(Side::Caller).flow;
            let arrival = Arrival { now, flow, message: request, user: None };
            let offer = offer.map(|_| left);
            let bypassed = invite.server.is_some() && self.goes_past(arrival, trunks, offer.as_deref());
            if self.seize_next(now, id, egress).is_err() {
                continue;
            }
            if let Some(call) = self.calls.get_mut(&id) {
                call.said[Side::Caller.index()] = offer;
                call.bypassed = bypassed;
            }
            self.turn_to(now, id, egress);
            return true;
        }
    }

    /// The call goes to another trunk: its called side begins anew, from listener and media range on.
    fn turn_to(&mut self, now: u64, id: SessionId, egress: usize) {
        self.drop_updates(now, id);
        self.watch_silence(id, None);
        self.forget_no_answer(id);
        let tag = self.identities.token(id);
        let Some(call) = self.calls.get_mut(&id) else { return };
        for attempt in call.attempts.iter_mut().filter(|attempt| !attempt.given_up) {
            attempt.given_up = true;
            self.layer.cancel(now, attempt.client, None);
        }
        let trunk = &self.policy.trunks[egress];
        let caller = call.leg(Side::Caller).trunk;
        let before = call.leg(Side::Callee).flow;
        let mut callee = Leg::new(egress, trunk.flow(before.transport, before.remote), tag);
        callee.endpoint = trunk.endpoints.is_some();
        *call.leg_mut(Side::Callee) = callee;
        call.numbers.send(trunk);
        call.said[Side::Callee.index()] = None;
        // Its ports are another range's.
        call.local.legs.iter_mut().skip(Side::Callee.index()).for_each(|leg| leg.fill(None));
        call.early = None;
        let Some(invite) = &mut call.invite else { return };
        if let Some((ticket, _)) = invite.locating.take() {
            self.locator.cancel(ticket);
            self.waiters.remove(&ticket);
        }
        invite.targets = trunk.targets_in_turn(id.random);
        invite.groups.clear();
        invite.not_located = None;
        // It rang there in vain; where it goes now it has not.
        invite.progressed = false;
        invite.shortest_s = 0;
        let both_trusted = self.policy.trunks[caller].trusted && trunk.trusted;
        call.withheld = forward::is_privacy_asked(invite.request.view()) && !both_trusted;
        call.waiting.push(Waiting::Invite);
        self.counters.failovers += 1;
        // One that was refused has never been open.
        if call.local == LocalSession::default() {
            self.open_media(id);
        } else {
            self.update_media(id);
        }
    }

    /// The trunk whose refusal the caller hears is the one that the call went to.
    pub(super) fn turn_back(&mut self, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(trunk) = call.invite.as_ref().and_then(|invite| invite.refused_by) else { return };
        if call.leg(Side::Callee).trunk != trunk {
            call.leg_mut(Side::Callee).trunk = trunk;
            call.numbers.send(&self.policy.trunks[trunk]);
        }
    }
}

/// True while another trunk may take the call's called side: the caller has no session description of this one's, and
/// has answered none.
fn may_hunt(call: &Call) -> bool {
    let offered = call.leg(Side::Caller).reliable.as_ref().is_some_and(|reliable| reliable.holds_offer());
    let open = call.phase == Phase::Inviting && call.offer.is_none() && !offered;
    open && call.invite.as_ref().is_some_and(|invite| !invite.described && !invite.settled)
}
