//! `moorline-bench load`: the own generator, each side perhaps in a network namespace of its own.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use ipnet::IpNet;
use moorline_bench::load::{Number, Plan, Sockets, run_on};

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
        called: Number::with_prefix(&args.called_prefix),
        relay_networks: args.relay_network.clone(),
        seed: args.seed,
        rtcp: !args.no_rtcp,
        verbatim: true,
        ..Plan::new(args.sbc, args.caller, args.callee)
    };
    let sockets = Sockets::bind_in(&plan, args.caller_netns.as_deref(), args.callee_netns.as_deref())?;
    let report = run_on(&plan, sockets, &mut |_| {})?;
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
