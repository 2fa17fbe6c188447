//! Typed views of the header fields that Moorline acts on.

mod contact;
mod event;
mod list;
mod privacy;
mod reliable;
mod replaces;
mod session_timer;

use std::borrow::Cow;

use crate::lexical::{
    absolute_uri_len, host_port, is_lws, is_token, is_token_byte, number, plain_value_len, quoted_len, split_at,
    token_len, trim, trim_end, trim_start,
};
use crate::{Fault, Method, Name, Transport};

pub use contact::Contact;
pub use event::{Event, SubscriptionState};
pub use privacy::Privacy;
pub use reliable::RAck;
pub use replaces::Replaces;
pub use session_timer::{Refresher, SessionExpires};

/// One Via: where the answer goes (RFC 3261 section 20.42).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS` or another.
    pub transport: &'a [u8],
    /// The host of sent-by; an IPv6 reference keeps its brackets.
    pub host: &'a [u8],
    /// The port of sent-by.
    pub port: Option<u16>,
    /// The transaction's identifier.
    pub branch: Option<&'a [u8]>,
    /// Where the request came from, if the next hop found it to be somewhere else.
    pub received: Option<&'a [u8]>,
    /// Whether the answer should go to the port that the request came from.
    pub rport: Rport,
    /// All parameters, raw, from the first `;`.
    pub params: &'a [u8],
}

/// The `rport` parameter (RFC 3581).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rport {
    /// Not there.
    Absent,
    /// There without a value: asked for.
    Empty,
    /// Filled in.
    Port(u16),
}

impl<'a> Via<'a> {
    /// Reads one Via value.
    pub fn parse(value: &'a [u8]) -> Result<Via<'a>, Fault> {
        Via::read(value).ok_or(Fault::Malformed(Name::Via))
    }

    /// Writes a Via value that asks for `rport`.
    pub fn value(transport: Transport, sent_by: &str, branch: &str) -> String {
        ["SIP/2.0/", transport.name(), " ", sent_by, ";branch=", branch, ";rport"].concat()
    }

    /// The transport, if Moorline speaks it.
    pub fn known_transport(&self) -> Option<Transport> {
        Transport::parse(self.transport)
    }

    fn read(value: &'a [u8]) -> Option<Via<'a>> {
        let (transport, rest) = token(sent_protocol(trim(value))?)?;
        if !is_lws(*rest.first()?) {
            return None;
        }
        let (sent_by, params) = rest.split_at(memchr::memchr(b';', rest).unwrap_or(rest.len()));
        let (host, port) = host_port(trim(sent_by))?;
        let mut via = Via { transport, host, port, branch: None, received: None, rport: Rport::Absent, params };
        for Param { name, value, plain } in Params::new(params).raw() {
            match name {
                _ if !(plain || is_well_formed(name, value)) => return None,
                _ if name.eq_ignore_ascii_case(b"branch") => via.branch = via.branch.or(value),
                _ if name.eq_ignore_ascii_case(b"received") => via.received = via.received.or(value),
                _ if name.eq_ignore_ascii_case(b"rport") => {
                    via.rport = match value {
                        None | Some(b"") => Rport::Empty,
                        Some(port) => Rport::Port(u16::try_from(number(port)?).ok()?),
                    }
                }
                _ => {}
            }
        }
        Some(via)
    }
}

/// What follows `SIP/2.0/`, in which white space may stand around the slashes.
fn sent_protocol(via: &[u8]) -> Option<&[u8]> {
    if let Some(rest) = via.strip_prefix(b"SIP/2.0/") {
        return Some(trim_start(rest));
    }
    let (protocol, rest) = token(via)?;
    let (version, rest) = token(slash(rest)?)?;
    let known = protocol.eq_ignore_ascii_case(b"SIP") && version == b"2.0";
    if known { slash(rest) } else { None }
}

/// A token, and what follows it.
fn token(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = token_len(bytes);
    (length > 0).then(|| bytes.split_at(length))
}

/// What follows a slash and the white space around it.
fn slash(bytes: &[u8]) -> Option<&[u8]> {
    trim_start(bytes).strip_prefix(b"/").map(trim_start)
}

/// A name-addr or addr-spec with its parameters, as in From, To, Contact and Route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    /// The display name, raw: quotes included, may be empty. To write it, see
    /// [`display_name`](NameAddr::display_name).
    pub display: &'a [u8],
    /// The URI.
    pub uri: &'a [u8],
    /// The header parameters, raw, from the first `;` after the URI.
    pub params: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value. A URI that stands without angle brackets ends at its first `;`, and may hold neither
    /// `?` nor `,` (RFC 3261 section 20). A display name without quotes may hold any character but quotes, angle
    /// brackets and control characters.
    pub fn parse(value: &'a [u8]) -> Result<NameAddr<'a>, Fault> {
        NameAddr::read(trim(value)).ok_or(Fault::Uri)
    }

    /// The display name as it may be written: one that needed quotes and came without gets them (RFC 4475
    /// section 3.1.2.15). Characters beyond ASCII need them too, but are common without, and stay as they are.
    pub fn display_name(&self) -> Cow<'a, [u8]> {
        let plain = |byte: &u8| is_token_byte(*byte) || is_lws(*byte) || !byte.is_ascii();
        if self.display.first() == Some(&b'"') || self.display.iter().all(plain) {
            return Cow::Borrowed(self.display);
        }
        let mut quoted = Vec::with_capacity(self.display.len() + 2);
        quoted.push(b'"');
        for &byte in self.display {
            if matches!(byte, b'"' | b'\\') {
                quoted.push(b'\\');
            }
            quoted.push(byte);
        }
        quoted.push(b'"');
        Cow::Owned(quoted)
    }

    /// The `tag` parameter.
    pub fn tag(&self) -> Option<&'a [u8]> {
        self.param(b"tag").flatten()
    }

