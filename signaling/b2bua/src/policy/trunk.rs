//! A trunk: one peer, how it is recognised and reached, and which media it may use.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;

use super::limit::TrunkLimits;
use super::{
    Answers, Authentication, CallerIdentity, Codecs, Credentials, Dialogs, Endpoints, HeaderRules, Link, Registration,
    Relay, Resolved, SecretPrefixes, Target, TrunkNumbers,
};
use crate::locate::Hop;

/// One peer: a carrier, a PBX, a neighbouring proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trunk {
    /// The name in routes, logs and metrics.
    pub name: String,
    /// The listener it is reached through, by position in [`Policy::listeners`](super::Policy::listeners).
    pub listener: usize,
    /// Networks its requests come from, besides its targets.
    pub sources: Vec<IpNet>,
    /// Where its calls are sent, in order of preference.
    pub targets: Vec<Target>,
    /// Calls begin with any of them, drawn for each, and go on with those behind it, round to those before it.
    pub spread: bool,
    /// What the names among them were found to be; a worker looks after it.
    pub resolved: Resolved,
    /// The host in the Request-URI, To and From of what is sent to it, where that is not the target's: behind an
    /// outbound proxy the domain is a logical name, which need not resolve.
    pub domain: Option<String>,
    /// How long a target may say nothing at all before the next one is tried; 0 waits for the transaction's end
    /// (RFC 3261 timer B, 32 s).
    pub failover_ns: u64,
    /// How often each hop of its targets is asked whether it is alive, by OPTIONS; 0 asks none. One that does not
    /// answer, or answers 503, is tried after all others until it does.
    pub probe_ns: u64,
    /// The media range its legs take ports from.
    pub media_range: String,
    /// Networks its media may come from; empty allows any.
    pub media_sources: Vec<IpNet>,
    /// Whether its media may come from elsewhere than its SDP says.
    pub media_nat: MediaNat,
    /// The audio codecs of its calls; those of the other trunk must allow a codec too.
    pub codecs: Codecs,
    /// What becomes of private media addresses that it names from a public one.
    pub private_media: PrivateMedia,
    /// How long a call may ring there, from the INVITE to its first target on, before it is given up; 0 leaves it to
    /// [`Limits::ring_ns`](super::Limits::ring_ns).
    pub no_answer_ns: u64,
    /// The names of which its connections over TLS must show one, by a client certificate, besides coming from its
    /// sources; none need be shown where there is none. They tell it from other trunks whose sources are the same.
    pub tls_identities: Vec<String>,
    /// How it is spoken to.
    pub link: Link,
    /// Whether the media of its calls go through us.
    pub relay: Relay,
    /// The secret prefixes of called numbers on the way from it and to it.
    pub secret_prefix: SecretPrefixes,
    /// What is added to its messages, left out of them, or said otherwise in them.
    pub headers: HeaderRules,
    /// What refusals become, of this trunk and for it.
    pub answers: Answers,
    /// Identity headers (P-Asserted-Identity, Remote-Party-ID, Diversion, History-Info,
    /// P-Charging-Vector) are taken from it and given to it; they cross only between two such trunks
    /// (RFC 3325 2.3).
    pub trusted: bool,
    /// What becomes of requests that are too long for UDP.
    pub large: Large,
    /// What becomes of a redirection by it.
    pub redirects: Redirects,
    /// Callers are not named to it, whether they ask for that (RFC 3323) or not.
    pub withhold_caller: bool,
    /// What is made of the numbers of its calls.
    pub numbers: TrunkNumbers,
    /// Who callers are said to be to it.
    pub caller: CallerIdentity,
    /// What its dialogs may do beyond RFC 3261.
    pub dialogs: Dialogs,
    /// Its requests must show credentials; without, its sources are enough.
    pub authentication: Option<Authentication>,
    /// Its peers are endpoints, which register here.
    pub endpoints: Option<Endpoints>,
    /// What it is shown where it asks for credentials. Its challenges do not reach the caller then.
    pub credentials: Option<Credentials>,
    /// Moorline registers itself with it.
    pub registration: Option<Registration>,
    /// How many calls it may have, and which.
    pub limits: TrunkLimits,
    /// It is only there for the calls that began with it: a later configuration has another one of its name, or none.
    pub retired: bool,
}

