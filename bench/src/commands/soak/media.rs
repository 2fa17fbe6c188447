//! The media process that is watched: one shard, on loopback.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use moorline_bench::scrape::{Buckets, Metrics, fetch};

use super::verdict::Sample;
use crate::commands::process::{Error, Running, tied};

pub(super) struct Media {
    process: Running,
    directory: PathBuf,
    admin: SocketAddr,
    pub(super) control: PathBuf,
}

/// What the process says at one moment.
pub(super) struct Look {
    resident_bytes: u64,
    sessions: f64,
    packets: f64,
    residence: Buckets,
    /// CPU time of the shard's thread.
    shard_ns: u64,
    at: std::time::Instant,
}

impl Media {
    pub(super) fn start(executable: &Path, core: usize, capacity: u32, settings: &[String]) -> Result<Media, Error> {
        let directory = std::env::temp_dir().join(format!("moorline-soak-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        // Free a moment ago; should another process take it meanwhile, the start fails and says so.
        let admin = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let (config, control) = (directory.join("moorline.toml"), directory.join("media.sock"));
        let (path, lines) = (control.display(), settings.join("\n"));
        let text = format!(
            r#"
[media]
control = "{path}"
admin = "{admin}"
cores = [{core}]
capacity = {capacity}
port_rest_s = 1
{lines}

[[media.ranges]]
name = "bench"
network = "127.103.169.64/27"

[signaling]
control = "{path}"

[[signaling.trunks]]
name = "nobody"
listener = "local"
targets = ["127.0.0.1:5080"]
media_range = "bench"
"#
        );
        std::fs::write(&config, text)?;
        let mut command = tied(executable);
        let process = Running::start("media", command.arg("media").arg("--config").arg(&config), &directory)?;
        let mut media = Media { process, directory, admin, control };
        media.process.await_ready(|| fetch(admin, "/metrics").is_ok())?;
        Ok(media)
    }

    pub(super) fn metrics(&self) -> Result<Metrics, Error> {
        Ok(fetch(self.admin, "/metrics")?)
    }

    pub(super) fn resident_bytes(&self) -> Result<u64, Error> {
        self.process.resident_bytes()
    }

    pub(super) fn look(&self) -> Result<Look, Error> {
        let metrics = self.metrics()?;
        let value = |name| metrics.value(name, &[]).unwrap_or_default();
        let threads = self.process.threads_ns()?;
        Ok(Look {
            resident_bytes: self.resident_bytes()?,
            sessions: value("moorline_media_sessions"),
            packets: value("moorline_media_packets_total"),
            residence: metrics.histogram("moorline_media_residence_seconds", &[]).unwrap_or_default(),
            shard_ns: threads.iter().filter(|(name, _)| name.contains("shard")).map(|(_, ns)| ns).sum(),
            at: std::time::Instant::now(),
        })
    }

    pub(super) fn stop(self) -> Result<(), Error> {
        let Media { process, directory, .. } = self;
        process.stop()?;
        // What stays is a temporary directory.
        let _ = std::fs::remove_dir_all(directory);
        Ok(())
    }
}

impl Look {
    /// What lies between two looks.
    pub(super) fn since(&self, earlier: &Look, elapsed_s: f64) -> Sample {
        let time = (self.at - earlier.at).as_secs_f64().max(0.001);
        let residence = self.residence.since(&earlier.residence);
        Sample {
            at_s: elapsed_s,
            resident_kib: self.resident_bytes as f64 / 1024.0,
            sessions: self.sessions,
            packets_per_s: (self.packets - earlier.packets) / time,
            busy: (self.shard_ns - earlier.shard_ns) as f64 / 1e9 / time,
            residence_us: [0.5, 0.99].map(|quantile| residence.quantile(quantile).unwrap_or_default() * 1e6),
        }
    }
}
