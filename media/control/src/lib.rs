//! The control protocol between a signaling client and the media process: plain data and its codec.
//!
//! A client connects to the media process's Unix stream socket and both sides say hello. After that the
//! client sends [`Request`]s, each with an id of its choosing, as many as it likes before the first answer
//! ([`ServerFrame::Reply`] carries the id back; replies to one session come in the order of its requests),
//! and the server sends [`Event`]s about the sessions that the connection owns.
//!
//! Every frame is a big-endian `u32` length followed by that many bytes of CBOR with numbered fields
//! ([`codec`]), so a field can be added without breaking the version before. Every request is idempotent:
//! the client chooses [`SessionId`]s, a repeated `Open` answers with the same addresses, and a repeated
//! `Close` answers that there is nothing left.
//!
//! A session belongs to the connection that opened or claimed it. When that connection ends, for whatever
//! reason, the session lives on for the client's lease ([`ClientHello::lease_ms`]); unless claimed again
//! within it, the session ends. Media is never paused by any of this.
#![forbid(unsafe_code)]

pub mod codec;
#[cfg(feature = "connection")]
pub mod connection;
mod format;
mod id;
mod message;
mod play;
mod refusal;
mod report;
mod session;
mod wire;

pub use format::{Codec, Format};
pub use id::{ParseSessionIdError, SessionId};
pub use message::{
    ClientFrame, ClientHello, EndReason, Ended, Event, Listed, Listing, MediaRange, Reply, Request, ServerFrame,
    ServerHello,
};
pub use play::{Announcement, Play, Played};
pub use refusal::{Refusal, RefusalCode};
pub use report::{Dtmf, FarEnd, Quality, SessionReport, Silence, StreamReport};
pub use session::{Ceiling, Latch, LegSpec, LocalAddresses, LocalSession, Profile, SessionSpec, StreamSpec};

/// The protocol version this crate speaks. A server answers any other with [`RefusalCode::Version`].
pub const VERSION: u16 = 1;

/// The largest frame body, in bytes. Longer ones are refused and the connection closed.
pub const MAX_FRAME: usize = 64 * 1024;

/// The largest opaque snapshot a session may carry, in bytes.
pub const MAX_SNAPSHOT: usize = 4 * 1024;

/// The most legs in a session: two parties, and room for a recorder or a player.
pub const MAX_LEGS: usize = 4;

/// The most streams (`m=` lines) in a leg.
pub const MAX_STREAMS: usize = 8;

/// The most payload types that a stream names.
pub const MAX_FORMATS: usize = 16;

/// The most announcements that a server has.
pub const MAX_ANNOUNCEMENTS: usize = 64;

/// The longest lease a client may ask for, in milliseconds.
pub const MAX_LEASE_MS: u32 = 10 * 60 * 1000;

// A listing of one session with the largest snapshot must fit a frame with room to spare.
const _: () = assert!(MAX_SNAPSHOT * 8 < MAX_FRAME);
