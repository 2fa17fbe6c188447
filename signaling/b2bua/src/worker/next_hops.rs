//! Host names that are the next hop of a dialog: looked up by RFC 3263 as soon as a Contact or Record-Route names them,
//! so that requests in the dialog need not wait.

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow};
use moorline_sip::{Message, Method, Name, NameAddr, OwnedMessage, Transport};

use super::boundary::link;
use super::targets::Waiter;
use super::{Arrival, ClientUse, Worker};
use crate::Output;
use crate::extension::RAck;
use crate::leg::Side;
use crate::locate::{Hop, Located, NotLocated, Target, Ticket};
use crate::next_hop::reachable;

/// A name that is looked up, and the response that is gone on with when that is over: what answers it, ACK or PRACK,
/// goes there.
pub(super) struct Named {
    name: Target,
    flow: Flow,
    held: Option<(ClientId, OwnedMessage)>,
}

impl Worker {
    /// Looks up the next hop that a request names in its sender's dialog. The request does not wait: until the name is
    /// known, its sender is where it speaks from.
    pub(super) fn look_up_sender(&mut self, arrival: Arrival<'_>) {
        use Method::{Invite, Notify, Refer, Subscribe, Update};
        let Arrival { now, flow, message, .. } = arrival;
        if !matches!(message.method(), Some(Invite | Notify | Refer | Subscribe | Update)) {
            return;
        }
        let Some(name) = self.name_in(message, message.values(Name::RecordRoute).next(), flow) else { return };
        let routed = self.dialog_of(arrival).is_some_and(|(id, side)| self.is_routed(id, side));
        if !routed && let Some(ticket) = self.look_up(now, &name, flow) {
            self.waiters.insert(ticket, Waiter::NextHop(Box::new(Named { name, flow, held: None })));
        }
    }

    /// Looks up the next hop that a response names. True where the response must wait for it.
    pub(super) fn is_held(&mut self, arrival: Arrival<'_>, client: ClientId) -> bool {
        let Arrival { now, flow, message, .. } = arrival;
        let status = message.status().unwrap_or_default();
        if !(101..300).contains(&status) {
            return false;
        }
        let Some(name) = self.name_in(message, message.values(Name::RecordRoute).last(), flow) else { return false };
        let routed = self.answer_dialog(message).is_some_and(|(id, side)| self.is_routed(id, side));
        let Some(ticket) = (if routed { None } else { self.look_up(now, &name, flow) }) else { return false };
        // What else is answered has nothing to follow it, and over a stream its transaction is over before DNS has said
        // anything (RFC 3261 17.1.2.2, timer K).
        let invite = message.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
        let acknowledged = invite && (status >= 200 || RAck::due(message).is_some());
        let held = acknowledged.then(|| (client, message.to_owned()));
        let waits = held.is_some();
        self.waiters.insert(ticket, Waiter::NextHop(Box::new(Named { name, flow, held })));
        if let Some(ClientUse::Invite(id)) = self.clients.get(&client).filter(|_| waits) {
            // The called side has shown signs of life.
            self.heard(arrival, client, *id);
        }
        waits
    }

    /// A name was looked up.
    pub(super) fn next_hop_found(&mut self, now: u64, named: Named, hops: Result<Vec<Hop>, NotLocated>) {
        let Named { name, flow, held } = named;
        self.learn_hops(now, name, flow, hops);
        if let Some((client, message)) = held {
            self.answer(Arrival { now, flow, message: message.view(), user: None }, client);
        }
    }

    /// Looks up the names in the dialogs of a call that was restored.
    pub(super) fn look_up_restored(&mut self, now: u64, id: SessionId) {
        for side in Side::BOTH {
            let Some(leg) = self.calls.get(&id).map(|call| call.leg(side)) else { return };
            let (flow, endpoint) = (leg.flow, leg.endpoint);
            let next = leg.dialog.as_ref().map(|dialog| self.next_hops.name(dialog.next_hop(), flow));
            if let Some(name) = next.flatten().filter(|_| !endpoint && link(&self.policy, self.boundary, flow).dns)
                && let Some(ticket) = self.look_up(now, &name, flow)
            {
                self.waiters.insert(ticket, Waiter::NextHop(Box::new(Named { name, flow, held: None })));
            }
        }
    }

    /// A request in the dialog of `side` was not answered: where its next hop is a name, the next request goes to
    /// another of its hops.
    pub(super) fn next_hop_failed(&mut self, now: u64, id: SessionId, side: Side) {
        let Some(call) = self.calls.get(&id) else { return };
        let leg = call.leg(side);
        let Some(dialog) = &leg.dialog else { return };
        let Some(name) = self.next_hops.name(dialog.next_hop(), leg.flow) else { return };
        let (flow, failed) = (leg.flow, leg.next_hop(&self.next_hops));
        self.fared(now, failed, None);
        if let Located::Ready(Ok(hops)) = self.locator.locate(now, &name) {
            let hops = self.believed(now, flow, &hops);
            self.next_hops.failed(&name, Hop { transport: failed.transport, address: failed.remote }, &hops);
        }
    }

    /// The name of the next hop that a message says, if it is one and may count.
    fn name_in(&self, message: Message<'_>, route: Option<&[u8]>, flow: Flow) -> Option<Target> {
        let next = match route {
            Some(route) => NameAddr::parse(route).ok()?,
            None => message.contact().ok()??,
        };
        self.next_hops
            .name(next.uri, flow)
            .filter(|_| !self.is_endpoint(flow) && link(&self.policy, self.boundary, flow).dns)
    }

    /// True where a dialog has a route set: Contact says nothing of the next hop then.
    fn is_routed(&self, id: SessionId, side: Side) -> bool {
        let dialog = self.calls.get(&id).and_then(|call| call.leg(side).dialog.as_ref());
        dialog.is_some_and(|dialog| !dialog.route_set.is_empty())
    }

    /// Looks a name up; a ticket where DNS must be asked.
    fn look_up(&mut self, now: u64, name: &Target, flow: Flow) -> Option<Ticket> {
        match self.locator.locate(now, name) {
            Located::Ready(hops) => {
                self.learn_hops(now, name.clone(), flow, hops);
                None
            }
            Located::Pending(ticket) => Some(ticket),
        }
    }

    fn learn_hops(&mut self, now: u64, name: Target, flow: Flow, hops: Result<Vec<Hop>, NotLocated>) {
        let hops = self.believed(now, flow, &hops.unwrap_or_default());
        // What a peer says is no reason to ask for another name where a trunk is.
        let is_target = |hop: &&Hop| self.policy.trunks.iter().any(|trunk| trunk.has_target(hop.address));
        for hop in hops.iter().filter(|hop| hop.transport == Transport::Tls && !is_target(hop)) {
            self.outputs.push_back(Output::Name { remote: hop.address, name: name.host.clone() });
        }
        self.next_hops.learn(name, &hops);
    }

    /// Hops that a peer may be reached at, those alive first.
    fn believed(&self, now: u64, flow: Flow, hops: &[Hop]) -> Vec<Hop> {
        let mut hops = self.health.order(now, hops);
        hops.retain(|hop| reachable(hop.address, flow.remote));
        hops
    }
}
