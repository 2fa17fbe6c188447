//! What DNS said, for as long as it may be used.

use std::collections::{BTreeMap, HashMap};

use super::records::{Answer, RecordKind, Records};

const SECOND_NS: u64 = 1_000_000_000;

/// The shortest and the longest time that an answer is kept: an answer of no duration would have to be asked for
/// at every call, and one of years could never be corrected.
const TTL_S: std::ops::RangeInclusive<u32> = 1..=86_400;

/// The longest that "there are none" is kept (RFC 2308 section 5 advises one to three hours).
const MAX_NEGATIVE_TTL_S: u32 = 3600;

/// For how long after their time records serve while DNS does not answer (RFC 8767).
const STALE_NS: u64 = 3600 * SECOND_NS;

/// For how long an answer that nothing may be done with any more is left to those who asked for it and still wait
/// for others.
const LINGER_NS: u64 = 60 * SECOND_NS;

/// How long a failure keeps the same question from being asked again: where there are stale records to serve
/// (RFC 8767 section 5), and where there are none.
const RETRY_STALE_NS: u64 = 30 * SECOND_NS;
const RETRY_NS: u64 = 5 * SECOND_NS;

/// For how long a question that failed is known as doubtful.
const DOUBT_NS: u64 = 600 * SECOND_NS;

/// A kind of records and the name of their owner.
pub(super) type Key = (RecordKind, String);

/// Answers by question, bounded.
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    /// The keys by when their entries have no more use, and a number that makes them unique.
    ends: BTreeMap<(u64, u64), Key>,
    next: u64,
    capacity: usize,
}

struct Entry {
    /// `None`: DNS failed, and nothing is known.
    known: Option<Known>,
    /// When this was learnt.
    at: u64,
    /// Until when nothing needs to be asked.
    until: u64,
    /// From when on a use of it asks for it anew, without waiting.
    refresh_at: u64,
    /// Until when it is kept.
    end: (u64, u64),
}

struct Known {
    /// `None`: there are none.
    records: Option<Records>,
    /// Until when it is what DNS says.
    fresh_until: u64,
}

/// What the cache has for a question.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Cached<'a> {
    /// The answer: the records, or that there are none. `refresh` if it is time to ask anew.
    Answer { records: Option<&'a Records>, refresh: bool },
    /// DNS failed a moment ago.
    Failed,
    /// DNS failed at the last attempt, some time ago.
    Doubtful,
    /// Nothing: ask.
    Unknown,
}

impl Cache {
    pub(super) fn new(capacity: usize) -> Cache {
        Cache { entries: HashMap::new(), ends: BTreeMap::new(), next: 0, capacity: capacity.max(1) }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What is known. What was learnt at `since` or later counts as fresh whatever its time to live: who waits
    /// for several answers can use the first one still when the last one comes.
    pub(super) fn look(&self, now: u64, since: u64, key: &Key) -> Cached<'_> {
        let Some(entry) = self.entries.get(key) else { return Cached::Unknown };
        let settled = now < entry.until || entry.at >= since;
        match &entry.known {
            Some(known) if settled => {
                Cached::Answer { records: known.records.as_ref(), refresh: now >= entry.refresh_at }
            }
            None if settled => Cached::Failed,
            None if now < entry.end.0 => Cached::Doubtful,
            Some(_) | None => Cached::Unknown,
        }
    }

    /// Keeps records.
    pub(super) fn put(&mut self, now: u64, key: Key, answer: Answer) {
        let ttl_ns = u64::from(answer.ttl_s.clamp(*TTL_S.start(), *TTL_S.end())) * SECOND_NS;
        let fresh_until = now.saturating_add(ttl_ns);
        let known = Known { records: Some(answer.records), fresh_until };
        // In the last tenth of its time, so that names in use are always fresh and no call waits.
        let refresh_at = fresh_until - ttl_ns / 10;
        self.insert(now, key, Some(known), fresh_until, refresh_at, fresh_until.saturating_add(STALE_NS));
    }

    /// Keeps that there are no records.
    pub(super) fn put_none(&mut self, now: u64, key: Key, ttl_s: u32) {
        let ttl_s = ttl_s.clamp(*TTL_S.start(), MAX_NEGATIVE_TTL_S);
        let fresh_until = now.saturating_add(u64::from(ttl_s) * SECOND_NS);
        let known = Known { records: None, fresh_until };
        self.insert(now, key, Some(known), fresh_until, fresh_until, fresh_until.saturating_add(LINGER_NS));
    }

    /// Notes that DNS failed: records that were there serve on for a while.
    pub(super) fn fail(&mut self, now: u64, key: Key) {
        let kept = self.entries.remove(&key).and_then(|entry| {
            self.ends.remove(&entry.end);
            entry.known
        });
        match kept {
            Some(known) if now < known.fresh_until.saturating_add(STALE_NS) && known.records.is_some() => {
                let end = known.fresh_until.saturating_add(STALE_NS);
                let until = now.saturating_add(RETRY_STALE_NS).min(end);
                self.insert(now, key, Some(known), until, until, end);
            }
            _ => {
                let until = now.saturating_add(RETRY_NS);
                self.insert(now, key, None, until, until, now.saturating_add(DOUBT_NS));
            }
        }
    }

    fn insert(&mut self, now: u64, key: Key, known: Option<Known>, until: u64, refresh_at: u64, end: u64) {
        if let Some(old) = self.entries.remove(&key) {
            self.ends.remove(&old.end);
        }
        while let Some((&first, _)) = self.ends.first_key_value() {
            // The dead go at once; the living, the one with the least time left first, only for want of room.
            if first.0 > now && self.entries.len() < self.capacity {
                break;
            }
            if let Some(dead) = self.ends.remove(&first) {
                self.entries.remove(&dead);
            }
        }
        let end = (end, self.next);
        self.next += 1;
        self.ends.insert(end, key.clone());
        self.entries.insert(key, Entry { known, at: now, until, refresh_at, end });
    }
}
