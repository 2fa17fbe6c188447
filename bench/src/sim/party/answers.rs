//! What a party makes of the answers to its requests.

use moorline_sip::{Message, Name};

use super::client::{Cancel, State};
use super::message::{Draft, contact_of, description, record_routes, tag, text};
use super::{Action, Dialog, Due, Party, Phase};

impl Party {
    pub(super) fn progress(&mut self, now: u64, position: usize, message: Message<'_>) {
        let offered = self.clients[position].offered;
        if message.status() > Some(100) && tag(message.to()).is_empty() {
            self.fault("a provisional answer above 100 without a To tag");
        }
        if message.status() == Some(100) || self.phase != Phase::Setup {
            return;
        }
        self.early(message);
        if message.values(Name::Require).any(|tag| tag.eq_ignore_ascii_case(b"100rel")) {
            return self.acknowledge_progress(now, message, offered);
        }
        if let Some(answer) = description(message).filter(|_| offered && !self.settled)
            && let Err(error) = self.session.clone().answered(answer)
        {
            self.fault(format!("early media: {error}"));
        }
    }

    /// A 2xx to an INVITE; each copy is acknowledged (RFC 3261 13.2.2.4).
    pub(super) fn accepted(&mut self, now: u64, position: usize, message: Message<'_>) {
        let (cseq, to_tag) = (self.clients[position].cseq, tag(message.to()));
        if let Some((.., ack)) = self.acks.iter().find(|(number, tag, _)| *number == cseq && *tag == to_tag) {
            let ack = ack.clone();
            return self.sends.push(ack);
        }
        if self.dialog.as_ref().is_some_and(|dialog| dialog.remote_tag != to_tag) {
            return self.fault(format!("a 2xx to INVITE {cseq} with another To tag than that of its dialog"));
        }
        let client = &mut self.clients[position];
        if !client.ack.is_empty() {
            return self.fault(format!("a 2xx to INVITE {cseq} after a refusal"));
        }
        client.state = State::Done;
        // Copies of the 2xx may come for as long as the other side repeats it.
        (client.repeat_at, client.until) = (None, None);
        let (offered, action) = (client.offered, client.action);
        let Some(target) = contact_of(message) else { return self.fault("a 2xx to an INVITE without a Contact") };
        let first = self.dialog.is_none();
        let mut routes = record_routes(message);
        routes.reverse();
        match &mut self.dialog {
            Some(dialog) => dialog.remote_target = target,
            None => {
                let (local_tag, remote_tag) = (self.tags[0].clone(), to_tag.clone());
                let early = self.early.iter().find(|early| early.dialog.remote_tag == to_tag);
                let remote_cseq = early.and_then(|early| early.dialog.remote_cseq);
                self.dialog = Some(Dialog { local_tag, remote_tag, remote_target: target, routes, remote_cseq });
            }
        }
        let body = self.agree(message, offered);
        let branch = self.branch();
        let content_type = if body.is_empty() { "" } else { "application/sdp" };
        let ack = self.draft("ACK", &Draft { branch: &branch, cseq, content_type, body: &body, ..Draft::default() });
        self.acks.push((cseq, to_tag, ack.clone()));
        self.sends.push(ack);
        if !self.updating() {
            self.session_before = None;
        }
        let asked_at = self.clients[position].sent_at;
        self.timer_answered(now, asked_at, message);
        if first && self.phase == Phase::Setup {
            self.begin(now);
            if self.record.cancelled || self.cancel_wanted(position) {
                // The answer was faster than the CANCEL: nobody wants it any more.
                self.bye(now);
            }
        } else if action == Some(Action::Resume) && self.phase == Phase::Up {
            self.session.hold(None);
        }
    }

    pub(super) fn cancel_wanted(&self, position: usize) -> bool {
        self.clients[position].cancel != Cancel::No
    }

