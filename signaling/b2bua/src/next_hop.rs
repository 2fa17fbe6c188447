//! Where requests inside dialogs go: to the next hop that the dialog names (RFC 3261 12.2.1.1, 8.1.2), as far as the
//! peer that named it may be believed.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

use moorline_sip::transaction::Flow;
use moorline_sip::{Dialog, Scheme, Transport, Uri};

use crate::locate::{Family, Hop, Target, Transports};
use crate::policy::Listener;

/// Names whose hops are remembered at once; beyond that, the oldest is forgotten.
const MAX_NAMES: usize = 8192;

/// The ways that the next hops of dialogs lead: the listeners, and what host names among them were found to be.
///
/// A name stays with the hop that it was found to be first, so that all requests of a dialog take the same way; another
/// takes its place when that one fails.
pub(crate) struct NextHops {
    listeners: Vec<Listener>,
    found: HashMap<Target, Hop>,
    oldest: VecDeque<Target>,
}

impl NextHops {
    pub(crate) fn new(listeners: Vec<Listener>) -> NextHops {
        NextHops { listeners, found: HashMap::new(), oldest: VecDeque::new() }
    }

    /// Where requests in a dialog go: the address its next hop names, or was found to have; where that is not known, or
    /// of another kind than the peer's signaling comes from, that source. So a private Contact is believed of a private
    /// peer, and nobody can point us at loopback or multicast. An `endpoint` may be behind NAT, where its Contact names
    /// another host than the one it is reached at. It is spoken to over the transport that it names, if the listener
    /// has that.
    pub(crate) fn of(&self, dialog: Option<&Dialog>, flow: Flow, endpoint: bool) -> Flow {
        let named = dialog.and_then(|dialog| self.named(dialog.next_hop(), flow, endpoint));
        let remote = flow.remote;
        match named.filter(|hop| reachable(hop.address, remote) && (!endpoint || hop.address.ip() == remote.ip())) {
            // A stream is the way back for whoever opened it, whatever its Contact says (RFC 5923, RFC 5626).
            Some(hop) if !flow.transport.is_reliable() || hop.address.ip() != remote.ip() => {
                Flow { transport: hop.transport, remote: hop.address, ..flow }
            }
            _ => flow,
        }
    }

    /// The same where the stream that a peer has opened is no more: it takes connections where its dialog says.
    pub(crate) fn without_stream(&self, dialog: Option<&Dialog>, flow: Flow) -> Flow {
        let named = dialog.and_then(|dialog| self.named(dialog.next_hop(), flow, false));
        named.filter(|hop| reachable(hop.address, flow.remote)).map_or(flow, |hop| Flow {
            transport: hop.transport,
            remote: hop.address,
            ..flow
        })
    }

    fn named(&self, next: &[u8], flow: Flow, endpoint: bool) -> Option<Hop> {
        let uri = Uri::parse(next).ok()?;
        let asked = uri.transport().ok().flatten();
        let offered = self.listeners.get(flow.listener).map_or(&[][..], |listener| &listener.transports[..]);
        let transport = asked.filter(|transport| !endpoint && offered.contains(transport));
        match uri.socket_addr(transport.unwrap_or_default().default_port()) {
            Some(address) => Some(Hop { transport: transport.unwrap_or(flow.transport), address }),
            None => self.found.get(&self.name(next, flow)?).copied(),
        }
    }

    /// What must be looked up to know where a next hop leads (RFC 3263 section 4); `None` for an address.
    pub(crate) fn name(&self, next: &[u8], flow: Flow) -> Option<Target> {
        let uri = Uri::parse(next).ok()?;
        if uri.socket_addr(0).is_some() {
            // As good as always.
            return None;
        }
        let listener = self.listeners.get(flow.listener)?;
        if uri.socket_addr(0).is_some() {
            return None;
        }
        let host = std::str::from_utf8(uri.maddr().unwrap_or(uri.host)).ok()?.to_ascii_lowercase();
        // Names under .invalid are there to be no names (RFC 2606, RFC 7118 5).
        let none = host.is_empty() || host.ends_with(".invalid");
        (!none && matches!(uri.scheme, Scheme::Sip | Scheme::Sips)).then(|| Target {
            host,
            port: uri.port,
            transport: uri.transport().ok().flatten(),
            secure: uri.scheme == Scheme::Sips,
            transports: Transports::new(listener.transports.iter().copied()),
            family: Family::of(listener.bind.ip()),
        })
    }

    /// A name was looked up: `hops` are those that may be believed, the best first.
    pub(crate) fn learn(&mut self, name: Target, hops: &[Hop]) {
        let known = self.found.get(&name).is_some_and(|known| hops.contains(known));
        let Some(best) = hops.first().filter(|_| !known) else { return };
        if self.found.insert(name.clone(), *best).is_none() {
            self.oldest.push_back(name);
        }
        if self.oldest.len() > MAX_NAMES
            && let Some(oldest) = self.oldest.pop_front()
        {
            self.found.remove(&oldest);
        }
    }

    /// The hop of a name has failed: the best of the others takes its place.
    pub(crate) fn failed(&mut self, name: &Target, failed: Hop, hops: &[Hop]) {
        if let Some(other) = hops.iter().find(|hop| **hop != failed)
            && let Some(known) = self.found.get_mut(name)
        {
            *known = *other;
        }
    }
}

/// Where a party is spoken to that was so at `flow`, and has sent a request from `came`. Who speaks over UDP has sent over
/// TCP what is long (RFC 3261 18.1.1), and may close the stream when it is answered; and who has begun so goes on over
/// UDP. What came over TLS stays there.
pub(crate) fn spoken_to(flow: Flow, came: Flow) -> Flow {
    let for_length =
        flow.transport == Transport::Udp && came.transport.is_reliable() && came.remote.ip() == flow.remote.ip();
    let weaker = flow.transport == Transport::Tls && came.transport != Transport::Tls;
    if for_length || weaker { flow } else { Flow { listener: flow.listener, ..came } }
}

/// Whether a peer that speaks from `source` may be believed to be reached at `named`.
pub(crate) fn reachable(named: SocketAddr, source: SocketAddr) -> bool {
    named.is_ipv4() == source.is_ipv4()
        && (named.ip() == source.ip() || address_kind(named.ip()) == address_kind(source.ip()))
}

/// What can be reached from where: an address of one kind is no way to a peer of another.
#[derive(PartialEq, Eq)]
enum AddressKind {
    Loopback,
    Private,
    Public,
    /// Unspecified, multicast, broadcast: nobody in particular.
    Nobody,
}

fn address_kind(address: IpAddr) -> AddressKind {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || broadcast {
        AddressKind::Nobody
    } else if address.is_loopback() {
        AddressKind::Loopback
    } else if crate::media::is_private(address) {
        AddressKind::Private
    } else {
        AddressKind::Public
    }
}
