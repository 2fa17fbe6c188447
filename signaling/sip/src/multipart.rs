//! Bodies of several parts (RFC 2046 section 5.1, RFC 5621): where each part stands, so that one can be replaced and
//! every other byte kept.
//!
//! What another reader could see differently is refused: a part that Moorline overlooked would cross it unread.

use std::ops::Range;

use thiserror::Error;

use crate::lexical::{is_lws, token_len, trim};
use crate::media_type::MediaType;
use crate::parse::{self, Line, MAX_MESSAGE_BYTES};
use crate::{Name, write};

/// The most parts that are read, those of a nested body included.
pub const MAX_PARTS: usize = 16;

/// One part of a body; or the whole of a body that has no parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// The header fields of the part, without the empty line after them.
    pub headers: Range<usize>,
    /// The content, without the line end that belongs to the boundary after it.
    pub content: Range<usize>,
    /// The Content-Type; text/plain if it is absent (RFC 2046 section 5.1).
    pub content_type: Option<MediaType<'a>>,
    /// The Content-Disposition, raw.
    pub disposition: Option<&'a [u8]>,
    /// The Content-ID, raw.
    pub content_id: Option<&'a [u8]>,
    /// Whether the part stands in another.
    pub nested: bool,
    /// The value of a Content-Length, which a part does not need, but which has to stay right.
    length: Option<Range<usize>>,
    /// Whether an empty line comes before the content; it may be absent if that is empty.
    separated: bool,
    /// The boundaries around the part, innermost first. Empty if there is none.
    boundaries: [&'a [u8]; 2],
}

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// The Content-Type is none.
    #[error("malformed Content-Type")]
    ContentType,
    /// The boundary is absent, or not one (RFC 2046 section 5.1.1).
    #[error("no boundary, or a bad one")]
    Boundary,
    /// No part is there: each multipart body has one at least.
    #[error("no parts")]
    NoParts,
    /// A line starts like the boundary but goes on, or a boundary comes after the last.
    #[error("ambiguous boundary")]
    Ambiguous,
    /// A header line of a part has no name or no colon, or says again what may be said once.
    #[error("malformed header in a part")]
    Header,
    /// More than [`MAX_PARTS`].
    #[error("too many parts")]
    TooManyParts,
    /// Parts within parts within parts.
    #[error("parts nested too deep")]
    TooDeep,
    /// Longer than [`MAX_MESSAGE_BYTES`].
    #[error("too long")]
    TooLong,
    /// More than one part of the type looked for.
    #[error("several parts of the same type")]
    Several,
    /// The part is encoded: it cannot be read as it stands.
    #[error("an encoded part")]
    Encoded,
}

impl<'a> Part<'a> {
    /// Whether the content is of a type.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        match &self.content_type {
            Some(own) => own.is(kind, subtype),
            None => (kind, subtype) == ("text", "plain"),
        }
    }
}

/// The parts of a body whose Content-Type is `content_type`, in order; parts in a nested multipart body follow the part
/// that holds them. A body that is not multipart is one part without header fields.
pub fn parts<'a>(content_type: &'a [u8], body: &'a [u8]) -> Result<Vec<Part<'a>>, Fault> {
    if body.len() > MAX_MESSAGE_BYTES {
        return Err(Fault::TooLong);
    }
    let content_type = MediaType::parse(content_type).map_err(|_| Fault::ContentType)?;
    let mut found = Vec::new();
    match boundary(&content_type)? {
        Some(boundary) => {
            let outer = Enclosing { range: 0..body.len(), boundaries: [boundary, b""] };
            split(body, &outer, &mut found)?;
        }
        None => found.push(Part {
            headers: 0..0,
            content: 0..body.len(),
            content_type: Some(content_type),
            disposition: None,
            content_id: None,
            nested: false,
            length: None,
            separated: true,
            boundaries: [b""; 2],
        }),
    }
    Ok(found)
}

