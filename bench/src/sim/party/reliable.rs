//! Provisional answers that are acknowledged (RFC 3262), from either end.

use moorline_sip::{Message, Name};

use super::message::{Draft, contact_of, cseq_of, description, record_routes, tag, text};
use super::{Dialog, Due, Party, Phase, Role, T1, TIMEOUT};
use crate::sim::plan::{Final, MS, Reliable};

/// An early dialog of a caller.
#[derive(Debug, Clone)]
pub(super) struct Early {
    pub(super) dialog: Dialog,
    /// The last provisional answer that was acknowledged in it.
    rseq: Option<u32>,
    /// The first offer was answered in it.
    settled: bool,
}

/// A reliable provisional answer of a called party that waits for its PRACK.
#[derive(Debug, Clone)]
pub(super) struct Unpracked {
    rseq: u32,
    response: Vec<u8>,
    interval: u64,
    repeat_at: u64,
    until: u64,
    /// It holds an offer: the PRACK must hold the answer.
    offered: bool,
}

impl Unpracked {
    pub(super) fn next_timeout(&self) -> u64 {
        self.repeat_at.min(self.until)
    }
}

impl Party {
    /// The early dialog in which the first offer was answered, so that another may follow.
    pub(super) fn settled_dialog(&self) -> Option<Dialog> {
        if !self.settled {
            return None;
        }
        match self.role {
            Role::Caller => self.early.iter().find(|early| early.settled).map(|early| early.dialog.clone()),
            Role::Callee(_) => self.dialog.clone(),
        }
    }

    /// A request is in an early dialog of this caller's.
    pub(super) fn knows_early(&self, request: Message<'_>) -> bool {
        let theirs = tag(request.from());
        self.early.iter().any(|early| early.dialog.remote_tag == theirs)
    }

    /// The early dialog that a provisional answer above 100 belongs to.
    pub(super) fn early(&mut self, message: Message<'_>) -> usize {
        let remote_tag = tag(message.to());
        if let Some(known) = self.early.iter().position(|early| early.dialog.remote_tag == remote_tag) {
            return known;
        }
        let mut routes = record_routes(message);
        routes.reverse();
        let remote_target = contact_of(message).unwrap_or_default();
        let local_tag = self.tags[0].clone();
        let dialog = Dialog { local_tag, remote_tag, remote_target, routes, remote_cseq: None };
        self.early.push(Early { dialog, rseq: None, settled: false });
        self.early.len() - 1
    }

    /// A provisional answer came that must be acknowledged; each once, and in order.
    pub(super) fn acknowledge_progress(&mut self, now: u64, message: Message<'_>, offered: bool) {
        let Some(rseq) = message.header(Name::RSeq).map(text).and_then(|rseq| rseq.parse::<u32>().ok()) else {
            return self.fault("a provisional answer that requires 100rel without an RSeq");
        };
        if self.script.knows.reliable == Reliable::No {
            return self.fault("a reliable provisional answer to a party that does not know of them");
        }
        let position = self.early(message);
        if self.early[position].rseq.is_some_and(|last| rseq != last + 1) {
            return;
        }
        let first = self.early[position].rseq.replace(rseq).is_none();
        let body = match (description(message), offered) {
            (Some(answer), true) => self.session.answered(answer).map(|()| String::new()),
            (Some(offer), false) if !self.settled => self.session.answer(offer),
            (None, false) if first && !self.settled => Err("the first reliable answer holds no offer".into()),
            _ => Ok(String::new()),
        };
        let settles = description(message).is_some() && !self.settled;
        self.settled |= settles;
        self.early[position].settled |= settles;
        if settles && let Some(after) = self.script.early_update {
            self.at(now + after, Due::EarlyUpdate);
        }
        let body = body.unwrap_or_else(|error| {
            self.fault(format!("a reliable provisional answer: {error}"));
            String::new()
        });
        self.cseq += 1;
        let (branch, cseq) = (self.branch(), self.cseq);
        let headers = format!("RAck: {rseq} {} INVITE\r\n", cseq_of(message).0);
        let content_type = if body.is_empty() { "" } else { "application/sdp" };
        let draft = Draft { branch: &branch, cseq, headers: &headers, content_type, body: &body };
        let bytes = self.draft_in(Some(&self.early[position].dialog), "PRACK", &draft);
        self.start(now, "PRACK", &draft, bytes, None);
    }

    /// Whether this called party's provisional answers are to be acknowledged; and if so, whether this one is due at
    /// all: without an offer in the INVITE, only the device that will answer makes one.
    pub(super) fn is_reliable(&self, invite: Message<'_>, device: usize) -> bool {
        let lists = |name| invite.values(name).any(|tag| tag.eq_ignore_ascii_case(b"100rel"));
        let answers = match self.script.answering.last {
            Final::Answer { device, .. } => device,
            _ => 0,
        };
        self.script.knows.reliable != Reliable::No
            && (lists(Name::Supported) || lists(Name::Require))
            && (description(invite).is_some() || device == answers)
    }

    /// Notes a reliable provisional answer that was sent.
    pub(super) fn await_prack(&mut self, now: u64, rseq: u32, response: Vec<u8>, offered: bool) {
        self.unpracked = Some(Unpracked {
            rseq,
            response,
            interval: T1,
            repeat_at: if self.reliable { u64::MAX } else { now + T1 },
            until: now + TIMEOUT,
            offered,
        });
    }

    /// Repeats what waits for its PRACK.
    pub(super) fn run_unpracked(&mut self, now: u64) {
        let Some(unpracked) = &mut self.unpracked else { return };
        if unpracked.until <= now {
            let rseq = unpracked.rseq;
            self.record.unheard.push(format!("no PRACK to the provisional answer {rseq}"));
            self.record.refuse(now, 504);
            self.unpracked = None;
            self.answer(now, self.first, 504);
            self.end(now);
        } else if unpracked.repeat_at <= now {
            unpracked.interval *= 2;
            unpracked.repeat_at = now + unpracked.interval;
            self.sends.push(unpracked.response.clone());
        }
    }

    /// A PRACK came to a called party.
    pub(super) fn pracked(&mut self, now: u64, position: usize, message: Message<'_>) {
        let device = usize::from(tag(message.to()) == self.tags[1]);
        let cseq = self.servers[position].cseq;
        self.servers[position].tag = self.tags[device].clone();
        // One that was overtaken is answered all the same: its provisional answer would come for ever.
        self.counts_on(message, cseq);
        if self.phase == Phase::Over || self.role == Role::Caller {
            return self.answer(now, position, 481);
        }
        let rack = message.header(Name::RAck).map(text).unwrap_or_default();
        let invite = self.servers[self.first].cseq;
        let due = self.unpracked.take_if(|unpracked| rack == format!("{} {invite} INVITE", unpracked.rseq));
        let Some(unpracked) = due else {
            self.fault(format!("a PRACK of {rack:?}, which nothing waits for"));
            return self.answer(now, position, 481);
        };
        self.answer(now, position, 200);
        let answered = match (unpracked.offered, description(message)) {
            (true, Some(answer)) => self.session.answered(answer),
            (true, None) => Err("a PRACK without the answer to the offer".into()),
            (false, Some(_)) => Err("a PRACK with an offer that nobody made".into()),
            (false, None) => Ok(()),
        };
        if let Err(error) = answered {
            self.fault(error);
        }
    }

    /// Something is to wait until the last provisional answer was acknowledged.
    pub(super) fn waits_for_prack(&mut self, now: u64, due: Due) -> bool {
        if self.unpracked.is_some() {
            self.at(now + 50 * MS, due);
        }
        self.unpracked.is_some()
    }
}
