//! Inside a call: the ACK, the re-INVITE and its answer, and what else the parties ask of each other.

use moorline_control::SessionId;
use moorline_sip::transaction::ServerId;
use moorline_sip::{Message, Method};

use super::credentials::with_lines;
use super::{Arrival, Worker};
use crate::Outcome;
use crate::call::Phase;
use crate::extension::{self, RELIABLE, TIMER};
use crate::forward::{self, Body};
use crate::leg::{SentAck, Side};
use crate::next_hop::spoken_to;
use crate::policy::ReliableProvisional;

/// ACKs that are remembered for each party; whoever sends more INVITEs within 64*T1 than this, and loses an ACK,
/// is left to give up that one.
const MAX_ACKS: usize = 4;

impl Worker {
    /// A request in the dialog of `side`.
    pub(super) fn request_in_dialog(&mut self, arrival: Arrival<'_>, server: ServerId, id: SessionId, side: Side) {
        let Some(method) = arrival.message.method() else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let over = matches!(call.phase, Phase::Ending | Phase::Cancelled);
        let (confirmed, trunk) = (call.leg(side).dialog.is_some(), call.leg(side).trunk);
        if !confirmed {
            // The callee speaks in an early dialog: from now on that is the one it is spoken to in.
            let ours = forward::to_tag(arrival.message).and_then(|tag| std::str::from_utf8(tag).ok()?.parse().ok());
            let theirs = arrival.message.from().ok().and_then(|from| from.tag()).unwrap_or_default();
            let meant = ours.and_then(|ours| Some((call.early_of(ours, theirs)?.0, theirs.to_vec())));
            call.early = meant.or(call.early.take());
        }
        let in_order = call.dialog_mut(side).is_some_and(|dialog| dialog.receive(arrival.message).is_ok());
        if !in_order {
            return self.refuse(arrival, server, 500, b"Server Internal Error - CSeq Out Of Order");
        }
        if confirmed {
            let leg = call.leg_mut(side);
            leg.flow = spoken_to(leg.flow, arrival.flow);
        }
        if let Some(updates) = extension::updates(arrival.message) {
            call.leg_mut(side).updates = updates;
        }
        let known = self.known_extensions(trunk);
        match method {
            Method::Bye if confirmed => self.bye(arrival, server, id, side),
            // A subscription may outlive the call that it was made in (RFC 5057 4.1).
            Method::Notify if over && self.is_lingering(id) => self.notify_inside(arrival, server, id, side),
            Method::Subscribe if over && self.is_lingering(id) => self.subscribe_inside(arrival, server, id, side),
            _ if over => self.refuse(arrival, server, 481, b"Call/Transaction Does Not Exist"),
            // The callee ends an early dialog by its final answer (RFC 3261 15).
            Method::Bye => self.refuse(arrival, server, 481, b"Call/Transaction Does Not Exist"),
            _ if !extension::unknown(arrival.message, &known).is_empty() => {
                self.refuse_extension(arrival, server, &known);
            }
            Method::Prack => self.pracked(arrival, server, id, side),
            Method::Update => self.update(arrival, server, id, side),
            Method::Invite => self.reinvite(arrival, server, id, side),
            Method::Refer => self.refer(arrival, server, id, side),
            Method::Subscribe => self.subscribe_inside(arrival, server, id, side),
            Method::Notify => self.notify_inside(arrival, server, id, side),
            Method::Options | Method::Info | Method::Message | Method::Publish => {
                self.pass_inside(arrival, server, id, side, method);
            }
            Method::Other(_) if self.passes_unknown(id) => self.pass_inside(arrival, server, id, side, method),
            Method::Other(_) => self.not_allowed(arrival, server, 501, b"Not Implemented"),
            _ => self.not_allowed(arrival, server, 405, b"Method Not Allowed"),
        }
    }

