//! From a configuration to a running process: a thread for each worker, and one for connections and administration.

mod limits;
mod reload;

use std::future::Future;
use std::hash::RandomState;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use moorline_b2bua::policy::Policy;
use moorline_b2bua::{Concurrency, Dispatch, Edge, Entropy, NewCalls, Place, Worker};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal as NixSignal};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};
use tracing::{error, info, warn};

use crate::cdr::{Before, Handover, Records, Writer};
use crate::clock::WallClock;
use crate::command;
use crate::event_loop::{EventLoop, Parts, Question};
use crate::limits::Limits;
use crate::mail::{Inbox, Workers};
use crate::media_client::MediaClient;
use crate::reload::{Reload, Settings, Source, UsedTrunks};
use crate::store::{Entry, Store};
use crate::transport::streams::{self, StreamQueue, Streams};
use crate::transport::udp::{self, UdpTransport};
use crate::{Config, LostLines, SignalingError, admin, api, cdr, privilege, radius, resolver};

/// How often certificates are looked at.
const CERTIFICATE_WATCH: Duration = Duration::from_secs(60);

/// Serves SIP until SIGTERM or SIGINT; see the crate's documentation for what becomes of the calls. On SIGHUP the
/// certificates are read again, and the configuration from its source.
///
/// Works without a media process, refusing calls until one answers at [`Config::control`]. How many lines of the log were
/// lost is asked for the metrics.
///
/// # Errors
/// What keeps the process from starting. Once it serves, it fails only if a worker's thread does.
pub fn run(config: Config, source: Arc<dyn Source>, lost_lines: LostLines) -> Result<(), SignalingError> {
    let runtime = runtime()?;
    let ended = LocalSet::new().block_on(&runtime, serve(config, source, lost_lines));
    // A reload may wait for a file or a disk that hangs.
    runtime.shutdown_timeout(cdr::PATIENCE);
    ended
}

fn runtime() -> Result<Runtime, SignalingError> {
    Builder::new_current_thread().enable_all().build().map_err(SignalingError::system("starting an event loop"))
}

async fn serve(config: Config, source: Arc<dyn Source>, lost_lines: LostLines) -> Result<(), SignalingError> {
    let policy = config.policy().map_err(SignalingError::Config)?;
    privilege::refuse_root(&config)?;
    let stop = stop_signals()?;
    raise_descriptor_limit();

    let count = config.workers();
    let datagrams = udp::bind(&policy.listeners, count)?;
    let sockets = streams::bind(&policy.listeners)?;
    let admin_failed = |source| SignalingError::Admin { admin: config.admin, source };
    let admin_socket = TcpListener::bind(config.admin).await.map_err(admin_failed)?;
    let commands = limits::listen_for_commands(&config)?;
    let guard = api::Guard::of(&config.api);
    if let Some(user) = &config.user {
        privilege::become_user(user)?;
    }
    let limits = Arc::new(limits::open(&config, &policy)?);
    spawn_local(limits::sync_counts(Arc::clone(&limits)));
    let mut store = open_store(&config)?;
    let calls = Arc::default();
    let (records, before) = open_records(&config, &calls)?;
    let writer = start_writer(records.as_ref(), &limits, count)?;
    let mut policy = policy;
    let configured = policy.clone();
    policy.records.kept = records.is_some();
    let policies = watch::Sender::new(Arc::new(policy));
    let (used, asked): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(1)).unzip();
    let told = (policies.clone(), used);
    let sinks = records.as_ref().map(Records::sinks);
    let reload = reload::start(source, (&config, &configured), Arc::clone(&limits), told, sinks);
    let shared = Shared {
        policies: policies.subscribe(),
        settings: reload.settings(),
        hash: RandomState::new(),
        calls,
        announcements: Arc::default(),
        new_calls: Arc::default(),
        limits,
        workers: count,
    };
    let (workers, inboxes) = Workers::new(count, config.overload.queue);
    let (queues, orders) = StreamQueue::new(count);
    let connections = Streams::new(
        shared.policies.clone(),
        config.listeners.clone(),
        config.streams,
        shared.edge(),
        shared.dispatch(),
        workers.clone(),
    )
    .map_err(|unusable| SignalingError::Certificates(unusable.to_string()))?;
    let figures = connections.counts();
    connections.start(sockets, orders).map_err(SignalingError::system("accepting connections"))?;
    reload_on_hangup(&connections, &reload)?;
    spawn_local(Rc::clone(&connections).watch(CERTIFICATE_WATCH));
    spawn_local(Rc::clone(&connections).follow(reload.settings()));

    let mut threads = Threads::new();
    let mut desks = Vec::with_capacity(count);
    let made = datagrams.into_iter().zip(inboxes).zip(queues).zip(asked);
    for (index, (((datagrams, inbox), streams), used)) in made.enumerate() {
        let (ask, desk) = mpsc::channel(2);
        desks.push(ask);
        let store = store.take();
        let before = records.is_some().then(|| Arc::clone(&before));
        let handover = writer.as_ref().map(|writer| writer.handover(index));
        let workers = workers.clone();
        let made = Made { index, datagrams, inbox, streams, workers, store, before, handover, desk, used };
        threads.start(config.clone(), shared.clone(), made)?;
    }
    let sources = admin::Sources {
        workers: desks,
        streams: figures,
        calls: Arc::clone(&shared.calls),
        records: records.as_ref().map(Records::figures),
        limits: Arc::clone(&shared.limits),
        reloads: reload.outcomes(),
        lost_lines,
    };
    let served = command::Commands::new(sources.clone(), Arc::clone(&reload), &config);
    let operators = api::routes(served.clone(), guard);
    let _command_socket = commands.map(|(socket, listener)| {
        spawn_local(command::serve(listener, served));
        socket
    });
    tokio::spawn(admin::serve(admin_socket, sources, operators));
    for listener in &configured.listeners {
        let transports: Vec<&str> = listener.transports.iter().map(|transport| transport.param()).collect();
        info!(listener = listener.name, bind = %listener.bind, transports = transports.join(","), "serving SIP");
    }
    info!(admin = %config.admin, node = config.node, workers = count, "signaling is up");
    let ended = tokio::select! {
        () = stop => Ok(()),
        () = threads.one_ended() => Err(SignalingError::Worker),
    };
    info!(lease_s = config.lease_s, "signaling stops; calls are left to the media process's lease");
    threads.stop();
    if writer.is_none_or(|writer| writer.stop(cdr::PATIENCE)) {
        drop(records);
    } else {
        // They would wait for the same disk.
        std::mem::forget(records);
    }
    ended
}

