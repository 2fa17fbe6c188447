//! Header rules: what is added to the messages of a trunk, left out of them, or said otherwise in them.

use std::borrow::Cow;

use moorline_sip::{HeaderLine, Index, Message, Name};

use super::{Pattern, Template};

/// The header rules of a trunk, each in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderRules {
    /// Of messages from the trunk, before anything else is made of them.
    pub received: Vec<HeaderRule>,
    /// Of messages to the trunk, when everything else is made.
    pub sent: Vec<HeaderRule>,
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    /// The header field, one that [`is_protected`] allows.
    pub name: String,
    /// The methods of the requests that it is for, and of their responses; all where there is none.
    pub methods: Vec<String>,
    /// Whether it is for requests.
    pub requests: bool,
    /// Whether it is for responses.
    pub responses: bool,
    /// What is done.
    pub change: HeaderChange,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// Another field of the name is added behind all others.
    Add(String),
    /// The fields of the name are left out, or only those whose value the pattern matches.
    Remove(Option<Pattern>),
    /// In each field of the name, the first match of the pattern becomes the template.
    Replace(Pattern, Template),
}

/// True for header fields that no rule may touch: by those a message finds its transaction, its dialog, its way and its
/// body's end, or the two sides agree on what follows; what is changed in them by one side alone ends the call.
pub fn is_protected(name: &str) -> bool {
    use Name::*;
    matches!(
        Name::new(name.as_bytes()),
        Via | From
            | To
            | CallId
            | CSeq
            | Contact
            | Route
            | RecordRoute
            | MaxForwards
            | ContentLength
            | ContentType
            | ContentEncoding
            | MimeVersion
            | Require
            | ProxyRequire
            | Supported
            | Unsupported
            | RSeq
            | RAck
            | SessionExpires
            | MinSe
            | Event
            | SubscriptionState
            | ReferTo
            | Replaces
            | Expires
            | MinExpires
            | Authorization
            | ProxyAuthorization
            | WwwAuthenticate
            | ProxyAuthenticate
            | AuthenticationInfo
            | Path
            | ServiceRoute
    ) || ["Join", "SIP-ETag", "SIP-If-Match", "Security-Client", "Security-Server", "Security-Verify"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// A message as rules leave it; `None` where they leave it as it is.
pub(crate) fn changed(rules: &[HeaderRule], message: Message<'_>) -> Option<Vec<u8>> {
    let rules: Vec<&HeaderRule> = rules.iter().filter(|rule| rule.is_for(message)).collect();
    if rules.is_empty() {
        return None;
    }
    let mut lines: Vec<Line<'_>> = message.lines().map(Line::As).collect();
    for rule in rules {
        rule.change(&mut lines);
    }
    let same = lines.len() == message.lines().count() && lines.iter().all(|line| matches!(line, Line::As(_)));
    if same {
        return None;
    }
    let bytes = message.bytes();
    let start = bytes.iter().position(|byte| *byte == b'\n')? + 1;
    let mut out = Vec::with_capacity(bytes.len() + 256);
    out.extend_from_slice(&bytes[..start]);
    for line in &lines {
        match line {
            Line::As(line) => out.extend_from_slice(line.raw),
            Line::Made(name, value) => out.extend([name.as_bytes(), b": ", value, b"\r\n"].concat()),
        }
    }
    let head: usize = message.lines().map(|line| line.raw.len()).sum();
    out.extend_from_slice(bytes.get(start + head..)?);
    // There may be no room for one more.
    let mut index = Index::new();
    let read = index.parse(&out).ok()?;
    (read.lines().count() == lines.len()).then_some(out)
}

/// A header field while rules are applied.
enum Line<'a> {
    /// As it came.
    As(HeaderLine<'a>),
    /// With another value, or new.
    Made(Cow<'a, str>, Vec<u8>),
}

impl Line<'_> {
    fn is(&self, name: &str) -> bool {
        let written = match self {
            Line::As(line) => line.name_text,
            Line::Made(written, _) => written.as_bytes(),
        };
        let known = Name::new(name.as_bytes());
        written.eq_ignore_ascii_case(name.as_bytes()) || (known != Name::Other && Name::new(written) == known)
    }

    /// Its value on one line.
    fn value(&self) -> Vec<u8> {
        match self {
            Line::As(line) => unfolded(line.value),
            Line::Made(_, value) => value.clone(),
        }
    }
}

impl HeaderRule {
    fn is_for(&self, message: Message<'_>) -> bool {
        let kind = if message.is_request() { self.requests } else { self.responses };
        let method = || match message.method() {
            Some(method) => Some(method.as_bytes()),
            None => message.cseq().ok().map(|cseq| cseq.method.as_bytes()),
        };
        let named = |method: &[u8]| self.methods.iter().any(|known| known.as_bytes() == method);
        kind && (self.methods.is_empty() || method().is_some_and(named))
    }

    fn change(&self, lines: &mut Vec<Line<'_>>) {
        match &self.change {
            HeaderChange::Add(value) => {
                lines.push(Line::Made(Cow::Owned(self.name.clone()), value.as_bytes().to_vec()));
            }
            HeaderChange::Remove(pattern) => lines.retain(|line| {
                let meant = |pattern: &Pattern| pattern.is_in(&line.value());
                !(line.is(&self.name) && pattern.as_ref().is_none_or(meant))
            }),
            HeaderChange::Replace(pattern, with) => {
                for line in lines.iter_mut().filter(|line| line.is(&self.name)) {
                    if let Some(value) = pattern.replaced(&line.value(), with) {
                        *line = Line::Made(Cow::Owned(self.name.clone()), value);
                    }
                }
            }
        }
    }
}

/// A value without its folds (RFC 3261 7.3.1).
fn unfolded(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut folded = false;
    for byte in value {
        if matches!(byte, b'\r' | b'\n') {
            folded = true;
        } else if !(folded && matches!(byte, b' ' | b'\t')) {
            if std::mem::take(&mut folded) {
                out.push(b' ');
            }
            out.push(*byte);
        }
    }
    out
}

#[cfg(test)]
mod tests;
