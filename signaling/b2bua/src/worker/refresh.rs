//! Session timers (RFC 4028), on each leg for itself: agreed in INVITE and UPDATE, kept alive by whoever was agreed on,
//! and the end of the call where nobody does.

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, ServerId};
use moorline_sip::{Message, Method, Name, Writer};

use super::refer::{REPLACES, takes_replaces};
use super::{Arrival, ClientUse, Due, Worker};
use crate::Outcome;
use crate::call::{Call, Invite, Phase};
use crate::extension::{RELIABLE, TIMER};
use crate::forward::{self, ALLOW, Body};
use crate::leg::Side;
use crate::policy::{ReliableProvisional, SessionTimers};
use crate::session_timer::{self, Agreed, SessionTimer};

const SECOND_NS: u64 = 1_000_000_000;

/// How long a refresh waits for another request in the dialog, or after a failure that may pass.
const PAUSE_NS: u64 = 5 * SECOND_NS;

impl Worker {
    /// What a first INVITE of ours says of extensions.
    pub(super) fn invite_extensions(&self, call: &Call, invite: &Invite, mut writer: Writer) -> Writer {
        let timers = self.session_timers(call, Side::Callee);
        let reliable = self.reliable_wanted(call, invite);
        let mut supported = Vec::new();
        match reliable {
            ReliableProvisional::Off => {}
            ReliableProvisional::Supported => supported.push(RELIABLE),
            ReliableProvisional::Required => writer = writer.header("Require", RELIABLE),
        }
        supported.extend(timers.map(|_| TIMER));
        let request = invite.request.view();
        supported.extend(takes_replaces(request).then_some(REPLACES));
        if request.lists(Name::Require, REPLACES) {
            writer = writer.header("Require", REPLACES);
        }
        if !supported.is_empty() {
            writer = writer.header("Supported", supported.join(", "));
        }
        with(writer, session_timer::invite_headers(timers, invite.shortest_s))
    }

    /// The called side finds the session interval too short (RFC 4028 7.3): the same INVITE goes to the same place
    /// with the one it takes. False where that was tried.
    pub(super) fn invite_again(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId) -> bool {
        let Some(shortest_s) = session_timer::too_short(arrival.message) else { return false };
        let Some(call) = self.calls.get_mut(&id).filter(|call| call.phase == Phase::Inviting) else { return false };
        // Who was given up is not called again: the call may be at another trunk.
        if call.attempt_mut(client).is_none_or(|attempt| attempt.given_up) {
            return false;
        }
        let Some(invite) = call.invite.as_mut().filter(|invite| invite.shortest_s < shortest_s) else { return false };
        invite.shortest_s = shortest_s;
        let Some(before) = call.take_attempt(client) else { return false };
        self.attempt(arrival.now, id, before.destination.clone(), Some(before)).is_ok()
    }

    /// The session timers of the trunk of `side`.
    pub(super) fn session_timers(&self, call: &Call, side: Side) -> Option<SessionTimers> {
        self.policy.trunks[call.leg(side).trunk].dialogs.session_timers
    }

    /// 422: the session interval that a request asks for is too short (RFC 4028 6).
    pub(super) fn refuse_interval(&mut self, arrival: Arrival<'_>, server: ServerId, shortest_s: u32) {
        let answer =
            self.answer_to(arrival, 422, b"Session Interval Too Small").header("Min-SE", shortest_s.to_string());
        self.layer.respond(arrival.now, server, answer.finish(b""));
    }

    /// What a request of ours says in the dialog of `side`, so that it refreshes the session.
    pub(super) fn timer_headers(&self, id: SessionId, side: Side) -> Vec<(&'static str, String)> {
        let Some(call) = self.calls.get(&id).filter(|call| call.is_agreed()) else { return Vec::new() };
        if self.session_timers(call, side).is_none() {
            return Vec::new();
        }
        let leg = call.leg(side);
        let mut headers = session_timer::refresh_headers(leg.timer, leg.shortest_s);
        headers.push(("Supported", TIMER.into()));
        headers
    }

    /// What our 2xx to a request of `side` says of the session timer.
    pub(super) fn agreed_headers(&self, call: &Call, side: Side, request: Message<'_>) -> Vec<(&'static str, String)> {
        let agreed = Agreed::of_request(self.session_timers(call, side), request).ok().flatten();
        agreed.map(Agreed::headers).unwrap_or_default()
    }

    /// Our 2xx to a request of `side` was sent: the timer runs as it says.
    pub(super) fn agree_timer(&mut self, now: u64, id: SessionId, side: Side, request: Message<'_>) {
        let Some(call) = self.calls.get(&id) else { return };
        let agreed = Agreed::of_request(self.session_timers(call, side), request).ok().flatten();
        self.set_timer(id, side, agreed.map(|agreed| agreed.timer(now)));
    }

