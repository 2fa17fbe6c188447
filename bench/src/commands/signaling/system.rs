//! What is measured: Moorline's two processes, or Kamailio and rtpengine.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use moorline_bench::scrape::{Metrics, fetch};

use crate::commands::process::{Error, Running};

/// Which system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Moorline,
    Peers,
}

/// The addresses of a run, all in 127.0.0.0/8, and apart from those of another run at the same time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) caller: Ipv4Addr,
    pub(super) sbc: Ipv4Addr,
    pub(super) called: Ipv4Addr,
    pub(super) probe: Ipv4Addr,
    pub(super) probed: Ipv4Addr,
    mask: Ipv4Addr,
}

/// What all runs of a system have in common.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) executable: PathBuf,
    pub(super) directory: PathBuf,
    pub(super) addresses: Addresses,
    pub(super) kamailio_children: u32,
    pub(super) rtpengine_threads: u32,
    /// The most calls at once.
    pub(super) capacity: u32,
}

/// A system that serves.
#[derive(Debug)]
pub(super) struct System {
    signaling: Running,
    media: Running,
    admin: Option<SocketAddr>,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Moorline => "Moorline",
            Kind::Peers => "Kamailio + rtpengine",
        }
    }

    /// What its keys start with.
    pub(super) fn key(self) -> &'static str {
        match self {
            Kind::Moorline => "moorline",
            Kind::Peers => "peer",
        }
    }
}

impl Addresses {
    pub(super) fn of(process: u32) -> Addresses {
        let [.., high, low] = process.to_be_bytes();
        let address = |last| Ipv4Addr::new(127, 64 + high % 32, low, last);
        Addresses {
            caller: address(1),
            sbc: address(2),
            called: address(3),
            probe: address(4),
            probed: address(5),
            mask: address(8),
        }
    }

    /// Where INVITEs for the system go.
    pub(super) fn target(&self) -> SocketAddr {
        sip(self.sbc)
    }

    fn fill_in(&self, template: &str, more: &[(&str, &str)]) -> String {
        let Addresses { caller, sbc, called, probe, probed, mask } = self;
        let addresses = [
            ("CALLER", caller),
            ("SBC", sbc),
            ("CALLED", called),
            ("PROBE", probe),
            ("PROBED", probed),
            ("MASK", mask),
        ]
        .map(|(name, address)| (name, address.to_string()));
        let addresses = addresses.iter().map(|(name, value)| (*name, value.as_str()));
        let all = addresses.chain(more.iter().copied());
        all.fold(template.to_owned(), |text, (name, value)| text.replace(&format!("@{name}@"), value))
    }
}

/// SIP's own port.
pub(super) fn sip(address: Ipv4Addr) -> SocketAddr {
    (address, 5060).into()
}

impl System {
    /// Starts it and waits until it serves.
    pub(super) fn start(kind: Kind, setup: &Setup) -> Result<System, Error> {
        match kind {
            Kind::Moorline => System::start_moorline(setup),
            Kind::Peers => System::start_peers(setup),
        }
    }

    fn start_moorline(setup: &Setup) -> Result<System, Error> {
        let Setup { executable, directory, addresses, capacity, .. } = setup;
        let config = directory.join("moorline.toml");
        let control = directory.join("media.sock");
        let more = [("CONTROL", &*control.to_string_lossy()), ("CAPACITY", &capacity.to_string())];
        std::fs::write(&config, addresses.fill_in(include_str!("moorline.toml"), &more))?;
        let start =
            |name| Running::start(name, Command::new(executable).arg(name).arg("--config").arg(&config), directory);
        let (media_admin, admin) = (SocketAddr::from((addresses.sbc, 9061)), SocketAddr::from((addresses.sbc, 9060)));
        let mut media = start("media")?;
        media.await_ready(|| fetch(media_admin, "/metrics").is_ok())?;
        let mut signaling = start("signaling")?;
        let is_connected = |metrics: Metrics| metrics.value("moorline_sip_media_connected", &[]) == Some(1.0);
        signaling.await_ready(|| fetch(admin, "/metrics").is_ok_and(is_connected))?;
        Ok(System { signaling, media, admin: Some(admin) })
    }

