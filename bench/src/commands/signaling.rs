//! `moorline-bench signaling`: what a call costs in Moorline, and beside it in Kamailio with rtpengine, on this
//! machine, in one run.

mod figures;
mod ladder;
mod measure;
mod parser;
mod priority;
mod sipp;
mod system;

use std::path::PathBuf;
use std::process::ExitCode;

use super::Outcome;
use super::process::{self, Error, median};
use figures::{Figures, Steady};
use ladder::Ladder;
use parser::Parser;
use priority::Priority;
use system::{Addresses, Kind, Setup, System};

/// Measure signaling: CPU per call, added delay, calls per second and memory, beside Kamailio and rtpengine.
///
/// The systems are measured in turn, so that what the machine does besides falls on both alike; the medians
/// are shown. SIPp is the load, on addresses in 127.0.0.0/8 and on the same cores: what it uses is not there for
/// the systems. Each call is INVITE, 100, 180, 200, ACK and BYE on both sides, with a media session opened, changed
/// by the answer, and closed, and no RTP.
///
/// cpu: CPU time, in user and kernel mode, of every process and thread of a system (schedstat), by the calls of a
/// window at --rate, and from calls of an own probe among them the time from INVITE to 200 by the kernel's
/// timestamps, in microseconds. A control run without a system is subtracted from that.
///
/// rate: the highest rate held for --seconds without a failed call, of the rungs of --rates, and of halvings
/// between them.
///
/// memory: what the resident memory of Moorline's signaling process grows by, for each of --held calls.
///
/// parser: time and allocations of reading an INVITE.
///
/// The peers are Debian's packages kamailio, with topology hiding, and rtpengine-daemon. Without them Moorline is
/// measured alone, and no ratio is told. SIPp is in the package sip-tester.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Calls per second at which CPU and delay are measured.
    #[arg(long, default_value_t = 800, value_parser = clap::value_parser!(u32).range(100..=10_000))]
    rate: u32,
    /// How long each measurement lasts, without its warm-up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many measurements of each kind and system.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// The rungs: rates to try, ascending.
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "800,1000,1200,1600,2000,2400,3000,3600,4200,5000,6000,7000,8000",
        value_parser = clap::value_parser!(u32).range(1..=20_000)
    )]
    rates: Vec<u32>,
    /// How many calls to hold for the measurement of memory. What the limit of open files keeps the media process
    /// from carrying, up to a tenth, is left out of the sum.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=50_000))]
    held: u32,
    /// What to measure.
    #[arg(long, value_delimiter = ',', value_enum, default_value = "parser,cpu,rate,memory")]
    measure: Vec<Measure>,
    /// The `moorline` to measure, such as one built before a change; without it the one of this source is built.
    #[arg(long, value_name = "FILE")]
    executable: Option<PathBuf>,
    /// Measure Moorline alone.
    #[arg(long)]
    alone: bool,
    /// Kamailio's worker processes for its one UDP address. Fewer wait, more compete.
    #[arg(long, default_value_t = 4)]
    kamailio_children: u32,
    /// rtpengine's worker threads.
    #[arg(long, default_value_t = 1)]
    rtpengine_threads: u32,
    /// A smoke test: one short round at a low rate, a few rungs, a few calls held. Its figures mean little.
    #[arg(long, conflicts_with_all = ["rate", "seconds", "rounds", "rates", "held"])]
    quick: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Measure {
    Parser,
    Cpu,
    Rate,
    Memory,
}

/// Halvings of the gap between the last rung held and the first that was not.
const HALVINGS: u32 = 2;

