//! `moorline-bench verify-captures`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ipnet::IpNet;
use moorline_bench::capture::{Capture, Expectation, Limits, verify};

use super::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The capture on the core side.
    #[arg(long, value_name = "PCAP")]
    core: PathBuf,
    /// The capture on the carrier side.
    #[arg(long, value_name = "PCAP")]
    carrier: PathBuf,
    /// A network of the core, which the carrier must not see; may be given several times.
    #[arg(long, required = true, value_name = "NETWORK")]
    inside: Vec<IpNet>,
    /// The network of the relay's addresses on the carrier side.
    #[arg(long, value_name = "NETWORK")]
    outside_range: IpNet,
    /// The header that crosses Moorline and tells calls apart.
    #[arg(long, default_value = "X-Call", value_name = "NAME")]
    call_header: String,
    /// How many calls must have been answered.
    #[arg(long)]
    calls: u64,
    /// How many calls must have been refused with 503 and Retry-After.
    #[arg(long, default_value_t = 0)]
    refused: u64,
    /// How many SIP retransmissions there may be.
    #[arg(long, default_value_t = 0)]
    retransmissions: u64,
    /// How many packets may be lost.
    #[arg(long, default_value_t = 0)]
    lost: u64,
    /// For how long Moorline may interrupt a flow, in milliseconds. Shorter pauses may be those of a busy machine.
    #[arg(long, default_value_t = 1000)]
    interruption_ms: u64,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let (core, carrier) = (read(&args.core)?, read(&args.carrier)?);
    let expectation = Expectation {
        inside: args.inside.clone(),
        outside_range: args.outside_range,
        call_header: args.call_header.clone(),
    };
    let limits = Limits {
        answered: args.calls,
        refused: args.refused,
        retransmissions: args.retransmissions,
        lost: args.lost,
        interruption_ms: args.interruption_ms,
    };
    let verdict = verify(&parse(&args.core, &core)?, &parse(&args.carrier, &carrier)?, &expectation);
    println!("{verdict}{}", verdict.figures());
    let faults = verdict.faults(&limits);
    for fault in &faults {
        println!("fault: {fault}");
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

pub(super) fn parse<'a>(path: &Path, bytes: &'a [u8]) -> Result<Capture<'a>, String> {
    Capture::parse(bytes).map_err(|error| format!("{}: {error}", path.display()))
}
