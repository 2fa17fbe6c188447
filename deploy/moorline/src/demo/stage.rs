//! Where the demo plays: loopback addresses of its own, a configuration, and the load's plan.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use moorline_bench::load::Plan;
use tempfile::TempDir;
use tracing::level_filters::LevelFilter;

use crate::cli::DemoArgs;
use crate::config::Configuration;
use crate::supervise::Recipe;

/// Calls are placed this many a second, and never for longer than [`PLACING`].
const RATE: f64 = 25.0;
const PLACING: Duration = Duration::from_secs(4);

const RING: Duration = Duration::from_millis(200);

/// How much of the children's log is shown when something went wrong.
const TAIL_LINES: usize = 20;

/// Addresses, files and plan of one demo.
pub(super) struct Stage {
    folder: TempDir,
    net: [u8; 2],
    plan: Plan,
}

impl Stage {
    /// Chooses addresses and writes the configuration.
    pub(super) fn new(args: &DemoArgs) -> Result<Stage, Box<dyn std::error::Error>> {
        // 127.64.0.0 to 127.95.255.0 by process id: two demos at once do not meet, nor do they meet what
        // serves 127.0.0.1 or the built-in media range.
        let pid = std::process::id();
        let net = [64 + (pid >> 8 & 0x1f) as u8, (pid & 0xff) as u8];
        let sip = |host| SocketAddr::from((Self::host(net, host), 5060));
        let plan = Plan {
            calls: args.calls,
            rate_per_s: RATE.max(f64::from(args.calls) / PLACING.as_secs_f64()),
            ring: RING,
            talk: Duration::from_secs(args.seconds),
            caller_media: Self::host(net, 4),
            callee_media: Self::host(net, 5),
            relay_networks: vec![format!("{}/27", Self::host(net, 64)).parse()?],
            seed: u64::from(pid),
            rtcp: true,
            verbatim: true,
            ..Plan::new(sip(1), sip(2), sip(3))
        };
        let stage = Stage { folder: tempfile::Builder::new().prefix("moorline-demo-").tempdir()?, net, plan };
        std::fs::write(stage.config(), stage.configuration())?;
        // Faults of the generated file would be this module's own: better found here than in two logs.
        Configuration::load(Some(&stage.config()))?;
        Ok(stage)
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The media range.
    pub(super) fn range(&self) -> String {
        format!("{}/27", Self::host(self.net, 64))
    }

    pub(super) fn signaling_admin(&self) -> SocketAddr {
        SocketAddr::from((Self::host(self.net, 1), 9060))
    }

    pub(super) fn media_admin(&self) -> SocketAddr {
        SocketAddr::from((Self::host(self.net, 1), 9061))
    }

    /// How both processes are started.
    pub(super) fn recipe(&self) -> Recipe {
        Recipe { config: Some(self.config()), log_level: LevelFilter::INFO, log_file: Some(self.log()) }
    }

    /// The end of what both processes logged.
    pub(super) fn log_tail(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
        format!("the last lines of both processes' log:\n{tail}\n")
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("demo.toml")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("demo.log")
    }

    fn host(net: [u8; 2], host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(127, net[0], net[1], host))
    }

    fn configuration(&self) -> String {
        let control = self.folder.path().join("media.sock");
        let (sbc, caller, callee) = (self.plan.sbc, self.plan.caller, self.plan.callee);
        let (signaling, media, range) = (self.signaling_admin(), self.media_admin(), self.range());
        format!(
            "[signaling]\ncontrol = {control:?}\nadmin = \"{signaling}\"\n\
             [[signaling.listeners]]\nname = \"demo\"\nbind = \"{sbc}\"\n\
             [[signaling.trunks]]\nname = \"caller\"\nlistener = \"demo\"\nsources = [\"{}/32\"]\n\
             [[signaling.trunks]]\nname = \"callee\"\nlistener = \"demo\"\ntargets = [\"{callee}\"]\n\
             [[signaling.routes]]\nto = \"callee\"\n\
             [media]\ncontrol = {control:?}\nadmin = \"{media}\"\n\
             [[media.ranges]]\nname = \"edge\"\nnetwork = \"{range}\"\n",
            caller.ip()
        )
    }
}
