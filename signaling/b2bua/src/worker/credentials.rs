//! Showing our own credentials to trunks that ask for them (RFC 3261 section 22): the caller never sees that they did.
//!
//! A challenge is answered by the same request once more, to the same place, with the next CSeq. Its nonce then serves
//! for the requests that follow, each with a count of its own.

use std::collections::HashMap;
use std::net::IpAddr;

use moorline_control::SessionId;
use moorline_sip::digest::{Hash, Session, choose};
use moorline_sip::transaction::{ClientId, Flow, IdMap};
use moorline_sip::{Dialog, Index, Message, Method, Name, Writer};

use super::{Arrival, ClientUse, Worker};
use crate::call::{Call, Phase};
use crate::identity::{TOKEN, of_branch};
use crate::leg::Side;
use crate::policy::{Credentials, Policy};
use crate::secret;

/// How often one request is answered a challenge: a proxy may ask, and the one behind it, and either for a new nonce.
const MAX_TRIES: u8 = 3;

/// The most challenges that are remembered: of few peers, unless their addresses change.
const MAX_SESSIONS: usize = 1024;

/// Who asks: the one that is meant by the request (401), or one on the way (407).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asker {
    Server,
    Proxy,
}

/// What is being proved to whom.
#[derive(Default)]
pub(super) struct Proofs {
    /// Whether any trunk has credentials.
    pub(super) wanted: bool,
    /// The challenge of each trunk that is answered now, by the address that made it.
    sessions: HashMap<(usize, IpAddr, Asker), Session>,
    /// Requests to such trunks, until their final answer.
    sent: IdMap<ClientId, Sent>,
}

/// A request to a trunk that may ask for credentials.
pub(super) struct Sent {
    trunk: usize,
    flow: Flow,
    /// As it is without credentials.
    request: Vec<u8>,
    /// Those it showed: whole header lines, and for whom.
    shown: Vec<u8>,
    shown_to: [bool; 2],
    /// Whose challenges to this very request it answers.
    answered: [bool; 2],
    /// How often it was sent because of a challenge.
    tries: u8,
}

impl Sent {
    pub(super) fn new(trunk: usize, flow: Flow, request: Vec<u8>) -> Sent {
        Sent { trunk, flow, request, shown: Vec::new(), shown_to: [false; 2], answered: [false; 2], tries: 0 }
    }
}

impl Proofs {
    pub(super) fn new(policy: &Policy) -> Proofs {
        let wanted = policy.trunks.iter().any(|trunk| trunk.credentials.is_some());
        Proofs { wanted, ..Proofs::default() }
    }

    /// Another transaction takes the place of one.
    pub(super) fn moved(&mut self, client: ClientId, again: ClientId) {
        if let Some(sent) = self.sent.remove(&client) {
            self.sent.insert(again, sent);
        }
    }

    /// A transaction is over.
    pub(super) fn ended(&mut self, client: ClientId) {
        self.sent.remove(&client);
    }
}

impl Worker {
    /// The trunk that a request goes to, if that may ask for credentials.
    pub(super) fn trunk_that_asks(&self, usage: &ClientUse, flow: Flow) -> Option<usize> {
        if !self.proofs.wanted {
            return None;
        }
        let of = |id: &SessionId, side: Side| self.calls.get(id).map(|call| call.leg(side).trunk);
        let trunk = match usage {
            ClientUse::Invite(id) | ClientUse::Prack(id) => of(id, Side::Callee),
            ClientUse::Reinvite(id, side) | ClientUse::Update(id, side) | ClientUse::Refresh(id, side) => of(id, *side),
            ClientUse::Join(_, (id, side)) | ClientUse::Notify(id, side, _) => of(id, *side),
            ClientUse::Bye(id) => {
                let call = self.calls.get(id)?;
                let side = Side::BOTH.into_iter().find(|side| call.leg(*side).next_hop(&self.next_hops) == flow);
                Some(call.leg(side.unwrap_or(Side::Callee)).trunk)
            }
            ClientUse::Pass(passing) => Some(passing.to),
            ClientUse::Register(trunk) => Some(*trunk),
            ClientUse::Stray => self.policy.ingress(flow),
            ClientUse::Probe(..) | ClientUse::KeepAlive(_) => None,
        };
        trunk.filter(|trunk| self.policy.trunks[*trunk].credentials.is_some())
    }

