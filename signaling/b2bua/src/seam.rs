//! What goes into a worker and what comes out of it.

use std::net::SocketAddr;
use std::sync::Arc;

use moorline_control as control;
use moorline_sip::transaction::Flow;

use crate::cdr::{Mark, Record, Time};
use crate::locate::{Answer, Failure, Query};
use crate::policy::Policy;
use crate::verify::{DigestQuestion, Verdict};
use crate::{News, Wall};

/// 64 random bits from a cryptographic source (a seeded generator in tests): identifiers are made of them.
pub type Entropy = Box<dyn FnMut() -> u64 + Send>;

/// What a worker is told.
#[derive(Debug)]
pub enum Input<'a> {
    /// A message came in: a datagram, or what a stream's framing cut out.
    Message {
        /// On which listener (by position in the policy), over what, and from where.
        flow: Flow,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A stream could not be opened, or ended: what was given to it last may be lost.
    Broken {
        /// Which.
        flow: Flow,
    },
    /// DNS has answered [`Output::Dns`] with this number.
    Dns {
        /// The number.
        number: u64,
        /// The answer.
        answer: Result<Answer, Failure>,
    },
    /// Another worker of this process has told something: its [`Output::Tell`].
    News(News),
    /// All that was written down by [`Output::Store`], once and at the start, to the first worker of the process.
    Stored(Vec<(Vec<u8>, Vec<u8>)>),
    /// What is written down of the calls of the process before: once, before the media process is connected. Each worker
    /// takes what is its own.
    Begun {
        /// The records that were marked and did not end, as they were marked last.
        records: Vec<Record>,
        /// The calls whose records have ended of late: should the media process still have them, they are closed.
        ended: Vec<control::SessionId>,
        /// The last sign of life of that process.
        until: Time,
    },
    /// What is said of credentials: the answer to [`Output::Verify`] with the same number.
    Verdict {
        /// The number.
        request: u64,
        /// The answer.
        verdict: Verdict,
    },
    /// News from the media process.
    Media(MediaInput),
    /// An operator ends a call of this worker; one that is over, or was never there, stays as it is.
    HangUp(control::SessionId),
    /// What the wall clock shows: before anything else, and anew each minute or so.
    Wall(Wall),
    /// What everything that begins from now on is decided by: what follows the policy that the worker has
    /// ([`Policy::followed_by`]).
    Policy(Arc<Policy>),
    /// The time of [`Worker::next_timeout`](crate::Worker::next_timeout) has come.
    Timeout,
}

/// News from the media process.
#[derive(Debug)]
pub enum MediaInput {
    /// The control connection stands. Requests of the connection before it will never be answered; the
    /// worker lists, claims and reopens sessions on its own.
    Connected(control::ServerHello),
    /// The control connection is gone.
    Disconnected,
    /// The answer to [`Output::Media`] with the same number.
    Reply {
        /// The number.
        request: u32,
        /// The answer.
        reply: control::Reply,
    },
    /// An event of a session.
    Event(control::Event),
}

/// What a worker wants done.
#[derive(Debug)]
pub enum Output {
    /// Send a message. Over a stream: on the connection that stands between the listener and the remote
    /// address, whoever made it, else on a new one.
    Transmit {
        /// From which listener, over what, and to where.
        flow: Flow,
        /// Its bytes; the transaction that may repeat them keeps them too.
        bytes: Arc<[u8]>,
    },
    /// Send a request to the media process, in this order with the others of its session.
    Media {
        /// The number that must come back with the reply.
        request: u32,
        /// The request.
        body: control::Request,
    },
    /// What is at this address over TLS is to show a certificate for this name (RFC 5922 section 4).
    Name {
        /// The address.
        remote: SocketAddr,
        /// The name that has led to it.
        name: String,
    },
    /// Ask DNS; [`Input::Dns`] is awaited for a few seconds.
    Dns(Query),
    /// Tell all other workers of this process, in this order: [`Input::News`].
    Tell(News),
    /// Write this down for the next process ([`Input::Stored`]); soon will do.
    Store {
        /// Under which name: what was written under it before is replaced.
        key: Vec<u8>,
        /// What; `None` to forget it.
        value: Option<Vec<u8>>,
        /// When it is of no use any more, in the worker's time.
        expires_at: u64,
    },
    /// How often callees were called has changed: write it down ([`DayCounts::write_changes`]) before anything else is
    /// sent, so that what was sent on is counted whatever comes.
    ///
    /// [`DayCounts::write_changes`]: crate::policy::limit::DayCounts::write_changes
    Counted,
    /// Ask whether credentials are right; [`Input::Verdict`] is awaited for a few seconds.
    Verify {
        /// The number that must come back with the verdict.
        request: u64,
        /// The question.
        question: DigestQuestion,
    },
    /// Write down the record of a call, as it is now. Whoever does so before it sends what the call says from this input
    /// on, and closes its session, can tell of every call that anybody has heard of.
    Record(Mark),
    /// Something to be counted into a histogram or logged, once per call step, never per packet.
    Observe(Observation),
}

