//! Whose a request is: the trunk that it comes from, by listener and address, and by what a certificate has shown.

use std::net::SocketAddr;

use moorline_sip::transaction::{Flow, Identity};

use super::{Policy, Trunk};

impl Policy {
    /// The trunk that a request on `flow` belongs to. Where the flow is somebody's, it is that trunk, from its own addresses;
    /// else, of those that ask for no identity, one that has its source as a target, else the one with the longest network
    /// that holds it, else one with a target at its address, whatever the port. `None` for a stranger.
    ///
    /// One that is retired is found only where no other one is: nothing new is taken from it.
    pub fn ingress(&self, flow: Flow) -> Option<usize> {
        found(flow, || self.current_trunks())
            .or_else(|| self.has_retired().then(|| found(flow, || self.retired_trunks())).flatten())
    }

    /// True for a flow that requests of a trunk, or of the one that has taken its place, may come on: from its sources, on
    /// its own listener, and by its identity where it asks for one. Of one that is retired the names may be another's by now.
    pub(crate) fn speaks_on(&self, trunk: usize, flow: Flow) -> bool {
        let known = &self.trunks[trunk];
        let has_names = |(_, other): (usize, &Trunk)| {
            other.is_at(flow)
                && flow.identity == Some(other.identity())
                && other.tls_identities.iter().any(|name| known.goes_by(name))
        };
        // Where nobody was asked, a call is anybody's there who knows it, whoever he has come to be.
        (known.tls_identities.is_empty() && known.is_at(flow))
            || [known, &self.trunks[self.successor(trunk)]]
                .iter()
                .any(|own| own.is_at(flow) && own.is_shown(flow.identity))
            || (known.retired && self.current_trunks().any(has_names))
    }

    /// Whether anybody may speak on `flow`, whatever has to be shown.
    pub fn has_peer_at(&self, flow: Flow) -> bool {
        self.trunks.iter().any(|trunk| trunk.is_at(flow))
    }

    /// Whose a connection is that comes on `flow`: of the trunks there that ask for a name which is shown, the one whose
    /// addresses say most. One that is configured no more, or was there before, has its own as long as calls of it last.
    pub fn identified(&self, flow: Flow, is_shown: impl Fn(&str) -> bool) -> Option<Identity> {
        let is_meant = |(at, trunk): &(usize, &Trunk)| {
            trunk.is_at(flow) && self.trunks[self.successor(*at)].tls_identities.iter().any(|name| is_shown(name))
        };
        let current = nearest(flow.remote, || self.current_trunks().filter(is_meant));
        let meant = current.or_else(|| self.retired_trunks().find(is_meant).map(|(at, _)| at));
        meant.map(|at| self.trunks[at].identity())
    }

    /// Whether a connection may stay, as `flow` has it: not where its trunk now asks for what it does not show, nor where
    /// what it shows is another trunk's.
    pub fn is_welcome(&self, flow: Flow, is_shown: impl Fn(&str) -> bool) -> bool {
        let now = |at: usize| &self.trunks[self.successor(at)].tls_identities;
        let mut here = self.trunks.iter().enumerate().filter(|(_, trunk)| trunk.is_at(flow));
        match flow.identity {
            Some(own) => {
                let is_gone = |at: usize| self.trunks[self.successor(at)].retired;
                let is_another = || self.identified(flow, &is_shown) != Some(own);
                here.any(|(at, trunk)| {
                    trunk.identity() == own
                        && (now(at).is_empty() || now(at).iter().any(|name| is_shown(name)))
                        && !(is_gone(at) && is_another())
                })
            }
            None => {
                let open = here.any(|(at, trunk)| trunk.tls_identities.is_empty() && now(at).is_empty());
                open && self.identified(flow, is_shown).is_none()
            }
        }
    }

    fn retired_trunks(&self) -> impl Iterator<Item = (usize, &Trunk)> {
        self.trunks.iter().enumerate().filter(|(_, trunk)| trunk.retired)
    }
}

/// The one of these trunks that a request belongs to.
fn found<'a, I: Iterator<Item = (usize, &'a Trunk)>>(flow: Flow, trunks: impl Fn() -> I) -> Option<usize> {
    if let Some(own) = flow.identity {
        let (found, _) = trunks().find(|(_, trunk)| trunk.is_at(flow) && trunk.identity() == own)?;
        return Some(found);
    }
    nearest(flow.remote, || {
        trunks().filter(|(_, trunk)| trunk.listener == flow.listener && trunk.tls_identities.is_empty())
    })
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
    /// What its flows carry where it asks for an identity: the same through all configurations in which it has its name.
    pub fn identity(&self) -> Identity {
        Identity::of(&self.name)
    }

    /// True for a flow from its sources, on its own listener.
    pub(crate) fn is_at(&self, flow: Flow) -> bool {
        let source: SocketAddr = flow.remote;
        self.listener == flow.listener
            && (self.sources.iter().any(|net| net.contains(&source.ip())) || self.has_target_at(source.ip()))
    }

    fn goes_by(&self, name: &str) -> bool {
        self.tls_identities.iter().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// Whether a flow may be its own by this identity: nobody else's, and none only where it asks for none.
    fn is_shown(&self, identity: Option<Identity>) -> bool {
        identity.map_or(self.tls_identities.is_empty(), |shown| shown == self.identity())
    }
}
