//! What a party does of its own accord.

use super::message::Draft;
use super::{Action, Party, Phase, Role, TIMEOUT};
use crate::sim::plan::{MS, Reliable, SECOND};

/// How often media is sent.
const MEDIA_INTERVAL: u64 = 4 * SECOND;

/// Something to be done at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Call,
    LosePatience,
    Progress(usize),
    Final,
    OtherAnswer,
    Act(Action),
    /// A re-INVITE is due again after a refusal.
    Again(Action),
    /// A pending re-INVITE of the other side, by its branch's place among the servers.
    AnswerReinvite(usize),
    CancelReinvite(u32),
    SendMedia,
    /// The session is to be refreshed, or was not.
    SessionTimer(u32),
    /// An offer in an early dialog.
    EarlyUpdate,
    /// What became of a transfer is told, at last or so far, by the CSeq of its REFER.
    Report {
        asked: u32,
        last: bool,
    },
    /// It should have been told by now.
    Told(u32),
    /// Nobody has ended the call.
    Outlast,
    /// What looked wrong, and would not have been had a BYE followed.
    Complain,
}

impl Party {
    pub(super) fn act(&mut self, now: u64, due: Due) {
        match due {
            Due::Call => self.call(now),
            Due::LosePatience if self.phase == Phase::Setup => self.cancel(now, self.cseq_of_first()),
            Due::LosePatience => {}
            Due::Progress(index) => self.ring(now, index),
            Due::Final => self.decide(now),
            Due::OtherAnswer => self.answer_elsewhere(now),
            Due::Act(action) | Due::Again(action) => self.take_action(now, action),
            Due::AnswerReinvite(position) => self.answer_reinvite(now, position),
            Due::CancelReinvite(cseq) => self.cancel(now, cseq),
            Due::SendMedia => {
                if self.phase == Phase::Up {
                    self.media.extend(self.session.target());
                    self.at(now + MEDIA_INTERVAL, Due::SendMedia);
                }
            }
            Due::SessionTimer(round) => self.session_timer(now, round),
            Due::EarlyUpdate => self.update_early(now),
            Due::Report { asked, last } => self.report(now, asked, last),
            Due::Told(asked) => self.told(asked),
            Due::Outlast => {
                self.record.outlasted = true;
                self.bye(now);
            }
            Due::Complain => {
                if let Some(complaint) = self.complaint.take().filter(|_| self.phase != Phase::Over) {
                    self.fault(complaint);
                }
            }
        }
    }

    /// Says what looked wrong, unless the call ends first: that would explain it.
    pub(super) fn complain_later(&mut self, now: u64, what: String) {
        self.at(now + TIMEOUT, Due::Complain);
        self.complaint = Some(what);
    }

    fn call(&mut self, now: u64) {
        let calling = self.script.calling.clone();
        if calling.video {
            self.session.add_video();
        }
        self.at(now + calling.patience, Due::LosePatience);
        self.call_again(now);
    }

    /// The first INVITE; another one where that lacked something (RFC 3261 8.1.3.5).
    pub(super) fn call_again(&mut self, now: u64) {
        self.cseq += 1;
        self.early.clear();
        let branch = self.branch();
        let body = if self.script.calling.offers { self.session.offer() } else { String::new() };
        self.invite(now, &branch, &body, None);
    }

    fn cseq_of_first(&self) -> u32 {
        let invites = self.clients.iter().filter(|client| client.method == "INVITE");
        invites.map(|client| client.cseq).max().unwrap_or_default()
    }

    pub(super) fn invite(&mut self, now: u64, branch: &str, body: &str, action: Option<Action>) {
        let content_type = if body.is_empty() { "" } else { "application/sdp" };
        let cseq = self.cseq;
        let mut extensions = match self.script.knows.reliable {
            Reliable::No => String::new(),
            Reliable::Required if action.is_none() => "Require: 100rel\r\n".into(),
            Reliable::Supported | Reliable::Required => "Supported: 100rel\r\n".into(),
        };
        if self.script.knows.timer.is_some() {
            extensions += &format!("Supported: timer\r\n{}", self.timer_request());
        }
        if self.role == Role::Caller {
            extensions += &format!("P-Asserted-Identity: <sip:asserted-{}@example.com>\r\n", self.call);
        }
        if self.role == Role::Caller && self.script.calling.private {
            extensions += "Privacy: id\r\n";
        }
        let headers = format!("{extensions}Allow: {}\r\nX-Kept:  as it\tis\r\n", self.allow());
        self.ask(now, "INVITE", &Draft { branch, cseq, headers: &headers, content_type, body }, action);
    }

    pub(super) fn take_action(&mut self, now: u64, action: Action) {
        if self.phase != Phase::Up {
            return;
        }
        match action {
            // A callee may not say BYE before its 2xx is acknowledged (RFC 3261 15).
            Action::Bye if self.may_not_bye() => self.at(now + 100 * MS, Due::Act(Action::Bye)),
            Action::Bye => self.bye(now),
            Action::Info => self.ask_in_dialog(now, "INFO", "application/dtmf-relay", "Signal=5\r\nDuration=160\r\n"),
            Action::Message => self.ask_in_dialog(now, "MESSAGE", "text/plain", "hello"),
            Action::Options => self.ask_in_dialog(now, "OPTIONS", "", ""),
            Action::Refresh => self.refresh(now),
            Action::Update { hold } => self.update(now, action, hold),
            Action::Refer => self.refer(now),
            Action::Hold { .. } | Action::Resume | Action::AskForOffer | Action::Waver { .. } => {
                self.reinvite(now, action);
            }
        }
    }

    fn ask_in_dialog(&mut self, now: u64, method: &'static str, content_type: &str, body: &str) {
        self.cseq += 1;
        let (branch, cseq) = (self.branch(), self.cseq);
        self.ask(now, method, &Draft { branch: &branch, cseq, headers: "", content_type, body }, None);
    }

    fn reinvite(&mut self, now: u64, action: Action) {
        if self.reinvites_left == 0 {
            return;
        }
        self.reinvites_left -= 1;
        if self.invite_under_way() || self.updating() {
            // RFC 3261 14.1.
            return self.at(now + 300 * MS, Due::Again(action));
        }
        self.session_before = Some(self.session.clone());
        self.cseq += 1;
        let cseq = self.cseq;
        let branch = self.branch();
        let body = match action {
            Action::Hold { inactive } => {
                self.session.hold(Some(if inactive { "inactive" } else { "sendonly" }));
                self.session.offer()
            }
            Action::AskForOffer => String::new(),
            Action::Waver { cancel_after } => {
                self.at(now + cancel_after, Due::CancelReinvite(cseq));
                self.session.offer()
            }
            _ => {
                self.session.hold(None);
                self.session.offer()
            }
        };
        self.invite(now, &branch, &body, Some(action));
    }
}