    /// Sends a request with the credentials that were good for the one before.
    pub(super) fn send_shown(&mut self, now: u64, mut sent: Sent) -> Option<ClientId> {
        (sent.shown, sent.shown_to) = self.proof(sent.trunk, sent.flow, &sent.request);
        let client = self.start_client(now, sent.flow, with_lines(&sent.request, &sent.shown))?;
        self.proofs.sent.insert(client, sent);
        Some(client)
    }

    /// The header lines that answer a trunk's challenges for a request, and whose challenges.
    fn proof(&mut self, trunk: usize, flow: Flow, request: &[u8]) -> (Vec<u8>, [bool; 2]) {
        let (mut lines, mut to) = (Vec::new(), [false; 2]);
        let Some(credentials) = &self.policy.trunks[trunk].credentials else { return (lines, to) };
        let mut start = request.split(|byte| *byte == b' ');
        let (method, uri) = (start.next().unwrap_or_default(), start.next().unwrap_or_default());
        // The trunk reckons with the Request-URI that it is sent; here it is written down with the mark.
        let sent = secret::revealed(uri, Some(trunk), &self.policy.trunks);
        for (asker, name) in [(Asker::Server, Name::Authorization), (Asker::Proxy, Name::ProxyAuthorization)] {
            let Some(session) = self.proofs.sessions.get_mut(&(trunk, flow.remote.ip(), asker)) else { continue };
            let Some(password) = credentials.password.secret(session.hash()) else { continue };
            let owner = self.identities.call();
            let cnonce = self.identities.token(owner).to_string();
            let named = sent.as_deref().unwrap_or(uri);
            let value = session.authorize(credentials.user.as_bytes(), password, method, named, cnonce.as_bytes());
            let value = if sent.is_some() { secret::instead(&value, named, uri) } else { value };
            lines.extend_from_slice(name.text().as_bytes());
            lines.extend_from_slice(b": ");
            lines.extend_from_slice(&value);
            lines.extend_from_slice(b"\r\n");
            to[asker as usize] = true;
        }
        (lines, to)
    }

    /// An answer to a request of ours, before anybody else sees it: a challenge is answered here if it can be.
    pub(super) fn answer(&mut self, arrival: Arrival<'_>, client: ClientId) {
        self.not_long(client);
        let status = arrival.message.status().unwrap_or_default();
        if status < 200 || !self.proofs.sent.contains_key(&client) {
            return self.answered(arrival, client);
        }
        let Some(sent) = self.proofs.sent.remove(&client) else { return };
        if !matches!(status, 401 | 407) {
            self.keep_proof(client, sent);
            return self.answered(arrival, client);
        }
        let wanted = self.is_wanted(client);
        if wanted && self.answer_challenge(arrival, client, sent) {
            return;
        }
        self.counters.credentials_refused += u64::from(wanted);
        // It is our credentials that were refused, not the caller's; or it is all the same, as after a CANCEL.
        let bytes = if wanted {
            instead(arrival.message, 502, b"Bad Gateway - Our Credentials Were Refused")
        } else {
            instead(arrival.message, 487, b"Request Terminated")
        };
        let mut index = Index::new();
        let Ok(message) = index.parse(&bytes) else { return };
        self.answered(Arrival { message, ..arrival }, client);
    }

