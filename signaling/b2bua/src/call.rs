//! A call: two legs, one media session, and how far it has come.

mod hunting;
mod numbers;

use std::collections::VecDeque;
use std::sync::Arc;

use moorline_control::{LocalSession, Profile, SessionId, SessionReport};
use moorline_sip::transaction::{ClientId, Flow, ServerId};
use moorline_sip::{Dialog, Message, OwnedMessage};

use crate::Outcome;
use crate::announcement::Announcing;
use crate::attempt::{Attempt, Early, Groups};
use crate::cdr::Record;
use crate::leg::{Leg, Side};
use crate::locate::{NotLocated, Ticket};
use crate::media::Remote;
use crate::next_hop::NextHops;
use crate::policy::Target;
use crate::policy::limit::Seized;
use crate::reliable::OfferedIn;
use crate::transfer::{Handled, Usage};

pub(crate) use hunting::Hunting;
pub(crate) use numbers::{Numbers, with_number_in};

/// A call in progress. Who may change it: the worker that owns it, nobody else.
pub(crate) struct Call {
    pub(crate) id: SessionId,
    pub(crate) phase: Phase,
    /// It is refused, and told so by an announcement; there is no called side, or none any more.
    pub(crate) announcing: Option<Box<Announcing>>,
    /// The caller's leg and the callee's, by [`Side::index`].
    pub(crate) legs: [Leg; 2],
    /// Who calls whom.
    pub(crate) numbers: Numbers,
    /// The first INVITE, until its final answer.
    pub(crate) invite: Option<Invite>,
    /// INVITEs to the called side that are not finally answered.
    pub(crate) attempts: Vec<Attempt>,
    /// Media go past us, from one endpoint to the other: the session has no streams.
    pub(crate) bypassed: bool,
    /// The caller is not to be named to the callee.
    pub(crate) withheld: bool,
    /// The early dialog of the callee that the caller was shown last, or that a request came in last: what the
    /// caller asks goes there until somebody has answered.
    pub(crate) early: Option<(ClientId, Vec<u8>)>,
    /// Subscriptions inside its dialogs; they may outlive it.
    pub(crate) usages: Vec<Usage>,
    /// The call that is made for it, while a transfer is carried out here.
    pub(crate) transferring: Option<SessionId>,
    /// It is made for a transfer.
    pub(crate) transfer: Option<Box<Handled>>,
    /// When it is forgotten all the same, once it has ended.
    pub(crate) lingers_until: Option<u64>,
    /// Our tags in all its dialogs, for as long as it is known.
    pub(crate) tags: Vec<SessionId>,
    /// What each party's SDP last said, agreed or early; by [`Side::index`].
    pub(crate) said: [Option<Vec<Remote>>; 2],
    /// The last INVITE that crossed it had no offer: its answer has one.
    pub(crate) late_offer: bool,
    /// An offer in a re-INVITE that was not answered yet.
    pub(crate) offer: Option<Offer>,
    /// The local media addresses.
    pub(crate) local: LocalSession,
    /// The messages that wait for the media process before they can go on, in their order.
    pub(crate) waiting: Vec<Waiting>,
    /// The last request about this call to the media process: its reply is what those wait for.
    pub(crate) media_request: u32,
    /// When its phase must be over.
    pub(crate) deadline: Option<u64>,
    /// When the call was answered.
    pub(crate) answered_at: Option<u64>,
    /// When it ended, once it has.
    pub(crate) ended_at: Option<u64>,
    /// How it ended, once it has.
    pub(crate) outcome: Option<Outcome>,
    /// Dialogs of other branches that were ended at once: their tag, and the ACK to repeat.
    pub(crate) declined: Vec<(Vec<u8>, Vec<u8>)>,
    /// The early dialogs of an attempt that is over; in some of them requests were sent.
    pub(crate) branches: Vec<Early>,
    /// Client transactions that still run for it.
    pub(crate) clients: u32,
    /// The media session is closed or was never opened.
    pub(crate) media_closed: bool,
    /// What the media process said when it closed the session.
    pub(crate) report: Option<SessionReport>,
    /// Its end was observed.
    pub(crate) recorded: bool,
    /// What is written down of it.
    pub(crate) record: Box<Record>,
    /// Nothing more will be.
    pub(crate) record_complete: bool,
    /// When it is marked next as being up.
    pub(crate) interim_at: Option<u64>,
    /// What it holds of the limits of its trunks, until it is not live any more.
    pub(crate) seized: Seized,
}

