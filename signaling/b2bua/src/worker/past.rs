//! Calls between trunks whose media go past us.

use moorline_sip::Uri;

use super::{Arrival, Worker};
use crate::media::{Remote, is_private};
use crate::registrar::is_behind_nat;

impl Worker {
    /// Whether media go from one party to the other: both trunks want it so, both speak the same IP version, and no NAT is
    /// seen in front of the caller.
    pub(super) fn goes_past(
        &self,
        arrival: Arrival<'_>,
        [trunk, egress]: [usize; 2],
        offer: Option<&[Remote]>,
    ) -> bool {
        let [from, to] = [trunk, egress].map(|trunk| &self.policy.trunks[trunk]);
        if from.relay.inbound || to.relay.outbound {
            return false;
        }
        let family = |listener: usize| self.policy.listeners[listener].bind.is_ipv4();
        let source = arrival.flow.remote.ip();
        let contact = arrival.message.contact().ok().flatten().and_then(|contact| Uri::parse(contact.uri).ok());
        let signaling = contact.is_some_and(|contact| is_behind_nat(arrival.flow, arrival.message, &contact));
        let elsewhere = |remote: &Remote| remote.rtp.is_some_and(|rtp| is_private(rtp.ip()) && rtp.ip() != source);
        let media = offer.is_some_and(|offer| offer.iter().any(elsewhere));
        family(from.listener) == family(to.listener) && !signaling && !media
    }
}
