//! What every scene needs: a media process with addresses of its own, a client, and parties that send RTP.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use moorline_control::connection::{Receiver, Sender, connect};
use moorline_control::{
    ClientFrame, ClientHello, Event, LegSpec, LocalSession, Reply, Request, ServerFrame, ServerHello, SessionId,
    SessionSpec, StreamSpec, VERSION,
};
use moorline_media::{Config, DatapathChoice, MediaError, Range, Sockets, run_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Far longer than anything here takes; only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running media process, stopped when dropped.
pub(crate) struct Media {
    pub(crate) config: Config,
    block: [u8; 2],
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<(), MediaError>>>,
    _directory: tempfile::TempDir,
}

impl Media {
    pub(crate) async fn start(datapath: DatapathChoice) -> Media {
        Media::start_with(datapath, |_| ()).await
    }

    /// Starts a process on a /16 piece of loopback that no other test uses, and waits until it serves.
    pub(crate) async fn start_with(datapath: DatapathChoice, change: impl FnOnce(&mut Config)) -> Media {
        static BLOCKS: AtomicU8 = AtomicU8::new(0);
        let block = [100 + (std::process::id() % 128) as u8, BLOCKS.fetch_add(1, Ordering::Relaxed)];
        let directory = tempfile::tempdir().unwrap();
        let network = format!("127.{}.{}.0/28", block[0], block[1]);
        let mut config = Config {
            control: directory.path().join("media.sock"),
            datapath,
            // Shared sockets behave otherwise where ports are held by others: `shared` tests them.
            sockets: Sockets::PerPort,
            admin: SocketAddr::from(([127, block[0], block[1], 250], 9061)),
            capacity: 200,
            ranges: vec![Range { network: network.parse().unwrap(), ..Range::default() }],
            ..Config::default()
        };
        change(&mut config);
        let (stop, stopped) = oneshot::channel::<()>();
        let own = config.clone();
        let thread = std::thread::spawn(move || {
            run_until(own, async {
                let _ = stopped.await;
            })
        });
        let media = Media { config, block, stop: Some(stop), thread: Some(thread), _directory: directory };
        let serving = async {
            while media.get("/healthz").await.is_none() {
                assert!(!media.thread.as_ref().unwrap().is_finished(), "the media process did not start");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, serving).await.expect("the media process serves");
        media
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.config.control.clone()
    }

    /// Stops it as a signal would; what `run_until` answered.
    pub(crate) fn stop(mut self) -> Result<(), MediaError> {
        self.stop.take();
        self.thread.take().unwrap().join().expect("no panic")
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_with_lease(60_000).await
    }

    pub(crate) async fn client_with_lease(&self, lease_ms: u32) -> Client {
        let hello = ClientHello { version: VERSION, client: "test".into(), lease_ms };
        let (sender, receiver, hello) = connect(&self.socket(), hello).await.expect("connected");
        Client { sender, receiver, hello, last: 0, events: Vec::new() }
    }

    /// A party on an address of its own beside the range.
    pub(crate) async fn party(&self, host: u8) -> Party {
        let address = IpAddr::V4(Ipv4Addr::new(127, self.block[0], self.block[1], 100 + host));
        let rtp = UdpSocket::bind((address, 40_000)).await.unwrap();
        let rtcp = UdpSocket::bind((address, 40_001)).await.unwrap();
        Party { rtp, rtcp }
    }

    /// The body of an HTTP answer with status 200.
    pub(crate) async fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.config.admin).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: media\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }

    /// The sum of a metric over shards, of the lines that carry all the labels.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> u64 {
        let text = self.get("/metrics").await.expect("metrics");
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        let lines: Vec<&str> = text.lines().filter(of_name).filter(|l| labels.iter().all(|x| l.contains(x))).collect();
        assert!(!lines.is_empty(), "no {name} with {labels:?} in\n{text}");
        lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// Waits until a metric has a value; counting is done when a packet is, not when it was sent.
    pub(crate) async fn metric_becomes(&self, name: &str, labels: &[&str], value: u64) {
        let mut last = 0;
        let reached = async {
            loop {
                last = self.metric(name, labels).await;
                if last == value {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(timeout(PATIENCE, reached).await.is_ok(), "{name} {labels:?} is {last}, not {value}");
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A control connection that waits for each reply.
pub(crate) struct Client {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
    pub(crate) hello: ServerHello,
    last: u32,
    events: Vec<Event>,
}

impl Client {
    pub(crate) async fn ask(&mut self, request: Request) -> Reply {
        self.last += 1;
        self.sender.send(&ClientFrame::Request { id: self.last, request }).await.unwrap();
        loop {
            match self.frame().await {
                ServerFrame::Reply { id, reply } => {
                    assert_eq!(id, self.last);
                    return reply;
                }
                ServerFrame::Event(event) => self.events.push(event),
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) async fn frame(&mut self) -> ServerFrame {
        timeout(PATIENCE, self.receiver.receive()).await.expect("a frame comes").expect("the connection is up")
    }

    pub(crate) async fn event(&mut self) -> Event {
        if !self.events.is_empty() {
            return self.events.remove(0);
        }
        match self.frame().await {
            ServerFrame::Event(event) => event,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn open(&mut self, session: SessionId, spec: SessionSpec) -> LocalSession {
        match self.ask(Request::Open { session, spec }).await {
            Reply::Opened(local) => local,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn sessions(&mut self) -> Vec<SessionId> {
        match self.ask(Request::List { after: None }).await {
            Reply::Listed(listed) => listed.sessions.iter().map(|listing| listing.session).collect(),
            other => panic!("{other:?}"),
        }
    }
}

/// Somebody who sends and receives media.
pub(crate) struct Party {
    pub(crate) rtp: UdpSocket,
    pub(crate) rtcp: UdpSocket,
}

impl Party {
    pub(crate) fn stream(&self) -> StreamSpec {
        StreamSpec { active: true, remote_rtp: Some(self.rtp.local_addr().unwrap()), ..StreamSpec::default() }
    }
}

/// A session of two legs with one stream each.
pub(crate) fn call(streams: [StreamSpec; 2]) -> SessionSpec {
    let legs = streams.map(|stream| LegSpec { range: "edge".into(), streams: vec![stream] });
    SessionSpec { legs: legs.into(), media_timeout_ms: 0, snapshot: Vec::new() }
}

pub(crate) fn id(random: u64) -> SessionId {
    SessionId { node: 1, virtual_shard: 7, random }
}

/// The local RTP and RTCP addresses of a leg.
pub(crate) fn local(session: &LocalSession, leg: usize) -> (SocketAddr, SocketAddr) {
    let local = session.legs[leg][0].expect("an active stream");
    (local.rtp, local.rtcp)
}

/// An RTP packet whose payload tells it from all others.
pub(crate) fn rtp(ssrc: u32, sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 160).to_be_bytes());
    packet.extend(ssrc.to_be_bytes());
    packet.extend((0..160u32).map(|i| (i.wrapping_mul(ssrc) + u32::from(sequence)) as u8));
    packet
}

/// An RTCP receiver report without blocks.
pub(crate) fn rtcp(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet
}

/// A UDPTL datagram: its number and a short packet of T.38.
pub(crate) fn udptl(sequence: u16) -> Vec<u8> {
    [&sequence.to_be_bytes()[..], &[3, 0xc0, 0x01, 0x80, 0, 0]].concat()
}

/// The next datagram on a socket and where it came from.
pub(crate) async fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut buffer = vec![0; 4096];
    let (len, source) = timeout(PATIENCE, socket.recv_from(&mut buffer)).await.expect("a datagram comes").unwrap();
    buffer.truncate(len);
    (buffer, source)
}

/// That nothing is waiting on a socket.
pub(crate) fn assert_silent(socket: &UdpSocket) {
    let error = socket.try_recv_from(&mut [0; 4096]).expect_err("nothing was to come");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}