/// The first INVITE of a call.
pub(crate) struct Invite {
    /// Its transaction; `None` where nobody waits for it: the call is made for a transfer.
    pub(crate) server: Option<ServerId>,
    /// As it came.
    pub(crate) request: OwnedMessage,
    /// When it came.
    pub(crate) received_at: u64,
    /// Its Max-Forwards, 70 where it had none; at least 1.
    pub(crate) max_forwards: u32,
    /// Where it may still go: what was not looked up yet, what is being looked up, and what was found.
    pub(crate) targets: VecDeque<Target>,
    pub(crate) locating: Option<(Ticket, Target)>,
    pub(crate) groups: Groups,
    /// Contacts of redirections that were followed.
    pub(crate) followed: Vec<Vec<u8>>,
    /// Why a target was not found.
    pub(crate) not_located: Option<NotLocated>,
    /// When those called must have given a sign of life.
    pub(crate) silent_at: Option<u64>,
    /// The trunk whose no-answer time runs, and when that is over.
    pub(crate) no_answer: Option<(usize, u64)>,
    /// The other trunks that the call may go to.
    pub(crate) hunting: Option<Box<Hunting>>,
    /// The best refusal so far.
    pub(crate) refusal: Option<OwnedMessage>,
    /// The trunk that it came from.
    pub(crate) refused_by: Option<usize>,
    /// The announcement that its answer map has for that, by name.
    pub(crate) announcement: Option<Arc<str>>,
    /// It went on to the called side.
    pub(crate) forwarded: bool,
    /// A provisional answer above 100 came from the callee: no other group is tried after that.
    pub(crate) progressed: bool,
    /// The caller has a session description of the called side's, or is about to have it: no other trunk is tried then.
    pub(crate) described: bool,
    /// It holds the offer; else the called side makes it.
    pub(crate) offered: bool,
    /// The caller has offer and answer for good: from a reliable provisional answer and its PRACK.
    pub(crate) settled: bool,
    /// The Replaces that the called side is sent, where the call replaces another of ours.
    pub(crate) replaces: Option<Vec<u8>>,
    /// The description that the called side answered with before its 2xx, which has none.
    pub(crate) answered_early: Option<OwnedMessage>,
    /// The shortest session interval that the called side takes, as its 422 said, in seconds.
    pub(crate) shortest_s: u32,
    /// The 2xx, received then, that waits for the caller's PRACK (RFC 3262 3).
    pub(crate) held: Option<(OwnedMessage, u64)>,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The INVITE is here; it goes on when the media session is open, and then is not finally answered.
    Inviting,
    /// The caller gave up or was refused; the callee's final answer is awaited.
    Cancelled,
    /// A 2xx came from the callee.
    Answered,
    /// Over; transactions and the media session are running out.
    Ending,
}

/// A session description that was offered and not answered.
pub(crate) struct Offer {
    pub(crate) by: Side,
    pub(crate) streams: Vec<Remote>,
}

/// What waits for the reply of the media process.
pub(crate) enum Waiting {
    /// The first INVITE, for the session to be open.
    Invite,
    /// A reliable provisional answer with the offer.
    Offered { response: OwnedMessage, offered_in: OfferedIn },
    /// A re-INVITE of this side.
    Reinvite(Side),
    /// An UPDATE, or PRACK, of this side with an offer.
    Update(Side),
    /// A 2xx to an INVITE, from this side.
    Answer { from: Side, response: OwnedMessage, received_at: u64 },
    /// A 2xx to what was made of an UPDATE, from this side.
    Updated { from: Side, response: OwnedMessage },
}