/// A step of a call, for histograms and logs. It comes after the datagrams of its step, so that whoever
/// carries the outputs out in order and reads the clock then measures what the parties see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// The first provisional answer above 100 was sent to the caller.
    FirstProvisional {
        /// When the INVITE was received, in the worker's time.
        invited_at: u64,
    },
    /// The 200 to the INVITE was sent to the caller.
    Answered {
        /// When the INVITE was received.
        invited_at: u64,
    },
    /// The INVITE went on to the called side. The time since is what Moorline adds to it, opening the
    /// media session included.
    InviteForwarded {
        /// When the INVITE was received.
        received_at: u64,
    },
    /// The 200 went on to the caller. The time since is what Moorline adds to it.
    AnswerForwarded {
        /// When the 200 was received.
        received_at: u64,
    },
    /// A call attempt is over, and its media session is closed.
    Ended {
        /// The call.
        call: control::SessionId,
        /// The name of the trunk it came from.
        from: String,
        /// The name of the trunk it went to, if it got so far.
        to: Option<String>,
        /// How it ended.
        outcome: Outcome,
        /// Since the answer; 0 if there was none.
        talk_ns: u64,
        /// What the media process relayed, if it said so.
        report: Option<control::SessionReport>,
    },
    /// Moorline is registered with a trunk.
    Registered {
        /// The trunk's name.
        trunk: String,
        /// For how long.
        granted_s: u32,
    },
    /// Moorline could not register with a trunk now; it goes on trying.
    NotRegistered {
        /// The trunk's name.
        trunk: String,
        /// What the registrar answered, if it did.
        status: Option<u16>,
        /// Whether the registration before still holds.
        registered: bool,
    },
    /// A media process is connected that may not serve all that the trunks want of it. Every connection is told of once
    /// in a process, by its first worker.
    MediaServes {
        /// The trunks whose media range it does not have, with the range: their calls are refused.
        unserved: Vec<(String, String)>,
        /// It relays no fax, and a trunk wants that: offers of T.38 are answered 488.
        without_fax: bool,
    },
    /// A call came back from the media process's listing after a restart of signaling.
    Restored {
        /// The call.
        call: control::SessionId,
    },
    /// A session of the listing could not be understood, and was closed.
    NotRestored {
        /// The session.
        session: control::SessionId,
        /// Why.
        reason: String,
    },
}

/// How a call attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered, and ended by a BYE of the caller.
    CallerHungUp,
    /// Answered, and ended by a BYE of the called party.
    CalleeHungUp,
    /// Answered, and ended here: no media from either side.
    MediaTimeout,
    /// Answered, and ended here: no ACK to the 200.
    NoAck,
    /// Answered, and ended here: it lasted as long as a call may.
    TooLong,
    /// Answered, and ended here because its media session was lost.
    MediaLost,
    /// Answered, and ended here: a party did not refresh the session in time, or did not answer our refresh (RFC
    /// 4028).
    Expired,
    /// Answered, and ended by an operator.
    OperatorHungUp,
    /// Answered, and transferred by one of its parties: the other one goes on in another call.
    Transferred,
    /// Not answered: the caller cancelled.
    Cancelled,
    /// Not answered: an operator ended it.
    OperatorCancelled,
    /// Not answered: the called side refused, with this status.
    Refused(u16),
    /// Not answered: refused here, with this status.
    Rejected(u16),
}
