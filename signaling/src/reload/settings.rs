//! What a reload changes besides the policy: settings of threads, which no call holds on to.

use moorline_b2bua::Overload;

use crate::Config;
use crate::resolver::DnsConfig;

/// Settings that each thread follows. They are published before the policy of the same configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Bounds at the transport's edge.
    pub(crate) overload: Overload,
    /// How names are looked up.
    pub(crate) dns: DnsConfig,
    /// Where the hours and days of routes and limits are.
    pub(crate) time_zone: Option<String>,
}

impl From<&Config> for Settings {
    fn from(config: &Config) -> Settings {
        Settings { overload: config.overload.bounds(), dns: config.dns.clone(), time_zone: config.time_zone.clone() }
    }
}
