//! The media session of a call: opened with its INVITE, updated with every answer, closed at its end.

use std::collections::{HashMap, HashSet};

use moorline_control::{Event, Refusal, RefusalCode, Reply, Request, SessionId, SessionReport, SessionSpec};
use moorline_sip::Message;

use super::Worker;
use super::setup::{Refused, read};
use crate::call::{Call, Offer, Phase, Waiting};
use crate::forward::{self, Body};
use crate::leg::Side;
use crate::media::{SideView, legs};
use crate::snapshot;
use crate::{Outcome, Output};

/// The worker's end of the control connection.
#[derive(Default)]
pub(super) struct MediaLink {
    pub(super) connected: bool,
    /// A listing was asked for and is not through.
    pub(super) listing: bool,
    /// The listing was through once: whatever is open at the media process is known here.
    pub(super) listed: bool,
    next: u32,
    pub(super) pending: HashMap<u32, Asked>,
    /// Sessions to be closed, until the media process says that they are.
    pub(super) closing: HashSet<SessionId>,
}

/// What a request to the media process was about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    /// An `Open`, `Update` or `Claim` of a call.
    Session(SessionId),
    /// A `Close`.
    Close(SessionId),
    /// A page of the listing.
    List,
}

impl MediaLink {
    /// New calls can be taken.
    pub(super) fn is_connected(&self) -> bool {
        self.connected
    }

    /// Calls may be open at the media process that this worker has not taken back yet.
    pub(super) fn is_restoring(&self) -> bool {
        !self.listed
    }
}

impl Worker {
    /// Sends a request to the media process; its reply comes back under the number returned.
    pub(super) fn ask(&mut self, asked: Asked, body: Request) -> u32 {
        self.media.next = self.media.next.wrapping_add(1);
        let request = self.media.next;
        self.media.pending.insert(request, asked);
        self.outputs.push_back(Output::Media { request, body });
        request
    }

    /// Opens the session of a call, or brings it back after the media process was away, on the ports it
    /// had.
    pub(super) fn open_media(&mut self, id: SessionId) {
        let Some(spec) = self.spec(id, true) else { return };
        self.ask_session(id, Request::Open { session: id, spec });
    }

    /// Tells the media process what has changed.
    pub(super) fn update_media(&mut self, _now: u64, id: SessionId) {
        let Some(spec) = self.spec(id, false) else { return };
        self.ask_session(id, Request::Update { session: id, spec });
    }

    fn ask_session(&mut self, id: SessionId, body: Request) {
        // Without a connection the session is brought up to date when there is one; once it is to be closed,
        // nothing may open it again.
        if !self.media.connected || self.calls.get(&id).is_none_or(|call| call.outcome.is_some()) {
            return;
        }
        let request = self.ask(Asked::Session(id), body);
        if let Some(call) = self.calls.get_mut(&id) {
            call.media_request = request;
        }
    }

    fn spec(&self, id: SessionId, restore: bool) -> Option<SessionSpec> {
        let call = self.calls.get(&id)?;
        let view = |side: Side| SideView {
            trunk: &self.policy.trunks[call.leg(side).trunk],
            signaling: call.leg(side).flow.remote.ip(),
            said: call.view(side),
        };
        let answered = call.phase == Phase::Answered;
        let milliseconds = |ns: u64| u32::try_from(ns / 1_000_000).unwrap_or(u32::MAX);
        let ring_ms = milliseconds(self.policy.limits.ring_ns);
        let watched = answered && !call.is_held();
        Some(SessionSpec {
            legs: legs(Side::BOTH.map(view), answered, ring_ms, restore.then_some(&call.local)),
            media_timeout_ms: if watched { milliseconds(self.policy.limits.media_timeout_ns) } else { 0 },
            snapshot: snapshot::encode(call, &self.policy),
        })
    }

    /// Closes the session of a call.
    pub(super) fn close_media(&mut self, id: SessionId) {
        self.media.closing.insert(id);
        if self.media.connected {
            self.ask(Asked::Close(id), Request::Close { session: id });
        } else if let Some(call) = self.calls.get_mut(&id) {
            // There is nobody to wait for. Should the session still be there when the connection is back,
            // it is closed then.
            call.media_closed = true;
            self.ending.insert(id);
        }
    }

    /// Takes in the session description of a 2xx from `from`: an answer is in force at once (true), an
    /// offer first needs ports at the media process (false).
    pub(super) fn answer_media(
        &mut self,
        now: u64,
        id: SessionId,
        from: Side,
        message: Message<'_>,
    ) -> Result<bool, Refused> {
        let Some(call) = self.calls.get_mut(&id) else { return Ok(true) };
        let streams = match forward::body(message) {
            Body::Sdp(sdp) => Some(read(sdp)?),
            _ => None,
        };
        let offered_by_other =
            call.offer.as_ref().is_some_and(|offer| offer.by != from) || call.said[from.other().index()].is_some();
        let Some(streams) = streams else {
            // The answer came earlier, in a provisional response, or there is none: what changes is the
            // phase, and with it the snapshot and the media timeout.
            self.update_media(now, id);
            return Ok(true);
        };
        let reoffer = call.offer.is_none() && call.leg(from.other()).reinvite.is_some();
        if offered_by_other && !reoffer {
            self.agree(now, id, from, streams);
            return Ok(true);
        }
        call.offer = Some(Offer { by: from, streams });
        self.update_media(now, id);
        Ok(false)
    }

