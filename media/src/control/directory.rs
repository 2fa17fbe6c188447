//! Which shard has which session.
//!
//! The control side routes by this table, and shards answer from other threads, in the end through
//! different connections. So what is known of a session is changed only by the latest word of its shard
//! ([`Answer::sequence`](crate::shard::Answer::sequence)), and an entry stays while any request for it is
//! on its way.

use std::collections::HashMap;

use moorline_control::{RefusalCode, Reply, SessionId};

/// How many sessions more than the others a shard may have that is given new ones. One that has just been awake does
/// what is asked of it at half the cost of one that sleeps, and so many streams are a small part of what a core relays.
const SLACK: usize = 128;

#[derive(Debug)]
struct Entry {
    shard: u16,
    /// Requests on their way to the shard or back.
    in_flight: u32,
    /// The shard's count at its latest word.
    sequence: u64,
    /// By that word, the session is open.
    open: bool,
}

/// The sessions of this process, open or about to be.
#[derive(Debug)]
pub(super) struct Directory {
    entries: HashMap<SessionId, Entry>,
    load: Vec<usize>,
    /// The shard of the session that was opened last.
    latest: u16,
    capacity: usize,
}

/// The process has as many sessions as it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Directory {
    pub(super) fn new(shards: u16, capacity: usize) -> Directory {
        Directory { entries: HashMap::new(), load: vec![0; usize::from(shards)], latest: 0, capacity }
    }

    /// The shard for a request about a session that should be there; `None` if it is not.
    pub(super) fn route(&mut self, session: SessionId) -> Option<u16> {
        let entry = self.entries.get_mut(&session)?;
        entry.in_flight += 1;
        Some(entry.shard)
    }

    /// The shard for a session to open: its own if it is open already, else `preferred`, else that of the session
    /// before, or the one with the fewest sessions where that has [`SLACK`] more.
    pub(super) fn route_open(&mut self, session: SessionId, preferred: Option<u16>) -> Result<u16, Full> {
        if let Some(shard) = self.route(session) {
            return Ok(shard);
        }
        if self.entries.len() >= self.capacity {
            return Err(Full);
        }
        let shard = preferred.filter(|shard| usize::from(*shard) < self.load.len()).unwrap_or_else(|| self.next());
        self.load[usize::from(shard)] += 1;
        self.entries.insert(session, Entry { shard, in_flight: 1, sequence: 0, open: false });
        Ok(shard)
    }

    /// The shard for the next session.
    fn next(&mut self) -> u16 {
        let latest = self.load.get(usize::from(self.latest)).copied().unwrap_or(usize::MAX);
        if let Some((least, load)) = (0u16..).zip(&self.load).min_by_key(|(_, load)| **load)
            && latest >= load + SLACK
        {
            self.latest = least;
        }
        self.latest
    }

    /// A routed request did not reach the shard.
    pub(super) fn unsent(&mut self, session: SessionId) {
        self.settle(session, 0, None);
    }

    /// A shard's answer to a routed request.
    pub(super) fn answered(&mut self, session: SessionId, sequence: u64, reply: &Reply) {
        let open = match reply {
            Reply::Opened(_) | Reply::Report(_) => Some(true),
            Reply::Closed(_) => Some(false),
            Reply::Refused(refusal) if refusal.code == RefusalCode::NoSuchSession => Some(false),
            Reply::Refused(_) | Reply::Listed(_) => None,
        };
        self.settle(session, sequence, open);
    }

    /// A shard has ended a session by itself.
    pub(super) fn ended(&mut self, session: SessionId, sequence: u64) {
        if let Some(entry) = self.entries.get_mut(&session) {
            entry.in_flight += 1;
            self.settle(session, sequence, Some(false));
        }
    }

    fn settle(&mut self, session: SessionId, sequence: u64, open: Option<bool>) {
        let Some(entry) = self.entries.get_mut(&session) else { return };
        entry.in_flight -= 1;
        if let Some(open) = open
            && sequence > entry.sequence
        {
            (entry.sequence, entry.open) = (sequence, open);
        }
        if entry.in_flight == 0 && !entry.open {
            self.load[usize::from(entry.shard)] -= 1;
            self.entries.remove(&session);
        }
    }
}

#[cfg(test)]
mod tests {
    use moorline_control::{LocalSession, Refusal};

    use super::*;

