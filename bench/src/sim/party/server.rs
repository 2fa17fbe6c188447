//! What a party is asked: RFC 3261 section 17.2, and its answers.

use moorline_sip::{Message, Name, respond};

use super::message::{branch_of, contact_of, cseq_of, description, record_routes, tag, text};
use super::{Dialog, Due, Party, Phase, Role, T1, T2, TIMEOUT};
use crate::sim::plan::{Final, MS};

/// A server transaction. It is kept to the end of the run, to answer copies.
pub(super) struct Server {
    pub(super) branch: String,
    pub(super) method: String,
    pub(super) cseq: u32,
    pub(super) request: Vec<u8>,
    pub(super) tag: String,
    response: Option<Vec<u8>>,
    state: State,
    interval: u64,
    repeat_at: Option<u64>,
    until: Option<u64>,
    /// Its 2xx holds an offer: the ACK must hold the answer.
    offered: bool,
    /// The 2xx of a forked device that the call is not with.
    surplus: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Proceeding,
    /// An INVITE was refused; the ACK is awaited.
    Refused,
    /// An INVITE was accepted; the ACK is awaited.
    Accepted,
    Done,
}

impl Server {
    pub(super) fn next_timeout(&self) -> Option<u64> {
        [self.repeat_at, self.until].into_iter().flatten().min()
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn is_pending(&self) -> bool {
        self.method == "INVITE" && self.state == State::Proceeding
    }
}

impl Party {
    pub(super) fn request(&mut self, now: u64, message: Message<'_>) {
        let (cseq, method) = cseq_of(message);
        let branch = branch_of(message);
        match &method[..] {
            "ACK" => return self.acknowledged(now, &branch, cseq, message),
            "CANCEL" => return self.cancelled(now, &branch, message),
            _ => {}
        }
        if let Some(server) = self.servers.iter().find(|server| server.branch == branch && server.method == method) {
            self.sends.extend(server.response.clone().filter(|_| !server.surplus));
            return;
        }
        let position = self.servers.len();
        self.servers.push(Server {
            branch,
            method: method.clone(),
            cseq,
            request: message.bytes().to_vec(),
            tag: self.dialog.as_ref().map_or(&self.tags[0], |dialog| &dialog.local_tag).clone(),
            response: None,
            state: State::Proceeding,
            interval: T1,
            repeat_at: None,
            until: None,
            offered: false,
            surplus: false,
        });
        let to_tag = tag(message.to());
        if to_tag.is_empty() && method == "INVITE" && self.role != Role::Caller && position == 0 {
            return self.invited(now, message);
        }
        if self.phase == Phase::Setup && self.role == Role::Caller {
            return self.asked_early(now, position, message, &method);
        }
        if !self.is_mine(message, &to_tag) {
            self.fault(format!("{method} {cseq} that is of none of its dialogs"));
            return self.answer(now, position, 481);
        }
        if method == "PRACK" {
            return self.pracked(now, position, message);
        }
        if to_tag != self.servers[position].tag {
            // A device that the call is not with: its dialog ends, if it is not over already.
            self.servers[position].tag = to_tag;
            return self.answer(now, position, if method == "BYE" { 200 } else { 481 });
        }
        self.in_dialog(now, position, message, &method);
    }

    /// The first INVITE.
    fn invited(&mut self, now: u64, message: Message<'_>) {
        self.call_id = message.call_id().map(text).unwrap_or_default();
        self.from = message.header(Name::To).map(text).unwrap_or_default();
        self.to = message.from().map(|from| text(from.uri)).map(|uri| format!("<{uri}>")).unwrap_or_default();
        let Some(remote_target) = contact_of(message) else { return self.fault("an INVITE without a Contact") };
        if remote_target != format!("sip:{}", self.moorline) {
            self.fault(format!("the Contact of an INVITE is {remote_target}"));
        }
        self.dialog = Some(Dialog {
            local_tag: self.tags[0].clone(),
            remote_tag: tag(message.from()),
            remote_target,
            routes: record_routes(message),
            remote_cseq: Some(self.servers[0].cseq),
        });
        // RFC 3261 8.2.6.1: whoever takes longer than 200 ms says that it is there.
        self.say(now, 0, 100, String::new());
        for (index, progress) in self.script.answering.progress.clone().into_iter().enumerate() {
            self.at(now + progress.after, Due::Progress(index));
        }
        match self.script.answering.last {
            Final::Answer { after, .. } | Final::Refuse { after, .. } => self.at(now + after, Due::Final),
            Final::Never | Final::Dead => {}
        }
    }

