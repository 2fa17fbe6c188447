//! A call: two legs, one media session, and how far it has come.

use moorline_control::{LocalSession, SessionId, SessionReport};
use moorline_sip::OwnedMessage;
use moorline_sip::transaction::{ClientId, ServerId};

use crate::Outcome;
use crate::attempt::{Attempt, Groups};
use crate::leg::{Leg, Side};
use crate::media::Remote;

/// A call in progress. Who may change it: the worker that owns it, nobody else.
pub(crate) struct Call {
    pub(crate) id: SessionId,
    pub(crate) phase: Phase,
    /// The caller's leg and the callee's, by [`Side::index`].
    pub(crate) legs: [Leg; 2],
    /// The first INVITE, until its final answer.
    pub(crate) invite: Option<Invite>,
    /// INVITEs to the called side that are not finally answered.
    pub(crate) attempts: Vec<Attempt>,
    /// The caller is not to be named to the callee.
    pub(crate) withheld: bool,
    /// Our tags in all its dialogs, for as long as it is known.
    pub(crate) tags: Vec<SessionId>,
    /// What each party's SDP last said, agreed or early; by [`Side::index`].
    pub(crate) said: [Option<Vec<Remote>>; 2],
    /// An offer in a re-INVITE that was not answered yet.
    pub(crate) offer: Option<Offer>,
    /// The local media addresses.
    pub(crate) local: LocalSession,
    /// The message that waits for the media process before it can go on.
    pub(crate) waiting: Waiting,
    /// The last request about this call to the media process: its reply is what `waiting` waits for.
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
    /// Client transactions that still run for it.
    pub(crate) clients: u32,
    /// It came back from its snapshot.
    pub(crate) restored: bool,
    /// The media session is closed or was never opened.
    pub(crate) media_closed: bool,
    /// What the media process said when it closed the session.
    pub(crate) report: Option<SessionReport>,
    /// Its end was observed.
    pub(crate) recorded: bool,
}

/// The first INVITE of a call.
pub(crate) struct Invite {
    /// Its transaction.
    pub(crate) server: ServerId,
    /// As it came.
    pub(crate) request: OwnedMessage,
    /// When it came.
    pub(crate) received_at: u64,
    /// Its Max-Forwards, 70 where it had none; at least 1.
    pub(crate) max_forwards: u32,
    /// Where it may still go.
    pub(crate) groups: Groups,
    /// The best refusal so far.
    pub(crate) refusal: Option<OwnedMessage>,
    /// It went on to the called side.
    pub(crate) forwarded: bool,
    /// A provisional answer above 100 came from the callee: no other group is tried after that.
    pub(crate) progressed: bool,
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
    /// Nothing.
    Nothing,
    /// The first INVITE, for the session to be open.
    Invite,
    /// A re-INVITE of this side.
    Reinvite(Side),
    /// A 2xx to an INVITE, from this side.
    Answer { from: Side, response: OwnedMessage, received_at: u64 },
}

impl Call {
    pub(crate) fn leg(&self, side: Side) -> &Leg {
        &self.legs[side.index()]
    }

    pub(crate) fn leg_mut(&mut self, side: Side) -> &mut Leg {
        &mut self.legs[side.index()]
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

    /// True while either party has every stream on hold: silence is no fault then.
    pub(crate) fn is_held(&self) -> bool {
        let held = |said: &Option<Vec<Remote>>| {
            said.as_ref().is_some_and(|streams| streams.iter().filter(|r| r.active).all(|r| r.held))
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
        if self.phase == Phase::Inviting && side == Side::Callee {
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

    /// True while the call counts as one: not ended, not given up.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Inviting | Phase::Answered)
    }

    /// True when nothing is left to wait for.
    pub(crate) fn is_over(&self) -> bool {
        let quiet = |leg: &Leg| leg.confirming.is_none() && !leg.bye_due;
        self.phase == Phase::Ending && self.clients == 0 && self.media_closed && self.legs.iter().all(quiet)
    }
}
