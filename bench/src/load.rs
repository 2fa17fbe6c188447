//! Whole calls: SIP user agents on both sides of Moorline, and two-way media for each call.
//!
//! The agents read and write SIP with code of their own, so that a mistake of Moorline's parser is not
//! made on both ends of a test. Each call carries a header and SDP lines that Moorline does not know,
//! and the callee checks that they crossed unchanged.

use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::media::{Command, Counters, Endpoint, Engine, MediaReport};
use crate::{Histogram, clock};

mod body;
mod call;
mod callee;
mod caller;
mod credentials;
mod dialog;
mod message;
mod plan;
pub mod probe;
mod report;
mod series;
mod signaling;
mod socket;
mod streams;

pub use plan::{Codec, Credentials, Number, NumberError, Plan, Transport};
pub use report::{Failure, Report};
pub use series::{Sample, Spread};
pub use socket::SipSocket;

/// The sockets of a run. [`Sockets::bind`] makes them; a caller that puts the sides in different network
/// namespaces makes each there.
#[derive(Debug)]
pub struct Sockets {
    /// The caller's.
    pub caller: SideSockets,
    /// The callee's; its SIP socket is not needed where the plan is for the caller's side only.
    pub callee: Option<SideSockets>,
}

/// The sockets of one side.
#[derive(Debug)]
pub struct SideSockets {
    /// For SIP.
    pub sip: SipSocket,
    /// For media.
    pub media: Vec<Endpoint>,
}

impl Sockets {
    /// Binds everything in the network namespace of this thread.
    pub fn bind(plan: &Plan) -> Result<Sockets, LoadError> {
        Sockets::bind_in(plan, None, None)
    }

    /// As [`Sockets::bind`], each side in the namespace of that name in `/run/netns`, if one is given.
    pub fn bind_in(plan: &Plan, caller: Option<&str>, callee: Option<&str>) -> Result<Sockets, LoadError> {
        let side = |namespace, sip, media| {
            let bind = move || SideSockets::bind(sip, plan.transport, media, plan.rtcp);
            match namespace {
                Some(namespace) => inside(namespace, bind),
                None => bind(),
            }
        };
        let callee = (!plan.uac_only).then(|| side(callee, plan.callee, plan.callee_media));
        Ok(Sockets { caller: side(caller, plan.caller, plan.caller_media)?, callee: callee.transpose()? })
    }
}

impl SideSockets {
    /// Binds the SIP socket and the media endpoints of one side.
    pub fn bind(sip: SocketAddr, transport: Transport, media: IpAddr, rtcp: bool) -> Result<SideSockets, LoadError> {
        let failed = |address: SocketAddr| move |source| LoadError::Bind { address, source };
        let sip = SipSocket::bind(sip, transport).map_err(failed(sip))?;
        let bind = || Endpoint::bind(media, rtcp).map_err(failed(SocketAddr::new(media, 0)));
        let media = (0..ENDPOINTS).map(|_| bind()).collect::<Result<_, _>>()?;
        Ok(SideSockets { sip, media })
    }
}

/// Shared by all calls of a side. More than one, so that relays are tried with several far ports.
const ENDPOINTS: usize = 2;

/// Binds in a thread of its own, which enters the namespace: sockets stay in the namespace in which they were
/// made, and the thread ends with it.
fn inside<T: Send>(namespace: &str, bind: impl FnOnce() -> Result<T, LoadError> + Send) -> Result<T, LoadError> {
    let path = PathBuf::from("/run/netns").join(namespace);
    let enter = || {
        let entered = File::open(&path).and_then(|file| setns(file, CloneFlags::CLONE_NEWNET).map_err(Into::into));
        entered.map_err(|source| LoadError::Namespace { path: path.clone(), source })?;
        bind()
    };
    let thread = std::thread::scope(|scope| scope.spawn(enter).join());
    thread.map_err(|_| LoadError::Thread("binding"))?
}

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
    /// Calls that were taken back because the load is stopped.
    pub cancelled: u32,
    /// Calls whose turn has come while too many are under way.
    pub waiting: u32,
    /// The load was stopped, and ends as soon as its calls have ended.
    pub is_stopping: bool,
    /// RTP packets.
    pub packets_sent: u64,
    /// RTP packets that arrived as they should.
    pub packets_received: u64,
    /// RTP packets that did not, while later ones of their stream did.
    pub packets_missed: u64,
}

