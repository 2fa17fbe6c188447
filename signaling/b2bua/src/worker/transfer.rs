//! Transfers that are carried out here (RFC 3515, RFC 5589): whoever is referred to is called, or asked in the call that
//! it is in already, and then the two are joined ([`join`](super::join)).

use moorline_control::SessionId;
use moorline_sip::transaction::{ClientId, ServerId};
use moorline_sip::{Index, Method, Name, NameAddr, OwnedMessage, Replaces, Scheme, Uri};

use super::setup::{Admission, Refused};
use super::targets::is_secure;
use super::{Arrival, ClientUse, Worker};
use crate::Outcome;
use crate::call::{Call, Numbers, Phase};
use crate::forward;
use crate::leg::{Leg, Side};
use crate::policy::Refer;
use crate::policy::limit::Seized;
use crate::transfer::{Handled, Replacement};

/// What somebody is asked for who sends a REFER.
struct Wanted {
    /// The INVITE of the party that is transferred, as if it had called itself.
    invite: OwnedMessage,
    admission: Admission,
    /// Who is referred to, if it is in a call already.
    from: Option<(SessionId, Side)>,
}

impl Worker {
    /// True where a trunk of the call wants transfers carried out here.
    pub(super) fn handles_transfers(&self, call: &Call) -> bool {
        call.legs.iter().any(|leg| self.policy.trunks[leg.trunk].dialogs.refer == Refer::Handle)
    }

    /// A REFER of `side` that is carried out here.
    pub(super) fn handle_refer(
        &mut self,
        arrival: Arrival<'_>,
        server: ServerId,
        (id, side): (SessionId, Side),
        target: &NameAddr<'_>,
        end: Option<Replacement>,
    ) {
        let Arrival { now, message, flow, .. } = arrival;
        let Some(call) = self.calls.get(&id) else { return };
        if !call.is_agreed() || call.transferring.is_some() {
            return self.refuse(arrival, server, 491, b"Request Pending");
        }
        let draw = self.identities.call().random;
        let Wanted { invite, admission, from } = match self.wanted(arrival, (id, side), target, end, draw) {
            Ok(wanted) => wanted,
            Err(refused) => return self.refuse(arrival, server, refused.status, &refused.reason),
        };
        let silent = message.other(b"Refer-Sub").is_some_and(|sub| sub.eq_ignore_ascii_case(b"false"));
        let mut accepted = self
            .answer_to(arrival, 202, b"Accepted")
            .header("Contact", self.shown(flow).secured(is_secure(message)).contact());
        if silent {
            accepted = accepted.header("Refer-Sub", "false");
        }
        self.layer.respond(now, server, accepted.finish(b""));
        // In the same virtual shard: whoever finds the tags of its legs finds it.
        let (new, tag) = (self.identities.token(id), self.identities.token(id));
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.transferring = Some(new);
        let moved = call.leg(side.other());
        let mut caller = Leg::new(moved.trunk, moved.flow, tag);
        caller.endpoint = moved.endpoint;
        let asking = call.leg_mut(side);
        let number = message.cseq().map(|cseq| cseq.number).ok();
        let known = std::mem::replace(&mut asking.referred, true);
        let subscription = (!silent).then_some(number.filter(|_| known));
        if let Some(other) = from.and_then(|(other, _)| self.calls.get_mut(&other)) {
            other.transferring = Some(new);
        }
        self.notify(now, (id, side), subscription, "SIP/2.0 100 Trying", false);
        let inviting = Arrival { now, flow: caller.flow, message: invite.view(), user: None };
        self.begin(inviting, new, caller, admission, None);
        if let Some(call) = self.calls.get_mut(&new) {
            let handled = Handled { of: id, by: side, subscription, from, left: false, answer: None, pauses: 0 };
            call.transfer = Some(Box::new(handled));
        }
        self.record_transfer((id, side), new);
    }

