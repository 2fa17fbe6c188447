//! The media process that is measured: started, asked, and stopped.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use moorline_bench::scrape::{Metrics, fetch};

use crate::commands::process::{Error, Running, pin};

/// A media process with one shard, on one core, serving loopback.
pub(super) struct Media {
    process: Running,
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
        // The child is born on the relay's core: its control thread shares it with the shard.
        pin(core)?;
        let mut command = Command::new(executable);
        let process = Running::start("media", command.arg("media").arg("--config").arg(&config), &directory)?;
        let mut media =
            Media { process, directory, admin, datapath: datapath.to_owned(), executable: executable.to_owned() };
        media.process.await_ready(|| fetch(admin, "/metrics").is_ok())?;
        Ok(media)
    }

    pub(super) fn metrics(&self) -> Result<Metrics, Error> {
        Ok(fetch(self.admin, "/metrics")?)
    }

    /// CPU time used so far by the shard's thread and by the whole process.
    pub(super) fn cpu_ns(&self) -> Result<(u64, u64), Error> {
        let threads = self.process.threads_ns()?;
        let shards = threads.iter().filter(|(name, _)| name.contains("shard"));
        Ok((shards.map(|(_, ns)| ns).sum(), threads.iter().map(|(_, ns)| ns).sum()))
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

    pub(super) fn stop(self) -> Result<(), Error> {
        let Media { process, directory, .. } = self;
        process.stop()?;
        // What stays is a temporary directory.
        let _ = std::fs::remove_dir_all(directory);
        Ok(())
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
