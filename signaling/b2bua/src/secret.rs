//! How the secret prefixes of trunks are kept out of everything but the wire.
//!
//! What comes from a trunk is rewritten before anything else sees it ([`concealed`]), and what goes to one as the last
//! thing ([`revealed`]): in between stands a mark, which says nothing, wherever the trunk must get back what it has sent
//! (in To and From of its dialogs, in the URIs that it has named as its own), or is to get what it wants to see (in
//! front of the called number). So whatever is made of a message in between - transactions and their repetitions,
//! dialogs, snapshots, records, logs, what other parties are sent - has never held the secret.

use std::borrow::Cow;

use moorline_sip::transaction::Flow;
use moorline_sip::{HeaderLine, Index, Message, Method, Name, NameAddr, StartLine, Uri};

use crate::forward::hash;
use crate::policy::{Policy, SecretPrefix, SecretPrefixes, Trunk, WithoutPrefix};

/// A mark: of a trunk, by its name, so that a restored call's mark is the same. The characters may stand in the user part
/// of a URI (RFC 3261 25.1, mark), and nobody writes them like this.
pub(crate) fn mark(trunk: &Trunk) -> String {
    format!("(~{:08x}~)", hash(trunk.name.as_bytes()))
}

const MARK: usize = 12;

/// What a message from a trunk is to all who come after.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Concealed {
    /// As it came: there is nothing in it to hide.
    AsItCame,
    /// This.
    Rewritten(Vec<u8>),
    /// A request that does not show the prefix that it must.
    Lacking(WithoutPrefix),
}

/// Takes the secrets of `trunk` out of a message that came from it, and the marks out of one that came from anywhere:
/// these are ours alone.
pub(crate) fn concealed(message: Message<'_>, trunk: Option<&Trunk>) -> Concealed {
    let secrets = trunk.map(|trunk| &trunk.secret_prefix);
    if let Some(secrets) = secrets
        && let Some(secret) = &secrets.received
        && must_show(message)
        && !message.request_uri().is_some_and(|uri| shows(uri, secret))
    {
        return Concealed::Lacking(secrets.without.clone());
    }
    stripped(message, trunk).map_or(Concealed::AsItCame, Concealed::Rewritten)
}

/// The same of a message that may lack the prefix where it must show it, and hold it elsewhere. `None` if there is nothing
/// in it to hide.
pub(crate) fn stripped(message: Message<'_>, trunk: Option<&Trunk>) -> Option<Vec<u8>> {
    let secrets = trunk.map(|trunk| (&trunk.secret_prefix, mark(trunk)));
    let received = secrets.as_ref().and_then(|(secrets, _)| secrets.received.as_ref());
    let sent = secrets.as_ref().and_then(|(secrets, mark)| Some((secrets.sent.as_ref()?, mark.as_bytes())));
    if sent.is_none() && received.is_none() {
        let head = message.bytes().len() - message.body().len();
        return match without_marks(&message.bytes()[..head]) {
            Cow::Borrowed(_) => None,
            Cow::Owned(head) => Some([&head[..], message.body()].concat()),
        };
    }
    let inside = !message.is_request() || message.to().is_ok_and(|to| to.tag().is_some());
    let mut scene = Scene { received: received.filter(|_| message.is_request()), sent, inside, numbers: Vec::new() };
    scene.note_numbers(message);
    let rewritten = scene.rewrite(message);
    (rewritten != message.bytes()).then_some(rewritten)
}

impl Policy {
    /// A message as it came, without the secrets of the trunk that it came from: what is made of it shows none.
    pub fn without_secrets<'a>(&self, flow: Flow, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let trunk = self.ingress(flow).and_then(|trunk| self.trunks.get(trunk));
        let Some(trunk) = trunk.filter(|trunk| trunk.secret_prefix != SecretPrefixes::default()) else {
            return Cow::Borrowed(bytes);
        };
        let mut index = Index::new();
        let stripped = index.parse(bytes).ok().and_then(|message| stripped(message, Some(trunk)));
        stripped.map_or(Cow::Borrowed(bytes), Cow::Owned)
    }
}

