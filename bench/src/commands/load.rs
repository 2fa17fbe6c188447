//! `moorline-bench load`: the own generator, each side perhaps in a network namespace of its own.

use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;
use moorline_bench::load::{Plan, Sockets, run_on};
use moorline_bench::media::Endpoint;
use nix::sched::{CloneFlags, setns};

use super::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many calls.
    #[arg(long, default_value_t = 200)]
    calls: u32,
    /// Calls placed per second.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// How long each call talks, in seconds.
    #[arg(long, default_value_t = 5)]
    talk_s: u64,
    /// How long each call rings, in milliseconds.
    #[arg(long, default_value_t = 200)]
    ring_ms: u64,
    /// Where INVITEs go.
    #[arg(long, value_name = "ADDR:PORT")]
    sbc: SocketAddr,
    /// The caller's SIP address; its media has the same IP address.
    #[arg(long, value_name = "ADDR:PORT")]
    caller: SocketAddr,
    /// The called party's SIP address; its media has the same IP address.
    #[arg(long, value_name = "ADDR:PORT")]
    callee: SocketAddr,
    /// The caller's network namespace, by its name in /run/netns.
    #[arg(long, value_name = "NAME")]
    caller_netns: Option<String>,
    /// The called party's network namespace.
    #[arg(long, value_name = "NAME")]
    callee_netns: Option<String>,
    /// What the called number starts with.
    #[arg(long, default_value = "86", value_name = "DIGITS")]
    called_prefix: String,
    /// A network of the relay's addresses; may be given several times. Without it any will do.
    #[arg(long, value_name = "NETWORK")]
    relay_network: Vec<IpNet>,
    /// Send no RTCP.
    #[arg(long)]
    no_rtcp: bool,
    /// Determines everything that looks random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let plan = Plan {
        calls: args.calls,
        rate_per_s: args.rate,
        ring: Duration::from_millis(args.ring_ms),
        talk: Duration::from_secs(args.talk_s),
        sbc: args.sbc,
        caller: args.caller,
        callee: args.callee,
        caller_media: args.caller.ip(),
        callee_media: args.callee.ip(),
        called_prefix: args.called_prefix.clone(),
        packet_ms: 20,
        relay_networks: args.relay_network.clone(),
        seed: args.seed,
        rtcp: !args.no_rtcp,
    };
    let (caller, caller_media) = bind(args.caller_netns.as_deref(), plan.caller, plan.caller_media, plan.rtcp)?;
    let (callee, callee_media) = bind(args.callee_netns.as_deref(), plan.callee, plan.callee_media, plan.rtcp)?;
    let report = run_on(&plan, Sockets { caller, callee, caller_media, callee_media }, &mut |_| {})?;
    let us = |histogram: &moorline_bench::Histogram, quantile: f64| histogram.value_at_quantile(quantile) / 1000;
    for (key, value) in [
        ("calls", u64::from(report.attempted)),
        ("calls_answered", u64::from(report.answered)),
        ("calls_completed", u64::from(report.completed)),
        ("sip_retransmissions", report.sip_retransmissions),
        ("setup_p99_us", us(&report.setup, 0.99)),
        ("rtp_sent", report.packets_sent),
        ("rtp_received", report.packets_received),
        ("rtp_lost", report.lost),
        ("rtp_duplicated", report.duplicated),
        ("rtp_reordered", report.reordered),
        ("rtp_corrupted", report.corrupted),
        ("rtp_crossed", report.crossed),
        ("rtp_wrong_source", report.wrong_source),
        ("send_errors", report.send_errors),
        ("rtcp_sent", report.rtcp_sent),
        ("rtcp_received", report.rtcp_received),
        ("rtcp_wrong", report.rtcp_wrong),
        ("one_way_p50_us", us(&report.one_way, 0.5)),
        ("one_way_p99_us", us(&report.one_way, 0.99)),
    ] {
        println!("{key}={value}");
    }
    println!("jitter_us={:.1}", report.jitter_us);
    for (reason, count) in &report.failed {
        println!("failed: {count} calls: {reason}");
    }
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

type Side = (std::net::UdpSocket, Vec<Endpoint>);

/// Binds one side's sockets, in a thread of its own where that must enter a namespace: sockets stay in the
/// namespace in which they were made, and the thread ends with it.
fn bind(namespace: Option<&str>, sip: SocketAddr, media: IpAddr, rtcp: bool) -> Result<Side, String> {
    let bind = || Sockets::bind_side(sip, media, rtcp).map_err(|error| error.to_string());
    let Some(name) = namespace else { return bind() };
    let path = PathBuf::from("/run/netns").join(name);
    let bind_inside = || {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let file = File::open(&path).map_err(|error| failed(&error))?;
        setns(file, CloneFlags::CLONE_NEWNET).map_err(|error| failed(&error))?;
        bind()
    };
    std::thread::scope(|scope| scope.spawn(bind_inside).join()).map_err(|_| "the binding thread panicked")?
}