    /// What a REFER asks for.
    ///
    /// # Errors
    /// It cannot be done: the REFER is refused with this.
    fn wanted(
        &self,
        arrival: Arrival<'_>,
        (id, side): (SessionId, Side),
        target: &NameAddr<'_>,
        end: Option<Replacement>,
        draw: u64,
    ) -> Result<Wanted, Refused> {
        let uri = Uri::parse(target.uri).map_err(|_| Refused::because(400, "Refer-To"))?;
        let method = uri.param(b"method").flatten();
        if method.is_some_and(|method| method != b"INVITE") {
            return Err(Refused::new(603));
        }
        let call = self.calls.get(&id).ok_or_else(|| Refused::new(481))?;
        let value = uri.header(b"Replaces");
        let replaces = value.as_deref().map(Replaces::parse).transpose();
        let replaces = replaces.map_err(|_| Refused::because(400, "Replaces"))?;
        let from = replaces.and_then(|replaces| self.other_end(&replaces)).map(|(id, side, _)| (id, side));
        // One that names no dialog of ours is the business of whoever is called.
        let foreign = replaces.filter(|_| from.is_none() && end.is_none());
        let moved = side.other();
        let said = call.said[moved.index()].clone().unwrap_or_default();
        let offer: Vec<_> = said.into_iter().map(|stream| crate::media::Remote { held: false, ..stream }).collect();
        if call.leg(side).sdp.is_none() {
            // Restored from before transfers were carried out here.
            return Err(Refused::because(503, "No Session Description Known"));
        }
        let compose = |lines: &[u8]| invitation(call, side, &uri, lines).ok_or_else(|| Refused::new(400));
        let replacing = end.is_some();
        let there = match from {
            Some((other, there)) => {
                let known = self.calls.get(&other).filter(|known| known.is_agreed() && other != id);
                let known = known.ok_or_else(|| Refused::because(603, "Nobody To Speak With"))?;
                if known.transferring.is_some() {
                    return Err(Refused::new(491));
                }
                Some(known.leg(there).trunk)
            }
            // In a call of another worker, which the party is asked to leave for this one.
            None => end.as_ref().map(|end| end.trunk),
        };
        let admission = match there {
            Some(egress) => {
                if !self.media.is_connected() {
                    return Err(Refused::because(503, "No Media Process"));
                }
                self.check_streams([call.leg(moved).trunk, egress], &offer)?;
                if !self.place.calls.enter(self.policy.limits.calls) {
                    return Err(Refused::because(503, "Call Limit Reached"));
                }
                Admission {
                    egress,
                    endpoint: None,
                    bypassed: false,
                    max_forwards: 70,
                    offer: None,
                    replacement: end,
                    hunting: None,
                    numbers: Numbers::received(compose(b"")?.view(), &self.policy.trunks[call.leg(moved).trunk]),
                    announcing: None,
                    seized: Seized::default(),
                }
            }
            None => {
                let invite = compose(b"")?;
                // Who asks for the transfer is charged for it.
                let user = call.user(side);
                let inviting = Arrival { message: invite.view(), flow: call.leg(moved).flow, user, ..arrival };
                let admitted = self.admit(inviting, call.leg(side).trunk, draw, true);
                admitted.map_err(|refused| if refused.status < 400 { Refused::new(404) } else { refused })?
            }
        };
        let mut admission = Admission { offer: Some(offer), bypassed: false, ..admission };
        let other = from.and_then(|(other, there)| Some((&**self.calls.get(&other)?, there)));
        self.seize_for_transfer(&mut admission, (call, moved), other);
        let listener = self.policy.trunks[admission.egress].listener;
        let mut lines = Vec::new();
        for (name, value) in self.transfer_headers(listener, arrival.message, target, None) {
            if name == Name::ReferredBy {
                lines.extend([b"Referred-By: ", &value[..], b"\r\n"].concat());
            }
        }
        if let Some(foreign) = &foreign {
            lines.extend([b"Replaces: ", &foreign.to_value()[..], b"\r\n"].concat());
        }
        if replacing || foreign.is_some() {
            lines.extend(b"Require: replaces\r\nSupported: replaces\r\n");
        }
        if call.withheld && moved == Side::Caller {
            lines.extend(b"Privacy: id\r\n");
        }
        match compose(&lines) {
            Ok(invite) => Ok(Wanted { invite, admission, from }),
            Err(refused) => {
                self.place.calls.leave();
                Err(refused)
            }
        }
    }

    /// Nobody speaks in the new call: who has asked for the transfer hears why, and the old calls go on.
    pub(super) fn transfer_failed(&mut self, now: u64, id: SessionId, status: u16, reason: &[u8]) {
        let Some(handled) = self.calls.get_mut(&id).and_then(|call| call.transfer.take()) else { return };
        let line = format!("SIP/2.0 {status} {}", String::from_utf8_lossy(reason));
        self.notify(now, (handled.of, handled.by), handled.subscription, &line, true);
        let moved = (handled.of, handled.moved());
        for (old, side) in [Some(moved), handled.from].into_iter().flatten() {
            let Some(before) = self.calls.get_mut(&old) else { continue };
            before.transferring = None;
            if before.phase != Phase::Answered {
                continue;
            }
            self.update_media(old);
            let Some(before) = self.calls.get(&old) else { continue };
            // Not one of the other party, which goes on.
            let asked = |client: &ClientId| matches!(self.clients.get(client), Some(ClientUse::Join(..)));
            if let Some(client) = before.leg(side).inviting.filter(asked) {
                self.layer.cancel(now, client, None);
            }
            if self.calls.get(&old).is_some_and(|before| before.leg(side.other()).gone) {
                let outcome = if side == Side::Callee { Outcome::CallerHungUp } else { Outcome::CalleeHungUp };
                self.hang_up_both(now, old, outcome);
            } else if handled.left && handled.from == Some((old, side)) {
                self.say_again(now, old, side);
            }
        }
    }

