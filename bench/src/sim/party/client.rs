//! A party's own requests: RFC 3261 section 17.1, and what it makes of the answers.

use moorline_sip::{Message, Name};

use super::message::{Draft, branch_of, cseq_of, tag};
use super::{Action, Due, Party, Phase, T1, T2, TIMEOUT};

/// A client transaction.
pub(super) struct Client {
    branch: String,
    pub(super) method: &'static str,
    pub(super) cseq: u32,
    pub(super) sent_at: u64,
    bytes: Vec<u8>,
    pub(super) state: State,
    interval: u64,
    pub(super) repeat_at: Option<u64>,
    pub(super) until: Option<u64>,
    /// What the request was for.
    pub(super) action: Option<Action>,
    /// It carried an offer.
    pub(super) offered: bool,
    /// A CANCEL is to be sent once there is a provisional answer (RFC 3261 9.1).
    pub(super) cancel: Cancel,
    /// The ACK to a refusal.
    pub(super) ack: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Calling,
    Proceeding,
    /// Finally answered.
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancel {
    No,
    Wanted,
    Sent,
}

impl Client {
    pub(super) fn next_timeout(&self) -> Option<u64> {
        [self.repeat_at, self.until].into_iter().flatten().min()
    }

    pub(super) fn is_done(&self) -> bool {
        self.state == State::Done
    }

    fn is_pending_invite(&self) -> bool {
        self.method == "INVITE" && !self.is_done()
    }
}

impl Party {
    /// Sends a request, and again until it is answered.
    pub(super) fn ask(&mut self, now: u64, method: &'static str, draft: &Draft<'_>, action: Option<Action>) {
        let bytes = self.draft(method, draft);
        self.start(now, method, draft, bytes, action);
    }

    pub(super) fn start(
        &mut self,
        now: u64,
        method: &'static str,
        draft: &Draft<'_>,
        bytes: Vec<u8>,
        action: Option<Action>,
    ) {
        self.clients.push(Client {
            branch: draft.branch.into(),
            method,
            cseq: draft.cseq,
            sent_at: now,
            bytes: bytes.clone(),
            state: State::Calling,
            interval: T1,
            repeat_at: (!self.reliable).then_some(now + T1),
            until: Some(now + TIMEOUT),
            action,
            offered: draft.content_type == "application/sdp",
            cancel: Cancel::No,
            ack: Vec::new(),
        });
        self.sends.push(bytes);
    }

    /// An INVITE of this party that is not finally answered.
    pub(super) fn inviting(&self) -> bool {
        self.clients.iter().any(Client::is_pending_invite)
    }

    /// Cancels the INVITE with this CSeq, as soon as that is allowed.
    pub(super) fn cancel(&mut self, now: u64, cseq: u32) {
        let Some(client) = self.clients.iter_mut().find(|client| client.is_pending_invite() && client.cseq == cseq)
        else {
            return;
        };
        if client.cancel == Cancel::Sent {
            return;
        }
        if client.state == State::Calling {
            client.cancel = Cancel::Wanted;
            return;
        }
        client.cancel = Cancel::Sent;
        // Whatever has not come 64*T1 after the CANCEL will not come (RFC 3261 9.1).
        client.until = Some(now + TIMEOUT);
        let (branch, invite) = (client.branch.clone(), client.bytes.clone());
        let bytes = like_the_invite(&invite, "CANCEL", None);
        if self.phase == Phase::Setup {
            self.record.cancelled = true;
        }
        self.start(now, "CANCEL", &Draft { branch: &branch, cseq, ..Draft::default() }, bytes, None);
    }

    pub(super) fn run_clients(&mut self, now: u64) {
        for position in 0..self.clients.len() {
            let client = &mut self.clients[position];
            if client.repeat_at.is_some_and(|at| at <= now) {
                let longest = if client.method == "INVITE" { u64::MAX } else { T2 };
                client.interval =
                    if client.state == State::Proceeding { T2 } else { (client.interval * 2).min(longest) };
                client.repeat_at = Some(now + client.interval);
                self.sends.push(client.bytes.clone());
            }
            let client = &mut self.clients[position];
            if client.until.is_some_and(|at| at <= now) {
                (client.until, client.repeat_at) = (None, None);
                if !client.is_done() {
                    client.state = State::Done;
                    self.unanswered(now, position);
                }
            }
        }
    }

