//! What a trunk's dialogs may do beyond RFC 3261, as it is written.

use moorline_b2bua::policy::{Dialogs, Refer, ReliableProvisional, SessionTimers};
use serde::Deserialize;

use super::TrunkConfig;
use super::fault::Faults;

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

/// What becomes of a REFER (RFC 3515), by which a party asks the other one to call somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReferConfig {
    /// It crosses to the other party, which calls anew, through here.
    #[default]
    Pass,
    /// Moorline carries it out: whoever is referred to is called by the routes, as if the party that asks had called, and
    /// joined with the other party, which needs to know nothing of REFER.
    Handle,
    /// It is refused with 403.
    Refuse,
}

/// What becomes of STUN (RFC 8489) on media ports, by which parties look for a way past Moorline (ICE) or keep a NAT
/// open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StunConfig {
    /// It is refused, and counted.
    #[default]
    Refuse,
    /// It crosses, where the other party's trunk lets it too.
    Relay,
}

/// What becomes of methods that Moorline does not know, inside a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownMethodsConfig {
    /// They cross, where the other party's trunk lets them too.
    #[default]
    Pass,
    /// They are refused with 501.
    Refuse,
}

/// Session timers (RFC 4028), by which calls end that a party has silently left: `session_timer = { refresh_s = 900 }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionTimerConfig {
    /// Whether they are offered and taken at all.
    pub enabled: bool,
    /// The interval within which a refresh must come, in seconds; shorter where the peer asks for that.
    pub refresh_s: u32,
    /// The shortest interval that the peer may ask for, in seconds; 90 or more. A shorter one is refused with 422.
    pub min_s: u32,
}

impl Default for SessionTimerConfig {
    fn default() -> Self {
        SessionTimerConfig { enabled: true, refresh_s: 1800, min_s: 90 }
    }
}

impl TrunkConfig {
    /// Faults in what it says of dialogs.
    pub(super) fn check_dialogs(&self, faults: &mut Faults, index: usize) {
        let timer = self.session_timer;
        if timer.min_s < 90 {
            let problem = format!("{} s: no peer may ask for less than 90 (RFC 4028)", timer.min_s);
            faults.add(format!("trunks[{index}].session_timer.min_s"), problem, "use 90 or more");
        }
        if timer.refresh_s < timer.min_s {
            let problem = format!("{} s is shorter than min_s, {} s", timer.refresh_s, timer.min_s);
            faults.add(format!("trunks[{index}].session_timer.refresh_s"), problem, "use min_s or more");
        }
    }

    /// What this trunk's dialogs may do.
    pub(super) fn dialogs(&self) -> Dialogs {
        Dialogs {
            reliable_provisional: match self.reliable_provisional {
                ReliableProvisionalConfig::Off => ReliableProvisional::Off,
                ReliableProvisionalConfig::Supported => ReliableProvisional::Supported,
                ReliableProvisionalConfig::Required => ReliableProvisional::Required,
            },
            session_timers: self
                .session_timer
                .enabled
                .then_some(SessionTimers { refresh_s: self.session_timer.refresh_s, min_s: self.session_timer.min_s }),
            fax: self.fax,
            video: self.video,
            stun: self.stun == StunConfig::Relay,
            refer: match self.refer {
                ReferConfig::Pass => Refer::Pass,
                ReferConfig::Handle => Refer::Handle,
                ReferConfig::Refuse => Refer::Refuse,
            },
            unknown_methods: self.unknown_methods == UnknownMethodsConfig::Pass,
        }
    }
}
