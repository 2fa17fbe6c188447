mod bounds;
mod sharing;
mod tls;

use std::collections::HashMap;
use std::hash::RandomState;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moorline_b2bua::policy::{Listener, Policy, Trunk};
use moorline_b2bua::{Dispatch, Edge, Overload};
use moorline_sip::Transport;
use moorline_sip::transaction::{Flow, Identity};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::timeout;

use super::{Command, StreamQueue, Streams, bind};
use crate::config::{ListenerConfig, StreamsConfig, TlsConfig, TransportConfig};
use crate::mail::{Mail, Workers};

/// Longer than anything here takes on a busy machine; reaching it is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// The connections' thread, with a listener on loopback, and the worker that it speaks with.
struct Stage {
    streams: Rc<Streams>,
    policies: watch::Sender<Arc<Policy>>,
    queue: StreamQueue,
    mail: mpsc::Receiver<Mail>,
    commands: Option<mpsc::Receiver<Command>>,
    sockets: Vec<super::Bound>,
    /// Where it listens.
    address: SocketAddr,
    transport: Transport,
    /// Who has shown who they are.
    shown: HashMap<SocketAddr, Identity>,
}

/// What a stage can have otherwise.
struct Setting {
    bounds: StreamsConfig,
    inbox: usize,
    sources: &'static str,
    ip: &'static str,
    tls: Option<TlsConfig>,
    identities: &'static [&'static str],
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            bounds: StreamsConfig::default(),
            inbox: 1000,
            sources: "127.0.0.0/8",
            ip: "127.0.0.1",
            tls: None,
            identities: &[],
        }
    }
}

impl Stage {
    fn new(setting: Setting) -> Stage {
        let transport = if setting.tls.is_some() { TransportConfig::Tls } else { TransportConfig::Tcp };
        let at = SocketAddr::new(setting.ip.parse().unwrap(), 0);
        let configured =
            ListenerConfig { transports: vec![transport], tls: setting.tls, ..ListenerConfig::new("test", at) };
        let transport = Transport::from(transport);
        let listener = Listener { name: "test".into(), bind: at, transports: vec![transport], advertised: at };
        let sources = [setting.sources, "::1/128"].iter().map(|net| net.parse().unwrap()).collect();
        let tls_identities = setting.identities.iter().map(|name| (*name).to_owned()).collect();
        let trunk = Trunk { name: "peer".into(), sources, tls_identities, ..Trunk::default() };
        let policy = Policy { listeners: vec![listener], trunks: vec![trunk], ..Policy::default() };
        let overload =
            Overload { per_source: 1_000_000, per_stranger: 1, new_calls: 0, longest_wait_ns: 0, retry_after_s: 1 };
        let edge = Edge::new(overload, Arc::default(), RandomState::new());
        let (workers, mut inboxes) = Workers::new(1, setting.inbox);
        let (mut queues, commands) = StreamQueue::new(1);
        let sockets = bind(&policy.listeners).unwrap();
        let address = sockets[0].socket.local_addr().unwrap();
        let dispatch = Dispatch::new(1, RandomState::new());
        let policies = watch::Sender::new(Arc::new(policy));
        let streams =
            Streams::new(policies.subscribe(), vec![configured], setting.bounds, edge, dispatch, workers).unwrap();
        Stage {
            streams,
            policies,
            queue: queues.remove(0),
            mail: inboxes.remove(0).mail,
            commands: Some(commands),
            sockets,
            address,
            transport,
            shown: HashMap::new(),
        }
    }

    /// Serves the listener from now on.
    fn start(&mut self) {
        let sockets = std::mem::take(&mut self.sockets);
        self.streams.start(sockets, self.commands.take().unwrap()).unwrap();
    }

    fn flow(&self, remote: SocketAddr) -> Flow {
        Flow { identity: self.shown.get(&remote).copied(), ..Flow::new(0, self.transport, remote) }
    }

    fn transmit(&self, remote: SocketAddr, bytes: &[u8]) {
        assert!(self.queue.transmit(self.flow(remote), Arc::from(bytes)));
    }

    async fn mail(&mut self) -> Mail {
        timeout(PATIENCE, self.mail.recv()).await.expect("no mail came").expect("the inbox is open")
    }

    /// The next letter is this message, from there.
    async fn receives(&mut self, remote: SocketAddr, expected: &[u8]) {
        match self.mail().await {
            Mail::Message { flow, bytes, .. } => {
                assert_eq!(flow, self.flow(remote));
                assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(expected));
            }
            other => panic!("{other:?}"),
        }
    }

    /// The next letter says that the stream to there is gone.
    async fn learns_of_break(&mut self, remote: SocketAddr) {
        match self.mail().await {
            Mail::Broken { flow } => assert_eq!(flow, self.flow(remote)),
            other => panic!("{other:?}"),
        }
    }

    /// Waits until a count is as expected.
    async fn until(&self, what: &str, count: impl Fn(&super::Counts) -> &AtomicU64, expected: u64) {
        let counts = self.streams.counts.of(self.transport);
        let reached = async {
            while count(counts).load(Ordering::Relaxed) != expected {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if timeout(PATIENCE, reached).await.is_err() {
            panic!("{what}: {} and not {expected}", count(counts).load(Ordering::Relaxed));
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// A message with a body, told from others by its number.
fn message(number: usize) -> Vec<u8> {
    let body = "b".repeat(number % 50);
    format!("MESSAGE sip:{number}@x SIP/2.0\r\nCall-ID: {number}\r\nl: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Runs a test on a thread like that of the connections.
async fn on_the_thread<T>(test: impl Future<Output = T>) -> T {
    LocalSet::new().run_until(test).await
}
