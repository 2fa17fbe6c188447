//! What depends on the number of calls: memory, cost per packet, and the opening of many while others talk.

use std::time::{Duration, Instant};

use super::measure::{Figures, Traffic, measure};
use super::moorline::{self, Moorline};
use super::system::{Kind, Setup, System as _};
use crate::commands::process::{Error, pin};

/// Memory per call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory {
    /// What the process's resident memory grew by.
    pub(super) process_bytes: f64,
    /// What the kernel's own grew by: sockets, maps, connection tables.
    pub(super) kernel_bytes: f64,
}

/// Opens calls, sends through all of them, and reads what memory grew by.
pub(super) fn memory(setup: &Setup, kind: Kind, calls: u32) -> Result<Memory, Error> {
    let mut system = kind.start(setup)?;
    // The first calls bring what is there once.
    measure(&mut *system, setup, Traffic { calls: calls.min(10), interval_ms: 20, seconds: 1 })?;
    let resident =
        |system: &dyn super::system::System| system.process().map_or(Ok(0), |process| process.resident_bytes());
    let before = (resident(&*system)?, slab_bytes()?);
    measure(&mut *system, setup, Traffic { calls, interval_ms: 100, seconds: 2 })?;
    let after = (resident(&*system)?, slab_bytes()?);
    system.stop(setup)?;
    let per_call = |before: u64, after: u64| (after as f64 - before as f64) / f64::from(calls);
    let memory =
        Memory { process_bytes: per_call(before.0, after.0), kernel_bytes: per_call(before.1, after.1).max(0.0) };
    println!(
        "{:<10} {calls} calls: {:.0} bytes each in the process, about {:.0} in the kernel",
        kind.name(),
        memory.process_bytes,
        memory.kernel_bytes
    );
    Ok(memory)
}

fn slab_bytes() -> Result<u64, Error> {
    let text = std::fs::read_to_string("/proc/meminfo")?;
    let kib = text.lines().find_map(|line| line.strip_prefix("Slab:")?.trim().strip_suffix(" kB"));
    Ok(kib.ok_or("no Slab in /proc/meminfo")?.parse::<u64>()? * 1024)
}

/// CPU per packet with so many calls and always the same packets a second. In one process that grows, so that only
/// the number differs. What cannot be opened ends it.
pub(super) fn cost_by_calls(
    setup: &Setup,
    kind: Kind,
    rate: u32,
    counts: &[u32],
    seconds: u64,
) -> Result<Vec<f64>, Error> {
    let mut system = kind.start(setup)?;
    let mut costs = Vec::new();
    for calls in counts {
        let interval_ms = (calls * 2000 / rate).max(1);
        let figures = match measure(&mut *system, setup, Traffic { calls: *calls, interval_ms, seconds }) {
            Ok(figures) => figures,
            Err(error) => {
                println!("{:<10} {calls} calls: {error}", kind.name());
                break;
            }
        };
        println!("{:<10} {calls} calls, a packet every {interval_ms} ms: {figures}", kind.name());
        costs.push(figures.packet_ns);
    }
    system.stop(setup)?;
    Ok(costs)
}

/// What opening sessions does to calls that talk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opens {
    /// Residence p99, as the media process measures it, and one-way p99, with and without.
    pub(super) residence_ratio: f64,
    pub(super) one_way_ratio: f64,
    /// Sessions a second that were opened.
    pub(super) rate: f64,
}

const TALKING: u32 = 500;
const OPENED: u32 = 20_000;
const OPENED_PER_SECOND: u32 = 5_000;

/// 500 calls talk, and then 500 calls talk while 20,000 sessions open at 5,000 a second.
pub(super) fn opens(setup: &Setup) -> Result<Opens, Error> {
    let mut system = Moorline::start(setup, &[], &[setup.relay_core], setup.capacity)?;
    // With its warm-up and its end, this lasts as long as the opening.
    let traffic = Traffic { calls: TALKING, interval_ms: 20, seconds: u64::from(OPENED / OPENED_PER_SECOND) - 1 };
    let alone = measure(&mut system, setup, traffic)?;
    println!("{TALKING} calls, nothing opened: {alone}");
    let command = system.opening(OPENED as usize, Some(OPENED_PER_SECOND));
    let core = setup.load_core;
    let opener = std::thread::spawn(move || -> Result<(std::process::Child, Duration), String> {
        pin(core).map_err(|error| error.to_string())?;
        let start = Instant::now();
        let (holder, _) = moorline::open(command, OPENED as usize).map_err(|error| error.to_string())?;
        Ok((holder, start.elapsed()))
    });
    let beside = measure(&mut system, setup, traffic)?;
    let (mut holder, time) = opener.join().map_err(|_| "the opening of sessions failed")??;
    let rate = f64::from(OPENED) / time.as_secs_f64();
    println!("{TALKING} calls, while {OPENED} sessions opened in {:.2} s: {beside}", time.as_secs_f64());
    holder.wait()?;
    Box::new(system).stop(setup)?;
    let residence = |figures: &Figures| figures.residence_us.map_or(f64::NAN, |[_, p99]| p99);
    Ok(Opens {
        residence_ratio: residence(&beside) / residence(&alone),
        one_way_ratio: beside.one_way_us[1] / alone.one_way_us[1],
        rate,
    })
}