    /// True for the BYE of who has asked for a transfer that is under way: the other party waits for its end.
    pub(super) fn leaves(&mut self, id: SessionId, side: Side) -> bool {
        let new = self.calls.get(&id).and_then(|call| self.calls.get(&call.transferring?));
        let Some(handled) = new.and_then(|new| new.transfer.as_ref()) else { return false };
        let asked = (handled.of, handled.by) == (id, side) || handled.from == Some((id, side.other()));
        if asked {
            self.drop_confirming(id, side);
            self.set_timer(id, side, None);
            if let Some(call) = self.calls.get_mut(&id) {
                call.leg_mut(side).gone = true;
            }
        }
        asked
    }

    /// The last NOTIFY was answered, or nobody is there to do it: after a transfer, its sender is let go.
    pub(super) fn notified(&mut self, now: u64, id: SessionId, side: Side) {
        if self.calls.get(&id).is_some_and(|call| call.outcome == Some(Outcome::Transferred)) {
            self.hang_up(now, id, side, None);
        }
    }

    /// Tells who has asked for a transfer how far it is. False where it does not want to know.
    pub(super) fn notify(
        &mut self,
        now: u64,
        (id, side): (SessionId, Side),
        subscription: Option<Option<u32>>,
        line: &str,
        last: bool,
    ) -> bool {
        let Some(named) = subscription else { return false };
        let Some(call) = self.calls.get(&id) else { return false };
        let flow = call.leg(side).next_hop(&self.next_hops);
        let shown = self.shown(flow);
        let via = shown.via(&self.identities.branch(id));
        let event = named.map_or("refer".to_owned(), |number| format!("refer;id={number}"));
        let state = match last {
            true => "terminated;reason=noresource".to_owned(),
            false => format!("active;expires={}", self.policy.limits.ring_ns / 1_000_000_000),
        };
        let dialog = self.calls.get_mut(&id).and_then(|call| call.leg_mut(side).dialog.as_mut());
        let Some(dialog) = dialog else { return false };
        let notify = dialog
            .request(Method::Notify, via.as_bytes())
            .header("Contact", shown.secured(dialog.secure).contact())
            .header("Event", event)
            .header("Subscription-State", state)
            .header("Content-Type", "message/sipfrag;version=2.0")
            .finish(format!("{line}\r\n").as_bytes());
        self.send(now, flow, notify, ClientUse::Notify(id, side, last)).is_some()
    }
}

/// The INVITE of the party that `by` transfers, to whom it refers: with what it last said of its media, but for what it
/// was told to do with them, and with more header lines. `None` where that is not known.
fn invitation(call: &Call, by: Side, to: &Uri<'_>, lines: &[u8]) -> Option<OwnedMessage> {
    let moved = call.leg(by.other());
    let (party, offer) = (&moved.dialog.as_ref()?.remote, undirected(call.leg(by).sdp.as_ref()?));
    let mut uri = Vec::new();
    match to.scheme {
        Scheme::Sip | Scheme::Sips => {
            uri.extend_from_slice(if to.scheme == Scheme::Sips { b"sips:" } else { b"sip:" });
            if let Some(user) = to.user {
                uri.extend_from_slice(user);
                uri.push(b'@');
            }
            uri.extend_from_slice(to.host);
            if let Some(port) = to.port {
                uri.extend_from_slice(format!(":{port}").as_bytes());
            }
            forward::copy_params(&mut uri, to.params, &["method"]);
        }
        // A telephone number.
        _ => uri.extend([b"tel:", to.user?].concat()),
    }
    let at = moved.flow.remote;
    let mut text = [b"INVITE ", &uri[..], b" SIP/2.0\r\n"].concat();
    text.extend(format!("Via: SIP/2.0/UDP {at};branch=z9hG4bK-transfer\r\nMax-Forwards: 70\r\n").as_bytes());
    text.extend([b"From: ", &party[..], b";tag=transferred\r\nTo: <", &uri[..], b">\r\n"].concat());
    text.extend(format!("Call-ID: transfer\r\nCSeq: 1 INVITE\r\nContact: <sip:{at}>\r\n").as_bytes());
    text.extend_from_slice(lines);
    text.extend(format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n", offer.len()).as_bytes());
    text.extend_from_slice(&offer);
    let mut index = Index::new();
    Some(index.parse(&text).ok()?.to_owned())
}

/// A description without what its streams were told to do on hold (RFC 3264 8.4): a new call begins with both speaking.
fn undirected(sdp: &[u8]) -> Vec<u8> {
    let directs = |line: &[u8]| matches!(line.trim_ascii_end(), b"a=sendonly" | b"a=recvonly" | b"a=inactive");
    sdp.split_inclusive(|byte| *byte == b'\n').filter(|line| !directs(line)).flatten().copied().collect()
}