    /// False where nobody waits for the request any more.
    fn is_wanted(&self, client: ClientId) -> bool {
        match self.clients.get(&client) {
            Some(ClientUse::Invite(id)) => self.calls.get(id).is_some_and(|call| {
                let given_up = |attempt: &crate::attempt::Attempt| attempt.client == client && attempt.given_up;
                call.phase == Phase::Inviting && !call.attempts.iter().any(given_up)
            }),
            // In a call that has ended there is nothing to agree on any more, nor where the request was given up.
            Some(ClientUse::Reinvite(id, side) | ClientUse::Update(id, side) | ClientUse::Refresh(id, side)) => {
                self.calls.get(id).is_some_and(|call| {
                    let leg = call.leg(*side);
                    call.is_live() && (leg.inviting == Some(client) || leg.updating == Some(client))
                })
            }
            Some(ClientUse::Prack(id)) => self.calls.get(id).is_some_and(|call| call.is_live()),
            Some(usage) => usage.call().is_none_or(|id| self.calls.contains_key(&id)),
            None => false,
        }
    }

    /// Sends a request again with what its challenge asks for; false where that is in vain.
    fn answer_challenge(&mut self, arrival: Arrival<'_>, client: ClientId, sent: Sent) -> bool {
        let Arrival { now, message, .. } = arrival;
        let Some(credentials) = &self.policy.trunks[sent.trunk].credentials else { return false };
        let asker = if message.status() == Some(401) { Asker::Server } else { Asker::Proxy };
        let key = (sent.trunk, sent.flow.remote.ip(), asker);
        let Some((challenge, session)) = to_answer(message, asker, credentials) else { return false };
        let known = self.proofs.sessions.get(&key).filter(|_| sent.shown_to[asker as usize]);
        let again = sent.answered[asker as usize] && !challenge.stale;
        if again || known.is_some_and(|session| session.refuses(&challenge)) || sent.tries >= MAX_TRIES {
            self.proofs.sessions.remove(&key);
            return false;
        }
        if self.proofs.sessions.len() >= MAX_SESSIONS {
            self.proofs.sessions.clear();
        }
        self.proofs.sessions.insert(key, session);
        let Some(request) = self.once_more(client, &sent.request) else { return false };
        let mut again = Sent { request, tries: sent.tries + 1, ..sent };
        again.answered[asker as usize] = true;
        let Some(next) = self.send_shown(now, again) else { return false };
        if let Some(usage) = self.clients.remove(&client) {
            self.follow_client(&usage, client, next);
            self.clients.insert(next, usage);
        }
        true
    }

    /// The same request in another transaction: another branch, and the next CSeq of its dialog.
    fn once_more(&mut self, client: ClientId, request: &[u8]) -> Option<Vec<u8>> {
        let mut index = Index::new();
        let message = index.parse(request).ok()?;
        let (method, uri, call_id) = (message.method()?, message.request_uri()?, message.call_id().ok()?);
        let mut cseq = message.cseq().ok()?.number + 1;
        let within = match self.clients.get(&client)? {
            ClientUse::Pass(passing) => passing.within,
            usage => usage.call(),
        };
        let call = within.and_then(|id| self.calls.get_mut(&id));
        let known = within.and_then(|id| self.subscriptions.get_mut(&id));
        let ends = known.into_iter().flat_map(|known| &mut known.ends).filter_map(|end| end.dialog.as_mut());
        let all = call.into_iter().flat_map(|call| dialogs(call)).chain(ends);
        // The branches of a fork share the Call-ID: the number is one that none of them has used.
        let mut same: Vec<&mut Dialog> = all.filter(|dialog| dialog.call_id == call_id).collect();
        cseq = same.iter().map(|dialog| dialog.local_cseq + 1).fold(cseq, u32::max);
        same.iter_mut().for_each(|dialog| dialog.local_cseq = cseq);
        if let Some(attempt) = within.and_then(|id| self.calls.get_mut(&id)?.attempt_mut(client)) {
            attempt.cseq = cseq;
        }
        if let Some(call) = within.filter(|_| method == Method::Refer).and_then(|id| self.calls.get_mut(&id)) {
            // What it reports of a transfer names the REFER by its CSeq (RFC 3515 2.4.6).
            let before = message.cseq().ok()?.number;
            call.usages.iter_mut().filter(|usage| usage.sent == before).for_each(|usage| usage.sent = cseq);
        }
        let via = message.header(Name::Via)?;
        let branch = message.via().ok()?.branch?;
        let owner = of_branch(branch)?;
        let mut fresh = self.identities.branch(owner).into_bytes();
        fresh.extend_from_slice(branch.get(crate::identity::COOKIE.len() + TOKEN..)?);
        let at = via.windows(branch.len()).position(|window| window == branch)?;
        let via = [&via[..at], &fresh, &via[at + branch.len()..]].concat();

        let mut writer = Writer::request(method, uri);
        for line in message.lines() {
            writer = match line.name {
                Name::Via => writer.header("Via", &via),
                Name::CSeq => writer.header("CSeq", [format!("{cseq} ").as_bytes(), method.as_bytes()].concat()),
                _ => writer.line(line.raw),
            };
        }
        Some(writer.finish(message.body()))
    }

