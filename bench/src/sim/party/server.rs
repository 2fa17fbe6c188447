//! What a party is asked: RFC 3261 section 17.2, and its answers.

use moorline_sip::{Message, respond};

use super::message::{branch_of, cseq_of, description, tag};
use super::{Party, Phase, Role, T1, T2, TIMEOUT};

/// A server transaction. It is kept to the end of the run, to answer copies.
pub(super) struct Server {
    pub(super) branch: String,
    pub(super) method: String,
    pub(super) cseq: u32,
    pub(super) request: Vec<u8>,
    pub(super) tag: String,
    pub(super) response: Option<Vec<u8>>,
    pub(super) state: State,
    interval: u64,
    repeat_at: Option<u64>,
    until: Option<u64>,
    /// Its 2xx holds an offer: the ACK must hold the answer.
    pub(super) offered: bool,
    /// The 2xx of a forked device that the call is not with.
    pub(super) surplus: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Proceeding,
    /// An INVITE was refused; the ACK is awaited.
    Refused,
    /// An INVITE was accepted; the ACK is awaited.
    Accepted,
    Done,
}

impl Server {
    pub(super) fn new(branch: String, method: String, cseq: u32, request: Vec<u8>, tag: String) -> Server {
        Server {
            branch,
            method,
            cseq,
            request,
            tag,
            response: None,
            state: State::Proceeding,
            interval: T1,
            repeat_at: None,
            until: None,
            offered: false,
            surplus: false,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<u64> {
        [self.repeat_at, self.until].into_iter().flatten().min()
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    pub(super) fn is_pending(&self) -> bool {
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
        let own_tag = self.dialog.as_ref().map_or(&self.tags[0], |dialog| &dialog.local_tag).clone();
        self.servers.push(Server::new(branch, method.clone(), cseq, message.bytes().to_vec(), own_tag));
        let to_tag = tag(message.to());
        let turned_away = self.phase == Phase::Over && matches!(self.record.refused, Some(401 | 422));
        if to_tag.is_empty() && method == "INVITE" && self.role != Role::Caller && (position == 0 || turned_away) {
            return self.invited(now, position, message);
        }
        if self.phase == Phase::Setup && self.role == Role::Caller {
            return self.asked_early(now, position, message, &method);
        }
        if self.role == Role::Caller && self.dialog.is_none() && self.knows_early(message) {
            // The early dialog has ended with the INVITE's refusal, which has overtaken this.
            return self.answer(now, position, 481);
        }
        if !self.is_mine(message, &to_tag) {
            self.fault(format!("{method} {cseq} that is of none of its dialogs"));
            return self.answer(now, position, 481);
        }
        if self.challenges(now, position, message, false) {
            return;
        }
        if method == "PRACK" {
            self.check_way(message, true);
            return self.pracked(now, position, message);
        }
        if self.phase == Phase::Setup && method == "UPDATE" {
            self.servers[position].tag = to_tag;
            return self.in_dialog(now, position, message, &method);
        }
        if to_tag != self.servers[position].tag {
            // A device that the call is not with: its dialog ends, if it is not over already.
            self.servers[position].tag = to_tag;
            return self.answer(now, position, if method == "BYE" { 200 } else { 481 });
        }
        self.in_dialog(now, position, message, &method);
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
        let (offered, first) = (server.offered, position == self.first);
        self.check_way(message, true);
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
    pub(super) fn forget_answers(&mut self) {
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

    pub(super) fn say_with(
        &mut self,
        now: u64,
        position: usize,
        status: u16,
        body: String,
        headers: &[(&str, String)],
    ) {
        let allow = self.allow();
        let refreshes = matches!(&self.servers[position].method[..], "INVITE" | "UPDATE") && status / 100 == 2;
        let request = self.servers[position].request.clone();
        let timer = if refreshes && !self.servers[position].surplus {
            with_message(&request, |request| self.timer_answer(now, request)).unwrap_or_default()
        } else {
            Vec::new()
        };
        let (moorline, contact, recorded) = (self.moorline, self.contact(), self.recorded_for_moorline());
        let server = &mut self.servers[position];
        if status < 200 && server.response.as_ref().is_some_and(|_| server.state != State::Proceeding) {
            return;
        }
        let tag = if status > 100 { Some(server.tag.as_bytes()) } else { None };
        let response = with_message(&server.request, |request| {
            let mut writer = respond(request, moorline, status, moorline_sip::reason_phrase(status).as_bytes(), tag);
            if server.method == "INVITE" && status < 300 {
                let recorded = recorded.iter().filter(|_| status > 100);
                writer = recorded.fold(writer, |writer, route| writer.header("Record-Route", route));
                writer = writer.header("Contact", format!("<{contact}>")).header("Allow", &allow);
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

pub(super) fn with_message<T>(bytes: &[u8], read: impl FnOnce(Message<'_>) -> T) -> Option<T> {
    let mut index = moorline_sip::Index::new();
    index.parse(bytes).ok().map(read)
}
