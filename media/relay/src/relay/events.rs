//! What the relay has to tell the owners of its sessions.

use moorline_control::{Ended, Event};

use super::{Owner, Relay};
use crate::session::{Session, Stream};

/// Ended sessions to be told of; many slices of expired leases. While it is full no lease ends, so that none goes untold.
const MAX_ENDED: usize = 1024;

impl Relay {
    /// The next event and the connection it is for. The connection of an ended session is gone: the event
    /// says what to write into a log.
    pub fn poll_event(&mut self) -> Option<(Owner, Event)> {
        if let Some((owner, ended)) = self.ended.pop_front() {
            return Some((owner, Event::Ended(ended)));
        }
        while let Some(&slot) = self.queue.front() {
            let session = self.sessions.get_mut(slot as usize).and_then(Option::as_deref_mut);
            if let Some(session) = session {
                let live = !self.released.contains_key(&session.owner);
                let event = next_event(session);
                if let (Some(event), true) = (event, live) {
                    return Some((Owner(session.owner), event));
                }
                (session.untold_latches, session.untold_timeout, session.untold_plays) = (0, false, 0);
            }
            self.queue.pop_front();
            if let Some(queued) = self.queued.get_mut(slot as usize) {
                *queued = false;
            }
        }
        None
    }

    /// Queues a session that has something to tell.
    pub(super) fn tell(&mut self, slot: u32) {
        if let Some(queued) = self.queued.get_mut(slot as usize)
            && !std::mem::replace(queued, true)
        {
            self.queue.push_back(slot);
        }
    }

    pub(super) fn tell_ended(&mut self, owner: Owner, ended: Ended) {
        self.ended.push_back((owner, ended));
    }

    /// How many more ended sessions can be told of.
    pub(super) fn room_for_ended(&self) -> usize {
        MAX_ENDED.saturating_sub(self.ended.len())
    }

    /// Whether [`poll_event`](Self::poll_event) may have something to say.
    pub fn has_events(&self) -> bool {
        !self.ended.is_empty() || !self.queue.is_empty()
    }
}

fn next_event(session: &mut Session) -> Option<Event> {
    while session.untold_latches != 0 {
        let bit = session.untold_latches.trailing_zeros() as u8;
        session.untold_latches &= session.untold_latches - 1;
        let (leg, stream) = (bit / 8, bit % 8);
        if let Some(source) = session.stream(leg, stream).and_then(Stream::source) {
            return Some(Event::Latched { session: session.id, leg, stream, source });
        }
    }
    if session.untold_plays != 0 {
        let bit = session.untold_plays.trailing_zeros() as u8;
        session.untold_plays &= session.untold_plays - 1;
        return Some(Event::Played { session: session.id, leg: bit / 8, stream: bit % 8 });
    }
    std::mem::take(&mut session.untold_timeout).then_some(Event::MediaTimeout { session: session.id })
}
