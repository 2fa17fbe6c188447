//! Bringing a session to its specification.

use moorline_control::{LocalSession, Profile, Refusal, SessionId, SessionSpec};

use super::acquire::Need;
use super::{Owner, Relay, no_such};
use crate::flow::Role;
use crate::player::Listener;
use crate::session::{Component, Ends, Leg, Session, Stream, Watch, other_leg};
use crate::{EndpointId, Ports, door};

const NANOS_PER_MS: u64 = 1_000_000;

impl Relay {
    /// Fills an empty slot with a new session.
    #[expect(clippy::too_many_arguments, reason = "the request, its slot and what was checked of it")]
    pub(super) fn create(
        &mut self,
        now: u64,
        owner: Owner,
        slot: u32,
        id: SessionId,
        spec: SessionSpec,
        ranges: &[usize],
        ports: &mut impl Ports,
    ) -> Result<LocalSession, Refusal> {
        let needs = needs(None, &spec, ranges);
        let (virtual_shard, ends) = self.acquire(now, slot, &needs, None, ports)?;
        let session = Session {
            id,
            owner: owner.0,
            opened_at: now,
            virtual_shard: virtual_shard.unwrap_or_default(),
            legs: Vec::new(),
            snapshot: Vec::new(),
            watch: Watch::default(),
            untold_latches: 0,
            untold_timeout: false,
            untold_plays: 0,
        };
        self.by_id.insert(id, slot);
        self.by_owner.insert((owner.0, slot));
        self.counters.opened += 1;
        Ok(self.commit(now, slot, Box::new(session), spec, ranges, &needs, ends, ports))
    }

    /// Brings an open session to another specification.
    pub(super) fn change(
        &mut self,
        now: u64,
        slot: u32,
        id: SessionId,
        spec: SessionSpec,
        ports: &mut impl Ports,
    ) -> Result<LocalSession, Refusal> {
        let ranges = door::check(&self.ranges, &spec)?;
        self.check_plays(self.session(slot), &spec)?;
        self.take_session_back(slot, ports);
        let place = self.sessions.get_mut(slot as usize).and_then(Option::take);
        let mut session = place.ok_or_else(|| no_such(id))?;
        let needs = needs(Some(&session), &spec, &ranges);
        // A session that holds no port yet is free to choose where its ports come from.
        let virtual_shard = session.ends().next().map(|_| session.virtual_shard);
        match self.acquire(now, slot, &needs, virtual_shard, ports) {
            Ok((virtual_shard, ends)) => {
                session.virtual_shard = virtual_shard.unwrap_or(session.virtual_shard);
                Ok(self.commit(now, slot, session, spec, &ranges, &needs, ends, ports))
            }
            Err(refusal) => {
                self.put_back(slot, session);
                self.take_gauges();
                Err(refusal)
            }
        }
    }

    /// Puts the specification and the new ports in force; nothing can fail any more.
    #[expect(clippy::too_many_arguments, reason = "everything that was prepared, put in force at once")]
    fn commit(
        &mut self,
        now: u64,
        slot: u32,
        mut session: Box<Session>,
        spec: SessionSpec,
        ranges: &[usize],
        needs: &[Need],
        ends: Vec<Ends>,
        ports: &mut impl Ports,
    ) -> LocalSession {
        let answered_before: u32 = answered(&session);
        let mut other_plays = 0u32;
        for leg in session.legs.iter_mut().skip(spec.legs.len()) {
            leg.streams.iter_mut().for_each(|stream| self.remove(now, stream, ports));
        }
        session.legs.resize_with(spec.legs.len(), Leg::default);
        for ((position, (leg, leg_spec)), &range) in session.legs.iter_mut().zip(spec.legs).enumerate().zip(ranges) {
            leg.range = range;
            for stream in leg.streams.iter_mut().skip(leg_spec.streams.len()) {
                self.remove(now, stream, ports);
            }
            leg.streams.resize_with(leg_spec.streams.len(), Stream::default);
            for (index, (stream, mut stream_spec)) in leg.streams.iter_mut().zip(leg_spec.streams).enumerate() {
                let need = needs.iter().position(|n| (usize::from(n.leg), usize::from(n.stream)) == (position, index));
                if need.is_some() || !stream_spec.active {
                    self.release_ports(now, stream, ports);
                }
                if let Some(need) = need {
                    stream.ends = ends.get(need).copied();
                }
                if stream.profile != stream_spec.profile {
                    self.count_anew(stream);
                }
                let play = stream_spec.play.take().filter(|_| stream_spec.active);
                let listener = Listener { slot, leg: position as u8, stream: index as u8 };
                if self.set_play(now, listener, stream, play) {
                    other_plays |= 1 << (8 * position + index);
                }
                let moved = stream.apply(now, stream_spec);
                self.set_guard(now, stream, moved);
            }
        }
        session.snapshot = spec.snapshot;
        session.untold_plays &= !other_plays;
        tell_answered(now, &mut session, answered_before);
        let width = session.width();
        let local = session.local();
        self.put_back(slot, session);
        for index in 0..width {
            self.wire(slot, index as u8);
            self.expect(now, slot, index as u8);
        }
        self.set_watch(now, slot, u64::from(spec.media_timeout_ms) * NANOS_PER_MS, !needs.is_empty());
        self.take_gauges();
        local
    }

    fn put_back(&mut self, slot: u32, session: Box<Session>) {
        if let Some(place) = self.sessions.get_mut(slot as usize) {
            *place = Some(session);
        }
    }