    fn id(random: u64) -> SessionId {
        SessionId { node: 1, virtual_shard: 0, random }
    }

    fn opened() -> Reply {
        Reply::Opened(LocalSession::default())
    }

    fn refused(code: RefusalCode) -> Reply {
        Reply::Refused(Refusal::new(code, ""))
    }

    #[test]
    fn sessions_go_to_one_shard_until_it_has_some_more_than_the_others() {
        let mut directory = Directory::new(3, 5000);
        let run = |directory: &mut Directory, first: u64, length: usize| -> Vec<u16> {
            (first..).take(length).map(|n| directory.route_open(id(n), None).unwrap()).collect()
        };
        assert_eq!(run(&mut directory, 0, SLACK), [0; SLACK]);
        assert_eq!(run(&mut directory, 1000, SLACK), [1; SLACK]);
        assert_eq!(run(&mut directory, 2000, 2 * SLACK), [2; 2 * SLACK], "until it leads the others");
        assert_eq!(run(&mut directory, 3000, 1), [0]);
        let (least, most) = (directory.load.iter().min().unwrap(), directory.load.iter().max().unwrap());
        assert!(most - least <= SLACK, "{:?}", directory.load);
    }

    #[test]
    fn sessions_stay_on_their_shard_and_return_to_the_one_with_their_ports() {
        let mut directory = Directory::new(2, 10);
        assert_eq!(directory.route_open(id(1), Some(1)), Ok(1));
        directory.answered(id(1), 1, &opened());
        assert_eq!(directory.route_open(id(1), Some(0)), Ok(1), "open already");
        assert_eq!(directory.route(id(1)), Some(1));
        assert_eq!(directory.route_open(id(8), Some(7)), Ok(0), "a shard that is not there");
    }

    #[test]
    fn a_refused_open_leaves_no_entry_but_a_refused_update_does() {
        let mut directory = Directory::new(1, 10);
        directory.route_open(id(1), None).unwrap();
        directory.answered(id(1), 1, &refused(RefusalCode::OutOfPorts));
        assert_eq!(directory.route(id(1)), None);
        directory.route_open(id(1), None).unwrap();
        directory.answered(id(1), 2, &opened());
        directory.route_open(id(1), None).unwrap();
        directory.answered(id(1), 3, &refused(RefusalCode::OutOfPorts));
        assert_eq!(directory.route(id(1)), Some(0));
        directory.answered(id(1), 4, &refused(RefusalCode::NoSuchSession));
        assert_eq!(directory.route(id(1)), None);
    }

    #[test]
    fn answers_that_come_back_out_of_order_leave_the_latest_word() {
        let mut directory = Directory::new(1, 10);
        directory.route_open(id(1), None).unwrap();
        directory.answered(id(1), 1, &opened());
        // Closed through one connection, then opened through another, whose answer is seen first.
        directory.route(id(1)).unwrap();
        directory.route_open(id(1), None).unwrap();
        directory.answered(id(1), 3, &opened());
        directory.answered(id(1), 2, &Reply::Closed(None));
        assert_eq!(directory.route(id(1)), Some(0));
        // And the other way round: the close was later.
        directory.route_open(id(1), None).unwrap();
        directory.answered(id(1), 5, &Reply::Closed(None));
        directory.answered(id(1), 4, &opened());
        assert_eq!(directory.route(id(1)), None);
    }

    #[test]
    fn a_session_that_ended_by_itself_is_forgotten_unless_it_was_opened_again() {
        let mut directory = Directory::new(1, 10);
        directory.route_open(id(1), None).unwrap();
        directory.answered(id(1), 1, &opened());
        directory.route_open(id(1), None).unwrap();
        directory.ended(id(1), 2);
        directory.answered(id(1), 3, &opened());
        assert_eq!(directory.route(id(1)), Some(0));
        directory.answered(id(1), 4, &opened());
        directory.ended(id(1), 5);
        assert_eq!(directory.route(id(1)), None);
        directory.ended(id(1), 6);
    }

    #[test]
    fn capacity_counts_what_is_open_or_about_to_be() {
        let mut directory = Directory::new(2, 2);
        directory.route_open(id(1), None).unwrap();
        directory.route_open(id(2), None).unwrap();
        assert_eq!(directory.route_open(id(3), None), Err(Full));
        directory.unsent(id(2));
        assert_eq!(directory.route_open(id(3), None), Ok(0));
    }
}