impl Call {
    pub(crate) fn leg(&self, side: Side) -> &Leg {
        &self.legs[side.index()]
    }

    /// The user that a party is, if there is one; after a restart its record alone says so.
    pub(crate) fn user(&self, side: Side) -> Option<&[u8]> {
        let party = if side == Side::Caller { &self.record.caller } else { &self.record.callee };
        self.leg(side).user.as_deref().or(party.user.as_deref().map(str::as_bytes))
    }

    pub(crate) fn leg_mut(&mut self, side: Side) -> &mut Leg {
        &mut self.legs[side.index()]
    }

    /// The early dialog that the callee is spoken to in until somebody has answered.
    pub(crate) fn early(&self) -> Option<&Early> {
        let (client, tag) = self.early.as_ref()?;
        self.attempts.iter().find(|attempt| attempt.client == *client)?.early(tag)
    }

    /// The attempt and early dialog with this tag of ours and that one of theirs.
    pub(crate) fn early_of(&self, ours: SessionId, theirs: &[u8]) -> Option<(ClientId, &Early)> {
        let attempt = self.attempts.iter().find(|attempt| attempt.tag == ours)?;
        Some((attempt.client, attempt.early(theirs)?))
    }

    /// The dialog of `side`, the callee's while it is early too.
    pub(crate) fn dialog(&self, side: Side) -> Option<&Dialog> {
        let early = || self.early().filter(|_| side == Side::Callee).map(|early| &early.dialog);
        self.leg(side).dialog.as_ref().or_else(early)
    }

    /// The same, to change.
    pub(crate) fn dialog_mut(&mut self, side: Side) -> Option<&mut Dialog> {
        if self.leg(side).dialog.is_some() || side == Side::Caller {
            return self.leg_mut(side).dialog.as_mut();
        }
        let (client, tag) = self.early.as_ref()?;
        let attempt = self.attempts.iter_mut().find(|attempt| attempt.client == *client)?;
        Some(&mut attempt.early_mut(tag)?.dialog)
    }

    /// Where requests in the dialog of `side` go.
    pub(crate) fn next_hop(&self, side: Side, hops: &NextHops) -> Flow {
        let leg = self.leg(side);
        if leg.dialog.is_none()
            && side == Side::Callee
            && let Some((client, _)) = &self.early
            && let Some(attempt) = self.attempts.iter().find(|attempt| attempt.client == *client)
        {
            return hops.of(self.dialog(side), attempt.destination.flow, leg.endpoint);
        }
        leg.next_hop(hops)
    }

    /// True where `side` takes UPDATE.
    pub(crate) fn updates(&self, side: Side) -> bool {
        let early = side == Side::Callee && self.early().is_some_and(|early| early.updates);
        self.leg(side).updates || (self.leg(side).dialog.is_none() && early)
    }

    /// True while the first INVITE waits for the session to be open.
    pub(crate) fn is_opening(&self) -> bool {
        self.waiting.iter().any(|waiting| matches!(waiting, Waiting::Invite))
    }

    /// The attempt of this transaction.
    pub(crate) fn attempt_mut(&mut self, client: ClientId) -> Option<&mut Attempt> {
        self.attempts.iter_mut().find(|attempt| attempt.client == client)
    }

    /// The attempt of this transaction, which is over.
    pub(crate) fn take_attempt(&mut self, client: ClientId) -> Option<Attempt> {
        let found = self.attempts.iter().position(|attempt| attempt.client == client)?;
        Some(self.attempts.swap_remove(found))
    }

    /// The dialog that a 2xx of another branch sets up when its attempt is over: requests that were sent in it while
    /// it was early have used CSeq numbers.
    pub(crate) fn late_branch(&self, response: Message<'_>, target: &[u8]) -> Option<Dialog> {
        let mut dialog = Dialog::uac(response, target).ok()?;
        let same =
            |early: &&Early| early.dialog.remote_tag == dialog.remote_tag && early.dialog.call_id == dialog.call_id;
        if let Some(early) = self.branches.iter().find(same) {
            dialog.local_cseq = dialog.local_cseq.max(early.dialog.local_cseq);
        }
        Some(dialog)
    }

