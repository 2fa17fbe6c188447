//! Whole calls: SIP user agents on both sides of Moorline, and two-way media for each call.
//!
//! The agents read and write SIP with code of their own, so that a mistake of Moorline's parser is not
//! made on both ends of a test. Each call carries a header and SDP lines that Moorline does not know,
//! and the callee checks that they crossed unchanged.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc;
use std::time::Duration;

use ipnet::IpNet;

use crate::Histogram;
use crate::media::{Command, Endpoint, Engine, MediaReport};

mod body;
mod call;
mod callee;
mod caller;
mod dialog;
mod message;
pub mod probe;
mod signaling;

/// The load to place. `calls` are placed at `rate_per_s`; each rings, talks, and is hung up, the even
/// ones by the caller, the odd ones by the callee. They are all up at once if they talk long enough.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many calls: at most a million.
    pub calls: u32,
    /// Calls placed per second.
    pub rate_per_s: f64,
    /// How long the callee rings: 180 is sent at once, 200 after this.
    pub ring: Duration,
    /// How long each call's media flows.
    pub talk: Duration,
    /// Where INVITEs go.
    pub sbc: SocketAddr,
    /// The caller's local SIP address.
    pub caller: SocketAddr,
    /// The callee's local SIP address.
    pub callee: SocketAddr,
    /// The caller's local media address.
    pub caller_media: IpAddr,
    /// The callee's local media address.
    pub callee_media: IpAddr,
    /// What the called number starts with; six digits follow.
    pub called_prefix: String,
    /// The time between packets of a stream: 5 to 60 ms.
    pub packet_ms: u32,
    /// The relay's addresses: descriptions that name others fail the call. Empty: any will do.
    pub relay_networks: Vec<IpNet>,
    /// Determines everything that looks random.
    pub seed: u64,
    /// Send RTCP too.
    pub rtcp: bool,
}

/// The sockets of a run. [`Sockets::bind`] makes them; a caller that puts the sides in different network
/// namespaces makes each there.
#[derive(Debug)]
pub struct Sockets {
    /// The caller's SIP socket.
    pub caller: UdpSocket,
    /// The callee's SIP socket.
    pub callee: UdpSocket,
    /// The caller's media.
    pub caller_media: Vec<Endpoint>,
    /// The callee's media.
    pub callee_media: Vec<Endpoint>,
}

impl Sockets {
    /// Binds everything in the network namespace of this thread.
    pub fn bind(plan: &Plan) -> Result<Sockets, LoadError> {
        let (caller, caller_media) = Sockets::bind_side(plan.caller, plan.caller_media, plan.rtcp)?;
        let (callee, callee_media) = Sockets::bind_side(plan.callee, plan.callee_media, plan.rtcp)?;
        Ok(Sockets { caller, callee, caller_media, callee_media })
    }

    /// Binds the SIP socket and the media endpoints of one side.
    pub fn bind_side(sip: SocketAddr, media: IpAddr, rtcp: bool) -> Result<(UdpSocket, Vec<Endpoint>), LoadError> {
        let failed = |address: SocketAddr| move |source| LoadError::Bind { address, source };
        let socket = UdpSocket::bind(sip).map_err(failed(sip))?;
        let bind = || Endpoint::bind(media, rtcp).map_err(failed(SocketAddr::new(media, 0)));
        let endpoints = (0..ENDPOINTS).map(|_| bind()).collect::<Result<_, _>>()?;
        Ok((socket, endpoints))
    }
}

/// Shared by all calls of a side. More than one, so that relays are tried with several far ports.
const ENDPOINTS: usize = 2;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Since the start.
    pub elapsed: Duration,
    /// Calls of the plan.
    pub calls: u32,
    /// INVITEs sent, first ones only.
    pub attempted: u32,
    /// Calls answered with 200.
    pub answered: u32,
    /// Calls that talk now.
    pub active: u32,
    /// Calls that went through and ended as planned.
    pub completed: u32,
    /// Calls that did not.
    pub failed: u32,
    /// RTP packets.
    pub packets_sent: u64,
    /// RTP packets that arrived as they should.
    pub packets_received: u64,
}

/// What became of the calls and of their media. The media fields are those of [`MediaReport`].
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "the media fields are documented at MediaReport")]
pub struct Report {
    /// INVITEs sent, first ones only.
    pub attempted: u32,
    /// Calls that the caller saw answered.
    pub answered: u32,
    /// Calls that were set up, talked, and ended on both sides as planned, with nothing wrong in
    /// signaling.
    pub completed: u32,
    /// The others, by reason.
    pub failed: BTreeMap<String, u32>,
    /// Messages that either side of this load sent again, or received again.
    pub sip_retransmissions: u64,
    /// INVITE to 200, at the caller.
    pub setup: Histogram,
    /// INVITE to the first provisional answer, at the caller.
    pub first_provisional: Histogram,
    pub packets_sent: u64,
    pub packets_received: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    pub crossed: u64,
    pub wrong_source: u64,
    pub send_errors: u64,
    pub rtcp_sent: u64,
    pub rtcp_received: u64,
    pub rtcp_wrong: u64,
    pub one_way: Histogram,
    pub jitter_us: f64,
    pub jitter_max_us: f64,
}