/// The only part of a type in a body; `None` if there is none. Several are refused: which one the other side takes is
/// not known.
pub fn find<'a>(content_type: &'a [u8], body: &'a [u8], kind: &str, subtype: &str) -> Result<Option<Part<'a>>, Fault> {
    let mut fitting = parts(content_type, body)?.into_iter().filter(|part| part.is(kind, subtype));
    let Some(part) = fitting.next() else { return Ok(None) };
    if fitting.next().is_some() {
        return Err(Fault::Several);
    }
    match is_encoded(&body[part.headers.clone()]) {
        true => Err(Fault::Encoded),
        false => Ok(Some(part)),
    }
}

/// The body with the content of a part replaced, and all else as it was but a Content-Length that the part has. Refused
/// if the new content holds a boundary.
pub fn replace(body: &[u8], part: &Part<'_>, content: &[u8]) -> Result<Vec<u8>, Fault> {
    let clashes = |boundary: &&[u8]| !boundary.is_empty() && holds_boundary(content, boundary);
    if part.boundaries.iter().any(clashes) {
        return Err(Fault::Ambiguous);
    }
    let mut out = Vec::with_capacity(body.len() + content.len());
    let before = &body[..part.content.start];
    match &part.length {
        Some(value) => {
            out.extend_from_slice(&before[..value.start]);
            write::push_number(&mut out, content.len());
            out.extend_from_slice(&before[value.end..]);
        }
        None => out.extend_from_slice(before),
    }
    if !part.separated {
        if !part.headers.is_empty() && !out.ends_with(b"\n") {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(content);
    out.extend_from_slice(&body[part.content.end..]);
    Ok(out)
}

/// A multipart body and the boundaries that it is between.
struct Enclosing<'a> {
    range: Range<usize>,
    boundaries: [&'a [u8]; 2],
}

/// The boundary of a multipart type; `None` for another type.
fn boundary<'a>(content_type: &MediaType<'a>) -> Result<Option<&'a [u8]>, Fault> {
    const LONGEST: usize = 70;
    if !content_type.kind.eq_ignore_ascii_case(b"multipart") {
        return Ok(None);
    }
    let boundary = content_type.param(b"boundary").ok_or(Fault::Boundary)?;
    let visible = |byte: &u8| (b' '..=b'~').contains(byte);
    match boundary {
        [] | [.., b' '] => Err(Fault::Boundary),
        _ if boundary.len() > LONGEST || !boundary.iter().all(visible) => Err(Fault::Boundary),
        _ => Ok(Some(boundary)),
    }
}

/// What a line is to a body with that boundary.
enum Delimiter {
    None,
    Open,
    Close,
}

fn delimiter(line: &[u8], boundary: &[u8]) -> Result<Delimiter, Fault> {
    let Some(rest) = line.strip_prefix(b"--").and_then(|rest| rest.strip_prefix(boundary)) else {
        return Ok(Delimiter::None);
    };
    // White space may follow (RFC 2046 section 5.1.1); anything else is for some readers a boundary, and for some not.
    match trim(rest) {
        [] => Ok(Delimiter::Open),
        b"--" if rest.starts_with(b"--") => Ok(Delimiter::Close),
        _ => Err(Fault::Ambiguous),
    }
}

fn holds_boundary(content: &[u8], boundary: &[u8]) -> bool {
    content.split(|&byte| byte == b'\n').any(|line| !matches!(delimiter(line, boundary), Ok(Delimiter::None)))
}

/// Adds the parts of `outer` to `found`.
fn split<'a>(body: &'a [u8], outer: &Enclosing<'a>, found: &mut Vec<Part<'a>>) -> Result<(), Fault> {
    let mut start = None;
    let mut closed = false;
    let mut at = outer.range.start;
    let own = &body[..outer.range.end];
    let before = found.len();
    while at < own.len() {
        let next = memchr::memchr(b'\n', &own[at..]).map_or(own.len(), |end| at + end + 1);
        let delimiter = delimiter(&own[at..next], outer.boundaries[0])?;
        if !matches!(delimiter, Delimiter::None) {
            if closed {
                return Err(Fault::Ambiguous);
            }
            if let Some(start) = start.replace(next) {
                add(body, start..without_line_end(body, start, at), outer, found)?;
            }
            closed = matches!(delimiter, Delimiter::Close);
        }
        at = next;
    }
    // The last boundary may be absent: the end of the body stands for it.
    if let Some(start) = start.filter(|_| !closed) {
        add(body, start..own.len(), outer, found)?;
    }
    if found.len() == before { Err(Fault::NoParts) } else { Ok(()) }
}

