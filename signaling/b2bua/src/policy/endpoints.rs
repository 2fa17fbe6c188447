//! Endpoints: telephones that register with Moorline.

use super::{Policy, Trunk};

/// The registrar of a trunk whose peers are endpoints. They are asked for credentials
/// ([`Trunk::authentication`]), and called by their user names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// The hosts that may stand in the addresses they register; any where it is empty.
    pub domains: Vec<String>,
    /// How many contacts a user may have at once, where its own entry does not say.
    pub max_contacts: usize,
    /// What becomes of a contact too many.
    pub when_full: WhenFull,
    /// The shortest time that may be asked for, in seconds; less is answered 423.
    pub min_expires_s: u32,
    /// The time that is granted where none is asked for.
    pub default_expires_s: u32,
    /// The longest time that is granted.
    pub max_expires_s: u32,
    /// How often endpoints behind NAT, and those on streams, are sent an OPTIONS; 0 for never.
    pub keep_alive_s: u32,
    /// The way of media between two endpoints.
    pub media: EndpointMedia,
}

/// What becomes of a contact too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It takes the place of the one that was refreshed the longest time ago: a telephone that comes back on another
    /// address is let in, and so is a second device, which takes the line from the first.
    #[default]
    Replace,
    /// It is refused, until the other one expires.
    Refuse,
}

/// The way of media between two endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EndpointMedia {
    /// From one to the other, where neither is seen to be behind NAT, or both are behind the same.
    #[default]
    Bypass,
    /// Through the media process.
    Anchor,
}

impl Default for Endpoints {
    fn default() -> Endpoints {
        Endpoints {
            domains: Vec::new(),
            max_contacts: 1,
            when_full: WhenFull::default(),
            min_expires_s: 60,
            default_expires_s: 3600,
            max_expires_s: 7200,
            keep_alive_s: 27,
            media: EndpointMedia::default(),
        }
    }
}

impl Endpoints {
    /// Whether an address at this host may be registered. `own` is what the listener calls itself.
    pub(crate) fn serves(&self, host: &[u8], own: &str) -> bool {
        let named = |domain: &String| host.eq_ignore_ascii_case(domain.as_bytes());
        self.domains.is_empty() || self.domains.iter().any(named) || host == own.as_bytes()
    }
}

impl Policy {
    /// The trunks that endpoints register with, by position.
    pub(crate) fn registrars(&self) -> impl Iterator<Item = (usize, &Trunk)> {
        self.current_trunks().filter(|(_, trunk)| trunk.endpoints.is_some())
    }
}
