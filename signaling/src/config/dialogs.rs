//! What a trunk's dialogs may do beyond RFC 3261, as it is written.

use moorline_b2bua::policy::{Dialogs, ReliableProvisional};
use serde::Deserialize;

use super::TrunkConfig;

/// Whether provisional answers (180, 183) are acknowledged, by PRACK (RFC 3262).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReliableProvisionalConfig {
    /// Never: a peer that requires it is refused with 420.
    Off,
    /// Where the peer supports it.
    #[default]
    Supported,
    /// Always: a peer that does not support it is refused with 421.
    Required,
}

impl TrunkConfig {
    /// What this trunk's dialogs may do.
    pub(super) fn dialogs(&self) -> Dialogs {
        Dialogs {
            reliable_provisional: match self.reliable_provisional {
                ReliableProvisionalConfig::Off => ReliableProvisional::Off,
                ReliableProvisionalConfig::Supported => ReliableProvisional::Supported,
                ReliableProvisionalConfig::Required => ReliableProvisional::Required,
            },
        }
    }
}
