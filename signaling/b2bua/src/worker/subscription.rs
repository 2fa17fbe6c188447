//! Subscriptions outside calls (RFC 6665): SUBSCRIBE, and REFER outside a dialog, go by the routes; what follows crosses
//! between the two dialogs that they set up.

use moorline_control::SessionId;
use moorline_sip::transaction::ServerId;
use moorline_sip::{Dialog, Message, Method, Name};

use super::pass::{Passing, Purpose, comes_again, opaque};
use super::{Arrival, ClientUse, Due, Worker};
use crate::forward::Crossing;
use crate::identity::of_tag;
use crate::leg::Side;
use crate::next_hop::spoken_to;
use crate::subscription::{End, Subscription, kept_until};
use crate::{forward, transfer};

impl Worker {
    /// The subscription in whose dialog a request is, and who sent it: from where its trunk speaks, and where that may be
    /// anywhere, from where the party is known to be, or with its credentials.
    pub(super) fn subscription_of(&self, arrival: Arrival<'_>) -> Option<(SessionId, Side)> {
        let Arrival { flow, message: request, .. } = arrival;
        let (id, side) = *self.subscription_tags.get(&of_tag(forward::to_tag(request)?)?)?;
        let end = self.subscriptions.get(&id)?.end(side);
        let trunk = &self.policy.trunks[end.trunk];
        let speaks = self.policy.speaks_on(end.trunk, flow);
        let shown = arrival.user.is_some() && (end.user.is_none() || end.user.as_deref() == arrival.user);
        let itself = trunk.authentication.is_none() || flow.remote.ip() == end.flow.remote.ip() || shown;
        let first = end.dialog.is_none() && request.method() != Some(Method::Notify);
        (speaks && itself && !first && end.is_meant(request)).then_some((id, side))
    }

    /// True while there is room for another.
    pub(super) fn has_room_to_subscribe(&self) -> bool {
        self.subscriptions.len() < self.policy.limits.calls
    }

    /// A request that sets up a subscription went on to the notifier.
    pub(super) fn subscribed(&mut self, now: u64, id: SessionId, ends: [End; 2]) {
        for (end, side) in ends.iter().zip(Side::BOTH) {
            self.subscription_tags.insert(end.tag, (id, side));
        }
        let until = kept_until(now, None);
        self.subscriptions.insert(id, Box::new(Subscription { ends, until }));
        self.timers.set(until, Due::Subscription(id));
    }