/// What a watcher of a run sees.
#[derive(Debug)]
pub struct Watch<'a> {
    /// How far it is.
    pub progress: Progress,
    /// INVITE to 200, so far.
    pub setup: &'a Histogram,
    /// INVITE to ringing, so far.
    pub post_dial: &'a Histogram,
    /// The packets' times from one side to the other, up to a moment ago.
    pub one_way: &'a Histogram,
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
    /// A network namespace.
    #[error("{path}: {source}")]
    Namespace {
        /// Its file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A thread of this load panicked.
    #[error("the {0} thread panicked")]
    Thread(&'static str),
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
    run_watched(plan, sockets, &AtomicBool::new(false), &mut |watch| progress(&watch.progress))
}

/// As [`run_on`], and shows more. Once `stop` is true no more calls are placed, and those that are up are hung
/// up; the report then is of what there was.
pub fn run_watched(
    plan: &Plan,
    sockets: Sockets,
    stop: &AtomicBool,
    watch: &mut dyn FnMut(&Watch<'_>),
) -> Result<Report, LoadError> {
    plan.check()?;
    let io_error = |doing| move |source| LoadError::Io { doing, source };
    let Sockets { caller, callee } = sockets;
    let (callee_sip, callee_media) = match callee {
        Some(side) => (Some(side.sip), side.media),
        // The engine has two sides in any case; this one stays silent.
        None => (
            None,
            caller
                .media
                .iter()
                .take(1)
                .map(Endpoint::beside)
                .collect::<io::Result<_>>()
                .map_err(io_error("binding"))?,
        ),
    };
    let addresses = |endpoints: &[Endpoint]| endpoints.iter().map(Endpoint::address).collect::<Vec<_>>();
    let media = [addresses(&caller.media), addresses(&callee_media)];
    let sip = [Some(caller.sip), callee_sip];
    if !plan.media {
        // The endpoints are kept until the end, so that nobody else gets the ports that descriptions name.
        let run = signaling::run(plan, sip, media, None, stop, watch);
        let (calls, recorder) = run.map_err(io_error("signaling"))?;
        let series = recorder.finish(0);
        return Ok(Report { series, ..Report::of(calls, None, plan.uac_only) });
    }
    let thread = MediaThread::start(plan, caller.media, callee_media).map_err(io_error("starting the media thread"))?;
    let counters = thread.counters.recv();
    let outcome = match &counters {
        Ok(counters) => {
            let media_side = signaling::Media { commands: thread.commands, counters, one_way: thread.one_way };
            signaling::run(plan, sip, media, Some(media_side), stop, watch).map_err(io_error("signaling")).map(Some)
        }
        // The engine refused; the thread's result says why.
        Err(mpsc::RecvError) => Ok(None),
    };
    let media = thread.handle.join().map_err(|_| LoadError::Thread("media"))?.map_err(io_error("media"))?;
    let (calls, recorder) = outcome?.ok_or(LoadError::Thread("media"))?;
    let report = Report::of(calls, Some(media), plan.uac_only);
    Ok(Report { series: recorder.finish(report.lost), ..report })
}

/// The thread that sends and receives all media.
struct MediaThread {
    commands: mpsc::Sender<Command>,
    counters: mpsc::Receiver<Arc<Counters>>,
    one_way: mpsc::Receiver<Histogram>,
    handle: JoinHandle<io::Result<MediaReport>>,
}

/// The time between two copies of the histogram for who watches.
const COPY_NS: u64 = 250_000_000;

impl MediaThread {
    fn start(plan: &Plan, caller: Vec<Endpoint>, callee: Vec<Endpoint>) -> io::Result<MediaThread> {
        let (commands, inbox) = mpsc::channel::<Command>();
        let (ready, counters) = mpsc::channel();
        let (copies, one_way) = mpsc::channel();
        let (packet_ms, rtcp, seed, echo) = (plan.packet_ms, plan.rtcp, plan.seed, plan.uac_only);
        let payload_type = plan.codec.payload_type();
        let work = move || -> io::Result<MediaReport> {
            // Made here: the receive buffers of the engine stay on their thread.
            let mut engine = Engine::new(caller, callee, packet_ms, rtcp, seed)?.with_payload_type(payload_type);
            if echo {
                engine = engine.with_echo();
            }
            // The other side waits for this before it goes on.
            let _ = ready.send(engine.counters());
            let mut copied = clock::monotonic();
            loop {
                match inbox.try_recv() {
                    Ok(command) => engine.command(command),
                    Err(mpsc::TryRecvError::Empty) => {
                        let now = engine.turn();
                        if now >= copied + COPY_NS {
                            // Nobody looks any more once the last call is over.
                            let _ = copies.send(engine.so_far().one_way.clone());
                            copied = now;
                        }
                    }
                    Err(mpsc::TryRecvError::Disconnected) => return Ok(engine.finish()),
                }
            }
        };
        let handle = std::thread::Builder::new().name("load-media".into()).spawn(work)?;
        Ok(MediaThread { commands, counters, one_way, handle })
    }
}

#[cfg(test)]
mod tests;
