//! What the operator writes under `[signaling]`: one documented struct per configured thing.

mod accounts;
mod answers;
mod api;
mod cdr;
mod descriptions;
mod dialogs;
mod doubts;
mod fault;
mod files;
mod headers;
mod hops;
mod limits;
mod link;
mod listeners;
mod numbers;
mod overload;
mod resolve;
mod routes;
mod secret;

use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use moorline_b2bua::policy::Target;
use serde::Deserialize;

pub use accounts::{
    AlgorithmConfig, AuthenticationConfig, CredentialsConfig, EndpointMediaConfig, RegistrarConfig, RegistrationConfig,
    SecretText, UserConfig, WhenFullConfig,
};
pub use answers::{AnswerConfig, StatusConfig, WayConfig};
pub use api::ApiConfig;
pub use cdr::{
    AccountingConfig, CdrConfig, FilesConfig, PostgresConfig, SqliteConfig, VendorAttributes, WhenJournalFullConfig,
};
pub use descriptions::PrivateMediaConfig;
pub use dialogs::{ReferConfig, ReliableProvisionalConfig, SessionTimerConfig, StunConfig, UnknownMethodsConfig};
pub use doubts::{Doubts, NamedAnnouncement};
pub use fault::ConfigFault;
pub use headers::{HeaderRuleConfig, MessagesConfig};
pub use hops::LargeConfig;
pub use limits::{DirectionLimitsConfig, ListRowConfig, RefusalsConfig, TrunkLimitsConfig};
pub use link::RelayConfig;
pub use listeners::{ClientsConfig, ListenerConfig, StreamsConfig, TlsConfig, TransportConfig};
pub use numbers::{
    AssertionConfig, CallerConfig, EditConfig, FormConfig, LengthConfig, NumberRuleConfig, NumberingPlanConfig,
    TrunkNumbersConfig,
};
pub use overload::OverloadConfig;
pub use routes::{
    FailoverConfig, ReasonConfig, RefuseConfig, RouteConfig, RouteNumbersConfig, ShareConfig, TrunkGroupConfig,
    TrunksConfig,
};
pub use secret::{SecretPrefixConfig, WithoutPrefixConfig};

use crate::radius::RadiusConfig;
use crate::resolver::DnsConfig;

/// The signaling process's configuration. Every key may be left out, but without `trunks` nobody can call.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The number of this host among its peers; part of every identifier made here.
    pub node: u16,
    /// The media process's control socket.
    pub control: PathBuf,
    /// Where `/metrics` and `/healthz` are served; a loopback address.
    pub admin: SocketAddr,
    /// How long calls' media outlives this process unless a restarted one takes the calls back, in seconds.
    pub lease_s: u32,
    /// The user to become after the sockets are bound, when started as root. Started as root without it,
    /// the process refuses to serve any address that is not loopback.
    pub user: Option<String>,
    /// How many threads carry calls, each with sockets and calls of its own: 1 to 16. Half the cores if left out,
    /// for the media process has work too.
    pub workers: Option<usize>,
    /// Where SIP is received.
    pub listeners: Vec<ListenerConfig>,
    /// The peers.
    pub trunks: Vec<TrunkConfig>,
    /// Where called numbers go.
    pub routes: Vec<RouteConfig>,
    /// More routes, a million if need be: a CSV file whose first line names its columns: `prefix`, and `to` (a trunk or a
    /// group), `redirect` or `refuse` (`403 Barred`); also `caller_prefix`, `from` and `when`, as routes here have them.
    pub routes_file: Option<PathBuf>,
    /// Trunks by one name, in the order in which calls try them.
    pub trunk_groups: Vec<TrunkGroupConfig>,
    /// How numbers are dialled, for the rules that add and remove area codes.
    pub numbering_plans: Vec<NumberingPlanConfig>,
    /// How names of targets are looked up.
    pub dns: DnsConfig,
    /// Who is asked about users that are not named here.
    pub radius: Option<RadiusConfig>,
    /// Where the hours and days of routes and limits are: the IANA name of a time zone, such as `Asia/Shanghai`. The
    /// host's own if left out.
    pub time_zone: Option<String>,
    /// The directory for what outlives this process and belongs to no call: where endpoints are registered,
    /// how often callees were called today, what was set by command, and what a rollback goes back to. If left out, `/var/lib/moorline` where a trunk has
    /// a registrar or limits the calls to a callee, as far as it can be written.
    pub state: Option<PathBuf>,
    /// Where call detail records go.
    pub cdr: CdrConfig,
    /// The socket on which a running process takes commands (`moorline limits`, `moorline blacklist`), of mode 0600. If
    /// left out, `signaling.sock` beside the control socket, as far as it can be made.
    pub command: Option<PathBuf>,
    /// Who may use the HTTP interface for operators on the admin address.
    pub api: ApiConfig,
    /// Who may not call whom.
    pub blacklist: Vec<ListRowConfig>,
    /// Who may all the same.
    pub whitelist: Vec<ListRowConfig>,
    /// Bounds of every call.
    pub limits: LimitsConfig,
    /// What is done when more comes than can be served.
    pub overload: OverloadConfig,
    /// Bounds of TCP and TLS connections.
    pub streams: StreamsConfig,
}

