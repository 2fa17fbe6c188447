//! The media session of a call: opened with its INVITE, updated with every answer, closed at its end.

use std::collections::VecDeque;

use moorline_control::{
    Announcement, Event, LegSpec, Profile, Refusal, RefusalCode, Reply, Request, SessionId, SessionReport, SessionSpec,
};
use moorline_sip::transaction::{IdMap, IdSet};
use moorline_sip::{Message, OwnedMessage};

use super::Worker;
use super::hunt::Setback;
use super::setup::Refused;
use crate::call::{Call, Offer, Phase, Waiting};
use crate::forward::{self, Body};
use crate::leg::Side;
use crate::media::{Kind, Remote, SideView, legs};
use crate::reliable::Provisional;
use crate::snapshot;
use crate::{Outcome, Output};

/// Requests about sessions that may be unanswered at once when many calls are brought back: the connection's
/// queue, and the mailboxes behind it, are shared with new calls.
const WINDOW: usize = 256;

/// How long a request waits that the media process had no room for.
const BUSY_PAUSE_NS: u64 = 20_000_000;

/// The worker's end of the control connection.
#[derive(Default)]
pub(super) struct MediaLink {
    pub(super) connected: bool,
    /// The media process relays fax (T.38 over UDPTL).
    pub(super) relays_fax: bool,
    /// What the media process can play.
    pub(super) announcements: Vec<Announcement>,
    /// The listing was through once: whatever is open at the media process is known here.
    pub(super) listed: bool,
    next: u32,
    pub(super) pending: IdMap<u32, Asked>,
    /// What is to be asked as soon as there is room in the window.
    pub(super) backlog: VecDeque<Asked>,
    /// The backlog rests until then.
    rests_until: Option<u64>,
    /// Calls whose `Open` or `Claim` waits in the backlog: it will carry what has changed meanwhile.
    returning: IdSet<SessionId>,
    /// Sessions to be closed, until the media process says that they are.
    pub(super) closing: IdSet<SessionId>,
}

/// A request to the media process, by what it is about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    /// Open a session, or bring it back.
    Open(SessionId),
    /// Bring a session up to date.
    Update(SessionId),
    /// Own a session of the listing.
    Claim(SessionId),
    /// Close a session.
    Close(SessionId),
    /// What a session has relayed so far.
    Query(SessionId),
    /// A page of the listing, after this session.
    List(Option<SessionId>),
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

    /// Another connection: nothing that the one before was asked will be answered.
    pub(super) fn start_anew(&mut self) {
        self.pending.clear();
        self.backlog.clear();
        self.returning.clear();
        self.rests_until = None;
    }

    /// Asks for this when there is room.
    pub(super) fn later(&mut self, asked: Asked) {
        if let Asked::Open(id) | Asked::Claim(id) = asked {
            self.returning.insert(id);
        }
        self.backlog.push_back(asked);
    }
}

impl Worker {
    /// Sends a request to the media process.
    pub(super) fn ask(&mut self, asked: Asked) {
        let body = match asked {
            Asked::Open(id) | Asked::Update(id) => {
                let restore = matches!(asked, Asked::Open(_));
                let Some(spec) = self.spec(id, restore) else { return };
                if restore { Request::Open { session: id, spec } } else { Request::Update { session: id, spec } }
            }
            Asked::Claim(session) => Request::Claim { session },
            Asked::Close(session) => Request::Close { session },
            Asked::Query(session) => Request::Query { session },
            Asked::List(after) => Request::List { after },
        };
        self.media.next = self.media.next.wrapping_add(1);
        let request = self.media.next;
        self.media.pending.insert(request, asked);
        if let Asked::Open(id) | Asked::Update(id) | Asked::Claim(id) = asked {
            self.media.returning.remove(&id);
            if let Some(call) = self.calls.get_mut(&id) {
                call.media_request = request;
            }
        }
        self.outputs.push_back(Output::Media { request, body });
    }

