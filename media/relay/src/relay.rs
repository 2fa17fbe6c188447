//! The relay itself: its sessions, and the requests about them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use moorline_control::{Ended, LocalSession, Refusal, RefusalCode, SessionId, SessionReport, SessionSpec};

use crate::flow::Flows;
use crate::player::Players;
use crate::pool::Pool;
use crate::session::{Session, other_leg};
use crate::{Closing, Config, ConfigError, Counters, Ports, Range, door};

mod acquire;
mod apply;
mod events;
mod list;
mod observe;
mod offload;
mod packet;
mod play;
mod report;
mod timers;

use offload::Offers;

/// A control connection: the owner of the sessions that it opened or claimed. Numbers are never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u64);

/// The sessions of one shard.
///
/// The driver hands in every datagram with [`packet`](Self::packet) and does at once what the [`Verdict`]
/// says; it hands in the requests of control connections, in their order, with a [`Ports`] that binds and
/// releases sockets while the call lasts. After any of these, and after
/// [`handle_timeout`](Self::handle_timeout), it takes events by [`poll_event`](Self::poll_event) until there
/// are none, and asks [`next_timeout`](Self::next_timeout) how long it may sleep. `now` never goes back.
///
/// Where settled flows are relayed elsewhere, which begins with [`offload_from`](Self::offload_from), datagrams are handed
/// in with [`packet_beside`](Self::packet_beside) instead, the [`Ports`] give the [`Offload`](crate::Offload), and
/// [`catch_up`](Self::catch_up) comes before a [`query`](Self::query).
///
/// Where announcements are played, which begins with [`announce`](Self::announce), it also takes packets by
/// [`play`](Self::play) when [`next_play`](Self::next_play) says so.
///
/// [`Verdict`]: crate::Verdict
pub struct Relay {
    ranges: Vec<Range>,
    capacity: usize,
    pool: Pool,
    flows: Flows,
    sessions: Vec<Option<Box<Session>>>,
    unused_slots: VecDeque<u32>,
    by_id: BTreeMap<SessionId, u32>,
    /// Owner and slot of every session.
    by_owner: BTreeSet<(u64, u32)>,
    /// The owners that are gone and still have sessions, with the end of their lease.
    released: BTreeMap<u64, u64>,
    /// The same by the end of the lease.
    leases: BTreeSet<(u64, u64)>,
    /// When to look at which session's media timeout. Packets do not touch it: a look that comes too early
    /// finds when the next one is due.
    looks: BTreeSet<(u64, u32)>,
    /// Slots whose sessions have something to tell, each once; room for all of them is reserved. That of a session
    /// that has ended stays, for the one that comes after it.
    queue: VecDeque<u32>,
    /// Which slots are in the queue.
    queued: Vec<bool>,
    ended: VecDeque<(Owner, Ended)>,
    /// Reports tell the latest DTMF digit.
    report_digits: bool,
    counters: Counters,
    /// By range.
    closing: Vec<Closing>,
    offers: Offers,
    players: Players,
}

impl Relay {
    /// A relay without sessions.
    ///
    /// # Errors
    /// What in the configuration cannot work.
    pub fn new(config: Config) -> Result<Relay, ConfigError> {
        config.check()?;
        Ok(Relay {
            pool: Pool::new(&config),
            flows: Flows::new(config.max_endpoints()),
            capacity: config.capacity,
            closing: vec![Closing::default(); config.ranges.len()],
            ranges: config.ranges,
            sessions: Vec::new(),
            unused_slots: VecDeque::new(),
            by_id: BTreeMap::new(),
            by_owner: BTreeSet::new(),
            released: BTreeMap::new(),
            leases: BTreeSet::new(),
            looks: BTreeSet::new(),
            queue: VecDeque::with_capacity(config.capacity),
            queued: Vec::new(),
            report_digits: config.report_digits,
            ended: VecDeque::new(),
            counters: Counters::default(),
            offers: Offers::default(),
            players: Players::none(),
        })
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
        if let Some(&slot) = self.by_id.get(&session) {
            self.check_claim(owner, slot)?;
            let local = self.change(now, slot, session, spec, ports)?;
            self.assign(now, owner, slot);
            return Ok(local);
        }
        if self.by_id.len() >= self.capacity {
            let detail = format!("{} sessions are open on this shard, its configured capacity", self.capacity);
            return Err(Refusal::new(RefusalCode::Capacity, detail));
        }
        let ranges = door::check(&self.ranges, &spec)?;
        self.check_plays(None, &spec)?;
        let slot = self.unused_slots.pop_front().unwrap_or_else(|| {
            self.sessions.push(None);
            self.queued.push(false);
            (self.sessions.len() - 1) as u32
        });
        match self.create(now, owner, slot, session, spec, &ranges, ports) {
            Ok(local) => Ok(local),
            Err(refusal) => {
                self.unused_slots.push_back(slot);
                self.take_gauges();
                Err(refusal)
            }
        }
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
        let slot = self.slot(session)?;
        self.change(now, slot, session, spec, ports)
    }