/// What writes for the workers, if anything is written.
fn start_writer(
    records: Option<&Records>,
    limits: &Arc<Limits>,
    workers: usize,
) -> Result<Option<Writer>, SignalingError> {
    if records.is_none() && !limits.keeps() {
        return Ok(None);
    }
    let writer = Writer::start(records.map(Records::journal), Arc::clone(limits), workers);
    writer.map(Some).map_err(SignalingError::system("starting the thread that writes records"))
}

/// The directory of the store where none is configured.
const STATE: &str = "/var/lib/moorline";

/// Opens the store, if there is anything to keep. One that was asked for must be usable; without one, endpoints
/// register again by themselves.
fn open_store(config: &Config) -> Result<Option<(Store, Vec<Entry>)>, SignalingError> {
    let wanted = config.trunks.iter().any(|trunk| trunk.registrar.is_some());
    let directory = match &config.state {
        Some(directory) => directory.as_path(),
        None if wanted => Path::new(STATE),
        None => return Ok(None),
    };
    match Store::open(directory, SystemTime::now()) {
        Ok(store) => Ok(Some(store)),
        Err(fault) if config.state.is_some() => Err(SignalingError::Store(fault)),
        Err(fault) => {
            warn!("registrations will not survive a restart: {fault}; set `signaling.state`");
            Ok(None)
        }
    }
}

/// Starts recording calls, where that is wanted and, unless it was asked for, can be done.
fn open_records(config: &Config, calls: &Arc<Concurrency>) -> Result<(Option<Records>, Arc<Before>), SignalingError> {
    let Some((directory, asked)) = config.cdr.place(config.state.as_deref()) else {
        info!("calls are not recorded: set `signaling.state` or `signaling.cdr.directory`");
        return Ok((None, Arc::default()));
    };
    match cdr::start(&config.cdr, &directory, Arc::clone(calls)) {
        Ok((records, before)) => Ok((Some(records), Arc::new(before))),
        Err(fault) if asked => Err(SignalingError::Records(fault)),
        Err(fault) => {
            warn!("calls are not recorded: {fault}; set `signaling.cdr.directory`");
            Ok((None, Arc::default()))
        }
    }
}

/// What all workers have in common.
#[derive(Clone)]
struct Shared {
    policies: watch::Receiver<Arc<Policy>>,
    settings: watch::Receiver<Arc<Settings>>,
    hash: RandomState,
    calls: Arc<Concurrency>,
    announcements: Arc<Concurrency>,
    new_calls: Arc<NewCalls>,
    limits: Arc<Limits>,
    workers: usize,
}

impl Shared {
    fn edge(&self) -> Edge {
        Edge::new(self.settings.borrow().overload, Arc::clone(&self.new_calls), self.hash.clone())
    }

    fn dispatch(&self) -> Dispatch {
        Dispatch::new(self.workers, self.hash.clone())
    }
}

/// What is made for one worker before its thread runs.
struct Made {
    index: usize,
    datagrams: udp::Bound,
    inbox: Inbox,
    streams: StreamQueue,
    workers: Workers,
    /// The first worker's alone.
    store: Option<(Store, Vec<Entry>)>,
    before: Option<Arc<Before>>,
    handover: Option<Handover>,
    desk: mpsc::Receiver<Question>,
    used: mpsc::Receiver<UsedTrunks>,
}

/// The workers' threads.
struct Threads {
    running: Vec<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
    ended: mpsc::UnboundedReceiver<()>,
    end: mpsc::UnboundedSender<()>,
}

