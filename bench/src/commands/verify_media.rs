//! `moorline-bench verify-media`.

use std::path::PathBuf;
use std::process::ExitCode;

use ipnet::IpNet;
use moorline_bench::capture::{Direction, Limits, verify_media};

use super::Outcome;
use super::verify_captures::{parse, read};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The capture on the core side.
    #[arg(long, value_name = "PCAP")]
    core: PathBuf,
    /// The capture on the carrier side.
    #[arg(long, value_name = "PCAP")]
    carrier: PathBuf,
    /// The network of the relay's addresses on the core side.
    #[arg(long, value_name = "NETWORK")]
    core_relays: IpNet,
    /// The network of the relay's addresses on the carrier side.
    #[arg(long, value_name = "NETWORK")]
    carrier_relays: IpNet,
    /// How many RTP packets the core must have sent at least; 0: none at all.
    #[arg(long)]
    outward: u64,
    /// How many RTP packets the carrier must have sent at least; 0: none at all.
    #[arg(long)]
    inward: u64,
    /// How many packets may be lost.
    #[arg(long, default_value_t = 0)]
    lost: u64,
    /// For how long Moorline may interrupt a flow, in milliseconds. Shorter pauses may be those of a busy machine.
    #[arg(long, default_value_t = 1000)]
    interruption_ms: u64,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let (core, carrier) = (read(&args.core)?, read(&args.carrier)?);
    let (core, carrier) = (parse(&args.core, &core)?, parse(&args.carrier, &carrier)?);
    let verdict = verify_media(&core, &carrier, args.core_relays, args.carrier_relays);
    let limits = Limits { lost: args.lost, interruption_ms: args.interruption_ms, ..Limits::default() };
    let mut faults = verdict.faults(&limits);
    for (direction, least) in [(Direction::Outward, args.outward), (Direction::Inward, args.inward)] {
        let sent = verdict.rtp.get(&direction).map_or(0, |tally| tally.sent);
        if sent < least || (least == 0 && sent > 0) {
            faults.push(format!("{direction:?}: {sent} RTP packets sent, {least} expected"));
        }
    }
    println!("{}", verdict.figures());
    for fault in &faults {
        println!("fault: {fault}");
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
