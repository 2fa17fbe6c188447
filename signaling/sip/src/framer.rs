//! Messages out of a byte stream: where each starts and ends on TCP and TLS (RFC 3261 sections 7.5 and 18.3), and the
//! keep-alives between them (RFC 5626 sections 3.5.1 and 4.4.1).

use thiserror::Error;

use crate::lexical::{is_token_byte, number, trim};
use crate::parse::{self, Line};
use crate::{MAX_MESSAGE_BYTES, Name, ParseErrorKind};

/// Cuts what one connection receives into frames.
///
/// Each chunk that was received is handed to [`next`](Framer::next) until that returns nothing:
///
/// ```
/// # use moorline_sip::{Frame, Framer, FramingError};
/// # fn received(framer: &mut Framer, chunk: &[u8]) -> Result<usize, FramingError> {
/// # let mut messages = 0;
/// let mut rest = chunk;
/// while let Some(frame) = framer.next(&mut rest)? {
///     match frame {
///         Frame::Message(bytes) => messages += bytes.len(), // Index::parse, and on
///         Frame::Ping => {}                                 // send CRLF
///         Frame::Pong => {}                                 // the connection lives
///     }
/// }
/// # Ok(messages) }
/// # assert_eq!(received(&mut Framer::new(), b"\r\n\r\nBYE sip:a@b SIP/2.0\r\nl: 0\r\n\r\n"), Ok(29));
/// ```
///
/// A message that lies whole in a chunk is not copied. Only the beginning of one that does not is kept, and that is
/// released with the message: a connection on which nothing is under way owns no memory but this struct. How much a
/// message announces does not matter to how much is kept; what came does, and that ends at [`MAX_MESSAGE_BYTES`].
#[derive(Clone, Debug, Default)]
pub struct Framer {
    /// The beginning of a message, from its start line.
    partial: Vec<u8>,
    /// How many bytes of `partial` are known to hold no end of the header section.
    scanned: usize,
    /// The length of the message that `partial` begins, once its header section is complete.
    length: Option<usize>,
    /// `partial` was given out as a message, and is released at the next call.
    taken: bool,
    /// A line end was seen that may be the first half of a ping.
    half_ping: bool,
    /// Pings sent whose pong is due.
    pongs_due: u8,
    failed: Option<FramingError>,
}

/// What stands in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message, from its start line to the end of its body. Whether it is a good one is for
    /// [`Index::parse`](crate::Index::parse) and [`Message::check`](crate::Message::check) to say.
    Message(&'a [u8]),
    /// A double CRLF between messages: answered with a single CRLF (RFC 5626 section 4.4.1).
    Ping,
    /// The CRLF that answers a ping which [`Framer::expect_pong`] told of.
    Pong,
}

/// Why nothing more can be read from a connection: where the next message starts is not known. The sender is at fault;
/// the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FramingError {
    /// What should be a start line is none.
    #[error("no SIP start line")]
    Garbage,
    /// The header section does not end within [`MAX_MESSAGE_BYTES`].
    #[error("the header section is too long")]
    HeaderTooLong,
    /// The message would be longer than [`MAX_MESSAGE_BYTES`].
    #[error("the message is too long")]
    TooLong,
    /// No Content-Length, which a stream needs (RFC 3261 section 20.14).
    #[error("no Content-Length")]
    NoContentLength,
    /// A Content-Length that is no number, or negative.
    #[error("a Content-Length that is no length")]
    ContentLength,
    /// Several Content-Length fields disagree.
    #[error("conflicting Content-Lengths")]
    ContentLengthConflict,
}

/// How much of a chunk is copied at once while the end of a header section is looked for.
const STEP: usize = 2_048;

impl Framer {
    /// For a connection that has just opened.
    pub fn new() -> Framer {
        Framer::default()
    }

    /// A ping (a double CRLF) is being sent: a CRLF that comes back is its [`Frame::Pong`], and not half of a ping.
    pub fn expect_pong(&mut self) {
        self.pongs_due = self.pongs_due.saturating_add(1);
    }

    /// Whether no message is under way. A connection that ends now, or stays silent, cuts none short.
    pub fn is_idle(&self) -> bool {
        self.taken || self.partial.is_empty()
    }

    /// How many bytes of an incomplete message are kept.
    pub fn buffered(&self) -> usize {
        if self.is_idle() { 0 } else { self.partial.len() }
    }