    /// Asks what waits, as far as the window allows.
    pub(super) fn work_backlog(&mut self, now: u64) {
        if self.media.rests_until.is_some_and(|until| now < until) {
            return;
        }
        self.media.rests_until = None;
        while self.media.connected && self.media.pending.len() < WINDOW {
            let Some(asked) = self.media.backlog.pop_front() else { return };
            let ended = match asked {
                Asked::Open(id) | Asked::Update(id) | Asked::Claim(id) => {
                    self.calls.get(&id).is_none_or(|call| call.outcome.is_some())
                }
                Asked::Close(_) | Asked::Query(_) | Asked::List(_) => false,
            };
            match asked {
                Asked::Open(id) | Asked::Claim(id) if ended => drop(self.media.returning.remove(&id)),
                _ if ended => {}
                _ => self.ask(asked),
            }
        }
    }

    /// The media process had no room for this: it is asked again after a pause.
    fn ask_again(&mut self, now: u64, asked: Asked) {
        self.media.later(asked);
        if self.media.rests_until.is_none() {
            let until = now + BUSY_PAUSE_NS;
            self.media.rests_until = Some(until);
            self.timers.set(until, super::Due::Media);
        }
    }

    /// Opens the session of a new call.
    pub(super) fn open_media(&mut self, id: SessionId) {
        if self.media.returning.is_empty() {
            self.ask(Asked::Open(id));
        } else {
            // The ports that it is given could be those of a call that is not back yet.
            self.media.later(Asked::Open(id));
        }
    }

    /// Tells the media process what has changed.
    pub(super) fn update_media(&mut self, id: SessionId) {
        // Without a connection the session is brought up to date when there is one; once it is to be closed,
        // nothing may open it again.
        let over = self.calls.get(&id).is_none_or(|call| call.outcome.is_some());
        if !self.media.connected || over || self.media.returning.contains(&id) {
            return;
        }
        if self.media.returning.is_empty() {
            self.ask(Asked::Update(id));
        } else {
            // No reply that is on its way is to this.
            if let Some(call) = self.calls.get_mut(&id) {
                call.media_request = 0;
            }
            self.media.later(Asked::Update(id));
        }
    }

    fn spec(&self, id: SessionId, restore: bool) -> Option<SessionSpec> {
        let call = self.calls.get(&id)?;
        if let Some(announcing) = &call.announcing {
            return Some(self.announcement_spec(call, announcing));
        }
        let view = |side: Side| SideView {
            trunk: &self.policy.trunks[call.leg(side).trunk],
            signaling: call.leg(side).flow.remote.ip(),
            said: self.carried(call, call.view(side)),
            relatch: call.leg(side).relatch,
        };
        let answered = call.phase == Phase::Answered;
        let milliseconds = |ns: u64| u32::try_from(ns / 1_000_000).unwrap_or(u32::MAX);
        let ring_ms = milliseconds(self.policy.limits.ring_ns);
        let watched = answered && !call.is_held() && !call.bypassed && call.transferring.is_none();
        let nothing = || {
            vec![
                LegSpec {
                    range: self.policy.trunks[call.leg(Side::Caller).trunk].media_range.clone(),
                    streams: Vec::new()
                };
                2
            ]
        };
        Some(SessionSpec {
            legs: if call.bypassed {
                nothing()
            } else {
                legs(Side::BOTH.map(view), answered, ring_ms, restore.then_some(&call.local))
            },
            media_timeout_ms: if watched { milliseconds(self.policy.limits.media_timeout_ns) } else { 0 },
            snapshot: snapshot::encode(call, &self.policy),
        })
    }

    /// What may be asked of the media process: one that was replaced by an older one may relay less than before. What
    /// is not, is shown to both parties as refused, with port 0 (RFC 3264 section 6).
    fn carried(&self, call: &Call, mut said: Vec<Option<Remote>>) -> Vec<Option<Remote>> {
        let video = self.takes_video(call.legs.each_ref().map(|leg| leg.trunk));
        for remote in said.iter_mut().flatten() {
            remote.active &= self.media.relays_fax || remote.profile != Profile::Udptl;
            remote.active &= video || remote.kind != Kind::Video;
        }
        said
    }

    /// Closes the session of a call.
    pub(super) fn close_media(&mut self, id: SessionId) {
        self.media.closing.insert(id);
        if self.media.connected {
            self.ask(Asked::Close(id));
        } else if let Some(call) = self.calls.get_mut(&id) {
            // There is nobody to wait for. Should the session still be there when the connection is back,
            // it is closed then.
            call.media_closed = true;
            self.ending.push(id);
        }
    }

