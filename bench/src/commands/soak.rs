//! `moorline-bench soak`: a relay under steady media while sessions come and go, watched for leaks and drift.

mod churn;
mod client;
mod media;
mod verdict;

use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use moorline_bench::media::{Endpoint, MediaPlan, Pace, run as relay_media};

use super::process::{Error, Subject, pin};
use super::{Outcome, process};
use churn::Churn;
use client::Client;
use media::Media;
use verdict::{Limits, Sample, Verdict};

/// Relay steady calls while sessions come and go; exit with 1 if memory leaks or latency drifts.
///
/// On loopback, one shard: the media process is asked every few seconds what it holds and how long packets stay in
/// it. The first quarter warms up and is not judged. With --quiet-seconds sessions come and go only after that time,
/// and residence before is compared with residence while they do.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// Steady two-way calls: each is 100 packets a second into the relay.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    calls: u32,
    /// Other sessions opened a second, without media. As many are closed.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=20_000))]
    opens: u32,
    /// How long each of those is held.
    #[arg(long, default_value_t = 2.0)]
    hold_seconds: f64,
    /// The time between samples.
    #[arg(long, default_value_t = 10.0)]
    sample_seconds: f64,
    /// How long sessions do not come and go at first.
    #[arg(long, default_value_t = 0.0)]
    quiet_seconds: f64,
    #[command(flatten)]
    subject: Subject,
}

pub(crate) fn run(args: &Args) -> Outcome {
    let executable = args.subject.executable()?;
    println!("{}, {}", process::version(&executable)?, executable.display());
    let held = (f64::from(args.opens) * args.hold_seconds).ceil() as u32;
    let media =
        Media::start(&executable, args.subject.relay_core, args.calls + 2 * held + 100, &args.subject.settings)?;
    let side = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let (a, b) = (Endpoint::bind(side, false)?, Endpoint::bind(side, false)?);

    let empty_bytes = media.resident_bytes()?;
    let mut client = Client::connect(&media.control)?;
    let began = Instant::now();
    let pairs = client.open_all(args.calls, (a.address(), b.address()))?;
    let opening = began.elapsed();
    let each = (media.resident_bytes()?.saturating_sub(empty_bytes)) as f64 / f64::from(args.calls) / 1024.0;
    println!("{} sessions opened in {:.0} ms, {each:.1} KiB each", args.calls, opening.as_secs_f64() * 1e3);
    println!(
        "{} packets/s into the relay on core {}, {} sessions a second opened and closed, each held {} s",
        args.calls * 100,
        args.subject.relay_core,
        args.opens,
        args.hold_seconds
    );

    let churn = Churn {
        per_second: args.opens,
        hold: Duration::from_secs_f64(args.hold_seconds),
        begins: Duration::from_secs_f64(args.quiet_seconds),
        sides: (a.address(), b.address()),
    };
    let (stop, stopped) = mpsc::channel::<()>();
    let churning = std::thread::spawn(move || churn.run(client, &stopped).map_err(|error| error.to_string()));
    pin(args.subject.load_core)?;
    let plan = MediaPlan {
        pairs,
        a: vec![a],
        b: vec![b],
        duration: Duration::from_secs_f64(args.minutes * 60.0),
        warm_up: Duration::ZERO,
        packet_ms: 20,
        pace: Some(Pace { interval: Duration::from_millis(20), tick: Duration::from_micros(500) }),
        rtcp: false,
        seed: 1,
    };
    let mut watch = Watch { media: &media, samples: Vec::new(), every: args.sample_seconds, last: None, failure: None };
    let start = Instant::now();
    println!("{}", Sample::HEADER);
    let report = relay_media(plan, &mut |_, _| watch.look(start.elapsed()))?;
    let Watch { samples, failure, .. } = watch;
    // The end of the channel stops it; what it held is closed, and then the steady calls.
    drop(stop);
    let churned = churning.join().map_err(|_| "the client panicked")??;
    if let Some(failure) = failure {
        return Err(failure);
    }
    let left = media.metrics()?.value("moorline_media_sessions", &[]).unwrap_or(f64::NAN);
    media.stop()?;

    println!(
        "\nmedia: {} packets sent, {} lost, one way p50 {:.0} µs, p99 {:.0} µs",
        report.packets_sent,
        report.lost,
        report.one_way.value_at_quantile(0.5) as f64 / 1e3,
        report.one_way.value_at_quantile(0.99) as f64 / 1e3
    );
    println!("{churned}");
    let verdict = Verdict::of(&samples, args.quiet_seconds, Limits::default());
    println!("{verdict}");
    let (lost, faults) = (report.lost as f64 / report.packets_sent.max(1) as f64, churned.refused + left as u64);
    if left != 0.0 {
        println!("{left} sessions were left behind");
    }
    println!("lost_percent={:.4}", lost * 100.0);
    println!("session_kib={each:.1}");
    println!("{}", churned.key_values());
    println!("{}", verdict.key_values());
    Ok(if verdict.is_good() && faults == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Takes samples while the load runs.
struct Watch<'a> {
    media: &'a Media,
    samples: Vec<Sample>,
    every: f64,
    last: Option<media::Look>,
    failure: Option<Error>,
}

impl Watch<'_> {
    fn look(&mut self, elapsed: Duration) {
        let due = (self.samples.len() + 1) as f64 * self.every;
        let first = self.last.is_none();
        if self.failure.is_some() || (!first && elapsed.as_secs_f64() < due) {
            return;
        }
        match self.media.look() {
            Ok(look) => {
                if let Some(last) = &self.last {
                    let sample = look.since(last, elapsed.as_secs_f64());
                    println!("{sample}");
                    self.samples.push(sample);
                }
                self.last = Some(look);
            }
            Err(error) => self.failure = Some(error),
        }
    }
}
