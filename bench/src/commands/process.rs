//! Processes that are measured: built, started, awaited, read and stopped.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(super) type Error = Box<dyn std::error::Error>;

/// How long a process may take to start, and to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which relay a benchmark runs, and where.
#[derive(Debug, clap::Args)]
pub(super) struct Subject {
    /// The CPU core of the relay.
    #[arg(long, default_value_t = 0)]
    pub(super) relay_core: usize,
    /// The CPU core of the load.
    #[arg(long, default_value_t = 1)]
    pub(super) load_core: usize,
    /// A line for `[media]` of Moorline's configuration; may be given more than once.
    #[arg(long = "setting", value_name = "LINE")]
    pub(super) settings: Vec<String>,
    /// The `moorline` to measure, such as one built before a change; without it the one of this source is built.
    #[arg(long, value_name = "FILE")]
    executable: Option<PathBuf>,
}

impl Subject {
    /// The executable, built if none was given.
    pub(super) fn executable(&self) -> Result<PathBuf, Error> {
        self.executable.clone().map_or_else(build, Ok)
    }
}

/// Builds `moorline` in the release profile and returns where cargo put it.
pub(super) fn build() -> Result<PathBuf, Error> {
    let output = cargo(&["build", "--release", "-p", "moorline", "--message-format=json-render-diagnostics"])?;
    // One JSON object a line; those of executables name them.
    let mut executable = output.lines().filter_map(|line| line.split_once(r#""executable":""#)?.1.split('"').next());
    Ok(executable.next_back().ok_or("cargo build named no executable")?.into())
}

/// What cargo prints; what it says besides is passed on.
pub(super) fn cargo(arguments: &[&str]) -> Result<String, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let (subcommand, rest) = arguments.split_first().ok_or("no subcommand of cargo")?;
    let output = Command::new(&cargo)
        .args([subcommand, "--locked"])
        .args(rest)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", Path::new(&cargo).display()))?;
    if !output.status.success() {
        return Err(format!("cargo {subcommand}: {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// What `moorline --version` says.
pub(super) fn version(executable: &Path) -> Result<String, Error> {
    let output = Command::new(executable).arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Pins the calling thread, and what it starts from now on.
pub(super) fn pin(core: usize) -> Result<(), Error> {
    pin_to(&[core])
}

/// Keeps this thread, and what it starts, on these CPU cores.
pub(super) fn pin_to(cores: &[usize]) -> Result<(), Error> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    sched_setaffinity(Pid::from_raw(0), &set).map_err(|error| format!("no cores {cores:?} to pin to: {error}").into())
}

/// How much of a process's log a fault quotes.
const LAST_LINES: usize = 10;

/// A process that ends with its value, and its children with it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Running {
    /// Starts a process. What it says goes to `NAME.log` in `directory`.
    pub(super) fn start(name: &str, command: &mut Command, directory: &Path) -> Result<Running, Error> {
        let log = directory.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .map_err(|error| format!("{}: {error}", Path::new(command.get_program()).display()))?;
        Ok(Running { child, name: name.to_owned(), log })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `is_ready`.
    pub(super) fn await_ready(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        while !is_ready() {
            if let Some(status) = self.child.try_wait()? {
                return Err(self.fault(&status.to_string()));
            }
            if Instant::now() > end {
                return Err(self.fault(&format!("not ready within {PATIENCE:?}")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until it has ended by itself; `None` if it has not by `end`.
    pub(super) fn await_end(&mut self, end: Instant) -> Result<Option<ExitStatus>, Error> {
        loop {
            match self.child.try_wait()? {
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
                status => return Ok(status),
            }
        }
    }

    /// Ends it as an operator would.
    pub(super) fn stop(mut self) -> Result<(), Error> {
        kill(Pid::from_raw(i32::try_from(self.id())?), Signal::SIGTERM)?;
        match self.await_end(Instant::now() + PATIENCE)? {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(self.fault(&format!("ended with {status}"))),
            None => Err(self.fault(&format!("not ended within {PATIENCE:?}"))),
        }
    }

    /// A fault and the end of what the process said.
    fn fault(&self, fault: &str) -> Error {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let end = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n");
        format!("{}: {fault}\n{end}", self.name).into()
    }

    /// CPU time used so far by each thread that lives, with its name.
    pub(super) fn threads_ns(&self) -> Result<Vec<(String, u64)>, Error> {
        threads_ns(self.id())
    }

    /// CPU time used so far by all threads that live, its children's included.
    pub(super) fn cpu_ns(&self) -> Result<u64, Error> {
        let mut sum = 0;
        for id in [self.id()].into_iter().chain(self.children()) {
            sum += threads_ns(id)?.iter().map(|(_, ns)| ns).sum::<u64>();
        }
        Ok(sum)
    }

    /// The memory it holds, without its children's.
    pub(super) fn resident_bytes(&self) -> Result<u64, Error> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        Ok(kib.ok_or("no VmRSS in /proc/PID/status")?.parse::<u64>()? * 1024)
    }

    fn children(&self) -> Vec<u32> {
        let list = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.id())).unwrap_or_default();
        list.split_whitespace().filter_map(|id| id.parse().ok()).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a good stop there is nothing left to do.
        if matches!(self.child.try_wait(), Ok(None)) {
            for child in self.children() {
                let _ = kill(Pid::from_raw(child.cast_signed()), Signal::SIGKILL);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

fn threads_ns(process: u32) -> Result<Vec<(String, u64)>, Error> {
    let mut threads = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{process}/task"))? {
        let task = task?.path();
        let ns = schedstat_ns(task.join("schedstat"))?;
        threads.push((std::fs::read_to_string(task.join("comm"))?.trim().to_owned(), ns));
    }
    Ok(threads)
}

/// The time that a thread has spent on the CPU: the first figure of its `schedstat`.
pub(super) fn schedstat_ns(path: impl AsRef<Path>) -> Result<u64, Error> {
    let schedstat = std::fs::read_to_string(path)?;
    Ok(schedstat.split(' ').next().unwrap_or_default().parse()?)
}

/// A command whose process the kernel ends with this one, whatever ends this.
pub(super) fn tied(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// The median; of an even number, the upper of the two in the middle.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_ends_with_its_value_and_its_children_with_it() {
        let directory = std::env::temp_dir();
        let name = format!("moorline-running-{}", std::process::id());
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 60 & echo ready; wait"]);
        let mut running = Running::start(&name, &mut shell, &directory).unwrap();
        let log = directory.join(format!("{name}.log"));
        running.await_ready(|| std::fs::read_to_string(&log).is_ok_and(|text| text == "ready\n")).unwrap();
        let [sleep] = running.children()[..] else { panic!("not one child: {:?}", running.children()) };
        assert!(running.cpu_ns().unwrap() >= running.threads_ns().unwrap()[0].1);
        assert!(running.resident_bytes().unwrap() > 0);
        drop(running);
        // An orphan that was killed may have to be run once more to die, and to wait to be reaped.
        let state = || std::fs::read_to_string(format!("/proc/{sleep}/stat")).unwrap_or_default();
        let is_over = |state: &str| state.is_empty() || state.contains(") Z") || state.contains(") X");
        let over = (0..500).any(|_| {
            std::thread::sleep(Duration::from_millis(10));
            is_over(&state())
        });
        assert!(over, "{}", state());
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([]), 0.0);
    }
}