pub(crate) fn run(args: &Args) -> Outcome {
    let plan = Plan::of(args);
    let absent = system::missing(None);
    if !absent.is_empty() {
        return Err(format!("not installed: apt-get install {}", absent.join(" ")).into());
    }
    let mut kinds = vec![Kind::Moorline];
    let absent = system::missing(Kind::Peers);
    if absent.is_empty() {
        kinds.extend((!args.alone).then_some(Kind::Peers));
    } else if !args.alone {
        println!("Moorline alone: the peers are not installed (apt-get install {})", absent.join(" "));
    }
    let executable = args.executable.clone().map_or_else(process::build, Ok)?;
    let version = process::version(&executable)?;
    println!("{version}, {}", executable.display());
    // Before the priority is raised: it builds.
    let parser = args.measure.contains(&Measure::Parser).then(Parser::measure).transpose()?;

    let priority = Priority::raise();
    let raised = if priority.is_raised() { "above" } else { "at the same priority as" };
    println!("{} rounds of {} s each, {raised} other work of this machine", plan.rounds, plan.seconds);
    let directory = std::env::temp_dir().join(format!("moorline-signaling-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let setup = Setup {
        executable,
        directory,
        addresses: Addresses::of(std::process::id()),
        kamailio_children: args.kamailio_children,
        rtpengine_threads: args.rtpengine_threads,
        capacity: 12_000.max(plan.held),
    };
    let mut systems: Vec<Figures> = kinds.into_iter().map(Figures::new).collect();
    if args.measure.contains(&Measure::Cpu) {
        measure_steady(&plan, &setup, &mut systems)?;
    }
    if args.measure.contains(&Measure::Rate) {
        measure_rates(&plan, &setup, &mut systems)?;
    }
    if let (Some(moorline), true) = (systems.first_mut(), args.measure.contains(&Measure::Memory)) {
        let system = System::start(moorline.kind, &setup)?;
        let held = measure::held(&system, &setup, plan.held)?;
        system.stop()?;
        println!("{} calls held, {:.0} bytes each", held.calls, held.bytes_per_call);
        moorline.call_bytes = Some(held.bytes_per_call);
    }
    // What a failed run leaves there tells why; this one needs it no more.
    std::fs::remove_dir_all(&setup.directory)?;
    tell(&version, plan.rate, parser, &systems);
    let is_good = |steady: Steady| steady.failed == 0;
    let [moorline, ..] = &systems[..] else { return Ok(ExitCode::FAILURE) };
    let is_good = moorline.steady.is_none_or(is_good) && moorline.rate != Some(0.0);
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What the arguments come to.
struct Plan {
    rate: u32,
    seconds: u64,
    rounds: u32,
    rates: Vec<u32>,
    held: u32,
}

impl Plan {
    fn of(args: &Args) -> Plan {
        if args.quick {
            return Plan { rate: 200, seconds: 2, rounds: 1, rates: vec![200, 400], held: 200 };
        }
        let Args { rate, seconds, rounds, held, .. } = *args;
        let mut rates = args.rates.clone();
        rates.sort_unstable();
        Plan { rate, seconds, rounds, rates, held }
    }
}

/// CPU and delay: in each round the control run and every system.
fn measure_steady(plan: &Plan, setup: &Setup, systems: &mut [Figures]) -> Result<(), Error> {
    let Plan { rate, seconds, .. } = *plan;
    let mut direct = Vec::new();
    let mut rounds: Vec<Vec<Steady>> = systems.iter().map(|_| Vec::new()).collect();
    for round in 1..=plan.rounds {
        let control = measure::steady(None, setup, rate, seconds)?;
        println!("round {round} {:<20} {}", "no system", control.told());
        direct.push(control);
        for (figures, rounds) in systems.iter().zip(&mut rounds) {
            let system = System::start(figures.kind, setup)?;
            let steady = measure::steady(Some(&system), setup, rate, seconds)?;
            system.stop()?;
            println!("round {round} {:<20} {}", figures.kind.name(), steady.told());
            rounds.push(steady);
        }
    }
    for (figures, rounds) in systems.iter_mut().zip(&rounds) {
        (figures.steady, figures.direct) = (Some(Steady::median(rounds)), Some(Steady::median(&direct)));
    }
    Ok(())
}

/// The highest rate: in each round every system climbs, one rung at a time in turn with the others, started anew
/// for each.
fn measure_rates(plan: &Plan, setup: &Setup, systems: &mut [Figures]) -> Result<(), Error> {
    let mut held: Vec<Vec<f64>> = systems.iter().map(|_| Vec::new()).collect();
    for round in 1..=plan.rounds {
        let mut ladders: Vec<Ladder> = systems.iter().map(|_| Ladder::new(&plan.rates, HALVINGS)).collect();
        while ladders.iter().any(|ladder| ladder.next().is_some()) {
            for (figures, ladder) in systems.iter().zip(&mut ladders) {
                let Some(rate) = ladder.next() else { continue };
                let system = System::start(figures.kind, setup)?;
                let rung = measure::rung(setup, rate, plan.seconds)?;
                // One that was overrun may not stop in order; the next rung starts another.
                let stopped = if system.stop().is_err() { "; it did not stop in order" } else { "" };
                let verdict = if rung.is_held { "held" } else { "not held" };
                println!("round {round} {:<20} {rate} calls/s {verdict}: {}{stopped}", figures.kind.name(), rung.told);
                ladder.note(rate, rung.is_held);
            }
        }
        for ((figures, ladder), held) in systems.iter().zip(&ladders).zip(&mut held) {
            let more = if ladder.is_topped() { ", or more: the top rung" } else { "" };
            println!("round {round} {:<20} holds {} calls/s{more}", figures.kind.name(), ladder.held());
            held.push(f64::from(ladder.held()));
        }
    }
    for (figures, held) in systems.iter_mut().zip(held) {
        figures.rate = Some(median(held));
    }
    Ok(())
}

fn tell(version: &str, rate: u32, parser: Option<Parser>, systems: &[Figures]) {
    println!("\nmedians\n{}", figures::table(systems, rate));
    if let Some(parser) = parser {
        let Parser { message_bytes, parse_ns, parse_check_ns, parse_allocs } = parser;
        println!(
            "reading an INVITE of {message_bytes} bytes: {parse_ns} ns, with every check {parse_check_ns} ns, \
             {parse_allocs} allocations"
        );
    }
    println!(
        "SIPp shares the cores with what is measured. On loopback the kernel delivers a datagram in the context of \
         its sender. INVITE to 200 is timed by an own probe's calls, as SIPp 3.6 reads a clock of 4 ms; a control run \
         without a system is subtracted."
    );
    println!("version={}", version.trim_start_matches("moorline "));
    print!("{}", figures::key_values(systems));
    if let Some(parser) = parser {
        println!(
            "parse_ns={}\nparse_check_ns={}\nparse_allocs={}",
            parser.parse_ns, parser.parse_check_ns, parser.parse_allocs
        );
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, FromArgMatches};

    use super::*;

    fn plan(arguments: &[&str]) -> Result<Plan, clap::Error> {
        let command = Args::augment_args(clap::Command::new("signaling").no_binary_name(true));
        Ok(Plan::of(&Args::from_arg_matches(&command.try_get_matches_from(arguments)?)?))
    }

    #[test]
    fn quick_is_short_and_goes_with_no_other_length() {
        let quick = plan(&["--quick", "--alone"]).unwrap();
        assert_eq!((quick.rate, quick.rounds, quick.held), (200, 1, 200));
        assert!(plan(&["--quick", "--rounds", "3"]).is_err());
    }

    #[test]
    fn rungs_ascend() {
        assert_eq!(plan(&["--rates", "900,100"]).unwrap().rates, [100, 900]);
        assert_eq!(plan(&[]).unwrap().rate, 800);
    }
}
