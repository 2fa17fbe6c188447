//! The media process from start to end.

mod host;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use moorline_control::{Profile, ServerHello, VERSION};
use moorline_relay::{Announcement, Announcements};
use moorline_xdp::{Forward, Lookup, LookupError};
use nix::sys::signal::{SigSet, Signal};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::LocalSet;

pub use self::host::{af_xdp, offload, shared_sockets};
use self::host::{choose, cores, lookup_ranges, share, start_offload};
use crate::LostLines;
use crate::bypass::{self, Bypass};
use crate::config::{Config, DatapathChoice, Range, Sockets};
use crate::control::{Access, ControlSocket};
use crate::datapath::af_xdp::AfXdp;
use crate::datapath::epoll::Epoll;
use crate::datapath::uring::{self, Uring};
use crate::datapath::{Datapath, MediaRange};
use crate::egress::Direct;
use crate::error::MediaError;
use crate::limits::Descriptors;
use crate::shard::{self, Exit, Mailbox, Plan, Said, ShardLink};
use crate::{admin, announcements, control, limits};

/// Events between a shard and the control server.
const SAID_QUEUE: usize = 4096;

/// How often it is looked for ports that other processes hold, where opening a port does not tell, and for interfaces
/// that were made anew.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// And after the start, while a former process may still let go of the ports that its sessions want back.
const FIRST_INTERVAL: Duration = Duration::from_millis(250);
const FIRST_LOOKS: usize = 20;

/// Runs the media process until SIGTERM or SIGINT. Sockets are closed and the control socket's file removed
/// when it returns. How many lines of the log were lost is asked for the metrics.
///
/// # Errors
/// Why it could not start, or ended by itself.
pub fn run(config: Config, lost_lines: LostLines) -> Result<(), MediaError> {
    start(config, lost_lines, async {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()));
        match signals {
            (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) => {
                // Whoever has started this process may have held it back until somebody listens: else it would end it.
                let _held = SigSet::from(Signal::SIGHUP).thread_unblock();
                loop {
                    tokio::select! {
                        _ = terminate.recv() => break,
                        _ = interrupt.recv() => break,
                        _ = hangup.recv() => {
                            tracing::info!("SIGHUP: the media process reads nothing again, [media] needs a restart");
                        }
                    }
                }
            }
            // Without them the default action ends the process.
            _ => std::future::pending().await,
        }
    })
}

/// Runs the media process until `shutdown` completes; it is polled inside a tokio runtime.
///
/// # Errors
/// As [`run`].
pub fn run_until(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), MediaError> {
    start(config, Arc::new(|| 0), shutdown)
}

fn start(mut config: Config, lost_lines: LostLines, shutdown: impl Future<Output = ()>) -> Result<(), MediaError> {
    config.check()?;
    for range in &config.ranges {
        if let Some(interface) = range.interface.as_deref().filter(|name| nix::net::if_::if_nametoindex(*name).is_err())
        {
            let (range, interface) = (range.name.clone(), interface.to_owned());
            return Err(MediaError::NoSuchInterface { range, interface });
        }
    }
    config.cores = cores(&config)?;
    limits::raise_open_files(config.capacity);
    bypass::clear(&config);
    if let Some(started) = start_af_xdp(&config)? {
        return serve(started, lost_lines, shutdown);
    }
    let datapath = match config.sockets {
        // Only io_uring has them: nothing else is to be fallen back to.
        Sockets::Shared => DatapathChoice::IoUring,
        _ => config.datapath,
    };
    match choose(datapath)? {
        DatapathChoice::Epoll => {
            Direct::wished(&config, None)?;
            serve(Started::new::<Epoll>(config, None, None, None)?, lost_lines, shutdown)
        }
        _ => {
            let lookup = share(&config)?;
            let bypass = start_offload(&config, lookup.is_some())?;
            let direct = Direct::wished(&config, lookup.as_ref().map(|_| endpoints(&config)))?;
            serve(Started::new::<Uring>(config, lookup, bypass, direct)?, lost_lines, shutdown)
        }
    }
}

