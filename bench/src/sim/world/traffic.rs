//! Messages between Moorline, the network and the parties.

use std::net::SocketAddr;

use moorline_b2bua::Input;
use moorline_sip::transaction::Flow;
use moorline_sip::{Index, Message, Method, Transport, Uri};

use super::World;
use super::policy::address;
use crate::sim::network::{Datagram, Fate};
use crate::sim::party::Role;
use crate::sim::plan::Final;
use crate::sim::trace::Way;
use crate::sim::{NETWORKS, NUMBERS};

impl World {
    /// Moorline sends a message.
    pub(super) fn transmit(&mut self, flow: Flow, bytes: &[u8]) {
        let streams = self.plan.network.streams;
        if streams != (flow.transport == Transport::Tcp) {
            self.fault(format!("to {} over {:?}", flow.remote, flow.transport));
        }
        let to = self.party_at(flow);
        for fault in self.wire.check(self.now, (flow.listener, to), bytes, &self.media) {
            self.fault(format!("to {to}: {fault}\n{}", String::from_utf8_lossy(bytes)));
        }
        let mut index = Index::new();
        let message = index.parse(bytes).ok();
        let call_id = message.and_then(|message| message.call_id().ok()).unwrap_or_default();
        if let Some(position) = self.by_dialog.get(&(to, call_id.to_vec())) {
            self.parties[*position].stirred_at = self.now;
        }
        let stream = if streams { self.stream_to(flow) } else { None };
        if streams && stream.is_none() {
            self.trace.message(self.now, flow.listener, "", Way::FromMoorline, bytes, " has no stream");
            return self.sent_in_vain(flow, bytes);
        }
        let from = self.policy.listeners[flow.listener].bind;
        let fate = self.network.send(self.now, Datagram { from, to, bytes: bytes.to_vec(), stream });
        if fate == Fate::Lost {
            let remark = format!(" to {to} is LOST");
            self.trace.message(self.now, flow.listener, "", Way::FromMoorline, bytes, &remark);
        }
    }

    pub(super) fn deliver(&mut self, datagram: Datagram) {
        let Datagram { from, to, ref bytes, stream } = datagram;
        if let Some(listener) = self.policy.listeners.iter().position(|listener| listener.bind == to) {
            let mut index = Index::new();
            let call_id = index.parse(bytes).ok().and_then(|message| Some(message.call_id().ok()?.to_vec()));
            let position = call_id.and_then(|call_id| self.by_dialog.get(&(from, call_id)));
            let party = position.map(|position| &self.parties[*position]);
            let (name, mut remark) = (party.map_or("", |party| &party.name), "");
            if party.is_some_and(|party| party.has_vanished(self.now)) || self.worker.is_none() {
                remark = " NOT HEARD";
            }
            if let Some(party) = party.filter(|_| self.worker.is_none() && self.plan.network.reliable) {
                // The connection broke, and nobody repeats what was on it.
                self.disturbed[party.call] = true;
            }
            let stream = stream.map(|stream| &self.streams[stream]);
            let gone = stream.is_some_and(|stream| !stream.open);
            let flow = stream.map_or(Flow::new(listener, Transport::Udp, from), |stream| stream.flow);
            if gone {
                remark = " NOT HEARD";
            }
            self.trace.message(self.now, listener, name, Way::ToMoorline, bytes, remark);
            if gone {
                self.lost(&datagram);
            } else if remark.is_empty() {
                self.tell_worker(Input::Message { flow, bytes });
            }
            return;
        }
        let mut index = Index::new();
        // What cannot be read was found at fault when it was sent.
        let Ok(message) = index.parse(bytes) else { return };
        let Some(position) = self.party_for(to, message) else {
            return self.fault(format!("for nobody, to {to}\n{}", String::from_utf8_lossy(bytes)));
        };
        let party = &mut self.parties[position];
        let vanished = party.has_vanished(self.now);
        let remark = if vanished { " NOT HEARD" } else { "" };
        self.trace.message(self.now, party.listener, &party.name, Way::FromMoorline, bytes, remark);
        if !vanished {
            party.handle(self.now, message);
            self.carry_out(position);
        }
    }

    /// The party that a message is for; for the first INVITE of a called party a new one.
    fn party_for(&mut self, to: SocketAddr, message: Message<'_>) -> Option<usize> {
        let key = (to, message.call_id().ok()?.to_vec());
        if let Some(position) = self.by_dialog.get(&key) {
            return Some(*position);
        }
        if message.method() != Some(Method::Invite) || message.to().ok()?.tag().is_some() {
            return None;
        }
        let listener = NETWORKS.iter().position(|network| to.ip().to_string().starts_with(network))?;
        let target = (0..4).find(|target| address(listener, 20 + target) == to)?;
        let user = Uri::parse(message.request_uri()?).ok()?.user?;
        let call: usize = std::str::from_utf8(user).ok()?.strip_prefix(NUMBERS[listener])?.parse().ok()?;
        let script = self.plan.calls.get(call)?.callees[target].clone();
        let dead = matches!(script.answering.last, Final::Dead);
        let position = self.parties.len();
        self.join(Role::Callee(target), call, listener, to, script);
        if dead {
            self.parties[position].vanishes_at = Some(self.now);
        }
        self.by_dialog.insert(key, position);
        Some(position)
    }

    /// Does what a party wants done.
    pub(super) fn carry_out(&mut self, position: usize) {
        let now = self.now;
        let party = &mut self.parties[position];
        let (from, listener, vanished) = (party.address, party.listener, party.has_vanished(now));
        let (sends, media) = (party.take_sends(), party.take_media());
        let disturbed = self.disturbed[party.call];
        // What was lost with the process may come as a surprise.
        let found: Vec<String> = party.faults.drain(..).filter(|_| !disturbed).collect();
        found.into_iter().for_each(|fault| self.fault(fault));
        if vanished {
            return;
        }
        for bytes in sends {
            let to = self.policy.listeners[listener].bind;
            let stream = self.plan.network.streams.then(|| self.stream_from(listener, from));
            let fate = self.network.send(now, Datagram { from, to, bytes: bytes.clone(), stream });
            if fate == Fate::Lost {
                let name = self.parties[position].name.clone();
                self.trace.message(now, listener, &name, Way::ToMoorline, &bytes, " LOST");
            }
        }
        media.into_iter().for_each(|to| self.send_media(position, to));
    }
}
