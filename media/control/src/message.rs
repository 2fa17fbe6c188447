//! The frames of the protocol: hello, requests, replies, events.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use minicbor::{Decode, Encode};

use crate::{Announcement, LocalSession, Profile, Refusal, SessionId, SessionReport, SessionSpec, wire};

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ClientFrame {
    /// The first frame, and only the first.
    #[n(0)]
    Hello(#[n(0)] ClientHello),
    /// A request; `id` is the client's, and comes back with the reply.
    #[n(1)]
    Request {
        /// The client's number for this request.
        #[n(0)]
        id: u32,
        /// What is asked.
        #[n(1)]
        request: Request,
    },
}

/// What the server sends.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum ServerFrame {
    /// The answer to the client's hello.
    #[n(0)]
    Hello(#[n(0)] ServerHello),
    /// The hello or a frame could not be accepted; the connection is closed after it.
    #[n(1)]
    Refused(#[n(0)] Refusal),
    /// The answer to the request with this id.
    #[n(2)]
    Reply {
        /// The number that the client gave.
        #[n(0)]
        id: u32,
        /// What came of it.
        #[n(1)]
        reply: Reply,
    },
    /// Something happened to a session that this connection owns.
    #[n(3)]
    Event(#[n(0)] Event),
}

/// The client's introduction.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ClientHello {
    /// [`VERSION`](crate::VERSION).
    #[n(0)]
    pub version: u16,
    /// Who this is, for logs and listings, such as `signaling`.
    #[n(1)]
    pub client: String,
    /// How long this client's sessions outlive its connection unless claimed, in milliseconds; capped at
    /// [`MAX_LEASE_MS`](crate::MAX_LEASE_MS).
    #[n(2)]
    pub lease_ms: u32,
}

/// The server's introduction: what both processes must agree on.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ServerHello {
    /// The version that will be spoken.
    #[n(0)]
    pub version: u16,
    /// Random per start of the media process: another number means another process with no sessions.
    #[n(1)]
    pub boot: u64,
    /// How many shards relay packets.
    #[n(2)]
    pub shards: u16,
    /// How many sessions may be open at once.
    #[n(3)]
    pub capacity: u32,
    /// The datapath in use: `io_uring` or `epoll`.
    #[n(4)]
    pub datapath: String,
    /// The local media ranges that legs may name.
    #[n(5)]
    pub ranges: Vec<MediaRange>,
    /// The stream profiles that the server relays. Empty from a server that was built before this field, which
    /// relays RTP alone; see [`relays`](Self::relays). Profiles that the reader does not know are passed over.
    #[cbor(n(6), default, skip_if = "Vec::is_empty", with = "wire::profiles")]
    pub profiles: Vec<Profile>,
    /// The announcements that the server can play. Left out of the frame while empty.
    #[cbor(n(7), default, skip_if = "Vec::is_empty")]
    pub announcements: Vec<Announcement>,
}

impl ServerHello {
    /// Whether the server relays streams of this profile. Every server relays RTP.
    pub fn relays(&self, profile: Profile) -> bool {
        profile == Profile::Rtp || self.profiles.contains(&profile)
    }
}

/// A local media range: addresses and ports that sessions get.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct MediaRange {
    /// The name that legs refer to.
    #[n(0)]
    pub name: String,
    /// The addresses.
    #[cbor(n(1), with = "wire::network")]
    pub network: IpNet,
    /// The lowest port.
    #[n(2)]
    pub first_port: u16,
    /// The highest port.
    #[n(3)]
    pub last_port: u16,
    /// The address to write into SDP instead, behind a 1:1 NAT.
    #[n(4)]
    pub advertised: Option<IpAddr>,
}