    /// A 2xx of `side` to a request of ours has come: the timer runs as it says.
    pub(super) fn refreshed_by_peer(&mut self, now: u64, id: SessionId, side: Side, response: Message<'_>) {
        let Some(call) = self.calls.get(&id) else { return };
        let timer = session_timer::of_response(now, self.session_timers(call, side), response);
        self.set_timer(id, side, timer);
    }

    /// True where a 422 of `side` asks for a longer interval, which the next request will have.
    pub(super) fn longer_interval(&mut self, id: SessionId, side: Side, response: Message<'_>) -> bool {
        let Some(shortest_s) = session_timer::too_short(response) else { return false };
        let Some(call) = self.calls.get_mut(&id) else { return false };
        let leg = call.leg_mut(side);
        let longer = leg.timer.is_some_and(|timer| shortest_s > timer.interval_s.max(leg.shortest_s));
        if longer {
            leg.shortest_s = shortest_s;
        }
        longer
    }

    /// Sets the timer of a leg; none runs in a call that is over.
    pub(super) fn set_timer(&mut self, id: SessionId, side: Side, timer: Option<SessionTimer>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let timer = timer.filter(|_| call.phase == Phase::Answered && call.outcome.is_none());
        if let Some(before) = std::mem::replace(&mut call.leg_mut(side).timer, timer) {
            self.timers.cancel(before.due_at, Due::Session(id, side));
        }
        if let Some(timer) = timer {
            self.timers.set(timer.due_at, Due::Session(id, side));
        }
    }

    /// Something is due about the session of `side`: at `at`, or when it ends if that is earlier.
    fn set_due(&mut self, id: SessionId, side: Side, at: u64) {
        let timer = self.calls.get(&id).and_then(|call| call.leg(side).timer);
        self.set_timer(id, side, timer.map(|timer| SessionTimer { due_at: at.min(timer.expires_at), ..timer }));
    }

    /// The session of `side` is to be refreshed by us, or was not refreshed in time.
    pub(super) fn session_due(&mut self, now: u64, id: SessionId, side: Side) {
        let Some(call) = self.calls.get(&id).filter(|call| call.phase == Phase::Answered) else { return };
        let leg = call.leg(side);
        let Some(timer) = leg.timer else { return };
        // An offer of the other party may wait for the media process, and then goes on here.
        let other = call.leg(side.other());
        let coming = other.reinvite.is_some() || other.update.is_some();
        if now >= timer.expires_at {
            self.hang_up_both(now, id, Outcome::Expired);
        } else if coming || leg.is_inviting() || leg.is_updating() || leg.unacknowledged.is_some() {
            // What is under way may be the refresh itself.
            self.set_due(id, side, now + PAUSE_NS);
        } else {
            self.refresh(now, id, side);
        }
    }

    /// Sends our refresh: an UPDATE that offers nothing, or the description that was sent last where `side` takes no
    /// UPDATE (RFC 4028 7.4).
    fn refresh(&mut self, now: u64, id: SessionId, side: Side) {
        let headers = self.timer_headers(id, side);
        let Some(call) = self.calls.get(&id) else { return };
        let leg = call.leg(side);
        let sdp = leg.sdp.clone().filter(|_| !leg.updates);
        self.send_refresh(now, id, side, sdp, headers);
    }

    /// Tells `side` again what it was told last of the other party's media: something else was said meanwhile that is
    /// not in force.
    pub(super) fn say_again(&mut self, now: u64, id: SessionId, side: Side) {
        let headers = self.timer_headers(id, side);
        let Some(call) = self.calls.get(&id).filter(|call| call.phase == Phase::Answered) else { return };
        let sdp = call.leg(side).sdp.clone();
        self.send_refresh(now, id, side, sdp, headers);
    }