    /// A parameter by its name, in any case: `Some(None)` if it has no value.
    pub fn param(&self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        Params::new(self.params).find(name)
    }

    fn read(value: &'a [u8]) -> Option<NameAddr<'a>> {
        let display_len = if value.first() == Some(&b'"') {
            let length = quoted_len(value)?;
            length + value[length..].iter().take_while(|&&byte| is_lws(byte)).count()
        } else {
            unquoted_display_len(value)
        };
        let (display, rest) = value.split_at(display_len);
        let Some(bracketed) = rest.strip_prefix(b"<") else {
            let uri = trim_end(display);
            let bare = is_absolute_uri(uri) && memchr::memchr3(b'?', b',', b';', uri).is_none();
            return bare.then_some(NameAddr { display: b"", uri, params: rest });
        };
        let display = trim(display);
        if display.first() != Some(&b'"') && !is_display_text(display) {
            return None;
        }
        let (uri, params) = bracketed.split_at(absolute_uri_len(bracketed)?);
        let params = trim(params.strip_prefix(b">")?);
        matches!(params, [] | [b';', ..]).then_some(NameAddr { display, uri, params })
    }
}

/// How much of a value that does not start with a quote comes before the URI's bracket or, if it has none, before the
/// parameters: a semicolon ends a URI, but in a display name it is a character like others.
fn unquoted_display_len(value: &[u8]) -> usize {
    let end = value.iter().position(|byte| matches!(byte, b'<' | b';')).unwrap_or(value.len());
    if value.get(end) == Some(&b';') && !is_absolute_uri(trim_end(&value[..end])) {
        return memchr::memchr(b'<', value).unwrap_or(value.len());
    }
    end
}

/// Whether this may stand as a display name without quotes. A URI and a comma before the bracket would be a list,
/// of which another reader may take the first.
fn is_display_text(display: &[u8]) -> bool {
    let text = |byte: &u8| is_lws(*byte) || !(byte.is_ascii_control() || matches!(byte, b'"' | b'>'));
    let comma = display.iter().position(|byte| *byte == b',');
    display.iter().all(text) && !comma.is_some_and(|at| is_absolute_uri(trim_end(&display[..at])))
}

/// Whether all of it is a URI.
pub(crate) fn is_absolute_uri(uri: &[u8]) -> bool {
    absolute_uri_len(uri) == Some(uri.len())
}

/// CSeq: the order of requests within a dialog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq<'a> {
    /// Below 2^31 (RFC 3261 section 8.1.1.5).
    pub number: u32,
    /// The method of the request.
    pub method: Method<'a>,
}