/// What a client can ask for. Each is idempotent.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Request {
    /// Open a session, or, if it is open already, bring it to this specification and claim it. Answered
    /// by [`Reply::Opened`].
    #[n(0)]
    Open {
        /// The client's id for the session.
        #[n(0)]
        session: SessionId,
        /// Its wanted state.
        #[n(1)]
        spec: SessionSpec,
    },
    /// Replace the specification of an open session. Streams that stay keep their ports. Answered by
    /// [`Reply::Opened`].
    #[n(1)]
    Update {
        /// The session.
        #[n(0)]
        session: SessionId,
        /// Its new wanted state.
        #[n(1)]
        spec: SessionSpec,
    },
    /// Take ownership of a session whose owner is gone. Answered by [`Reply::Opened`].
    #[n(2)]
    Claim {
        /// The session.
        #[n(0)]
        session: SessionId,
    },
    /// Close a session; closing what is not there is no error. Answered by [`Reply::Closed`].
    #[n(3)]
    Close {
        /// The session.
        #[n(0)]
        session: SessionId,
    },
    /// What a session has relayed so far. Answered by [`Reply::Report`].
    #[n(4)]
    Query {
        /// The session.
        #[n(0)]
        session: SessionId,
    },
    /// The open sessions in order of id, as many as fit a frame. Answered by [`Reply::Listed`].
    #[n(5)]
    List {
        /// Start after this id; `None` from the first.
        #[n(0)]
        after: Option<SessionId>,
    },
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Reply {
    /// The session is open, and these are its local addresses.
    #[n(0)]
    Opened(#[n(0)] LocalSession),
    /// The session is closed; its final report, unless it was not there.
    #[n(1)]
    Closed(#[n(0)] Option<SessionReport>),
    /// The session's report so far.
    #[n(2)]
    Report(#[n(0)] SessionReport),
    /// A page of open sessions.
    #[n(3)]
    Listed(#[n(0)] Listed),
    /// The request was refused, and nothing of it done.
    #[n(4)]
    Refused(#[n(0)] Refusal),
}

/// A page of open sessions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Listed {
    /// The sessions, ordered by id.
    #[n(0)]
    pub sessions: Vec<Listing>,
    /// True if more come after the last of these.
    #[n(1)]
    pub more: bool,
}

/// One open session in a listing.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Listing {
    /// The session.
    #[n(0)]
    pub session: SessionId,
    /// Its local addresses.
    #[n(1)]
    pub local: LocalSession,
    /// The snapshot of the last `Open` or `Update`.
    #[cbor(n(2), with = "minicbor::bytes")]
    pub snapshot: Vec<u8>,
    /// True while a live connection owns it; false while its lease runs.
    #[n(3)]
    pub owned: bool,
}

/// Something that happened to a session.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub enum Event {
    /// No accepted packet on any leg for the session's media timeout. Said once; the session stays open
    /// until it is closed.
    #[n(0)]
    MediaTimeout {
        /// The session.
        #[n(0)]
        session: SessionId,
    },
    /// A stream's source was latched, or moved within the window.
    #[n(1)]
    Latched {
        /// The session.
        #[n(0)]
        session: SessionId,
        /// The leg's position.
        #[n(1)]
        leg: u8,
        /// The stream's position.
        #[n(2)]
        stream: u8,
        /// Where media now comes from and goes to.
        #[n(3)]
        source: SocketAddr,
    },
    /// The session ended without being closed by its owner.
    #[n(2)]
    Ended(#[n(0)] Ended),
    /// An announcement ([`StreamSpec::play`](crate::StreamSpec::play)) has come to its end. Said once; the session
    /// stays open.
    #[n(3)]
    Played {
        /// The session.
        #[n(0)]
        session: SessionId,
        /// The leg's position.
        #[n(1)]
        leg: u8,
        /// The stream's position.
        #[n(2)]
        stream: u8,
    },
}

/// A session that the server ended.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Ended {
    /// The session.
    #[n(0)]
    pub session: SessionId,
    /// Why.
    #[n(1)]
    pub reason: EndReason,
    /// What it relayed.
    #[n(2)]
    pub report: SessionReport,
}

/// Why the server ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum EndReason {
    /// Its owner went away and nobody claimed it within the lease.
    #[n(0)]
    LeaseExpired,
}
