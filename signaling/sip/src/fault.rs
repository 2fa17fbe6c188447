//! What can be wrong with received bytes: a [`ParseError`] is no SIP message, a [`Fault`] is a bad one.

use thiserror::Error;

use crate::Name;

/// The bytes are no SIP message: they are dropped without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a SIP message at byte {offset}: {kind}")]
pub struct ParseError {
    /// What was found.
    pub kind: ParseErrorKind,
    /// Where, from the start of the bytes given.
    pub offset: usize,
}

impl ParseError {
    /// Whether the bytes are a keep-alive (RFC 5626 section 3.5.1) and nothing wrong.
    pub fn is_keep_alive(&self) -> bool {
        self.kind == ParseErrorKind::KeepAlive
    }
}

/// Why bytes are no SIP message. The sender is at fault in each case but the keep-alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseErrorKind {
    /// Nothing but line ends, or nothing at all.
    #[error("a keep-alive")]
    KeepAlive,
    /// More than [`MAX_MESSAGE_BYTES`](crate::MAX_MESSAGE_BYTES).
    #[error("too long")]
    TooLong,
    /// More than [`MAX_HEADERS`](crate::MAX_HEADERS) header fields.
    #[error("too many header fields")]
    TooManyHeaders,
    /// The first line is neither a request line nor a status line.
    #[error("no start line")]
    StartLine,
    /// The status is not a number from 100 to 699.
    #[error("no such status")]
    Status,
}

/// A message that is well framed but wrong. A request is answered with [`status`](Fault::status), a response
/// dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("{}", self.reason())]
pub enum Fault {
    /// The SIP version is not 2.0.
    Version,
    /// The Request-URI is no URI, or not one that may stand there.
    RequestUri,
    /// A URI elsewhere is no URI.
    Uri,
    /// A mandatory header field is absent.
    Missing(Name),
    /// A header field that may occur once occurs again.
    Repeated(Name),
    /// A header field does not follow its grammar.
    Malformed(Name),
    /// The CSeq method is not the method of the request.
    MethodMismatch,
    /// The Content-Length promises more than came.
    Truncated,
    /// Several Content-Length fields disagree.
    ContentLengthConflict,
    /// A header line has no name, no colon, or a name that is no token.
    HeaderLine,
    /// A CR that does not end a line.
    BareCr,
    /// The empty line that ends the header fields is absent.
    Unterminated,
}

impl Fault {
    /// The status with which a request is answered.
    pub const fn status(self) -> u16 {
        match self {
            Fault::Version => 505,
            _ => 400,
        }
    }

    /// The reason phrase of that answer; it says what is wrong.
    pub const fn reason(self) -> &'static str {
        match self {
            Fault::Version => "Version Not Supported",
            Fault::RequestUri => "Malformed Request-URI",
            Fault::Uri => "Malformed URI",
            Fault::Missing(name) => name.missing(),
            Fault::Repeated(name) => name.repeated(),
            Fault::Malformed(name) => name.malformed(),
            Fault::MethodMismatch => "CSeq Method Does Not Match Request Method",
            Fault::Truncated => "Content-Length Larger Than Message",
            Fault::ContentLengthConflict => "Conflicting Content-Length Headers",
            Fault::HeaderLine => "Malformed Header Line",
            Fault::BareCr => "Stray Carriage Return",
            Fault::Unterminated => "Header Section Not Terminated",
        }
    }
}
