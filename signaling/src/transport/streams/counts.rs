//! What the connections' thread counts, for whoever scrapes on another one.

use std::sync::atomic::{AtomicU64, Ordering};

use moorline_b2bua::Reason;
use moorline_sip::Transport;

/// One writer, so plain loads and stores of atomics do.
#[derive(Debug, Default)]
pub(crate) struct StreamCounts {
    tcp: Counts,
    tls: Counts,
    /// Pauses and refusals by [`Reason::index`].
    overload: [AtomicU64; Reason::ALL.len()],
}

/// Counts of one transport.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Gauge: connections that stand.
    pub(crate) open: AtomicU64,
    /// Connections that were accepted.
    pub(crate) accepted: AtomicU64,
    /// Connections that were opened from here.
    pub(crate) connected: AtomicU64,
    /// Connections that were turned away: of strangers, or too many.
    pub(crate) refused: AtomicU64,
    /// Connections that could not be opened from here.
    pub(crate) failed: AtomicU64,
    /// TLS handshakes that failed, of connections that were accepted or opened.
    pub(crate) handshakes_failed: AtomicU64,
    /// Messages received.
    pub(crate) received: AtomicU64,
    /// Messages sent.
    pub(crate) sent: AtomicU64,
    /// Connections closed here, because what came was no SIP, too slow, or not read by the far end.
    pub(crate) cut: AtomicU64,
}

impl StreamCounts {
    /// The counts of TCP or TLS.
    pub(crate) fn of(&self, transport: Transport) -> &Counts {
        match transport {
            Transport::Tls => &self.tls,
            Transport::Tcp | Transport::Udp => &self.tcp,
        }
    }

    pub(crate) fn refused(&self, reason: Reason) {
        add(&self.overload[reason.index()]);
    }

    pub(crate) fn overload(&self, reason: Reason) -> u64 {
        self.overload[reason.index()].load(Ordering::Relaxed)
    }
}

/// Counts one more.
pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
