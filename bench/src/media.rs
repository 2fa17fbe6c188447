//! Two-way RTP streams through a relay, each packet verified on arrival.
//!
//! A call has a side A and a side B. Each side sends to its relay address and expects to receive from
//! there. The payload tells the call, the direction, the index and the time of sending, and is filled
//! with a keyed pattern, so that loss, repetition, change and mix-up of packets are told apart.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use crate::Histogram;

mod endpoint;
mod engine;
mod flow;
mod outbox;
mod packet;
pub(crate) mod receive;
mod rtcp;

pub use endpoint::Endpoint;
pub(crate) use engine::{Command, Counters, Engine};
pub(crate) use packet::mix;

use crate::clock;

/// Media without SIP: streams over sessions that somebody else opened at the relay.
#[derive(Debug)]
pub struct MediaPlan {
    /// For each session: where side A sends, where side B sends.
    pub pairs: Vec<(SocketAddr, SocketAddr)>,
    /// The sockets of side A; session `i` uses the one at `i` modulo their number.
    pub a: Vec<Endpoint>,
    /// The sockets of side B, used likewise.
    pub b: Vec<Endpoint>,
    /// How long every stream sends.
    pub duration: Duration,
    /// How much of that is to warm up: its packets are verified, but neither they nor their loss or delay are reported.
    pub warm_up: Duration,
    /// How much speech a packet holds: 5 to 60 ms. It is also the time between packets of a stream, unless
    /// `pace` says otherwise.
    pub packet_ms: u32,
    /// How the packets are spread in time; by default bursts of a millisecond.
    pub pace: Option<Pace>,
    /// Send RTCP too, to the port after the RTP port, where the endpoints have RTCP sockets.
    pub rtcp: bool,
    /// Determines SSRCs, first sequence numbers and timestamps, and the pattern.
    pub seed: u64,
}

/// How packets are spread in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// The time between packets of a stream.
    pub interval: Duration,
    /// The time between bursts: the streams are spread evenly over those of an interval.
    pub tick: Duration,
}

/// One call's relay addresses, as each side knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// Where A sends RTP, and from where A receives.
    pub(crate) a_far: SocketAddr,
    /// Where B sends RTP, and from where B receives.
    pub(crate) b_far: SocketAddr,
    /// The same for RTCP.
    pub(crate) a_far_rtcp: SocketAddr,
    pub(crate) b_far_rtcp: SocketAddr,
}

/// What became of the packets.
#[derive(Debug, Clone)]
pub struct MediaReport {
    /// RTP packets that left.
    pub packets_sent: u64,
    /// RTP packets that arrived whole, for the first time, from the right source.
    pub packets_received: u64,
    /// Sent, and not among the received.
    pub lost: u64,
    /// Arrived once more.
    pub duplicated: u64,
    /// Arrived after a later packet of their stream.
    pub reordered: u64,
    /// Not what was sent: length, header or payload differ, or not from this run at all.
    pub corrupted: u64,
    /// Arrived where another call's media is expected, or on the side that sent them.
    pub crossed: u64,
    /// Arrived from an address that is not the relay's for any call.
    pub wrong_source: u64,
    /// Refused by the kernel; not among the sent.
    pub send_errors: u64,
    /// Bursts left out because this thread did not get to them in time: the rate was lower by them. Only with a
    /// [`Pace`].
    pub bursts_skipped: u64,
    /// RTCP packets that left.
    pub rtcp_sent: u64,
    /// RTCP packets that arrived from the right source.
    pub rtcp_received: u64,
    /// RTCP packets that were damaged or came from elsewhere.
    pub rtcp_wrong: u64,
    /// From just before the send until the kernel's receive timestamp.
    pub one_way: Histogram,
    /// RFC 3550 interarrival jitter of the transit time, mean of the streams.
    pub jitter_us: f64,
    /// The same, of the worst stream.
    pub jitter_max_us: f64,
}

impl MediaReport {
    /// True if packets were sent and each arrived once, in order, unchanged, and from the right source.
    pub fn is_clean(&self) -> bool {
        let faults = self.lost
            + self.duplicated
            + self.reordered
            + self.corrupted
            + self.crossed
            + self.wrong_source
            + self.send_errors
            + self.rtcp_wrong;
        self.packets_sent > 0 && faults == 0 && self.rtcp_received == self.rtcp_sent
    }
}

/// Sends all streams for the duration and waits for stragglers. Blocks the calling thread, which does
/// all the work: pin it to pin the load. `progress` gets packets sent and received, about 10 times a
/// second.
pub fn run(plan: MediaPlan, progress: &mut dyn FnMut(u64, u64)) -> io::Result<MediaReport> {
    let mut engine = Engine::new(plan.a, plan.b, plan.packet_ms, plan.rtcp, plan.seed)?;
    if let Some(pace) = plan.pace {
        engine.set_pace(pace)?;
    }
    for (call, (a_far, b_far)) in (0u32..).zip(plan.pairs) {
        let ends = Ends { a_far, b_far, a_far_rtcp: rtcp_after(a_far), b_far_rtcp: rtcp_after(b_far) };
        engine.command(Command::Start { call, ends });
    }
    let begin = clock::monotonic();
    let end = begin.saturating_add(clock::nanos(plan.duration));
    let mut warm = Some(begin.saturating_add(clock::nanos(plan.warm_up)));
    let mut shown = 0;
    loop {
        let now = engine.turn();
        if warm.take_if(|warm| now >= *warm).is_some() {
            engine.begin_anew();
        }
        if now >= end {
            break;
        }
        if now >= shown {
            let counters = engine.counters();
            progress(counters.sent(), counters.received());
            shown = now + 100_000_000;
        }
    }
    Ok(engine.finish())
}

/// RTCP goes to the port after the RTP port unless a description says otherwise (RFC 3550 section 11).
pub(crate) fn rtcp_after(rtp: SocketAddr) -> SocketAddr {
    SocketAddr::new(rtp.ip(), rtp.port().saturating_add(1))
}

#[cfg(test)]
mod tests;
