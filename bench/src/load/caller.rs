//! The user agent that places the calls.

use std::net::SocketAddr;

use super::Failure;
use super::body::Description;
use super::call::{Call, GIVE_UP_NS, Pending, Phase, Side};
use super::credentials::Answer;
use super::dialog::Dialog;
use super::message::{Message, Start};
use super::signaling::{Event, Signaling};
use crate::media::mix;

/// The header that Moorline does not know and has to preserve, and that tells the call at the callee
/// where it is preserved.
pub(crate) const UNKNOWN_HEADER: &str = "X-Load-Call";

/// Its value in a call: blanks and case are part of it.
pub(crate) fn unknown_value(number: u32, seed: u64) -> String {
    format!("{number} of  {seed:x};A=\"b, c\"")
}

/// Sends the first INVITE.
pub(crate) fn place(signaling: &mut Signaling<'_>, number: u32, now: u64) {
    let plan = signaling.plan;
    let address = signaling.addresses[0];
    let call_id = format!("{:x}-{number}@{}", plan.seed, address.ip());
    let (called, calling) = (plan.called.of(number), plan.calling.of(number));
    let dialog = Dialog {
        call_id: call_id.clone(),
        local: format!("\"Caller\" <sip:{calling}@{address}>;tag={:x}c{number}", plan.seed),
        remote: format!("<sip:{called}@{}>", plan.sbc),
        target: format!("sip:{called}@{}{}", plan.sbc, plan.transport.in_uri()),
        routes: Vec::new(),
        cseq: 0,
        address,
        transport: plan.transport,
        fallback: plan.sbc,
    };
    signaling.by_id[0].insert(call_id, number);
    signaling.outcome.attempted += 1;
    signaling.note_placed(now);
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    call.phase = Phase::Setup;
    call.invited_at = now;
    call.leg(Side::Caller).dialog = Some(dialog);
    // Where nobody is called here, nobody has to hang up here.
    call.leg(Side::Callee).ended = plan.uac_only;
    invite(signaling, number, now);
}

/// Sends an INVITE: the first, or the next with credentials.
fn invite(signaling: &mut Signaling<'_>, number: u32, now: u64) {
    let plan = signaling.plan;
    let body = signaling.describe(number, true).write(signaling.addresses[0].ip(), signaling.media_of(0, number));
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    call.invites += 1;
    let branch = invite_branch(call, number, plan.seed);
    let Call { legs: [leg, _], challenged, invites, .. } = call;
    let Some(dialog) = &mut leg.dialog else { return };
    dialog.cseq = *invites;
    let authorization = match (challenged, &plan.credentials) {
        (Some(answer), Some(credentials)) => answer.header(credentials, "INVITE", &dialog.target),
        _ => String::new(),
    };
    let extra = format!(
        "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, UPDATE\r\n{UNKNOWN_HEADER}: {}\r\n{authorization}",
        unknown_value(number, plan.seed)
    );
    let bytes = dialog.request("INVITE", dialog.cseq, &branch, &extra, &body);
    signaling.send_until_answered(number, Side::Caller, bytes, plan.sbc, "INVITE", now);
}

/// An answer to an INVITE.
pub(crate) fn invite_answered(signaling: &mut Signaling<'_>, number: u32, message: &Message, now: u64) {
    let Start::Response { status, reason } = &message.start else { return };
    let plan = signaling.plan;
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    let is_old = message.cseq().is_some_and(|(cseq, _)| cseq != call.invites);
    if *status >= 200 && (call.answered || is_old) {
        // The ACK was lost, or the answer came twice.
        if let Some((bytes, to)) = call.leg(Side::Caller).last.clone() {
            signaling.outcome.retransmissions += 1;
            signaling.send(Side::Caller, &bytes, to);
        }
        return;
    }
    if *status < 200 {
        provisional(signaling, number, *status, now);
        return;
    }
    let invite = call.leg(Side::Caller).pending.take();
    let to = invite.map_or(plan.sbc, |invite| invite.to);
    if *status >= 300 {
        let branch = invite_branch(call, number, plan.seed);
        let invites = call.invites;
        let Some(dialog) = &call.leg(Side::Caller).dialog else { return };
        // The ACK to a refusal belongs to the INVITE's transaction (RFC 3261 section 17.1.1.3).
        let refused = Dialog { remote: message.header("To").unwrap_or_default().to_owned(), ..dialog.clone() };
        let bytes = refused.request("ACK", invites, &branch, "", "");
        signaling.send(Side::Caller, &bytes, to);
        keep(signaling, number, bytes, to);
        if !answer_challenge(signaling, number, message, now) {
            signaling.finish(number, Some(Failure::refused(*status, reason)));
        }
        return;
    }
    accepted(signaling, number, message, now);
}

