//! `moorline-bench relay`: what relaying a packet costs, on each datapath, on this machine, in one run.

mod measure;
mod media;

use std::process::ExitCode;
use std::time::Duration;

use super::{Outcome, process};
use measure::{Figures, Load};

/// The datapaths are measured in turn, so that what the machine does besides falls on both alike; the
/// medians are shown.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How many two-way calls: each is 100 packets a second into the relay.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=4000))]
    calls: u32,
    /// How long each measurement lasts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many measurements of each datapath.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// The datapaths to compare.
    #[arg(long, value_delimiter = ',', default_value = "io_uring,epoll")]
    datapaths: Vec<String>,
    /// The CPU core of the relay.
    #[arg(long, default_value_t = 0)]
    relay_core: usize,
    /// The CPU core of the load.
    #[arg(long, default_value_t = 1)]
    load_core: usize,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let executable = process::build()?;
    let version = process::version(&executable)?;
    println!("{version}, built in the release profile");
    println!(
        "{} calls, {} packets/s into the relay on core {}, load on core {}, {} rounds of {} s each",
        args.calls,
        args.calls * 100,
        args.relay_core,
        args.load_core,
        args.rounds,
        args.seconds
    );
    let load = Load { calls: args.calls, duration: Duration::from_secs(args.seconds), core: args.load_core };
    let mut rounds: Vec<Vec<Figures>> = args.datapaths.iter().map(|_| Vec::new()).collect();
    for round in 1..=args.rounds {
        for (datapath, figures) in args.datapaths.iter().zip(&mut rounds) {
            let media = media::Media::start(&executable, datapath, args.calls, args.relay_core)?;
            let measured = measure::measure(&media, &load)?;
            media.stop()?;
            println!("round {round} {datapath:<9} {measured}");
            figures.push(measured);
        }
    }

    println!("\nmedians\n{}", Figures::HEADER);
    let medians: Vec<Figures> = rounds.iter().map(|rounds| Figures::median(rounds)).collect();
    for (datapath, median) in args.datapaths.iter().zip(&medians) {
        println!("{}", median.row(datapath));
    }
    println!(
        "A packet is one receive and one send. CPU is that of the shard's thread by /proc/PID/task/TID/schedstat; in \
         parentheses that of the whole process.\nOn loopback the kernel does the receiver's softirq work in the \
         sender's context: the cost of receiving is in part the load's, and that of sending includes delivery to the \
         load. Compare the datapaths with each other, not with a network card."
    );
    println!("version={}", version.trim_start_matches("moorline "));
    println!("calls={}", args.calls);
    for (datapath, median) in args.datapaths.iter().zip(&medians) {
        println!("{}", median.key_values(datapath));
    }
    let is_complete = rounds.iter().flatten().all(|figures| figures.relayed > 0);
    Ok(if is_complete { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
