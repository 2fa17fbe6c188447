//! Rules of the host that decide by more than addresses: what the kernel answers for two addresses need not be what it
//! does with a packet.

use ipnet::IpNet;

use crate::routes::Reason;
use crate::routes::key::Key;

/// The addresses that such a rule is about; `None` is all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::routes) struct Scope {
    pub(in crate::routes) v4: bool,
    pub(in crate::routes) from: Option<IpNet>,
    pub(in crate::routes) to: Option<IpNet>,
}

impl Scope {
    fn covers(&self, key: &Key) -> bool {
        let inside = |net: Option<IpNet>, address| net.is_none_or(|net| net.contains(&address));
        self.v4 == key.destination.is_ipv4() && inside(self.from, key.source) && inside(self.to, key.destination)
    }
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::routes) struct Rules {
    /// Routing rules that look at ports or marks. Traffic class, protocol, user and interface are told to the kernel
    /// when it is asked.
    pub(in crate::routes) narrow: Vec<Scope>,
    /// IPsec policies of outgoing packets.
    pub(in crate::routes) encrypted: Vec<Scope>,
    /// The host has a firewall, and it is to be heeded.
    pub(in crate::routes) firewall: bool,
}

impl Rules {
    pub(super) fn keeps(&self, key: &Key) -> Option<Reason> {
        let covered = |scopes: &[Scope]| scopes.iter().any(|scope| scope.covers(key));
        if self.firewall {
            return Some(Reason::Firewall);
        }
        if covered(&self.encrypted) {
            return Some(Reason::Encrypted);
        }
        covered(&self.narrow).then_some(Reason::Policy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_keeps_the_addresses_that_it_is_about() {
        let scope = |from: Option<&str>, to: Option<&str>| Scope {
            v4: true,
            from: from.map(|net| net.parse().unwrap()),
            to: to.map(|net| net.parse().unwrap()),
        };
        let key = |source: &str, destination: &str| Key::new(source.parse().unwrap(), destination.parse().unwrap(), 0);
        let narrow = vec![scope(Some("10.0.0.0/24"), Some("192.0.2.0/25"))];
        let rules = Rules { narrow, encrypted: vec![scope(None, Some("198.51.100.0/24"))], firewall: false };
        assert_eq!(rules.keeps(&key("10.0.0.9", "192.0.2.127")), Some(Reason::Policy));
        assert_eq!(rules.keeps(&key("10.0.1.9", "192.0.2.127")), None);
        assert_eq!(rules.keeps(&key("10.0.0.9", "192.0.2.128")), None);
        assert_eq!(rules.keeps(&key("10.9.0.9", "198.51.100.1")), Some(Reason::Encrypted));
        let all = Rules { narrow: vec![scope(None, None)], ..Rules::default() };
        assert_eq!(all.keeps(&key("10.0.1.9", "192.0.2.127")), Some(Reason::Policy));
        assert_eq!(all.keeps(&key("2001:db8::1", "2001:db8::2")), None);
        let firewall = Rules { firewall: true, ..Rules::default() };
        assert_eq!(firewall.keeps(&key("2001:db8::1", "2001:db8::2")), Some(Reason::Firewall));
    }
}