/// The end of what stands before a boundary: the line end before it is a part of the boundary.
fn without_line_end(body: &[u8], start: usize, end: usize) -> usize {
    let range = &body[start..end];
    let range = range.strip_suffix(b"\n").map_or(range, |range| range.strip_suffix(b"\r").unwrap_or(range));
    start + range.len()
}

fn add<'a>(body: &'a [u8], range: Range<usize>, outer: &Enclosing<'a>, found: &mut Vec<Part<'a>>) -> Result<(), Fault> {
    if range.is_empty() {
        return Ok(());
    }
    if found.len() == MAX_PARTS {
        return Err(Fault::TooManyParts);
    }
    let nested = !outer.boundaries[1].is_empty();
    let part = Part { nested, boundaries: outer.boundaries, ..read(body, range)? };
    let inner = part.content_type.as_ref().map_or(Ok(None), boundary)?;
    let range = part.content.clone();
    found.push(part);
    match inner {
        Some(_) if nested => Err(Fault::TooDeep),
        Some(inner) => split(body, &Enclosing { range, boundaries: [inner, outer.boundaries[0]] }, found),
        None => Ok(()),
    }
}

/// Reads the header fields of a part.
fn read(body: &[u8], range: Range<usize>) -> Result<Part<'_>, Fault> {
    let bytes = &body[..range.end];
    let mut part = Part {
        headers: range.start..range.start,
        content: range.end..range.end,
        content_type: None,
        disposition: None,
        content_id: None,
        nested: false,
        length: None,
        separated: false,
        boundaries: [b""; 2],
    };
    let mut fault = None;
    let mut at = range.start;
    while at < bytes.len() {
        let line_end = match &bytes[at..] {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] => 2,
            _ => 0,
        };
        if line_end > 0 {
            part.content.start = at + line_end;
            part.separated = true;
            return Ok(part);
        }
        let line = Line::folded(bytes, at, &mut fault);
        let entry = parse::header_line(bytes, at, line, &mut fault);
        let value = usize::from(entry.value.start)..usize::from(entry.value.end);
        let name = &bytes[at..usize::from(entry.name_end)];
        let again = match entry.name {
            _ if name.is_empty() => return Err(Fault::Header),
            Name::ContentType => {
                let content_type = MediaType::parse(&body[value]).map_err(|_| Fault::ContentType)?;
                part.content_type.replace(content_type).is_some()
            }
            Name::ContentDisposition => part.disposition.replace(&body[value]).is_some(),
            Name::ContentLength => part.length.replace(value).is_some(),
            _ if name.eq_ignore_ascii_case(b"content-id") => part.content_id.replace(&body[value]).is_some(),
            _ => false,
        };
        if again {
            return Err(Fault::Header);
        }
        at = line.next;
        part.headers.end = at;
    }
    Ok(part)
}

/// Whether a Content-Transfer-Encoding stands in the header fields of a part that changes its bytes (RFC 2045
/// section 6).
fn is_encoded(headers: &[u8]) -> bool {
    const NAME: &[u8] = b"content-transfer-encoding";
    let mut at = 0;
    while at < headers.len() {
        let line = Line::folded(headers, at, &mut None);
        let content = &headers[at..line.end];
        let (name, rest) = content.split_at(token_len(content));
        if name.eq_ignore_ascii_case(NAME) {
            let start = rest.iter().position(|&byte| byte == b':' || !is_lws(byte)).map_or(rest.len(), |at| at + 1);
            let value = trim(&rest[start..]);
            if ![&b"7bit"[..], b"8bit", b"binary"].iter().any(|plain| value.eq_ignore_ascii_case(plain)) {
                return true;
            }
        }
        at = line.next;
    }
    false
}

#[cfg(test)]
mod tests;
