//! Which shard has which session.
//!
//! The control side routes by this table, and shards answer from other threads, in the end through
//! different connections. So what is known of a session is changed only by the latest word of its shard
//! ([`Answer::sequence`](crate::shard::Answer::sequence)), and an entry stays while any request for it is
//! on its way.

use std::collections::HashMap;

use moorline_control::{RefusalCode, Reply, SessionId};

/// How many sessions a shard is given in a row, at most. One that has just been awake does what is asked of it for less
/// than one that has to be woken, and so many streams are a small part of what a core relays.
const LONGEST_RUN: usize = 128;

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
    /// How many in a row it was given.
    given: usize,
    /// How many it may be.
    run: usize,
    capacity: usize,
}

/// The process has as many sessions as it may.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Directory {
    /// A shard is given `run` sessions in a row: a small part of what it has room and ports for, since the shards
    /// are given them by turns, and one that has run out refuses calls that others could take.
    pub(super) fn new(shards: u16, capacity: usize, run: usize) -> Directory {
        let run = run.clamp(1, LONGEST_RUN);
        Directory { entries: HashMap::new(), load: vec![0; usize::from(shards)], latest: 0, given: 0, run, capacity }
    }

    /// The shard for a request about a session that should be there; `None` if it is not.
    pub(super) fn route(&mut self, session: SessionId) -> Option<u16> {
        let entry = self.entries.get_mut(&session)?;
        entry.in_flight += 1;
        Some(entry.shard)
    }

    /// The shard for a session to open: its own if it is open already, else `preferred`, else that of the session
    /// before, or the one with the fewest sessions where that has had its run.
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
        if self.given >= self.run {
            // Of those with as few, the next one: ports rest for a while after sessions that have ended.
            let (shards, latest) = (self.load.len(), usize::from(self.latest));
            let next = (1..=shards).map(|step| (latest + step) % shards).min_by_key(|shard| self.load[*shard]);
            (self.latest, self.given) = (next.unwrap_or_default() as u16, 0);
        }
        self.given += 1;
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
    fn shards_are_given_sessions_by_turns_in_runs_of_some() {
        let mut directory = Directory::new(3, 5000, 4);
        let run = |directory: &mut Directory, first: u64, length: usize| -> Vec<u16> {
            (first..).take(length).map(|n| directory.route_open(id(n), None).unwrap()).collect()
        };
        assert_eq!(run(&mut directory, 0, 12), [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]);
        for n in 4..8 {
            directory.answered(id(n), n, &Reply::Closed(None));
        }
        assert_eq!(run(&mut directory, 100, 5), [1, 1, 1, 1, 2], "the one with the fewest, then the next");
    }

    #[test]
    fn the_load_of_shards_stays_within_a_run_of_the_least_whatever_comes_and_goes() {
        for shards in [2u16, 3, 8] {
            let run = 32;
            let mut directory = Directory::new(shards, 100_000, run);
            let (mut open, mut random, mut sequence) = (Vec::new(), 1u64, 0);
            let mut next = |bound: usize| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (random >> 33) as usize % bound
            };
            for n in 0..60_000 {
                // Grows to some thousand sessions, which then end as often as others begin.
                if open.len() > 4_000 || (!open.is_empty() && next(3) == 0) {
                    let ended = open.swap_remove(next(open.len()));
                    directory.route(ended).unwrap();
                    sequence += 1;
                    directory.answered(ended, sequence, &Reply::Closed(None));
                }
                directory.route_open(id(n), None).unwrap();
                sequence += 1;
                directory.answered(id(n), sequence, &opened());
                open.push(id(n));
                let (least, most) = (directory.load.iter().min().unwrap(), directory.load.iter().max().unwrap());
                assert!(most - least <= 4 * run, "{:?}", directory.load);
            }
        }
    }

    #[test]
    fn sessions_that_end_at_once_go_to_all_shards() {
        let mut directory = Directory::new(3, 5000, 4);
        let shards = (0..24).map(|n| {
            let shard = directory.route_open(id(n), None).unwrap();
            directory.answered(id(n), n + 1, &refused(RefusalCode::OutOfPorts));
            shard
        });
        let shards: Vec<u16> = shards.collect();
        assert_eq!((0..3).map(|shard| shards.iter().filter(|&&at| at == shard).count()).collect::<Vec<_>>(), [8; 3]);
    }

    #[test]
    fn sessions_stay_on_their_shard_and_return_to_the_one_with_their_ports() {
        let mut directory = Directory::new(2, 10, 1);
        assert_eq!(directory.route_open(id(1), Some(1)), Ok(1));
        directory.answered(id(1), 1, &opened());
        assert_eq!(directory.route_open(id(1), Some(0)), Ok(1), "open already");
        assert_eq!(directory.route(id(1)), Some(1));
        assert_eq!(directory.route_open(id(8), Some(7)), Ok(0), "a shard that is not there");
    }

    #[test]
    fn a_refused_open_leaves_no_entry_but_a_refused_update_does() {
        let mut directory = Directory::new(1, 10, 1);
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
        let mut directory = Directory::new(1, 10, 1);
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
        let mut directory = Directory::new(1, 10, 1);
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
        let mut directory = Directory::new(2, 2, 1);
        directory.route_open(id(1), None).unwrap();
        directory.route_open(id(2), None).unwrap();
        assert_eq!(directory.route_open(id(3), None), Err(Full));
        directory.unsent(id(2));
        assert_eq!(directory.route_open(id(3), None), Ok(1));
    }
}
