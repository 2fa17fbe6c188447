//! The boundary to each trunk: what must happen to a message before anybody looks at it, and as the last thing before it
//! is sent. Secret prefixes are taken off and put on here, and header rules applied.

use std::sync::Arc;

use moorline_control::SessionId;
use moorline_sip::transaction::Flow;
use moorline_sip::{Index, Message};

use super::{Arrival, Worker};
use crate::Output;
use crate::forward::Shown;
use crate::identity::of_tag;
use crate::policy::{Link, Policy, WithoutPrefix, changed_headers};
use crate::secret::{self, Concealed};

/// Whether there is anything to do at all.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Boundary {
    secrets: bool,
    rules: bool,
    links: bool,
}

impl Boundary {
    pub(super) fn of(policy: &Policy) -> Boundary {
        let trunks = &policy.trunks;
        let secret = |prefixes: &crate::policy::SecretPrefixes| prefixes.received.is_some() || prefixes.sent.is_some();
        Boundary {
            secrets: trunks.iter().any(|trunk| secret(&trunk.secret_prefix)),
            links: trunks.iter().any(|trunk| trunk.link != Link::default()),
            rules: trunks.iter().any(|trunk| !trunk.headers.received.is_empty() || !trunk.headers.sent.is_empty()),
        }
    }
}

/// How the trunk at the far end of a flow is spoken to.
pub(super) fn link(policy: &Policy, boundary: Boundary, flow: Flow) -> Link {
    let trunk = boundary.links.then(|| policy.ingress(flow)).flatten();
    trunk.and_then(|trunk| policy.trunks.get(trunk)).map(|trunk| trunk.link).unwrap_or_default()
}

/// How this host is shown there.
pub(super) fn shown(policy: &Policy, boundary: Boundary, flow: Flow) -> Shown {
    let link = link(policy, boundary, flow);
    let address = link.advertised.unwrap_or_else(|| policy.listeners[flow.listener].advertised);
    Shown { address, transport: flow.transport, secure: false, rport: link.rport }
}

/// What became of a message at the boundary.
pub(super) enum Crossed {
    /// It is as it came.
    AsItCame,
    /// This is it.
    Rewritten(Vec<u8>),
    /// It was refused, or is not heard.
    Refused,
}

impl Worker {
    /// A message comes in.
    pub(super) fn cross_in(&mut self, arrival: Arrival<'_>) -> Crossed {
        if !self.boundary.secrets && !self.boundary.rules {
            return Crossed::AsItCame;
        }
        let Arrival { flow, message, .. } = arrival;
        let trunk = self.trunk_at(flow, Some(message)).and_then(|trunk| self.policy.trunks.get(trunk));
        let concealed = match self.boundary.secrets {
            true => secret::concealed(message, trunk),
            false => Concealed::AsItCame,
        };
        let rewritten = match concealed {
            Concealed::AsItCame => None,
            Concealed::Rewritten(bytes) => Some(bytes),
            // What is no request at all is refused as that.
            Concealed::Lacking(_) if message.check().is_err() => secret::stripped(message, trunk),
            Concealed::Lacking(without) => {
                let stripped = secret::stripped(message, trunk);
                self.lacking(arrival, stripped.as_deref(), without);
                return Crossed::Refused;
            }
        };
        let rules = trunk.map_or(&[][..], |trunk| &trunk.headers.received);
        let changed = match &rewritten {
            _ if rules.is_empty() => None,
            None => changed_headers(rules, message),
            Some(bytes) => {
                let mut index = Index::new();
                index.parse(bytes).ok().and_then(|message| changed_headers(rules, message))
            }
        };
        changed.or(rewritten).map_or(Crossed::AsItCame, Crossed::Rewritten)
    }

    /// A request does not show its trunk's secret prefix. Unless the trunk's own
    /// answer is configured, it says nothing that would help whoever tries. What is answered is the request without the
    /// prefix, where that stands in another place (`stripped`).
    fn lacking(&mut self, arrival: Arrival<'_>, stripped: Option<&[u8]>, without: WithoutPrefix) {
        self.counters.without_prefix += 1;
        let (status, reason) = match &without {
            WithoutPrefix::Silence => return,
            WithoutPrefix::Forbid => (403, "Forbidden"),
            WithoutPrefix::Refuse { status, reason } => (*status, &**reason),
        };
        // Nothing is kept of it; its repetitions get the same answer.
        if let Some(tag) = self.layer.tag_of_new(arrival.flow, arrival.message) {
            let mut index = Index::new();
            let message = stripped.and_then(|bytes| index.parse(bytes).ok()).unwrap_or(arrival.message);
            self.answer_stateless(Arrival { message, ..arrival }, status, reason, &tag, &[]);
        }
    }

    /// The trunk at the far end of a flow: for a message in a dialog the one that the dialog began with, whatever has taken
    /// its place.
    fn trunk_at(&self, flow: Flow, message: Option<Message<'_>>) -> Option<usize> {
        let message = message.filter(|_| self.policy.has_retired());
        let began = message.and_then(|message| {
            let tags = [message.to(), message.from()].map(|party| party.ok().and_then(|party| of_tag(party.tag()?)));
            tags.into_iter().flatten().find_map(|tag| self.began_with(tag))
        });
        let retired = began.filter(|trunk| self.policy.trunks.get(*trunk).is_some_and(|trunk| trunk.retired));
        retired.or_else(|| self.policy.ingress(flow))
    }

    /// The trunk that a dialog with this tag of ours began with.
    fn began_with(&self, tag: SessionId) -> Option<usize> {
        if let Some((id, side)) = self.subscription_tags.get(&tag) {
            return self.subscriptions.get(id).map(|subscription| subscription.end(*side).trunk);
        }
        let (id, side) = self.tags.get(&tag)?;
        let call = self.calls.get(id)?;
        let attempt = call.attempts.iter().find(|attempt| attempt.tag == tag);
        Some(attempt.map_or(call.leg(*side).trunk, |attempt| attempt.trunk))
    }

    /// A message goes out.
    pub(super) fn cross_out(&mut self, flow: Flow, bytes: Arc<[u8]>) {
        let bytes = match self.boundary.secrets || self.boundary.rules {
            true => self.as_sent(flow, &bytes).map_or(bytes, Into::into),
            false => bytes,
        };
        self.outputs.push_back(Output::Transmit { flow, bytes });
    }

    fn as_sent(&self, flow: Flow, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut index = Index::new();
        let message = self.policy.has_retired().then(|| index.parse(bytes).ok()).flatten();
        let to = self.trunk_at(flow, message);
        let rules = to.and_then(|to| self.policy.trunks.get(to)).map_or(&[][..], |trunk| &trunk.headers.sent);
        let mut index = Index::new();
        let changed = match rules.is_empty() {
            true => None,
            false => index.parse(bytes).ok().and_then(|message| changed_headers(rules, message)),
        };
        if !self.boundary.secrets {
            return changed;
        }
        secret::revealed(changed.as_deref().unwrap_or(bytes), to, &self.policy.trunks).or(changed)
    }

    /// A URI or address with a called number, as it goes to a trunk: with the mark of its secret prefix in front.
    pub(super) fn marked(&self, trunk: usize, text: Vec<u8>) -> Vec<u8> {
        let Some(trunk) = self.policy.trunks.get(trunk) else { return text };
        match trunk.secret_prefix.sent {
            Some(_) => secret::marked(&text, &secret::mark(trunk)),
            None => text,
        }
    }
}
