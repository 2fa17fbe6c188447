//! After a restart of either process. Signaling that comes back takes its calls from the listing of the
//! media process; a media process that comes back is told of every call again, on the ports it had.

use moorline_control::{Listed, Listing, Profile, ServerHello, SessionId};

use super::Worker;
use super::media::Asked;
use super::setup::Refused;
use crate::call::Phase;
use crate::leg::Side;
use crate::snapshot;
use crate::{Observation, Outcome};

impl Worker {
    /// The control connection stands.
    pub(super) fn media_connected(&mut self, now: u64, hello: &ServerHello) {
        self.media.connected = true;
        self.media.relays_fax = hello.relays(Profile::Udptl);
        self.media.announcements = hello.announcements.clone();
        self.media.start_anew();
        if self.place.index == 0 {
            self.compare_with(hello);
        }
        // `Open` brings a session back on the same ports after a media restart, and claims it where only
        // the connection was lost.
        let live = self.calls.values().filter(|call| call.is_live());
        // What has ports gets them first: new ones might be those of a call that comes later.
        let mut live: Vec<(bool, SessionId)> = live.map(|call| (!call.has_its_ports(), call.id)).collect();
        live.sort_by_key(|(lacks_ports, _)| *lacks_ports);
        let live = live.into_iter().map(|(_, id)| Asked::Open(id));
        let closing = self.media.closing.iter().map(|id| Asked::Close(*id));
        let again: Vec<Asked> = live.chain(closing).collect();
        again.into_iter().for_each(|asked| self.media.later(asked));
        if !self.media.listed {
            self.list(None);
        }
        self.work_backlog(now);
    }

    /// Says what the trunks want of a media process that it does not serve: else nobody would know why calls are refused.
    fn compare_with(&mut self, hello: &ServerHello) {
        let served = |range: &str| hello.ranges.iter().any(|served| served.name == range);
        let trunks = || self.policy.current_trunks().map(|(_, trunk)| trunk);
        let lacking = trunks().filter(|trunk| !served(&trunk.media_range));
        let unserved = lacking.map(|trunk| (trunk.name.clone(), trunk.media_range.clone())).collect();
        let without_fax = !self.media.relays_fax && trunks().any(|trunk| trunk.dialogs.fax);
        self.observe(Observation::MediaServes { unserved, without_fax });
    }

    /// The control connection is gone: calls whose session was not open yet are refused, the others talk on.
    pub(super) fn media_disconnected(&mut self, now: u64) {
        self.media.connected = false;
        self.media.start_anew();
        let opening: Vec<SessionId> =
            self.calls.values().filter(|call| call.is_opening()).map(|call| call.id).collect();
        for id in opening {
            self.refuse_caller(now, id, &Refused::because(503, "Media Process Gone"), Outcome::Rejected(503));
        }
        for id in self.are_announced_to() {
            self.announced(now, id);
        }
        // Closed with the media process, or by the lease: either way nothing more will be heard of them.
        // Should the connection come back to the same process, they are closed again then.
        let over: Vec<SessionId> = self.media.closing.iter().copied().collect();
        for id in over {
            if let Some(call) = self.calls.get_mut(&id) {
                call.media_closed = true;
                self.ending.push(id);
            }
        }
    }

    fn list(&mut self, after: Option<SessionId>) {
        self.media.later(Asked::List(after));
    }

    /// A page of the listing.
    pub(super) fn listed(&mut self, now: u64, page: Listed) {
        let last = page.sessions.last().map(|listing| listing.session);
        for listing in page.sessions {
            // What another client that still lives owns is none of ours, nor what another worker will take back.
            if !listing.owned && self.place.owns(listing.session) && !self.calls.contains_key(&listing.session) {
                self.restore(now, listing);
            }
        }
        match last {
            Some(last) if page.more => self.list(Some(last)),
            _ => self.listing_over(),
        }
    }

    pub(super) fn listing_over(&mut self) {
        self.lose_begun();
        if !std::mem::replace(&mut self.media.listed, true) {
            self.place.limits.returned();
        }
    }

    fn restore(&mut self, now: u64, listing: Listing) {
        let id = listing.session;
        if self.before.has_ended(id) {
            self.close_media(id);
            return self.observe(Observation::NotRestored { session: id, reason: "the call has ended".into() });
        }
        match snapshot::restore(id, &listing.snapshot, listing.local, now, &self.policy) {
            Ok((mut call, counted)) => {
                self.seize_again(&mut call, counted);
                for side in Side::BOTH {
                    self.tags.insert(call.leg(side).tag, (id, side));
                }
                let until = call.answered_at.unwrap_or(now).saturating_add(self.policy.limits.call_duration_ns);
                self.calls.insert(id, Box::new(call));
                self.live += 1;
                // A call that is up is never refused, whatever the limit is by now.
                self.place.calls.enter(usize::MAX);
                self.enter(id, Phase::Answered, Some(until.max(now)));
                for side in Side::BOTH {
                    let timer = self.calls.get(&id).and_then(|call| call.leg(side).timer);
                    self.set_timer(id, side, timer);
                }
                self.leave_streams_of(id);
                self.look_up_restored(now, id);
                self.media.later(Asked::Claim(id));
                self.counters.restored += 1;
                self.observe(Observation::Restored { call: id });
                if self.resume_record(now, id) {
                    // The process before has let its parties go, but was killed before its session was closed.
                    self.hang_up_both(now, id, Outcome::MediaLost);
                }
            }
            Err(reason) => {
                self.close_media(id);
                self.observe(Observation::NotRestored { session: id, reason });
            }
        }
    }
}