    /// Timer B or F.
    fn unanswered(&mut self, now: u64, position: usize) {
        let client = &self.clients[position];
        let (method, cseq) = (client.method, client.cseq);
        let first = self.phase == Phase::Setup;
        // Of a re-INVITE in a call that this party has hung up, the answer may have been given once, and lost.
        if method != "INVITE" || !self.record.said_bye {
            self.record.unheard.push(format!("{method} {cseq} was not answered"));
        }
        match method {
            "INVITE" if first => self.end(now),
            "INVITE" => {
                self.revert();
                self.take_action(now, Action::Bye);
            }
            "BYE" => self.end(now),
            "CANCEL" => {}
            "UPDATE" => {
                self.revert();
                self.take_action(now, Action::Bye);
            }
            _ => self.take_action(now, Action::Bye),
        }
    }

    pub(super) fn response(&mut self, now: u64, message: Message<'_>) {
        let (cseq, method) = cseq_of(message);
        let branch = branch_of(message);
        let status = message.status().unwrap_or_default();
        if tag(message.from()) != *self.local_tag() {
            return self.fault(format!("a {status} with a From tag that is not its own"));
        }
        let known = self.clients.iter().position(|client| client.branch == branch && client.method == method);
        let Some(position) = known else {
            return self.fault(format!("a {status} to a {method} that it never sent"));
        };
        if self.clients[position].cseq != cseq {
            return self.fault(format!("a {status} to {method} {cseq}, whose branch was of another CSeq"));
        }
        if method == "INVITE" && status / 100 == 2 {
            return self.accepted(now, position, message);
        }
        let client = &mut self.clients[position];
        if client.is_done() {
            if method == "INVITE" && status >= 300 && !client.ack.is_empty() {
                let ack = client.ack.clone();
                self.sends.push(ack);
            }
            return;
        }
        if status < 200 {
            client.state = State::Proceeding;
            if method == "INVITE" {
                (client.repeat_at, client.until) = (None, client.until.filter(|_| client.cancel == Cancel::Sent));
                let wanted = client.cancel == Cancel::Wanted;
                if wanted {
                    self.cancel(now, cseq);
                }
                self.progress(now, position, message);
            }
            return;
        }
        client.state = State::Done;
        (client.repeat_at, client.until) = (None, None);
        if method == "INVITE" {
            let ack = like_the_invite(&client.bytes, "ACK", Some(message));
            client.ack = ack.clone();
            self.sends.push(ack);
            self.refused(now, position, message);
        } else {
            self.answered(now, position, message);
        }
    }

    fn local_tag(&self) -> &String {
        self.dialog.as_ref().map_or(&self.tags[0], |dialog| &dialog.local_tag)
    }

    pub(super) fn bye(&mut self, now: u64) {
        if self.phase != Phase::Up || self.clients.iter().any(|client| client.method == "BYE") {
            return;
        }
        self.record.said_bye = true;
        self.agenda.retain(|(_, due)| *due == Due::OtherAnswer);
        self.refuse_pending(now);
        self.cseq += 1;
        let (branch, cseq) = (self.branch(), self.cseq);
        self.ask(now, "BYE", &Draft { branch: &branch, cseq, ..Draft::default() }, None);
    }
}

/// A CANCEL, or the ACK to a refusal: start line, Via, From, Call-ID and CSeq number of the INVITE; the ACK's To
/// is that of the response (RFC 3261 9.1, 17.1.1.3).
fn like_the_invite(invite: &[u8], method: &str, response: Option<Message<'_>>) -> Vec<u8> {
    let invite = String::from_utf8_lossy(invite);
    let head = invite.split("\r\n\r\n").next().unwrap_or_default();
    let mut out = String::new();
    for (number, line) in head.split("\r\n").enumerate() {
        let name = line.split(':').next().unwrap_or_default();
        if name == "Via" && number > 1 {
            // Hop by hop: proxies before this one have sent one of their own.
            continue;
        }
        let line = match (number, name) {
            (0, _) => line.replacen("INVITE", method, 1),
            (_, "CSeq") => line.replacen("INVITE", method, 1),
            (_, "To") => match response.and_then(|response| response.header(Name::To)) {
                Some(to) => format!("To: {}", String::from_utf8_lossy(to)),
                None => line.to_owned(),
            },
            (_, "Via" | "From" | "Call-ID" | "Max-Forwards" | "Route") => line.to_owned(),
            _ => continue,
        };
        out.push_str(&line);
        out.push_str("\r\n");
    }
    out.push_str("Content-Length: 0\r\n\r\n");
    out.into_bytes()
}
