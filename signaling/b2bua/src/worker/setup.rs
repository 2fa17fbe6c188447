//! The beginning of a call: the first INVITE, its provisional answers, its final one.

use std::collections::VecDeque;
use std::sync::Arc;

use moorline_sip::Dialog;
use moorline_sip::transaction::{ClientId, ServerId};
use moorline_sip::{Message, Method, reason_phrase, respond};

use super::endpoints::Called;
use super::refer::REPLACES;
use super::{ACCEPT, Arrival, RETRY_AFTER, ServerUse, Worker};
use crate::announcement::Announcing;
use crate::attempt::Groups;
use crate::call::{Call, Hunting, Invite, Numbers, Phase, Waiting};
use crate::cdr::Stage;
use crate::extension::{self, RELIABLE};
use crate::forward::{self, Body, Crossing, Naming};
use crate::leg::{Leg, Side};
use crate::media::{self, Kind, Remote, Unusable};
use crate::policy::limit::{Direction, Seized, TrunkCalls};
use crate::policy::{Refusal, ReliableProvisional, with_number};
use crate::reliable::Reliable;
use crate::session_timer::Agreed;
use crate::transfer::Replacement;
use crate::{Observation, Outcome};
use moorline_control::{LocalSession, Profile, SessionId};

/// What a new INVITE must have been found to be before there is a call.
pub(super) struct Admission {
    pub(super) egress: usize,
    /// Where it goes, if it is an endpoint that is called.
    pub(super) endpoint: Option<Called>,
    pub(super) bypassed: bool,
    pub(super) max_forwards: u32,
    pub(super) offer: Option<Vec<Remote>>,
    pub(super) replacement: Option<Replacement>,
    /// Who calls whom.
    pub(super) numbers: Numbers,
    /// It is refused in truth, and is told why.
    pub(super) announcing: Option<Box<Announcing>>,
    /// The other trunks that it may go to.
    pub(super) hunting: Option<Box<Hunting>>,
    /// What the call takes of its trunks' limits.
    pub(super) seized: Seized,
}

/// A final answer that this host gives itself.
#[derive(Clone)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) reason: Vec<u8>,
    /// Where a redirection leads to.
    pub(super) contact: Option<String>,
    /// What the caller is told first, by name.
    pub(super) announcement: Option<Arc<str>>,
}

impl Refused {
    pub(super) fn new(status: u16) -> Refused {
        Refused { status, reason: reason_phrase(status).as_bytes().to_vec(), contact: None, announcement: None }
    }

    /// For a body that may hold a session description where it cannot be rewritten.
    pub(super) fn unsupported() -> Refused {
        Refused::because(415, "Body Not Readable Here")
    }

    /// 302 to a URI in which `{number}` stands for who was called.
    pub(super) fn redirect(to: &str, called: &[u8]) -> Refused {
        let called = with_number(b"", called);
        let contact = format!("<{}>", to.replace("{number}", &String::from_utf8_lossy(&called)));
        Refused { contact: Some(contact), ..Refused::new(302) }
    }

    pub(super) fn because(status: u16, why: &str) -> Refused {
        let reason = format!("{} - {why}", reason_phrase(status)).into_bytes();
        Refused { reason, ..Refused::new(status) }
    }
}

impl From<&Refusal> for Refused {
    fn from(refusal: &Refusal) -> Refused {
        let (reason, announcement) = (refusal.reason.as_bytes().to_vec(), refusal.announcement.clone());
        Refused { reason, announcement, ..Refused::new(refusal.status) }
    }
}

impl From<Unusable> for Refused {
    fn from(unusable: Unusable) -> Refused {
        Refused { reason: unusable.0.into_bytes(), ..Refused::new(488) }
    }
}

