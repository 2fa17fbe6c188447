//! Calls to endpoints: where they are registered, and whether media need go through here.

use moorline_sip::transaction::Flow;
use moorline_sip::{Transport, Uri, unescape};

use super::setup::Refused;
use super::targets::is_secure;
use super::{Arrival, Worker};
use crate::attempt::Destination;
use crate::media::{self, Remote};
use crate::policy::EndpointMedia;
use crate::registrar::{Aor, is_behind_nat};

/// An endpoint that is called.
pub(super) struct Called {
    /// The trunk that it belongs to.
    pub(super) trunk: usize,
    /// Its user's name.
    pub(super) user: Box<[u8]>,
    /// All its devices: they ring together.
    pub(super) destinations: Vec<Destination>,
    /// Where its devices speak from, and whether they are behind NAT there.
    sources: Vec<(Flow, bool)>,
}

impl Worker {
    /// Whether whoever speaks on a flow is an endpoint.
    pub(super) fn is_endpoint(&self, flow: Flow) -> bool {
        let trunk = self.policy.ingress(flow);
        trunk.is_some_and(|trunk| self.policy.trunks[trunk].endpoints.is_some())
    }

    /// The endpoint of this number that a request is for, if it is one: over TLS to the very device, where it is by a
    /// `sips` URI (RFC 3261 26.2.2).
    ///
    /// # Errors
    /// A user that is known and not registered, or not so: 480.
    pub(super) fn endpoint_for(&self, arrival: Arrival<'_>, called: &[u8]) -> Result<Option<Called>, Refused> {
        let mut endpoint = self.registered_endpoint(arrival.now, called)?;
        if let Some(called) = endpoint.as_mut().filter(|_| is_secure(arrival.message)) {
            called.destinations.retain(|device| device.flow.transport == Transport::Tls);
            if called.destinations.is_empty() {
                return Err(Refused::because(480, "Not Registered Over TLS"));
            }
        }
        Ok(endpoint)
    }

    /// The endpoint of this number, if it is one: before all routes.
    ///
    /// # Errors
    /// A user that is known and not registered: 480.
    fn registered_endpoint(&self, now: u64, called: &[u8]) -> Result<Option<Called>, Refused> {
        let number = unescape(called);
        let mut known = false;
        for (trunk, policy) in self.policy.registrars() {
            let aor = Aor { trunk, user: number.as_ref().into() };
            let mut devices: Vec<_> = self.registrar.location.reached(now, &aor).collect();
            // Of those that ring together the most wanted is told first.
            devices.sort_by_key(|binding| std::cmp::Reverse(binding.q.unwrap_or(1000)));
            if !devices.is_empty() {
                let destination = |binding: &&crate::registrar::Binding| Destination {
                    flow: binding.hop(),
                    uri: Some(binding.contact.clone()),
                    host: None,
                    secure: false,
                    route: binding.path.clone(),
                };
                let sources = devices.iter().map(|binding| (binding.flow, binding.nat)).collect();
                let destinations = devices.iter().map(destination).collect();
                return Ok(Some(Called { trunk, user: number.as_ref().into(), destinations, sources }));
            }
            let authentication = policy.authentication.as_ref();
            known |= authentication.is_some_and(|users| users.users.find(&number).is_some());
        }
        if known { Err(Refused::because(480, "Not Registered")) } else { Ok(None) }
    }

    /// Whether media go from one endpoint to the other: both trunks let them, and nobody is behind NAT, or all are
    /// behind the same.
    pub(super) fn bypasses(
        &self,
        arrival: Arrival<'_>,
        trunk: usize,
        offer: Option<&[Remote]>,
        called: &Called,
    ) -> bool {
        let bypass = |trunk: usize| {
            let endpoints = self.policy.trunks[trunk].endpoints.as_ref();
            endpoints.is_some_and(|endpoints| endpoints.media == EndpointMedia::Bypass)
        };
        if !bypass(trunk) || !bypass(called.trunk) {
            return false;
        }
        let source = arrival.flow.remote;
        let contact = arrival.message.contact().ok().flatten().and_then(|contact| Uri::parse(contact.uri).ok());
        let signaling = contact.is_none_or(|contact| is_behind_nat(arrival.flow, arrival.message, &contact));
        let elsewhere =
            |remote: &Remote| remote.rtp.is_some_and(|rtp| media::is_private(rtp.ip()) && rtp.ip() != source.ip());
        let nat = signaling || offer.is_some_and(|offer| offer.iter().any(elsewhere));
        let anybody = nat || called.sources.iter().any(|(_, nat)| *nat);
        !anybody || called.sources.iter().all(|(flow, _)| flow.remote.ip() == source.ip())
    }
}
