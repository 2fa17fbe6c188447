//! Session descriptions (SDP, RFC 4566 and RFC 8866) as an index of spans over the received bytes.
//!
//! [`Session::parse`] finds what an offer or answer says about media; [`rewrite`] moves the media to the
//! addresses of a relay and leaves every other byte as it was. Attributes, unknown lines, line ends and
//! the order of lines are never interpreted, reordered or normalised. This crate does no IO.
#![forbid(unsafe_code)]

mod address;
mod formats;
mod line;
mod media;
mod rewrite;
mod rtpmap;
mod session;

pub use formats::keep_formats;
pub use media::{Direction, Media};
pub use rewrite::{Anchor, rewrite};
pub use rtpmap::{MAX_RTPMAPS, RtpMap};
pub use session::{MAX_BYTES, MAX_MEDIA, ParseError, ParseErrorKind, Session};