impl<'a> CSeq<'a> {
    /// Reads a CSeq value.
    pub fn parse(value: &'a [u8]) -> Result<CSeq<'a>, Fault> {
        CSeq::read(trim(value)).ok_or(Fault::Malformed(Name::CSeq))
    }

    fn read(value: &'a [u8]) -> Option<CSeq<'a>> {
        let (digits, rest) = value.split_at(value.iter().position(|&byte| is_lws(byte))?);
        let number = u32::try_from(number(digits)?).ok().filter(|number| *number < 1 << 31)?;
        let method = trim_start(rest);
        is_token(method).then(|| CSeq { number, method: Method::new(method) })
    }
}

/// Parameters, each with its value if it has one. Empty ones come as empty names.
#[derive(Clone, Debug)]
pub struct Params<'a> {
    rest: Option<&'a [u8]>,
}

impl<'a> Params<'a> {
    /// Of raw parameters that start with a `;`, or of nothing.
    pub fn new(raw: &'a [u8]) -> Params<'a> {
        Params { rest: trim_start(raw).strip_prefix(b";") }
    }

    /// The first parameter of that name, in any case: `Some(None)` if it has no value.
    pub fn find(mut self, name: &[u8]) -> Option<Option<&'a [u8]>> {
        self.find_map(|(found, value)| found.eq_ignore_ascii_case(name).then_some(value))
    }

    /// Whether all are well formed.
    pub(crate) fn are_well_formed(self) -> bool {
        self.raw().all(|param| param.plain || is_well_formed(param.name, param.value))
    }

    fn raw(mut self) -> impl Iterator<Item = Param<'a>> {
        std::iter::from_fn(move || self.take_next())
    }

    fn take_next(&mut self) -> Option<Param<'a>> {
        let rest = self.rest?;
        if let Some((param, after)) = plain_param(rest) {
            self.rest = after;
            return Some(param);
        }
        let (param, after) = split_at(rest, b';');
        self.rest = after;
        let (name, value) = match memchr::memchr(b'=', param) {
            Some(equals) => (&param[..equals], Some(trim(&param[equals + 1..]))),
            None => (param, None),
        };
        Some(Param { name: trim(name), value, plain: false })
    }
}

/// A parameter as it was found.
struct Param<'a> {
    name: &'a [u8],
    value: Option<&'a [u8]>,
    /// It is known to be well formed.
    plain: bool,
}

/// The parameter at the start, and what follows its semicolon, if it is of the usual form: a token, alone or with a
/// value right behind its equals sign, in which nothing is quoted.
fn plain_param(bytes: &[u8]) -> Option<(Param<'_>, Option<&[u8]>)> {
    let (name, rest) = bytes.split_at(token_len(bytes));
    let (value, rest) = match rest {
        [b'=', rest @ ..] => {
            let (value, rest) = rest.split_at(plain_value_len(rest));
            (Some(value), rest)
        }
        _ => (None, rest),
    };
    let after = match rest {
        _ if name.is_empty() => return None,
        [] => None,
        [b';', after @ ..] => Some(after),
        _ => return None,
    };
    Some((Param { name, value, plain: true }, after))
}

/// Whether a parameter has a name, and its value is one quoted string, or holds no white space, and no quote or bracket
/// that could hide the parameters after it. What else a value may hold is not asked: it is passed on as it came.
fn is_well_formed(name: &[u8], value: Option<&[u8]>) -> bool {
    is_token(name)
        && match value {
            Some([b'"', ..]) => value.is_some_and(|value| quoted_len(value) == Some(value.len())),
            Some(value) => !value.iter().fold(false, |found, &byte| found | is_lws(byte) | matches!(byte, b'"' | b'<')),
            None => true,
        }
}

impl<'a> Iterator for Params<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.take_next().map(|param| (param.name, param.value))
    }
}

#[cfg(test)]
mod tests;
