//! Who may ask for anything: digest credentials, verified before any state is made (RFC 3261 section 22).
//!
//! A challenge leaves nothing behind, neither here nor in the transaction layer: a flood of requests without
//! credentials costs what its answers cost.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;

use moorline_sip::digest::{Challenger, Checked, Response, Settings, Verdict as Worth};
use moorline_sip::transaction::Flow;
use moorline_sip::{Message, Method, Name, OwnedMessage, Uri, reason_phrase, respond, unescape};

use super::{Arrival, Due, RETRY_AFTER, Worker};
use crate::policy::{Authentication, Listener, Policy};
use crate::verify::{DigestQuestion, Verdict};
use crate::{Entropy, Output};

/// Requests that wait for a verdict at once.
const MAX_ASKED: usize = 1024;

/// How long a verdict is waited for.
const VERDICT_NS: u64 = 8_000_000_000;

/// What is needed to ask for credentials.
pub(super) struct Admission {
    /// By trunk; `None` for those that are known by their address.
    pub(super) challengers: Vec<Option<Challenger>>,
    /// Requests that wait for a verdict, by the number of the question.
    asked: HashMap<u64, Asked>,
    /// The same by the tag of their answers: they are sent again meanwhile.
    tags: HashMap<Vec<u8>, u64>,
    last: u64,
}

/// A request that waits for a verdict.
struct Asked {
    flow: Flow,
    message: OwnedMessage,
    trunk: usize,
    tag: Vec<u8>,
    until: u64,
}

/// What becomes of a request that is to show credentials.
enum Shown<'a> {
    /// It is let in, from this user.
    User(&'a [u8]),
    /// Its sender is asked for credentials; `true` where only the nonce was wrong.
    Challenged(bool),
    /// Its credentials are wrong.
    Wrong,
    /// Somebody else is asked first.
    Ask(Box<DigestQuestion>),
}

impl Admission {
    /// All workers of a process ask with the same secret, and count together: a telephone shows what it was asked for by
    /// one in its next call, which may be another's, and what was overheard is worth nothing at any.
    pub(super) fn new(policy: &Policy, entropy: &mut Entropy) -> Admission {
        let challengers = Admission::challengers(policy, entropy);
        Admission { challengers, asked: HashMap::new(), tags: HashMap::new(), last: 0 }
    }

    /// The trunks of requests that wait for a verdict.
    pub(super) fn trunks(&self) -> impl Iterator<Item = usize> {
        self.asked.values().map(|asked| asked.trunk)
    }

    /// What is needed to ask for credentials, by trunk; `random` gives secrets where nobody has asked yet.
    pub(super) fn challengers(policy: &Policy, mut random: impl FnMut() -> u64) -> Vec<Option<Challenger>> {
        let mut challenger = |authentication: &Authentication| {
            let mut secret = [0; 32];
            for part in secret.chunks_exact_mut(8) {
                part.copy_from_slice(&random().to_be_bytes());
            }
            let settings = Settings { algorithms: authentication.algorithms.clone(), ..Settings::default() };
            let make = || Challenger::new(authentication.realm.as_bytes(), &secret, settings);
            authentication.challenges.challenger(make)
        };
        let asking = policy.trunks.iter().map(|trunk| trunk.authentication.as_ref());
        asking.map(|authentication| authentication.map(&mut challenger)).collect()
    }
}

