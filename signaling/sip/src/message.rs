//! Messages as they came: an index of spans over the bytes, and the view that reads them.

use crate::header::{CSeq, NameAddr, Via};
use crate::lexical::split_at;
use crate::parse::{Entry, Head, MAX_HEADERS, Span, Start};
use crate::{Fault, Method, Name};

/// Storage for the spans of one message, to be used again for the next.
#[derive(Clone, Debug)]
pub struct Index {
    pub(crate) head: Head,
    pub(crate) entries: [Entry; MAX_HEADERS],
    pub(crate) count: usize,
}

impl Index {
    /// An index of nothing.
    pub const fn new() -> Index {
        Index { head: Head::EMPTY, entries: [Entry::EMPTY; MAX_HEADERS], count: 0 }
    }
}

impl Default for Index {
    fn default() -> Index {
        Index::new()
    }
}

/// A message that came: header values are bytes, trimmed, and may hold folds.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) head: &'a Head,
    pub(crate) entries: &'a [Entry],
}

/// A [`Message`] with its own copy of bytes and spans.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedMessage {
    bytes: Box<[u8]>,
    head: Head,
    entries: Box<[Entry]>,
}

impl OwnedMessage {
    /// The message.
    pub fn view(&self) -> Message<'_> {
        Message { bytes: &self.bytes, head: &self.head, entries: &self.entries }
    }
}

/// The first line of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// Of a request.
    Request {
        /// What is asked.
        method: Method<'a>,
        /// The Request-URI.
        uri: &'a [u8],
    },
    /// Of a response.
    Response {
        /// From 100 to 699.
        status: u16,
        /// The phrase for people; may be empty.
        reason: &'a [u8],
    },
}

/// A header field as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderLine<'a> {
    /// Which one it is.
    pub name: Name,
    /// The whole line or lines, folds and line end included.
    pub raw: &'a [u8],
    /// The name as it was written; empty if the line has none ([`Message::check`] refuses that).
    pub name_text: &'a [u8],
    /// The value, trimmed.
    pub value: &'a [u8],
}

impl<'a> Message<'a> {
    /// All bytes from the first of the start line to the last of the body.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The first line.
    pub fn start(&self) -> StartLine<'a> {
        match self.head.start {
            Start::Request { method, uri } => {
                StartLine::Request { method: Method::new(self.span(method)), uri: self.span(uri) }
            }
            Start::Response { status, reason } => StartLine::Response { status, reason: self.span(reason) },
        }
    }

    /// Whether this is a request.
    pub fn is_request(&self) -> bool {
        matches!(self.head.start, Start::Request { .. })
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method<'a>> {
        match self.head.start {
            Start::Request { method, .. } => Some(Method::new(self.span(method))),
            Start::Response { .. } => None,
        }
    }

    /// The Request-URI of a request.
    pub fn request_uri(&self) -> Option<&'a [u8]> {
        match self.head.start {
            Start::Request { uri, .. } => Some(self.span(uri)),
            Start::Response { .. } => None,
        }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        match self.head.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// The reason phrase of a response.
    pub fn reason(&self) -> Option<&'a [u8]> {
        match self.head.start {
            Start::Request { .. } => None,
            Start::Response { reason, .. } => Some(self.span(reason)),
        }
    }

    /// Every header field, in the order in which they came. Their `raw` bytes together are the header section.
    pub fn lines(&self) -> impl Iterator<Item = HeaderLine<'a>> + use<'a> {
        let message = *self;
        message.entries.iter().map(move |entry| message.line(entry))
    }

    /// The first value of a header field, trimmed.
    pub fn header(&self, name: Name) -> Option<&'a [u8]> {
        self.entries.iter().find(|entry| entry.name == name).map(|entry| self.span(entry.value))
    }

    /// The values of a header field, one for each line, trimmed.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let message = *self;
        message.entries.iter().filter(move |entry| entry.name == name).map(move |entry| message.span(entry.value))
    }

    /// The first value of a header field by its name, in any case: for those that [`Name`] does not have.
    pub fn other(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.lines().find(|line| line.name_text.eq_ignore_ascii_case(name)).map(|line| line.value)
    }

    /// The values of a header field that is a list: split at commas, over several lines, empty ones left out.
    /// Commas in quotes and angle brackets do not split.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.all(name).flat_map(items).filter(|value| !value.is_empty())
    }

    /// The body: as long as Content-Length says or, without one, the rest of the datagram.
    pub fn body(&self) -> &'a [u8] {
        self.span(self.head.body)
    }

    /// The topmost Via.
    pub fn via(&self) -> Result<Via<'a>, Fault> {
        let value = self.header(Name::Via).ok_or(Fault::Missing(Name::Via))?;
        Via::parse(split_at(value, b',').0)
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr<'a>, Fault> {
        self.name_addr(Name::From)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr<'a>, Fault> {
        self.name_addr(Name::To)
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq<'a>, Fault> {
        CSeq::parse(self.header(Name::CSeq).ok_or(Fault::Missing(Name::CSeq))?)
    }

    /// Call-ID.
    pub fn call_id(&self) -> Result<&'a [u8], Fault> {
        read_call_id(self.header(Name::CallId).ok_or(Fault::Missing(Name::CallId))?)
    }

    /// Max-Forwards; `None` if it is absent.
    pub fn max_forwards(&self) -> Result<Option<u32>, Fault> {
        self.header(Name::MaxForwards).map(read_max_forwards).transpose()
    }

    /// The first Contact; `None` if there is none, or if it is the `*` of a REGISTER.
    pub fn contact(&self) -> Result<Option<NameAddr<'a>>, Fault> {
        match self.values(Name::Contact).next() {
            None | Some(b"*") => Ok(None),
            Some(value) => NameAddr::parse(value).map(Some).map_err(|_| Fault::Malformed(Name::Contact)),
        }
    }

    /// A copy that lives by itself.
    pub fn to_owned(&self) -> OwnedMessage {
        OwnedMessage { bytes: self.bytes.into(), head: *self.head, entries: self.entries.into() }
    }

    fn name_addr(&self, name: Name) -> Result<NameAddr<'a>, Fault> {
        let value = self.header(name).ok_or(Fault::Missing(name))?;
        NameAddr::parse(value).map_err(|_| Fault::Malformed(name))
    }

    pub(crate) fn line(&self, entry: &Entry) -> HeaderLine<'a> {
        HeaderLine {
            name: entry.name,
            raw: self.span(entry.line),
            name_text: self.span(Span { start: entry.line.start, end: entry.name_end }),
            value: self.span(entry.value),
        }
    }

    pub(crate) fn span(&self, span: Span) -> &'a [u8] {
        self.bytes.get(usize::from(span.start)..usize::from(span.end)).unwrap_or_default()
    }
}

pub(crate) fn read_call_id(value: &[u8]) -> Result<&[u8], Fault> {
    // Written without branches, so that many bytes are looked at at once.
    let spaced = value.iter().fold(false, |found, &byte| found | crate::lexical::is_lws(byte));
    if value.is_empty() || spaced { Err(Fault::Malformed(Name::CallId)) } else { Ok(value) }
}

pub(crate) fn read_max_forwards(value: &[u8]) -> Result<u32, Fault> {
    match crate::lexical::number(value) {
        Some(hops @ 0..=255) => Ok(hops as u32),
        _ => Err(Fault::Malformed(Name::MaxForwards)),
    }
}

/// The items of a list, trimmed, empty ones included.
pub(crate) fn items(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(list);
    std::iter::from_fn(move || {
        let (item, after) = split_at(rest?, b',');
        rest = after;
        Some(crate::lexical::trim(item))
    })
}
