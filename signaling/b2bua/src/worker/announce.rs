//! Refusals that are told by an announcement first: 183 with a description of ours (RFC 3960 section 3), the
//! announcement once, and then the final answer. Whatever goes wrong on the way, the final answer follows at once.

use moorline_control::{Play, SessionId, SessionSpec};
use moorline_sdp::Session;
use moorline_sip::{Index, respond};

use super::setup::{Admission, Refused, read};
use super::{Arrival, Due, Worker};
use crate::Outcome;
use crate::announcement::{self, Announcing, Seat, Way};
use crate::call::{Call, Numbers, Phase};
use crate::extension::RELIABLE;
use crate::forward::{self, ALLOW, Body};
use crate::leg::Side;
use crate::media::{Remote, SideView, legs};
use crate::policy::limit::Seized;
use crate::reliable::Provisional;

/// How long after its length an announcement must be over: the media process says so, if it lives.
const GRACE_NS: u64 = 2_000_000_000;

/// How long a caller has for its PRACK, and a little more (RFC 3262 section 3).
const UNACKNOWLEDGED_NS: u64 = 65 * super::answer::T1_NS;

const NANOS_PER_MS: u64 = 1_000_000;

impl Worker {
    /// The admission of a call that is refused, and that is told so by an announcement; `None` where it has none, or the
    /// caller cannot be told.
    pub(super) fn announcement(&mut self, arrival: Arrival<'_>, trunk: usize, refused: &Refused) -> Option<Admission> {
        let told = self.told_by_us(trunk, refused);
        let name = told.announcement.as_deref()?;
        let admission = self.try_announcement(arrival, trunk, refused, name);
        match admission {
            Some(_) => self.counters.announced += 1,
            None => self.counters.unannounced += 1,
        }
        admission
    }

    fn try_announcement(&self, arrival: Arrival<'_>, trunk: usize, refused: &Refused, name: &str) -> Option<Admission> {
        let invite = arrival.message;
        let Body::Sdp(sdp) = forward::body(invite) else { return None };
        let way = announcement::way(&Session::parse(sdp).ok()?)?;
        let mut offer = read(sdp).ok()?;
        // Nothing else of the offer is of use.
        offer
            .iter_mut()
            .enumerate()
            .filter(|(at, _)| *at != way.stream)
            .for_each(|(_, other)| *other = Remote::refused());
        let outcome = Outcome::Rejected(refused.status);
        let announcing = self.announcing(refused, outcome, name, way)?;
        // It takes the place of a call for as long as it lasts.
        if !self.place.calls.enter(self.policy.limits.calls) {
            return None;
        }
        Some(Admission {
            egress: trunk,
            endpoint: None,
            bypassed: false,
            max_forwards: 1,
            offer: Some(offer),
            replacement: None,
            numbers: Numbers::received(invite, &self.policy.trunks[trunk]),
            announcing: Some(Box::new(announcing)),
            hunting: None,
            seized: Seized::default(),
        })
    }

    /// What a caller is told of a refusal in this way, if that can be played now.
    pub(super) fn announcing(&self, refused: &Refused, outcome: Outcome, name: &str, way: Way) -> Option<Announcing> {
        let known = self.media.announcements.iter().find(|known| known.name == name)?;
        if !self.media.is_connected() {
            return None;
        }
        let seat = Seat::take(&self.place.announcements, self.policy.limits.announcements)?;
        Some(Announcing {
            status: refused.status,
            reason: refused.reason.clone(),
            outcome,
            called: false,
            passed_on: false,
            play: Play {
                name: known.name.clone(),
                codec: way.codec,
                payload_type: way.payload_type,
                packet_ms: way.packet_ms,
            },
            stream: way.stream,
            length_ns: u64::from(known.length_ms) * NANOS_PER_MS,
            playing: false,
            seat: Some(seat),
        })
    }

    /// The session of a call that is told something: the caller's leg alone.
    pub(super) fn announcement_spec(&self, call: &Call, announcing: &Announcing) -> SessionSpec {
        let caller = call.leg(Side::Caller);
        let view = |said| SideView {
            trunk: &self.policy.trunks[caller.trunk],
            signaling: caller.flow.remote.ip(),
            said,
            relatch: caller.relatch,
        };
        let ring_ms = u32::try_from(announcing.length_ns / NANOS_PER_MS).unwrap_or(u32::MAX);
        let mut legs = legs([view(call.view(Side::Caller)), view(Vec::new())], false, ring_ms, None);
        legs.truncate(1);
        let stream = legs.first_mut().and_then(|leg| leg.streams.get_mut(announcing.stream));
        if let Some(stream) = stream.filter(|_| announcing.playing) {
            stream.play = Some(announcing.play.clone());
        }
        // Before the answer there is nothing to restore: what a restarted process finds, it closes.
        SessionSpec { legs, media_timeout_ms: 0, snapshot: Vec::new() }
    }