/// The AF_XDP datapath, running, if the configuration wants it; where it does not insist, and the host does not offer
/// it, `None`.
fn start_af_xdp(config: &Config) -> Result<Option<Started>, MediaError> {
    let insists = config.datapath == DatapathChoice::AfXdp;
    let may = config.datapath == DatapathChoice::Auto
        && config.sockets != Sockets::PerPort
        && !config.xdp.interfaces.is_empty();
    if !insists && !may {
        return Ok(None);
    }
    let unavailable = |reason| MediaError::Datapath { datapath: AfXdp::NAME, reason };
    let start = || {
        uring::probe().map_err(|error| unavailable(error.to_string()))?;
        let ranges = lookup_ranges(config);
        let lookup = share(&Config { sockets: Sockets::Shared, ..config.clone() }).map_err(|error| match error {
            // There are no others beneath it.
            MediaError::SharedSockets(missing) => unavailable(missing.to_string()),
            error => error,
        })?;
        let bypass = Bypass::start(config, &ranges, Some(endpoints(config))).map_err(unavailable)?;
        Started::new::<AfXdp>(config.clone(), lookup, Some(bypass), None)
    };
    match start() {
        Ok(started) => Ok(Some(started)),
        Err(error @ MediaError::PortsTaken(_)) => Err(error),
        Err(error) if insists => Err(error),
        Err(reason) => {
            tracing::warn!(%reason, "media does not go by AF_XDP");
            Ok(None)
        }
    }
}

/// A process whose shards run.
struct Started {
    config: Config,
    datapath: &'static str,
    lookup: Option<Arc<Lookup>>,
    said: Vec<mpsc::Receiver<Said>>,
    exited: mpsc::UnboundedReceiver<Exit>,
    access: Access,
    running: Running,
    bypass: Option<Bypass>,
    direct: Option<Direct>,
}

impl Started {
    fn new<D: Datapath + 'static>(
        mut config: Config,
        lookup: Option<Arc<Lookup>>,
        mut bypass: Option<Bypass>,
        mut direct: Option<Direct>,
    ) -> Result<Started, MediaError> {
        if lookup.is_none()
            && let Err(error @ LookupError::Taken(_)) = moorline_xdp::lookup::unclaimed(&lookup_ranges(&config))
        {
            // Its sockets would be bound, and hear nothing on the ports that the other has open.
            return Err(MediaError::PortsTaken(error));
        }
        let limit = limits::open_files();
        config.sockets = if lookup.is_some() { Sockets::Shared } else { Sockets::PerPort };
        let descriptors = match &lookup {
            Some(_) => Descriptors::Shared,
            None if D::NAME == Uring::NAME => Descriptors::Tables(config.cores.len() as u64),
            None => Descriptors::Process,
        };
        let fitting = u32::try_from(limits::sessions_that_fit(limit, descriptors)).unwrap_or(u32::MAX);
        if fitting == 0 {
            return Err(MediaError::OpenFiles { limit });
        }
        if fitting < config.capacity {
            let configured = config.capacity;
            // The default gives way; what an operator has asked for is given or refused.
            if configured != Config::default().capacity {
                return Err(MediaError::Capacity { configured, fitting, limit });
            }
            tracing::warn!(
                configured,
                fitting,
                limit,
                "capacity lowered to what the limit of open files leaves room for"
            );
            config.capacity = fitting;
        }
        let access = Access::new(&config.control_users).map_err(|error| MediaError::Control(error.to_string()))?;
        let (exits, exited) = mpsc::unbounded_channel();
        let (running, said) = Running::start::<D>(&config, lookup.clone(), bypass.as_mut(), direct.as_mut(), &exits)?;
        Ok(Started { config, datapath: D::NAME, lookup, said, exited, access, running, bypass, direct })
    }
}

