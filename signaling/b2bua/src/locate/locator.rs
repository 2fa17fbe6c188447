//! The locator: targets that wait for answers, and questions that are under way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::cache::{Cache, Key};
use super::records::{Answer, Failure, Query, Records};
use super::target::{Hop, NotLocated, Target};
use super::walk::{Walk, walk};
use crate::Entropy;

/// How long an answer is waited for before the question is asked again, and how often it is asked.
const QUERY_TIMEOUT_NS: u64 = 2_000_000_000;
const ATTEMPTS: u8 = 2;

/// The most answers that are kept. A domain takes about ten.
const MAX_CACHED: usize = 8192;

/// The most questions under way at once.
const MAX_QUERIES: usize = 256;

/// The most targets that wait: four seconds of 4,000 calls.
const MAX_WAITING: usize = 16_384;

/// The most records of an answer that are looked at; a UDP answer holds fewer.
const MAX_RECORDS: usize = 64;

/// The most times that a target asks on before it is given up. Each answer comes once, so more than a few rounds
/// mean that the cache is too full to keep them.
const MAX_ROUNDS: u8 = 64;

/// Finds next hops; see the [module](super).
pub struct Locator {
    cache: Cache,
    /// The questions under way, by what they ask, and by their numbers.
    questions: BTreeMap<Key, Question>,
    numbers: BTreeMap<u64, Key>,
    deadlines: BTreeSet<(u64, u64)>,
    waiting: BTreeMap<Ticket, Waiting>,
    next_number: u64,
    events: VecDeque<LocatorEvent>,
    entropy: Entropy,
}

/// Names a target that waits for DNS. It is never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(u64);

/// What [`Locator::locate`] knows at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Located {
    /// The hops in the order to try them, at least one; or why there are none.
    Ready(Result<Vec<Hop>, NotLocated>),
    /// DNS must be asked: [`LocatorEvent::Located`] comes with this ticket.
    Pending(Ticket),
}

/// What a locator wants done, or has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocatorEvent {
    /// Ask DNS.
    Query(Query),
    /// A target that had to wait has been found, or not.
    Located {
        /// Which.
        ticket: Ticket,
        /// The hops in the order to try them, at least one; or why there are none.
        hops: Result<Vec<Hop>, NotLocated>,
    },
}

struct Question {
    number: u64,
    attempts: u8,
    deadline: u64,
    waiting: BTreeSet<Ticket>,
}

struct Waiting {
    target: Target,
    since: u64,
    rounds: u8,
}

impl Locator {
    /// `entropy` draws among SRV records of one priority.
    pub fn new(entropy: Entropy) -> Locator {
        Locator::with_capacity(entropy, MAX_CACHED)
    }

    /// A locator that keeps at most so many answers.
    pub fn with_capacity(entropy: Entropy, answers: usize) -> Locator {
        Locator {
            cache: Cache::new(answers),
            questions: BTreeMap::new(),
            numbers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            waiting: BTreeMap::new(),
            next_number: 0,
            events: VecDeque::new(),
            entropy,
        }
    }

    /// Finds the hops of a target, at once where no question must be asked first. Each call draws anew among
    /// SRV records of the same priority.
    pub fn locate(&mut self, now: u64, target: &Target) -> Located {
        match walk(target, &self.cache, now, now, &mut self.entropy) {
            Walk::Done { hops, refresh } => {
                self.refresh(now, refresh);
                Located::Ready(hops)
            }
            Walk::Missing(_) if self.waiting.len() >= MAX_WAITING => Located::Ready(Err(NotLocated::Busy)),
            Walk::Missing(missing) => {
                let ticket = Ticket(self.number());
                if !self.ask(now, &missing, Some(ticket)) {
                    return Located::Ready(Err(NotLocated::Busy));
                }
                self.waiting.insert(ticket, Waiting { target: target.clone(), since: now, rounds: 0 });
                Located::Pending(ticket)
            }
        }
    }

    /// Forgets a target that waits: nobody wants it any more.
    pub fn cancel(&mut self, ticket: Ticket) {
        self.waiting.remove(&ticket);
    }

