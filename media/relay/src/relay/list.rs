//! Listings.

use std::ops::Bound;

use moorline_control::{Listed, Listing, LocalSession, SessionId};

use super::Relay;

impl Relay {
    /// The open sessions after `after` in order of id, as many as encode to at most `max_bytes` (and at
    /// least one).
    pub fn list(&self, after: Option<SessionId>, max_bytes: usize) -> Listed {
        let mut listed = Listed::default();
        let mut room = max_bytes.saturating_sub(PAGE_BYTES);
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        for &slot in self.by_id.range((from, Bound::Unbounded)).map(|(_, slot)| slot) {
            let Some(session) = self.session(slot) else { continue };
            let local = session.local();
            let bytes = encoded_bytes(&local, session.snapshot.len());
            if bytes > room && !listed.sessions.is_empty() {
                listed.more = true;
                break;
            }
            room = room.saturating_sub(bytes);
            let owned = !self.released.contains_key(&session.owner);
            listed.sessions.push(Listing { session: session.id, local, snapshot: session.snapshot.clone(), owned });
        }
        listed
    }
}

/// The frame, the reply and the page around the listings.
const PAGE_BYTES: usize = 64;

/// No fewer bytes than a listing has when encoded.
fn encoded_bytes(local: &LocalSession, snapshot: usize) -> usize {
    // Three IPv6 addresses as arrays of bytes (up to 2 each), two of them with ports, and their framing.
    const STREAM: usize = 3 * 40 + 2 * 8 + 8;
    const LISTING: usize = 48;
    let streams: usize = local.legs.iter().map(|leg| 8 + leg.len() * STREAM).sum();
    LISTING + streams + snapshot
}
