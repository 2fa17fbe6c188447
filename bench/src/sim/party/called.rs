//! Being called: the first INVITE, and its answers from one device or several.

use moorline_sip::{Message, Name};

use super::message::{contact_of, description, record_routes, tag, text};
use super::server::{Server, with_message};
use super::{Dialog, Due, Party, Phase};
use crate::sim::plan::{Final, MS};
use crate::sim::{NETWORKS, NUMBERS};

impl Party {
    /// The first INVITE.
    pub(super) fn invited(&mut self, now: u64, position: usize, message: Message<'_>) {
        (self.first, self.phase, self.record.refused) = (position, Phase::Setup, None);
        self.check_way(message, false);
        if self.challenges(now, position, message, true) {
            return self.turn_away(now, 401);
        }
        if self.is_too_short(message) {
            self.ask_for_longer(now, position);
            return self.turn_away(now, 422);
        }
        self.call_id = message.call_id().map(text).unwrap_or_default();
        self.from = message.header(Name::To).map(text).unwrap_or_default();
        self.to = message.from().map(|from| text(from.uri)).map(|uri| format!("<{uri}>")).unwrap_or_default();
        let Some(remote_target) = contact_of(message) else { return self.fault("an INVITE without a Contact") };
        if remote_target != format!("sip:{}{}", self.moorline, self.transport_param()) {
            self.fault(format!("the Contact of an INVITE is {remote_target}"));
        }
        self.dialog = Some(Dialog {
            local_tag: self.tags[0].clone(),
            remote_tag: tag(message.from()),
            remote_target,
            routes: record_routes(message),
            remote_cseq: Some(self.servers[self.first].cseq),
        });
        // RFC 3261 8.2.6.1: whoever takes longer than 200 ms says that it is there.
        self.say(now, self.first, 100, String::new());
        for (index, progress) in self.script.answering.progress.clone().into_iter().enumerate() {
            self.at(now + progress.after, Due::Progress(index));
        }
        match self.script.answering.last {
            Final::Answer { after, .. } | Final::Refuse { after, .. } | Final::Redirect { after, .. } => {
                self.at(now + after, Due::Final);
            }
            Final::Never | Final::Dead => {}
        }
    }

    /// The INVITE has to come again with what it lacks.
    fn turn_away(&mut self, now: u64, status: u16) {
        self.record.refuse(now, status);
        self.end(now);
    }

    /// A provisional answer to the first INVITE, from one of the devices.
    pub(super) fn ring(&mut self, now: u64, index: usize) {
        let progress = self.script.answering.progress[index];
        if self.phase != Phase::Setup || !self.servers[self.first].is_pending() {
            return;
        }
        if self.waits_for_prack(now, Due::Progress(index)) {
            return;
        }
        let request = self.servers[self.first].request.clone();
        let device = progress.device;
        let reliable = progress.status > 100
            && with_message(&request, |message| self.is_reliable(message, device)).unwrap_or_default();
        let offer = with_message(&request, |message| description(message).map(<[u8]>::to_vec)).flatten();
        let answers = matches!(self.script.answering.last, Final::Answer { device: other, .. } if other == device);
        // Without an offer in the INVITE the first reliable answer makes it, whatever else was meant.
        let offers = reliable && offer.is_none() && !self.settled;
        let body = match offer.filter(|_| progress.early_media && progress.status > 100) {
            Some(offer) if reliable && answers && !self.settled => {
                self.settle(now, device);
                self.session.answer(&offer)
            }
            Some(_) if reliable && answers => Ok(String::new()),
            Some(offer) => self.session.early_answer(&offer, device),
            None if offers => {
                self.settle(now, device);
                Ok(self.session.offer())
            }
            None => Ok(String::new()),
        };
        let body = body.unwrap_or_else(|error| {
            self.fault(error);
            String::new()
        });
        self.servers[self.first].tag = self.tags[progress.device].clone();
        if reliable {
            self.rseqs[device] += 1;
            let rseq = self.rseqs[device];
            let headers = [("Require", "100rel".to_owned()), ("RSeq", rseq.to_string())];
            self.say_with(now, self.first, progress.status, body, &headers);
            let response = self.servers[self.first].response.clone().unwrap_or_default();
            self.await_prack(now, rseq, response, offers);
        } else {
            self.say(now, self.first, progress.status, body);
        }
    }

