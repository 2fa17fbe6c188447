//! A test stand: `moorline up` with a configuration of its own, on loopback addresses that no other test uses.
#![allow(
    clippy::expect_used,
    reason = "a test fails by panicking; some files that include this are all test to the lint, some are not"
)]
#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod operator;
pub(crate) mod parties;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use moorline_bench::load::Plan;
use moorline_bench::scrape::{self, Metrics};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// Longer than anything here takes on a busy machine; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// `moorline up`, or one of the two processes alone.
pub(crate) struct Stand {
    pub(crate) folder: TempDir,
    net: u8,
    process: Child,
}

impl Stand {
    /// Starts `role` with the test's own `net` (127.98.net.0) and what is to be changed in the configuration.
    pub(crate) fn start(role: &str, net: u8, changes: &[(&str, &str)]) -> Stand {
        Stand::start_with(role, net, |text, _| {
            changes.iter().fold(text.to_owned(), |text, (old, new)| {
                assert!(text.contains(old), "{old}");
                text.replacen(old, new, 1)
            })
        })
    }

    /// As `start`, with any change to the configuration's text, in which the control socket is as given.
    pub(crate) fn start_with(role: &str, net: u8, change: impl FnOnce(&str, &str) -> String) -> Stand {
        let folder = tempfile::tempdir().expect("a folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        Stand::start_in(folder, role, net, log.into(), change)
    }

    /// As `start_with`, with the log somewhere else than where [`Stand::log`] reads it.
    pub(crate) fn start_logging_to(log: impl Into<Stdio>, role: &str, net: u8) -> Stand {
        Stand::start_in(tempfile::tempdir().expect("a folder"), role, net, log.into(), |text, socket| {
            let command = PathBuf::from(socket).with_file_name("signaling.sock");
            text.replacen("[signaling]\n", &format!("[signaling]\ncommand = {command:?}\n"), 1)
        })
    }

    fn start_in(folder: TempDir, role: &str, net: u8, log: Stdio, change: impl FnOnce(&str, &str) -> String) -> Stand {
        let socket = folder.path().join("media.sock");
        let text = change(&configuration(net, &socket), socket.to_str().expect("a path"));
        std::fs::write(folder.path().join("up.toml"), text).expect("written");
        let process = Command::new(env!("CARGO_BIN_EXE_moorline"))
            .arg(role)
            .arg("--config")
            .arg(folder.path().join("up.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the executable runs");
        Stand { folder, net, process }
    }

    /// As `start`, and waits until calls can be placed.
    pub(crate) fn up(net: u8, changes: &[(&str, &str)]) -> Stand {
        let stand = Stand::start("up", net, changes);
        stand.until_connected();
        stand
    }

    /// As `start_with`, and waits until calls can be placed.
    pub(crate) fn up_with(net: u8, change: impl FnOnce(&str, &str) -> String) -> Stand {
        let stand = Stand::start_with("up", net, change);
        stand.until_connected();
        stand
    }

    pub(crate) fn address(&self, host: u8, port: u16) -> SocketAddr {
        address(self.net, host, port)
    }

    pub(crate) fn control(&self) -> PathBuf {
        self.folder.path().join("media.sock")
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn signaling(&self) -> Option<Metrics> {
        scrape::fetch(self.address(1, 9060), "/metrics").ok()
    }

    pub(crate) fn media(&self) -> Option<Metrics> {
        scrape::fetch(self.address(1, 9061), "/metrics").ok()
    }

    /// A sum of signaling's samples; `None` while it does not answer.
    pub(crate) fn signaling_value(&self, name: &str) -> Option<f64> {
        self.signaling()?.value(name, &[])
    }

    /// A sum of media's samples; `None` while it does not answer.
    pub(crate) fn media_value(&self, name: &str) -> Option<f64> {
        self.media()?.value(name, &[])
    }

    pub(crate) fn until_connected(&self) {
        self.until("signaling has media's connection", || {
            self.signaling_value("moorline_sip_media_connected") == Some(1.0)
        });
    }

    /// Waits until no call, session or port is in use.
    pub(crate) fn until_nothing_is_left(&self) {
        self.until("nothing is left", || {
            let ports = self.media().and_then(|page| page.value("moorline_media_ports", &[("state", "in_use")]));
            self.signaling_value("moorline_sip_calls_active") == Some(0.0)
                && self.media_value("moorline_media_sessions") == Some(0.0)
                && ports == Some(0.0)
        });
    }

    /// Polls until `condition` holds; with the log in the failure if it never does.
    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(Instant::now() < deadline, "waited in vain until {what}; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.process.id()).expect("a pid"))
    }

    /// The child in the given role, if it runs.
    pub(crate) fn child(&self, role: &str) -> Option<Pid> {
        children(self.pid()).into_iter().find(|pid| {
            let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            command.split(|byte| *byte == 0).any(|argument| argument == role.as_bytes())
        })
    }

    /// Kills a child without a chance to clean up, and waits for its successor.
    pub(crate) fn kill_and_await_successor(&self, role: &str) {
        let before = self.child(role).expect("the child runs");
        kill(before, Signal::SIGKILL).expect("killed");
        self.until("the successor runs", || self.child(role).is_some_and(|pid| pid != before));
    }

    /// Sends a signal and waits for the end; the exit status.
    pub(crate) fn end(&mut self, signal: Signal) -> Option<i32> {
        kill(self.pid(), signal).expect("signalled");
        self.status()
    }

    /// Waits for the end; the exit status, `None` if a signal ended it.
    pub(crate) fn status(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().expect("waited") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end; the log:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Calls through this stand.
    pub(crate) fn plan(&self, calls: u32, talk: Duration) -> Plan {
        Plan {
            calls,
            rate_per_s: 20.0,
            ring: Duration::from_millis(100),
            talk,
            caller_media: self.address(4, 0).ip(),
            callee_media: self.address(5, 0).ip(),
            relay_networks: vec![format!("127.98.{}.64/27", self.net).parse().expect("a network")],
            seed: u64::from(self.net),
            rtcp: true,
            verbatim: true,
            ..Plan::new(self.address(1, 5060), self.address(2, 5060), self.address(3, 5060))
        }
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        // Over already in most tests. SIGTERM first, so that `up` takes its children along.
        if self.process.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = kill(self.pid(), Signal::SIGTERM);
            let deadline = Instant::now() + PATIENCE;
            while self.process.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(10));
            }
            // One that hangs must not hold up the tests.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// What cannot be tested here, and what to install for it.
pub(crate) fn left_out(what: &str, package: &str) {
    let text = format!("{what}: install {package}");
    if let Some(path) = std::env::var_os("MOORLINE_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).expect("a file");
        writeln!(file, "{text}").expect("written");
    }
    eprintln!("left out: {text}");
}

pub(crate) fn is_running(pid: Pid) -> bool {
    // A zombie has ended too: its parent is gone or about to look.
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

fn children(parent: Pid) -> Vec<Pid> {
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw).collect()
}

fn address(net: u8, host: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 98, net, host)), port)
}

pub(crate) fn configuration(net: u8, control: &std::path::Path) -> String {
    let at = |host, port| address(net, host, port);
    format!(
        r#"
[signaling]
control = {control:?}
admin = "{}"
lease_s = 10
[[signaling.listeners]]
name = "test"
bind = "{}"
[[signaling.trunks]]
name = "caller"
listener = "test"
sources = ["{}/32"]
[[signaling.trunks]]
name = "callee"
listener = "test"
targets = ["{}"]
[[signaling.routes]]
to = "callee"
[media]
admin = "{}"
[[media.ranges]]
name = "edge"
network = "127.98.{net}.64/27"
first_port = 20000
last_port = 29999
"#,
        at(1, 9060),
        at(1, 5060),
        at(2, 0).ip(),
        at(3, 5060),
        at(1, 9061),
    )
}
