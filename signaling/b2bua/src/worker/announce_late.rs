//! Announcements when the called side fails: the caller, who has heard nothing of it, is told why before the final answer.

use std::sync::Arc;

use moorline_control::SessionId;
use moorline_sdp::Session;

use super::Worker;
use super::setup::Refused;
use crate::Outcome;
use crate::announcement::{self, Announcing};
use crate::call::Phase;
use crate::forward::{self, Body};
use crate::leg::Side;
use crate::media::Remote;

impl Worker {
    /// The called side's best refusal is to go on to the caller: true where an announcement of it has begun.
    pub(super) fn announce_refusal(&mut self, now: u64, id: SessionId) -> bool {
        let Some(call) = self.calls.get(&id) else { return false };
        let Some((invite, refusal)) = call.invite.as_ref().and_then(|invite| Some((invite, invite.refusal.as_ref()?)))
        else {
            return false;
        };
        let told = self.as_told(call.leg(Side::Caller).trunk, refusal.view());
        let (told, announcement) = told.map_or((None, None), |(told, announcement)| (Some(told), announcement));
        let Some(name) = announcement.or_else(|| invite.announcement.clone()) else { return false };
        let answer = told.as_ref().unwrap_or(refusal).view();
        let status = answer.status().unwrap_or_default();
        let refused = Refused { reason: answer.reason().unwrap_or_default().to_vec(), ..Refused::new(status) };
        self.announce_late(now, id, &refused, Outcome::Refused(status), name, true)
    }

    /// A call that went on, or was about to, is refused in our own words: true where an announcement of that has begun.
    pub(super) fn announce_failure(&mut self, now: u64, id: SessionId, refused: &Refused, outcome: Outcome) -> bool {
        let Some(call) = self.calls.get(&id).filter(|_| outcome != Outcome::Cancelled) else { return false };
        if call.phase != Phase::Inviting || call.announcing.is_some() {
            return false;
        }
        let told = self.told_by_us(call.leg(Side::Caller).trunk, refused);
        told.announcement.is_some_and(|name| self.announce_late(now, id, refused, outcome, name, false))
    }

    fn announce_late(
        &mut self,
        now: u64,
        id: SessionId,
        refused: &Refused,
        outcome: Outcome,
        name: Arc<str>,
        passed_on: bool,
    ) -> bool {
        let Some(announcing) = self.late_announcement(id, refused, outcome, &name) else {
            self.counters.unannounced += 1;
            return false;
        };
        self.counters.announced += 1;
        self.forget_no_answer(id);
        let Some(call) = self.calls.get_mut(&id) else { return false };
        // Who answers all the same is hung up on.
        for attempt in call.attempts.iter_mut().filter(|attempt| !attempt.given_up) {
            attempt.given_up = true;
            self.layer.cancel(now, attempt.client, None);
        }
        // Nothing else of the offer is of use, and the trunk that was called has room for others again.
        let streams = call.said[Side::Caller.index()].iter_mut().flatten().enumerate();
        streams.filter(|(at, _)| *at != announcing.stream).for_each(|(_, other)| *other = Remote::refused());
        call.seized.outbound = None;
        call.announcing = Some(Box::new(Announcing { called: true, passed_on, ..announcing }));
        self.show_announcement(now, id);
        true
    }

    /// What the caller can be told; `None` where it has the called side's description, and has heard what that played,
    /// or cannot be shown another.
    fn late_announcement(&self, id: SessionId, refused: &Refused, outcome: Outcome, name: &str) -> Option<Announcing> {
        let call = self.calls.get(&id).filter(|call| call.phase == Phase::Inviting && !call.is_opening())?;
        let invite = call.invite.as_ref().filter(|invite| invite.server.is_some() && invite.offered)?;
        let caller = call.leg(Side::Caller);
        // One provisional answer after the other (RFC 3262 section 3).
        let unacknowledged = caller.reliable.as_ref().is_some_and(|reliable| reliable.is_pending());
        if call.bypassed || invite.described || unacknowledged {
            return None;
        }
        let Body::Sdp(sdp) = forward::body(invite.request.view()) else { return None };
        let way = announcement::way(&Session::parse(sdp).ok()?)?;
        let heard = call.said[Side::Caller.index()].as_ref()?.get(way.stream)?.active;
        let open = call.local.legs.first()?.get(way.stream)?.is_some();
        if heard && open { self.announcing(refused, outcome, name, way) } else { None }
    }
}
