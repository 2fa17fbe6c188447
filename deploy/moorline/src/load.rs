//! `moorline load`: calls with media through any SBC, and an account of what became of them.

mod live;

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use moorline_bench::account::{Account, Step, Thresholds};
use moorline_bench::load::{Codec, Credentials, LoadError, Number, Plan, Report, Sockets, Transport, run_watched};
use moorline_bench::picture;
use tokio::signal::unix::{SignalKind, signal};

use crate::Outcome;
use crate::cli::load::{CodecName, LoadArgs, Local, TransportName};
use live::Live;

/// How many calls there are if nothing is said.
const CALLS: u32 = 100;

/// How long a step of a ramp lasts if nothing is said.
const STEP: Duration = Duration::from_secs(10);

/// Where Moorline's own built-in configuration sends calls, too.
const CALLEE_PORT: u16 = 5080;

/// `timeout` and some shells send a signal to a process and to its group: within this it is the same one.
const SAME_SIGNAL: Duration = Duration::from_millis(300);

type Failure = Box<dyn std::error::Error>;

pub(crate) fn run(args: &LoadArgs) -> Outcome {
    let mut plan = plan(args)?;
    let thresholds = Thresholds { failed: args.max_failed / 100.0, loss: args.max_loss / 100.0 };
    // What cannot be written is better known now than after an hour.
    for path in args.json.iter().chain(&args.html) {
        write(path, "")?;
    }
    let stop = stop_on_signals()?;
    let (report, steps) = match args.ramp {
        None => (place(&plan, args, &stop, &mut Live::new(&plan, None))?, Vec::new()),
        Some(ramp) => {
            let (mut all, mut steps) = (Report::default(), Vec::new());
            let rates = ramp.rates();
            for (index, rate) in rates.iter().enumerate() {
                plan.rate_per_s = *rate;
                plan.calls = calls_in(step_length(args)?, *rate)?;
                // Other Call-IDs than those of the step before.
                plan.seed = plan.seed.wrapping_add(1);
                let report = place(&plan, args, &stop, &mut Live::new(&plan, Some((index + 1, rates.len()))))?;
                let step = Step::of(*rate, &report, &thresholds);
                eprintln!("{rate} calls/s: {}", if step.clean { "clean".to_owned() } else { step.reasons.join("; ") });
                all.append(report);
                let is_clean = step.clean;
                // A step that was cut short says nothing of its rate.
                if !stop.load(Relaxed) {
                    steps.push(step);
                }
                if !is_clean || stop.load(Relaxed) {
                    break;
                }
            }
            (all, steps)
        }
    };
    let account = Account::new(&plan, &report, &thresholds, steps, stop.load(Relaxed));
    let mut text = String::new();
    if std::io::stdout().is_terminal() {
        text += &format!("{}\n", picture::render("set-up, INVITE to 200", &report.setup));
        if report.has_media {
            text += &format!("{}\n", picture::render("audio, one way", &report.one_way));
        }
    }
    text += &account.to_text();
    // Whether anybody reads it or not, the exit status says how the load went.
    let _unread = std::io::stdout().lock().write_all(text.as_bytes());
    if let Some(path) = &args.json {
        write(path, &account.to_json()?)?;
    }
    if let Some(path) = &args.html {
        write(path, &account.to_html())?;
    }
    Ok(if account.verdict.passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// One load, shown as it goes.
fn place(plan: &Plan, args: &LoadArgs, stop: &AtomicBool, live: &mut Live) -> Result<Report, Failure> {
    let sockets = Sockets::bind_in(plan, args.caller_netns.as_deref(), args.callee_netns.as_deref());
    let sockets = sockets.map_err(explain)?;
    let report = run_watched(plan, sockets, stop, &mut |watch| live.show(watch));
    live.finish();
    Ok(report?)
}

fn plan(args: &LoadArgs) -> Result<Plan, Failure> {
    let caller = match args.caller {
        Some(Local { ip, port }) => SocketAddr::new(ip, port.unwrap_or(0)),
        None => SocketAddr::new(source_towards(args.target)?, 0),
    };
    let callee = match args.callee {
        Some(Local { ip, port }) => SocketAddr::new(ip, port.unwrap_or(CALLEE_PORT)),
        None => SocketAddr::new(caller.ip(), CALLEE_PORT),
    };
    if [caller, callee].iter().any(|address| address.ip().is_unspecified()) {
        return Err("caller and callee need addresses that the SBC can answer to, not a wildcard".into());
    }
    let credentials = args.user.clone().zip(args.password.clone());
    let rate = args.ramp.map_or(args.rate, |ramp| ramp.start);
    let calls = match (args.ramp, args.calls, args.duration) {
        (None, Some(calls), _) => calls,
        (None, None, None) => CALLS,
        _ => calls_in(step_length(args)?, rate)?,
    };
    let called = match &args.number {
        Some(number) => number.clone(),
        None => format!("{}######", args.called_prefix).parse::<Number>()?,
    };
    Ok(Plan {
        calls,
        rate_per_s: rate,
        concurrent: args.concurrent.unwrap_or(u32::MAX),
        ring: seconds("--ring", args.ring)?,
        talk: seconds("--talk", args.talk)?,
        transport: match args.transport {
            TransportName::Udp => Transport::Udp,
            TransportName::Tcp => Transport::Tcp,
        },
        caller_media: args.caller_media.unwrap_or(caller.ip()),
        callee_media: args.callee_media.unwrap_or(callee.ip()),
        uac_only: args.uac_only,
        called,
        calling: args.from.clone(),
        credentials: credentials.map(|(user, password)| Credentials { user, password }),
        media: !args.no_media,
        codec: match args.codec {
            CodecName::Pcma => Codec::Pcma,
            CodecName::Pcmu => Codec::Pcmu,
            CodecName::G722 => Codec::G722,
        },
        packet_ms: args.packet_ms,
        rtcp: args.rtcp,
        relay_networks: args.relay_network.clone(),
        verbatim: args.verbatim,
        // No two loads within a day share Call-IDs, nor do two at once.
        seed: u64::from(std::process::id()) << 32 | u64::from(seconds_today()),
        ..Plan::new(args.target, caller, callee)
    })
}

fn step_length(args: &LoadArgs) -> Result<Duration, Failure> {
    args.duration.map_or(Ok(STEP), |duration| seconds("--duration", duration))
}

fn calls_in(duration: Duration, rate: f64) -> Result<u32, Failure> {
    let calls = (duration.as_secs_f64() * rate).round().max(1.0);
    if calls <= 1e6 { Ok(calls as u32) } else { Err(format!("{calls} calls are too many: at most a million").into()) }
}

fn seconds(option: &str, value: f64) -> Result<Duration, Failure> {
    let valid = (0.0..=86_400.0).contains(&value);
    if valid { Ok(Duration::from_secs_f64(value)) } else { Err(format!("{option} is 0 to 86400 seconds").into()) }
}

fn seconds_today() -> u32 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    (now.as_secs() % 86_400) as u32
}

/// The address from which this host would send there. Nothing is sent.
fn source_towards(target: SocketAddr) -> Result<IpAddr, Failure> {
    let any: IpAddr = if target.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let probe = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect(target)?;
        socket.local_addr()
    });
    match probe {
        Ok(address) => Ok(address.ip()),
        Err(error) => {
            Err(format!("no way to {target} from here ({error}): add a route, or name another target").into())
        }
    }
}