fn serve(started: Started, lost_lines: LostLines, shutdown: impl Future<Output = ()>) -> Result<(), MediaError> {
    let Started { bypass, direct, running, config, datapath, lookup, said, exited, access } = started;
    let interfaces = config.ranges.iter().map(|range| range.interface.clone()).collect();
    let kept = bypass.as_ref().map(Bypass::keep);
    let kept = async {
        match kept {
            Some(kept) => kept.await,
            None => std::future::pending().await,
        }
    };
    let forward = bypass.as_ref().map(Bypass::program);
    let admin = admin::Admin {
        datapath,
        capacity: config.capacity,
        shards: running.mailboxes(),
        bypass: bypass.as_ref().map(Bypass::watch),
        direct: direct.as_ref().map(Direct::watch),
        lost_lines,
        flight: Mutex::default(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let shutdown = async {
        tokio::select! {
            () = shutdown => {}
            () = look_around(lookup, forward, interfaces) => {}
            () = kept => {}
        }
    };
    let ended = LocalSet::new().block_on(&runtime, attend(&config, access, &running, admin, said, exited, shutdown));
    drop(runtime);
    drop(running);
    drop((bypass, direct));
    tracing::info!("media stopped");
    ended
}

/// Keeps what is known of media ports that other processes hold up to date, and of the ranges' interfaces. Does not
/// end.
async fn look_around(lookup: Option<Arc<Lookup>>, forward: Option<Arc<Forward>>, interfaces: Vec<Option<String>>) {
    let Some(lookup) = lookup else { return std::future::pending().await };
    let first = std::iter::repeat_n(FIRST_INTERVAL, FIRST_LOOKS);
    for interval in first.chain(std::iter::repeat(LOOK_INTERVAL)) {
        tokio::time::sleep(interval).await;
        for (range, interface) in interfaces.iter().enumerate() {
            let Some(interface) = interface.as_deref() else { continue };
            // While there is none of that name nothing can be done.
            let Ok(index) = nix::net::if_::if_nametoindex(interface) else { continue };
            match lookup.come_in_by(range, index) {
                Ok(false) => {}
                Ok(true) => tracing::warn!(interface, index, "an interface was made anew: media goes by the new one"),
                Err(error) => tracing::error!(interface, %error, "media does not go by an interface made anew"),
            }
            if let Some(Err(error)) = forward.as_ref().map(|forward| forward.come_in_by(range, index)) {
                tracing::error!(interface, %error, "XDP has nothing of an interface made anew");
            }
        }
        let own = Arc::clone(&lookup);
        // The kernel takes some time to list its sockets.
        let _ = tokio::task::spawn_blocking(move || own.look_for_others()).await;
    }
}

/// The running shards, and what they can play; dropped, they stop.
struct Running(Vec<ShardLink>, Arc<Announcements>);

impl Running {
    /// Starts all shards; what each of them says comes by a channel of its own, so that no shard waits for
    /// the events of another.
    fn start<D: Datapath + 'static>(
        config: &Config,
        lookup: Option<Arc<Lookup>>,
        mut bypass: Option<&mut Bypass>,
        mut direct: Option<&mut Direct>,
        exits: &mpsc::UnboundedSender<Exit>,
    ) -> Result<(Running, Vec<mpsc::Receiver<Said>>), MediaError> {
        let announcements = Arc::new(announcements::library(config.announcements.as_deref())?);
        let mut running = Running(Vec::with_capacity(config.cores.len()), announcements);
        let mut said = Vec::with_capacity(config.cores.len());
        for (shard, &core) in (0u16..).zip(&config.cores) {
            let (events, queue) = mpsc::channel(SAID_QUEUE);
            said.push(queue);
            let plan = Plan {
                core,
                busy_poll_us: config.busy_poll_us,
                relay: relay_config(config, shard),
                announcements: Arc::clone(&running.1),
                ranges: media_ranges(config),
                lookup: lookup.clone(),
                offload: bypass.as_mut().and_then(|bypass| bypass.offload()),
                direct: direct.as_mut().and_then(|direct| direct.next_hops()),
                af_xdp: bypass.as_mut().and_then(|bypass| bypass.plan(config)),
                events,
                exits: exits.clone(),
            };
            let started = shard::start::<D>(plan);
            running.0.push(started.map_err(|error| MediaError::Start { shard, reason: error.to_string() })?);
        }
        Ok((running, said))
    }

    fn mailboxes(&self) -> Vec<Arc<Mailbox>> {
        self.0.iter().map(|shard| Arc::clone(&shard.mailbox)).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.drain(..).for_each(ShardLink::stop);
    }
}

/// Serves control and admin until told to end or a shard fails.
async fn attend(
    config: &Config,
    access: Access,
    running: &Running,
    admin: admin::Admin,
    said: Vec<mpsc::Receiver<Said>>,
    mut exited: mpsc::UnboundedReceiver<Exit>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), MediaError> {
    let (_file, listener) =
        ControlSocket::listen(&config.control, &access).map_err(|error| MediaError::Control(error.to_string()))?;
    let address = config.admin;
    let admin_listener = TcpListener::bind(address).await.map_err(|error| MediaError::Admin { address, error })?;
    let hello = hello(config, admin.datapath, &running.1)?;
    tracing::info!(
        datapath = admin.datapath,
        sockets = ?config.sockets,
        cores = ?config.cores,
        capacity = config.capacity,
        control = %config.control.display(),
        admin = %config.admin,
        host = %moorline_xdp::HostSupport::probe(),
        "media started"
    );
    tokio::select! {
        () = shutdown => Ok(()),
        () = control::serve(listener, access, hello, running.mailboxes(), config.relay_ranges(), said) => Ok(()),
        ended = admin::serve(admin_listener, admin) => ended.map_err(|error| MediaError::Admin { address, error }),
        Some(Exit { shard, outcome }) = exited.recv() => {
            Err(MediaError::Shard { shard, reason: outcome.err().unwrap_or_else(|| "it ended".to_owned()) })
        }
    }
}

fn hello(config: &Config, datapath: &str, announcements: &Announcements) -> Result<ServerHello, MediaError> {
    let ranges = config.ranges.iter().map(|range| moorline_control::MediaRange {
        name: range.name.clone(),
        network: range.network,
        first_port: range.first_port,
        last_port: range.last_port,
        advertised: range.advertised,
    });
    Ok(ServerHello {
        version: VERSION,
        boot: getrandom::u64().map_err(|error| MediaError::Io(io::Error::other(error.to_string())))?,
        shards: config.cores.len() as u16,
        capacity: config.capacity,
        datapath: datapath.to_owned(),
        ranges: ranges.collect(),
        profiles: vec![Profile::Rtp, Profile::Udptl],
        announcements: announcements.iter().map(Announcement::told).collect(),
    })
}

fn relay_config(config: &Config, shard: u16) -> moorline_relay::Config {
    let (capacity, shards) = (config.capacity as usize, config.cores.len());
    // Sessions are spread evenly, except those that come back on ports of another shard layout: room for
    // twice the even share.
    let share = capacity.min(2 * capacity.div_ceil(shards));
    moorline_relay::Config {
        ranges: config.relay_ranges(),
        shard,
        shards: shards as u16,
        capacity: share,
        port_rest_ns: u64::from(config.port_rest_s) * 1_000_000_000,
        report_digits: config.report_digits,
    }
}

/// How many ports a shard can have open.
fn endpoints(config: &Config) -> usize {
    relay_config(config, 0).max_endpoints()
}

fn media_ranges(config: &Config) -> Vec<MediaRange> {
    let range = |range: &Range| MediaRange {
        network: range.network,
        ports: range.first_port..=range.last_port,
        interface: range.interface.clone(),
        dscp: range.dscp,
    };
    config.ranges.iter().map(range).collect()
}
