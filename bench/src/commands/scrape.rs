//! `moorline-bench scrape`: both processes' metrics as `key=value`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use moorline_bench::scrape::{Metrics, fetch};

use super::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The signaling process's admin address.
    #[arg(long, default_value = "127.0.0.1:9060", value_name = "ADDR:PORT")]
    signaling: SocketAddr,
    /// The media process's admin address.
    #[arg(long, default_value = "127.0.0.1:9061", value_name = "ADDR:PORT")]
    media: SocketAddr,
    /// Wait for this many seconds until no call, session or port is in use; fail if one is.
    #[arg(long, value_name = "SECONDS")]
    until_idle: Option<u64>,
    /// Wait for SIP transactions too.
    #[arg(long, requires = "until_idle")]
    transactions: bool,
    /// Wait for this many seconds until both processes answer and are connected.
    #[arg(long, value_name = "SECONDS")]
    until_ready: Option<u64>,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let fetch_both = || -> std::io::Result<(Metrics, Metrics)> {
        Ok((fetch(args.signaling, "/metrics")?, fetch(args.media, "/metrics")?))
    };
    let is_met = |(signaling, media): &(Metrics, Metrics)| {
        (args.until_idle.is_none() || is_idle(signaling, media, args.transactions))
            && (args.until_ready.is_none() || signaling.value("moorline_sip_media_connected", &[]) == Some(1.0))
    };
    let patience = Duration::from_secs(args.until_idle.max(args.until_ready).unwrap_or_default());
    let end = Instant::now() + patience;
    loop {
        let scraped = fetch_both();
        let met = scraped.as_ref().is_ok_and(is_met);
        if met || Instant::now() >= end {
            let (signaling, media) = scraped?;
            println!("{}", figures(&signaling, &media).join("\n"));
            return Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

const IN_USE: [&str; 2] = ["calls_active", "transactions_active"];

fn is_idle(signaling: &Metrics, media: &Metrics, with_transactions: bool) -> bool {
    let names = if with_transactions { &IN_USE[..] } else { &IN_USE[..1] };
    names.iter().all(|name| signaling.value(&format!("moorline_sip_{name}"), &[]) == Some(0.0))
        && media.value("moorline_media_sessions", &[]) == Some(0.0)
        && media.value("moorline_media_ports", &[("state", "in_use")]) == Some(0.0)
}

fn figures(signaling: &Metrics, media: &Metrics) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |key: &str, value: Option<f64>| {
        if let Some(value) = value {
            lines.push(format!("{key}={value}"));
        }
    };
    for name in IN_USE.into_iter().chain(["bindings", "registered"]) {
        add(name, signaling.value(&format!("moorline_sip_{name}"), &[]));
    }
    for name in [
        "calls",
        "answered",
        "restored",
        "not_restored",
        "retransmissions",
        "unknown_source",
        "malformed",
        "bad_requests",
        "challenges",
        "wrong_credentials",
        "credentials_refused",
    ] {
        add(&format!("sip_{name}"), signaling.value(&format!("moorline_sip_{name}_total"), &[]));
    }
    for (sink, what) in ["postgres", "radius"].into_iter().flat_map(|sink| [(sink, "written_total"), (sink, "waiting")])
    {
        let value = signaling.value(&format!("moorline_cdr_{what}"), &[("sink", sink)]);
        add(&format!("cdr_{sink}_{}", what.trim_end_matches("_total")), value);
    }
    for step in ["invite", "answer"] {
        let added = signaling.histogram("moorline_sip_added_seconds", &[("step", step)]);
        // Those that went on: callers have so many answers.
        add(&format!("sip_{step}s_passed"), added.as_ref().map(|added| added.count));
        add(&format!("sip_added_{step}_p99_us"), added.and_then(|added| added.quantile(0.99)).map(|s| s * 1e6));
    }
    add("media_sessions", media.value("moorline_media_sessions", &[]));
    for state in ["in_use", "resting"] {
        add(&format!("media_ports_{state}"), media.value("moorline_media_ports", &[("state", state)]));
    }
    for (name, label) in [("packets", "datapath"), ("dropped", "reason")] {
        let metric = format!("moorline_media_{name}_total");
        let samples = media.samples().iter().filter(|sample| sample.name == metric);
        let mut values: Vec<&str> = samples.filter_map(|sample| Some(sample.labels.get(label)?.as_str())).collect();
        values.sort_unstable();
        values.dedup();
        for value in values {
            match name {
                "packets" => {
                    for kind in ["rtp", "rtcp"] {
                        let labels = [("datapath", value), ("kind", kind)];
                        add(&format!("media_{kind}_{value}"), media.value(&metric, &labels));
                    }
                }
                _ => add(&format!("media_dropped_{value}"), media.value(&metric, &[(label, value)])),
            }
        }
    }
    add("media_direct", media.value("moorline_media_direct_packets_total", &[]));
    for way in ["received", "sent", "sent_by_kernel"] {
        add(&format!("media_af_xdp_{way}"), media.value("moorline_media_af_xdp_packets_total", &[("way", way)]));
    }
    add("media_driver_flows", media.value("moorline_media_driver_flows", &[]));
    add("media_next_hop_changes", media.value("moorline_media_next_hop_changes_total", &[]));
    for shard in 0u16.. {
        let labels = [("shard", &*shard.to_string()), ("kind", "rtp")];
        let Some(packets) = media.value("moorline_media_packets_total", &labels) else { break };
        add(&format!("media_rtp_shard_{shard}"), Some(packets));
    }
    if let Some(residence) = media.histogram("moorline_media_residence_seconds", &[]) {
        add("media_residence_count", Some(residence.count));
        for (key, quantile) in [("p50", 0.5), ("p99", 0.99)] {
            add(&format!("media_residence_{key}_us"), residence.quantile(quantile).map(|s| s * 1e6));
        }
    }
    lines
}