    /// Takes in the description of a 2xx: the answer to the own offer or, where it asked for one, an offer
    /// whose answer goes into the ACK.
    pub(super) fn agree(&mut self, message: Message<'_>, offered: bool) -> String {
        let description = description(message);
        if self.settled && self.phase == Phase::Setup {
            return String::new();
        }
        let agreed = match (offered, description) {
            (true, Some(answer)) => self.session.answered(answer).map(|()| String::new()),
            (false, Some(offer)) => self.session.answer(offer),
            (true, None) => Err("a 2xx without an answer to the offer".into()),
            (false, None) => Err("a 2xx without an offer to an INVITE that had none".into()),
        };
        agreed.unwrap_or_else(|error| {
            self.fault(error);
            String::new()
        })
    }

    /// A final refusal of an INVITE.
    pub(super) fn refused(&mut self, now: u64, position: usize, message: Message<'_>) {
        let status = message.status().unwrap_or_default();
        if self.phase != Phase::Setup {
            return self.offer_refused(now, position, status);
        }
        if status == 422 && !self.record.cancelled && self.takes_longer(message) {
            self.record.called_again += 1;
            return self.call_again(now);
        }
        if status / 100 == 3 {
            self.check_contacts(message);
        }
        self.record.refuse(now, status);
        self.end(now);
    }

    /// A redirection leads to Moorline, for somebody on the other side.
    pub(super) fn check_contacts(&mut self, message: Message<'_>) {
        let reached = format!("@{}{}>", self.moorline, self.transport_param());
        for contact in message.values(Name::Contact).map(text) {
            if !contact.contains(&reached) {
                self.fault(format!("redirected to {contact}"));
            }
        }
    }

    /// A re-INVITE or UPDATE was refused.
    pub(super) fn offer_refused(&mut self, now: u64, position: usize, status: u16) {
        let (action, cancelled) = (self.clients[position].action, self.cancel_wanted(position));
        self.revert();
        if action == Some(Action::Refresh) {
            self.record.unrefreshed_at = Some(now);
        }
        if self.phase != Phase::Up {
            return;
        }
        match (status, action) {
            // RFC 3261 12.2.1.2: the dialog is gone.
            (408 | 481, _) => self.take_action(now, Action::Bye),
            // RFC 3261 14.1: whoever made the Call-ID waits longer.
            (491, Some(action)) if !cancelled => {
                let owner = self.role == super::Role::Caller;
                let wait = if owner { self.random.between(2_100, 4_000) } else { self.random.between(0, 2_000) };
                self.at(now + wait * 1_000_000, Due::Again(action));
            }
            (500, Some(action)) if !cancelled => {
                let wait = self.random.between(1_000, 5_000);
                self.at(now + wait * 1_000_000, Due::Again(action));
            }
            _ => {}
        }
    }

    /// A final answer to a request other than INVITE.
    pub(super) fn answered(&mut self, now: u64, position: usize, message: Message<'_>) {
        let status = message.status().unwrap_or_default();
        match (self.clients[position].method, status) {
            ("BYE", _) => self.end(now),
            ("CANCEL", _) => {}
            ("UPDATE", _) => self.update_answered(now, position, message),
            ("NOTIFY", _) if self.phase == Phase::Up && !matches!(status, 408 | 481) => self.reported(now, status),
            ("REFER", _) if self.phase == Phase::Up && !matches!(status, 408 | 481) => {
                self.refer_answered(now, self.clients[position].cseq, status);
            }
            ("PRACK", 300..) if self.phase == Phase::Setup && !self.record.cancelled => {
                // Had the INVITE been refused meanwhile, there would be no call any more.
                self.complain_later(now, format!("a PRACK is answered {status}"));
            }
            (_, 408 | 481) if self.phase == Phase::Up => self.take_action(now, Action::Bye),
            _ => {}
        }
    }

    /// A re-INVITE failed: the session is as it was.
    pub(super) fn revert(&mut self) {
        if let Some(before) = self.session_before.take() {
            self.session = before;
        }
    }
}
