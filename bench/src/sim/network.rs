//! The network between the parties and Moorline: it loses, doubles, delays and reorders datagrams.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use super::plan::Conditions;
use super::random::Random;

/// However bad the network is, of one message, and of all that one side of a call says, it loses no more than this
/// many in a row: then everybody who repeats as RFC 3261 says gets through, and whoever does not is at fault.
const LOST_IN_A_ROW: u32 = 2;

/// Of one transaction it loses no more than this many, requests and responses together: the seventh copy of an
/// INVITE is the last (RFC 3261 17.1.1.2).
const LOST_OF_A_TRANSACTION: u32 = 4;

/// What is counted by: a message, or everything of a call in one direction.
type Counted = (SocketAddr, SocketAddr, Vec<u8>);

/// A datagram on its way.
#[derive(Debug, Clone)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
    /// The stream that it is on, by its number.
    pub(super) stream: Option<usize>,
}

pub(super) struct Network {
    conditions: Conditions,
    random: Random,
    on_the_way: BTreeMap<(u64, u64), Datagram>,
    sent: u64,
    /// How many of a transaction were lost, by Call-ID and CSeq.
    lost_in_all: HashMap<Vec<u8>, u32>,
    /// How many were lost since one got through.
    lost: HashMap<Counted, u32>,
    /// The last arrival between two addresses, where the order is kept.
    last: HashMap<(SocketAddr, SocketAddr), u64>,
}

/// What became of a datagram, for the trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    Doubled,
    Lost,
}

impl Network {
    pub(super) fn new(conditions: Conditions, random: Random) -> Network {
        Network {
            conditions,
            random,
            on_the_way: BTreeMap::new(),
            sent: 0,
            lost_in_all: HashMap::new(),
            lost: HashMap::new(),
            last: HashMap::new(),
        }
    }

    pub(super) fn send(&mut self, now: u64, datagram: Datagram) -> Fate {
        if self.conditions.reliable {
            let last = self.last.entry((datagram.from, datagram.to)).or_default();
            let at = (now + self.conditions.delay).max(*last);
            *last = at;
            self.put(at, datagram);
            return Fate::Sent;
        }
        if self.is_lost(&datagram) {
            return Fate::Lost;
        }
        let fate = if self.random.chance(self.conditions.duplication) {
            let at = self.arrival(now);
            self.put(at, datagram.clone());
            Fate::Doubled
        } else {
            Fate::Sent
        };
        let at = self.arrival(now);
        self.put(at, datagram);
        fate
    }

    fn is_lost(&mut self, datagram: &Datagram) -> bool {
        if self.conditions.loss == 0 {
            return false;
        }
        let Datagram { from, to, bytes, .. } = datagram;
        let call = line(bytes, b"Call-ID:");
        let transaction = [&call[..], &line(bytes, b"CSeq:")].concat();
        let counted = [(*from, *to, bytes.clone()), (*from, *to, call)];
        let in_all = self.lost_in_all.entry(transaction).or_default();
        let lost = *in_all < LOST_OF_A_TRANSACTION
            && self.random.chance(self.conditions.loss)
            && counted.iter().all(|counted| self.lost.get(counted).is_none_or(|lost| *lost < LOST_IN_A_ROW));
        *in_all += u32::from(lost);
        for counted in counted {
            let count = self.lost.entry(counted).or_default();
            *count = if lost { *count + 1 } else { 0 };
        }
        lost
    }

    fn arrival(&mut self, now: u64) -> u64 {
        now + self.conditions.delay + self.random.below(self.conditions.jitter)
    }

    fn put(&mut self, at: u64, datagram: Datagram) {
        self.sent += 1;
        self.on_the_way.insert((at, self.sent), datagram);
    }

    pub(super) fn next_arrival(&self) -> Option<u64> {
        self.on_the_way.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next datagram that has arrived.
    pub(super) fn arrived(&mut self, now: u64) -> Option<Datagram> {
        let entry = self.on_the_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(entry.remove())
    }

    /// A stream ends: what was on its way there is lost.
    pub(super) fn lose_stream(&mut self, stream: usize) -> Vec<Datagram> {
        let on_it = |datagram: &Datagram| datagram.stream == Some(stream);
        let keys: Vec<(u64, u64)> =
            self.on_the_way.iter().filter(|(_, datagram)| on_it(datagram)).map(|(key, _)| *key).collect();
        keys.iter().filter_map(|key| self.on_the_way.remove(key)).collect()
    }

    /// Whether anything is on its way to or from an address.
    pub(super) fn is_quiet(&self, address: SocketAddr) -> bool {
        !self.on_the_way.values().any(|datagram| datagram.from == address || datagram.to == address)
    }
}

/// A header line of a message.
fn line(message: &[u8], start: &[u8]) -> Vec<u8> {
    let mut lines = message.split(|byte| *byte == b'\n');
    lines.find(|line| line.starts_with(start)).unwrap_or_default().to_vec()
}