    fn start_peers(setup: &Setup) -> Result<System, Error> {
        let Setup { directory, addresses, kamailio_children, rtpengine_threads, .. } = setup;
        let sbc = addresses.sbc;
        let control = SocketAddr::from((sbc, 2223));
        // Ports are free again at once; by default they are kept for 30 s, which is 96,000 at 800 calls/s.
        let mut media = Command::new("rtpengine");
        media.args(["--config-file=none", "--table=-1", "--foreground", "--log-stderr", "--log-level=1"]);
        media.args(["--delete-delay=0", "--port-min=10000", "--port-max=59999"]);
        media.args([format!("--interface={sbc}"), format!("--listen-ng={control}")]);
        media.arg(format!("--num-threads={rtpengine_threads}"));
        let mut media = Running::start("rtpengine", &mut media, directory)?;
        media.await_ready(|| answers(control, "1_1 d7:command4:pinge"))?;

        let config = directory.join("kamailio.cfg");
        let children = kamailio_children.to_string();
        std::fs::write(&config, addresses.fill_in(include_str!("kamailio.cfg"), &[("CHILDREN", &children)]))?;
        let mut signaling = Command::new("kamailio");
        signaling.args(["-DD", "-E", "-m", "2048", "-M", "16", "-x", "fm", "-f"]).arg(&config);
        signaling.arg("-Y").arg(directory);
        let mut signaling = Running::start("kamailio", &mut signaling, directory)?;
        let options = format!(
            "OPTIONS sip:{sbc} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKready;rport\r\nMax-Forwards: 1\r\n\
             From: <sip:a@{sbc}>;tag=1\r\nTo: <sip:{sbc}>\r\nCall-ID: ready\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        signaling.await_ready(|| answers(sip(sbc), &options))?;
        Ok(System { signaling, media, admin: None })
    }

    /// CPU time used so far for signaling and for media, in user and kernel mode, of all processes and threads.
    pub(super) fn cpu_ns(&self) -> Result<[u64; 2], Error> {
        Ok([self.signaling.cpu_ns()?, self.media.cpu_ns()?])
    }

    /// The memory held by the signaling process.
    pub(super) fn signaling_bytes(&self) -> Result<u64, Error> {
        self.signaling.resident_bytes()
    }

    /// Calls that it says are in progress; peers do not say.
    pub(super) fn calls_active(&self) -> Result<Option<f64>, Error> {
        let Some(admin) = self.admin else { return Ok(None) };
        Ok(fetch(admin, "/metrics")?.value("moorline_sip_calls_active", &[]))
    }

    pub(super) fn stop(self) -> Result<(), Error> {
        self.signaling.stop()?;
        self.media.stop()
    }
}

/// Whether something comes back.
fn answers(server: SocketAddr, question: &str) -> bool {
    let ask = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(100)))?;
        socket.send_to(question.as_bytes(), server)?;
        socket.recv(&mut [0; 1024])
    };
    ask().is_ok_and(|length| length > 0)
}

/// The Debian packages that are not there of those that the load (`None`) or a system need.
pub(super) fn missing(kind: impl Into<Option<Kind>>) -> Vec<&'static str> {
    let tools: &[(&str, &str)] = match kind.into() {
        None => &[("sipp", "sip-tester")],
        Some(Kind::Moorline) => &[],
        Some(Kind::Peers) => &[("kamailio", "kamailio"), ("rtpengine", "rtpengine-daemon")],
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there = |tool: &str| std::env::split_paths(&path).any(|directory| is_file(&directory.join(tool)));
    tools.iter().filter(|(tool, _)| !is_there(tool)).map(|(_, package)| *package).collect()
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_filled_in_whole() {
        let addresses = Addresses::of(0x0001_2345);
        let more = [("CONTROL", "/run/x.sock"), ("CAPACITY", "7"), ("CHILDREN", "2")];
        for template in [include_str!("moorline.toml"), include_str!("kamailio.cfg")] {
            // The first lines say what is filled in.
            let text = addresses.fill_in(template, &more);
            assert!(!text.contains('@'), "{text}");
            assert!(text.contains("127.67.69.2:5060"), "{text}");
        }
        assert!(addresses.sbc.is_loopback() && Addresses::of(u32::MAX).sbc.is_loopback());
    }
}