    /// The session is settled with one of the devices before it answers.
    fn settle(&mut self, now: u64, device: usize) {
        self.settled = true;
        self.session.take_device(device);
        if let Some(dialog) = &mut self.dialog {
            dialog.local_tag.clone_from(&self.tags[device]);
        }
        if let Some(after) = self.script.early_update {
            self.at(now + after, Due::EarlyUpdate);
        }
    }

    /// The final answer to the first INVITE.
    pub(super) fn decide(&mut self, now: u64) {
        if self.phase != Phase::Setup || !self.servers[self.first].is_pending() {
            return;
        }
        if self.waits_for_prack(now, Due::Final) {
            return;
        }
        if self.updating() {
            return self.at(now + 50 * MS, Due::Final);
        }
        match self.script.answering.last {
            Final::Refuse { status, .. } => {
                self.record.refuse(now, status);
                self.answer(now, self.first, status);
                self.end(now);
            }
            Final::Redirect { to, .. } => {
                self.record.refuse(now, 302);
                let contacts = self.contacts(to);
                self.say_with(now, self.first, 302, String::new(), &contacts);
                self.end(now);
            }
            Final::Answer { device, other_too, .. } => {
                let local_tag = self.tags[device].clone();
                self.servers[self.first].tag.clone_from(&local_tag);
                if let Some(dialog) = &mut self.dialog {
                    dialog.local_tag = local_tag;
                    dialog.remote_cseq = dialog.remote_cseq.max(self.remote_cseqs[device]);
                }
                let body = if self.settled {
                    String::new()
                } else {
                    self.session.take_device(device);
                    self.describe(self.first)
                };
                self.say(now, self.first, 200, body);
                self.begin(now);
                if let Some(later) = other_too {
                    self.at(now + later, Due::OtherAnswer);
                }
            }
            Final::Never | Final::Dead => {}
        }
    }

    /// The description for a 2xx: the answer to the offer of the request, or an offer.
    pub(super) fn describe(&mut self, position: usize) -> String {
        let request = self.servers[position].request.clone();
        let offer = with_message(&request, |message| description(message).map(<[u8]>::to_vec)).flatten();
        let Some(offer) = offer else {
            self.servers[position].offered = true;
            return self.session.offer();
        };
        self.session.answer(&offer).unwrap_or_else(|error| {
            self.fault(error);
            String::new()
        })
    }

    /// Where else to call.
    fn contacts(&self, to: [Option<usize>; 2]) -> Vec<(&'static str, String)> {
        let network = NETWORKS[self.listener];
        let number = format!("{}{}", NUMBERS[self.listener], self.call);
        let known = to.into_iter().flatten().map(|party| format!("{network}{}:5060", 20 + party));
        let mut hosts: Vec<String> = known.collect();
        if hosts.is_empty() {
            hosts.push("203.0.113.66".into());
        }
        let transport = self.transport_param();
        let contact = |(index, host)| ("Contact", format!("<sip:{number}@{host}{transport}>;q=0.{}", 9 - index));
        hosts.iter().enumerate().map(contact).collect()
    }

    /// Another device of the called party answers too: a dialog that nobody wants.
    pub(super) fn answer_elsewhere(&mut self, now: u64) {
        let Final::Answer { device, .. } = self.script.answering.last else { return };
        let request = self.servers[self.first].request.clone();
        let mut elsewhere = self.session.clone();
        let body = match with_message(&request, |message| description(message).map(<[u8]>::to_vec)).flatten() {
            Some(offer) => elsewhere.answer(&offer).unwrap_or_default(),
            None => elsewhere.offer(),
        };
        let first = &self.servers[self.first];
        let (branch, tag) = (first.branch.clone(), self.tags[1 - device].clone());
        let mut other = Server::new(branch, first.method.clone(), first.cseq, request, tag);
        other.surplus = true;
        self.servers.push(other);
        self.say(now, self.servers.len() - 1, 200, body);
    }
}