/// True for requests that call somebody, outside dialogs.
fn must_show(request: Message<'_>) -> bool {
    let outside = !request.to().is_ok_and(|to| to.tag().is_some());
    let calls = match request.method() {
        Some(Method::Register | Method::Ack | Method::Cancel) | None => false,
        // To this host itself it is a ping.
        Some(Method::Options) => request.request_uri().is_some_and(|uri| user(uri).is_some()),
        Some(_) => true,
    };
    outside && calls
}

/// What is known while a message is rewritten.
struct Scene<'a> {
    /// What stands in front of called numbers in requests from the trunk.
    received: Option<&'a SecretPrefix>,
    /// What we put in front of them, and its mark.
    sent: Option<(&'a SecretPrefix, &'a [u8])>,
    /// The message answers one of ours, or is in a dialog.
    inside: bool,
    /// Called numbers as they stand in it: with the secret, without, and whether the secret is the one that we send.
    numbers: Vec<(Vec<u8>, Vec<u8>, bool)>,
}

impl Scene<'_> {
    /// Notes the numbers that stand behind a secret where it is certain: they may be repeated anywhere.
    fn note_numbers(&mut self, message: Message<'_>) {
        let to = message.header(Name::To).and_then(|value| NameAddr::parse(value).ok()).map(|to| to.uri);
        let from = message.header(Name::From).and_then(|value| NameAddr::parse(value).ok()).map(|from| from.uri);
        let from = from.filter(|_| self.inside && message.is_request());
        let mut numbers = Vec::new();
        for uri in [message.request_uri(), to].into_iter().flatten() {
            numbers
                .extend(self.received.and_then(|secret| behind(uri, secret)).map(|(with, bare)| (with, bare, false)));
        }
        let ours = self.sent.filter(|_| self.inside);
        for uri in [to, from].into_iter().flatten() {
            numbers.extend(ours.and_then(|(secret, _)| behind(uri, secret)).map(|(with, bare)| (with, bare, true)));
        }
        self.numbers = numbers;
    }

    fn rewrite(&self, message: Message<'_>) -> Vec<u8> {
        let mut out = Vec::with_capacity(message.bytes().len() + MARK);
        match message.start() {
            StartLine::Request { method, uri } => {
                out.extend_from_slice(method.as_bytes());
                out.push(b' ');
                out.extend_from_slice(&self.called(uri));
                out.extend_from_slice(b" SIP/2.0\r\n");
            }
            StartLine::Response { status, reason } => {
                out.extend_from_slice(format!("SIP/2.0 {status} ").as_bytes());
                out.extend_from_slice(&self.spoken(reason));
                out.extend_from_slice(b"\r\n");
            }
        }
        let body = self.without_numbers(message.body(), false);
        for line in message.lines() {
            if line.name == Name::ContentLength {
                out.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
            } else {
                out.extend_from_slice(&self.line(&line));
            }
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&body);
        out
    }

    /// A header line without secrets.
    fn line(&self, line: &HeaderLine<'_>) -> Vec<u8> {
        let raw = without_marks(line.raw);
        let ours = self.sent.filter(|_| self.inside);
        let rewritten: Vec<u8> = match line.name {
            // The trunk gets these back as they are: its dialogs are made of them.
            Name::To | Name::From | Name::Contact | Name::RecordRoute => {
                let raw = match self.received.filter(|_| line.name == Name::To) {
                    Some(secret) => in_uris(&raw, secret, b""),
                    None => raw,
                };
                let raw = match ours {
                    Some((secret, mark)) => in_uris(&raw, secret, mark).into_owned(),
                    None => raw.into_owned(),
                };
                self.without_numbers(&raw, true)
            }
            // Nothing in them is a number of anybody, or may be changed.
            Name::Via
            | Name::Route
            | Name::CallId
            | Name::CSeq
            | Name::MaxForwards
            | Name::ContentType
            | Name::Supported
            | Name::Require
            | Name::Allow
            | Name::SessionExpires
            | Name::MinSe
            | Name::RSeq
            | Name::RAck
            | Name::Expires
            | Name::WwwAuthenticate
            | Name::ProxyAuthenticate => raw.into_owned(),
            // They say who calls, whose number may begin with the same digits.
            Name::PAssertedIdentity | Name::PPreferredIdentity | Name::RemotePartyId | Name::ReferredBy => {
                self.without_numbers(&raw, false)
            }
            Name::Warning | Name::Reason => self.spoken(&raw),
            _ => {
                let raw = match self.received {
                    Some(secret) => in_uris(&raw, secret, b""),
                    None => raw,
                };
                let raw = match ours {
                    Some((secret, _)) => in_uris(&raw, secret, b"").into_owned(),
                    None => raw.into_owned(),
                };
                self.without_numbers(&raw, false)
            }
        };
        rewritten
    }

    /// The Request-URI without the prefix.
    fn called(&self, uri: &[u8]) -> Vec<u8> {
        let uri = without_marks(uri);
        let found = self.received.and_then(|secret| {
            let user = user(&uri)?;
            Some((offset(&uri, user), secret.length_in(user)?))
        });
        match found {
            Some((at, length)) => [&uri[..at], &uri[at + length..]].concat(),
            None => uri.into_owned(),
        }
    }

    /// A text for people: it may quote the number, or the secret alone.
    fn spoken(&self, text: &[u8]) -> Vec<u8> {
        let mut text = self.without_numbers(&without_marks(text), false);
        let secrets = [self.received, self.sent.map(|(secret, _)| secret)];
        for secret in secrets.into_iter().flatten() {
            text = replaced(&text, secret.bytes(), b"", |before, _| !is_alphanumeric(before));
        }
        text
    }

    /// The same text with the numbers of this message without their prefix, or behind its mark where `kept`.
    fn without_numbers(&self, text: &[u8], kept: bool) -> Vec<u8> {
        let mut text = text.to_vec();
        for (with, bare, ours) in &self.numbers {
            let mark = self.sent.filter(|_| kept && *ours).map_or(&b""[..], |(_, mark)| mark);
            text = replaced(&text, with, &[mark, bare].concat(), |before, after| {
                !is_alphanumeric(before) && !is_alphanumeric(after)
            });
        }
        text
    }
}

