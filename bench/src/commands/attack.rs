//! `moorline-bench attack`: forged media from this network namespace.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use moorline_bench::attack::{Content, Plan, Report, Source, Target, run as attack};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use super::Outcome;
use super::garbage::{Ports, parse_ports};

/// Packets leave by a raw socket, which needs root or CAP_NET_RAW. For networks of your own.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Whose packets they seem to be.
    #[arg(long, value_enum)]
    source: SourceArg,
    /// The stranger's address.
    #[arg(long, value_name = "ADDR", required_if_eq("source", "stranger"))]
    from: Option<Ipv4Addr>,
    /// What they are.
    #[arg(long, value_enum, default_value = "rtp")]
    content: ContentArg,
    /// Lines of PARTY RELAY, each an address with a port: where a party sends from, and to which port of the relay.
    #[arg(long, value_name = "FILE")]
    flows: Option<PathBuf>,
    /// The relay's ports, where the parties do not matter: an address with a port or a range of ports, such as
    /// 192.0.2.1:16384-16400. May be given several times.
    #[arg(long, value_name = "ADDR:PORT[-PORT]", value_parser = parse_ports)]
    to: Vec<Ports>,
    /// Attack only this many of the ports.
    #[arg(long, value_name = "COUNT")]
    only: Option<usize>,
    /// Datagrams per second, over all ports.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    rate: u32,
    /// How long, in seconds.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Determines everything that looks random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum SourceArg {
    /// An address that is no party of any call.
    Stranger,
    /// The party's address, but not its port.
    Neighbour,
    /// The party's address and port.
    Party,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ContentArg {
    /// Proper RTP of a new SSRC each, to even ports.
    Rtp,
    /// An RTP stream with one SSRC and consecutive numbers to each even port.
    Stream,
    /// Proper RTCP with goodbyes, to odd ports.
    Rtcp,
    /// Empty, short, STUN, DTLS, noise and fragments, to all ports.
    Garbage,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let source = match (args.source, args.from) {
        (SourceArg::Stranger, Some(from)) => Source::Stranger(from),
        (SourceArg::Stranger, None) => return Err("--source stranger needs --from".into()),
        (SourceArg::Neighbour, _) => Source::Neighbour,
        (SourceArg::Party, _) => Source::Party,
    };
    let content = match args.content {
        ContentArg::Rtp => Content::Rtp,
        ContentArg::Stream => Content::Stream,
        ContentArg::Rtcp => Content::Rtcp,
        ContentArg::Garbage => Content::Garbage,
    };
    let mut targets = targets(args)?;
    match args.content {
        ContentArg::Rtp | ContentArg::Stream => targets.retain(|target| target.to.port() % 2 == 0),
        ContentArg::Rtcp => targets.retain(|target| target.to.port() % 2 == 1),
        ContentArg::Garbage => {}
    }
    targets.truncate(args.only.unwrap_or(usize::MAX));
    let ports = targets.len();
    let duration = Duration::from_secs(args.seconds);
    let report = attack(&Plan { targets, source, content, rate_per_s: args.rate, duration, seed: args.seed })?;
    print(&report, ports)?;
    Ok(ExitCode::SUCCESS)
}

fn print(report: &Report, ports: usize) -> Result<(), Box<dyn std::error::Error>> {
    let used = getrusage(UsageWho::RUSAGE_SELF)?;
    let cpu_us = used.user_time().num_microseconds() + used.system_time().num_microseconds();
    let elapsed_us = report.elapsed.as_micros().max(1) as u64;
    println!("attack_ports={ports}");
    println!("attack_datagrams={}", report.datagrams);
    println!("attack_lone_fragments={}", report.lone_fragments);
    println!("attack_refused_by_kernel={}", report.refused);
    println!("attack_rate={}", (report.datagrams + report.lone_fragments) * 1_000_000 / elapsed_us);
    println!("attack_cpu_percent={}", cpu_us * 100 / elapsed_us as i64);
    Ok(())
}

fn targets(args: &Args) -> Result<Vec<Target>, String> {
    let mut targets = Vec::new();
    if let Some(path) = &args.flows {
        let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| failed(&error))?;
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
            targets.push(parse_flow(line).ok_or_else(|| failed(&format!("line {number} is not PARTY RELAY: {line}")))?);
        }
    }
    for ports in &args.to {
        let SocketAddr::V4(first) = ports.first else { return Err(format!("{}: IPv4 only", ports.first)) };
        let all = first.port()..=ports.last;
        targets.extend(all.map(|port| Target { to: SocketAddrV4::new(*first.ip(), port), party: None }));
    }
    Ok(targets)
}

fn parse_flow(line: &str) -> Option<Target> {
    let mut words = line.split_whitespace();
    let (party, to) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Target { to, party: Some(party) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_read() {
        let target = parse_flow("198.51.100.20:40000 47.103.169.70:16384").unwrap();
        assert_eq!(target.to, "47.103.169.70:16384".parse().unwrap());
        assert_eq!(target.party, Some("198.51.100.20:40000".parse().unwrap()));
        for line in
            ["", "198.51.100.20:40000", "198.51.100.20 47.103.169.70:1", "1.2.3.4:1 1.2.3.4:2 x", "[::1]:1 [::1]:2"]
        {
            assert_eq!(parse_flow(line), None, "{line}");
        }
    }
}
