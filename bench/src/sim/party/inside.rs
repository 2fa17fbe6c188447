//! What a party is asked inside a dialog, early or confirmed.

use moorline_sip::Message;

use super::message::{contact_of, tag, text};
use super::server::{Server, State, with_message};
use super::{Due, Party, Phase};
use crate::sim::plan::MS;

impl Party {
    /// The request belongs to a dialog of this party's.
    pub(super) fn is_mine(&self, message: Message<'_>, to_tag: &str) -> bool {
        let Some(dialog) = &self.dialog else { return false };
        let tags = self.tags.iter().any(|tag| tag == to_tag) && tag(message.from()) == dialog.remote_tag;
        tags && message.call_id().is_ok_and(|id| id == self.call_id.as_bytes())
    }

    /// A caller is asked something before it was answered: in an early dialog that it knows, or in one that the
    /// 2xx on the way will make known to it.
    pub(super) fn asked_early(&mut self, now: u64, position: usize, message: Message<'_>, method: &str) {
        let from = tag(message.from());
        let cseq = self.servers[position].cseq;
        let early = self.early.iter_mut().find(|early| early.dialog.remote_tag == from);
        let known = early.is_some();
        if let Some(early) = early {
            early.dialog.remote_cseq = early.dialog.remote_cseq.max(Some(cseq));
        }
        if known && method == "UPDATE" {
            return self.updated(now, position, message);
        }
        if matches!(method, "BYE" | "INVITE") && known {
            // RFC 3261 15, 14.2: neither may be asked of an early dialog, but an overtaken 2xx explains both.
            self.complain_later(now, format!("{method} in an early dialog"));
        }
        let status = match method {
            "BYE" | "INVITE" => 481,
            _ if !known => 481,
            "REFER" => 480,
            _ => 200,
        };
        self.answer(now, position, status);
    }

    pub(super) fn in_dialog(&mut self, now: u64, position: usize, message: Message<'_>, method: &str) {
        let cseq = self.servers[position].cseq;
        let own = self.contact();
        if message.request_uri().map(text).unwrap_or_default() != own {
            self.fault(format!("{method} {cseq} whose Request-URI is not its Contact {own}"));
        }
        let hanging_up = self.record.said_bye;
        self.check_way(message, true);
        if !self.counts_on(message, cseq) {
            // Overtaken on the way (RFC 3261 12.2.2).
            return self.answer(now, position, 500);
        }
        match method {
            "BYE" if self.phase != Phase::Over || hanging_up => {
                self.record.heard_bye = true;
                self.record.lapsed |= self.has_lapsed(now);
                self.answer(now, position, 200);
                self.forget_answers();
                if !hanging_up {
                    self.end(now);
                }
            }
            _ if self.phase == Phase::Over || hanging_up => self.answer(now, position, 481),
            "INVITE" => self.reinvited(now, position),
            "UPDATE" => self.updated(now, position, message),
            "REFER" => self.referred(now, position, message),
            "NOTIFY" => self.notified(now, position, message),
            _ => self.answer(now, position, 200),
        }
    }

    /// Takes note of a CSeq: false for one that does not go up in its dialog. Until one of the devices answers, each has
    /// a dialog of its own.
    pub(super) fn counts_on(&mut self, message: Message<'_>, cseq: u32) -> bool {
        let device = usize::from(tag(message.to()) == self.tags[1]);
        let early = self.phase == Phase::Setup;
        let confirmed = self.dialog.as_mut().map(|dialog| &mut dialog.remote_cseq).filter(|_| !early);
        let last = confirmed.unwrap_or(&mut self.remote_cseqs[device]);
        let goes_up = last.is_none_or(|last| cseq > last);
        if goes_up {
            *last = Some(cseq);
        }
        goes_up
    }

    pub(super) fn reinvited(&mut self, now: u64, position: usize) {
        let others = self.servers.iter().take(position);
        let pending = others.clone().any(Server::is_pending);
        let open_offer = others.clone().any(|server| server.state == State::Accepted && server.offered);
        if self.inviting() || self.updating() || open_offer || self.phase == Phase::Setup {
            return self.answer(now, position, 491);
        }
        if pending {
            return self.answer(now, position, 500);
        }
        let request = self.servers[position].request.clone();
        if with_message(&request, |message| self.is_too_short(message)).unwrap_or_default() {
            return self.ask_for_longer(now, position);
        }
        if self.script.on_reinvite.rings {
            self.say(now, position, 180, String::new());
        } else if self.script.on_reinvite.after > 200 * MS {
            self.say(now, position, 100, String::new());
        }
        self.at(now + self.script.on_reinvite.after, Due::AnswerReinvite(position));
    }

    /// The final answer to a re-INVITE is due.
    pub(super) fn answer_reinvite(&mut self, now: u64, position: usize) {
        if !self.servers[position].is_pending() {
            return;
        }
        if self.random.chance(self.script.on_reinvite.refuses) {
            let status = self.random.pick(&[488, 603, 480]);
            self.record.unrefreshed_at = Some(now);
            return self.answer(now, position, status);
        }
        let request = self.servers[position].request.clone();
        let target = with_message(&request, contact_of).flatten();
        if let (Some(dialog), Some(target)) = (&mut self.dialog, target) {
            dialog.remote_target = target;
        }
        let body = self.describe(position);
        self.say(now, position, 200, body);
    }
}