/// One peer: `[[signaling.trunks]]`.
///
/// What is known of a carrier already need not be written: `preset = "aliyun-sip"`, and `region = "shanghai"` where the
/// preset has regions, puts the preset's keys beneath those that stand here, which win: tables key by key, lists whole.
/// `preset_without = ["limits.outbound.calls_per_caller"]` does without some. `moorline preset list` names the presets,
/// `moorline preset show NAME` prints one. They are resolved before this struct is read, and no part of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrunkConfig {
    /// The name in routes, logs and metrics.
    pub name: String,
    /// The listener it is reached through.
    pub listener: String,
    /// Networks its requests come from, besides its targets. Anybody else gets silence.
    #[serde(default)]
    pub sources: Vec<IpNet>,
    /// Where its calls are sent, in order of preference: `192.0.2.1:5060`, `carrier.example` (looked up by
    /// RFC 3263), `sip:carrier.example;transport=tcp`, `sips:carrier.example`.
    #[serde(default, deserialize_with = "targets")]
    pub targets: Vec<Target>,
    /// Whether calls are spread over its targets: each begins with one that is drawn, and the others are for failover. An
    /// INVITE to a name is spread by DNS in any case, as its records say.
    #[serde(default)]
    pub spread: bool,
    /// The host in the Request-URI, To and From of what is sent to it, where that is not the target's: the
    /// domain behind an outbound proxy, a logical name that need not resolve.
    #[serde(default)]
    pub domain: Option<String>,
    /// How long a target may say nothing at all before the next one is tried, in seconds; 0 waits for 32.
    #[serde(default = "default_failover_s")]
    pub failover_s: u32,
    /// How often its targets are asked by OPTIONS whether they are alive, in seconds, up to 3600; 0 asks none. If left
    /// out, 30 with two targets or more, and 0 with one: calls would be tried there all the same. One that does not
    /// answer, or answers 503, is tried after all others until it does.
    #[serde(default)]
    pub probe_s: Option<u32>,
    /// The media range (`[[media.ranges]]`) its legs take ports from.
    #[serde(default = "default_media_range")]
    pub media_range: String,
    /// Networks its media may come from; empty allows any address that its SDP names.
    #[serde(default)]
    pub media_sources: Vec<IpNet>,
    /// Whether its media may come from elsewhere than its SDP says.
    #[serde(default)]
    pub media_nat: MediaNatConfig,
    /// What becomes of private media addresses from a public source: `latch`, `allow` or `refuse`.
    #[serde(default)]
    pub private_media: PrivateMediaConfig,
    /// The audio codecs of its calls, the most wanted first: `["pcma", "pcmu"]`, names as in `a=rtpmap`. Offers that it
    /// makes and gets hold no others, and those that it gets are in this order; a codec must be allowed by both trunks of
    /// a call. Telephone events and comfort noise stay. Where none is left, 488. Any codec, in any order, if left out.
    #[serde(default)]
    pub codecs: Vec<String>,
    /// How long a call may ring there, in seconds; 0 for as long as `limits.ring_s` allows. Then the next trunk of the
    /// route is tried, or the caller hears 480, or 408 where nothing was heard of the trunk.
    #[serde(default)]
    pub no_answer_s: u32,
    /// Whether the media of its calls go through here.
    #[serde(default)]
    pub relay: RelayConfig,
    /// The names of which its connections must show one by a client certificate, besides coming from its sources (which
    /// may be any, then): for a listener that serves TLS alone and has a `client_ca`. They tell apart trunks that have the
    /// same sources; who shows none of them belongs to the trunk there that asks for none, if any. Of several trunks
    /// whose names are shown the one with the narrowest network counts, then the first. Wildcards are for nobody, and SIP URIs of a certificate go before its DNS
    /// names (RFC 5922). A reload by which a connection is no longer its trunk's closes it, whose calls go on when it comes
    /// again. Connections that are opened to the trunk are its own by where they lead: the far end shows the target's name.
    #[serde(default)]
    pub tls_identities: Vec<String>,
    /// The address that it is shown in Via, Contact and From, where that is not its listener's: behind a NAT with several
    /// public addresses.
    #[serde(default)]
    pub advertised: Option<SocketAddr>,
    /// Whether requests to it ask for answers to the port that they come from (RFC 3581).
    #[serde(default = "yes")]
    pub rport: bool,
    /// Whether host names are looked up for it. Without, its targets are addresses, and inside calls it is spoken to where
    /// it speaks from, whatever name its Contact or Record-Route says.
    #[serde(default = "yes")]
    pub dns: bool,
    /// The secret prefixes of called numbers that were agreed on with it.
    #[serde(default, deserialize_with = "secret::table")]
    pub secret_prefix: SecretPrefixConfig,
    /// What is added to its messages, left out of them, or said otherwise in them.
    #[serde(default)]
    pub headers: Vec<HeaderRuleConfig>,
    /// What its refusals become, and those that it is to hear.
    #[serde(default)]
    pub answers: Vec<AnswerConfig>,
    /// Whether identity headers (P-Asserted-Identity and its like) may cross between it and another trusted
    /// trunk.
    #[serde(default)]
    pub trusted: bool,
    /// What becomes of requests that are too long for UDP.
    #[serde(default)]
    pub large: LargeConfig,
    /// The most bytes of a request that goes over UDP, 200 to 65000; 1300 is what RFC 3261 says where the path is
    /// unknown.
    #[serde(default = "default_max_udp_bytes")]
    pub max_udp_bytes: u32,
    /// What becomes of a redirection (3xx) by it.
    #[serde(default)]
    pub redirects: RedirectsConfig,
    /// Its requests are taken only with a name and a password; without this, its sources are enough.
    #[serde(default)]
    pub authentication: Option<AuthenticationConfig>,
    /// Its peers are endpoints, which register here.
    #[serde(default)]
    pub registrar: Option<RegistrarConfig>,
    /// What it is shown where it asks us for credentials.
    #[serde(default)]
    pub credentials: Option<CredentialsConfig>,
    /// Moorline registers itself with it.
    #[serde(default)]
    pub registration: Option<RegistrationConfig>,
    /// Whether callers are not named to it, even those who do not ask for that (RFC 3323): From becomes
    /// anonymous.
    #[serde(default)]
    pub withhold_caller: bool,
    /// What is made of the numbers of its calls.
    #[serde(default)]
    pub numbers: TrunkNumbersConfig,
    /// Who callers are said to be to it.
    #[serde(default)]
    pub caller: CallerConfig,
    /// Whether its provisional answers, and ours to it, are acknowledged: `off`, `supported` or `required`.
    #[serde(default)]
    pub reliable_provisional: ReliableProvisionalConfig,
    /// How its sessions are kept alive.
    #[serde(default)]
    pub session_timer: SessionTimerConfig,
    /// Whether fax streams (T.38) are carried; an offer of one is refused with 488 else, and fax goes on as audio.
    #[serde(default = "yes")]
    pub fax: bool,
    /// Whether video streams are carried. Where one of a call's two trunks does not, they are refused by port 0
    /// (RFC 3264 section 6) and the audio goes on without; an offer of video alone is refused with 488.
    #[serde(default = "yes")]
    pub video: bool,
    /// What becomes of STUN on media ports: `refuse` or `relay`.
    #[serde(default)]
    pub stun: StunConfig,
    /// What becomes of transfers that it asks for, or that the other party of its calls asks for: `pass`, `handle` or
    /// `refuse`. Where the two trunks of a call differ, the latter counts.
    #[serde(default)]
    pub refer: ReferConfig,
    /// Whether methods that are not known here cross inside a call: `pass` or `refuse`.
    #[serde(default)]
    pub unknown_methods: UnknownMethodsConfig,
    /// How many calls it may have, how fast, from whom and to whom.
    #[serde(default)]
    pub limits: TrunkLimitsConfig,
}