    /// The request belongs to a dialog of this party's.
    fn is_mine(&self, message: Message<'_>, to_tag: &str) -> bool {
        let Some(dialog) = &self.dialog else { return false };
        let tags = self.tags.iter().any(|tag| tag == to_tag) && tag(message.from()) == dialog.remote_tag;
        tags && message.call_id().is_ok_and(|id| id == self.call_id.as_bytes())
    }

    /// A caller is asked something before it was answered: in an early dialog that it knows, or in one that the
    /// 2xx on the way will make known to it.
    fn asked_early(&mut self, now: u64, position: usize, message: Message<'_>, method: &str) {
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
        self.answer(now, position, if known && !matches!(method, "BYE" | "INVITE") { 200 } else { 481 });
    }

    fn in_dialog(&mut self, now: u64, position: usize, message: Message<'_>, method: &str) {
        let cseq = self.servers[position].cseq;
        let own = self.contact();
        if message.request_uri().map(text).unwrap_or_default() != own {
            self.fault(format!("{method} {cseq} whose Request-URI is not its Contact {own}"));
        }
        let hanging_up = self.record.said_bye;
        let Some(dialog) = &mut self.dialog else { return };
        if dialog.remote_cseq.is_some_and(|last| cseq <= last) {
            // Overtaken on the way (RFC 3261 12.2.2).
            return self.answer(now, position, 500);
        }
        dialog.remote_cseq = Some(cseq);
        match method {
            "BYE" if self.phase != Phase::Over || hanging_up => {
                self.record.heard_bye = true;
                self.answer(now, position, 200);
                self.forget_answers();
                if !hanging_up {
                    self.end(now);
                }
            }
            _ if self.phase == Phase::Over || hanging_up => self.answer(now, position, 481),
            "INVITE" => self.reinvited(now, position),
            "UPDATE" => self.updated(now, position, message),
            _ => self.answer(now, position, 200),
        }
    }

