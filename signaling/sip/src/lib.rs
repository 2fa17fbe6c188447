//! SIP messages, transactions and dialogs, sans-IO: bytes and the time in, bytes and events out.
//!
//! A message is read in one pass into an [`Index`] of spans and looked at through a [`Message`]; nothing
//! is copied, and what is not understood is kept as it came. [`Writer`] and [`respond`] make messages,
//! [`transaction::Layer`] carries them reliably (RFC 3261 section 17, RFC 6026), and a [`Dialog`] remembers
//! what the requests within a call need (RFC 3261 section 12).
//!
//! ```
//! use moorline_sip::{Index, Name};
//!
//! let mut index = Index::new();
//! let message = index.parse(b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nv: SIP/2.0/UDP 192.0.2.2\r\n\r\n")?;
//! assert_eq!(message.header(Name::Via), Some(&b"SIP/2.0/UDP 192.0.2.2"[..]));
//! assert_eq!(message.check().unwrap_err().reason(), "Missing From Header");
//! # Ok::<(), moorline_sip::ParseError>(())
//! ```
#![forbid(unsafe_code)]

mod address;
mod check;
mod dialog;
pub mod digest;
mod fault;
mod framer;
mod header;
mod lexical;
mod media_type;
mod message;
mod method;
pub mod multipart;
mod name;
mod parse;
mod respond;
pub mod transaction;
mod transport;
mod uri;
mod write;

pub use address::AddressText;
pub use dialog::{Dialog, OutOfOrder};
pub use fault::{Fault, ParseError, ParseErrorKind};
pub use framer::{Frame, Framer, FramingError};
pub use header::{
    CSeq, Contact, Event, NameAddr, Params, Privacy, RAck, Refresher, Replaces, Rport, SessionExpires,
    SubscriptionState, Via,
};
pub use media_type::MediaType;
pub use message::{HeaderLine, Index, Message, OwnedMessage, StartLine};
pub use method::Method;
pub use name::Name;
pub use parse::{MAX_HEADERS, MAX_MESSAGE_BYTES};
pub use respond::{reason_phrase, respond};
pub use transport::Transport;
pub use uri::{Scheme, Uri, unescape};
pub use write::Writer;
