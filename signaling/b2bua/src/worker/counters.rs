//! What a worker counts.

/// What a worker has counted since it started, plus gauges; plain numbers for a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Calls that went on to another trunk because one before did not carry them.
    pub failovers: u64,
    /// Messages and keep-alives received.
    pub messages: u64,
    /// Messages that were no SIP message, or a message that RFC 3261 says to drop.
    pub malformed: u64,
    /// Requests answered 400.
    pub bad_requests: u64,
    /// Requests from a source that belongs to no trunk: dropped in silence.
    pub unknown_source: u64,
    /// Call attempts: new INVITEs outside dialogs.
    pub attempts: u64,
    /// Call attempts admitted.
    pub calls: u64,
    /// Calls answered.
    pub answered: u64,
    /// Calls that were refused, and are told so by an announcement.
    pub announced: u64,
    /// Calls that were refused without the announcement that was meant for them: there is none of that name, no room, or
    /// their offer takes none.
    pub unannounced: u64,
    /// Calls restored after a restart.
    pub restored: u64,
    /// Requests answered with a challenge for credentials.
    pub challenges: u64,
    /// Requests refused because their credentials were wrong.
    pub wrong_credentials: u64,
    /// Requests that did not show the secret prefix of their trunk.
    pub without_prefix: u64,
    /// Requests whose credentials a trunk did not take from us.
    pub credentials_refused: u64,
    /// Gauge: bindings of registered endpoints.
    pub bindings: u64,
    /// SIP messages sent again because an answer or ACK did not come in time.
    pub retransmissions: u64,
    /// Gauge: calls in progress.
    pub calls_active: u64,
    /// Gauge: transactions alive.
    pub transactions_active: u64,
    /// Gauge: calls in memory, those included that have ended and whose transactions run out.
    pub calls_kept: u64,
    /// Gauge: subscriptions outside calls.
    pub subscriptions_active: u64,
    /// Gauge: hops of targets that rest, because they refused with 503 or did not answer; only the first worker of a
    /// process says it, for all.
    pub targets_resting: u64,
}
