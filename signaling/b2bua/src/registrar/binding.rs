//! A binding: one device that a user is reached at.

use std::sync::Arc;

use moorline_sip::transaction::Flow;
use moorline_sip::{Message, NameAddr, Uri};

use crate::next_hop::reachable;

/// The address of record: a user of a trunk. Users of different trunks are different, whatever their names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Aor {
    /// The trunk, by position in the policy.
    pub(crate) trunk: usize,
    /// The user part, without escapes.
    pub(crate) user: Arc<[u8]>,
}

/// One device that a user is reached at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Binding {
    /// Names the binding in this process.
    pub(crate) serial: u64,
    /// The Contact URI: what a call to it has as its Request-URI.
    pub(crate) contact: Vec<u8>,
    /// The preference that was asked for, in thousandths.
    pub(crate) q: Option<u16>,
    /// `+sip.instance`, with its quotes: the same device, whatever its Contact (RFC 5626 4.1).
    pub(crate) instance: Option<Vec<u8>>,
    /// `reg-id`: which of its flows.
    pub(crate) reg_id: Option<Vec<u8>>,
    /// Where the REGISTER came from.
    pub(crate) flow: Flow,
    /// There is NAT between: what the device says of itself is not where its requests come from.
    pub(crate) nat: bool,
    /// The way to the device (RFC 3327).
    pub(crate) path: Vec<Vec<u8>>,
    /// The REGISTER that made or refreshed it.
    pub(crate) call_id: Vec<u8>,
    pub(crate) cseq: u32,
    pub(crate) refreshed_at: u64,
    pub(crate) expires_at: u64,
}

impl Binding {
    /// Where a call to the device is sent: over the stream it keeps open; through the NAT that it is behind; else to
    /// the first proxy on its path, or to its Contact.
    pub(crate) fn hop(&self) -> Flow {
        if self.flow.transport.is_reliable() {
            return self.flow;
        }
        let uri = match self.path.first() {
            Some(path) => NameAddr::parse(path).map(|path| path.uri.to_vec()).unwrap_or_default(),
            None if self.nat => return self.flow,
            None => self.contact.clone(),
        };
        let named = Uri::parse(&uri).ok().and_then(|uri| uri.socket_addr(self.flow.transport.default_port()));
        match named.filter(|address| reachable(*address, self.flow.remote)) {
            Some(remote) => Flow { remote, ..self.flow },
            None => self.flow,
        }
    }

    /// Whether it is the device of this contact: the same instance, or the same URI (RFC 3261 10.2.4).
    pub(crate) fn is_of(&self, contact: &NameAddr<'_>) -> bool {
        if let (Some(own), Some(Some(other))) = (&self.instance, contact.param(b"+sip.instance")) {
            return own == other && self.reg_id.as_deref() == contact.param(b"reg-id").flatten();
        }
        match (Uri::parse(&self.contact), Uri::parse(contact.uri)) {
            (Ok(own), Ok(other)) => own.is_equivalent(&other),
            _ => self.contact == contact.uri,
        }
    }

    /// What is left of it at `now`, in seconds; a started one counts.
    pub(crate) fn remaining_s(&self, now: u64) -> u64 {
        self.expires_at.saturating_sub(now).div_ceil(1_000_000_000)
    }

    /// A Contact value of the answer to its REGISTER.
    pub(crate) fn shown(&self, now: u64) -> Vec<u8> {
        let mut value = b"<".to_vec();
        value.extend_from_slice(&self.contact);
        value.push(b'>');
        if let Some(q) = self.q {
            value.extend_from_slice(format!(";q={}.{:03}", q / 1000, q % 1000).as_bytes());
        }
        let params = [("+sip.instance", &self.instance), ("reg-id", &self.reg_id)];
        for (name, text) in params.into_iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            value.extend_from_slice(format!(";{name}=").as_bytes());
            value.extend_from_slice(text);
        }
        value.extend_from_slice(format!(";expires={}", self.remaining_s(now)).as_bytes());
        value
    }
}

/// Whether there is NAT between us and who sent a request from `source`, about itself, with this contact: the host
/// that it names is another one, or the port that its Via names is not the one that it has here. A stream comes from
/// any port.
pub(crate) fn is_behind_nat(flow: Flow, request: Message<'_>, contact: &Uri<'_>) -> bool {
    let Some(named) = contact.socket_addr(5060) else { return true };
    let source = flow.remote;
    let datagram = !flow.transport.is_reliable();
    let mapped = || request.via().is_ok_and(|via| via.port.unwrap_or(5060) != source.port());
    named.ip().to_canonical() != source.ip().to_canonical() || (datagram && named.port() != source.port() && mapped())
}
