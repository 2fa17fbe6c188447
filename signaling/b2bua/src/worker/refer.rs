//! Transfers: REFER and its NOTIFYs cross a call (RFC 3515), and an INVITE that replaces one of our dialogs goes to the
//! party whose dialog it is (RFC 3891).

use moorline_control::SessionId;
use moorline_sip::transaction::ServerId;
use moorline_sip::{AddressText, Message, Method, Name, Replaces};

use super::elsewhere::Owner;
use super::pass::{Extra, Purpose};
use super::setup::Refused;
use super::{Arrival, Due, Worker};
use crate::attempt::Destination;
use crate::call::Phase;
use crate::identity::of_tag;
use crate::leg::Side;
use crate::policy::Refer;
use crate::transfer::{self, MAX_USAGES, Replacement, Usage};

/// How long a call that has ended is kept for the NOTIFYs of its transfers.
const LINGER_NS: u64 = 60_000_000_000;

impl Worker {
    /// A REFER in the dialog of `side`.
    pub(super) fn refer(&mut self, arrival: Arrival<'_>, server: ServerId, id: SessionId, side: Side) {
        match arrival.message.refer_to().map(|target| target.map(|target| self.owner_of(&target))) {
            Ok(Some(Owner::Gone)) => self.refuse_gone(arrival, server),
            Ok(Some(Owner::Other(dialog))) => self.ask_owner(arrival, server, (id, side), dialog),
            _ => self.refer_to_end(arrival, server, (id, side), None),
        }
    }

    /// The same, where it is known who is referred to: `end`, if another worker knows that.
    pub(super) fn refer_to_end(
        &mut self,
        arrival: Arrival<'_>,
        server: ServerId,
        (id, side): (SessionId, Side),
        end: Option<Replacement>,
    ) {
        let message = arrival.message;
        let Some(call) = self.calls.get(&id) else { return };
        let refused = |leg: &crate::leg::Leg| self.policy.trunks[leg.trunk].dialogs.refer == Refer::Refuse;
        if call.legs.iter().any(refused) {
            return self.refuse(arrival, server, 403, b"Forbidden - No Transfers");
        }
        let Ok(Some(target)) = message.refer_to() else {
            return self.refuse(arrival, server, 400, b"Bad Request - No Usable Refer-To");
        };
        if call.legs.iter().any(|leg| self.policy.trunks[leg.trunk].dialogs.refer == Refer::Handle) {
            return self.handle_refer(arrival, server, (id, side), &target, end);
        }
        let (Some(asked), true) = (message.cseq().ok().map(|cseq| cseq.number), call.usages.len() < MAX_USAGES) else {
            return self.refuse(arrival, server, 503, b"Service Unavailable - Too Many Transfers");
        };
        let headers = self.transfer_headers(call.leg(side.other()).flow.listener, message, &target, end.as_ref());
        let usage = Usage { notifier: side.other(), package: b"refer".to_vec(), asked, sent: 0 };
        let extra = Extra { headers, purpose: Purpose::Subscribes(id, usage), body: None };
        self.pass_with(arrival, server, id, side, Method::Refer, extra);
    }

    /// Refer-To and Referred-By as they are shown through a listener.
    pub(super) fn transfer_headers(
        &self,
        listener: usize,
        message: Message<'_>,
        target: &moorline_sip::NameAddr<'_>,
        end: Option<&Replacement>,
    ) -> Vec<(Name, Vec<u8>)> {
        let host = AddressText::from(self.advertised(listener)).to_string();
        let known = |replaces: &Replaces<'_>| Some(self.other_end(replaces)?.2);
        let mapped = |replaces: &Replaces<'_>| known(replaces).or_else(|| Some(end?.value.clone()));
        let mut headers = vec![(Name::ReferTo, transfer::refer_to(target, &host, mapped))];
        let by = message.header(Name::ReferredBy).and_then(|by| moorline_sip::NameAddr::parse(by).ok());
        headers.extend(by.map(|by| (Name::ReferredBy, transfer::refer_to(&by, &host, |_| None))));
        headers
    }

    /// A SUBSCRIBE in the dialog of `side`.
    pub(super) fn subscribe_inside(&mut self, arrival: Arrival<'_>, server: ServerId, id: SessionId, side: Side) {
        let message = arrival.message;
        let Some(call) = self.calls.get(&id) else { return };
        let known = call.usages.iter().find(|usage| usage.is_meant(side.other(), message, usage.asked));
        let (Ok(Some(event)), Ok(cseq)) = (message.event(), message.cseq()) else {
            return self.refuse(arrival, server, 489, b"Bad Event");
        };
        if event.package == b"refer" && known.is_none() {
            // That of a transfer that is carried out here ends by itself.
            return self.refuse(arrival, server, 481, b"Subscription Does Not Exist");
        }
        let extra = match known {
            Some(usage) => {
                let event = transfer::event_for(message, usage.sent).map(|event| (Name::Event, event));
                Extra { headers: event.into_iter().collect(), ..Extra::default() }
            }
            None if call.usages.len() >= MAX_USAGES || call.phase == Phase::Ending => {
                return self.refuse(arrival, server, 503, b"Service Unavailable - Too Many Subscriptions");
            }
            None => {
                let package = event.package.to_vec();
                let usage = Usage { notifier: side.other(), package, asked: cseq.number, sent: 0 };
                Extra { purpose: Purpose::Subscribes(id, usage), ..Extra::default() }
            }
        };
        self.pass_with(arrival, server, id, side, Method::Subscribe, extra);
    }

