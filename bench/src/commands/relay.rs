//! `moorline-bench relay`: what relaying a packet costs, on this machine, in one run.

mod cpu;
mod lab;
mod measure;
mod moorline;
mod system;

use std::path::PathBuf;
use std::process::ExitCode;

use super::{Outcome, process};
use lab::Lab;
use measure::{Figures, Traffic, measure};
use system::{Kind, Setup};

/// Measure the relay: CPU per packet and latency, in network namespaces of its own. Needs root.
///
/// CPU per packet is that of one receive and one send: every thread of the relay's process, and the kernel's threads
/// that receive for it (threaded NAPI, pinned to the relay's core) with that core's ksoftirqd, by schedstat, over the
/// packets that came back, each verified for content and source.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// How many two-way calls: each is 100 packets a second into the relay.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    calls: u32,
    /// How long each measurement lasts, without its warm-up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many measurements of each system.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// What to measure, in turn.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "moorline")]
    systems: Vec<Kind>,
    /// The CPU core of the relay.
    #[arg(long, default_value_t = 0)]
    relay_core: usize,
    /// The CPU core of the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
    /// A line for `[media]` of Moorline's configuration; may be given more than once.
    #[arg(long = "setting", value_name = "LINE")]
    settings: Vec<String>,
    /// The `moorline` to measure, such as one built before a change; without it the one of this source is built.
    #[arg(long, value_name = "FILE")]
    executable: Option<PathBuf>,
    /// Three measurements of 8 s of each system, which is started once: half a minute for one.
    #[arg(long, conflicts_with_all = ["seconds", "rounds"])]
    quick: bool,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let executable = args.executable.clone().map_or_else(process::build, Ok)?;
    // Before the lab, which has no network.
    let version = process::version(&executable)?;
    let directory = std::env::temp_dir().join(format!("moorline-relay-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let setup = Setup {
        executable,
        directory,
        lab: Lab::enter(args.relay_core, args.load_core)?,
        relay_core: args.relay_core,
        load_core: args.load_core,
        capacity: args.calls.max(1000),
        settings: args.settings.clone(),
    };
    println!("{version}, {}", setup.executable.display());
    println!("relay on core {}, load on core {}, {} calls", args.relay_core, args.load_core, args.calls);
    let rounds = if args.quick { quick(args, &setup)? } else { in_turn(args, &setup)? };

    println!("\nmedians");
    for (kind, rounds) in args.systems.iter().zip(&rounds) {
        println!("{:<10} {}", kind.name(), Figures::median(rounds));
    }
    println!("version={}", version.trim_start_matches("moorline "));
    println!("calls={}", args.calls);
    for (kind, rounds) in args.systems.iter().zip(&rounds) {
        let median = Figures::median(rounds);
        println!("{}_cpu_per_packet_ns={:.0}", kind.name(), median.packet_ns);
        println!("{}_loss_percent={:.3}", kind.name(), median.loss() * 100.0);
    }
    std::fs::remove_dir_all(&setup.directory)?;
    let is_good = rounds.iter().flatten().all(|figures| figures.rate > 0.0 && figures.wrong == 0);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn quick(args: &Args, setup: &Setup) -> Result<Vec<Vec<Figures>>, process::Error> {
    let traffic = Traffic { calls: args.calls, interval_ms: 20, seconds: 8 };
    let mut all = Vec::new();
    for kind in &args.systems {
        let mut system = kind.start(setup)?;
        let mut rounds = Vec::new();
        for round in 1..=3 {
            let figures = measure(&mut *system, setup, &traffic)?;
            println!("round {round} {:<10} {figures}", kind.name());
            rounds.push(figures);
        }
        system.stop()?;
        all.push(rounds);
    }
    Ok(all)
}

fn in_turn(args: &Args, setup: &Setup) -> Result<Vec<Vec<Figures>>, process::Error> {
    let traffic = Traffic { calls: args.calls, interval_ms: 20, seconds: args.seconds };
    let mut rounds: Vec<Vec<Figures>> = args.systems.iter().map(|_| Vec::new()).collect();
    for round in 1..=args.rounds {
        for (kind, rounds) in args.systems.iter().zip(&mut rounds) {
            let mut system = kind.start(setup)?;
            let figures = measure(&mut *system, setup, &traffic)?;
            system.stop()?;
            println!("round {round} {:<10} {figures}", kind.name());
            rounds.push(figures);
        }
    }
    Ok(rounds)
}
