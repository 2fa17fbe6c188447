//! What is received: responses and requests of calls, to their side.

use std::net::SocketAddr;

use super::super::Failure;
use super::super::call::{Phase, Side};
use super::super::credentials::Answer;
use super::super::dialog::{answer, answer_address};
use super::super::message::{Message, Start};
use super::super::{callee, caller};
use super::Signaling;

impl Signaling<'_> {
    pub(super) fn response(&mut self, side: Side, message: &Message, now: u64) {
        let number = message.header("Call-ID").and_then(|id| self.by_id[side.index()].get(id)).copied();
        let (Some(number), Start::Response { status, reason }) = (number, &message.start) else { return };
        match message.cseq() {
            Some((_, "INVITE")) if side == Side::Caller => caller::invite_answered(self, number, message, now),
            Some((_, "BYE")) if *status >= 200 => {
                let Some(call) = self.calls.get_mut(number as usize) else { return };
                let pending = call.leg(side).pending.take();
                let since = now.saturating_sub(call.bye_at);
                match (pending, status) {
                    (None, _) => {}
                    (Some(_), 200..300) => {
                        self.outcome.release.saturating_record(since);
                        self.side_ended(number, side);
                    }
                    (Some(_), 401 | 407) if self.answer_challenged_bye(number, side, message, now) => {}
                    (Some(_), _) => {
                        let reason = Failure::refused(*status, &format!("{reason} (to the BYE)"));
                        self.finish(number, Some(reason));
                    }
                }
            }
            _ => {}
        }
    }

    /// Sends the BYE again with credentials, if it had none.
    fn answer_challenged_bye(&mut self, number: u32, side: Side, message: &Message, now: u64) -> bool {
        let plan = self.plan;
        let Some(credentials) = plan.credentials.as_ref().filter(|_| side == Side::Caller) else { return false };
        let Some(call) = self.calls.get_mut(number as usize).filter(|call| call.challenged.is_none()) else {
            return false;
        };
        call.challenged = Answer::new(message, credentials, now);
        if call.challenged.is_none() {
            return false;
        }
        self.outcome.challenged += 1;
        self.send_bye(number, side, now);
        true
    }

    pub(super) fn request(&mut self, side: Side, message: Message, source: SocketAddr, now: u64) {
        let Start::Request { method, .. } = &message.start else { return };
        let number = message.header("Call-ID").and_then(|id| self.by_id[side.index()].get(id)).copied();
        let is_inside = message.header("To").is_some_and(|to| to.contains(";tag="));
        let (mut contact, mut body) = (String::new(), String::new());
        let status = match (method.as_str(), number) {
            ("ACK", number) => {
                if let (Some(number), Side::Callee) = (number, side) {
                    callee::acknowledged(self, number, now);
                }
                return;
            }
            ("INVITE", _) if side == Side::Callee && !is_inside => return callee::invite(self, message, source, now),
            // A refresh of the session: what was agreed on stays (RFC 3261 section 14.2, RFC 3311).
            ("INVITE" | "UPDATE", Some(number)) if is_inside => {
                contact = self.contact(side);
                if method == "INVITE" || !message.body.is_empty() {
                    let (address, media) = (self.addresses[side.index()].ip(), self.media_of(side.index(), number));
                    body = self.describe(number, side == Side::Caller).write(address, media);
                }
                (200, "OK")
            }
            ("BYE", Some(number)) => {
                self.bye(number, side);
                (200, "OK")
            }
            ("BYE" | "CANCEL" | "UPDATE", None) => (481, "Call/Transaction Does Not Exist"),
            ("INVITE", _) => (488, "Not Acceptable Here"),
            ("CANCEL" | "INFO" | "NOTIFY" | "MESSAGE", Some(_)) | ("OPTIONS", _) => (200, "OK"),
            _ => (501, "Not Implemented"),
        };
        let bytes = answer(&message, source, status, "load", &contact, &body);
        self.send(side, &bytes, answer_address(&message, source));
        if let ("CANCEL", Some(number)) = (method.as_str(), number) {
            // The caller hears by the final answer that comes of this; if it does not, this is why.
            if callee::refuse(self, number, (487, "Request Terminated"))
                && self.stopped.is_none()
                && let Some(call) = self.calls.get_mut(number as usize)
            {
                call.note_fault("CANCEL for the callee");
            }
        }
    }

    fn bye(&mut self, number: u32, side: Side) {
        let Some(call) = self.calls.get_mut(number as usize) else { return };
        let again = std::mem::replace(&mut call.leg(side).ended, true);
        if again {
            self.outcome.retransmissions += 1;
            return;
        }
        match call.phase {
            Phase::Ending => self.side_ended(number, side),
            Phase::Over => {}
            _ => self.finish(number, Some(format!("BYE for the {side} in mid-call").into())),
        }
    }
}
