//! SIP over TCP and TLS. One thread owns every connection; workers give it what is to be sent, and get from it what
//! was received, through bounded queues.
//!
//! A connection is known by its [`Flow`]: the listener, the transport, the far address, and whose it was shown to be.
//! Whoever made it, it carries everything between the two (RFC 5923 in spirit). What there is no connection for opens
//! one. When one ends, the workers that used it are told, and decide what was lost.

mod connection;
mod counts;
mod open;
mod table;

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use moorline_b2bua::policy::Policy;
use moorline_b2bua::{Dispatch, Edge};
use moorline_sip::transaction::Flow;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tracing::{error, info};

use super::tls::{self, Identity};
use crate::config::{ListenerConfig, StreamsConfig};
use crate::mail::{Mail, Workers};
use crate::reload::Settings;

pub(crate) use counts::{Counts, StreamCounts};
pub(crate) use open::{Bound, bind};
use table::Table;

/// Commands of workers that wait for the connections' thread: two messages for each of 2,000 calls in one turn.
const COMMANDS: usize = 4096;

/// Names of far ends that are remembered.
const NAMES: usize = 16_384;

/// Names the certificate that a far end must show; an address that was given no name must show one for the address.
type Names = HashMap<SocketAddr, String>;

/// What a worker wants of the connections' thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Send a message.
    Transmit { flow: Flow, bytes: Arc<[u8]>, worker: usize },
    /// This is what the far end is called.
    Name { remote: SocketAddr, name: String },
}

/// A worker's way to the connections' thread.
#[derive(Debug, Clone)]
pub(crate) struct StreamQueue {
    commands: mpsc::Sender<Command>,
    worker: usize,
}

impl StreamQueue {
    /// The queue of each worker, and its other end.
    pub(crate) fn new(workers: usize) -> (Vec<StreamQueue>, mpsc::Receiver<Command>) {
        let (commands, end) = mpsc::channel(COMMANDS);
        ((0..workers).map(|worker| StreamQueue { commands: commands.clone(), worker }).collect(), end)
    }

    /// Says what a far end is called. With a full queue it is not, and a handshake with it fails.
    pub(crate) fn name(&self, remote: SocketAddr, name: String) {
        let _full = self.commands.try_send(Command::Name { remote, name });
    }

    /// False if the queue is full: the message is lost.
    pub(crate) fn transmit(&self, flow: Flow, bytes: Arc<[u8]>) -> bool {
        self.commands.try_send(Command::Transmit { flow, bytes, worker: self.worker }).is_ok()
    }
}

/// All connections. Lives on one thread, inside a `LocalSet`.
pub(crate) struct Streams {
    policies: watch::Receiver<Arc<Policy>>,
    listeners: Vec<ListenerConfig>,
    bounds: StreamsConfig,
    table: RefCell<Table>,
    /// By listener; `None` where there is no TLS.
    identities: RefCell<Vec<Option<Identity>>>,
    names: RefCell<Names>,
    edge: RefCell<Edge>,
    dispatch: RefCell<Dispatch>,
    workers: Workers,
    counts: Arc<StreamCounts>,
    /// What was just read, before it is cut into messages: the same memory for all connections.
    scratch: RefCell<Box<[u8]>>,
}

/// Room for what is read from a connection at once.
const SCRATCH: usize = 65_536;

impl Streams {
    pub(crate) fn new(
        policies: watch::Receiver<Arc<Policy>>,
        listeners: Vec<ListenerConfig>,
        bounds: StreamsConfig,
        edge: Edge,
        dispatch: Dispatch,
        workers: Workers,
    ) -> Result<Rc<Streams>, tls::Unusable> {
        let identities = listeners.iter().map(|listener| listener.tls.as_ref().map(tls::load).transpose());
        let identities = identities.collect::<Result<Vec<_>, _>>()?;
        Ok(Rc::new(Streams {
            table: RefCell::new(Table::new(bounds.connections, bounds.connections_per_source)),
            identities: RefCell::new(identities),
            names: RefCell::default(),
            edge: RefCell::new(edge),
            dispatch: RefCell::new(dispatch),
            workers,
            counts: Arc::default(),
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            policies,
            listeners,
            bounds,
        }))
    }

    /// What it is decided by who may connect.
    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policies.borrow())
    }

    /// Goes on by other bounds at the edge whenever there are some, for ever.
    pub(crate) async fn follow(self: Rc<Self>, mut settings: watch::Receiver<Arc<Settings>>) {
        while settings.changed().await.is_ok() {
            let bounds = settings.borrow_and_update().overload;
            self.edge.borrow_mut().set_bounds(bounds);
        }
    }

    pub(crate) fn counts(&self) -> Arc<StreamCounts> {
        Arc::clone(&self.counts)
    }

    /// Accepts connections and carries out commands, until the thread ends.
    pub(crate) fn start(
        self: &Rc<Self>,
        sockets: Vec<Bound>,
        mut commands: mpsc::Receiver<Command>,
    ) -> std::io::Result<()> {
        for bound in sockets {
            open::accept(Rc::clone(self), bound)?;
        }
        let streams = Rc::clone(self);
        spawn_local(async move {
            while let Some(command) = commands.recv().await {
                streams.carry_out(command);
            }
        });
        Ok(())
    }

    fn carry_out(self: &Rc<Self>, command: Command) {
        match command {
            Command::Transmit { flow, bytes, worker } => {
                let standing = self.table.borrow().find(flow);
                match standing.or_else(|| open::connect(self, flow)) {
                    Some(connection) => {
                        connection.used_by(worker);
                        connection.push(bytes);
                    }
                    None => self.tell_broken(flow, worker),
                }
            }
            Command::Name { remote, name } => {
                let mut names = self.names.borrow_mut();
                if names.len() >= NAMES && !names.contains_key(&remote) {
                    // Those that are still in use will be said again.
                    names.clear();
                }
                names.insert(remote, name);
            }
        }
    }

    fn tell_broken(&self, flow: Flow, worker: usize) {
        if !self.workers.offer(worker, Mail::Broken { flow }) {
            let workers = self.workers.clone();
            spawn_local(async move { workers.send(worker, Mail::Broken { flow }).await });
        }
    }

    /// Reads the certificates again. Connections that are made from now on use the new ones; files that do not load
    /// leave the old ones in use.
    pub(crate) fn reload(&self) {
        for (index, listener) in self.listeners.iter().enumerate() {
            let Some(files) = &listener.tls else { continue };
            match tls::load(files) {
                Ok(identity) => {
                    if let Some(place) = self.identities.borrow_mut().get_mut(index) {
                        *place = Some(identity);
                    }
                    info!(listener = listener.name, "certificates read again");
                }
                Err(unusable) => {
                    let name = &listener.name;
                    error!(listener = name, key = unusable.key, "the old certificates stay in use: {unusable}");
                }
            }
        }
    }

    /// Reads the certificates again whenever a file has changed; looks every `interval`.
    pub(crate) async fn watch(self: Rc<Self>, interval: std::time::Duration) {
        let look = || self.listeners.iter().filter_map(|listener| listener.tls.as_ref()).map(tls::changed_at);
        let mut before: Vec<_> = look().collect();
        loop {
            tokio::time::sleep(interval).await;
            let now: Vec<_> = look().collect();
            if now != before {
                before = now;
                self.reload();
            }
        }
    }
}

#[cfg(test)]
mod tests;