    /// Takes in the session description of a 2xx from `from`. The 2xx goes on when the media process has it
    /// too: whoever hears the answer may send at once, and not one packet is to be lost.
    pub(super) fn answer_media(
        &mut self,
        now: u64,
        id: SessionId,
        from: Side,
        message: Message<'_>,
    ) -> Result<(), Refused> {
        let early = self.calls.get(&id).and_then(|call| call.invite.as_ref()?.answered_early.clone());
        let described = early.as_ref().map_or(message, OwnedMessage::view);
        let streams = match forward::body(described) {
            Body::Sdp(sdp) => match self.calls.get(&id) {
                Some(call) => Some(self.read_offer(call, from, sdp)?),
                None => None,
            },
            _ => None,
        };
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        // While an UPDATE of the early dialog is open, the first offer was answered before: the 2xx only says so
        // again (RFC 6337 3.1.1).
        let open = call.invite.is_some() && call.legs.iter().any(|leg| leg.is_updating());
        let streams = streams.filter(|_| !open);
        call.waiting.push(Waiting::Answer { from, response: message.to_owned(), received_at: now });
        let reinvited = call.leg(from.other()).reinvite.is_some();
        let offered = match &call.offer {
            Some(offer) => offer.by != from,
            // The offer of the first INVITE; a re-INVITE has its own, or asks for one.
            None => call.said[from.other().index()].is_some() && !reinvited,
        };
        match streams {
            Some(streams) if offered => self.agree(id, from, streams),
            Some(streams) => {
                call.offer = Some(Offer { by: from, streams });
                self.update_media(id);
            }
            // The answer came earlier, in a provisional response, or there is none: what changes is the
            // phase, and with it the snapshot and the media timeout.
            None => self.update_media(id),
        }
        Ok(())
    }

    /// An answer of `from` closes the open offer, or the one of the first INVITE.
    pub(super) fn agree(&mut self, id: SessionId, from: Side, streams: Vec<Remote>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if let Some(offer) = call.offer.take() {
            call.said[offer.by.index()] = Some(offer.streams);
        }
        // An answer has as many streams as its offer (RFC 3264 6); those it leaves out, it refuses.
        let offered = call.said[from.other().index()].as_ref().map_or(0, Vec::len);
        let mut streams = streams;
        while streams.len() < offered {
            streams.push(Remote::refused());
        }
        call.said[from.index()] = Some(streams);
        self.update_media(id);
    }

    /// An answer of the media process.
    pub(super) fn media_reply(&mut self, now: u64, request: u32, reply: Reply) {
        let Some(asked) = self.media.pending.remove(&request) else { return };
        match (asked, reply) {
            (Asked::Open(id) | Asked::Update(id) | Asked::Claim(id), Reply::Opened(local)) => {
                if let Some(call) = self.calls.get_mut(&id) {
                    call.local = local;
                    if call.media_request == request {
                        self.media_ready(now, id);
                    }
                    if matches!(asked, Asked::Claim(_)) {
                        // Its CSeq numbers have jumped: a restore after this one must not repeat them.
                        self.media.later(Asked::Update(id));
                    }
                }
            }
            (Asked::Query(id), Reply::Report(report)) => self.record_interim(now, id, Some(&report)),
            (Asked::Query(id), _) => self.record_interim(now, id, None),
            // A new call is refused then; everything else is worth waiting for.
            (asked, Reply::Refused(refusal)) if refusal.code == RefusalCode::Busy && !self.is_new(asked) => {
                self.ask_again(now, asked);
            }
            (Asked::Open(id) | Asked::Update(id) | Asked::Claim(id), Reply::Refused(refusal)) => {
                let latest = self.calls.get(&id).is_some_and(|call| call.media_request == request);
                if latest {
                    self.media_refused(now, id, &refusal);
                }
            }
            (Asked::Close(id), Reply::Closed(report)) => self.media_closed(id, report),
            (Asked::Close(id), _) => self.media_closed(id, None),
            (Asked::List(_), Reply::Listed(page)) => self.listed(now, page),
            (Asked::List(_), _) => self.listing_over(),
            (Asked::Open(_) | Asked::Update(_) | Asked::Claim(_), _) => {}
        }
        self.work_backlog(now);
    }

