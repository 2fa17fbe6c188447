//! One pass over the bytes of a message into spans. Nothing is copied and nothing allocated.

use crate::lexical::{is_lws, is_token, number, token_len, trim, trim_start};
use crate::message::{Index, Message};
use crate::{Fault, Method, Name, ParseError, ParseErrorKind};

/// The longest message that is read: what a UDP datagram can hold.
pub const MAX_MESSAGE_BYTES: usize = 65_535;
/// The most header fields that are read.
pub const MAX_HEADERS: usize = 128;

/// Where something stands in the message. [`MAX_MESSAGE_BYTES`] fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: u16,
    pub(crate) end: u16,
}

const _: () = assert!(MAX_MESSAGE_BYTES <= u16::MAX as usize);

impl Span {
    const EMPTY: Span = Span { start: 0, end: 0 };

    /// Both ends are offsets into a message of at most [`MAX_MESSAGE_BYTES`].
    fn new(start: usize, end: usize) -> Span {
        Span { start: start as u16, end: end as u16 }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(usize::from(self.start)..usize::from(self.end)).unwrap_or_default()
    }
}

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) line: Span,
    pub(crate) value: Span,
    pub(crate) name_end: u16,
    pub(crate) name: Name,
}

impl Entry {
    pub(crate) const EMPTY: Entry = Entry { line: Span::EMPTY, value: Span::EMPTY, name_end: 0, name: Name::Other };
}

/// The start line as spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Request { method: Span, uri: Span },
    Response { status: u16, reason: Span },
}

/// All but the header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) start: Start,
    pub(crate) body: Span,
    /// What was found wrong on the way, for [`Message::check`] to report.
    pub(crate) fault: Option<Fault>,
}

impl Head {
    pub(crate) const EMPTY: Head =
        Head { start: Start::Response { status: 0, reason: Span::EMPTY }, body: Span::EMPTY, fault: None };
}

impl Index {
    /// Reads a message. Line ends before it are skipped; lines may end in LF alone; what follows the body that
    /// Content-Length announces is not part of it. An error means that this is no SIP message; a message that is
    /// one, but a bad one, is told by [`Message::check`].
    pub fn parse<'a>(&'a mut self, bytes: &'a [u8]) -> Result<Message<'a>, ParseError> {
        let skipped = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(bytes.len());
        let bytes = &bytes[skipped..];
        let error = |kind, offset| ParseError { kind, offset: skipped + offset };
        if bytes.is_empty() {
            return Err(error(ParseErrorKind::KeepAlive, 0));
        }
        if bytes.len() > MAX_MESSAGE_BYTES {
            return Err(error(ParseErrorKind::TooLong, MAX_MESSAGE_BYTES));
        }

        let mut fault = None;
        let line = Line::at(bytes, 0, &mut fault);
        let (start, version) = start_line(&bytes[..line.end]).map_err(|kind| error(kind, 0))?;
        if version != b"2.0" {
            fault = Some(Fault::Version);
        }

        let mut at = line.next;
        let mut count = 0;
        let mut content_length = None;
        let body_start = loop {
            match &bytes[at..] {
                [b'\n', ..] => break at + 1,
                [b'\r', b'\n', ..] => break at + 2,
                [] => {
                    fault.get_or_insert(Fault::Unterminated);
                    break at;
                }
                _ => {}
            }
            let line = Line::folded(bytes, at, &mut fault);
            let Some(slot) = self.entries.get_mut(count) else {
                return Err(error(ParseErrorKind::TooManyHeaders, at));
            };
            let entry = header_line(bytes, at, line, &mut fault);
            *slot = entry;
            if entry.name == Name::ContentLength {
                let value = &bytes[usize::from(entry.value.start)..usize::from(entry.value.end)];
                match (number(value), content_length) {
                    (None, _) => fault = fault.or(Some(Fault::Malformed(Name::ContentLength))),
                    (Some(now), Some(before)) if now != before => {
                        fault = fault.or(Some(Fault::ContentLengthConflict));
                    }
                    (now, _) => content_length = now,
                }
            }
            count += 1;
            at = line.next;
        };

        let available = bytes.len() - body_start;
        let body_len = match content_length {
            None => available,
            Some(announced) if announced > available as u64 => {
                fault.get_or_insert(Fault::Truncated);
                available
            }
            Some(announced) => announced as usize,
        };
        let end = body_start + body_len;
        self.count = count;
        self.head = Head { start, body: Span::new(body_start, end), fault };
        Ok(Message { bytes: &bytes[..end], head: &self.head, entries: &self.entries[..self.count] })
    }
}

/// Where a line's content ends and the next line starts.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) end: usize,
    pub(crate) next: usize,
}

