//! What the layer makes of the messages that come in.

use std::hash::BuildHasher;

use super::entry::{Cancel, Transaction};
use super::layer::{Given, Layer, response_input};
use super::machine::{Input, Machine};
use super::{
    ClientId, Flow, Received, ServerId, invite_client, invite_server, key, response_flow, response_flow_by, server,
};
use crate::{Message, Method, Via, reason_phrase, respond};

/// How long a sender is asked to wait when there is no room.
const RETRY_AFTER_S: &str = "5";

impl Layer {
    pub(super) fn receive_response(&mut self, now: u64, response: Message<'_>) -> Received {
        let Some(status) = response.status() else { return Received::Stray };
        if !key::client(&mut self.key, response) {
            return Received::Stray;
        }
        let Some(id) = self.find(self.key_hash()) else { return Received::Stray };
        let passed = self.run(now, id, response_input(status), Given::Response(response));
        let Some(transaction) = self.transactions.get_mut(id) else { return Received::Absorbed };
        let internal = transaction.internal;
        let answering = matches!(transaction.machine, Machine::InviteClient(invite_client::State::Proceeding));
        if answering && let Cancel::Wanted(reason) = &mut transaction.cancel {
            let reason = reason.take();
            self.send_cancel(now, id, reason.as_deref());
        }
        if passed && !internal { Received::Response(ClientId(id)) } else { Received::Absorbed }
    }

    pub(super) fn receive_request(
        &mut self,
        now: u64,
        flow: Flow,
        request: Message<'_>,
        method: Method<'_>,
    ) -> Received {
        let Ok(via) = request.via() else { return Received::Stray };
        if !key::server(&mut self.key, flow, request, via, method) {
            return Received::Stray;
        }
        let key_hash = self.key_hash();
        if let Some(id) = self.find(key_hash) {
            self.run(now, id, Input::Request, Given::Nothing);
            return Received::Absorbed;
        }
        let origin = self.origin(request, via);
        if let Some(origin) = &origin
            && self.is_merged(origin)
        {
            let response =
                respond(request, flow.remote, 482, reason_phrase(482).as_bytes(), Some(&self.stateless_tag()));
            self.send(response_flow(flow, request), response.finish(b""));
            return Received::Absorbed;
        }
        if self.is_full() {
            let response =
                respond(request, flow.remote, 503, reason_phrase(503).as_bytes(), Some(&self.stateless_tag()))
                    .header("Retry-After", RETRY_AFTER_S);
            self.send(response_flow(flow, request), response.finish(b""));
            return Received::Full;
        }
        let machine = match method {
            Method::Invite => Machine::InviteServer(invite_server::State::Proceeding),
            _ => Machine::Server(server::State::Trying),
        };
        let mut transaction = Transaction::new(machine, response_flow_by(flow, via), &self.key, key_hash);
        if flow.transport.is_reliable() {
            transaction.sent_by = Some(via.port.unwrap_or(flow.transport.default_port()));
        }
        transaction.origin = origin.as_ref().map(|origin| origin.hash);
        let id = self.insert(transaction);
        if let Some(Origin { hash, branch }) = origin {
            self.by_origin.insert(hash, (id, branch));
        }
        Received::Request(ServerId(id))
    }

    /// The tag for an answer to `request` of which nothing is to be kept, such as a challenge: the same for its
    /// repetitions. `None` if it is itself a repetition of a request that was let in before; give it to
    /// [`receive`](Layer::receive) then.
    pub fn tag_of_new(&mut self, flow: Flow, request: Message<'_>) -> Option<Vec<u8>> {
        let method = request.method()?;
        let keyed = request.via().is_ok_and(|via| key::server(&mut self.key, flow, request, via, method));
        let known = keyed && self.find(self.key_hash()).is_some();
        (!known).then(|| self.stateless_tag())
    }

    /// What a request outside a dialog has in common with its copies that took other paths (RFC 3261 section
    /// 8.2.2.2). Hashes will do: they are of 64 bits and keyed at random.
    fn origin(&self, request: Message<'_>, via: Via<'_>) -> Option<Origin> {
        if request.to().ok()?.tag().is_some() {
            return None;
        }
        let from = request.from().ok()?;
        let (call_id, cseq) = (request.call_id().ok()?, request.cseq().ok()?);
        let tag = from.tag()?;
        let hash = self.keyed.hash_one((tag, call_id, cseq.number, cseq.method.as_bytes()));
        Some(Origin { hash, branch: self.keyed.hash_one(via.branch) })
    }

    /// Whether a copy of this request is being worked on. One that was refused is not: the copy may be another try.
    fn is_merged(&self, origin: &Origin) -> bool {
        let Some((id, branch)) = self.by_origin.get(&origin.hash) else { return false };
        let ongoing = self.transactions.get(*id).is_some_and(|transaction| {
            use {invite_server::State as Invite, server::State as Other};
            matches!(
                transaction.machine,
                Machine::InviteServer(Invite::Proceeding | Invite::Accepted)
                    | Machine::Server(Other::Trying | Other::Proceeding)
            )
        });
        // The same branch from elsewhere is no copy: a proxy that forks gives each its own.
        ongoing && *branch != origin.branch
    }

    pub(super) fn receive_ack(&mut self, now: u64, flow: Flow, ack: Message<'_>) -> Received {
        if !ack.via().is_ok_and(|via| key::server(&mut self.key, flow, ack, via, Method::Ack)) {
            return Received::Stray;
        }
        match self.find(self.key_hash()) {
            Some(id) if !self.run(now, id, Input::Ack, Given::Nothing) => Received::Absorbed,
            _ => Received::Ack,
        }
    }

    /// A CANCEL is answered without a transaction: its answer is the same each time.
    pub(super) fn receive_cancel(&mut self, flow: Flow, cancel: Message<'_>) -> Received {
        if !cancel.via().is_ok_and(|via| key::server(&mut self.key, flow, cancel, via, Method::Invite)) {
            return Received::Stray;
        }
        let mut received = Received::Cancel { invite: None };
        let mut tag = None;
        if let Some(id) = self.find(self.key_hash())
            && let Some(transaction) = self.transactions.get_mut(id)
        {
            let answered = transaction.machine != Machine::InviteServer(invite_server::State::Proceeding);
            received = match transaction.cancel {
                Cancel::No if !answered => Received::Cancel { invite: Some(ServerId(id)) },
                _ => Received::Absorbed,
            };
            transaction.cancel = Cancel::Done;
            // The answer to the CANCEL should have the tag of the answers to the INVITE (RFC 3261 section 9.2).
            if let Some(message) = &transaction.message
                && let Ok(response) = self.index.parse(message)
            {
                tag = response.to().ok().and_then(|to| to.tag()).map(<[u8]>::to_vec);
            }
        }
        let status = if received == (Received::Cancel { invite: None }) { 481 } else { 200 };
        let tag = tag.unwrap_or_else(|| self.stateless_tag());
        let response = respond(cancel, flow.remote, status, reason_phrase(status).as_bytes(), Some(&tag));
        self.send(response_flow(flow, cancel), response.finish(b""));
        received
    }

    /// A tag for an answer of which nothing is kept: the same for the same transaction.
    fn stateless_tag(&self) -> Vec<u8> {
        format!("{:016x}", self.key_hash()).into_bytes()
    }
}

/// What tells whether two requests are copies of one.
struct Origin {
    hash: u64,
    branch: u64,
}