/// Writes what goes to `to` as it is sent: with the secret of that trunk in the place of its marks, and without the marks
/// of others. `None` for a message without any. Where it is not known who that is, it is somebody in the dialog of the
/// trunk whose mark it is: nobody else is ever sent one.
pub(crate) fn revealed(bytes: &[u8], to: Option<usize>, trunks: &[Trunk]) -> Option<Vec<u8>> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(bytes.len(), |end| end + 2);
    let mut rest = &bytes[..head];
    let mut at = next_mark(rest)?;
    let mut out = Vec::with_capacity(bytes.len() + 32);
    loop {
        let found = &rest[at..at + MARK];
        out.extend_from_slice(&rest[..at]);
        let is_meant = |trunk: &&Trunk| trunk.secret_prefix.sent.is_some() && mark(trunk).as_bytes() == found;
        let meant = match to {
            Some(to) => trunks.get(to).filter(is_meant),
            // Of two with the same name and mark, one has taken the other's place.
            None => trunks.iter().filter(is_meant).min_by_key(|trunk| trunk.retired),
        };
        if let Some(secret) = meant.and_then(|owner| owner.secret_prefix.sent.as_ref()) {
            out.extend_from_slice(secret.bytes());
        }
        rest = &rest[at + MARK..];
        match next_mark(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    out.extend_from_slice(&bytes[head..]);
    Some(out)
}

/// A text with one part of it, a URI, written otherwise.
pub(crate) fn instead(text: &[u8], named: &[u8], by: &[u8]) -> Vec<u8> {
    replaced(text, named, by, |_, _| true)
}

/// Puts a mark in front of the called number of a URI, or of the address that holds one.
pub(crate) fn marked(text: &[u8], mark: &str) -> Vec<u8> {
    let start = text.iter().position(|byte| *byte == b'<').map_or(0, |bracket| bracket + 1);
    let Some(scheme) = text[start..].iter().position(|byte| *byte == b':') else { return text.to_vec() };
    let at = start + scheme + 1;
    let calls = text[start..start + scheme].eq_ignore_ascii_case(b"tel") || text[at..].contains(&b'@');
    if !calls || text[at..].starts_with(mark.as_bytes()) {
        return text.to_vec();
    }
    [&text[..at], mark.as_bytes(), &text[at..]].concat()
}

/// The same text without marks.
pub(crate) fn without_marks(text: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut at) = next_mark(text) else { return Cow::Borrowed(text) };
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    loop {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + MARK..];
        // Two halves of one may have come together.
        match next_mark(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    if next_mark(&out).is_some() { Cow::Owned(without_marks(&out).into_owned()) } else { Cow::Owned(out) }
}

fn next_mark(text: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = memchr(text.get(from..)?) {
        let at = from + found;
        match text.get(at..at + MARK) {
            Some([b'(', b'~', digits @ .., b'~', b')']) if digits.iter().all(u8::is_ascii_hexdigit) => return Some(at),
            _ => from = at + 1,
        }
    }
    None
}

fn memchr(text: &[u8]) -> Option<usize> {
    text.iter().position(|byte| *byte == b'(')
}

/// The text with `mark` in the place of a secret wherever a URI's user part begins with it.
fn in_uris<'a>(text: &'a [u8], secret: &SecretPrefix, mark: &[u8]) -> Cow<'a, [u8]> {
    let mut out: Vec<u8> = Vec::new();
    let mut copied = 0;
    for (colon, _) in text.iter().enumerate().filter(|(_, byte)| **byte == b':') {
        let (before, user) = (&text[..colon], &text[colon + 1..]);
        let scheme = [&b"sip"[..], b"sips", b"tel"].iter().any(|scheme| {
            let start = before.len().checked_sub(scheme.len());
            let ends = start.is_some_and(|start| before[start..].eq_ignore_ascii_case(scheme));
            let alone = start.and_then(|start| start.checked_sub(1)).and_then(|at| before.get(at));
            ends && alone.is_none_or(|byte| !byte.is_ascii_alphanumeric())
        });
        if let Some(length) = secret.length_in(user).filter(|_| scheme) {
            out.extend_from_slice(&text[copied..=colon]);
            out.extend_from_slice(mark);
            copied = colon + 1 + length;
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[copied..]);
    Cow::Owned(out)
}

