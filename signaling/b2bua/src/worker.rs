//! A worker owns calls.

use crate::{Entropy, Input, Output, policy::Policy};

/// Owns the calls of its virtual shards; see the crate's documentation for how it is driven.
pub struct Worker {}

/// What a worker has counted since it started, plus gauges; plain numbers for a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams received.
    pub datagrams: u64,
    /// Datagrams that were no SIP message, or a message that RFC 3261 says to drop.
    pub malformed: u64,
    /// Requests answered 400.
    pub bad_requests: u64,
    /// Requests from a source that belongs to no trunk: dropped in silence.
    pub unknown_source: u64,
    /// Call attempts admitted.
    pub calls: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls restored after a restart.
    pub restored: u64,
    /// SIP messages sent again because an answer or ACK did not come in time.
    pub retransmissions: u64,
    /// Gauge: calls in progress.
    pub calls_active: u64,
    /// Gauge: transactions alive.
    pub transactions_active: u64,
}

impl Worker {
    /// A worker of node `node` with no calls.
    pub fn new(node: u16, policy: Policy, entropy: Entropy) -> Worker {
        let _ = (node, policy, entropy);
        Worker {}
    }

    /// Takes one input in.
    pub fn handle(&mut self, now: u64, input: Input<'_>) {
        let _ = (now, input);
    }

    /// The next thing to do; `None` when there is nothing until the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        None
    }

    /// When to handle [`Input::Timeout`], in the time of `handle`; `None` while no timer runs.
    pub fn next_timeout(&self) -> Option<u64> {
        None
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        Counters::default()
    }
}