/// Whether media may be latched (symmetric RTP).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaNatConfig {
    /// Never.
    Off,
    /// Where the SDP shows a private address and the signaling came from another one.
    #[default]
    Auto,
    /// Always, towards the signaling source or the trunk's media sources.
    Always,
}

/// What becomes of a redirection (3xx) by a trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RedirectsConfig {
    /// Its contacts are tried, where they are of the same peer or a route leads to it for their numbers.
    #[default]
    Follow,
    /// The caller hears it, with our address in place of each contact's host.
    Pass,
}

/// Bounds of every call: `[signaling.limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The most calls at once; above it a new call is answered 503 with Retry-After.
    pub calls: u32,
    /// The longest a call may last after the answer, in seconds.
    pub call_duration_s: u32,
    /// The longest the called party may ring, in seconds.
    pub ring_s: u32,
    /// Without media from either side for this long an answered call is ended, in seconds.
    pub media_timeout_s: u32,
    /// The most announcements to refused callers at once; above it they are refused without.
    pub announcements: u32,
    /// How many callees of a day are remembered, for the trunks that limit the calls to each: 1 to 100 million, with 36
    /// bytes of memory and of disk for each.
    pub callees: u32,
    /// What becomes of calls to others when so many were called: `refuse` (503), or `pass`, uncounted.
    pub callees_full: CalleesFullConfig,
}