impl Worker {
    /// The first INVITE of a call.
    pub(super) fn invite(&mut self, arrival: Arrival<'_>, trunk: usize, server: ServerId) {
        let reliable = self.policy.trunks[trunk].dialogs.reliable_provisional;
        let supported = extension::supports(arrival.message, RELIABLE);
        let known = [&self.known_extensions(trunk)[..], &[REPLACES]].concat();
        if !extension::unknown(arrival.message, &known).is_empty() {
            self.observe_rejected(arrival, 420, b"Bad Extension");
            return self.refuse_extension(arrival, server, &known);
        }
        if reliable == ReliableProvisional::Required && !supported {
            self.observe_rejected(arrival, 421, b"Extension Required");
            let answer = self.answer_to(arrival, 421, b"Extension Required").header("Require", RELIABLE);
            return self.layer.respond(arrival.now, server, answer.finish(b""));
        }
        let timers = self.policy.trunks[trunk].dialogs.session_timers;
        if let Err(shortest_s) = Agreed::of_request(timers, arrival.message) {
            self.observe_rejected(arrival, 422, b"Session Interval Too Small");
            return self.refuse_interval(arrival, server, shortest_s);
        }
        let draw = self.identities.call().random;
        let admission = match self.admit(arrival, trunk, draw, false) {
            Ok(admission) => admission,
            Err(refused) => match self.announcement(arrival, trunk, &refused) {
                Some(admission) => admission,
                None => return self.reject(arrival, server, &refused),
            },
        };
        let Ok((dialog, id)) = self.caller_dialog(arrival.message) else {
            self.place.calls.leave();
            self.observe_rejected(arrival, 400, b"Bad Request - No Usable Contact");
            return self.refuse(arrival, server, 400, b"Bad Request - No Usable Contact");
        };
        let trying = respond(arrival.message, arrival.flow.remote, 100, b"Trying", None);
        self.layer.respond(arrival.now, server, trying.finish(b""));

        let mut caller = Leg::new(trunk, arrival.flow, dialog.1);
        if supported && reliable != ReliableProvisional::Off {
            let cseq = dialog.0.remote_cseq.unwrap_or_default();
            caller.reliable = Some(Box::new(Reliable::new(cseq, self.identities.call().random)));
        }
        caller.updates = extension::updates(arrival.message).unwrap_or_default();
        caller.dialog = Some(dialog.0);
        caller.endpoint = self.policy.trunks[trunk].endpoints.is_some();
        caller.user = arrival.user.map(Into::into);
        self.servers.insert(server, ServerUse::Invite(id));
        self.begin(arrival, id, caller, admission, Some(server));
    }

    /// A call that was admitted begins; it goes on when its media session is open.
    pub(super) fn begin(
        &mut self,
        arrival: Arrival<'_>,
        id: SessionId,
        caller: Leg,
        admission: Admission,
        server: Option<ServerId>,
    ) {
        self.counters.calls += u64::from(admission.announcing.is_none());
        let trunk = caller.trunk;
        // Where it goes is found out when the media session is open.
        let called_flow = self.policy.trunks[admission.egress].flow(arrival.flow.transport, arrival.flow.remote);
        let mut callee = Leg::new(admission.egress, called_flow, self.identities.token(id));
        callee.endpoint = self.policy.trunks[admission.egress].endpoints.is_some();
        callee.user = admission.endpoint.as_ref().map(|called| called.user.clone());
        self.tags.insert(caller.tag, (id, Side::Caller));
        let deadline = arrival.now + self.policy.limits.ring_ns;
        self.timers.set(deadline, super::Due::Phase(id));
        let caller_tag = caller.tag;
        let (targets, groups, replaces) = match admission.replacement {
            Some(replacement) => {
                (VecDeque::new(), Groups::from([vec![replacement.destination]]), Some(replacement.value))
            }
            None => {
                let targets = self.policy.trunks[admission.egress].targets_in_turn(id.random);
                match admission.endpoint {
                    Some(called) => (VecDeque::new(), Groups::from([called.destinations]), None),
                    None => (targets, Groups::new(), None),
                }
            }
        };
        let both_trusted = [trunk, admission.egress].iter().all(|trunk| self.policy.trunks[*trunk].trusted);
        let mut numbers = admission.numbers;
        numbers.send(&self.policy.trunks[admission.egress]);
        let call = Call {
            id,
            numbers,
            announcing: admission.announcing,
            phase: Phase::Inviting,
            legs: [caller, callee],
            invite: Some(Invite {
                server,
                request: arrival.message.to_owned(),
                received_at: arrival.now,
                max_forwards: admission.max_forwards,
                targets,
                locating: None,
                groups,
                followed: Vec::new(),
                not_located: None,
                silent_at: None,
                no_answer: None,
                hunting: admission.hunting,
                refusal: None,
                refused_by: None,
                announcement: None,
                forwarded: false,
                progressed: false,
                described: false,
                offered: admission.offer.is_some(),
                settled: false,
                answered_early: None,
                replaces,
                shortest_s: 0,
                held: None,
            }),
            attempts: Vec::new(),
            bypassed: admission.bypassed,
            withheld: forward::is_privacy_asked(arrival.message) && !both_trusted,
            early: None,
            usages: Vec::new(),
            transferring: None,
            transfer: None,
            lingers_until: None,
            tags: vec![caller_tag],
            late_offer: admission.offer.is_none(),
            said: [admission.offer, None],
            offer: None,
            local: LocalSession::default(),
            waiting: vec![Waiting::Invite],
            media_request: 0,
            deadline: Some(deadline),
            answered_at: None,
            ended_at: None,
            outcome: None,
            declined: Vec::new(),
            branches: Vec::new(),
            clients: 0,
            media_closed: false,
            report: None,
            recorded: false,
            record: self.new_record(arrival, id, Some(trunk)),
            record_complete: false,
            interim_at: None,
            seized: admission.seized,
        };
        self.calls.insert(id, Box::new(call));
        self.live += 1;
        self.mark(id, Stage::Begun);
        self.open_media(id);
    }