/// What becomes of requests to a trunk that would go over UDP and are long (RFC 3261 18.1.1): fragments of datagrams
/// are lost on the way where a middlebox drops them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Large {
    /// They go over TCP, if the listener has that, and over UDP where it is refused.
    Tcp {
        /// The most bytes that still go over UDP.
        above: usize,
    },
    /// They go over UDP like all others.
    Udp,
}

impl Default for Large {
    /// RFC 3261's bound where the path's is unknown.
    fn default() -> Large {
        Large::Tcp { above: 1300 }
    }
}

impl Large {
    /// True for a length that does not go over UDP.
    pub(crate) fn is_over_tcp(self, length: usize) -> bool {
        length > self.above()
    }

    /// The most bytes that go over UDP.
    pub(crate) fn above(self) -> usize {
        match self {
            Large::Tcp { above } => above,
            Large::Udp => usize::MAX,
        }
    }
}

/// What becomes of a 3xx answer to an INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Redirects {
    /// Its contacts are tried, where they are of the same peer or a route leads to it for their numbers.
    #[default]
    Follow,
    /// The caller hears it, with our address in place of each contact's host.
    Pass,
}

/// Whether media may be latched (symmetric RTP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MediaNat {
    /// Never: the SDP's address and port only.
    Off,
    /// Where NAT is seen: the SDP's address is private (RFC 1918, RFC 6598) and the signaling came from
    /// another one. Then towards the signaling source, or the trunk's media sources.
    #[default]
    Auto,
    /// Always, towards the signaling source, or the trunk's media sources.
    Always,
}

/// What becomes of a session description whose media address is private (RFC 1918, RFC 6598) though its party's
/// signaling comes from a public one: no media sent there arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PrivateMedia {
    /// NAT is seen: what [`MediaNat`] says of that holds.
    #[default]
    Latch,
    /// It is believed: there is another way to that address.
    Allow,
    /// An offer is refused with 488, and an answer ends the call.
    Refuse,
}

impl Trunk {
    /// The realm that its credentials are for, if it must show some.
    pub(crate) fn realm(&self) -> Option<&str> {
        self.authentication.as_ref().map(|authentication| authentication.realm.as_str())
    }

    /// The path to one of its hops, on which it is known again.
    pub(crate) fn flow_to(&self, hop: Hop) -> Flow {
        self.flow(hop.transport, hop.address)
    }

    /// The path to where it is said to be.
    pub(crate) fn flow(&self, transport: Transport, remote: SocketAddr) -> Flow {
        let identity = (!self.tls_identities.is_empty()).then(|| self.identity());
        Flow { identity, ..Flow::new(self.listener, transport, remote) }
    }

    /// The host that messages to `target` name, where it is not the hop's own address.
    pub(crate) fn host_at(&self, target: &Target) -> Option<String> {
        self.domain.clone().or_else(|| target.name().map(str::to_owned))
    }

    /// Its targets in the order in which a call tries them. `draw` is a random number.
    pub(crate) fn targets_in_turn(&self, draw: u64) -> VecDeque<Target> {
        let mut targets: VecDeque<Target> = self.targets.iter().cloned().collect();
        if self.spread && !targets.is_empty() {
            // Less than the length, which is a usize.
            targets.rotate_left((draw % targets.len() as u64) as usize);
        }
        targets
    }

    /// True for a host name by which this trunk goes.
    pub(crate) fn is_called(&self, host: &[u8]) -> bool {
        let names = self.domain.iter().map(String::as_str).chain(self.targets.iter().filter_map(Target::name));
        names.into_iter().any(|name| host.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Only names are in `resolved`: there is nothing to ask where there are none.
    fn has_names(&self) -> bool {
        self.targets.iter().any(|target| target.name().is_some())
    }

    /// True for an address of one of its targets.
    pub(crate) fn has_target(&self, address: SocketAddr) -> bool {
        self.targets.iter().any(|target| target.address() == Some(address))
            || (self.has_names() && self.resolved.is_at(address))
    }

    pub(super) fn has_target_at(&self, address: IpAddr) -> bool {
        self.targets.iter().any(|target| target.address().is_some_and(|at| at.ip() == address))
            || (self.has_names() && self.resolved.is_on(address))
    }
}