/// What becomes of a call to one callee more than are remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalleesFullConfig {
    /// It is refused.
    #[default]
    Refuse,
    /// It passes, and is not counted.
    Pass,
}

impl Default for Config {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Config {
            node: 0,
            control: PathBuf::from("/run/moorline/media.sock"),
            admin: loopback(9060),
            lease_s: 60,
            user: None,
            workers: None,
            listeners: vec![ListenerConfig::new("local", loopback(5060))],
            trunks: Vec::new(),
            routes: Vec::new(),
            routes_file: None,
            trunk_groups: Vec::new(),
            numbering_plans: Vec::new(),
            dns: DnsConfig::default(),
            radius: None,
            time_zone: None,
            state: None,
            cdr: CdrConfig::default(),
            command: None,
            api: ApiConfig::default(),
            blacklist: Vec::new(),
            whitelist: Vec::new(),
            limits: LimitsConfig::default(),
            overload: OverloadConfig::default(),
            streams: StreamsConfig::default(),
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        LimitsConfig {
            calls: 20_000,
            call_duration_s: 4 * 3600,
            ring_s: 180,
            media_timeout_s: 60,
            announcements: 100,
            callees: 1_000_000,
            callees_full: CalleesFullConfig::Refuse,
        }
    }
}

/// Four seconds: a peer that is there says at least 100 within 200 ms (RFC 3261 8.2.6.1), lost datagrams or not.
fn default_failover_s() -> u32 {
    4
}

fn targets<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Target>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| text.parse().map_err(serde::de::Error::custom)).collect()
}

fn yes() -> bool {
    true
}

fn default_max_udp_bytes() -> u32 {
    1300
}

fn default_media_range() -> String {
    "edge".into()
}

#[cfg(test)]
mod tests;
