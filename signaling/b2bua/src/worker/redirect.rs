//! Redirections (RFC 3261 8.1.3.4): followed where they lead to the same peer or to whom a route leads there, and
//! else passed, with our own address in place of the host. A peer that could send calls just anywhere would be
//! a way to make others pay for them.

use moorline_control::SessionId;
use moorline_sip::transaction::Flow;
use moorline_sip::{Contact, Message, NameAddr, Scheme, Transport, Uri};

use super::Worker;
use super::targets::is_secure;
use crate::attempt::Destination;
use crate::forward;
use crate::leg::Side;
use crate::next_hop::reachable;
use crate::policy::{Redirects, number_of};
use crate::secret::without_marks;

/// The most contacts that one call follows, whoever names them.
const MAX_FOLLOWED: usize = 5;

impl Worker {
    /// Puts the contacts of a redirection in front of what is tried next, the most wanted first. `flow` is where
    /// the redirection came from. False where none may be followed.
    pub(super) fn follow(&mut self, id: SessionId, redirection: Message<'_>, flow: Flow) -> bool {
        let Some(call) = self.calls.get(&id) else { return false };
        let egress = call.leg(Side::Callee).trunk;
        if self.policy.trunks[egress].redirects != Redirects::Follow {
            return false;
        }
        let Some(invite) = &call.invite else { return false };
        // Whoever is called there would make an offer of its own, where the caller has taken one already.
        let offered = call.leg(Side::Caller).reliable.as_ref().is_some_and(|reliable| reliable.holds_offer());
        if !invite.offered && (invite.settled || call.offer.is_some() || offered) {
            return false;
        }
        let room = MAX_FOLLOWED.saturating_sub(invite.followed.len());
        let contacts = wanted_first(redirection);
        let fresh = contacts.into_iter().filter(|contact| !invite.followed.iter().any(|uri| uri == contact.uri));
        let ways: Vec<(Vec<u8>, Destination)> = fresh
            .filter_map(|contact| Some((contact.uri.to_vec(), self.way_to(id, contact.uri, flow)?)))
            .take(room)
            .collect();
        let Some(invite) = self.calls.get_mut(&id).and_then(|call| call.invite.as_mut()) else { return false };
        let any = !ways.is_empty();
        for (uri, destination) in ways.into_iter().rev() {
            invite.followed.push(uri);
            invite.groups.push_front(vec![destination]);
        }
        // It rang there in vain; where it goes now it has not.
        invite.progressed &= !any;
        any
    }

    fn way_to(&self, id: SessionId, contact: &[u8], flow: Flow) -> Option<Destination> {
        let call = self.calls.get(&id)?;
        let egress = call.leg(Side::Callee).trunk;
        let trunk = &self.policy.trunks[egress];
        let uri = Uri::parse(contact).ok()?;
        let host = trunk.targets.first().and_then(|target| trunk.host_at(target));
        if matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            let transport = uri.transport().ok()?.unwrap_or(flow.transport);
            let offered = self.policy.listeners[flow.listener].transports.contains(&transport);
            // A call by a `sips` URI goes over TLS or not at all (RFC 3261 26.2.2).
            let secure = is_secure(call.invite.as_ref()?.request.view());
            let offered = offered && (!secure || transport == Transport::Tls);
            if let Some(remote) = uri.socket_addr(transport.default_port()) {
                // Telephones may speak from anywhere.
                let anywhere = trunk.endpoints.is_some();
                let to = Flow { transport, remote, ..flow };
                if offered && trunk.is_at(to) && (!anywhere || reachable(remote, flow.remote)) {
                    return Some(Destination {
                        flow: to,
                        uri: Some(without_headers(contact, &uri)),
                        host,
                        secure: false,
                        route: Vec::new(),
                    });
                }
            } else if trunk.is_called(uri.host) {
                return Some(Destination {
                    flow,
                    uri: Some(without_headers(contact, &uri)),
                    host,
                    secure: false,
                    route: Vec::new(),
                });
            }
        }
        // Somebody else's address: the number is what counts, if the same trunk leads there.
        let called = without_marks(uri.user.filter(|user| !user.is_empty())?);
        let caller = &call.numbers.routed.caller;
        let at = self.wall.local(self.latest);
        let decision = self.policy.routes.find(
            self.policy.successor(call.leg(Side::Caller).trunk),
            &number_of(&called),
            caller,
            at,
        )?;
        let shown = host.clone().unwrap_or_else(|| flow.remote.to_string());
        let uri = self.marked(egress, forward::request_uri(contact, &shown, false));
        let leads = decision.to.leads_to(self.policy.successor(egress));
        leads.then_some(Destination { flow, uri: Some(uri), host, secure: false, route: Vec::new() })
    }

    /// The contacts of a redirection as the caller is shown them: what it makes of them comes back to us.
    pub(super) fn contacts_for_caller(&self, flow: Flow, redirection: Message<'_>) -> Vec<(&'static str, String)> {
        let shown = self.shown(flow);
        let named = wanted_first(redirection).into_iter().filter_map(|contact| {
            let user = without_marks(Uri::parse(contact.uri).ok()?.user?);
            let user = std::str::from_utf8(&user).ok()?;
            let q = contact.q().map(|q| format!(";q={}.{:03}", q / 1000, q % 1000)).unwrap_or_default();
            Some(("Contact", format!("<{}>{q}", shown.uri(&format!("{user}@")))))
        });
        named.collect()
    }
}

/// The contacts that name somebody, by their q: one without comes as if it were the most wanted.
fn wanted_first(redirection: Message<'_>) -> Vec<NameAddr<'_>> {
    let mut contacts: Vec<NameAddr<'_>> = redirection
        .contacts()
        .filter_map(|contact| match contact {
            Ok(Contact::Address(address)) => Some(address),
            Ok(Contact::Any) | Err(_) => None,
        })
        .collect();
    contacts.sort_by_key(|contact| std::cmp::Reverse(contact.q().unwrap_or(1_000)));
    contacts
}

/// A Request-URI has no headers.
fn without_headers(contact: &[u8], uri: &Uri<'_>) -> Vec<u8> {
    contact[..contact.len().saturating_sub(uri.headers.len())].to_vec()
}