impl Worker {
    /// Lets a request in, or asks for credentials, or for a verdict on them, or refuses it: `None` then.
    ///
    /// ACK and CANCEL cannot be sent again with credentials; who is in a dialog has shown them.
    pub(super) fn let_in<'a>(&mut self, arrival: Arrival<'a>, trunk: usize) -> Option<Arrival<'a>> {
        let Arrival { now, flow, message, .. } = arrival;
        let method = message.method()?;
        if self.policy.trunks[trunk].authentication.is_none() || matches!(method, Method::Ack | Method::Cancel) {
            return Some(arrival);
        }
        // A repetition of what is being worked on was let in before.
        let Some(tag) = self.layer.tag_of_new(flow, message) else { return Some(arrival) };
        if self.dialog_of(arrival).is_some() || self.subscription_of(arrival).is_some() {
            return Some(arrival);
        }
        if self.admission.tags.contains_key(&tag) {
            return None;
        }
        match self.shown_credentials(arrival, trunk) {
            Shown::User(user) => self.welcome(arrival, trunk, user, &tag),
            Shown::Challenged(stale) => {
                self.challenge(arrival, trunk, stale, &tag);
                None
            }
            Shown::Wrong => {
                self.counters.wrong_credentials += 1;
                self.answer_stateless(arrival, 403, "Forbidden", &tag, &[]);
                None
            }
            Shown::Ask(question) => {
                if self.admission.asked.len() >= MAX_ASKED {
                    let retry = [("Retry-After", RETRY_AFTER.as_bytes().to_vec())];
                    self.answer_stateless(arrival, 503, "Service Unavailable", &tag, &retry);
                    return None;
                }
                self.admission.last += 1;
                let (request, until) = (self.admission.last, now + VERDICT_NS);
                let asked = Asked { flow, message: message.to_owned(), trunk, tag: tag.clone(), until };
                self.admission.asked.insert(request, asked);
                self.admission.tags.insert(tag, request);
                self.timers.set(until, Due::Verdict(request));
                self.outputs.push_back(Output::Verify { request, question: *question });
                None
            }
        }
    }

    /// What credentials a request shows, and what they are worth as far as can be said here.
    fn shown_credentials<'a>(&mut self, arrival: Arrival<'a>, trunk: usize) -> Shown<'a> {
        let Arrival { now, flow, message, .. } = arrival;
        let Some(authentication) = &self.policy.trunks[trunk].authentication else { return Shown::Wrong };
        let Some(challenger) = self.admission.challengers.get(trunk).and_then(Option::as_ref) else {
            return Shown::Wrong;
        };
        let (method, uri) = (message.method().map(|method| method.as_bytes()), message.request_uri());
        let listener = self.policy.listeners.get(flow.listener);
        let uri = answered(message, &authentication.realm, uri.unwrap_or_default(), listener);
        let (method, uri) = (method.unwrap_or_default(), &uri[..]);
        let source = flow.remote.ip();
        if authentication.ask
            && let Ok(checked) = challenger.check(now, source, uri, message.all(credentials(message)))
            && authentication.users.find(name(&checked.response.user)).is_none()
        {
            return Shown::Ask(Box::new(question(&checked, method)));
        }
        let secret = |checked: &Checked<'a>| {
            let user = authentication.users.find(name(&checked.response.user)).filter(|user| user.enabled)?;
            user.password.secret(checked.hash)
        };
        match challenger.verify(now, source, (method, uri), message.all(credentials(message)), secret) {
            Worth::Accepted { user } => match user {
                Cow::Borrowed(user) => Shown::User(name(user)),
                // Nobody has a name with quotes in it.
                Cow::Owned(_) => Shown::Wrong,
            },
            Worth::Missing => Shown::Challenged(false),
            Worth::Stale => Shown::Challenged(true),
            Worth::Wrong(_) => Shown::Wrong,
        }
    }

    /// A verdict on credentials has come.
    pub(super) fn verdict(&mut self, now: u64, request: u64, verdict: Verdict) {
        let Some(asked) = self.admission.asked.remove(&request) else { return };
        self.admission.tags.remove(&asked.tag);
        self.timers.cancel(asked.until, Due::Verdict(request));
        let message = asked.message.view();
        let arrival = Arrival { now, flow: asked.flow, message, user: None };
        match verdict {
            Verdict::Accepted => {
                let uri = message.request_uri().unwrap_or_default();
                let realm = self.policy.trunks[asked.trunk].realm().unwrap_or_default();
                let uri = answered(message, realm, uri, self.policy.listeners.get(asked.flow.listener));
                let Some(challenger) = self.admission.challengers.get(asked.trunk).and_then(Option::as_ref) else {
                    return;
                };
                let checked = challenger.check(now, asked.flow.remote.ip(), &uri, message.all(credentials(message)));
                let accepted = checked.map(|checked| challenger.accept(now, checked));
                match accepted {
                    Ok(Worth::Accepted { user: Cow::Borrowed(user) }) => {
                        if let Some(arrival) = self.welcome(arrival, asked.trunk, name(user), &asked.tag) {
                            self.receive(arrival, asked.trunk);
                        }
                    }
                    _ => self.challenge(arrival, asked.trunk, true, &asked.tag),
                }
            }
            Verdict::Rejected => {
                self.counters.wrong_credentials += 1;
                self.answer_stateless(arrival, 403, "Forbidden", &asked.tag, &[]);
            }
            Verdict::Unavailable => {
                let retry = [("Retry-After", RETRY_AFTER.as_bytes().to_vec())];
                self.answer_stateless(arrival, 503, "Service Unavailable - No Verdict", &asked.tag, &retry);
            }
        }
    }

    /// The request of a user whose credentials are right; refused where it claims to be from somebody else.
    fn welcome<'a>(&mut self, arrival: Arrival<'a>, trunk: usize, user: &'a [u8], tag: &[u8]) -> Option<Arrival<'a>> {
        let outside = arrival.message.to().is_ok_and(|to| to.tag().is_none());
        if outside && arrival.message.method() != Some(Method::Register) && !self.may_claim(arrival, trunk, user) {
            self.answer_stateless(arrival, 403, "Forbidden - Not Your Number", tag, &[]);
            return None;
        }
        Some(Arrival { user: Some(user), ..arrival })
    }

    /// Whether a user may call from what From says: its name, one of its numbers, or nobody (RFC 3323 4.1.1.3).
    fn may_claim(&self, arrival: Arrival<'_>, trunk: usize, user: &[u8]) -> bool {
        let Ok(from) = arrival.message.from() else { return false };
        let Ok(uri) = Uri::parse(from.uri) else { return false };
        let claimed = unescape(uri.user.unwrap_or_default());
        let anonymous = uri.host.eq_ignore_ascii_case(b"anonymous.invalid");
        let authentication = self.policy.trunks[trunk].authentication.as_ref();
        let known = authentication.and_then(|authentication| authentication.users.find(user));
        anonymous || claimed == user || known.is_some_and(|known| known.may_call_from(&claimed))
    }

    fn challenge(&mut self, arrival: Arrival<'_>, trunk: usize, stale: bool, tag: &[u8]) {
        let Some(challenger) = self.admission.challengers.get(trunk).and_then(Option::as_ref) else { return };
        let values = challenger.challenge(arrival.now, arrival.flow.remote.ip(), stale);
        let (status, name) = match arrival.message.method() {
            Some(Method::Register) => (401, Name::WwwAuthenticate.text()),
            _ => (407, Name::ProxyAuthenticate.text()),
        };
        self.counters.challenges += 1;
        let headers: Vec<(&str, Vec<u8>)> = values.into_iter().map(|value| (name, value)).collect();
        self.answer_stateless(arrival, status, reason_phrase(status), tag, &headers);
    }

    /// Answers a request for which nothing is kept. Its repetitions get the same tag.
    pub(super) fn answer_stateless(
        &mut self,
        arrival: Arrival<'_>,
        status: u16,
        reason: &str,
        tag: &[u8],
        headers: &[(&str, Vec<u8>)],
    ) {
        let mut answer = respond(arrival.message, arrival.flow.remote, status, reason.as_bytes(), Some(tag));
        for (name, value) in headers {
            answer = answer.header(name, value);
        }
        self.transmit_stateless(arrival, answer.finish(b""));
    }
}

