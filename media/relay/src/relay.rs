//! The relay itself.

use std::net::SocketAddr;

use moorline_control::{Event, Listed, LocalSession, Refusal, RefusalCode, SessionId, SessionReport, SessionSpec};

use crate::{Config, ConfigError, Counters, DropReason, EndpointId, Ports, Verdict};

/// A control connection: the owner of the sessions that it opened or claimed. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// The sessions of one shard.
pub struct Relay {
    counters: Counters,
}

impl Relay {
    /// A relay without sessions.
    ///
    /// # Errors
    /// What in the configuration cannot work.
    pub fn new(config: Config) -> Result<Relay, ConfigError> {
        let _ = config;
        Ok(Relay { counters: Counters::default() })
    }

    /// Opens a session for `owner`. If it is open already it is updated and claimed instead.
    ///
    /// # Errors
    /// Why not; nothing has changed then, and nothing is bound.
    pub fn open(
        &mut self,
        now: u64,
        owner: Owner,
        session: SessionId,
        spec: SessionSpec,
        ports: &mut impl Ports,
    ) -> Result<LocalSession, Refusal> {
        let _ = (now, owner, session, spec, ports);
        Err(Refusal::new(RefusalCode::Capacity, ""))
    }

    /// Replaces the specification of an open session. Streams that stay keep their ports and lose no packet.
    ///
    /// # Errors
    /// Why not; nothing has changed then.
    pub fn update(
        &mut self,
        now: u64,
        session: SessionId,
        spec: SessionSpec,
        ports: &mut impl Ports,
    ) -> Result<LocalSession, Refusal> {
        let _ = (now, session, spec, ports);
        Err(Refusal::new(RefusalCode::Capacity, ""))
    }

    /// Makes `owner` the owner of a session whose owner is gone.
    ///
    /// # Errors
    /// If there is no such session, or its owner still lives.
    pub fn claim(&mut self, now: u64, owner: Owner, session: SessionId) -> Result<LocalSession, Refusal> {
        let _ = (now, owner, session);
        Err(Refusal::new(RefusalCode::Capacity, ""))
    }

    /// The owner is gone: its sessions run on for `lease_ns` and then end unless claimed. Nothing else may
    /// come in this owner's name afterwards.
    pub fn release(&mut self, now: u64, owner: Owner, lease_ns: u64) {
        let _ = (now, owner, lease_ns);
    }

    /// Closes a session and says what it relayed; `None` if there is none.
    pub fn close(&mut self, now: u64, session: SessionId, ports: &mut impl Ports) -> Option<SessionReport> {
        let _ = (now, session, ports);
        None
    }

    /// What a session has relayed so far.
    ///
    /// # Errors
    /// If there is no such session.
    pub fn query(&self, now: u64, session: SessionId) -> Result<SessionReport, Refusal> {
        let _ = (now, session);
        Err(Refusal::new(RefusalCode::Capacity, ""))
    }

    /// The open sessions after `after` in order of id, as many as encode to at most `max_bytes` (and at
    /// least one).
    pub fn list(&self, after: Option<SessionId>, max_bytes: usize) -> Listed {
        let _ = (after, max_bytes);
        Listed::default()
    }

    /// Decides about one received datagram. Allocates nothing, and its time is bounded.
    pub fn packet(&mut self, now: u64, endpoint: EndpointId, source: SocketAddr, payload: &[u8]) -> Verdict {
        let _ = (now, endpoint, source, payload);
        Verdict::Drop(DropReason::NoSession)
    }

    /// The next event and the connection it is for, which may be gone.
    pub fn poll_event(&mut self) -> Option<(Owner, Event)> {
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next; in the past if it has more to do.
    pub fn next_timeout(&self) -> Option<u64> {
        None
    }

    /// Does what is due at `now`, a bounded slice of it: call again while [`next_timeout`](Self::next_timeout)
    /// is not after `now`, with packets in between.
    pub fn handle_timeout(&mut self, now: u64, ports: &mut impl Ports) {
        let _ = (now, ports);
    }

    /// What was relayed and what is held.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
