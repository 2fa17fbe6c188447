//! Provisional answers to the caller that must be acknowledged (RFC 3262 section 3): one at a time, each sent again
//! until its PRACK has come.

use std::collections::VecDeque;

use moorline_sip::OwnedMessage;
use moorline_sip::transaction::ClientId;

use crate::extension::RAck;

/// Provisional answers that may wait for the one before them; more are left out.
const MAX_QUEUED: usize = 8;

/// RFC 3261 17.1.1.1.
const T1_NS: u64 = 500_000_000;

/// The reliable provisional answers of one INVITE.
pub(crate) struct Reliable {
    /// The CSeq of the INVITE.
    cseq: u32,
    /// The RSeq of the next.
    next: u32,
    pending: Option<Pending>,
    queue: VecDeque<Provisional>,
}

/// A provisional answer of the callee on its way to the caller.
pub(crate) struct Provisional {
    pub(crate) response: OwnedMessage,
    /// It takes a session description along.
    pub(crate) described: bool,
    /// That is the offer: the answer in the PRACK goes on to this early dialog.
    pub(crate) offer: Option<OfferedIn>,
}

/// The early dialog whose reliable answer held the offer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OfferedIn {
    pub(crate) client: ClientId,
    pub(crate) tag: Vec<u8>,
    pub(crate) rack: RAck,
}

/// The provisional answer that was sent and not acknowledged yet.
pub(crate) struct Pending {
    pub(crate) rseq: u32,
    pub(crate) described: bool,
    pub(crate) offer: Option<OfferedIn>,
    /// To send again; empty once there is nothing left to wait for.
    pub(crate) response: Vec<u8>,
    interval_ns: u64,
    pub(crate) next_at: u64,
    give_up_at: u64,
}

impl Reliable {
    /// Nothing sent yet. RSeq starts anywhere from 1 to 2^31 - 1 (RFC 3262 3).
    pub(crate) fn new(cseq: u32, random: u64) -> Reliable {
        let next = (random as u32 & 0x3fff_ffff) + 1;
        Reliable { cseq, next, pending: None, queue: VecDeque::new() }
    }

    /// Takes a provisional answer: back out where it may be sent at once.
    pub(crate) fn push(&mut self, provisional: Provisional) -> Option<Provisional> {
        if self.pending.is_none() {
            return Some(provisional);
        }
        if self.queue.len() < MAX_QUEUED {
            self.queue.push_back(provisional);
        }
        None
    }

    /// The RSeq for what is sent now.
    pub(crate) fn number(&mut self) -> u32 {
        let number = self.next;
        self.next = self.next.saturating_add(1);
        number
    }

    /// Takes note of what was sent.
    pub(crate) fn sent(&mut self, now: u64, rseq: u32, provisional: Provisional, response: Vec<u8>) -> u64 {
        let (described, offer) = (provisional.described, provisional.offer);
        let (next_at, give_up_at) = (now + T1_NS, now + 64 * T1_NS);
        let interval_ns = T1_NS;
        self.pending = Some(Pending { rseq, described, offer, response, interval_ns, next_at, give_up_at });
        next_at
    }

    /// A PRACK has come: what it acknowledges, if there is such a thing.
    pub(crate) fn acknowledge(&mut self, rack: RAck) -> Option<Pending> {
        let meant = |pending: &mut Pending| rack == RAck { rseq: pending.rseq, cseq: self.cseq };
        self.pending.take_if(meant)
    }

    /// What may be sent once nothing is pending.
    pub(crate) fn pop(&mut self) -> Option<Provisional> {
        if self.pending.is_some() { None } else { self.queue.pop_front() }
    }

    /// True while a 2xx must wait: a session description is not acknowledged yet (RFC 3262 3).
    pub(crate) fn holds_answer(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.described && !pending.response.is_empty())
            || self.queue.iter().any(|queued| queued.described)
    }

    /// True while an offer of the called side was sent, or is about to be.
    pub(crate) fn holds_offer(&self) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.offer.is_some())
            || self.queue.iter().any(|queued| queued.offer.is_some())
    }

    /// The repetition of the pending answer is due: its bytes and the next time. `None` where no PRACK came in
    /// 64*T1.
    pub(crate) fn repeat(&mut self, now: u64) -> Option<(Vec<u8>, u64)> {
        let pending = self.pending.as_mut()?;
        if now >= pending.give_up_at {
            return None;
        }
        pending.interval_ns *= 2;
        pending.next_at = (now + pending.interval_ns).min(pending.give_up_at);
        Some((pending.response.clone(), pending.next_at))
    }

    /// When the pending answer is due again.
    pub(crate) fn next_at(&self) -> Option<u64> {
        self.pending.as_ref().filter(|pending| !pending.response.is_empty()).map(|pending| pending.next_at)
    }

    /// The INVITE is finally answered: nothing is sent again, but a PRACK that is on its way is still understood.
    pub(crate) fn finish(&mut self) {
        self.queue = VecDeque::new();
        if let Some(pending) = &mut self.pending {
            pending.response = Vec::new();
        }
    }

    /// True while a PRACK may still come.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending.is_some()
    }
}
