//! Why a request was refused, in a form that a client can branch on and an operator can read.

use minicbor::{Decode, Encode};

/// A request that was not carried out. Nothing of it was: requests are all or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[cbor(map)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// The kind, to branch on.
    #[n(0)]
    pub code: RefusalCode,
    /// What, where, and what to do, for people.
    #[n(1)]
    pub detail: String,
}

impl Refusal {
    /// A refusal of the given kind.
    pub fn new(code: RefusalCode, detail: impl Into<String>) -> Self {
        Refusal { code, detail: detail.into() }
    }

    /// True where the media process is full for now: the call's answer is 503 with Retry-After.
    pub fn is_capacity(&self) -> bool {
        use RefusalCode::{Busy, Capacity, OutOfDescriptors, OutOfPorts};
        matches!(self.code, Capacity | OutOfPorts | OutOfDescriptors | Busy)
    }

    /// True where the client and the server cannot go on speaking: the connection is closed after it.
    pub fn is_fatal(&self) -> bool {
        matches!(self.code, RefusalCode::Version | RefusalCode::Malformed)
    }
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum RefusalCode {
    /// The hello named a protocol version that the server does not speak.
    #[n(0)]
    Version,
    /// A frame that is not of this protocol, or a request before the hello.
    #[n(1)]
    Malformed,
    /// The specification breaks a bound: too many legs or streams, a snapshot too long, an empty latch.
    #[n(2)]
    Unacceptable,
    /// No session has this id.
    #[n(3)]
    NoSuchSession,
    /// No local media range has this name.
    #[n(4)]
    NoSuchRange,
    /// Every port of the range is in use or resting.
    #[n(5)]
    OutOfPorts,
    /// The process may open no more sockets.
    #[n(6)]
    OutOfDescriptors,
    /// The configured number of sessions is reached.
    #[n(7)]
    Capacity,
    /// The shard's mailbox is full: try again shortly.
    #[n(8)]
    Busy,
    /// The ports asked for are not free, or not of a configured range.
    #[n(9)]
    PortTaken,
    /// Another connection that still lives owns the session.
    #[n(10)]
    Owned,
    /// The operating system refused the socket for another reason; the detail carries its words.
    #[n(11)]
    System,
    /// There is no announcement of this name.
    #[n(12)]
    NoSuchAnnouncement,
    /// An announcement cannot be played like this: another codec than G.711, an odd packet time, no RTP.
    #[n(13)]
    Unplayable,
}

impl std::fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            RefusalCode::Version => "protocol version not spoken",
            RefusalCode::Malformed => "malformed frame",
            RefusalCode::Unacceptable => "unacceptable request",
            RefusalCode::NoSuchSession => "no such session",
            RefusalCode::NoSuchRange => "no such media range",
            RefusalCode::OutOfPorts => "out of media ports",
            RefusalCode::OutOfDescriptors => "out of file descriptors",
            RefusalCode::Capacity => "session capacity reached",
            RefusalCode::Busy => "media shard busy",
            RefusalCode::PortTaken => "media port not available",
            RefusalCode::Owned => "session owned by another client",
            RefusalCode::System => "refused by the operating system",
            RefusalCode::NoSuchAnnouncement => "no such announcement",
            RefusalCode::Unplayable => "announcement not playable",
        })
    }
}