    /// A NOTIFY in the dialog of `side`, which may come after the BYE.
    pub(super) fn notify_inside(&mut self, arrival: Arrival<'_>, server: ServerId, id: SessionId, side: Side) {
        let message = arrival.message;
        let Some(call) = self.calls.get(&id) else { return };
        let known = call.usages.iter().find(|usage| usage.is_meant(side, message, usage.sent)).cloned();
        let mut extra = Extra::default();
        if let Some(usage) = known {
            extra.headers.extend(transfer::event_for(message, usage.asked).map(|event| (Name::Event, event)));
            if message.subscription_state().ok().flatten().is_some_and(|state| state.is_terminated()) {
                extra.purpose = Purpose::LastNotify(id, usage);
            }
        }
        extra.body = Some(transfer::report(message, message.body()).into_owned());
        self.pass_with(arrival, server, id, side, Method::Notify, extra);
    }

    /// A subscription inside a call is over, or was refused.
    pub(super) fn drop_usage(&mut self, id: SessionId, usage: &Usage) {
        if let Some(call) = self.calls.get_mut(&id)
            && let Some(found) = call.usages.iter().position(|known| known == usage)
        {
            call.usages.swap_remove(found);
            self.ending.push(id);
        }
    }

    /// The call has ended: it is kept while subscriptions in it may send NOTIFYs, but not for long.
    pub(super) fn linger(&mut self, now: u64, id: SessionId) {
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.usages.is_empty()) else { return };
        let until = now + LINGER_NS;
        call.lingers_until = Some(until);
        self.timers.set(until, Due::Linger(id));
    }

    /// It was kept long enough.
    pub(super) fn linger_over(&mut self, id: SessionId) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.lingers_until = None;
            call.usages.clear();
            self.ending.push(id);
        }
    }

    /// Where an INVITE with Replaces goes; `None` for one that names no dialog of ours.
    pub(super) fn replacement(&self, invite: Message<'_>) -> Result<Option<Replacement>, Refused> {
        let replaces = match invite.replaces() {
            Ok(None) => return Ok(None),
            Ok(Some(replaces)) => replaces,
            Err(_) => return Err(Refused::because(400, "Replaces")),
        };
        let Some((id, side, _)) = self.other_end(&replaces) else { return Ok(None) };
        let Some(call) = self.calls.get(&id).filter(|call| call.is_live()) else {
            return Err(Refused::new(603));
        };
        if replaces.early_only && call.phase == Phase::Answered {
            // RFC 3891 3.
            return Err(Refused::new(486));
        }
        if call.dialog(side).is_none() {
            return Err(Refused::new(481));
        }
        Ok(self.far_end(&replaces))
    }

    /// The party that is reached by a Replaces.
    pub(super) fn far_end(&self, replaces: &Replaces<'_>) -> Option<Replacement> {
        let (id, side, value) = self.other_end(replaces)?;
        let call = self.calls.get(&id).filter(|call| call.is_live())?;
        let flow = call.next_hop(side, &self.next_hops);
        let uri = Some(call.dialog(side)?.remote_target.clone());
        let destination = Destination { flow, uri, host: None, secure: false, route: Vec::new() };
        Some(Replacement { trunk: call.leg(side).trunk, destination, value })
    }

    /// The party whose dialog a Replaces means, and the Replaces as that party must be sent it. Where it names our dialog
    /// with one party, as who was sent the INVITE sees it, that is the other one; where we have named the dialog of a
    /// party, in a REFER, it is that party.
    pub(super) fn other_end(&self, replaces: &Replaces<'_>) -> Option<(SessionId, Side, Vec<u8>)> {
        let known = |ours: &[u8], theirs: &[u8]| {
            let (id, side) = *self.tags.get(&of_tag(ours)?)?;
            let dialog = self.calls.get(&id)?.dialog(side)?;
            let same = dialog.call_id == replaces.call_id && dialog.remote_tag == theirs && dialog.local_tag == ours;
            same.then_some((id, side))
        };
        let (id, side) = match known(replaces.to_tag, replaces.from_tag) {
            Some((id, side)) => (id, side.other()),
            None => known(replaces.from_tag, replaces.to_tag)?,
        };
        let dialog = self.calls.get(&id)?.dialog(side)?;
        let value = Replaces {
            call_id: &dialog.call_id,
            to_tag: &dialog.remote_tag,
            from_tag: &dialog.local_tag,
            early_only: replaces.early_only,
        };
        Some((id, side, value.to_value()))
    }

    /// True where a request of a method that Moorline does not know may cross the call.
    pub(super) fn passes_unknown(&self, id: SessionId) -> bool {
        let Some(call) = self.calls.get(&id) else { return false };
        call.legs.iter().all(|leg| self.policy.trunks[leg.trunk].dialogs.unknown_methods)
    }

    /// True while the call is kept for subscriptions alone.
    pub(super) fn is_lingering(&self, id: SessionId) -> bool {
        self.calls.get(&id).is_some_and(|call| !call.usages.is_empty())
    }
}

/// The option tag of Replaces (RFC 3891 6.1).
pub(super) const REPLACES: &str = "replaces";

/// True where a message says that its sender understands Replaces.
pub(super) fn takes_replaces(message: Message<'_>) -> bool {
    crate::extension::supports(message, REPLACES)
}