    /// Makes `owner` the owner of a session whose owner is gone.
    ///
    /// # Errors
    /// If there is no such session, or its owner still lives.
    pub fn claim(&mut self, now: u64, owner: Owner, session: SessionId) -> Result<LocalSession, Refusal> {
        let slot = self.slot(session)?;
        self.check_claim(owner, slot)?;
        self.assign(now, owner, slot);
        self.session(slot).map(Session::local).ok_or_else(|| no_such(session))
    }

    /// Closes a session and says what it relayed; `None` if there is none.
    pub fn close(&mut self, now: u64, session: SessionId, ports: &mut impl Ports) -> Option<SessionReport> {
        let slot = self.by_id.get(&session).copied()?;
        let (_, report) = self.end(now, slot, ports)?;
        Some(report)
    }

    /// What a session has relayed so far.
    ///
    /// # Errors
    /// If there is no such session.
    pub fn query(&self, now: u64, session: SessionId) -> Result<SessionReport, Refusal> {
        let slot = self.slot(session)?;
        self.session(slot).map(|state| self.report(now, state)).ok_or_else(|| no_such(session))
    }

    /// What was relayed and what is held.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What was seen of sessions that have ended, by the names of the media ranges.
    pub fn closing(&self) -> impl Iterator<Item = (&str, &Closing)> {
        self.ranges.iter().map(|range| range.name.as_str()).zip(&self.closing)
    }

    fn slot(&self, session: SessionId) -> Result<u32, Refusal> {
        self.by_id.get(&session).copied().ok_or_else(|| no_such(session))
    }

    fn session(&self, slot: u32) -> Option<&Session> {
        self.sessions.get(slot as usize)?.as_deref()
    }

    fn session_mut(&mut self, slot: u32) -> Option<&mut Session> {
        self.sessions.get_mut(slot as usize)?.as_deref_mut()
    }

    fn check_claim(&self, owner: Owner, slot: u32) -> Result<(), Refusal> {
        match self.session(slot) {
            Some(session) if session.owner != owner.0 && !self.released.contains_key(&session.owner) => {
                let detail = format!("session {} is owned by a connection that still lives", session.id);
                Err(Refusal::new(RefusalCode::Owned, detail))
            }
            _ => Ok(()),
        }
    }

    /// Makes `owner` the session's owner; the claim has been checked.
    fn assign(&mut self, now: u64, owner: Owner, slot: u32) {
        let Some(session) = self.session_mut(slot) else { return };
        let former = std::mem::replace(&mut session.owner, owner.0);
        if former == owner.0 {
            return;
        }
        self.by_owner.remove(&(former, slot));
        self.by_owner.insert((owner.0, slot));
        self.forget_if_empty(former);
        // What the former owner was told or not, the new one does not know: silence counts anew for it.
        self.watch_anew(now, slot);
    }

    /// Forgets a released owner that has no session left.
    fn forget_if_empty(&mut self, owner: u64) {
        if self.by_owner.range((owner, 0)..=(owner, u32::MAX)).next().is_none()
            && let Some(lease_end) = self.released.remove(&owner)
        {
            self.leases.remove(&(lease_end, owner));
        }
    }

    /// Ends a session: its ports are released and rest.
    fn end(&mut self, now: u64, slot: u32, ports: &mut impl Ports) -> Option<(Owner, SessionReport)> {
        self.take_session_back(slot, ports);
        let mut session = self.sessions.get_mut(slot as usize)?.take()?;
        let report = self.report(now, &session);
        for (position, (leg, streams)) in (0u8..).zip(session.legs.iter().zip(&report.legs)) {
            let others = other_leg(position).and_then(|other| report.legs.get(usize::from(other)));
            if let Some(closing) = self.closing.get_mut(leg.range) {
                let with_other =
                    (0..).zip(streams).map(|(index, stream)| (stream, others.and_then(|others| others.get(index))));
                with_other.for_each(|(stream, other)| closing.take(stream, other));
            }
        }
        for leg in &mut session.legs {
            for stream in &mut leg.streams {
                self.stop_playing(stream);
                self.release_ports(now, stream, ports);
            }
        }
        self.by_id.remove(&session.id);
        self.by_owner.remove(&(session.owner, slot));
        self.forget_if_empty(session.owner);
        if let Some(due) = session.watch.due {
            self.looks.remove(&(due, slot));
        }
        self.unused_slots.push_back(slot);
        self.counters.closed += 1;
        self.take_gauges();
        Some((Owner(session.owner), report))
    }

    fn take_gauges(&mut self) {
        self.counters.sessions = self.by_id.len() as u64;
        self.counters.flows_elsewhere = self.offers.count();
        self.counters.ports_in_use = self.flows.bound() as u64;
        self.counters.ports_resting = self.pool.resting() as u64 * 2;
    }
}

fn no_such(session: SessionId) -> Refusal {
    Refusal::new(RefusalCode::NoSuchSession, format!("no session {session} is open here"))
}
