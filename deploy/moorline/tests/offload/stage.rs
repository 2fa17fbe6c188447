//! Two namespaces, two links between them, and a media process at one end.
//!
//! ```text
//! alice 192.0.2.10, mallory .11 ---- 192.0.2.64/27 Moorline 47.103.169.64/27 ---- 198.51.100.20 bob
//! ```

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use moorline_control::connection::{Receiver, Sender, connect};
use moorline_control::{
    Ceiling, ClientFrame, ClientHello, LegSpec, LocalSession, Reply, Request, ServerFrame, SessionId, SessionReport,
    SessionSpec, StreamSpec, VERSION,
};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Far longer than anything here takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(30);
const ADMIN: &str = "127.0.0.1:9061";

/// Runs a test on a thread in network and mount namespaces of its own, with its own BPF file system; all of it is gone
/// afterwards.
pub(crate) fn apart(test: impl FnOnce() + Send + 'static) {
    let missing = [("ip", "iproute2"), ("ethtool", "ethtool"), ("mount", "mount")]
        .into_iter()
        .find(|(tool, _)| Command::new(tool).arg("--version").output().is_err())
        .map(|(_, package)| format!("{package} is not installed"));
    let reason = if geteuid().is_root() { missing } else { Some("network namespaces need root".to_owned()) };
    if let Some(reason) = reason {
        // Not by a macro, whose output is kept back where a test succeeds.
        let _ = writeln!(std::io::stderr(), "SKIPPED, offload cannot be tried: {reason}");
        if let Some(path) = std::env::var_os("MOORLINE_SKIPPED") {
            let mut file = OpenOptions::new().append(true).create(true).open(path).expect("it opens");
            writeln!(file, "tests of offload: {reason}").expect("written");
        }
        return;
    }
    let thread = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("namespaces");
        run("mount --make-rprivate /");
        run("mount -t bpf bpf /sys/fs/bpf");
        run("ip link set lo up");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// A call between two parties, over a media process.
pub(crate) struct Stage {
    pub(crate) alice: UdpSocket,
    pub(crate) mallory: UdpSocket,
    bob: UdpSocket,
    pub(crate) relay_a: SocketAddr,
    runtime: Runtime,
    control: std::cell::RefCell<(Sender, Receiver, u32)>,
    media: Child,
    settings: String,
    far: File,
    local: Option<LocalSession>,
    directory: TempDir,
}

const SESSION: SessionId = SessionId { node: 1, virtual_shard: 7, random: 1 };

impl Stage {
    /// With this datapath beneath.
    pub(crate) fn start(datapath: &str) -> Stage {
        Stage::with(format!("cores = [0]\noffload = true\ndatapath = \"{datapath}\""), 1)
    }

    /// With these settings, and so many queues of each interface.
    pub(crate) fn with(settings: String, queues: u32) -> Stage {
        let far = network();
        if queues > 1 {
            let split = |links: [&str; 2]| links.map(|link| run(&format!("ethtool -L {link} rx {queues} tx {queues}")));
            split(["core0", "carrier0"]);
            within(&far, || split(["core1", "carrier1"]));
        }
        let bind = |address: &str| within(&far, || UdpSocket::bind(address).expect("bound"));
        let (alice, mallory, bob) = (bind("192.0.2.10:4000"), bind("192.0.2.11:4000"), bind("198.51.100.20:6000"));
        setsockopt(&bob, sockopt::RcvBufForce, &(8 << 20)).expect("a large buffer");
        bob.set_read_timeout(Some(Duration::from_millis(50))).expect("set");

        let directory = tempfile::tempdir().expect("a directory");
        let media = spawn(&directory, &settings, true);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let mut stage = Stage {
            relay_a: alice.local_addr().expect("bound"),
            alice,
            mallory,
            bob,
            control: std::cell::RefCell::new(runtime.block_on(open_control(&directory))),
            runtime,
            media,
            settings,
            far,
            local: None,
            directory,
        };
        stage.open();
        stage
    }

    fn open(&mut self) {
        let ceiling = Some(Ceiling { packets_per_s: 20_000, bytes_per_s: 20_000_000 });
        let stream = |socket: &UdpSocket| StreamSpec {
            active: true,
            remote_rtp: Some(socket.local_addr().expect("bound")),
            one_ssrc: true,
            ceiling,
            ..StreamSpec::default()
        };
        let held = |leg: usize| self.local.as_ref().and_then(|local| local.legs[leg][0]);
        let leg = |range: &str, socket, position| {
            let stream = StreamSpec { local: held(position), ..stream(socket) };
            LegSpec { range: range.to_owned(), streams: vec![stream] }
        };
        let legs = vec![leg("core", &self.alice, 0), leg("carrier", &self.bob, 1)];
        let spec = SessionSpec { legs, media_timeout_ms: 0, snapshot: Vec::new() };
        let Reply::Opened(local) = self.ask(Request::Open { session: SESSION, spec }) else { panic!("it opens") };
        self.relay_a = local.legs[0][0].expect("a port").rtp;
        self.local = Some(local);
    }

    /// From now on what the parties send comes in by this queue.
    pub(crate) fn send_by(&self, queue: u32) {
        let mount = self.directory.path().join("sys");
        let all = format!("{:x}", (1u64 << std::thread::available_parallelism().expect("known").get().min(32)) - 1);
        within(&self.far, || {
            if !mount.exists() {
                std::fs::create_dir(&mount).expect("made");
                run(&format!("mount -t sysfs sysfs {}", mount.display()));
            }
            for link in ["core1", "carrier1"] {
                for (number, cpus) in [(1 - queue, "0"), (queue, &all)] {
                    let path = mount.join(format!("class/net/{link}/queues/tx-{number}/xps_cpus"));
                    std::fs::write(&path, cpus).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                }
            }
        });
    }

    /// Kills the media process.
    pub(crate) fn kill(&mut self) {
        self.media.kill().expect("it runs");
        self.media.wait().expect("it ends");
    }

    /// Starts another one, and opens the call on the ports that it had.
    pub(crate) fn come_back(&mut self) {
        self.media = spawn(&self.directory, &self.settings, true);
        *self.control.borrow_mut() = self.runtime.block_on(open_control(&self.directory));
        self.open();
    }

    fn ask(&self, request: Request) -> Reply {
        let (sender, receiver, last) = &mut *self.control.borrow_mut();
        *last += 1;
        let answer = async {
            sender.send(&ClientFrame::Request { id: *last, request }).await.expect("sent");
            loop {
                if let ServerFrame::Reply { reply, .. } = receiver.receive().await.expect("a frame") {
                    return reply;
                }
            }
        };
        self.runtime.block_on(answer)
    }

    pub(crate) fn report(&self) -> SessionReport {
        match self.ask(Request::Query { session: SESSION }) {
            Reply::Report(report) => report,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn close(&self) -> SessionReport {
        match self.ask(Request::Close { session: SESSION }) {
            Reply::Closed(Some(report)) => report,
            other => panic!("{other:?}"),
        }
    }

    /// Bob listens from now on.
    pub(crate) fn listen(&self) -> Ear {
        let (socket, ended) = (self.bob.try_clone().expect("cloned"), Arc::new(AtomicBool::new(false)));
        let over = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let (mut heard, mut buffer) = (Vec::new(), [0; 2048]);
            loop {
                match socket.recv(&mut buffer) {
                    Ok(length) => {
                        assert_eq!(length, 172);
                        heard.push(u32::from_be_bytes([buffer[12], buffer[13], buffer[14], buffer[15]]));
                    }
                    // A moment of silence after the last packet was sent.
                    Err(_) if over.load(Ordering::Relaxed) => return heard,
                    Err(_) => {}
                }
            }
        });
        Ear { ended, thread }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        send_signal(self.pid(), signal);
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_raw(self.media.id() as i32)
    }

    /// What was relayed of RTP by a datapath.
    pub(crate) fn packets(&self, datapath: &str) -> u64 {
        self.metric("moorline_media_packets_total", &format!("datapath=\"{datapath}\",kind=\"rtp\""))
    }

    /// The sum of a metric over the lines that have these labels.
    pub(crate) fn metric(&self, name: &str, labels: &str) -> u64 {
        let text = get("/metrics").expect("metrics");
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let lines = text.lines().filter(of_name).filter(|line| line.contains(labels));
        lines.map(|line| line.rsplit(' ').next().expect("a value").parse::<f64>().expect("a number") as u64).sum()
    }

    pub(crate) fn until(&self, what: &str, reached: impl Fn() -> bool) {
        let begun = Instant::now();
        while !reached() {
            assert!(begun.elapsed() < PATIENCE, "{what}: not so in time:\n{}", get("/metrics").unwrap_or_default());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a media process with these settings says that does not start.
    pub(crate) fn fails(settings: &str, with_interfaces: bool) -> String {
        let directory = tempfile::tempdir().expect("a directory");
        let mut media = spawn(&directory, settings, with_interfaces);
        let mut said = String::new();
        media.stderr.take().expect("piped").read_to_string(&mut said).expect("read");
        assert!(!media.wait().expect("it ends").success());
        said
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.media.kill();
        let _ = self.media.wait();
    }
}

/// What Bob has heard.
pub(crate) struct Ear {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<u32>>,
}

impl Ear {
    pub(crate) fn end(self) -> Vec<u32> {
        std::thread::sleep(Duration::from_millis(200));
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("no panic")
    }
}

/// Sends a signal to a media process; for a thread that the stage is not on.
pub(crate) fn send_signal(media: Pid, signal: Signal) {
    kill(media, signal).expect("it runs");
}

/// 20 ms of PCMU, or of another payload type; its first bytes are its number.
pub(crate) fn rtp(payload_type: u8, number: u32) -> Vec<u8> {
    let mut packet = vec![0x80, payload_type];
    packet.extend((number as u16).to_be_bytes());
    packet.extend(number.wrapping_mul(160).to_be_bytes());
    packet.extend([1, 2, 3, 4]);
    packet.extend(number.to_be_bytes());
    packet.resize(172, 0x55);
    packet
}

/// Builds the links; answers the namespace of the parties.
fn network() -> File {
    let far = std::thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
        File::open("/proc/thread-self/ns/net").expect("it opens")
    });
    let far = far.join().expect("no panic");
    let path = format!("/proc/{}/fd/{}", std::process::id(), far.as_raw_fd());
    for (own, other) in [("core0", "core1"), ("carrier0", "carrier1")] {
        run(&format!("ip link add {own} type veth peer name {other} netns {path}"));
    }
    within(&far, || {
        run("ip link set lo up");
        for (link, addresses) in
            [("core1", &["192.0.2.10/24", "192.0.2.11/24"][..]), ("carrier1", &["198.51.100.20/24"])]
        {
            addresses.iter().for_each(|address| run(&format!("ip addr add {address} dev {link}")));
            run(&format!("ip link set {link} up"));
            // What an XDP program sends is received by NAPI only.
            run(&format!("ethtool -K {link} gro on"));
        }
        run("ip route add 47.103.169.64/27 via 198.51.100.1");
    });
    for (link, address) in [("core0", "192.0.2.1/24"), ("carrier0", "198.51.100.1/24")] {
        run(&format!("ip addr add {address} dev {link}"));
        run(&format!("ip link set {link} up"));
    }
    // All media addresses are this host's.
    for range in ["192.0.2.64/27", "47.103.169.64/27"] {
        run(&format!("ip route add local {range} dev lo"));
    }
    far
}

fn within<T>(namespace: &File, act: impl FnOnce() -> T) -> T {
    let own = File::open("/proc/thread-self/ns/net").expect("it opens");
    setns(namespace, CloneFlags::CLONE_NEWNET).expect("entered");
    let done = act();
    setns(&own, CloneFlags::CLONE_NEWNET).expect("left");
    done
}

fn spawn(directory: &TempDir, settings: &str, with_interfaces: bool) -> Child {
    let range = |name: &str, network: &str, interface: &str| {
        let interface = if with_interfaces { format!("interface = \"{interface}\"\n") } else { String::new() };
        format!("[[media.ranges]]\nname = \"{name}\"\nnetwork = \"{network}\"\n{interface}")
    };
    let text = format!(
        "[[signaling.listeners]]\nname = \"test\"\nbind = \"127.0.0.1:5060\"\n\
         [[signaling.trunks]]\nname = \"test\"\nlistener = \"test\"\nsources = [\"127.0.0.2/32\"]\nmedia_range = \"core\"\n\
         [media]\ncontrol = \"{control}\"\nadmin = \"{ADMIN}\"\ncapacity = 100\n\
         port_flood_pps = 50000\n{settings}\n{core}{carrier}",
        control = control(directory).display(),
        core = range("core", "192.0.2.64/27", "core0"),
        carrier = range("carrier", "47.103.169.64/27", "carrier0"),
    );
    let config = directory.path().join("moorline.toml");
    std::fs::write(&config, text).expect("written");
    let mut media = Command::new(env!("CARGO_BIN_EXE_moorline"));
    media.arg("media").arg("--config").arg(&config).stderr(Stdio::piped()).spawn().expect("it runs")
}

fn control(directory: &TempDir) -> std::path::PathBuf {
    directory.path().join("media.sock")
}

async fn open_control(directory: &TempDir) -> (Sender, Receiver, u32) {
    let begun = Instant::now();
    loop {
        let hello = ClientHello { version: VERSION, client: "test".into(), lease_ms: 60_000 };
        match connect(&control(directory), hello).await {
            Ok((sender, receiver, _)) => return (sender, receiver, 0),
            Err(error) => assert!(begun.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn get(path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(ADMIN).ok()?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: media\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

#[track_caller]
fn run(command: &str) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().expect("a word")).args(words).output().expect("it runs");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
}
