//! The media process that is measured: built, started, asked, and stopped.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use moorline_bench::scrape::{Metrics, fetch};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

type Error = Box<dyn std::error::Error>;

const PATIENCE: Duration = Duration::from_secs(10);

/// Builds `moorline` in the release profile and returns where cargo put it.
pub(super) fn build() -> Result<PathBuf, Error> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(&cargo)
        .args(["build", "--release", "--locked", "-p", "moorline", "--message-format=json-render-diagnostics"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("{}: {error}", Path::new(&cargo).display()))?;
    if !output.status.success() {
        return Err(format!("cargo build: {}", output.status).into());
    }
    // One JSON object a line; those of executables name them.
    let messages = String::from_utf8(output.stdout)?;
    let mut executable = messages.lines().filter_map(|line| line.split_once(r#""executable":""#)?.1.split('"').next());
    Ok(executable.next_back().ok_or("cargo build named no executable")?.into())
}

/// What `moorline --version` says.
pub(super) fn version(executable: &Path) -> Result<String, Error> {
    let output = Command::new(executable).arg("--version").output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Pins the calling thread, and what it starts from now on.
pub(super) fn pin(core: usize) -> Result<(), Error> {
    let mut cores = CpuSet::new();
    cores.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &cores).map_err(|error| format!("no core {core} to pin to: {error}").into())
}

/// A media process with one shard, on one core, serving loopback.
pub(super) struct Media {
    process: Child,
    directory: PathBuf,
    admin: SocketAddr,
    pub(super) datapath: String,
    executable: PathBuf,
}

impl Media {
    pub(super) fn start(executable: &Path, datapath: &str, calls: u32, core: usize) -> Result<Media, Error> {
        let directory = std::env::temp_dir().join(format!("moorline-relay-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        // Free a moment ago; should another process take it meanwhile, the start fails and says so.
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = directory.join("moorline.toml");
        let control = directory.join("media.sock");
        std::fs::write(&config, configuration(&control, admin, datapath, core, calls))?;
        let log = std::fs::File::create(directory.join("media.log"))?;
        // The child is born on the relay's core: its control thread shares it with the shard.
        pin(core)?;
        let process = Command::new(executable)
            .arg("media")
            .arg("--config")
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut media =
            Media { process, directory, admin, datapath: datapath.to_owned(), executable: executable.to_owned() };
        media.await_ready()?;
        Ok(media)
    }

    fn await_ready(&mut self) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        while fetch(self.admin, "/metrics").is_err() {
            let log = || std::fs::read_to_string(self.directory.join("media.log")).unwrap_or_default();
            if let Some(status) = self.process.try_wait()? {
                return Err(format!("moorline media: {status}\n{}", log()).into());
            }
            if Instant::now() > end {
                return Err(format!("moorline media did not start within {PATIENCE:?}\n{}", log()).into());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(super) fn metrics(&self) -> Result<Metrics, Error> {
        Ok(fetch(self.admin, "/metrics")?)
    }

    /// CPU time used so far by the shard's thread and by the whole process.
    pub(super) fn cpu_ns(&self) -> Result<(u64, u64), Error> {
        let (mut shard, mut all) = (0, 0);
        for task in std::fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let task = task?.path();
            // The first figure is the time spent on the CPU.
            let schedstat = std::fs::read_to_string(task.join("schedstat"))?;
            let ns: u64 = schedstat.split(' ').next().unwrap_or_default().parse()?;
            all += ns;
            if std::fs::read_to_string(task.join("comm"))?.contains("shard") {
                shard += ns;
            }
        }
        Ok((shard, all))
    }

    /// Opens sessions by `moorline session open`. They stay until the value is dropped.
    pub(super) fn open(&self, count: u32, a: SocketAddr, b: SocketAddr) -> Result<Sessions, Error> {
        let mut process = Command::new(&self.executable)
            .args(["session", "open", "--count", &count.to_string(), "--a", &a.to_string(), "--b", &b.to_string()])
            .arg("--control")
            .arg(self.directory.join("media.sock"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = process.stdout.take().ok_or("no output of moorline session open")?;
        let mut sessions = Sessions { process, pairs: Vec::new() };
        for line in BufReader::new(output).lines().take(count as usize) {
            let line = line?;
            let (a, b) = line.split_once(' ').ok_or_else(|| format!("not two addresses: {line}"))?;
            sessions.pairs.push((a.parse()?, b.parse()?));
        }
        if sessions.pairs.len() != count as usize {
            return Err(format!("{} of {count} sessions opened", sessions.pairs.len()).into());
        }
        Ok(sessions)
    }

    pub(super) fn stop(mut self) -> Result<(), Error> {
        kill(Pid::from_raw(i32::try_from(self.process.id())?), Signal::SIGTERM)?;
        let status = self.process.wait()?;
        if !status.success() {
            return Err(format!("moorline media ended with {status}").into());
        }
        Ok(())
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        // After a good stop both have nothing left to do.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// The signaling process is not started, but a file without a peer for it is refused.
fn configuration(control: &Path, admin: SocketAddr, datapath: &str, core: usize, calls: u32) -> String {
    let control = control.display();
    format!(
        r#"
[media]
control = "{control}"
admin = "{admin}"
datapath = "{datapath}"
cores = [{core}]
capacity = {calls}
port_rest_s = 1

[[media.ranges]]
name = "bench"
network = "127.103.169.64/27"

[signaling]
control = "{control}"

[[signaling.trunks]]
name = "nobody"
listener = "local"
targets = ["127.0.0.1:5080"]
media_range = "bench"
"#
    )
}

/// Open sessions.
pub(super) struct Sessions {
    process: Child,
    /// The relay addresses of each: where side A sends, where side B sends.
    pub(super) pairs: Vec<(SocketAddr, SocketAddr)>,
}

impl Drop for Sessions {
    fn drop(&mut self) {
        // The end of its input ends it; `wait` closes that first.
        let _ = self.process.wait();
    }
}
