//! How a trunk is spoken to, and where the media of its calls go, as it is written.

use moorline_b2bua::policy::{Link, Relay};
use rustls::pki_types::ServerName;
use serde::Deserialize;

use super::fault::Faults;
use super::resolve::reachable;
use super::{ListenerConfig, TransportConfig, TrunkConfig};

/// Whether the media of a trunk's calls go through Moorline: `relay = { outbound = false }`. They go past it, from one
/// party to the other, only where the trunk that calls has `inbound = false` and the one that is called has
/// `outbound = false`, both are of one IP version, and no NAT is seen in front of the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelayConfig {
    /// Of calls that the trunk makes.
    pub inbound: bool,
    /// Of calls that are made to it.
    pub outbound: bool,
}

impl Default for RelayConfig {
    fn default() -> RelayConfig {
        let Relay { inbound, outbound } = Relay::default();
        RelayConfig { inbound, outbound }
    }
}

impl TrunkConfig {
    /// Faults in the identities that its connections must show. `key` names the trunk.
    pub(super) fn check_identities(&self, key: &str, listener: Option<&ListenerConfig>, faults: &mut Faults) {
        let key = format!("{key}.tls_identities");
        for (index, name) in self.tls_identities.iter().enumerate() {
            if ServerName::try_from(name.as_str()).is_err() {
                let problem = format!("{name:?} is no name that a certificate could be for");
                faults.add(format!("{key}[{index}]"), problem, "write a host name such as \"pbx.example.com\"");
            }
        }
        let Some(listener) = listener.filter(|_| !self.tls_identities.is_empty()) else { return };
        let asks = listener.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        if listener.transports != [TransportConfig::Tls] || !asks {
            let problem = format!("listener {:?} lets others in, who show no certificate", listener.name);
            let remedy = "use a listener with transports = [\"tls\"] and `client_ca`";
            faults.add(key, problem, remedy);
        }
    }

    /// Whether what the connections of two trunks show tells them apart: other names, or names of one of them alone.
    pub(super) fn shows_other_than(&self, other: &TrunkConfig) -> bool {
        let is_shared = |name: &String| other.tls_identities.iter().any(|theirs| theirs.eq_ignore_ascii_case(name));
        let none = self.tls_identities.is_empty() && other.tls_identities.is_empty();
        !none && !self.tls_identities.iter().any(is_shared)
    }

    pub(super) fn relay(&self) -> Relay {
        Relay { inbound: self.relay.inbound, outbound: self.relay.outbound }
    }

    /// How the trunk is spoken to. `key` names it; `ipv4` is said of its listener.
    pub(super) fn link(&self, key: &str, ipv4: Option<bool>, faults: &mut Faults) -> Link {
        if let Some(address) = self.advertised {
            if !reachable(address) {
                let problem = format!("peers cannot answer to {address}");
                faults.add(format!("{key}.advertised"), problem, "name one unicast address and a port");
            } else if ipv4.is_some_and(|ipv4| ipv4 != address.is_ipv4()) {
                let problem = format!("{address} is of another family than the trunk's listener");
                faults.add(format!("{key}.advertised"), problem, "name an address of the listener's family");
            }
        }
        if !self.dns {
            for (position, target) in self.targets.iter().enumerate().filter(|(_, target)| target.name().is_some()) {
                let problem = format!("{target} is a name, and the trunk does without DNS");
                faults.add(format!("{key}.targets[{position}]"), problem, "name an address, or remove `dns = false`");
            }
        }
        Link { advertised: self.advertised, rport: self.rport, dns: self.dns }
    }
}