    /// Extensions that a request of this trunk may require.
    pub(super) fn known_extensions(&self, trunk: usize) -> Vec<&'static str> {
        let dialogs = &self.policy.trunks[trunk].dialogs;
        let reliable = (dialogs.reliable_provisional != ReliableProvisional::Off).then_some(RELIABLE);
        let timer = dialogs.session_timers.map(|_| TIMER);
        reliable.into_iter().chain(timer).collect()
    }

    /// 420: the request requires extensions that Moorline does not carry (RFC 3261 8.2.2.3).
    pub(super) fn refuse_extension(&mut self, arrival: Arrival<'_>, server: ServerId, known: &[&str]) {
        let unknown = extension::unknown(arrival.message, known);
        let answer = self.answer_to(arrival, 420, b"Bad Extension").header("Unsupported", unknown);
        self.layer.respond(arrival.now, server, answer.finish(b""));
    }

    /// An ACK to a 2xx: the repetition ends, and the other party's 2xx is acknowledged too.
    pub(super) fn acknowledged(&mut self, arrival: Arrival<'_>) {
        let Arrival { now, message, flow, .. } = arrival;
        let Some((id, side)) = self.dialog_of(arrival) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let leg = call.leg_mut(side);
        let Ok(cseq) = message.cseq() else { return };
        let Some(confirming) = leg.confirming.take_if(|confirming| confirming.cseq == cseq.number) else {
            // Its 2xx was acknowledged already.
            return;
        };
        self.timers.cancel(confirming.next_at, super::Due::Confirm(id, side));
        if flow.transport != leg.flow.transport {
            leg.flow = spoken_to(leg.flow, flow);
        }
        if std::mem::take(&mut leg.bye_due) {
            self.hang_up(now, id, side, None);
        } else {
            // The snapshot must know what was agreed with the answer. Of the ACK it need not: what it says there is
            // taken for a perhaps.
            let agreed = call.legs.iter().any(|leg| leg.timer.is_some() || leg.sdp.is_some());
            self.acknowledge(now, id, side.other(), Some(message));
            if agreed {
                self.update_media(id);
            }
        }
        self.ending.push(id);
    }

    /// Acknowledges the 2xx of `side`, if one is owed an ACK; `original` is the other party's ACK, which
    /// may carry the answer to a late offer.
    pub(super) fn acknowledge(&mut self, now: u64, id: SessionId, side: Side, original: Option<Message<'_>>) {
        if let Some(original) = original
            && let Body::Sdp(sdp) = forward::body(original)
        {
            let late = self.calls.get(&id).and_then(|call| call.offer.as_ref()).is_some_and(|offer| offer.by == side);
            match self.read_answer_of(id, side.other(), sdp) {
                Ok(streams) if late => self.agree(id, side.other(), streams),
                Ok(_) => {}
                Err(_) => {
                    // The answer cannot be anchored, and an ACK cannot be refused.
                    self.acknowledge(now, id, side, None);
                    return self.hang_up_both(now, id, Outcome::Rejected(488));
                }
            }
        }
        let Some(call) = self.calls.get(&id) else { return };
        let leg = call.leg(side);
        let (Some(cseq), Some(dialog)) = (leg.unacknowledged, &leg.dialog) else { return };
        let flow = leg.next_hop(&self.next_hops);
        let shown = self.shown(flow);
        let branch = self.identities.branch(id);
        let writer = dialog.ack(cseq, shown.via(&branch).as_bytes());
        let bytes = match original {
            None => writer.finish(b""),
            Some(original) => {
                let body = self.body_for(call, side, original).unwrap_or_default();
                self.crossing(call, side).finish(writer, original, &body)
            }
        };
        let bytes = match &leg.proof {
            Some(shown) => with_lines(&bytes, shown),
            None => bytes,
        };
        self.layer.send_ack(flow, bytes.clone());
        if let Some(original) = original {
            self.remember_sdp(id, side, original);
        }
        if let Some(call) = self.calls.get_mut(&id) {
            let leg = call.leg_mut(side);
            leg.unacknowledged = None;
            if leg.acks.len() >= MAX_ACKS {
                leg.acks.pop_front();
            }
            leg.acks.push_back(SentAck { cseq, bytes });
        }
    }

    /// A 2xx that was answered with an ACK before: the ACK is sent again (RFC 3261 13.2.2.4).
    pub(super) fn repeated_answer(&mut self, arrival: Arrival<'_>) {
        let Some((id, side)) = self.answer_dialog(arrival.message) else { return };
        let Some(call) = self.calls.get_mut(&id) else { return };
        let leg = call.leg_mut(side);
        let cseq = arrival.message.cseq().map(|cseq| cseq.number).ok();
        match leg.acks.iter().find(|ack| Some(ack.cseq) == cseq) {
            Some(ack) => {
                self.layer.send_ack(leg.next_hop(&self.next_hops), ack.bytes.clone());
                self.counters.retransmissions += 1;
            }
            // Restored from a snapshot, which does not hold the ACK: one without a body will do, for an
            // answered call has its descriptions.
            None if leg.perhaps_unacknowledged.is_some() && leg.perhaps_unacknowledged == cseq => {
                leg.unacknowledged = leg.perhaps_unacknowledged.take();
                self.acknowledge(arrival.now, id, side, None);
            }
            _ => {}
        }
    }

    /// The call and side that a response's dialog belongs to: our tag is in From there.
    pub(super) fn answer_dialog(&self, response: Message<'_>) -> Option<(SessionId, Side)> {
        let from = response.from().ok()?;
        let tag = std::str::from_utf8(from.tag()?).ok()?.parse().ok()?;
        let (id, side) = *self.tags.get(&tag)?;
        let dialog = self.calls.get(&id)?.leg(side).dialog.as_ref()?;
        let same = response.call_id().ok()? == dialog.call_id
            && forward::to_tag(response).unwrap_or_default() == dialog.remote_tag;
        same.then_some((id, side))
    }
}