    /// Takes the answer to the question with this number. A number that is not under way is ignored.
    pub fn answer(&mut self, now: u64, number: u64, answer: Result<Answer, Failure>) {
        let Some((key, question)) = self.close(number) else { return };
        match answer {
            Ok(mut answer) if answer.records.answers(key.0) => {
                if answer.records.is_empty() {
                    self.cache.put_none(now, key, answer.ttl_s);
                } else {
                    bound(&mut answer.records);
                    self.cache.put(now, key, answer);
                }
            }
            Err(Failure::NoRecords { ttl_s }) => self.cache.put_none(now, key, ttl_s),
            Ok(_) | Err(Failure::Unavailable) => self.cache.fail(now, key),
        }
        self.walk_on(now, question.waiting);
    }

    /// When [`Locator::handle_timeout`] is due.
    pub fn next_timeout(&self) -> Option<u64> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Asks again what was not answered in time, or gives it up.
    pub fn handle_timeout(&mut self, now: u64) {
        while let Some(&(at, number)) = self.deadlines.first() {
            if at > now {
                return;
            }
            self.deadlines.remove(&(at, number));
            let Some(key) = self.numbers.get(&number) else { continue };
            match self.questions.get_mut(key) {
                Some(question) if question.attempts < ATTEMPTS => {
                    question.attempts += 1;
                    question.deadline = now.saturating_add(QUERY_TIMEOUT_NS);
                    self.deadlines.insert((question.deadline, number));
                    let (kind, name) = key.clone();
                    self.events.push_back(LocatorEvent::Query(Query { number, kind, name }));
                }
                _ => self.answer(now, number, Err(Failure::Unavailable)),
            }
        }
    }

    /// The next thing to do, or found.
    pub fn poll_event(&mut self) -> Option<LocatorEvent> {
        self.events.pop_front()
    }

    /// How many targets wait, how many questions are under way, and how many answers are kept.
    pub fn usage(&self) -> (usize, usize, usize) {
        (self.waiting.len(), self.questions.len(), self.cache.len())
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// Asks in the course of time; if there is no room, then another time.
    fn refresh(&mut self, now: u64, keys: Vec<Key>) {
        for key in keys {
            if !self.ask(now, &[key], None) {
                return;
            }
        }
    }

    /// Asks for all of these, with the questions under way that are the same; false if there is no room.
    fn ask(&mut self, now: u64, keys: &[Key], ticket: Option<Ticket>) -> bool {
        let new = keys.iter().filter(|key| !self.questions.contains_key(*key)).count();
        if self.questions.len() + new > MAX_QUERIES {
            return false;
        }
        for key in keys {
            if let Some(question) = self.questions.get_mut(key) {
                question.waiting.extend(ticket);
                continue;
            }
            let number = self.number();
            let deadline = now.saturating_add(QUERY_TIMEOUT_NS);
            let question = Question { number, attempts: 1, deadline, waiting: ticket.into_iter().collect() };
            self.questions.insert(key.clone(), question);
            self.numbers.insert(number, key.clone());
            self.deadlines.insert((deadline, number));
            let (kind, name) = key.clone();
            self.events.push_back(LocatorEvent::Query(Query { number, kind, name }));
        }
        true
    }

    fn close(&mut self, number: u64) -> Option<(Key, Question)> {
        let key = self.numbers.remove(&number)?;
        let question = self.questions.remove(&key)?;
        self.deadlines.remove(&(question.deadline, question.number));
        Some((key, question))
    }

    /// Goes on with the targets that waited for an answer.
    fn walk_on(&mut self, now: u64, tickets: BTreeSet<Ticket>) {
        for ticket in tickets {
            let Some(waiting) = self.waiting.get_mut(&ticket) else { continue };
            waiting.rounds += 1;
            let lost = waiting.rounds > MAX_ROUNDS;
            let hops = match walk(&waiting.target, &self.cache, now, waiting.since, &mut self.entropy) {
                Walk::Done { hops, refresh } => {
                    self.refresh(now, refresh);
                    hops
                }
                Walk::Missing(missing) if !lost && self.ask(now, &missing, Some(ticket)) => continue,
                Walk::Missing(_) => Err(NotLocated::Busy),
            };
            self.waiting.remove(&ticket);
            self.events.push_back(LocatorEvent::Located { ticket, hops });
        }
    }
}

fn bound(records: &mut Records) {
    match records {
        Records::Naptr(list) => list.truncate(MAX_RECORDS),
        Records::Srv(list) => list.truncate(MAX_RECORDS),
        Records::Addresses(list) => list.truncate(MAX_RECORDS),
    }
}