    /// The session is open: the caller is shown where the announcement comes from.
    pub(super) fn show_announcement(&mut self, now: u64, id: SessionId) {
        let Some((description, reliable)) = self.announcement_answer(id) else { return self.announced(now, id) };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let caller = call.leg_mut(Side::Caller);
        let rseq = caller.reliable.as_mut().filter(|_| reliable).map(|reliable| reliable.number());
        let Some(call) = self.calls.get(&id) else { return };
        let caller = call.leg(Side::Caller);
        let Some((invite, server)) = call.invite.as_ref().and_then(|invite| Some((invite, invite.server?))) else {
            return;
        };
        let (request, tag) = (invite.request.view(), caller.tag.to_string());
        let mut answer = respond(request, caller.flow.remote, 183, b"Session Progress", Some(tag.as_bytes()))
            .record_route(request)
            .header("Contact", self.shown(caller.flow).secured(caller.is_secure()).contact())
            .header("Allow", ALLOW);
        if let Some(rseq) = rseq {
            answer = answer.header("Require", RELIABLE).header("RSeq", rseq.to_string());
        }
        let answer = answer.header("Content-Type", "application/sdp").finish(&description);
        self.layer.respond(now, server, answer.clone());
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(invite) = &mut call.invite {
            invite.progressed = true;
        }
        let (Some(rseq), Ok(response)) = (rseq, Index::new().parse(&answer).map(|sent| sent.to_owned())) else {
            return self.play_announcement(now, id);
        };
        // Whoever acknowledges the description is able to hear what it describes.
        let Some(reliable) = &mut call.leg_mut(Side::Caller).reliable else { return };
        let provisional = Provisional { response, described: true, offer: None };
        let next_at = reliable.sent(now, rseq, provisional, answer);
        self.timers.set(next_at, Due::Reliable(id));
        self.enter(id, Phase::Inviting, Some(now + UNACKNOWLEDGED_NS));
    }

    /// The description for the caller, and whether it is sent reliably.
    fn announcement_answer(&self, id: SessionId) -> Option<(Vec<u8>, bool)> {
        let call = self.calls.get(&id)?;
        let announcing = call.announcing.as_ref()?;
        let Body::Sdp(sdp) = forward::body(call.invite.as_ref()?.request.view()) else { return None };
        let local = (*call.local.legs.first()?.get(announcing.stream)?)?;
        let offer = Session::parse(sdp).ok()?;
        let number = id.random >> 1;
        let description = announcement::answer(&offer, &announcing.play, announcing.stream, &local, number);
        Some((description, call.leg(Side::Caller).reliable.is_some()))
    }

    /// The caller has heard of the description, or there is no telling: the announcement begins.
    pub(super) fn play_announcement(&mut self, now: u64, id: SessionId) {
        let call = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Inviting);
        let Some(announcing) = call.and_then(|call| call.announcing.as_mut()) else { return };
        if std::mem::replace(&mut announcing.playing, true) {
            return;
        }
        let until = now + announcing.length_ns + GRACE_NS;
        self.enter(id, Phase::Inviting, Some(until));
        self.update_media(id);
    }

    /// The announcement is over, or cannot go on: the caller gets the final answer.
    pub(super) fn announced(&mut self, now: u64, id: SessionId) {
        let call = self.calls.get(&id).filter(|call| call.phase == Phase::Inviting);
        if let Some((refused, outcome)) = call.and_then(|call| call.announced_refusal()) {
            self.refuse_caller(now, id, &refused, outcome);
        }
    }

    /// The calls that are told something, to whom nothing more is played.
    pub(super) fn are_announced_to(&self) -> Vec<SessionId> {
        let told = self.calls.values().filter(|call| call.phase == Phase::Inviting && call.announcing.is_some());
        told.map(|call| call.id).collect()
    }
}

impl Call {
    /// The final answer that follows an announcement.
    fn announced_refusal(&self) -> Option<(Refused, Outcome)> {
        let announcing = self.announcing.as_ref()?;
        let refused = Refused { reason: announcing.reason.clone(), ..Refused::new(announcing.status) };
        Some((refused, announcing.outcome))
    }

    /// How the caller is refused in the end: a call that is told something by what it is told, whatever else has come to
    /// pass, unless it has given up itself.
    pub(super) fn refusal_in_the_end(&self, outcome: Outcome) -> Option<(Refused, Outcome)> {
        self.announced_refusal().filter(|_| outcome != Outcome::Cancelled)
    }
}
