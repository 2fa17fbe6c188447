//! The user agent that answers the calls.

use std::net::SocketAddr;

use super::call::{Phase, Side};
use super::caller::{UNKNOWN_HEADER, unknown_value};
use super::dialog::{Dialog, answer, answer_address};
use super::message::{Message, Start, uri_of, user_of};
use super::signaling::{Event, Signaling};
use crate::clock;

/// An INVITE outside of a dialog: a new call rings, a repeated one gets its answer again.
pub(crate) fn invite(signaling: &mut Signaling<'_>, message: Message, source: SocketAddr, now: u64) {
    let to = answer_address(&message, source);
    let call_id = message.header("Call-ID").unwrap_or_default().to_owned();
    if let Some(number) = signaling.by_id[1].get(&call_id) {
        let leg = signaling.calls.get(*number as usize).map(|call| &call.legs[1]);
        if let Some((bytes, to)) = leg.and_then(|leg| leg.last.clone()) {
            signaling.outcome.retransmissions += 1;
            signaling.send(Side::Callee, &bytes, to);
        }
        return;
    }
    let Some(number) = called(signaling, &message).filter(|number| {
        // Only a call that was placed and has not reached the callee before.
        signaling
            .calls
            .get(*number as usize)
            .is_some_and(|call| call.phase == Phase::Setup && call.legs[1].dialog.is_none())
    }) else {
        signaling.outcome.strangers += 1;
        let bytes = answer(&message, source, (404, "Not Found"), "load", "", "");
        signaling.send(Side::Callee, &bytes, to);
        return;
    };
    let tag = tag(signaling, number);
    let dialog = Dialog {
        call_id: call_id.clone(),
        local: format!("{};tag={tag}", message.header("To").unwrap_or_default()),
        remote: message.header("From").unwrap_or_default().to_owned(),
        target: message.contact().unwrap_or_default(),
        routes: message.record_route(),
        cseq: 0,
        address: signaling.addresses[1],
        transport: signaling.plan.transport,
        fallback: source,
    };
    let far = signaling.describe(number, true).read(&message.body, &signaling.plan.relay_networks);
    let preserved = message.header(UNKNOWN_HEADER) == Some(&unknown_value(number, signaling.plan.seed));
    let trying = answer(&message, source, (100, "Trying"), "", "", "");
    let ringing = answer(&message, source, (180, "Ringing"), &tag, &signaling.contact(Side::Callee), "");
    signaling.by_id[1].insert(call_id, number);
    signaling.send(Side::Callee, &trying, to);
    signaling.send(Side::Callee, &ringing, to);
    let answer_at = now + clock::nanos(signaling.plan.ring);
    let verbatim = signaling.plan.verbatim;
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    let transit = now.saturating_sub(call.invited_at);
    if verbatim && !preserved {
        call.note_fault("the INVITE lost an unknown header");
    }
    match far {
        Ok(far) => call.leg(Side::Callee).far = Some(far),
        Err(fault) => call.note_fault(format!("offer: {fault}")),
    }
    call.leg(Side::Callee).dialog = Some(dialog);
    call.leg(Side::Callee).last = Some((ringing, to));
    call.ringing = Some((message, source));
    signaling.outcome.reached += 1;
    signaling.outcome.invite_transit.saturating_record(transit);
    signaling.at(answer_at, Event::Answer, number);
}

/// The ringing is over: 200, until the ACK.
pub(crate) fn pick_up(signaling: &mut Signaling<'_>, number: u32, now: u64) {
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    let Some((invite, source)) = call.ringing.take().filter(|_| call.phase == Phase::Setup) else { return };
    call.picked_up_at = Some(now);
    let body = signaling.describe(number, false).write(signaling.addresses[1].ip(), signaling.media_of(1, number));
    let contact = signaling.contact(Side::Callee);
    let extra = format!("{contact}{UNKNOWN_HEADER}: {}\r\n", unknown_value(number, signaling.plan.seed));
    let bytes = answer(&invite, source, (200, "OK"), &tag(signaling, number), &extra, &body);
    let to = answer_address(&invite, source);
    if let Some(call) = signaling.calls.get_mut(number as usize) {
        call.leg(Side::Callee).last = Some((bytes.clone(), to));
    }
    // The callee, not a transaction, repeats the 200 (RFC 3261 section 13.3.1.4).
    signaling.send_until_answered(number, Side::Callee, bytes, to, "200", now);
}

/// The ACK: both sides are through.
pub(crate) fn acknowledged(signaling: &mut Signaling<'_>, number: u32, now: u64) {
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    if call.phase == Phase::Setup && call.picked_up_at.is_some() {
        call.leg(Side::Callee).pending = None;
        signaling.through(number, now);
    }
}

/// Ends the ringing, if it still rings: the caller hears of it by the final answer that comes of this.
pub(crate) fn refuse(signaling: &mut Signaling<'_>, number: u32, status: (u16, &str)) -> bool {
    let ringing = signaling.calls.get_mut(number as usize).and_then(|call| call.ringing.take());
    let Some((invite, source)) = ringing else { return false };
    let bytes = answer(&invite, source, status, &tag(signaling, number), "", "");
    let to = answer_address(&invite, source);
    signaling.send(Side::Callee, &bytes, to);
    if let Some(call) = signaling.calls.get_mut(number as usize) {
        call.leg(Side::Callee).last = Some((bytes, to));
    }
    true
}

/// The call that an INVITE is of: by the header that it was sent with, if that has crossed, or else by the
/// called number, or else by the caller's.
fn called(signaling: &Signaling<'_>, message: &Message) -> Option<u32> {
    let plan = signaling.plan;
    if let Some(value) = message.header(UNKNOWN_HEADER) {
        let mut words = value.split_whitespace();
        let number = words.next()?.parse().ok()?;
        let seed = words.nth(1)?.split(';').next()?;
        // Another seed: of an earlier run, of which this is a late repetition.
        return (seed == format!("{:x}", plan.seed)).then_some(number);
    }
    let Start::Request { uri, .. } = &message.start else { return None };
    let by_called = user_of(uri).and_then(|user| plan.called.call(user));
    by_called.or_else(|| plan.calling.call(user_of(&uri_of(message.header("From")?))?))
}

fn tag(signaling: &Signaling<'_>, number: u32) -> String {
    format!("{:x}d{number}", signaling.plan.seed)
}