    /// A stream goes: its ports rest, and nothing is played there.
    fn remove(&mut self, now: u64, stream: &mut Stream, ports: &mut impl Ports) {
        self.stop_playing(stream);
        self.release_ports(now, stream, ports);
    }

    /// Releases a stream's ports, which rest; what they had received stays in the stream's report.
    pub(super) fn release_ports(&mut self, now: u64, stream: &mut Stream, ports: &mut impl Ports) {
        if stream.ends.is_some() {
            self.settle_silence(now, stream);
        }
        let Some(ends) = stream.ends.take() else { return };
        for endpoint in [ends.rtp, ends.rtcp] {
            ports.unbind(EndpointId(endpoint));
            self.offers.unbind(endpoint);
            self.flows.remove(endpoint, &mut stream.statistics.totals);
        }
        self.pool.rest(now, ends.pair);
    }

    /// Keeps in the stream's report what its ports have received so far: what comes is of another profile.
    fn count_anew(&mut self, stream: &mut Stream) {
        for endpoint in stream.ends.iter().flat_map(|ends| [ends.rtp, ends.rtcp]) {
            if let Some(flow) = self.flows.get_mut(endpoint) {
                flow.hand_over(&mut stream.statistics.totals);
            }
        }
    }

    /// Tells the guards of a stream's ports what its client has said.
    fn set_guard(&mut self, now: u64, stream: &Stream, moved: bool) {
        for endpoint in stream.ends.iter().flat_map(|ends| [ends.rtp, ends.rtcp]) {
            let Some((flow, guard)) = self.flows.pair_mut(endpoint) else { continue };
            flow.tokens = guard.set_ceiling(stream.ceiling).unwrap_or(flow.tokens);
            (guard.one_ssrc, guard.stun) = (stream.one_ssrc, stream.stun);
            guard.ssrc.announce(now);
            if moved {
                guard.forget();
            }
            flow.settled &= guard.one_ssrc && !moved;
        }
    }

    /// Works out anew what the flows of the streams at one position need to know: sources and destinations.
    pub(super) fn wire(&mut self, slot: u32, stream_index: u8) {
        // Not `self.session`, which would borrow the flows too.
        let Some(session) = self.sessions.get(slot as usize).and_then(Option::as_deref) else { return };
        for position in 0..session.legs.len() as u8 {
            let Some(stream) = session.stream(position, stream_index) else { continue };
            let Some(ends) = stream.ends else { continue };
            if let Some(player) = stream.player() {
                let way = session.way_to(position, stream_index, Component::Rtp);
                self.players.set_way(player, way.unwrap_or_default());
            }
            // Whoever hears an announcement hears nobody else.
            let listens = |leg: &u8| session.stream(*leg, stream_index).is_some_and(|other| other.player().is_none());
            for (endpoint, component) in [(ends.rtp, Component::Rtp), (ends.rtcp, Component::Rtcp)] {
                let Some(flow) = self.flows.get_mut(endpoint) else { continue };
                flow.role = match (stream.profile, component) {
                    (Profile::Rtp, Component::Rtp) if stream.mux => Role::Muxed,
                    (Profile::Rtp, Component::Rtp) => Role::Rtp,
                    (Profile::Rtp, Component::Rtcp) => Role::Rtcp,
                    (Profile::Udptl, Component::Rtp) => Role::Datagrams,
                    (Profile::Udptl, Component::Rtcp) => Role::Unused,
                };
                flow.source = stream.known_source(component);
                flow.forget_usual();
                self.offers.note_change(endpoint);
                let way =
                    other_leg(position).filter(listens).and_then(|leg| session.way_to(leg, stream_index, component));
                (flow.from, flow.destination) = way.unwrap_or_default();
            }
        }
    }
}

/// The streams that need ports they do not hold yet.
fn needs(session: Option<&Session>, spec: &SessionSpec, ranges: &[usize]) -> Vec<Need> {
    let mut needs = Vec::new();
    for ((position, leg), &range) in (0u8..).zip(&spec.legs).zip(ranges) {
        for (index, stream) in (0u8..).zip(&leg.streams).filter(|(_, stream)| stream.active) {
            let held = session.and_then(|session| session.stream(position, index)?.ends);
            let stays = held.is_some_and(|ends| {
                ends.pair.range == range && stream.local.is_none_or(|local| local.rtp == ends.pair.rtp)
            });
            if !stays {
                needs.push(Need { leg: position, stream: index, range, exactly: stream.local });
            }
        }
    }
    needs
}

/// The streams of the first two legs that have said where they receive: bit `8 leg + stream`.
fn answered(session: &Session) -> u32 {
    let mut bits = 0;
    for (position, leg) in session.legs.iter().take(2).enumerate() {
        for (index, _) in leg.streams.iter().enumerate().filter(|(_, stream)| stream.told_rtp.is_some()) {
            bits |= 1 << (8 * position + index);
        }
    }
    bits
}

/// Tells each stream whose other party has now answered.
fn tell_answered(now: u64, session: &mut Session, before: u32) {
    let new = answered(session) & !before;
    for (position, other) in [(0u8, 1u8), (1, 0)] {
        for index in 0..8 {
            if new & 1 << (8 * other + index) != 0
                && let Some(stream) = session.stream_mut(position, index)
            {
                stream.other_answered(now);
            }
        }
    }
}