    fn reinvited(&mut self, now: u64, position: usize) {
        let others = self.servers.iter().take(position);
        let pending = others.clone().any(Server::is_pending);
        let open_offer = others.clone().any(|server| server.state == State::Accepted && server.offered);
        if self.inviting() || self.updating() || open_offer || self.phase == Phase::Setup {
            return self.answer(now, position, 491);
        }
        if pending {
            return self.answer(now, position, 500);
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

    /// The description for a 2xx: the answer to the offer of the request, or an offer.
    fn describe(&mut self, position: usize) -> String {
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

    /// A provisional answer to the first INVITE, from one of the devices.
    pub(super) fn ring(&mut self, now: u64, index: usize) {
        let progress = self.script.answering.progress[index];
        if self.phase != Phase::Setup || !self.servers[0].is_pending() {
            return;
        }
        if self.waits_for_prack(now, Due::Progress(index)) {
            return;
        }
        let request = self.servers[0].request.clone();
        let device = progress.device;
        let reliable = progress.status > 100
            && with_message(&request, |message| self.is_reliable(message, device)).unwrap_or_default();
        let offer = with_message(&request, |message| description(message).map(<[u8]>::to_vec)).flatten();
        let answers = matches!(self.script.answering.last, Final::Answer { device: other, .. } if other == device);
        // Without an offer in the INVITE the first reliable answer makes it, whatever else was meant.
        let offers = reliable && offer.is_none() && !self.settled;
        let body = match offer.filter(|_| progress.early_media && progress.status > 100) {
            Some(offer) if reliable && answers && !self.settled => {
                self.settled = true;
                self.session.take_device(device);
                self.session.answer(&offer)
            }
            Some(_) if reliable && answers => Ok(String::new()),
            Some(offer) => self.session.early_answer(&offer, device),
            None if offers => {
                self.settled = true;
                self.session.take_device(device);
                Ok(self.session.offer())
            }
            None => Ok(String::new()),
        };
        let body = body.unwrap_or_else(|error| {
            self.fault(error);
            String::new()
        });
        self.servers[0].tag = self.tags[progress.device].clone();
        if reliable {
            self.rseqs[device] += 1;
            let rseq = self.rseqs[device];
            let headers = [("Require", "100rel".to_owned()), ("RSeq", rseq.to_string())];
            self.say_with(now, 0, progress.status, body, &headers);
            let response = self.servers[0].response.clone().unwrap_or_default();
            self.await_prack(now, rseq, response, offers);
        } else {
            self.say(now, 0, progress.status, body);
        }
    }

    /// The final answer to the first INVITE.
    pub(super) fn decide(&mut self, now: u64) {
        if self.phase != Phase::Setup || !self.servers[0].is_pending() {
            return;
        }
        if self.waits_for_prack(now, Due::Final) {
            return;
        }
        match self.script.answering.last {
            Final::Refuse { status, .. } => {
                self.record.refused = Some(status);
                self.answer(now, 0, status);
                self.end(now);
            }
            Final::Answer { device, other_too, .. } => {
                let local_tag = self.tags[device].clone();
                self.servers[0].tag.clone_from(&local_tag);
                if let Some(dialog) = &mut self.dialog {
                    dialog.local_tag = local_tag;
                    dialog.remote_cseq = dialog.remote_cseq.max(Some(self.remote_cseqs[device]));
                }
                let body = if self.settled {
                    String::new()
                } else {
                    self.session.take_device(device);
                    self.describe(0)
                };
                self.say(now, 0, 200, body);
                self.begin(now);
                if let Some(later) = other_too {
                    self.at(now + later, Due::OtherAnswer);
                }
            }
            Final::Never | Final::Dead => {}
        }
    }

    /// Another device of the called party answers too: a dialog that nobody wants.
    pub(super) fn answer_elsewhere(&mut self, now: u64) {
        let Final::Answer { device, .. } = self.script.answering.last else { return };
        let request = self.servers[0].request.clone();
        let mut elsewhere = self.session.clone();
        let body = match with_message(&request, |message| description(message).map(<[u8]>::to_vec)).flatten() {
            Some(offer) => elsewhere.answer(&offer).unwrap_or_default(),
            None => elsewhere.offer(),
        };
        let first = &self.servers[0];
        self.servers.push(Server {
            branch: first.branch.clone(),
            method: first.method.clone(),
            cseq: first.cseq,
            request,
            tag: self.tags[1 - device].clone(),
            response: None,
            state: State::Proceeding,
            interval: T1,
            repeat_at: None,
            until: None,
            offered: false,
            surplus: true,
        });
        self.say(now, self.servers.len() - 1, 200, body);
    }

    fn acknowledged(&mut self, now: u64, branch: &str, cseq: u32, message: Message<'_>) {
        let to_tag = tag(message.to());
        let refused = |server: &&mut Server| server.branch == branch && server.method == "INVITE";
        if let Some(server) = self.servers.iter_mut().find(refused) {
            match server.state {
                State::Refused => (server.state, server.repeat_at, server.until) = (State::Done, None, None),
                State::Done => {}
                State::Proceeding => self.fault(format!("an ACK to INVITE {cseq}, which is not answered")),
                State::Accepted => self.fault(format!("an ACK to the 2xx of INVITE {cseq} with the INVITE's branch")),
            }
            return;
        }
        let accepted = |server: &Server| server.method == "INVITE" && server.cseq == cseq && server.tag == to_tag;
        let Some(position) = self.servers.iter().position(accepted) else {
            return self.fault(format!("an ACK to nothing: CSeq {cseq}"));
        };
        let server = &mut self.servers[position];
        match server.state {
            State::Accepted => (server.state, server.repeat_at, server.until) = (State::Done, None, None),
            State::Done => return,
            State::Proceeding | State::Refused => {
                return self.fault(format!("an ACK with a new branch to INVITE {cseq}, which was not accepted"));
            }
        }
        let (offered, first) = (server.offered, position == 0);
        if first {
            self.record.acknowledged = true;
        }
        if offered {
            let answered = match description(message) {
                Some(answer) => self.session.answered(answer),
                None => Err("an ACK without the answer to the offer of the 2xx".into()),
            };
            // While it hangs up the media is of no interest.
            if let Err(error) = answered
                && !self.record.said_bye
                && !self.record.heard_bye
            {
                // A call that ended before its offer was answered has an ACK without a description, and a BYE behind.
                self.complain_later(now, error);
            }
        }
    }

    fn cancelled(&mut self, now: u64, branch: &str, message: Message<'_>) {
        let invite = self.servers.iter().position(|server| server.branch == branch && server.method == "INVITE");
        let status = if invite.is_some() { 200 } else { 481 };
        let tag = invite.map_or(&self.tags[0], |invite| &self.servers[invite].tag);
        let answer = respond(message, self.moorline, status, b"", Some(tag.as_bytes())).finish(b"");
        self.sends.push(answer);
        let Some(position) = invite else { return };
        if self.phase == Phase::Setup {
            self.record.cancelled = true;
        }
        if self.servers[position].is_pending() {
            self.answer(now, position, 487);
            if self.phase == Phase::Setup {
                self.end(now);
            }
        }
    }

    /// The other side has ended the dialog: a 2xx whose ACK was lost on the way is repeated no more.
    fn forget_answers(&mut self) {
        for server in self.servers.iter_mut().filter(|server| server.state == State::Accepted && !server.surplus) {
            (server.state, server.repeat_at, server.until) = (State::Done, None, None);
        }
    }

    /// The 2xx that this party gave is not acknowledged yet.
    pub(super) fn may_not_bye(&self) -> bool {
        self.servers.iter().any(|server| server.state == State::Accepted && !server.surplus)
    }

    /// This party has made an offer in a 2xx that is not answered.
    pub(super) fn has_open_offer(&self) -> bool {
        self.servers.iter().any(|server| server.state == State::Accepted && server.offered)
    }

    /// This party has not answered an INVITE yet.
    pub(super) fn has_unanswered_offer(&self) -> bool {
        self.servers.iter().any(Server::is_pending)
    }

    /// An INVITE of either side is under way in the dialog.
    pub(super) fn invite_under_way(&self) -> bool {
        self.inviting() || self.may_not_bye() || self.servers.iter().any(Server::is_pending)
    }

    /// The dialog is over: INVITEs in it that are not answered are refused (RFC 3261 15.1.2).
    pub(super) fn refuse_pending(&mut self, now: u64) {
        for position in 0..self.servers.len() {
            if self.servers[position].is_pending() {
                self.answer(now, position, 487);
            }
        }
    }

    /// A final answer without a body.
    pub(super) fn answer(&mut self, now: u64, position: usize, status: u16) {
        self.say(now, position, status, String::new());
    }

    /// An answer.
    pub(super) fn say(&mut self, now: u64, position: usize, status: u16, body: String) {
        self.say_with(now, position, status, body, &[]);
    }

    fn say_with(&mut self, now: u64, position: usize, status: u16, body: String, headers: &[(&str, String)]) {
        let allow = self.allow();
        let refreshes = matches!(&self.servers[position].method[..], "INVITE" | "UPDATE") && status / 100 == 2;
        let request = self.servers[position].request.clone();
        let timer = if refreshes && !self.servers[position].surplus {
            with_message(&request, |request| self.timer_answer(now, request)).unwrap_or_default()
        } else {
            Vec::new()
        };
        let (moorline, contact) = (self.moorline, self.contact());
        let server = &mut self.servers[position];
        if status < 200 && server.response.as_ref().is_some_and(|_| server.state != State::Proceeding) {
            return;
        }
        let tag = if status > 100 { Some(server.tag.as_bytes()) } else { None };
        let response = with_message(&server.request, |request| {
            let mut writer = respond(request, moorline, status, moorline_sip::reason_phrase(status).as_bytes(), tag);
            if server.method == "INVITE" && status < 300 {
                writer = writer.record_route(request).header("Contact", format!("<{contact}>")).header("Allow", &allow);
            }
            for (name, value) in headers.iter().chain(&timer) {
                writer = writer.header(name, value);
            }
            if !body.is_empty() {
                writer = writer.header("Content-Type", "application/sdp");
            }
            writer.finish(body.as_bytes())
        });
        let Some(response) = response else { return };
        server.response = Some(response.clone());
        if status >= 200 {
            server.state = match (&server.method[..], status) {
                ("INVITE", 300..) => State::Refused,
                ("INVITE", _) => State::Accepted,
                _ => State::Done,
            };
        }
        if matches!(server.state, State::Refused | State::Accepted) {
            server.until = Some(now + TIMEOUT);
            // A 2xx is repeated over every transport: it may be a proxy that lost it (RFC 3261 13.3.1.4).
            let repeats = !self.reliable || server.state == State::Accepted;
            server.repeat_at = repeats.then_some(now + T1);
        }
        self.sends.push(response);
    }

    pub(super) fn run_servers(&mut self, now: u64) {
        for position in 0..self.servers.len() {
            let server = &mut self.servers[position];
            if server.repeat_at.is_some_and(|at| at <= now) {
                server.interval = (server.interval * 2).min(T2);
                server.repeat_at = Some(now + server.interval);
                self.sends.extend(server.response.clone());
            }
            if server.until.is_some_and(|at| at <= now) {
                let (accepted, surplus) = (server.state == State::Accepted, server.surplus);
                (server.state, server.repeat_at, server.until) = (State::Done, None, None);
                let cseq = server.cseq;
                self.record.unheard.push(format!("no ACK to the final answer to INVITE {cseq}"));
                if accepted && !surplus {
                    // RFC 3261 13.3.1.4.
                    self.bye(now);
                }
            }
        }
    }
}

fn with_message<T>(bytes: &[u8], read: impl FnOnce(Message<'_>) -> T) -> Option<T> {
    let mut index = moorline_sip::Index::new();
    index.parse(bytes).ok().map(read)
}
