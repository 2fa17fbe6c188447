//! Leases, media timeouts, and ports that have rested.

use moorline_control::{EndReason, Ended};

use super::{Owner, Relay};
use crate::Ports;
use crate::session::Session;

/// Sessions looked at for a media timeout in one slice: a few microseconds.
const LOOKS_PER_SLICE: usize = 16;

impl Relay {
    /// The owner is gone: its sessions run on for `lease_ns` and then end unless claimed. Nothing else may
    /// come in this owner's name afterwards.
    pub fn release(&mut self, now: u64, owner: Owner, lease_ns: u64) {
        let has_sessions = self.by_owner.range((owner.0, 0)..=(owner.0, u32::MAX)).next().is_some();
        if has_sessions && !self.released.contains_key(&owner.0) {
            let lease_end = now.saturating_add(lease_ns);
            self.released.insert(owner.0, lease_end);
            self.leases.insert((lease_end, owner.0));
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next; in the past if it has more to do.
    pub fn next_timeout(&self) -> Option<u64> {
        // Without room to tell of it no lease ends; when events have been taken there is.
        let lease = self.leases.first().filter(|_| self.room_for_ended() > 0).map(|&(lease_end, _)| lease_end);
        let look = self.looks.first().map(|&(due, _)| due);
        [lease, look, self.pool.all_rested_at(), self.next_look_elsewhere()].into_iter().flatten().min()
    }

    /// Does what is due at `now`, a slice of it of some microseconds, and at most one session ends: call again
    /// while [`next_timeout`](Self::next_timeout) is not after `now`, with a look at the packets in between.
    pub fn handle_timeout(&mut self, now: u64, ports: &mut impl Ports) {
        self.pool.wake(now);
        self.look_elsewhere(now, ports);
        for _ in 0..LOOKS_PER_SLICE {
            let Some((due, slot)) = self.looks.pop_first() else { break };
            if due > now {
                self.looks.insert((due, slot));
                break;
            }
            if let Some(offload) = ports.offload() {
                self.merge_session(slot, offload);
            }
            self.look(now, slot);
        }
        if let Some(&(lease_end, owner)) = self.leases.first()
            && lease_end <= now
            && self.room_for_ended() > 0
        {
            let slot = self.by_owner.range((owner, 0)..=(owner, u32::MAX)).next().map(|&(_, slot)| slot);
            match slot {
                Some(slot) => self.expire(now, slot, ports),
                None => self.forget_if_empty(owner),
            }
        }
        self.take_gauges();
    }

    fn expire(&mut self, now: u64, slot: u32, ports: &mut impl Ports) {
        let Some(id) = self.session(slot).map(|session| session.id) else { return };
        if let Some((owner, report)) = self.end(now, slot, ports) {
            self.counters.leases_expired += 1;
            self.tell_ended(owner, Ended { session: id, reason: EndReason::LeaseExpired, report });
        }
    }

    /// Looks whether a session has been silent for its media timeout.
    fn look(&mut self, now: u64, slot: u32) {
        let Some(session) = self.session(slot) else { return };
        let due = self.silent_since(session).saturating_add(session.watch.timeout_ns);
        let unowned = self.released.contains_key(&session.owner);
        if due > now {
            self.set_due(slot, Some(due));
        } else if unowned {
            // Nobody would hear it; whoever claims the session gets a full timeout of silence first.
            let again = now.saturating_add(session.watch.timeout_ns);
            self.set_due(slot, Some(again));
        } else {
            self.set_due(slot, None);
            self.counters.timeouts += 1;
            if let Some(session) = self.session_mut(slot) {
                session.untold_timeout = true;
            }
            self.tell(slot);
        }
    }

    fn silent_since(&self, session: &Session) -> u64 {
        let seen = session.ends().flat_map(|ends| [ends.rtp, ends.rtcp]).map(|end| self.flows.last_seen(end));
        seen.max().unwrap_or(0).max(session.watch.since)
    }

    /// Sets a session's media timeout, 0 for none. A running watch goes on if the timeout is the same.
    pub(super) fn set_watch(&mut self, now: u64, slot: u32, timeout_ns: u64, ports_are_new: bool) {
        let Some(session) = self.session_mut(slot) else { return };
        if session.watch.timeout_ns != timeout_ns {
            session.watch.timeout_ns = timeout_ns;
            self.watch_anew(now, slot);
        } else if ports_are_new {
            // The ports that had heard the party are gone, and their times with them.
            session.watch.since = now;
        }
    }

    /// Counts silence from now on.
    pub(super) fn watch_anew(&mut self, now: u64, slot: u32) {
        let Some(session) = self.session_mut(slot) else { return };
        session.watch.since = now;
        session.untold_timeout = false;
        let timeout_ns = session.watch.timeout_ns;
        self.set_due(slot, (timeout_ns > 0).then(|| now.saturating_add(timeout_ns)));
    }

    fn set_due(&mut self, slot: u32, due: Option<u64>) {
        let Some(session) = self.session_mut(slot) else { return };
        if let Some(former) = std::mem::replace(&mut session.watch.due, due) {
            self.looks.remove(&(former, slot));
        }
        if let Some(due) = due {
            self.looks.insert((due, slot));
        }
    }
}
