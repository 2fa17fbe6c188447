//! `moorline-bench relay`: what relaying a packet costs, beside rtpengine and the kernel alone, on this machine, in
//! one run.

mod bare;
mod bencode;
mod born;
mod cpu;
mod forward;
mod lab;
mod links;
mod measure;
mod moorline;
mod queues;
mod rate;
mod rtpengine;
mod search;
mod sessions;
mod steady;
mod system;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::Outcome;
use super::process::{self, Error, Subject};
use lab::Lab;
use links::Links;
use measure::{Figures, Traffic, measure};
use system::{Kind, Setup};
use table::{COMPARED, Row};

/// Measure the relay beside rtpengine and the kernel alone, in network namespaces of its own. Needs root.
///
/// The systems are measured in turn, on the same core, so that what the machine does besides falls on all alike; the
/// medians are shown, and rounds in which a peer's own figure moves by more than a fifth are measured again. Traffic
/// is two-way calls with 160 bytes every 20 ms, spread evenly in time; each packet that comes back is verified for
/// content and source. More packets a second are more calls.
///
/// cpu: CPU per packet, one receive and one send, at 100,000 packets/s: every thread of the relay's process, and the
/// kernel's threads that receive for it (threaded NAPI, pinned to the relay's core) with that core's ksoftirqd, by
/// schedstat, over the packets that came back.
///
/// latency: one way, from just before the send until the kernel's receive timestamp, at 50,000, 100,000 and 150,000
/// packets/s.
///
/// rate: the highest rate at which at most 0.2 % are not relayed over --seconds, and beside it what the kernel alone
/// does not relay then. What was relayed and found the ring of the load's end full (256 packets, some milliseconds in
/// which the load's core did not run) is told apart. The bare bypasses are left out.
///
/// memory: what the process's resident memory grows by, for each of --calls.
///
/// calls: CPU per packet at the same packets a second with 100, 1,000 and 10,000 calls.
///
/// opens: p99 while 20,000 sessions open at 5,000 a second, over p99 without.
///
/// limit: with frames that are born in XDP and counted and dropped there when they come back, so that no sockets of a load
/// bound the rate: the highest of which at most 1 % is lost, and for systems that bypass the kernel's stack the CPU per
/// packet at 200,000 packets/s.
///
/// queues: for systems that bypass the kernel's stack, how much more two queues on two cores carry than one, by CPU per packet.
///
/// shards: CPU per packet with two shards, on the relay's core and on the load's, against one.
///
/// The kernel's own threads keep off the relay's core meanwhile, and have their cores back at the end.
///
/// Times of one machine mean little on another: compare what stands in one table. `others` is what the
/// machine did besides, `skipped` what the load did not get to in time. The load never sleeps: how far it gets is
/// what it gets through the kernel alone.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// What to measure.
    #[arg(
        long,
        value_delimiter = ',',
        value_enum,
        default_value = "cpu,latency,rate,memory,calls,opens,shards,limit,queues"
    )]
    measure: Vec<Measure>,
    /// The systems, in turn: by default moorline,offload,af_xdp,bare_xdp,bare_af_xdp,rtpengine,nft. Peers that are not
    /// installed are left out, and so are bypasses of the kernel's stack that do not start; these are measured for cpu,
    /// latency and limit, and Moorline's own for rate too.
    #[arg(long, value_delimiter = ',', value_enum)]
    systems: Vec<Kind>,
    /// How many calls for cpu and memory: each is 100 packets a second into the relay.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    calls: u32,
    /// How long each measurement lasts, without its warm-up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How many rounds of cpu and latency.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Packets a second for latency.
    #[arg(long, value_delimiter = ',', default_value = "50000,100000,150000",
        value_parser = clap::value_parser!(u32).range(1000..=500_000))]
    rates: Vec<u32>,
    /// Packets a second where the search for the highest rate begins.
    #[arg(long, default_value_t = 120_000, value_parser = clap::value_parser!(u32).range(10_000..=500_000))]
    guess: u32,
    /// The numbers of calls of `calls`, all at the same packets a second.
    #[arg(long, value_delimiter = ',', default_value = "100,1000,10000",
        value_parser = clap::value_parser!(u32).range(10..=20_000))]
    counts: Vec<u32>,
    /// The packets a second of `calls`: 100,000 means a packet every 2 ms with 100 calls, every 200 ms with 10,000.
    #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1000..=200_000))]
    counts_rate: u32,
    /// The time between bursts of the load, in microseconds: 100 means bursts of 10 packets at 100,000 packets/s.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(10..=1000))]
    tick_us: u64,
    #[command(flatten)]
    subject: Subject,
    /// Moorline alone unless --systems says otherwise, each system started once for three measurements of 8 s: half a
    /// minute for one.
    #[arg(long, conflicts_with_all = ["measure", "seconds", "rounds"])]
    quick: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Measure {
    Cpu,
    Latency,
    Rate,
    Memory,
    Calls,
    Opens,
    Shards,
    Limit,
    Queues,
}