    /// The next frame, taken off the front of `received`. `None`: all of it has been taken, and more is needed.
    /// After an error, every call returns it again.
    pub fn next<'a, 'r: 'a>(&'a mut self, received: &mut &'r [u8]) -> Result<Option<Frame<'a>>, FramingError> {
        if self.taken {
            self.release();
        }
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.partial.is_empty() {
            if let Some(keep_alive) = self.keep_alive(received) {
                return Ok(Some(keep_alive));
            }
            return match whole(received) {
                Ok(Progress::Whole(length)) => {
                    let (message, rest) = received.split_at(length);
                    *received = rest;
                    Ok(Some(Frame::Message(message)))
                }
                Ok(Progress::Partial { scanned, length }) => {
                    (self.scanned, self.length) = (scanned, length);
                    self.partial.extend_from_slice(received);
                    *received = &[];
                    Ok(None)
                }
                Err(error) => Err(self.fail(error)),
            };
        }
        match self.complete(received) {
            Ok(true) => {
                self.taken = true;
                Ok(Some(Frame::Message(&self.partial)))
            }
            Ok(false) => Ok(None),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Takes line ends before a message off `received`, up to the first that are a keep-alive. A single line end before
    /// a start line is skipped (RFC 3261 section 7.5).
    fn keep_alive<'a>(&mut self, received: &mut &[u8]) -> Option<Frame<'a>> {
        while let [byte @ (b'\r' | b'\n'), rest @ ..] = *received {
            *received = rest;
            if *byte == b'\r' {
                continue;
            }
            if self.pongs_due > 0 && !self.half_ping {
                self.pongs_due -= 1;
                return Some(Frame::Pong);
            }
            self.half_ping = !self.half_ping;
            if !self.half_ping {
                return Some(Frame::Ping);
            }
        }
        if !received.is_empty() {
            self.half_ping = false;
        }
        None
    }

    /// Adds to the partial message what belongs to it. Whether it is complete.
    fn complete(&mut self, received: &mut &[u8]) -> Result<bool, FramingError> {
        loop {
            let before = self.partial.len();
            let wanted = self.length.map_or(STEP, |length| length - before);
            let (piece, rest) = received.split_at(wanted.min(received.len()));
            self.partial.extend_from_slice(piece);
            if self.length.is_none() {
                match resume(&self.partial, self.scanned)? {
                    Progress::Whole(length) => {
                        // The piece reached into the next message. It did not hold this one's whole before.
                        self.partial.truncate(length);
                        *received = &received[length - before..];
                        return Ok(true);
                    }
                    Progress::Partial { scanned, length } => (self.scanned, self.length) = (scanned, length),
                }
            }
            *received = rest;
            if self.length == Some(self.partial.len()) {
                return Ok(true);
            }
            if rest.is_empty() {
                return Ok(false);
            }
        }
    }

    fn fail(&mut self, error: FramingError) -> FramingError {
        self.release();
        self.failed = Some(error);
        error
    }

    fn release(&mut self) {
        self.partial = Vec::new();
        (self.scanned, self.length, self.taken) = (0, None, false);
    }
}

/// How far the bytes from a start line on reach.
enum Progress {
    /// The message is this long, and all there.
    Whole(usize),
    /// It goes on: no end of the header section before `scanned`; the length, once that is known.
    Partial { scanned: usize, length: Option<usize> },
}

fn whole(bytes: &[u8]) -> Result<Progress, FramingError> {
    // Binary garbage, such as TLS where there should be none, is told at once.
    if bytes.first().is_some_and(|&byte| !is_token_byte(byte)) {
        return Err(FramingError::Garbage);
    }
    resume(bytes, 0)
}

fn resume(bytes: &[u8], scanned: usize) -> Result<Progress, FramingError> {
    let head = match head_end(&bytes[..bytes.len().min(MAX_MESSAGE_BYTES)], scanned) {
        Ok(head) => head,
        Err(_) if bytes.len() >= MAX_MESSAGE_BYTES => return Err(FramingError::HeaderTooLong),
        Err(scanned) => return Ok(Progress::Partial { scanned, length: None }),
    };
    let length = head as u64 + content_length(&bytes[..head])?;
    match usize::try_from(length) {
        Ok(length) if length <= bytes.len().min(MAX_MESSAGE_BYTES) => Ok(Progress::Whole(length)),
        Ok(length) if length <= MAX_MESSAGE_BYTES => Ok(Progress::Partial { scanned: head, length: Some(length) }),
        _ => Err(FramingError::TooLong),
    }
}

/// Where the header section ends, the empty line included; or else from where to look again when more has come.
fn head_end(bytes: &[u8], mut at: usize) -> Result<usize, usize> {
    while let Some(found) = memchr::memchr(b'\n', &bytes[at..]) {
        at += found;
        match &bytes[at + 1..] {
            [b'\n', ..] => return Ok(at + 2),
            [b'\r', b'\n', ..] => return Ok(at + 3),
            [] | [b'\r'] => return Err(at),
            _ => at += 1,
        }
    }
    Err(bytes.len())
}

/// The Content-Length of a complete header section. Lines are read as [`Index::parse`](crate::Index::parse) reads them:
/// where the two differed, a message could be hidden in another.
fn content_length(head: &[u8]) -> Result<u64, FramingError> {
    let mut ignored = None;
    let mut line = Line::at(head, 0, &mut ignored);
    match parse::start_line(&head[..line.end]) {
        Ok(_) | Err(ParseErrorKind::Status) => {}
        Err(_) => return Err(FramingError::Garbage),
    }
    let mut found = None;
    while line.next < head.len() {
        let start = line.next;
        line = Line::folded(head, start, &mut ignored);
        if !matches!(head[start], b'C' | b'c' | b'L' | b'l') {
            continue;
        }
        let entry = parse::header_line(head, start, line, &mut ignored);
        if entry.name == Name::ContentLength {
            let value = &head[usize::from(entry.value.start)..usize::from(entry.value.end)];
            let length = number(trim(value)).ok_or(FramingError::ContentLength)?;
            if found.is_some_and(|found| found != length) {
                return Err(FramingError::ContentLengthConflict);
            }
            found = Some(length);
        }
    }
    found.ok_or(FramingError::NoContentLength)
}

#[cfg(test)]
mod tests;