/// What to do about it.
fn explain(error: LoadError) -> Failure {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let advice = match &error {
        LoadError::Bind { address, source } => match source.kind() {
            AddrInUse => {
                format!("something else has {address}: stop it, or choose another port with --caller or --callee")
            }
            AddrNotAvailable => format!(
                "{} is no address of this host: add it (ip address add), or choose another with --caller, --callee, \
                 --caller-media or --callee-media",
                address.ip()
            ),
            PermissionDenied => format!("ports below 1024 need root: choose one above {}", address.port()),
            _ => return error.into(),
        },
        LoadError::Namespace { .. } => "`ip netns list` names the namespaces; entering one needs root".to_owned(),
        _ => return error.into(),
    };
    format!("{error}; {advice}").into()
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()).into())
}

/// True once SIGINT or SIGTERM has come; the second one ends the process.
fn stop_on_signals() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            let (mut interrupt, mut terminate) =
                match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
                    (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
                    // Without handlers a signal ends the load at once, as it would any process.
                    _ => return,
                };
            let _ = ready.send(());
            let mut first: Option<Instant> = None;
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                match first {
                    Some(first) if first.elapsed() >= SAME_SIGNAL => std::process::exit(130),
                    Some(_) => continue,
                    None => first = Some(Instant::now()),
                }
                stopped.store(true, Relaxed);
                eprintln!("stopping: hanging up; once more to end at once");
            }
        });
    });
    // Otherwise a signal of the first moment would be lost on who sent it.
    let _ = is_ready.recv();
    Ok(stop)
}
