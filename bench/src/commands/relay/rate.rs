//! The highest rate without loss.

use super::measure::{Figures, Traffic, measure};
use super::search::{Search, Verdict};
use super::system::{Kind, Setup, System};
use crate::commands::process::Error;

/// What may be lost: a veth pair's ring holds 256 packets, and a pause of the machine loses what comes beyond.
const LOSS: f64 = 0.002;
/// At this loss in the first seconds there is nothing more to know.
const OVERRUN: f64 = 0.02;
/// What the load must bring of the rate that is tried.
const OFFERED: f64 = 0.98;

const PROBE_SECONDS: u64 = 2;

/// The highest rate of a system that was held.
#[derive(Debug, Clone, Default)]
pub(super) struct Highest {
    pub(super) rate: u32,
    pub(super) loss: f64,
    /// The load brought no more, so that the system might hold more.
    pub(super) is_bounded_by_load: bool,
}

/// Climbs with a system of that kind, started once.
pub(super) fn highest(setup: &Setup, kind: Kind, guess: u32, seconds: u64) -> Result<Highest, Error> {
    let mut system = kind.start(setup)?;
    let mut search = Search::new(guess);
    let mut highest = Highest::default();
    while let Some(rate) = search.next() {
        let (verdict, figures, is_offered) = attempt(&mut *system, setup, rate, seconds)?;
        println!("{:<10} {rate} packets/s {verdict:?}: {figures}", kind.name());
        highest.is_bounded_by_load |= !is_offered;
        if verdict == Verdict::Held {
            highest.loss = figures.loss();
        }
        search.note(verdict);
    }
    highest.rate = search.held();
    // What was overrun need not stop in order.
    if let Err(error) = system.stop(setup) {
        println!("{:<10} {error}", kind.name());
    }
    Ok(highest)
}

/// The loss of a system at a rate, for the side of another.
pub(super) fn loss_at(setup: &Setup, kind: Kind, rate: u32, seconds: u64) -> Result<f64, Error> {
    let mut system = kind.start(setup)?;
    let figures = measure(&mut *system, setup, Traffic::at(rate, seconds))?;
    system.stop(setup)?;
    println!("{:<10} {rate} packets/s, as a control: {figures}", kind.name());
    Ok(figures.loss())
}

fn attempt(system: &mut dyn System, setup: &Setup, rate: u32, seconds: u64) -> Result<(Verdict, Figures, bool), Error> {
    let probe = measure(system, setup, Traffic::at(rate, PROBE_SECONDS))?;
    if probe.loss() > OVERRUN || 1.0 - probe.skipped < OFFERED - OVERRUN {
        let is_offered = 1.0 - probe.skipped >= OFFERED - OVERRUN;
        return Ok((Verdict::Overrun, probe, is_offered));
    }
    let figures = measure(system, setup, Traffic::at(rate, seconds))?;
    let is_offered = 1.0 - figures.skipped >= OFFERED;
    let is_held = is_offered && figures.loss() <= LOSS && figures.wrong == 0;
    Ok((if is_held { Verdict::Held } else { Verdict::Missed }, figures, is_offered))
}
