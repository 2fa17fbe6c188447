//! Two network namespaces, joined by two cables, that end with the test: `near`, where the test runs, and `far`.
//!
//! ```text
//! near  a0 10.1.0.1/24 2001:db8:1::1/64  ----  b0 10.1.0.2, 2001:db8:1::2  far
//!       a1 10.2.0.1/24 2001:db8:2::1/64  ----  b1 10.2.0.2, 2001:db8:2::2
//! ```

use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::unistd::gettid;

use crate::routes::{Answer, Firewall, HopReader, HopTable, Hops, NextHop, Outward, Reason, Routes};
use crate::shard::clock::monotonic_ns;

pub(super) const NEAR: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 1], [2, 0, 0, 0, 2, 1]];
pub(super) const FAR: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 2], [2, 0, 0, 0, 2, 2]];
/// What a test waits for takes some milliseconds, or seconds where the kernel has to give a neighbour up.
const PATIENCE: Duration = Duration::from_secs(90);

/// Runs a test in namespaces of its own, or says why not.
pub(super) fn run(test: impl FnOnce(&Stage) + Send) {
    // Never the thread of the test itself: others may run on it.
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let far = Far::start();
            if let (Ok(()), Some(far)) = (unshare(CloneFlags::CLONE_NEWNET), far) {
                test(&Stage::new(far));
            } else {
                eprintln!("left out: network namespaces need root");
            }
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs `ip` in the namespace of this thread.
pub(super) fn try_ip(arguments: &str) -> Result<String, String> {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

pub(super) fn nft(command: &str) -> Result<(), String> {
    let output = Command::new("nft").arg(command).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

pub(super) fn ip(arguments: &str) -> String {
    try_ip(arguments).unwrap_or_else(|error| panic!("ip {arguments}: {error}"))
}

pub(super) fn index(name: &str) -> u32 {
    let line = ip(&format!("-o link show {name}"));
    line.split(':').next().unwrap().trim().parse().unwrap()
}

fn mac([a, b, c, d, e, f]: [u8; 6]) -> String {
    format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
}

pub(super) struct Stage {
    far: Far,
}

impl Stage {
    fn new(far: Far) -> Stage {
        let stage = Stage { far };
        ip("link set lo up");
        stage.connect(0);
        stage.connect(1);
        stage
    }

    /// Lays a cable.
    pub(super) fn connect(&self, n: usize) {
        let (near, far) = (mac(NEAR[n]), mac(FAR[n]));
        ip(&format!("link add a{n} address {near} type veth peer name b{n} address {far} netns {}", self.far.thread));
        let net = n + 1;
        ip(&format!("addr add 10.{net}.0.1/24 brd + dev a{n}"));
        ip(&format!("addr add 2001:db8:{net}::1/64 dev a{n} nodad"));
        ip(&format!("link set a{n} up"));
        self.far(&format!("addr add 10.{net}.0.2/24 dev b{n}"));
        self.far(&format!("addr add 2001:db8:{net}::2/64 dev b{n} nodad"));
        self.far(&format!("link set b{n} up"));
        wait("the cable", || ip(&format!("-o link show a{n}")).contains("LOWER_UP"));
    }

    /// Runs `ip` on the far side.
    pub(super) fn far(&self, arguments: &str) -> String {
        self.far.commands.send(arguments.to_owned()).unwrap();
        self.far.answers.lock().unwrap().recv().unwrap().unwrap_or_else(|error| panic!("far: ip {arguments}: {error}"))
    }
}

/// The thread of the far namespace, which ends with it.
struct Far {
    thread: i32,
    commands: Sender<String>,
    answers: Mutex<Receiver<Result<String, String>>>,
}

impl Far {
    fn start() -> Option<Far> {
        let ((commands, orders), (answer, answers), (ready, started)) = (channel::<String>(), channel(), channel());
        std::thread::spawn(move || {
            let thread = unshare(CloneFlags::CLONE_NEWNET).map(|()| gettid().as_raw());
            let _ = ready.send(thread.ok());
            for order in orders {
                let _ = answer.send(try_ip(&order));
            }
        });
        let thread = started.recv().ok()??;
        Some(Far { thread, commands, answers: Mutex::new(answers) })
    }
}

/// Waits until something is so.
pub(super) fn wait(what: &str, mut so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < until, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The table of a test: it holds the thread to the rules for places.
#[derive(Default)]
pub(super) struct Board {
    places: Mutex<Vec<(u64, Option<NextHop>)>>,
    pub(super) writes: AtomicU64,
}

impl Board {
    pub(super) fn at(&self, hop: u32) -> Option<NextHop> {
        self.places.lock().unwrap().get(hop as usize).and_then(|(_, next)| *next)
    }

    fn set(&self, hop: u32, place: (u64, Option<NextHop>)) -> (u64, Option<NextHop>) {
        let mut places = self.places.lock().unwrap();
        if places.len() <= hop as usize {
            places.resize(hop as usize + 1, (0, None));
        }
        std::mem::replace(&mut places[hop as usize], place)
    }
}

impl HopTable for Board {
    fn clear(&self, hop: u32) {
        self.set(hop, (monotonic_ns(), None));
    }

    fn write(&self, hop: u32, next: &NextHop) -> bool {
        let now = monotonic_ns();
        let (cleared, before) = self.set(hop, (now, Some(*next)));
        assert!(before.is_none() && now >= cleared + 10_000_000, "hop {hop} written {} ns late", now - cleared);
        self.writes.fetch_add(1, Ordering::Relaxed);
        true
    }

    fn valid(&self, hop: u32) -> bool {
        self.at(hop).is_some()
    }
}

/// Running routes of one shard, with one range.
pub(super) struct Followed {
    pub(super) routes: Routes,
    pub(super) hops: Hops,
    pub(super) reader: HopReader,
    pub(super) board: Arc<Board>,
}

impl Followed {
    pub(super) fn start(interface: Option<&str>) -> Followed {
        Followed::with(interface, 64, Arc::new(Board::default()), Firewall::Ignored, None)
    }

    pub(super) fn with(
        interface: Option<&str>,
        places: u32,
        board: Arc<Board>,
        firewall: Firewall,
        receive_buffer: Option<usize>,
    ) -> Followed {
        let ranges = vec![Outward { interface: interface.map(str::to_owned), traffic_class: 0xb8 }];
        let table = Arc::clone(&board) as Arc<dyn HopTable>;
        let mut routes = Routes::start_with(ranges, places, Some(table), firewall, receive_buffer).unwrap();
        let (hops, reader) = (routes.share(places), routes.reader());
        Followed { routes, hops, reader, board }
    }

    /// Asks until something is known.
    pub(super) fn ask(&mut self, source: &str, destination: &str) -> Answer {
        let (source, destination): (IpAddr, IpAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        let mut answer = Answer::Pending;
        wait("an answer", || {
            answer = self.hops.hop(monotonic_ns(), source, destination, 0);
            answer != Answer::Pending
        });
        answer
    }

    /// The number of a hop that there must be.
    pub(super) fn hop(&mut self, source: &str, destination: &str) -> u32 {
        match self.ask(source, destination) {
            Answer::Hop(hop) => hop,
            other => panic!("{source} to {destination}: {other:?}"),
        }
    }

    /// Waits until a hop leads there, in memory and on the board.
    pub(super) fn leads(&self, hop: u32, next: NextHop) {
        let mut seen = None;
        let so = || {
            seen = self.reader.read(hop);
            seen == Some(next) && self.board.at(hop) == Some(next)
        };
        wait(&format!("hop {hop} to lead to {next:?}"), so);
    }

    /// Waits until a hop is the kernel's, for this reason.
    pub(super) fn kept(&self, hop: u32, reason: Reason) {
        wait(&format!("hop {hop} to be {reason:?}"), || {
            self.reader.reason(hop) == Some(reason) && self.reader.read(hop).is_none() && self.board.at(hop).is_none()
        });
    }
}

/// The hop over a cable.
pub(super) fn over(n: usize) -> NextHop {
    NextHop { interface: index(&format!("a{n}")), source: NEAR[n], destination: FAR[n], vlan: 0, mtu: 1500 }
}