    fn send_refresh(
        &mut self,
        now: u64,
        id: SessionId,
        side: Side,
        sdp: Option<Vec<u8>>,
        headers: Vec<(&'static str, String)>,
    ) {
        let Some(call) = self.calls.get(&id) else { return };
        let flow = call.leg(side).next_hop(&self.next_hops);
        let method = if sdp.is_some() { Method::Invite } else { Method::Update };
        let shown = self.shown(flow);
        let via = shown.via(&self.identities.branch(id));
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(dialog) = &mut call.leg_mut(side).dialog else { return };
        let writer = dialog
            .request(method, via.as_bytes())
            .header("Contact", shown.secured(dialog.secure).contact())
            .header("Allow", ALLOW);
        let writer = with(writer, headers);
        let bytes = match &sdp {
            Some(sdp) => writer.header("Content-Type", "application/sdp").finish(sdp),
            None => writer.finish(b""),
        };
        let client = self.send(now, flow, bytes, ClientUse::Refresh(id, side));
        let Some(call) = self.calls.get_mut(&id) else { return };
        let leg = call.leg_mut(side);
        match client {
            Some(client) if sdp.is_some() => leg.inviting = Some(client),
            Some(client) => leg.updating = Some(client),
            None => return self.set_due(id, side, now + PAUSE_NS),
        }
        self.set_due(id, side, u64::MAX);
    }

    /// The answer of `side` to our refresh.
    pub(super) fn refresh_answered(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId, side: Side) {
        let Arrival { now, message, .. } = arrival;
        let Some(status) = message.status().filter(|status| *status >= 200) else { return };
        let by_invite = match self.take_refresh(client, id, side) {
            Some(by_invite) => by_invite,
            None => return self.repeated_answer(arrival),
        };
        match status {
            200..=299 => self.refreshed(arrival, id, side, by_invite),
            _ if self.calls.get(&id).is_none_or(|call| call.phase != Phase::Answered) => {}
            408 | 481 => self.hang_up_both(now, id, Outcome::Expired),
            422 if self.longer_interval(id, side, message) => self.refresh(now, id, side),
            405 | 501 if !by_invite => {
                let Some(call) = self.calls.get_mut(&id) else { return };
                call.leg_mut(side).updates = false;
                if call.leg(side).sdp.is_some() {
                    self.refresh(now, id, side);
                }
            }
            491 => {
                let pause_ns = self.glare_pause_ns(side);
                self.set_due(id, side, now + pause_ns);
            }
            _ => {
                let after = message.header(Name::RetryAfter).and_then(seconds);
                self.set_due(id, side, now + after.map_or(PAUSE_NS, |after| after * SECOND_NS).max(SECOND_NS));
            }
        }
    }

    /// How long a request waits that met another one in the dialog of `side` (RFC 3261 14.1): whoever made the Call-ID
    /// waits longer. The callee's is ours.
    pub(super) fn glare_pause_ns(&mut self, side: Side) -> u64 {
        let ten_ms = self.identities.call().random % 190;
        let pause_ms = if side == Side::Callee { 2_100 + 10 * ten_ms } else { 10 * ten_ms };
        pause_ms * 1_000_000
    }

    /// Our refresh was not answered.
    pub(super) fn refresh_unanswered(&mut self, now: u64, client: ClientId, id: SessionId, side: Side) {
        let taken = self.take_refresh(client, id, side).is_some();
        if taken && self.calls.get(&id).is_some_and(|call| call.phase == Phase::Answered) {
            self.hang_up_both(now, id, Outcome::Expired);
        }
    }

    /// The refresh is no longer under way; true where it was an INVITE.
    fn take_refresh(&mut self, client: ClientId, id: SessionId, side: Side) -> Option<bool> {
        let leg = self.calls.get_mut(&id)?.leg_mut(side);
        if leg.inviting.take_if(|inviting| *inviting == client).is_some() {
            return Some(true);
        }
        leg.updating.take_if(|updating| *updating == client).map(|_| false)
    }

    /// `side` has accepted our refresh.
    fn refreshed(&mut self, arrival: Arrival<'_>, id: SessionId, side: Side, by_invite: bool) {
        let Arrival { now, message, .. } = arrival;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let leg = call.leg_mut(side);
        if let Some(dialog) = &mut leg.dialog {
            dialog.refresh_target(message);
        }
        if by_invite {
            leg.unacknowledged = message.cseq().ok().map(|cseq| cseq.number);
            // Its media may have moved within what was agreed.
            if let Body::Sdp(sdp) = forward::body(message)
                && let Ok(streams) = self.read_answer_of(id, side, sdp)
                && let Some(call) = self.calls.get_mut(&id)
                && call.said[side.index()].as_ref().is_some_and(|said| said.len() == streams.len())
            {
                call.said[side.index()] = Some(streams);
            }
            self.acknowledge(now, id, side, None);
        }
        self.refreshed_by_peer(now, id, side, message);
        // The snapshot has to know how long the session lasts.
        self.update_media(id);
    }

    /// Takes note of the description that `side` is shown of a message, where a refresh will have to repeat it (a
    /// session timer runs there, and it takes no UPDATE), or a transfer.
    pub(super) fn remember_sdp(&mut self, id: SessionId, side: Side, message: Message<'_>) {
        let Some(call) = self.calls.get(&id) else { return };
        let Body::Sdp(sdp) = forward::body(message) else { return };
        let leg = call.leg(side);
        // Before the answer nobody knows yet whether there will be a timer.
        let timed = leg.timer.is_some() || (!call.is_agreed() && self.session_timers(call, side).is_some());
        let refreshed = !leg.updates && timed;
        let repeated = refreshed || self.handles_transfers(call);
        let sdp = if repeated { self.description_for(call, side, message, sdp).ok() } else { None };
        if let Some(call) = self.calls.get_mut(&id) {
            call.leg_mut(side).sdp = sdp;
        }
    }
}

/// Adds headers.
pub(super) fn with(writer: Writer, headers: Vec<(&'static str, String)>) -> Writer {
    headers.into_iter().fold(writer, |writer, (name, value)| writer.header(name, value))
}

/// Retry-After, as far as it is worth waiting for.
fn seconds(value: &[u8]) -> Option<u64> {
    let digits = value.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse::<u64>().ok().map(|seconds| seconds.min(60))
}
