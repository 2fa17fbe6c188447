//! One party's side of a call: its dialog, and what is under way in it.

use std::collections::VecDeque;
use std::net::SocketAddr;

use moorline_control::SessionId;
use moorline_sip::Dialog;
use moorline_sip::OwnedMessage;
use moorline_sip::transaction::{ClientId, Flow, ServerId};

use crate::next_hop::NextHops;
use crate::reliable::Reliable;
use crate::session_timer::SessionTimer;

/// Which party of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Side {
    /// The one that sent the first INVITE; leg 0 of the media session.
    Caller = 0,
    /// The one that was called; leg 1.
    Callee = 1,
}

impl Side {
    pub(crate) const BOTH: [Side; 2] = [Side::Caller, Side::Callee];

    pub(crate) fn other(self) -> Side {
        match self {
            Side::Caller => Side::Callee,
            Side::Callee => Side::Caller,
        }
    }

    /// The leg's position in the media session.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// One party's side of a call.
pub(crate) struct Leg {
    /// Its trunk, by position in the policy.
    pub(crate) trunk: usize,
    /// The listener it is spoken to from, and the address its last request came from or ours went to.
    pub(crate) flow: Flow,
    /// Our tag in this dialog, by which its requests find the call.
    pub(crate) tag: SessionId,
    /// The dialog, once there is one: for the caller with its INVITE, for the callee with its 2xx.
    pub(crate) dialog: Option<Dialog>,
    /// Our 2xx to an INVITE of this party, repeated until its ACK (RFC 3261 13.3.1.4).
    pub(crate) confirming: Option<Confirming>,
    /// An INVITE of this party in this dialog, not finally answered yet.
    pub(crate) reinvite: Option<Reinvite>,
    /// Our INVITE to this party, not finally answered yet.
    pub(crate) inviting: Option<ClientId>,
    /// Provisional answers to the caller's first INVITE, where they are reliable.
    pub(crate) reliable: Option<Box<Reliable>>,
    /// An UPDATE or PRACK of this party with an offer, not answered yet.
    pub(crate) update: Option<Box<Update>>,
    /// Our UPDATE to this party, not answered yet.
    pub(crate) updating: Option<ClientId>,
    /// It takes UPDATE (RFC 3311): its Allow says so.
    pub(crate) updates: bool,
    /// How long the session lasts on this leg without a refresh, where that was agreed.
    pub(crate) timer: Option<SessionTimer>,
    /// The shortest session interval that this party takes, as far as it has said so, in seconds.
    pub(crate) shortest_s: u32,
    /// The session description that this party was sent last, where a refresh must repeat it: it takes no UPDATE.
    pub(crate) sdp: Option<Vec<u8>>,
    /// The CSeq of a 2xx to our INVITE that this party was not sent an ACK for yet.
    pub(crate) unacknowledged: Option<u32>,
    /// The same as its snapshot said, of a leg that was restored: the ACK may have been sent after that, or not.
    pub(crate) perhaps_unacknowledged: Option<u32>,
    /// The last ACKs that this party was sent, the latest at the end: each is sent again when its 2xx is
    /// repeated (RFC 3261 13.2.2.4), which goes on for 64*T1, whatever INVITEs follow it.
    pub(crate) acks: VecDeque<SentAck>,
    /// A 2xx to its first INVITE was sent to this party, or came from it.
    pub(crate) confirmed: bool,
    /// How often it has said in a re-INVITE where its media is: its latch opens anew each time.
    pub(crate) relatch: u32,
    /// A BYE is due as soon as this party has acknowledged our 2xx (RFC 3261 15).
    pub(crate) bye_due: bool,
    /// It has hung up, and the other party waits to be transferred.
    pub(crate) gone: bool,
    /// It has asked for a transfer that was carried out here: the NOTIFYs of the next name theirs (RFC 3515 2.4.6).
    pub(crate) referred: bool,
    /// Our BYE was refused as one that came too late, and sent again.
    pub(crate) bye_repeated: bool,
    /// It is an endpoint: what it says of its own address counts less than where it speaks from.
    pub(crate) endpoint: bool,
    /// The credentials that our last INVITE showed it, for the ACK: whole header lines.
    pub(crate) proof: Option<Box<[u8]>>,
    /// Who it is, if it had to show credentials.
    pub(crate) user: Option<Box<[u8]>>,
}

/// A 2xx that is sent again and again until the ACK comes.
pub(crate) struct Confirming {
    pub(crate) server: ServerId,
    pub(crate) cseq: u32,
    pub(crate) response: Vec<u8>,
    pub(crate) interval_ns: u64,
    pub(crate) next_at: u64,
    pub(crate) give_up_at: u64,
}

/// A re-INVITE on its way to the other party.
pub(crate) struct Reinvite {
    pub(crate) server: ServerId,
    pub(crate) request: OwnedMessage,
    /// Where the answer goes.
    pub(crate) source: SocketAddr,
    /// When it must be finally answered.
    pub(crate) until: u64,
}

/// An UPDATE, or a PRACK with an offer, on its way to the other party.
pub(crate) struct Update {
    pub(crate) server: ServerId,
    pub(crate) request: OwnedMessage,
    /// Where the answer goes.
    pub(crate) source: SocketAddr,
    /// When it must be answered.
    pub(crate) until: u64,
    /// The other tag of the callee's early dialog that it belongs to, before the answer.
    pub(crate) early: Option<Vec<u8>>,
}

/// An ACK to a 2xx.
pub(crate) struct SentAck {
    pub(crate) cseq: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Leg {
    pub(crate) fn new(trunk: usize, flow: Flow, tag: SessionId) -> Leg {
        Leg {
            trunk,
            flow,
            tag,
            dialog: None,
            confirming: None,
            reinvite: None,
            inviting: None,
            reliable: None,
            update: None,
            updating: None,
            updates: false,
            timer: None,
            shortest_s: 0,
            sdp: None,
            unacknowledged: None,
            perhaps_unacknowledged: None,
            acks: VecDeque::new(),
            confirmed: false,
            relatch: 0,
            bye_due: false,
            bye_repeated: false,
            gone: false,
            referred: false,
            endpoint: false,
            proof: None,
            user: None,
        }
    }

    /// Where requests in this dialog go.
    pub(crate) fn next_hop(&self, hops: &NextHops) -> Flow {
        hops.of(self.dialog.as_ref(), self.flow, self.endpoint)
    }

    /// True where its dialog was set up by a `sips` URI.
    pub(crate) fn is_secure(&self) -> bool {
        self.dialog.as_ref().is_some_and(|dialog| dialog.secure)
    }

    /// True while an INVITE of either party is under way in this dialog (RFC 3261 14.1, 14.2).
    pub(crate) fn is_inviting(&self) -> bool {
        self.inviting.is_some() || self.reinvite.is_some() || self.confirming.is_some()
    }

    /// True while an UPDATE of either party is under way in this dialog.
    pub(crate) fn is_updating(&self) -> bool {
        self.update.is_some() || self.updating.is_some()
    }
}
