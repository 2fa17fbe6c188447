//! Requests held back for ports that the kernel is about to let go of.
//!
//! After a start, sessions come back on the ports that a dead predecessor had, and the kernel takes some tens
//! of milliseconds to close the sockets of a killed process's ring. Such a request is put aside and tried again;
//! mail about other sessions goes on, and mail about the same session stays behind it in order.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;

use moorline_control::{Refusal, RefusalCode, Reply, Request, SessionId};
use moorline_relay::{BindError, EndpointId, Offload, Owner, Ports};
use tokio::sync::oneshot;

use super::slice::Slice;
use super::{Answer, PAUSE, Shard};
use crate::datapath::Datapath;
use crate::datapath::offload::Offloaded;

/// How long after a start requests are held.
const RESTORING_NS: u64 = 5_000_000_000;
/// How long one request is held.
const HOLD_NS: u64 = 1_000_000_000;
/// Requests held at once, as many as a mailbox has: more are answered as they are.
const MAX_HELD: usize = 1024;

/// A request of a connection, and where the answer goes.
pub(super) struct Asked {
    pub(super) owner: Owner,
    pub(super) request: Request,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The sessions whose requests are held, the one to be tried next first.
#[derive(Default)]
pub(super) struct Held {
    sessions: VecDeque<HeldSession>,
    /// Of all sessions.
    requests: usize,
}

struct HeldSession {
    session: SessionId,
    again_at: u64,
    /// The first one is given up then.
    until: u64,
    /// The first one waits for ports, the others for the first.
    asked: VecDeque<Asked>,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}

impl<D: Datapath> Shard<D> {
    /// Answers a request now, or holds it.
    pub(super) fn take(&mut self, now: u64, asked: Asked) {
        let session = session_of(&asked.request);
        if let Some(held) = self.held.sessions.iter_mut().find(|held| Some(held.session) == session) {
            if self.held.requests < MAX_HELD {
                held.asked.push_back(asked);
                self.held.requests += 1;
            } else {
                let refusal = Refusal::new(RefusalCode::Busy, "too many requests wait for ports of a former process");
                self.keep(now, asked.answer, Reply::Refused(refusal));
            }
            return;
        }
        let until = if self.held.requests < MAX_HELD { now.saturating_add(HOLD_NS) } else { now };
        if let (Some(asked), Some(session)) = (self.attempt(now, until, asked), session) {
            self.held.requests += 1;
            let again_at = now.saturating_add(PAUSE.as_nanos() as u64);
            self.held.sessions.push_back(HeldSession { session, again_at, until, asked: VecDeque::from([asked]) });
        }
    }

    /// Tries the held requests that are due again, as far as the slice allows; answers how many were answered.
    pub(super) fn try_held(&mut self, now: u64, slice: &mut Slice) -> io::Result<usize> {
        let mut answered = 0;
        while let Some(mut held) = self.held.sessions.pop_front_if(|held| held.again_at <= now) {
            slice.begin(self.clock);
            answered += self.go_on(now, held.until, &mut held);
            if !held.asked.is_empty() {
                held.again_at = now.saturating_add(PAUSE.as_nanos() as u64);
                self.held.sessions.push_back(held);
            }
            if !self.goes_on(slice)? {
                break;
            }
        }
        Ok(answered)
    }

    /// Answers all that is held for sessions that a departing connection has asked about.
    pub(super) fn give_up_held(&mut self, now: u64, owner: Owner) {
        let concerned = |held: &HeldSession| held.asked.iter().any(|asked| asked.owner == owner);
        for _ in 0..self.held.sessions.len() {
            let Some(mut held) = self.held.sessions.pop_front() else { break };
            if concerned(&held) {
                while let Some(asked) = held.asked.pop_front() {
                    self.held.requests -= 1;
                    self.attempt(now, now, asked);
                }
            } else {
                self.held.sessions.push_back(held);
            }
        }
    }

    /// Answers a session's requests in order, up to one that has to wait on; answers how many.
    fn go_on(&mut self, now: u64, until: u64, held: &mut HeldSession) -> usize {
        let mut until = until;
        let mut answered = 0;
        while let Some(asked) = held.asked.pop_front() {
            if let Some(asked) = self.attempt(now, until, asked) {
                held.asked.push_front(asked);
                break;
            }
            self.held.requests -= 1;
            answered += 1;
            until = now.saturating_add(HOLD_NS);
            held.until = until;
        }
        answered
    }

    /// Answers a request, or gives it back because it should be tried again before `until`.
    fn attempt(&mut self, now: u64, until: u64, asked: Asked) -> Option<Asked> {
        let Asked { owner, request, answer } = asked;
        let restoring = now < self.started_ns.saturating_add(RESTORING_NS).min(until) && asks_for_ports(&request);
        let again = restoring.then(|| request.clone());
        let mut ports_in_use = false;
        let reply = self.reply(now, owner, request, &mut ports_in_use);
        // Only the kernel's own word is worth waiting for: a port of another session, or of no range, stays so.
        if let (Some(request), Reply::Refused(refusal), true) = (again, &reply, ports_in_use)
            && refusal.code == RefusalCode::PortTaken
        {
            return Some(Asked { owner, request, answer });
        }
        self.keep(now, answer, reply);
        None
    }
}

/// A datapath's ports, as the forwarding program is told of them too, and whether one of them was in use outside this
/// process.
pub(super) struct Told<'a, D> {
    ports: &'a mut D,
    pub(super) offload: Option<&'a mut Offloaded>,
    pub(super) in_use: bool,
}

impl<'a, D> Told<'a, D> {
    pub(super) fn new(ports: &'a mut D, offload: Option<&'a mut Offloaded>) -> Told<'a, D> {
        Told { ports, offload, in_use: false }
    }
}

impl<D: Ports> Ports for Told<'_, D> {
    fn bind(&mut self, endpoint: EndpointId, address: SocketAddr) -> Result<(), BindError> {
        if let Some(offload) = &mut self.offload {
            offload.open(endpoint, address);
        }
        let bound = self.ports.bind(endpoint, address);
        if let (Err(_), Some(offload)) = (&bound, &mut self.offload) {
            offload.close(endpoint);
        }
        self.in_use |= bound == Err(BindError::AddressInUse);
        bound
    }

    fn unbind(&mut self, endpoint: EndpointId) {
        self.ports.unbind(endpoint);
        if let Some(offload) = &mut self.offload {
            offload.close(endpoint);
        }
    }

    fn offload(&mut self) -> Option<&mut dyn Offload> {
        self.offload.as_deref_mut().map(|offload| offload as &mut dyn Offload)
    }
}

/// The session was on these ports before: no others will do.
fn asks_for_ports(request: &Request) -> bool {
    let Request::Open { spec, .. } = request else { return false };
    spec.legs.iter().flat_map(|leg| &leg.streams).any(|stream| stream.local.is_some())
}

fn session_of(request: &Request) -> Option<SessionId> {
    match request {
        Request::Open { session, .. }
        | Request::Update { session, .. }
        | Request::Claim { session }
        | Request::Close { session }
        | Request::Query { session } => Some(*session),
        Request::List { .. } => None,
    }
}