/// The URI that the credentials of a request must be for: the Request-URI. Some clients, SIPp among them, answer for the
/// host alone that they speak to, whomever they call; that is taken for what they meant.
fn answered<'a>(request: Message<'a>, realm: &str, uri: &'a [u8], listener: Option<&Listener>) -> Cow<'a, [u8]> {
    let answers = request.all(credentials(request)).flat_map(Response::all);
    let mut own = answers.filter(|answer| *answer.realm == *realm.as_bytes()).map(|answer| answer.uri);
    let Some(named) = own.next() else { return Cow::Borrowed(uri) };
    let hosts = |named: &Uri<'_>| {
        let ours = |at: SocketAddr| listener.is_some_and(|listener| at == listener.bind || at == listener.advertised);
        let same = Uri::parse(uri).is_ok_and(|uri| uri.host.eq_ignore_ascii_case(named.host));
        named.user.is_none() && (same || named.socket_addr(5060).is_some_and(ours))
    };
    if Uri::parse(&named).is_ok_and(|named| hosts(&named)) { named } else { Cow::Borrowed(uri) }
}

/// Where credentials stand that a request's challenge asked for.
fn credentials(request: Message<'_>) -> Name {
    match request.method() {
        Some(Method::Register) => Name::Authorization,
        _ => Name::ProxyAuthorization,
    }
}

/// A user's name without the domain that some telephones add.
fn name(user: &[u8]) -> &[u8] {
    user.split(|byte| *byte == b'@').next().unwrap_or(user)
}

fn question(checked: &Checked<'_>, method: &[u8]) -> DigestQuestion {
    let response = &checked.response;
    let owned = |value: Option<&[u8]>| value.map(<[u8]>::to_vec);
    DigestQuestion {
        user: response.user.to_vec(),
        realm: response.realm.to_vec(),
        nonce: response.nonce.to_vec(),
        method: method.to_vec(),
        uri: response.uri.to_vec(),
        response: response.response.to_vec(),
        algorithm: Some(response.algorithm.map_or("MD5", |algorithm| algorithm.name()).into()),
        qop: owned(response.qop),
        nonce_count: owned(response.count),
        cnonce: owned(response.cnonce),
        opaque: owned(response.opaque),
    }
}
