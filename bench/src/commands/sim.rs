//! `moorline-bench sim`: random call flows in virtual time, and how to see one again.

use std::collections::BTreeMap;
use std::process::ExitCode;

use moorline_bench::sim::{self, Detail};

use super::Outcome;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The first seed; each determines a run with everything that looks random in it.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many runs, each with the seed after that of the one before.
    #[arg(long, default_value_t = 1)]
    runs: u64,
    /// Print each run: what was drawn, and every message and event.
    #[arg(long)]
    trace: bool,
    /// Print the messages whole.
    #[arg(long)]
    messages: bool,
    /// Stop after this many runs with a fault.
    #[arg(long, default_value_t = 10)]
    stop_after: usize,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let detail = match (args.messages, args.trace) {
        (true, _) => Detail::Messages,
        (false, true) => Detail::Ladder,
        (false, false) => Detail::None,
    };
    let mut endings: BTreeMap<&str, u64> = BTreeMap::new();
    let (mut played, mut failed) = (0_u64, 0_usize);
    for seed in args.seed..args.seed.saturating_add(args.runs) {
        let run = sim::run(seed, detail);
        print!("{}", run.trace);
        played += 1;
        run.endings.into_iter().for_each(|ending| *endings.entry(ending).or_default() += 1);
        if !run.faults.is_empty() {
            failed += 1;
            println!("seed {seed} FAILED; to see it: {}", sim::replay(seed));
            run.faults.iter().for_each(|fault| println!("  {fault}"));
            if failed >= args.stop_after {
                break;
            }
        }
    }
    println!("runs={played}");
    println!("runs_failed={failed}");
    for (ending, calls) in endings {
        println!("calls: {calls} {ending}");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