/// The user part of a URI that begins with a secret, as it stands there and without it.
fn behind(uri: &[u8], secret: &SecretPrefix) -> Option<(Vec<u8>, Vec<u8>)> {
    let user = user(uri)?;
    let length = secret.length_in(user)?;
    Some((user.to_vec(), user[length..].to_vec()))
}

/// Whether a called number stands behind the secret.
fn shows(uri: &[u8], secret: &SecretPrefix) -> bool {
    user(uri).is_some_and(|user| secret.length_in(user).is_some_and(|length| length < user.len()))
}

fn user(uri: &[u8]) -> Option<&[u8]> {
    Uri::parse(uri).ok()?.user
}

/// Where a part of a text begins in it.
fn offset(text: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - text.as_ptr().addr()
}

fn is_alphanumeric(byte: Option<&u8>) -> bool {
    byte.is_some_and(u8::is_ascii_alphanumeric)
}

/// The text with each `old` replaced that stands between bytes which fit.
fn replaced(text: &[u8], old: &[u8], new: &[u8], fits: impl Fn(Option<&u8>, Option<&u8>) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let here = text[at..].starts_with(old) && !old.is_empty();
        let before = at.checked_sub(1).and_then(|before| text.get(before));
        if here && fits(before, text.get(at + old.len())) {
            out.extend_from_slice(new);
            at += old.len();
        } else {
            out.push(text[at]);
            at += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests;
