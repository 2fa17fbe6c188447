//! The user agent that places the calls.

use super::body::Description;
use super::call::{Pending, Phase, Side};
use super::dialog::Dialog;
use super::message::{Message, Start};
use super::signaling::{Event, Signaling};

/// The header that Moorline does not know and has to preserve.
pub(crate) const UNKNOWN_HEADER: &str = "X-Load-Call";

/// Its value in a call: blanks and case are part of it.
pub(crate) fn unknown_value(number: u32, seed: u64) -> String {
    format!("{number} of  {seed:x};A=\"b, c\"")
}

/// Sends the INVITE.
pub(crate) fn place(signaling: &mut Signaling<'_>, number: u32, now: u64) {
    let plan = signaling.plan;
    let address = signaling.addresses[0];
    let call_id = format!("{:x}-{number}@{}", plan.seed, address.ip());
    let called = format!("{}{number:06}", plan.called_prefix);
    let dialog = Dialog {
        call_id: call_id.clone(),
        local: format!("\"Caller\" <sip:8621{number:06}@{address}>;tag={:x}c{number}", plan.seed),
        remote: format!("<sip:{called}@{}>", plan.sbc),
        target: format!("sip:{called}@{}", plan.sbc),
        routes: Vec::new(),
        cseq: 1,
        address,
        fallback: plan.sbc,
    };
    let media = &signaling.media[0];
    let body = describe(signaling, number, true).write(address.ip(), media[number as usize % media.len()]);
    let extra = format!(
        "Allow: INVITE, ACK, BYE, CANCEL, OPTIONS\r\n{UNKNOWN_HEADER}: {}\r\n",
        unknown_value(number, plan.seed)
    );
    let bytes = dialog.request("INVITE", 1, &format!("{:x}.{number}.inv", plan.seed), &extra, &body);
    signaling.by_id[0].insert(call_id, number);
    signaling.outcome.attempted += 1;
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    call.phase = Phase::Setup;
    call.invited_at = now;
    call.leg(Side::Caller).dialog = Some(dialog);
    signaling.send_until_answered(number, Side::Caller, Pending::new(bytes, plan.sbc, "INVITE", now));
}

/// An answer to the INVITE.
pub(crate) fn invite_answered(signaling: &mut Signaling<'_>, number: u32, message: &Message, now: u64) {
    let Start::Response { status, reason } = &message.start else { return };
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    let since = now.saturating_sub(call.invited_at);
    if call.answered || call.phase == Phase::Over {
        // The ACK was lost, or the answer came twice.
        if let (200.., Some((bytes, to))) = (*status, call.leg(Side::Caller).last.clone()) {
            signaling.outcome.retransmissions += 1;
            signaling.send(Side::Caller, &bytes, to);
        }
        return;
    }
    if *status < 200 {
        if !std::mem::replace(&mut call.got_provisional, true) {
            signaling.outcome.first_provisional.saturating_record(since);
        }
        if let Some(pending) = &mut call.leg(Side::Caller).pending {
            // It was reached; now it may ring for as long as the callee does.
            pending.again = None;
            pending.give_up =
                pending.give_up.max(now + super::call::GIVE_UP_NS + crate::clock::nanos(signaling.plan.ring));
            let due = pending.due();
            signaling.at(due, Event::Retransmit, number);
        }
        return;
    }
    let invite = call.leg(Side::Caller).pending.take();
    let Some(mut dialog) = call.leg(Side::Caller).dialog.take() else { return };
    dialog.remote = message.header("To").unwrap_or_default().to_owned();
    if *status >= 300 {
        // The ACK to a refusal belongs to the INVITE's transaction (RFC 3261 section 17.1.1.3).
        let branch = format!("{:x}.{number}.inv", signaling.plan.seed);
        let bytes = dialog.request("ACK", 1, &branch, "", "");
        let to = invite.map_or(signaling.plan.sbc, |invite| invite.to);
        signaling.send(Side::Caller, &bytes, to);
        call_leg_last(signaling, number, bytes, to);
        signaling.finish(number, Some(format!("{status} {reason}")));
        return;
    }
    dialog.routes = message.record_route();
    dialog.routes.reverse();
    if let Some(target) = message.contact() {
        dialog.target = target;
    }
    let ack = dialog.request("ACK", 1, &format!("{:x}.{number}.ack", signaling.plan.seed), "", "");
    let to = dialog.destination();
    let far = describe(signaling, number, false).read(&message.body, &signaling.plan.relay_networks);
    let preserved = message.header(UNKNOWN_HEADER) == Some(&unknown_value(number, signaling.plan.seed));
    signaling.outcome.answered += 1;
    signaling.outcome.setup.saturating_record(since);
    let Some(call) = signaling.calls.get_mut(number as usize) else { return };
    call.answered = true;
    call.leg(Side::Caller).dialog = Some(dialog);
    if !preserved {
        call.note_fault("the answer lost an unknown header");
    }
    match far {
        Ok(far) => call.leg(Side::Caller).far = Some(far),
        Err(fault) => call.note_fault(format!("answer: {fault}")),
    }
    signaling.send(Side::Caller, &ack, to);
    call_leg_last(signaling, number, ack, to);
}

/// The description that one side of a call writes.
pub(crate) fn describe(signaling: &Signaling<'_>, number: u32, is_offer: bool) -> Description {
    Description { call: number, is_offer, seed: signaling.plan.seed, packet_ms: signaling.plan.packet_ms }
}

fn call_leg_last(signaling: &mut Signaling<'_>, number: u32, bytes: Vec<u8>, to: std::net::SocketAddr) {
    if let Some(call) = signaling.calls.get_mut(number as usize) {
        call.leg(Side::Caller).last = Some((bytes, to));
    }
}
