//! The signaling process: it owns the SIP sockets, the clock and the control connection, and drives the
//! back-to-back user agent ([`moorline_b2bua::Worker`]) with what they say.
//!
//! [`run`] serves until SIGTERM or SIGINT. It then stops at once and closes no call: the media process keeps
//! every session for [`Config::lease_s`], media never pauses, and a process started within that time takes
//! the calls back from the snapshots kept there. This is how a new version is put in place.
#![forbid(unsafe_code)]

mod access;
mod admin;
mod api;
mod cdr;
mod clock;
pub mod command;
mod config;
mod error;
mod event_loop;
mod limits;
mod mail;
mod media_client;
mod metrics;
mod privilege;
mod process;
pub mod radius;
mod reload;
pub mod resolver;
pub mod store;
mod transport;

pub use api::OPENAPI;
pub use cdr::CdrFault;
pub use config::{
    AccountingConfig, ApiConfig, CdrConfig, FilesConfig, PostgresConfig, SqliteConfig, VendorAttributes,
    WhenJournalFullConfig,
};
pub use config::{
    AlgorithmConfig, AnswerConfig, AuthenticationConfig, CredentialsConfig, EndpointMediaConfig, HeaderRuleConfig,
    MessagesConfig, PrivateMediaConfig, RegistrarConfig, RegistrationConfig, RelayConfig, SecretPrefixConfig,
    SecretText, StatusConfig, UserConfig, WayConfig, WhenFullConfig, WithoutPrefixConfig,
};
pub use config::{
    AssertionConfig, CallerConfig, EditConfig, FormConfig, LengthConfig, NumberRuleConfig, NumberingPlanConfig,
    TrunkNumbersConfig,
};
pub use config::{CalleesFullConfig, DirectionLimitsConfig, ListRowConfig, RefusalsConfig, TrunkLimitsConfig};
pub use config::{
    ClientsConfig, Config, ConfigFault, LargeConfig, LimitsConfig, ListenerConfig, MediaNatConfig, OverloadConfig,
    RedirectsConfig, ReferConfig, ReliableProvisionalConfig, SessionTimerConfig, StreamsConfig, StunConfig, TlsConfig,
    TransportConfig, TrunkConfig, UnknownMethodsConfig,
};
pub use config::{Doubts, NamedAnnouncement};
pub use config::{
    FailoverConfig, ReasonConfig, RefuseConfig, RouteConfig, RouteNumbersConfig, ShareConfig, TrunkGroupConfig,
    TrunksConfig,
};
pub use error::SignalingError;
pub use moorline_b2bua::cdr::{Party, Record};
pub use moorline_b2bua::inspect;
pub use moorline_b2bua::policy::Policy;
pub use process::run;
pub use reload::{Change, ConfigurationReply, ReloadReply, Source, TakenOverBy};

/// Says how many lines of the process's log were lost, whenever it is asked: it does not wait.
pub type LostLines = std::sync::Arc<dyn Fn() -> u64 + Send + Sync>;
