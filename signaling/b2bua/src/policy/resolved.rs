//! What the host names of a trunk's targets were found to be.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

/// The most addresses that a target's name is believed to have.
const MAX_ADDRESSES: usize = 64;

/// The addresses of a trunk's named targets: requests from there are the trunk's. All clones share them, so that
/// whoever decides by a policy knows what one worker has looked up; it is read where no configured address fits, and
/// written when DNS says something new.
#[derive(Debug, Clone, Default)]
pub struct Resolved(Arc<RwLock<BTreeMap<usize, Vec<SocketAddr>>>>);

impl PartialEq for Resolved {
    /// What was looked up so far is nothing that is configured.
    fn eq(&self, _: &Resolved) -> bool {
        true
    }
}

impl Eq for Resolved {}

impl Resolved {
    /// Replaces what is known of a target, by its position in the trunk.
    pub fn set(&self, target: usize, addresses: impl IntoIterator<Item = SocketAddr>) {
        let addresses: Vec<SocketAddr> = addresses.into_iter().take(MAX_ADDRESSES).collect();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(target, addresses);
    }

    /// What is known of a target, by its position in the trunk.
    pub fn of(&self, target: usize) -> Vec<SocketAddr> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&target).cloned().unwrap_or_default()
    }

    /// Whether a target is at this address and port.
    pub fn is_at(&self, address: SocketAddr) -> bool {
        self.any(|known| known == address)
    }

    /// Whether a target is at this address, whatever its port.
    pub fn is_on(&self, address: IpAddr) -> bool {
        self.any(|known| known.ip() == address)
    }

    fn any(&self, fits: impl Fn(SocketAddr) -> bool) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.values().flatten().any(|address| fits(*address))
    }
}