/// Says that a thread has ended, in whatever way it does.
struct Ending(mpsc::UnboundedSender<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        // At the end of the process nobody listens.
        let _ended = self.0.send(());
    }
}

impl Threads {
    fn new() -> Threads {
        let (end, ended) = mpsc::unbounded_channel();
        Threads { running: Vec::new(), ended, end }
    }

    fn start(&mut self, config: Config, shared: Shared, made: Made) -> Result<(), SignalingError> {
        let (stop, stopped) = oneshot::channel();
        let ending = Ending(self.end.clone());
        let body = move || {
            let _ending = ending;
            let served = runtime().and_then(|runtime| runtime.block_on(serve_worker(config, shared, made, stopped)));
            if let Err(fault) = served {
                error!("a worker could not start: {fault}");
            }
        };
        let named = thread::Builder::new().name(format!("worker-{}", self.running.len()));
        let thread = named.spawn(body).map_err(SignalingError::system("starting a worker's thread"))?;
        self.running.push((stop, thread));
        Ok(())
    }

    /// Ready when a thread has ended: none does before it is told to, unless something is wrong.
    async fn one_ended(&mut self) {
        self.ended.recv().await;
    }

    fn stop(self) {
        let (stops, threads): (Vec<_>, Vec<_>) = self.running.into_iter().unzip();
        for stop in stops {
            // One that has ended needs no telling.
            let _ended = stop.send(());
        }
        for thread in threads {
            if thread.join().is_err() {
                error!("a worker's thread has panicked");
            }
        }
    }
}

async fn serve_worker(
    config: Config,
    shared: Shared,
    made: Made,
    stop: oneshot::Receiver<()>,
) -> Result<(), SignalingError> {
    let Made { index, datagrams, inbox, streams, workers, store, before, handover, desk, used } = made;
    let radius = config.radius.as_ref().map(radius::start).transpose().map_err(SignalingError::Radius)?;
    let udp = UdpTransport::new(datagrams).map_err(SignalingError::system("taking over a socket"))?;
    let (calls, announcements) = (Arc::clone(&shared.calls), Arc::clone(&shared.announcements));
    let limits = Arc::clone(&shared.limits.limiter);
    let place = Place { node: config.node, index, of: shared.workers, calls, announcements, limits };
    let wall_clock = WallClock::new(config.time_zone.as_deref())
        .map_err(|error| SignalingError::system("reading time zones")(std::io::Error::other(error)))?;
    let mut policies = shared.policies.clone();
    let policy = Arc::clone(&policies.borrow_and_update());
    let parts = Parts {
        worker: Worker::new(place, policy, entropy()?),
        place: index,
        wall_clock,
        limits: Arc::clone(&shared.limits),
        udp,
        edge: shared.edge(),
        dispatch: shared.dispatch(),
        policies,
        settings: shared.settings.clone(),
        used,
        workers,
        inbox,
        streams,
        media: MediaClient::new(config.control, config.lease_s),
        dns: resolver::start(&config.dns),
        radius,
        store,
        records: before,
        handover,
        desk,
    };
    EventLoop::new(parts).run(async move { drop(stop.await) }).await;
    Ok(())
}

fn stop_signals() -> Result<impl Future<Output = ()>, SignalingError> {
    let (mut terminate, mut interrupt) = (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn reload_on_hangup(streams: &Rc<Streams>, reload: &Arc<Reload>) -> Result<(), SignalingError> {
    let (mut hangup, streams, reload) = (on(SignalKind::hangup())?, Rc::clone(streams), Arc::clone(reload));
    // Whoever has started this process may have held it back until somebody listens.
    SigSet::from(NixSignal::SIGHUP).thread_unblock().map_err(SignalingError::system("waiting for signals"))?;
    spawn_local(async move {
        while hangup.recv().await.is_some() {
            info!("SIGHUP: certificates are read again, and the configuration");
            streams.reload();
            reload::by_signal(Arc::clone(&reload)).await;
        }
    });
    Ok(())
}

fn on(kind: SignalKind) -> Result<Signal, SignalingError> {
    signal(kind).map_err(SignalingError::system("waiting for signals"))
}

/// Each connection takes a descriptor, and the usual limit is meant for programs of another kind.
fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        warn!("the limit of open files stays as it is: {error}");
    }
}

/// Random numbers that are asked of the kernel at once.
const RANDOM_NUMBERS: usize = 64;

fn entropy() -> Result<Entropy, SignalingError> {
    let mut bytes = [0; RANDOM_NUMBERS * 8];
    let mut left = 0;
    let unavailable = |e| SignalingError::system("reading random numbers")(std::io::Error::other(e));
    getrandom::u64().map_err(unavailable)?;
    Ok(Box::new(move || {
        while left == 0 {
            // getrandom(2) does not fail again once the kernel's pool has been filled, as it has by now; and
            // identifiers that can be guessed are no alternative to waiting.
            if getrandom::fill(&mut bytes).is_ok() {
                left = RANDOM_NUMBERS;
            }
        }
        left -= 1;
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[left * 8..][..8]);
        u64::from_ne_bytes(number)
    }))
}
