//! Starting client transactions: over TCP where a request is too long for UDP (RFC 3261 18.1.1), and over UDP after
//! all where TCP is refused.

use moorline_sip::Transport;
use moorline_sip::transaction::{ClientId, Flow};

use super::credentials::Sent;
use super::{ClientUse, Worker};
use crate::call::Phase;
use crate::locate::Hop;

/// A request that went over TCP for no other reason than its length, as it goes over UDP.
pub(super) struct Long {
    flow: Flow,
    bytes: Vec<u8>,
}

impl Worker {
    /// Starts a client transaction for `call`. `None` when the transaction table is full.
    pub(super) fn send(&mut self, now: u64, flow: Flow, request: Vec<u8>, usage: ClientUse) -> Option<ClientId> {
        let client = match self.trunk_that_asks(&usage, flow) {
            None => self.start_client(now, flow, request)?,
            Some(trunk) => self.send_shown(now, Sent::new(trunk, flow, request))?,
        };
        if let Some(call) = usage.call()
            && let Some(known) = self.calls.get_mut(&call)
        {
            known.clients += 1;
        }
        self.clients.insert(client, usage);
        Some(client)
    }

    /// Starts a client transaction with a request as it is.
    pub(super) fn start_client(&mut self, now: u64, flow: Flow, request: Vec<u8>) -> Option<ClientId> {
        match self.over_tcp(now, flow, &request) {
            None => self.layer.request(now, flow, request).ok(),
            Some((tcp, bytes)) => {
                let client = self.layer.request(now, tcp, bytes).ok()?;
                self.long.insert(client, Long { flow, bytes: request });
                Some(client)
            }
        }
    }

    /// The same request over TCP, where it is too long for UDP and its trunk takes it so.
    fn over_tcp(&self, now: u64, flow: Flow, request: &[u8]) -> Option<(Flow, Vec<u8>)> {
        if flow.transport != Transport::Udp || request.len() <= self.shortest_long {
            return None;
        }
        // Through a NAT nobody can be connected to.
        if self.registrar.location.is_opened(&flow) {
            return None;
        }
        let offered = self.policy.listeners.get(flow.listener)?.transports.contains(&Transport::Tcp);
        let trunk = &self.policy.trunks[self.policy.ingress(flow)?];
        if !offered || !trunk.large.is_over_tcp(request.len()) {
            return None;
        }
        let tcp = Flow { transport: Transport::Tcp, ..flow };
        if self.no_tcp.rests_until(now, hop(tcp)).is_some() {
            return None;
        }
        // Via is our first header.
        let head = request.windows(2).position(|pair| pair == b"\r\n")? + 2;
        let rest = request[head..].strip_prefix(b"Via: SIP/2.0/UDP")?;
        Some((tcp, [&request[..head], b"Via: SIP/2.0/TCP", rest].concat()))
    }

    /// True while a request that is under way only for its length over TCP has seen no answer.
    pub(super) fn is_long(&self, client: ClientId) -> bool {
        self.long.contains_key(&client)
    }

    /// The request has an answer, or is over.
    pub(super) fn not_long(&mut self, client: ClientId) {
        self.long.remove(&client);
    }

    /// Sends a request over UDP that went over TCP for its length alone, where nobody is there to take it. False where
    /// it was none of these, or nobody waits for its answer any more.
    pub(super) fn over_udp(&mut self, now: u64, client: ClientId) -> bool {
        let Some(Long { flow, bytes }) = self.long.remove(&client) else { return false };
        self.no_tcp.failed(now, hop(Flow { transport: Transport::Tcp, ..flow }), None);
        if let Some(ClientUse::Invite(id)) = self.clients.get(&client) {
            let call = self.calls.get(id).filter(|call| call.phase == Phase::Inviting);
            let wanted = call.and_then(|call| call.attempts.iter().find(|attempt| attempt.client == client));
            if wanted.is_none_or(|attempt| attempt.given_up) {
                return false;
            }
        }
        let Some(usage) = self.clients.remove(&client) else { return false };
        // Its branch is the same: whoever gets both takes them for one (RFC 3261 17.2.3).
        let Ok(again) = self.layer.request(now, flow, bytes) else {
            self.clients.insert(client, usage);
            return false;
        };
        self.proofs.moved(client, again);
        self.follow_client(&usage, client, again);
        self.clients.insert(again, usage);
        true
    }

    /// Lets those who know a transaction know the one in its place.
    pub(super) fn follow_client(&mut self, usage: &ClientUse, client: ClientId, again: ClientId) {
        if let ClientUse::Pass(passing) = usage
            && let Some(errand) = passing.errand
        {
            return self.follow_errand(errand, client, again);
        }
        let Some(call) = usage.call().and_then(|id| self.calls.get_mut(&id)) else { return };
        match usage {
            ClientUse::Invite(_) => {
                if let Some(attempt) = call.attempt_mut(client) {
                    attempt.client = again;
                }
                if let Some((early, _)) = call.early.as_mut().filter(|(early, _)| *early == client) {
                    *early = again;
                }
            }
            ClientUse::Reinvite(_, side) | ClientUse::Update(_, side) | ClientUse::Refresh(_, side) => {
                let leg = call.leg_mut(*side);
                for under_way in [&mut leg.inviting, &mut leg.updating] {
                    if *under_way == Some(client) {
                        *under_way = Some(again);
                    }
                }
            }
            ClientUse::Join(_, (old, side)) => {
                let (old, side) = (*old, *side);
                let leg = self.calls.get_mut(&old).map(|call| call.leg_mut(side));
                if let Some(inviting) = leg.and_then(|leg| leg.inviting.as_mut()).filter(|under| **under == client) {
                    *inviting = again;
                }
            }
            ClientUse::Bye(_) | ClientUse::Stray | ClientUse::Prack(_) | ClientUse::Notify(..) => {}
            ClientUse::Probe(..) | ClientUse::KeepAlive(_) | ClientUse::Register(_) | ClientUse::Pass(_) => {}
        }
    }
}

fn hop(flow: Flow) -> Hop {
    Hop { transport: flow.transport, address: flow.remote }
}