    /// Everything that can refuse a call before it exists. `draw` is a random number. One that is made for a `transfer` is
    /// not one more of the trunk whose party asked for it.
    pub(super) fn admit(
        &self,
        arrival: Arrival<'_>,
        trunk: usize,
        draw: u64,
        transfer: bool,
    ) -> Result<Admission, Refused> {
        let invite = arrival.message;
        let max_forwards = invite.max_forwards().ok().flatten().unwrap_or(70);
        if max_forwards == 0 {
            return Err(Refused::new(483));
        }
        if forward::is_looping(invite, self.identities.node()) {
            return Err(Refused::new(482));
        }
        if self.place.calls.is_draining() && !transfer && self.replacement(invite)?.is_none() {
            return Err(Refused::because(503, "Draining"));
        }
        let mut offer = match forward::body(invite) {
            Body::Sdp(sdp) => Some(read(sdp)?),
            Body::Unsupported => return Err(Refused::unsupported()),
            Body::None | Body::Opaque(_) => None,
        };
        let mut numbers = Numbers::received(invite, &self.policy.trunks[trunk]);
        let limited = |refusal: Refusal| Refused::from(&refusal);
        let account = (trunk, arrival.user);
        let party = self.screen(account, invite, &numbers.routed.caller, &numbers.routed.called).map_err(limited)?;
        let inbound = self.seize_inbound(arrival.now, trunk, &party, transfer).map_err(limited)?;
        let replacement = self.replacement(invite)?;
        let endpoint = if replacement.is_some() { None } else { self.endpoint_for(arrival, &numbers.routed.called)? };
        let found = replacement.as_ref().map(|found| found.trunk).or(endpoint.as_ref().map(|found| found.trunk));
        let offered = offer.as_deref().unwrap_or_default();
        let (egress, hunting, outbound) = match found {
            Some(found) if self.lacks_tls(invite, found) => return Err(Refused::because(416, "No TLS There")),
            // Who is in a call already is not one more: this call takes the place of that one.
            Some(found) if replacement.is_some() => {
                (found, None, TrunkCalls::restore(&self.trunk_calls[found], Direction::Outbound, party.caller.clone()))
            }
            Some(found) => (found, None, self.seize_outbound(arrival.now, found, &party).map_err(limited)?),
            None => self.way_out(arrival, trunk, &mut numbers, offered, draw, &party)?,
        };
        if !self.media.is_connected() {
            return Err(Refused::because(503, "No Media Process"));
        }
        if self.place.calls.is_shut() {
            return Err(Refused::because(503, "No Room For Records"));
        }
        if let (Some(streams), Body::Sdp(sdp)) = (&mut offer, forward::body(invite)) {
            self.check_streams([trunk, egress], streams)?;
            // What is offered for a transfer names our own addresses: those of its party were judged in its call.
            if !transfer {
                self.check_private(trunk, arrival.flow.remote.ip(), streams)?;
            }
            self.leave_out([trunk, egress], sdp, streams)?;
        }
        // Last: from here on the call counts.
        if !self.place.calls.enter(self.policy.limits.calls) {
            return Err(Refused::because(503, "Call Limit Reached"));
        }
        let bypassed = match &endpoint {
            Some(called) => self.bypasses(arrival, trunk, offer.as_deref(), called),
            None => replacement.is_none() && self.goes_past(arrival, [trunk, egress], offer.as_deref()),
        };
        let (announcing, seized) = (None, Seized { party, inbound: Some(inbound), outbound: Some(outbound) });
        Ok(Admission {
            egress,
            endpoint,
            bypassed,
            max_forwards,
            offer,
            replacement,
            numbers,
            hunting,
            announcing,
            seized,
        })
    }

