//! One measurement of a system: at a steady rate, at the rate of a rung, with calls held.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use moorline_bench::load::probe::{Probe, probe};

use super::figures::Steady;
use super::sipp::{Calls, Sipp};
use super::system::{Addresses, Setup, System, sip};
use crate::commands::process::Error;

/// Probe calls per second, part of the rate that is asked for.
const PROBE_RATE: u32 = 50;

/// From the answer to the BYE. Short, so that all that a call costs falls into the window.
const TALK: Duration = Duration::from_millis(100);

/// Before a window: connections are made, tables have grown, and the transactions of the first calls end
/// (timers I and K, 5 s).
const WARM_UP: Duration = Duration::from_secs(6);

/// After the last call was placed, for one that had to be sent again once or twice.
const GRACE: Duration = Duration::from_secs(4);

/// Where calls go to: through a system, or for the control run past it.
fn ways(system: Option<&System>, addresses: &Addresses) -> [SocketAddr; 2] {
    match system {
        Some(_) => [addresses.target(); 2],
        None => [sip(addresses.called), sip(addresses.probed)],
    }
}

/// CPU and delay at `rate` calls/s in a window of `seconds`, after a warm-up. SIPp is the load; a probe's calls
/// among it are timed.
pub(super) fn steady(system: Option<&System>, setup: &Setup, rate: u32, seconds: u64) -> Result<Steady, Error> {
    let addresses = &setup.addresses;
    let [way, probe_way] = ways(system, addresses);
    let window = Duration::from_secs(seconds);
    let sipp_rate = rate.saturating_sub(PROBE_RATE).max(1);
    // The load outlasts the window.
    let placing = WARM_UP + window + Duration::from_secs(2);
    let count = sipp_rate * u32::try_from(placing.as_secs())?;

    let called = Sipp::called(&setup.directory, addresses.called)?;
    let start = Instant::now();
    let calls = Calls { rate: sipp_rate, count, talk: TALK };
    let caller = Sipp::caller(&setup.directory, addresses.caller, way, calls)?;
    std::thread::sleep(WARM_UP);

    let cpu = || system.map_or(Ok([0; 2]), System::cpu_ns);
    let load = || Ok::<_, Error>(caller.cpu_ns()? + called.cpu_ns()?);
    let (window_start, before, load_before) = (Instant::now(), cpu()?, load()?);
    let probed = probe(&Probe {
        calls: PROBE_RATE * u32::try_from(seconds)?,
        rate_per_s: f64::from(PROBE_RATE),
        talk: TALK,
        target: probe_way,
        caller: sip(addresses.probe),
        called: sip(addresses.probed),
        number: "990".into(),
    })?;
    let (after, load_after, lasted) = (cpu()?, load()?, window_start.elapsed());

    let sipp_calls = f64::from(sipp_rate) * lasted.as_secs_f64();
    let all_calls = sipp_calls + f64::from(probed.completed);
    let us_per_call = |before: u64, after: u64, calls: f64| (after - before) as f64 / 1e3 / calls;
    let tally = match caller.finish(start + placing + GRACE)? {
        Some(tally) => tally,
        None => return Err(format!("{rate} calls/s: not all calls were over {GRACE:?} after the last").into()),
    };
    let answer_us = |quantile| probed.answer.value_at_quantile(quantile) as f64 / 1e3;
    Ok(Steady {
        signaling_us: us_per_call(before[0], after[0], all_calls),
        media_us: us_per_call(before[1], after[1], all_calls),
        load_us: us_per_call(load_before, load_after, sipp_calls),
        answer_p50_us: answer_us(0.5),
        answer_p99_us: answer_us(0.99),
        calls: tally.successful + u64::from(probed.completed),
        failed: tally.failed + called.settled_tally()?.failed + u64::from(probed.failed),
        retransmissions: tally.retransmissions,
    })
}

/// How much longer than the window a rung's calls may take: for one that had to be sent again, but not for a backlog
/// that a rate above what the system does leaves behind.
const SLACK: Duration = Duration::from_secs(1);

/// How a rung went.
#[derive(Debug)]
pub(super) struct Rung {
    pub(super) is_held: bool,
    /// For the reader.
    pub(super) told: String,
}

/// Whether a system holds `rate` calls/s for `seconds`: every call successful on both sides, and all of them
/// over soon after the last was placed.
pub(super) fn rung(setup: &Setup, rate: u32, seconds: u64) -> Result<Rung, Error> {
    let addresses = &setup.addresses;
    let called = Sipp::called(&setup.directory, addresses.called)?;
    let window = Duration::from_secs(seconds);
    let start = Instant::now();
    let calls = Calls { rate, count: rate * u32::try_from(seconds)?, talk: TALK };
    let caller = Sipp::caller(&setup.directory, addresses.caller, addresses.target(), calls)?;
    let Some(tally) = caller.finish(start + window + SLACK)? else {
        return Ok(Rung { is_held: false, told: format!("not all calls were over after {:?}", window + SLACK) });
    };
    let failed_at_called = called.settled_tally()?.failed;
    let told = format!(
        "{} of {} successful, {} failed, {} at the called party, {} retransmissions",
        tally.successful, tally.placed, tally.failed, failed_at_called, tally.retransmissions
    );
    let is_held = tally.successful == u64::from(calls.count) && tally.failed == 0 && failed_at_called == 0;
    Ok(Rung { is_held, told })
}

/// Memory of the signaling process for each of about `count` calls held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) calls: f64,
    pub(super) bytes_per_call: f64,
}

/// Holds `count` calls, placed at a moderate rate, and reads the signaling process's memory before and after.
pub(super) fn held(system: &System, setup: &Setup, count: u32) -> Result<Held, Error> {
    const RATE: u32 = 400;
    let addresses = &setup.addresses;
    let idle = system.signaling_bytes()?;
    let called = Sipp::called(&setup.directory, addresses.called)?;
    let calls = Calls { rate: RATE, count, talk: Duration::from_secs(3600) };
    let caller = Sipp::caller(&setup.directory, addresses.caller, addresses.target(), calls)?;
    let end = Instant::now() + Duration::from_secs(u64::from(count / RATE)) + GRACE;
    while caller.tally()?.placed < u64::from(count) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
    }
    // The last one's ACK.
    let tally = caller.settled_tally()?;
    let active = system.calls_active()?.ok_or("no count of active calls")?;
    let bytes = system.signaling_bytes()?.saturating_sub(idle);
    drop((caller, called));
    if active < f64::from(count) * 0.9 {
        return Err(format!("{active} of {count} calls are held: {tally:?}").into());
    }
    Ok(Held { calls: active, bytes_per_call: bytes as f64 / active })
}
