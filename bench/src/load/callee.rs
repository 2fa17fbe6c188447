//! The user agent that answers the calls.

use std::net::SocketAddr;

use super::call::{Pending, Phase, Side};
use super::caller::{UNKNOWN_HEADER, describe, unknown_value};
use super::dialog::{Dialog, answer, answer_address};
use super::message::{Message, Start, user_of};
use super::signaling::{Event, Signaling};
use crate::clock;

/// An INVITE: a new call rings, a repeated one gets its answer again.
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
    let Some(number) = called_number(&message).filter(|number| {
        // Only a call that was placed and has not reached the callee before.
        signaling
            .calls
            .get(*number as usize)
            .is_some_and(|call| call.phase == Phase::Setup && call.legs[1].dialog.is_none())
    }) else {
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
        fallback: source,
    };
    let far = describe(signaling, number, true).read(&message.body, &signaling.plan.relay_networks);
    let preserved = message.header(UNKNOWN_HEADER) == Some(&unknown_value(number, signaling.plan.seed));
    let trying = answer(&message, source, (100, "Trying"), "", "", "");
    let ringing = answer(&message, source, (180, "Ringing"), &tag, &contact(signaling), "");
    signaling.by_id[1].insert(call_id, number);
    signaling.send(Side::Callee, &trying, to);
    signaling.send(Side::Callee, &ringing, to);
    let answer_at = now + clock::nanos(signaling.plan.ring);
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    if !preserved {
        call.note_fault("the INVITE lost an unknown header");
    }
    match far {
        Ok(far) => call.leg(Side::Callee).far = Some(far),
        Err(fault) => call.note_fault(format!("offer: {fault}")),
    }
    call.leg(Side::Callee).dialog = Some(dialog);
    call.leg(Side::Callee).last = Some((ringing, to));
    call.ringing = Some((message, source));
    signaling.at(answer_at, Event::Answer, number);
}

/// The ringing is over: 200, until the ACK.
pub(crate) fn pick_up(signaling: &mut Signaling<'_>, number: u32, now: u64) {
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    let Some((invite, source)) = call.ringing.take().filter(|_| call.phase == Phase::Setup) else { return };
    let media = &signaling.media[1];
    let body =
        describe(signaling, number, false).write(signaling.addresses[1].ip(), media[number as usize % media.len()]);
    let extra = format!("{}{UNKNOWN_HEADER}: {}\r\n", contact(signaling), unknown_value(number, signaling.plan.seed));
    let bytes = answer(&invite, source, (200, "OK"), &tag(signaling, number), &extra, &body);
    let to = answer_address(&invite, source);
    if let Some(call) = signaling.calls.get_mut(number as usize) {
        call.leg(Side::Callee).last = Some((bytes.clone(), to));
    }
    // The callee, not a transaction, repeats the 200 (RFC 3261 section 13.3.1.4).
    signaling.send_until_answered(number, Side::Callee, Pending::new(bytes, to, "200", now));
}

/// The ACK: both sides are through.
pub(crate) fn acknowledged(signaling: &mut Signaling<'_>, number: u32, now: u64) {
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    if call.phase != Phase::Setup {
        return;
    }
    call.leg(Side::Callee).pending = None;
    if call.legs.iter().all(|leg| leg.far.is_some()) {
        signaling.start_media(number, now);
    } else {
        // Without media there is nothing to wait for: end the call, so that nothing of it stays.
        call.phase = Phase::Draining;
        signaling.at(now, Event::HangUp, number);
    }
}

/// A CANCEL, which this load never asks for: the call has failed.
pub(crate) fn cancelled(signaling: &mut Signaling<'_>, number: u32) {
    let ringing = signaling.calls.get_mut(number as usize).and_then(|call| call.ringing.take());
    if let Some((invite, source)) = ringing {
        let status = (487, "Request Terminated");
        let bytes = answer(&invite, source, status, &tag(signaling, number), "", "");
        signaling.send(Side::Callee, &bytes, answer_address(&invite, source));
        signaling.finish(number, Some("CANCEL for the callee".into()));
    }
}

/// The last six digits of the called number are the call's.
fn called_number(message: &Message) -> Option<u32> {
    let Start::Request { uri, .. } = &message.start else { return None };
    let user = user_of(uri)?;
    user.get(user.len().checked_sub(6)?..)?.parse().ok()
}

fn tag(signaling: &Signaling<'_>, number: u32) -> String {
    format!("{:x}d{number}", signaling.plan.seed)
}

fn contact(signaling: &Signaling<'_>) -> String {
    format!("Contact: <sip:load@{}>\r\n", signaling.addresses[1])
}