    /// Refuses a new INVITE before there is a call.
    fn reject(&mut self, arrival: Arrival<'_>, server: ServerId, refused: &Refused) {
        let trunk = self.policy.ingress(arrival.flow);
        let refused = &trunk.map_or_else(|| refused.clone(), |trunk| self.told_by_us(trunk, refused));
        let mut answer = self.answer_to(arrival, refused.status, &refused.reason);
        if refused.status == 503 {
            answer = answer.header("Retry-After", RETRY_AFTER);
        }
        if let Some(contact) = &refused.contact {
            answer = answer.header("Contact", contact);
        }
        if refused.status == 415 {
            answer = answer.header("Accept", ACCEPT);
        }
        self.layer.respond(arrival.now, server, answer.finish(b""));
        self.observe_rejected(arrival, refused.status, &refused.reason);
    }

    /// An attempt was refused before there was a call.
    fn observe_rejected(&mut self, arrival: Arrival<'_>, status: u16, reason: &[u8]) {
        let call = self.identities.call();
        self.record_rejected(arrival, call, status, reason);
        let from = self.policy.ingress(arrival.flow);
        self.observe(Observation::Ended {
            call,
            from: from.map(|trunk| self.policy.trunks[trunk].name.clone()).unwrap_or_default(),
            to: None,
            outcome: Outcome::Rejected(status),
            talk_ns: 0,
            report: None,
        });
    }

    fn caller_dialog(&mut self, invite: Message<'_>) -> Result<((Dialog, SessionId), SessionId), ()> {
        let id = self.identities.call();
        let tag = self.identities.token(id);
        let dialog = Dialog::uas(invite, tag.to_string().as_bytes()).map_err(|_| ())?;
        Ok(((dialog, tag), id))
    }

    /// How headers cross to the leg of `to`.
    pub(super) fn crossing<'a>(&'a self, call: &'a Call, to: Side) -> Crossing<'a> {
        let [ingress, egress] = [to.other(), to].map(|side| &self.policy.trunks[call.leg(side).trunk]);
        Crossing {
            withheld: to == Side::Callee && (call.withheld || egress.withhold_caller),
            trusted: call.legs.iter().all(|leg| self.policy.trunks[leg.trunk].trusted),
            realm: ingress.realm(),
            authenticates: egress.credentials.is_some(),
            shown_as: self.shown(call.leg(to).flow).address,
            naming: (to == Side::Callee).then(|| Naming::new(&call.numbers, ingress, egress)),
        }
    }

    /// A message's body as `to` is shown it: session descriptions with our addresses, others as they are.
    pub(super) fn body_for(&self, call: &Call, to: Side, message: Message<'_>) -> Result<Vec<u8>, Refused> {
        match forward::body(message) {
            Body::None => Ok(Vec::new()),
            Body::Opaque(bytes) => Ok(bytes.to_vec()),
            Body::Unsupported => Err(Refused::unsupported()),
            Body::Sdp(sdp) => {
                let shown = self.description_for(call, to, message, sdp)?;
                forward::with_description(message, shown).ok_or_else(Refused::unsupported)
            }
        }
    }

