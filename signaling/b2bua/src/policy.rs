//! Who may call, where calls go, and what each side is shown: plain data that configuration fills.

mod answers;
mod caller;
mod codecs;
mod dialogs;
mod endpoints;
mod headers;
mod ingress;
pub mod limit;
mod link;
mod number;
mod pattern;
mod refusal;
mod resolved;
mod route;
mod secret;
mod succession;
mod target;
mod trunk;
mod users;

use std::net::SocketAddr;

use moorline_sip::Transport;

pub use answers::{AnswerMap, AnswerRule, Answers, Mapped};
pub use caller::{Assertion, CallerIdentity};
pub use codecs::{CodecName, Codecs, NoCodec};
pub use dialogs::{Dialogs, Refer, ReliableProvisional, SessionTimers};
pub use endpoints::{EndpointMedia, Endpoints, WhenFull};
pub(crate) use headers::changed as changed_headers;
pub use headers::{HeaderChange, HeaderRule, HeaderRules, is_protected};
pub use link::{Link, Relay};
pub use number::{At, Change, Edit, Form, NumberRule, NumberRules, Plan, TrunkNumbers};
pub(crate) use number::{number_of, with_number};
pub use pattern::{BadPattern, Pattern, Template};
pub use refusal::Refusal;
pub use resolved::Resolved;
pub use route::{
    Choice, Decision, Failover, Hunt, Names, NoTimes, Phrase, Route, RouteNumbers, Routes, RoutesBuilder, RowFault,
    Times, Twice, Way, check_prefix,
};
pub use secret::{NoPrefix, SecretPrefix, SecretPrefixes, WithoutPrefix};
pub use target::{NoTarget, Target};
pub use trunk::{Large, MediaNat, PrivateMedia, Redirects, Trunk};
pub use users::{Authentication, Challenges, Credentials, Password, Registration, User, Users};

/// Everything a worker decides by.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Where SIP is received; a [`Trunk`] names one by position.
    pub listeners: Vec<Listener>,
    /// The peers, and those of configurations before that calls began with.
    pub trunks: Vec<Trunk>,
    /// Which of them are configured now, in the order of the configuration; all of them where nothing is said.
    pub order: Option<Vec<usize>>,
    /// What becomes of calls.
    pub routes: Routes,
    /// Limits and times of every call.
    pub limits: Limits,
    /// What is written down of calls.
    pub records: Records,
}

/// What is written down of calls.
#[derive(Debug, Clone)]
pub struct Records {
    /// Whether there is anybody who takes the records.
    pub kept: bool,
    /// How often a call that is up is marked, in nanoseconds; 0 for never.
    pub interim_ns: u64,
}

impl Default for Records {
    fn default() -> Self {
        Records { kept: true, interim_ns: 0 }
    }
}

/// One SIP address of this host.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The name that trunks refer to.
    pub name: String,
    /// The bound address.
    pub bind: SocketAddr,
    /// What is served there.
    pub transports: Vec<Transport>,
    /// The address in Via, Contact, From and To: the bound one, or the public one of a 1:1 NAT.
    pub advertised: SocketAddr,
}

/// Bounds that every call keeps. Times in nanoseconds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// The most calls at once; above it a new INVITE is answered 503 with Retry-After.
    pub calls: usize,
    /// The longest a call may last after the answer.
    pub call_duration_ns: u64,
    /// The longest the called party may ring before it is cancelled.
    pub ring_ns: u64,
    /// Without media from either side for this long, an answered call is ended on both legs.
    pub media_timeout_ns: u64,
    /// The most announcements that are played at once; above it callers are refused without.
    pub announcements: usize,
    /// What becomes of a call whose callee cannot be counted, because as many were called today as are remembered: it
    /// is let through, or refused ([`limit::Cause::CalleesFull`]).
    pub pass_when_callees_full: bool,
}

impl Default for Limits {
    fn default() -> Self {
        const SECOND: u64 = 1_000_000_000;
        Limits {
            calls: 20_000,
            call_duration_ns: 4 * 3600 * SECOND,
            ring_ns: 180 * SECOND,
            media_timeout_ns: 60 * SECOND,
            announcements: 100,
            pass_when_callees_full: false,
        }
    }
}
