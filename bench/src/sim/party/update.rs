//! UPDATE (RFC 3311): another offer in a call, without the three steps of an INVITE.

use moorline_sip::Message;

use super::message::{Draft, description};
use super::{Action, Due, Party, Phase};
use crate::sim::plan::MS;

impl Party {
    /// An UPDATE of this party that is not answered.
    pub(super) fn updating(&self) -> bool {
        self.clients.iter().any(|client| client.method == "UPDATE" && !client.is_done())
    }

    /// Offers something else.
    pub(super) fn update(&mut self, now: u64, action: Action, hold: bool) {
        if self.reinvites_left == 0 || !self.script.knows.update {
            return;
        }
        self.reinvites_left -= 1;
        if self.invite_under_way() || self.updating() {
            return self.at(now + 300 * MS, Due::Again(action));
        }
        self.session_before = Some(self.session.clone());
        self.session.hold(hold.then_some("sendonly"));
        self.cseq += 1;
        let (branch, cseq) = (self.branch(), self.cseq);
        let body = self.session.offer();
        let headers = match self.script.knows.timer {
            Some(_) => format!("Supported: timer\r\n{}", self.timer_request()),
            None => String::new(),
        };
        let draft = Draft { branch: &branch, cseq, headers: &headers, content_type: "application/sdp", body: &body };
        self.ask(now, "UPDATE", &draft, Some(action));
    }

    /// Offers something else before the call is answered, once the first offer was (RFC 3311 5.1).
    pub(super) fn update_early(&mut self, now: u64) {
        let waits =
            self.unpracked.is_some() || self.clients.iter().any(|client| client.method == "PRACK" && !client.is_done());
        if self.phase != Phase::Setup || !self.script.knows.update || self.record.cancelled {
            return;
        }
        if waits || self.updating() {
            return self.at(now + 50 * MS, Due::EarlyUpdate);
        }
        let Some(dialog) = self.settled_dialog() else { return };
        self.session_before = Some(self.session.clone());
        self.cseq += 1;
        let (branch, cseq) = (self.branch(), self.cseq);
        let body = self.session.offer();
        let draft = Draft { branch: &branch, cseq, content_type: "application/sdp", body: &body, ..Draft::default() };
        let bytes = self.draft_in(Some(&dialog), "UPDATE", &draft);
        self.start(now, "UPDATE", &draft, bytes, Some(Action::Update { hold: false }));
    }

    /// The answer to an UPDATE.
    pub(super) fn update_answered(&mut self, now: u64, position: usize, message: Message<'_>) {
        let (status, action) = (message.status().unwrap_or_default(), self.clients[position].action);
        if status >= 300 {
            return self.offer_refused(now, position, status);
        }
        self.session_before = None;
        let asked_at = self.clients[position].sent_at;
        self.timer_answered(now, asked_at, message);
        if action == Some(Action::Refresh) {
            return;
        }
        let answered = match description(message) {
            Some(answer) => self.session.answered(answer),
            None => Err(format!("a {status} to an UPDATE without an answer: {action:?}")),
        };
        if let Err(error) = answered {
            self.fault(error);
        }
    }

    /// An UPDATE came.
    pub(super) fn updated(&mut self, now: u64, position: usize, message: Message<'_>) {
        if !self.script.knows.update {
            self.fault("an UPDATE to a party that does not allow it");
            return self.answer(now, position, 405);
        }
        if self.is_too_short(message) {
            return self.ask_for_longer(now, position);
        }
        let Some(offer) = description(message) else { return self.answer(now, position, 200) };
        if self.inviting() && self.phase == Phase::Up || self.updating() || self.has_open_offer() {
            return self.answer(now, position, 491);
        }
        if self.phase == Phase::Up && self.has_unanswered_offer() {
            return self.answer(now, position, 500);
        }
        let device = usize::from(self.servers[position].tag == self.tags[1]);
        let meant = match self.dialog.as_ref().filter(|_| self.phase == Phase::Setup) {
            Some(dialog) => dialog.local_tag == self.servers[position].tag,
            None => true,
        };
        let answer = if meant { self.session.answer(offer) } else { self.session.early_answer(offer, device) };
        match answer {
            Ok(body) => self.say(now, position, 200, body),
            Err(error) => self.fault(error),
        }
    }
}