    /// The session description of a message as `to` is shown it: with our addresses, and the codecs that both trunks
    /// allow.
    pub(super) fn description_for(
        &self,
        call: &Call,
        to: Side,
        message: Message<'_>,
        sdp: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let sdp = &self.with_allowed(call, to, message, sdp)?[..];
        if call.bypassed {
            return Ok(sdp.to_vec());
        }
        let unreadable = || Refused::because(488, "Session Description Not Understood");
        let session = moorline_sdp::Session::parse(sdp).map_err(|_| unreadable())?;
        let fallback = self.policy.listeners[call.leg(to).flow.listener].advertised.ip();
        // A call that goes to another branch is offered there as if nobody had spoken.
        let begins = to == Side::Callee && call.phase == Phase::Inviting && message.method() == Some(Method::Invite);
        let muxes = |stream: usize| {
            let known = if begins { None } else { call.muxes(to, stream) };
            known.unwrap_or_else(|| session.media().get(stream).is_some_and(|media| media.rtcp_mux))
        };
        let (origin, anchors) = media::anchors(&call.local, to.index(), fallback, muxes);
        Ok(moorline_sdp::rewrite(&session, origin, &anchors))
    }

    /// What an offer of `side` in a call says of its streams, or why it cannot be carried between its parties.
    pub(super) fn read_offer(&self, call: &Call, side: Side, sdp: &[u8]) -> Result<Vec<Remote>, Refused> {
        let streams = self.read_answer(call, side, sdp)?;
        self.check_streams(call.legs.each_ref().map(|leg| leg.trunk), &streams)?;
        Ok(streams)
    }

    /// The same for an answer, which is not refused for what was in its offer.
    pub(super) fn read_answer(&self, call: &Call, side: Side, sdp: &[u8]) -> Result<Vec<Remote>, Refused> {
        let mut streams = read(sdp)?;
        let (trunk, source) = (call.leg(side).trunk, call.leg(side).flow.remote.ip());
        self.check_private(trunk, source, &streams)?;
        self.leave_out([trunk, call.leg(side.other()).trunk], sdp, &mut streams)?;
        Ok(streams)
    }

    /// Fax streams are carried where both trunks take them and the media process relays them; video where both
    /// trunks take it. An offer of refused video has something else in it, or is refused as a whole.
    pub(super) fn check_streams(&self, trunks: [usize; 2], streams: &[Remote]) -> Result<(), Refused> {
        let fax = streams.iter().any(|stream| stream.active && stream.profile == Profile::Udptl);
        let taken = trunks.iter().all(|trunk| self.policy.trunks[*trunk].dialogs.fax);
        if fax && !(taken && self.media.relays_fax) {
            return Err(Refused::because(488, "No Fax Here"));
        }
        let mut active = streams.iter().filter(|stream| stream.active).peekable();
        let video_alone = active.peek().is_some() && active.all(|stream| stream.kind == Kind::Video);
        if video_alone && !self.takes_video(trunks) {
            return Err(Refused::because(488, "No Video Here"));
        }
        Ok(())
    }

    /// Whether video is carried between two trunks.
    pub(super) fn takes_video(&self, trunks: [usize; 2]) -> bool {
        trunks.iter().all(|trunk| self.policy.trunks[*trunk].dialogs.video)
    }

    /// An answer to the first INVITE.
    pub(super) fn invite_answered(&mut self, arrival: Arrival<'_>, client: ClientId, id: SessionId) {
        let Some(status) = arrival.message.status() else { return };
        match status {
            0..=100 => self.heard(arrival, client, id),
            101..=199 => {
                self.heard(arrival, client, id);
                self.record_ringing(arrival.now, id);
                self.progress(arrival, client, id);
            }
            200..=299 => self.accepted(arrival, client, id),
            422 if self.invite_again(arrival, client, id) => {}
            _ => self.refused_by_callee(arrival, client, id, status),
        }
    }
}

/// What a session description says of its streams, or why it cannot be carried.
pub(super) fn read(sdp: &[u8]) -> Result<Vec<Remote>, Refused> {
    let session = moorline_sdp::Session::parse(sdp)
        .map_err(|error| Refused::because(488, &format!("Session Description: {error}")))?;
    Ok(media::remotes(&session)?)
}

/// What crosses of a refusal's body: the description that a 488 may carry says what the refuser could do, with
/// its addresses, and no media is meant by it.
pub(super) fn refusal_body(refusal: Message<'_>) -> &[u8] {
    match forward::body(refusal) {
        Body::Opaque(bytes) => bytes,
        Body::None | Body::Sdp(_) | Body::Unsupported => b"",
    }
}