    /// True for the first `Open` of a call.
    fn is_new(&self, asked: Asked) -> bool {
        let waits = |id| self.calls.get(&id).is_some_and(|call| call.is_opening());
        matches!(asked, Asked::Open(id) if waits(id))
    }

    fn media_closed(&mut self, id: SessionId, report: Option<SessionReport>) {
        self.media.closing.remove(&id);
        if let Some(call) = self.calls.get_mut(&id) {
            call.media_closed = true;
            call.report = report.or(call.report.take());
            self.ending.push(id);
        }
    }

    /// The session stands as asked: what waited for it goes on.
    fn media_ready(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        for waiting in std::mem::take(&mut call.waiting) {
            let first = self.calls.get(&id).is_some_and(|call| call.invite.is_some());
            match waiting {
                Waiting::Invite => self.forward_invite(now, id),
                Waiting::Offered { response, offered_in } => {
                    let provisional = Provisional { response, described: true, offer: Some(offered_in) };
                    self.forward_offered(now, id, provisional);
                }
                Waiting::Reinvite(side) => self.forward_reinvite(now, id, side),
                Waiting::Update(side) => self.forward_update(now, id, side),
                Waiting::Answer { response, received_at, .. } if first => {
                    self.forward_answer(now, id, response.view(), received_at);
                }
                Waiting::Answer { from, response, .. } => self.forward_reinvite_answer(now, id, from, response.view()),
                Waiting::Updated { from, response } => self.forward_updated(now, id, from, response.view()),
            }
        }
    }

    fn media_refused(&mut self, now: u64, id: SessionId, refusal: &Refusal) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let status = match refusal.code {
            RefusalCode::NoSuchRange => 503,
            _ if refusal.is_capacity() => 503,
            // What a party has said, such as an address of the other IP version than its media range.
            RefusalCode::Unacceptable => 488,
            _ => 500,
        };
        let refused = Refused::because(status, &refusal.code.to_string());
        let waiting = std::mem::take(&mut call.waiting);
        let offer = waiting.iter().find_map(|waiting| match waiting {
            Waiting::Reinvite(side) | Waiting::Update(side) => Some(*side),
            _ => None,
        });
        let answered = waiting.iter().any(|w| matches!(w, Waiting::Answer { .. } | Waiting::Updated { .. }));
        let opening = waiting.iter().any(|waiting| matches!(waiting, Waiting::Invite));
        if opening && self.hunt_on(now, id, &Setback::Silence) {
            return;
        }
        let Some(call) = self.calls.get_mut(&id) else { return };
        if call.phase == Phase::Inviting {
            // An UPDATE that was waiting too is refused with the call.
            self.give_up(now, id, &refused, Outcome::Rejected(status));
        } else if call.invite.is_some() {
            self.refuse_caller(now, id, &refused, Outcome::Rejected(status));
            self.hang_up(now, id, Side::Callee, None);
        } else if let Some(side) = offer.filter(|_| !answered) {
            call.offer = None;
            self.refuse_reinvite(now, id, side, &refused);
            self.refuse_update(now, id, side, &refused);
        } else if call.phase != Phase::Ending {
            self.hang_up_both(now, id, Outcome::MediaLost);
        }
    }

    /// Something happened to a session.
    pub(super) fn media_event(&mut self, now: u64, event: Event) {
        match event {
            Event::MediaTimeout { session } => {
                let call = self.calls.get(&session);
                let talking = call.filter(|call| call.phase == Phase::Answered && !call.is_held());
                match talking.map(|call| call.transferring) {
                    Some(None) => self.hang_up_both(now, session, Outcome::MediaTimeout),
                    // It is told once: what is watched again after the transfer must not be watched until then.
                    Some(Some(_)) => self.update_media(session),
                    None => {}
                }
            }
            Event::Ended(ended) => {
                let Some(call) = self.calls.get_mut(&ended.session) else { return };
                call.report = Some(ended.report);
                if call.is_live() {
                    self.hang_up_both(now, ended.session, Outcome::MediaLost);
                }
            }
            Event::Played { session, .. } => self.announced(now, session),
            Event::Latched { .. } => {}
        }
    }
}