    /// An answer of `from` closes the open offer, or the one of the first INVITE.
    pub(super) fn agree(&mut self, now: u64, id: SessionId, from: Side, streams: Vec<crate::media::Remote>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(offer) = call.offer.take() {
            call.said[offer.by.index()] = Some(offer.streams);
        }
        call.said[from.index()] = Some(streams);
        self.update_media(now, id);
    }

    /// An answer of the media process.
    pub(super) fn media_reply(&mut self, now: u64, request: u32, reply: Reply) {
        let Some(asked) = self.media.pending.remove(&request) else { return };
        match (asked, reply) {
            (Asked::Session(id), Reply::Opened(local)) => {
                let Some(call) = self.calls.get_mut(&id) else { return };
                call.local = local;
                if call.media_request == request {
                    self.media_ready(now, id);
                }
            }
            (Asked::Session(id), Reply::Refused(refusal)) => self.media_refused(now, id, &refusal),
            (Asked::Close(id), Reply::Closed(report)) => self.media_closed(id, report),
            // The shard had no room for the request just then.
            (Asked::Close(id), Reply::Refused(refusal)) if refusal.code == RefusalCode::Busy => {
                self.ask(Asked::Close(id), Request::Close { session: id });
            }
            (Asked::Close(id), _) => self.media_closed(id, None),
            (Asked::List, Reply::Listed(page)) => self.listed(now, page),
            (Asked::List, _) => self.listing_over(),
            (Asked::Session(_), _) => {}
        }
    }

    fn media_closed(&mut self, id: SessionId, report: Option<SessionReport>) {
        self.media.closing.remove(&id);
        if let Some(call) = self.calls.get_mut(&id) {
            call.media_closed = true;
            call.report = report.or(call.report.take());
            self.ending.insert(id);
        }
    }

    /// The session stands as asked: what waited for it goes on.
    fn media_ready(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        match std::mem::replace(&mut call.waiting, Waiting::Nothing) {
            Waiting::Nothing => {}
            Waiting::Invite => self.forward_invite(now, id),
            Waiting::Reinvite(side) => self.forward_reinvite(now, id, side),
            Waiting::Answer { from, response, received_at } => {
                if call.invite.is_some() {
                    self.forward_answer(now, id, response.view(), received_at);
                } else {
                    self.forward_reinvite_answer(now, id, from, response.view());
                }
            }
        }
    }

    fn media_refused(&mut self, now: u64, id: SessionId, refusal: &Refusal) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let status = if refusal.is_capacity() || refusal.code == RefusalCode::NoSuchRange { 503 } else { 500 };
        let refused = Refused::because(status, &refusal.code.to_string());
        match std::mem::replace(&mut call.waiting, Waiting::Nothing) {
            Waiting::Invite => self.refuse_caller(now, id, &refused, Outcome::Rejected(status)),
            Waiting::Reinvite(side) => {
                call.offer = None;
                self.refuse_reinvite(now, id, side, &refused);
            }
            Waiting::Answer { .. } if call.invite.is_some() => {
                self.refuse_caller(now, id, &refused, Outcome::Rejected(status));
                self.hang_up(now, id, Side::Callee);
            }
            Waiting::Nothing | Waiting::Answer { .. } if call.phase == Phase::Ending => {}
            // Busy changes nothing: the session is as it was, and the next update carries everything.
            Waiting::Nothing if refusal.code == RefusalCode::Busy => self.update_media(now, id),
            Waiting::Nothing | Waiting::Answer { .. } => self.hang_up_both(now, id, Outcome::MediaLost),
        }
    }

    /// Something happened to a session.
    pub(super) fn media_event(&mut self, now: u64, event: Event) {
        match event {
            Event::MediaTimeout { session } => {
                let answered = |call: &Call| call.phase == Phase::Answered && !call.is_held();
                if self.calls.get(&session).is_some_and(answered) {
                    self.hang_up_both(now, session, Outcome::MediaTimeout);
                }
            }
            Event::Ended(ended) => {
                let Some(call) = self.calls.get_mut(&ended.session) else { return };
                call.report = Some(ended.report);
                if call.is_live() {
                    self.hang_up_both(now, ended.session, Outcome::MediaLost);
                }
            }
            Event::Latched { .. } => {}
        }
    }
}
