//! SIPp as caller and as called party, and what it says of the calls.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::commands::process::{Error, Running};

/// How often SIPp writes its statistics.
const STATISTICS_EVERY: Duration = Duration::from_secs(1);

/// A SIPp process.
#[derive(Debug)]
pub(super) struct Sipp {
    process: Running,
    statistics: PathBuf,
}

/// The calls of a caller.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calls {
    /// Calls per second.
    pub(super) rate: u32,
    pub(super) count: u32,
    /// From the answer to the BYE.
    pub(super) talk: Duration,
}

/// What became of calls so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) placed: u64,
    pub(super) successful: u64,
    pub(super) failed: u64,
    pub(super) retransmissions: u64,
}

impl Sipp {
    /// Starts answering calls.
    pub(super) fn called(directory: &Path, local: Ipv4Addr) -> Result<Sipp, Error> {
        // Without a bound of its own it would take no more than 10,000 at once.
        Sipp::start("called", include_str!("called.xml"), directory, local, &["-l", "1000000"])
    }

    /// Starts calling `target`.
    pub(super) fn caller(directory: &Path, local: Ipv4Addr, target: SocketAddr, calls: Calls) -> Result<Sipp, Error> {
        let [rate, count] = [calls.rate, calls.count].map(|number| number.to_string());
        let (talk, target) = (calls.talk.as_millis().to_string(), target.to_string());
        let more = ["-s", "+442071234567", "-r", &rate, "-m", &count, "-l", &count, "-d", &talk, &target];
        Sipp::start("caller", include_str!("caller.xml"), directory, local, &more)
    }

    fn start(name: &str, scenario: &str, directory: &Path, local: Ipv4Addr, more: &[&str]) -> Result<Sipp, Error> {
        let scenario_file = directory.join(format!("{name}.xml"));
        std::fs::write(&scenario_file, scenario)?;
        let statistics = directory.join(format!("{name}.csv"));
        // What an earlier process left.
        let _ = std::fs::remove_file(&statistics);
        let address = local.to_string();
        let mut command = Command::new("sipp");
        command.arg("-sf").arg(scenario_file).arg("-stf").arg(&statistics);
        command.args(["-trace_stat", "-fd", "1", "-nostdin", "-timer_resol", "1", "-buff_size", "8388608"]);
        command.args(["-i", &address, "-ci", &address, "-mi", &address, "-p", "5060"]).args(more);
        command.current_dir(directory);
        let mut process = Running::start(name, &mut command, directory)?;
        // It binds its socket before it opens this file.
        process.await_ready(|| statistics.exists())?;
        Ok(Sipp { process, statistics })
    }

    /// Waits until all calls are over and tells of them; `None` if they are not over by `end`.
    pub(super) fn finish(mut self, end: Instant) -> Result<Option<Tally>, Error> {
        if self.process.await_end(end)?.is_none() {
            return Ok(None);
        }
        Tally::read(&std::fs::read_to_string(&self.statistics)?).map(Some)
    }

    /// What it wrote last, which may be a second ago.
    pub(super) fn tally(&self) -> Result<Tally, Error> {
        Tally::read(&std::fs::read_to_string(&self.statistics)?)
    }

    /// As [`tally`](Self::tally), after a wait that makes what has happened so far part of it.
    pub(super) fn settled_tally(&self) -> Result<Tally, Error> {
        std::thread::sleep(STATISTICS_EVERY + STATISTICS_EVERY / 5);
        self.tally()
    }

    /// CPU time used so far.
    pub(super) fn cpu_ns(&self) -> Result<u64, Error> {
        self.process.cpu_ns()
    }
}

impl Tally {
    /// Reads the last whole line of SIPp's statistics.
    fn read(csv: &str) -> Result<Tally, Error> {
        let whole = csv.rfind('\n').map_or("", |end| &csv[..end]);
        let mut lines = whole.lines();
        let names: Vec<&str> = lines.next().unwrap_or_default().split(';').collect();
        let Some(last) = lines.next_back() else { return Ok(Tally::default()) };
        let values: Vec<&str> = last.split(';').collect();
        let value = |name: &str| {
            let at = names.iter().position(|own| *own == name);
            let value = at.and_then(|at| values.get(at)?.parse().ok());
            value.ok_or_else(|| format!("no {name} in SIPp's statistics: {last}"))
        };
        Ok(Tally {
            placed: value("TotalCallCreated")?,
            successful: value("SuccessfulCall(C)")?,
            failed: value("FailedCall(C)")?,
            retransmissions: value("Retransmissions(C)")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str = "StartTime;TotalCallCreated;SuccessfulCall(P);SuccessfulCall(C);FailedCall(C);Retransmissions(C);\n\
        a;10;9;9;0;0;\nb;20;8;17;1;2;\nc;30;9;";

    #[test]
    fn the_last_whole_line_counts() {
        let tally = Tally { placed: 20, successful: 17, failed: 1, retransmissions: 2 };
        assert_eq!(Tally::read(CSV).unwrap(), tally);
        assert_eq!(Tally::read("").unwrap(), Tally::default());
        assert_eq!(Tally::read("a;b;\n").unwrap(), Tally::default());
        assert!(Tally::read("a;b;\n1;2;\n").is_err());
    }
}