impl Report {
    /// True if every call went through without a retransmission and every packet arrived once, in
    /// order, unchanged, and from the right source.
    pub fn is_clean(&self) -> bool {
        let media_faults = self.lost
            + self.duplicated
            + self.reordered
            + self.corrupted
            + self.crossed
            + self.wrong_source
            + self.send_errors
            + self.rtcp_wrong;
        self.attempted > 0
            && self.completed == self.attempted
            && self.failed.is_empty()
            && self.sip_retransmissions == 0
            && self.packets_sent > 0
            && media_faults == 0
            && self.rtcp_received == self.rtcp_sent
    }

    fn new(calls: signaling::Outcome, media: MediaReport) -> Report {
        Report {
            attempted: calls.attempted,
            answered: calls.answered,
            completed: calls.completed,
            failed: calls.failed,
            sip_retransmissions: calls.retransmissions,
            setup: calls.setup,
            first_provisional: calls.first_provisional,
            packets_sent: media.packets_sent,
            packets_received: media.packets_received,
            lost: media.lost,
            duplicated: media.duplicated,
            reordered: media.reordered,
            corrupted: media.corrupted,
            crossed: media.crossed,
            wrong_source: media.wrong_source,
            send_errors: media.send_errors,
            rtcp_sent: media.rtcp_sent,
            rtcp_received: media.rtcp_received,
            rtcp_wrong: media.rtcp_wrong,
            one_way: media.one_way,
            jitter_us: media.jitter_us,
            jitter_max_us: media.jitter_max_us,
        }
    }
}

/// Why a load could not run. Calls that fail are no error: they are in the report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The plan makes no sense.
    #[error("{0}")]
    Plan(&'static str),
    /// A local address is not there or not free.
    #[error("cannot bind {address}: {source}")]
    Bind {
        /// The address, with port 0 for media.
        address: SocketAddr,
        /// What the kernel says.
        source: io::Error,
    },
    /// A socket, or the thread of the media.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// The media thread panicked.
    #[error("the media thread panicked")]
    MediaThread,
}

/// Places the load and waits for its end. Media is sent by a thread of its own; this thread does the
/// signaling and calls `progress` about 10 times a second. The time is bounded: a call that hangs is
/// given up by the timers of RFC 3261.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(&Progress)) -> Result<Report, LoadError> {
    run_on(plan, Sockets::bind(plan)?, progress)
}

/// As [`run`], on sockets that are bound already, each to one address and not to a wildcard: what they are
/// bound to is what the agents say of themselves, and the local addresses in the plan do not count.
pub fn run_on(plan: &Plan, sockets: Sockets, progress: &mut dyn FnMut(&Progress)) -> Result<Report, LoadError> {
    check(plan)?;
    let io_error = |doing| move |source| LoadError::Io { doing, source };
    let addresses = |endpoints: &[Endpoint]| endpoints.iter().map(Endpoint::address).collect::<Vec<_>>();
    let media = [addresses(&sockets.caller_media), addresses(&sockets.callee_media)];
    let (commands, inbox) = mpsc::channel::<Command>();
    let (ready, counters) = mpsc::channel();
    let (packet_ms, rtcp, seed) = (plan.packet_ms, plan.rtcp, plan.seed);
    let thread = std::thread::Builder::new()
        .name("load-media".into())
        .spawn(move || -> io::Result<MediaReport> {
            // Made here: the receive buffers of the engine stay on their thread.
            let mut engine = Engine::new(sockets.caller_media, sockets.callee_media, packet_ms, rtcp, seed)?;
            // The other side waits for this before it goes on.
            let _ = ready.send(engine.counters());
            loop {
                match inbox.try_recv() {
                    Ok(command) => engine.command(command),
                    Err(mpsc::TryRecvError::Empty) => _ = engine.turn(),
                    Err(mpsc::TryRecvError::Disconnected) => return Ok(engine.finish()),
                }
            }
        })
        .map_err(io_error("starting the media thread"))?;
    let outcome = match counters.recv() {
        Ok(counters) => signaling::run(plan, [sockets.caller, sockets.callee], media, commands, &counters, progress)
            .map_err(io_error("signaling"))
            .map(Some),
        // The engine refused; the thread's result says why.
        Err(mpsc::RecvError) => Ok(None),
    };
    let report = thread.join().map_err(|_| LoadError::MediaThread)?.map_err(io_error("media"))?;
    outcome?.map(|calls| Report::new(calls, report)).ok_or(LoadError::MediaThread)
}

fn check(plan: &Plan) -> Result<(), LoadError> {
    if plan.calls == 0 || plan.calls > 1_000_000 {
        return Err(LoadError::Plan("calls is 1 to 1000000"));
    }
    if !(plan.rate_per_s > 0.0 && plan.rate_per_s.is_finite()) {
        return Err(LoadError::Plan("rate_per_s is a positive number"));
    }
    if !plan.called_prefix.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-_*".contains(&b)) {
        return Err(LoadError::Plan("called_prefix is letters, digits, or one of + - _ *"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