    /// A request in a subscription.
    pub(super) fn request_in_subscription(
        &mut self,
        arrival: Arrival<'_>,
        server: ServerId,
        id: SessionId,
        side: Side,
    ) {
        let Arrival { now, message, flow, .. } = arrival;
        let Some(method) = message.method() else { return };
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let end = subscription.end_mut(side);
        if end.dialog.is_none() {
            // RFC 6665 4.4.1: a NOTIFY sets up the dialog, whether the answer to the SUBSCRIBE has come or not.
            end.dialog = Dialog::uas(message, end.tag.to_string().as_bytes()).ok();
            if let Some(dialog) = &mut end.dialog {
                dialog.local_cseq = 1;
            }
        }
        let Some(dialog) = &mut end.dialog else {
            return self.refuse(arrival, server, 400, b"Bad Request - No Usable Contact");
        };
        if dialog.receive(message).is_err() {
            return self.refuse(arrival, server, 500, b"Server Internal Error - CSeq Out Of Order");
        }
        if matches!(method, Method::Notify | Method::Subscribe) {
            dialog.refresh_target(message);
        }
        end.flow = spoken_to(end.flow, flow);
        let state = message.subscription_state().ok().flatten();
        let last = method == Method::Notify && state.is_some_and(|state| state.is_terminated());
        let Some(body) = opaque(arrival) else {
            return self.refuse(arrival, server, 415, b"Unsupported Media Type");
        };
        match method {
            Method::Notify if side == Side::Callee => {
                let left = state.and_then(|state| state.expires);
                if let Some(left) = left {
                    self.keep_subscription(id, kept_until(now, Some(left)));
                }
            }
            Method::Subscribe if side == Side::Caller => {}
            Method::Options | Method::Info | Method::Message => {}
            _ => return self.not_allowed(arrival, server, 405, b"Method Not Allowed"),
        }
        let body = transfer::report(message, body);
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let (from, to) = (subscription.end(side), subscription.end(side.other()));
        let trusted = [from, to].iter().all(|end| self.policy.trunks[end.trunk].trusted);
        let (realm, authenticates) =
            (self.policy.trunks[from.trunk].realm(), self.policy.trunks[to.trunk].credentials.is_some());
        let egress = to.trunk;
        let hop = to.next_hop(&self.next_hops);
        let shown = self.shown(hop);
        let via = shown.via(&self.identities.branch(id));
        let other = self.subscriptions.get_mut(&id).and_then(|known| known.end_mut(side.other()).dialog.as_mut());
        let Some(dialog) = other else {
            return self.refuse(arrival, server, 481, b"Call/Transaction Does Not Exist");
        };
        let writer = dialog.request(method, via.as_bytes()).header("Contact", shown.secured(dialog.secure).contact());
        let crossing =
            Crossing { trusted, withheld: false, realm, authenticates, shown_as: shown.address, naming: None };
        let bytes = crossing.finish(writer, message, &body);
        let purpose = Purpose::Subscription { id, last };
        let request = message.to_owned();
        let passing = Passing {
            server,
            request,
            came: flow,
            tag: None,
            trusted,
            purpose,
            to: egress,
            within: Some(id),
            fork: None,
            errand: None,
        };
        if self.send(now, hop, bytes, ClientUse::Pass(Box::new(passing))).is_none() {
            self.refuse(arrival, server, 503, b"Service Unavailable");
        }
    }

    /// The final answer to a request of a subscription, or none (408).
    pub(super) fn subscription_answered(
        &mut self,
        arrival: Option<Arrival<'_>>,
        now: u64,
        request: Message<'_>,
        id: SessionId,
        last: bool,
    ) {
        let status = arrival.and_then(|arrival| arrival.message.status()).unwrap_or(408);
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let notifier = subscription.end_mut(Side::Callee);
        let asking = matches!(request.method(), Some(Method::Subscribe | Method::Refer));
        if (last && !comes_again(status))
            || matches!(status, 408 | 481)
            || (asking && status >= 300 && notifier.dialog.is_none())
        {
            return self.drop_subscription(id);
        }
        let Some(Arrival { message, .. }) = arrival.filter(|_| asking && status < 300) else { return };
        if notifier.dialog.is_none() {
            let target = forward::uri_at(notifier.flow.remote);
            notifier.dialog = Dialog::uac(message, target.as_bytes()).ok();
        }
        if let (Some(dialog), Ok(cseq)) = (&mut notifier.dialog, message.cseq()) {
            // A NOTIFY that came first did not say what number the request had, after a challenge.
            dialog.local_cseq = dialog.local_cseq.max(cseq.number);
        }
        let granted = message.header(Name::Expires).and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
        if let Some(granted) = granted {
            self.keep_subscription(id, kept_until(now, Some(granted)));
        }
    }

    fn keep_subscription(&mut self, id: SessionId, until: u64) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let before = std::mem::replace(&mut subscription.until, until);
        self.timers.cancel(before, Due::Subscription(id));
        self.timers.set(until, Due::Subscription(id));
    }

    /// A subscription is over.
    pub(super) fn drop_subscription(&mut self, id: SessionId) {
        let Some(subscription) = self.subscriptions.remove(&id) else { return };
        self.timers.cancel(subscription.until, Due::Subscription(id));
        for end in &subscription.ends {
            self.subscription_tags.remove(&end.tag);
        }
    }
}
