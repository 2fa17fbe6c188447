//! Streams that end in mid-call: whoever has opened one may be gone behind it, or only the stream is. Requests in its
//! dialogs go to where these say that it is, on a new one (RFC 3261 18.2.2, 12.2.1.1).

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, Flow};
use moorline_sip::{Dialog, Index, Uri, unescape};

use super::{ClientUse, Worker};
use crate::leg::{Leg, Side};
use crate::registrar::Aor;

impl Worker {
    /// A stream has ended, or could not be opened.
    pub(super) fn stream_broken(&mut self, now: u64, flow: Flow) {
        if !flow.transport.is_reliable() {
            return self.layer.broken(now, flow);
        }
        let unanswered = self.layer.unanswered(flow);
        self.leave_stream(flow);
        self.layer.broken(now, flow);
        for (client, request) in unanswered {
            self.send_elsewhere(now, client, flow, &request);
        }
    }

    /// Nobody is spoken to over this stream any more. An endpoint is reached in no other way until it registers anew.
    fn leave_stream(&mut self, flow: Flow) {
        let hops = &self.next_hops;
        for leg in self.calls.values_mut().flat_map(|call| &mut call.legs) {
            if leg.flow == flow && !leg.endpoint {
                leg.flow = hops.without_stream(leg.dialog.as_ref(), flow);
            }
        }
        for end in self.subscriptions.values_mut().flat_map(|subscription| &mut subscription.ends) {
            if end.flow == flow {
                end.flow = hops.without_stream(end.dialog.as_ref(), flow);
            }
        }
    }

    /// The streams of a restored call have ended with the process that had them.
    pub(super) fn leave_streams_of(&mut self, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        for leg in call.legs.iter_mut().filter(|leg| leg.flow.transport.is_reliable() && !leg.endpoint) {
            leg.flow = self.next_hops.without_stream(leg.dialog.as_ref(), leg.flow);
        }
    }

    /// Sends a request inside a dialog once more, where its stream has ended before anything was answered: on another
    /// one, and to another place if the dialog says so. Whoever had got it already takes the two for one (RFC 3261
    /// 17.2.3). What fails the second time is not sent to the same place again.
    fn send_elsewhere(&mut self, now: u64, client: ClientId, flow: Flow, request: &[u8]) {
        let again = self.resent.contains(&client);
        let way = self.other_way(now, client, request).filter(|hop| hop.transport == flow.transport);
        let Some(hop) = way.filter(|hop| !again || *hop != flow) else { return };
        let Some(usage) = self.clients.remove(&client) else { return };
        let Ok(again) = self.layer.request(now, hop, request.to_vec()) else {
            self.clients.insert(client, usage);
            return;
        };
        self.proofs.moved(client, again);
        self.follow_client(&usage, client, again);
        let within = usage.dialogs();
        self.clients.insert(again, usage);
        if let Some(call) = within.and_then(|id| self.calls.get_mut(&id)) {
            call.legs.iter_mut().filter(|leg| leg.endpoint && leg.flow == flow).for_each(|leg| leg.flow = hop);
        }
        self.resent.insert(again);
    }

    /// Where a request inside a dialog would go now.
    fn other_way(&self, now: u64, client: ClientId, request: &[u8]) -> Option<Flow> {
        let mut index = Index::new();
        let request = index.parse(request).ok()?;
        let (call_id, ours) = (request.call_id().ok()?, request.from().ok()?.tag()?);
        let same = |dialog: &Dialog| dialog.call_id == call_id && dialog.local_tag == ours;
        let within = self.clients.get(&client).and_then(ClientUse::dialogs)?;
        if let Some(call) = self.calls.get(&within) {
            let side = Side::BOTH.into_iter().find(|side| call.dialog(*side).is_some_and(same))?;
            let anew = self.registered_stream(now, call.leg(side));
            return Some(anew.unwrap_or_else(|| call.next_hop(side, &self.next_hops)));
        }
        let ends = &self.subscriptions.get(&within)?.ends;
        let end = ends.iter().find(|end| end.dialog.as_ref().is_some_and(same))?;
        Some(end.next_hop(&self.next_hops))
    }

    /// The stream over which the endpoint of a leg is registered by now: the only one, or the one from the same address
    /// as before.
    fn registered_stream(&self, now: u64, leg: &Leg) -> Option<Flow> {
        let dialog = leg.dialog.as_ref().filter(|_| leg.endpoint)?;
        // Snapshots do not say who it is; its Contact does.
        let user = leg.user.as_deref().or(Uri::parse(&dialog.remote_target).ok()?.user)?;
        let aor = Aor { trunk: leg.trunk, user: unescape(user).as_ref().into() };
        let bindings = self.registrar.location.reached(now, &aor).map(|binding| binding.flow);
        let alike = |flow: &Flow| flow.transport == leg.flow.transport && flow.listener == leg.flow.listener;
        let streams: Vec<Flow> = bindings.filter(alike).collect();
        match streams[..] {
            [only] => Some(only),
            _ => streams.into_iter().find(|flow| flow.remote.ip() == leg.flow.remote.ip()),
        }
    }
}

impl ClientUse {
    /// The call or subscription in whose dialog a request is.
    fn dialogs(&self) -> Option<SessionId> {
        match self {
            ClientUse::Invite(_) => None,
            ClientUse::Join(_, (old, _)) => Some(*old),
            ClientUse::Pass(passing) => passing.within,
            usage => usage.call(),
        }
    }
}