/// The most sessions at once that anything here opens.
const CAPACITY: u32 = 21_000;

pub(crate) fn run(args: &Args) -> Outcome {
    let mut kinds = match &args.systems[..] {
        [] if args.quick => vec![Kind::Moorline],
        [] => {
            let (own, peers) = ([Kind::Moorline, Kind::Offload, Kind::AfXdp], [Kind::Rtpengine, Kind::Nft]);
            [&own[..], &[Kind::BareXdp, Kind::BareAfXdp], &peers].concat()
        }
        systems => systems.to_vec(),
    };
    kinds.retain(|kind| {
        let missing = kind.missing();
        missing.inspect(|package| println!("without {}: apt-get install {package}", kind.name())).is_none()
    });
    let executable = args.subject.executable()?;
    // Before the lab, which has no network.
    let version = process::version(&executable)?;
    raise_open_files();
    let directory = std::env::temp_dir().join(format!("moorline-relay-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    let mut setup = Setup {
        executable,
        directory,
        lab: Lab::enter(args.subject.relay_core, args.subject.load_core)?,
        links: Links::enter(args.subject.relay_core, args.subject.load_core)?,
        relay_core: args.subject.relay_core,
        load_core: args.subject.load_core,
        capacity: if args.quick { args.calls.max(1000) } else { CAPACITY },
        tick: Duration::from_micros(args.tick_us),
        settings: args.subject.settings.clone(),
    };
    println!("{version}, {}", setup.executable.display());
    println!("relay on core {}, load on core {}", args.subject.relay_core, args.subject.load_core);
    let is_limit = args.measure.contains(&Measure::Limit);
    if bare::missing().is_none() && (is_limit || kinds.iter().any(|kind| kind.is_bypass())) {
        bare::build(&setup.forwarders())?;
    }
    kinds.retain(|kind| {
        let refusal = kind.refusal(&setup);
        refusal.inspect(|reason| println!("without {}: {reason}", kind.name())).is_none()
    });
    let mut rows: Vec<Row> = kinds.iter().map(|kind| Row::new(*kind)).collect();
    let mut values = Vec::new();
    if args.quick {
        quick(args, &setup, &mut rows)?;
    } else {
        steady(args, &setup, &kinds, &mut rows)?;
        highest(args, &setup, &mut rows)?;
        values = of_sessions(args, &setup, &mut rows)?;
        limit(args, &setup, &mut rows)?;
        values.extend(two_queues(args, &mut setup, &kinds)?);
    }
    println!("\nmedians\n{}", table::table(&rows));
    println!("version={}", version.trim_start_matches("moorline "));
    for (key, value) in table::key_values(&rows).into_iter().chain(values) {
        let digits = if ["ratio", "percent", "_to_"].iter().any(|kind| key.contains(kind)) { 3 } else { 0 };
        println!("{key}={value:.digits$}");
    }
    // What a failed run leaves there tells why; this one needs it no more.
    std::fs::remove_dir_all(&setup.directory)?;
    let is_good = |figures: &Figures| figures.rate > 0.0 && figures.wrong == 0;
    let is_good = rows.iter().flat_map(|row| &row.steady).all(|(_, figures)| is_good(figures));
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn quick(args: &Args, setup: &Setup, rows: &mut [Row]) -> Result<(), Error> {
    let traffic = Traffic { calls: args.calls, interval_ms: 20, seconds: 8 };
    for row in rows {
        let mut system = row.kind.start(setup)?;
        let mut rounds = Vec::new();
        for round in 1..=3 {
            let figures = measure(&mut *system, setup, traffic)?;
            println!("round {round} {:<10} {figures}", row.kind.name());
            rounds.push(figures);
        }
        system.stop(setup)?;
        row.steady.push((traffic.rate(), Figures::median(&rounds)));
    }
    Ok(())
}

/// CPU and latency; the rate at which systems are compared serves both.
fn steady(args: &Args, setup: &Setup, kinds: &[Kind], rows: &mut [Row]) -> Result<(), Error> {
    let mut all = Vec::new();
    if args.measure.contains(&Measure::Cpu) {
        all.push(Traffic { calls: args.calls, interval_ms: 20, seconds: args.seconds });
    }
    if args.measure.contains(&Measure::Latency) {
        let more = args.rates.iter().map(|rate| Traffic::at(*rate, args.seconds));
        let known: Vec<u32> = all.iter().map(|traffic| traffic.rate()).collect();
        all.extend(more.filter(|traffic| !known.contains(&traffic.rate())));
    }
    for traffic in all {
        let medians = steady::measure_steady(setup, kinds, traffic, args.rounds)?;
        for (row, median) in rows.iter_mut().zip(medians) {
            row.steady.push((traffic.rate(), median));
        }
    }
    Ok(())
}

fn highest(args: &Args, setup: &Setup, rows: &mut [Row]) -> Result<(), Error> {
    if !args.measure.contains(&Measure::Rate) {
        return Ok(());
    }
    println!("\nhighest rate without loss");
    for row in rows.iter_mut().filter(|row| row.kind.is_moorline() || !row.kind.is_bypass()) {
        let highest = rate::highest(setup, row.kind, args.guess, args.seconds)?;
        if highest.rate > 0 && row.kind != Kind::Nft && Kind::Nft.missing().is_none() {
            row.control_loss = Some(rate::loss_at(setup, Kind::Nft, highest.rate, args.seconds)?);
        }
        let more = if highest.is_bounded_by_load { " or more: the load brought no more" } else { "" };
        println!("{:<10} holds {} packets/s{more}", row.kind.name(), highest.rate);
        row.highest = Some(highest);
    }
    Ok(())
}

/// What depends on the number of sessions; and what belongs to no row of the table.
fn of_sessions(args: &Args, setup: &Setup, rows: &mut [Row]) -> Result<Vec<(String, f64)>, Error> {
    let mut values = Vec::new();
    let is_wanted = |measure| args.measure.contains(&measure);
    if is_wanted(Measure::Memory) {
        println!("\nmemory");
        for row in rows.iter_mut().filter(|row| !row.kind.is_bypass()) {
            row.memory = Some(sessions::memory(setup, row.kind, args.calls)?);
        }
    }
    let moorline = rows.iter().map(|row| row.kind).find(|kind| kind.is_moorline() && !kind.is_bypass());
    if let (Some(moorline), true) = (moorline, is_wanted(Measure::Calls)) {
        println!("\n{} packets/s with more and more calls", args.counts_rate);
        let costs = sessions::cost_by_calls(setup, moorline, args.counts_rate, &args.counts, args.seconds)?;
        values.extend(
            args.counts.iter().zip(&costs).map(|(calls, cost)| (format!("cpu_per_packet_ns_{calls}_calls"), *cost)),
        );
        // Told of all of them or not at all.
        if let (Some(first), Some(last), true) = (costs.first(), costs.last(), costs.len() == args.counts.len()) {
            values.push(("calls_cpu_ratio".to_owned(), last / first));
        }
    }
    if is_wanted(Measure::Opens) {
        println!("\nopening sessions beside calls");
        setup.links.whole_checksums(false)?;
        match sessions::opens(setup) {
            Ok(opens) => {
                values.push(("opens_per_second".to_owned(), opens.rate));
                values.push(("opens_p99_ratio".to_owned(), opens.residence_ratio));
                values.push(("opens_one_way_p99_ratio".to_owned(), opens.one_way_ratio));
            }
            // Without shared sockets, 20,000 sessions need more descriptors than many hosts give.
            Err(error) => println!("not measured: {error}"),
        }
    }
    if is_wanted(Measure::Shards) {
        let traffic = Traffic::at(COMPARED / 2, args.seconds);
        let medians = steady::measure_steady(setup, &[Kind::Moorline, Kind::TwoShards], traffic, args.rounds)?;
        if let [one, two] = &medians[..] {
            // Two cores carry twice what one does, less what a packet costs more.
            values.push(("two_shard_ratio".to_owned(), 2.0 * one.packet_ns / two.packet_ns));
        }
    }
    Ok(values)
}

/// What each carries of frames born in XDP.
fn limit(args: &Args, setup: &Setup, rows: &mut [Row]) -> Result<(), Error> {
    let kinds: Vec<Kind> = rows.iter().map(|row| row.kind).collect();
    if !args.measure.contains(&Measure::Limit) || kinds.is_empty() {
        return Ok(());
    }
    if let Some(tool) = bare::missing() {
        println!("\nno frames born in XDP: {tool} is not installed");
        return Ok(());
    }
    println!("\nframes born in XDP, {} calls", args.calls);
    let measured = born::measure(setup, &kinds, args.calls, args.rounds)?;
    for (row, born) in rows.iter_mut().zip(measured) {
        row.born = Some(born);
    }
    Ok(())
}

/// How much more two queues carry than one: that of the offload, or of the bare relay in the driver, and of each system.
fn two_queues(args: &Args, setup: &mut Setup, kinds: &[Kind]) -> Result<Vec<(String, f64)>, Error> {
    // A bare AF_XDP relay has a socket for the first queue only.
    let is_wanted = |kind: &Kind| kind.is_bypass() && *kind != Kind::BareAfXdp;
    let kinds: Vec<Kind> = kinds.iter().copied().filter(is_wanted).collect();
    if !args.measure.contains(&Measure::Queues) || kinds.is_empty() {
        return Ok(Vec::new());
    }
    let traffic = Traffic::at(COMPARED / 2, args.seconds);
    println!("\ntwo queues against one, {} packets/s", traffic.rate());
    let ratios = queues::two_against_one(setup, &kinds, traffic, args.rounds)?;
    let named = kinds.iter().zip(&ratios).map(|(kind, ratio)| (format!("{}_two_queue_ratio", kind.name()), *ratio));
    let first = ratios.first().map(|ratio| ("two_queue_ratio".to_owned(), *ratio));
    Ok(first.into_iter().chain(named).collect())
}

/// A socket for every port of every call takes more descriptors than most systems give. Without the right to them,
/// what does not fit says so.
fn raise_open_files() {
    const WANTED: u64 = 1 << 20;
    if getrlimit(Resource::RLIMIT_NOFILE).is_ok_and(|(_, hard)| hard < WANTED) {
        let _ = setrlimit(Resource::RLIMIT_NOFILE, WANTED, WANTED);
    }
}