    /// True while either party has every stream on hold: silence is no fault then.
    pub(crate) fn is_held(&self) -> bool {
        // A stream that one party refuses says nothing, whatever the other one says of it.
        let refused = |index: usize| self.said.iter().flatten().any(|said| said.get(index).is_some_and(|r| !r.active));
        let held = |said: &Option<Vec<Remote>>| {
            said.as_ref().is_some_and(|streams| streams.iter().enumerate().all(|(at, r)| refused(at) || r.held))
        };
        self.said.iter().any(held)
    }

    /// What `side` says of its streams as far as the media process must know; `None` for a stream of which
    /// it has said nothing yet.
    ///
    /// While an offer is open, streams that are agreed stay as they are, and new ones are prepared: both
    /// parties may send by the old agreement until the answer (RFC 3264 8).
    pub(crate) fn view(&self, side: Side) -> Vec<Option<Remote>> {
        let said = self.said[side.index()].as_deref().unwrap_or_default();
        if self.phase == Phase::Inviting && side == Side::Callee && self.offer.is_none() {
            // An early answer may still be followed by another one, of another branch: what it refuses is
            // kept until the final one.
            return said.iter().map(|remote| remote.active.then(|| remote.clone())).collect();
        }
        let Some(offer) = &self.offer else { return said.iter().cloned().map(Some).collect() };
        let count = said.len().max(offer.streams.len());
        let stream = |index: usize| {
            let (agreed, offered) = (said.get(index), offer.streams.get(index));
            match (agreed, offered) {
                (Some(agreed), _) if agreed.active => Some(agreed.clone()),
                (_, Some(offered)) if offered.active => (side == offer.by).then(|| offered.clone()),
                (agreed, _) => agreed.cloned(),
            }
        };
        (0..count).map(stream).collect()
    }

    /// Whether RTCP shares the RTP port of a stream on the leg of `side`, where the party has said so. That is agreed
    /// with each party by itself (RFC 5761 section 5.1), and an offer to one that has spoken changes nothing in it.
    pub(crate) fn muxes(&self, side: Side, stream: usize) -> Option<bool> {
        let said = self.said[side.index()].as_ref()?.get(stream)?;
        (said.active && said.profile == Profile::Rtp).then_some(said.mux)
    }

    /// True where every stream in use has its ports at the media process.
    pub(crate) fn has_its_ports(&self) -> bool {
        let views = Side::BOTH.map(|side| self.view(side));
        let count = views.iter().map(Vec::len).max().unwrap_or_default();
        let refused = |stream: usize| {
            let mut known = views.iter().filter_map(|view| view.get(stream)?.as_ref());
            known.any(|remote| !remote.active)
        };
        let placed = |side: Side, stream: usize| {
            let leg = self.local.legs.get(side.index());
            leg.and_then(|leg| leg.get(stream)?.as_ref()).is_some()
        };
        (0..count).all(|stream| refused(stream) || Side::BOTH.iter().all(|side| placed(*side, stream)))
    }

    /// True once both parties have heard of the answer.
    pub(crate) fn is_agreed(&self) -> bool {
        self.phase == Phase::Answered && self.invite.is_none()
    }

    /// True if `side` knows of our dialog with it: the callee has answered, the caller was told so or of progress.
    pub(crate) fn is_known_to(&self, side: Side) -> bool {
        let told = side == Side::Callee || self.invite.as_ref().is_some_and(|invite| invite.progressed);
        !self.leg(side).gone && self.dialog(side).is_some() && (self.leg(side).confirmed || told)
    }

    /// True while the call counts as one: not ended, not given up.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Inviting | Phase::Answered)
    }

    /// True when nothing is left to wait for.
    pub(crate) fn is_over(&self) -> bool {
        let quiet = |leg: &Leg| leg.confirming.is_none() && !leg.bye_due;
        let ended = self.phase == Phase::Ending && self.clients == 0 && self.usages.is_empty();
        ended && self.media_closed && self.legs.iter().all(quiet)
    }
}
