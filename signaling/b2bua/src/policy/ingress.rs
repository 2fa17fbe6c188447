//! Whose a request is: the trunk that it comes from, by listener and address, and by the name that a certificate shows.

use std::net::SocketAddr;

use moorline_sip::transaction::{Flow, Identity};

use super::{Policy, Trunk};

/// A name by which a trunk's connections are known, as their certificates show it (RFC 5922 section 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    name: String,
    identity: Identity,
}

impl TlsIdentity {
    /// The identity of this host name or address.
    pub fn new(name: impl Into<String>) -> TlsIdentity {
        let name = name.into();
        TlsIdentity { identity: Identity::of(&name), name }
    }

    /// The name as it is configured.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What flows of those who have shown it carry.
    pub fn identity(&self) -> Identity {
        self.identity
    }
}

impl Policy {
    /// The trunk that a request on `flow` belongs to: one that has its source as a target, else the one with the longest
    /// network that holds it, else one with a target at its address, whatever the port. Those that are identified as the
    /// flow is go before those that are by their addresses alone; those of other identities are not meant. `None` for a
    /// stranger.
    ///
    /// One that is retired is found only where no other one is: nothing new is taken from it.
    pub fn ingress(&self, flow: Flow) -> Option<usize> {
        found(flow, || self.current_trunks())
            .or_else(|| self.has_retired().then(|| found(flow, || self.retired_trunks())).flatten())
    }

    /// Whether whoever speaks on `flow` may connect, and stay: not by what its trunk no longer goes by. As long as calls
    /// last it may otherwise be as a configuration before had it: where the trunk was, or that is no longer there at all.
    pub fn is_welcome(&self, flow: Flow) -> bool {
        let by = |at: usize| self.trunks[self.successor(at)].is_shown(flow.identity);
        self.trunks.iter().enumerate().any(|(at, trunk)| trunk.speaks_on(flow) && by(at))
    }

    /// Whether a trunk goes by this name, or one did that is not configured any more.
    pub fn is_named(&self, identity: Identity) -> bool {
        (0..self.trunks.len()).any(|at| self.trunks[self.successor(at)].is_identified_by(identity))
    }

    /// What whoever connects to `listener` from `source` may be asked to show: the identities of the trunks that speak
    /// from there, the current ones first. `None` for a stranger.
    pub fn expected(&self, listener: usize, source: SocketAddr) -> Option<Vec<&TlsIdentity>> {
        let trunks = self.current_trunks().chain(self.retired_trunks());
        let mut here = trunks.filter(|(_, trunk)| trunk.is_at(listener, source)).peekable();
        here.peek()?;
        Some(here.flat_map(|(_, trunk)| &trunk.tls_identities).collect())
    }

    fn retired_trunks(&self) -> impl Iterator<Item = (usize, &Trunk)> {
        self.trunks.iter().enumerate().filter(|(_, trunk)| trunk.retired)
    }
}

/// The one of these trunks that a request belongs to.
fn found<'a, I: Iterator<Item = (usize, &'a Trunk)>>(flow: Flow, trunks: impl Fn() -> I) -> Option<usize> {
    let here = || trunks().filter(|(_, trunk)| trunk.listener == flow.listener);
    let shown = |shown| nearest(flow.remote, || here().filter(move |(_, trunk)| trunk.is_identified_by(shown)));
    let unasked = || nearest(flow.remote, || here().filter(|(_, trunk)| trunk.tls_identities.is_empty()));
    flow.identity.and_then(shown).or_else(unasked)
}

/// The one of these trunks whose addresses say most of `source`.
fn nearest<'a, I: Iterator<Item = (usize, &'a Trunk)>>(source: SocketAddr, here: impl Fn() -> I) -> Option<usize> {
    if let Some((found, _)) = here().find(|(_, trunk)| trunk.has_target(source)) {
        return Some(found);
    }
    let longest =
        |trunk: &Trunk| trunk.sources.iter().filter(|net| net.contains(&source.ip())).map(|net| net.prefix_len()).max();
    let mut best: Option<(u8, usize)> = None;
    for (index, trunk) in here() {
        if let Some(length) = longest(trunk)
            && best.is_none_or(|(other, _)| length > other)
        {
            best = Some((length, index));
        }
    }
    best.map(|(_, index)| index).or_else(|| {
        let (found, _) = here().find(|(_, trunk)| trunk.has_target_at(source.ip()))?;
        Some(found)
    })
}

impl Trunk {
    /// True for a flow that this trunk's requests may come on: from its sources, on its own listener, and with one of its
    /// identities where it has any.
    pub fn speaks_on(&self, flow: Flow) -> bool {
        self.is_at(flow.listener, flow.remote) && self.is_shown(flow.identity)
    }

    /// Whether that is one of its identities, where it has any.
    fn is_shown(&self, identity: Option<Identity>) -> bool {
        self.tls_identities.is_empty() || identity.is_some_and(|shown| self.is_identified_by(shown))
    }

    fn is_at(&self, listener: usize, source: SocketAddr) -> bool {
        self.listener == listener
            && (self.sources.iter().any(|net| net.contains(&source.ip())) || self.has_target_at(source.ip()))
    }

    fn is_identified_by(&self, shown: Identity) -> bool {
        self.tls_identities.iter().any(|own| own.identity == shown)
    }
}