impl Line {
    /// A line and those that continue it (RFC 3261 section 7.3.1).
    pub(crate) fn folded(bytes: &[u8], start: usize, fault: &mut Option<Fault>) -> Line {
        let mut line = Line::at(bytes, start, fault);
        while matches!(bytes.get(line.next), Some(b' ' | b'\t')) {
            line = Line::at(bytes, line.next, fault);
        }
        line
    }

    pub(crate) fn at(bytes: &[u8], start: usize, fault: &mut Option<Fault>) -> Line {
        let mut at = start;
        while let Some(found) = memchr::memchr2(b'\r', b'\n', &bytes[at..]) {
            at += found;
            match &bytes[at..] {
                [b'\n', ..] => return Line { end: at, next: at + 1 },
                [b'\r', b'\n', ..] => return Line { end: at, next: at + 2 },
                _ => {
                    // Some parsers take a lone CR for a line end: what they would see must not pass unseen here.
                    fault.get_or_insert(Fault::BareCr);
                    at += 1;
                }
            }
        }
        fault.get_or_insert(Fault::Unterminated);
        Line { end: bytes.len(), next: bytes.len() }
    }
}

/// The method of a request and the values of its first Via line; the rest is not read.
pub(crate) fn method_and_via(request: &[u8]) -> Option<(Method<'_>, &[u8])> {
    // What is wrong with lines does not matter to who looks for one.
    let mut fault = None;
    let line = Line::at(request, 0, &mut fault);
    let (Start::Request { method, .. }, _) = start_line(&request[..line.end]).ok()? else { return None };
    let mut at = line.next;
    while !matches!(request.get(at)?, b'\r' | b'\n') {
        let line = Line::folded(request, at, &mut fault);
        let entry = header_line(request, at, line, &mut fault);
        if entry.name == Name::Via {
            return Some((Method::new(method.of(request)), entry.value.of(request)));
        }
        at = line.next;
    }
    None
}

/// The start line and the SIP version it names.
pub(crate) fn start_line(line: &[u8]) -> Result<(Start, &[u8]), ParseErrorKind> {
    if let Some(rest) = strip_sip(line) {
        let version_len = rest.iter().position(|&byte| byte == b' ').ok_or(ParseErrorKind::StartLine)?;
        let (version, rest) = rest.split_at(version_len);
        let rest = &rest[1..];
        let digits = rest.get(..3).unwrap_or_default();
        let status = match number(digits) {
            Some(status @ 100..=699) if matches!(rest.get(3), None | Some(b' ')) => status as u16,
            _ => return Err(ParseErrorKind::Status),
        };
        // The space after the status is due even if the phrase is empty; a response without it is harmless.
        let reason = Span::new((line.len() - rest.len() + 4).min(line.len()), line.len());
        return Ok((Start::Response { status, reason }, version));
    }

    let method_len = token_len(line);
    let line_end = line.len() - line.iter().rev().take_while(|&&byte| is_lws(byte)).count();
    let version_start = 1 + memchr::memrchr(b' ', &line[..line_end]).ok_or(ParseErrorKind::StartLine)?;
    let version = strip_sip(&line[version_start..line_end]).ok_or(ParseErrorKind::StartLine)?;
    if !is_token(&line[..method_len]) || line[method_len] != b' ' || version_start <= method_len {
        return Err(ParseErrorKind::StartLine);
    }
    // Several spaces between the elements (RFC 4475 section 3.1.2.9) do no harm: the line is never copied.
    let between = &line[method_len..version_start];
    let uri_start = version_start - trim_start(between).len();
    let uri = Span::new(uri_start, uri_start + trim(between).len());
    if uri.start == uri.end {
        return Err(ParseErrorKind::StartLine);
    }
    Ok((Start::Request { method: Span::new(0, method_len), uri }, version))
}

fn strip_sip(bytes: &[u8]) -> Option<&[u8]> {
    let (protocol, rest) = bytes.split_at_checked(4)?;
    protocol.eq_ignore_ascii_case(b"SIP/").then_some(rest)
}

/// One header field. Inlined, or its small parts are written to memory one by one and read back at once, for which the
/// processor waits: that took a fifth of the time.
#[inline(always)]
pub(crate) fn header_line(bytes: &[u8], start: usize, line: Line, fault: &mut Option<Fault>) -> Entry {
    let content = &bytes[start..line.end];
    let name_len = token_len(content);
    let before_colon = name_len + content[name_len..].iter().take_while(|&&byte| matches!(byte, b' ' | b'\t')).count();
    let (name_len, value_at) = if name_len > 0 && content.get(before_colon) == Some(&b':') {
        (name_len, before_colon + 1)
    } else {
        fault.get_or_insert(Fault::HeaderLine);
        (0, 0)
    };
    let value = &content[value_at..];
    let value_start = line.end - trim_start(value).len();
    Entry {
        line: Span::new(start, line.next),
        value: Span::new(value_start, value_start + trim(value).len()),
        name_end: (start + name_len) as u16,
        name: Name::new(&content[..name_len]),
    }
}