    /// The ACK to a 2xx shows what its INVITE has shown (RFC 3261 13.2.2.4).
    fn keep_proof(&mut self, client: ClientId, sent: Sent) {
        let (id, side) = match self.clients.get(&client) {
            Some(ClientUse::Invite(id)) => (*id, Side::Callee),
            Some(ClientUse::Reinvite(id, side) | ClientUse::Update(id, side) | ClientUse::Refresh(id, side)) => {
                (*id, *side)
            }
            _ => return,
        };
        let invite = sent.request.starts_with(Method::Invite.as_bytes());
        if let Some(call) = self.calls.get_mut(&id).filter(|_| invite && !sent.shown.is_empty()) {
            call.leg_mut(side).proof = Some(sent.shown.into());
        }
    }
}

/// All dialogs of a call.
fn dialogs(call: &mut Call) -> impl Iterator<Item = &mut Dialog> {
    let early = call.attempts.iter_mut().flat_map(|attempt| &mut attempt.early).chain(&mut call.branches);
    call.legs.iter_mut().filter_map(|leg| leg.dialog.as_mut()).chain(early.map(|early| &mut early.dialog))
}

/// The challenge that the credentials answer, and what is needed to do so.
fn to_answer<'a>(
    message: Message<'a>,
    asker: Asker,
    credentials: &Credentials,
) -> Option<(moorline_sip::digest::Challenge<'a>, Session)> {
    let name = if asker == Asker::Server { Name::WwwAuthenticate } else { Name::ProxyAuthenticate };
    let realm = |value: &&[u8]| {
        let wanted = credentials.realm.as_deref().map(str::as_bytes);
        let mut challenges = moorline_sip::digest::Challenge::all(value);
        wanted.is_none_or(|wanted| challenges.any(|challenge| challenge.realm == wanted))
    };
    [Hash::Sha256, Hash::Sha512T256, Hash::Md5].into_iter().find_map(|hash| {
        let secret = credentials.password.secret(hash)?;
        let challenge = choose(message.all(name).filter(realm), secret)?;
        Some((challenge, Session::new(&challenge)))
    })
}

/// A message with more header lines, which come after the first, Via.
pub(super) fn with_lines(message: &[u8], lines: &[u8]) -> Vec<u8> {
    let ends = message.windows(2).enumerate().filter(|(_, window)| window == b"\r\n");
    let start = ends.map(|(at, _)| at + 2).nth(1).unwrap_or(message.len());
    [&message[..start], lines, &message[start..]].concat()
}

/// Another refusal in place of a challenge that we do not answer.
fn instead(challenge: Message<'_>, status: u16, reason: &[u8]) -> Vec<u8> {
    let mut writer = Writer::response(status, reason);
    for line in challenge.lines() {
        let kept = matches!(line.name, Name::Via | Name::From | Name::To | Name::CallId | Name::CSeq);
        writer = if kept { writer.line(line.raw) } else { writer };
    }
    writer.finish(b"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_after_the_first_header() {
        assert_eq!(with_lines(b"A\r\nB: 1\r\nD: 3\r\n\r\nx", b"C: 2\r\n"), b"A\r\nB: 1\r\nC: 2\r\nD: 3\r\n\r\nx");
    }
}
