//! How connections come to be: accepted, or opened for something to send.

use std::future::pending;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;

use moorline_b2bua::policy::Listener;
use moorline_sip::Transport;
use moorline_sip::transaction::Flow;
use rustls::pki_types::ServerName;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::spawn_local;
use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tracing::{debug, warn};

use super::Streams;
use super::connection::{self, Connection, Outgoing};
use super::counts::add;
use crate::SignalingError;
use crate::clock::now_ns;
use crate::transport::tls::Subject;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;

/// After a failed accept, so that a lack of descriptors does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound socket of the listener at a position.
pub(crate) struct Bound {
    listener: usize,
    transport: Transport,
    pub(super) socket: StdListener,
}

/// Binds the listeners that serve streams.
pub(crate) fn bind(listeners: &[Listener]) -> Result<Vec<Bound>, SignalingError> {
    let mut bound = Vec::new();
    for (position, listener) in listeners.iter().enumerate() {
        for &transport in listener.transports.iter().filter(|transport| transport.is_reliable()) {
            let socket = listen(listener.bind).map_err(|source| SignalingError::Bind {
                name: listener.name.clone(),
                bind: listener.bind,
                transport,
                source,
            })?;
            bound.push(Bound { listener: position, transport, socket });
        }
    }
    Ok(bound)
}

fn listen(address: SocketAddr) -> io::Result<StdListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Connections of a process before this one may still be closing.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Accepts connections on a socket from now on.
pub(super) fn accept(streams: Rc<Streams>, bound: Bound) -> io::Result<()> {
    let Bound { listener, transport, socket } = bound;
    let socket = TcpListener::from_std(socket)?;
    spawn_local(async move {
        loop {
            match socket.accept().await {
                Ok((stream, remote)) => accepted(&streams, Flow::new(listener, transport, remote), stream),
                Err(error) => {
                    warn!(listener, %transport, "accept: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    Ok(())
}

fn accepted(streams: &Rc<Streams>, flow: Flow, stream: TcpStream) {
    let counts = streams.counts.of(flow.transport);
    // A stranger gets nothing, not even a handshake.
    let known = streams.policy().has_peer_at(flow);
    if !known || !streams.table.borrow().has_room(flow.remote.ip()) {
        return add(&counts.refused);
    }
    add(&counts.accepted);
    let (connection, outgoing) = Connection::new(flow);
    streams.table.borrow_mut().insert(Rc::clone(&connection));
    let streams = Rc::clone(streams);
    spawn_local(async move {
        let served = serve_accepted(&streams, &connection, outgoing, stream).await;
        connection::ended(&streams, &connection, served).await;
    });
}

async fn serve_accepted(
    streams: &Rc<Streams>,
    connection: &Rc<Connection>,
    outgoing: Outgoing,
    stream: TcpStream,
) -> Result<(), connection::End> {
    stream.set_nodelay(true)?;
    let flow = connection.flow();
    if flow.transport != Transport::Tls {
        return connection::serve(streams, connection, outgoing, stream, pending()).await;
    }
    let identity = streams.identities.borrow().get(flow.listener).cloned().flatten();
    let identity = identity.ok_or(connection::End::Handshake("no certificate".into()))?;
    let handshake = TlsAcceptor::from(identity.server).accept(stream);
    match timeout(streams.bounds.connect(), handshake).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).cloned();
            let shown = shown.as_ref().and_then(Subject::of);
            let is_shown = |name: &str| shown.as_ref().is_some_and(|shown| shown.is(name));
            let flow = Flow { identity: streams.policy().identified(flow, is_shown), ..flow };
            if !streams.policy().is_welcome(flow, is_shown) {
                return Err(connection::End::Handshake(connection::End::Identity.to_string()));
            }
            streams.table.borrow_mut().identify(connection, flow);
            let unwelcome = async {
                let mut policies = streams.policies.clone();
                while policies.borrow_and_update().is_welcome(flow, is_shown) {
                    if policies.changed().await.is_err() {
                        pending().await
                    }
                }
                connection::End::Identity
            };
            connection::serve(streams, connection, outgoing, stream, unwelcome).await
        }
        Ok(Err(error)) => Err(connection::End::Handshake(error.to_string())),
        Err(_) => Err(connection::End::Handshake("it takes too long".into())),
    }
}

/// Begins to open a connection, on which things may be put at once. `None` if there may be no more, or the listener
/// does not speak the transport.
pub(super) fn connect(streams: &Rc<Streams>, flow: Flow) -> Option<Rc<Connection>> {
    let counts = streams.counts.of(flow.transport);
    let serves = |listener: &Listener| flow.transport.is_reliable() && listener.transports.contains(&flow.transport);
    let possible = streams.policy().listeners.get(flow.listener).is_some_and(serves);
    if !possible || !streams.table.borrow().has_room(flow.remote.ip()) {
        add(&counts.failed);
        return None;
    }
    streams.edge.borrow_mut().sent_to(now_ns(), flow);
    let (connection, outgoing) = Connection::new(flow);
    streams.table.borrow_mut().insert(Rc::clone(&connection));
    let (streams, opened) = (Rc::clone(streams), Rc::clone(&connection));
    spawn_local(async move {
        let served = serve_opened(&streams, &opened, outgoing).await;
        connection::ended(&streams, &opened, served).await;
    });
    Some(connection)
}

async fn serve_opened(
    streams: &Rc<Streams>,
    connection: &Rc<Connection>,
    outgoing: Outgoing,
) -> Result<(), connection::End> {
    let flow = connection.flow();
    let late = || io::Error::from(io::ErrorKind::TimedOut);
    let patience = tokio::time::Instant::now() + streams.bounds.connect();
    let opened = tokio::time::timeout_at(patience, dial(streams, flow)).await.unwrap_or_else(|_| Err(late()));
    let stream = opened.map_err(connection::End::Connect)?;
    if flow.transport != Transport::Tls {
        add(&streams.counts.of(flow.transport).connected);
        return connection::serve(streams, connection, outgoing, stream, pending()).await;
    }
    let identity = streams.identities.borrow().get(flow.listener).cloned().flatten();
    let identity = identity.ok_or(connection::End::Handshake("no certificate".into()))?;
    let name = streams.names.borrow().get(&flow.remote).cloned();
    let name = match name {
        Some(name) => ServerName::try_from(name).map_err(|error| connection::End::Handshake(error.to_string()))?,
        None => ServerName::from(flow.remote.ip()),
    };
    let handshake = TlsConnector::from(identity.client).connect(name, stream);
    match tokio::time::timeout_at(patience, handshake).await {
        Ok(Ok(stream)) => {
            add(&streams.counts.of(flow.transport).connected);
            connection::serve(streams, connection, outgoing, stream, pending()).await
        }
        Ok(Err(error)) => Err(connection::End::Handshake(error.to_string())),
        Err(_) => Err(connection::End::Handshake("it takes too long".into())),
    }
}

/// Opens a connection from the listener's address, by which the far end knows this host.
async fn dial(streams: &Streams, flow: Flow) -> io::Result<TcpStream> {
    let socket = if flow.remote.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if let Some(listener) = streams.policy().listeners.get(flow.listener)
        && !listener.bind.ip().is_unspecified()
    {
        socket.bind(SocketAddr::new(listener.bind.ip(), 0))?;
    }
    let stream = socket.connect(flow.remote).await?;
    stream.set_nodelay(true)?;
    debug!(remote = %flow.remote, transport = %flow.transport, "connected");
    Ok(stream)
}