/// The call was answered: ACK, and media if this side is all there is.
fn accepted(signaling: &mut Signaling<'_>, number: u32, message: &Message, now: u64) {
    let plan = signaling.plan;
    let far = signaling.describe(number, false).read(&message.body, &plan.relay_networks);
    let preserved = message.header(UNKNOWN_HEADER) == Some(&unknown_value(number, plan.seed));
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    let invites = call.invites;
    let Some(dialog) = &mut call.leg(Side::Caller).dialog else { return };
    dialog.remote = message.header("To").unwrap_or_default().to_owned();
    dialog.routes = message.record_route();
    dialog.routes.reverse();
    if let Some(target) = message.contact() {
        dialog.target = target;
    }
    let ack = dialog.request("ACK", invites, &format!("{:x}.{number}.ack", plan.seed), "", "");
    let to = dialog.destination();
    let was_over = call.phase == Phase::Over;
    call.answered = true;
    let since = now.saturating_sub(call.invited_at);
    let transit = call.picked_up_at.map(|at| now.saturating_sub(at));
    let rang = std::mem::replace(&mut call.rings, true);
    if plan.verbatim && !preserved {
        call.note_fault("the answer lost an unknown header");
    }
    match far {
        Ok(far) => call.leg(Side::Caller).far = Some(far),
        Err(fault) => call.note_fault(format!("answer: {fault}")),
    }
    signaling.send(Side::Caller, &ack, to);
    keep(signaling, number, ack, to);
    if was_over {
        // Given up, and answered after all: nothing of it is to stay.
        signaling.abandon(number);
        return;
    }
    let outcome = &mut signaling.outcome;
    outcome.answered += 1;
    outcome.setup.saturating_record(since);
    if !rang {
        outcome.post_dial.saturating_record(since);
    }
    if let Some(transit) = transit {
        outcome.answer_transit.saturating_record(transit);
    }
    if plan.uac_only {
        signaling.through(number, now);
    } else {
        signaling.at(now + GIVE_UP_NS, Event::Overdue, number);
    }
}

/// A provisional answer.
fn provisional(signaling: &mut Signaling<'_>, number: u32, status: u16, now: u64) {
    let ring = crate::clock::nanos(signaling.plan.ring);
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    if call.answered || call.phase != Phase::Setup {
        return;
    }
    let since = now.saturating_sub(call.invited_at);
    let is_first = !std::mem::replace(&mut call.got_provisional, true);
    let rings = status >= 180 && !std::mem::replace(&mut call.rings, true);
    let due = call.leg(Side::Caller).pending.as_mut().map(|pending| {
        // It was reached; now it may ring for as long as the callee does.
        pending.again = None;
        pending.give_up = pending.give_up.max(now + GIVE_UP_NS + ring);
        pending.due()
    });
    let wants_cancel = call.wants_cancel;
    if is_first {
        signaling.outcome.first_provisional.saturating_record(since);
    }
    if rings {
        signaling.outcome.post_dial.saturating_record(since);
    }
    if let Some(due) = due {
        signaling.at(due, Event::Retransmit, number);
    }
    if wants_cancel {
        cancel(signaling, number);
    }
}

/// Takes back the INVITE, now or as soon as there is a provisional answer (RFC 3261 section 9.1).
pub(crate) fn cancel(signaling: &mut Signaling<'_>, number: u32) {
    let seed = signaling.plan.seed;
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    call.wants_cancel = !call.got_provisional;
    if call.answered || call.wants_cancel {
        return;
    }
    let branch = invite_branch(call, number, seed);
    let invites = call.invites;
    let Some(dialog) = &call.leg(Side::Caller).dialog else { return };
    let bytes = dialog.request("CANCEL", invites, &branch, "", "");
    let to = dialog.fallback;
    signaling.send(Side::Caller, &bytes, to);
}

/// Sends the INVITE again with credentials, once, if the answer was a challenge and there are some.
fn answer_challenge(signaling: &mut Signaling<'_>, number: u32, message: &Message, now: u64) -> bool {
    let plan = signaling.plan;
    let Some(credentials) = &plan.credentials else { return false };
    let Some(call) = signaling.calls.get_mut(number as usize) else { return false };
    if call.challenged.is_some() || call.phase != Phase::Setup {
        return false;
    }
    let Some(answer) = Answer::new(message, credentials, mix(plan.seed ^ mix(u64::from(number)))) else { return false };
    call.challenged = Some(answer);
    call.got_provisional = false;
    signaling.outcome.challenged += 1;
    invite(signaling, number, now);
    true
}

/// Each INVITE is a transaction of its own; its CANCEL and the ACK to its refusal belong to it.
fn invite_branch(call: &Call, number: u32, seed: u64) -> String {
    format!("{seed:x}.{number}.inv{}", call.invites)
}

/// Keeps what to send again when the answer comes again.
fn keep(signaling: &mut Signaling<'_>, number: u32, bytes: Vec<u8>, to: SocketAddr) {
    if let Some(call) = signaling.calls.get_mut(number as usize) {
        call.leg(Side::Caller).last = Some((bytes, to));
    }
}

impl Signaling<'_> {
    /// The description that one side of a call writes.
    pub(crate) fn describe(&self, number: u32, is_offer: bool) -> Description {
        let plan = self.plan;
        let (packet_ms, codec, verbatim) = (plan.packet_ms, plan.codec, plan.verbatim);
        Description { call: number, is_offer, seed: plan.seed, packet_ms, codec, verbatim }
    }

    /// Where a side of a call receives media.
    pub(crate) fn media_of(&self, side: usize, number: u32) -> SocketAddr {
        let endpoints = &self.media[side];
        endpoints.get(number as usize % endpoints.len().max(1)).copied().unwrap_or(self.addresses[side])
    }

    /// Sends a message, and again until [`Pending`] is taken away.
    pub(crate) fn send_until_answered(
        &mut self,
        number: u32,
        side: Side,
        bytes: Vec<u8>,
        to: SocketAddr,
        what: &'static str,
        now: u64,
    ) {
        self.send(side, &bytes, to);
        let reliable = self.plan.transport == super::Transport::Tcp;
        let pending = Pending::new(bytes, to, what, now, reliable);
        self.at(pending.due(), Event::Retransmit, number);
        if let Some(call) = self.calls.get_mut(number as usize) {
            call.leg(side).pending = Some(pending);
        }
    }
}
